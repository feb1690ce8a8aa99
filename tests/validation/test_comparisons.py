"""Comparisons that say nothing: what is said to be always or never true is so, at every value of what it reads."""

from __future__ import annotations

import ast
import random
from pathlib import Path

import pytest

from autotrader.rules.expression import parse
from autotrader.rules.problems import Problem
from autotrader.validation.check_numbers import everywhere
from autotrader.validation.load import load_configuration
from tests.validation.golden_cases import CONFIG

RANGES = {"a": (0.0, 100.0), "b": (-1.0, 10.0), "c": (2.0, 2.0)}


def verdict(text: str) -> bool | None:
    (atom,) = parse(text, dict.fromkeys((*RANGES, "d"), "number"), "flag").atoms
    return everywhere(atom, RANGES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a >= 0", True), ("a > 0", None), ("a >= -1", True), ("a < 0", False), ("a <= 0", None), ("a > 100", False),
        ("a >= 100", None), ("a < 101", True), ("50 >= c", True), ("c == 2", None),
        ("a + b >= -1", True), ("a - b < -10", False), ("a - b < -9", None), ("abs(b) >= 0", True),
        ("abs(b) > 10", False), ("abs(b) > 1", None), ("abs(b - 20) >= 10", True), ("-b <= 1", True), ("a > -c", True),
        ("c < 2", False), ("c <= 2", True), ("a * 2 >= 0", None), ("max(a, 0) >= 0", None), ("d > 0", None),
    ],
)  # fmt: skip
def test_a_comparison_is_certain_only_where_it_is(text: str, expected: bool | None) -> None:
    assert verdict(text) is expected


def test_what_is_certain_holds_at_every_value() -> None:
    draw = random.Random(7)

    def term(depth: int) -> str:
        kind = draw.randrange(5) if depth else draw.randrange(2)
        if kind == 0:
            return draw.choice(list(RANGES))
        if kind == 1:
            return repr(draw.choice([0.0, 1.0, 2.0, 9.5, 60.0, 150.0]))
        if kind == 2:
            return f"-({term(depth - 1)})"
        if kind == 3:
            return f"abs({term(depth - 1)})"
        return f"({term(depth - 1)} {draw.choice('+-')} {term(depth - 1)})"

    found = {True: 0, False: 0, None: 0}
    for _ in range(3000):
        text = f"{term(2)} {draw.choice(['<', '<=', '>', '>='])} {term(2)}"
        if not any(name in ast.dump(ast.parse(text)) for name in ("'a'", "'b'", "'c'")):
            continue
        said = verdict(text)
        found[said] += 1
        values = [{name: draw.choice([low, high, draw.uniform(low, high)]) for name, (low, high) in RANGES.items()}
                  for _ in range(12)]  # fmt: skip
        if said is not None:
            assert all(eval(text, {"abs": abs}, row) is said for row in values), text
    assert min(found.values()) > 200


def findings(tmp_path: Path, old: str, new: str) -> list[Problem]:
    text = (CONFIG / "strategy_params.yaml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "strategy_params.yaml").write_text(text.replace(old, new), encoding="utf-8")
    codes = {"always-true", "never-true", "negative-value", "failing-exit", "units", "unreachable-rule"}
    return [problem for problem in load_configuration(tmp_path).problems if problem.code in codes]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("max_drawdown_pct: 15%", "max_drawdown_pct: 100%"),
        ("max_daily_entries: 3", "max_daily_entries: 10000"),
        ("when: true, then: discard", "when: move_pct < 0, then: discard"),
        ("tp_rsi: {long: 75}", "tp_rsi: {long: 99}"),
        ("gain_atr >= tp_atr_mult", "gain_atr * 2 >= tp_atr_mult"),
        ("gain_atr >= tp_atr_mult", "loss_per_share <= -tp_atr_mult * atr_at_entry"),
        ("days_held >= max_hold_days", "days_held * 390 + minute_of_session >= max_hold_days"),
        ("{name: time_exit, when: days_held >= max_hold_days", "{name: late, when: rsi > 99, on_missing: fail"),
        ("{name: day_skip, when: days_held == 0,", "{name: day_skip, when: true, for_bars: 390,"),
        ("{name: stop_loss,", "{name: stop_loss, on_missing: fail,"),
    ],
)
def test_what_may_be_meant_is_not_remarked_upon(tmp_path: Path, old: str, new: str) -> None:
    assert findings(tmp_path, old, new) == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("gain_atr >= tp_atr_mult", "gain_pct >= tp_atr_mult", "gain_pct is a share and tp_atr_mult is in ATRs"),
        ("abs(gap_pct) > max_gap_pct", "abs(gap_pct) > sl_atr_mult", "gap_pct is a share and sl_atr_mult is in ATRs"),
        ("loss_per_share >= stop_distance", "loss_per_share >= -emergency_stop_pct", "loss_per_share is in USD and"),
        ("days_held >= max_hold_days", "gain_pct >= max_hold_days", "max_hold_days is in sessions"),
    ],
)  # fmt: skip
def test_numbers_in_two_units_are_told_of(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert [says in problem.message for problem in findings(tmp_path, old, new) if problem.code == "units"] == [True]


def test_two_emergency_stops_at_one_place_are_one_too_many(tmp_path: Path) -> None:
    text = (CONFIG / "strategy_params.yaml").read_text(encoding="utf-8")
    for share, told in (("7%", 1), ("7.1%", 0)):
        changed = text.replace("emergency_immediate_pct: 10%", f"emergency_immediate_pct: {share}")
        (tmp_path / "strategy_params.yaml").write_text(changed, encoding="utf-8")
        said = [problem.message for problem in load_configuration(tmp_path).problems if problem.code == "hidden-stop"]
        assert sum("comes before the emergency stop" in message for message in said) == told


def test_one_setting_is_told_of_once_and_the_value_of_one_strategy_where_it_stands(tmp_path: Path) -> None:
    (entries,) = findings(tmp_path, "max_daily_entries: 3", "max_daily_entries: 0")
    assert (entries.code, entries.severity) == ("always-true", "warning")
    (target,) = findings(tmp_path, "tp_rsi: {long: 70}", "tp_rsi: {long: -3}")
    lines = (tmp_path / "strategy_params.yaml").read_text(encoding="utf-8").splitlines()
    assert "tp_rsi: {long: -3}" in lines[target.line - 1]
    assert "always true when tp_rsi is -3: rsi is 0 to 100" in target.message

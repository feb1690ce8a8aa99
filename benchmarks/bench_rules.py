"""The rule engine against plain Python and bare numpy: python benchmarks/bench_rules.py [--check]"""

from __future__ import annotations

import ast
import math
import random
from typing import Any

import numpy as np
from harness import Report, compare

from autotrader.rules.evaluate import column_match, column_miss
from autotrader.rules.expression import parse
from autotrader.rules.facts import Kind, Stage
from autotrader.rules.ruleset import Rule, RuleSet

KINDS: dict[str, Kind] = {
    **dict.fromkeys(
        ("loss_pct", "loss_per_share", "stop_distance", "gain_atr", "days_held", "gap_pct", "atr", "close", "weight"),
        "number",
    ),
    **dict.fromkeys(("stop_pct", "immediate_pct", "tp_atr_mult", "max_hold_days", "max_gap_pct"), "number"),
    "opposite": "flag",
}
VALUES = {"stop_pct": 0.07, "immediate_pct": 0.10, "tp_atr_mult": 3.0, "max_hold_days": 5.0, "max_gap_pct": 0.03}
EXIT = Stage("exit", "first", {}, "hold", ("exit", "hold"), frozenset({"hold"}))
RULES = RuleSet(
    EXIT,
    tuple(
        Rule(name, parse(when, KINDS, "flag"), then, name, bars)
        for name, when, then, bars in (
            ("emergency_immediate", "loss_pct >= immediate_pct", "exit", 1),
            ("emergency_stop", "loss_pct >= stop_pct", "exit", 2),
            ("day_skip", "days_held == 0", "hold", 1),
            ("stop_loss", "loss_per_share >= stop_distance", "exit", 1),
            ("take_profit", "gain_atr >= tp_atr_mult", "exit", 1),
            ("time_exit", "days_held >= max_hold_days", "exit", 1),
        )
    ),
    VALUES,
)
CALLS = 20_000
SHAPE = (504, 2516)


def plain(facts: dict[str, Any], streak: int) -> tuple[int, int]:
    """The six rules as anyone would write them."""
    streak = streak + 1 if facts["loss_pct"] >= 0.07 else 0
    if facts["loss_pct"] >= 0.10:
        return 0, streak
    if streak >= 2:
        return 1, streak
    if facts["days_held"] == 0:
        return 2, streak
    if facts["loss_per_share"] >= facts["stop_distance"]:
        return 3, streak
    if facts["gain_atr"] >= 3.0:
        return 4, streak
    if facts["days_held"] >= 5:
        return 5, streak
    return -1, streak


def rows() -> list[dict[str, Any]]:
    """A position's bars: mostly nothing happens."""
    chance = random.Random(1)
    found: list[dict[str, Any]] = []
    for _ in range(CALLS):
        loss = chance.gauss(0.0, 0.02)
        found.append(
            {"loss_pct": loss, "loss_per_share": loss * 80.0, "stop_distance": 4.0, "gain_atr": -loss * 40.0,
             "days_held": chance.choice((1, 2, 3, 4)), "price": 80.0, "direction": "long"}
        )  # fmt: skip
    return found


def scalar(report: Report) -> None:
    bars = rows()

    def by_hand() -> None:
        streak = 0
        for bar in bars:
            _, streak = plain(bar, streak)

    def decided() -> None:
        streaks = RULES.no_streaks
        for bar in bars:
            _, streaks = RULES.first(bar, streaks)

    def explained() -> None:
        streaks = RULES.no_streaks
        for bar in bars:
            decision = RULES.judge(bar, streaks)
            streaks = decision.streaks
            decision.evidence  # noqa: B018  # worked out on access

    for bar in bars[:2000]:
        assert RULES.first(bar, (1,))[0] == plain(bar, 1)[0]
    report.add(f"six exit rules on a bar, {CALLS:,} times", *compare(decided, by_hand, 15), 2.0)
    report.add("... with every rule's verdict and what it read", *compare(explained, by_hand, 15), 20.0)


def by_columns(report: Report) -> None:
    noise = np.random.default_rng(1)

    def column(scale: float) -> np.ndarray[Any, np.dtype[np.float64]]:
        values = noise.normal(0.0, scale, SHAPE)
        values[noise.random(SHAPE) < 0.02] = math.nan
        return values

    loss, share, stop, gain, gap = column(0.03), column(2.0), abs(column(3.0)), column(2.0), column(0.02)
    days = noise.integers(0, 9, SHAPE).astype(np.float64)
    close, weight, opposite = abs(column(80.0)), abs(column(0.1)), noise.random(SHAPE) < 0.1
    atr = close * 0.02
    given = {"loss_pct": loss, "loss_per_share": share, "stop_distance": stop, "gain_atr": gain, "days_held": days,
             "gap_pct": gap, "atr": atr, "close": close, "weight": weight, "opposite": opposite, **VALUES}  # fmt: skip
    conditions = (
        ("exit: a stop", "loss_per_share >= stop_distance", True, lambda: share >= stop),
        (
            "exit: one of several",
            "not days_held == 0 and (loss_pct >= stop_pct or gain_atr >= tp_atr_mult or days_held >= max_hold_days)",
            True,
            lambda: ((days != 0) & ~np.isnan(days)) & ((loss >= 0.07) | (gain >= 3.0) | (days >= 5)),
        ),
        (
            "regime: volatility",
            "atr / close > 0.03",
            True,
            lambda: np.divide(atr, np.where(close == 0, math.nan, close)) > 0.03,
        ),
        (
            "eligibility: unknown rejects",
            "opposite or weight < 0.05",
            False,
            lambda: ~(~opposite & (weight >= 0.05)),
        ),
        (
            "gap: unknown rejects",
            "abs(gap_pct) > max_gap_pct or close < 5",
            False,
            lambda: ~((np.abs(gap) <= 0.03) & (close >= 5)),
        ),
    )
    for what, text, match, by_hand in conditions:
        expression = parse(text, KINDS, "flag")

        def ours(expression: Any = expression, match: bool = match) -> Any:
            return column_match(expression, given) if match else ~column_miss(expression, given)

        assert np.array_equal(ours(), by_hand())
        report.add(f"{what}, {SHAPE[0]} x {SHAPE[1]}", *compare(ours, by_hand, 101), 1.2)


def parsing(report: Report) -> None:
    texts = [rule.when.text for rule in RULES.rules] + [
        "best >= trail_from and retrace >= trail_mult",
        "rsi > tp_rsi if long else rsi < tp_rsi",
        "clip(atr / close / 0.05, 0, 1) > 20%",
        "abs(gap_pct) > max_gap_pct",
    ]
    kinds: dict[str, Kind] = KINDS | dict.fromkeys(
        ("best", "trail_from", "retrace", "trail_mult", "rsi", "tp_rsi"), "number"
    )
    kinds["long"] = "flag"
    thousand = [texts[index % len(texts)] for index in range(1000)]
    report.add(
        "1,000 rules read and checked, against Python's own parser",
        *compare(
            lambda: [parse(text, kinds, "flag") for text in thousand],
            lambda: [ast.parse(text.replace("%", ""), mode="eval") for text in thousand],
        ),
        15.0,
    )


if __name__ == "__main__":
    report = Report("The rule engine, against plain Python and bare numpy")
    scalar(report)
    by_columns(report)
    parsing(report)
    report.finish()

"""Rule statistics against a count of every single decision; silent rules and saturating strengths are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import BaseModel

from autotrader.backtest.output import document, findings
from autotrader.backtest.statistics import RuleStatistics, Tally
from autotrader.core.entry import Outcome
from autotrader.core.panel import Array
from autotrader.core.strategy import Fired
from autotrader.rules.compile import Row
from autotrader.rules.decision import Decision
from autotrader.rules.ruleset import RuleSet
from autotrader.validation.load import PACKAGED_CONFIG, PARAMS_FILE

from .worlds import configure, edited, market, run

NO_LATCH = ("max_drawdown_pct: 15%", "max_drawdown_pct: 100%")


class Ledger(Tally):
    """Writes every decision down with its evidence, one by one, beside what the tally makes of it."""

    made: ClassVar[list[Ledger]] = []

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.evaluated: Counter[tuple[str, str]] = Counter()
        self.matched: Counter[tuple[str, str]] = Counter()
        self.decided: Counter[tuple[str, str]] = Counter()
        self.unknown: Counter[tuple[str, str]] = Counter()
        self.made.append(self)

    def decisions(self, decisions: Any) -> None:
        decisions = list(decisions)
        for decision in decisions:
            self.enter(decision)
        super().decisions(decisions)

    def exit(self, rules: RuleSet, index: int, row: Row, times: int = 1) -> None:
        for _ in range(times):
            self.enter(rules.judge(row))
        super().exit(rules, index, row, times)

    def enter(self, decision: Decision) -> None:
        stage = decision.stage
        if stage == "confirmation":
            stage = "confirmation:confirmation"
        for item in decision.evidence:
            self.evaluated[stage, item.rule] += 1
            self.unknown[stage, item.rule] += item.verdict == "unknown"
            if item.verdict is None:
                self.matched[stage, item.rule] += item.rule == decision.rule
        for rule in decision.matched:
            self.matched[stage, rule] += 1
        if decision.rule is not None:
            self.decided[stage, decision.rule] += 1


@pytest.fixture
def ledgers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Ledger]]:
    """Ledgers instead of tallies; everything is decided one by one, as it makes no difference (test_whole_sessions)."""
    Ledger.made.clear()
    monkeypatch.setattr("autotrader.backtest.engine.Tally", Ledger)
    monkeypatch.setattr("autotrader.backtest.engine.Mornings.are_priced", lambda *_: False)
    yield Ledger.made
    Ledger.made.clear()


def test_the_counts_are_those_of_every_single_decision(ledgers: list[Ledger], tmp_path: Path) -> None:
    panel = market(40, date(2016, 1, 4), date(2018, 12, 31))
    configuration = configure(tmp_path, NO_LATCH)
    entries = [(i.trade.symbol, i.trade.entered_at.date()) for i in run(configuration, panel).trades[100::20]]

    def halted(fields: dict[str, np.ndarray]) -> None:  # where there was an entry there is no price
        for values in fields.values():
            for symbol, day in entries:
                values[panel.symbols.index(symbol), np.searchsorted(panel.dates, np.datetime64(day))] = np.nan

    ledgers.clear()
    found = run(configuration, edited(panel, halted))
    (ledger,) = ledgers
    assert sum(ledger.decided.values()) > 1_000
    told = {(item.stage, item.rule): item for item in found.tally.statistics(configuration.rulebook)}
    assert len(told) == 41
    for (stage, rule), item in told.items():
        if stage in {"regime", "eligible", "score"}:  # judged over columns
            continue
        key = stage, rule
        assert item.decided == ledger.decided[key], key
        assert item.matched == ledger.matched[key], key
        assert item.evaluated == ledger.evaluated[key], key
        if stage != "sizing":
            assert item.unknown == ledger.unknown[key], key
    assert told["gap_filter", "gap_too_large"].unknown
    assert told["exit", "band_target"].unknown


def test_eligibility_is_counted_for_every_signal(tmp_path: Path) -> None:
    configuration = configure(tmp_path, ("regime_weight < 0.05", "regime_weight < 0.18"))
    found = run(configuration, market(40, date(2016, 1, 4), date(2018, 12, 31)))
    told = {item.rule: item for item in found.tally.statistics(configuration.rulebook) if item.stage == "eligible"}
    signals = sum(found.signal_counts.values())
    assert {item.evaluated for item in told.values()} == {signals}
    assert 0 < told["regime_weight_too_small"].decided <= told["regime_weight_too_small"].matched < signals
    assert told["blackout"].decided == 0


def test_the_regime_and_the_score_are_counted_too(tmp_path: Path) -> None:
    nothing = ('"clip(atr / prev_close / 0.05, 0, 1)"', '"0 * atr"')
    configuration = configure(tmp_path, nothing, ("atr / close > 0.03}", "atr / close > 3}"))
    found = run(configuration, market(40, date(2016, 1, 4), date(2018, 12, 31)))
    statistics = found.tally.statistics(configuration.rulebook)
    told = {item.rule: item for item in statistics if item.stage == "regime"}
    count = Counter(found.regimes)
    assert {rule: item.decided for rule, item in told.items()} == {rule: count[rule] for rule in told}
    assert told["HIGH_VOLATILITY"].evaluated == len(found.sessions)
    assert told["UNCERTAIN"].evaluated == count["UNCERTAIN"] > told["TREND"].decided > 0
    assert told["HIGH_VOLATILITY"].unknown, "the proxy's first sessions"
    parts = {item.rule: item for item in statistics if item.stage == "score"}
    signals = sum(found.signal_counts.values())
    assert {item.evaluated for item in parts.values()} == {signals}
    assert parts["regime_fit"].decided == signals
    assert parts["volatility"].decided == 0
    said = " ".join(findings(document(found, feed="test")))
    assert "Never decided in regime: HIGH_VOLATILITY" in said
    assert "Never decided in score: volatility" in said


def test_the_sizing_value_that_decides_is_the_smallest(ledgers: list[Ledger], tmp_path: Path) -> None:
    configuration = configure(tmp_path, ("risk_per_trade_pct: 2%", "risk_per_trade_pct: 0.3%"))
    content = document(run(configuration, market(40, date(2016, 1, 4), date(2018, 12, 31))), feed="test")
    decided = {item["rule"]: item["decided"] for item in content["rules"] if item["stage"] == "sizing"}
    assert decided["risk_budget"] > decided["position_cap"]
    entered = content["metrics"]["closed_trades"] + content["metrics"]["open_trades"]
    assert sum(decided.values()) >= entered > 50


def test_without_unknowns_the_rest_is_the_same(tmp_path: Path) -> None:
    panel, configuration = market(30, date(2016, 1, 4), date(2017, 12, 29)), configure(tmp_path)
    whole, quick = (
        run(configuration, panel, tally=tally).tally.statistics(configuration.rulebook) for tally in (True, False)
    )
    assert [without_unknown(item) for item in whole] == [without_unknown(item) for item in quick]
    assert all(item.unknown is None for item in quick)


def without_unknown(item: RuleStatistics) -> tuple[object, ...]:
    return item.stage, item.rule, item.evaluated, item.matched, item.decided


# --- what is named ----------------------------------------------------------------------------------------------------


class Loud:
    """Fires at full strength on three bars in four, at half on the rest, where the close is a round number of cents."""

    Params: ClassVar[type[BaseModel]] = BaseModel
    reads = ("close",)

    def signals(self, series: Mapping[str, Array]) -> list[Fired]:
        close = series["close"]
        where = ~np.isnan(close) & (np.floor(close * 100) % 5 == 0)
        strength = np.ones(int(where.sum()))
        strength[::4] = 0.5
        return [Fired("long", where, strength)]


class Silent(Loud):
    def signals(self, series: Mapping[str, Array]) -> list[Fired]:
        where = np.zeros_like(series["close"], dtype=bool)
        return [Fired("long", where, np.empty(0))]


def test_strengths_that_saturate_are_named_with_their_share(tmp_path: Path) -> None:
    found = run(configure(tmp_path), market(30, date(2016, 1, 4), date(2017, 12, 29)),
                strategies={"rsi_mean_reversion": Loud()})  # fmt: skip
    said = findings(document(found, feed="test"))
    assert found.saturated["rsi_mean_reversion"] == pytest.approx(0.75, abs=0.01)
    assert any("strength of rsi_mean_reversion saturates: 75%" in line for line in said)


def test_the_default_strengths_do_not_saturate(tmp_path: Path) -> None:
    content = document(run(configure(tmp_path), market(40, date(2015, 1, 2), date(2018, 12, 31))), feed="test")
    assert not [line for line in content["findings"] if "saturates" in line]
    assert {item["strategy"] for item in content["strategies"]} == {
        "rsi_mean_reversion", "bb_squeeze", "adx_pullback", "overbought_short", "regime_momentum",
    }  # fmt: skip


def test_a_strategy_that_never_fires_and_rules_that_never_decide_are_named(tmp_path: Path) -> None:
    panel = market(30, date(2016, 1, 4), date(2017, 12, 29))
    found = run(configure(tmp_path), panel, strategies={"rsi_mean_reversion": Loud(), "bb_squeeze": Silent()})
    content = document(found, feed="test")
    said = " ".join(content["findings"])
    assert "The strategy bb_squeeze never fired." in said
    silent = {(item["stage"], item["rule"]) for item in content["rules"] if not item["decided"]}
    assert ("eligible", "blackout") in silent
    for stage, rule in silent:
        line = next(line for line in content["findings"] if line.startswith(f"Never decided in {stage}:"))
        assert rule in line
    spoken = {item["rule"] for item in content["rules"] if item["decided"]}
    assert not any(rule in line for line in content["findings"] if line.startswith("Never decided") for rule in spoken)


def test_signals_that_never_become_a_trade_are_named(tmp_path: Path) -> None:
    panel = market(30, date(2016, 1, 4), date(2017, 12, 29))
    found = run(configure(tmp_path, ("max_daily_entries: 3", "max_daily_entries: 0")), panel)
    content = document(found, feed="test")
    assert not content["trades"]
    assert any("signals and never a trade" in line for line in content["findings"])


def test_a_drawdown_that_ends_all_entries_is_named_with_its_date(tmp_path: Path) -> None:
    panel = market(40, date(2016, 1, 4), date(2018, 12, 31))
    content = document(run(configure(tmp_path, ("max_drawdown_pct: 15%", "max_drawdown_pct: 1%")), panel), feed="test")
    (latch,) = content["latched"]
    assert latch["rule"] == "drawdown"
    assert any(f"drawdown began to bite on {latch['since']}" in line for line in content["findings"])
    assert max(trade["entered_at"][:10] for trade in content["trades"]) <= latch["since"]
    before = [100_000.0, *(row["equity"] for row in content["equity"] if row["date"] < latch["since"])]
    until = latch["until_then"]
    assert until["sessions"] == len(before) - 1 > 10
    assert until["total_return"] == pytest.approx(before[-1] / before[0] - 1)
    assert until["exposure"] > content["metrics"]["exposure"]
    assert f"Until then: total return {until['total_return']:.2%}" in content["findings"][0]


def test_a_limit_that_bites_from_the_first_session_on_has_nothing_before_it(tmp_path: Path) -> None:
    panel = market(40, date(2016, 1, 4), date(2018, 12, 31))
    configuration = configure(tmp_path, ("max_drawdown_pct: 15%", "max_drawdown_pct: 0%"))
    since = run(configuration, panel, date(2016, 6, 1)).limited_since["drawdown"]
    content = document(run(configuration, panel, since), feed="test")
    assert content["latched"][0]["until_then"]["sessions"] == 0
    assert "nothing was entered" in content["findings"][0]
    assert "Until then" not in content["findings"][0]


def test_positions_that_nothing_leaves_and_borrowed_money_are_named(tmp_path: Path) -> None:
    text = (PACKAGED_CONFIG / PARAMS_FILE).read_text(encoding="utf-8")
    exits = text[text.index("    - {name: emergency_immediate") : text.index("  reentry:")]
    never = "    - {name: ruin, when: loss_pct >= 900%, then: exit}\n"
    sized = text[text.index("      - {name: risk_budget") : text.index("    scale:")]
    unprotected = ("enabled: true\n    distance", "enabled: false\n    distance")
    edits = ((exits, never), (sized, ""), unprotected, ("equity * max_position_pct", "equity * 0.5"))
    panel = market(40, date(2016, 1, 4), date(2016, 12, 30))
    content = document(run(configure(tmp_path, *edits), panel), feed="test")
    held = content["metrics"]["open_trades"]
    assert held >= 6
    assert f"Nothing was ever left: {held} positions are open at the end." in content["findings"]
    most = content["metrics"]["exposure_most"]
    assert 2.0 < most >= content["metrics"]["exposure"]
    assert any(f"worth up to {most:.0%} of the equity" in line for line in content["findings"])
    cost = [trade["quantity"] * trade["entry_price"] for trade in content["trades"]]
    assert content["metrics"]["average_position"] == pytest.approx(sum(cost) / len(cost))


def test_outcomes_are_counted_decision_by_decision(tmp_path: Path) -> None:
    rulebook = configure(tmp_path).rulebook
    rules = rulebook.reentry
    tally = Tally()
    yes, no = rules.judge({"exited_today": True}), rules.judge({"exited_today": False})
    tally.outcomes([Outcome("A", (yes,), None, False), Outcome("B", (no,), None, False)])
    (told,) = [item for item in tally.statistics(rulebook) if item.stage == "reentry"]
    assert told == RuleStatistics("reentry", "reentry_block", evaluated=2, matched=1, decided=1, unknown=0)

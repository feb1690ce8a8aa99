"""What is judged at once for a whole session, or for many, is what would have been judged one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from autotrader.backtest import engine
from autotrader.backtest.engine import BacktestResult, Costs
from autotrader.backtest.mornings import Mornings
from autotrader.core.panel import Panel
from autotrader.core.trader import Trader
from autotrader.market.feed import ShareSplit
from autotrader.validation.load import Configuration

from .test_parity import NEAR_STOP, every
from .worlds import configure, real_market, run


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What was answered when a path was to be judged at once."""
    answers: list[bool] = []
    settled = Trader.settled

    def counted(self: Trader, *arguments: object) -> bool:
        answers.append(settled(self, *arguments))  # type: ignore[arg-type]
        return answers[-1]

    monkeypatch.setattr(Trader, "settled", counted)
    return answers


def same(one: BacktestResult, other: BacktestResult, configuration: Configuration) -> None:
    for field in fields(BacktestResult):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        if field.name == "tally":
            ours, theirs = (tally.statistics(configuration.rulebook) for tally in (ours, theirs))
        if field.name == "limited_since":  # in the order of events, too
            ours, theirs = list(ours.items()), list(theirs.items())
        if isinstance(ours, np.ndarray):
            assert np.array_equal(ours, theirs), field.name
        elif field.name not in ("view", "ranking", "trades"):
            assert ours == theirs, field.name
    assert len(one.trades) == len(other.trades)
    for ours, theirs in zip(one.trades, other.trades, strict=True):
        assert ours.trade == theirs.trade
        for decided, again in zip((*ours.entry, ours.exit), (*theirs.entry, theirs.exit), strict=True):
            assert repr(decided and decided.as_json()) == repr(again and again.as_json())


COSTS = Costs(2.0, 1.0, 0.02)
NO_LATCH = ("max_drawdown_pct: 15%", "max_drawdown_pct: 100%")
Edits = tuple[tuple[str, str], ...]


@pytest.mark.parametrize(
    ("tally", "edits"), [(True, ()), (False, ()), (False, (NEAR_STOP,))],
    ids=["with unknowns", "without", "near stops"],
)  # fmt: skip
def test_a_path_judged_at_once_changes_nothing(
    tmp_path: Path, real_data: Path, settled: list[bool], monkeypatch: pytest.MonkeyPatch, tally: bool, edits: Edits
) -> None:
    configuration = configure(tmp_path, NO_LATCH, *edits)
    panel, universe = every(*real_market(real_data), 5)
    found = run(configuration, panel, universe=universe, costs=COSTS, tally=tally)
    assert len(found.trades) > 500
    assert 0.5 < sum(settled) / len(settled) < 1
    monkeypatch.setattr(Trader, "settled", lambda *_: False)
    same(found, run(configuration, panel, universe=universe, costs=COSTS, tally=tally), configuration)


# --- mornings over columns ------------------------------------------------------------------------------------------

GAP = "      - {name: stale_open_entry,"
CONFIRMED = "        - {name: confirmed, when: move_pct >= 0, then: enter}"
REENTRY = "      - {name: reentry_block, when: exited_today, then: reject}"
LIMIT = "    - {name: already_held,"
EARLY_LATCH = ("max_drawdown_pct: 15%", "max_drawdown_pct: 6%")
# Rules of every stage that read whatever is known there: all of it is in the evidence, and some of them match.
TALKATIVE = (
    (GAP, """\
      - name: of_scan
        when: >
          sector == "Utilities" or direction == "short" and regime == "TREND" and strength > 0.4 or prev_close > 900
          or regime_weight_max < 0.2 or opposite_signal or blackout or signals_of_symbol > 1 and score < 0.5
          or strategy == "bb_squeeze" and rsi > 75 and rank > 3 or score < 0.3
        then: reject
        on_missing: skip
      - name: of_morning
        when: >
          pre_market_price < 5 or price_age_seconds > 1 or spread_pct > 1% or corporate_action
          or entry_group == "MOO" and rank == 12 or result_age > 1 or regime_weight < 0
        then: reject
        on_missing: skip
""" + GAP),
    (CONFIRMED, """\
        - {name: dear, when: price > 600 or minute_of_session > 5, then: discard}
        - {name: odd, when: rsi / (rank - 3) > 1000, then: discard, on_missing: fail}
        - {name: strict, when: 'regime == "RANGING" and rank == 1 or move_pct >= 0', then: enter}
        - {name: last, when: rank == 2, then: enter}"""),
    (REENTRY, REENTRY + """
      - name: recent
        when: sessions_since_exit < 9 and losing_exits_in_row > 0
        then: reject
        on_missing: skip"""),
    (LIMIT, """\
    - name: talk
      when: >
        not shortable or equity < 1000 or buying_power < 0 or exposure_gross < 0 or exposure_long < 0
        or exposure_short < 0 or exposure_sector > equity * 0.25 or exposure_strategy < 0 or strategy_exposure < 0
        or adx > 60 and open_in_sector >= 0 and minute_of_session == 0
      then: reject
""" + LIMIT),
    ("    confirmation:\n      at:", """\
    early:
      at: "09:40"
      order: market
      strategies: [bb_squeeze]
      rules:
        - {name: moves, when: move_pct >= 0.1%, then: enter}
    confirmation:
      at:"""),
    ("[adx_pullback, bb_squeeze,", "[adx_pullback,"),
)  # fmt: skip


def split_now_and_then(panel: Panel) -> list[ShareSplit]:
    """On a fifth of all sessions one symbol is said to be split."""
    symbols, days = panel.symbols, panel.dates.tolist()
    return [ShareSplit(symbols[at % len(symbols)], day, 2, 1) for at, day in enumerate(days) if at % 5 == 0]


@pytest.mark.parametrize("tally", [True, False], ids=["with unknowns", "without"])
def test_the_gap_filter_over_columns_is_the_one_over_rows(
    tmp_path: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch, tally: bool
) -> None:
    configuration = configure(tmp_path, *TALKATIVE, NO_LATCH)
    panel, universe = every(*real_market(real_data), 6)
    splits = split_now_and_then(panel) if tally else None
    found = run(configuration, panel, universe=universe, costs=COSTS, tally=tally, splits=splits)
    assert len(found.trades) > 300
    counts = {(item.stage, item.rule): item.decided for item in found.tally.statistics(configuration.rulebook)}
    assert counts["gap_filter", "of_scan"] > 100
    assert counts["gap_filter", "of_morning"] > 0
    monkeypatch.setattr(Mornings, "are_priced", lambda *_: False)
    same(found, run(configuration, panel, universe=universe, costs=COSTS, tally=tally, splits=splits), configuration)


@pytest.mark.parametrize("tally", [True, False], ids=["with unknowns", "without"])
@pytest.mark.parametrize("edits", [(), TALKATIVE], ids=["default", "talkative"])
def test_turning_everybody_away_at_once_is_turning_them_away_one_by_one(
    tmp_path: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch, edits: Edits, tally: bool
) -> None:
    configuration = configure(tmp_path, *edits, EARLY_LATCH)
    panel, universe = every(*real_market(real_data), 6)
    splits = split_now_and_then(panel) if tally else None
    over: list[int] = []
    is_over = engine._Run._is_over

    def noted(self: engine._Run, offset: int, groups: Sequence[str]) -> bool:
        ended = is_over(self, offset, groups)
        over.extend([offset] if ended else [])
        return ended

    monkeypatch.setattr(engine._Run, "_is_over", noted)
    found = run(configuration, panel, universe=universe, costs=COSTS, tally=tally, splits=splits)
    assert len(over) == 1
    assert 100 < over[0] < len(found.sessions) - 500
    assert found.limited_since["drawdown"] <= found.sessions[over[0]]
    monkeypatch.setattr(engine._Run, "_is_over", lambda *_: False)
    same(found, run(configuration, panel, universe=universe, costs=COSTS, tally=tally, splits=splits), configuration)


def test_an_account_that_lets_nobody_in_from_the_start_is_over_at_once(
    tmp_path: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = "".join(f"    - {{name: rank_{at}, when: rank == {at}, then: reject}}\n" for at in range(1, 13))
    nobody = ("max_open_positions: 8", "max_open_positions: 0")
    configuration = configure(tmp_path, *TALKATIVE, nobody, (LIMIT, ranks + LIMIT))
    panel, universe = every(*real_market(real_data), 3)
    found = run(configuration, panel, universe=universe)
    assert not found.trades
    assert set(found.equity.tolist()) == {100_000.0}
    assert "open_positions_full" in found.limited_since
    assert len(set(found.limited_since.values())) > 2
    monkeypatch.setattr(engine._Run, "_is_over", lambda *_: False)
    same(found, run(configuration, panel, universe=universe), configuration)

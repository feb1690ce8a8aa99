"""Nothing is known before its time, and where nothing can be known, nothing is earned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pydantic import BaseModel

from autotrader.backtest import caveats
from autotrader.backtest.engine import BacktestResult, Costs
from autotrader.backtest.output import Document, document
from autotrader.core.panel import FIELDS, Array, Panel
from autotrader.core.strategy import Fired
from autotrader.market.universe import Member

from .worlds import FREE, configure, edited, market, real_market, run, shuffled

NO_LATCH = ("max_drawdown_pct: 15%", "max_drawdown_pct: 100%")


class _Plugin:
    Params: ClassVar[type[BaseModel]] = BaseModel
    reads = ("open", "close")


class Random(_Plugin):
    """Signals on both sides, from dice."""

    def signals(self, series: Mapping[str, Array]) -> list[Fired]:
        dice = np.random.default_rng(5).random((2, *series["close"].shape))
        long, short = dice[0] < 0.02, dice[0] > 0.98
        return [Fired("long", long, dice[1][long]), Fired("short", short, dice[1][short])]


class Clairvoyant(_Plugin):
    """Fires on what the next session will do."""

    def signals(self, series: Mapping[str, Array]) -> list[Fired]:
        gain = np.zeros_like(series["close"])
        gain[:, :-1] = series["close"][:, 1:] / series["open"][:, 1:] - 1
        long = gain > 0.02
        return [Fired("long", long, np.clip(gain[long] * 10, 0, 1))]


def facts_until(found: BacktestResult, last: date) -> list[tuple[object, ...]]:
    """Everything that was known and decided by the close of a session."""
    told: list[tuple[object, ...]] = []
    count = sum(session <= last for session in found.sessions)
    told += list(zip(found.sessions[:count], found.equity.tolist(), found.regimes, found.benchmark, strict=False))
    for item in found.trades:
        trade = item.trade
        if trade.entered_at.date() > last:
            continue
        told.append((trade.symbol, trade.strategy, trade.direction, trade.quantity, trade.entered_at,
                     trade.entry_price, trade.plan, repr([d.as_json() for d in item.entry])))  # fmt: skip
        if trade.exited_at is not None and trade.exited_at.date() <= last:
            assert item.exit is not None
            told.append((trade.exited_at, trade.exit_price, trade.exit_rule, trade.pnl, trade.mfe, trade.mae,
                         trade.costs, repr(item.exit.as_json())))  # fmt: skip
    return sorted(told, key=repr)


# --- nothing of the future --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three_years(real_data: Path) -> tuple[Panel, Sequence[Member]]:
    panel, universe = real_market(real_data, date(2014, 1, 2), date(2017, 6, 30))
    chosen = universe[::6]
    return panel.select([item.symbol for item in chosen]), chosen


CUTS = [date(2015, 8, 24), date(2016, 2, 10), date(2016, 11, 9), date(2017, 3, 1)]


@pytest.mark.parametrize("cut", CUTS)
def test_a_run_that_ends_earlier_has_decided_the_same_until_then(
    three_years: tuple[Panel, Sequence[Member]], tmp_path: Path, cut: date
) -> None:
    panel, universe = three_years
    configuration = configure(tmp_path, NO_LATCH)
    whole = run(configuration, panel, universe=universe)
    short = run(configuration, panel.window(cut), universe=universe)
    assert len(short.trades) > 50
    assert facts_until(short, cut) == facts_until(whole, cut)


def opening_of(found: BacktestResult, session: date) -> list[str]:
    """What was decided in a session at its open: entries of all groups, and the exits there."""
    told = []
    for item in found.trades:
        trade = item.trade
        if trade.entered_at.date() == session:
            told.append(repr(("in", trade.symbol, trade.strategy, trade.quantity, trade.entry_price, trade.plan,
                              [decision.as_json() for decision in item.entry])))  # fmt: skip
        at = trade.exited_at
        if at is not None and at.date() == session and (at.hour, at.minute) == (9, 30):
            assert item.exit is not None
            told.append(repr(("out", trade.symbol, trade.exit_price, trade.pnl, item.exit.as_json())))
    return sorted(told)


def another_future(panel: Panel, cut: date, seed: int) -> tuple[Panel, date]:
    """Everything after the open of the session that follows `cut` is another; that session."""
    begins = int(np.searchsorted(panel.dates, np.datetime64(cut))) + 1

    def change(fields: dict[str, np.ndarray]) -> None:
        factors = np.random.default_rng(seed).uniform(0.2, 5.0, (len(panel.symbols), 1))
        for name in FIELDS:
            fields[name][:, begins + (name == "open") :] *= factors
        fields["close"][::7, begins + 5 :] = np.nan

    return edited(panel, change), panel.dates[begins].item()


@pytest.mark.parametrize("cut", CUTS)
def test_whatever_comes_after_an_open_nothing_that_was_decided_until_then_changes(
    three_years: tuple[Panel, Sequence[Member]], tmp_path: Path, cut: date
) -> None:
    panel, universe = three_years
    configuration = configure(tmp_path, NO_LATCH)
    changed, following = another_future(panel, cut, 0)
    one, other = (run(configuration, bars, universe=universe) for bars in (panel, changed))
    assert facts_until(one, cut) == facts_until(other, cut)
    assert opening_of(one, following)
    assert opening_of(one, following) == opening_of(other, following)
    assert facts_until(one, following) != facts_until(other, following)


def test_a_strategy_that_looks_ahead_is_caught_by_changing_the_future(
    three_years: tuple[Panel, Sequence[Member]], tmp_path: Path
) -> None:
    panel, universe = three_years
    configuration = configure(tmp_path, NO_LATCH)
    changed, following = another_future(panel, CUTS[0], 0)
    one, other = (run(configuration, bars, universe=universe, strategies={"rsi_mean_reversion": Clairvoyant()})
                  for bars in (panel, changed))  # fmt: skip
    assert opening_of(one, following) != opening_of(other, following)


# --- no edge where there is none --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def without_memory(real_data: Path) -> tuple[Panel, Sequence[Member]]:
    """The real sessions of a hundred symbols in random order."""
    panel, universe = real_market(real_data)
    panel = shuffled(panel.select([item.symbol for item in universe[::4]]), 0)
    members = {item.symbol: item for item in universe}
    return panel, [members[symbol] for symbol in panel.symbols]


def edge(content: Document) -> float:
    """The mean of the trades' R in its standard errors."""
    r = np.array([trade["r"] for trade in content["trades"] if trade["r"] is not None])
    assert len(r) > 500
    return float(r.mean() / (r.std(ddof=1) / math.sqrt(len(r))))


def test_shuffled_dates_show_no_edge(without_memory: tuple[Panel, Sequence[Member]], tmp_path: Path) -> None:
    panel, universe = without_memory
    found = run(configure(tmp_path, NO_LATCH), panel, universe=universe, costs=FREE, tally=False)
    assert abs(edge(document(found, feed="test"))) < 3
    assert abs(document(found, feed="test")["metrics"]["sharpe"]) < 1


def test_random_signals_show_no_edge_and_lose_what_they_cost(
    without_memory: tuple[Panel, Sequence[Member]], tmp_path: Path
) -> None:
    panel, universe = without_memory
    strategies = {"rsi_mean_reversion": Random(), "regime_momentum": Random()}
    configuration = configure(tmp_path, NO_LATCH)
    free, paid = (
        document(run(configuration, panel, universe=universe, costs=costs, tally=False, strategies=strategies), feed="")
        for costs in (FREE, Costs(20.0, 5.0, 0.1))
    )
    assert abs(edge(free)) < 3
    assert paid["metrics"]["expectancy_r"] < free["metrics"]["expectancy_r"] - 0.05
    assert edge(paid) < edge(free) - 1


def test_an_edge_that_is_there_is_seen(without_memory: tuple[Panel, Sequence[Member]], tmp_path: Path) -> None:
    panel, universe = without_memory
    found = run(configure(tmp_path, NO_LATCH), panel, universe=universe, costs=FREE, tally=False,
                strategies={"rsi_mean_reversion": Clairvoyant()})  # fmt: skip
    assert edge(document(found, feed="test")) > 10


# --- what the data cannot say -----------------------------------------------------------------------------------------


def test_an_unadjusted_jump_that_a_trade_went_through_is_listed(tmp_path: Path) -> None:
    panel = market(40, date(2017, 1, 3), date(2018, 12, 31))
    configuration = configure(tmp_path)
    found = run(configuration, panel)
    held = next(i.trade for i in found.trades if i.trade.exited_at is not None and i.trade.sessions_held >= 3)
    column = int(np.searchsorted(panel.dates, np.datetime64(held.entered_at.date()))) + 2
    row = panel.symbols.index(held.symbol)

    def spin_off(fields: dict[str, np.ndarray]) -> None:
        for name in ("open", "high", "low", "close"):
            fields[name][row, column:] *= 0.6

    jumped = document(run(configuration, edited(panel, spin_off)), feed="test")["jumps"]
    day = panel.dates[column].item().isoformat()
    listed = [item for item in jumped if (item["symbol"], item["session"]) == (held.symbol, day)]
    assert [item["touches"] for item in listed] == ["held"]
    assert listed[0]["move"] == pytest.approx(-0.4, abs=0.1)
    assert not [item for item in document(found, feed="test")["jumps"] if item["session"] == day]


def test_the_spin_offs_of_the_real_file_are_found_where_trades_touch_them(real_data: Path, tmp_path: Path) -> None:
    panel, universe = real_market(real_data, date(2011, 4, 21), date(2013, 6, 28))
    content = document(run(configure(tmp_path), panel, universe=universe, tally=False), feed="files")
    assert ("ABT", "2013-01-02") in {(item["symbol"], item["session"]) for item in content["jumps"]}


def test_survivorship_and_adjustment_are_said_of_real_data_and_not_of_a_made_up_market(tmp_path: Path) -> None:
    found = run(configure(tmp_path), market(20, date(2017, 1, 3), date(2017, 12, 29)))
    real = " ".join(document(found, feed="files")["caveats"])
    assert "failed or left" in real
    assert "flatters longs" in real
    assert "adjusted for splits" in real
    assert "no dividends" in real
    invented = " ".join(document(found, feed="synthetic", invented=True)["caveats"])
    assert "made up" in invented
    assert "flatters" not in invented


@pytest.mark.parametrize("rows", [1, 2, 3, 8, 9])
def test_the_markets_move_is_the_median_of_what_is_known_of_it(rows: int) -> None:
    noise = np.random.default_rng(rows)
    moves = noise.normal(size=(rows, 200))
    moves[noise.random(moves.shape) < 0.4] = np.nan
    known = ~np.isnan(moves).all(axis=0)
    np.testing.assert_array_equal(caveats._median(moves)[known], np.nanmedian(moves[:, known], axis=0))
    assert not caveats._median(moves)[~known].any()

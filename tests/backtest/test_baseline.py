"""The backtest against the plain one beside it, trade by trade."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from autotrader.backtest.engine import BacktestResult, Costs
from autotrader.core.panel import FIELDS, Panel
from autotrader.market.universe import Member

from . import plain
from .worlds import configure, edited, market, members, real_market, run

NO_LATCH = ("max_drawdown_pct: 15%", "max_drawdown_pct: 100%")


def compare(found: BacktestResult, account: plain.Account, panel: Panel) -> int:
    """Asserts that both made the same trades and were worth the same at each close; how many trades there were."""
    index = {day.item(): number for number, day in enumerate(panel.dates)}
    ours = [
        (index[t.entered_at.date()], t.symbol, t.strategy, t.direction, t.quantity,
         index[t.exited_at.date()] if t.exited_at else -1, t.exit_reason or "")
        for t in (item.trade for item in found.trades)
    ]  # fmt: skip
    theirs = [
        (t.day, panel.symbols[t.row], t.strategy, "short" if t.short else "long", t.quantity, t.exit_day, t.reason)
        for t in account.trades
    ]
    for left, right in zip(ours, theirs, strict=False):
        assert left == right, f"on {panel.dates[left[0]]}"
    assert len(ours) == len(theirs)
    prices = [(item.trade.entry_price, item.trade.exit_price or np.nan) for item in found.trades]
    np.testing.assert_allclose(prices, [(t.entry, t.exit) for t in account.trades], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.equity, account.closes, rtol=0, atol=1e-6)
    return len(ours)


def plainly(panel: Panel, universe: Sequence[Member], costs: Costs, max_drawdown: float) -> plain.Account:
    return plain.backtest(
        panel, [item.sector for item in universe], 1, panel.sessions, slippage_bps=costs.slippage_bps,
        commission=costs.commission, borrow=costs.borrow, max_drawdown=max_drawdown,
    )  # fmt: skip


@pytest.mark.slow
def test_ten_real_years_trade_as_the_plain_backtest_does(real_data: Path, tmp_path: Path) -> None:
    panel, universe = real_market(real_data)
    found = run(configure(tmp_path), panel, universe=universe, tally=False)
    assert compare(found, plainly(panel, universe, Costs(), 0.15), panel) > 500


@pytest.mark.slow
def test_ten_real_years_with_costs_and_without_the_drawdown_limit_trade_as_the_plain_backtest_does(
    real_data: Path, tmp_path: Path
) -> None:
    panel, universe = real_market(real_data)
    costs = Costs(slippage_bps=3.0, commission=1.0, borrow=0.05)
    found = run(configure(tmp_path, NO_LATCH), panel, universe=universe, costs=costs, tally=False)
    assert compare(found, plainly(panel, universe, costs, 1.0), panel) > 1_500


@pytest.mark.parametrize("seed", range(5))
def test_a_market_with_halts_gaps_and_listings_trades_as_the_plain_backtest_does(tmp_path: Path, seed: int) -> None:
    whole = market(40, date(2017, 1, 3), date(2019, 12, 31), seed)
    random = np.random.default_rng(seed)

    def spoil(fields: dict[str, np.ndarray]) -> None:
        for row in range(len(whole.symbols)):
            absent = np.zeros(whole.sessions, dtype=bool)
            if row % 4 == 0:  # begins or ends inside
                cut = int(random.integers(100, whole.sessions - 100))
                absent[slice(cut, None) if row % 8 else slice(0, cut)] = True
            elif row % 4 == 1:  # halted now and then
                for start in random.integers(0, whole.sessions, 4):
                    absent[start : start + int(random.integers(1, 4))] = True
            for name in FIELDS:
                fields[name][row, absent] = np.nan
            fields["volume"][row, random.integers(0, whole.sessions, 3)] *= 0.0

    panel = edited(whole, spoil)
    universe = members(panel.symbols)
    costs = Costs(slippage_bps=1.0, commission=0.5, borrow=0.02)
    found = run(configure(tmp_path, NO_LATCH), panel, costs=costs)
    assert compare(found, plainly(panel, universe, costs, 1.0), panel) > 50

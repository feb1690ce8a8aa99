"""The same days through the demo and through the backtest, each decision of both written down.

python -m tests.backtest.parity    plays 2020 with all symbols of the real data (AUTOTRADER_TEST_DATA) and compares.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from autotrader.backtest import engine
from autotrader.backtest.minutes import MinuteFiles
from autotrader.core.book import Trade
from autotrader.core.panel import Panel
from autotrader.core.trader import Trader
from autotrader.market.universe import Member
from autotrader.service import demo
from autotrader.validation.load import Configuration

from .worlds import MemoryFeed, configure, real_market, run

# Both see the same bars from the first on: longer than the data, so that no window slides.
ALL_HISTORY = ("history_days: 250", "history_days: 520")
BARS_FROM, FIRST, LAST = date(2019, 1, 2), date(2020, 1, 2), date(2020, 12, 31)


@dataclass(frozen=True)
class Life:
    """What one of the two did. said: everything decided, in order. equity: at each close."""

    said: list[tuple[object, ...]]
    trades: list[tuple[object, ...]]
    equity: list[tuple[date, float]]


class _Recorder(Trader):
    """A trader that writes down what it is asked and what it answers."""

    made: list[_Recorder]

    def __init__(self, *arguments, **keywords) -> None:  # type: ignore[no-untyped-def]
        super().__init__(*arguments, **keywords)
        self.said: list[tuple[object, ...]] = []
        self.made.append(self)

    def plan(self, plan):  # type: ignore[no-untyped-def]
        super().plan(plan)
        for item in plan.candidates:
            c = item.candidate
            self.said.append(
                ("plan", self.book.session, plan.regime, plan.result_age, c.rank, c.symbol, c.strategy, c.direction,
                 c.entry_group, c.score, c.prev_close, c.atr, item.gap_pct, item.status)
            )  # fmt: skip

    def group_due(self, at, group, minute, quotes):  # type: ignore[no-untyped-def]
        step = super().group_due(at, group, minute, quotes)
        account = self.account()
        for outcome in step.outcomes:
            decisions = tuple((d.stage, d.outcome, d.rule, d.matched, d.value, d.evidence) for d in outcome.decisions)
            quantity = outcome.intent and outcome.intent.quantity
            self.said.append((group, self.book.session, outcome.symbol, quantity, outcome.final, account, decisions))
        return step

    def bars(self, at, bars, *, decide=True):  # type: ignore[no-untyped-def]
        step = super().bars(at, bars, decide=decide)
        held = tuple((symbol, bars[symbol]) for symbol in sorted(bars) if symbol in self.book.positions)
        orders = [(order.symbol, order.quantity, order.reason, order.rule) for order in step.orders]
        if held:
            self.said.append(("bars", at, held, *orders))
        return step

    def settled(self, *_path):  # type: ignore[no-untyped-def]
        return False  # point by point, as in the demo; that it makes no difference is shown elsewhere

    def point(self, at, symbol, bar, previous=None):  # type: ignore[no-untyped-def]
        step, price = super().point(at, symbol, bar, previous)
        orders = [(order.quantity, order.reason, order.rule) for order in step.orders]
        self.said.append(("point", at, symbol, price, *orders))
        return step, price


@contextmanager
def _recorded() -> Iterator[list[_Recorder]]:
    """Both make recorders instead of traders meanwhile."""
    _Recorder.made = made = []
    before = demo.Trader, engine.Trader
    demo.Trader = engine.Trader = _Recorder  # type: ignore[misc]
    try:
        yield made
    finally:
        demo.Trader, engine.Trader = before  # type: ignore[misc]


def play_demo(
    configuration: Configuration, panel: Panel, universe: Sequence[Member], first: date, last: date, folder: Path,
    minutes: Path | None = None,
) -> Life:
    """The days through journal, order manager, broker and exchange, along the daily path or over minute bars."""
    days = int(((panel.dates >= first) & (panel.dates <= last)).sum())
    options = demo.DemoOptions(
        folder, days, first, mode="path" if minutes is None else "minutes", minutes=minutes,
        slippage_bps=2.0, commission=1.0, borrow=0.02,
    )  # fmt: skip
    with _recorded() as made:
        desk = demo.Demo(configuration, MemoryFeed(panel), universe, options, lambda tale: None).play()
    desk.journal.close()
    book = desk.trader.book
    return Life(made[0].said, [_facts(trade) for trade in book.all_trades()], book.equity_history)


def play_backtest(
    configuration: Configuration, panel: Panel, universe: Sequence[Member], first: date, last: date,
    minutes: Path | None = None,
) -> Life:
    source = None if minutes is None else MinuteFiles(minutes)
    with _recorded() as made:
        found = run(configuration, panel, first, last, universe=universe, costs=engine.Costs(2.0, 1.0, 0.02),
                    minutes=source)  # fmt: skip
    trades = [_facts(item.trade) for item in found.trades]
    return Life(made[0].said, trades, list(zip(found.sessions, found.equity.tolist(), strict=True)))


def _facts(trade: Trade) -> tuple[object, ...]:
    plan = trade.plan
    return (
        trade.entered_at, trade.symbol, trade.strategy, trade.direction, trade.quantity, trade.entry_price,
        trade.exited_at, trade.exit_price, trade.exit_reason, trade.exit_rule, trade.pnl, trade.mfe, trade.mae,
        trade.costs, trade.bars_held, trade.sessions_held, plan.group, plan.rank, plan.score, plan.stop_distance,
    )  # fmt: skip


def first_difference(one: Life, other: Life) -> str | None:
    """In words; None where both did the same."""
    for name in ("said", "trades", "equity"):
        ours, theirs = getattr(one, name), getattr(other, name)
        for index, (left, right) in enumerate(zip(ours, theirs, strict=False)):
            if left != right and repr(left) != repr(right):  # NaN is itself
                return f"{name} {index}:\n  {left}\n  {right}"
        if len(ours) != len(theirs):
            return f"{name}: {len(ours)} against {len(theirs)}"
    return None


def main() -> None:
    root = Path(__file__).parents[2]
    data = Path(os.environ.get("AUTOTRADER_TEST_DATA", root.parent / "shared" / "data"))
    with tempfile.TemporaryDirectory() as folder:
        configuration = configure(Path(folder), ALL_HISTORY)
        panel, universe = real_market(data, BARS_FROM, LAST)
        began = time.process_time()
        played = play_demo(configuration, panel, universe, FIRST, LAST, Path(folder) / "demo")
        between = time.process_time()
        tested = play_backtest(configuration, panel, universe, FIRST, LAST)
    print(f"{len(universe)} symbols, {len(played.equity)} sessions: {len(played.said):,} decisions and points, "
          f"{len(played.trades)} trades; demo {between - began:.1f} s, "
          f"backtest {time.process_time() - between:.1f} s (CPU)")  # fmt: skip
    difference = first_difference(played, tested)
    sys.exit(f"they differ, demo first: {difference}" if difference else None)


if __name__ == "__main__":
    main()

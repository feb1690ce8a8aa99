"""A desk over a paper exchange and a journal on disk, whose broker fails when it is told to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

from days import CALENDAR, Edit, candidate, configuration

from autotrader.clock import VirtualClock
from autotrader.core import events as ev
from autotrader.core.exits import Bar, Day
from autotrader.core.gap_filter import Quote, gap_filter
from autotrader.core.strategy import Direction
from autotrader.core.trader import Plan, Trader
from autotrader.execution.desk import Desk
from autotrader.journal.store import Journal
from autotrader.market.broker import BrokerOrder
from autotrader.market.exchange import Exchange
from autotrader.plugins.brokers.paper import FaultKind, PaperBroker

MONDAY = date(2020, 3, 2)
OPENS = CALENDAR.opens_at(MONDAY)
MINUTE = timedelta(minutes=1)


class Strikes:
    """Faults by name; each strikes every time, until it is lifted. leg: the only orders that are struck."""

    def __init__(self) -> None:
        self.now: set[FaultKind] = set()
        self.leg = ""

    def strikes(self, kind: FaultKind, client_order_id: str) -> bool:
        return kind in self.now and self.leg in client_order_id


class Office:
    """The world of one desk: it stands at 09:30 on a Monday, with nothing held."""

    def __init__(self, folder: Path, *edits: Edit) -> None:
        self.folder = folder
        self.chosen = configuration(*edits)
        self.clock = VirtualClock(OPENS)
        self.exchange = Exchange(100_000, CALENDAR)
        self.faults = Strikes()
        self.broker = PaperBroker(self.exchange, self.clock, self.faults)
        self.told: list[tuple[str, str]] = []
        self.minute = 0
        self.journal: Journal | None = None
        self.start()

    def start(self) -> None:
        """A process begins, or begins again."""
        if self.journal is not None:
            self.journal.close()
        self.journal = Journal.open(self.folder / "journal.sqlite3", "TEST", initial_cash=100_000.0, clock=self.clock)
        trader = Trader(self.journal.book(), {"now": self.chosen.rulebook}, "t", self._day)
        self.desk = Desk(trader, self.journal, self.broker, CALENDAR, self.clock, self.chosen.rulebook, tell=self._tell)
        self.desk.open_session(MONDAY)
        self.desk.recover()

    def _day(self, _hash: str, symbol: str) -> Day:
        return Day(MONDAY, CALENDAR.number(MONDAY), "TREND", {"rsi": 50.0, "pct_b": 0.5}, 100.0)

    def _tell(self, severity: ev.Severity, subject: str, happened: str, done: str, todo: str) -> None:
        self.told.append((subject, happened))

    @property
    def book(self):  # type: ignore[no-untyped-def]
        return self.desk.trader.book

    def enter(self, symbol: str = "A", price: float = 100.0, direction: Direction = "long") -> None:
        """An entry at 09:30, sent."""
        items = [candidate(symbol, direction=direction, atr=2.0)]
        passed, _, _ = gap_filter(items, {}, self.chosen.rulebook, "TREND", 1)
        self.desk.plan(Plan(tuple(passed), "TREND", 1, "now"))
        self.desk.enter("moo", 0, {symbol: Quote(price, 0.0, 0.0, False, True)})

    def bar(self, price: float, symbol: str = "A", low: float | None = None, high: float | None = None) -> None:
        """One minute passes: the market trades, then the desk looks at it."""
        at = OPENS + self.minute * MINUTE
        low, high = price if low is None else low, price if high is None else high
        self.exchange.on_bar(at, symbol, price, high, low, price, 1000.0)
        self.minute += 1
        self.clock.advance_to(OPENS + self.minute * MINUTE)
        self.look({symbol: Bar(high, low, price, self.minute, 390 - self.minute)})

    def look(self, bars: Mapping[str, Bar] | None = None) -> None:
        self.desk.sync()
        if bars is not None:
            self.desk.bars(OPENS + (self.minute - 1) * MINUTE, bars)
        self.desk.settle()

    def wait(self, seconds: float) -> None:
        self.clock.advance_to(self.clock.now() + timedelta(seconds=seconds))
        self.look()

    def open_at_broker(self, symbol: str = "A") -> list[BrokerOrder]:
        return self.exchange.open_orders(symbol)

    def stop(self, symbol: str = "A") -> BrokerOrder:
        """The one order that is open at the broker, which is a stop."""
        (order,) = self.open_at_broker(symbol)
        assert order.type == "stop"
        return order

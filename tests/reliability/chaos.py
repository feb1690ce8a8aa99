"""A run of a few sessions in which everything goes wrong that can: the market, the broker, and the plug."""

from __future__ import annotations

import logging
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from days import CALENDAR

from autotrader import points
from autotrader.clock import NEW_YORK, VirtualClock
from autotrader.core import events as ev
from autotrader.core.book import Book
from autotrader.core.exits import Day
from autotrader.core.gap_filter import gap_filter
from autotrader.core.trader import Plan, Trader
from autotrader.execution.day import TradingDay
from autotrader.execution.desk import Desk
from autotrader.journal.store import Journal, JournalError
from autotrader.market.broker import BrokerOrder, OrderRequest
from autotrader.market.exchange import Exchange
from autotrader.plugins.brokers.paper import KINDS, FaultKind, PaperBroker, SeededFaults

from .invariants import Invariants
from .market import MINUTE, STARTS, SYMBOLS, Market, Seen, at, last_price, rulebook

CASH = 100_000.0
TAG = "chaos"


class Killed(BaseException):
    """The process is gone, in the middle of whatever it did."""


@dataclass(frozen=True)
class Chaos:
    """What may happen. rate: of each fault of the broker. kills: chance of a kill at each event or named point.

    outage: minutes that a killed process stays away, at most. config: which configuration, None: by the seed.
    """

    seed: int
    rate: float = 0.0
    kinds: Sequence[FaultKind] = KINDS
    kills: float = 0.0
    outage: int = 0
    sessions: int = 2
    config: int | None = None


@dataclass
class Outcome:
    """What came of a run. end: a projection of the account that an uninterrupted run must share."""

    end: dict[str, Any]
    counts: Counter[str] = field(default_factory=Counter)


class _Spied(PaperBroker):
    """The broker, with somebody looking over its shoulder."""

    look: Callable[[OrderRequest], None]

    def submit(self, request: OrderRequest) -> BrokerOrder:
        self.look(request)
        return super().submit(request)


class _Watched(Trader):
    """The decision loop, with somebody looking over its shoulder at every event."""

    look: Callable[[ev.Event, float], None]

    def apply(self, event: ev.Event) -> None:
        equity = self.book.equity(self.prices)
        super().apply(event)
        self.look(event, equity)


class World:
    """The outside: market, broker, disk and time, which outlive every process; and the process."""

    def __init__(self, chaos: Chaos, folder: Path) -> None:
        self.chaos = chaos
        self.folder = folder
        self.rng = random.Random(f"{chaos.seed}/world")
        start = STARTS[chaos.seed % len(STARTS)]
        self.sessions = [start]
        while len(self.sessions) < chaos.sessions:
            self.sessions.append(CALENDAR.next_session(self.sessions[-1]))
        self.rulebook, self.config_hash = rulebook(chaos.seed if chaos.config is None else chaos.config)
        self.clock = VirtualClock(at(start, 9, 25))
        self.exchange = Exchange(CASH, CALENDAR)
        self.faults = SeededFaults(chaos.seed, chaos.rate, chaos.kinds)
        self.broker = _Spied(self.exchange, self.clock, self.faults)
        self.prices = {symbol: self.rng.uniform(20, 400) for symbol in SYMBOLS}
        self.invariants = Invariants(self.exchange, self.rulebook)
        self.counts: Counter[str] = Counter()
        self.away = 0  # minutes that the process will stay down
        self.splits: dict[str, tuple[int, int, float]] = {}  # of the session: symbol -> new, old, cash for a fraction
        self.market: Market | None = None
        self.journal: Journal | None = None
        self.desk: Desk | None = None
        self.day: TradingDay | None = None

    # --- the process ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """A process begins: it knows nothing but what is on the disk and at the broker."""
        market = self.market
        assert market is not None
        journal = Journal.open(self.folder / "journal.sqlite3", "CHAOS", initial_cash=CASH, clock=self.clock)
        self.journal = journal
        book = journal.book()
        self._trap(journal, book)
        trader = _Watched(book, {self.config_hash: self.rulebook}, TAG, self._day_of)
        trader.prices.update({symbol: last_price(market, symbol)[0] for symbol in book.positions})
        trader.look = lambda event, equity: self._event(event, equity, book)
        self.broker.look = lambda request: self.invariants.request(request, journal, book, self.clock.now())
        desk = Desk(trader, journal, self.broker, CALENDAR, self.clock, self.rulebook)
        self.desk = desk
        self.since = self.clock.now()
        self.day = TradingDay(desk, Seen(market), market.session, CALENDAR, self.clock, lambda told: None)
        desk.open_session(market.session)
        self._take_splits(desk)
        desk.recover()
        self.day.begin(self._plan(market))

    def _split(self, session: date) -> None:
        """Before the open, now and then: one of the symbols has other shares, at the broker and in the market."""
        rng = random.Random(f"{self.chaos.seed}/{session}/splits")
        self.splits = {}
        if rng.random() < 0.5:
            symbol, (new, old) = rng.choice(SYMBOLS), rng.choice([(2, 1), (3, 2), (1, 4), (7, 3)])
            self.invariants.resized(symbol, new, old)
            self.prices[symbol] *= old / new
            cash = self.exchange.split(symbol, new, old, self.prices[symbol])
            self.splits[symbol] = (new, old, float(cash))

    def _take_splits(self, desk: Desk) -> None:
        """The process does, once for the session, however often it is started."""
        if desk.done("splits"):
            return
        book = desk.trader.book
        for symbol, (new, old, cash) in self.splits.items():
            before = book.positions.get(symbol)
            if before is not None:
                known = (before.quantity, before.entry_price, before.plan.stop_distance)
                desk.split(symbol, new, old, cash)
                self.counts["splits"] += 1
                self.invariants.split(known, book.positions.get(symbol), new, old)
        desk.finish("splits")

    def _plan(self, market: Market) -> Plan:
        passed, _, _ = gap_filter(market.candidates(), {}, self.rulebook, "UNCERTAIN", 1)
        return Plan(tuple(passed), "UNCERTAIN", 1, self.config_hash)

    def _day_of(self, config_hash: str, symbol: str) -> Day:
        assert self.market is not None
        session = self.market.session
        return Day(session, CALENDAR.number(session), "UNCERTAIN", {"rsi": 50.0, "pct_b": 0.5}, 100.0)

    def die(self) -> None:
        """What a kill leaves: nothing that was not committed."""
        if self.journal is not None:
            self.journal.close()
        self.journal = self.desk = self.day = None

    # --- everything that happens ----------------------------------------------------------------------------------

    def _event(self, event: ev.Event, equity: float, book: Book) -> None:
        market, symbol = self.market, getattr(event, "symbol", None)
        assert market is not None
        price = None if symbol is None else last_price(market, symbol)[0]
        self.invariants.event(event, book, self.clock.now().astimezone(NEW_YORK), price, equity)
        self.maybe_kill()

    def maybe_kill(self) -> None:
        if self.chaos.kills and self.rng.random() < self.chaos.kills:
            self.counts["kills"] += 1
            raise Killed

    def _trap(self, journal: Journal, book: Book) -> None:
        """A kill may strike between any two rows that are added."""
        insert = journal._insert

        def trapped(statement: str, row: tuple[object, ...]) -> bool:
            self.maybe_kill()
            return insert(statement, row)

        journal._insert = trapped  # type: ignore[method-assign]
        append = journal.append

        def heard(event: ev.Event) -> bool:
            if isinstance(event, ev.Leaving | ev.Marked):  # the trader applies these itself
                self.invariants.event(event, book, self.clock.now().astimezone(NEW_YORK), None, 0.0)
            return append(event)

        journal.append = heard  # type: ignore[method-assign]

    # --- the run --------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        try:
            for session in self.sessions:
                self._session(session)
            assert self.desk is not None
            book = self.desk.trader.book
            self.counts |= Counter(self.invariants.counts)
            self.counts["events"] = self.invariants.events
            self.counts["sessions"] = len(self.sessions)
            for kind, count in self.faults.counts.items():
                self.counts[f"fault: {kind}"] = count
            return Outcome(projection(book), self.counts)
        finally:
            points.set_hook(None)
            self.invariants.close()
            self.die()

    def _session(self, session: date) -> None:
        self.clock.advance_to(at(session, 9, 25))
        self.die()
        self._split(session)
        self.market = market = Market(self.chaos.seed, session, self.exchange, self.clock, self.prices)
        self.alive(lambda: None)
        for minute in market.minutes:
            self.clock.advance_to(max(self.clock.now(), market.opens + minute * MINUTE))
            if self.away:
                self.away -= 1
            else:
                self.alive(self._tick)
            market.play(minute)
        self.away = 0
        self.clock.advance_to(CALENDAR.closes_at(session))
        self.alive(self._tick)
        self.exchange.close_session(self.clock.now())
        self.alive(self._close)
        self._settle()

    def alive(self, act: Callable[[], None]) -> None:
        """Has the process do something; one that is killed meanwhile is started again, and does it again."""
        for _ in range(200):
            points.set_hook(lambda _name: self.maybe_kill())
            try:
                if self.day is None:
                    self.start()
                act()
            except Killed:
                points.set_hook(None)
                self.die()
                self.away = self.rng.randint(0, self.chaos.outage) if act == self._tick else 0
                if self.away:
                    return
                continue
            except JournalError:
                self.counts["crashes"] += 1
                points.set_hook(None)
                self.die()
                continue
            points.set_hook(None)
            return
        raise AssertionError("the process does not get beyond this, however often it is started")

    def _tick(self) -> None:
        assert self.day is not None
        assert self.desk is not None
        self.day.tick()
        self.counts["ticks"] += 1
        self.invariants.tick(self.desk.trader.book, self.clock.now(), self.since)

    def _close(self) -> None:
        assert self.day is not None
        self.day.close()

    def _settle(self) -> None:
        """After the close the broker comes clean, and everything must agree."""
        quiet, self.faults._rate = self.faults._rate, 0.0
        close = self.clock.now()
        for minutes in range(1, 40):
            self.clock.advance_to(close + minutes * MINUTE)
            self.alive(self._sync)
            if minutes > 10 and self.desk is not None and not self.desk.orders.unsettled():
                break
        self.faults._rate = quiet
        assert self.desk is not None
        assert self.journal is not None
        self.invariants.quiet(self.desk.trader.book, self.journal)
        off = self.desk.trader.book.differences
        assert not off, f"in the end journal and broker disagree: {off}"

    def _sync(self) -> None:
        assert self.desk is not None
        self.desk.sync()
        self.desk.settle()


def projection(book: Book) -> dict[str, Any]:
    """What of an account must not depend on restarts."""
    return {
        "cash": round(book.cash, 6),
        "trades": [(t.symbol, t.strategy, t.direction, t.quantity, t.entered_at, t.entry_price, t.exited_at,
                    t.exit_price, t.exit_reason, t.exit_rule, round(t.mfe, 6), round(t.mae, 6),
                    # a stop that fills while nobody watches is learned of before the bars that were missed
                    None if t.exit_rule == "protective_stop" else t.bars_held) for t in book.trades],
        "positions": {s: (h.quantity, h.entry_price, h.best_price, h.worst_price, h.bars_held, h.leaving, h.plan)
                      for s, h in book.positions.items()},
        "equity": [(day, round(equity, 6)) for day, equity in book.equity_history],
        "drawdown": round(book.worst_drawdown, 9),
    }  # fmt: skip


def play(chaos: Chaos, folder: Path) -> Outcome:
    """One run. A failure says how to repeat it."""
    logger = logging.getLogger("autotrader")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # thousands of faults are warned of here
    try:
        return World(chaos, folder).run()
    except (AssertionError, JournalError, ValueError, sqlite3.Error) as error:
        raise AssertionError(f"{chaos}: {type(error).__name__}: {error}") from error
    finally:
        logger.setLevel(level)


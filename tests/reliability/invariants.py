"""What must hold after every event, whatever the market, the broker and whoever pulls the plug do."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from days import CALENDAR

from autotrader.core import events as ev
from autotrader.core.book import Book, HeldPosition
from autotrader.core.rulebook import Rulebook
from autotrader.journal.store import Journal
from autotrader.market.broker import OrderRequest
from autotrader.market.exchange import Exchange

from .market import at

LONG_AGO = at(date(2000, 1, 3), 0, 0)
RETRIED = timedelta(minutes=7)  # the longest waits of a refused entry, in a world whose time goes by minutes
GRACE = timedelta(minutes=6)  # in which a cancel at the end of the window is confirmed, by a broker at its worst


class Violation(AssertionError):
    """An invariant does not hold."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name


def _hold(name: str, holds: bool, text: str) -> None:
    if not holds:
        raise Violation(name, text)


@dataclass
class Invariants:
    """One checker for a whole run, over all its processes: it remembers what restarts forget."""

    exchange: Exchange
    rulebook: Rulebook
    events: int = 0
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _exits: set[tuple[object, str]] = field(default_factory=set)  # session, symbol
    _signs: dict[str, int] = field(default_factory=dict)
    _fills: int = 0
    _sent: dict[str, set[str]] = field(default_factory=dict)
    _first: dict[tuple[object, str], ev.Ordered] = field(default_factory=dict)
    _names: dict[tuple[object, str, str], list[str]] = field(default_factory=dict)
    _reader: sqlite3.Connection | None = None

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()

    # --- at every event -------------------------------------------------------------------------------------------

    def event(self, event: ev.Event, book: Book, now: datetime, price: float | None, equity: float) -> None:
        """After an event was applied. price: the last known one of its symbol. equity: before it."""
        self.events += 1
        params = self.rulebook.params.risk.params
        self.counts[type(event).__name__] += 1
        symbols = set(book.positions) | {order.ordered.symbol for order in book.pending_entries()}
        _hold("I1", len(symbols) <= params["max_open_positions"], f"{sorted(symbols)} are open or pending")
        live = Counter(order.ordered.symbol for order in book.orders.values())
        _hold("I2", max(live.values(), default=0) <= 1, f"{sorted(book.orders)} are live at once")
        for order in book.orders.values():
            _hold("I2", order.filled <= order.ordered.quantity, f"{order} is filled beyond its quantity")
        for symbol, held in book.positions.items():
            _hold("I7", held.quantity > 0, f"{symbol} has {held.quantity} shares")
        match event:
            case ev.Ordered():
                self._named(event)
                if event.plan is None:
                    return
                plan = event.plan
                _hold("I6", (event.session, event.symbol) not in self._exits, f"{event.order_id} after an exit today")
                first = self._first.setdefault((event.session, event.symbol), event)
                if first.order_id == event.order_id:  # also when it was lost before it was durable, and decided again
                    self._first[event.session, event.symbol] = first = event
                    cap = equity * params["max_position_pct"] * (1 + 1e-9)
                    _hold("I18", event.quantity * plan.price <= cap, f"{event.order_id} is worth more than {cap:.2f}")
                    _hold("I18", plan.price == price, f"{event.order_id} at {plan.price}, the market is at {price}")
                waited = event.at - first.at
                _hold("I18", waited <= RETRIED, f"{event.order_id} is tried again after {waited}")
            case ev.Leaving() if event.rule != "flatten":
                held = book.positions[event.symbol]
                _hold("I9", event.at >= held.entered_at, f"{event.symbol} is judged on a bar before its fill")
            case ev.Filled():
                _hold("I16", CALENDAR.opens_at(event.session) <= event.at <= CALENDAR.closes_at(event.session),
                      f"{event.order_id} is filled outside the session")  # fmt: skip
            case _:
                pass
        if book.trades and book.session is not None:
            last = book.trades[-1]
            assert last.exited_at is not None
            self._exits.add((last.exited_at.astimezone(now.tzinfo).date(), last.symbol))

    def _named(self, event: ev.Ordered) -> None:
        """An id says what the order is for and the how many-th of it in its session: nothing else goes into it."""
        parts = event.order_id.split("-")
        meant = [f"{event.session:%Y%m%d}", event.strategy, event.symbol, event.leg]
        _hold("I2", [parts[1], *parts[3:6]] == meant, f"{event.order_id} is not what {event} should be called")
        names = self._names.setdefault((event.session, event.symbol, event.leg), [])
        if event.order_id not in names:  # else it was decided, lost before it was durable, and decided again
            names.append(event.order_id)
        _hold("I2", int(parts[6]) == names.index(event.order_id) + 1, f"{event.order_id} comes after {names}")

    def resized(self, symbol: str, new: int, old: int) -> None:
        """The broker's shares of a symbol are others from here on."""
        self._no_flips()
        held = self._signs.get(symbol, 0)
        self._signs[symbol] = (1 if held > 0 else -1) * (abs(held) * new // old)

    def split(self, before: tuple[int, float, float], held: HeldPosition | None, new: int, old: int) -> None:
        """A split keeps value and stop distance, to within a share."""
        quantity, price, distance = before
        if held is None:
            _hold("I10", quantity * new < old, f"{quantity} shares are gone by a split of {old} into {new}")
            return
        value, share = quantity * price, held.entry_price
        _hold("I10", -1e-6 <= value - held.quantity * share < share, f"{value} became {held.quantity} at {share}")
        _hold("I10", abs(held.plan.stop_distance / held.entry_price - distance / price) < 1e-9, "the stop moved")

    # --- at every request -----------------------------------------------------------------------------------------

    def request(self, request: OrderRequest, journal: Journal, book: Book, now: datetime) -> None:
        """Before an order reaches the broker."""
        self.counts["requests"] += 1
        name = request.client_order_id
        _hold("I12", not journal.in_transaction, f"{name} is sent while a transaction is open")
        (synchronous,) = journal._connection.execute("PRAGMA synchronous").fetchone()
        _hold("I12", synchronous == 2, f"{name} is sent without full durability")
        if self._reader is None:  # another connection: it sees what is committed and nothing else
            self._reader = sqlite3.connect(f"file:{journal.path}?mode=ro", uri=True, isolation_level=None)
        found = self._reader.execute("SELECT 1 FROM events WHERE key = ?", (f"Ordered:{name}",)).fetchone()
        _hold("I12", found is not None, f"{name} is sent before it is durable")
        session = book.session
        assert session is not None
        entry = request.intent in {"buy_to_open", "sell_to_open"}
        if entry:
            _hold("I3", at(session, 9, 0) <= now < at(session, 10, 0), f"{name} is sent at {now}")
        for order in self.exchange.open_orders(request.symbol):
            known = order.client_order_id == name or order.status == "pending_cancel"
            _hold("I2", known, f"{name} is sent while {order.client_order_id} is open at the broker")
        if entry:
            intent = self._sent.setdefault(name.rsplit("-", 1)[0], set())
            for earlier in intent - {name}:
                order = self.exchange.order(earlier)
                taken = order is not None and order.status != "rejected"
                _hold("I11", not taken, f"{name} is sent though {earlier} was taken")
            intent.add(name)

    # --- at every tick --------------------------------------------------------------------------------------------

    def tick(self, book: Book, now: datetime, since: datetime) -> None:
        """After everything that was due at a moment was done. since: when the process began."""
        assert book.session is not None
        if now >= max(at(book.session, 10, 0), since) + GRACE:
            names = [order.client_order_id for order in self.exchange.open_orders()]
            late = [name for name in names if "-entry-" in name]
            _hold("I3", not late, f"{late} are open at {now}")
        self._no_flips()

    def _no_flips(self) -> None:
        """The broker's position of a symbol never changes its sign, nor opens by what was to close it."""
        fills = self.exchange.executions(LONG_AGO)
        held = self._signs
        for fill in fills[self._fills :]:
            before = held.get(fill.symbol, 0)
            after = before + (fill.quantity if fill.side == "buy" else -fill.quantity)
            _hold("I7", before * after >= 0, f"{fill.client_order_id} turns {before} into {after} {fill.symbol}")
            opening = "-entry-" in fill.client_order_id
            _hold("I7", opening or abs(after) < abs(before), f"{fill.client_order_id} opens {fill.symbol}")
            held[fill.symbol] = after
        self._fills = len(fills)

    # --- between sessions -----------------------------------------------------------------------------------------

    def quiet(self, book: Book, journal: Journal) -> None:
        """When nothing is on its way: journal, book and broker are one."""
        folded = journal.book()
        _hold("I19", folded.positions == book.positions, "the journal folds to other positions")
        _hold("I19", folded.trades == book.trades, "the journal folds to other trades")
        _hold("I19", abs(folded.cash - book.cash) < 1e-6, "the journal folds to other cash")
        quantities: dict[str, int] = defaultdict(int)
        seen: set[tuple[str, int]] = set()
        sides: dict[str, int] = {}
        for event in journal.events():
            if isinstance(event, ev.Ordered):
                sides[event.order_id] = (1 if event.direction == "long" else -1) * (1 if event.leg == "entry" else -1)
            elif isinstance(event, ev.Filled):
                _hold("I8", (event.order_id, event.cumulative) not in seen, f"{event} is there twice")
                seen.add((event.order_id, event.cumulative))
                quantities[event.order_id.split("-")[4]] += sides[event.order_id] * event.quantity
            elif isinstance(event, ev.Split):
                held = quantities[event.symbol]
                quantities[event.symbol] = (1 if held > 0 else -1) * (abs(held) * event.new // event.old)
        mine = {symbol: held.sign * held.quantity for symbol, held in book.positions.items()}
        sums = {symbol: quantity for symbol, quantity in quantities.items() if quantity}
        _hold("I8", sums == mine, f"fills add up to {sums}, not {mine}")
        theirs = {position.symbol: position.quantity for position in self.exchange.positions()}
        _hold("I5", theirs == mine, f"the broker holds {theirs}, the journal {mine}")
        open_ = {order.client_order_id for order in self.exchange.open_orders()}
        _hold("I5", open_ == set(book.orders), f"open at the broker: {open_}, in the journal: {set(book.orders)}")

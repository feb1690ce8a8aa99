"""The market in time: one account's exchange, moved on minute by minute."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal

from autotrader.clock import NEW_YORK, Calendar, VirtualClock
from autotrader.market.broker import BrokerOrder, OrderUpdate
from autotrader.market.exchange import Exchange
from autotrader.market.playback import MinuteBar
from autotrader.simulator.history import History

MINUTE = timedelta(minutes=1)
PRE_MARKET = time(4)
LONGEST = 390  # minutes of a session


@dataclass(frozen=True, slots=True)
class MinuteEnded:
    """The bars that began at `start`, by symbol, of those that are followed."""

    start: datetime
    bars: tuple[tuple[str, MinuteBar], ...]

    @property
    def at(self) -> datetime:
        return self.start + MINUTE


@dataclass(frozen=True, slots=True)
class Reported:
    """An order changed. position: the shares of its symbol that were held then, signed."""

    update: OrderUpdate
    position: int

    @property
    def at(self) -> datetime:
        return self.update.at


@dataclass(frozen=True, slots=True)
class Morning:
    """04:00 of a session: its splits are applied."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Opened:
    """waiting: the orders that were accepted while the market was closed."""

    at: datetime
    waiting: tuple[BrokerOrder, ...]


@dataclass(frozen=True, slots=True)
class Closed:
    """equity: at the close, USD."""

    session: date
    at: datetime
    equity: Decimal


Happening = Reported | MinuteEnded | Morning | Opened | Closed


@dataclass(frozen=True, slots=True)
class Price:
    """The last price of a symbol and when it was known."""

    price: float
    at: datetime


class World:
    """What time it is, what the market shows at that time, and the account that trades in it.

    followed:    symbols whose minutes are played for others than the account, such as subscribers.
    before_open: called in the morning of each session.
    is_halted:   whether a symbol does not trade now; a minute that begins so has no bar.
    """

    def __init__(
        self,
        history: History,
        exchange: Exchange,
        calendar: Calendar,
        start: datetime,
        is_halted: Callable[[str], bool],
    ) -> None:
        self.history = history
        self.exchange = exchange
        self.calendar = calendar
        self.clock = VirtualClock(start)
        self.followed: Callable[[], Iterable[str]] = tuple
        self.before_open: Callable[[], None] = lambda: None
        self.is_halted = is_halted
        self._silent: set[tuple[str, datetime]] = set()  # halted minutes
        self._traded: datetime | None = None  # the start of the last minute that was matched

    @property
    def now(self) -> datetime:
        return self.clock.now()

    @property
    def session(self) -> date | None:
        """Today's session, if it is one."""
        day = self.now.astimezone(NEW_YORK).date()
        return day if self.calendar.is_session(day) else None

    def is_open(self) -> bool:
        session = self.session
        return session is not None and self.calendar.opens_at(session) <= self.now < self.calendar.closes_at(session)

    # --- moving on ----------------------------------------------------------------------------------------------------

    def advance(self, to: datetime) -> list[Happening]:
        """Moves the time on; what happened, in order. ValueError: `to` lies in the past.

        A minute's bars meet the orders that were submitted by its beginning, when the time leaves it; they are told
        when the minute has ended.
        """
        if to < self.now:
            raise ValueError(f"the market is at {self.now.astimezone(NEW_YORK).isoformat()} and cannot go back")
        told: list[Happening] = []
        while self.now < to:
            self._leave()
            told += self.reports()
            self.clock.advance_to(min(to, self._next_edge()))
            told += self._arrive()
        return told

    def reports(self) -> list[Happening]:
        """What became of orders since the last call."""
        told: list[Happening] = []
        held: dict[str, int] = {}
        for update in reversed(self.exchange.drain_updates()):
            symbol = update.order.symbol
            after = held.get(symbol, self.exchange.position(symbol))
            told.append(Reported(update, after))
            if (fill := update.execution) is not None:
                held[symbol] = after - (fill.quantity if fill.side == "buy" else -fill.quantity)
        return told[::-1]

    def _next_edge(self) -> datetime:
        now = self.now
        day = now.astimezone(NEW_YORK).date()
        session = day if self.calendar.is_session(day) and now < self.calendar.closes_at(day) else None
        session = session or self.calendar.next_session(day)
        opens = self.calendar.opens_at(session)
        if now < self._morning(session):
            return self._morning(session)
        return opens if now < opens else opens + ((now - opens) // MINUTE + 1) * MINUTE

    def _leave(self) -> None:
        """Matches the minute that begins now."""
        at, session = self.now, self.session
        if session is None or not self.is_open() or at == self._traded:
            return
        minute, rest = divmod(at - self.calendar.opens_at(session), MINUTE)
        if rest:
            return
        self._traded = at
        for symbol in self._needed(session, traded=True):
            bar = self.history.minutes(session, symbol).get(minute)
            if self.is_halted(symbol):
                self._silent.add((symbol, at))
            elif bar is not None:
                self.exchange.on_bar(at, symbol, bar.open, bar.high, bar.low, bar.close, bar.volume)

    def _arrive(self) -> list[Happening]:
        at, session = self.now, self.session
        told: list[Happening]
        if session is None:
            return []
        if at == self._morning(session):
            self.before_open()
            told = self.reports()
            self._apply_splits(session)
            return [*told, *self.reports(), Morning(at)]
        opens, closes = self.calendar.opens_at(session), self.calendar.closes_at(session)
        if at == opens:
            waiting = [order for order in self.exchange.open_orders() if order.status == "accepted"]
            return [Opened(at, tuple(waiting))]
        if not opens < at <= closes or (at - opens) % MINUTE:
            return []
        told = [self._minute(session, at - MINUTE)]
        if at == closes:
            self.exchange.close_session(at)
            told += [*self.reports(), Closed(session, at, self.exchange.account().equity)]
        return told

    def _minute(self, session: date, start: datetime) -> MinuteEnded:
        minute = (start - self.calendar.opens_at(session)) // MINUTE
        bars = []
        for symbol in self._needed(session, traded=False):
            bar = self.history.minutes(session, symbol).get(minute)
            if bar is not None and (symbol, start) not in self._silent:
                bars.append((symbol, bar))
        return MinuteEnded(start, tuple(bars))

    def _needed(self, session: date, *, traded: bool) -> list[str]:
        symbols = set(self.followed())
        if traded:
            symbols |= {order.symbol for order in self.exchange.open_orders()}
            symbols |= {position.symbol for position in self.exchange.positions()}
        self.history.prepare(session, symbols)
        return sorted(symbols)

    def _apply_splits(self, session: date) -> None:
        for split in self.history.splits(self.history.symbols, session, session):
            before = self.exchange.last_price(split.symbol) or Decimal(0)  # one that is held has had a price
            self.exchange.split(split.symbol, split.new, split.old, float(before) * split.old / split.new)

    def _morning(self, session: date) -> datetime:
        return datetime.combine(session, PRE_MARKET, NEW_YORK)

    # --- what can be seen now -----------------------------------------------------------------------------------------

    def minutes(self, session: date, symbol: str) -> list[tuple[datetime, MinuteBar]]:
        """The minute bars of a session that have ended by now."""
        opens = self.calendar.opens_at(session)
        ended = (self.now - opens) // MINUTE
        if ended <= 0:
            return []
        return [
            (opens + minute * MINUTE, bar)
            for minute, bar in self.history.minutes(session, symbol).items()
            if minute < ended and (symbol, opens + minute * MINUTE) not in self._silent
        ]

    def last_minute(self, session: date, symbol: str) -> tuple[datetime, MinuteBar] | None:
        """The last of `minutes`."""
        opens = self.calendar.opens_at(session)
        bars = self.history.minutes(session, symbol)
        for minute in range(min((self.now - opens) // MINUTE, LONGEST) - 1, -1, -1):
            start = opens + minute * MINUTE
            if (bar := bars.get(minute)) is not None and (symbol, start) not in self._silent:
                return start, bar
        return None

    def price(self, symbol: str) -> Price | None:
        """The last price: of the session's last minute, before the first one its first price, else the last close.

        Within a minute, which only happens to a clock that runs, it lies between the minute's open and close.
        """
        session, now = self.session, self.now
        if session is not None and now >= self._morning(session):
            opens = self.calendar.opens_at(session)
            bars = self.history.minutes(session, symbol)
            if bars and now <= opens:
                return Price(next(iter(bars.values())).open, now)
            found = self._last_price(session, symbol)
            if found is not None:
                return found
            if bars:
                return Price(next(iter(bars.values())).open, opens)
        return self.last_close(symbol)

    def last_close(self, symbol: str) -> Price | None:
        """Of the last session that has closed; looks back at most twenty sessions."""
        session = self.calendar.last_completed(self.now)
        for _ in range(20):
            bar = self.history.daily(symbol, session)
            if bar is not None:
                return Price(bar.close, self.calendar.closes_at(session))
            session = self.calendar.previous_session(session)
        return None

    def _last_price(self, session: date, symbol: str) -> Price | None:
        opens = self.calendar.opens_at(session)
        bars = self.history.minutes(session, symbol)
        elapsed = self.now - opens
        whole, part = divmod(elapsed, MINUTE)
        running = bars.get(whole)
        if part and running is not None and (symbol, opens + whole * MINUTE) not in self._silent:
            price = running.open + (running.close - running.open) * (part / MINUTE)
            return Price(round(price, 2 if price >= 1 else 4), self.now)
        last = self.last_minute(session, symbol)
        return None if last is None else Price(last[1].close, last[0] + MINUTE)

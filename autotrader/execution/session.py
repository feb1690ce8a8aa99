"""A session in virtual time: the gap filter, the entry groups, the minutes or the path of the day, the close."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise

from autotrader.clock import NEW_YORK, Calendar, VirtualClock
from autotrader.core.entry import Outcome
from autotrader.core.exits import Bar
from autotrader.core.gap_filter import Quote
from autotrader.core.rulebook import Rulebook
from autotrader.core.trader import Step
from autotrader.execution.desk import Desk
from autotrader.market.broker import TimeInForce
from autotrader.market.exchange import Exchange
from autotrader.market.playback import DayBars, Playback

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Told:
    """What a listener hears: an entry group's outcomes, or a step with its exits."""

    at: datetime
    group: str | None
    outcomes: tuple[Outcome, ...] = ()
    step: Step | None = None


Listener = Callable[[Told], None]


@dataclass
class VirtualSession:
    """One session's market and desk, played from the first group to the close."""

    desk: Desk
    playback: Playback
    exchange: Exchange
    calendar: Calendar
    clock: VirtualClock
    rulebook: Rulebook
    listen: Listener
    borrow: float = 0.0

    def play(self, session: date, candidates: Iterable[str]) -> None:
        """The whole session. candidates: symbols that may be entered, whose prices are followed."""
        symbols = sorted({*candidates, *self.desk.trader.book.positions})
        day = self.playback.day(session, symbols)
        quotes = self.playback.pre_market(session, symbols)
        if self.playback.mode == "path":
            self._path(session, day, quotes)
        else:
            self._minutes(session, day, quotes)
        self.clock.advance_to(self.calendar.closes_at(session))
        self.exchange.close_session(self.clock.now())
        self.desk.sync()
        self.desk.close_session(self.borrow)

    # --- minute by minute ---------------------------------------------------------------------------------------

    def _minutes(self, session: date, day: DayBars, quotes: Mapping[str, Quote]) -> None:
        opens, length = self.calendar.opens_at(session), day.minutes
        due = self._groups(session)
        window_end = _at(session, self.rulebook.params.entry.window.closes)
        seen: dict[str, tuple[float, datetime]] = {}
        for minute in range(length):
            at = opens + minute * _MINUTE
            for group in [key for key, when in due.items() if when <= at]:
                self.clock.advance_to(max(due.pop(group), self.clock.now()))
                now = {symbol: self._quote(symbol, quotes, seen, at) for symbol in quotes}
                self._enter(group, minute, now)
            if at >= window_end and self.desk.trader.book.pending_entries():
                self.desk.cancel_entries()
                self.desk.sync()
            self.clock.advance_to(at)
            bars = day.at(minute)
            for symbol, bar in bars:
                self.exchange.on_bar(at, symbol, bar.open, bar.high, bar.low, bar.close, bar.volume)
                seen[symbol] = (bar.close, at + _MINUTE)
            self.clock.advance_to(at + _MINUTE)
            self.desk.sync()
            left = length - minute - 1
            step = self.desk.bars(
                at, {symbol: Bar(bar.high, bar.low, bar.close, minute + 1, left) for symbol, bar in bars}
            )
            if step.orders:
                self.listen(Told(self.clock.now(), None, (), step))

    def _quote(
        self, symbol: str, quotes: Mapping[str, Quote], seen: Mapping[str, tuple[float, datetime]], at: datetime
    ) -> Quote:
        """The last price: the latest bar's close with its age, before the first bar the pre-market price."""
        quote = quotes[symbol]
        price, age = quote.price, quote.age_seconds
        if symbol in seen:
            price, age = seen[symbol][0], (at - seen[symbol][1]).total_seconds()
        return Quote(price, age, quote.spread_pct, quote.corporate_action, self.exchange.shortable(symbol))

    # --- along the daily path -----------------------------------------------------------------------------------

    def _path(self, session: date, day: DayBars, quotes: Mapping[str, Quote]) -> None:
        """MOO entries; exits at the open; later groups at the open's price; the rest of the path, symbol by symbol."""
        opens = self.calendar.opens_at(session)
        book = self.desk.trader.book
        held_before = sorted(book.positions)
        now = {
            symbol: Quote(quote.price, quote.age_seconds, quote.spread_pct, quote.corporate_action,
                          self.exchange.shortable(symbol))
            for symbol, quote in quotes.items()
        }  # fmt: skip
        due = self._groups(session)
        self.clock.advance_to(max(opens, self.clock.now()))
        first = [key for key, when in due.items() if when <= opens]
        for group in first:
            self._enter_on_path(group, now)
        for symbol in held_before:
            self._point(symbol, day, opens, 0, None)
        for group in [key for key in due if key not in first]:
            self._enter_on_path(group, now)
        for symbol in sorted(book.positions):
            points = day.path(symbol, book.positions[symbol].direction)
            for (_, previous), (minute, _) in pairwise(points):
                if symbol not in book.positions:
                    break
                self._point(symbol, day, opens, minute, previous)

    def _enter_on_path(self, group: str, quotes: Mapping[str, Quote]) -> None:
        self._enter(group, 0, quotes)
        for order in self.desk.trader.book.pending_entries():
            symbol = order.ordered.symbol
            self.exchange.on_price(self.clock.now(), symbol, quotes[symbol].price)
        self.desk.sync()

    def _point(self, symbol: str, day: DayBars, opens: datetime, minute: int, previous: float | None) -> None:
        held = self.desk.trader.book.positions[symbol]
        prices = dict(day.path(symbol, held.direction))
        if minute not in prices:
            return
        at = opens + minute * _MINUTE
        bar = Bar.point(prices[minute], minute, day.minutes - minute)
        step, price = self.desk.point(at, symbol, bar, previous)
        if step.orders:
            self.desk.send(step)
            self.exchange.on_price(at, symbol, price)
            self.desk.sync()
            self.listen(Told(at, None, (), step))

    # --- both ---------------------------------------------------------------------------------------------------

    def _groups(self, session: date) -> dict[str, datetime]:
        """Entry groups with their times, in order; those that were carried out before a restart are left out."""
        groups = sorted(self.rulebook.params.entry.groups.items(), key=lambda item: item[1].at)
        return {key: _at(session, group.at) for key, group in groups if not self.desk.done(f"enter:{key}")}

    def _enter(self, group: str, minute: int, quotes: Mapping[str, Quote]) -> None:
        order: TimeInForce = "opg" if self.rulebook.params.entry.groups[group].order == "opg" else "day"
        outcomes = self.desk.enter(group, minute, quotes, order)
        self.listen(Told(self.clock.now(), group, tuple(outcomes)))


def _at(session: date, when: time) -> datetime:
    return datetime.combine(session, when, NEW_YORK)

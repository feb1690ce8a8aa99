"""A session in virtual time: the gap filter, the entry groups, the minutes or the path of the day, the close."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

from autotrader.clock import NEW_YORK, Calendar, VirtualClock
from autotrader.core import events as ev
from autotrader.core.entry import Outcome
from autotrader.core.exits import Bar
from autotrader.core.gap_filter import Quote
from autotrader.core.rulebook import Rulebook
from autotrader.core.trader import Step
from autotrader.execution.desk import Desk
from autotrader.market.broker import TimeInForce
from autotrader.market.exchange import Exchange
from autotrader.market.playback import DayBars, MinuteBar, Playback

SPLITS = "splits"  # the stage that takes them, before the open

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Told:
    """What a listener hears: an entry group's outcomes, or a step with its exits."""

    at: datetime
    group: str | None
    outcomes: tuple[Outcome, ...] = ()
    step: Step | None = None


Listener = Callable[[Told], None]


@dataclass(frozen=True, slots=True)
class _Market:
    """What a session is played on. seen: each symbol's last close so far and when it was known."""

    session: date
    bars: DayBars
    quotes: Mapping[str, Quote]
    opens: datetime
    seen: dict[str, tuple[float, datetime]] = field(default_factory=dict)


@dataclass
class VirtualSession:
    """A session's market and desk: played as a whole, or stage by stage in as many processes."""

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
        market, groups = self._market(session, candidates), self._groups(session)
        if self.playback.mode == "path":
            first = [key for key, when in groups.items() if when <= market.opens]
            self._enter_on_path(market, first)
            self._opening(market)
            self._enter_on_path(market, [key for key in groups if key not in first])
            self._rest_of_path(market)
        else:
            self._minutes(market, 0, market.bars.minutes, groups)
        self._close(session)

    def take_splits(self, session: date) -> list[ev.Split]:
        """Before the open: what is held, and its orders, in the new shares. Once, however often it is asked."""
        book, taken = self.desk.trader.book, []
        splits = self.playback.splits(session)
        if not splits or self.desk.done(SPLITS):
            return []
        for split in splits:
            held = book.positions.get(split.symbol)
            price = math.nan if held is None else self.desk.trader.prices.get(split.symbol, held.entry_price)
            cash = self.exchange.split(split.symbol, split.new, split.old, price * split.old / split.new)
            if held is not None:
                taken.append(self.desk.split(split.symbol, split.new, split.old, float(cash)))
        self.desk.sync()
        self.desk.finish(SPLITS)
        return taken

    def play_to(self, session: date, candidates: Iterable[str], group: str) -> None:
        """On from the last group that was entered up to this one and its fills."""
        market, when = self._market(session, candidates), self._groups(session)[group]
        if self.playback.mode == "path":
            if when > market.opens:
                self._opening(market, decide=not self._after_opening(session))
            self._enter_on_path(market, [group])
            return
        played, minute = self._played(session), self._minute(market, when)
        self._take_in(market, played)
        self._minutes(market, played, minute, {})
        self.clock.advance_to(max(when, self.clock.now()))
        self._enter(market.session, group, minute, self._quotes_at(market, market.opens + minute * _MINUTE))
        self._follow_orders(market, minute)

    def play_out(self, session: date) -> None:
        """On from the last group that was entered to the close."""
        market = self._market(session, ())
        if self.playback.mode == "path":
            self._opening(market, decide=not self._after_opening(session))
            self._rest_of_path(market)
        else:
            played = self._played(session)
            self._take_in(market, played)
            self._minutes(market, played, market.bars.minutes, {})
        self._close(session)

    def _market(self, session: date, candidates: Iterable[str]) -> _Market:
        book = self.desk.trader.book
        symbols = sorted({*candidates, *book.positions, *(order.ordered.symbol for order in book.orders.values())})
        quotes = self.playback.pre_market(session, symbols)
        return _Market(session, self.playback.day(session, symbols), quotes, self.calendar.opens_at(session))

    def _close(self, session: date) -> None:
        self.clock.advance_to(self.calendar.closes_at(session))
        self.exchange.close_session(self.clock.now())
        self.desk.sync()
        self.desk.close_session(self.borrow)

    # --- minute by minute ---------------------------------------------------------------------------------------

    def _minutes(self, market: _Market, start: int, stop: int, groups: Mapping[str, datetime]) -> None:
        """The minutes from `start` to before `stop`, each with the groups that are due by then."""
        due = dict(groups)
        window_end = _at(market.session, self.rulebook.params.entry.window.closes)
        for minute in range(start, stop):
            at = market.opens + minute * _MINUTE
            for group in [key for key, when in due.items() if when <= at]:
                self.clock.advance_to(max(due.pop(group), self.clock.now()))
                self._enter(market.session, group, minute, self._quotes_at(market, at))
            self.clock.advance_to(max(at, self.clock.now()))
            if at >= window_end:
                self._cancel_entries()
            bars = market.bars.at(minute)
            self._trade(market, at, bars)
            self.clock.advance_to(at + _MINUTE)
            self.desk.sync()
            step = self.desk.bars(at, _judged(bars, minute, market.bars.minutes))
            if step.orders:
                self.listen(Told(self.clock.now(), None, (), step))

    def _take_in(self, market: _Market, stop: int) -> None:
        """The minutes before `stop`, which were judged already, by an earlier process."""
        for minute in range(stop):
            at = market.opens + minute * _MINUTE
            bars = market.bars.at(minute)
            self.desk.trader.bars(at, _judged(bars, minute, market.bars.minutes), decide=False)
            for symbol, bar in bars:
                self.exchange.mark(symbol, bar.close)
                market.seen[symbol] = (bar.close, at + _MINUTE)

    def _follow_orders(self, market: _Market, minute: int) -> None:
        """The bars that fill what is open, until nothing is or the window closes; nothing is judged on them."""
        window_end = _at(market.session, self.rulebook.params.entry.window.closes)
        book = self.desk.trader.book
        for later in range(minute, market.bars.minutes):
            at = market.opens + later * _MINUTE
            if not book.pending_entries() and later > minute:
                return
            self.clock.advance_to(max(at, self.clock.now()))
            if at >= window_end:
                self._cancel_entries()
                return
            self._trade(market, at, market.bars.at(later))
            self.desk.sync()

    def _trade(self, market: _Market, at: datetime, bars: Sequence[tuple[str, MinuteBar]]) -> None:
        for symbol, bar in bars:
            self.exchange.on_bar(at, symbol, bar.open, bar.high, bar.low, bar.close, bar.volume)
            market.seen[symbol] = (bar.close, at + _MINUTE)

    def _quotes_at(self, market: _Market, at: datetime) -> dict[str, Quote]:
        """The last prices: the latest bar's close with its age, before the first bar the pre-market price."""
        found = {}
        for symbol, quote in market.quotes.items():
            price, age = quote.price, quote.age_seconds + (at - market.opens).total_seconds()
            if symbol in market.seen:
                price, age = market.seen[symbol][0], (at - market.seen[symbol][1]).total_seconds()
            found[symbol] = Quote(price, age, quote.spread_pct, quote.corporate_action, self.exchange.shortable(symbol))
        return found

    def _minute(self, market: _Market, when: datetime) -> int:
        """The minute at whose beginning a group is entered."""
        return max(0, math.ceil((when - market.opens) / _MINUTE))

    def _played(self, session: date) -> int:
        """How many minutes of the session were played: up to the last group that was entered."""
        opens = self.calendar.opens_at(session)
        done = [when for key, when in self._groups(session, done=True).items()]
        return max((max(0, math.ceil((when - opens) / _MINUTE)) for when in done), default=0)

    # --- along the daily path -----------------------------------------------------------------------------------
    # MOO entries; exits at the open; later groups at the open's price; the rest of the path, point after point.

    def _enter_on_path(self, market: _Market, groups: Iterable[str]) -> None:
        self.clock.advance_to(max(market.opens, self.clock.now()))
        for group in groups:
            self._enter(market.session, group, 0, self._quotes_at(market, market.opens))
            for order in self.desk.trader.book.pending_entries():
                symbol = order.ordered.symbol
                self.exchange.on_price(self.clock.now(), symbol, market.quotes[symbol].price)
            self.desk.sync()

    def _opening(self, market: _Market, *, decide: bool = True) -> None:
        """What was held before is judged at the open. decide: False where an earlier process did."""
        book = self.desk.trader.book
        for symbol in sorted(name for name, held in book.positions.items() if held.session < market.session):
            if decide:
                self._point(market, symbol, 0, None)
            else:
                points = dict(market.bars.path(symbol, book.positions[symbol].direction))
                bars = {symbol: Bar.point(points[0], 0, market.bars.minutes)} if points else {}
                self.desk.trader.bars(market.opens, bars, decide=False)

    def _rest_of_path(self, market: _Market) -> None:
        self._cancel_entries()
        book = self.desk.trader.book
        held = sorted(book.positions)
        paths = {symbol: market.bars.path(symbol, book.positions[symbol].direction) for symbol in held}
        for segment in range(1, max(map(len, paths.values()), default=0)):
            for symbol in held:
                if symbol in book.positions and paths[symbol]:
                    self._point(market, symbol, paths[symbol][segment][0], paths[symbol][segment - 1][1])

    def _after_opening(self, session: date) -> bool:
        """Whether a group was entered after the open, and so after the exits at the open."""
        opens = self.calendar.opens_at(session)
        return any(when > opens for when in self._groups(session, done=True).values())

    def _point(self, market: _Market, symbol: str, minute: int, previous: float | None) -> None:
        held = self.desk.trader.book.positions[symbol]
        prices = dict(market.bars.path(symbol, held.direction))
        if minute not in prices:
            return
        at = market.opens + minute * _MINUTE
        self.clock.advance_to(max(at, self.clock.now()))
        bar = Bar.point(prices[minute], minute, market.bars.minutes - minute)
        step, price = self.desk.point(at, symbol, bar, previous)
        if step.orders:
            self.desk.send(step)
            self.exchange.on_price(at, symbol, price)
            self.desk.sync()
            self.listen(Told(at, None, (), step))

    # --- both ---------------------------------------------------------------------------------------------------

    def _groups(self, session: date, *, done: bool = False) -> dict[str, datetime]:
        """Entry groups with their times, in order: those that are still to be entered, or those that were."""
        groups = sorted(self.rulebook.params.entry.groups.items(), key=lambda item: item[1].at)
        return {key: _at(session, group.at) for key, group in groups if self.desk.done(f"enter:{key}") is done}

    def _enter(self, session: date, group: str, minute: int, quotes: Mapping[str, Quote]) -> None:
        settings = self.rulebook.params.entry.groups[group]
        order: TimeInForce = "opg" if settings.order == "opg" else "day"
        when = _at(session, settings.at)
        # on a path the later groups enter at the open too: their decisions are told apart by the group's own time
        outcomes = self.desk.enter(group, minute, quotes, order, max(when, self.clock.now()))
        self.listen(Told(self.clock.now(), group, tuple(outcomes)))

    def _cancel_entries(self) -> None:
        """The window has closed: no order that opens a position stays open."""
        if self.desk.cancel_entries():
            self.desk.sync()


def _judged(bars: Sequence[tuple[str, MinuteBar]], minute: int, minutes: int) -> dict[str, Bar]:
    left = minutes - minute - 1
    return {symbol: Bar(bar.high, bar.low, bar.close, minute + 1, left) for symbol, bar in bars}


def _at(session: date, when: time) -> datetime:
    return datetime.combine(session, when, NEW_YORK)

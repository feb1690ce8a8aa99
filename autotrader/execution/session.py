"""A session in virtual time: the gap filter, the entry groups, the minutes or the path of the day, the close."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time

from autotrader.clock import NEW_YORK, Calendar, VirtualClock
from autotrader.core import events as ev
from autotrader.core.daily_path import Leave, later_points, open_point
from autotrader.core.exits import Bar
from autotrader.core.gap_filter import Quote
from autotrader.core.rulebook import Rulebook
from autotrader.core.trader import Plan, Step
from autotrader.execution.day import MINUTE, Listener, Told, TradingDay
from autotrader.execution.desk import Desk
from autotrader.market.exchange import Exchange
from autotrader.market.playback import DayBars, MinuteBar, Playback

SPLITS = "splits"  # the stage that takes them, before the open


@dataclass
class _Market:
    """A session's market, as far as the clock has come. seen: each symbol's last close and when it was known."""

    session: date
    bars: DayBars
    pre_market: Mapping[str, Quote]
    opens: datetime
    exchange: Exchange
    clock: VirtualClock
    seen: dict[str, tuple[float, datetime]] = field(default_factory=dict)
    told: int = 0  # minutes that were handed over

    def play(self, minute: int) -> None:
        """The exchange matches the bars of one minute, and the clock moves to its end."""
        at = self.opens + minute * MINUTE
        for symbol, bar in self.bars.at(minute):
            self.exchange.on_bar(at, symbol, bar.open, bar.high, bar.low, bar.close, bar.volume)
        self.clock.advance_to(at + MINUTE)

    def minutes(self, symbols: Collection[str]) -> Sequence[tuple[int, Mapping[str, Bar]]]:
        """See Prices."""
        complete = min(self.bars.minutes, (self.clock.now() - self.opens) // MINUTE)
        found = []
        for minute in range(self.told, complete):
            bars, left = self.bars.at(minute), self.bars.minutes - minute - 1
            for symbol, bar in bars:
                self.seen[symbol] = (bar.close, self.opens + (minute + 1) * MINUTE)
            found.append((minute, {name: _judged(bar, minute, left) for name, bar in bars if name in symbols}))
        self.told = max(self.told, complete)
        return found

    def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """The last prices: the latest bar's close with its age, before the first bar the pre-market price."""
        found = {}
        for symbol in symbols:
            quote = self.pre_market.get(symbol)
            if quote is None:
                continue
            at = self.clock.now()
            price, age = quote.price, quote.age_seconds + max(0.0, (at - self.opens).total_seconds())
            if symbol in self.seen:
                price, age = self.seen[symbol][0], (at - self.seen[symbol][1]).total_seconds()
            found[symbol] = Quote(price, age, quote.spread_pct, quote.corporate_action, self.exchange.shortable(symbol))
        return found


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

    def play(self, session: date, plan: Plan | None) -> None:
        """The whole session, or the rest of it where some was played before a restart."""
        day, market = self._begin(session, plan)
        if self.playback.mode == "path":
            groups = day.groups()
            first = [key for key, when in groups.items() if when <= market.opens]
            self._enter_on_path(market, first)
            self._opening(market)
            self._enter_on_path(market, [key for key in groups if key not in first])
            self._rest_of_path(market)
        else:
            self._minutes(day, market, market.bars.minutes, None)
        self._close(day)

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

    def play_to(self, session: date, plan: Plan, group: str) -> None:
        """On from the last group that was entered up to this one and its fills."""
        day, market = self._begin(session, plan)
        when = day.groups()[group]
        if self.playback.mode == "path":
            if when > market.opens:
                self._opening(market, decide=not self._after_opening(day))
            self._enter_on_path(market, [group])
            return
        self._catch_up(day, market)
        minute = max(0, math.ceil((when - market.opens) / MINUTE))
        self._minutes(day, market, minute, ())
        self.clock.advance_to(max(when, self.clock.now()))
        day.tick((group,))
        self._follow_orders(market, minute)

    def play_out(self, session: date) -> None:
        """On from the last group that was entered to the close."""
        day, market = self._begin(session, None)
        if self.playback.mode == "path":
            self._opening(market, decide=not self._after_opening(day))
            self._rest_of_path(market)
        else:
            self._catch_up(day, market)
            self._minutes(day, market, market.bars.minutes, ())
        self._close(day)

    def _begin(self, session: date, plan: Plan | None) -> tuple[TradingDay, _Market]:
        book = self.desk.trader.book
        chosen = () if plan is None else (item.candidate.symbol for item in plan.candidates)
        symbols = sorted({*chosen, *book.positions, *(order.ordered.symbol for order in book.orders.values())})
        quotes, bars = self.playback.pre_market(session, symbols), self.playback.day(session, symbols)
        market = _Market(session, bars, quotes, self.calendar.opens_at(session), self.exchange, self.clock)
        day = TradingDay(self.desk, market, session, self.calendar, self.clock, self.listen)
        day.begin(plan)
        return day, market

    def _close(self, day: TradingDay) -> None:
        self.clock.advance_to(max(day.closes, self.clock.now()))
        self.exchange.close_session(self.clock.now())
        day.close(self.borrow)

    # --- minute by minute ---------------------------------------------------------------------------------------

    def _minutes(self, day: TradingDay, market: _Market, stop: int, groups: Collection[str] | None) -> None:
        """From where the clock stands to the minute `stop`, with a tick before each minute and one after the last."""
        early = {when for when in day.groups().values() if self.clock.now() < when < market.opens}
        for when in sorted(early) if groups is None else ():  # orders for the opening auction
            self.clock.advance_to(when)
            day.tick(groups)
        self.clock.advance_to(max(market.opens, self.clock.now()))
        for minute in range((self.clock.now() - market.opens) // MINUTE, stop):
            day.tick(groups)
            market.play(minute)
        day.tick(groups)

    def _catch_up(self, day: TradingDay, market: _Market) -> None:
        """To the minute up to which earlier processes played: that of the last group that was entered."""
        done = day.groups(done=True).values()
        played = max((max(0, math.ceil((when - market.opens) / MINUTE)) for when in done), default=0)
        self.clock.advance_to(max(market.opens + played * MINUTE, self.clock.now()))
        for minute in range(played):
            for symbol, bar in market.bars.at(minute):
                self.exchange.mark(symbol, bar.close)

    def _follow_orders(self, market: _Market, minute: int) -> None:
        """The bars that fill what is open, until nothing is or the window closes; nothing is judged on them."""
        window_end = _at(market.session, self.rulebook.params.entry.window.closes)
        book = self.desk.trader.book
        for later in range(minute, market.bars.minutes):
            if not book.pending_entries():
                return
            if self.clock.now() >= window_end:
                self.desk.end_entries()
                self.desk.sync()
                return
            market.play(later)
            self.desk.sync()

    # --- along the daily path -----------------------------------------------------------------------------------
    # In the order of core/daily_path.py, with orders that are sent, filled and journaled.

    def _enter_on_path(self, market: _Market, groups: Iterable[str]) -> None:
        for group in groups:
            due = _at(market.session, self.rulebook.params.entry.groups[group].at)
            self.clock.advance_to(max(min(due, market.opens), self.clock.now()))  # the opening auction's before it
            # the later groups enter at the open too: their decisions are told apart by the group's own time
            when = max(due, self.clock.now())
            outcomes = self.desk.enter(group, 0, market.quotes(list(market.pre_market)), when)
            self.listen(Told(self.clock.now(), group, tuple(outcomes)))
            if self.clock.now() >= market.opens:
                self._fill_entries(market)
        self.clock.advance_to(max(market.opens, self.clock.now()))
        self._fill_entries(market)

    def _fill_entries(self, market: _Market) -> None:
        """At the open, whenever they were decided."""
        for order in self.desk.trader.book.pending_entries():
            symbol = order.ordered.symbol
            self.exchange.on_price(self.clock.now(), symbol, market.pre_market[symbol].price)
        self.desk.sync()

    def _opening(self, market: _Market, *, decide: bool = True) -> None:
        """What was held before is judged at the open. decide: False where an earlier process did."""
        book = self.desk.trader.book
        before = sorted(name for name, held in book.positions.items() if held.session < market.session)
        if decide:
            leave = self._leaving()
            open_point(self.desk.trader, market.opens, market.bars.minutes, before, market.bars.path, leave)
            return
        for symbol in before:
            points = dict(market.bars.path(symbol, book.positions[symbol].direction))
            if points:
                self.desk.take_in(market.opens, {symbol: Bar.point(points[0], 0, market.bars.minutes)})

    def _rest_of_path(self, market: _Market) -> None:
        self.desk.end_entries()
        self.desk.sync()
        leave = self._leaving()
        later_points(self.desk.trader, market.opens, market.bars.minutes, market.bars.path, leave)

    def _leaving(self) -> Leave:
        def leave(at: datetime, symbol: str, step: Step, price: float) -> None:
            self.clock.advance_to(max(at, self.clock.now()))
            self.desk.carry_out(step)
            if step.orders:
                self.exchange.on_price(at, symbol, price)
                self.desk.sync()
                self.listen(Told(at, None, (), step))

        return leave

    def _after_opening(self, day: TradingDay) -> bool:
        """Whether a group was entered after the open, and so after the exits at the open."""
        return any(when > day.opens for when in day.groups(done=True).values())


def _judged(bar: MinuteBar, minute: int, left: int) -> Bar:
    return Bar(bar.high, bar.low, bar.close, minute + 1, left)


def _at(session: date, when: time) -> datetime:
    return datetime.combine(session, when, NEW_YORK)

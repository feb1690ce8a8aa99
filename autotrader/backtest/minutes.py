"""A session of the backtest on minute bars; symbols without any go along their daily path in between."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Protocol

from autotrader.core import events as ev
from autotrader.core.daily_path import PathOf
from autotrader.core.exits import POINTS, Bar
from autotrader.core.gap_filter import Quote
from autotrader.core.panel import FIELDS
from autotrader.core.trader import Step, Trader
from autotrader.market.feed import ShareSplit
from autotrader.market.minutes import MinuteBars, load_minutes, minute_range

_MINUTE = timedelta(minutes=1)
_ANOTHER_BASIS = 0.10  # how far the last minute's close may be from the daily one before neither is believed

Fields = tuple[float, float, float, float, float]  # open, high, low, close, volume


class MinuteSource(Protocol):
    """Where minute bars can be had."""

    def bars(self, session: date, symbols: Sequence[str]) -> Mapping[str, MinuteBars]:
        """Those that there are; a symbol without any in the session is absent."""
        ...


class MinuteFiles:
    """The minute bars among the parquet files of a folder, in the shares of after the given splits."""

    def __init__(self, path: Path, splits: Sequence[ShareSplit] = ()) -> None:
        self._path = path
        self._splits = splits

    @cached_property
    def _range(self) -> tuple[date, date] | None:
        return minute_range(self._path)

    def bars(self, session: date, symbols: Sequence[str]) -> Mapping[str, MinuteBars]:
        if not symbols or self._range is None or not self._range[0] <= session <= self._range[1]:
            return {}
        found = load_minutes(self._path, symbols, session)
        return {symbol: self._adjusted(bars, session) for symbol, bars in found.items() if bars.minute.size}

    def _adjusted(self, bars: MinuteBars, session: date) -> MinuteBars:
        later = [split for split in self._splits if split.symbol == bars.symbol and split.session > session]
        if not later:
            return bars
        ratio = math.prod(split.new / split.old for split in later)
        prices = {name: getattr(bars, name) / ratio for name in ("open", "high", "low", "close")}
        return replace(bars, **prices, volume=bars.volume * ratio)


@dataclass(frozen=True, slots=True)
class Misfit:
    """Minute bars on another price basis than the daily bar. ratio: their last close over the daily one."""

    symbol: str
    session: date
    ratio: float


def misfit(bars: MinuteBars, session: date, daily_close: float) -> Misfit | None:
    """None where they fit, or where there is no daily bar to hold them against."""
    if not daily_close > 0:
        return None
    ratio = float(bars.close[-1]) / daily_close
    return Misfit(bars.symbol, session, ratio) if abs(math.log(ratio)) > _ANOTHER_BASIS else None


class Floor(Protocol):
    """Who makes orders of decisions, and trades of fills."""

    def ask(self, at: datetime, group: str, minute: int, quotes: Mapping[str, Quote]) -> Sequence[ev.Ordered]: ...

    def leave(self, step: Step) -> Sequence[ev.Ordered]: ...

    def fill(self, ordered: ev.Ordered, at: datetime, price: float) -> None: ...

    def place(self, ordered: ev.Ordered) -> None: ...

    def end(self, ordered: ev.Ordered, at: datetime, status: ev.Ended) -> None: ...


@dataclass
class MinuteSession:
    """One session. An order is filled at the open of the symbol's next bar with volume, a protective stop inside one.

    bars: of the symbols that are played by them. path_of: of the others. quotes: the first prices of the candidates.
    groups: entry groups with their times, in order. window_ends: no entry stays open after it.
    """

    trader: Trader
    floor: Floor
    session: date
    opens: datetime
    minutes: int
    bars: Mapping[str, MinuteBars]
    path_of: PathOf
    quotes: Mapping[str, Quote]
    groups: Sequence[tuple[str, datetime]]
    window_ends: datetime
    _waiting: dict[str, ev.Ordered] = field(init=False, default_factory=dict)  # by symbol: live orders
    _stops: dict[str, ev.Ordered] = field(init=False, default_factory=dict)
    _seen: dict[str, tuple[float, datetime]] = field(init=False, default_factory=dict)  # last close, when known
    _next: dict[str, int] = field(init=False, default_factory=dict)  # of path symbols: the point that comes next

    def play(self, overnight: Sequence[ev.Ordered]) -> list[ev.Ordered]:
        """The whole session, up to its close.

        overnight: exits decided on the last minute of the session before; what is returned was on that of this one.
        """
        self._waiting |= {ordered.symbol: ordered for ordered in overnight}
        due = list(self.groups)
        third = self.minutes // 3
        points = {third * number: number for number in range(POINTS - 1)}
        by_minute = self._by_minute()
        held_before = [symbol for symbol in sorted(self.trader.book.positions) if symbol not in self.bars]
        self._next = dict.fromkeys(held_before, 0)
        for minute in range(self.minutes):
            at = self.opens + minute * _MINUTE
            while due and due[0][1] <= at:
                self._enter(at, due.pop(0)[0], minute)
            if minute == 0:
                self._fill_at_open(at)
            if minute in points:
                self._points(at, minute, points[minute])
            if at >= self.window_ends:
                self._end_entries(at)
            self._protect(at)
            self._bars(at, minute, by_minute.get(minute, ()))
        closes = self.opens + self.minutes * _MINUTE
        self._points(closes, self.minutes, POINTS - 1)
        return self._close(closes)

    def _enter(self, at: datetime, group: str, minute: int) -> None:
        quotes = {symbol: self._quote(symbol, quote, at) for symbol, quote in self.quotes.items()}
        for ordered in self.floor.ask(at, group, minute, quotes):
            if ordered.symbol in self.bars:
                self._waiting[ordered.symbol] = ordered
            else:  # a daily bar has no other price for an entry than its open
                self.floor.fill(ordered, self.opens, quotes[ordered.symbol].price)
                self._next[ordered.symbol] = 1

    def _quote(self, symbol: str, first: Quote, at: datetime) -> Quote:
        """The last bar's close with its age; before the first one, and along a path, the session's first price."""
        if symbol not in self.bars:
            return first
        price, known = self._seen.get(symbol, (first.price, self.opens))
        return first._replace(price=price, age_seconds=(at - known).total_seconds())

    def _fill_at_open(self, at: datetime) -> None:
        """What was decided at the last close, of symbols that today have no minute bars."""
        for symbol in [name for name in self._waiting if name not in self.bars]:
            path = self.path_of(symbol, self._waiting[symbol].direction)
            if path:
                self.floor.fill(self._waiting.pop(symbol), at, path[0][1])

    def _points(self, at: datetime, minute: int, number: int) -> None:
        """The points of paths up to this one, symbols in order."""
        book = self.trader.book
        for symbol in sorted(self._next):
            while symbol in book.positions and self._next[symbol] <= number:
                following = self._next[symbol]
                self._next[symbol] = following + 1
                path = self.path_of(symbol, book.positions[symbol].direction)
                if following >= len(path):
                    break
                previous = None if following == 0 else path[following - 1][1]
                bar = Bar.point(path[following][1], minute, self.minutes - minute)
                step, price = self.trader.point(at, symbol, bar, previous)
                for ordered in self.floor.leave(step):
                    self.floor.fill(ordered, at, price)

    def _protect(self, at: datetime) -> None:
        """A stop for every position on minute bars that has none and is not being left."""
        held = self.trader.book.positions
        if all(symbol in self._stops or symbol not in self.bars for symbol in held):
            return
        for ordered in self.trader.protect(at).orders:
            if ordered.symbol in self.bars:
                self.floor.place(ordered)
                self._stops[ordered.symbol] = ordered

    def _bars(self, at: datetime, minute: int, bars: Sequence[tuple[str, Fields]]) -> None:
        for symbol, (open_, high, low, close, volume) in bars:
            if volume > 0 and symbol in self._waiting:
                self.floor.fill(self._waiting.pop(symbol), at, open_)
            if volume > 0 and symbol in self._stops:
                price = _touched(self._stops[symbol], open_, high, low)
                if price is not None:
                    self.floor.fill(self._stops.pop(symbol), at, price)
            self._seen[symbol] = close, at + _MINUTE
        left = self.minutes - minute - 1
        judged = {symbol: Bar(high, low, close, minute + 1, left) for symbol, (_, high, low, close, _) in bars}
        step = self.trader.bars(at, judged)
        for ordered in self.floor.leave(step):
            self._waiting[ordered.symbol] = ordered
        if step.cancels:  # a stop stands in an exit's way: it is ended, and in the same moment the exit ordered
            for symbol in [name for name, stop in self._stops.items() if stop.order_id in step.cancels]:
                self.floor.end(self._stops.pop(symbol), at + _MINUTE, "canceled")
            for ordered in self.floor.leave(self.trader.pursue(at + _MINUTE)):
                self._waiting[ordered.symbol] = ordered

    def _end_entries(self, at: datetime) -> None:
        for symbol in [name for name, ordered in self._waiting.items() if ordered.leg == "entry"]:
            self.floor.end(self._waiting.pop(symbol), at, "canceled")

    def _close(self, at: datetime) -> list[ev.Ordered]:
        """Orders are good for the day; only what the last bar has decided is for the next one.

        Stops, which are good till canceled, are placed anew in the next session that has minute bars.
        """
        for stop in self._stops.values():
            self.floor.end(stop, at, "canceled")
        kept = []
        for ordered in self._waiting.values():
            if ordered.leg == "exit" and ordered.at >= at - _MINUTE:
                kept.append(ordered)
            else:
                self.floor.end(ordered, at, "expired")
        return kept

    def _by_minute(self) -> Mapping[int, Sequence[tuple[str, Fields]]]:
        found: dict[int, list[tuple[str, Fields]]] = {}
        for symbol in sorted(self.bars):
            bars = self.bars[symbol]
            columns = (getattr(bars, name).tolist() for name in FIELDS)
            for minute, *values in zip(bars.minute.tolist(), *columns, strict=True):
                found.setdefault(minute, []).append((symbol, tuple(values)))
        return found


def _touched(stop: ev.Ordered, open_: float, high: float, low: float) -> float | None:
    """The price at which a bar fills a stop, if it does: its own, or the open that has passed it already."""
    level = stop.stop_price
    assert level is not None
    if stop.direction == "long":
        return min(open_, level) if low <= level else None
    return max(open_, level) if high >= level else None

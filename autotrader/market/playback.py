"""The market that a virtual day is played on: minute bars, real or made up, or the daily bar as a path of points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from autotrader.clock import Calendar
from autotrader.core.daily_path import DailyPath, daily_path
from autotrader.core.gap_filter import Quote
from autotrader.core.panel import FIELDS, Panel
from autotrader.core.strategy import Direction
from autotrader.market.feed import ShareSplit
from autotrader.market.minutes import MinuteBars, load_minutes, minutes_of_day

Mode = Literal["minutes", "path"]


class DailyBars(Protocol):
    """What is needed of a feed (market/feed.py)."""

    def daily_bars(self, symbols: Sequence[str], last: date, sessions: int | None) -> Panel: ...


@dataclass(frozen=True, slots=True)
class DailyBar:
    """USD and shares."""

    open: float
    high: float
    low: float
    close: float
    volume: float


class MinuteBar(NamedTuple):
    """One bar as plain numbers; thousands are made a day. minute: from the open to its start."""

    minute: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class DayBars:
    """A session's market for some symbols; one without bars (a halt, no data) is in none of the mappings.

    minutes: the length of the session, 390, on half days 210.
    bars:    minute bars by symbol; empty in mode "path".
    daily:   daily bars by symbol. Beside real minute bars they may be on another price basis.
    """

    def __init__(
        self, session: date, minutes: int, bars: Mapping[str, MinuteBars], daily: Mapping[str, DailyBar]
    ) -> None:
        self.session = session
        self.minutes = minutes
        self.bars = bars
        self.daily = daily

    def at(self, minute: int) -> Sequence[tuple[str, MinuteBar]]:
        """The bars that start `minute` minutes after the open, by symbol."""
        return self._by_minute.get(minute, ())

    def path(self, symbol: str, direction: Direction) -> DailyPath:
        """The daily bar as (minute, price): open, adverse extreme, favourable extreme, close, a third of the day apart.

        Empty where the symbol has no daily bar. A half day's points lie at 0, 70, 140 and 210.
        """
        bar = self.daily.get(symbol)
        return () if bar is None else daily_path(self.minutes, direction, bar.open, bar.high, bar.low, bar.close)

    @cached_property
    def _by_minute(self) -> Mapping[int, Sequence[tuple[str, MinuteBar]]]:
        found: dict[int, list[tuple[str, MinuteBar]]] = {}
        for symbol in sorted(self.bars):
            bars = self.bars[symbol]
            for row in zip(bars.minute.tolist(), *(getattr(bars, field).tolist() for field in FIELDS), strict=True):
                found.setdefault(row[0], []).append((symbol, MinuteBar(*row)))
        return found


class Playback:
    """Days to play, from daily bars and, where there are any, real minute bars.

    minutes: a file or folder of minute bars; a symbol that has a row there on a session is played by them, as they
    are, and by none made up. Mode "path" reads daily bars alone. splits: those that the bars are not adjusted for;
    None: nobody has said whether there are any.
    """

    def __init__(
        self,
        feed: DailyBars,
        calendar: Calendar,
        mode: Mode = "minutes",
        seed: int = 0,
        minutes: Path | None = None,
        splits: Sequence[ShareSplit] | None = None,
    ) -> None:
        self.mode = mode
        self._splits = splits
        self._feed = feed
        self._calendar = calendar
        self._seed = seed
        self._path = minutes if mode == "minutes" else None
        self._session: date | None = None  # the one that the rest is of: days are played in order, a few calls each
        self._daily: dict[str, DailyBar | None] = {}
        self._bars: dict[str, MinuteBars] = {}

    def day(self, session: date, symbols: Sequence[str]) -> DayBars:
        """The session's market for these symbols.

        CalendarError: no session. FeedError: the feed has no data for it. BarsError: bars that are none.
        """
        self._load(session, symbols)
        daily = {symbol: bar for symbol in symbols if (bar := self._daily[symbol]) is not None}
        bars = {symbol: self._bars[symbol] for symbol in symbols if symbol in self._bars}
        return DayBars(session, self._minutes(session), {s: b for s, b in bars.items() if b.minute.size}, daily)

    def pre_market(self, session: date, symbols: Sequence[str]) -> dict[str, Quote]:
        """Before the open: the session's first price, of age and spread 0; nothing for a symbol without a bar."""
        day = self.day(session, symbols)
        first = {symbol: bar.open for symbol, bar in day.daily.items() if 0 < bar.open < math.inf}
        if self.mode == "minutes":
            first = {symbol: float(bars.open[0]) for symbol, bars in day.bars.items()}
        split = {item.symbol for item in self.splits(session)}
        return {
            symbol: Quote(price, 0.0, 0.0, None if self._splits is None else symbol in split)
            for symbol, price in first.items()
        }

    def splits(self, session: date) -> list[ShareSplit]:
        """Those that take effect before the open of the session."""
        return [split for split in self._splits or () if split.session == session]

    def _minutes(self, session: date) -> int:
        return (self._calendar.closes_at(session) - self._calendar.opens_at(session)) // timedelta(minutes=1)

    def _load(self, session: date, symbols: Sequence[str]) -> None:
        if session != self._session:
            self._session, self._daily, self._bars = session, {}, {}
        wanted = [symbol for symbol in dict.fromkeys(symbols) if symbol not in self._daily]
        if not wanted:
            return
        minutes = self._minutes(session)
        daily = self._read_daily(session, wanted)
        real = load_minutes(self._path, wanted, session) if self._path is not None else {}
        for symbol in wanted:
            bar = daily.get(symbol)
            self._daily[symbol] = bar
            if self.mode == "path":
                continue
            if symbol in real:
                self._bars[symbol] = real[symbol]
            elif bar is not None:
                self._bars[symbol] = minutes_of_day(
                    symbol, session, bar.open, bar.high, bar.low, bar.close, bar.volume, minutes, self._seed
                )

    def _read_daily(self, session: date, symbols: Sequence[str]) -> dict[str, DailyBar]:
        panel = self._feed.daily_bars(symbols, session, 1)
        if not panel.sessions or panel.dates[-1].item() != session:
            return {}
        found = {}
        for row, symbol in enumerate(panel.symbols):
            values = [float(getattr(panel, field)[row, -1]) for field in FIELDS]
            if not any(math.isnan(value) for value in values):
                found[symbol] = DailyBar(*values)
        return found

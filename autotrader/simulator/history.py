"""What the market did: daily bars as they were traded and after later splits, and the minutes of a session."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from autotrader.clock import Calendar
from autotrader.core.panel import FIELDS, Panel
from autotrader.market.feed import Feed, ShareSplit
from autotrader.market.minutes import MinuteBars
from autotrader.market.playback import DailyBar, MinuteBar, Playback

PRICES = FIELDS[:4]
AHEAD = timedelta(days=120)  # read beyond what is asked for, so that a run that moves on rarely reads again
REMEMBERED = 1200  # symbol-sessions of minutes, up to 0.1 MB each


class History:
    """Bars of a fixed set of symbols, read once, and splits. Days beyond the source's end have no bars.

    splits: those that the source's bars are not adjusted for. One that is added later is not in the source: its prices
    are rescaled from that session on, and what was traded before stays as it was.
    """

    def __init__(
        self,
        feed: Feed,
        symbols: Sequence[str],
        calendar: Calendar,
        start: date,
        seed: int = 0,
        minutes: Path | None = None,
        splits: Sequence[ShareSplit] = (),
    ) -> None:
        self.symbols = tuple(symbols)
        self._feed = feed
        self._splits = list(splits)
        self._made: list[ShareSplit] = []
        self._row = {symbol: row for row, symbol in enumerate(self.symbols)}
        self._panel: Panel | None = None
        self._column: dict[date, int] = {}
        self._horizon = date.min
        self._upto(start)
        self._playback = Playback(self, calendar, seed=seed, minutes=minutes)
        self._real = minutes is not None
        self._minutes: dict[tuple[date, str], MinuteBars | None] = {}
        self._rows: dict[tuple[date, str], dict[int, MinuteBar]] = {}

    def knows(self, symbol: str) -> bool:
        return symbol in self._row

    # --- splits -------------------------------------------------------------------------------------------------------

    def split(self, split: ShareSplit) -> None:
        """Makes a split before the open of its session, which must not have been looked at yet."""
        self._splits.append(split)
        self._made.append(split)

    def splits(self, symbols: Iterable[str], first: date, last: date) -> list[ShareSplit]:
        """Those with a session from `first` to `last`, both included, in order."""
        wanted = set(symbols)
        found = [split for split in self._splits if split.symbol in wanted and first <= split.session <= last]
        return sorted(found, key=lambda split: (split.session, split.symbol))

    def ratio(self, symbol: str, after: date, until: date) -> float:
        """New shares for an old one over the splits after `after` up to and including `until`."""
        return _ratio(self._splits, symbol, after, until)

    def _rescale(self, symbol: str, session: date) -> float:
        """By what the source's prices of a session are divided."""
        return _ratio(self._made, symbol, date.min, session)

    # --- daily --------------------------------------------------------------------------------------------------------

    def daily(self, symbol: str, session: date) -> DailyBar | None:
        """As it was traded."""
        panel = self._upto(session)
        column, row = self._column.get(session), self._row.get(symbol)
        if column is None or row is None:
            return None
        values = [float(getattr(panel, field)[row, column]) for field in FIELDS]
        if any(math.isnan(value) for value in values):
            return None
        return _traded(DailyBar(*values), self._rescale(symbol, session))

    def daily_bars(self, symbols: Sequence[str], last: date, sessions: int | None) -> Panel:
        """As they were traded; what Playback asks."""
        panel = self._upto(last).window(last, sessions).select([s for s in symbols if s in self._row])
        fields = {field: getattr(panel, field) for field in FIELDS}
        for row, symbol in enumerate(panel.symbols):
            if not any(split.symbol == symbol for split in self._made):
                continue
            for column, day in enumerate(panel.dates.tolist()):
                ratio = self._rescale(symbol, day)
                for field in PRICES:
                    fields[field][row, column] = _price(fields[field][row, column], ratio)
                fields["volume"][row, column] = np.rint(fields["volume"][row, column] * ratio)
        return Panel(panel.symbols, panel.dates, **fields)

    def between(self, symbol: str, first: date, last: date) -> list[tuple[date, DailyBar]]:
        """The daily bars as they were traded, both days included, in order."""
        panel = self._upto(last)
        row = self._row.get(symbol)
        if row is None or last < first:
            return []
        low, high = np.searchsorted(panel.dates, [np.datetime64(first, "D"), np.datetime64(last, "D") + 1])
        days = panel.dates[low:high].tolist()
        columns = [getattr(panel, field)[row, low:high].tolist() for field in FIELDS]
        made = any(item.symbol == symbol for item in self._made)
        found = []
        for day, *values in zip(days, *columns, strict=True):
            if values[3] != values[3]:
                continue
            bar = DailyBar(*values)
            found.append((day, _traded(bar, self._rescale(symbol, day)) if made else bar))
        return found

    def _upto(self, day: date) -> Panel:
        """The source's bars up to `day` at least, or to the source's end."""
        if self._panel is None or day > self._horizon:
            end = self._feed.last_session()
            last = min(end, day + AHEAD)
            self._panel = self._feed.daily_bars(self.symbols, last, None)
            self._column = {day: i for i, day in enumerate(self._panel.dates.tolist())}
            self._horizon = date.max if last == end else last
        return self._panel

    # --- minutes ------------------------------------------------------------------------------------------------------

    def prepare(self, session: date, symbols: Iterable[str]) -> None:
        """Makes or reads the minutes of these symbols at once, where that was not done before."""
        wanted = [s for s in dict.fromkeys(symbols) if (session, s) not in self._minutes and s in self._row]
        if not wanted:
            return
        if len(self._minutes) > REMEMBERED:
            self._minutes.clear()
            self._rows.clear()
        bars = self._playback.day(session, wanted).bars
        for symbol in wanted:
            found = bars.get(symbol)
            if found is not None and self._real:
                found = self._rescale_real(found, session, symbol)
            self._minutes[session, symbol] = found

    def minutes(self, session: date, symbol: str) -> Mapping[int, MinuteBar]:
        """The bars of a session by the minute after the open; empty where there are none."""
        key = session, symbol
        self.prepare(session, [symbol])
        if key not in self._rows:
            bars = self._minutes.get(key)
            columns = [] if bars is None else [getattr(bars, field).tolist() for field in ("minute", *FIELDS)]
            self._rows[key] = {row[0]: MinuteBar(*row) for row in zip(*columns, strict=True)}
        return self._rows[key]

    def _rescale_real(self, bars: MinuteBars, session: date, symbol: str) -> MinuteBars:
        """Minutes that were read and not made: those follow the daily bar, which is rescaled already."""
        ratio, daily = self._rescale(symbol, session), self.daily(symbol, session)
        if ratio == 1 or not bars.minute.size or (daily is not None and bars.open[0] == daily.open):
            return bars
        scaled = {field: np.round(getattr(bars, field) / ratio, 4) for field in PRICES}
        return replace(bars, volume=np.rint(bars.volume * ratio), **scaled)


def rescaled(bar: DailyBar | MinuteBar, ratio: float) -> DailyBar:
    """The bar in the shares of after a split, `ratio` new ones for an old one."""
    return DailyBar(bar.open / ratio, bar.high / ratio, bar.low / ratio, bar.close / ratio, bar.volume * ratio)


def _traded(bar: DailyBar, ratio: float) -> DailyBar:
    """The bar as it would have been traded, in ticks and whole shares, had each share been `ratio` shares."""
    if ratio == 1:
        return bar
    open_, high, low, close = (_price(value, ratio) for value in (bar.open, bar.high, bar.low, bar.close))
    return DailyBar(open_, high, low, close, float(round(bar.volume * ratio)))


def _price(value: float, ratio: float) -> float:
    price = value / ratio
    return round(price, 2 if price >= 1 else 4)


def _ratio(splits: Iterable[ShareSplit], symbol: str, after: date, until: date) -> float:
    return math.prod(s.new / s.old for s in splits if s.symbol == symbol and after < s.session <= until)

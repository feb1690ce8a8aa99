"""The feed that reads parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from autotrader.market.feed import FeedError, FeedOptions, window

if TYPE_CHECKING:
    from autotrader.clock import Calendar
    from autotrader.core.panel import Panel


class FilesFeed:
    """Daily bars from a parquet file or a folder of them (see market/bars.py for the columns)."""

    name = "files"

    def __init__(self, path: Path, calendar: Calendar) -> None:
        self._path = path
        self._calendar = calendar

    @classmethod
    def open(cls, options: FeedOptions) -> Self:
        if options.path is None:
            raise FeedError("the files feed needs --data PATH: a parquet file or a folder of them")
        if not options.path.exists():
            raise FeedError(f"{options.path}: no such file or folder")
        return cls(options.path, options.calendar)

    def last_session(self) -> date:
        last = self._range[1]
        self._refuse_other_days([last])
        return last

    def daily_bars(self, symbols: Sequence[str], last: date, sessions: int | None) -> Panel:
        import numpy as np

        from autotrader.core.panel import FIELDS, Panel
        from autotrader.market.bars import BarsError, load_daily

        begins = self._range[0]
        sought = window(self._calendar, begins, last, sessions)
        # a window cut short reaches back to the feed's beginning, which may lie before its first session
        first = sought[0] if sessions is not None and len(sought) == sessions else begins
        try:
            found = load_daily(self._path, symbols, first, last)
        except BarsError as error:
            raise FeedError(str(error)) from error
        dates = np.array(sought, dtype="datetime64[D]")
        if np.array_equal(found.dates, dates):
            return found
        self._refuse_other_days([day.item() for day in np.setdiff1d(found.dates, dates)])
        columns = np.searchsorted(dates, found.dates)
        fields = {}
        for field in FIELDS:
            fields[field] = np.full((len(symbols), len(dates)), np.nan)
            fields[field][:, columns] = getattr(found, field)
        return Panel(tuple(symbols), dates, **fields)

    @cached_property
    def _range(self) -> tuple[date, date]:
        from autotrader.market.bars import BarsError, daily_range

        try:
            return daily_range(self._path)
        except BarsError as error:
            raise FeedError(str(error)) from error

    def _refuse_other_days(self, days: Sequence[date]) -> None:
        """FeedError where one of the days that the data has bars for is no session of the exchange."""
        wrong = [str(day) for day in days if not self._calendar.is_session(day)]
        if wrong:
            more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
            raise FeedError(
                f"{self._path}: bars on days without a session of the exchange: {', '.join(wrong[:5])}{more}"
            )

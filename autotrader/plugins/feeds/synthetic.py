"""The feed that makes its market up: no network, no files, the same bars for the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Self

from autotrader.clock import LAST_DAY
from autotrader.market.feed import FeedOptions, window

if TYPE_CHECKING:
    from autotrader.clock import Calendar
    from autotrader.core.panel import Panel

AHEAD = timedelta(days=90)  # made beyond what is asked for: a run that moves on day by day rarely makes bars again


class SyntheticFeed:
    """The packaged universe and SPY on every session from 2012 on (see market/synthetic.py)."""

    name = "synthetic"

    def __init__(self, seed: int, calendar: Calendar) -> None:
        self._seed = seed
        self._calendar = calendar
        self._made: Panel | None = None

    @classmethod
    def open(cls, options: FeedOptions) -> Self:
        return cls(options.seed, options.calendar)

    def last_session(self) -> date:
        """The end of the exchange calendar: every session up to there can be made."""
        return self._calendar.previous_session(LAST_DAY + timedelta(days=1))

    def daily_bars(self, symbols: Sequence[str], last: date, sessions: int | None) -> Panel:
        from autotrader.market.synthetic import FIRST_SESSION, synthetic_panel

        sought = window(self._calendar, FIRST_SESSION, last, sessions)
        made = self._made
        if made is None or not set(symbols) <= set(made.symbols) or not _covers(made, sought):
            end = min(last + AHEAD, LAST_DAY)
            made = self._made = synthetic_panel(symbols, sought[0], end, self._seed, self._calendar)
        return made.window(last, len(sought)).select(symbols)  # a copy, also where a window of one row is a view


def _covers(panel: Panel, sessions: Sequence[date]) -> bool:
    return bool(panel.dates[0].item() <= sessions[0] and sessions[-1] <= panel.dates[-1].item())

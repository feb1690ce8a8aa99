"""What a source of market data must offer; plugins/feeds/contract.py holds any implementation to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from autotrader.clock import Calendar, CalendarError, Clock, SystemClock
from autotrader.errors import AutotraderError

if TYPE_CHECKING:
    from autotrader.core.gap_filter import Quote
    from autotrader.core.panel import Panel
    from autotrader.secrets import Secrets
    from autotrader.settings import SystemSettings


class FeedError(AutotraderError):
    """The feed cannot give what was asked for; one sentence that says why."""


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """What a feed may be opened with; it takes what it needs.

    path: the data's file or folder (`--data`), where one was given.
    seed: for feeds that make their data up.
    secrets: where the feed's keys are to be found. wait: lets that many seconds pass. notify: called from any thread
    when there is something for `streamed`; it must return at once.
    """

    path: Path | None
    seed: int
    calendar: Calendar
    clock: Clock = field(default_factory=SystemClock)
    system: SystemSettings | None = None
    secrets: Secrets | None = None
    wait: Callable[[float], None] = time.sleep
    notify: Callable[[], None] | None = None


class BarSource(Protocol):
    """Where daily bars can be had."""

    def daily_bars(self, symbols: Sequence[str], last: date, sessions: int | None) -> Panel:
        """The bars of these symbols, in this order, over at most `sessions` sessions up to and including `last`.

        The columns are exactly the exchange's sessions of that window, cut at the feed's first date; None is all of
        them. A symbol without bars is a row of NaN, a session without data a column of NaN, also at the end. The same
        bar is the same in every window and beside any other symbols.
        FeedError: `last` lies before the first date, the data has a bar on a day without a session, or cannot be read.
        """
        ...


class Feed(BarSource, Protocol):
    """Daily bars, one column a session of the exchange."""

    name: str

    @classmethod
    def open(cls, options: FeedOptions) -> Self:
        """The feed, ready to be asked. FeedError where an option it needs is missing or its source is unusable."""
        ...

    def last_session(self) -> date:
        """The last session there can be data for: the end of a file, the end of time for a market made up.

        The last one worth asking for is the earlier of this and the calendar's last completed session.
        """
        ...


class StreamedBar(NamedTuple):
    """A minute bar as it came. start: of its minute, aware. USD and shares."""

    symbol: str
    start: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True, slots=True)
class ShareSplit:
    """`new` shares take the place of `old` before the session's open."""

    symbol: str
    session: date
    new: int
    old: int


class LiveFeed(Feed, Protocol):
    """A feed that also knows the running session. Synchronous; every call returns or raises in bounded time.

    What streams is collected elsewhere (a thread of the feed's own) and only handed over here; a stream that breaks
    comes back by itself and never raises into a caller.
    """

    def quotes(self, symbols: Sequence[str]) -> Mapping[str, Quote]:
        """The latest price of each symbol with its age and spread; one without a price is absent. FeedError."""
        ...

    def splits(self, symbols: Sequence[str], session: date) -> Sequence[ShareSplit]:
        """The splits that take effect before the open of `session`. FeedError."""
        ...

    def minute_bars(self, symbols: Sequence[str], start: datetime, end: datetime) -> Sequence[StreamedBar]:
        """Bars whose minute starts in [start, end), by time and symbol: what a stream has missed. FeedError."""
        ...

    def watch(self, symbols: Collection[str]) -> None:
        """The symbols whose minute bars are to be streamed from now on; replaces those of an earlier call."""
        ...

    def streamed(self) -> Sequence[StreamedBar]:
        """What came since the last call, as it came: late, twice, out of order, or not at all. Never blocks."""
        ...

    def last_heard(self) -> datetime | None:
        """When the stream last said anything at all; None: not since it was opened."""
        ...

    def close(self) -> None:
        """Ends the stream."""
        ...


def window(calendar: Calendar, begins: date, last: date, sessions: int | None) -> list[date]:
    """The sessions a feed answers with: at most `sessions` of them up to `last`, none before the feed begins.

    FeedError: `last` lies before `begins`, or a date outside the exchange calendar. sessions >= 1.
    """
    if sessions is not None and sessions < 1:
        raise ValueError(f"sessions is {sessions}, expected 1 or more")
    if last < begins:
        raise FeedError(f"the data begins on {begins}, {last} lies before it")
    try:
        found = calendar.sessions(begins, last)
    except CalendarError as error:
        raise FeedError(str(error)) from error
    return found if sessions is None else found[-sessions:]

"""The running session's prices: what streams, what has to be asked for, and when a minute is complete."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from autotrader.clock import NEW_YORK, Clock
from autotrader.core.exits import Bar
from autotrader.core.gap_filter import Quote
from autotrader.execution.orders import Tell
from autotrader.market.feed import FeedError, LiveFeed, StreamedBar

log = logging.getLogger("autotrader.live")

MINUTE = timedelta(minutes=1)
ASK_AGAIN = timedelta(seconds=15)  # bars that could not be had are asked for again
LONG = 5  # minutes without a bar, though it was asked for, after which a symbol seems not to be traded

STREAM, BARS, QUOTES = "bar stream", "minute bars", "prices"  # what alerts are about


class LivePrices:
    """The market of one session, over a live feed; see execution.day.Prices.

    A minute is complete when every symbol that is asked about has its bar, or a grace after its end, when what is
    missing was asked for. A bar that comes later than a newer one of its symbol changes nothing.
    """

    def __init__(
        self,
        feed: LiveFeed,
        opens: datetime,
        closes: datetime,
        clock: Clock,
        tell: Tell,
        over: Callable[[str], None],
        shortable: Callable[[str], bool | None],
        *,
        grace: timedelta,
        silence: timedelta,
    ) -> None:
        """over: says that the trouble of a subject is past. shortable: whether the broker lends a symbol.

        grace: how long after a minute's end its bars are waited for. silence: how long the whole stream may be silent.
        """
        self._feed = feed
        self._opens = opens
        self._total = (closes - opens) // MINUTE
        self._clock = clock
        self._tell = tell
        self._over = over
        self._shortable = shortable
        self._grace = grace
        self._silence = silence
        self._bars: dict[str, dict[int, Bar]] = {}
        self._settled: dict[str, int] = {}  # symbol -> the minutes up to here have come, or were asked for
        self._told: dict[str, int] = {}  # symbol -> the next minute that may be handed over
        self._holes: dict[str, int] = {}  # symbol -> the first minute that could not be had
        self._still: set[str] = set()  # symbols that seem not to be traded, as was said
        self._asked: datetime | None = None  # when bars could not be had
        self._waiting: datetime | None = None  # for the grace of a minute that is not complete
        self._watched: dict[str, datetime] = {}  # symbol -> since when its minutes are streamed
        self._watched_at = clock.now()
        self._looked: set[str] = set()  # symbols whose last minute before they were streamed was asked for
        self.split_today: Collection[str] | None = None  # symbols of which a split takes effect; None: nobody knows

    # --- what streams ---------------------------------------------------------------------------------------------

    def watch(self, symbols: Collection[str]) -> None:
        """Whose minutes are to be streamed."""
        if set(symbols) != self._watched.keys():
            now = self._clock.now()
            if not self._watched:
                self._watched_at = now
            self._watched = {symbol: self._watched.get(symbol, now) for symbol in symbols}
            self._feed.watch(sorted(self._watched))

    def minutes(self, symbols: Collection[str]) -> Sequence[tuple[int, Mapping[str, Bar]]]:
        """See Prices."""
        self._take_in(self._feed.streamed())
        self._listen()
        self._waiting = None
        complete = self._complete(symbols)
        found: dict[int, dict[str, Bar]] = {}
        for symbol in symbols:
            told = self._told.get(symbol, 0)
            for minute, bar in self._bars.get(symbol, {}).items():
                if told <= minute < complete:
                    found.setdefault(minute, {})[symbol] = bar
                    self._told[symbol] = max(self._told.get(symbol, 0), minute + 1)
        return sorted(found.items())

    def next_at(self) -> datetime | None:
        """When a minute that is not complete is given up waiting for."""
        return self._waiting

    def _take_in(self, bars: Iterable[StreamedBar]) -> None:
        for bar in bars:
            minute, rest = divmod(bar.start - self._opens, MINUTE)
            if rest or not 0 <= minute < self._total or not _sound(bar):
                continue
            known = self._bars.setdefault(bar.symbol, {})
            if minute in known:
                continue  # the first one counts: what was decided on it stays decided
            known[minute] = Bar(bar.high, bar.low, bar.close, minute + 1, self._total - minute - 1)
            if bar.symbol in self._still:
                self._still.discard(bar.symbol)
                log.info("%s: has bars again, from %s on", bar.symbol, f"{bar.start.astimezone(NEW_YORK):%H:%M}")

    def _listen(self) -> None:
        """Silence of the whole stream while the market is open is a failure, though bars can be asked for."""
        now = self._clock.now()
        if not self._watched or not self._opens < now <= self._opens + self._total * MINUTE:
            return
        heard = self._feed.last_heard()
        since = max(filter(None, (heard, self._watched_at, self._opens)))
        if now - since > self._silence:
            self._tell("warning", STREAM, f"no bar for {(now - since).total_seconds():.0f} s while the market is open",
                       "the bars are asked for each minute; the stream is opened again",
                       "see whether the data service has trouble, if it lasts")  # fmt: skip
        elif heard is not None and now - heard < self._silence:
            self._over(STREAM)

    # --- what is asked for ----------------------------------------------------------------------------------------

    def _complete(self, symbols: Collection[str]) -> int:
        """How many minutes are complete for these symbols."""
        now = self._clock.now()
        ended = max(0, min(self._total, (now - self._opens) // MINUTE))
        graced = max(0, min(self._total, (now - self._grace - self._opens) // MINUTE))
        self._look_back(symbols, ended, graced)
        for symbol in symbols:
            settled, bars = self._settled.get(symbol, 0), self._bars.get(symbol, {})
            while settled < ended and settled in bars:
                settled += 1
            self._settled[symbol] = settled
        missing = [symbol for symbol in symbols if self._settled[symbol] < graced]
        again = self._asked is not None and now - self._asked >= ASK_AGAIN
        if missing or (again and self._holes):
            self._ask(missing, graced, now)
        least = min((self._settled[symbol] for symbol in symbols), default=ended)
        if least < ended:
            self._waiting = self._opens + (least + 1) * MINUTE + self._grace
        return least

    def _look_back(self, symbols: Collection[str], ended: int, graced: int) -> None:
        """After a start: a minute that ended before its symbol was streamed is asked for at once, not after the grace.

        What is not there yet is waited for all the same.
        """
        end = self._opens + ended * MINUTE
        late = [symbol for symbol in symbols if symbol in self._watched and end <= self._watched[symbol]]
        new = [symbol for symbol in late if symbol not in self._looked]
        if not new or ended == graced:
            return
        self._looked.update(new)
        try:
            self._take_in(self._feed.minute_bars(new, self._opens, end))
        except FeedError as error:
            log.info("the minutes before the start cannot be had yet: %s", error)

    def _ask(self, missing: Sequence[str], graced: int, now: datetime) -> None:
        """Asks for what is missing up to the minute `graced`. What cannot be had is gone without, and asked again."""
        wanted = sorted({*missing, *self._holes})
        first = min(min(self._settled.get(symbol, 0), self._holes.get(symbol, graced)) for symbol in wanted)
        if self._asked is None or now - self._asked >= ASK_AGAIN:
            try:
                end = self._opens + graced * MINUTE
                self._take_in(self._feed.minute_bars(wanted, self._opens + first * MINUTE, end))
            except FeedError as error:
                self._asked = now
                self._tell("warning", BARS, f"minute bars cannot be had: {error}",
                           "positions are judged on what there is; it is asked for again",
                           "see whether the data service has trouble, if it lasts")  # fmt: skip
            else:
                self._asked = None
                self._holes.clear()
                self._over(BARS)
        for symbol in missing:
            if self._asked is not None:
                self._holes.setdefault(symbol, self._settled[symbol])
            settled, bars = graced, self._bars.get(symbol, {})
            while settled in bars:
                settled += 1
            self._settled[symbol] = settled
            if self._asked is None:
                self._say_still(symbol, graced)

    def _say_still(self, symbol: str, graced: int) -> None:
        """Says once that a symbol has no bars for long; one that has them again is said to."""
        last = max(self._bars.get(symbol, ()), default=-1)
        silent = graced - 1 - last
        if silent >= LONG and symbol not in self._still:
            self._still.add(symbol)
            log.warning("%s: no bar for %d minutes, though asked for (a halt?); nothing is decided on it meanwhile",
                        symbol, silent)  # fmt: skip

    # --- prices ---------------------------------------------------------------------------------------------------

    def quotes(self, symbols: Sequence[str]) -> Mapping[str, Quote]:
        """See Prices. FeedError where none can be had."""
        try:
            found = self._feed.quotes(symbols)
        except FeedError as error:
            self._tell("warning", QUOTES, f"prices cannot be had: {error}", "nothing is entered without; asked again",
                       "see whether the data service has trouble, if it lasts")  # fmt: skip
            raise
        self._over(QUOTES)
        split = self.split_today
        return {
            symbol: quote._replace(
                corporate_action=None if split is None else symbol in split, shortable=self._shortable(symbol)
            )
            for symbol, quote in found.items()
        }


def _sound(bar: StreamedBar) -> bool:
    """Whether these are prices."""
    prices = (bar.open, bar.high, bar.low, bar.close)
    return all(price > 0 and math.isfinite(price) for price in prices) and bar.low <= bar.close <= bar.high

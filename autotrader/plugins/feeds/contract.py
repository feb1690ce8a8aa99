"""What every feed must do, as tests that any implementation can be run through.

    class TestMyFeed(FeedContract):
        def make_feed(self) -> Feed:
            return MyFeed.open(FeedOptions(path=None, seed=7, calendar=Calendar()))

pytest finds the test methods through the subclass. A feed that also knows the running session keeps LiveFeedContract:

    class TestMyFeed(LiveFeedContract):
        def make_feed(self) -> LiveFeed: ...
        def pass_minutes(self, count: int) -> datetime: ...
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from autotrader.clock import Calendar
from autotrader.core.panel import FIELDS
from autotrader.market.feed import Feed, FeedError, LiveFeed, ShareSplit, StreamedBar

if TYPE_CHECKING:
    from autotrader.core.panel import Panel


class FeedContract(ABC):
    """The contract; override what stands above the first test where a feed needs it."""

    symbols: Sequence[str] = ("MSFT", "AAPL", "JNJ")  # have bars up to `last`; not in alphabetical order
    absent = "NO.SUCH"  # has none
    first = date(2012, 1, 3)  # the feed's first session

    @abstractmethod
    def make_feed(self) -> Feed:
        """A feed as a new process would open it."""

    def last(self) -> date:
        """A session with at least 30 before it; best the feed's last."""
        return self.make_feed().last_session()

    def _bars(self, symbols: Sequence[str] | None = None, sessions: int | None = 30) -> Panel:
        return self.make_feed().daily_bars(self.symbols if symbols is None else symbols, self.last(), sessions)

    def test_it_has_a_name(self) -> None:
        name = self.make_feed().name
        assert name, "a feed's name is not empty"
        assert name == name.strip().lower()

    def test_its_last_session_is_a_session_of_the_exchange(self) -> None:
        assert Calendar().is_session(self.make_feed().last_session())

    def test_the_rows_are_the_symbols_asked_for_in_their_order(self) -> None:
        assert self._bars().symbols == tuple(self.symbols)
        assert self._bars(self.symbols[::-1]).symbols == tuple(self.symbols[::-1])

    def test_the_columns_are_the_sessions_up_to_the_last_one_asked_for(self) -> None:
        calendar, last = Calendar(), self.last()
        expected = [*(calendar.previous_session(last, n) for n in range(29, 0, -1)), last]
        assert self._bars().dates.tolist() == expected

    def test_on_a_day_without_a_session_the_window_ends_with_the_one_before(self) -> None:
        last = self.last()
        day = last - timedelta(days=last.weekday() + 1)
        sessions = self.make_feed().daily_bars(self.symbols, day, 5).dates.tolist()
        assert sessions[-1] == Calendar().previous_session(day)

    def test_a_window_longer_than_the_data_begins_with_the_first_session(self) -> None:
        calendar = Calendar()
        last = calendar.next_session(self.first, 9)
        expected = calendar.sessions(self.first, last)
        for sessions in (None, 10, 10_000):
            assert self.make_feed().daily_bars(self.symbols, last, sessions).dates.tolist() == expected

    def test_nothing_before_the_first_session_is_given(self) -> None:
        self._refuses(self.first - timedelta(days=1), str(self.first))

    def test_a_day_beyond_the_calendar_is_refused(self) -> None:
        self._refuses(date(2500, 1, 4), "calendar")

    def test_a_symbol_without_bars_is_a_row_of_nan(self) -> None:
        panel = self._bars([self.absent, self.symbols[0]])
        for field in FIELDS:
            assert np.isnan(getattr(panel, field)[0]).all()
            assert not np.isnan(getattr(panel, field)[1, -1])

    def test_no_symbol_gives_no_row(self) -> None:
        panel = self._bars([])
        assert panel.close.shape == (0, 30)

    def test_the_arrays_are_contiguous_doubles(self) -> None:
        for field in FIELDS:
            values = getattr(self._bars(), field)
            assert values.dtype == np.float64
            assert values.flags.c_contiguous

    def test_a_bar_is_whole_or_absent(self) -> None:
        panel = self._bars()
        known = [np.isfinite(getattr(panel, field)) for field in FIELDS]
        assert all((mask == known[0]).all() for mask in known)
        assert known[0][:, -1].all(), "the symbols of the contract have a bar on the last session"

    def test_prices_are_positive_and_within_high_and_low(self) -> None:
        panel = self._bars()
        known = np.isfinite(panel.close)
        low, high = panel.low[known], panel.high[known]
        assert (low > 0).all()
        assert (panel.volume[known] >= 0).all()
        for price in (panel.open[known], panel.close[known]):
            assert (low <= price).all()
            assert (price <= high).all()

    def test_the_window_does_not_change_a_bar(self) -> None:
        wide, narrow = self._bars(sessions=30), self._bars(sessions=7)
        self._same(wide.window(self.last(), 7), narrow)

    def test_an_earlier_end_does_not_change_a_bar(self) -> None:
        end = Calendar().previous_session(self.last(), 5)
        self._same(self._bars().window(end), self.make_feed().daily_bars(self.symbols, end, 25))

    def test_the_company_does_not_change_a_bar(self) -> None:
        together = self._bars()
        for symbol in self.symbols:
            self._same(together.select([symbol]), self._bars([symbol]))

    def test_asking_again_gives_the_same_whatever_was_asked_between(self) -> None:
        feed, last = self.make_feed(), self.last()
        before = feed.daily_bars(self.symbols, last, 30)
        assert feed.daily_bars(self.symbols[:1], last, 3).symbols == tuple(self.symbols[:1])
        feed.daily_bars(self.symbols, Calendar().previous_session(last, 9), 40)
        self._same(before, feed.daily_bars(self.symbols, last, 30))

    def test_what_a_caller_does_to_the_arrays_stays_with_the_caller(self) -> None:
        feed, last = self.make_feed(), self.last()
        for symbols in (self.symbols, self.symbols[:1]):
            feed.daily_bars(symbols, last, 30).close[:] = -1
            assert feed.daily_bars(symbols, last, 30).close[0, -1] > 0

    def _refuses(self, last: date, *words: str) -> None:
        try:
            self.make_feed().daily_bars(self.symbols, last, 5)
        except FeedError as error:
            message = str(error)
        else:
            raise AssertionError(f"daily_bars up to {last} is not refused")
        assert all(word in message for word in words), message

    def _same(self, one: Panel, other: Panel) -> None:
        assert one.symbols == other.symbols
        np.testing.assert_array_equal(one.dates, other.dates)
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field), err_msg=field)


class LiveFeedContract(FeedContract):
    """The contract of a feed that knows the running session."""

    split: ShareSplit | None = None  # one that the feed knows of; None: there is none to try

    @abstractmethod
    def make_feed(self) -> LiveFeed:
        """A feed as a new process would open it, in a session, at the beginning of a minute or before the open."""

    @abstractmethod
    def pass_minutes(self, count: int) -> datetime:
        """Lets minutes of the session pass; returns the time when the feed would have streamed what was in them.

        The symbols of the contract trade in every minute.
        """

    def _watched(self, feed: LiveFeed, symbols: Sequence[str]) -> None:
        """Has these symbols streamed. Override where that takes a while."""
        feed.watch(symbols)

    def test_prices_have_an_age_and_a_spread(self) -> None:
        feed = self.make_feed()
        self.pass_minutes(2)
        quotes = feed.quotes([*self.symbols, self.absent])
        assert sorted(quotes) == sorted(self.symbols), "what has no price is absent"
        for quote in quotes.values():
            assert quote.price > 0
            assert quote.age_seconds >= 0
            assert quote.spread_pct >= 0 or math.isnan(quote.spread_pct)
        assert not feed.quotes([])

    def test_a_price_is_the_close_of_the_last_minute_or_younger(self) -> None:
        feed = self.make_feed()
        end = self.pass_minutes(3)
        last = {bar.symbol: bar for bar in feed.minute_bars(self.symbols, end - timedelta(minutes=1), end)}
        for symbol, quote in feed.quotes(self.symbols).items():
            assert quote.price == last[symbol].close or quote.age_seconds < 60

    def test_minute_bars_are_those_that_begin_in_the_window_by_time_and_symbol(self) -> None:
        feed = self.make_feed()
        start = self.pass_minutes(1)
        end = self.pass_minutes(5)
        bars = feed.minute_bars(self.symbols, start, end)
        minutes = [start + timedelta(minutes=n) for n in range(5)]
        assert [(bar.start, bar.symbol) for bar in bars] == [(at, s) for at in minutes for s in sorted(self.symbols)]
        assert all(bar.start.utcoffset() is not None for bar in bars)
        for bar in bars:
            assert 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
            assert bar.volume >= 0

    def test_windows_that_meet_share_no_bar_and_miss_none(self) -> None:
        feed = self.make_feed()
        start = self.pass_minutes(1)
        end = self.pass_minutes(4)
        between = start + timedelta(minutes=2)
        parts = [*feed.minute_bars(self.symbols, start, between), *feed.minute_bars(self.symbols, between, end)]
        assert parts == list(feed.minute_bars(self.symbols, start, end))
        assert not feed.minute_bars(self.symbols, start, start)
        assert not feed.minute_bars([], start, end)

    def test_what_is_watched_is_streamed_as_it_can_be_asked_for(self) -> None:
        feed = self.make_feed()
        start = self.pass_minutes(1)
        assert feed.last_heard() is None
        assert not feed.streamed()
        watched = self.symbols[:2]
        self._watched(feed, watched)
        end = self.pass_minutes(4)
        expected = list(feed.minute_bars(watched, start, end))
        assert len(expected) == 8
        assert sorted(feed.streamed(), key=_place) == expected
        assert not feed.streamed(), "what was handed over is not handed over again"
        heard = feed.last_heard()
        assert heard is not None
        assert start < heard <= end
        feed.close()

    def test_another_watch_takes_the_place_of_the_one_before(self) -> None:
        feed = self.make_feed()
        self.pass_minutes(1)
        self._watched(feed, self.symbols[:2])
        self.pass_minutes(1)
        feed.streamed()
        self._watched(feed, self.symbols[1:])
        self.pass_minutes(2)
        assert {bar.symbol for bar in feed.streamed()} == set(self.symbols[1:])
        self._watched(feed, [])
        self.pass_minutes(1)
        assert not feed.streamed()
        feed.close()

    def test_a_feed_that_was_closed_streams_nothing_and_can_be_closed_again(self) -> None:
        feed = self.make_feed()
        feed.close()
        feed.watch(self.symbols)
        self.pass_minutes(1)
        assert not feed.streamed()
        feed.close()

    def test_splits_are_those_of_the_session_and_of_the_symbols_asked_for(self) -> None:
        feed = self.make_feed()
        if self.split is None:
            assert not feed.splits(self.symbols, self.last())
            return
        split, others = self.split, [symbol for symbol in self.symbols if symbol != self.split.symbol]
        assert list(feed.splits(self.symbols, split.session)) == [split]
        assert not feed.splits(others, split.session)
        assert not feed.splits(self.symbols, Calendar().next_session(split.session))
        assert not feed.splits(self.symbols, Calendar().previous_session(split.session))


def _place(bar: StreamedBar) -> tuple[datetime, str]:
    return bar.start, bar.symbol

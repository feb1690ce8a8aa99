"""The running session's prices: each minute once, in order, complete or asked for, whatever the stream does."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from autotrader.clock import Calendar, VirtualClock
from autotrader.core.exits import Bar
from autotrader.core.gap_filter import Quote
from autotrader.market.feed import FeedError, StreamedBar
from autotrader.service.live import BARS, QUOTES, STREAM, LivePrices

DAY = date(2019, 3, 4)
CALENDAR = Calendar()
OPENS = CALENDAR.opens_at(DAY)
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)


class Tape:
    """A live feed that gives what the test puts on it."""

    def __init__(self) -> None:
        self.queue: list[StreamedBar] = []
        self.known: list[StreamedBar] = []
        self.asked: list[tuple[Sequence[str], datetime, datetime]] = []
        self.heard: datetime | None = None
        self.down = False
        self.watched: Collection[str] = ()

    def watch(self, symbols: Collection[str]) -> None:
        self.watched = symbols

    def streamed(self) -> Sequence[StreamedBar]:
        found, self.queue = self.queue, []
        return found

    def last_heard(self) -> datetime | None:
        return self.heard

    def minute_bars(self, symbols: Sequence[str], start: datetime, end: datetime) -> Sequence[StreamedBar]:
        if self.down:
            raise FeedError("the network is gone")
        self.asked.append((symbols, start, end))
        return [bar for bar in self.known if bar.symbol in symbols and start <= bar.start < end]

    def quotes(self, symbols: Sequence[str]) -> Mapping[str, Quote]:
        if self.down:
            raise FeedError("the network is gone")
        return {symbol: Quote(10.0, 1.0, 0.0) for symbol in symbols}


class Scene:
    def __init__(self, start: datetime = OPENS) -> None:
        self.tape = Tape()
        self.clock = VirtualClock(start)
        self.told: list[str] = []
        self.over: list[str] = []
        feed: Any = self.tape
        self.prices = LivePrices(
            feed, OPENS, CALENDAR.closes_at(DAY), self.clock, lambda _s, subject, *_: self.told.append(subject),
            self.over.append, lambda symbol: symbol == "A", grace=5 * SECOND, silence=90 * SECOND,
        )  # fmt: skip

    def at(self, minute: float) -> None:
        self.clock.advance_to(OPENS + minute * MINUTE)

    def minutes(self, *symbols: str) -> list[tuple[int, dict[str, float]]]:
        found = self.prices.minutes(symbols)
        return [(minute, {symbol: bar.close for symbol, bar in bars.items()}) for minute, bars in found]


def bar(symbol: str, minute: int, close: float = 10.0) -> StreamedBar:
    return StreamedBar(symbol, OPENS + minute * MINUTE, close, close, close, close, 100.0)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_minute_is_handed_over_at_once_when_every_symbol_has_its_bar(scene: Scene) -> None:
    scene.at(1)
    scene.tape.queue = [bar("B", 0), bar("A", 0)]
    assert scene.prices.minutes(["A", "B"]) == [(0, {symbol: Bar(10.0, 10.0, 10.0, 1, 389) for symbol in "AB"})]
    assert scene.minutes("A", "B") == []
    assert not scene.tape.asked


def test_a_minute_that_lacks_a_bar_waits_for_the_grace_and_is_then_asked_for(scene: Scene) -> None:
    scene.at(1)
    scene.tape.queue, scene.tape.known = [bar("A", 0)], [bar("A", 0), bar("B", 0, 20.0)]
    assert scene.minutes("A", "B") == []
    assert scene.prices.next_at() == OPENS + MINUTE + 5 * SECOND
    scene.clock.advance_to(OPENS + MINUTE + 5 * SECOND)
    assert scene.minutes("A", "B") == [(0, {"A": 10.0, "B": 20.0})]
    assert scene.tape.asked == [(["B"], OPENS, OPENS + MINUTE)]


def test_after_a_start_the_minute_that_has_just_ended_is_asked_for_at_once_and_otherwise_waited_for() -> None:
    scene = Scene(OPENS + 2 * MINUTE)
    scene.prices.watch(["A", "B"])
    scene.tape.known = [bar("A", 0), bar("A", 1), bar("B", 0)]
    assert scene.minutes("A") == [(0, {"A": 10.0}), (1, {"A": 10.0})]
    assert len(scene.tape.asked) == 1
    assert scene.minutes("A", "B") == [(0, {"B": 10.0})]
    scene.tape.known.append(bar("B", 1))
    assert scene.minutes("A", "B") == []
    scene.clock.advance_to(OPENS + 2 * MINUTE + 5 * SECOND)
    assert scene.minutes("A", "B") == [(1, {"B": 10.0})]


def test_what_cannot_be_had_at_a_start_is_asked_for_again_after_the_grace() -> None:
    scene = Scene(OPENS + 3 * MINUTE)
    scene.prices.watch(["A"])
    scene.tape.known, scene.tape.down = [bar("A", 0), bar("A", 2)], True
    assert scene.minutes("A") == []
    scene.tape.down = False
    scene.clock.advance_to(OPENS + 3 * MINUTE + 15 * SECOND)
    assert scene.minutes("A") == [(0, {"A": 10.0}), (2, {"A": 10.0})]


def test_a_minute_without_a_trade_is_complete_without_its_bar_and_asked_for_once(scene: Scene) -> None:
    scene.clock.advance_to(OPENS + MINUTE + 5 * SECOND)
    scene.tape.queue = [bar("A", 0)]
    assert scene.minutes("A", "B") == [(0, {"A": 10.0})]
    scene.minutes("A", "B")
    assert len(scene.tape.asked) == 1


def test_a_symbol_that_does_not_trade_for_long_is_said_once_and_when_it_trades_again(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "autotrader.live")
    for minute in range(12):
        scene.clock.advance_to(OPENS + (minute + 1) * MINUTE + 5 * SECOND)
        scene.tape.queue = [bar("A", minute)] + [bar("B", minute)] * (minute in (0, 1, 10, 11))
        scene.minutes("A", "B")
    assert [record.getMessage() for record in caplog.records] == [
        "B: no bar for 5 minutes, though asked for (a halt?); nothing is decided on it meanwhile",
        "B: has bars again, from 09:40 on",
    ]


def test_after_a_start_in_the_session_all_of_it_so_far_is_asked_for_in_one_request() -> None:
    scene = Scene(OPENS + 30 * MINUTE + 10 * SECOND)
    scene.tape.known = [bar(symbol, minute) for minute in range(30) for symbol in "AB"]
    assert [minute for minute, _ in scene.minutes("A", "B")] == list(range(30))
    assert len(scene.tape.asked) == 1


def test_late_double_and_impossible_bars_change_nothing(scene: Scene) -> None:
    scene.at(2)
    scene.tape.queue = [bar("A", 1, 11.0), bar("A", 0), bar("A", 1, 99.0), bar("A", 0, 99.0)]
    assert scene.minutes("A") == [(0, {"A": 10.0}), (1, {"A": 11.0})]
    scene.at(3)
    odd = bar("A", 2)._replace(start=OPENS + 2 * MINUTE + SECOND)
    scene.tape.queue = [
        bar("A", 0, 99.0), bar("A", 2, math.nan), bar("A", 2, -1.0), bar("A", -1), bar("A", 400), odd, bar("A", 2, 12.0)
    ]  # fmt: skip
    assert scene.minutes("A") == [(2, {"A": 12.0})]


def test_a_position_that_is_learned_of_late_gets_the_minutes_before(scene: Scene) -> None:
    scene.at(2)
    scene.tape.queue = [bar(symbol, minute) for minute in (0, 1) for symbol in "AB"]
    assert scene.minutes("A") == [(0, {"A": 10.0}), (1, {"A": 10.0})]
    assert scene.minutes("A", "B") == [(0, {"B": 10.0}), (1, {"B": 10.0})]


def test_without_data_it_goes_on_tells_and_fills_the_gap_when_there_is_some(scene: Scene) -> None:
    scene.tape.down = True
    scene.at(3.5)
    assert scene.minutes("A") == []
    assert BARS in scene.told
    scene.tape.down, scene.tape.known = False, [bar("A", minute) for minute in range(4)]
    scene.at(4.5)
    assert [minute for minute, _ in scene.minutes("A")] == [0, 1, 2, 3]
    assert BARS in scene.over


def test_silence_of_the_whole_stream_is_told_while_the_market_is_open(scene: Scene) -> None:
    scene.prices.watch(["A"])
    scene.tape.known = [bar("A", minute) for minute in range(400)]
    scene.at(1.4)
    scene.minutes("A")
    assert STREAM not in scene.told
    scene.at(2.2)
    assert scene.minutes("A") == [(1, {"A": 10.0})], "what does not stream is asked for"
    assert STREAM in scene.told
    scene.tape.heard = scene.clock.now()
    scene.minutes("A")
    assert STREAM in scene.over


def test_prices_say_whether_a_symbol_is_lent_and_raise_where_there_are_none(scene: Scene) -> None:
    assert {name: quote.shortable for name, quote in scene.prices.quotes(["A", "B"]).items()} == {"A": True, "B": False}
    scene.tape.down = True
    with pytest.raises(FeedError):
        scene.prices.quotes(["A"])
    assert QUOTES in scene.told

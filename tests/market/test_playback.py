"""The market a virtual day is played on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autotrader.clock import NEW_YORK, Calendar, CalendarError
from autotrader.core.gap_filter import Quote
from autotrader.core.panel import FIELDS, Panel
from autotrader.market.bars import BarsError
from autotrader.market.playback import DailyBar, MinuteBar, Playback

CALENDAR = Calendar()
SESSION, NEXT, HALF_DAY = date(2024, 11, 27), date(2024, 11, 29), date(2024, 11, 29)
BARS = {
    "A": (100.0, 103.0, 98.0, 101.0, 5000.0),
    "B": (50.0, 50.5, 49.0, 49.5, 900.0),
    "HALTED": (math.nan,) * 5,
}


class Feed:
    """The same bar every session up to the last. asked: what it was asked for."""

    def __init__(self, bars: dict[str, tuple[float, ...]] = BARS, last: date = date(2024, 12, 31)) -> None:
        self.bars = bars
        self.last = last
        self.asked: list[tuple[str, ...]] = []

    def daily_bars(self, symbols: Sequence[str], last: date, sessions: int | None) -> Panel:
        assert sessions == 1
        self.asked.append(tuple(symbols))
        values = np.array([self.bars.get(symbol, (math.nan,) * 5) for symbol in symbols]).reshape(-1, 5)
        dates = np.array([min(last, self.last)], dtype="datetime64[D]")
        return Panel(tuple(symbols), dates, *(np.ascontiguousarray(values[:, [i]]) for i in range(5)))


def real(folder: Path, *rows: tuple[str, int, float]) -> Path:
    """Minute bars of SESSION: symbol, minute, price."""
    start = datetime(2024, 11, 27, 9, 30, tzinfo=NEW_YORK)
    symbols, minutes, prices = zip(*rows, strict=True)
    times = pa.array([start + timedelta(minutes=m) for m in minutes], pa.timestamp("ms", tz="America/New_York"))
    path = folder / "minutes.parquet"
    pq.write_table(pa.table({"symbol": symbols, "ts": times, **dict.fromkeys(FIELDS, prices)}), path)
    return path


def test_a_day_of_minutes_is_made_from_the_daily_bar() -> None:
    day = Playback(Feed(), CALENDAR).day(SESSION, ["A", "B"])
    assert (day.session, day.minutes, list(day.bars)) == (SESSION, 390, ["A", "B"])
    bars = day.bars["A"]
    assert (bars.open[0], bars.high.max(), bars.low.min(), bars.close[-1], bars.volume.sum()) == BARS["A"]
    assert day.daily["A"] == DailyBar(*BARS["A"])


def test_the_seed_makes_the_day_and_the_company_does_not() -> None:
    together = Playback(Feed(), CALENDAR, seed=3).day(SESSION, ["B", "A"]).bars["A"].close
    np.testing.assert_array_equal(together, Playback(Feed(), CALENDAR, seed=3).day(SESSION, ["A"]).bars["A"].close)
    assert (together != Playback(Feed(), CALENDAR, seed=4).day(SESSION, ["A"]).bars["A"].close).any()


def test_a_half_day_has_210_minutes() -> None:
    day = Playback(Feed(), CALENDAR).day(HALF_DAY, ["A"])
    assert day.minutes == len(day.bars["A"].minute) == 210


@pytest.mark.parametrize("mode", ["minutes", "path"])
def test_a_symbol_without_a_bar_is_halted_and_has_no_price(mode: str) -> None:
    playback = Playback(Feed(), CALENDAR, mode)  # type: ignore[arg-type]
    day = playback.day(SESSION, ["HALTED", "UNKNOWN"])
    assert not day.bars
    assert not day.daily
    assert day.path("HALTED", "long") == ()
    assert playback.pre_market(SESSION, ["HALTED", "A"]) == {"A": Quote(100.0, 0.0, 0.0)}


def test_a_session_beyond_the_feed_has_no_bars() -> None:
    assert not Playback(Feed(last=SESSION), CALENDAR).day(NEXT, ["A"]).bars


def test_a_day_without_a_session_is_refused() -> None:
    with pytest.raises(CalendarError):
        Playback(Feed(), CALENDAR).day(date(2024, 11, 28), ["A"])


def test_a_daily_bar_that_is_none_is_refused() -> None:
    with pytest.raises(BarsError, match="X on 2024-11-27"):
        Playback(Feed({"X": (10.0, 9.0, 8.0, 8.5, 1.0)}), CALENDAR).day(SESSION, ["X"])


def test_bars_of_a_minute_come_together_sorted_by_symbol(tmp_path: Path) -> None:
    path = real(tmp_path, ("B", 5, 50.0), ("A", 5, 100.0), ("A", 7, 101.0))
    day = Playback(Feed(), CALENDAR, minutes=path).day(SESSION, ["B", "A"])
    assert list(day.at(5)) == [("A", MinuteBar(5, *[100.0] * 5)), ("B", MinuteBar(5, *[50.0] * 5))]
    assert [symbol for symbol, _ in day.at(7)] == ["A"]
    assert not day.at(6)
    assert not day.at(390)


def test_real_minutes_are_taken_as_they_are_and_the_rest_is_made_up(tmp_path: Path) -> None:
    playback = Playback(Feed(), CALENDAR, minutes=real(tmp_path, ("A", 2, 400.0), ("A", 9, 404.0)))
    day = playback.day(SESSION, ["A", "B"])
    assert day.bars["A"].open.tolist() == [400, 404], "on the real minutes' price basis"
    assert day.bars["B"].minute.size == 390
    assert playback.pre_market(SESSION, ["A", "B"]) == {"A": Quote(400.0, 0.0, 0.0), "B": Quote(50.0, 0.0, 0.0)}
    assert playback.day(NEXT, ["A"]).bars["A"].open[0] == 100, "another session is not in the file"


def test_a_symbol_whose_real_minutes_are_all_missing_is_halted(tmp_path: Path) -> None:
    playback = Playback(Feed(), CALENDAR, minutes=real(tmp_path, ("A", 2, math.nan)))
    assert not playback.day(SESSION, ["A"]).bars
    assert not playback.pre_market(SESSION, ["A"])


def test_the_path_goes_first_against_the_holder() -> None:
    day = Playback(Feed(), CALENDAR, "path").day(SESSION, ["A"])
    assert day.path("A", "long") == ((0, 100.0), (130, 98.0), (260, 103.0), (390, 101.0))
    assert day.path("A", "short") == ((0, 100.0), (130, 103.0), (260, 98.0), (390, 101.0))
    assert not day.bars


def test_the_path_of_a_half_day_ends_at_its_close() -> None:
    day = Playback(Feed(), CALENDAR, "path").day(HALF_DAY, ["A"])
    assert [minute for minute, _ in day.path("A", "long")] == [0, 70, 140, 210]


def test_the_path_reads_daily_bars_alone(tmp_path: Path) -> None:
    playback = Playback(Feed(), CALENDAR, "path", minutes=tmp_path / "never opened")
    assert playback.pre_market(SESSION, ["A"]) == {"A": Quote(100.0, 0.0, 0.0)}


def test_a_symbol_is_asked_for_once_a_session() -> None:
    feed = Feed()
    playback = Playback(feed, CALENDAR)
    playback.pre_market(SESSION, ["A"])
    day = playback.day(SESSION, ["A", "B", "A"])
    assert list(day.bars) == ["A", "B"]
    playback.day(NEXT, ["A"])
    playback.day(SESSION, ["A"])
    assert feed.asked == [("A",), ("B",), ("A",), ("A",)]

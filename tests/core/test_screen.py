"""Which symbols can be scanned: every reason, and the same verdict for a night as for a column of ten years."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.core.panel import FIELDS, Panel
from autotrader.core.screen import FLAT_SESSIONS, REASONS, USABLE, bar_counts, screen

SESSIONS, MIN_BARS, WINDOW = 60, 30, 50


def panel(closes: list[list[float]]) -> Panel:
    close = np.array(closes, dtype=np.float64)
    dates = np.datetime64("2020-01-01", "D") + np.arange(close.shape[1])
    volume = np.where(np.isnan(close), np.nan, 1000.0)
    names = tuple(f"S{row}" for row in range(len(close)))
    return Panel(names, dates, close.copy(), close + 1, close - 1, close, volume)


def lively(sessions: int = SESSIONS) -> Panel:
    return panel([[50.0 + day % 7 for day in range(sessions)]])


def reason(bars: Panel) -> str:
    return REASONS[screen(bars, MIN_BARS, WINDOW)[0, -1]]


def changed(field: str, day: int, value: float) -> Panel:
    bars = lively()
    values = getattr(bars, field).copy()
    values[0, day] = value
    return replace(bars, **{field: values})


def without(*days: int) -> Panel:
    bars = lively()
    fields = {name: getattr(bars, name).copy() for name in FIELDS}
    for values in fields.values():
        values[0, list(days)] = np.nan
    return replace(bars, **fields)


def test_whole_lively_bars_are_usable() -> None:
    assert reason(lively()) == "usable"


def test_a_symbol_without_bars() -> None:
    assert reason(without(*range(SESSIONS))) == "no bars"


def test_a_symbol_whose_last_bar_left_the_window_has_none() -> None:
    assert reason(without(*range(5, SESSIONS))) == "no bars"


def test_no_bar_in_the_scanned_session() -> None:
    assert reason(without(SESSIONS - 1)) == "no bar in the scanned session"


@pytest.mark.parametrize("field", ["open", "high", "low", "close"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
@pytest.mark.parametrize("day", [SESSIONS - 1, 20])
def test_a_price_that_is_not_a_positive_number_bars_the_symbol(field: str, value: float, day: int) -> None:
    assert reason(changed(field, day, value)).startswith("a price that is not positive")


@pytest.mark.parametrize("value", [np.nan, -1.0, np.inf])
def test_a_volume_that_is_no_number_bars_the_symbol(value: float) -> None:
    assert reason(changed("volume", 20, value)).endswith("a volume that is no number")


def test_a_bad_price_that_left_the_window_is_forgotten() -> None:
    assert reason(changed("close", SESSIONS - WINDOW - 1, 0.0)) == "usable"
    assert reason(changed("close", SESSIONS - WINDOW, 0.0)) != "usable"


def test_no_volume_in_the_scanned_session() -> None:
    assert reason(changed("volume", SESSIONS - 1, 0.0)) == "no volume in the scanned session"


def test_one_old_bar_without_volume_bars_nobody() -> None:
    assert reason(changed("volume", 30, 0.0)) == "usable"


def test_a_missing_session_bars_the_symbol() -> None:
    assert reason(without(30)) == "a session without a bar"


def test_a_series_that_begins_inside_the_window_misses_nothing() -> None:
    assert reason(without(*range(25))) == "usable"


def test_too_few_bars() -> None:
    assert reason(without(*range(SESSIONS - MIN_BARS + 1))) == "too few bars"
    assert reason(without(*range(SESSIONS - MIN_BARS))) == "usable"
    assert reason(lively(MIN_BARS - 1)) == "too few bars"
    assert reason(lively(MIN_BARS)) == "usable"


def test_twenty_equal_closes_are_flat_and_nineteen_are_not() -> None:
    varied = [50.0 + day % 7 for day in range(SESSIONS)]
    assert reason(panel([varied[:-FLAT_SESSIONS] + [9.0] * FLAT_SESSIONS])) == "flat for 20 sessions"
    assert reason(panel([varied[: -FLAT_SESSIONS + 1] + [9.0] * (FLAT_SESSIONS - 1)])) == "usable"
    assert reason(panel([varied[: -FLAT_SESSIONS - 1] + [9.0] * FLAT_SESSIONS + [8.0]])) == "usable"


def test_an_empty_panel_is_no_trouble() -> None:
    assert screen(panel([[]]), MIN_BARS, WINDOW).shape == (1, 0)
    assert screen(lively().select([]), MIN_BARS, WINDOW).shape == (0, SESSIONS)


def test_bar_counts_count_what_is_there() -> None:
    assert bar_counts(without(1, 2, 3)).tolist() == [SESSIONS - 3]


# --- against the words, bar by bar ----------------------------------------------------------------------------------


def judged_slowly(bars: Panel, row: int, end: int, min_bars: int, window: int) -> str:
    """The reason for the session `end`, in the words of the list, one question after the other."""
    days = range(max(0, end - window + 1), end + 1)

    def absent(day: int) -> bool:
        return bool(np.isnan(bars.close[row, day]) and np.isnan(bars.open[row, day]))

    def sound(day: int) -> bool:
        prices = [getattr(bars, name)[row, day] for name in FIELDS[:4]]
        volume = bars.volume[row, day]
        return all(0 < price < np.inf for price in prices) and 0 <= volume < np.inf

    there = [day for day in days if not absent(day)]
    if not there:
        return "no bars"
    if absent(end):
        return "no bar in the scanned session"
    if not all(sound(day) for day in there):
        return "a price that is not positive, or a volume that is no number"
    if not bars.volume[row, end] > 0:
        return "no volume in the scanned session"
    if there != list(range(there[0], end + 1)):
        return "a session without a bar"
    if len(there) < min_bars:
        return "too few bars"
    last = [bars.close[row, day] for day in there[-FLAT_SESSIONS:]]
    if len(last) == FLAT_SESSIONS and len(set(last)) == 1:
        return "flat for 20 sessions"
    return "usable"


def flaws() -> st.SearchStrategy[tuple[str, int, int]]:
    kinds = st.sampled_from(["absent", "zero", "nan low", "no volume", "nan volume", "late", "early", "flat"])
    return st.tuples(kinds, st.integers(0, 3), st.integers(0, 44))


@st.composite
def damaged(draw: st.DrawFn) -> Panel:
    bars = panel([[50.0 + (day * (row + 2)) % 7 for day in range(45)] for row in range(4)])
    for kind, row, day in draw(st.lists(flaws(), max_size=8)):
        match kind:
            case "zero":
                bars.close[row, day] = 0.0
            case "nan low":
                bars.low[row, day] = np.nan
            case "no volume":
                bars.volume[row, day] = 0.0
            case "nan volume":
                bars.volume[row, day] = np.nan
            case "flat":
                bars.close[row, day : day + 22] = 50.0
            case _:
                gone = {"absent": slice(day, day + 1), "late": slice(0, day), "early": slice(day, None)}[kind]
                for name in FIELDS:
                    getattr(bars, name)[row, gone] = np.nan
    return bars


@settings(max_examples=40, deadline=None)
@given(damaged(), st.integers(1, 25), st.integers(FLAT_SESSIONS, 60))
def test_every_column_says_what_the_scan_of_that_night_would_have_said(bars: Panel, min_bars: int, window: int) -> None:
    codes = screen(bars, min_bars, window)
    for end in range(0, bars.sessions, 2):
        night = screen(bars.window(bars.dates[end].item(), window), min_bars, window)[:, -1]
        np.testing.assert_array_equal(codes[:, end], night)
    for row in range(4):
        for end in (*range(0, 45, 7), 44):
            assert REASONS[codes[row, end]] == judged_slowly(bars, row, end, min_bars, window)


@settings(max_examples=60, deadline=None)
@given(damaged())
def test_a_symbol_is_judged_alone(bars: Panel) -> None:
    together = screen(bars, MIN_BARS, WINDOW)
    for row, symbol in enumerate(bars.symbols):
        np.testing.assert_array_equal(screen(bars.select([symbol]), MIN_BARS, WINDOW)[0], together[row])
    assert USABLE == 0

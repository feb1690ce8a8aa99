"""Minute bars: made from a daily bar to the cent, and read from files."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotrader.clock import NEW_YORK
from autotrader.core.panel import FIELDS
from autotrader.market.bars import BarsError
from autotrader.market.minutes import MinuteBars, load_minutes, minutes_of_day

SESSION = date(2024, 3, 5)
HALF_DAY = date(2024, 11, 29)


def day(
    open: float = 100.0,
    high: float = 103.0,
    low: float = 98.5,
    close: float = 101.25,
    volume: float = 1_234_567,
    minutes: int = 390,
    *,
    symbol: str = "A",
    session: date = SESSION,
    seed: int = 1,
) -> MinuteBars:
    return minutes_of_day(symbol, session, open, high, low, close, volume, minutes, seed)


def assert_is_the_day(
    bars: MinuteBars, open: float, high: float, low: float, close: float, volume: float, minutes: int
) -> None:
    """Exactly: no tolerance anywhere."""
    assert bars.minute.tolist() == list(range(minutes))
    assert (bars.open[0], bars.high.max(), bars.low.min(), bars.close[-1]) == (open, high, low, close)
    assert bars.volume.sum() == math.fsum(bars.volume) == volume
    for body in (bars.open, bars.close):
        assert (bars.low <= body).all()
        assert (body <= bars.high).all()
    assert (bars.volume >= 0).all()
    if float(volume).is_integer():
        assert (bars.volume % 1 == 0).all()
    np.testing.assert_array_equal(bars.open[1:], bars.close[:-1])


def decimals(digits: int, low: float, high: float) -> st.SearchStrategy[float]:
    scale = 10**digits
    return st.integers(round(low * scale), round(high * scale)).map(lambda n: n / scale)


PRICE = st.one_of(decimals(2, 1, 2000), decimals(4, 0.01, 300), decimals(2, 50, 50.1), st.floats(0.01, 5000))


@given(
    prices=st.lists(PRICE, min_size=4, max_size=4).map(sorted),
    order=st.sampled_from([(1, 2), (2, 1), (0, 3), (3, 0), (0, 0), (3, 3), (1, 1), (0, 1), (3, 2)]),
    volume=st.one_of(st.integers(0, 10**10).map(float), st.integers(0, 500).map(float), st.floats(0, 1e9)),
    minutes=st.sampled_from([390, 210, 1, 2, 3, 7]),
    seed=st.integers(0, 2**40),
)
def test_a_day_of_minutes_is_exactly_the_day(
    prices: list[float], order: tuple[int, int], volume: float, minutes: int, seed: int
) -> None:
    whole = (prices[order[0]], prices[3], prices[0], prices[order[1]], volume)
    assert_is_the_day(minutes_of_day("A", SESSION, *whole, minutes, seed), *whole, minutes)


@pytest.mark.parametrize(
    ("open", "high", "low", "close", "volume"),
    [
        (50.0, 50.0, 50.0, 50.0, 1000.0),  # flat
        (50.0, 51.0, 49.0, 50.5, 0.0),  # nothing traded
        (51.0, 51.0, 49.0, 50.5, 999.0),  # opens at the high
        (49.0, 51.0, 49.0, 51.0, 7.0),  # straight up
        (51.0, 51.0, 49.0, 51.0, 7.0),  # to the low and back
        (50.0, 50.01, 50.0, 50.01, 12.0),  # one tick
        (50.0, 50.02, 49.99, 50.0, 12.0),  # three ticks
        (12.3457, 12.9001, 12.1234, 12.5678, 100.0),  # adjusted
        (0.0312, 0.0399, 0.0305, 0.0377, 1e9),
    ],
)
def test_strange_days_are_days_as_well(open: float, high: float, low: float, close: float, volume: float) -> None:
    for seed in range(20):
        bars = day(open, high, low, close, volume, seed=seed)
        assert_is_the_day(bars, open, high, low, close, volume, 390)


def test_high_and_low_are_touched_in_one_minute_each() -> None:
    for seed in range(50):
        bars = day(seed=seed)
        assert np.count_nonzero(bars.high == 103.0) == 1
        assert np.count_nonzero(bars.low == 98.5) == 1


@pytest.mark.parametrize(
    ("open", "close", "high_in", "low_in"),
    [(103.0, 100.0, 0, None), (98.5, 100.0, None, 0), (100.0, 103.0, 389, None), (98.5, 103.0, 389, 0)],
)
def test_an_extreme_at_the_open_or_the_close_is_touched_there_only(
    open: float, close: float, high_in: int | None, low_in: int | None
) -> None:
    for seed in range(50):
        bars = day(open=open, close=close, seed=seed)
        highs, lows = np.flatnonzero(bars.high == 103.0).tolist(), np.flatnonzero(bars.low == 98.5).tolist()
        assert len(highs) == len(lows) == 1
        assert high_in in {None, highs[0]}
        assert low_in in {None, lows[0]}


@pytest.mark.parametrize("bad", [(100, 99, 98, 99.5), (100, 103, 101, 102), (100, 103, 98, 104), (100, 103, 0, 102)])
def test_what_is_no_daily_bar_is_refused(bad: tuple[float, float, float, float]) -> None:
    with pytest.raises(BarsError, match="A on 2024-03-05: not a daily bar"):
        day(*bad)
    for broken in ({"volume": -1.0}, {"volume": math.nan}, {"high": math.inf}, {"low": math.nan}):
        with pytest.raises(BarsError):
            day(**broken)
    with pytest.raises(ValueError, match="minutes is 0"):
        day(minutes=0)


def test_the_same_day_is_the_same_and_any_other_is_not() -> None:
    first, again = day(), day()
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(first, field), getattr(again, field))
    for other in (day(seed=2), day(symbol="B"), day(session=date(2024, 3, 6))):
        assert np.count_nonzero(first.close != other.close) > 300


def test_prices_are_on_cents_where_the_day_s_are() -> None:
    bars = day()
    for field in ("open", "high", "low", "close"):
        values = getattr(bars, field)
        np.testing.assert_array_equal(values, np.round(values, 2))
    adjusted = day(100.1234, 103.0, 98.5, 101.25)
    assert (np.round(adjusted.close, 2) != adjusted.close).any()


def test_volume_and_volatility_are_highest_at_the_open_and_the_close() -> None:
    days = [day(close=100.0, volume=1e7, seed=seed) for seed in range(100)]
    for values in (np.mean([d.volume for d in days], axis=0), np.mean([d.high - d.low for d in days], axis=0)):
        first, middle, last = values[:30].mean(), values[150:240].mean(), values[-30:].mean()
        assert first > 1.3 * middle
        assert last > 1.1 * middle


def test_the_path_wanders_like_a_price_and_does_not_jump() -> None:
    days = [day(seed=seed) for seed in range(100)]
    steps = np.array([np.abs(np.diff(d.close)) for d in days])
    assert 0.01 < steps.mean() / 4.5 < 0.05, "of the day's range, a minute"
    assert steps.max() / 4.5 < 0.3
    lows = [int(np.argmin(d.low)) for d in days]
    assert min(lows) < 30
    assert max(lows) > 300


def test_a_rising_day_has_its_low_first_more_often() -> None:
    def low_first(close: float) -> float:
        days = [day(100.0, 103.0, 98.5, close, seed=seed) for seed in range(100)]
        return float(np.mean([np.argmin(d.low) < np.argmax(d.high) for d in days]))

    assert low_first(102.8) > 0.6
    assert low_first(98.7) < 0.4


# --- files ------------------------------------------------------------------------------------------------------------


def at(text: str, session: date = SESSION) -> datetime:
    return datetime.fromisoformat(f"{session}T{text}").replace(tzinfo=NEW_YORK)


ROWS: list[tuple[Any, Any, Any]] = [
    ("B", at("09:31"), 20.0),
    ("A", at("15:59"), 12.0),
    ("A", at("09:30"), 10.0),
    ("A", at("09:33"), 11.0),
    ("A", at("09:29"), 1.0),
    ("A", at("16:00"), 1.0),
    ("A", at("10:00") + timedelta(days=1), 1.0),
]


def table(rows: list[tuple[Any, Any, Any]] = ROWS, **columns: pa.Array) -> pa.Table:
    symbols, times, prices = zip(*rows, strict=True)
    made = {
        "symbol": pa.array(symbols, pa.string()),
        "ts": pa.array(times, pa.timestamp("us", tz="America/New_York")),
        **{field: pa.array(prices, pa.float64()) for field in FIELDS},
    }
    return pa.table({**made, **columns})


def save(folder: Path, content: pa.Table, name: str = "minutes.parquet", **options: Any) -> Path:
    path = folder / name
    pq.write_table(content, path, **options)
    return path


def test_the_regular_minutes_of_the_session_are_read_in_order_and_gaps_stay(tmp_path: Path) -> None:
    for size in (1, 2, 100):
        found = load_minutes(save(tmp_path, table(), row_group_size=size), ["A", "B", "C"], SESSION)
        assert list(found) == ["A", "B"]
        assert found["A"].minute.tolist() == [0, 3, 389]
        assert found["B"].minute.tolist() == [1]
        for field in FIELDS:
            assert getattr(found["A"], field).tolist() == [10, 11, 12]
            assert getattr(found["A"], field).dtype == np.float64
        assert found["A"].dropped == 0


def test_only_the_symbols_asked_for_are_read(tmp_path: Path) -> None:
    assert list(load_minutes(save(tmp_path, table()), ["B"], SESSION)) == ["B"]
    assert load_minutes(save(tmp_path, table()), [], SESSION) == {}
    assert load_minutes(save(tmp_path, table()), ["A"], date(2024, 3, 8)) == {}


def test_a_half_day_ends_at_one(tmp_path: Path) -> None:
    rows = [("A", at(text, HALF_DAY), 5.0) for text in ("12:59", "13:00", "15:00")]
    assert load_minutes(save(tmp_path, table(rows)), ["A"], HALF_DAY)["A"].minute.tolist() == [209]


@pytest.mark.parametrize("kind", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_times_may_be_of_any_zone_and_unit(tmp_path: Path, kind: str, zone: str) -> None:
    times = table().column("ts").cast(pa.timestamp(kind, tz=zone))
    found = load_minutes(save(tmp_path, table(ts=times)), ["A"], SESSION)
    assert found["A"].minute.tolist() == [0, 3, 389]


def test_volumes_may_be_integers_and_symbols_a_dictionary(tmp_path: Path) -> None:
    columns = {"volume": pa.array(range(7), pa.int64()), "symbol": table().column("symbol").dictionary_encode()}
    assert load_minutes(save(tmp_path, table(**columns)), ["A"], SESSION)["A"].volume.tolist() == [2, 3, 1]


def test_a_folder_is_read_as_one_and_daily_files_in_it_are_passed_over(tmp_path: Path) -> None:
    save(tmp_path, table(ROWS[:3]), "one.parquet")
    save(tmp_path, table(ROWS[3:]), "two.parquet")
    save(tmp_path, pa.table({"symbol": ["A"], "date": [SESSION]}), "daily.parquet")
    assert load_minutes(tmp_path, ["A"], SESSION)["A"].minute.tolist() == [0, 3, 389]


def test_a_bar_with_a_missing_value_is_dropped_and_counted(tmp_path: Path) -> None:
    close = pa.array([20.0, math.nan, 10.0, 11.0, 1, 1, 1])
    volume = pa.array([20, 12, None, 11, 1, 1, 1], pa.int64())
    bars = load_minutes(save(tmp_path, table(close=close, volume=volume)), ["A"], SESSION)["A"]
    assert (bars.minute.tolist(), bars.dropped) == ([3], 2)


def test_a_symbol_of_which_every_bar_is_dropped_is_there_without_bars(tmp_path: Path) -> None:
    rows = [("A", at("09:30"), None)]
    bars = load_minutes(save(tmp_path, table(rows)), ["A"], SESSION)["A"]
    assert (bars.minute.size, bars.dropped) == (0, 1)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"low": pa.array([20.0, 12, 10.5, 11, 1, 1, 1])}, ["A at 2024-03-05 09:30", "not a bar"]),
        ({"high": pa.array([20.0, 12, 10, 10.9, 1, 1, 1])}, ["A at 2024-03-05 09:33", "not a bar"]),
        ({"high": pa.array([20.0, math.inf, 10, 11, 1, 1, 1])}, ["A at 2024-03-05 15:59", "not a bar"]),
        ({"low": pa.array([20.0, 0, 10, 11, 1, 1, 1])}, ["A at 2024-03-05 15:59", "not a bar"]),
        ({"volume": pa.array([20.0, 12, 10, -1, 1, 1, 1])}, ["A at 2024-03-05 09:33", "volume"]),
        ({"ts": pa.array([r[1].replace(tzinfo=None) for r in ROWS], pa.timestamp("us"))}, ["ts", "times with a zone"]),
        ({"ts": pa.array(["x"] * 7)}, ["ts is string", "times with a zone"]),
        ({"symbol": pa.array(range(7))}, ["symbol is int64", "text"]),
        ({"symbol": pa.array(["A"] * 6 + [None])}, ["symbol", "1 empty"]),
        ({"open": pa.array(["x"] * 7)}, ["open is string", "numbers"]),
    ],
)
def test_bad_bars_are_named(tmp_path: Path, columns: dict[str, pa.Array], words: list[str]) -> None:
    path = save(tmp_path, table(**columns))
    with pytest.raises(BarsError) as error:
        load_minutes(path, ["A"], SESSION)
    for word in (str(path), *words):
        assert word in str(error.value)


def test_a_bad_bar_of_another_symbol_or_time_is_not_looked_at(tmp_path: Path) -> None:
    low = pa.array([20.0, 12, 10, 11, 999, 999, 999])
    assert load_minutes(save(tmp_path, table(low=low)), ["A"], SESSION)["A"].minute.size == 3
    low = pa.array([999.0, 12, 10, 11, 1, 1, 1])
    assert load_minutes(save(tmp_path, table(low=low)), ["A"], SESSION)["A"].minute.size == 3


def test_a_symbol_and_minute_twice_is_an_error_in_one_file_or_two(tmp_path: Path) -> None:
    again = [("A", at("09:33"), 11.0)]
    with pytest.raises(BarsError, match=r"A at 2024-03-05 09:33 has more than one bar"):
        load_minutes(save(tmp_path, table(ROWS + again)), ["A"], SESSION)
    save(tmp_path, table(), "minutes.parquet")
    save(tmp_path, table(again), "more.parquet")
    with pytest.raises(BarsError, match="more than one bar"):
        load_minutes(tmp_path, ["A"], SESSION)


def test_a_time_within_a_minute_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BarsError, match="09:30:07"):
        load_minutes(save(tmp_path, table([("A", at("09:30:07"), 1.0)])), ["A"], SESSION)


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_text("no parquet")
    with pytest.raises(BarsError, match=r"broken\.parquet: cannot be read"):
        load_minutes(broken, ["A"], SESSION)
    with pytest.raises(BarsError, match=r"nothing: cannot be read"):
        load_minutes(tmp_path / "nothing", ["A"], SESSION)
    broken.unlink()
    with pytest.raises(BarsError, match="no minute bars"):
        load_minutes(tmp_path, ["A"], SESSION)
    with pytest.raises(BarsError, match="column close is missing"):
        load_minutes(save(tmp_path, table().drop_columns("close")), ["A"], SESSION)


def test_the_real_minutes_are_read(real_data: Path) -> None:
    found = load_minutes(real_data, ["AAPL", "NONE", "MSFT"], date(2019, 2, 11))
    assert list(found) == ["AAPL", "MSFT"]
    apple = found["AAPL"]
    assert (apple.minute[0], apple.open[0], apple.close[0], apple.volume[0]) == (0, 171.14, 170.97, 619925)

"""Parquet files to panels, and what is said of files that cannot be used."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.core.panel import FIELDS
from autotrader.market.bars import BarsError, daily_range, load_daily

D1, D2, D3 = date(2024, 1, 2), date(2024, 1, 3), date(2024, 1, 5)
ROWS = [("B", D2, 2.0), ("A", D1, 1.0), ("A", D3, 3.0), ("B", D3, 4.0)]  # in no order


def table(rows: list[tuple[Any, Any, Any]] = ROWS, **columns: pa.Array) -> pa.Table:
    symbols, dates, prices = zip(*rows, strict=True) if rows else ((), (), ())
    made = {
        "symbol": pa.array(symbols, pa.string()),
        "date": pa.array(dates, pa.date32()),
        **{field: pa.array(prices, pa.float64()) for field in FIELDS},
    }
    return pa.table({**made, **columns})


def save(folder: Path, content: pa.Table, name: str = "bars.parquet", **options: Any) -> Path:
    path = folder / name
    pq.write_table(content, path, **options)
    return path


def test_rows_in_any_order_find_their_place(tmp_path: Path) -> None:
    panel = load_daily(save(tmp_path, table()))
    assert panel.symbols == ("A", "B")
    assert panel.dates.tolist() == [D1, D2, D3]
    assert panel.dates.dtype == np.dtype("datetime64[D]")
    for field in FIELDS:
        values = getattr(panel, field)
        np.testing.assert_array_equal(values, [[1, np.nan, 3], [np.nan, 2, 4]])
        assert values.flags.c_contiguous


def test_each_column_goes_to_its_field(tmp_path: Path) -> None:
    different = {field: pa.array([10.0 * i, 1, 2, 3]) for i, field in enumerate(FIELDS)}
    panel = load_daily(save(tmp_path, table(**different)))
    assert [getattr(panel, field)[1, 1] for field in FIELDS] == [0, 10, 20, 30, 40]


def test_symbols_asked_for_keep_their_order_with_a_row_of_nan_where_there_is_none(tmp_path: Path) -> None:
    panel = load_daily(save(tmp_path, table()), ["C", "B"])
    assert panel.symbols == ("C", "B")
    assert panel.dates.tolist() == [D2, D3]
    np.testing.assert_array_equal(panel.close, [[np.nan, np.nan], [2, 4]])


def test_both_ends_of_the_range_are_included(tmp_path: Path) -> None:
    path = save(tmp_path, table())
    assert load_daily(path, first=D2, last=D2).dates.tolist() == [D2]
    assert load_daily(path, first=D2, last=D2).symbols == ("B",)
    assert load_daily(path, first=D2).dates.tolist() == [D2, D3]
    assert load_daily(path, last=D1).dates.tolist() == [D1]


def test_a_range_without_bars_is_a_panel_without_columns(tmp_path: Path) -> None:
    path = save(tmp_path, table())
    assert load_daily(path, ["A"], first=date(2030, 1, 1)).close.shape == (1, 0)
    assert load_daily(path, first=date(2030, 1, 1)).close.shape == (0, 0)
    assert load_daily(path, []).close.shape == (0, 0)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_symbols_may_be_any_text(tmp_path: Path, kind: pa.DataType) -> None:
    path = save(tmp_path, table(symbol=pa.array(["B", "A", "A", "B"]).cast(kind)))
    assert load_daily(path).symbols == ("A", "B")


@pytest.mark.parametrize(
    "kind", [pa.date64(), pa.timestamp("ns"), pa.timestamp("s"), pa.timestamp("us", tz="Asia/Tokyo")]
)
def test_dates_may_be_dates_or_timestamps_of_the_day_where_they_were_taken(tmp_path: Path, kind: pa.DataType) -> None:
    dates = pa.array([D2, D1, D3, D3]).cast(pa.timestamp("us"))
    if getattr(kind, "tz", None):
        from pyarrow import compute

        dates = compute.assume_timezone(dates, kind.tz)
    path = save(tmp_path, table(date=dates.cast(kind)))
    assert load_daily(path).dates.tolist() == [D1, D2, D3]
    assert daily_range(path) == (D1, D3)


@pytest.mark.parametrize("kind", [pa.int64(), pa.int32(), pa.uint64(), pa.float32()])
def test_numbers_may_be_integers_or_floats_and_an_empty_one_is_nan(tmp_path: Path, kind: pa.DataType) -> None:
    path = save(tmp_path, table(volume=pa.array([7, None, 8, 9], kind)))
    panel = load_daily(path)
    np.testing.assert_array_equal(panel.volume, [[np.nan, np.nan, 8], [np.nan, 7, 9]])
    np.testing.assert_array_equal(load_daily(path, ["A"], last=D1).volume, [[np.nan]])
    assert panel.volume.dtype == np.float64


def test_a_folder_is_read_as_one_and_minute_files_in_it_are_passed_over(tmp_path: Path) -> None:
    save(tmp_path, table(ROWS[:2]), "one.parquet")
    save(tmp_path, table(ROWS[2:]), "two.parquet")
    save(tmp_path, pa.table({"symbol": ["A"], "ts": [datetime(2024, 1, 2)]}), "minutes.parquet")  # noqa: DTZ001
    (tmp_path / "notes.txt").write_text("no bars")
    panel = load_daily(tmp_path)
    np.testing.assert_array_equal(panel.close, [[1, np.nan, 3], [np.nan, 2, 4]])
    assert daily_range(tmp_path) == (D1, D3)


def test_only_row_groups_that_hold_wanted_rows_are_read_and_give_the_same(tmp_path: Path) -> None:
    path = save(tmp_path, table(sorted(ROWS)), row_group_size=1)
    np.testing.assert_array_equal(load_daily(path).close, [[1, np.nan, 3], [np.nan, 2, 4]])
    np.testing.assert_array_equal(load_daily(path, ["B", "A"], first=D2).close, [[2, 4], [np.nan, 3]])


@settings(deadline=None)
@given(
    bars=st.dictionaries(
        st.tuples(st.sampled_from("ABCD"), st.dates(date(1969, 12, 28), date(1970, 1, 6))),
        st.floats(0.01, 1000),
        min_size=1,
        max_size=25,
    ),
    group=st.integers(1, 8),
    asked=st.permutations("ABCDE").flatmap(lambda order: st.integers(0, 5).map(lambda n: order[:n])),
    first=st.dates(date(1969, 12, 27), date(1970, 1, 7)),
    data=st.data(),
)
def test_every_bar_of_the_range_is_there_and_no_other(
    tmp_path_factory: pytest.TempPathFactory,
    bars: dict[tuple[str, date], float],
    group: int,
    asked: list[str],
    first: date,
    data: st.DataObject,
) -> None:
    last = data.draw(st.dates(first, date(1970, 1, 8)))
    rows = data.draw(st.permutations([(symbol, day, price) for (symbol, day), price in bars.items()]))
    path = save(tmp_path_factory.getbasetemp(), table(rows), row_group_size=group)
    panel = load_daily(path, asked, first, last)
    expected = {key: price for key, price in bars.items() if key[0] in asked and first <= key[1] <= last}
    found = {
        (symbol, day): panel.close[i, j]
        for i, symbol in enumerate(panel.symbols)
        for j, day in enumerate(panel.dates.tolist())
        if not np.isnan(panel.close[i, j])
    }
    assert found == expected
    assert panel.symbols == tuple(asked)
    assert panel.dates.tolist() == sorted({day for _, day in expected})


def refused(path: Path, *words: str) -> None:
    with pytest.raises(BarsError) as caught:
        load_daily(path)
    for word in (str(path), *words):
        assert word in str(caught.value)


def test_two_bars_of_a_symbol_on_a_day_are_refused(tmp_path: Path) -> None:
    refused(save(tmp_path, table([*ROWS, ("A", D3, 9.0)])), "A has more than one bar for 2024-01-05")


def test_two_files_with_the_same_bar_are_refused(tmp_path: Path) -> None:
    save(tmp_path, table(), "one.parquet")
    save(tmp_path, table([("B", D2, 2.0)]), "two.parquet")
    refused(tmp_path, "B has more than one bar for 2024-01-03")


@pytest.mark.parametrize("name", ["symbol", "date", *FIELDS])
def test_a_missing_column_is_named(tmp_path: Path, name: str) -> None:
    refused(save(tmp_path, table().drop_columns([name])), f"column {name} is missing")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("symbol", pa.array([1, 2, 3, 4]), "column symbol is int64, expected text"),
        ("date", pa.array(["2024-01-02"] * 4), "column date is string, expected dates"),
        ("close", pa.array(["1"] * 4), "column close is string, expected numbers"),
        ("symbol", pa.array(["A", None, "B", None]), "column symbol has 2 empty values"),
        ("date", pa.array([D1, None, D2, D3]), "column date has 1 empty values"),
    ],
)
def test_a_column_of_the_wrong_type_is_named(tmp_path: Path, name: str, values: pa.Array, message: str) -> None:
    refused(save(tmp_path, table(**{name: values})), message)


def test_what_is_no_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    refused(path, "cannot be read as parquet")
    path.write_bytes(b"")
    refused(path, "cannot be read as parquet")
    path.write_bytes(b"symbol,date,open\n" * 100)
    refused(path, "cannot be read as parquet")


def test_a_file_damaged_inside_is_refused(tmp_path: Path) -> None:
    rows = [(f"S{i}", D1, float(i)) for i in range(5000)]
    path = save(tmp_path, table(rows), compression="zstd", use_dictionary=["symbol"])
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)
    refused(path, "cannot be read as parquet")


def test_a_file_or_folder_without_daily_bars_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "holds no parquet file of daily bars")
    path = save(tmp_path, pa.table({"symbol": ["A"], "ts": [datetime(2024, 1, 2)]}))  # noqa: DTZ001
    refused(path, "holds minute bars")
    refused(tmp_path, "holds no parquet file of daily bars")


def test_a_file_without_rows_is_an_empty_panel_but_has_no_range(tmp_path: Path) -> None:
    path = save(tmp_path, table([]))
    assert load_daily(path, ["A"]).close.shape == (1, 0)
    with pytest.raises(BarsError, match="holds no bars"):
        daily_range(path)


def test_a_symbol_asked_for_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BarsError, match="symbol B is asked for twice"):
        load_daily(save(tmp_path, table()), ["A", "B", "C", "B"])


def test_pandas_is_not_loaded(tmp_path: Path) -> None:
    path = save(tmp_path, table())
    script = (
        "import sys; from pathlib import Path; from autotrader.market.bars import load_daily, daily_range; "
        f"load_daily(Path({str(path)!r})); daily_range(Path({str(path)!r})); assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_real_file_is_read_whole(real_data: Path) -> None:
    source = pq.read_table(real_data / "sp500_daily.parquet")
    panel = load_daily(real_data / "sp500_daily.parquet")
    assert panel.close.shape == (504, 2516)
    assert np.isfinite(panel.close).sum() == len(source) == 1_217_006
    assert panel.close[np.isfinite(panel.close)].sum() == pytest.approx(source["close"].to_numpy().sum(), rel=1e-12)
    row = panel.symbols.index("AAPL")
    last = load_daily(real_data / "sp500_daily.parquet", ["AAPL"], first=date(2021, 4, 21))
    assert last.close[0, -1] == panel.close[row, -1]
    assert daily_range(real_data / "sp500_daily.parquet") == (date(2011, 4, 21), date(2021, 4, 21))


def test_days_that_no_market_was_open_on_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    for day in (-2_000_000_000, 2_000_000_000):
        table = pa.table({"symbol": ["A"], "date": pa.array([day], pa.int32()).cast(pa.date32()),
                          **{name: [1.0] for name in FIELDS}})  # fmt: skip
        pq.write_table(table, path)
        for read in (lambda: daily_range(path), lambda: load_daily(path)):
            with pytest.raises(BarsError, match="before 1800 or after 2200"):
                read()

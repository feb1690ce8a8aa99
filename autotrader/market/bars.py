"""Parquet files of daily bars to arrays, at about the price of decoding the files.

Two passes: symbols and dates first (a tenth of the cost), which decide what row groups hold wanted rows, then the
prices of those, written straight to their place. Arrow's memory is read through numpy: pyarrow's own to_numpy imports
pandas, and that, like pyarrow.dataset, costs more than ten years of bars.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autotrader.core.panel import FIELDS, Array, Mask, Panel
from autotrader.errors import AutotraderError

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

KEYS = ("symbol", "date")
EPOCH = date(1970, 1, 1)
_EARLIEST, _LATEST = (date(1800, 1, 1) - EPOCH).days, (date(2200, 1, 1) - EPOCH).days

Days = NDArray[np.int32]  # since 1970-01-01, as parquet's dates count
Integers = NDArray[np.integer[Any]]


class BarsError(AutotraderError, ValueError):
    """Bars that cannot be used; one sentence that names the file and the column, or the symbol and the date."""


def load_daily(
    path: Path, symbols: Sequence[str] | None = None, first: date | None = None, last: date | None = None
) -> Panel:
    """The daily bars of a parquet file, or of all in a folder, from `first` to `last`, both included.

    symbols: the rows, in this order; one without bars is NaN. None: all that have a bar in the range, sorted.
    The columns are the dates on which any of these symbols has a bar.
    Files with a column ts hold minute bars and are passed over. BarsError: no readable file of daily bars, a missing
    column or one of the wrong type, an empty symbol or date, a symbol and date twice.
    """
    if symbols is not None and len(set(symbols)) < len(symbols):
        twice = next(symbol for i, symbol in enumerate(symbols) if symbol in symbols[:i])
        raise BarsError(f"symbol {twice} is asked for twice")
    only = None if symbols is None else frozenset(symbols)
    parts = [_select(file, only, first, last) for file in _daily_files(path)]
    names = tuple(sorted({name for part in parts for name in part.present})) if symbols is None else tuple(symbols)
    days = _union([part.days for part in parts])
    dates = days.astype("datetime64[D]")
    row = {name: i for i, name in enumerate(names)}
    places = [part.place(row, days) for part in parts]
    _refuse_duplicates(path, places, names, dates)
    fields = {field: np.full((len(names), len(dates)), np.nan) for field in FIELDS}
    for part, place in zip(parts, places, strict=True):
        part.write(place, fields)
    return Panel(names, dates, **fields)


def daily_range(path: Path) -> tuple[date, date]:
    """The first and the last date of any daily bar in a file or folder. BarsError as for load_daily, or no bar."""
    days = []
    for file in _daily_files(path):
        with _parquet(file) as source:
            days.append(_days(file, source.read(columns=["date"]).column("date")))
    found = np.concatenate(days)
    if not found.size:
        raise BarsError(f"{path}: holds no bars")
    return _date(found.min()), _date(found.max())


@dataclass(frozen=True, slots=True)
class _Part:
    """The wanted rows of one file.

    groups: the row groups that hold any; wanted: a flag for each row of those groups.
    codes, days: of the wanted rows, in file order; names[code] is the symbol.
    """

    path: Path
    groups: list[int]
    wanted: Mask
    names: list[str]
    codes: Integers
    days: Days

    @property
    def present(self) -> list[str]:
        return [self.names[code] for code in np.flatnonzero(np.bincount(self.codes, minlength=len(self.names)))]

    def place(self, row: dict[str, int], dates: Days) -> NDArray[np.int64]:
        """Where in a flattened [symbol, time] array each wanted row belongs."""
        if not self.days.size:
            return np.empty(0, dtype=np.int64)
        column = np.zeros(dates[-1] - dates[0] + 1, dtype=np.int64)
        column[dates - dates[0]] = np.arange(len(dates))
        start = np.array([row.get(name, -1) * len(dates) for name in self.names], dtype=np.int64)
        flat: NDArray[np.int64] = start[self.codes] + column[self.days - dates[0]]
        return flat

    def write(self, place: NDArray[np.int64], fields: dict[str, Array]) -> None:
        if not self.groups:
            return
        with _parquet(self.path) as source:
            table = source.read_row_groups(self.groups, columns=list(FIELDS))
        for field, values in fields.items():
            values.reshape(-1)[place] = _floats(table.column(field), self.wanted)


def _select(path: Path, only: frozenset[str] | None, first: date | None, last: date | None) -> _Part:
    with _parquet(path) as source:
        table = source.read(columns=list(KEYS))
        sizes = [source.metadata.row_group(i).num_rows for i in range(source.num_row_groups)]
    names, codes = _symbols(path, table.column("symbol"))
    days = _days(path, table.column("date"))
    wanted = np.ones(len(days), dtype=np.bool_)
    if first is not None:
        wanted &= days >= (first - EPOCH).days
    if last is not None:
        wanted &= days <= (last - EPOCH).days
    if only is not None and codes.size:
        wanted &= np.array([name in only for name in names])[codes]
    ends = np.cumsum(sizes, dtype=np.int64).tolist()
    spans = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    groups = [i for i, span in enumerate(spans) if wanted[span].any()]
    kept = np.concatenate([wanted[spans[i]] for i in groups]) if groups else wanted[:0]
    return _Part(path, groups, kept, names, codes[wanted], days[wanted])


def _symbols(path: Path, column: Any) -> tuple[list[str], Integers]:
    """The names in the column's dictionary and, for each row, the index of its name there."""
    if column.null_count:
        raise BarsError(f"{path}: column symbol has {column.null_count} empty values")
    if not len(column):
        return [], np.empty(0, dtype=np.int32)
    encoded = column.unify_dictionaries().combine_chunks()
    codes: Integers = np.from_dlpack(encoded.indices)  # type: ignore[assignment]  # dlpack also knows floats
    return encoded.dictionary.to_pylist(), codes


def _days(path: Path, column: Any) -> Days:
    import pyarrow as pa

    if column.null_count:
        raise BarsError(f"{path}: column date has {column.null_count} empty values")
    if getattr(column.type, "tz", None) is not None:  # the day where the time was taken, not the day in Greenwich
        from pyarrow import compute

        column = compute.local_timestamp(column)
    array = column.combine_chunks()
    if pa.types.is_date32(array.type):
        days: NDArray[Any] = np.from_dlpack(array.view(pa.int32()))
    else:
        unit = "ms" if pa.types.is_date64(array.type) else array.type.unit
        days = np.from_dlpack(array.view(pa.int64())).view(f"datetime64[{unit}]").astype("datetime64[D]")
        days = days.astype(np.int64)
    if days.size and (days.min() < _EARLIEST or days.max() > _LATEST):
        raise BarsError(f"{path}: column date holds days before 1800 or after 2200; the file is damaged")
    return days.astype(np.int32, copy=False)


def _floats(column: Any, wanted: Mask) -> Array:
    """The wanted rows of a column of numbers; NaN where it is empty."""
    array = column.combine_chunks()
    filled, numbers = array.buffers()
    part = slice(array.offset, array.offset + len(array))
    everything = bool(wanted.all())
    values = np.frombuffer(numbers, dtype=array.type.to_pandas_dtype())[part]
    floats: Array = (values if everything else values[wanted]).astype(np.float64, copy=False)
    if not array.null_count:
        return floats
    valid = np.unpackbits(np.frombuffer(filled, dtype=np.uint8), bitorder="little")[part]
    return np.where(valid[wanted], floats, np.nan)


def _union(days: list[Days]) -> Days:
    """The dates that occur, ascending: by marking them on a line, since sorting a million is slower than reading."""
    filled = [part for part in days if part.size]
    if not filled:
        return np.empty(0, dtype=np.int32)
    start = min(part.min() for part in filled)
    seen = np.zeros(max(part.max() for part in filled) - start + 1, dtype=np.bool_)
    for part in filled:
        seen[part - start] = True
    union: Days = (start + np.flatnonzero(seen)).astype(np.int32)
    return union


def _date(day: np.int32) -> date:
    return EPOCH + timedelta(days=int(day))


def _refuse_duplicates(
    path: Path, places: list[NDArray[np.int64]], names: tuple[str, ...], dates: NDArray[np.datetime64]
) -> None:
    taken = np.zeros(len(names) * len(dates), dtype=np.bool_)
    for place in places:
        taken[place] = True
    if np.count_nonzero(taken) == sum(map(len, places)):
        return
    places_taken, times = np.unique(np.concatenate(places), return_counts=True)
    row, column = divmod(int(places_taken[times > 1][0]), len(dates))
    raise BarsError(f"{path}: {names[row]} has more than one bar for {dates[column]}")


def _daily_files(path: Path) -> list[Path]:
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    daily = [file for file in files if _is_daily(file)]
    if not daily:
        if path.is_dir():
            raise BarsError(f"{path}: holds no parquet file of daily bars")
        raise BarsError(f"{path}: holds minute bars (column ts), where daily bars (column date) are needed")
    return daily


def _is_daily(path: Path) -> bool:
    """Whether the file holds daily bars; BarsError where they are not as they must be."""
    from pyarrow import types
    from pyarrow.parquet import read_schema

    def is_text(kind: Any) -> bool:
        return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))

    with _readable(path):
        schema = read_schema(path)
    if "ts" in schema.names:
        return False
    for name in (*KEYS, *FIELDS):
        if name not in schema.names:
            raise BarsError(f"{path}: column {name} is missing; it has {', '.join(schema.names)}")
        kind = schema.field(name).type
        if name == "symbol":
            expected, fits = "text", is_text(kind.value_type if types.is_dictionary(kind) else kind)
        elif name == "date":
            expected, fits = "dates", types.is_date(kind) or types.is_timestamp(kind)
        else:
            expected, fits = "numbers", types.is_integer(kind) or types.is_floating(kind)
        if not fits:
            raise BarsError(f"{path}: column {name} is {kind}, expected {expected}")
    return True


@contextmanager
def _parquet(path: Path) -> Iterator[ParquetFile]:
    from pyarrow.parquet import ParquetFile

    with _readable(path), ParquetFile(path, read_dictionary=["symbol"]) as source:
        yield source


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise BarsError(f"{path}: cannot be read as parquet: {error}") from error

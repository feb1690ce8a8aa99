"""One-minute bars of a session: made from its daily bar, or read from parquet files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autotrader.clock import NEW_YORK, Calendar
from autotrader.core.daily_path import is_sound
from autotrader.core.panel import FIELDS, Array
from autotrader.market.bars import BarsError

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

COLUMNS = ("symbol", "ts", *FIELDS)
MINUTE = timedelta(minutes=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, eq=False)
class MinuteBars:
    """The bars of one symbol on one session, N of them.

    minute: int64 [N], minutes from the open to the start of the bar, strictly ascending; a missing one had no trade.
    open, high, low, close: float64 [N], USD. volume: float64 [N], shares.
    dropped: bars of the source that were passed over because a value was missing.
    """

    symbol: str
    minute: NDArray[np.int64]
    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array
    dropped: int = 0


# --- made from a daily bar ----------------------------------------------------------------------------------------

WANDER = 0.6  # volatility of the walk over the session, in daily ranges: a Brownian range is 1.6 volatilities wide
HURRY = 0.08  # of the session: the least time from one extreme to the other
WIGGLE = 0.5  # how far a minute reaches beyond its open and close, in volatilities of that minute


def minutes_of_day(
    symbol: str,
    session: date,
    open: float,
    high: float,
    low: float,
    close: float,
    volume: float,
    minutes: int,
    seed: int,
) -> MinuteBars:
    """A daily bar as `minutes` bars with exactly its open, high, low, close and volume.

    A Brownian bridge from the open through both extremes to the close, folded into the day's range. High and low are
    touched in one minute each, unless the day opens and closes there or is narrower than two ticks. Each bar opens
    where the last one closed. Volatility and volume are U-shaped over the day; volumes are whole shares, where the
    day's is. The random part depends on seed, symbol and session alone.
    BarsError: the daily bar is not one (a low above the open, a price that is not positive, ...). Takes about 0.4 ms.
    """
    if minutes < 1:
        raise ValueError(f"minutes is {minutes}, expected 1 or more")
    if not (is_sound(open, high, low, close) and 0 <= volume < math.inf):
        bar = f"open {open}, high {high}, low {low}, close {close}, volume {volume}"
        raise BarsError(f"{symbol} on {session}: not a daily bar: {bar}")
    random = _stream(seed, symbol, session)
    when = random.random(3)
    steps, above, below, crowd = random.standard_normal((4, minutes))
    activity, time = _activity(minutes)

    span = high - low
    start, end = ((open - low) / span, (close - low) / span) if span > 0 else (0.0, 0.0)
    low_first = bool(when[2] < (1 + end - start) / 2)
    first, second = _turns(when[:2].tolist(), minutes, start if low_first else 1 - start, 1 - end if low_first else end)
    low_at, high_at = (first, second) if low_first else (second, first)
    low_at = 0 if open == low else minutes if close == low else low_at
    high_at = 0 if open == high else minutes if close == high else high_at
    knots, levels = zip(*sorted([(low_at, 0.0), (high_at, 1.0)]), strict=True)
    knots, levels = (0, *knots, minutes), (start, *levels, end)

    spread = WANDER * np.sqrt(activity)
    walk = np.concatenate(([0.0], np.cumsum(steps * spread)))
    at = time[list(knots)]
    bridge = walk + np.interp(time, at, np.asarray(levels) - walk[list(knots)])
    path = np.abs((bridge + 1.0) % 2.0 - 1.0)  # folded at 0 and 1
    top = np.maximum(path[:-1], path[1:]) + WIGGLE * spread * np.abs(above)
    bottom = np.minimum(path[:-1], path[1:]) - WIGGLE * spread * np.abs(below)

    digits = _digits(open, high, low, close)
    tick = 10.0**-digits
    floor, ceiling = round(low + tick, digits), round(high - tick, digits)
    if floor > ceiling:
        floor, ceiling = low, high
    points, highs, lows = (np.clip(np.round(low + span * x, digits), floor, ceiling) for x in (path, top, bottom))
    points[0], points[-1] = open, close
    opens, closes = points[:-1], points[1:]
    highs, lows = np.maximum(highs, np.maximum(opens, closes)), np.minimum(lows, np.minimum(opens, closes))
    highs[min(high_at, minutes - 1)] = high
    lows[min(low_at, minutes - 1)] = low

    share = np.cumsum(activity * np.exp(0.4 * crowd))
    traded = np.floor(volume * (share / share[-1]))
    traded[-1] = volume
    return MinuteBars(
        symbol, np.arange(minutes), opens.copy(), highs, lows, closes.copy(), np.diff(traded, prepend=0.0)
    )


def _turns(draws: Sequence[float], minutes: int, to_first: float, from_second: float) -> tuple[int, int]:
    """When the two extremes are touched: by the arcsine law, with time for each way, given in daily ranges."""
    needs = [HURRY * way**2 * minutes for way in (to_first, 1.0, from_second)]
    free = minutes - sum(needs)
    early, late = sorted(math.sin(math.pi / 2 * u) ** 2 for u in draws)
    first, second = needs[0] + free * early, needs[0] + needs[1] + free * late
    return max(1, int(first)), max(1, int(second))


@cache
def _activity(minutes: int) -> tuple[Array, Array]:
    """Each minute's share of the day's variance, [N], and how much of it is over at each minute's edge, [N + 1]."""
    middle = (np.arange(minutes) + 0.5) / minutes
    activity = 1.0 + 2.0 * (2.0 * middle - 1.0) ** 4 + 4.0 * np.exp(-25.0 * middle)
    activity /= activity.sum()
    return activity, np.concatenate(([0.0], np.cumsum(activity)))


def _digits(*prices: float) -> int:
    """Decimals of a price: 2, and 4 under 1 USD or where the day's own prices have more than 2 (adjusted ones)."""
    return 2 if min(prices) >= 1 and all(round(price, 2) == price for price in prices) else 4


def _stream(seed: int, symbol: str, session: date) -> np.random.Generator:
    digest = blake2b(f"{seed}/minutes/{symbol}/{session}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64DXSM(int.from_bytes(digest, "big")))


# --- read from files ----------------------------------------------------------------------------------------------


def load_minutes(path: Path, symbols: Sequence[str], session: date) -> dict[str, MinuteBars]:
    """The regular minutes of a session from a parquet file, or from all in a folder that have a column ts.

    Symbols of which the files have no row on that session are not in the result. A row with an empty or NaN value is
    dropped and counted, rows outside the regular hours are passed over, prices are taken as they are.
    BarsError: no readable file of minute bars, a column missing or of the wrong type, times without a zone or not at
    the start of a minute, a symbol and minute twice, a bar that is none (low above open, a price not positive, ...).
    CalendarError: `session` is no session.
    """
    calendar = Calendar()
    first, end = calendar.opens_at(session), calendar.closes_at(session)
    parts = [part for file in _minute_files(path) for part in _rows(file, symbols, first, end)]
    result = {}
    for symbol in dict.fromkeys(symbols):
        rows = [(minute, values) for name, minute, values in parts if name == symbol]
        if not rows:
            continue
        minute, values = (np.concatenate(arrays, axis=-1) for arrays in zip(*rows, strict=True))
        order = np.argsort(minute, kind="stable")
        result[symbol] = _checked(path, symbol, first, minute[order], values[:, order])
    return result


def holds_minutes(path: Path) -> bool:
    """Whether the file, or any in the folder, is one of minute bars. BarsError as for load_minutes."""
    return any(_is_minutes(file) for file in (sorted(path.glob("*.parquet")) if path.is_dir() else [path]))


def minute_range(path: Path) -> tuple[date, date] | None:
    """New York's days of the first and the last minute bar in a file or folder; None where it holds none.

    BarsError: a file of minute bars that is not as it must be.
    """
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    found: list[datetime] = []
    for file in files:
        if _is_minutes(file):
            with _parquet(file) as source:
                found += _ends(source)
    return (_new_york_day(min(found)), _new_york_day(max(found))) if found else None


def _ends(source: ParquetFile) -> list[datetime]:
    """The first and the last time of every row group."""
    from pyarrow import compute

    column, found = source.schema_arrow.names.index("ts"), []
    for group in range(source.metadata.num_row_groups):
        known = source.metadata.row_group(group).column(column).statistics
        if known is not None and known.has_min_max:
            found += [known.min, known.max]
        elif source.metadata.row_group(group).num_rows:
            ends = compute.min_max(source.read_row_group(group, columns=["ts"]).column("ts")).as_py()
            found += [end for end in ends.values() if end is not None]
    return found


def _new_york_day(at: datetime) -> date:
    return at.astimezone(NEW_YORK).date()


def _checked(path: Path, symbol: str, start: datetime, minute: NDArray[np.int64], values: Array) -> MinuteBars:
    def refuse(wrong: NDArray[np.bool_], what: str) -> None:
        if wrong.any():
            at = start + int(minute[int(np.argmax(wrong))]) * MINUTE
            raise BarsError(f"{path}: {symbol} at {at:%Y-%m-%d %H:%M} {what}")

    refuse(np.diff(minute, append=-1) == 0, "has more than one bar")
    known = ~np.isnan(values).any(axis=0)
    dropped = int(np.count_nonzero(~known))
    minute, values = minute[known], np.ascontiguousarray(values[:, known])
    open_, high, low, close, volume = values
    fits = (low > 0) & (low <= np.minimum(open_, close)) & (np.maximum(open_, close) <= high) & (high < np.inf)
    refuse(~fits, "is not a bar: prices are positive, and open and close lie between low and high")
    refuse(~((volume >= 0) & (volume < np.inf)), "has a volume that is negative or infinite")
    return MinuteBars(symbol, minute, open_, high, low, close, volume, dropped)


def _rows(
    path: Path, symbols: Sequence[str], first: datetime, end: datetime
) -> Iterator[tuple[str, NDArray[np.int64], Array]]:
    """Symbol, minutes and values [5, N] of the wanted rows of a file, in file order."""
    with _parquet(path) as source:
        groups = _groups(source, first, end)
        table = source.read_row_groups(groups, columns=list(COLUMNS))
    if not table.num_rows:
        return
    for name in ("symbol", "ts"):
        if table.column(name).null_count:
            raise BarsError(f"{path}: column {name} has {table.column(name).null_count} empty values")
    times = table.column("ts").cast("int64").to_numpy()
    unit = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[table.schema.field("ts").type.unit]
    since = times - int((first - EPOCH).total_seconds()) * unit
    minute, rest = np.divmod(since, 60 * unit)
    inside = (minute >= 0) & (minute < (end - first) // MINUTE)
    if rest[inside].any():
        at = EPOCH + timedelta(seconds=int(times[inside][np.argmax(rest[inside] > 0)]) / unit)
        raise BarsError(f"{path}: {at.astimezone(NEW_YORK)} is not the start of a minute")
    encoded = table.column("symbol").unify_dictionaries().combine_chunks()
    names, codes = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
    inside &= np.isin(codes, [names.index(symbol) for symbol in set(symbols) if symbol in names])
    values = np.stack([table.column(field).to_numpy()[inside].astype(np.float64) for field in FIELDS])
    minute, codes = minute[inside], codes[inside]
    for code in np.unique(codes).tolist():
        yield names[code], minute[codes == code], values[:, codes == code]


def _groups(source: ParquetFile, first: datetime, end: datetime) -> list[int]:
    """The row groups that may hold rows from `first` to `end`: all that do not say otherwise."""
    metadata = source.metadata
    column = source.schema_arrow.names.index("ts")

    def apart(statistics: Any) -> bool:
        return statistics is not None and statistics.has_min_max and (statistics.min >= end or statistics.max < first)

    return [i for i in range(metadata.num_row_groups) if not apart(metadata.row_group(i).column(column).statistics)]


def _minute_files(path: Path) -> list[Path]:
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    found = [file for file in files if _is_minutes(file)]
    if not found:
        raise BarsError(f"{path}: holds no minute bars (column ts)")
    return found


def _is_minutes(path: Path) -> bool:
    """Whether the file holds minute bars; BarsError where they are not as they must be."""
    from pyarrow import types

    with _parquet(path) as source:
        schema = source.schema_arrow
    if "ts" not in schema.names:
        return False
    for name in COLUMNS:
        if name not in schema.names:
            raise BarsError(f"{path}: column {name} is missing; it has {', '.join(schema.names)}")
        kind = schema.field(name).type
        if name == "symbol":
            expected, fits = "text", types.is_dictionary(kind)  # text is read as a dictionary
        elif name == "ts":
            expected, fits = "times with a zone", types.is_timestamp(kind) and kind.tz is not None
        else:
            expected, fits = "numbers", types.is_integer(kind) or types.is_floating(kind)
        if not fits:
            raise BarsError(f"{path}: column {name} is {kind}, expected {expected}")
    return True


@contextmanager
def _parquet(path: Path) -> Iterator[ParquetFile]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path, read_dictionary=["symbol"]) as source:
            yield source
    except (OSError, pa.ArrowException) as error:
        raise BarsError(f"{path}: cannot be read as parquet: {error}") from error

"""The declared indicators, computed from a panel of daily bars on demand.

Wilder's indicators and the exponential mean carry state from bar to bar and come from TA-Lib, one call for each
unbroken run of bars; everything over a window is computed here for all symbols at once. Nothing reads a later bar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from inspect import unwrap

import numpy as np
from numpy.typing import NDArray

from autotrader.core.panel import FIELDS, Array, Mask, Panel
from autotrader.rules.evaluate import column_number
from autotrader.rules.expression import parse
from autotrader.vocabulary import INDICATOR_KINDS, Indicator

Run = tuple[int, int, int]  # row, first bar, one past the last: bars in a row without an unknown

# Bands this close together, in parts of their middle, are a constant plus rounding: no value stands anywhere in them.
_FLAT = 1e-12
# What is larger is as good as infinite; sums and squares of smaller values are finite.
_HUGE = 1e100
# Elements of a block of rows that stays in a core's cache while a window is built up.
_BLOCK = 32_768


class Series(Mapping[str, Array]):
    """The price fields and every declared indicator by name: float64 [symbol, time], read-only, NaN where unknown.

    Each is computed when first asked for and kept. Infinities are unknown. The bars are taken as they stand when
    first read, so do not write to the panel afterwards.

    panel:      the bars.
    indicators: in the order of declaration; `of` may read the fields and the indicators before it.
    usable:     [symbol, time], who takes part in a universe_rank; None: every known value.
    market:     the regime proxy: one symbol, the same dates. Indicators with `symbol: market` are computed on it and
                are the same for every symbol.

    Raises ValueError for a declaration that cannot be computed; KeyError for a name that is not declared.
    """

    def __init__(
        self,
        panel: Panel,
        indicators: Sequence[Indicator],
        usable: Mask | None = None,
        market: Panel | None = None,
    ) -> None:
        self._panel = panel
        self._declared = {indicator.name: indicator for indicator in indicators}
        self._usable = usable
        self._names = (*FIELDS, *self._declared)
        self._arrays: dict[str, Array] = {}
        self._known: dict[str, Mask] = {}
        self._expressions: dict[str, Array] = {}
        self._runs: dict[tuple[str, ...], list[Run]] = {}
        self._bands: dict[tuple[str, int, float], tuple[Array, Array]] = {}
        self._base: Series | None = None
        self._market: Series | None = None
        _check(indicators)
        if market is not None:
            if len(market.symbols) != 1 or not np.array_equal(market.dates, panel.dates):
                raise ValueError("the market must be one symbol over the panel's dates")
            self._market = Series(market, [replace(indicator, symbol=None) for indicator in indicators])
        elif missing := [i.name for i in indicators if i.symbol == "market"]:
            raise ValueError(f"{', '.join(missing)}: computed on the market, and no market was given")

    def extended(self, indicators: Sequence[Indicator]) -> Series:
        """These series and a strategy's own indicators; what both know is computed once, here."""
        if not indicators:
            return self
        declared = (*self._declared.values(), *indicators)
        market = self._market._panel if self._market else None
        series = Series(self._panel, declared, self._usable, market)
        series._base = self
        return series

    @property
    def market(self) -> Series:
        """The same series of the regime proxy, [1, time]. ValueError where none was given."""
        if self._market is None:
            raise ValueError("no market was given")
        return self._market

    def __getitem__(self, name: str) -> Array:
        if self._base is not None and name in self._base:
            return self._base[name]
        if name not in self._arrays:
            self._arrays[name] = self._compute(name)
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._declared or name in FIELDS

    def _compute(self, name: str) -> Array:
        if name in FIELDS:
            array = self._bounded(name, getattr(self._panel, name).view())
        elif (indicator := self._declared[name]).symbol == "market":
            return np.broadcast_to(self.market[name][0], self._panel.close.shape)
        else:
            with np.errstate(all="ignore"):
                array = _COMPUTE[indicator.kind](self, indicator)
        array.setflags(write=False)
        return array

    def _bounded(self, name: str, array: Array) -> Array:
        """The array with what is infinite unknown; which of its values are known is kept."""
        known = np.empty(array.shape, dtype=np.bool_)
        for block in _blocks(array.shape):
            np.less(np.abs(array[block]), _HUGE, out=known[block])
        self._known[name] = known
        some = ~known.all(axis=1)
        if np.count_nonzero(~known[some]) > np.count_nonzero(np.isnan(array[some])):
            return np.where(known, array, np.nan)
        return array

    def value_of(self, indicator: Indicator) -> Array:
        """What the indicator's `of` stands for."""
        if indicator.of in self._names[: self._names.index(indicator.name)]:
            return self[indicator.of]
        if indicator.of not in self._expressions:
            earlier = self._names[: self._names.index(indicator.name)]
            expression = parse(indicator.of, dict.fromkeys(earlier, "number"), "number")
            value = column_number(expression, {name: self[name] for name in expression.names})
            value = np.ascontiguousarray(np.broadcast_to(value, self._panel.close.shape))
            self._expressions[indicator.of] = self._bounded(indicator.of, value)
        return self._expressions[indicator.of]

    def runs(self, *names: str) -> list[Run]:
        """Where all of these are known, bar after bar. Each is a name, or an expression that was read before."""
        if names not in self._runs:
            known = [self._known[name] if name in self._known else np.isfinite(self[name]) for name in names]
            self._runs[names] = _unbroken(np.logical_and.reduce(known))
        return self._runs[names]

    def bollinger(self, indicator: Indicator) -> tuple[Array, Array]:
        """Width and %B, which come from the same bands."""
        key = (indicator.of, indicator.length, indicator.width)
        if key not in self._bands:
            self._bands[key] = _bollinger(self.value_of(indicator), indicator.length, indicator.width)
        return self._bands[key]

    def rank(self, value: Array) -> Array:
        """Each day's rank of the value in the universe."""
        return _rank(value if self._usable is None else np.where(self._usable, value, np.nan))


def _check(indicators: Sequence[Indicator]) -> None:
    seen = set(FIELDS)
    for indicator in indicators:
        if indicator.name in seen:
            raise ValueError(f"{indicator.name} is declared twice")
        seen.add(indicator.name)
        if indicator.kind not in INDICATOR_KINDS:
            raise ValueError(f"{indicator.name}: there is no kind {indicator.kind}")
        least = 2 if indicator.kind in {"rsi", "adx"} else 1
        if indicator.length < least:
            raise ValueError(f"{indicator.name}: {indicator.kind} needs a length of at least {least}")


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    step = max(1, _BLOCK // max(1, shape[1]))
    return (slice(start, start + step) for start in range(0, shape[0], step))


# --- with a memory: TA-Lib on unbroken runs -------------------------------------------------------------------------


def _unbroken(known: Mask) -> list[Run]:
    whole = known.all(axis=1)
    runs = [(row, 0, known.shape[1]) for row in np.nonzero(whole)[0].tolist()]
    for row in np.nonzero(~whole)[0].tolist():
        padded = np.concatenate(([False], known[row], [False]))
        edges = np.nonzero(padded[1:] != padded[:-1])[0].tolist()
        runs.extend((row, start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True))
    return runs


def _each_run(function: Callable[..., Array], length: int, runs: list[Run], *inputs: Array) -> Array:
    """TA-Lib's `function` over each run. It must see no NaN: one would spoil all that follows."""
    out = np.full(inputs[0].shape, np.nan)
    for row, start, stop in runs:
        if stop - start >= length:
            out[row, start:stop] = function(*[values[row, start:stop] for values in inputs], length)
    return out


def _talib(name: str) -> Callable[..., Array]:
    """One of TA-Lib's functions, without what it is wrapped in for the sake of pandas."""
    import talib  # brings pandas along where that is installed

    function: Callable[..., Array] = unwrap(getattr(talib, name))
    return function


def _rsi(series: Series, indicator: Indicator) -> Array:
    close = series["close"]
    runs = series.runs("close")
    rsi = _each_run(_talib("RSI"), indicator.length, runs, close)
    # TA-Lib gives 0, the deepest oversold, where nothing has moved yet and where old moves have decayed to nothing.
    # It is a true 0 only after losses without any gain.
    for row, start, stop in runs:
        zero = rsi[row, start:stop] == 0
        if np.count_nonzero(zero):
            step = np.diff(close[row, start:stop], prepend=close[row, start])
            only_losses = np.logical_or.accumulate(step < 0) & ~np.logical_or.accumulate(step > 0)
            rsi[row, start:stop][zero & ~only_losses] = np.nan
    return rsi


def _of_bars(name: str) -> Callable[[Series, Indicator], Array]:
    def compute(series: Series, indicator: Indicator) -> Array:
        bars = series["high"], series["low"], series["close"]
        runs = series.runs("high", "low", "close")
        return _each_run(_talib(name), indicator.length, runs, *bars)

    return compute


def _ema(series: Series, indicator: Indicator) -> Array:
    value = series.value_of(indicator)
    if indicator.length == 1:
        return value.copy()
    return _each_run(_talib("EMA"), indicator.length, series.runs(indicator.of), value)


# --- over a window: all symbols at once -----------------------------------------------------------------------------
#
# A window of n is put together from windows of 1, 2, 4, 8 ... bars. So it holds its own bars and nothing else: no
# rounding builds up along the series, an unknown reaches exactly the windows that contain it, and the result does not
# depend on where the series begins. The rows of a block are laid end to end, which makes for long loops; the windows
# that reach from one row into the next end in the first length - 1 bars of a row, and those are unknown anyway.


def _in_blocks(
    value: Array, length: int, window: Callable[[Array, tuple[Array, ...]], None], results: int
) -> list[Array]:
    """`results` arrays of the value's shape, unknown before a window is full.

    window: is given the bars of some rows, end to end, and fills the results for the windows of `length` that end at
    bar length - 1 and later.
    """
    out = [np.empty(value.shape) for _ in range(results)]
    if length <= value.shape[1]:
        for block in _blocks(value.shape):
            window(value[block].ravel(), tuple(array[block].reshape(-1)[length - 1 :] for array in out))
    for array in out:
        array[:, : length - 1] = np.nan
    return out


def _mean(value: Array, length: int) -> Array:
    def window(bars: Array, out: tuple[Array, ...]) -> None:
        (mean,) = out
        mean[:] = 0.0
        part, size, taken = bars, 1, 0
        while True:
            if length & size:
                mean += part[taken : taken + len(mean)]
                taken += size
            if taken == length:
                break
            part, size = part[:-size] + part[size:], size * 2
        mean /= length

    return _in_blocks(value, length, window, 1)[0]


def _bollinger(value: Array, length: int, width: float) -> tuple[Array, Array]:
    """Width and %B of the bands `width` population standard deviations around the mean.

    Sums of squared distances from the mean are merged as in Chan, Golub and LeVeque (1983): no cancellation, so that
    a flat window has no width.
    """

    def window(bars: Array, out: tuple[Array, ...]) -> None:
        band_width, pct_b = out
        count, part, size, taken = len(pct_b), bars, 1, 0
        squares = np.zeros_like(bars)
        total, spread = np.zeros(count), np.zeros(count)
        while True:
            if length & size:
                piece = part[taken : taken + count]
                if taken:
                    apart = piece * (1 / size)
                    apart -= total * (1 / taken)
                    apart *= apart
                    apart *= taken * size / (taken + size)
                    spread += apart
                spread += squares[taken : taken + count]
                total += piece
                taken += size
            if taken == length:
                break
            apart = part[size:] - part[:-size]
            apart *= apart
            apart *= 1 / (2 * size)
            if size > 1:  # single bars are at no distance from their mean
                apart += squares[size:]
                apart += squares[:-size]
            part, squares, size = part[:-size] + part[size:], apart, size * 2
        mean = total / length
        across = np.sqrt(spread * (4 * width * width / length))
        flat = across <= _FLAT * np.abs(mean)
        across[flat] = 0.0
        np.divide(across, mean, out=band_width)
        band_width[mean == 0] = np.nan
        np.subtract(bars[length - 1 :], mean, out=pct_b)
        pct_b /= across
        pct_b += 0.5
        pct_b[flat] = np.nan

    both = _in_blocks(value, length, window, 2)
    return both[0], both[1]


def _extreme(choose: np.ufunc) -> Callable[[Series, Indicator], Array]:
    def compute(series: Series, indicator: Indicator) -> Array:
        length = indicator.length

        def window(bars: Array, out: tuple[Array, ...]) -> None:
            part, size = bars, 1
            while size < length:  # two windows may overlap: the highest of both is that of all
                step = min(size, length - size)
                part, size = choose(part[:-step], part[step:]), size + step
            out[0][:] = part

        return _in_blocks(series.value_of(indicator), length, window, 1)[0]

    return compute


def _ratio_to_mean(series: Series, indicator: Indicator) -> Array:
    value = series.value_of(indicator)
    mean = _mean(value, indicator.length)
    _divide(value, mean, mean)
    return mean


def _against_earlier(combine: Callable[[Array, Array, Array], object]) -> Callable[[Series, Indicator], Array]:
    """combine: now, `length` bars earlier, where to put the result."""

    def compute(series: Series, indicator: Indicator) -> Array:
        value, length = series.value_of(indicator), indicator.length
        out = np.empty(value.shape)
        out[:, :length] = np.nan
        combine(value[:, length:], value[:, : max(0, value.shape[1] - length)], out[:, length:])
        return out

    return compute


def _gain(now: Array, earlier: Array, out: Array) -> None:
    _divide(now, earlier, out)
    out -= 1


def _divide(value: Array, by: Array, out: Array) -> None:
    """Into `out`; a division by zero is unknown."""
    for block in _blocks(value.shape):
        np.divide(value[block], by[block], out=out[block])
        infinite = np.isinf(out[block])
        if np.count_nonzero(infinite):
            out[block][infinite] = np.nan


def _rank(value: Array) -> Array:
    """(rank - 1) / (n - 1) among the known values of each column, ties at their average; 0.5 where n is 1."""
    out = np.empty(value.shape)
    for block in _blocks(value.shape[::-1]):
        out[:, block] = _rank_days(np.ascontiguousarray(value[:, block].T)).T
    return out


def _rank_days(days: Array) -> Array:
    order = _order(days)
    ordered = days.take(order)
    count = days.shape[1] - np.count_nonzero(np.isnan(days), axis=1)[:, None]
    place = np.arange(days.shape[1])
    rank = np.where(count > 1, place / np.maximum(count - 1, 1), 0.5)
    tied = ordered[:, 1:] == ordered[:, :-1]
    for day in np.nonzero(tied.any(axis=1))[0]:
        group = np.concatenate(([0], np.cumsum(~tied[day])))  # equal values share one
        rank[day] = (np.bincount(group, rank[day]) / np.bincount(group))[group]
    rank[place >= count] = np.nan
    out = np.empty_like(days)
    out.reshape(-1)[order] = rank
    return out


def _order(days: Array) -> NDArray[np.int64]:
    """Where each row's values stand in the whole array, lowest first, NaN last.

    A sort is several times as fast as an argsort. So the bits of each value, as a whole number that sorts as the value
    does, are sorted with the column in place of the lowest ones; where that put two near values in the wrong order,
    the row is sorted again.
    """
    rows, columns = days.shape
    largest = np.int64(np.iinfo(np.int64).max)
    low = np.int64((1 << max(columns - 1, 0).bit_length()) - 1)
    keys = days.view(np.int64)
    keys = keys ^ ((keys >> 63) & largest)
    keys[np.isnan(days)] = largest
    keys &= ~low
    keys |= np.arange(columns)
    keys.sort(axis=1)
    keys &= low
    start = np.arange(rows)[:, None] * columns
    keys += start
    ordered = days.take(keys)
    wrong = (ordered[:, 1:] < ordered[:, :-1]).any(axis=1)
    keys[wrong] = np.argsort(days[wrong], axis=1) + start[wrong]
    return keys


_COMPUTE: Mapping[str, Callable[[Series, Indicator], Array]] = {
    "rsi": _rsi,
    "adx": _of_bars("ADX"),
    "atr": _of_bars("ATR"),
    "bollinger_width": lambda series, indicator: series.bollinger(indicator)[0],
    "bollinger_pct_b": lambda series, indicator: series.bollinger(indicator)[1],
    "sma": lambda series, indicator: _mean(series.value_of(indicator), indicator.length),
    "ema": _ema,
    "prev": _against_earlier(lambda _, earlier, out: np.copyto(out, earlier)),
    "change": _against_earlier(lambda now, earlier, out: np.subtract(now, earlier, out=out)),
    "return": _against_earlier(_gain),
    "highest": _extreme(np.maximum),
    "lowest": _extreme(np.minimum),
    "mean": lambda series, indicator: _mean(series.value_of(indicator), indicator.length),
    "ratio_to_mean": _ratio_to_mean,
    "universe_rank": lambda series, indicator: series.rank(series.value_of(indicator)),
}

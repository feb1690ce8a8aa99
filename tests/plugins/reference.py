"""Indicators and strategies calculated the slow and obvious way, bar by bar, to compare the fast ones with.

A series is a list of floats; NaN is unknown. Written from the definitions: Wilder's smoothing starts with the simple
mean of its first `n` values; an unknown bar ends everything that remembers, and it starts afresh behind it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

NAN = math.nan

# Large and small, dear and cheap, calm and wild; ZTS begins in February 2013.
SYMBOLS = (
    *("A", "AAPL", "AMZN", "BAC", "BRK.B", "EBAY", "F", "GE", "GOOG", "JNJ"),
    *("KO", "MSFT", "NVR", "PG", "T", "TSLA", "VAR", "WMT", "XOM", "ZTS"),
)
Numbers = Sequence[float]


def known(value: float) -> bool:
    return math.isfinite(value)


def divided(a: float, b: float) -> float:
    return a / b if b != 0 and known(a) and known(b) else NAN


def window(values: Numbers, t: int, n: int) -> list[float] | None:
    """The `n` values up to `t`; None if one is missing."""
    if t - n + 1 < 0:
        return None
    found = [values[i] for i in range(t - n + 1, t + 1)]
    return found if all(known(value) for value in found) else None


def by_window(values: Numbers, n: int, of: Callable[[list[float]], float]) -> list[float]:
    found = [window(values, t, n) for t in range(len(values))]
    return [NAN if part is None else of(part) for part in found]


def segments(*series: Numbers) -> list[tuple[int, int]]:
    """The longest stretches in which every series is known: first bar, one past the last."""
    found, start = [], None
    for t in range(len(series[0]) + 1):
        good = t < len(series[0]) and all(known(values[t]) for values in series)
        if good and start is None:
            start = t
        if not good and start is not None:
            found.append((start, t))
            start = None
    return found


def by_segment(of: Callable[..., list[float]], n: int, *series: Numbers) -> list[float]:
    out = [NAN] * len(series[0])
    for start, stop in segments(*series):
        out[start:stop] = of(n, *[values[start:stop] for values in series])
    return out


# --- the kinds ------------------------------------------------------------------------------------------------------


def mean(values: Numbers, n: int) -> list[float]:
    return by_window(values, n, lambda part: math.fsum(part) / n)


def highest(values: Numbers, n: int) -> list[float]:
    return by_window(values, n, max)


def lowest(values: Numbers, n: int) -> list[float]:
    return by_window(values, n, min)


def deviation(part: list[float]) -> float:
    if max(part) == min(part):
        return 0.0
    middle = math.fsum(part) / len(part)
    return math.sqrt(math.fsum((value - middle) ** 2 for value in part) / len(part))


def bollinger_width(values: Numbers, n: int, width: float) -> list[float]:
    return by_window(values, n, lambda part: divided(2 * width * deviation(part), math.fsum(part) / n))


def bollinger_pct_b(values: Numbers, n: int, width: float) -> list[float]:
    def of(part: list[float]) -> float:
        middle, distance = math.fsum(part) / n, width * deviation(part)
        return divided(part[-1] - (middle - distance), 2 * distance)

    return by_window(values, n, of)


def ratio_to_mean(values: Numbers, n: int) -> list[float]:
    return [divided(value, middle) for value, middle in zip(values, mean(values, n), strict=True)]


def prev(values: Numbers, n: int) -> list[float]:
    return [values[t - n] if t >= n else NAN for t in range(len(values))]


def change(values: Numbers, n: int) -> list[float]:
    return [now - then for now, then in zip(values, prev(values, n), strict=True)]


def returned(values: Numbers, n: int) -> list[float]:
    return [divided(now, then) - 1 for now, then in zip(values, prev(values, n), strict=True)]


def ema(values: Numbers, n: int) -> list[float]:
    def run(n: int, values: Numbers) -> list[float]:
        out: list[float] = []
        for t, value in enumerate(values):
            if t < n - 1:
                out.append(NAN)
            elif t == n - 1:
                out.append(math.fsum(values[:n]) / n)
            else:
                out.append(out[-1] + (value - out[-1]) * 2 / (n + 1))
        return out

    return by_segment(run, n, values)


def rsi(close: Numbers, n: int) -> list[float]:
    def run(n: int, close: Numbers) -> list[float]:
        out = [NAN] * len(close)
        gains = [max(close[t] - close[t - 1], 0.0) for t in range(1, len(close))]
        losses = [max(close[t - 1] - close[t], 0.0) for t in range(1, len(close))]
        for t in range(n, len(close)):
            if t == n:
                gain, loss = math.fsum(gains[:n]) / n, math.fsum(losses[:n]) / n
            else:
                gain, loss = (gain * (n - 1) + gains[t - 1]) / n, (loss * (n - 1) + losses[t - 1]) / n
            out[t] = NAN if gain + loss == 0 else 100 * gain / (gain + loss)
        return out

    return by_segment(run, n, close)


def true_range(high: Numbers, low: Numbers, close: Numbers, t: int) -> float:
    return max(high[t] - low[t], abs(high[t] - close[t - 1]), abs(low[t] - close[t - 1]))


def atr(high: Numbers, low: Numbers, close: Numbers, n: int) -> list[float]:
    def run(n: int, high: Numbers, low: Numbers, close: Numbers) -> list[float]:
        out = [NAN] * len(close)
        for t in range(n, len(close)):
            if t == n:
                out[t] = math.fsum(true_range(high, low, close, i) for i in range(1, n + 1)) / n
            else:
                out[t] = (out[t - 1] * (n - 1) + true_range(high, low, close, t)) / n
        return out

    return by_segment(run, n, high, low, close)


def adx(high: Numbers, low: Numbers, close: Numbers, n: int) -> list[float]:
    """Wilder's sums of +DM, -DM and TR start with n - 1 bars; the first mean of DX is over n bars."""

    def run(n: int, high: Numbers, low: Numbers, close: Numbers) -> list[float]:
        out, dx = [NAN] * len(close), []
        plus = minus = ranges = 0.0
        for t in range(1, len(close)):
            up, down = high[t] - high[t - 1], low[t - 1] - low[t]
            decay = 0.0 if t < n else 1 / n
            plus += (up if up > down and up > 0 else 0.0) - plus * decay
            minus += (down if down > up and down > 0 else 0.0) - minus * decay
            ranges += true_range(high, low, close, t) - ranges * decay
            if t < n:
                continue
            if ranges > 0 and plus + minus > 0:
                dx.append(100 * abs(plus - minus) / (plus + minus))
            else:
                dx.append(dx[-1] if dx else 0.0)  # nothing moved: the last direction stands
            if len(dx) == n:
                out[t] = math.fsum(dx) / n
            elif len(dx) > n:
                out[t] = (out[t - 1] * (n - 1) + dx[-1]) / n
        return out

    return by_segment(run, n, high, low, close)


def universe_rank(day: Numbers, usable: Sequence[bool]) -> list[float]:
    """One day's ranks: for each symbol how many of the others are below it, equal ones half."""
    there = [i for i, value in enumerate(day) if usable[i] and known(value)]
    out = [NAN] * len(day)
    for i in there:
        below = sum(day[j] < day[i] for j in there) + 0.5 * sum(day[j] == day[i] for j in there if j != i)
        out[i] = below / (len(there) - 1) if len(there) > 1 else 0.5
    return out


# --- the five strategies: one bar of one symbol ---------------------------------------------------------------------

Bar = Mapping[str, float]
Signal = tuple[str, float]


def halves(first: float, second: float) -> float:
    return (min(max(first, 0), 1) + min(max(second, 0), 1)) / 2


def rsi_mean_reversion(_: Bar, bar: Bar) -> list[Signal]:
    rsi, pct_b = bar["rsi"], bar["pct_b"]
    if rsi < 30 and pct_b < 0.05 and bar["adx"] < 25:
        return [("long", halves((30 - rsi) / 15, (0.05 - pct_b) / 0.5))]
    if rsi > 75 and pct_b > 0.95 and bar["adx"] < 25:
        return [("short", halves((rsi - 75) / 15, (pct_b - 0.95) / 0.5))]
    return []


def bb_squeeze(before: Bar, bar: Bar) -> list[Signal]:
    rise, pct_b = bar["adx"] - before["adx"], bar["pct_b"]
    if not (bar["bb_width_ratio"] <= 0.75 and rise >= 2.0):
        return []
    if pct_b > 1.0:
        return [("long", halves((pct_b - 1.0) / 0.5, (rise - 2) / 4))]
    return [("short", halves((0.0 - pct_b) / 0.5, (rise - 2) / 4))] if pct_b < 0.0 else []


def adx_pullback(_: Bar, bar: Bar) -> list[Signal]:
    if bar["adx"] > 25 and bar["ema_fast"] > bar["ema_slow"] and bar["rsi"] <= 50 and bar["close"] > bar["ema_slow"]:
        return [("long", halves((bar["adx"] - 25) / 25, (50 - bar["rsi"]) / 10))]
    return []


def overbought_short(before: Bar, bar: Bar) -> list[Signal]:
    if before["rsi"] > 75 and before["pct_b"] > 0.95 and bar["adx"] < 25 and bar["close"] < before["close"]:
        return [("short", halves((before["rsi"] - 75) / 15, (before["pct_b"] - 0.95) / 0.5))]
    return []


def regime_momentum(_: Bar, bar: Bar) -> list[Signal]:
    if (
        bar["adx"] >= 25
        and bar["bb_width_ratio"] >= 1.3
        and bar["return_20"] > 0
        and 50 <= bar["rsi"] <= 70
        and bar["ema_fast"] > bar["ema_slow"]
        and divided(bar["atr"], bar["close"]) < 0.03
    ):
        return [("long", halves(bar["return_20"] / 0.2, (bar["adx"] - 25) / 25))]
    return []

"""The scan's numbers once more, slowly and from their definitions, one symbol at a time in plain Python.

Wilder's averages begin with the first value instead of a mean of the first ones: after 250 bars that no longer shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

Bars = Sequence[tuple[float, float, float, float, float]]  # open, high, low, close, volume


def wilder(values: Sequence[float], length: int) -> list[float]:
    smooth = [values[0]]
    for value in values[1:]:
        smooth.append(smooth[-1] + (value - smooth[-1]) / length)
    return smooth


def ema(values: Sequence[float], length: int) -> list[float]:
    smooth = [values[0]]
    for value in values[1:]:
        smooth.append(smooth[-1] + (value - smooth[-1]) * 2 / (length + 1))
    return smooth


def rsi(closes: Sequence[float], length: int = 14) -> list[float]:
    """One value for each close after the first."""
    steps = [now - before for before, now in pairwise(closes)]
    gains = wilder([max(step, 0) for step in steps], length)
    losses = wilder([max(-step, 0) for step in steps], length)
    return [100 * gain / (gain + loss) if gain + loss else math.nan for gain, loss in zip(gains, losses, strict=True)]


def true_ranges(bars: Bars) -> list[float]:
    return [max(high, before[3]) - min(low, before[3]) for before, (_, high, low, _, _) in pairwise(bars)]


def atr(bars: Bars, length: int = 14) -> list[float]:
    return wilder(true_ranges(bars), length)


def adx(bars: Bars, length: int = 14) -> list[float]:
    plus, minus = [], []
    for before, now in pairwise(bars):
        up, down = now[1] - before[1], before[2] - now[2]
        plus.append(up if up > down and up > 0 else 0.0)
        minus.append(down if down > up and down > 0 else 0.0)
    ranges = atr(bars, length)
    rises = [100 * move / span for move, span in zip(wilder(plus, length), ranges, strict=True)]
    falls = [100 * move / span for move, span in zip(wilder(minus, length), ranges, strict=True)]
    spread = [100 * abs(a - b) / (a + b) if a + b else 0.0 for a, b in zip(rises, falls, strict=True)]
    return wilder(spread, length)


def bands(closes: Sequence[float], end: int) -> tuple[float, float]:
    """Width and %B of the 20 closes before index `end`."""
    window = closes[end - 20 : end]
    middle = fmean(window)
    half = 2 * math.sqrt(fmean((close - middle) ** 2 for close in window))
    return 2 * half / middle, (window[-1] - middle + half) / (2 * half)


def indicators(bars: Bars) -> dict[str, float]:
    """Every default indicator of the last bar but the rank, and what strategies read of the bar before."""
    closes, count = [bar[3] for bar in bars], len(bars)
    widths = [bands(closes, end)[0] for end in range(count - 19, count + 1)]
    strengths, momenta = rsi(closes), adx(bars)
    return {
        "close": closes[-1],
        "close_before": closes[-2],
        "rsi": strengths[-1],
        "rsi_before": strengths[-2],
        "adx": momenta[-1],
        "adx_before": momenta[-2],
        "atr": atr(bars)[-1],
        "pct_b": bands(closes, count)[1],
        "pct_b_before": bands(closes, count - 1)[1],
        "bb_width_ratio": widths[-1] / fmean(widths),
        "ema_fast": ema(closes, 8)[-1],
        "ema_slow": ema(closes, 21)[-1],
        "return_20": closes[-1] / closes[-21] - 1,
        "dollar_volume": fmean(bar[3] * bar[4] for bar in bars[-20:]),
    }


def signals(x: dict[str, float]) -> dict[tuple[str, str], float]:
    """(strategy, direction) -> strength, for what fires."""

    def half(value: float) -> float:
        return 0.5 * min(max(value, 0.0), 1.0)

    found = {}
    if x["rsi"] < 30 and x["pct_b"] < 0.05 and x["adx"] < 25:
        found["rsi_mean_reversion", "long"] = half((30 - x["rsi"]) / 15) + half((0.05 - x["pct_b"]) / 0.5)
    if x["rsi"] > 75 and x["pct_b"] > 0.95 and x["adx"] < 25:
        found["rsi_mean_reversion", "short"] = half((x["rsi"] - 75) / 15) + half((x["pct_b"] - 0.95) / 0.5)
    rise = x["adx"] - x["adx_before"]
    if x["bb_width_ratio"] <= 0.75 and rise >= 2:
        if x["pct_b"] > 1:
            found["bb_squeeze", "long"] = half((x["pct_b"] - 1) / 0.5) + half((rise - 2) / 4)
        if x["pct_b"] < 0:
            found["bb_squeeze", "short"] = half(-x["pct_b"] / 0.5) + half((rise - 2) / 4)
    if x["adx"] > 25 and x["ema_fast"] > x["ema_slow"] and x["rsi"] <= 50 and x["close"] > x["ema_slow"]:
        found["adx_pullback", "long"] = half((x["adx"] - 25) / 25) + half((50 - x["rsi"]) / 10)
    stretched = x["rsi_before"] > 75 and x["pct_b_before"] > 0.95
    if stretched and x["adx"] < 25 and x["close"] < x["close_before"]:
        parts = (x["rsi_before"] - 75) / 15, (x["pct_b_before"] - 0.95) / 0.5
        found["overbought_short", "short"] = half(parts[0]) + half(parts[1])
    rising = x["adx"] >= 25 and x["bb_width_ratio"] >= 1.3 and x["return_20"] > 0
    if rising and 50 <= x["rsi"] <= 70 and x["ema_fast"] > x["ema_slow"] and x["atr"] / x["close"] < 0.03:
        found["regime_momentum", "long"] = half(x["return_20"] / 0.2) + half((x["adx"] - 25) / 25)
    return found


def regime(bars: Bars) -> str:
    x = indicators(bars)
    if x["atr"] / x["close"] > 0.03:
        return "HIGH_VOLATILITY"
    if x["adx"] >= 25 and x["bb_width_ratio"] >= 1:
        return "TREND"
    return "RANGING" if x["adx"] < 20 and x["bb_width_ratio"] <= 0.8 else "UNCERTAIN"


def index_of(universe: Sequence[Bars | None]) -> Bars:
    """The chained mean of open, high, low and close over the previous close. None, or a NaN: no bar."""
    index = [(100.0, 100.0, 100.0, 100.0, 0.0)]
    length = max(len(bars) for bars in universe if bars is not None)
    for day in range(1, length):
        ratios = []
        for bars in universe:
            if bars is not None and not math.isnan(bars[day - 1][3] + bars[day][3]):
                ratios.append([price / bars[day - 1][3] for price in bars[day][:4]])
        opened, high, low, close = (index[-1][3] * fmean(column) for column in zip(*ratios, strict=True))
        index.append((opened, max(high, opened, close), min(low, opened, close), close, 0.0))
    return index


def score(x: dict[str, float], strength: float, share: float, largest: float, rank: float) -> float:
    room = min(x["atr"] / x["close"] / 0.05, 1.0)
    return 0.40 * strength + 0.20 * room + 0.25 * share / largest + 0.15 * rank

"""What a backtest is measured by: pure functions over arrays, each with its formula. What is undefined is None.

Conventions: 252 sessions a year; simple returns from close to close, the first from the initial cash; no risk-free
rate; ratios as fractions (0.07 is 7%); drawdowns positive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from autotrader.core.panel import Array

SESSIONS_A_YEAR = 252


# --- the curve ----------------------------------------------------------------------------------------------------


def returns(values: Array, start: float) -> Array:
    """r[t] = v[t] / v[t-1] - 1, with v[-1] = start. values: float64 [T], USD; the result has the same shape."""
    return np.asarray(values / np.concatenate(([start], values[:-1])) - 1.0, dtype=np.float64)


def total_return(r: Array) -> float | None:
    """prod(1 + r) - 1. None for no session."""
    return float(np.prod(1.0 + r) - 1.0) if len(r) else None


def cagr(r: Array) -> float | None:
    """Compound annual growth: prod(1 + r) ** (252 / T) - 1. None for no session, or where nothing or less is left."""
    growth = float(np.prod(1.0 + r))
    return growth ** (SESSIONS_A_YEAR / len(r)) - 1.0 if len(r) and growth > 0.0 else None


def volatility(r: Array) -> float | None:
    """Annual: the sample standard deviation (T - 1) of r times sqrt(252). None for fewer than two sessions."""
    return float(np.std(r, ddof=1)) * math.sqrt(SESSIONS_A_YEAR) if len(r) > 1 else None


def sharpe(r: Array) -> float | None:
    """mean(r) / std(r, T - 1) * sqrt(252), without a risk-free rate. None for a flat curve or under two sessions."""
    if len(r) < 2:
        return None
    mean, deviation = float(np.mean(r)), float(np.std(r, ddof=1))
    return mean / deviation * math.sqrt(SESSIONS_A_YEAR) if _is_more_than_noise(deviation, r) else None


def sortino(r: Array) -> float | None:
    """mean(r) / sqrt(mean(min(r, 0) ** 2)) * sqrt(252): the target is 0, and every session counts in the mean.

    None where no session lost, or for no session.
    """
    if not len(r):
        return None
    downside = math.sqrt(float(np.mean(np.minimum(r, 0.0) ** 2)))
    return float(np.mean(r)) / downside * math.sqrt(SESSIONS_A_YEAR) if downside > 0.0 else None


def _is_more_than_noise(deviation: float, r: Array) -> bool:
    """Equal numbers have a deviation of some 1e-17 of their size, by rounding."""
    return deviation > 1e-12 * max(float(np.max(np.abs(r))), 1e-300)


def drawdowns(values: Array, start: float) -> Array:
    """d[t] = 1 - v[t] / max(start, v[0..t]): how far below the peak, 0 to 1. float64 [T]."""
    peaks = np.maximum.accumulate(np.concatenate(([start], values)))[1:]
    return np.asarray(1.0 - values / peaks, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The deepest fall below a peak. peak: index of the last peak before it, -1 the start. regained: None: never."""

    depth: float
    peak: int
    trough: int
    regained: int | None


def deepest_drawdown(drawdown: Array) -> Drawdown | None:
    """From drawdowns [T]: the deepest one, the first of equals. None where the curve never falls."""
    if not len(drawdown) or not (drawdown > 0.0).any():
        return None
    trough = int(np.argmax(drawdown))
    before = np.flatnonzero(drawdown[:trough] <= 0.0)
    after = np.flatnonzero(drawdown[trough:] <= 0.0)
    return Drawdown(
        depth=float(drawdown[trough]),
        peak=int(before[-1]) if len(before) else -1,
        trough=trough,
        regained=trough + int(after[0]) if len(after) else None,
    )


def longest_drawdown(drawdown: Array) -> int:
    """The longest run of sessions that closed below an earlier peak, also one that has not ended. drawdown: [T]."""
    longest = current = 0
    for below in (drawdown > 0.0).tolist():
        current = current + 1 if below else 0
        longest = max(longest, current)
    return longest


def calmar(r: Array, max_drawdown: float | None) -> float | None:
    """CAGR over the deepest drawdown. None without a drawdown or a CAGR."""
    growth = cagr(r)
    return growth / max_drawdown if growth is not None and max_drawdown else None


def exposure(held: Array, values: Array) -> float | None:
    """mean(held / equity) over all closes: 1 is everything invested all the time. float64 [T] both, USD."""
    return float(np.mean(held / values)) if len(values) and (values > 0.0).all() else None


def exposure_most(held: Array, values: Array) -> float | None:
    """max(held / equity) over all closes. float64 [T] both, USD."""
    return float(np.max(held / values)) if len(values) and (values > 0.0).all() else None


def turnover(traded: float, values: Array) -> float | None:
    """A year's one-way turnover: traded / 2 / mean(equity) * 252 / T.

    traded: the value of all fills, entries and exits, USD. values: equity, float64 [T].
    """
    mean = float(np.mean(values)) if len(values) else 0.0
    return traded / 2.0 / mean * SESSIONS_A_YEAR / len(values) if mean > 0.0 else None


# --- periods ------------------------------------------------------------------------------------------------------


def monthly_returns(days: Sequence[date], r: Array) -> dict[tuple[int, int], float]:
    """(year, month) -> prod(1 + r) - 1 over its sessions, in order; the first and last month may be parts."""
    growth: dict[tuple[int, int], float] = {}
    for day, value in zip(days, r.tolist(), strict=True):
        key = (day.year, day.month)
        growth[key] = growth.get(key, 1.0) * (1.0 + value)
    return {key: value - 1.0 for key, value in growth.items()}


def yearly_returns(monthly: dict[tuple[int, int], float]) -> dict[int, float]:
    """year -> prod(1 + month) - 1."""
    growth: dict[int, float] = {}
    for (year, _), value in monthly.items():
        growth[year] = growth.get(year, 1.0) * (1.0 + value)
    return {year: value - 1.0 for year, value in growth.items()}


# --- trades -------------------------------------------------------------------------------------------------------


def hit_rate(pnl: Array) -> float | None:
    """Trades with a gain (pnl > 0, net of costs) over all closed trades. None for none."""
    return float(np.mean(pnl > 0.0)) if len(pnl) else None


def profit_factor(pnl: Array) -> float | None:
    """The sum of all gains over the sum of all losses, as a positive number. None where nothing was lost."""
    lost = -float(pnl[pnl < 0.0].sum())
    return float(pnl[pnl > 0.0].sum()) / lost if lost > 0.0 else None


def mean(values: Array) -> float | None:
    """The mean of what is known (not NaN), e.g. of R multiples: the expectancy in R. None where nothing is."""
    known = values[~np.isnan(values)]
    return float(np.mean(known)) if len(known) else None

"""The yardstick: the default configuration's numbers with TA-Lib and numpy alone, as one would write them once.

Nothing here is screened, declared, explained or configurable; bars must be whole.
"""

from __future__ import annotations

import numpy as np
import talib
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from autotrader.core.panel import FIELDS, Panel

Array = NDArray[np.float64]
Table = dict[str, Array]

REGIME_WEIGHTS = np.array([0.15, 0.20, 0.20, 0.20, 0.15])
SIDES = (  # strategy, the name of its condition
    (1, "reversion_long"),
    (1, "reversion_short"),
    (2, "squeeze_long"),
    (2, "squeeze_short"),
    (0, "pullback"),
    (3, "overbought"),
    (4, "momentum"),
)


def indicators(panel: Panel) -> Table:
    """Every indicator that is declared by default, [symbol, time]."""
    close, volume = panel.close, panel.volume
    names = ("rsi", "adx", "atr", "fast", "slow", "upper", "middle", "lower")
    out = {name: np.empty_like(close) for name in names}
    for row in range(len(close)):
        high, low, last = panel.high[row], panel.low[row], close[row]
        out["rsi"][row] = talib.RSI(last, 14)
        out["adx"][row] = talib.ADX(high, low, last, 14)
        out["atr"][row] = talib.ATR(high, low, last, 14)
        out["fast"][row] = talib.EMA(last, 8)
        out["slow"][row] = talib.EMA(last, 21)
        out["upper"][row], out["middle"][row], out["lower"][row] = talib.BBANDS(last, 20, 2.0, 2.0)
    span = out["upper"] - out["lower"]
    out["width"] = span / out["middle"]
    out["pct_b"] = (close - out["lower"]) / span
    out["ratio"] = out["width"] / _mean(out["width"])
    out["return"] = np.full_like(close, np.nan)
    out["return"][:, 20:] = close[:, 20:] / close[:, :-20] - 1
    out["dollars"] = _mean(close * volume)
    return out


def signals(panel: Panel, x: Table) -> dict[str, tuple[NDArray[np.bool_], Array]]:
    """Where each side fires, and how strongly there."""
    close, rsi, adx, pct_b, ratio = panel.close, x["rsi"], x["adx"], x["pct_b"], x["ratio"]
    before = {name: _shift(x[name]) for name in ("rsi", "adx", "pct_b")}
    rise, last = adx - before["adx"], _shift(close)
    found = {}

    def side(name: str, where: NDArray[np.bool_], first: Array, second: Array) -> None:
        found[name] = where, 0.5 * np.clip(first[where], 0, 1) + 0.5 * np.clip(second[where], 0, 1)

    side("reversion_long", (rsi < 30) & (pct_b < 0.05) & (adx < 25), (30 - rsi) / 15, (0.05 - pct_b) / 0.5)
    side("reversion_short", (rsi > 75) & (pct_b > 0.95) & (adx < 25), (rsi - 75) / 15, (pct_b - 0.95) / 0.5)
    wakes = (ratio <= 0.75) & (rise >= 2)
    side("squeeze_long", wakes & (pct_b > 1), (pct_b - 1) / 0.5, (rise - 2) / 4)
    side("squeeze_short", wakes & (pct_b < 0), -pct_b / 0.5, (rise - 2) / 4)
    up = x["fast"] > x["slow"]
    side("pullback", (adx > 25) & up & (rsi <= 50) & (close > x["slow"]), (adx - 25) / 25, (50 - rsi) / 10)
    high = (before["rsi"] > 75) & (before["pct_b"] > 0.95)
    side("overbought", high & (adx < 25) & (close < last), (before["rsi"] - 75) / 15, (before["pct_b"] - 0.95) / 0.5)
    calm = x["atr"] / close < 0.03
    trend = (adx >= 25) & (ratio >= 1.3) & (x["return"] > 0) & (rsi >= 50) & (rsi <= 70) & up & calm
    side("momentum", trend, x["return"] / 0.2, (adx - 25) / 25)
    return found


def ranked(panel: Panel) -> list[tuple[str, float]]:
    """The twelve best signals of the last session by score; conditions and scores on what they need alone."""
    x = indicators(panel)
    tail = Panel(panel.symbols, panel.dates[-2:], *(getattr(panel, name)[:, -2:] for name in FIELDS))
    fired = signals(tail, {name: values[:, -2:] for name, values in x.items()})
    last = panel.close[:, -1]
    dollars = x["dollars"][:, -1].argsort().argsort() / (len(last) - 1)
    best = []
    for strategy, name in SIDES:
        where, strength = fired[name]
        rows, columns = np.nonzero(where)
        tonight = columns == where.shape[1] - 1
        rows, strength = rows[tonight], strength[tonight]
        room = np.clip(x["atr"][rows, -1] / last[rows] / 0.05, 0, 1)
        fit = REGIME_WEIGHTS[strategy] / REGIME_WEIGHTS.max()
        score = 0.40 * strength + 0.20 * room + 0.25 * fit + 0.15 * dollars[rows]
        best += [(panel.symbols[row], float(value)) for row, value in zip(rows, score, strict=True)]
    return sorted(best, key=lambda item: -item[1])[:12]


def _mean(values: Array) -> Array:
    out = np.full_like(values, np.nan)
    out[:, 19:] = sliding_window_view(values, 20, axis=1).mean(axis=2)
    return out


def _shift(values: Array) -> Array:
    out = np.full_like(values, np.nan)
    out[:, 1:] = values[:, :-1]
    return out

"""As much of the default configuration as vectorbt can express, timed: indicators, signals, stops, one shared account.

Run by bench_backtest.py in an environment of its own: vectorbt_backtest.py BARS.npz; prints CPU seconds and trades.
What it cannot express is left out: ranking within a session, limits by strategy and sector, sizing by regime, exits on
indicators, the order of the rules, the path within a bar, evidence and statistics.
"""

from __future__ import annotations

import json
import sys
import time
import warnings

import numpy as np
import pandas as pd
import vectorbt as vbt

WARM_UPS, TURNS = 1, 3


def main(path: str) -> None:
    warnings.simplefilter("ignore")
    with np.load(path, allow_pickle=False) as bars:
        index = pd.DatetimeIndex(bars["dates"])
        frame = {name: pd.DataFrame(bars[name].T, index=index, columns=bars["symbols"])
                 for name in ("open", "high", "low", "close", "volume")}  # fmt: skip
    seconds, trades = [], 0
    for turn in range(WARM_UPS + TURNS):
        began = time.process_time()
        trades = backtest(frame)
        if turn >= WARM_UPS:  # the first one compiles
            seconds.append(time.process_time() - began)
    print(json.dumps({"seconds": min(seconds), "trades": trades}))


def backtest(bars: dict[str, pd.DataFrame]) -> int:
    high, low, close = bars["high"], bars["low"], bars["close"]
    talib = vbt.IndicatorFactory.from_talib
    rsi = plain(talib("RSI").run(close, timeperiod=14).real, close)
    adx = plain(talib("ADX").run(high, low, close, timeperiod=14).real, close)
    atr = plain(talib("ATR").run(high, low, close, timeperiod=14).real, close)
    fast = plain(talib("EMA").run(close, timeperiod=8).real, close)
    slow = plain(talib("EMA").run(close, timeperiod=21).real, close)
    bands = talib("BBANDS").run(close, timeperiod=20, nbdevup=2.0, nbdevdn=2.0)
    upper, middle, lower = (plain(band, close) for band in (bands.upperband, bands.middleband, bands.lowerband))
    width, pct_b = (upper - lower) / middle, (close - lower) / (upper - lower)
    ratio = width / width.vbt.rolling_mean(20)
    calm, rise, up, gain = adx < 25, adx.diff(), fast > slow, close / close.shift(20) - 1
    wakes = (ratio <= 0.75) & (rise >= 2)
    reversion = (rsi < 30) & (pct_b < 0.05) & calm
    squeeze = wakes & (pct_b > 1)
    pullback = (adx > 25) & up & (rsi <= 50) & (close > slow)
    momentum = (adx >= 25) & (ratio >= 1.3) & (gain > 0) & (rsi >= 50) & (rsi <= 70) & up & (atr / close < 0.03)
    fallen = (rsi.shift() > 75) & (pct_b.shift() > 0.95) & calm & (close < close.shift())
    shorts = ((rsi > 75) & (pct_b > 0.95) & calm) | (wakes & (pct_b < 0)) | fallen
    longs = reversion | squeeze | pullback | momentum
    stop, target = 2.0 * atr / close, 3.0 * atr / close
    held_long, held_short = longs.shift(6, fill_value=False), shorts.shift(6, fill_value=False)
    found = vbt.Portfolio.from_signals(
        close,
        entries=longs.shift(fill_value=False), exits=held_long,
        short_entries=shorts.shift(fill_value=False), short_exits=held_short,
        price=bars["open"], open=bars["open"], high=high, low=low,
        sl_stop=stop.shift(), tp_stop=target.shift(),
        size=0.1, size_type="percent", init_cash=100_000.0,
        cash_sharing=True, group_by=True, upon_opposite_entry="ignore", freq="1D",
    )  # fmt: skip
    found.total_return(), found.max_drawdown(), found.sharpe_ratio(), found.sortino_ratio()
    return int(found.trades.count())


def plain(values: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """An indicator's output with the symbols alone as columns."""
    return pd.DataFrame(values.to_numpy(), index=like.index, columns=like.columns)


if __name__ == "__main__":
    main(sys.argv[1])

"""As much of the default configuration as vectorbt and pandas can express, timed.

Run by bench_backtest.py in an environment of its own: vectorbt_backtest.py BARS.parquet UNIVERSE.csv. It runs once and
says how many symbols and trades there were, as a user would run it; then once more for each line that comes in,
"metrics" or "trades", which is how far to go, and says how many CPU seconds that took.

In: the indicators, the rank of the dollar volume, the regime, the five strategies with their strengths, eligibility,
score, one signal a symbol, three a sector, twelve a day; the gap filter and the confirmation at the open, three entries
a day; stops, wider in the first session, trailing from a gain on; targets, exits on RSI and %B and by time, of the
strategy whose signal was the symbol's last; one account, in whole shares, with its equity, exposures, benchmark, trades
and metrics.
Out, for from_signals has no words for them: limits that depend on what is held (by side, strategy, sector; drawdown,
daily loss, re-entry), budgets in shares of the equity (its percent are of the cash that is left), the order of
candidates by rank in the account, the path within a bar, costs of borrowing, evidence, statistics. Screening is left
out as well, and with it all symbols that have no bars from the first day to the last: TA-Lib through vectorbt takes no
gaps.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any

import numba as nb
import numpy as np
import pandas as pd
import vectorbt as vbt
from numpy.typing import NDArray

# adx_pullback, bb_squeeze, overbought_short, regime_momentum, rsi_mean_reversion: by name, which decides between equals
ADX_PULLBACK, BB_SQUEEZE, OVERBOUGHT_SHORT, REGIME_MOMENTUM, RSI_MEAN_REVERSION = range(5)
REGIMES = np.array([  # UNCERTAIN, HIGH_VOLATILITY, TREND, RANGING: what each strategy may use
    [0.15, 0.20, 0.20, 0.15, 0.20], [0.10, 0.30, 0.25, 0.15, 0.20], [0.30, 0.20, 0.10, 0.25, 0.15],
    [0.10, 0.25, 0.20, 0.10, 0.35],
])  # fmt: skip
STOP = np.array([1.5, 2.0, 2.5, 1.5, 2.5])  # in ATRs
TARGET = np.array([2.5, 3.0, np.inf, 3.0, 3.0])
MOST = np.array([0.07, 0.07, 0.05, 0.07, 0.07])  # emergency stop, or the strategy's own cap
HOLD = np.array([7, 5, 5, 7, 5])
RSI_LONG = np.array([70.0, 75.0, np.inf, 75.0, 50.0])
RSI_SHORT = np.array([-np.inf, 25.0, 55.0, -np.inf, 50.0])
BAND_SHORT = np.array([-np.inf, -np.inf, 0.50, -np.inf, -np.inf])
TRAIL = np.array([2.0, np.inf, np.inf, 2.0, np.inf])  # in ATRs below the best price, from a gain of one on
EMERGENCY = 0.07

Array = NDArray[Any]


def main(path: str, listed: str) -> None:
    warnings.simplefilter("ignore")
    bars, sectors = market(path, listed)
    trades = backtest(bars, sectors, metrics=True)
    print(json.dumps({"symbols": len(sectors), "trades": trades}), flush=True)
    for line in sys.stdin:
        began = time.process_time()
        backtest(bars, sectors, metrics=line.strip() == "metrics")
        print(time.process_time() - began, flush=True)


def market(path: str, listed: str) -> tuple[dict[str, pd.DataFrame], Array]:
    """The bars by field, [time, symbol], of the symbols with whole history, and their sectors by number."""
    universe = pd.read_csv(listed).set_index("symbol")["sector"]
    table = pd.read_parquet(path)
    table = table[table["symbol"].isin(universe.index)].set_index(["date", "symbol"]).sort_index()
    wide = table.unstack("symbol")
    whole = wide.columns.levels[1][wide["close"].notna().all().to_numpy()]
    bars = {name: wide[name][whole].astype(float) for name in ("open", "high", "low", "close", "volume")}
    return bars, pd.factorize(universe[whole])[0]


def backtest(bars: dict[str, pd.DataFrame], sectors: Array, *, metrics: bool) -> int:
    with np.errstate(all="ignore"):
        x = indicators(bars)
        regime = regimes(bars)
        chosen = candidates(bars, x, regime, sectors)
        return account(bars, x, chosen, metrics=metrics)


def indicators(bars: dict[str, pd.DataFrame]) -> dict[str, Array]:
    """[time, symbol]"""
    high, low, close = bars["high"], bars["low"], bars["close"]
    talib = vbt.IndicatorFactory.from_talib
    bands = talib("BBANDS").run(close, timeperiod=20, nbdevup=2.0, nbdevdn=2.0)
    upper, middle, lower = (band.to_numpy() for band in (bands.upperband, bands.middleband, bands.lowerband))
    width, c = (upper - lower) / middle, close.to_numpy()
    x = {
        "rsi": talib("RSI").run(close, timeperiod=14).real.to_numpy(),
        "adx": talib("ADX").run(high, low, close, timeperiod=14).real.to_numpy(),
        "atr": talib("ATR").run(high, low, close, timeperiod=14).real.to_numpy(),
        "fast": talib("EMA").run(close, timeperiod=8).real.to_numpy(),
        "slow": talib("EMA").run(close, timeperiod=21).real.to_numpy(),
        "pct_b": (c - lower) / (upper - lower),
        "ratio": width / vbt.nb.rolling_mean_nb(width, 20, 20),
        "gain": c / vbt.nb.fshift_nb(c, 20) - 1,
    }
    dollars = vbt.nb.rolling_mean_nb(c * bars["volume"].to_numpy(), 20, 20)
    order = np.argsort(np.argsort(dollars, axis=1), axis=1)
    return x | {"liquidity": order / (dollars.shape[1] - 1)}


def regimes(bars: dict[str, pd.DataFrame]) -> Array:
    """Of each session, from the equal-weight mean of the universe; an index into REGIMES."""
    before = bars["close"].to_numpy()[:-1]
    fields = ("high", "low", "close")
    ratio = {name: np.append(1.0, (bars[name].to_numpy()[1:] / before).mean(axis=1)) for name in fields}
    close = 100 * np.cumprod(ratio["close"])
    base = np.append(100.0, close[:-1])
    high, low, close = (pd.Series(values) for values in (base * ratio["high"], base * ratio["low"], close))
    talib = vbt.IndicatorFactory.from_talib
    adx = talib("ADX").run(high, low, close, timeperiod=14).real
    atr = talib("ATR").run(high, low, close, timeperiod=14).real
    bands = talib("BBANDS").run(close, timeperiod=20, nbdevup=2.0, nbdevdn=2.0)
    width = (bands.upperband - bands.lowerband) / bands.middleband
    ratio_ = width / width.rolling(20).mean()
    return np.select([atr / close > 0.03, (adx >= 25) & (ratio_ >= 1.0), (adx < 20) & (ratio_ <= 0.8)], [1, 2, 3], 0)


def candidates(bars: dict[str, pd.DataFrame], x: dict[str, Array], regime: Array, sectors: Array) -> pd.DataFrame:
    """What is entered in the session after each signal's: session, symbol, strategy, short."""
    rsi, adx, pct_b, ratio, gain = x["rsi"], x["adx"], x["pct_b"], x["ratio"], x["gain"]
    open_, close = bars["open"].to_numpy(), bars["close"].to_numpy()
    shift = vbt.nb.fshift_nb
    calm, rise, up = adx < 25, adx - shift(adx, 1), x["fast"] > x["slow"]
    rsi_1, pct_b_1 = shift(rsi, 1), shift(pct_b, 1)
    wakes = (ratio <= 0.75) & (rise >= 2)
    momentum = (adx >= 25) & (ratio >= 1.3) & (gain > 0) & (rsi >= 50) & (rsi <= 70) & up & (x["atr"] / close < 0.03)
    fallen = (rsi_1 > 75) & (pct_b_1 > 0.95) & calm & (close < shift(close, 1))
    fired = [
        (ADX_PULLBACK, False, (adx > 25) & up & (rsi <= 50) & (close > x["slow"]), (adx, 25, 25), (rsi, 50, -10)),
        (BB_SQUEEZE, False, wakes & (pct_b > 1), (pct_b, 1, 0.5), (rise, 2, 4)),
        (BB_SQUEEZE, True, wakes & (pct_b < 0), (pct_b, 0, -0.5), (rise, 2, 4)),
        (OVERBOUGHT_SHORT, True, fallen, (rsi_1, 75, 15), (pct_b_1, 0.95, 0.5)),
        (REGIME_MOMENTUM, False, momentum, (gain, 0, 0.2), (adx, 25, 25)),
        (RSI_MEAN_REVERSION, False, (rsi < 30) & (pct_b < 0.05) & calm, (rsi, 30, -15), (pct_b, 0.05, -0.5)),
        (RSI_MEAN_REVERSION, True, (rsi > 75) & (pct_b > 0.95) & calm, (rsi, 75, 15), (pct_b, 0.95, 0.5)),
    ]
    parts = []
    for strategy, short, where, *halves in fired:
        where[:60] = where[-1:] = False
        day, symbol = np.nonzero(where)
        strength = sum(0.5 * np.clip((of[day, symbol] - start) / span, 0, 1) for of, start, span in halves)
        weights = REGIMES[regime[day]]
        score = (0.40 * strength + 0.20 * np.clip(x["atr"][day, symbol] / close[day, symbol] / 0.05, 0, 1)
                 + 0.25 * weights[:, strategy] / weights.max(axis=1) + 0.15 * x["liquidity"][day, symbol])  # fmt: skip
        parts.append(pd.DataFrame({
            "day": day, "symbol": symbol, "strategy": strategy, "short": short, "score": score,
            "weight": weights[:, strategy],
        }))  # fmt: skip
    found = pd.concat(parts, ignore_index=True)
    pair = [found["day"], found["symbol"]]
    shorts = found["short"].groupby(pair)
    found = found[shorts.transform("min") == shorts.transform("max")]  # strategies disagree on the direction
    found = found.sort_values(["day", "score", "symbol", "strategy"], ascending=[True, False, True, True])
    found = found.drop_duplicates(["day", "symbol"])
    found["sector"] = sectors[found["symbol"]]
    found = found[found.groupby(["day", "sector"]).cumcount() < 3]
    found = found[found.groupby("day").cumcount() < 12]
    day, symbol = found["day"].to_numpy(), found["symbol"].to_numpy()
    gap = (open_[day + 1, symbol] - close[day, symbol]) / close[day, symbol]
    at_open = found["strategy"].isin([OVERBOUGHT_SHORT, RSI_MEAN_REVERSION]).to_numpy()
    confirmed = at_open | (np.where(found["short"], -gap, gap) >= 0)
    found = found[(np.abs(gap) <= 0.03) & confirmed]
    return found[found.groupby("day").cumcount() < 3]


@nb.njit  # type: ignore[untyped-decorator]
def stop_now(c, stop, atr, trail):  # type: ignore[no-untyped-def]
    """How far the stop lies from the best price since the entry, as a share of it.

    In the first session it is the emergency stop; from a gain of one ATR on it follows the best price. stop, atr,
    trail: [time, symbol], known where a position was entered; the first two as shares of the entry's price.
    """
    start, best = c.init_price, c.curr_price
    sign = 1.0 if c.position_now > 0 else -1.0
    later = c.i > c.init_i
    level = start * (1.0 - sign * (stop[c.init_i, c.col] if later else EMERGENCY))
    step = atr[c.init_i, c.col] * start
    if later and sign * (best - start) >= step:
        follows = best - sign * trail[c.init_i, c.col] * step
        level = max(level, follows) if sign > 0 else min(level, follows)
    return sign * (1.0 - level / best), True


def account(bars: dict[str, pd.DataFrame], x: dict[str, Array], chosen: pd.DataFrame, *, metrics: bool) -> int:
    open_ = bars["open"].to_numpy()
    days = np.arange(len(open_))[:, None]
    at = chosen["day"].to_numpy() + 1, chosen["symbol"].to_numpy()
    strategy, short = chosen["strategy"].to_numpy(), chosen["short"].to_numpy()
    atr = x["atr"][at[0] - 1, at[1]] / open_[at]
    stop, target, size, atrs, trail = (np.full(open_.shape, np.nan) for _ in range(5))
    stop[at] = np.minimum(STOP[strategy] * atr, MOST[strategy])
    atrs[at], trail[at] = atr, TRAIL[strategy]
    target[at] = TARGET[strategy] * atr
    budget = np.minimum(0.10, np.minimum(0.02 / stop[at], chosen["weight"].to_numpy()))
    size[at] = budget * np.where(short, 0.65, 1.0)
    longs, shorts = (np.zeros(open_.shape, dtype=bool) for _ in range(2))
    longs[at], shorts[at] = ~short, short
    entered = np.maximum.accumulate(np.where(longs | shorts, days, 0), axis=0)  # the last signal's session
    owner = np.zeros(open_.shape, dtype=np.int8)
    owner[at] = strategy
    owner = np.take_along_axis(owner, entered, axis=0)
    rsi, pct_b = vbt.nb.fshift_nb(x["rsi"], 1), vbt.nb.fshift_nb(x["pct_b"], 1)
    late = days - entered >= HOLD[owner]
    found = vbt.Portfolio.from_signals(
        bars["close"],
        entries=longs, exits=late | (rsi > RSI_LONG[owner]),
        short_entries=shorts, short_exits=late | (rsi < RSI_SHORT[owner]) | (pct_b < BAND_SHORT[owner]),
        price=open_, open=open_, high=bars["high"], low=bars["low"], sl_stop=stop, tp_stop=target,
        adjust_sl_func_nb=stop_now, adjust_sl_args=(stop, atrs, trail),
        size=size, size_type="percent", init_cash=100_000.0,
        cash_sharing=True, group_by=True, upon_opposite_entry="ignore", freq="1D", size_granularity=1,
    )  # fmt: skip
    found.value(), found.benchmark_value(), found.gross_exposure("longonly"), found.gross_exposure("shortonly")
    if metrics:
        found.stats()
    return len(found.trades.records_readable)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

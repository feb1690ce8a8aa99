"""The default rules once more, as one would write them by hand: TA-Lib for each symbol, numpy, and loops.

It shares nothing with the package: every number of config/strategy_params.yaml stands here again as an ordinary
if-statement. It is the yardstick of the backtest's speed and a second opinion on each of its trades.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Protocol

import numpy as np
import talib
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

RSI_MEAN_REVERSION, BB_SQUEEZE, ADX_PULLBACK = "rsi_mean_reversion", "bb_squeeze", "adx_pullback"
OVERBOUGHT_SHORT, REGIME_MOMENTUM = "overbought_short", "regime_momentum"
STRATEGIES = (ADX_PULLBACK, BB_SQUEEZE, OVERBOUGHT_SHORT, REGIME_MOMENTUM, RSI_MEAN_REVERSION)  # by name: ties
AT_OPEN = {RSI_MEAN_REVERSION, OVERBOUGHT_SHORT}
WEIGHTS = {
    "TREND": {RSI_MEAN_REVERSION: 0.15, ADX_PULLBACK: 0.30, BB_SQUEEZE: 0.20, OVERBOUGHT_SHORT: 0.10,
              REGIME_MOMENTUM: 0.25},
    "RANGING": {RSI_MEAN_REVERSION: 0.35, ADX_PULLBACK: 0.10, BB_SQUEEZE: 0.25, OVERBOUGHT_SHORT: 0.20,
                REGIME_MOMENTUM: 0.10},
    "HIGH_VOLATILITY": {RSI_MEAN_REVERSION: 0.20, ADX_PULLBACK: 0.10, BB_SQUEEZE: 0.30, OVERBOUGHT_SHORT: 0.25,
                        REGIME_MOMENTUM: 0.15},
    "UNCERTAIN": {RSI_MEAN_REVERSION: 0.20, ADX_PULLBACK: 0.15, BB_SQUEEZE: 0.20, OVERBOUGHT_SHORT: 0.20,
                  REGIME_MOMENTUM: 0.15},
}  # fmt: skip
STOP_ATRS = {RSI_MEAN_REVERSION: 2.5, BB_SQUEEZE: 2.0, ADX_PULLBACK: 1.5, OVERBOUGHT_SHORT: 2.5, REGIME_MOMENTUM: 1.5}
TARGET_ATRS = {RSI_MEAN_REVERSION: 3.0, BB_SQUEEZE: 3.0, ADX_PULLBACK: 2.5, REGIME_MOMENTUM: 3.0}
HOLD = {RSI_MEAN_REVERSION: 5, BB_SQUEEZE: 5, ADX_PULLBACK: 7, OVERBOUGHT_SHORT: 5, REGIME_MOMENTUM: 7}
RSI_OUT_LONG = {RSI_MEAN_REVERSION: 50, BB_SQUEEZE: 75, ADX_PULLBACK: 70, REGIME_MOMENTUM: 75}
RSI_OUT_SHORT = {RSI_MEAN_REVERSION: 50, BB_SQUEEZE: 25, OVERBOUGHT_SHORT: 55}


class Bars(Protocol):
    """Daily bars: symbols S, dates T, prices and volume float64 [S, T], NaN where there is no bar."""

    @property
    def symbols(self) -> Sequence[str]: ...
    @property
    def open(self) -> Array: ...
    @property
    def high(self) -> Array: ...
    @property
    def low(self) -> Array: ...
    @property
    def close(self) -> Array: ...
    @property
    def volume(self) -> Array: ...


@dataclass
class Holding:
    row: int
    strategy: str
    short: bool
    quantity: int
    entry: float
    day: int
    atr: float
    stop: float
    best: float
    exit_day: int = -1
    exit: float = math.nan
    reason: str = ""


@dataclass
class Candidate:
    row: int
    strategy: str
    short: bool
    rank: int
    close: float
    atr: float
    weight: float
    open: float = math.nan


@dataclass
class Account:
    cash: float
    held: dict[int, Holding] = field(default_factory=dict)
    price: dict[int, float] = field(default_factory=dict)  # of what is held
    left_on: dict[int, int] = field(default_factory=dict)
    trades: list[Holding] = field(default_factory=list)
    closes: list[float] = field(default_factory=list)
    peak: float = 0.0
    worst: float = 0.0

    def equity(self) -> float:
        value = self.cash
        for row, item in self.held.items():
            value += (-item.quantity if item.short else item.quantity) * self.price[row]
        return value


def backtest(
    bars: Bars,
    sectors: Sequence[str],
    first: int,
    last: int,
    cash: float = 100_000.0,
    slippage_bps: float = 0.0,
    commission: float = 0.0,
    borrow: float = 0.01,
    max_drawdown: float = 0.15,
) -> Account:
    """Trades the columns `first` to `last`, the latter not included. Open positions follow the closed trades."""
    with np.errstate(all="ignore"):
        x = indicators(bars.open, bars.high, bars.low, bars.close, bars.volume)
        usable = screen(bars)
        x["liquidity"] = percentile(x["dollars"], usable)
        regimes = regime_of(bars)
        chosen = candidates(bars, x, usable, regimes, sectors, first - 1, last - 1)
    rsi, pct_b = x["rsi"], x["pct_b"]
    account = Account(cash, peak=cash)
    held, price = account.held, account.price
    for day in range(first, last):
        waiting = []
        for item in chosen.get(day - 1, ()):
            item.open = float(bars.open[item.row, day])
            if not abs((item.open - item.close) / item.close) > 0.03:
                waiting.append(item)
        before = sorted(held)
        opened = 0

        def fill(item: Candidate, quantity: int, day: int = day) -> None:
            paid = tick(item.open, not item.short, slippage_bps)
            stop = STOP_ATRS[item.strategy] * item.atr
            if item.strategy == OVERBOUGHT_SHORT:
                stop = min(stop, 0.05 * paid)
            held[item.row] = Holding(item.row, item.strategy, item.short, quantity, paid, day, item.atr, stop, paid)
            price[item.row] = paid
            account.cash += (quantity if item.short else -quantity) * paid - commission

        def leave(row: int, at: float, reason: str, day: int = day) -> None:
            item = held.pop(row)
            item.exit, item.exit_day, item.reason = tick(at, item.short, slippage_bps), day, reason
            account.cash += (-item.quantity if item.short else item.quantity) * item.exit - commission
            account.trades.append(item)
            account.left_on[row] = day
            del price[row]

        opened += enter(account, waiting, True, day, opened, sectors, fill, max_drawdown)
        for row in before:
            at = float(bars.open[row, day])
            if math.isnan(at):
                continue
            item = held[row]
            price[row] = at
            resting = protective(item)  # within a session the emergency stops come before it
            if at >= resting if item.short else at <= resting:
                leave(row, at, "protective_stop")
                continue
            reason = why_leave(item, at, day, rsi[row, day - 1], pct_b[row, day - 1])
            if reason:
                leave(row, at, reason)
            else:
                item.best = min(item.best, at) if item.short else max(item.best, at)
        opened += enter(account, waiting, False, day, opened, sectors, fill, max_drawdown)
        rows = sorted(held)
        points = {row: path(bars, row, day, held[row].short) for row in rows}
        for segment in range(3):
            for row in rows:
                if row not in held or math.isnan(points[row][0]):
                    continue
                item, start, end = held[row], points[row][segment], points[row][segment + 1]
                known = rsi[row, day - 1], pct_b[row, day - 1]
                price[row] = end
                if why_leave(item, end, day, *known):
                    while abs(end - start) > 1e-9 * abs(end):
                        middle = start + (end - start) / 2
                        if middle in (start, end):
                            break
                        if why_leave(item, middle, day, *known):
                            end = middle
                        else:
                            start = middle
                    leave(row, end, why_leave(item, end, day, *known))
                else:
                    item.best = min(item.best, end) if item.short else max(item.best, end)
        for row, item in held.items():
            close = float(bars.close[row, day])
            if not math.isnan(close):
                price[row] = close
            if item.short:
                account.cash -= item.quantity * price[row] * borrow / 252
        equity = account.equity()
        account.closes.append(equity)
        account.peak = max(account.peak, equity)
        account.worst = max(account.worst, 1 - equity / account.peak)
    account.trades += held.values()
    return account


# --- what the bars say ------------------------------------------------------------------------------------------------


def indicators(open_: Array, high: Array, low: Array, close: Array, volume: Array) -> dict[str, Array]:
    """[symbol, time]; TA-Lib sees each unbroken run of bars by itself."""
    names = ("rsi", "adx", "atr", "fast", "slow", "width", "pct_b", "ratio", "return", "dollars")
    x = {name: np.full_like(close, np.nan) for name in names}
    known = np.isfinite(open_ + high + low + close + volume)
    for row in range(len(close)):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], known[row], [0]))))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            run = slice(start, stop)
            h, l, c = high[row, run], low[row, run], close[row, run]  # noqa: E741
            if len(c) < 2:
                continue
            rsi = talib.RSI(c, 14)
            if (rsi == 0).any():  # nothing has moved, or has moved for long
                fell = np.cumsum(np.diff(c, prepend=c[0]) < 0) > 0
                rose = np.cumsum(np.diff(c, prepend=c[0]) > 0) > 0
                rsi[(rsi == 0) & ~(fell & ~rose)] = np.nan
            x["rsi"][row, run] = rsi
            x["adx"][row, run], x["atr"][row, run] = talib.ADX(h, l, c, 14), talib.ATR(h, l, c, 14)
            x["fast"][row, run], x["slow"][row, run] = talib.EMA(c, 8), talib.EMA(c, 21)
            upper, middle, lower = talib.BBANDS(c, 20, 2.0, 2.0)
            width = (upper - lower) / middle
            x["width"][row, run] = width
            x["pct_b"][row, run] = np.where(upper - lower > 1e-12 * middle, (c - lower) / (upper - lower), np.nan)
            if len(c) > 20:
                x["return"][row, run][20:] = c[20:] / c[:-20] - 1
            if len(c) >= 39:
                x["ratio"][row, run][38:] = width[38:] / sliding_window_view(width[19:], 20).mean(axis=1)
            x["dollars"][row, run] = talib.SMA(c * volume[row, run], 20)
    return x


def screen(bars: Bars) -> Mask:
    """Where a scan of the last 250 sessions, at least 60 bars of them, may trust a symbol."""
    here, sessions = ~np.isnan(bars.close), np.arange(bars.close.shape[1])
    good = (bars.volume >= 0) & (bars.open > 0) & (bars.high > 0) & (bars.low > 0) & (bars.close > 0)
    count = last_250(here)
    following = np.where(here, sessions, len(sessions))
    following = np.minimum.accumulate(following[:, ::-1], axis=1)[:, ::-1]  # the next bar at or after each session
    unbroken = count == sessions + 1 - following[:, np.maximum(sessions - 249, 0)]
    still = np.zeros(here.shape, dtype=np.int64)
    still[:, 1:] = np.cumsum(bars.close[:, 1:] == bars.close[:, :-1], axis=1)
    flat = np.zeros(here.shape, dtype=np.bool_)
    flat[:, 19:] = still[:, 19:] - still[:, : max(0, len(sessions) - 19)] == 19
    return here & (bars.volume > 0) & (count >= 60) & (last_250(here & ~good) == 0) & unbroken & ~flat


def last_250(what: Mask) -> NDArray[np.int64]:
    total = np.cumsum(what, axis=1)
    total[:, 250:] -= total[:, :-250].copy()
    return total


def percentile(values: Array, usable: Mask) -> Array:
    """(rank - 1) / (n - 1) among the usable symbols of each day."""
    known = usable & ~np.isnan(values)
    order = np.argsort(np.where(known, values, np.inf), axis=0)
    rank = np.empty_like(values)
    np.put_along_axis(rank, order, np.arange(len(values), dtype=float)[:, None], axis=0)
    count = known.sum(axis=0)
    return np.where(known, np.where(count > 1, rank / np.maximum(count - 1, 1), 0.5), np.nan)


def regime_of(bars: Bars) -> list[str]:
    """By the equal-weight mean of the universe."""
    before = bars.close[:, :-1]
    o, h, l, c = (np.nanmean(p[:, 1:] / before, axis=0) for p in (bars.open, bars.high, bars.low, bars.close))  # noqa: E741
    close = 100 * np.cumprod(np.concatenate(([1.0], c)))
    base = np.concatenate(([100.0], close[:-1]))
    rows = (base * np.concatenate(([1.0], p)) for p in (o, h, l))
    x = indicators(*(row[None, :] for row in (*rows, close, np.ones_like(close))))
    found = []
    for adx, atr, ratio, last in zip(x["adx"][0], x["atr"][0], x["ratio"][0], close, strict=True):
        if atr / last > 0.03:
            found.append("HIGH_VOLATILITY")
        elif adx >= 25 and ratio >= 1.0:
            found.append("TREND")
        elif adx < 20 and ratio <= 0.8:
            found.append("RANGING")
        else:
            found.append("UNCERTAIN")
    return found


def signals(close: Array, x: Mapping[str, Array]) -> list[tuple[str, bool, Mask, Array, Array]]:
    """Strategy, short, where it fires, and the two halves of its strength."""
    rsi, adx, pct_b, ratio = x["rsi"], x["adx"], x["pct_b"], x["ratio"]
    rsi_before, adx_before, pct_b_before, close_before = map(shift, (rsi, adx, pct_b, close))
    calm, rise, up = adx < 25, adx - adx_before, x["fast"] > x["slow"]
    wakes = (ratio <= 0.75) & (rise >= 2)
    momentum = (adx >= 25) & (ratio >= 1.3) & (x["return"] > 0) & (rsi >= 50) & (rsi <= 70) & up
    stretched = (rsi_before > 75) & (pct_b_before > 0.95) & calm & (close < close_before)
    return [
        (RSI_MEAN_REVERSION, False, (rsi < 30) & (pct_b < 0.05) & calm, (30 - rsi) / 15, (0.05 - pct_b) / 0.5),
        (RSI_MEAN_REVERSION, True, (rsi > 75) & (pct_b > 0.95) & calm, (rsi - 75) / 15, (pct_b - 0.95) / 0.5),
        (BB_SQUEEZE, False, wakes & (pct_b > 1), (pct_b - 1) / 0.5, (rise - 2) / 4),
        (BB_SQUEEZE, True, wakes & (pct_b < 0), -pct_b / 0.5, (rise - 2) / 4),
        (ADX_PULLBACK, False, (adx > 25) & up & (rsi <= 50) & (close > x["slow"]), (adx - 25) / 25, (50 - rsi) / 10),
        (OVERBOUGHT_SHORT, True, stretched, (rsi_before - 75) / 15, (pct_b_before - 0.95) / 0.5),
        (REGIME_MOMENTUM, False, momentum & (x["atr"] / close < 0.03), x["return"] / 0.2, (adx - 25) / 25),
    ]


def shift(values: Array) -> Array:
    out = np.full_like(values, np.nan)
    out[:, 1:] = values[:, :-1]
    return out


def candidates(
    bars: Bars,
    x: Mapping[str, Array],
    usable: Mask,
    regimes: Sequence[str],
    sectors: Sequence[str],
    first: int,
    last: int,
) -> dict[int, list[Candidate]]:
    """The twelve best of each session, at most three of a sector, one of a symbol."""
    mood = np.array(regimes)
    parts = []
    for strategy, short, where, one, two in signals(bars.close, x):
        where[:, :first] = where[:, last:] = False
        rows, days = np.nonzero(where & usable)
        strength = 0.5 * np.clip(one[rows, days], 0, 1) + 0.5 * np.clip(two[rows, days], 0, 1)
        room = np.clip(x["atr"][rows, days] / bars.close[rows, days] / 0.05, 0, 1)
        fit = np.zeros(len(rows))
        for regime, weights in WEIGHTS.items():
            fit[mood[days] == regime] = weights[strategy] / max(weights.values())
        score = 0.40 * strength + 0.20 * room + 0.25 * fit + 0.15 * x["liquidity"][rows, days]
        parts.append((days, -score, rows, np.full(len(rows), STRATEGIES.index(strategy)), np.full(len(rows), short)))
    day, worse, row, strategy_, short_ = (np.concatenate(column) for column in zip(*parts, strict=True))
    pair = day * len(bars.symbols) + row
    conflicting = np.intersect1d(pair[short_], pair[~short_])
    keep = ~np.isnan(worse) & ~np.isin(pair, conflicting)
    order = np.lexsort((strategy_, row, worse, day))
    order = order[keep[order]]
    found: dict[int, list[Candidate]] = {}
    taken: set[int] = set()
    in_sector: dict[str, int] = {}
    for t, r, s, short in zip(*(column[order].tolist() for column in (day, row, strategy_, short_)), strict=True):
        if t not in found:
            found[t], taken, in_sector = [], set(), {}
        weight = WEIGHTS[regimes[t]][STRATEGIES[s]]
        if r in taken or weight < 0.05:
            continue
        taken.add(r)
        sector = sectors[r]
        if in_sector.get(sector, 0) < 3 and len(found[t]) < 12:
            in_sector[sector] = in_sector.get(sector, 0) + 1
            atr, close = float(x["atr"][r, t]), float(bars.close[r, t])
            found[t].append(Candidate(r, STRATEGIES[s], short, len(found[t]) + 1, close, atr, weight))
    return found


# --- what is traded ---------------------------------------------------------------------------------------------------


def enter(account, waiting, at_open, day, opened, sectors, fill, max_drawdown):  # type: ignore[no-untyped-def]
    """One group's entries; those that may be asked again stay in `waiting`. How many there were."""
    held, price = account.held, account.price
    equity = account.equity()
    gross = sum(item.quantity * price[row] for row, item in held.items())
    drop = equity / account.closes[-1] - 1 if account.closes else 0.0
    if waiting:  # a fall that was seen is not forgotten at the close
        account.worst = max(account.worst, 1 - equity / account.peak)
    later = [item.rank for item in waiting if item.strategy not in AT_OPEN] if at_open else []
    taken = {row: (item.strategy, item.short, sectors[row], item.quantity * price[row]) for row, item in held.items()}
    orders = []
    for item in list(waiting):
        if at_open and item.strategy not in AT_OPEN:
            continue
        if item.strategy not in AT_OPEN:
            confirmed = item.open <= item.close if item.short else item.open >= item.close
            if not confirmed:
                waiting.remove(item)
                continue
        values = list(taken.values())
        better = sum(rank < item.rank for rank in later)
        if account.left_on.get(item.row) == day or item.row in taken or len(taken) >= 8:
            continue
        if sum(short == item.short for _, short, _, _ in values) >= (3 if item.short else 6):
            continue
        if sum(strategy == item.strategy for strategy, _, _, _ in values) >= 2:
            continue
        if sum(sector == sectors[item.row] for _, _, sector, _ in values) >= 3:
            continue
        if opened + len(orders) + better >= 3:
            continue
        if drop <= -0.02 or account.worst >= max_drawdown:
            continue
        if math.isnan(item.open):
            continue
        stop = STOP_ATRS[item.strategy] * item.atr
        if item.strategy == OVERBOUGHT_SHORT:
            stop = min(stop, 0.05 * item.open)
        used = sum(value for strategy, _, _, value in values if strategy == item.strategy)
        shares = min(
            equity * 0.10 / item.open,
            equity * 0.02 / stop,
            (equity * item.weight - used) / item.open,
            max(0.0, equity - gross) / item.open,
        )
        quantity = math.floor(max(0.0, shares) * (0.65 if item.short else 1))
        if quantity * item.open < 200:
            continue
        value = quantity * item.open
        taken[item.row] = item.strategy, item.short, sectors[item.row], value
        gross += value
        orders.append((item, quantity))
    for item, quantity in orders:
        waiting.remove(item)
        fill(item, quantity)
    return len(orders)


def why_leave(item: Holding, price: float, day: int, rsi: float, pct_b: float) -> str:
    """The first exit rule that matches at a price, as the reason it reports; "" to hold."""
    gain = item.entry - price if item.short else price - item.entry
    loss = -gain / item.entry
    if loss >= 0.10:
        return "emergency_immediate"
    if loss >= 0.07:
        return "emergency_stop"
    if day == item.day:
        return ""
    if -gain >= item.stop:
        return "stop_loss"
    strategy = item.strategy
    if strategy in TARGET_ATRS and gain / item.atr >= TARGET_ATRS[strategy]:
        return "take_profit"
    if item.short:
        if strategy in RSI_OUT_SHORT and rsi < RSI_OUT_SHORT[strategy]:
            return "take_profit"
        if strategy == OVERBOUGHT_SHORT and pct_b < 0.50:
            return "take_profit"
    elif rsi > RSI_OUT_LONG[strategy]:
        return "take_profit"
    if strategy in (ADX_PULLBACK, REGIME_MOMENTUM):
        best = max(item.best, price)
        if (best - item.entry) / item.atr >= 1.0 and (best - price) / item.atr >= 2.0:
            return "trailing_stop"
    if day - item.day >= HOLD[strategy]:
        return "time_exit"
    return ""


def protective(item: Holding) -> float:
    """The price of the stop that rests at the broker, to the cent toward the market."""
    distance = max(1.25 * 0.10 * item.entry, 1.25 * item.stop)
    exact = Decimal(repr(round(item.entry + distance if item.short else item.entry - distance, 8)))
    return float(exact.quantize(Decimal("0.01"), ROUND_FLOOR if item.short else ROUND_CEILING))


def path(bars: Bars, row: int, day: int, short: bool) -> tuple[float, float, float, float]:
    """Open, adverse extreme, favourable extreme, close."""
    low, high = float(bars.low[row, day]), float(bars.high[row, day])
    first, second = (high, low) if short else (low, high)
    return float(bars.open[row, day]), first, second, float(bars.close[row, day])


def tick(price: float, buys: bool, slippage_bps: float) -> float:
    """What a market order pays or gets, to 0.0001 USD against it."""
    exact = Decimal(repr(price))
    slip = exact * Decimal(repr(slippage_bps)) / 10_000
    if buys:
        return float((exact + slip).quantize(Decimal("0.0001"), ROUND_CEILING))
    return float((exact - slip).quantize(Decimal("0.0001"), ROUND_FLOOR))

"""A market that is made up: seeded, without network or files, and market-like enough to trade in.

The log price of a stock is beta x market + gamma x sector + its own part. Each part is a random walk that is pulled
back slowly (so that prices stay in a sensible range for decades), with a trend that comes and goes, a night and a day,
and a volatility that clusters: the log of it is an AR(1), the usual stochastic volatility model (Taylor, 1986). The
market's has crises on top, which the others share in part. Highs and lows are those of a Brownian bridge between open
and close. Every symbol, sector and the market draw from streams of their own, always from the first session on, so
that a bar depends on seed, symbol and date alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from autotrader.core.panel import Array, Panel
from autotrader.market.feed import FeedError
from autotrader.market.universe import load_universe

if TYPE_CHECKING:
    from autotrader.clock import Calendar

FIRST_SESSION = date(2012, 1, 3)
INDEX = "SPY"

# Volatilities are per session, of log returns.
MARKET_VOLATILITY = 0.0072
SECTOR_VOLATILITY = 0.0055
NIGHT_SHARE = 0.28  # of a part's variance, between close and open
EARNINGS_EVERY = 63  # sessions; that night's own move is EARNINGS_MOVE times as wide
EARNINGS_MOVE = 5.0
PULL = 0.0018  # back to the long-run level, per session: half of a deviation is gone in a year and a half
TREND = (0.96, 0.016)  # persistence and innovation, the latter in volatilities
GROWTH = 0.04 / 252
STRESS_SHARED = 0.6  # how much of the market's log volatility a sector's and a stock's own part follows


def synthetic_panel(symbols: Sequence[str], first: date, last: date, seed: int, calendar: Calendar) -> Panel:
    """The bars of these symbols, in this order, on every session from `first` to `last`, both included.

    Prices are in USD, rounded to cents, from about 5 to 1,000; volumes whole shares. There are bars for the packaged
    universe and SPY, which is the market itself; any other symbol is a row of NaN.
    FeedError: `first` lies before the first session, 2012-01-03. Takes about 0.5 s for the whole universe in 2026.
    """
    if first < FIRST_SESSION:
        raise FeedError(f"the synthetic market begins on {FIRST_SESSION}, {first} lies before it")
    dates = np.array(calendar.sessions(FIRST_SESSION, last), dtype="datetime64[D]")
    start = int(np.searchsorted(dates, np.datetime64(first, "D")))
    sectors = {INDEX: "", **{member.symbol: member.sector for member in load_universe()}}
    rows = [i for i, symbol in enumerate(symbols) if symbol in sectors]
    fields = np.full((5, len(symbols), len(dates) - start), np.nan)
    if rows and start < len(dates):
        fields[:, rows] = _bars([symbols[i] for i in rows], sectors, len(dates), start, seed)
    return Panel(tuple(symbols), dates[start:], *fields)


@dataclass(frozen=True, slots=True)
class _Part:
    """One source of returns, [T, n] of market, sectors or symbols.

    level:      log price at the close, less the long-run level.
    night:      log return from the close before to the open.
    volatility: of the session's log return.
    """

    level: Array
    night: Array
    volatility: Array


@dataclass(frozen=True, slots=True)
class _Traits:
    """What tells the symbols apart, [S] each.

    beta, gamma: loads on the market and on the sector; volatility: of the own part, per session.
    price: the long-run level at the beginning, USD; shares: in a usual session; earnings: session within the cycle.
    """

    beta: Array
    gamma: Array
    volatility: Array
    price: Array
    shares: Array
    earnings: Array


def _bars(symbols: list[str], sectors: dict[str, str], count: int, start: int, seed: int) -> Array:
    """Open, high, low, close, volume of the sessions `start` to `count`: [5, S, count - start]."""
    traits = _traits(symbols, seed)
    market, stress = _market(count, seed)
    names = sorted({sectors[symbol] for symbol in symbols})
    at = [names.index(sectors[symbol]) for symbol in symbols]
    parts = (
        (market, [0] * len(symbols), traits.beta),
        (_sectors(names, stress, seed), at, traits.gamma),
        (_own(symbols, traits, stress, seed), slice(None), np.ones(len(symbols))),
    )

    shape = (count - start, len(symbols))
    log_close, gap, variance = np.zeros((shape[0] + 1, shape[1])), np.zeros(shape), np.zeros(shape)
    before = max(start - 1, 0)  # the close before the first session is the long-run level
    for part, columns, load in parts:
        log_close[before - count :] += load * part.level[before:, columns]
        gap += load * part.night[start:, columns]
        variance += (load * part.volatility[start:, columns]) ** 2
    growth = GROWTH * np.arange(start - 1, count)[:, np.newaxis]
    log_close += np.log(traits.price) + growth
    log_open = log_close[:-1] + gap
    move = log_close[1:] - log_open
    variance *= 1 - NIGHT_SHARE

    up, down, crowd = _within_the_day(symbols, count, start, seed)
    # the extremes of a Brownian bridge from 0 to `move`: P(max > x) = exp(-2 x (x - move) / variance)
    high = (move + np.sqrt(move**2 - 2 * variance * np.log(up))) / 2
    low = (move - np.sqrt(move**2 - 2 * variance * np.log(down))) / 2
    usual = traits.volatility**2 + (traits.beta * MARKET_VOLATILITY) ** 2 + (traits.gamma * SECTOR_VOLATILITY) ** 2
    busy = (high - low) / np.sqrt(usual * (1 - NIGHT_SHARE))
    volume = traits.shares * np.sqrt(busy) * np.exp(0.17 * np.log(crowd / (1 - crowd)))

    open_ = np.exp(log_open)
    prices = (open_, open_ * np.exp(high), open_ * np.exp(low), open_ * np.exp(move))
    return np.stack([*(np.round(price, 2).T for price in prices), np.rint(volume).T])


def _traits(symbols: list[str], seed: int) -> _Traits:
    u = np.array([_stream(seed, "traits", symbol).random(6) for symbol in symbols]).T
    traits = _Traits(
        beta=0.55 + 0.9 * u[0],
        gamma=0.6 + 0.8 * u[1],
        volatility=0.0068 + 0.0105 * u[2] ** 1.5,
        price=22.0 * 10.0 ** u[3],
        shares=2e5 * 10.0 ** (1.7 * u[4]),
        earnings=np.floor(EARNINGS_EVERY * u[5]),
    )
    for values, index in (
        (traits.beta, 1.0),
        (traits.gamma, 0.0),
        (traits.volatility, 0.0),
        (traits.price, 130.0),
        (traits.shares, 7e7),
    ):
        values[[symbol == INDEX for symbol in symbols]] = index
    return traits


def _market(count: int, seed: int) -> tuple[_Part, Array]:
    """The market, [T, 1], and its stress, [T, 1]: the log of its volatility over the usual one."""
    night, day, trend, slow_news, fast_news = _draws(["market"], count, 5, seed, "market")
    shocks = math.sqrt(NIGHT_SHARE) * night + math.sqrt(1 - NIGHT_SHARE) * day
    news = np.hstack([shocks, slow_news, fast_news])
    luck = _stream(seed, "crises").random((count, 2))
    stress, shift = np.empty((count, 1)), np.empty((count, 1))
    slow = fast = crisis = 0.0
    for t, (shock, lasting, passing) in enumerate(news.tolist()):
        stress[t] = min(slow + fast + crisis, 1.7)
        shift[t] = -0.08 * crisis
        slow = 0.99 * slow + 0.035 * lasting
        fast = 0.92 * fast + 0.10 * (0.75 * passing - 0.65 * shock)  # bad days make the next ones wilder
        crisis *= 0.98
        if luck[t, 0] < 1 / 350:
            crisis += 0.9 + 0.8 * float(luck[t, 1])
    volatility = MARKET_VOLATILITY * np.exp(stress)
    return _part(night, day, trend, volatility, shift=shift), stress


def _sectors(names: list[str], stress: Array, seed: int) -> _Part:
    night, day, trend = _draws(names, len(stress), 3, seed, "sector")
    volatility = SECTOR_VOLATILITY * np.exp(STRESS_SHARED * stress) + np.zeros(len(names))
    return _part(night, day, trend, volatility)


def _own(symbols: list[str], traits: _Traits, stress: Array, seed: int) -> _Part:
    night, day, trend, wild = _draws(symbols, len(stress), 4, seed, "stock")
    since = (np.arange(len(stress))[:, np.newaxis] - traits.earnings) % EARNINGS_EVERY
    excess = _fade(0.14 * wild, 0.93) + 0.45 * 0.8**since + STRESS_SHARED * stress
    volatility = traits.volatility * np.exp(excess)
    return _part(night, day, trend, volatility, width=np.where(since == 0, EARNINGS_MOVE, 1.0))


def _part(
    night: Array, day: Array, trend: Array, volatility: Array, *, shift: Array | float = 0.0, width: Array | float = 1.0
) -> _Part:
    """From standard normal draws; `shift` is a drift in volatilities, `width` how much wider than usual a night is."""
    gap = width * volatility * math.sqrt(NIGHT_SHARE) * _fat(night)
    drift = _fade(TREND[1] * trend, TREND[0]) + shift
    move = volatility * (math.sqrt(1 - NIGHT_SHARE) * _fat(day) + drift)
    return _Part(_fade(gap + move, 1 - PULL), gap, volatility)


def _fat(z: Array) -> Array:
    """Standard normal draws with fatter tails: variance 1, kurtosis 4.5."""
    k = 0.045
    fat: Array = z * (1 + k * z**2) / math.sqrt(1 + 6 * k + 15 * k**2)
    return fat


def _fade(news: Array, keep: float) -> Array:
    """x[t] = keep * x[t - 1] + news[t], along the first axis."""
    x = news.copy()
    for t in range(1, len(x)):
        x[t] += keep * x[t - 1]
    return x


def _draws(names: list[str], count: int, kinds: int, seed: int, what: str) -> Array:
    """Standard normal draws [kinds, count, names]; those of a name are the same whatever `count` and the others."""
    draws = np.empty((kinds, count, len(names)))
    for i, name in enumerate(names):
        draws[:, :, i] = _stream(seed, what, name).standard_normal((count, kinds)).T
    return draws


def _within_the_day(symbols: list[str], count: int, start: int, seed: int) -> Array:
    """Uniform draws for high, low and volume, [3, count - start, S], in the open interval (0, 1)."""
    draws = np.empty((3, count - start, len(symbols)))
    for i, symbol in enumerate(symbols):
        bits = _bits(seed, "day", symbol)
        bits.advance(3 * start)  # a uniform draw takes exactly one step, unlike a normal one
        draws[:, :, i] = np.random.Generator(bits).random((count - start, 3)).T
    draws += 2.0**-54
    return draws


def _stream(seed: int, *name: str) -> np.random.Generator:
    return np.random.Generator(_bits(seed, *name))


def _bits(seed: int, *name: str) -> np.random.PCG64DXSM:
    digest = blake2b("/".join((str(seed), *name)).encode(), digest_size=16).digest()
    return np.random.PCG64DXSM(int.from_bytes(digest, "big"))

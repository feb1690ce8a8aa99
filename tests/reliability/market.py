"""A small, wild market for a few sessions: eight symbols, random minutes, gaps, halts, and who is to be entered."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import cache

from days import CALENDAR, candidate, configuration

from autotrader.clock import NEW_YORK, VirtualClock
from autotrader.core.exits import Bar
from autotrader.core.gap_filter import Quote
from autotrader.core.rulebook import Rulebook, build_rulebook
from autotrader.core.types import Candidate
from autotrader.market.exchange import Exchange
from autotrader.market.playback import MinuteBar
from autotrader.settings import StrategyParams

MINUTE = timedelta(minutes=1)
SYMBOLS = tuple("ABCDEFGH")
# A Monday after the clocks changed, the week of a half day, an ordinary week of a crash.
STARTS = (date(2020, 3, 9), date(2019, 11, 27), date(2020, 3, 16))
STRATEGIES = ("rsi_mean_reversion", "bb_squeeze", "adx_pullback", "overbought_short", "regime_momentum")
SIDES = {"overbought_short": ("short",), "adx_pullback": ("long",), "regime_momentum": ("long",)}

@cache
def rulebook(seed: int) -> tuple[Rulebook, str]:
    """A configuration within the schema, and its name: for two seeds the packaged one, else a random one."""
    packaged = configuration()
    if seed < 2:
        return packaged.rulebook, packaged.settings.config_hash
    rng = random.Random(f"{seed}/configuration")
    found = packaged.settings.params.model_dump()
    risk, defaults, entry, leave = (found[name] for name in ("risk", "strategy_defaults", "entry", "exit"))
    risk["params"] |= {
        "max_open_positions": rng.randint(1, 8), "max_daily_entries": rng.randint(1, 6),
        "max_per_strategy": rng.randint(1, 5), "max_position_pct": rng.choice([0.02, 0.1, 0.3]),
        "max_daily_loss_pct": rng.choice([0.005, 0.02, 0.5]), "max_drawdown_pct": rng.choice([0.01, 0.15]),
    }  # fmt: skip
    defaults["emergency_stop_pct"] = rng.choice([0.01, 0.07])
    defaults["emergency_immediate_pct"] = rng.choice([0.02, 0.10])
    for strategy in found["strategies"].values():
        strategy["sl_atr_mult"], strategy["tp_atr_mult"] = rng.uniform(0.3, 3), rng.uniform(0.3, 4)
        strategy["max_hold_days"] = rng.randint(0, 5)
    entry["groups"]["confirmation"]["at"] = rng.choice([time(9, 31), time(9, 45), time(9, 59)])
    entry["window"]["margin_seconds"] = rng.choice([0, 5, 60])
    entry["window"]["retry_seconds"] = rng.choice([(), (5, 10, 30), (1, 200)])
    leave["protective_stop"]["enabled"] = rng.random() < 0.8
    leave["rules"] = rng.sample(leave["rules"], rng.randint(3, len(leave["rules"])))
    if rng.random() < 0.5:
        leave["rules"] = [rule for rule in leave["rules"] if rule["name"] != "day_skip"]
    return build_rulebook(StrategyParams.model_validate(found)), f"configuration {seed}"


@dataclass
class Market:
    """Minute bars of one session as far as they are played: the first fifty minutes and the last ten.

    The outside world: it goes on whether or not anybody trades, and is what a restarted process finds.
    """

    seed: int
    session: date
    exchange: Exchange
    clock: VirtualClock
    prices: dict[str, float]
    bars: dict[int, list[tuple[str, MinuteBar]]] = field(default_factory=dict)
    length: int = 0

    def __post_init__(self) -> None:
        rng = random.Random(f"{self.seed}/{self.session}")
        self.opens = CALENDAR.opens_at(self.session)
        self.length = (CALENDAR.closes_at(self.session) - self.opens) // MINUTE
        self.minutes = [*range(50), *range(self.length - 10, self.length)]
        wild = rng.choice([0.002, 0.006, 0.02])
        halted = {symbol: rng.choice([None, None, None, rng.randrange(45)]) for symbol in SYMBOLS}
        halt = rng.choice([6, 6, 30])
        for symbol in SYMBOLS:
            self.prices[symbol] *= 1 + rng.gauss(0, 2 * wild)
        self.pre_market = dict(self.prices)
        for minute in self.minutes:
            row = []
            for symbol in SYMBOLS:
                since = halted[symbol]
                if (since is not None and since <= minute < since + halt) or rng.random() < 0.03:
                    continue  # no bar
                open_ = self.prices[symbol] * (1 + rng.gauss(0, wild / 3))
                close = max(1.0, open_ * (1 + rng.gauss(0, wild)))
                high = max(open_, close) * (1 + abs(rng.gauss(0, wild / 3)))
                low = min(open_, close) * (1 - abs(rng.gauss(0, wild / 3)))
                open_, high, low, close = (round(value, 2) for value in (open_, high, low, close))
                self.prices[symbol] = close
                row.append((symbol, MinuteBar(minute, open_, high, low, close, rng.choice([0.0, *[1000.0] * 20]))))
            self.bars[minute] = row

    def candidates(self) -> list[Candidate]:
        """Who is to be entered in this session, at yesterday's prices."""
        rng = random.Random(f"{self.seed}/{self.session}/candidates")
        found = []
        for rank, symbol in enumerate(rng.sample(SYMBOLS, rng.randrange(len(SYMBOLS) + 1)), start=1):
            strategy = rng.choice(STRATEGIES)
            direction = rng.choice(SIDES.get(strategy, ("long", "short")))
            close = self.pre_market[symbol] * (1 + rng.gauss(0, 0.01))
            atr = close * rng.uniform(0.01, 0.05)
            found.append(candidate(symbol, rank, strategy, direction, prev_close=close, atr=atr))
        return found

    def play(self, minute: int) -> None:
        """The exchange matches one minute's bars; the clock stands at its end."""
        for symbol, bar in self.bars[minute]:
            self.exchange.on_bar(self.opens + minute * MINUTE, symbol, *bar[1:])
        self.clock.advance_to(self.opens + (minute + 1) * MINUTE)


class Seen:
    """The market as one process has seen it (see Prices)."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._told = 0

    def minutes(self, symbols: Collection[str]) -> Sequence[tuple[int, Mapping[str, Bar]]]:
        market, found = self._market, []
        complete = (market.clock.now() - market.opens) // MINUTE
        for minute in [minute for minute in market.minutes if self._told <= minute < complete]:
            left = market.length - minute - 1
            bars = {s: Bar(b.high, b.low, b.close, minute + 1, left) for s, b in market.bars[minute] if s in symbols}
            found.append((minute, bars))
        self._told = max(self._told, complete)
        return found

    def quotes(self, symbols: Sequence[str]) -> Mapping[str, Quote]:
        market = self._market
        found = {}
        for symbol in symbols:
            price, at = last_price(market, symbol)
            found[symbol] = Quote(price, max(0.0, (market.clock.now() - at).total_seconds()), 0.0, False, True)
        return found


def last_price(market: Market, symbol: str) -> tuple[float, datetime]:
    """The last close of a symbol that is known by now, and since when."""
    complete = (market.clock.now() - market.opens) // MINUTE
    for minute in reversed([minute for minute in market.minutes if minute < complete]):
        for name, bar in market.bars[minute]:
            if name == symbol:
                return bar.close, market.opens + (minute + 1) * MINUTE
    return market.pre_market[symbol], market.opens


def at(session: date, hour: int, minute: int) -> datetime:
    return datetime(session.year, session.month, session.day, hour, minute, tzinfo=NEW_YORK)

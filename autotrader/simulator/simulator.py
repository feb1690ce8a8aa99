"""The simulated broker: the market in time, the account in it, and who is told what."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from pathlib import Path

from autotrader.clock import NEW_YORK, Calendar, Clock, SystemClock
from autotrader.market.broker import OrderUpdate
from autotrader.market.exchange import Exchange
from autotrader.market.feed import FeedOptions
from autotrader.market.minutes import holds_minutes
from autotrader.market.splits import load_splits
from autotrader.market.universe import load_universe
from autotrader.plugins.feeds.files import FilesFeed
from autotrader.plugins.feeds.synthetic import SyntheticFeed
from autotrader.simulator.account import Account, Payload
from autotrader.simulator.bar_stream import BarStream
from autotrader.simulator.data import MarketData, Plan
from autotrader.simulator.faults import Faults
from autotrader.simulator.gate import RateLimit
from autotrader.simulator.history import History
from autotrader.simulator.orders import Orders
from autotrader.simulator.streams import Drop
from autotrader.simulator.trade_stream import TradeStream
from autotrader.simulator.wire import Json, stamp
from autotrader.simulator.world import Closed, Happening, MinuteEnded, Morning, Opened, Reported, World

INDEX = "SPY"
DEFAULT_KEYS = {"SIMULATED": "SIMULATED"}
ACCOUNT = "PA3SIMULATED"


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """What is simulated.

    data: daily bars, in a folder also minute bars; None is the synthetic market. universe: None is the packaged one.
    start: None is 09:00 of the last session there is. speed: market seconds a second; 0 stands still between steps.
    rate_limit: requests a minute, for trading and for data each; None is no limit. payload: the account's fields
    before or after 2026-07-06. slippage_bps, commission: as of the paper broker. spread: of quotes, as a ratio.
    """

    data: Path | None = None
    universe: Path | None = None
    start: datetime | None = None
    speed: float = 0.0
    seed: int = 0
    keys: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_KEYS))
    cash: float = 100_000.0
    slippage_bps: float = 0.0
    commission: float = 0.0
    spread: float = 0.0
    plan: Plan = "basic"
    payload: Payload = "new"
    rate_limit: int | None = None


class Simulator:
    """Everything but the transport. Only ever touched by one thread: the server's."""

    def __init__(
        self,
        options: SimulatorOptions,
        faults: Faults | None = None,
        drop: Drop = lambda _: None,
        real_time: Clock | None = None,
    ) -> None:
        calendar, now = Calendar(), (real_time or SystemClock()).now
        self.options = options
        self.faults = faults or Faults(options.seed)
        members = load_universe(options.universe)
        names = {member.symbol: member.name for member in members}
        given = FeedOptions(options.data, options.seed, calendar)
        feed = SyntheticFeed.open(given) if options.data is None else FilesFeed.open(given)
        start = options.start or _default_start(calendar, feed.last_session(), now())
        minutes = options.data if options.data is not None and holds_minutes(options.data) else None
        symbols = sorted({*names, INDEX})
        day = start.astimezone(NEW_YORK).date()
        splits = load_splits(options.data) or ()
        history = History(feed, symbols, calendar, day, options.seed, minutes, splits)
        exchange = Exchange(
            options.cash, calendar, account_id=ACCOUNT, slippage_bps=options.slippage_bps,
            commission=options.commission,
        )  # fmt: skip
        self.halted: set[str] = set()
        self.world = World(history, exchange, calendar, start, self._is_halted)
        self._telling: datetime | None = None  # the time of what is told just now, which may lie before the world's
        self.faults.now = lambda: self._telling or self.world.now
        self.orders = Orders(self.world, self.faults, options.seed)
        self.account = Account(self.world, self.orders, self.faults, ACCOUNT, names, options.payload)
        self.data = MarketData(self.world, self.faults, options.plan, options.spread)
        keys = dict(options.keys)
        self.trade_updates = TradeStream("trade_updates", keys, self.faults, drop)
        self.bars = BarStream("bars", keys, self.faults, drop, plan=options.plan)
        self.speed = options.speed
        self.world.followed = self._followed
        self.world.before_open = self.orders.before_open
        self.limits = {name: RateLimit(options.rate_limit, now) for name in ("trading", "data")}
        self._moving = asyncio.Lock()

    @property
    def speed(self) -> float:
        """Market seconds a second; 0: it stands still between steps."""
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        self._speed = speed
        self.orders.at_once = speed > 0

    # --- time ---------------------------------------------------------------------------------------------------------

    async def step(self, to: datetime) -> Json:
        """Moves the market on to `to`, tells the streams, and says how much was sent. ValueError: it lies in the past.

        All of the market's moves are made before the first frame goes out, so that whoever reacts to one finds the
        market standing still at `to`.
        """
        async with self._moving:
            for happening in self.world.advance(to):
                self._tell(happening)
            self._telling = None
            await self.flush()
        return self.state()

    async def flush(self) -> None:
        """Sends what the streams have to say now, after a request too."""
        for report in self.world.reports():
            self._tell(report)
        self._telling = None
        await self.trade_updates.flush()
        await self.bars.flush(self.world.now)

    def state(self) -> Json:
        return {
            "time": self.world.now.astimezone(NEW_YORK).isoformat(),
            "is_open": self.world.is_open(),
            "sent": {stream.name: stream.state() for stream in (self.trade_updates, self.bars)},
            "faults": dict(self.faults.counts),
        }

    def _tell(self, happening: Happening) -> None:
        self._telling = happening.at
        match happening:
            case Reported(update, position):
                self.trade_updates.put(self.orders.take_in(update, position))
                if update.execution is not None:
                    self.account.positions_changed()
            case MinuteEnded():
                self.bars.put("trades", self.data.last_trades(happening, self.bars.asked("trades")))
                self.bars.put("quotes", self.data.last_quotes(happening, self.bars.asked("quotes")))
                self.bars.put_minute(happening)
            case Opened(at, waiting):
                for order in waiting:
                    self.trade_updates.put(self.orders.take_in(OrderUpdate(at, replace(order, status="new"))))
            case Morning():
                self.account.positions_changed()
            case Closed():
                self.account.closed(happening.equity)
                self.bars.put("dailyBars", self.data.daily_messages(happening.session))

    def _followed(self) -> Iterable[str]:
        symbols = self.bars.symbols()
        return self.world.history.symbols if "*" in symbols else symbols

    # --- by hand ------------------------------------------------------------------------------------------------------

    def halt(self, symbol: str, halted: bool) -> None:
        """Stops or resumes trading in a symbol, from the minute that begins next."""
        if halted:
            self.halted.add(symbol)
        else:
            self.halted.discard(symbol)
        code, word = ("H", "Trading Halt") if halted else ("T", "Trading Resumption")
        reason = {"rc": "T1", "rm": "News Pending"} if halted else {"rc": "", "rm": ""}
        message = {"T": "s", "S": symbol, "sc": code, "sm": word, **reason, "t": stamp(self.world.now), "z": "C"}
        self.bars.put("statuses", [message])

    def _is_halted(self, symbol: str) -> bool:
        return symbol in self.halted or self.faults.state("halt", symbol) is not None


def _default_start(calendar: Calendar, last: date, now: datetime) -> datetime:
    return datetime.combine(min(last, calendar.last_completed(now)), time(9), NEW_YORK)

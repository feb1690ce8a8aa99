"""The plugins of Alpaca against the simulated one, with a clock that the test moves and prices that it sets."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import canary

from autotrader.clock import NEW_YORK, Calendar, VirtualClock
from autotrader.market.broker import BrokerOptions
from autotrader.market.exchange import unlimited
from autotrader.market.feed import FeedOptions
from autotrader.market.playback import MinuteBar
from autotrader.plugins.brokers.alpaca import AlpacaBroker
from autotrader.plugins.feeds.alpaca import AlpacaFeed
from autotrader.secrets import KEY_ID, SECRET_KEY, Secrets
from autotrader.settings import SystemSettings
from autotrader.simulator.faults import Faults
from autotrader.simulator.server import SimulatedAlpaca
from autotrader.simulator.simulator import SimulatorOptions

CALENDAR = Calendar()
MONDAY = date(2019, 2, 11)
MINUTE = timedelta(minutes=1)
SYMBOLS = ("AAPL", "JNJ", "MSFT", "XOM")


def at(hour: int, minute: int = 0, day: date = MONDAY) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=NEW_YORK)


def until(true: Callable[[], bool], seconds: float = 8.0) -> None:
    """Waits, in real time, for something that another thread does."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.002)


class Venue:
    """A simulated Alpaca with its clients. scripted: it trades at the test's prices alone."""

    def __init__(
        self, folder: Path, start: datetime, faults: Faults | None = None, *, scripted: bool = False, **options: Any
    ) -> None:
        universe = folder / "symbols.csv"
        universe.write_text("symbol,name,sector\n" + "".join(f"{s},{s} Inc,Technology\n" for s in SYMBOLS))
        keys = {canary.KEY_ID: canary.SECRET}
        given = SimulatorOptions(**{"universe": universe, "start": start, "keys": keys, **options})
        self.alpaca = SimulatedAlpaca(given, faults)
        self.simulator = self.alpaca.simulator
        self.clock = VirtualClock(start)
        self.secrets = Secrets(folder, {KEY_ID: canary.KEY_ID, SECRET_KEY: canary.SECRET})
        self.at_most: int | None = None
        self._prices: dict[tuple[date, str], dict[int, MinuteBar]] = defaultdict(dict)
        self._open: list[AlpacaBroker | AlpacaFeed] = []
        if scripted:
            history, exchange = self.simulator.world.history, self.simulator.world.exchange
            history.minutes = self._minutes  # type: ignore[method-assign]
            exchange.liquidity = lambda order: min(unlimited(order), self.at_most or unlimited(order))
        self.alpaca.__enter__()

    def system(self, **settings: Any) -> SystemSettings:
        return SystemSettings.model_validate({"alpaca": {"url": self.alpaca.url, "read_seconds": 5.0, **settings}})

    def broker(self, *, streaming: bool = True, **settings: Any) -> AlpacaBroker:
        options = BrokerOptions(
            CALENDAR, self.clock, self.system(**settings), self.secrets, wait=lambda _: None, streaming=streaming
        )
        broker = AlpacaBroker.open(options)
        self._open.append(broker)
        return broker

    def feed(self, **settings: Any) -> AlpacaFeed:
        options = FeedOptions(None, 0, CALENDAR, self.clock, self.system(**settings), self.secrets, wait=lambda _: None)
        feed = AlpacaFeed.open(options)
        self._open.append(feed)
        return feed

    def step(self, to: datetime) -> None:
        """Moves the market and the clock on, and waits for what the streams were sent."""
        sent = self.alpaca.step(to)["sent"]
        self.clock.advance_to(to)
        for plugin in self._open:
            name = "trade_updates" if isinstance(plugin, AlpacaBroker) else "bars"
            stream, expected = plugin.stream, sent[name]
            if stream is not None and expected["connected"]:
                until(lambda stream=stream, expected=expected: stream.messages >= expected["messages"])

    def watching(self, feed: AlpacaFeed, symbols: Sequence[str]) -> None:
        """Waits until the simulator streams these symbols to the feed, and no others."""
        bars = self.simulator.bars
        until(lambda: bars.link is not None and bars.symbols() == set(symbols))

    def trade(self, symbol: str, price: float, at_most: int | None = None) -> None:
        """Lets a minute pass in which the symbol trades once."""
        now = self.clock.now()
        minute = (now - CALENDAR.opens_at(MONDAY)) // MINUTE
        self._prices[MONDAY, symbol][minute] = MinuteBar(minute, price, price, price, price, 1000.0)
        self.at_most = at_most
        self.step(now + MINUTE)

    def settle(self) -> None:
        """Waits for what the streams were sent so far."""
        self.step(self.clock.now())

    def close(self) -> None:
        for plugin in self._open:
            plugin.close()
        self.alpaca.__exit__(None, None, None)

    def _minutes(self, session: date, symbol: str) -> Mapping[int, MinuteBar]:
        return dict(self._prices[session, symbol])

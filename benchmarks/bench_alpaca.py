"""The plugins of Alpaca against the simulated one, in a process of its own: the night's bars, the morning's prices, and
how long it takes from a bar that is sent to the order that it leads to.

.venv/bin/python benchmarks/bench_alpaca.py [--check]

Times are for reading; what --check holds is the number of requests.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import threading
import time
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from autotrader.clock import NEW_YORK, Calendar, VirtualClock
from autotrader.market.broker import BrokerOptions, OrderRequest
from autotrader.market.feed import FeedOptions
from autotrader.market.universe import load_universe
from autotrader.plugins.brokers.alpaca import AlpacaBroker
from autotrader.plugins.feeds.alpaca import AlpacaFeed
from autotrader.secrets import KEY_ID, SECRET_KEY, Secrets
from autotrader.settings import SystemSettings

SESSION, SESSIONS = date(2019, 2, 11), 250
CANDIDATES = 12
BARS = 40
MOST_REQUESTS = 15
MINUTE = timedelta(minutes=1)


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(SESSION.year, SESSION.month, SESSION.day, hour, minute, tzinfo=NEW_YORK)


# --- the simulated Alpaca, in a process of its own ------------------------------------------------------------------


def serve(pipe: Pipe, start: datetime) -> None:
    """Does what it is told through the pipe. Every moment is of the clock that all processes of a machine share."""
    from autotrader.simulator.server import SimulatedAlpaca
    from autotrader.simulator.simulator import SimulatorOptions

    alpaca = SimulatedAlpaca(SimulatorOptions(start=start, rate_limit=200))
    simulator = alpaca.simulator
    sent: list[float] = []
    received: list[float] = []
    send, strike = simulator.bars.send, simulator.faults.strike

    async def timed_send(*arguments: Any) -> None:
        sent.append(time.monotonic())
        await send(*arguments)

    def timed_strike(kind: str, about: str, **of: Any) -> Any:
        if kind == "slow" and about == "POST /v2/orders":  # the first thing that is asked about a request
            received.append(time.monotonic())
        return strike(kind, about, **of)

    simulator.bars.send = timed_send  # type: ignore[method-assign]
    simulator.faults.strike = timed_strike  # type: ignore[method-assign]
    with alpaca:
        pipe.send(alpaca.url)
        while (to := pipe.recv()) is not None:
            alpaca.step(to)
            pipe.send((list(sent), list(received)))


@dataclass
class Market:
    """The child's end of it."""

    pipe: Pipe
    url: str
    clock: VirtualClock

    def step(self, to: datetime) -> tuple[list[float], list[float]]:
        self.pipe.send(to)
        times: tuple[list[float], list[float]] = self.pipe.recv()
        self.clock.advance_to(to)
        return times


def system(market: Market) -> SystemSettings:
    return SystemSettings.model_validate({"alpaca": {"url": market.url}})


# --- what is measured -----------------------------------------------------------------------------------------------


def night(market: Market, secrets: Secrets) -> bool:
    symbols = [member.symbol for member in load_universe()]
    feed = AlpacaFeed.open(FeedOptions(None, 0, Calendar(), market.clock, system(market), secrets))
    assert feed.connection.data, "the client's own import is no part of the fetch"
    before, cpu = time.monotonic(), time.process_time()
    panel = feed.daily_bars(symbols, date(2019, 2, 8), SESSIONS)
    seconds, cpu = time.monotonic() - before, time.process_time() - cpu
    requests = feed.connection.requests
    print(f"nightly fetch, {panel.close.shape[0]} symbols x {panel.sessions} bars, limit on: "
          f"{seconds:.2f} s, {cpu:.2f} s of it our own work; {requests} requests")  # fmt: skip
    before = time.monotonic()
    quotes = feed.quotes(symbols[:CANDIDATES])
    seconds_of_prices = time.monotonic() - before
    asked = feed.connection.requests - requests
    print(f"gap filter's prices, {len(quotes)} symbols: {seconds_of_prices * 1e3:.0f} ms, {asked} request")
    return requests <= MOST_REQUESTS and asked == 1


def reaction(market: Market, secrets: Secrets) -> None:
    """A bar a second; each leads to an order at once. The parts: to the queue, to the loop, to the server."""
    woken = threading.Event()
    queued: list[float] = []

    def notify() -> None:
        queued.append(time.monotonic())
        woken.set()

    options = FeedOptions(None, 0, Calendar(), market.clock, system(market), secrets, notify=notify)
    feed = AlpacaFeed.open(options)
    broker = AlpacaBroker.open(BrokerOptions(Calendar(), market.clock, system(market), secrets))
    feed.watch(["AAPL", "MSFT", "JNJ", "XOM"])
    end = time.monotonic() + 10
    while (feed.stream is None or not feed.stream.live) and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.3)
    parts: list[tuple[float, float, float, float]] = []
    looped: list[tuple[float, float, float]] = []
    stop = threading.Event()

    def loop() -> None:
        """What a decision loop does: sleeps until there is something, takes it, orders."""
        number = 0
        while not stop.is_set():
            woken.wait()
            woken.clear()
            arrived = queued[-1] if queued else 0.0
            if not feed.streamed():
                continue
            took = time.monotonic()
            broker.submit(OrderRequest(f"bench-{number}", "AAPL", "buy", 1, "buy_to_open"))
            looped.append((arrived, took, time.monotonic()))
            number += 1

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    now = market.clock.now()
    for number in range(BARS):
        began = time.monotonic()
        now += MINUTE
        sent, _ = market.step(now)
        while len(looped) <= number and time.monotonic() < began + 0.9:
            time.sleep(0.005)
        time.sleep(max(0.0, began + 1 - time.monotonic()))
    stop.set()
    woken.set()
    sent, received = market.step(now)
    for bar, order, (arrived, took, _) in zip(sent, received, looped, strict=False):
        parts.append((arrived - bar, took - arrived, order - took, order - bar))
    feed.close()
    broker.close()
    names = ("frame sent to queue", "queue to loop", "loop to request received", "frame sent to request received")
    print(f"{len(parts)} bars at one a second, each answered by an order; milliseconds")
    print(f"{'':34} {'median':>8} {'95%':>8} {'most':>8}")
    for name, values in zip(names, zip(*parts, strict=True), strict=True):
        ordered = sorted(value * 1e3 for value in values)
        high = ordered[int(0.95 * (len(ordered) - 1))]
        print(f"{name:34} {statistics.median(ordered):8.1f} {high:8.1f} {ordered[-1]:8.1f}")


def main() -> None:
    start = at(10)
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    child = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, start), daemon=True)
    child.start()
    with TemporaryDirectory() as folder:
        secrets = Secrets(Path(folder), {KEY_ID: "SIMULATED", SECRET_KEY: "SIMULATED"})
        market = Market(ours, ours.recv(), VirtualClock(start))
        fits = night(market, secrets)
        reaction(market, secrets)
        ours.send(None)
        child.join(10)
    if "--check" in sys.argv and not fits:
        sys.exit(f"over the limit: {MOST_REQUESTS} requests for the night, prices in one")


if __name__ == "__main__":
    main()

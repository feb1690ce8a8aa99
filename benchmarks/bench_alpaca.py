"""The plugins of Alpaca against the simulated one, in a process of its own: the night's bars, the morning's prices, and
how long it takes from a bar that is sent to the order that it leads to.

.venv/bin/python benchmarks/bench_alpaca.py [--check]

The yardstick is the same work barely done, on the same server in the same run: pages fetched by `requests` and read by
`json`, a frame taken from a socket of `websockets` and answered by a POST of `requests`. The ratios say the same on a
slow or a busy machine. --check holds them and the numbers of requests; times are for reading only.
"""

from __future__ import annotations

import json
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

import requests
from harness import Report
from websockets.sync.client import connect

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
KEY = "SIMULATED"
HEADERS = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": KEY}
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


def night(market: Market, secrets: Secrets, report: Report) -> bool:
    symbols = [member.symbol for member in load_universe()]
    feed = AlpacaFeed.open(FeedOptions(None, 0, Calendar(), market.clock, system(market), secrets))
    assert feed.connection.data, "the client's own import is no part of the fetch"
    took: list[tuple[float, float]] = []
    bare: list[tuple[float, float]] = []
    for _ in range(2):
        for times, fetch in ((took, lambda: feed.daily_bars(symbols, date(2019, 2, 8), SESSIONS)),
                             (bare, lambda: barely_fetched(market, symbols))):  # fmt: skip
            before, cpu = time.monotonic(), time.process_time()
            fetch()
            times.append((time.monotonic() - before, time.process_time() - cpu))
    requests = feed.connection.requests // 2
    (seconds, cpu), (bare_seconds, bare_cpu) = min(took), min(bare)
    print(f"nightly fetch, {len(symbols)} symbols x {SESSIONS} bars, limit on: "
          f"{seconds:.2f} s, {cpu:.2f} s of it our own work; {requests} requests")  # fmt: skip
    report.add("nightly fetch, by the clock, against barely", seconds, bare_seconds, 2.5)
    report.add("the same, CPU time of the client", cpu, bare_cpu, 2.5)
    before = time.monotonic()
    quotes = feed.quotes(symbols[:CANDIDATES])
    seconds_of_prices = time.monotonic() - before
    asked = feed.connection.requests - 2 * requests
    print(f"gap filter's prices, {len(quotes)} symbols: {seconds_of_prices * 1e3:.0f} ms, {asked} request")
    return requests <= MOST_REQUESTS and asked == 1


def barely_fetched(market: Market, symbols: list[str]) -> None:
    last = date(2019, 2, 8)
    first = Calendar().previous_session(last, SESSIONS - 1)
    query = {
        "symbols": ",".join(symbols), "timeframe": "1Day", "start": f"{first}T00:00:00-05:00", "feed": "sip",
        "end": f"{last}T00:00:00-05:00", "adjustment": "split", "limit": "10000",
    }  # fmt: skip
    with requests.Session() as session:
        while True:
            body = json.loads(session.get(f"{market.url}/v2/stocks/bars", params=query, headers=HEADERS).content)
            if not (token := body["next_page_token"]):
                return
            query["page_token"] = token


def reaction(market: Market, secrets: Secrets) -> float:
    """A bar a second; each leads to an order at once. The parts: to the queue, to the loop, to the server.

    The median of the whole, in seconds.
    """
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
    for bar, order, (arrived, took, _) in zip(sent[-BARS:], received[-BARS:], looped, strict=False):
        parts.append((arrived - bar, took - arrived, order - took, order - bar))
    feed.close()
    broker.close()
    time.sleep(0.3)  # an account has one connection to a stream: the server is to notice
    names = ("frame sent to queue", "queue to loop", "loop to request received", "frame sent to request received")
    print(f"{len(parts)} bars at one a second, each answered by an order; milliseconds")
    print(f"{'':34} {'median':>8} {'95%':>8} {'most':>8}")
    for name, values in zip(names, zip(*parts, strict=True), strict=True):
        ordered = sorted(value * 1e3 for value in values)
        high = ordered[int(0.95 * (len(ordered) - 1))]
        print(f"{name:34} {statistics.median(ordered):8.1f} {high:8.1f} {ordered[-1]:8.1f}")
    return statistics.median(whole for *_, whole in parts)


def bare_reaction(market: Market) -> float:
    """The same without our stream, queue, loop and plugin."""
    now = market.clock.now()
    with connect(market.url.replace("http", "ws", 1) + "/v2/iex") as socket, requests.Session() as session:
        for message in ({"action": "auth", "key": KEY, "secret": KEY}, {"action": "subscribe", "bars": ["AAPL"]}):
            socket.recv()
            socket.send(json.dumps(message))
        socket.recv()

        def answer(number: int) -> None:
            json.loads(socket.recv())
            order = {"symbol": "AAPL", "qty": 1, "side": "buy", "type": "market", "time_in_force": "day",
                     "client_order_id": f"bare-{number}"}  # fmt: skip
            session.post(f"{market.url}/v2/orders", json=order, headers=HEADERS)

        for number in range(BARS):
            began = time.monotonic()
            now += MINUTE
            thread = threading.Thread(target=answer, args=(number,))
            thread.start()
            market.step(now)
            thread.join()
            time.sleep(max(0.0, began + 1 - time.monotonic()))
    sent, received = market.step(now)
    return statistics.median(order - bar for bar, order in zip(sent[-BARS:], received[-BARS:], strict=True))


def main() -> None:
    start = at(10)
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    child = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, start), daemon=True)
    child.start()
    with TemporaryDirectory() as folder:
        secrets = Secrets(Path(folder), {KEY_ID: "SIMULATED", SECRET_KEY: "SIMULATED"})
        market = Market(ours, ours.recv(), VirtualClock(start))
        report = Report("The plugins of Alpaca, against the same work barely done")
        fits = night(market, secrets, report)
        report.add("frame sent to request received, median", reaction(market, secrets), bare_reaction(market), 4)
        ours.send(None)
        child.join(10)
    report.finish()
    if "--check" in sys.argv and not fits:
        sys.exit(f"over the limit: {MOST_REQUESTS} requests for the night, prices in one")


if __name__ == "__main__":
    main()

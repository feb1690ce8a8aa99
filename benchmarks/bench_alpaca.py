"""The plugins of Alpaca against the simulated one, in a process of its own: the night's bars, the morning's prices, and
how long it takes from a bar that is sent to the order of the exit that it leads to.

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
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests
from harness import Report
from websockets.sync.client import connect

from autotrader.clock import NEW_YORK, Calendar, VirtualClock
from autotrader.core import events as ev
from autotrader.core.exits import Day
from autotrader.core.trader import Trader
from autotrader.execution.day import TradingDay
from autotrader.execution.desk import Desk
from autotrader.execution.orders import log_only
from autotrader.journal.store import Journal
from autotrader.market.broker import BrokerOptions, BrokerOrder, OrderRequest
from autotrader.market.feed import FeedOptions, StreamedBar
from autotrader.market.universe import load_universe
from autotrader.plugins.brokers.alpaca import AlpacaBroker
from autotrader.plugins.feeds.alpaca import AlpacaFeed
from autotrader.secrets import KEY_ID, SECRET_KEY, Secrets
from autotrader.service.live import LivePrices
from autotrader.settings import SystemSettings
from autotrader.simulator.simulator import Simulator, SimulatorOptions
from autotrader.validation.load import PACKAGED_CONFIG, Configuration, load_files

SESSION, SESSIONS = date(2019, 2, 11), 250
CANDIDATES = 12
BARS = 40
MOST_REQUESTS = 15
TARGET_ATR = 1.0
KEY = "SIMULATED"
HEADERS = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": KEY}
MINUTE = timedelta(minutes=1)


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(SESSION.year, SESSION.month, SESSION.day, hour, minute, tzinfo=NEW_YORK)


# --- the simulated Alpaca, in a process of its own ------------------------------------------------------------------


def serve(pipe: Pipe, start: datetime) -> None:
    """Does what it is told through the pipe. Every moment is of the clock that all processes of a machine share."""
    from autotrader.simulator.server import SimulatedAlpaca

    alpaca = SimulatedAlpaca(SimulatorOptions(start=start, rate_limit=200, plan="plus"))
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
        self.clock.advance_to(to)  # first, since a bar that comes belongs to a minute that has ended
        self.pipe.send(to)
        times: tuple[list[float], list[float]] = self.pipe.recv()
        return times


def system(market: Market) -> SystemSettings:
    return SystemSettings.model_validate({"alpaca": {"url": market.url, "stream_symbols": BARS}})


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
    report.add("nightly fetch, by the clock, against barely", seconds, bare_seconds, 2.0)
    report.add("the same, CPU time of the client", cpu, bare_cpu, 2.0)
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


@dataclass(frozen=True)
class Held:
    """A position that the default rules leave at the end of one bar, and of none before it. entry: a price."""

    symbol: str
    entry: float
    atr: float


def held_until(minutes: Sequence[int]) -> list[Held]:
    """One position for each of these minutes of the session, whose close takes it beyond its target."""
    rows = Simulator(SimulatorOptions(start=at(10))).world.history
    symbols = [member.symbol for member in load_universe()]
    rows.prepare(SESSION, symbols)
    closes = {symbol: [bar.close for bar in rows.minutes(SESSION, symbol).values()] for symbol in symbols}
    found: list[Held] = []
    for minute in minutes:
        symbol = next(s for s, path in closes.items() if len(path) == 390 and path[minute] > max(path[:minute]))
        path = closes.pop(symbol)
        target, atr = (path[minute] + max(path[:minute])) / 2, round(path[0] * 0.2, 2)
        found.append(Held(symbol, target - TARGET_ATR * atr, atr))
    return found


def configuration(folder: Path) -> Configuration:
    """The default one, with one target for all strategies."""
    text = (PACKAGED_CONFIG / "strategy_params.yaml").read_text(encoding="utf-8")
    old = "gain_atr >= tp_atr_mult"
    assert old in text
    path = folder / "strategy_params.yaml"
    path.write_text(text.replace(old, f"gain_atr >= {TARGET_ATR}"))
    loaded = load_files([path])
    assert loaded.configuration is not None, loaded.problems
    return loaded.configuration


def desk_with(folder: Path, held: Sequence[Held], broker: AlpacaBroker, clock: VirtualClock) -> Desk:
    """A desk that holds these, over a journal on disk, as the broker does."""
    found, before = configuration(folder), Calendar().previous_session(SESSION)
    config_hash, began = found.settings.config_hash, clock.now() - timedelta(days=3)
    journal = Journal.open(folder / "journal.sqlite3", "PA3SIMULATED", initial_cash=100_000.0, clock=clock)
    book = journal.book()
    events: list[ev.Event] = [ev.SessionOpened(began, before, Calendar().number(before))]
    for item in held:
        plan = ev.EntryPlan("MOO", 1, 0.5, "Energy", "UNCERTAIN", item.atr, item.entry, item.entry, 1.0, config_hash)
        name = f"in-{item.symbol}"
        events += [ev.Ordered(began, before, name, item.symbol, "regime_momentum", "long", "entry", 1, plan),
                   ev.Filled(began, before, name, 1, item.entry, 1)]  # fmt: skip
    for event in [*events, ev.SessionClosed(began, before, 100_000.0)]:
        book.apply(event)
        journal.append(event)
    journal.commit()
    day = Day(SESSION, Calendar().number(SESSION), "UNCERTAIN", {"rsi": 40.0, "pct_b": 0.4}, float("nan"))
    trader = Trader(book, {config_hash: found.rulebook}, "bench", lambda _, __: day)
    return Desk(trader, journal, broker, Calendar(), clock, found.rulebook, protect=False)


def reaction(market: Market, secrets: Secrets, folder: Path) -> float:
    """A bar a second, each of which ends one position. The parts: to the queue, to the loop, decided and durable, sent.

    The median of the whole, in seconds.
    """
    woken = threading.Event()
    moments: dict[str, list[float]] = {"queued": [], "taken": [], "decided": []}

    def queued() -> None:
        moments["queued"].append(time.monotonic())
        woken.set()

    # a minute takes a second here
    requests.post(f"{market.url}/simulator/settings", json={"rate_limit": "off"}, timeout=10).raise_for_status()
    first = (market.clock.now() - at(9, 30)) // MINUTE
    held = held_until(range(first, first + BARS))
    for item in held:
        position = {"symbol": item.symbol, "qty": 1, "price": round(item.entry, 2)}
        requests.post(f"{market.url}/simulator/positions", json=position, timeout=10).raise_for_status()
    feed = AlpacaFeed.open(FeedOptions(None, 0, Calendar(), market.clock, system(market), secrets, notify=queued))
    broker = AlpacaBroker.open(BrokerOptions(Calendar(), market.clock, system(market), secrets, notify=woken.set))
    streamed, submit = feed.streamed, broker.submit

    def timed_streamed() -> Sequence[StreamedBar]:
        if found := streamed():
            moments["taken"].append(time.monotonic())
        return found

    def timed_submit(request: OrderRequest) -> BrokerOrder:
        moments["decided"].append(time.monotonic())
        return submit(request)

    feed.streamed, broker.submit = timed_streamed, timed_submit  # type: ignore[method-assign]
    desk = desk_with(folder, held, broker, market.clock)
    desk.recover()
    calendar = Calendar()
    prices = LivePrices(
        feed, calendar.opens_at(SESSION), calendar.closes_at(SESSION), market.clock, log_only, lambda _: None,
        lambda _: True, grace=timedelta(seconds=5), silence=timedelta(seconds=150),
    )  # fmt: skip
    day = TradingDay(desk, prices, SESSION, calendar, market.clock, lambda _: None)
    day.begin(None)
    prices.watch([item.symbol for item in held])
    day.tick(())
    end = time.monotonic() + 10
    while (feed.stream is None or not feed.stream.live) and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.3)
    stop = threading.Event()

    def drive() -> None:
        now = market.clock.now()
        for _ in range(BARS):
            began = time.monotonic()
            now += MINUTE
            market.step(now)
            time.sleep(max(0.0, began + 1 - time.monotonic()))
        stop.set()
        woken.set()

    driver = threading.Thread(target=drive, daemon=True)
    driver.start()
    while not stop.is_set():  # the decision loop; the journal belongs to the thread that opened it
        woken.wait()
        woken.clear()
        day.tick(())
    driver.join()
    sent, received = market.step(market.clock.now())
    feed.close()
    broker.close()
    desk.journal.close()
    time.sleep(0.3)  # an account has one connection to a stream: the server is to notice
    rows = []
    for began, end in zip(sent, [*sent[1:], float("inf")], strict=True):
        marks = [began, *(next((moment for moment in found if began <= moment < end), float("nan"))
                          for found in (*moments.values(), received))]  # fmt: skip
        if marks[-1] == marks[-1]:
            rows.append([after - before for before, after in pairwise(marks)] + [marks[-1] - began])
    names = ("frame sent to queue", "queue to loop", "loop to decided and durable", "decided to request received",
             "frame sent to request received")  # fmt: skip
    print(f"{len(rows)} of {len(sent)} bars at one a second led to an exit; milliseconds")
    print(f"{'':34} {'median':>8} {'95%':>8} {'most':>8}")
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        ordered = sorted(value * 1e3 for value in values)
        high = ordered[int(0.95 * (len(ordered) - 1))]
        print(f"{name:34} {statistics.median(ordered):8.1f} {high:8.1f} {ordered[-1]:8.1f}")
    return statistics.median(whole for *_, whole in rows)


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
        decided = reaction(market, secrets, Path(folder))
        report.add("frame sent to request received, median", decided, bare_reaction(market), 15)
        ours.send(None)
        child.join(10)
    report.finish()
    if "--check" in sys.argv and not fits:
        sys.exit(f"over the limit: {MOST_REQUESTS} requests for the night, prices in one")


if __name__ == "__main__":
    main()

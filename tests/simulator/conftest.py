"""A simulated Alpaca on the synthetic market, and real clients of alpaca-py that talk to it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import requests
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.live.stock import StockDataStream
from alpaca.trading.client import TradingClient
from alpaca.trading.stream import TradingStream
from pyarrow.parquet import write_table

from autotrader.clock import NEW_YORK, Calendar
from autotrader.core.panel import FIELDS
from autotrader.market.synthetic import synthetic_panel
from autotrader.simulator.faults import Faults
from autotrader.simulator.server import SimulatedAlpaca
from autotrader.simulator.simulator import SimulatorOptions
from autotrader.simulator.wire import Json
from tests.simulator.protocol import check_answer

KEY = "SIMULATED"
SYMBOLS = ("AAPL", "JNJ", "MSFT", "XOM")


def at(hour: int, minute: int = 0, second: int = 0, *, day: int = 11) -> datetime:
    """In New York, in February 2019; the 11th is a Monday."""
    return datetime(2019, 2, day, hour, minute, second, tzinfo=NEW_YORK)


class Desk:
    """One simulator and its clients."""

    def __init__(self, alpaca: SimulatedAlpaca) -> None:
        self.alpaca = alpaca
        self.url = alpaca.url
        self.trading = TradingClient(KEY, KEY, url_override=self.url)
        self.trading._retry_wait = 0
        self.data = StockHistoricalDataClient(KEY, KEY, url_override=self.url)
        self._http = requests.Session()
        self._http.headers.update({"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": KEY})
        self._running: list[tuple[Any, threading.Thread]] = []

    def step(self, to: datetime) -> Json:
        return self.alpaca.step(to)

    def call(self, method: str, path: str, *, as_it_is: bool = False, **more: Any) -> requests.Response:
        """Without the official client; never waits long. The answer is as the schema says, unless taken as it is."""
        answer = self._http.request(method, self.url + path, timeout=5, allow_redirects=False, **more)
        if not as_it_is and not path.startswith("/simulator"):
            check_answer(method, path.split("?", maxsplit=1)[0], answer.status_code, answer.content)
        return answer

    def get(self, path: str, **query: Any) -> Any:
        answer = self.call("GET", path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def control(self, path: str, body: Any) -> Any:
        answer = self.call("POST", f"/simulator/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def order(self, symbol: str = "AAPL", qty: Any = 10, side: str = "buy", **more: Any) -> requests.Response:
        body = {"symbol": symbol, "qty": qty, "side": side, "type": "market", "time_in_force": "day", **more}
        return self.call("POST", "/v2/orders", json=body)

    def bars(self, *symbols: str, prices: bool = False) -> list[Any]:
        """What the official data stream brings from now on. prices: also trades and quotes."""
        stream = StockDataStream(KEY, KEY, url_override=self.alpaca.data_stream_url)
        seen: list[Any] = []

        async def take(bar: Any) -> None:
            seen.append(bar)

        stream.subscribe_bars(take, *symbols)
        stream.subscribe_updated_bars(take, *symbols)
        if prices:
            stream.subscribe_trades(take, *symbols)
            stream.subscribe_quotes(take, *symbols)
        self._run(stream)
        self.until(lambda: self.alpaca.state()["sent"]["bars"]["listening"])
        return seen

    def updates(self) -> list[Any]:
        """What the official trading stream brings from now on."""
        stream = TradingStream(KEY, KEY, url_override=self.alpaca.stream_url)
        seen: list[Any] = []

        async def take(update: Any) -> None:
            seen.append(update)

        stream.subscribe_trade_updates(take)
        self._run(stream)
        self.until(lambda: self.alpaca.state()["sent"]["trade_updates"]["listening"])
        return seen

    def until(self, true: Callable[[], bool], seconds: float = 5.0) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "it did not come true in time"
            time.sleep(0.005)

    def close(self) -> None:
        for stream, thread in self._running:
            stream._should_run = False
            asyncio.run_coroutine_threadsafe(stream.stop_ws(), stream._loop)
            asyncio.run_coroutine_threadsafe(stream.close(), stream._loop)
            thread.join(5)

    def _run(self, stream: Any) -> None:
        thread = threading.Thread(target=stream.run, daemon=True)
        thread.start()
        self._running.append((stream, thread))


@pytest.fixture(scope="session")
def universe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("universe") / "symbols.csv"
    path.write_text("symbol,name,sector\n" + "".join(f"{s},{s} Inc,Technology\n" for s in SYMBOLS))
    return path


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic market of 2018 and 2019 as a file, which is read faster than it is made."""
    panel = synthetic_panel((*SYMBOLS, "SPY"), date(2018, 1, 2), date(2019, 12, 31), 0, Calendar())
    columns: dict[str, Any] = {
        "symbol": np.repeat(panel.symbols, panel.sessions),
        "date": pa.array(np.tile(panel.dates, len(panel.symbols)), pa.date32()),
        **{field: getattr(panel, field).ravel() for field in FIELDS},
    }
    path = tmp_path_factory.mktemp("market") / "daily.parquet"
    write_table(pa.table(columns), path)
    return path


Start = Callable[..., Desk]


@pytest.fixture
def start(universe: Path, market: Path) -> Iterator[Start]:
    """Starts simulators; 09:00 on Monday, 2019-02-11, unless it is told otherwise."""
    opened: list[tuple[SimulatedAlpaca, Desk]] = []

    def begin(faults: Faults | None = None, **options: Any) -> Desk:
        given = {"universe": universe, "data": market, "start": at(9), **options}
        alpaca = SimulatedAlpaca(SimulatorOptions(**given), faults).__enter__()
        desk = Desk(alpaca)
        opened.append((alpaca, desk))
        return desk

    yield begin
    for alpaca, desk in opened:
        desk.close()
        alpaca.__exit__(None, None, None)


MINUTE = timedelta(minutes=1)

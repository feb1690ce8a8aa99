"""Serving it: in this process in a thread of its own, or as a process of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn
from starlette.types import Scope
from starlette.websockets import WebSocket
from uvicorn.protocols.http.h11_impl import H11Protocol

from autotrader.errors import AutotraderError
from autotrader.simulator.app import build_app
from autotrader.simulator.faults import Faults
from autotrader.simulator.simulator import Simulator, SimulatorOptions
from autotrader.simulator.wire import Json

HOST = "127.0.0.1"
TICK = 0.05  # seconds between two moves of a clock that runs
STARTS_WITHIN = 30.0
STEP_WITHIN = 300.0


# uvicorn takes a handshake that is refused with a status, as a fault does, for one that was forgotten
logging.getLogger("uvicorn.error").addFilter(lambda record: "without completing handshake" not in str(record.msg))


class ServerError(AutotraderError):
    """The server could not be started; one sentence that says why."""


class Server:
    """One simulator on one port of the loopback. port: 0 takes any that is free."""

    def __init__(self, options: SimulatorOptions, faults: Faults | None = None, port: int = 0) -> None:
        self._transports: dict[tuple[str, int], asyncio.Transport] = {}
        self.simulator = Simulator(options, faults, drop=self._drop)
        self._socket = _listen(port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}"
        transports = self._transports

        class Protocol(H11Protocol):
            """Remembers its connection, so that a fault can cut it."""

            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                for peer in [peer for peer, other in transports.items() if other.is_closing()]:
                    del transports[peer]
                transports[transport.get_extra_info("peername")[:2]] = transport

        app = build_app(self.simulator, self._cut)
        config = uvicorn.Config(
            app, http=Protocol, ws="websockets-sansio", lifespan="off", log_config=None, access_log=False,
            proxy_headers=False, server_header=False, ws_ping_interval=None, timeout_graceful_shutdown=1,
            timeout_keep_alive=75,
        )  # fmt: skip
        self.uvicorn = uvicorn.Server(config)

    async def serve(self, stops: Callable[[], bool] = lambda: False) -> None:
        """Until it is told to stop: by a signal, where it runs in the main thread, or because `stops` says so."""
        ticking = asyncio.create_task(self._tick(stops))
        try:
            await self.uvicorn.serve(sockets=[self._socket])
        finally:
            self._socket.close()
        if ticking.done():
            await ticking  # a market that cannot go on ends the server, and says why
        ticking.cancel()

    async def _tick(self, stops: Callable[[], bool]) -> None:
        """Moves a clock that runs, and looks whether to stop."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        try:
            while not stops():
                await asyncio.sleep(TICK)
                elapsed, last = loop.time() - last, loop.time()
                if self.simulator.speed:
                    world = self.simulator.world
                    await self.simulator.step(world.now + timedelta(seconds=elapsed * self.simulator.speed))
        finally:
            self.uvicorn.should_exit = True

    def _cut(self, scope: Scope, flush: bool) -> None:
        transport = self._transports.pop(tuple(scope["client"]), None)
        if transport is not None:
            transport.close() if flush else transport.abort()

    def _drop(self, websocket: WebSocket) -> None:
        self._cut(websocket.scope, False)


class SimulatedAlpaca:
    """A simulator in a thread of this process, for as long as the `with` block lasts.

    with SimulatedAlpaca(SimulatorOptions(start=...)) as alpaca:
        client = TradingClient("SIMULATED", "SIMULATED", url_override=alpaca.url)
        alpaca.step(to)
    """

    def __init__(self, options: SimulatorOptions | None = None, faults: Faults | None = None, port: int = 0) -> None:
        self._server = Server(options or SimulatorOptions(), faults, port)
        self._thread = threading.Thread(target=self._run, name="simulated-alpaca", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self.url = self._server.url
        self.stream_url = self.url.replace("http", "ws", 1) + "/stream"
        self.data_stream_url = self.url.replace("http", "ws", 1) + "/v2/iex"

    @property
    def simulator(self) -> Simulator:
        """To look at from outside only while nothing moves."""
        return self._server.simulator

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(STARTS_WITHIN):
            raise ServerError("the simulator did not start in time")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.uvicorn.should_exit = True
        self._thread.join(STARTS_WITHIN)

    def step(self, to: datetime) -> Json:
        """As POST /simulator/step."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(self.simulator.step(to), self._loop).result(STEP_WITHIN)

    def state(self) -> Json:
        """As GET /simulator/state."""
        return self.simulator.state()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        serving = asyncio.create_task(self._server.serve())
        while not self._server.uvicorn.started and not serving.done():
            await asyncio.sleep(0.005)
        self._started.set()
        await serving


def prepare(options: SimulatorOptions, faults: Path | None, port: int) -> Server:
    """Ready to run: the market is made, the port is taken."""
    return Server(options, None if faults is None else Faults.load(faults, options.seed or None), port)


def run(server: Server, say: Callable[[str], None], seconds: float | None = None) -> None:
    """Serves in this process until a signal, the death of the parent, or `seconds` have passed."""
    simulator = server.simulator
    pace = f"{simulator.speed:g} times as fast" if simulator.speed else "standing still between POST /simulator/step"
    say(f"simulated Alpaca on {server.url}")
    say(f"market time {simulator.state()['time']}, {pace}; Ctrl-C ends it")
    asyncio.run(_serve_until(server, os.getppid(), seconds))


async def _serve_until(server: Server, parent: int, seconds: float | None) -> None:
    loop = asyncio.get_running_loop()
    end = None if seconds is None else loop.time() + seconds

    def stops() -> bool:
        return os.getppid() != parent or (end is not None and loop.time() >= end)

    await server.serve(stops)


def _listen(port: int) -> socket.socket:
    # named as TCP, so that asyncio sends small answers at once: else each waits 40 ms for an acknowledgement
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()  # from here on nobody is refused, even before it serves
    except OSError as error:
        listening.close()
        raise ServerError(f"port {port} cannot be used: {error.strerror}") from error
    return listening

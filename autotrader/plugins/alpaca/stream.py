"""One websocket that is kept open for ever, in a thread with an event loop of its own.

Written on the library `websockets` rather than on the official client's stream classes. Those (0.44) cannot be told to
listen to other symbols from outside without waiting for their loop, spin while they have nothing to listen to, only log
that a subscription was refused, give handlers no frame but data, notice no silence on the trading stream, and stand on
a deprecated half of that library. Nothing here waits for anybody: what arrives is put into a queue, what is wanted is
written down and sent when the socket is there.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from autotrader.clock import Clock
from autotrader.plugins.alpaca.wire import parsed
from autotrader.secrets import redact

log = logging.getLogger("autotrader.alpaca")

_OPEN_SECONDS = 10.0  # for the handshake, and again for logging in
_TICK = 0.5  # how often silence is judged
_STEADY_SECONDS = 30.0  # a connection that lived so long has not failed


class Pace(NamedTuple):
    """Seconds: the first and the longest wait before opening again, and when an answer is asked for and overdue."""

    first: float = 1.0
    longest: float = 30.0
    ask_after: float = 20.0
    dead_after: float = 45.0


USUAL = Pace()


class StreamError(Exception):
    """The server refused, or is silent: the connection is given up."""


class Stream(ABC):
    """What both streams do alike. Every method but `_login`, `_take` and the like may be called from any thread.

    live: logged in and listening now. breaks: how often something may have been missed. connections: how many there
    have been. messages: with data, over the current one. last_heard: when the last one came. trouble: why it is not
    live, in words.
    """

    def __init__(self, name: str, url: str, clock: Clock, notify: Callable[[], None] | None, pace: Pace) -> None:
        self.live = False
        self.breaks = 0
        self.connections = 0
        self.messages = 0
        self.last_heard: datetime | None = None
        self.trouble = ""
        self._name = name
        self._url = url
        self._clock = clock
        self._notify = notify or (lambda: None)
        self._pace = pace
        self._queue: deque[Any] = deque()
        self._went_live = threading.Event()
        self._closing = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken: asyncio.Event | None = None
        self._lock = threading.Lock()
        self._answers = False  # the server has answered when asked, so that it not answering means something
        self._heard = self._asked = 0.0
        self._thread = threading.Thread(target=self._run, name=f"alpaca-{name}", daemon=True)

    def start(self, seconds: float = 0.0) -> bool:
        """Begins, and waits so long for it to be live; whether it is."""
        self._thread.start()
        return self.wait(seconds)

    def wait(self, seconds: float) -> bool:
        """Waits so long for it to be live; whether it is."""
        return self._went_live.wait(seconds) if seconds > 0 else self.live

    def drain(self) -> list[Any]:
        """What has arrived since the last call, in the order it came."""
        found = []
        while True:
            try:
                found.append(self._queue.popleft())
            except IndexError:
                return found

    def close(self) -> None:
        """Ends the stream; not waited for longer than a moment."""
        self._closing.set()
        self._wake()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(2.0)

    # --- what the two streams differ in ---------------------------------------------------------------------------

    @abstractmethod
    async def _login(self, socket: Any) -> None:
        """Authenticates and subscribes. StreamError where the server refuses."""

    @abstractmethod
    def _take(self, message: Any) -> bool:
        """Takes in what a frame holds; whether it was data. StreamError where the server gives up the connection."""

    @abstractmethod
    def _question(self) -> Any:
        """Something that the server has to answer; None: nothing to ask."""

    @abstractmethod
    async def _attend(self, socket: Any) -> None:
        """Sends what is to be sent while the connection is open. Called when woken, and at every tick."""

    @abstractmethod
    def _data_is_overdue(self) -> bool:
        """Whether data should have come long ago."""

    async def _send(self, socket: Any, message: Any) -> None:
        """Sends, unless the connection has just ended: whoever reads learns that, after what was said before."""
        from websockets.exceptions import ConnectionClosed

        with suppress(ConnectionClosed):
            await socket.send(json.dumps(message))

    # --- the life of a stream -------------------------------------------------------------------------------------

    def _wake(self) -> None:
        with self._lock:
            if self._loop is not None and self._woken is not None:
                self._loop.call_soon_threadsafe(self._woken.set)

    def _run(self) -> None:
        try:
            asyncio.run(self._live_for_ever())
        finally:
            self.live = False

    async def _live_for_ever(self) -> None:
        from websockets.exceptions import WebSocketException

        with self._lock:
            self._loop, self._woken = asyncio.get_running_loop(), asyncio.Event()
        failures = 0
        try:
            while not self._closing.is_set():
                began = self._loop.time()
                try:
                    await self._connected()
                except (StreamError, WebSocketException, OSError, TimeoutError) as error:
                    self.trouble = redact(f"{type(error).__name__}: {error}".removeprefix("StreamError: "))
                except Exception as error:  # a mistake of our own; a stream that ended for good is worse
                    self.trouble = redact(f"{type(error).__name__}: {error}")
                    log.error("%s stream: it was given up by mistake", self._name, exc_info=error)
                if self.live:
                    self.live = False
                    self._went_live.clear()
                    self.breaks += 1
                    self._notify()
                if self._closing.is_set():
                    return
                failures = 1 if self._loop.time() - began > _STEADY_SECONDS else failures + 1
                seconds = self._delay(failures)
                log.warning("%s stream: %s; opened again in %.1f s", self._name, self.trouble or "ended", seconds)
                await self._sleep(seconds)
        finally:
            with self._lock:
                self._loop = None

    def _delay(self, failures: int) -> float:
        """Doubled with each failure in a row; by half at random, so that many clients do not come back together."""
        doubled = self._pace.first * 2.0 ** min(failures - 1, 16)
        return min(doubled, self._pace.longest) * random.uniform(0.5, 1.0)  # noqa: S311

    async def _sleep(self, seconds: float) -> None:
        assert self._loop is not None
        until = self._loop.time() + seconds
        while not self._closing.is_set() and (left := until - self._loop.time()) > 0:
            await self._woken_within(left)

    async def _woken_within(self, seconds: float) -> None:
        assert self._woken is not None
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except TimeoutError:
            return
        self._woken.clear()

    async def _connected(self) -> None:
        """One connection, from the handshake to its end."""
        from websockets.asyncio.client import connect

        from autotrader.plugins.alpaca.endpoints import is_local

        connecting = connect(
            self._url,
            proxy=None if is_local(self._url) else True,
            open_timeout=_OPEN_SECONDS,
            ping_interval=10,
            ping_timeout=20,
            close_timeout=1,
            max_size=1 << 24,
            max_queue=1024,
            compression=None,
        )
        async with connecting as socket:
            self.messages = 0
            try:
                async with asyncio.timeout(_OPEN_SECONDS):
                    await self._login(socket)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise StreamError(f"an answer to the log-in that cannot be read ({type(error).__name__})") from error
            assert self._loop is not None
            self._heard = self._asked = self._loop.time()
            self.connections += 1
            self.live, self.trouble = True, ""
            self._went_live.set()
            log.info("%s stream: listening", self._name)
            self._notify()
            tasks = [asyncio.create_task(self._read(socket)), asyncio.create_task(self._tend(socket))]
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            for task in done:
                task.result()

    async def _read(self, socket: Any) -> None:
        assert self._loop is not None
        async for frame in socket:
            if self._asked > self._heard:
                self._answers = True
            self._heard = self._loop.time()
            for message in _messages(frame):
                try:
                    is_data = self._take(message)
                except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                    log.warning("%s stream: a message that cannot be read (%s)", self._name, type(error).__name__)
                    self.breaks += 1  # it may have reported something
                    is_data = True
                if is_data:
                    self.last_heard = self._clock.now()
                    self.messages += 1
            self._notify()

    async def _tend(self, socket: Any) -> None:
        """Sends what is wanted, asks where nothing comes, and gives up on what is dead."""
        assert self._loop is not None
        overdue: float | None = None
        while not self._closing.is_set():
            await self._woken_within(_TICK)
            await self._attend(socket)
            now = self._loop.time()
            if not self._data_is_overdue():
                overdue = None
            elif overdue is None:
                overdue = now  # a clock that has just jumped is ahead of what is still in the socket
            elif now - overdue >= _TICK:
                raise StreamError("no data for too long")
            if self._answers and self._asked > self._heard and now - self._heard > self._pace.dead_after:
                raise StreamError(f"no answer for {now - self._asked:.0f} s")
            if now - max(self._heard, self._asked) > self._pace.ask_after and (question := self._question()):
                self._asked = now
                await self._send(socket, question)


def _messages(frame: str | bytes) -> Sequence[Any]:
    """What a frame holds; text and binary frames alike hold JSON."""
    try:
        read = parsed(frame)
    except ValueError:
        return [None]
    return read if isinstance(read, list) else [read]

"""A trading process that is a process: forked, with its broker on the other end of a pipe, and really killed.

The parent is the world: it keeps the exchange, the clock and the disk, and starts a new process when one is gone.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from days import CALENDAR

from autotrader import points
from autotrader.market.broker import BrokerError

from .chaos import Chaos, World, projection
from .market import MINUTE, Market, at

FORK = multiprocessing.get_context("fork")
CALLS = ("account", "positions", "shortable", "submit", "cancel", "order", "open_orders", "executions", "updates")


class _Remote:
    """The broker as a process sees it: every call is a request to the parent."""

    name = "paper"

    def __init__(self, pipe: Connection) -> None:
        for call in CALLS:
            setattr(self, call, self._asks(pipe, call))

    @staticmethod
    def _asks(pipe: Connection, call: str) -> Callable[..., Any]:
        def ask(*args: Any) -> Any:
            pipe.send(("call", call, args))
            answered, value = pipe.recv()
            if not answered:
                raise value
            return value

        return ask


def _serve(pipe: Connection, world: World, kill_at: tuple[str, int] | None) -> None:
    """The process: recovers, then does what it is told until it is told no more, or killed at the named point."""
    seen = 0

    def hook(name: str) -> None:
        nonlocal seen
        if kill_at is not None and name == kill_at[0]:
            seen += 1
            if seen == kill_at[1]:
                os.kill(os.getpid(), signal.SIGKILL)

    points.set_hook(hook)
    world.broker = _Remote(pipe)  # type: ignore[assignment]
    world.start()
    pipe.send(("done", None))
    while True:
        command, now = pipe.recv()
        world.clock.advance_to(now)
        assert world.desk is not None
        assert world.day is not None
        if command == "tick":
            world.day.tick()
        elif command == "close":
            world._close()
        elif command == "settle":
            world._sync()
        pipe.send(("done", projection(world.desk.trader.book)))


class Parent:
    """Plays one session with a process that is killed, once at a named point or now and then at any time."""

    def __init__(self, world: World, kill_at: tuple[str, int] | None = None, at_random: float = 0.0) -> None:
        self.world = world
        self.kills = 0
        self._kill_at = kill_at
        self._at_random = at_random
        self._rng = random.Random(f"{world.chaos.seed}/processes")
        self._pipe: Connection | None = None
        self._process: Any = None
        world.broker.look = lambda request: None  # requests are checked in the runs without a pipe

    def play(self) -> Any:
        world = self.world
        session = world.sessions[0]
        world.clock.advance_to(at(session, 9, 25))
        world.market = market = Market(world.chaos.seed, session, world.exchange, world.clock, world.prices)
        try:
            for minute in market.minutes:
                world.clock.advance_to(max(world.clock.now(), market.opens + minute * MINUTE))
                self._do("tick")
                market.play(minute)
            world.clock.advance_to(CALENDAR.closes_at(session))
            self._do("tick")
            world.exchange.close_session(world.clock.now())
            self._do("close")
            return self._do("settle")
        finally:
            if self._process is not None:
                self._process.kill()
                self._process.join()

    def _do(self, command: str) -> Any:
        for _ in range(50):
            try:
                if self._process is None:
                    self._start()
                assert self._pipe is not None
                self._pipe.send((command, self.world.clock.now()))
                return self._answer(self._rng.random() < self._at_random)
            except (EOFError, BrokenPipeError, ConnectionResetError):
                self._process.join()
                code = self._process.exitcode
                assert code == -signal.SIGKILL, f"the process ended by itself, with {code}"
                self.kills += 1
                self._process = None
                self._kill_at = None
        raise AssertionError("the process does not get beyond this, however often it is started")

    def _start(self) -> None:
        mine, theirs = FORK.Pipe()
        self._process = FORK.Process(target=_serve, args=(theirs, self.world, self._kill_at), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe = mine
        self._answer(False)

    def _answer(self, kill: bool) -> Any:
        """Serves the process's requests until it is done. kill: at some moment of it, whatever it is doing then."""
        assert self._pipe is not None
        after = self._rng.randrange(4) if kill else -1
        while True:
            if after == 0:
                time.sleep(self._rng.random() / 500)
                self._process.kill()
            after -= 1
            what, *rest = self._pipe.recv()
            if what == "done":
                return rest[0]
            call, args = rest
            try:
                answer = (True, getattr(self.world.broker, call)(*args))
            except BrokerError as error:
                answer = (False, error)
            self._pipe.send(answer)


def uninterrupted(chaos: Chaos, folder: Any) -> Any:
    """What a session comes to when nobody is killed."""
    return Parent(World(chaos, folder)).play()



"""Waiting that moves a simulated market on: from this process, or over its control endpoints."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from autotrader.clock import VirtualClock
from autotrader.service.run import Service

PATIENCE = 5.0  # seconds of real time that frames may take
Json = dict[str, Any]


class Stepped:
    """Moves the market on when the service waits, once all that was sent has arrived.

    step, state: as POST /simulator/step and GET /simulator/state. on_step: told of every new time, before the service.
    """

    def __init__(
        self,
        step: Callable[[datetime], Json],
        state: Callable[[], Json],
        clock: VirtualClock,
        patience: float = PATIENCE,
    ) -> None:
        self.step = step
        self.state = state
        self.clock = clock
        self.patience = patience
        self.service: Service | None = None
        self.on_step: Callable[[datetime], None] = lambda _: None
        self._woken = threading.Event()

    def wake(self) -> None:
        self._woken.set()

    def seconds(self, seconds: float) -> None:
        """Retries within a request take no time."""

    def until(self, at: datetime) -> None:
        if self.service is not None:
            self.service.finish_scan()
        self._arrive(self.state())
        if self._woken.is_set():  # the market stands still as long as there is something to be done
            self._woken.clear()
            return
        to = max(at, self.clock.now())
        sent = self.step(to)
        self.clock.advance_to(to)
        self.on_step(to)
        self._arrive(sent)
        self._woken.clear()

    def _arrive(self, told: Json) -> None:
        """Waits until everything that was sent is there, and everything that is wanted is subscribed to."""
        end = time.monotonic() + self.patience
        while not self._has_arrived(told["sent"]) and time.monotonic() < end:
            time.sleep(0.0005)
            told = self.state()

    def _has_arrived(self, sent: Json) -> bool:
        if self.service is None:
            return True
        parts: Any = self.service._parts
        updates, bars = parts.broker.stream, parts.feed.stream
        reported, told = sent["trade_updates"], sent["bars"]
        if updates is not None and not (reported["connected"] and updates.messages >= reported["messages"]):
            return False
        if bars is None:
            return True
        subscribed = told["connected"] and set(told["symbols"]) == set(bars._wanted)
        return bool(subscribed and bars.messages >= told["messages"])

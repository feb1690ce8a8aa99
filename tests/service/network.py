"""A network between a service and its broker that can be taken away: refused, or a hole that swallows everything."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self

HOST = "127.0.0.1"
WAITING = 1  # connections that the machine takes for a program that does not: it answers no further ones


class Network:
    """What connects to `port` reaches another port of this machine, as long as the network is up."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._listening = self._listen(0)
        self.port: int = self._listening.getsockname()[1]
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._up = threading.Event()
        self._closing = False

    def __enter__(self) -> Self:
        self.turn("up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self.turn("refused")
        self._up.set()

    def turn(self, state: Literal["up", "refused", "gone"]) -> None:
        """up: everything passes, over new connections: those of before are dead. refused: connections are reset, and
        none is taken. gone: nobody answers any more."""
        self._up.clear()
        _end(self._listening)  # who waits in accept has to let go of it
        if state != "gone":
            self._reset()
        if state == "refused":
            return
        self._listening = self._listen(self.port)
        if state == "up":
            self._up.set()
            threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def _reset(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for each in (one for pair in pairs for one in pair):
            with suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
            _end(each)

    @staticmethod
    def _listen(port: int) -> socket.socket:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((HOST, port))
        made.listen(WAITING)
        return made

    def _accept(self, listening: socket.socket) -> None:
        while not self._closing:
            try:
                near = listening.accept()[0]
            except OSError:
                return
            far = socket.create_connection((HOST, self._to))
            for each in (near, far):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs.append((near, far))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 16):
                if self._up.is_set():  # else it is lost
                    other.sendall(data)
        if self._up.is_set():
            _end(one)
            _end(other)


def _end(which: socket.socket) -> None:
    with suppress(OSError):
        which.shutdown(socket.SHUT_RDWR)
    which.close()

"""What both websocket streams do: one connection each, keys, counts; frames are queued, then sent together."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgpack
from pydantic_core import from_json
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from autotrader.simulator.faults import Faults
from autotrader.simulator.wire import Json

Name = Literal["trade_updates", "bars"]

AUTHENTICATE_WITHIN = 10.0
SLOW_AFTER = 10.0  # seconds a client may not read before it is dropped

Drop = Callable[[WebSocket], None]  # cuts the connection without a word


@dataclass
class Link:
    """An authenticated connection. frames, messages: data sent on it so far; control messages do not count."""

    socket: WebSocket
    number: int
    frames: int = 0
    messages: int = 0
    mute: bool = False


@dataclass
class Stream(ABC):
    """What both streams share: the one connection, the queue, the counts."""

    name: Name
    keys: dict[str, str]
    faults: Faults
    drop: Drop
    connections: int = 0
    frames: int = 0
    messages: int = 0
    link: Link | None = None
    queue: list[Any] = field(default_factory=list)

    def state(self) -> Json:
        """frames and messages: of the current connection, as its client counts them; total_...: of all so far."""
        link = self.link
        return {
            "connected": link is not None,
            "listening": link is not None and self.wanted(),
            "connection": link.number if link else None,
            "frames": link.frames if link else 0,
            "messages": link.messages if link else 0,
            "total_frames": self.frames,
            "total_messages": self.messages,
        }

    @abstractmethod
    def wanted(self) -> bool:
        """Whether the connection has asked for anything."""

    @abstractmethod
    async def complain(self, socket: WebSocket, code: int) -> None:
        """Sends an error."""

    async def admit(self, socket: WebSocket) -> bool:
        """Whether the handshake is answered with a connection."""
        if self.faults.strike("refuse_stream", self.name, stream=self.name):
            await socket.send_denial_response(PlainTextResponse("too many connections", 429))
            return False
        await socket.accept()
        return True

    def knows(self, key: object, secret: object) -> bool:
        return isinstance(key, str) and key in self.keys and self.keys[key] == secret

    def full(self) -> bool:
        """Whether there is a connection already, or a fault says so."""
        return self.link is not None or self.faults.strike("full_stream", self.name, stream=self.name) is not None

    def attach(self, socket: WebSocket) -> Link:
        self.connections += 1
        self.queue.clear()
        self.link = Link(socket, self.connections)
        return self.link

    def detach(self, link: Link | None) -> None:
        if link is not None and self.link is link:
            self.link = None

    async def send(self, send: Callable[[], Awaitable[None]], messages: int) -> None:
        """Sends one frame with so many data messages to whoever is connected."""
        link = self.link
        if link is None:
            return
        if link.mute or self.faults.strike("mute_stream", self.name, stream=self.name):
            link.mute = True
            return
        wrong = self.faults.strike("stream_error", self.name, stream=self.name)
        if wrong is not None:
            self.detach(link)
            await self.complain(link.socket, wrong.code)
            await close(link.socket)
            return
        closing = self.faults.strike("close_stream", self.name, stream=self.name)
        if closing is not None:
            self.detach(link)
            if closing.code == 1006:
                self.drop(link.socket)
            else:
                await close(link.socket, closing.code)
            return
        try:
            await asyncio.wait_for(send(), SLOW_AFTER)
        except (RuntimeError, WebSocketDisconnect):  # it has just gone
            self.detach(link)
            return
        except TimeoutError:
            self.detach(link)
            self.drop(link.socket)
            return
        link.frames, link.messages = link.frames + 1, link.messages + messages
        self.frames, self.messages = self.frames + 1, self.messages + messages


async def close(socket: WebSocket, code: int = 1000) -> None:
    if socket.application_state is WebSocketState.CONNECTED:
        try:
            await socket.close(code)
        except (RuntimeError, WebSocketDisconnect):  # the client was faster
            return


def wants_msgpack(socket: WebSocket) -> bool:
    """Whether the client asked for it when it connected."""
    return "msgpack" in socket.headers.get("content-type", "")


async def read_message(socket: WebSocket, packed: bool) -> Json | None:
    """The next message; None where it is not an object. WebSocketDisconnect."""
    raw = await _read(socket)
    try:
        found = msgpack.unpackb(raw) if packed and isinstance(raw, bytes) else from_json(raw)
    except (ValueError, msgpack.exceptions.UnpackException):
        return None
    return found if isinstance(found, dict) else None


async def _read(socket: WebSocket) -> str | bytes:
    """The next message. WebSocketDisconnect."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006))
    text: str | bytes | None = message.get("text")
    return text if text is not None else message.get("bytes") or b""

"""The two websocket streams: trade updates, and bars. One connection each; frames are queued, then sent together."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import msgpack
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from autotrader.market.playback import MinuteBar
from autotrader.simulator.data import Plan, bar_json
from autotrader.simulator.faults import Faults
from autotrader.simulator.wire import Json, parse_time, stamp
from autotrader.simulator.world import MinuteEnded

Name = Literal["trade_updates", "bars"]

AUTHENTICATE_WITHIN = 10.0
SLOW_AFTER = 10.0  # seconds a client may not read before it is dropped
CHANNELS = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds", "corrections", "cancelErrors")
SYMBOL_LIMIT = 30  # of the basic plan
LATE = timedelta(seconds=30)
ERRORS = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    409: "insufficient subscription",
    410: "invalid subscribe action",
}

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
class Stream:
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

    def wanted(self) -> bool:
        """Whether the connection has asked for anything."""
        raise NotImplementedError

    async def admit(self, socket: WebSocket) -> bool:
        """Whether the handshake is answered with a connection."""
        if self.faults.strike("refuse_stream", self.name, stream=self.name):
            await socket.send_denial_response(PlainTextResponse("too many connections", 429))
            return False
        await socket.accept()
        return True

    def knows(self, key: object, secret: object) -> bool:
        return isinstance(key, str) and self.keys.get(key) == secret

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


# --- trade updates ------------------------------------------------------------------------------------------------


@dataclass
class TradeStream(Stream):
    """/stream: binary frames with JSON text, one update each."""

    _held_back: Json | None = None
    _listening: bool = False

    def wanted(self) -> bool:
        return self._listening

    async def serve(self, socket: WebSocket) -> None:
        if not await self.admit(socket):
            return
        link: Link | None = None
        try:
            if not await self._authenticate(socket):
                return
            if self.full():
                await self._say(socket, {"action": "error", "data": {"error_message": ERRORS[406]}})
                return
            link = self.attach(socket)
            self._listening = False
            while True:
                request = await _read_json(socket)
                if request is None or request.get("action") != "listen":
                    await self._say(socket, {"action": "error", "data": {"error_message": "invalid action"}})
                    continue
                streams = [s for s in (request.get("data") or {}).get("streams", []) if s == "trade_updates"]
                await self._say(socket, {"stream": "listening", "data": {"streams": streams}})
                self._listening = bool(streams)
        except WebSocketDisconnect:
            return
        finally:
            self.detach(link)
            await close(socket)

    def put(self, update: Json) -> None:
        """An update, with the faults that strike it."""
        self.queue += self._distorted(update)

    async def flush(self) -> None:
        """Sends what was put."""
        messages, self.queue = self.queue, []
        for message in messages:
            link = self.link
            if link is not None and self._listening:
                await self.send(lambda m=message, s=link.socket: self._say(s, m), 1)  # type: ignore[misc]

    def _distorted(self, update: Json) -> list[Json]:
        about, of = update["order"]["client_order_id"], {"event": update["event"], "symbol": update["order"]["symbol"]}
        message: Json = {"stream": "trade_updates", "data": update}
        if self.faults.strike("drop_update", about, **of):
            return []
        if self.faults.strike("null_update", about, **of):
            message = {"stream": "trade_updates", "data": None}
        before, self._held_back = self._held_back, None
        if before is None and self.faults.strike("reorder_update", about, **of):
            self._held_back = message
            return []
        told = [message]
        if self.faults.strike("duplicate_update", about, **of):
            told.append(message)
        return told if before is None else [*told, before]

    async def _authenticate(self, socket: WebSocket) -> bool:
        try:
            request = await asyncio.wait_for(_read_json(socket), AUTHENTICATE_WITHIN)
        except TimeoutError:
            await self._say(socket, {"action": "error", "data": {"error_message": ERRORS[404]}})
            return False
        request = request or {}
        action, data = request.get("action"), request.get("data") or {}
        key, secret = data.get("key_id", request.get("key")), data.get("secret_key", request.get("secret"))
        allowed = action in ("authenticate", "auth") and self.knows(key, secret)
        status = "authorized" if allowed else "unauthorized"
        await self._say(socket, {"stream": "authorization", "data": {"status": status, "action": action}})
        return allowed

    async def _say(self, socket: WebSocket, message: Json) -> None:
        await socket.send_bytes(json.dumps(message).encode())


async def _read_json(socket: WebSocket) -> Json | None:
    """The next message; None where it is not a JSON object. WebSocketDisconnect."""
    text = await _read(socket)
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


async def _read(socket: WebSocket) -> str | bytes:
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006))
    text: str | bytes | None = message.get("text")
    return text if text is not None else message.get("bytes") or b""


# --- bars ---------------------------------------------------------------------------------------------------------


@dataclass
class BarStream(Stream):
    """/v2/iex and /v2/sip: arrays of messages, msgpack where the client's Content-Type says so, else JSON."""

    plan: Plan = "basic"
    _later: list[tuple[datetime, list[Json]]] = field(default_factory=list)
    _channels: dict[str, list[str]] = field(default_factory=dict)
    _msgpack: bool = False

    def wanted(self) -> bool:
        return any(self._channels.values())

    def state(self) -> Json:
        return {**super().state(), "symbols": sorted(self.symbols())}

    def symbols(self) -> set[str]:
        """Those whose bars somebody wants."""
        if self.link is None:
            return set()
        return {symbol for name in ("bars", "updatedBars", "dailyBars") for symbol in self._channels.get(name, ())}

    async def serve(self, socket: WebSocket, feed: str) -> None:
        if not await self.admit(socket):
            return
        packed = "msgpack" in socket.headers.get("content-type", "")
        link: Link | None = None
        try:
            await _tell(socket, packed, [{"T": "success", "msg": "connected"}])
            if not await self._authenticate(socket, packed):
                return
            for refused, code in ((feed == "sip" and self.plan == "basic", 409), (self.full(), 406)):
                if refused:
                    await _tell(socket, packed, [error(code)])
                    return
            link = self.attach(socket)
            self._msgpack, self._channels = packed, {name: [] for name in CHANNELS}
            await _tell(socket, packed, [{"T": "success", "msg": "authenticated"}])
            while True:
                await _tell(socket, packed, [self._handle(await _read_message(socket, packed))])
        except WebSocketDisconnect:
            return
        finally:
            self.detach(link)
            await close(socket)

    async def _authenticate(self, socket: WebSocket, packed: bool) -> bool:
        try:
            request = await asyncio.wait_for(_read_message(socket, packed), AUTHENTICATE_WITHIN)
        except TimeoutError:
            await _tell(socket, packed, [error(404)])
            return False
        if request is None or request.get("action") != "auth":
            await _tell(socket, packed, [error(400 if request is None else 401)])
            return False
        if not self.knows(request.get("key"), request.get("secret")):
            await _tell(socket, packed, [error(402)])
            return False
        return True

    def _handle(self, request: Json | None) -> Json:
        """The answer to a request after authentication."""
        if request is None:
            return error(400)
        action = request.get("action")
        if action == "auth":
            return error(403)
        if action not in ("subscribe", "unsubscribe"):
            return error(400)
        asked = {name: request[name] for name in CHANNELS if name in request}
        if not asked or not all(isinstance(symbols, list) for symbols in asked.values()):
            return error(410)
        channels = {name: list(symbols) for name, symbols in self._channels.items()}
        for name, symbols in asked.items():
            if action == "subscribe":
                channels[name] = list(dict.fromkeys([*channels[name], *symbols]))
            else:
                gone = set(channels[name]) if "*" in symbols else set(symbols)
                channels[name] = [symbol for symbol in channels[name] if symbol not in gone]
        if self.plan == "basic" and len({s for symbols in channels.values() for s in symbols}) > SYMBOL_LIMIT:
            return error(405)
        self._channels = channels
        return {"T": "subscription", **channels}

    def put_minute(self, ended: MinuteEnded) -> None:
        """The bars of a minute, to whom they interest."""
        wanted, start = set(self._channels.get("bars", ())), stamp(ended.start)
        messages: list[Json] = []
        for symbol, bar in ended.bars:
            if symbol not in wanted and "*" not in wanted:
                continue
            about = f"{symbol}/{ended.start.isoformat()}"
            if self.faults.strike("missing_bar", about, symbol=symbol):
                continue
            message = {"T": "b", "S": symbol, **bar_json(start, bar)}
            delayed = self.faults.strike("delayed_bar", about, symbol=symbol)
            if delayed is not None:
                self._later.append((ended.start + timedelta(minutes=1, seconds=delayed.seconds), [message]))
                continue
            if self.faults.strike("updated_bar", about, symbol=symbol):
                if symbol in self._channels.get("updatedBars", ()):
                    self._later.append((ended.start + timedelta(minutes=1) + LATE, [{**message, "T": "u"}]))
                message = {"T": "b", "S": symbol, **bar_json(start, _without_last_trades(bar))}
            messages.append(message)
        if messages:
            self.queue.append(messages)

    def put(self, channel: str, messages: Iterable[Json]) -> None:
        """Other messages, each with its symbol in S."""
        wanted = set(self._channels.get(channel, ()))
        found = [message for message in messages if message["S"] in wanted or "*" in wanted]
        if found:
            self.queue.append(found)

    async def flush(self, now: datetime) -> None:
        """Sends what was put and what is due."""
        due = [item for item in self._later if item[0] <= now]
        self._later = [item for item in self._later if item[0] > now]
        batches, self.queue = [*self.queue, *(messages for _, messages in due)], []
        for messages in batches:
            link = self.link
            if link is not None:
                await self.send(
                    lambda m=messages, s=link.socket: _tell(s, self._msgpack, m),  # type: ignore[misc]
                    len(messages),
                )


def error(code: int) -> Json:
    return {"T": "error", "code": code, "msg": ERRORS[code]}


def _without_last_trades(bar: MinuteBar) -> MinuteBar:
    """As if what went beyond open and close had come too late."""
    return bar._replace(
        high=max(bar.open, bar.close), low=min(bar.open, bar.close), volume=float(int(bar.volume * 0.9) or bar.volume)
    )


async def _tell(socket: WebSocket, packed: bool, messages: list[Json]) -> None:
    if not packed:
        await socket.send_text(json.dumps(messages))
        return
    timed = [{**m, "t": parse_time(m["t"])} if "t" in m else m for m in messages]
    await socket.send_bytes(msgpack.packb(timed, datetime=True))


async def _read_message(socket: WebSocket, packed: bool) -> Json | None:
    """The next message; None where it is not one. WebSocketDisconnect."""
    raw = await _read(socket)
    try:
        found = msgpack.unpackb(raw) if packed and isinstance(raw, bytes) else json.loads(raw)
    except (ValueError, msgpack.exceptions.UnpackException):
        return None
    return found if isinstance(found, dict) else None

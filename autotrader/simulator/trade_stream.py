"""The stream of trade updates: binary frames, one update each, with JSON text or, where asked for, msgpack."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import msgpack
from starlette.websockets import WebSocket, WebSocketDisconnect

from autotrader.simulator.faults import STREAM_ERRORS
from autotrader.simulator.streams import AUTHENTICATE_WITHIN, Link, Stream, close, read_message, wants_msgpack
from autotrader.simulator.wire import Json


@dataclass
class TradeStream(Stream):
    """/stream."""

    _held_back: Json | None = None
    _listening: bool = False

    def wanted(self) -> bool:
        return self._listening

    async def complain(self, socket: WebSocket, code: int) -> None:
        await self._say(socket, {"action": "error", "data": {"error_message": STREAM_ERRORS[code]}})

    async def serve(self, socket: WebSocket) -> None:
        if not await self.admit(socket):
            return
        link: Link | None = None
        try:
            if not await self._authenticate(socket):
                return
            if self.full():
                await self.complain(socket, 406)
                return
            link = self.attach(socket)
            self._listening = False
            while True:
                request = await read_message(socket, wants_msgpack(socket))
                said = self._handle(request)
                if not link.mute:
                    await self._say(socket, said)
        except WebSocketDisconnect:
            return
        finally:
            self.detach(link)
            await close(socket)

    def _handle(self, request: Json | None) -> Json:
        """The answer to a request after authentication."""
        data = None if request is None or request.get("action") != "listen" else request.get("data")
        streams = data.get("streams") if isinstance(data, dict) else None
        if not isinstance(streams, list):
            return {"action": "error", "data": {"error_message": "invalid action"}}
        known = [stream for stream in streams if stream == "trade_updates"]
        self._listening = bool(known)
        return {"stream": "listening", "data": {"streams": known}}

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
            request = await asyncio.wait_for(read_message(socket, wants_msgpack(socket)), AUTHENTICATE_WITHIN)
        except TimeoutError:
            await self.complain(socket, 404)
            return False
        request = request or {}
        action, data = request.get("action"), request.get("data")
        if not isinstance(data, dict):
            data = {}
        key, secret = data.get("key_id", request.get("key")), data.get("secret_key", request.get("secret"))
        allowed = action in ("authenticate", "auth") and self.knows(key, secret)
        status = "authorized" if allowed else "unauthorized"
        await self._say(socket, {"stream": "authorization", "data": {"status": status, "action": action}})
        return allowed

    async def _say(self, socket: WebSocket, message: Json) -> None:
        packed = wants_msgpack(socket)
        await socket.send_bytes(msgpack.packb(message) if packed else json.dumps(message).encode())

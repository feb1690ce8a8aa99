"""The stream of bars: arrays of messages, msgpack where the client's Content-Type says so, else JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgpack
from starlette.websockets import WebSocket, WebSocketDisconnect

from autotrader.market.playback import MinuteBar
from autotrader.simulator.data import Plan, bar_json
from autotrader.simulator.faults import STREAM_ERRORS
from autotrader.simulator.streams import AUTHENTICATE_WITHIN, Link, Stream, close, read_message, wants_msgpack
from autotrader.simulator.wire import Json, parse_time, stamp
from autotrader.simulator.world import MinuteEnded

CHANNELS = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds", "corrections", "cancelErrors")
OF_MINUTES = ("trades", "quotes", "bars", "updatedBars", "dailyBars")
SYMBOL_LIMIT = 30  # of the basic plan
LATE = timedelta(seconds=30)


@dataclass
class BarStream(Stream):
    """/v2/iex and /v2/sip."""

    plan: Plan = "basic"
    _later: list[tuple[datetime, list[Json]]] = field(default_factory=list)
    _channels: dict[str, list[str]] = field(default_factory=dict)
    _msgpack: bool = False

    def wanted(self) -> bool:
        return any(self._channels.values())

    def state(self) -> Json:
        return {**super().state(), "symbols": sorted(self.symbols())}

    def symbols(self) -> set[str]:
        """Those whose minutes somebody wants."""
        return set().union(*(self.asked(name) for name in OF_MINUTES))

    def asked(self, channel: str) -> Sequence[str]:
        """The symbols that are subscribed to on a channel; "*" is every one."""
        return () if self.link is None else self._channels.get(channel, ())

    async def complain(self, socket: WebSocket, code: int) -> None:
        await _tell(socket, self._msgpack, [error(code)])

    async def serve(self, socket: WebSocket, feed: str) -> None:
        if not await self.admit(socket):
            return
        packed = wants_msgpack(socket)
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
                said = self._handle(await read_message(socket, packed))
                if not link.mute:
                    await _tell(socket, packed, [said])
        except WebSocketDisconnect:
            return
        finally:
            self.detach(link)
            await close(socket)

    async def _authenticate(self, socket: WebSocket, packed: bool) -> bool:
        try:
            request = await asyncio.wait_for(read_message(socket, packed), AUTHENTICATE_WITHIN)
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
        if not asked or not all(_are_symbols(symbols) for symbols in asked.values()):
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
    return {"T": "error", "code": code, "msg": STREAM_ERRORS[code]}


def _are_symbols(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(symbol, str) for symbol in value)


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

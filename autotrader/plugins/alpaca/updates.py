"""The trading stream: what becomes of orders, as the broker reports it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autotrader.clock import Clock
from autotrader.plugins.alpaca.stream import USUAL, Pace, Stream, StreamError
from autotrader.plugins.alpaca.wire import parsed
from autotrader.secrets import Credentials

_LISTEN = {"action": "listen", "data": {"streams": ["trade_updates"]}}


class TradeUpdates(Stream):
    """Queues the data of every trade update. There is no replay: what was sent while it was not live is missed."""

    def __init__(
        self, url: str, credentials: Credentials, clock: Clock, notify: Callable[[], None] | None, pace: Pace = USUAL
    ) -> None:
        super().__init__("trading", url, clock, notify, pace)
        self._credentials = credentials

    async def _login(self, socket: Any) -> None:
        keys = {"key_id": self._credentials.key_id, "secret_key": self._credentials.secret}
        await self._send(socket, {"action": "authenticate", "data": keys})
        answer = await self._answer(socket, "authorization")
        if answer.get("status") != "authorized":
            raise StreamError(f"the broker does not accept the keys ({answer.get('status', 'no status')})")
        await self._send(socket, _LISTEN)
        answer = await self._answer(socket, "listening")
        if "trade_updates" not in (answer.get("streams") or ()):
            raise StreamError("the broker does not give trade updates")

    async def _answer(self, socket: Any, stream: str) -> dict[str, Any]:
        """The data of the next frame of this stream."""
        while True:
            message = parsed(await socket.recv())
            if not isinstance(message, dict):
                continue
            data = message.get("data")
            found = data if isinstance(data, dict) else {}
            if "error_message" in found:
                raise StreamError(str(found["error_message"]))
            if message.get("stream") == stream:
                return found
            self._take(message)  # a report between the two answers is a report all the same

    def _take(self, message: Any) -> bool:
        if not isinstance(message, dict):
            raise TypeError("no object")
        data = message.get("data")
        if isinstance(data, dict) and "error_message" in data:
            raise StreamError(str(data["error_message"]))
        if message.get("stream") != "trade_updates":
            return False
        if not isinstance(data, dict):  # null has been seen
            raise TypeError("a report without data")
        self._queue.append(data)
        return True

    def _question(self) -> Any:
        return _LISTEN

    async def _attend(self, socket: Any) -> None:
        """Nothing changes what is listened to."""

    def _data_is_overdue(self) -> bool:
        """Never: for hours nothing may become of any order. The broker is asked about them instead."""
        return False

"""The market-data stream: minute bars as they end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from autotrader.clock import NEW_YORK, Calendar, Clock
from autotrader.market.feed import StreamedBar
from autotrader.plugins.alpaca.stream import USUAL, Pace, Stream, StreamError
from autotrader.plugins.alpaca.wire import parsed
from autotrader.secrets import Credentials

log = logging.getLogger("autotrader.alpaca")

_CONTROL = frozenset({"success", "subscription", "error"})
_SYMBOL_LIMIT = 405
_HARMLESS = frozenset({400, 403, 410})  # they refuse one message, not the connection


class MinuteBars(Stream):
    """Queues the minute bars of the symbols that are watched. JSON, which the server sends to who asks for no other.

    most: symbols that the plan lets a connection have. silence: seconds of a session without any bar that are too many.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        clock: Clock,
        calendar: Calendar,
        notify: Callable[[], None] | None,
        most: int,
        silence: float,
        pace: Pace = USUAL,
    ) -> None:
        super().__init__("data", url, clock, notify, pace)
        self._credentials = credentials
        self._calendar = calendar
        self._most = most
        self._silence = timedelta(seconds=silence)
        self._wanted: Sequence[str] = ()
        self._sent: frozenset[str] = frozenset()
        self._since = clock.now()  # when the server was last asked for other symbols

    def watch(self, symbols: Collection[str]) -> None:
        """Streams these symbols from now on, and no others."""
        wanted = tuple(dict.fromkeys(symbols))
        if len(wanted) > self._most:
            log.warning("%d symbols of %d are not streamed, the plan allows %d; their bars have to be asked for: %s",
                        len(wanted) - self._most, len(wanted), self._most, ", ".join(wanted[self._most:]))  # fmt: skip
        self._wanted = wanted[: self._most]
        self._wake()

    async def _login(self, socket: Any) -> None:
        self._sent = frozenset()
        await self._expect(socket, "connected")
        keys = {"key": self._credentials.key_id, "secret": self._credentials.secret}
        await self._send(socket, {"action": "auth", **keys})
        await self._expect(socket, "authenticated")
        await self._attend(socket)

    async def _expect(self, socket: Any, word: str) -> None:
        message = parsed(await socket.recv())
        for item in message if isinstance(message, list) else [message]:
            if item.get("T") == "success" and item.get("msg") == word:
                return
            if item.get("T") == "error":
                raise StreamError(f"{item.get('msg')} ({item.get('code')})")
        raise StreamError(f'the server did not say "{word}"')

    async def _attend(self, socket: Any) -> None:
        wanted = frozenset(self._wanted)
        if wanted == self._sent:
            return
        for action, symbols in (("unsubscribe", self._sent - wanted), ("subscribe", wanted - self._sent)):
            if symbols:
                await self._send(socket, {"action": action, "bars": sorted(symbols)})
        self._sent, self._since = wanted, self._clock.now()

    def _take(self, message: Any) -> bool:
        kind = message["T"]
        if kind == "b":
            start = datetime.fromisoformat(message["t"]).astimezone(UTC)
            open_, high, low, close = (float(message[name]) for name in ("o", "h", "l", "c"))
            volume = float(message.get("v") or 0)
            self._queue.append(StreamedBar(message["S"], start, open_, high, low, close, volume))
            return True
        if kind == "error":
            self._refused(message)
        return kind not in _CONTROL

    def _refused(self, message: Any) -> None:
        code, words = message.get("code"), f"{message.get('msg')} ({message.get('code')})"
        if code == _SYMBOL_LIMIT:  # nothing at all is streamed then, though the connection looks well
            self._most = max(1, self._most // 2)
            self._wanted = self._wanted[: self._most]
            raise StreamError(f"{words}: from now on {self._most} symbols at most")
        if code not in _HARMLESS:
            raise StreamError(words)
        log.error("data stream: %s", words)

    def _question(self) -> Any:
        return {"action": "subscribe", "bars": sorted(self._sent)} if self._sent else None

    def _data_is_overdue(self) -> bool:
        if not self._sent:
            return False
        now = self._clock.now()
        day = now.astimezone(NEW_YORK).date()
        if not self._calendar.is_session(day) or now >= self._calendar.closes_at(day):
            return False
        heard = max(filter(None, (self.last_heard, self._since, self._calendar.opens_at(day))))
        return now - heard > self._silence

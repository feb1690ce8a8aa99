"""What stands before every request: the keys, the rate limit, and the faults of the transport."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autotrader.simulator.faults import Fault, Faults
from autotrader.simulator.wire import answer, uuid_of

HTML = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center></body></html>"
PAGES = {"502": "502 Bad Gateway", "503": "503 Service Temporarily Unavailable", "504": "504 Gateway Time-out"}

BEFORE = ("429", "500_before", "502_before", "503_before", "504_before", "302", "hang_before", "drop_before")
AFTER = ("500_after", "504_after", "hang_after", "drop_after", "truncated", "not_json")
EDITS = ("field_removed", "field_set")

Cut = Callable[[Scope, bool], None]  # ends the connection; True: after what was written has gone out


@dataclass
class RateLimit:
    """At most `limit` requests in any minute; None: as many as anybody likes. By the real clock."""

    limit: int | None
    clock: Callable[[], datetime]
    _taken: deque[float] = field(default_factory=deque)

    def take(self) -> tuple[bool, Mapping[str, str]]:
        """Whether one more is allowed, and the headers that say how many are left."""
        if self.limit is None:
            return True, {}
        now = self.clock().timestamp()
        while self._taken and self._taken[0] <= now - 60:
            self._taken.popleft()
        allowed = len(self._taken) < self.limit
        if allowed:
            self._taken.append(now)
        oldest = self._taken[0] if self._taken else now
        return allowed, {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.limit - len(self._taken)),
            "X-RateLimit-Reset": str(int(oldest + 61)),
        }


class Gate:
    """Wraps the API; the control endpoints are behind no gate."""

    def __init__(
        self, app: ASGIApp, keys: Mapping[str, str], faults: Faults, cut: Cut, limits: Mapping[str, RateLimit]
    ) -> None:
        self._app = app
        self._keys = keys
        self._faults = faults
        self._cut = cut
        self._limits = limits
        self._answered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if scope["type"] != "http" or path.startswith("/simulator") or path in ("/docs", "/openapi.json"):
            await self._app(scope, receive, send)
            return
        request = f"{scope['method']} {path}"
        slow = self._faults.strike("slow", request, request=request)
        if slow is not None:
            await asyncio.sleep(slow.seconds)
        for kind in BEFORE:
            fault = self._faults.strike(kind, request, request=request)
            if fault is not None:
                await self._fail(fault, scope, receive, send)
                return
        data = path.startswith(("/v2/stocks", "/v1"))
        allowed, headers = self._limits["data" if data else "trading"].take()
        if not self._known(Headers(scope=scope)):
            refusal = answer({"message": "forbidden."}, 403) if data else answer({"message": "unauthorized."}, 401)
            await refusal(scope, receive, send)
        elif not allowed:
            body = {"code": 42910000, "message": "rate limit exceeded"}
            await _with(answer(body, 429), headers)(scope, receive, send)
        else:
            await self._answer(request, scope, receive, send, headers)

    def _known(self, headers: Headers) -> bool:
        key = headers.get("apca-api-key-id", "")
        return key in self._keys and self._keys[key] == headers.get("apca-api-secret-key")

    async def _answer(
        self, request: str, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str]
    ) -> None:
        """Carries the request out, then answers, or does not."""
        fault = next((f for kind in AFTER if (f := self._faults.strike(kind, request, request=request))), None)
        edits = [f for kind in EDITS if (f := self._faults.strike(kind, request, request=request))]
        kept = _Kept()
        await self._app(scope, receive, kept)
        if fault is not None:
            await self._fail(fault, scope, receive, send, kept)
            return
        body = _edited(kept.body, edits) if edits else kept.body
        self._answered += 1
        named = {**headers, "X-Request-ID": uuid_of("request", self._answered)}
        extra = [(name.lower().encode(), value.encode()) for name, value in named.items()]
        rest = [(name, value) for name, value in kept.headers if name != b"content-length"]
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": kept.status, "headers": [*rest, length, *extra]})
        await send({"type": "http.response.body", "body": body})

    async def _fail(self, fault: Fault, scope: Scope, receive: Receive, send: Send, kept: _Kept | None = None) -> None:
        kind = fault.kind
        name = kind.split("_")[0]
        if name == "hang":
            await asyncio.sleep(fault.seconds)
        if name in ("hang", "drop"):
            self._cut(scope, False)
        elif name == "truncated" and kept is not None:
            start = {"type": "http.response.start", "status": kept.status, "headers": kept.headers}
            await send(start)
            await send({"type": "http.response.body", "body": kept.body[: len(kept.body) // 2], "more_body": True})
            self._cut(scope, True)
        else:
            await _page(name)(scope, receive, send)


def _page(name: str) -> Response:
    if name == "429":
        return answer({"code": 42910000, "message": "too many requests."}, 429)
    if name == "500":
        return answer({"code": 50010000, "message": "internal server error occurred"}, 500)
    if name == "302":
        return HTMLResponse(HTML.format("302 Found"), 302, {"location": "/nowhere"})
    if name in PAGES:
        return HTMLResponse(HTML.format(PAGES[name]), int(name))
    return HTMLResponse(HTML.format("Alpaca"), 200)


class _Kept:
    """Takes the application's answer instead of the client."""

    def __init__(self) -> None:
        self.status = 500
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        else:
            self.body += message.get("body", b"")


def _with(response: Response, headers: Mapping[str, str]) -> Response:
    response.headers.update(headers)
    return response


def _edited(body: bytes, edits: Sequence[Fault]) -> bytes:
    found = json.loads(body or b"null")
    for fault in edits:
        _edit(found, fault)
    return json.dumps(found).encode() if body else body


def _edit(value: Any, fault: Fault) -> None:
    """Every object that has the field, at any depth."""
    if isinstance(value, list):
        for item in value:
            _edit(item, fault)
    elif isinstance(value, dict):
        for item in value.values():
            _edit(item, fault)
        if fault.field in value:
            if fault.kind == "field_removed":
                del value[fault.field]
            else:
                value[fault.field] = fault.value

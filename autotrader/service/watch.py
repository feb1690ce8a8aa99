"""What others see of a running service: /health and /status on 127.0.0.1, from what the loop last published.

The server has a thread of its own and knows nothing of the book: the loop hands over a finished value and goes on.
It brings fastapi and uvicorn along, half a second's import: who does not serve does not import it.
"""

from __future__ import annotations

import hmac
import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from autotrader.clock import Clock
from autotrader.errors import AutotraderError

log = logging.getLogger("autotrader.watch")

HOST = "127.0.0.1"
_TOKEN = "token"  # noqa: S105  # the file's name
_STOP_SECONDS = 5.0


class WatchError(AutotraderError):
    """The port cannot be had; one sentence that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the loop published. beat: when; status: JSON as it stands, which nobody changes any more."""

    beat: datetime
    status: Mapping[str, Any]


def token(data: Path) -> str:
    """The token that /health and /status ask for; made where there is none, for the owner's eyes only."""
    path = data / _TOKEN
    data.mkdir(parents=True, exist_ok=True)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        found = path.read_text(encoding="ascii", errors="replace").strip()
        if len(found) < 16:
            raise WatchError(f"{path} holds no token; remove it, and the next start makes one") from None
        return found
    made = secrets.token_urlsafe(32)
    try:
        with os.fdopen(file, "w", encoding="ascii") as out:
            out.write(f"{made}\n")
    except OSError:
        path.unlink()  # the next start makes one
        raise
    return made


class Watch:
    """The server. `publish` is the loop's; everything else happens in the server's thread."""

    def __init__(self, port: int, secret: str, clock: Clock, stale_seconds: float) -> None:
        """port: 0 takes any free one. WatchError where it is taken."""
        self._snapshot: Snapshot | None = None
        self._socket = _listen(port)
        self.port: int = self._socket.getsockname()[1]
        app = application(lambda: self._snapshot, self.port, secret, clock, stale_seconds)
        self._server, self._thread = _serve(app, self._socket)

    def publish(self, snapshot: Snapshot) -> None:
        """Hands over what is shown from now on."""
        self._snapshot = snapshot

    def close(self) -> None:
        """Ends the server."""
        self._server.should_exit = True
        self._thread.join(_STOP_SECONDS)
        self._socket.close()


def application(
    latest: Callable[[], Snapshot | None], port: int, secret: str, clock: Clock, stale_seconds: float
) -> FastAPI:
    """GET /health: 200 while the loop's last beat is young enough, else 503. GET /status: what it last published.

    Both ask for `Authorization: Bearer TOKEN`, answer to this machine's names only, and to no web page.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    hosts = {f"{name}:{port}" for name in (HOST, "localhost")}

    def refusal(request: Request) -> JSONResponse | None:
        # a page in a browser on this machine may send requests here; its Host or Origin gives it away
        if request.headers.get("host", "") not in hosts or "origin" in request.headers:
            return JSONResponse({"error": "not for this host or origin"}, 403)
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), secret.encode()):
            return JSONResponse({"error": "the token in data/token is asked for"}, 401)
        return None

    @app.get("/health")
    def health(request: Request) -> JSONResponse:
        if (refused := refusal(request)) is not None:
            return refused
        snapshot = latest()
        age = None if snapshot is None else (clock.now() - snapshot.beat).total_seconds()
        alive = age is not None and age <= stale_seconds
        return JSONResponse({"alive": alive, "beat_age_seconds": age}, 200 if alive else 503)

    @app.get("/status")
    def status(request: Request) -> JSONResponse:
        if (refused := refusal(request)) is not None:
            return refused
        snapshot = latest()
        if snapshot is None:
            return JSONResponse({"error": "the service has just started"}, 503)
        return JSONResponse({"beat": snapshot.beat.isoformat(), **snapshot.status})

    return app


def _listen(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((HOST, port))
        made.listen()  # from now on who asks waits, also before the server's thread has begun
    except OSError as error:
        made.close()
        raise WatchError(f"port {port} of {HOST} cannot be had: {error.strerror}; give watch.port another") from error
    return made


def _serve(app: FastAPI, at: socket.socket) -> tuple[uvicorn.Server, threading.Thread]:
    config = uvicorn.Config(
        app, log_config=None, access_log=False, log_level="warning", lifespan="off", server_header=False,
        timeout_keep_alive=5, limit_concurrency=20,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [at]}, name="watch", daemon=True)
    thread.start()
    return server, thread

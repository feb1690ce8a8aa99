"""A server that gives the answers it was told to give: for what no well-meaning server does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = Callable[["Handler"], None]


@dataclass(frozen=True)
class Asked:
    """A request as it arrived. query: the last value of each name."""

    method: str
    path: str
    query: dict[str, str]
    body: Any


@dataclass
class Script:
    """The answers still to come, in order; the last one is given again and again. asked: what has arrived."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def then(self, *answers: Answer) -> Script:
        self.answers.extend(answers)
        return self

    def paths(self) -> list[str]:
        return [f"{item.method} {item.path}" for item in self.asked]


class Handler(BaseHTTPRequestHandler):
    """Takes what arrives and gives the next answer."""

    protocol_version = "HTTP/1.1"
    script: Script

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        script = self.script
        script.asked.append(Asked(self.command, parts.path, query, body))
        answer = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
        answer(self)

    do_GET = do_POST = do_DELETE = _handle  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def says(status: int, body: Any, **headers: str) -> Answer:
    """A whole answer; a body that is no text is JSON."""
    text = body if isinstance(body, str) else json.dumps(body)

    def answer(handler: Handler) -> None:
        data = text.encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def breaks_off(handler: Handler) -> None:
    """Half of what was announced, then nothing more."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"id": "')
    handler.close_connection = True


def hangs_up(handler: Handler) -> None:
    """No answer at all."""
    handler.close_connection = True


def is_silent(handler: Handler) -> None:
    """Nothing for longer than anybody waits."""
    time.sleep(5.0)
    handler.close_connection = True


def drips(handler: Handler) -> None:
    """A byte now and then: no single wait is long."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:  # the client has had enough
        handler.close_connection = True


def drips_its_head(handler: Handler) -> None:
    """The same before there is any body: a status, and a header that never ends."""
    try:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        for _ in range(100):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        pass
    handler.close_connection = True


@contextmanager
def scripted(*answers: Answer) -> Iterator[Script]:
    script = Script(answers=list(answers))

    class Mine(Handler):
        pass

    Mine.script = script
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    server.daemon_threads = True
    script.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()

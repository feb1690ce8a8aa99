"""Whether a service runs, and whether it is alive."""

from __future__ import annotations

import http.server
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autotrader.service.presence import Heartbeat, Running, ServiceLock, ServiceRunning, heartbeat_age, running

AT = datetime(2024, 7, 1, 14, 0, tzinfo=UTC)

HOLDER = """
import sys, time
from datetime import datetime, UTC
from pathlib import Path
from autotrader.service.presence import ServiceLock
lock = ServiceLock(Path(sys.argv[1]))
lock.take(datetime(2024, 7, 1, 14, tzinfo=UTC))
print("held", flush=True)
time.sleep(60)
"""


def test_only_one_service_holds_the_lock_and_it_is_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert running(data) is None
    lock = ServiceLock(data)
    lock.take(AT)
    assert running(data) == Running(os.getpid(), AT)
    with pytest.raises(ServiceRunning, match=f"process {os.getpid()}"):
        ServiceLock(data).take(AT)
    lock.release()
    assert running(data) is None
    ServiceLock(data).take(AT)


def test_a_killed_service_does_not_hold_it_any_more(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert running(tmp_path) == Running(holder.pid, AT)
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
    assert running(tmp_path) is None
    ServiceLock(tmp_path).take(AT)


def test_who_only_looks_does_not_keep_a_service_from_starting(tmp_path: Path) -> None:
    lock = ServiceLock(tmp_path)
    lock.take(AT)
    lock.release()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            running(tmp_path)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(20):
            lock.take(AT)
            lock.release()
    finally:
        stop.set()
        for looker in lookers:
            looker.join()


def test_a_lock_file_without_content_still_says_that_one_runs(tmp_path: Path) -> None:
    lock = ServiceLock(tmp_path)
    lock.take(AT)
    lock.path.write_text("")
    assert running(tmp_path) == Running(None, None)


def test_the_heartbeat_has_an_age(tmp_path: Path) -> None:
    assert heartbeat_age(tmp_path, AT) is None
    Heartbeat(tmp_path).beat()
    file = tmp_path / "heartbeat"
    os.utime(file, (AT.timestamp() - 90, AT.timestamp() - 90))
    assert heartbeat_age(tmp_path, AT) == 90.0


def test_a_heartbeat_that_cannot_be_written_is_said_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("autotrader.service.presence.time.monotonic", lambda: now)
    heart = Heartbeat(tmp_path / "not there")
    for _ in range(3):
        now += 2
        heart.beat()
    assert caplog.text.count("cannot be written") == 1


class Monitor(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Monitor)
        self.server.asked.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_an_outside_monitor_is_asked_while_it_beats_and_not_when_it_does_not(tmp_path: Path) -> None:
    with Monitor() as monitor:
        thread = threading.Thread(target=monitor.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        heart = Heartbeat(tmp_path, f"http://127.0.0.1:{monitor.server_address[1]}/ping/secret", every_seconds=0.1)
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            heart.beat()
            time.sleep(0.01)
        time.sleep(0.1)
        count = len(monitor.asked)
        time.sleep(0.3)
        monitor.shutdown()
        thread.join()
        assert 2 <= count <= 6
        assert len(monitor.asked) == count
        assert set(monitor.asked) == {"/ping/secret"}


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/secret", "file:///etc/secret", "http://[secret"])
def test_a_monitor_that_is_not_there_is_logged_without_its_address(
    tmp_path: Path, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        heart = Heartbeat(tmp_path, url)
        began = time.monotonic()
        heart.beat()
        assert time.monotonic() - began < 0.5
        while heart._thread is not None and heart._thread.is_alive():
            time.sleep(0.01)
    assert "monitor" in caplog.text
    assert "secret" not in caplog.text

"""The command itself, in a process of its own and in real time: it starts, hears signals, and stops cleanly."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from autotrader.clock import SystemClock

from .wire import Wire

PROGRAM = Path(sys.executable).with_name("autotrader")
WITHIN = 60.0  # seconds; it takes two, on a machine with nothing else to do


class Running:
    """`autotrader run`; what it writes to the terminal is collected."""

    def __init__(self, home: Path) -> None:
        self.process = subprocess.Popen(
            [PROGRAM, "run", "--home", str(home)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
            env={"PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        self.said = ""
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def hears(self, text: str) -> None:
        with self._news:
            assert self._news.wait_for(lambda: text in self.said, WITHIN), f"it never said {text!r}:\n{self.said}"

    def end(self) -> None:
        self.process.kill()
        self.process.wait(WITHIN)
        self._reader.join(WITHIN)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.said += line
                self._news.notify_all()


@pytest.mark.slow
def test_the_command_starts_looks_at_an_edit_when_told_to_and_stops_cleanly(tmp_path: Path) -> None:
    with Wire(tmp_path, SystemClock().now()) as wire:
        running = Running(wire.home)
        try:
            running.hears("recovered: 0 positions")
            path = wire.home / "config" / "strategy_params.yaml"
            path.write_text(path.read_text().replace("version: 1", "version: 2", 1))
            running.process.send_signal(signal.SIGHUP)
            running.hears("the edited configuration has an error: ")
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(WITHIN) == 0
            running.hears("stopped cleanly")
        finally:
            running.end()
        assert (wire.home / "data" / "heartbeat").exists()
        assert "Traceback" not in running.said
        started = Running(wire.home)  # it can be started again at once
        try:
            started.hears("recovered: 0 positions")
        finally:
            started.end()

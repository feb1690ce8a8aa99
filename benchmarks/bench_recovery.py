"""From the start of a service's process, after a kill, until what it holds is protected, against a process that only
imports what it speaks to the broker with.

.venv/bin/python benchmarks/bench_recovery.py [--check]
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import ROOT, Report

from autotrader.clock import SystemClock

sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
from tests.service.wire import BUSY, CALENDAR, Wire, at  # noqa: E402

LIMIT = 1.3
REPEATS = 7
FLOOR = "import sqlite3, pydantic; from alpaca.trading.client import TradingClient"
PORT = 8749  # of /health, as a deployment has it


def main() -> None:
    session = CALENDAR.last_completed(SystemClock().now())
    report = Report("From the process's start, by the clock")
    with (
        tempfile.TemporaryDirectory() as folder,
        Wire(Path(folder), at(CALENDAR.previous_session(session), 19, 59)) as wire,
    ):
        wire.write_config(*BUSY)
        wire.run(at(session, 9, 31))
        system = wire.home / "config" / "default.yaml"
        system.write_text(re.sub(r"(?m)^  port: null", f"  port: {PORT}", system.read_text()))
        wire.alpaca.step(SystemClock().now())
        ours, theirs, said = float("inf"), float("inf"), ""
        for _ in range(REPEATS + 1):
            seconds, line = recovered(wire.home)
            if seconds < ours:
                ours, said = seconds, line
            theirs = min(theirs, bare())
    report.add("autotrader run until it has recovered, against imports", ours, theirs, LIMIT)
    print(said)
    report.finish()


def recovered(home: Path) -> tuple[float, str]:
    """Seconds from the process's start until it says that it has recovered, and what it says; then it is killed."""
    program = Path(sys.executable).with_name("autotrader")
    began = time.monotonic()
    with subprocess.Popen([program, "run", "--home", home], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "recovered: " in line:
                seconds = time.monotonic() - began
                break
        else:
            sys.exit("the service did not recover")
        process.kill()
    return seconds, line.strip()


def bare() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", FLOOR], check=True)
    return time.monotonic() - began


if __name__ == "__main__":
    main()

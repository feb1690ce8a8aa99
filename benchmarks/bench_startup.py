"""A whole `autotrader scan` from a cold start, against a process that only imports what it stands on and reads bars.

.venv/bin/python benchmarks/bench_startup.py [--check]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from harness import ROOT, Data, Report, compare_processes, find_data

LIMIT = 2.0
REPEATS = 5

# What the scan cannot do without, and the rows of its night.
FLOOR = """
import sys
import numpy, talib, pydantic, yaml, exchange_calendars, pyarrow.parquet
exchange_calendars.get_calendar("XNYS")
import datetime
last = datetime.date.fromisoformat(sys.argv[2])
pyarrow.parquet.read_table(sys.argv[1], filters=[("date", "<=", last), ("date", ">", last - datetime.timedelta(365))])
"""


def main() -> None:
    data = find_data()
    report = Report(f"From a cold start, {data.name}, CPU time of the process")
    with tempfile.TemporaryDirectory() as folder:
        scan = _scan(data, Path(folder))
        floor = [sys.executable, "-c", FLOOR, str(data.bars), str(data.session)]
        best = compare_processes(scan, floor, REPEATS)
    report.add("autotrader scan, against imports and reading", *best, LIMIT)
    report.finish()


def _scan(data: Data, folder: Path) -> list[str]:
    command = [str(Path(sys.executable).with_name("autotrader")), "scan", "--home", str(ROOT), "--out", str(folder)]
    return [*command, "--date", str(data.session), "--data", str(data.bars), "--universe", str(data.universe)]


if __name__ == "__main__":
    main()

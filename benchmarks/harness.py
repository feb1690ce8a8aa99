"""What the benchmarks share: the data, CPU time, the table of ratios, and holding them to their limits.

Ratios are measured side by side in one run, each as the best of several, in CPU time: they say the same on a slow or a
busy machine. Absolute times are for reading only.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parent.parent
# As installed: the modules are compiled once, by the first run.
AS_INSTALLED = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


@dataclass(frozen=True, slots=True)
class Data:
    """Ten years of daily bars of about 500 symbols, their list, and a session to scan."""

    bars: Path
    universe: Path
    session: date
    name: str


def find_data() -> Data:
    """The real bars where they are (AUTOTRADER_TEST_DATA), else made-up ones of the same size."""
    folder = Path(os.environ.get("AUTOTRADER_TEST_DATA", ROOT.parent / "shared" / "data"))
    real = folder / "sp500_daily.parquet"
    if real.exists():
        universe = folder / "sp500_constituents_2021.csv"
        return Data(real, universe, date(2017, 10, 10), "real bars, 504 symbols, 10 years")
    return _made_up()


def compare(ours: Callable[[], object], theirs: Callable[[], object], repeats: int = 7) -> tuple[float, float]:
    """The least CPU time of each over several turns, one after the other, after one that warms up."""
    ours(), theirs()
    best = [float("inf"), float("inf")]
    for _ in range(repeats):
        for index, work in enumerate((ours, theirs)):
            gc.collect()
            before = time.process_time()
            work()
            best[index] = min(best[index], time.process_time() - before)
    return best[0], best[1]


def compare_processes(ours: Sequence[str], theirs: Sequence[str], repeats: int) -> tuple[float, float]:
    """The least CPU time of each whole process over several turns, one after the other; one turn more warms up."""
    best = [float("inf"), float("inf")]
    for _ in range(repeats + 1):
        for index, command in enumerate((ours, theirs)):
            best[index] = min(best[index], _cpu_seconds(command))
    return best[0], best[1]


def _cpu_seconds(command: Sequence[str]) -> float:
    """User and system time of one process in all of its threads. What it prints is thrown away."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, env=AS_INSTALLED) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


@dataclass(slots=True)
class Report:
    """Rows of ours against theirs; `limit` is the largest ratio allowed."""

    title: str
    rows: list[tuple[str, float, float, float]] = field(default_factory=list)

    def add(self, what: str, ours: float, theirs: float, limit: float) -> None:
        self.rows.append((what, ours, theirs, limit))

    def finish(self) -> None:
        """Prints the table; with --check ends with 1 where a ratio is over its limit."""
        print(f"\n{self.title}\n")
        print(f"{'':58} {'ours':>10} {'against':>10} {'ratio':>7} {'limit':>7}")
        for what, ours, theirs, limit in self.rows:
            print(f"{what:58} {ours * 1e3:7.1f} ms {theirs * 1e3:7.1f} ms {ours / theirs:7.2f} {limit:7.2f}")
        over = [what for what, ours, theirs, limit in self.rows if ours > limit * theirs]
        if over and _arguments().check:
            sys.exit(f"over the limit: {'; '.join(over)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true", help="exit with 1 where a ratio is over its limit")
    return parser.parse_args()


def _made_up() -> Data:
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    from autotrader.clock import Calendar
    from autotrader.core.panel import FIELDS
    from autotrader.market.synthetic import synthetic_panel
    from autotrader.market.universe import PACKAGED, load_universe

    symbols = [member.symbol for member in load_universe()]
    panel = synthetic_panel(symbols, date(2012, 1, 3), date(2021, 12, 31), 0, Calendar())
    columns = {"symbol": np.repeat(symbols, panel.sessions), "date": np.tile(panel.dates, len(symbols))}
    columns |= {name: getattr(panel, name).ravel() for name in FIELDS}
    bars = Path(tempfile.mkdtemp(prefix="autotrader-bench-")) / "bars.parquet"
    parquet.write_table(pa.table(columns), bars)
    return Data(bars, PACKAGED, date(2017, 10, 10), "made-up bars, 503 symbols, 10 years")

"""Ten years through the backtest, against the same rules written by hand in TA-Lib, numpy and loops, and vectorbt.

.venv/bin/python benchmarks/bench_backtest.py [--check]

The yardstick, tests/backtest/plain.py, makes the same trades (a test holds the two together). vectorbt is measured
where `make bench-vectorbt` has installed it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from harness import ROOT, Data, Report, compare, compare_processes, find_data

sys.path.insert(0, str(ROOT / "tests"))  # the yardstick lives beside the test that holds it to ours

from backtest import plain

from autotrader.backtest.engine import Backtest, BacktestResult
from autotrader.backtest.output import document
from autotrader.clock import Calendar
from autotrader.core.panel import FIELDS, Panel
from autotrader.market.bars import load_daily
from autotrader.market.universe import Member, load_universe
from autotrader.validation.load import Configuration, load_configuration

PLAIN_LIMIT = 3.0
STATISTICS_LIMIT = 3.0
VECTORBT_LIMIT = 1.0
LINEAR_SLACK = 1.25
MEMORY_504, MEMORY_2000 = 1.0, 3.0  # GB
TURNS = 12
VECTORBT = ROOT / ".venv-vectorbt" / "bin" / "python"

CALENDAR = Calendar()


def main() -> None:
    if sys.argv[1:2] == ["--memory"]:  # this program, started by measure_memory
        print(json.dumps(peak_memory(int(sys.argv[2]))))
        return
    data = find_data()
    configuration = load_configuration(ROOT / "config").configuration
    assert configuration is not None
    panel, universe = market(data.bars, data.universe)
    report = Report(f"Backtest, {data.name}")
    measure_plain(report, configuration, panel, universe)
    measure_growth(report, without_latch(), panel, universe)
    measure_vectorbt(report, configuration, data)
    measure_memory()
    report.finish()


def without_latch() -> Configuration:
    """The default configuration without the limit that ends all entries of a period: else parts of it trade longer."""
    text = (ROOT / "config" / "strategy_params.yaml").read_text(encoding="utf-8")
    assert "max_drawdown_pct: 15%" in text
    with tempfile.TemporaryDirectory() as folder:
        changed = text.replace("max_drawdown_pct: 15%", "max_drawdown_pct: 100%")
        (Path(folder) / "strategy_params.yaml").write_text(changed, encoding="utf-8")
        configuration = load_configuration(Path(folder)).configuration
    assert configuration is not None
    return configuration


def market(bars: Path, listed: Path) -> tuple[Panel, list[Member]]:
    panel = load_daily(bars)
    there = set(panel.symbols)
    universe = [member for member in load_universe(listed) if member.symbol in there]
    return panel.select([member.symbol for member in universe]), universe


def ours(
    configuration: Configuration, panel: Panel, universe: list[Member], *, unknowns: bool = False
) -> Callable[[], BacktestResult]:
    """The whole of it but the report. unknowns: with the one column of the report that needs work of its own."""
    test = Backtest(
        configuration.rulebook, configuration.settings.config_hash, configuration.strategies(), universe, panel, None,
        CALENDAR,
    )  # fmt: skip
    return partial(test.run, panel.dates[0].item(), panel.dates[-1].item(), tally=unknowns)


def measure_plain(report: Report, configuration: Configuration, panel: Panel, universe: list[Member]) -> None:
    sectors = [member.sector for member in universe]
    theirs = partial(plain.backtest, panel, sectors, 1, panel.sessions)
    shape = f"{panel.sessions:,} sessions x {len(universe)} symbols"
    mine = ours(configuration, panel, universe)
    report.add(f"{shape}, against TA-Lib, numpy and loops", *compare(mine, theirs, 5), PLAIN_LIMIT)
    mine = ours(configuration, panel, universe, unknowns=True)
    report.add("the same with the unknowns of every rule counted", *compare(mine, theirs, 5), STATISTICS_LIMIT)


def measure_growth(report: Report, configuration: Configuration, panel: Panel, universe: list[Member]) -> None:
    """Twice the symbols, and twice the years, against twice the time of the half."""
    half = universe[::2]
    few = ours(configuration, panel.select([member.symbol for member in half]), half)
    whole = ours(configuration, panel, universe)
    large, small = compare(whole, few, 6)
    report.add("all symbols, against twice every other one", large, 2 * small, LINEAR_SLACK)
    years = panel.window(panel.dates[panel.sessions // 2].item())
    large, small = compare(whole, ours(configuration, years, universe), 6)
    report.add("all years, against twice the first half", large, 2 * small, LINEAR_SLACK)


def measure_memory() -> None:
    """Peak memory of a process that does nothing else; with --check ends with 1 where it is over its limit."""
    for symbols, limit in ((504, MEMORY_504), (2_000, MEMORY_2000)):
        command = [sys.executable, __file__, "--memory", str(symbols)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        used = json.loads(ran.stdout)
        print(f"peak memory, ten years x {symbols:,} symbols: {used:.2f} GB, limit {limit:.0f} GB")
        if used > limit and "--check" in sys.argv:
            sys.exit(f"over the limit: {used:.2f} GB for {symbols:,} symbols")


def peak_memory(symbols: int) -> float:
    data = find_data()
    configuration = load_configuration(ROOT / "config").configuration
    assert configuration is not None
    panel, universe = market(data.bars, data.universe)
    if symbols > len(universe):
        rows = list(islice(cycle(range(len(universe))), symbols))
        names = tuple(f"S{number:05}" for number in range(symbols))
        wide = [np.ascontiguousarray(getattr(panel, name)[rows]) for name in FIELDS]
        universe = [replace(universe[row], symbol=name) for row, name in zip(rows, names, strict=True)]
        panel = Panel(names, panel.dates, *wide)
    ours(configuration, panel, universe)()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def measure_vectorbt(report: Report, configuration: Configuration, data: Data) -> None:
    """Both as a user starts them, and the numbers alone once everything of theirs is compiled."""
    if not VECTORBT.exists():
        print("vectorbt is not measured: make bench-vectorbt installs it")
        return
    panel, universe = market(data.bars, data.universe)
    whole = [member for row, member in enumerate(universe) if not np.isnan(panel.close[row]).any()]
    first, last = str(panel.dates[0]), str(panel.dates[-1])
    script = [str(VECTORBT), str(ROOT / "benchmarks" / "vectorbt_backtest.py"), str(data.bars), str(data.universe)]
    command = [str(Path(sys.executable).with_name("autotrader")), "backtest", "--home", str(ROOT), "--from", first,
               "--to", last, "--data", str(data.bars), "--universe", str(data.universe)]  # fmt: skip
    processes = compare_processes(command, script, 2)
    report.add("from the file to the numbers, against vectorbt's process", *processes, VECTORBT_LIMIT)
    play = ours(configuration, panel.select([item.symbol for item in whole]), whole)
    work = {"metrics": lambda: document(play(), feed="files"), "trades": play}
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["symbols"] == len(whole)
        for what, mine in work.items():
            pairs = []
            for _ in range(TURNS):  # in turn, one by one: the machine is slower at one time than at another
                seconds, _ = compare(mine, lambda: None, 1)
                process.stdin.write(f"{what}\n")
                pairs.append((seconds, float(process.stdout.readline())))
            best, theirs = (min(side) for side in zip(*pairs, strict=True))
            report.add(f"{len(whole)} symbols to the {what}, vectorbt compiled", best, theirs, VECTORBT_LIMIT)
        process.stdin.close()


if __name__ == "__main__":
    main()

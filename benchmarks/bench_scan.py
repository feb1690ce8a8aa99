"""Bars in memory to signals and ranked candidates, against the same numbers with TA-Lib and numpy alone.

.venv/bin/python benchmarks/bench_scan.py [--check]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from itertools import cycle, islice

import bare
import numpy as np
from harness import ROOT, Data, Report, compare, find_data

from autotrader.batch.run import to_record
from autotrader.batch.scan import NightlyScanner
from autotrader.clock import Calendar
from autotrader.core.indicators import Series
from autotrader.core.panel import FIELDS, Array, Panel
from autotrader.core.strategy import Strategy
from autotrader.market.bars import load_daily
from autotrader.market.universe import Member
from autotrader.plugins.strategies.regime_momentum import RegimeMomentum
from autotrader.plugins.strategies.rsi_mean_reversion import RsiMeanReversion
from autotrader.plugins.strategies.rules import RulesStrategy
from autotrader.validation.load import Configuration, load_configuration

SCAN_LIMIT = 2.0
TEN_YEARS_LIMIT = 1.5
TWIN_LIMIT = 1.3
SMALL_LIMIT = 3.0
LINEAR_SLACK = 1.25
MANY = 8_000

TWINS: list[tuple[str, Strategy, dict[str, dict[str, str]]]] = [
    (
        "rsi_mean_reversion",
        RsiMeanReversion(RsiMeanReversion.Params()),
        {
            "long": {
                "when": "rsi < 30 and pct_b < 0.05 and adx < 25",
                "strength": "0.5 * clip((30 - rsi) / 15, 0, 1) + 0.5 * clip((0.05 - pct_b) / 0.5, 0, 1)",
            },
            "short": {
                "when": "rsi > 75 and pct_b > 0.95 and adx < 25",
                "strength": "0.5 * clip((rsi - 75) / 15, 0, 1) + 0.5 * clip((pct_b - 0.95) / 0.5, 0, 1)",
            },
        },
    ),
    (
        "regime_momentum",
        RegimeMomentum(RegimeMomentum.Params()),
        {
            "long": {
                "when": "adx >= 25 and bb_width_ratio >= 1.3 and return_20 > 0 and rsi >= 50 and rsi <= 70 "
                "and ema_fast > ema_slow and atr / close < 0.03",
                "strength": "0.5 * clip(return_20 / 0.2, 0, 1) + 0.5 * clip((adx - 25) / 25, 0, 1)",
            }
        },
    ),
]


def main() -> None:
    data = find_data()
    configuration = load_configuration(ROOT / "config").configuration
    assert configuration is not None
    history = load_daily(data.bars)
    report = Report(f"Signals and ranking, {data.name}")
    measure_scan(report, configuration, history, data)
    measure_ten_years(report, configuration, history)
    measure_twins(report, configuration, history)
    report.finish()


def measure_scan(report: Report, configuration: Configuration, history: Panel, data: Data) -> None:
    """One night: screen, indicators, signals, regime, ranking, decisions, and the record with all its evidence."""
    window = history.window(data.session, configuration.settings.params.batch.history_days)
    whole = [symbol for row, symbol in enumerate(window.symbols) if not np.isnan(window.close[row]).any()]
    times = {}
    for count in (503, MANY):
        panel = _tiled(window.select(whole), count)
        members = [Member(symbol, symbol, f"sector {row % 11}") for row, symbol in enumerate(panel.symbols)]
        rulebook, calendar = configuration.rulebook, Calendar()
        scanner = NightlyScanner(rulebook, "benchmark", configuration.strategies(), members, calendar)

        def ours(scanner: NightlyScanner = scanner, panel: Panel = panel) -> object:
            result = scanner.rank(panel, None, data.session)
            return to_record(result, list(configuration.enabled), datetime.now(UTC), 0.0)

        times[count] = compare(ours, partial(bare.ranked, panel))
        report.add(f"one night, {count:,} symbols x {panel.sessions} bars", *times[count], SCAN_LIMIT)
    small, large = times[503][0], times[MANY][0]
    report.add(f"{MANY:,} symbols against {MANY / 503:.1f} times 503", large, small * MANY / 503, LINEAR_SLACK)


def measure_ten_years(report: Report, configuration: Configuration, history: Panel) -> None:
    """The signals of all strategies on every bar, indicators included, as a backtest needs them."""
    rulebook, strategies = configuration.rulebook, configuration.strategies()

    def ours() -> object:
        series = Series(history, rulebook.indicators)
        return [strategy.signals(series) for strategy in strategies.values()]

    def theirs() -> object:
        with np.errstate(all="ignore"):
            return bare.signals(history, bare.indicators(history))

    shape = f"{len(history.symbols)} symbols x {history.sessions:,} bars"
    report.add(f"all signals, {shape}", *compare(ours, theirs, 3), TEN_YEARS_LIMIT)


def measure_twins(report: Report, configuration: Configuration, history: Panel) -> None:
    """A strategy written in YAML against the same in Python; and how little a small panel gains from being small."""
    series = Series(history, configuration.rulebook.indicators)
    for name, python, sides in TWINS:
        twin = RulesStrategy(RulesStrategy.Params.model_validate(sides))
        read = {field: series[field] for field in {*python.reads, *twin.reads}}
        pair = compare(partial(twin.signals, read), partial(python.signals, read))
        report.add(f"{name} in YAML, against Python", *pair, TWIN_LIMIT)
        pair = compare(_many(twin, read, 50), _many(twin, read, 5))
        report.add(f"{name} in YAML 200 times, 50 symbols against 5", *pair, SMALL_LIMIT)


def _many(strategy: Strategy, read: Mapping[str, Array], symbols: int) -> Callable[[], None]:
    part = {name: np.ascontiguousarray(values[:symbols, -250:]) for name, values in read.items()}

    def run() -> None:
        for _ in range(200):
            strategy.signals(part)

    return run


def _tiled(panel: Panel, count: int) -> Panel:
    rows = list(islice(cycle(range(len(panel.symbols))), count))
    names = tuple(f"S{number:05}" for number in range(count))
    return Panel(names, panel.dates, *(np.ascontiguousarray(getattr(panel, name)[rows]) for name in FIELDS))


if __name__ == "__main__":
    main()

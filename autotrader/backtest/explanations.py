"""Why each trade was entered and left, compactly: what the report's page unfolds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from autotrader.backtest.engine import BacktestResult, Explained
from autotrader.rules.decision import Decision, Evidence

_VERDICTS = {"no_match": 0, "match": 1, "unknown": 2}


def explanations(result: BacktestResult) -> dict[str, Any]:
    """Every trade from its signal on; each rule's text and the names of its facts stand there once.

    rules: [name, text, names of facts, whether it is a value]. trades: [stage, outcome, deciding rule, value,
    [[rule, verdict or value, facts], ...]] of the signal and of each decision.
    """
    rules: dict[tuple[str, str, tuple[str, ...], bool], int] = {}

    def told(item: Evidence) -> list[Any]:
        key = (item.rule, item.text, tuple(item.facts), item.verdict is None)
        number = rules.setdefault(key, len(rules))
        verdict = _short(item.value) if item.verdict is None else _VERDICTS[item.verdict]
        return [number, verdict, [_short(value) for value in item.facts.values()]]

    def decided(decision: Decision) -> list[Any]:
        evidence = [told(item) for item in decision.evidence]
        return [decision.stage, decision.outcome, decision.rule, _short(decision.value), evidence]

    scans = _Scans(result)
    trades = []
    for item in result.trades:
        row = scans.row(item)
        strategy, direction, signal = scans.signal(row)
        decisions = [*result.ranking.decisions(row), *item.entry, *([] if item.exit is None else [item.exit])]
        trades.append([["signal", direction, strategy, None, [told(signal)]], *map(decided, decisions)])
    return {"rules": [[name, text, list(facts), value] for name, text, facts, value in rules], "trades": trades}


class _Scans:
    """The scans that the trades of a result came from. A row is one of the ranking's signals."""

    def __init__(self, result: BacktestResult) -> None:
        view, self._ranking = result.view, result.ranking
        signals, rows = self._ranking.signals, self._ranking.candidates
        keys = zip(signals.session[rows].tolist(), signals.symbol[rows].tolist(), strict=True)
        self._rows = dict(zip(keys, rows.tolist(), strict=True))
        self._dates = view.panel.dates
        self._symbols = {symbol: row for row, symbol in enumerate(view.panel.symbols)}
        self._reads = result.reads
        self._series = {name: view.series.extended(view.rulebook.own_indicators(name)) for name in signals.names}

    def row(self, item: Explained) -> int:
        """The signal that a trade came from, in the scan of the session before it."""
        session = np.datetime64(item.trade.entered_at.date())
        found: int = self._rows[int(np.searchsorted(self._dates, session)) - 1, self._symbols[item.trade.symbol]]
        return found

    def signal(self, row: int) -> tuple[str, str, Evidence]:
        """Strategy, side, and the strength with what the strategy read on the scanned bar."""
        signals = self._ranking.signals
        strategy, at = signals.names[signals.strategy[row]], (signals.symbol[row], signals.session[row])
        read: Mapping[str, float] = {name: self._series[strategy][name].item(at) for name in self._reads[strategy]}
        evidence = Evidence(strategy, "strength", None, signals.strength.item(row), read)
        return strategy, signals.direction(row), evidence


def _short(value: Any) -> Any:
    """Six digits are enough to understand a decision; what is not finite is unknown."""
    if isinstance(value, bool) or not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    number = float(f"{value:.6g}")
    return int(number) if number.is_integer() else number

"""Why each trade was entered and left, compactly: what the report's page unfolds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from autotrader.backtest.engine import Explained
from autotrader.rules.decision import Decision

_VERDICTS = {"no_match": 0, "match": 1, "unknown": 2}


def explanations(explained: Iterable[Explained]) -> dict[str, Any]:
    """Every trade's decisions; each rule's text and the names of its facts stand there once.

    rules: [name, text, names of facts, whether it is a value]. trades: [stage, outcome, deciding rule, value,
    [[rule, verdict or value, facts], ...]] of each decision.
    """
    rules: dict[tuple[str, str, tuple[str, ...], bool], int] = {}

    def told(decision: Decision) -> list[Any]:
        evidence = []
        for item in decision.evidence:
            key = (item.rule, item.text, tuple(item.facts), item.verdict is None)
            number = rules.setdefault(key, len(rules))
            verdict = _short(item.value) if item.verdict is None else _VERDICTS[item.verdict]
            evidence.append([number, verdict, [_short(value) for value in item.facts.values()]])
        return [decision.stage, decision.outcome, decision.rule, _short(decision.value), evidence]

    trades = [[told(decision) for decision in (*item.entry, item.exit) if decision is not None] for item in explained]
    return {"rules": [[name, text, list(facts), value] for name, text, facts, value in rules], "trades": trades}


def _short(value: Any) -> Any:
    """Six digits are enough to understand a decision; what is not finite is unknown."""
    if isinstance(value, bool) or not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    number = float(f"{value:.6g}")
    return int(number) if number.is_integer() else number

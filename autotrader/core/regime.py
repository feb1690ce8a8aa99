"""The market regime: rules over one proxy's daily bars."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autotrader.core.panel import Array, Panel
from autotrader.rules.decision import Decision
from autotrader.rules.ruleset import RuleSet

EQUAL_WEIGHT = "equal-weight mean of the universe"
_TOGETHER = 8  # symbols whose bars stay in a core's cache


class RegimeDetector:
    """Names the regime of each session; the first rule that matches decides, else the stage's default."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules

    def regimes(self, series: Mapping[str, Array], sessions: int) -> list[str]:
        """One name a session; the default where a rule fails. series: the proxy's, float64 [1, sessions]."""
        columns = {name: series[name][0] for name in self._rules.reads}
        names, default = [rule.then for rule in self._rules.rules], self._rules.stage.default
        decided = self._rules.first_columns(columns, (sessions,)).tolist()
        return [names[index] if index >= 0 else default for index in decided]

    def decide(self, series: Mapping[str, Array], session: int = -1) -> Decision:
        """The regime of one session with its evidence."""
        return self._rules.judge({name: float(series[name][0, session]) for name in self._rules.reads})


def equal_weight(panel: Panel) -> Panel:
    """An index of the universe: the chained mean of open, high, low and close over the previous close, from 100.

    A session counts the symbols that have it and the one before; one without any leaves the index where it was.
    """
    sessions = panel.sessions
    count = np.zeros(max(0, sessions - 1), dtype=np.int64)
    totals = {name: np.zeros(len(count)) for name in ("open", "high", "low", "close")}
    for start in range(0, len(panel.symbols), _TOGETHER):
        some = slice(start, start + _TOGETHER)
        with np.errstate(all="ignore"):
            before = panel.close[some, :-1]
            known = (before > 0) & (before < np.inf)
            ratios = {name: getattr(panel, name)[some, 1:] / before for name in totals}
        for ratio in ratios.values():
            known &= np.isfinite(ratio)
        count += known.sum(axis=0)
        unknown = np.flatnonzero(~known)
        for name, ratio in ratios.items():
            ratio.reshape(-1)[unknown] = 0.0
            for row in ratio:
                totals[name] += row
    means = {
        name: np.concatenate([[1.0], np.where(count > 0, total / np.maximum(count, 1), 1.0)])[:sessions]
        for name, total in totals.items()
    }
    close = 100.0 * np.cumprod(means["close"])
    base = np.concatenate([[100.0], close[:-1]])[:sessions]
    high = np.maximum(base * means["high"], np.maximum(base * means["open"], close))
    low = np.minimum(base * means["low"], np.minimum(base * means["open"], close))
    volume = np.nansum(panel.volume, axis=0)
    rows = [(base * means["open"]), high, low, close, volume]
    return Panel((EQUAL_WEIGHT,), panel.dates, *(np.ascontiguousarray(row[None, :], dtype=np.float64) for row in rows))

"""The nouns of the trading day, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Any, NamedTuple

from autotrader.core.strategy import Direction
from autotrader.rules.decision import Decision

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Blackout:
    """A symbol not to be entered from `first` to `last`, both included."""

    symbol: str
    first: date
    last: date
    reason: str


@dataclass(frozen=True, slots=True)
class ScanResult:
    """One signal of the nightly scan, with what the ranking made of it.

    score:   0 to 1; None if unknown.
    outcome: "candidate", or why it is none: the eligibility rule's reason, "score_unknown", "outranked" (another
             strategy's signal of the same symbol is better), "sector_full", "below_top".
    """

    symbol: str
    strategy: str
    direction: Direction
    strength: float
    prev_close: float
    atr: float
    indicators: Mapping[str, float | None]
    sector: str | None
    score: float | None
    outcome: str
    decisions: tuple[Decision, ...] = ()


class Candidate(NamedTuple):
    """A signal chosen for entry in the next session. Percent values are fractions, prices USD.

    metadata: every indicator of the scan bar, None where unknown.
    """

    symbol: str
    strategy: str
    direction: Direction
    entry_group: str
    prev_close: float
    atr: float
    sl_atr_mult: float | None
    tp_atr_mult: float | None
    score: float
    max_hold_days: int | None
    rank: int
    sector: str | None
    strength: float
    signals_of_symbol: int = 1
    opposite_signal: bool = False
    blackout: bool = False
    metadata: Mapping[str, Any] = _NOTHING


@dataclass(frozen=True, slots=True)
class BatchResult:
    """All that a nightly scan found.

    skipped: symbol -> why it was not scanned. notes: what a reader of the result must know, in sentences.
    """

    scan_date: date
    regime: str
    regime_decision: Decision
    regime_proxy: str
    total_symbols_scanned: int
    candidates: tuple[Candidate, ...]
    scan_results: tuple[ScanResult, ...]
    skipped: Mapping[str, str]
    short_history: Mapping[str, int]
    config_hash: str
    notes: tuple[str, ...] = ()

"""The gap filter as a stage: reads the scan's result, asks for prices, writes the filtered result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

from autotrader.batch.files import (
    BatchResultRecord,
    CandidateRecord,
    FilteredRecord,
    FilteredResultRecord,
    RejectedRecord,
)
from autotrader.core.gap_filter import Filtered, Quote, after_split, gap_filter, known_facts
from autotrader.core.rulebook import Rulebook
from autotrader.core.trader import Judged, Plan
from autotrader.core.types import Candidate
from autotrader.market.feed import ShareSplit


class GapFilter:
    """Filters a scan's candidates by where they trade before the open."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook

    def filter(
        self,
        scan: BatchResultRecord,
        quotes: Mapping[str, Quote],
        session: date,
        result_age: int,
        at: datetime,
        splits: Sequence[ShareSplit] = (),
    ) -> tuple[FilteredResultRecord, list[Judged]]:
        """The filtered result for the trading session, and the decision about each candidate.

        result_age: sessions from the scan to `session`. quotes: by symbol; none at all leaves everything unfiltered.
        splits: since the scan; its candidates are brought to the new shares before anything is decided.
        """
        candidates = [to_candidate(record) for record in scan.candidates]
        for split in splits:
            candidates = [
                after_split(item, split.new, split.old) if item.symbol == split.symbol else item for item in candidates
            ]
        passed, rejected, decisions = gap_filter(candidates, quotes, self._rulebook, scan.regime, result_age)
        threshold = self._rulebook.params.strategy_defaults.max_gap_pct
        record = FilteredResultRecord(
            config_hash=scan.config_hash,
            timestamp=at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            scan_date=scan.scan_date,
            filter_date=session,
            regime=scan.regime,
            result_age=result_age,
            gap_threshold_pct=threshold if isinstance(threshold, float) else None,
            candidates_before=len(candidates),
            candidates_after=len(passed),
            filtered=[
                FilteredRecord(
                    **item.candidate._asdict(),
                    pre_market_price=_known(item.pre_market_price),
                    gap_pct=_known(item.gap_pct),
                    status=item.status,
                )
                for item in passed
            ],
            rejected=[
                RejectedRecord(symbol=item.candidate.symbol, reason=item.reason, gap_pct=_known(item.gap_pct))
                for item in rejected
            ],
        )
        judged = [
            Judged(item.symbol, item.strategy, scan.config_hash, decisions[item.symbol],
                   quotes[item.symbol].price if item.symbol in quotes else math.nan)
            for item in candidates
            if item.symbol in decisions
        ]  # fmt: skip
        return record, judged


def to_candidate(record: CandidateRecord) -> Candidate:
    """The candidate that a record was written from."""
    return Candidate(**{name: getattr(record, name) for name in Candidate._fields})


def to_plan(record: FilteredResultRecord, rulebook: Rulebook) -> Plan:
    """What the entry stages work from."""
    found = []
    for item in record.filtered:
        candidate, price = to_candidate(item), _number(item.pre_market_price)
        facts = known_facts(rulebook, candidate, record.regime, record.result_age, Quote(price))
        found.append(Filtered(candidate, price, _number(item.gap_pct), item.status, facts))
    return Plan(tuple(found), record.regime, record.result_age, record.config_hash)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _number(value: float | None) -> float:
    return math.nan if value is None else value

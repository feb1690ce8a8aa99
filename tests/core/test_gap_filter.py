"""Before the open: who may still be entered."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from days import candidate, configuration, facts_of, prices

from autotrader.batch.files import BatchResultRecord, CandidateRecord, ScanSummary, read_filtered, write_record
from autotrader.batch.gap_filter import GapFilter, to_plan
from autotrader.core.gap_filter import Filtered, Quote, Rejected, gap_filter
from autotrader.core.types import Candidate


def judge(
    *items: Candidate, quotes: dict[str, Quote], age: int = 1, edits: tuple[tuple[str, str], ...] = ()
) -> tuple[list[Filtered], list[Rejected]]:
    passed, rejected, _ = gap_filter(items, quotes, configuration(*edits).rulebook, "TREND", age)
    return passed, rejected


@pytest.mark.parametrize("price", [97.0, 99.0, 100.0, 102.99, 103.0])
def test_a_gap_of_up_to_three_percent_passes_either_way(price: float) -> None:
    passed, rejected = judge(candidate("A"), quotes=prices(A=price))
    assert [(item.candidate.symbol, item.status) for item in passed] == [("A", "passed")]
    assert not rejected


@pytest.mark.parametrize("price", [96.99, 103.01, 50.0, 200.0])
def test_a_gap_beyond_three_percent_rejects_either_way(price: float) -> None:
    passed, rejected = judge(candidate("A"), quotes=prices(A=price))
    assert not passed
    assert rejected[0].reason == "gap_too_large"
    assert rejected[0].gap_pct == pytest.approx(price / 100 - 1)


@pytest.mark.parametrize(("close", "price"), [(50.0, 51.5), (50.0, 48.5), (200.0, 206.0), (200.0, 194.0)])
def test_exactly_three_percent_passes_whatever_the_price(close: float, price: float) -> None:
    assert judge(candidate("A", prev_close=close), quotes=prices(A=price))[0]


def test_the_gap_is_the_same_for_a_short() -> None:
    short = candidate("A", strategy="overbought_short", direction="short")
    assert judge(short, quotes=prices(A=104.0))[1][0].gap_pct == pytest.approx(0.04)


def test_a_symbol_without_a_price_is_kept_and_marked() -> None:
    passed, rejected = judge(candidate("A"), candidate("B", 2), quotes=prices(A=101.0))
    assert [(item.candidate.symbol, item.status) for item in passed] == [("A", "passed"), ("B", "no_price")]
    assert math.isnan(passed[1].gap_pct)
    assert not rejected


def test_a_rule_that_fails_rejects_and_says_so() -> None:
    edit = ("max_gap_pct, then: reject, on_missing: skip", "max_gap_pct, then: reject, on_missing: fail")
    rulebook = configuration(edit).rulebook
    passed, rejected, decisions = gap_filter(
        [candidate("A"), candidate("B", 2)], prices(A=101.0), rulebook, "TREND", 1
    )
    assert [item.candidate.symbol for item in passed] == ["A"]
    assert [(item.candidate.symbol, item.reason) for item in rejected] == [("B", "gap_too_large unknown")]
    assert decisions["B"].failed
    assert decisions["B"].missing == ("gap_pct",)


def test_a_rule_may_mind_that_there_is_no_price() -> None:
    edit = ("abs(gap_pct) > max_gap_pct, then: reject, on_missing: skip", "abs(gap_pct) > max_gap_pct, then: reject")
    passed, rejected = judge(candidate("A"), candidate("B", 2), quotes=prices(A=101.0), edits=(edit,))
    assert [item.candidate.symbol for item in passed] == ["A"]
    assert [item.candidate.symbol for item in rejected] == ["B"]


def test_without_any_price_nothing_is_decided_and_all_stay_unfiltered() -> None:
    for quotes in ({}, {"A": Quote()}):
        passed, rejected, decisions = gap_filter(
            [candidate("A"), candidate("B", 2)], quotes, configuration().rulebook, "TREND", 3
        )
        assert [item.status for item in passed] == ["unfiltered", "unfiltered"]
        assert (rejected, decisions) == ([], {})


def test_a_stale_result_enters_nothing_at_the_open_but_may_be_confirmed() -> None:
    late = candidate("B", 2, "regime_momentum")
    passed, rejected = judge(candidate("A"), late, quotes=prices(A=100.0, B=100.0), age=2)
    assert [item.candidate.symbol for item in passed] == ["B"]
    assert [(item.candidate.symbol, item.reason) for item in rejected] == [("A", "stale_open_entry")]


def test_both_reasons_are_recorded_and_the_first_is_reported() -> None:
    _, rejected, decisions = gap_filter(
        [candidate("A")], prices(A=110.0), configuration().rulebook, "TREND", result_age=2
    )
    assert rejected[0].reason == "gap_too_large"
    assert decisions["A"].matched == ("gap_too_large", "stale_open_entry")


STALE = (
    "- {name: stale_open_entry, when:",
    "- {name: extra, when: %s, then: reject}\n      - {name: stale_open_entry, when:",
)


@pytest.mark.parametrize(
    ("when", "quote", "passes"),
    [
        ("price_age_seconds > 300", Quote(100.0, age_seconds=301.0), False),
        ("price_age_seconds > 300", Quote(100.0, age_seconds=300.0), True),
        ("price_age_seconds > 300", Quote(100.0), False),  # unknown: a veto rejects
        ("spread_pct > 0.5%", Quote(100.0, spread_pct=0.006), False),
        ("spread_pct > 0.5%", Quote(100.0, spread_pct=0.005), True),
        ("corporate_action", Quote(100.0, corporate_action=True), False),
        ("corporate_action", Quote(100.0, corporate_action=False), True),
        ("corporate_action", Quote(100.0), False),
    ],
)
def test_a_rule_can_read_the_age_and_spread_of_a_price_and_corporate_actions(
    when: str, quote: Quote, passes: bool
) -> None:
    edit = (STALE[0], STALE[1] % when)
    passed, rejected = judge(candidate("A"), quotes={"A": quote}, edits=(edit,))
    assert bool(passed) is passes
    assert [item.reason for item in rejected] == ([] if passes else ["extra"])


def test_the_decision_carries_what_it_read() -> None:
    _, _, decisions = gap_filter([candidate("A")], prices(A=104.0), configuration().rulebook, "TREND", 1)
    assert facts_of(decisions["A"], "gap_too_large") == {"gap_pct": 0.04, "max_gap_pct": 0.03}


# --- as a stage, with its files -----------------------------------------------------------------------------------


def scan_of(*items: Candidate) -> BatchResultRecord:
    fields = CandidateRecord.model_fields
    return BatchResultRecord(
        config_hash="hash", timestamp="2020-02-28T20:00:00Z", scan_date=date(2020, 2, 28), regime="TREND",
        regime_proxy="SPY", regime_decision={}, total_symbols_scanned=2, total_signals_generated=2,
        candidates=[CandidateRecord(**{name: getattr(item, name) for name in fields}) for item in items],
        scan_summary=ScanSummary(signals_by_strategy={}, sectors_represented=[], scan_duration_seconds=0.0),
        all_signals=[], skipped=[], short_history={}, notes=[], trace=[],
    )  # fmt: skip


def test_the_entry_stages_get_from_the_file_what_the_filter_let_pass(tmp_path: Path) -> None:
    book = configuration().rulebook
    items = [candidate("A"), candidate("B", 2), candidate("C", 3)]
    at = datetime(2020, 3, 2, 14, 25, tzinfo=UTC)
    quotes = prices(A=101.0, C=120.0)
    record, judged = GapFilter(book).filter(scan_of(*items), quotes, date(2020, 3, 2), 1, at)
    path = tmp_path / "filtered.json"
    write_record(path, record)
    plan = to_plan(read_filtered(path), book)
    direct, _, _ = gap_filter(items, quotes, book, "TREND", 1)
    assert [(item.candidate, item.status) for item in plan.candidates] == [(i.candidate, i.status) for i in direct]
    assert plan.candidates[0].facts["gap_pct"] == 0.01
    assert (record.candidates_before, record.candidates_after, record.gap_threshold_pct) == (3, 2, 0.03)
    assert [(item.symbol, item.decision.outcome) for item in judged] == [("A", "pass"), ("B", "pass"), ("C", "reject")]
    assert record.timestamp == "2020-03-02T14:25:00Z"

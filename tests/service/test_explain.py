"""Why a symbol was traded or not, from what was recorded at the time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from autotrader.batch.files import read_batch_result, result_path
from autotrader.core.book import Trade
from autotrader.journal.store import Journal
from autotrader.service.explain import Chapter, ExplainError, Explanation, Judgement, explain

from .demos import CALENDAR, START, Morning, Played, Told, bars, members

FRIDAY = CALENDAR.previous_session(START)
UNIVERSE = members(bars().symbols)


@pytest.fixture
def journal(month: Played) -> Iterator[Journal]:
    with Journal.read(month.journal) as found:
        yield found


def told(month: Played, journal: Journal, symbol: str, day: date | None = None) -> Explanation:
    found = explain(month.folder / "batch_results", symbol, UNIVERSE, journal, day)
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["symbol"] == symbol
    return found


def traded_on(found: Explanation, day: date) -> Chapter:
    return next(chapter for chapter in found.chapters if chapter.trading_date == day)


def left_by(month: Played, rule: str) -> Trade:
    return next(trade for trade in month.book.trades if trade.exit_rule == rule and trade.sessions_held)


def exit_of(chapter: Chapter) -> Judgement:
    return next(item for item in chapter.judgements if item.stage == "exit" and item.outcome == "exit")


# --- what happened ------------------------------------------------------------------------------------------------


def test_an_entry_is_told_from_its_signal_to_its_fill(month: Played, journal: Journal) -> None:
    trade = month.book.trades[0]
    day = trade.entered_at.date()
    chapter = traded_on(told(month, journal, trade.symbol, day), day)
    assert chapter.scan_date == CALENDAR.previous_session(day)
    (signal,) = (item for item in chapter.signals if item.outcome == "candidate")
    assert (signal.strategy, signal.direction, signal.rank) == (trade.strategy, trade.direction, trade.plan.rank)
    assert {item.stage for item in signal.judgements} == {"eligible", "score"}
    assert chapter.gap is not None
    assert chapter.gap["status"] == "passed"
    stages = [item.stage for item in chapter.judgements if item.stage != "exit"]
    assert [stage for stage in stages if stage != "confirmation"][-4:] == ["reentry", "limits", "sizing", "order"]
    assert stages[0] == "gap_filter"
    happened = [item.what for item in chapter.happened]
    assert f"entry of {trade.quantity} {trade.direction} ordered" in happened
    assert f"entry filled: {trade.quantity} at {trade.entry_price:.2f}" in happened


def test_the_score_is_its_parts_by_their_weights(month: Played, journal: Journal) -> None:
    trade = month.book.trades[0]
    chapter = traded_on(told(month, journal, trade.symbol, trade.entered_at.date()), trade.entered_at.date())
    score = next(item for item in chapter.signals[0].judgements if item.stage == "score")
    parts = sum((rule.weight or 0.0) * (rule.result or 0.0) for rule in score.rules)
    assert score.value == pytest.approx(parts) == pytest.approx(trade.plan.score)


def test_a_stop_is_told_with_the_loss_and_the_distance_that_made_it(month: Played, journal: Journal) -> None:
    trade = left_by(month, "stop_loss")
    assert trade.exited_at is not None
    day = trade.exited_at.date()
    chapter = traded_on(told(month, journal, trade.symbol, day), day)
    assert chapter.held_since == trade.entered_at.date()
    judged = exit_of(chapter)
    assert judged.price is not None
    (rule,) = (item for item in judged.rules if item.name == "stop_loss")
    (margin,) = rule.margins
    sign = 1 if trade.direction == "long" else -1
    assert margin.left == pytest.approx((trade.entry_price - judged.price) * sign)
    assert margin.right == pytest.approx(trade.plan.stop_distance)
    assert margin.holds
    assert judged.rules[-1] is rule, "rules after the one that decided were not asked"
    assert [item.name for item in judged.rules[:3]] == ["emergency_immediate", "emergency_stop", "day_skip"]
    assert any(what.startswith(f"exit of {trade.quantity}") for what in [item.what for item in chapter.happened])


def test_a_day_on_which_nothing_happened_says_how_near_each_rule_came(month: Played, journal: Journal) -> None:
    trade = next(trade for trade in month.book.trades if trade.sessions_held >= 3)
    day = CALENDAR.next_session(trade.entered_at.date())
    last = [
        item for item in traded_on(told(month, journal, trade.symbol, day), day).judgements if item.stage == "exit"
    ][-1]
    assert (last.outcome, last.bars) == ("hold", 390)
    names = {rule.name for rule in last.rules}
    assert {"emergency_stop", "stop_loss", "time_exit"} <= names
    assert last.closest in names
    stop = next(rule for rule in last.rules if rule.name == "stop_loss")
    worst = min(margin.away for margin in (*stop.nearest, *stop.margins) if margin.away is not None)
    assert stop.nearest[0].away == worst


def test_a_candidate_that_was_kept_out_is_told_with_what_stood_against_it(month: Played, journal: Journal) -> None:
    at, outcome = next(
        (tale.at.date(), outcome) for tale in month.told(Told) for outcome in tale.outcomes
        if outcome.reason == "strategy_full"
    )  # fmt: skip
    chapter = traded_on(told(month, journal, outcome.symbol, at), at)
    limits = next(item for item in chapter.judgements if item.stage == "limits")
    assert (limits.outcome, limits.rule) == ("reject", "strategy_full")
    full = next(rule for rule in limits.rules if rule.name == "strategy_full")
    assert full.margins[0].text == "open_in_strategy >= max_per_strategy"
    assert full.margins[0].right == 2


def test_one_that_the_gap_filter_turned_away_is_told_with_its_gap(month: Played, journal: Journal) -> None:
    session, out = next((tale.session, item) for tale in month.told(Morning) for item in tale.record.rejected)
    chapter = traded_on(told(month, journal, out.symbol, session), session)
    assert chapter.gap == {"status": "rejected", "reason": "gap_too_large", "gap_pct": out.gap_pct}
    assert chapter.judgements[0].rule == "gap_too_large"


def test_without_a_date_the_latest_session_is_told_and_what_the_scan_after_it_found(
    month: Played, journal: Journal
) -> None:
    last = month.book.equity_history[-1][0]
    tonight = {item.symbol for item in read_batch_result(result_path(month.folder / "batch_results", last)).all_signals}
    for symbol in month.book.positions:
        days = [chapter.trading_date for chapter in told(month, journal, symbol).chapters]
        assert days == [last, *([CALENDAR.next_session(last)] if symbol in tonight else [])]
    assert tonight & month.book.positions.keys()


def test_a_day_may_be_the_scanned_or_the_trading_one(month: Played, journal: Journal) -> None:
    trade = month.book.trades[0]
    day = trade.entered_at.date()
    of_scan = told(month, journal, trade.symbol, CALENDAR.previous_session(day))
    assert traded_on(of_scan, day).signals == traded_on(told(month, journal, trade.symbol, day), day).signals


# --- nothing happened ---------------------------------------------------------------------------------------------


def test_a_symbol_without_a_signal_is_told_why_nothing_is_there(month: Played, journal: Journal) -> None:
    scan = read_batch_result(result_path(month.folder / "batch_results", FRIDAY))
    traded = {trade.symbol for trade in month.book.all_trades()}
    quiet = next(m.symbol for m in UNIVERSE if m.symbol not in {s.symbol for s in scan.all_signals} | traded)
    found = told(month, journal, quiet, FRIDAY)
    assert not found.chapters
    assert found.why_not is not None
    assert f"no strategy fired on {quiet} in the scan of {FRIDAY}" in found.why_not


def test_a_symbol_that_the_scan_skipped_is_told_the_reason(month: Played, journal: Journal, tmp_path: Path) -> None:
    path = result_path(month.folder / "batch_results", FRIDAY)
    body = json.loads(path.read_text())
    body["skipped"] = [{"symbol": "NEW", "reason": "too few bars"}]
    (tmp_path / path.name).write_text(json.dumps(body))
    found = explain(tmp_path, "NEW", UNIVERSE, None, FRIDAY)
    assert found.why_not == f"the scan of {FRIDAY} skipped NEW: too few bars"


def test_an_unknown_symbol_is_met_with_those_it_may_have_meant(month: Played, journal: Journal) -> None:
    known = UNIVERSE[10].symbol
    with pytest.raises(ExplainError, match=rf"is not among the 120 symbols of the universe.*did you mean .*{known}"):
        told(month, journal, known + known[-1])


def test_a_day_that_is_no_session_is_met_with_those_around_it(month: Played, journal: Journal) -> None:
    with pytest.raises(ExplainError, match=r"2019-03-09 is not a session.*2019-03-08 and 2019-03-11"):
        told(month, journal, UNIVERSE[0].symbol, date(2019, 3, 9))


def test_a_day_without_a_scan_is_met_with_the_days_that_have_one(month: Played, journal: Journal) -> None:
    with pytest.raises(ExplainError, match=r"no scan of 2018-06-01.*there are scans from 2019-03-01 to"):
        told(month, journal, UNIVERSE[0].symbol, date(2018, 6, 1))


def test_where_nothing_was_ever_scanned_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ExplainError, match="run `autotrader scan` first"):
        explain(tmp_path, UNIVERSE[0].symbol, UNIVERSE, None)


def test_a_damaged_result_is_named_and_the_journals_part_is_told(
    month: Played, journal: Journal, tmp_path: Path
) -> None:
    trade = month.book.trades[0]
    day = trade.entered_at.date()
    shutil.copytree(month.folder / "batch_results", tmp_path / "results")
    result_path(tmp_path / "results", CALENDAR.previous_session(day)).write_text('{"timestamp": ')
    chapter = traded_on(explain(tmp_path / "results", trade.symbol, UNIVERSE, journal, day), day)
    assert "the scan cannot be shown" in chapter.notes[0]
    assert not chapter.signals
    assert chapter.judgements

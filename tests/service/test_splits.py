"""Splits before the open: bars as they were traded, with the splits told, come out as adjusted ones do."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotrader.core import events as ev
from autotrader.market.feed import ShareSplit

from .demos import CALENDAR, START, Morning, Played, Trade, as_traded, bars, play

DAYS = 25
RATIOS = ((2, 1), (3, 2), (1, 4), (4, 1), (5, 1))  # new, old
# a rule that compares with the close before, so that this one too has to be in the new shares
DAY_MOVE = (
    "    - {name: time_exit,",
    "    - {name: day_move, when: move_pct <= -2.5%, then: exit}\n    - {name: time_exit,",
)
SPLIT_TODAY = (
    "      - {name: gap_too_large,",
    "      - {name: split_today, when: corporate_action, then: reject}\n      - {name: gap_too_large,",
)


def splits_of(played: Played) -> list[ShareSplit]:
    """One for each trade of more than a night: by turns before the open of its entry, and of the session after."""
    held = [trade for trade in played.book.all_trades() if trade.sessions_held >= 2]
    assert len(held) > 5
    found: dict[str, ShareSplit] = {}
    for number, trade in enumerate(held):
        entered = trade.entered_at.date()
        session = entered if number % 2 else CALENDAR.next_session(entered)
        found.setdefault(trade.symbol, ShareSplit(trade.symbol, session, *RATIOS[number % len(RATIOS)]))
    return list(found.values())


def facts(trade: Trade) -> tuple[object, ...]:
    exited = trade.exited_at and trade.exited_at.date()
    return trade.symbol, trade.strategy, trade.direction, trade.entered_at, exited, trade.exit_rule, trade.plan.rank


def test_the_same_days_with_splits_told_come_out_the_same_to_within_a_share(tmp_path: Path) -> None:
    plain = play(tmp_path / "adjusted", DAYS, START, DAY_MOVE, mode="path")
    assert any(trade.exit_rule == "day_move" for trade in plain.book.trades)
    splits = splits_of(plain)
    raw = play(tmp_path / "raw", DAYS, START, DAY_MOVE, panel=as_traded(bars(), splits), splits=splits, mode="path")
    ours, theirs = raw.book.all_trades(), plain.book.all_trades()
    assert list(map(facts, ours)) == list(map(facts, theirs))
    for one, other in zip(ours, theirs, strict=True):
        if one.pnl is not None and other.pnl is not None:
            gains = [
                trade.pnl / (trade.quantity * trade.entry_price) for trade in (one, other) if trade.pnl is not None
            ]
            assert gains[0] == pytest.approx(gains[1], abs=5e-4)
    # an entry may be a share more or less, of up to five times the price
    assert raw.book.equity_history[-1][1] == pytest.approx(plain.book.equity_history[-1][1], rel=2e-3)


def test_a_held_symbol_is_split_once_in_the_journal_and_told(tmp_path: Path) -> None:
    plain = play(tmp_path / "adjusted", DAYS)
    splits = splits_of(plain)
    raw = play(tmp_path / "raw", DAYS, panel=as_traded(bars(), splits), splits=splits)
    journaled = [event for event in raw.events() if isinstance(event, ev.Split)]
    assert journaled
    assert journaled == raw.told(ev.Split)
    for event in journaled:
        assert event.at < CALENDAR.opens_at(event.session)
    assert {(event.symbol, event.session) for event in journaled} <= {(s.symbol, s.session) for s in splits}


def test_a_candidate_that_is_split_before_the_open_is_filtered_in_the_new_shares_and_says_so(tmp_path: Path) -> None:
    first = play(tmp_path / "adjusted", 1)
    chosen = first.told(Morning)[0].record.filtered[0]
    split = ShareSplit(chosen.symbol, START, 4, 1)
    raw = play(tmp_path / "raw", 1, panel=as_traded(bars(), [split]), splits=[split])
    (found,) = (item for item in raw.told(Morning)[0].record.filtered if item.symbol == chosen.symbol)
    assert (found.prev_close, found.atr) == pytest.approx((chosen.prev_close, chosen.atr))
    assert found.metadata["atr"] == pytest.approx(chosen.metadata["atr"])
    assert found.gap_pct == pytest.approx(chosen.gap_pct)
    rejecting = play(tmp_path / "rejecting", 1, START, SPLIT_TODAY, panel=as_traded(bars(), [split]), splits=[split])
    assert [(item.symbol, item.reason) for item in rejecting.told(Morning)[0].record.rejected] == [
        (chosen.symbol, "split_today")
    ]


def test_where_nobody_said_whether_there_are_splits_a_rule_that_asks_for_them_is_answered_unknown(
    tmp_path: Path,
) -> None:
    record = play(tmp_path, 1, START, SPLIT_TODAY).told(Morning)[0].record
    assert record.candidates_after == 0
    assert {item.reason for item in record.rejected} == {"split_today"}

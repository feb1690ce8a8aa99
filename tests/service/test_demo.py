"""Whole sessions in virtual time: the calendar, the stages, the fills, the journal."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import parquet

from autotrader.batch.files import filtered_path, read_batch_result, read_filtered, result_path
from autotrader.core import events as ev
from autotrader.core.panel import FIELDS
from autotrader.core.trader import Trader
from autotrader.execution.day import TradingDay
from autotrader.journal.store import Journal
from autotrader.market.memory import PanelFeed
from autotrader.market.playback import Playback
from autotrader.service.demo import DemoError

from .demos import CALENDAR, START, Dawn, Evening, Morning, Night, Played, Told, Trade, bars, edited, play

NINE_THIRTY, NINE_FORTY_FIVE, TEN = time(9, 30), time(9, 45), time(10)


def sessions(played: Played) -> list[date]:
    return [tale.session for tale in played.told(Dawn)]


def orders(played: Played) -> dict[str, ev.Ordered]:
    return {event.order_id: event for event in played.events() if isinstance(event, ev.Ordered)}


# --- which sessions -----------------------------------------------------------------------------------------------


def test_holidays_are_left_out_and_a_half_day_ends_at_one(tmp_path: Path) -> None:
    played = play(tmp_path, 3, date(2019, 11, 28))
    dawns = [(tale.session.isoformat(), tale.closes) for tale in played.told(Dawn)]
    assert dawns == [("2019-11-29", time(13)), ("2019-12-02", time(16)), ("2019-12-03", time(16))]
    closed = [event.at.time() for event in played.events() if isinstance(event, ev.SessionClosed)]
    assert closed == [time(13), time(16), time(16)]
    on_the_half_day = [event.at.time() for event in played.events() if event.at.date() == date(2019, 11, 29)]
    assert [at for at in on_the_half_day if at > time(13)] == [time(20)], "the evening's scan"


def test_without_a_start_the_last_session_of_the_data_is_the_last_one_played(tmp_path: Path) -> None:
    assert sessions(play(tmp_path, 2, None)) == [date(2019, 12, 30), date(2019, 12, 31)]


def test_more_days_than_there_are_data_for_are_refused_with_how_many_there_are(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="the data ends on 2019-12-31: of 5 sessions from 2019-12-30 it has 2"):
        play(tmp_path, 5, date(2019, 12, 30))


def test_no_day_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="--days is at least 1"):
        play(tmp_path, 0)


# --- the stages ---------------------------------------------------------------------------------------------------


def test_each_session_is_scanned_the_evening_before_filtered_entered_in_both_groups_and_closed(month: Played) -> None:
    played = sessions(month)
    assert [tale.session for tale in month.told(Night)] == [CALENDAR.previous_session(START), *played]
    for session in played:
        before = CALENDAR.previous_session(session)
        scan = read_batch_result(result_path(month.folder / "batch_results", before))
        filtered = read_filtered(filtered_path(month.folder / "batch_results", before))
        assert (scan.scan_date, filtered.filter_date) == (before, session)
        assert filtered.candidates_before == len(scan.candidates)
    done: dict[date, list[tuple[str, time]]] = {}
    for event in month.events():
        if isinstance(event, ev.StageDone):
            done.setdefault(event.session, []).append((event.stage, event.at.time()))
    assert list(done) == played
    for found in done.values():
        named = dict(found)
        assert named["gap_filter"] == time(9, 25)
        assert (named["enter:moo"], named["enter:confirmation"]) == (NINE_THIRTY, NINE_FORTY_FIVE)
        assert (named["close"], named["scan"]) == (time(16), time(20))


def test_entries_are_sent_at_their_groups_times_and_never_more_than_three_a_session(month: Played) -> None:
    entries = [order for order in orders(month).values() if order.leg == "entry"]
    assert len(entries) > 10
    assert {order.at.time() for order in entries} == {NINE_THIRTY, NINE_FORTY_FIVE}
    for session in sessions(month):
        assert sum(order.session == session for order in entries) <= 3
    filled = [event for event in month.events() if isinstance(event, ev.Filled)]
    entered = {order.order_id for order in entries}
    assert all(event.at.time() < TEN for event in filled if event.order_id in entered)


def test_a_candidate_that_a_limit_keeps_out_is_on_record_and_a_lower_ranked_one_takes_the_slot(month: Played) -> None:
    with Journal.read(month.journal) as journal:
        limits = list(journal.decisions(stage="limits"))
    kept_out = {(record.session, record.symbol) for record in limits if record.outcome == "reject"}
    assert {record.rule for record in limits} > {None, "strategy_full"}
    overtaken = 0
    for tale in month.told(Told):
        names = [outcome.symbol for outcome in tale.outcomes if outcome.entered]
        for outcome in tale.outcomes:
            refused = outcome.decisions[-1].stage == "limits" and not outcome.entered
            assert not refused or (tale.at.date(), outcome.symbol) in kept_out
            overtaken += refused and bool(names)
    assert overtaken


def test_without_a_scan_nothing_is_entered_and_what_is_held_is_left_all_the_same(tmp_path: Path) -> None:
    whole, gone = bars(), date(2019, 3, 8)

    def lose(fields: dict[str, np.ndarray]) -> None:
        missing = whole.dates == np.datetime64(gone)
        for name in FIELDS:
            fields[name][20:, missing] = np.nan

    played = play(tmp_path, 8, panel=edited(whole, lose))
    failed = [tale for tale in played.told(Night) if tale.record is None]
    assert failed[0].session == gone
    assert "only 20 of 120 symbols" in str(failed[0].problem)
    days = sessions(played)
    assert len(days) == 8
    assert [tale.session for tale in played.told(Morning)] == [day for day in days if day <= gone]
    sent = list(orders(played).values())
    assert max(order.session for order in sent if order.leg == "entry") <= gone
    assert max(order.session for order in sent if order.leg == "exit") > gone


# --- prices and money ---------------------------------------------------------------------------------------------


def test_every_fill_is_at_the_open_of_the_first_minute_from_its_order_on(month: Played) -> None:
    playback, sent = Playback(PanelFeed(bars()), CALENDAR), orders(month)
    fills = [event for event in month.events() if isinstance(event, ev.Filled)]
    assert {sent[event.order_id].leg for event in fills} == {"entry", "exit"}
    for event in fills:
        order = sent[event.order_id]
        minute = -(-(order.at - CALENDAR.opens_at(event.session)) // timedelta(minutes=1))
        day = playback.day(event.session, [order.symbol]).bars[order.symbol]
        assert event.price == pytest.approx(day.open[minute]), order.symbol
        assert event.at == CALENDAR.opens_at(event.session) + minute * timedelta(minutes=1)


def test_slippage_goes_against_the_order_and_commission_is_paid_for_each(tmp_path: Path, month: Played) -> None:
    costly = play(tmp_path, 5, slippage_bps=10.0, commission=1.5)
    sent, free = orders(costly), {event.order_id: event for event in month.events() if isinstance(event, ev.Filled)}
    compared = 0
    for event in costly.events():
        # an exit may come at another minute, since it is measured from a dearer entry
        if isinstance(event, ev.Filled) and event.order_id in free and event.at == free[event.order_id].at:
            order = sent[event.order_id]
            buys = (order.direction == "long") == (order.leg == "entry")
            expected = free[event.order_id].price * (1.001 if buys else 0.999)
            assert event.price == pytest.approx(expected, abs=1e-4)
            assert event.commission == 1.5
            compared += 1
    assert compared >= 3


def test_equity_at_each_close_is_cash_and_shares_at_the_days_closes(month: Played) -> None:
    sent, panel = orders(month), bars()
    row = {symbol: index for index, symbol in enumerate(panel.symbols)}
    cash, shares = 100_000.0, dict.fromkeys(panel.symbols, 0)
    expected, found = [], []
    for event in month.events():
        if isinstance(event, ev.Filled):
            order = sent[event.order_id]
            sign = (1 if order.direction == "long" else -1) * (1 if order.leg == "entry" else -1)
            shares[order.symbol] += sign * event.quantity
            cash -= sign * event.quantity * event.price + event.commission
        elif isinstance(event, ev.Charged):
            cash -= event.amount
        elif isinstance(event, ev.SessionClosed):
            closes = panel.close[:, panel.dates == np.datetime64(event.session)][:, 0]
            expected.append(cash + sum(count * closes[row[name]] for name, count in shares.items() if count))
            found.append(event.equity)
    assert found == pytest.approx(expected)
    assert found == [tale.equity for tale in month.told(Evening)]


def test_every_closed_trade_is_told_once(month: Played) -> None:
    assert month.told(Trade) == month.book.trades
    assert len(month.book.trades) > 5


# --- the journal --------------------------------------------------------------------------------------------------


def test_the_account_is_what_the_journal_folds_to(month: Played) -> None:
    with Journal.read(month.journal) as journal:
        again = journal.book()
    assert again.trades == month.book.trades
    assert (again.cash, again.positions, again.orders) == (month.book.cash, month.book.positions, month.book.orders)
    assert again.equity_history == month.book.equity_history


def test_the_same_days_again_are_the_same_to_the_letter_and_another_seed_is_not(tmp_path: Path) -> None:
    one, again, other = (play(tmp_path / name, 4, seed=seed) for name, seed in (("1", 0), ("2", 0), ("3", 1)))
    assert one.events() == again.events()
    assert dump(one) == dump(again)
    assert one.events() != other.events()


def dump(played: Played) -> list[object]:
    with Journal.read(played.journal) as journal:
        return [(record.key, record.outcome, record.body) for record in journal.decisions()]


def test_after_each_minute_everything_of_it_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = []
    tick_of = TradingDay.tick

    def watched(day: TradingDay, *groups: Any) -> None:
        tick_of(day, *groups)
        ticks.append(day.desk.journal.in_transaction)

    monkeypatch.setattr(TradingDay, "tick", watched)
    play(tmp_path, 2)
    assert len(ticks) >= 2 * 391
    assert not any(ticks)


def test_a_halt_for_a_day_holds_and_the_next_bar_decides(tmp_path: Path, month: Played) -> None:
    trade = next(t for t in month.book.trades if t.sessions_held >= 2 and t.exit_rule == "time_exit")
    assert trade.exited_at is not None
    halted, panel = trade.exited_at.date(), bars()

    def halt(fields: dict[str, np.ndarray]) -> None:
        for name in FIELDS:
            fields[name][panel.symbols.index(trade.symbol), panel.dates == np.datetime64(halted)] = np.nan

    days = len(CALENDAR.sessions(START, halted)) + 1
    played = play(tmp_path, days, panel=edited(panel, halt))
    again = next(t for t in played.book.trades if (t.symbol, t.entered_at) == (trade.symbol, trade.entered_at))
    assert again.exited_at is not None
    assert again.exited_at.date() == CALENDAR.next_session(halted)
    before = next(item.equity for item in played.told(Evening) if item.session == CALENDAR.previous_session(halted))
    assert next(item.equity for item in played.told(Evening) if item.session == halted) == pytest.approx(
        before, rel=0.03
    )


# --- the folder ---------------------------------------------------------------------------------------------------


def test_a_demo_starts_empty_and_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    play(tmp_path, 2)
    (tmp_path / "data" / "notes.txt").write_text("mine")
    again = play(tmp_path, 1)
    assert len(again.book.equity_history) == 1
    assert (tmp_path / "data" / "notes.txt").read_text() == "mine"
    results = sorted(path.name for path in (tmp_path / "data" / "batch_results").iterdir())
    assert results == ["2019-03-01.json", "2019-03-01_filtered.json", "2019-03-04.json"]


def test_the_journal_of_a_real_account_is_never_taken_for_a_demos(tmp_path: Path) -> None:
    Journal.open(tmp_path / "data" / "journal.sqlite3", "PA-7", initial_cash=1.0).close()
    with pytest.raises(DemoError, match="is the journal of account PA-7, not of a demo"):
        play(tmp_path, 1)
    with Journal.read(tmp_path / "data" / "journal.sqlite3") as journal:
        assert journal.account_id == "PA-7"


# --- other rules, other days --------------------------------------------------------------------------------------


def exits(played: Played) -> Mapping[str, int]:
    rules = [trade.exit_rule for trade in played.book.trades]
    return {str(rule): rules.count(rule) for rule in set(rules)}


def test_a_nearer_emergency_stop_leaves_on_the_entry_session_and_says_so(tmp_path: Path, month: Played) -> None:
    assert not [t for t in month.book.trades if t.exit_rule == "emergency_stop" and t.sessions_held == 0]
    near = play(tmp_path, 30, START, ("emergency_stop_pct: 7%", "emergency_stop_pct: 1%"))
    left = [trade for trade in near.book.trades if trade.exit_rule == "emergency_stop"]
    assert any(trade.sessions_held == 0 for trade in left)
    for trade in left:
        assert trade.exit_price is not None
        sign = 1 if trade.direction == "long" else -1
        assert (trade.entry_price - trade.exit_price) * sign / trade.entry_price > 0.005


def test_a_strategy_in_the_later_group_enters_at_its_time_and_only_if_confirmed(tmp_path: Path, month: Played) -> None:
    moved = play(
        tmp_path, 30, START,
        ("strategies: [rsi_mean_reversion, overbought_short]", "strategies: [overbought_short]"),
        ("strategies: [adx_pullback, bb_squeeze, regime_momentum]",
         "strategies: [adx_pullback, bb_squeeze, regime_momentum, rsi_mean_reversion]"),
    )  # fmt: skip

    def times(played: Played) -> set[time]:
        return {o.at.time() for o in orders(played).values() if o.leg == "entry" and o.strategy == "rsi_mean_reversion"}

    assert NINE_THIRTY in times(month)
    assert times(moved) == {NINE_FORTY_FIVE}
    with Journal.read(moved.journal) as journal:
        asked = [record for record in journal.decisions(stage="confirmation")
                 if record.strategy == "rsi_mean_reversion"]  # fmt: skip
    assert {record.outcome for record in asked} == {"enter", "discard"}


def test_moving_the_time_exit_above_the_others_makes_it_the_reason(tmp_path: Path, month: Played) -> None:
    line = "    - {name: time_exit, when: days_held >= max_hold_days, then: exit}\n"
    first = "    - {name: stop_loss,"
    moved = play(tmp_path, 30, START, (line, ""), (first, line + first), ("max_hold_days: 5", "max_hold_days: 1"))
    same = play(tmp_path / "last", 30, START, ("max_hold_days: 5", "max_hold_days: 1"))
    assert exits(moved)["time_exit"] > exits(same)["time_exit"]


def test_a_listener_hears_exits_with_the_numbers_that_made_them(month: Played) -> None:
    for tale in month.told(Told):
        for judged in tale.step.judged if tale.step else ():
            assert json.dumps(judged.decision.as_json(), default=str)
            assert judged.decision.outcome in {"exit", "hold"}
    assert any(tale.step is not None for tale in month.told(Told))


def test_a_demo_uses_the_trader_that_everything_else_uses() -> None:
    from autotrader.backtest import engine
    from autotrader.service import demo

    assert demo.Trader is engine.Trader is Trader


# --- gaps in the minutes ------------------------------------------------------------------------------------------


def test_minutes_without_a_bar_or_a_price_are_waited_out_and_not_counted(tmp_path: Path, month: Played) -> None:
    trade = next(t for t in month.book.trades if t.plan.group == "CONFIRM" and t.sessions_held)
    day = trade.entered_at.date()
    made = Playback(PanelFeed(bars()), CALENDAR).day(day, [trade.symbol]).bars[trade.symbol]
    rows = [minute for minute in range(390) if minute not in {15, 16}]
    random.Random(1).shuffle(rows)  # a file may be in any order
    columns = {name: pa.array(getattr(made, name)[rows]) for name in FIELDS}
    unpriced = pa.array([minute in range(100, 111) for minute in rows])
    columns["close"] = pc.if_else(unpriced, None, columns["close"])
    opens = CALENDAR.opens_at(day)
    starts = [opens + timedelta(minutes=minute) for minute in rows]
    folder = tmp_path / "minutes"
    folder.mkdir()
    parquet.write_table(
        pa.table({
            "symbol": [trade.symbol] * len(rows),
            "ts": pa.array(starts, pa.timestamp("us", "America/New_York")),
            **columns,
        }),
        folder / "m.parquet",
    )  # fmt: skip
    played = play(tmp_path, len(CALENDAR.sessions(START, day)), START, minutes=folder)
    held = played.book.positions[trade.symbol]
    assert held.entered_at == opens + timedelta(minutes=17), "the order waited for the first bar"
    assert held.entry_price == pytest.approx(made.open[17])
    assert held.bars_held == 390 - 17 - 11
    seen = [minute for minute in range(17, 390) if minute not in range(100, 111)]
    assert held.best_price == pytest.approx(max(made.high[seen].max(), held.entry_price))
    assert held.worst_price == pytest.approx(min(made.low[seen].min(), held.entry_price))

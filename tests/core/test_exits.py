"""The day: which rule leaves a position, on which bar."""

from __future__ import annotations

import math
from datetime import date, timedelta
from random import Random
from typing import Any

import pytest
from days import CALENDAR, Floor, configuration, facts_of

from autotrader.core import events as ev
from autotrader.core.book import Book
from autotrader.core.exits import MOVING, POINTS, Bar, ExitRuleEngine, between, facts, first_exit, stop_distance
from autotrader.core.strategy import Direction
from autotrader.core.trader import Trader

SIDES = ("long", "short")
STRATEGY = {"long": "rsi_mean_reversion", "short": "bb_squeeze"}


def at(side: str, change: float) -> float:
    """100 USD moved by `change` in the position's favour."""
    return 100.0 + change if side == "long" else 100.0 - change


def held(side: str = "long", *edits: tuple[str, str], sessions: int = 1, **more: Any) -> Floor:
    """A position at 100 with an ATR of 2, some sessions after its entry."""
    floor = Floor(*edits)
    floor.hold("A", **({"strategy": STRATEGY[side], "direction": side} | more))
    floor.trader.prices["A"] = 100.0
    if sessions:
        floor.next(sessions)
    return floor


# --- each rule, both sides ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("sessions", [0, 1])
def test_a_loss_of_ten_percent_leaves_on_one_bar_of_any_day(side: str, sessions: int) -> None:
    floor = held(side, sessions=sessions, atr=20.0)
    assert floor.bar(5, "A", at(side, -9.99)) == ""
    assert floor.bar(6, "A", at(side, -10.0)) == "emergency_immediate"


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("sessions", [0, 1])
def test_a_loss_of_seven_percent_leaves_on_the_second_bar_of_any_day(side: str, sessions: int) -> None:
    floor = held(side, sessions=sessions, atr=20.0)
    assert floor.bar(5, "A", at(side, -6.99)) == ""
    assert floor.bar(6, "A", at(side, -7.0)) == ""
    assert floor.bar(7, "A", at(side, -7.0)) == "emergency_stop"


@pytest.mark.parametrize("side", SIDES)
def test_a_bar_back_above_seven_percent_begins_the_count_anew(side: str) -> None:
    floor = held(side, atr=20.0)
    outcomes = [floor.bar(5 + i, "A", at(side, change)) for i, change in enumerate((-8, -6, -8, -6, -8, -8))]
    assert outcomes == ["", "", "", "", "", "emergency_stop"]


@pytest.mark.parametrize("side", SIDES)
def test_on_the_entry_session_only_the_emergency_rules_leave(side: str) -> None:
    for price in (at(side, -6.9), at(side, 8.0)):
        floor = held(side, sessions=0, atr=1.0)
        assert floor.bar(5, "A", price) == ""
        assert floor.step.judged[0].decision.rule == "day_skip"
        floor.next()
        assert floor.bar(0, "A", price) in {"stop_loss", "take_profit"}


@pytest.mark.parametrize("side", SIDES)
def test_the_stop_stands_at_its_multiple_of_the_atr(side: str) -> None:
    multiple = 2.5 if side == "long" else 2.0
    floor = held(side)
    assert floor.bar(5, "A", at(side, -2 * multiple + 0.01)) == ""
    assert floor.bar(6, "A", at(side, -2 * multiple)) == "stop_loss"


def test_the_stop_is_capped_at_a_share_of_the_entry_price() -> None:
    floor = held("short", strategy="overbought_short", atr=4.0)  # 2.5 ATR would be 10
    assert floor.bar(5, "A", 104.99) == ""
    assert floor.bar(6, "A", 105.0) == "stop_loss"


def test_the_stop_is_measured_from_the_actual_fill() -> None:
    floor = held(price=98.0)  # planned at 98 as well; the fill decides
    assert floor.bar(5, "A", 93.01) == ""
    assert floor.bar(6, "A", 93.0) == "stop_loss"


def test_a_second_fill_moves_the_stop_with_the_average_price() -> None:
    floor = Floor()
    plan = ev.EntryPlan("MOO", 1, 0.5, None, "TREND", 2.0, 100.0, 100.0, 5.0, "now")
    order = ev.Ordered(floor.at(0), floor.session, "x", "A", "rsi_mean_reversion", "long", "entry", 20, plan)
    floor.tell(order, ev.Filled(floor.at(0), floor.session, "x", 10, 100.0, 10))
    floor.bar(0, "A", 100.0)
    floor.tell(ev.Filled(floor.at(1), floor.session, "x", 10, 104.0, 20))
    floor.bar(1, "A", 104.0)
    assert facts_of(floor.trader.close_session(floor.at(390)).judged[0].decision, "emergency_stop")["loss_pct"] == (
        pytest.approx(-2 / 102)
    )
    floor.open(CALENDAR.next_session(floor.session))
    assert floor.bar(0, "A", 97.01) == ""
    assert floor.bar(1, "A", 97.0) == "stop_loss"


@pytest.mark.parametrize("side", SIDES)
def test_profit_is_taken_at_its_multiple_of_the_atr(side: str) -> None:
    floor = held(side)
    assert floor.bar(5, "A", at(side, 5.99)) == ""
    assert floor.bar(6, "A", at(side, 6.0)) == "take_profit"


@pytest.mark.parametrize(("side", "reached", "not_yet"), [("long", 50.1, 50.0), ("short", 24.9, 25.0)])
def test_profit_is_taken_beyond_the_rsi_target_of_the_last_completed_day(
    side: str, reached: float, not_yet: float
) -> None:
    for rsi, rule in ((not_yet, ""), (reached, "rsi_target"), (math.nan, "")):
        floor = held(side)
        floor.indicators["A"] = {"rsi": rsi}
        assert floor.bar(0, "A", 100.0) == rule
        if rule:
            assert floor.book.trades[-1].exit_reason == "take_profit"


def test_the_targets_are_yesterdays_all_day() -> None:
    floor = held()
    floor.indicators["A"] = {"rsi": 40.0}
    assert floor.bar(0, "A", 100.0) == ""
    floor.indicators["A"] = {"rsi": 60.0}  # what tonight's scan will find
    assert floor.bar(1, "A", 100.0) == ""
    floor.next()
    assert floor.bar(0, "A", 100.0) == "rsi_target"


@pytest.mark.parametrize(("pct_b", "rule"), [(0.5, ""), (0.49, "band_target")])
def test_a_short_takes_profit_below_its_band_target(pct_b: float, rule: str) -> None:
    floor = held("short", strategy="overbought_short")
    floor.indicators["A"] = {"pct_b": pct_b, "rsi": 60.0}
    assert floor.bar(0, "A", 100.0) == rule


def test_a_strategy_without_a_target_does_not_leave_by_it() -> None:
    floor = held()
    floor.indicators["A"] = {"pct_b": 5.0}
    assert floor.bar(0, "A", 100.0) == ""
    short = held("short", strategy="overbought_short")  # no tp_atr_mult
    assert short.bar(0, "A", 80.0) == ""


def test_the_trailing_stop_waits_for_one_atr_of_gain_and_then_leaves_two_atr_below_the_best() -> None:
    floor = held(strategy="regime_momentum", atr=3.0)
    assert floor.bar(1, "A", 102.9) == ""
    assert floor.bar(2, "A", 96.9) == "", "the best gain never was one ATR"
    assert floor.bar(3, "A", 103.0) == ""
    assert floor.bar(4, "A", 97.01) == ""
    assert floor.bar(5, "A", 97.0) == "trailing_stop"


def test_the_best_price_is_remembered_over_nights_and_from_the_highs() -> None:
    floor = held(strategy="regime_momentum", sessions=0, atr=3.0)
    floor.bar(1, "A", 101.0, high=104.0)
    floor.next()
    assert floor.bar(0, "A", 98.01) == ""
    assert floor.bar(1, "A", 98.0) == "trailing_stop"


def test_the_trailing_stop_of_a_short_follows_the_lows() -> None:
    edit = (
        "tp_rsi: {long: 75, short: 25}\n    max_hold_days: 5",
        "tp_rsi: {long: 75, short: 25}\n    max_hold_days: 5\n    trailing_atr_mult: 2.0",
    )
    floor = held("short", edit, atr=3.0)
    assert floor.bar(1, "A", 98.0, low=96.0) == ""
    assert floor.bar(2, "A", 101.99) == ""
    assert floor.bar(3, "A", 102.0) == "trailing_stop"


@pytest.mark.parametrize("side", SIDES)
def test_a_five_day_hold_leaves_on_the_first_bar_of_the_sixth_session(side: str) -> None:
    floor = held(side, sessions=0)
    for _ in range(4):
        floor.next()
        assert [floor.bar(minute, "A", 100.0) for minute in (0, 200, 389)] == ["", "", ""]
    floor.next()
    assert floor.bar(0, "A", 100.0) == "time_exit"
    assert floor.book.trades[-1].sessions_held == 5


def test_days_are_counted_in_sessions_over_a_holiday_and_a_weekend() -> None:
    floor = Floor(session=date(2020, 2, 13))  # Thursday; Monday the 17th is a holiday
    floor.hold("A")
    floor.next(2)
    assert floor.session == date(2020, 2, 18)
    floor.bar(0, "A", 100.0)
    row = floor.close().judged[0].decision.facts
    assert row is not None
    assert (row["days_held"], row["calendar_days_held"]) == (2, 5)


# --- order and counting -------------------------------------------------------------------------------------------


def test_the_first_rule_in_the_file_decides() -> None:
    floor = held(sessions=5)
    floor.indicators["A"] = {"rsi": 99.0}
    assert floor.bar(0, "A", 89.0) == "emergency_immediate", "stop, target and time would leave as well"
    floor = held(sessions=5)
    floor.indicators["A"] = {"rsi": 99.0}
    assert floor.bar(0, "A", 94.0) == "stop_loss"
    floor = held(sessions=5)
    floor.indicators["A"] = {"rsi": 99.0}
    assert floor.bar(0, "A", 100.0) == "rsi_target"


def test_moving_a_rule_up_makes_it_decide() -> None:
    time_exit = "- {name: time_exit, when: days_held >= max_hold_days, then: exit}"
    stop = "- {name: stop_loss, when: loss_per_share >= stop_distance, then: exit}"
    assert held(sessions=5).bar(0, "A", 94.0) == "stop_loss"
    assert (
        held(
            "long", (stop, f"{time_exit}\n    {stop}"), (f"then: exit}}\n    {time_exit}", "then: exit}"), sessions=5
        ).bar(0, "A", 94.0)
        == "time_exit"
    )


def test_the_emergency_count_runs_while_an_earlier_rule_holds() -> None:
    skip = "    - {name: day_skip, when: days_held == 0, then: hold, because: The first session's noise is not a reason to leave.}\n"  # noqa: E501
    first = "    - {name: emergency_immediate,"
    floor = held(
        "long",
        (skip, ""),
        (first, "    - {name: early, when: minute_of_session <= 10, then: hold}\n" + first),
        atr=20.0,
    )
    assert floor.bar(8, "A", 92.0) == ""
    assert floor.bar(9, "A", 92.0) == ""
    assert floor.bar(10, "A", 92.0) == "emergency_stop", "held three bars, the first two of them under `early`"


def test_an_unknown_never_closes_a_position() -> None:
    floor = held(atr=math.inf)
    assert floor.bar(0, "A", 95.0) == ""


# --- bars ---------------------------------------------------------------------------------------------------------


def test_a_minute_without_a_bar_neither_counts_nor_resets() -> None:
    floor = held(atr=20.0)
    assert floor.bar(5, "A", 92.0) == ""
    assert floor.bar(9, "A", 92.0) == "emergency_stop"


@pytest.mark.parametrize("price", [math.nan, math.inf, 0.0, -5.0])
def test_a_bar_without_a_price_is_no_bar(price: float) -> None:
    floor = held(atr=20.0)
    assert floor.bar(5, "A", 92.0) == ""
    before = floor.book.positions["A"].bars_held
    assert floor.bar(6, "A", price) == ""
    assert floor.book.positions["A"].bars_held == before
    assert floor.trader.prices["A"] == 92.0
    assert floor.bar(7, "A", 92.0) == "emergency_stop"


def test_the_same_bar_twice_counts_once() -> None:
    floor = held(atr=20.0)
    assert [floor.bar(5, "A", 92.0) for _ in range(3)] == ["", "", ""]
    assert floor.bar(6, "A", 92.0) == "emergency_stop"


def test_a_bar_that_comes_too_late_changes_nothing() -> None:
    floor = held(atr=20.0)
    floor.bar(7, "A", 92.0)
    assert floor.bar(6, "A", 80.0) == ""
    assert floor.trader.prices["A"] == 92.0
    assert floor.book.positions["A"].worst_price == 92.0


def test_a_bar_that_began_before_the_fill_is_not_judged() -> None:
    floor = Floor()
    floor.hold("A", minute=15.5)
    assert floor.bar(15, "A", 50.0) == ""
    assert floor.book.positions["A"].bars_held == 0
    assert floor.bar(16, "A", 50.0) == "emergency_immediate"


def test_the_count_does_not_cross_a_night() -> None:
    floor = held(atr=20.0)
    floor.bar(389, "A", 92.0)
    floor.next()
    assert floor.bar(0, "A", 92.0) == ""
    assert floor.bar(1, "A", 92.0) == "emergency_stop"


def test_after_a_restart_in_mid_count_the_next_bar_decides_as_it_would_have() -> None:
    straight, broken = held(atr=20.0), held(atr=20.0)
    for floor in (straight, broken):
        for minute, price in ((0, 99.0), (1, 101.0), (2, 92.5)):
            assert floor.bar(minute, "A", price, high=price + 0.5, low=price - 0.5) == ""
    fresh = Floor()
    fresh.book = Book(100_000.0).fold(broken.journal)
    fresh.session = broken.session
    fresh.trader = Trader(fresh.book, fresh.rulebooks, "test", fresh.day_of)
    for minute, price in ((0, 99.0), (1, 101.0), (2, 92.5)):
        bar = Bar(price + 0.5, price - 0.5, price, minute + 1, 389 - minute)
        assert not fresh.trader.bars(fresh.at(minute), {"A": bar}, decide=False).orders
    for floor in (straight, fresh):
        assert floor.book.positions["A"].bars_held == 3
        assert floor.bar(3, "A", 92.0) == "emergency_stop"
    assert straight.book.trades[0].bars_held == fresh.book.trades[0].bars_held
    assert straight.book.trades == fresh.book.trades


def test_bars_held_counts_on_over_sessions() -> None:
    floor = held(sessions=0)
    for minute in range(3):
        floor.bar(minute, "A", 100.0)
    floor.next()
    floor.bar(0, "A", 100.0)
    assert floor.book.positions["A"].bars_held == 4


def test_a_half_day_has_its_own_distance_to_the_close() -> None:
    floor = Floor(session=date(2019, 11, 29))
    floor.hold("A")
    floor.bar(208, "A", 100.0)
    floor.bar(209, "A", 100.0)
    row = floor.close().judged[0].decision.facts
    assert row is not None
    assert (row["minute_of_session"], row["minutes_to_close"]) == (210, 0)
    assert floor.journal[-1].at == floor.opens + timedelta(hours=3, minutes=30)


# --- splits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("new", "old"), [(4, 1), (1, 2), (3, 2)])
def test_a_split_before_the_open_changes_no_decision(new: int, old: int) -> None:
    ratio = new / old
    plain, split = held(strategy="regime_momentum", sessions=0), held(strategy="regime_momentum", sessions=0)
    for floor in (plain, split):
        floor.bar(10, "A", 100.5, high=101.0, low=98.0)
        floor.next()
    split.tell(ev.Split(split.at(-5), split.session, "A", new, old))
    position = split.book.positions["A"]
    assert position.quantity == 100 * new // old
    assert split.book.equity(split.trader.prices) == pytest.approx(plain.book.equity(plain.trader.prices))
    engine = configuration().rulebook
    distance = stop_distance(engine, "regime_momentum", "long", position.entry_price, position.plan.atr)
    assert distance / position.entry_price == pytest.approx(3.0 / 100)
    for minute, price in ((0, 101.0), (1, 97.01), (2, 96.99)):
        assert plain.bar(minute, "A", price) == split.bar(minute, "A", price / ratio)
    assert plain.book.trades[0].exit_rule == split.book.trades[0].exit_rule == "stop_loss"
    assert plain.book.trades[0].pnl == pytest.approx(split.book.trades[0].pnl)
    assert (plain.book.trades[0].mfe, plain.book.trades[0].mae) == pytest.approx(
        (split.book.trades[0].mfe, split.book.trades[0].mae)
    )


# --- the way to an exit -------------------------------------------------------------------------------------------


def test_one_exit_is_ordered_however_many_bars_say_so() -> None:
    floor = held()
    floor.fills = False
    assert [floor.bar(minute, "A", 80.0) for minute in range(3)] == ["emergency_immediate", "", ""]


@pytest.mark.parametrize("status", ["rejected", "expired", "canceled"])
def test_an_exit_that_came_to_nothing_is_ordered_again_for_the_first_reason(status: ev.Ended) -> None:
    floor = held()
    floor.fills = False
    assert floor.bar(0, "A", 94.0) == "stop_loss"
    floor.end(floor.step.orders[0], status)
    assert floor.bar(1, "A", 100.0) == "stop_loss", "though the price came back"
    assert floor.step.orders[0].order_id.endswith("-2")


def test_what_a_partial_exit_left_is_ordered_again_and_never_more() -> None:
    floor = held()
    floor.fills = False
    floor.bar(0, "A", 94.0)
    floor.fill(floor.step.orders[0], 94.0, 30)
    floor.end(floor.step.orders[0], "canceled")
    assert floor.bar(1, "A", 94.0) == "stop_loss"
    assert floor.step.orders[0].quantity == 70
    floor.fill(floor.step.orders[0], 93.0)
    trade = floor.book.trades[0]
    assert (trade.quantity, trade.pnl) == (100, pytest.approx(-30 * 6 - 70 * 7))


def test_an_exit_left_over_from_yesterday_is_ordered_again_on_the_first_bar() -> None:
    floor = held()
    floor.fills = False
    floor.bar(389, "A", 94.0)
    floor.end(floor.step.orders[0], "expired")
    floor.next()
    assert floor.bar(0, "A", 100.0) == "stop_loss"


def test_a_second_position_in_the_symbol_begins_its_own_count() -> None:
    floor = Floor()
    floor.hold("A", atr=20.0)
    assert floor.bar(1, "A", 89.0) == "emergency_immediate"
    floor.hold("A", "bb_squeeze", price=100.0, atr=20.0, minute=2)
    assert floor.bar(2, "A", 92.0) == "", "one bar below 7%, whatever the first position had seen"
    assert floor.bar(3, "A", 92.0) == "emergency_stop"


def test_positions_are_left_by_the_rules_they_were_opened_under() -> None:
    floor = Floor()
    floor.rulebooks["later"] = configuration(("emergency_stop_pct: 7%", "emergency_stop_pct: 3%")).rulebook
    floor.hold("A", atr=20.0)
    floor.hold("B", "bb_squeeze", atr=20.0, config_hash="later")
    outcomes = {symbol: [floor.bar(minute, symbol, 96.0) for minute in (1, 2)] for symbol in ("A", "B")}
    assert outcomes == {"A": ["", ""], "B": ["", "emergency_stop"]}
    assert floor.step.judged[-1].config_hash == "later"


# --- measures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES)
def test_mfe_and_mae_are_the_best_and_worst_gain_while_held(side: str) -> None:
    floor = held(side, sessions=0, quantity=10)
    best, worst = at(side, 4.0), at(side, -3.0)
    floor.bar(1, "A", 100.0, high=max(best, worst), low=min(best, worst))
    floor.next()
    floor.bar(0, "A", at(side, 1.0), high=at(side, 1.0) + 0.5, low=at(side, 1.0) - 0.5)
    floor.bar(1, "A", at(side, -12.0))
    trade = floor.book.trades[0]
    assert (trade.mfe, trade.mae, trade.pnl) == (pytest.approx(40.0), pytest.approx(-120.0), pytest.approx(-120.0))


def test_the_way_to_an_exit_is_found_to_a_billionth() -> None:
    found = first_exit(100.0, 90.0, lambda price: price <= 95.123456789)
    assert found <= 95.123456789
    assert found == pytest.approx(95.123456789, rel=1e-9)


def test_where_the_beginning_already_leaves_the_end_is_what_was_reached() -> None:
    assert first_exit(100.0, 90.0, lambda _: True) == 90.0


# --- on a path ----------------------------------------------------------------------------------------------------


def test_on_a_path_the_first_price_that_leaves_is_the_fill_and_two_bars_count_as_one() -> None:
    floor = held(atr=20.0)
    step, price = floor.trader.point(floor.at(130), "A", Bar.point(90.5, 130, 260), 100.0)
    assert price == pytest.approx(93.0, rel=1e-9)
    assert [order.rule for order in step.orders] == ["emergency_stop"]
    assert step.judged[0].decision.facts is not None


def test_on_a_path_a_gap_at_the_open_leaves_at_the_open() -> None:
    floor = held(atr=2.0)
    step, price = floor.trader.point(floor.at(0), "A", Bar.point(91.0, 0, 390), None)
    assert price == 91.0
    assert [order.rule for order in step.orders] == ["emergency_stop"]


NEAR = ("max(1.25 * emergency_immediate_pct * entry_price, 1.25 * stop_distance)", "0.5 * atr_at_entry")


@pytest.mark.parametrize("side", SIDES)
def test_on_a_path_a_protective_stop_sells_at_its_price_where_it_comes_before_the_rules(side: str) -> None:
    floor = held(side, NEAR)
    assert not floor.trader.settled("A", [(0, 100.0), (130, at(side, -1.0))], 390)
    point = Bar.point(at(side, -20.0), 130, 260)
    step, price = floor.trader.point(floor.at(130), "A", point, at(side, 1.0))
    assert price == at(side, -1.0)
    assert floor.book.positions["A"].worst_price == price
    assert [(order.rule, order.leg) for order in step.orders] == [("protective_stop", "exit")]
    assert not step.judged, "no rule has decided"


@pytest.mark.parametrize("side", SIDES)
def test_on_a_path_an_open_beyond_the_protective_stop_is_what_it_gets(side: str) -> None:
    floor = held(side)
    step, price = floor.trader.point(floor.at(0), "A", Bar.point(at(side, -15.0), 0, 390), None)
    assert price == at(side, -15.0)
    assert [order.rule for order in step.orders] == ["protective_stop"]


def test_on_a_path_a_rule_before_the_protective_stop_leaves_and_a_disabled_stop_does_nothing() -> None:
    step, _ = held().trader.point(Floor().at(130), "A", Bar.point(70.0, 130, 260), 100.0)
    assert [order.rule for order in step.orders] == ["stop_loss"]
    floor = held("long", NEAR, ("enabled: true\n    distance", "enabled: false\n    distance"))
    step, _ = floor.trader.point(floor.at(130), "A", Bar.point(98.0, 130, 260), 100.0)
    assert not step.orders


def test_on_a_path_the_best_price_comes_from_completed_points_only() -> None:
    floor = held(strategy="regime_momentum", atr=2.0)
    steps = [(130, 99.0, 100.0), (260, 105.0, 99.0)]
    for minute, price, before in steps:
        assert not floor.trader.point(floor.at(minute), "A", Bar.point(price, minute, 390 - minute), before)[0].orders
    step, price = floor.trader.point(floor.at(390), "A", Bar.point(100.0, 390, 0), 105.0)
    assert [order.rule for order in step.orders] == ["trailing_stop"]
    assert price == pytest.approx(101.0, rel=1e-9), "two ATR below the 105 that the point before reached"


# --- a rule that has to be known ----------------------------------------------------------------------------------

DAY_SKIP = "    - {name: day_skip,"
STRICT = DAY_SKIP, f"    - {{name: strict, when: pct_b > 2, then: exit, on_missing: fail}}\n{DAY_SKIP}"


def test_a_rule_that_fails_leaves_nothing_and_is_told_apart() -> None:
    floor = held("long", STRICT)
    floor.indicators["A"] = {"pct_b": math.nan}
    floor.next()
    assert floor.bar(5, "A", 94.0) == "", "a stop, if the rules went on"
    (judged,) = floor.step.judged
    assert (judged.decision.outcome, judged.decision.rule, judged.decision.missing) == ("fail", "strict", ("pct_b",))
    assert floor.bar(6, "A", 89.0) == "emergency_immediate", "the rules before it decide as ever"


def test_a_rule_that_fails_no_longer_lets_the_others_decide_again() -> None:
    floor = held("long", STRICT)
    floor.indicators["A"] = {"pct_b": math.nan}
    floor.next()
    assert floor.bar(5, "A", 94.0) == ""
    floor.indicators["A"] = {"pct_b": 0.5}
    floor.trader.renew_days()
    assert floor.bar(6, "A", 94.0) == "stop_loss"


# --- what moves within a session ----------------------------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("seed", range(20))
def test_every_fact_of_a_path_lies_between_its_ends(side: Direction, seed: int) -> None:
    random = Random(seed)
    floor = held(side, atr=random.choice([0.5, 2.0, 8.0]))
    position, minutes = floor.book.positions["A"], 390
    for _ in range(random.randrange(3)):
        position.mark(*[random.uniform(80, 120)] * 2)
    engine = ExitRuleEngine(floor.configuration.rulebook)
    floor.prev_close = random.choice([math.nan, 101.0])
    day = floor.day_of("now", "A")
    points = [random.uniform(85, 115) for _ in range(POINTS)]
    least, most = between(position, day, min(points), max(points), minutes)
    assert least.keys() == most.keys() == MOVING
    still = engine.fixed(position, day)
    assert not still.keys() & MOVING
    for number, price in enumerate(points):
        minute = minutes * number // 3
        row = facts(position, still, day, Bar.point(price, minute, minutes - minute))
        assert row.keys() == still.keys() | MOVING
        for name in MOVING:
            value, low, high = row[name], least[name], most[name]
            assert low <= value <= high or (value != value and low != low), name
        position.mark(price, price)
        position.bars_held += 1

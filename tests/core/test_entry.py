"""The morning: slots, confirmation, limits, sizing."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import pytest
from days import Floor, candidate, facts_of, prices

from autotrader.core import events as ev
from autotrader.core.gap_filter import Quote


def short(symbol: str, rank: int = 1, **more: Any) -> Any:
    return candidate(symbol, rank, "overbought_short", "short", **more)


def momentum(symbol: str, rank: int = 1, **more: Any) -> Any:
    return candidate(symbol, rank, "regime_momentum", **more)


# --- confirmation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("price", "outcome"), [(100.01, "entered"), (100.0, "entered"), (99.99, "not_confirmed")])
def test_a_long_is_confirmed_at_or_above_the_previous_close(price: float, outcome: str) -> None:
    floor = Floor()
    floor.plan(momentum("A"))
    assert floor.group("confirmation", A=price) == {"A": outcome}


@pytest.mark.parametrize(("price", "outcome"), [(99.99, "entered"), (100.0, "entered"), (100.01, "not_confirmed")])
def test_a_short_is_confirmed_at_or_below_the_previous_close(price: float, outcome: str) -> None:
    floor = Floor()
    floor.plan(candidate("A", strategy="bb_squeeze", direction="short"))
    assert floor.group("confirmation", A=price) == {"A": outcome}


def test_without_a_price_nothing_is_confirmed_and_nothing_is_entered() -> None:
    floor = Floor()
    floor.plan(candidate("M"), momentum("A", 2))
    assert floor.group("moo") == {"M": "no_entry"}
    assert floor.group("confirmation") == {"M": "no_entry", "A": "not_confirmed"}
    assert not floor.book.positions


EARLY = """early:
      at: "09:40"
      order: market
      strategies: [bb_squeeze]
      rules:
        - {name: moves, when: move_pct >= 0, then: enter}
    confirmation:
      at:"""


def test_who_was_not_confirmed_is_out_for_the_day() -> None:
    floor = Floor(("confirmation:\n      at:", EARLY), ("[adx_pullback, bb_squeeze,", "[adx_pullback,"))
    floor.plan(candidate("A", strategy="bb_squeeze", entry_group="EARLY"))
    step = floor.trader.group_due(floor.at(10), "early", 10, prices(A=99.0))
    assert [item.reason for item in step.outcomes] == ["discard"]
    assert floor.group("confirmation", A=101.0) == {}


def test_the_open_group_is_entered_without_confirmation() -> None:
    floor = Floor()
    floor.plan(candidate("A"))
    assert floor.group("moo", A=98.0) == {"A": "entered"}


# --- slots --------------------------------------------------------------------------------------------------------


def test_three_entries_a_session_go_to_the_best_of_both_groups() -> None:
    floor = Floor()
    floor.plan(momentum("A", 1), momentum("B", 2), candidate("C", 3), candidate("D", 4), short("E", 5))
    assert floor.group("moo", C=100.0, D=100.0, E=100.0) == {
        "C": "entered", "D": "better_ones_wait", "E": "better_ones_wait",
    }  # fmt: skip
    assert floor.group("confirmation", A=100.0, B=100.0, D=100.0, E=100.0) == {
        "A": "entered", "B": "entered", "D": "entries_used_up", "E": "entries_used_up",
    }  # fmt: skip
    assert sorted(floor.book.positions) == ["A", "B", "C"]


def test_first_come_first_served_does_not_happen() -> None:
    floor = Floor()
    late = [momentum("A", 1), candidate("B", 2, "bb_squeeze"), candidate("C", 3, "adx_pullback")]
    floor.plan(*late, candidate("D", 4))
    assert floor.group("moo", D=100.0) == {"D": "better_ones_wait"}
    assert floor.group("confirmation", A=100.0, B=100.0, C=100.0, D=100.0)["D"] == "entries_used_up"


def test_who_waited_gets_the_slot_that_a_better_one_did_not_take() -> None:
    floor = Floor()
    floor.plan(*(momentum(name, rank) for rank, name in enumerate("ABC", 1)), candidate("D", 4))
    floor.group("moo", D=100.0)
    outcomes = floor.group("confirmation", A=99.0, B=99.0, C=101.0, D=98.0)
    assert outcomes == {"A": "not_confirmed", "B": "not_confirmed", "C": "entered", "D": "entered"}
    assert facts_of(floor.decided["D"][1], "better_ones_wait") == {
        "entries_today": 1, "better_ranked_waiting": 0, "max_daily_entries": 3.0,
    }  # fmt: skip


def test_those_better_ranked_in_ones_own_group_do_not_count_as_waiting() -> None:
    floor = Floor()
    floor.plan(candidate("A", 1), candidate("B", 2, "overbought_short", "short"), momentum("C", 3), momentum("D", 4))
    assert floor.group("moo", A=100.0, B=100.0) == {"A": "entered", "B": "entered"}


def test_an_entry_that_died_unfilled_frees_its_slot() -> None:
    floor = Floor()
    floor.fills = False
    floor.plan(*(momentum(name, rank) for rank, name in enumerate("AB", 1)), candidate("C", 3), candidate("D", 4))
    floor.group("moo", C=100.0, D=100.0)
    assert floor.book.entries_today() == 1
    floor.end(floor.step.orders[0], "rejected")
    assert floor.book.entries_today() == 0
    outcomes = floor.group("confirmation", A=100.0, B=100.0, D=100.0)
    assert outcomes == {"A": "entered", "B": "entered", "D": "entered"}, "C itself was tried and is not asked again"


def test_a_pending_entry_counts_like_a_filled_one() -> None:
    for fills in (True, False):
        floor = Floor()
        floor.fills = fills
        floor.plan(*(candidate(name, rank) for rank, name in enumerate("ABC", 1)))
        outcomes = floor.group("moo", A=100.0, B=100.0, C=100.0)
        assert outcomes == {"A": "entered", "B": "entered", "C": "strategy_full"}
        floor.plan(candidate("A", 1, "adx_pullback"), candidate("D", 2, "adx_pullback"))
        assert floor.group("confirmation", D=100.0) == {"D": "entered"}, "A was entered already and is not asked"


def test_an_entry_filled_in_part_counts_once() -> None:
    floor = Floor()
    floor.fills = False
    floor.plan(candidate("A"), candidate("B", 2))
    floor.group("moo", A=100.0, B=100.0)
    floor.fill(floor.step.orders[0], 100.0, 10)
    assert floor.book.entries_today() == 2
    floor.plan(candidate("C", 3, "adx_pullback"))
    floor.group("confirmation", C=100.0)
    read = facts_of(floor.decided["C"][2], "open_positions_full")
    assert read["open_positions"] == 2


# --- limits, each at its boundary ---------------------------------------------------------------------------------

LONG = [("rsi_mean_reversion", "long"), ("bb_squeeze", "long"), ("adx_pullback", "long"), ("regime_momentum", "long")]


def full(*held: tuple[str, str, str, str | None]) -> Floor:
    """A floor the day after these were entered: symbol, strategy, direction, sector."""
    floor = Floor(session=date(2020, 2, 28))
    for symbol, strategy, direction, sector in held:
        floor.hold(symbol, strategy, direction, 10, sector=sector)  # type: ignore[arg-type]
    floor.next()
    for symbol, *_ in held:
        floor.trader.prices[symbol] = 100.0
    return floor


def held_long(count: int) -> list[tuple[str, str, str, str | None]]:
    return [(f"L{i}", LONG[i % 3 + 1][0], "long", None) for i in range(count)]


def held_short(count: int) -> list[tuple[str, str, str, str | None]]:
    return [(f"S{i}", ("overbought_short", "bb_squeeze")[i % 2], "short", None) for i in range(count)]


def test_the_ninth_position_is_refused_and_the_eighth_is_not() -> None:
    floor = full(*held_long(5), *held_short(2))
    floor.plan(candidate("A"), short("B", 2))
    assert floor.group("moo", A=100.0, B=100.0) == {"A": "entered", "B": "open_positions_full"}


def test_the_seventh_long_is_refused_and_a_short_takes_the_slot() -> None:
    floor = full(*held_long(5))
    floor.plan(candidate("A"), candidate("B", 2), short("C", 3))
    assert floor.group("moo", A=100.0, B=100.0, C=100.0) == {"A": "entered", "B": "longs_full", "C": "entered"}


def test_the_fourth_short_is_refused_and_a_long_takes_the_slot() -> None:
    floor = full(*held_short(2))
    floor.plan(short("A"), short("B", 2), candidate("C", 3))
    assert floor.group("moo", A=100.0, B=100.0, C=100.0) == {"A": "entered", "B": "shorts_full", "C": "entered"}


def test_the_third_position_of_a_strategy_is_refused_and_another_strategy_takes_the_slot() -> None:
    floor = full(("H", "rsi_mean_reversion", "long", None))
    floor.plan(candidate("A"), candidate("B", 2), short("C", 3))
    assert floor.group("moo", A=100.0, B=100.0, C=100.0) == {"A": "entered", "B": "strategy_full", "C": "entered"}


def test_the_fourth_position_of_a_sector_is_refused_and_another_sector_takes_the_slot() -> None:
    floor = full(*((f"H{i}", name, side, "Energy") for i, (name, side) in enumerate(LONG[1:3])))
    floor.plan(candidate("A", sector="Energy"), short("B", 2, sector="Energy"), short("C", 3, sector="Utilities"))
    assert floor.group("moo", A=100.0, B=100.0, C=100.0) == {"A": "entered", "B": "sector_full", "C": "entered"}


def test_the_fourth_entry_of_a_session_is_refused() -> None:
    floor = Floor()
    floor.plan(candidate("A"), candidate("B", 2), short("C", 3), short("D", 4))
    assert list(floor.group("moo", A=100.0, B=100.0, C=100.0, D=100.0).values()) == [
        *["entered"] * 3,
        "entries_used_up",
    ]
    floor.next()
    floor.plan(candidate("E", 1, "adx_pullback"))
    assert floor.group("confirmation", E=100.0) == {"E": "entered"}, "a new session, new slots"


def test_the_days_loss_is_measured_against_the_previous_close() -> None:
    floor = Floor(session=date(2020, 2, 28))
    floor.hold("H", quantity=500)
    floor.trader.prices["H"] = 90.0  # -5% yesterday
    floor.next()
    floor.plan(candidate("A", 1, "adx_pullback"))
    assert floor.group("confirmation", A=100.0) == {"A": "entered"}


@pytest.mark.parametrize(("price", "outcome"), [(95.01, "entered"), (95.0, "daily_loss"), (50.0, "daily_loss")])
def test_no_entry_after_a_days_loss_of_two_percent_open_losses_included(price: float, outcome: str) -> None:
    floor = Floor(session=date(2020, 2, 28))
    floor.hold("H", quantity=400)
    floor.trader.prices["H"] = 100.0
    floor.next()
    floor.trader.prices["H"] = price  # 400 x 5 is 2% of 100,000
    floor.plan(candidate("A", 1, "adx_pullback"))
    assert floor.group("confirmation", A=100.0)["A"] == outcome


@pytest.mark.parametrize(("equity", "outcome"), [(85_001.0, "entered"), (85_000.0, "drawdown")])
def test_no_entry_after_a_drawdown_of_fifteen_percent(equity: float, outcome: str) -> None:
    floor = Floor(session=date(2020, 2, 28))
    floor.book.cash = equity
    floor.next()
    floor.plan(candidate("A"))
    assert floor.group("moo", A=100.0) == {"A": outcome}


def test_the_drawdown_stays_closed_after_a_recovery_until_a_person_resets_it() -> None:
    floor = Floor(session=date(2020, 2, 28))
    floor.book.cash = 80_000.0
    floor.next()
    floor.book.cash = 110_000.0
    floor.next()
    floor.plan(candidate("A"))
    assert floor.group("moo", A=100.0) == {"A": "drawdown"}
    floor.tell(ev.DrawdownReset(floor.at(1), floor.session))
    floor.plan(candidate("A"))
    assert floor.group("moo", A=100.0) == {"A": "entered"}


def test_a_drawdown_that_kept_a_candidate_out_keeps_them_out_though_the_close_was_better() -> None:
    floor = full(("A", "bb_squeeze", "long", None))
    held = floor.book.positions["A"]
    down, up = held.entry_price - 16_000 / held.quantity, held.entry_price
    floor.trader.prices["A"] = down
    floor.plan(candidate("B"))
    step = floor.trader.group_due(floor.at(0), "moo", 0, prices(B=100.0))
    assert step.outcomes[0].decisions[-1].matched == ("daily_loss", "drawdown")
    seen = [event for event in step.events if isinstance(event, ev.DrawdownSeen)]
    assert [round(floor.book.drawdown(event.equity), 2) for event in seen] == [0.16]
    floor.trader.prices["A"] = up
    floor.next()
    floor.plan(candidate("B"))
    step = floor.trader.group_due(floor.at(0), "moo", 0, prices(B=100.0))
    assert [item.reason for item in step.outcomes] == ["drawdown"]
    assert not step.events, "it has been seen"


@pytest.mark.parametrize(
    ("shortable", "outcome"), [(True, "entered"), (False, "not_shortable"), (None, "not_shortable")]
)
def test_a_short_needs_a_lender_that_is_known(shortable: bool | None, outcome: str) -> None:
    floor = Floor()
    floor.plan(short("A"))
    step = floor.trader.group_due(floor.at(0), "moo", 0, {"A": Quote(100.0, 0.0, 0.0, False, shortable)})
    assert [item.reason for item in step.outcomes] == [outcome]


@pytest.mark.parametrize("direction", ["long", "short"])
def test_a_symbol_that_is_held_on_either_side_is_not_entered_again(direction: str) -> None:
    floor = full(("A", "bb_squeeze", direction, None))
    floor.plan(candidate("A"))
    assert floor.group("moo", A=100.0) == {"A": "already_held"}


@pytest.mark.parametrize("direction", ["long", "short"])
def test_without_that_limit_a_symbol_has_one_position_all_the_same(direction: str) -> None:
    floor = Floor(("    - {name: already_held, when: symbol_held, then: reject}\n", ""))
    floor.hold("A", strategy="bb_squeeze", direction=direction)
    floor.next()
    floor.plan(candidate("A"), candidate("B", 2))
    assert floor.group("moo", A=100.0, B=100.0) == {"A": "already_held", "B": "entered"}


def test_a_symbol_with_a_pending_entry_is_not_entered_again() -> None:
    floor = Floor()
    floor.fills = False
    floor.plan(candidate("A"))
    floor.group("moo", A=100.0)
    assert floor.trader._alive == []
    floor.trader._alive = list(floor.trader._plan.candidates)  # type: ignore[union-attr]
    assert floor.group("confirmation", A=100.0) == {"A": "already_held"}


@pytest.mark.parametrize("again", [("rsi_mean_reversion", "long"), ("overbought_short", "short")])
def test_a_symbol_is_not_entered_on_the_day_of_its_exit_on_either_side_by_any_strategy(again: tuple[str, Any]) -> None:
    floor = full(("A", "bb_squeeze", "long", None))
    assert floor.bar(0, "A", 80.0) == "emergency_immediate"
    floor.plan(candidate("A", 1, again[0], again[1]))
    assert floor.group("moo", A=100.0) == {"A": "reentry_block"}
    floor.next()
    floor.plan(candidate("A", 1, again[0], again[1]))
    assert floor.group("moo", A=100.0) == {"A": "entered"}


def test_an_exit_that_is_filled_at_the_next_open_blocks_re_entry_on_that_day() -> None:
    floor = full(("A", "bb_squeeze", "long", None))
    floor.fills = False
    assert floor.bar(389, "A", 80.0) == "emergency_immediate"
    ordered = floor.step.orders[0]
    floor.next()
    floor.fill(ordered, 81.0)
    floor.plan(candidate("A", 1, "adx_pullback"))
    assert floor.group("confirmation", A=100.0) == {"A": "reentry_block"}


def test_every_limit_that_is_hit_is_recorded_and_the_first_is_the_reason() -> None:
    floor = full(*held_long(6))
    floor.plan(candidate("L0"))
    assert floor.group("moo", L0=100.0) == {"L0": "already_held"}
    assert floor.decided["L0"][-1].matched == ("already_held", "longs_full")
    assert [item.symbol for item in floor.step.judged] == ["L0", "L0"]


def test_a_limit_over_something_unknown_rejects() -> None:
    floor = Floor(
        ("- {name: drawdown,", "- {name: cooled, when: sessions_since_exit < 3, then: reject}\n    - {name: drawdown,")
    )
    floor.plan(candidate("A"))
    assert floor.group("moo", A=100.0) == {"A": "cooled"}


# --- sizing -------------------------------------------------------------------------------------------------------


def sized(floor: Floor, symbol: str = "A") -> tuple[int, str]:
    intent = next(item.intent for item in floor.step.outcomes if item.symbol == symbol)
    assert intent is not None
    return intent.quantity, intent.sized_by


def test_ten_percent_of_equity_decides_as_a_rule() -> None:
    floor = Floor()
    floor.plan(candidate("A"))
    floor.group("moo", A=99.0)
    assert sized(floor) == (math.floor(10_000 / 99), "position_cap")
    assert floor.step.orders[0].quantity == 101


def test_the_risk_budget_decides_where_the_stop_is_far() -> None:
    floor = Floor()
    floor.plan(candidate("A", atr=10.0))  # the stop is 25 away: 2,000 / 25
    floor.group("moo", A=100.0)
    assert sized(floor) == (80, "risk_budget")


def test_the_capped_stop_distance_is_what_the_budget_is_divided_by() -> None:
    floor = Floor()
    floor.plan(short("A", atr=10.0))  # 2.5 ATR would be 25; the cap is 5% of 100
    floor.group("moo", A=100.0)
    assert floor.step.orders[0].plan is not None
    assert floor.step.orders[0].plan.stop_distance == 5.0
    assert sized(floor) == (65, "position_cap")


def test_what_the_regime_leaves_a_strategy_decides_where_it_holds_something() -> None:
    floor = full(("H", "rsi_mean_reversion", "long", None))
    floor.trader.prices["H"] = 1_300.0  # 10 shares: 13,000 of the 15% of 112,000
    floor.book.equity_history[-1] = (floor.book.equity_history[-1][0], 112_000.0)
    floor.plan(candidate("A"), regime="TREND")
    floor.group("moo", A=100.0)
    assert sized(floor) == (math.floor((112_000 * 0.15 - 13_000) / 100), "regime_budget")


def test_buying_power_decides_where_the_rest_is_invested() -> None:
    floor = Floor(session=date(2020, 2, 28))
    floor.hold("H", "bb_squeeze", quantity=950)
    floor.trader.prices["H"] = 100.0
    floor.next()
    floor.plan(candidate("A"))
    floor.group("moo", A=100.0)
    assert sized(floor) == (50, "buying_power")


def test_one_entry_takes_from_the_buying_power_of_the_next() -> None:
    floor = Floor(session=date(2020, 2, 28))
    floor.hold("H", "bb_squeeze", quantity=850)
    floor.trader.prices["H"] = 100.0
    floor.next()
    floor.plan(candidate("A"), candidate("B", 2))
    floor.group("moo", A=100.0, B=100.0)
    assert (sized(floor, "A"), sized(floor, "B")) == ((100, "position_cap"), (50, "buying_power"))


def test_shorts_are_two_thirds_of_a_long_to_the_percent_named() -> None:
    floor = Floor()
    floor.plan(short("A"))
    floor.group("moo", A=99.0)
    assert sized(floor)[0] == math.floor(10_000 / 99 * 0.65)


@pytest.mark.parametrize(("cash", "outcome"), [(2_000.0, "entered"), (1_999.0, "order_too_small")])
def test_an_order_under_200_dollars_is_not_worth_it(cash: float, outcome: str) -> None:
    floor = Floor(cash=cash)
    floor.plan(candidate("A", prev_close=10.0, atr=0.2))
    assert floor.group("moo", A=10.0) == {"A": outcome}


def test_less_than_one_share_is_no_entry() -> None:
    floor = Floor(("min_order_value: 200", "min_order_value: 0"), cash=900.0)
    floor.plan(candidate("A"))
    assert floor.group("moo", A=100.0) == {"A": "no_whole_share"}
    assert not floor.step.orders


def test_a_strategy_beyond_its_budget_enters_nothing() -> None:
    floor = full(("H", "rsi_mean_reversion", "long", None))
    floor.trader.prices["H"] = 3_000.0
    floor.book.equity_history[-1] = (floor.book.equity_history[-1][0], 129_000.0)
    floor.plan(candidate("A"), regime="TREND")
    assert floor.group("moo", A=100.0) == {"A": "order_too_small"}


def test_an_unknown_atr_sizes_nothing() -> None:
    floor = Floor()
    floor.plan(candidate("A", atr=math.nan))
    assert floor.group("moo", A=100.0) == {"A": "no_entry"}


def test_every_stage_of_an_entry_is_recorded_with_its_evidence() -> None:
    floor = Floor()
    floor.plan(momentum("A"))
    floor.group("confirmation", A=101.0)
    assert [item.stage for item in floor.decided["A"]] == ["confirmation", "reentry", "limits", "sizing", "order"]
    assert facts_of(floor.decided["A"][0], "confirmed") == {"move_pct": 0.01}
    assert facts_of(floor.decided["A"][3], "position_cap") == {
        "equity": 100_000.0, "max_position_pct": 0.1, "price": 101.0,
    }  # fmt: skip


# --- rules that have to be known ----------------------------------------------------------------------------------

HELD = "    - {name: already_held,"


@pytest.mark.parametrize(
    ("edit", "stage", "reason"),
    [
        ((HELD, f"    - {{name: strict, when: sessions_since_exit < 2, then: reject, on_missing: fail}}\n{HELD}"),
         "limits", "strict unknown"),
        (("- {name: confirmed, when: move_pct >= 0,", "- {name: strict, on_missing: fail, when: spread_pct > 1%, "
          "then: discard}\n        - {name: confirmed, when: move_pct >= 0,"), "confirmation", "strict unknown"),
        (("{name: buying_power, value: buying_power / price}",
          "{name: buying_power, value: buying_power / sessions_since_exit, on_missing: fail}"),
         "sizing", "buying_power unknown"),
        (("when: exited_today, then: reject", "when: sessions_since_exit < 2, then: reject, on_missing: fail"),
         "reentry", "reentry_block unknown"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_rule_that_fails_keeps_its_symbol_out_and_says_so(
    edit: tuple[str, str], stage: str, reason: str
) -> None:
    floor = Floor(edit)
    floor.plan(momentum("A"))
    quote = Quote(101.0, 0.0, math.nan, False, True)
    step = floor.trader.group_due(floor.at(15), "confirmation", 15, {"A": quote})
    (outcome,) = step.outcomes
    assert (outcome.entered, outcome.reason) == (False, reason)
    assert outcome.decisions[-1].failed
    assert outcome.decisions[-1].stage == stage
    assert step.judged[-1].decision.failed

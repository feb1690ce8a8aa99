"""The decision loop as a whole: equity, determinism, restarts, what is recorded."""

from __future__ import annotations

import random

import pytest
from days import CALENDAR, Floor, candidate, filtered, prices

from autotrader.core import events as ev
from autotrader.core.book import Book
from autotrader.core.exits import Bar
from autotrader.core.trader import Plan, Step, Trader

STRATEGIES = ("rsi_mean_reversion", "bb_squeeze", "adx_pullback", "overbought_short", "regime_momentum")


def lively_month(seed: int) -> tuple[Floor, list[Step], list[float]]:
    """Twenty sessions of candidates and random bars; every step, and what the account must be worth at each close."""
    random_ = random.Random(seed)
    floor, steps, worth = Floor(), [], []
    last = {f"S{i}": 100.0 for i in range(12)}
    cash, shares = 100_000.0, dict.fromkeys(last, 0)
    seen = 0
    for _ in range(20):
        names = random_.sample(sorted(last), 6)
        items = []
        for rank, name in enumerate(names, 1):
            strategy = random_.choice(STRATEGIES)
            short = strategy == "overbought_short"
            items.append(candidate(name, rank, strategy, "short" if short else "long", prev_close=last[name]))
        floor.plan(*items)
        floor.group("moo", **last)
        steps.append(floor.step)
        for minute in range(8):
            if minute == 4:
                floor.group("confirmation", **last)
                steps.append(floor.step)
            for name in sorted(last):
                last[name] = round(last[name] * random_.gauss(1.0, 0.012), 2)
                floor.bar(minute if minute < 4 else 15 + minute, name, last[name])
                steps.append(floor.step)
        for event in floor.journal[seen:]:
            if isinstance(event, ev.Filled):
                order = next(e for e in floor.journal if isinstance(e, ev.Ordered) and e.order_id == event.order_id)
                sign = (1 if order.direction == "long" else -1) * (1 if order.leg == "entry" else -1)
                shares[order.symbol] += sign * event.quantity
                cash -= sign * event.quantity * event.price
        seen = len(floor.journal)
        worth.append(cash + sum(count * last[name] for name, count in shares.items()))
        floor.next()
    return floor, steps, worth


def test_equity_at_every_close_is_cash_and_shares_at_their_last_prices() -> None:
    for seed in range(3):
        floor, _, worth = lively_month(seed)
        assert len(floor.book.trades) > 5
        assert [equity for _, equity in floor.book.equity_history] == pytest.approx(worth)


def test_the_same_inputs_give_the_same_steps_to_the_letter() -> None:
    first, second = lively_month(7), lively_month(7)
    for one, other in zip(first[1], second[1], strict=True):
        assert (one.orders, one.events) == (other.orders, other.events)
        assert [item.decision.as_json() for item in one.judged] == [item.decision.as_json() for item in other.judged]
    assert first[0].journal == second[0].journal


def test_the_events_alone_give_the_same_book() -> None:
    floor, _, _ = lively_month(1)
    again = Book(100_000.0).fold(floor.journal)
    assert again.trades == floor.book.trades
    assert again.cash == floor.book.cash
    assert again.equity_history == floor.book.equity_history
    assert again.positions == floor.book.positions


def test_no_limit_is_ever_broken() -> None:
    for seed in range(3):
        floor, _, _ = lively_month(seed)
        book = Book(100_000.0)
        for event in floor.journal:
            book.apply(event)
            assert len(book.positions) <= 8
            assert sum(held.sign > 0 for held in book.positions.values()) <= 6
            assert sum(held.sign < 0 for held in book.positions.values()) <= 3
            assert book.entries_today() <= 3
            assert all(held.quantity > 0 for held in book.positions.values())


def test_a_restart_in_the_morning_does_not_enter_twice() -> None:
    floor = Floor()
    items = (candidate("A"), candidate("B", 2))
    floor.plan(*items)
    floor.group("moo", A=100.0, B=100.0)
    trader = Trader(Book(100_000.0).fold(floor.journal), floor.rulebooks, "test", floor.day_of)
    trader.plan(Plan(filtered(*items), "UNCERTAIN", 1, "now"))
    assert not trader.group_due(floor.at(15), "confirmation", 15, prices(A=100.0, B=100.0)).outcomes


def test_without_a_plan_nothing_is_entered() -> None:
    assert not Floor().trader.group_due(CALENDAR.opens_at(Floor().session), "moo", 0, {}).outcomes


def test_yesterdays_plan_is_not_todays() -> None:
    floor = Floor()
    floor.plan(candidate("A"))
    floor.next()
    assert floor.group("moo", A=100.0) == {}


def test_a_verdict_is_recorded_when_it_changes_and_not_on_every_bar() -> None:
    floor = Floor()
    floor.hold("A", atr=20.0)
    told = []
    for minute, price in enumerate((100.0, 99.0, 98.0, 92.0, 99.0, 98.0)):
        floor.bar(minute, "A", price)
        told.append(len(floor.step.judged))
    assert told == [1, 0, 0, 1, 1, 0]


def test_the_close_records_how_each_position_stood_and_what_its_rules_saw() -> None:
    floor = Floor()
    floor.hold("A", atr=20.0)
    for minute, price in ((0, 101.0), (1, 94.0), (2, 106.0), (3, 103.0)):
        floor.bar(minute, "A", price)
    (judged,) = floor.close().judged
    assert (judged.price, judged.more["bars"]) == (103.0, 4)
    lowest, highest = judged.more["lowest"], judged.more["highest"]
    assert isinstance(lowest, dict)
    assert isinstance(highest, dict)
    assert (lowest["loss_per_share"], highest["loss_per_share"]) == (6.0, -6.0)
    assert judged.decision.rule == "day_skip"


def test_the_last_bars_news_is_told_once() -> None:
    floor = Floor()
    floor.hold("A", atr=20.0)
    floor.bar(388, "A", 100.0)
    floor.bar(389, "A", 92.0)
    assert not floor.step.judged
    (judged,) = floor.close().judged
    assert judged.decision.streaks == (1,)


def test_an_exit_on_the_last_bar_is_told_with_its_order() -> None:
    floor = Floor()
    floor.fills = False
    floor.hold("A", atr=20.0)
    assert floor.bar(389, "A", 80.0) == "emergency_immediate"
    assert len(floor.step.judged) == 1
    assert not floor.close().judged


def test_minutes_that_are_only_taken_in_order_nothing() -> None:
    floor = Floor()
    floor.hold("A")
    step = floor.trader.bars(floor.at(1), {"A": Bar(80.0, 80.0, 80.0, 2, 388)}, decide=False)
    assert not step.orders
    assert floor.book.positions["A"].worst_price == 80.0
    assert floor.bar(2, "A", 80.0) == "emergency_immediate"


def test_symbols_of_a_minute_are_judged_in_alphabetical_order() -> None:
    floor = Floor()
    for name in ("C", "A", "B"):
        floor.hold(name, STRATEGIES[ord(name) % 3])
    bars = {name: Bar(80.0, 80.0, 80.0, 1, 389) for name in ("B", "C", "A")}
    assert [order.symbol for order in floor.trader.bars(floor.at(0), bars).orders] == ["A", "B", "C"]


def test_shorts_pay_for_the_night_and_longs_do_not() -> None:
    floor = Floor()
    floor.hold("L")
    floor.hold("S", "overbought_short", "short")
    floor.trader.prices.update(L=100.0, S=110.0)
    step = floor.trader.close_session(CALENDAR.closes_at(floor.session), borrow=0.0252)
    (charged,) = (event for event in step.events if isinstance(event, ev.Charged))
    assert (charged.symbol, charged.amount) == ("S", pytest.approx(100 * 110 * 0.0001))
    assert floor.book.equity_history[-1][1] == pytest.approx(100_000 - 1_000 - 1.1)


def test_a_split_leaves_the_last_known_worth_as_it_was() -> None:
    floor = Floor()
    floor.hold("A")
    floor.trader.prices["A"] = 120.0
    floor.next()
    before = floor.trader.account()
    floor.tell(ev.Split(floor.at(-5), floor.session, "A", 4, 1))
    assert floor.trader.account() == before

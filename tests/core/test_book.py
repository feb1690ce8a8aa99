"""The fold from events to positions, trades, cash and counters."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.clock import NEW_YORK
from autotrader.core import events as ev
from autotrader.core.book import Book, BookError
from autotrader.core.strategy import Direction

CASH = 100_000.0
PLAN = ev.EntryPlan("MOO", 1, 0.5, "Energy", "TREND", 2.0, 100.0, 100.0, 5.0, "hash")


def day(number: int) -> date:
    return date(2024, 1, 1) + timedelta(days=number)


class Story:
    """Events in the order of their telling, applied to a book as they come."""

    def __init__(self) -> None:
        self.book = Book(CASH)
        self.events: list[ev.Event] = []
        self.number = 0
        self.minute = 0
        self.session()

    @property
    def at(self) -> datetime:
        return datetime.combine(day(self.number), datetime.min.time(), NEW_YORK) + timedelta(minutes=570 + self.minute)

    def tell(self, event: ev.Event) -> None:
        self.minute += 1
        self.book.apply(event)
        self.events.append(event)

    def session(self) -> None:
        self.number, self.minute = self.number + 1, 0
        self.tell(ev.SessionOpened(self.at, day(self.number), self.number))

    def close(self, equity: float) -> None:
        self.tell(ev.SessionClosed(self.at, day(self.number), equity))

    def order(self, leg: ev.Leg, quantity: int, symbol: str = "A", direction: Direction = "long", **more: Any) -> str:
        name = more.pop("name", f"{symbol}-{leg}-{len(self.events)}")
        why = (PLAN, None, None) if leg == "entry" else (None, "stop", "stop_loss")
        ordered = ev.Ordered(self.at, day(self.number), name, symbol, "pullback", direction, leg, quantity, *why)
        self.tell(replace(ordered, **more))
        return name

    def fill(self, order: str, quantity: int, price: float, commission: float = 0.0, late: int = 0) -> None:
        cumulative = self.book.orders[order].filled + quantity if order in self.book.orders else quantity
        self.tell(ev.Filled(self.at, day(self.number - late), order, quantity, price, cumulative, commission))

    def end(self, order: str, status: ev.Ended = "canceled") -> None:
        self.tell(ev.OrderEnded(self.at, day(self.number), order, status))

    def enter(self, price: float, quantity: int = 10, symbol: str = "A", direction: Direction = "long") -> None:
        self.fill(self.order("entry", quantity, symbol, direction), quantity, price)

    def leave(self, price: float, symbol: str = "A", quantity: int | None = None) -> None:
        held = self.book.positions[symbol]
        shares = quantity or held.quantity
        self.fill(self.order("exit", shares, symbol, held.direction), shares, price)

    def mark(self, best: float, worst: float, symbol: str = "A", bars: int = 1) -> None:
        self.tell(ev.Marked(self.at, day(self.number), symbol, best, worst, bars))

    def split(self, new: int, old: int, cash: float = 0.0) -> None:
        self.tell(ev.Split(self.at, day(self.number), "A", new, old, cash))


@pytest.fixture
def story() -> Story:
    return Story()


# --- entries and exits --------------------------------------------------------------------------------------------


def test_an_entry_takes_cash_and_a_long_exit_brings_it_back_with_the_gain(story: Story) -> None:
    story.enter(100.0)
    assert story.book.cash == CASH - 1000
    assert story.book.positions["A"].quantity == 10
    assert not story.book.orders
    story.leave(110.0)
    assert story.book.cash == CASH + 100
    (trade,) = story.book.trades
    assert (trade.pnl, trade.exit_price, trade.exit_reason, trade.exit_rule) == (100.0, 110.0, "stop", "stop_loss")
    assert not story.book.positions


def test_a_short_gains_when_the_price_falls(story: Story) -> None:
    story.enter(100.0, direction="short")
    assert story.book.cash == CASH + 1000
    assert story.book.equity({"A": 90.0}) == CASH + 100
    story.leave(90.0)
    assert story.book.trades[0].pnl == 100.0


def test_partial_fills_of_an_entry_average_its_price_and_keep_the_first_time(story: Story) -> None:
    order = story.order("entry", 10)
    first = story.at
    story.fill(order, 4, 100.0)
    story.fill(order, 6, 105.0)
    held = story.book.positions["A"]
    assert (held.quantity, held.entry_price, held.entered_at) == (10, 103.0, first)
    assert (held.best_price, held.worst_price) == (105.0, 100.0)


def test_an_exit_over_several_attempts_is_one_trade_at_the_mean_price(story: Story) -> None:
    story.enter(100.0)
    first = story.order("exit", 10)
    story.fill(first, 3, 90.0)
    story.end(first, "expired")
    assert story.book.positions["A"].leaving == ("stop", "stop_loss")
    assert story.book.open_trade("A").quantity == 10  # entered, of which seven are held
    assert story.book.positions["A"].quantity == 7
    second = story.order("exit", 7)
    assert story.book.attempts("A", "exit") == 2
    story.fill(second, 7, 80.0)
    (trade,) = story.book.trades
    assert trade.quantity == 10
    assert trade.exit_price == pytest.approx(83.0)
    assert trade.pnl == pytest.approx(-170.0)


def test_an_entry_that_comes_back_after_a_partial_exit_still_adds_up(story: Story) -> None:
    order = story.order("entry", 10)
    story.fill(order, 4, 100.0)
    story.tell(ev.OrderEnded(story.at, day(1), order, "canceled", "no trace at the broker"))
    story.leave(110.0, quantity=2)
    story.tell(ev.Revived(story.at, day(1), order))
    story.fill(order, 6, 120.0)
    story.leave(120.0)
    (trade,) = story.book.trades
    assert trade.quantity == 10
    assert trade.pnl == pytest.approx(20.0 + 40.0)
    assert story.book.cash == pytest.approx(CASH + 60.0)


def test_commissions_and_charges_come_off_cash_and_result(story: Story) -> None:
    order = story.order("entry", 10, direction="short")
    story.fill(order, 10, 100.0, commission=1.0)
    story.tell(ev.Charged(story.at, day(1), "A", 0.5))
    out = story.order("exit", 10, direction="short")
    story.fill(out, 10, 100.0, commission=2.0)
    assert story.book.trades[0].pnl == -3.5
    assert story.book.trades[0].costs == 3.5
    assert story.book.cash == CASH - 3.5


@pytest.mark.parametrize(("direction", "best", "worst"), [("long", 112.0, 97.0), ("short", 97.0, 112.0)])
def test_the_best_gain_is_never_negative_and_the_worst_never_positive(
    story: Story, direction: Direction, best: float, worst: float
) -> None:
    story.enter(100.0, direction=direction)
    assert (story.book.all_trades()[0].mfe, story.book.all_trades()[0].mae) == (0.0, 0.0)
    story.mark(best, worst, bars=5)
    (trade,) = story.book.all_trades()
    assert (trade.mfe, trade.mae) == ((120.0, -30.0) if direction == "long" else (30.0, -120.0))
    assert trade.bars_held == 5
    story.leave(worst if direction == "long" else 112.0)
    assert story.book.trades[0].mae <= (story.book.trades[0].pnl or 0.0) <= story.book.trades[0].mfe


def test_a_fill_learned_of_in_the_next_session_belongs_to_its_own(story: Story) -> None:
    order = story.order("entry", 10)
    story.session()
    story.fill(order, 10, 100.0, late=1)
    held = story.book.positions["A"]
    assert (held.session, held.number) == (day(1), 1)
    assert story.book.entries_today() == 0
    assert story.book.open_trade("A").sessions_held == 1
    out = story.order("exit", 10)
    story.session()
    story.fill(out, 10, 100.0, late=1)
    assert not story.book.exits("A")["exited_today"]
    assert story.book.exits("A")["sessions_since_exit"] == 1
    assert story.book.trades[0].sessions_held == 1


# --- splits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["long", "short"])
def test_a_split_keeps_value_and_distances_and_counts_the_fraction(story: Story, direction: Direction) -> None:
    sign = 1 if direction == "long" else -1
    story.enter(90.0, 7, direction=direction)
    story.mark(96.0, 84.0) if sign > 0 else story.mark(84.0, 96.0)
    story.session()
    story.split(3, 2, cash=sign * 30.0)  # 10.5 shares, half a share at 60
    held = story.book.positions["A"]
    assert held.quantity == 10
    assert held.entry_price == pytest.approx(60.0)
    assert sorted([held.best_price, held.worst_price]) == pytest.approx([56.0, 64.0])
    assert (held.plan.atr, held.plan.stop_distance) == (pytest.approx(2.0 / 1.5), pytest.approx(5.0 / 1.5))
    assert held.plan.stop_distance / held.entry_price == pytest.approx(5.0 / 90.0)
    assert story.book.equity({}) == pytest.approx(CASH)
    story.leave(66.0)
    assert story.book.trades[0].pnl == pytest.approx(sign * 60.0)
    assert story.book.cash == pytest.approx(CASH + sign * 60.0)


def test_a_split_between_two_attempts_of_an_exit_counts_both_in_new_shares(story: Story) -> None:
    story.enter(100.0)
    story.leave(110.0, quantity=4)
    story.session()
    story.split(2, 1)
    story.leave(55.0)
    (trade,) = story.book.trades
    assert (trade.quantity, trade.exit_price, trade.pnl) == (20, pytest.approx(55.0), pytest.approx(100.0))


def test_a_position_of_less_than_a_share_ends_with_its_split(story: Story) -> None:
    story.enter(10.0, 7)
    story.session()
    story.split(1, 10, cash=77.0)
    assert not story.book.positions
    (trade,) = story.book.trades
    assert (trade.quantity, trade.exit_price, trade.pnl, trade.exit_reason) == (7, 11.0, 7.0, "split")
    assert story.book.cash == CASH + 7.0


# --- equity -------------------------------------------------------------------------------------------------------


def test_a_position_without_a_price_counts_at_its_entry_price(story: Story) -> None:
    story.enter(100.0)
    assert story.book.equity({}) == CASH
    assert story.book.equity({"A": math.nan}) == CASH
    assert story.book.equity({"A": 101.0}) == CASH + 10


def test_the_drawdown_is_latched_until_a_person_resets_it(story: Story) -> None:
    for equity in (110_000.0, 88_000.0, 99_000.0):
        story.close(equity)
        story.session()
    assert story.book.peak == 110_000
    assert story.book.worst_drawdown == pytest.approx(0.2)
    assert story.book.drawdown(99_000.0) == pytest.approx(0.1)
    story.tell(ev.DrawdownReset(story.at, day(story.number)))
    assert (story.book.worst_drawdown, story.book.peak) == (0.0, 99_000.0)
    assert story.book.drawdown(120_000.0) == 0.0


def test_a_reset_before_the_first_close_does_not_take_spent_cash_for_equity(story: Story) -> None:
    story.enter(100.0, 800)
    story.tell(ev.DrawdownReset(story.at, day(1)))
    assert story.book.peak == CASH


def test_the_equity_of_yesterday_is_the_last_close(story: Story) -> None:
    assert story.book.previous_equity() is None
    story.close(101_000.0)
    assert story.book.previous_equity() == 101_000.0
    assert story.book.equity_history == [(day(1), 101_000.0)]


# --- counters -----------------------------------------------------------------------------------------------------


def test_entries_today_are_the_filled_and_the_live_ones(story: Story) -> None:
    story.enter(100.0, symbol="A")
    live = story.order("entry", 10, "B")
    dead = story.order("entry", 10, "C")
    assert story.book.entries_today() == 3
    story.end(dead, "rejected")
    assert story.book.entries_today() == 2
    story.fill(live, 4, 100.0)
    assert story.book.entries_today() == 2
    story.end(live)  # a part of it filled: it counts
    assert story.book.entries_today() == 2
    story.order("entry", 6, "B")  # the rest, once more: the same entry
    assert story.book.entries_today() == 2
    story.leave(99.0, "A")
    assert story.book.entries_today() == 2  # an entry that was left again was one
    story.session()
    assert story.book.entries_today() == 0


def test_opening_a_session_again_forgets_nothing_of_it(story: Story) -> None:
    story.enter(100.0)
    story.order("exit", 10)
    story.tell(ev.StageDone(story.at, day(1), "enter:moo"))
    story.tell(ev.SessionOpened(story.at, day(1), 1))
    assert story.book.entries_today() == 1
    assert story.book.attempts("A", "exit") == 1
    assert (day(1), "enter:moo") in story.book.done
    story.session()
    assert story.book.attempts("A", "exit") == 0
    assert not story.book.done


def test_an_exit_is_remembered_by_session_and_distance(story: Story) -> None:
    assert math.isnan(story.book.exits("A")["sessions_since_exit"])
    story.enter(100.0)
    story.leave(101.0, quantity=5)
    assert not story.book.exits("A")["exited_today"]  # half of it is still held
    story.leave(101.0)
    assert story.book.exits("A")["exited_today"]
    assert story.book.exits("A")["sessions_since_exit"] == 0
    story.session()
    story.session()
    assert not story.book.exits("A")["exited_today"]
    assert story.book.exits("A")["sessions_since_exit"] == 2


def test_losing_exits_count_back_to_a_gain(story: Story) -> None:
    for price, streak in ((99.0, 1), (98.0, 2), (101.0, 0), (90.0, 1)):
        story.enter(100.0)
        story.leave(price)
        assert story.book.exits("A")["losing_exits_in_row"] == streak
    assert story.book.exits("B")["losing_exits_in_row"] == 0


# --- contradictions -----------------------------------------------------------------------------------------------


def filled(order: str, quantity: int, cumulative: int, price: float = 100.0) -> ev.Filled:
    return ev.Filled(datetime(2024, 1, 2, 9, 40, tzinfo=NEW_YORK), day(1), order, quantity, price, cumulative)


AT = datetime(2024, 1, 2, 9, 50, tzinfo=NEW_YORK)


def ordered(name: str, symbol: str, leg: ev.Leg, quantity: int = 10, **more: Any) -> ev.Ordered:
    plan = PLAN if leg == "entry" else None
    made = ev.Ordered(AT, day(1), name, symbol, "pullback", "long", leg, quantity, plan, "stop", "stop_loss")
    return replace(made, **more)


CONTRADICTIONS = {
    "a fill of an unknown order": filled("none", 1, 1),
    "a fill of an order that is final": filled("done", 1, 11),
    "a fill with one before it missing": filled("live", 2, 6),
    "the same fill twice": filled("live", 3, 3),
    "more filled than ordered": filled("live", 8, 11),
    "a fill of nothing": filled("live", 0, 3),
    "a fill at no price": filled("live", 1, 4, math.nan),
    "a fill at zero": filled("live", 1, 4, 0.0),
    "the end of an unknown order": ev.OrderEnded(AT, day(1), "none", "filled"),
    "the cancel of a filled order": ev.OrderEnded(AT, day(1), "done", "canceled"),
    "filled, though fills are missing": ev.OrderEnded(AT, day(1), "live", "filled"),
    "an id used twice": ordered("done", "D", "entry"),
    "an order of nothing": ordered("new", "D", "entry", 0),
    "an entry without a plan": ordered("new", "D", "entry", plan=None),
    "a second live entry": ordered("new", "B", "entry"),
    "an entry against the position": ordered("new", "A", "entry", direction="short"),
    "an entry of another strategy": ordered("new", "A", "entry", strategy="squeeze"),
    "an exit of what is not held": ordered("new", "D", "exit"),
    "an exit of more than is held": ordered("new", "A", "exit", 11),
    "an exit of the other side": ordered("new", "A", "exit", direction="short"),
    "an exit without a reason": ordered("new", "A", "exit", reason=None),
    "a second live exit": ordered("new", "C", "exit", 1),
    "a mark of what is not held": ev.Marked(AT, day(1), "D", 1.0, 1.0, 1),
    "a charge for what is not held": ev.Charged(AT, day(1), "D", 1.0),
    "a drawdown to nobody knows what": ev.DrawdownSeen(AT, day(1), math.nan),
    "a split of what is not held": ev.Split(AT, day(1), "D", 2, 1),
    "a split into nothing": ev.Split(AT, day(1), "A", 0, 1),
    "a session before the last": ev.SessionOpened(AT, day(0), 0),
    "another number for a session": ev.SessionOpened(AT, day(1), 2),
    "a second close": ev.SessionClosed(AT, day(1), CASH),
    "an unknown equity": ev.SessionClosed(AT, day(2), math.nan),
}


@pytest.mark.parametrize("event", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_contradiction_is_refused_and_changes_nothing(story: Story, event: ev.Event) -> None:
    story.fill(story.order("entry", 10, "A", name="done"), 10, 100.0)
    story.fill(story.order("entry", 10, "B", name="live"), 3, 100.0)
    story.enter(100.0, symbol="C")
    story.order("exit", 10, "C")
    story.close(CASH)
    before = copy.deepcopy(story.book)
    with pytest.raises(BookError):
        story.book.apply(event)
    assert story.book == before


def test_an_order_is_split_with_its_position_and_cannot_sell_more(story: Story) -> None:
    story.enter(100.0)
    out = story.order("exit", 10)
    story.split(1, 2)
    story.fill(out, 4, 200.0)
    with pytest.raises(BookError, match="6 filled of 5 ordered"):
        story.fill(out, 2, 200.0)


def test_the_end_of_an_order_that_its_last_fill_ended_says_nothing_new(story: Story) -> None:
    order = story.order("entry", 10)
    story.fill(order, 10, 100.0)
    before = copy.deepcopy(story.book)
    story.end(order, "filled")
    assert story.book == before


# --- what holds for every history ---------------------------------------------------------------------------------

PRICES = st.floats(1.0, 1000.0).map(lambda price: round(price, 2))
ACTS = st.sampled_from(
    [
        "enter",
        "exit",
        "stop",
        "fill",
        "fill",
        "fill",
        "end",
        "revive",
        "mark",
        "charge",
        "split",
        "correct",
        "close",
        "reset",
        "see",
    ]
)


def value_is_conserved(book: Book) -> None:
    """What was paid for the shares held, and cash, are the cash at the start and what was gained."""
    held = book.positions.values()
    paid = sum(item.sign * item.quantity * item.entry_price for item in held)
    gained = sum(trade.pnl or 0.0 for trade in book.trades) + sum(item.realized - item.costs for item in held)
    assert book.cash + paid == pytest.approx(CASH + gained, abs=1e-5)


def act(story: Story, name: str, draw: Any) -> None:
    """One more event of the kind that is asked for, if there can be one."""
    book, symbol = story.book, draw(st.sampled_from("ABC"))
    held = book.positions.get(symbol)
    live = {order.ordered.leg: order for order in book.orders.values() if order.ordered.symbol == symbol}
    if name == "enter" and held is None and not live:
        story.order("entry", draw(st.integers(1, 50)), symbol, draw(st.sampled_from(["long", "short"])))
    elif name in {"exit", "stop"} and held is not None and not live:
        story.order(name, draw(st.integers(1, held.quantity)), symbol, held.direction)
    elif name == "revive" and any(map(book.may_return, book.ended)):
        name = draw(st.sampled_from([*filter(book.may_return, book.ended)]))
        story.tell(ev.Revived(story.at, day(story.number), name))
    elif name == "correct" and held is not None and not live:
        price, quantity = draw(PRICES), draw(st.integers(1, held.quantity))
        before = book.equity({symbol: price})
        story.tell(ev.Corrected(story.at, day(story.number), symbol, quantity, price, "ops"))
        assert book.equity({symbol: price}) == pytest.approx(before, abs=1e-6)
    elif name == "fill" and live:
        leg = draw(st.sampled_from(sorted(live)))
        quantity = draw(st.integers(1, live[leg].open_quantity))
        if leg == "entry" or (held is not None and quantity <= held.quantity):
            price, commission = draw(PRICES), draw(st.sampled_from([0.0, 1.0]))
            before = book.equity({symbol: price})
            story.fill(live[leg].ordered.order_id, quantity, price, commission)
            assert book.equity({symbol: price}) == pytest.approx(before - commission, abs=1e-6)
    elif name == "end" and live:
        story.end(draw(st.sampled_from(sorted(order.ordered.order_id for order in live.values()))))
    elif name == "mark" and held is not None:
        low, high = sorted([held.best_price, held.worst_price, draw(PRICES)])[::2]
        best, worst = (high, low) if held.sign > 0 else (low, high)
        story.mark(best, worst, symbol, held.bars_held + 1)
    elif name == "charge" and held is not None:
        story.tell(ev.Charged(story.at, day(story.number), symbol, 0.25))
    elif name == "split" and held is not None and not live and symbol == "A":
        new, old = draw(st.sampled_from([(2, 1), (3, 2), (1, 10), (7, 3)]))
        price = draw(PRICES)  # before the split
        quantity, before = held.quantity, book.equity({"A": price})
        rest = quantity * new % old / old
        story.split(new, old, cash=held.sign * rest * price * old / new)
        assert book.equity({"A": price * old / new}) == pytest.approx(before, abs=1e-6)
    elif name == "close":
        story.close(book.equity({}))
        story.session()
    elif name == "see":
        before = book.worst_drawdown
        story.tell(ev.DrawdownSeen(story.at, day(story.number), book.equity({symbol: draw(PRICES)})))
        assert book.worst_drawdown >= before
    elif name == "reset":
        story.tell(ev.DrawdownReset(story.at, day(story.number)))


@settings(max_examples=150, deadline=None)
@given(st.data(), st.lists(ACTS, max_size=60))
def test_every_history_conserves_value_and_folds_the_same_in_halves(data: st.DataObject, acts: list[str]) -> None:
    story = Story()
    for name in acts:
        act(story, name, data.draw)
        value_is_conserved(story.book)
        for held in story.book.positions.values():
            assert held.quantity > 0
        for trade in story.book.all_trades():
            assert trade.mfe >= 0.0 >= trade.mae
        assert story.book.peak >= (story.book.previous_equity() or 0.0)
    half = len(story.events) // 2
    assert Book(CASH).fold(story.events) == story.book
    assert Book(CASH).fold(story.events[:half]).fold(story.events[half:]) == story.book

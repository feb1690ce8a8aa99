"""A session from tick to tick."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from days import CALENDAR, candidate

from autotrader.core import events as ev
from autotrader.core.exits import Bar
from autotrader.core.gap_filter import Quote, gap_filter
from autotrader.core.trader import Plan
from autotrader.execution.day import Told, TradingDay

from .desks import MONDAY, OPENS, Office
from .test_protective_stop import LEAVE_AT_ONCE


class Tape:
    """A market whose minutes are handed over when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, dict[str, Bar]]] = []
        self.price = 100.0

    def print(self, minute: int, price: float) -> None:
        self.price = price
        self.waiting.append((minute, {"A": Bar(price, price, price, minute + 1, 389 - minute)}))

    def minutes(self, symbols: Collection[str]) -> Sequence[tuple[int, Mapping[str, Bar]]]:
        given, self.waiting = self.waiting, []
        return given

    def quotes(self, symbols: Sequence[str]) -> Mapping[str, Quote]:
        return {symbol: Quote(self.price, 0.0, 0.0, False, True) for symbol in symbols}


class Shift:
    """A day at an office."""

    def __init__(self, folder: Path, *edits: tuple[str, str]) -> None:
        self.office = Office(folder, *edits)
        self.tape = Tape()
        self.heard: list[Told] = []
        self.begin()

    def begin(self) -> None:
        office = self.office
        self.day = TradingDay(office.desk, self.tape, MONDAY, CALENDAR, office.clock, self.heard.append)
        items = [candidate("A", 1), candidate("B", 2, "adx_pullback")]
        passed, _, _ = gap_filter(items, {}, office.chosen.rulebook, "TREND", 1)
        self.day.begin(Plan(tuple(passed), "TREND", 1, "now"))

    def at(self, hour: int, minute: int, second: float = 0) -> None:
        self.office.clock.advance_to(OPENS.replace(hour=hour, minute=minute) + timedelta(seconds=second))
        self.day.tick()

    def fill(self, price: float, symbol: str = "A") -> None:
        self.office.exchange.on_price(self.office.clock.now(), symbol, price)

    def ids(self) -> list[str]:
        return [order.ordered.order_id for order in self.office.book.orders.values()]


@pytest.fixture
def shift(tmp_path: Path) -> Shift:
    return Shift(tmp_path, LEAVE_AT_ONCE)


def stage(shift: Shift, key: str) -> ev.StageDone:
    found: ev.StageDone = shift.office.book.done[MONDAY, f"enter:{key}"]
    return found


def test_each_group_is_entered_at_its_time_and_once(shift: Shift) -> None:
    shift.at(9, 30)
    assert [told.group for told in shift.heard] == ["moo"]
    assert shift.ids() == ["t-20200302-moo-rsi_mean_reversion-A-entry-1"]
    shift.at(9, 30, 1)
    assert len(shift.heard) == 1
    shift.fill(100.0)
    shift.at(9, 45)
    assert [told.group for told in shift.heard] == ["moo", "confirmation"]
    assert stage(shift, "confirmation").status == "done"


def test_a_group_that_comes_late_is_entered_and_marked(shift: Shift) -> None:
    shift.at(9, 52)
    assert (stage(shift, "moo").status, stage(shift, "confirmation").status) == ("late", "late")
    assert len(shift.ids()) == 2


def test_after_the_window_nothing_is_entered_and_it_is_said_why(shift: Shift) -> None:
    shift.at(10, 0)
    assert not shift.ids()
    for key in ("moo", "confirmation"):
        assert (stage(shift, key).status, stage(shift, key).detail) == ("skipped", "the entry window has closed")


def test_an_entry_that_is_open_at_the_end_of_the_window_is_ended_and_asked_about_until_it_is(shift: Shift) -> None:
    shift.at(9, 45)
    shift.office.faults.now = {"fill_after_cancel"}
    shift.at(10, 0)
    statuses = {order.status for order in shift.office.exchange.open_orders()}
    assert statuses == {"pending_cancel"}
    shift.fill(101.0)
    shift.fill(101.0, "B")
    shift.at(10, 0, 20)
    assert not shift.office.book.pending_entries()
    assert set(shift.office.book.positions) == {"A", "B"}, "the fill that came before the end is a position"


@pytest.mark.parametrize(("second", "sent"), [(50, 1), (55, 0)])
def test_nothing_is_sent_in_the_last_seconds_of_the_window(tmp_path: Path, second: int, sent: int) -> None:
    shift = Shift(tmp_path, ('      at: "09:45"\n', '      at: "09:59"\n'))
    shift.office.faults.now = {"refuse_for_now"}
    shift.at(9, 59, 40)
    assert not shift.ids()
    shift.office.faults.now = set()
    shift.at(9, 59, second)  # the margin is 5 seconds
    assert len([name for name in shift.ids() if name.endswith("entry-2")]) == sent  # A waited for an earlier group


def test_a_refusal_that_can_pass_is_tried_again_after_its_waits_and_then_given_up(shift: Shift) -> None:
    shift.office.faults.now = {"refuse_for_now"}
    for second in (0, 4, 5, 14, 15, 44, 45, 300):
        shift.at(9, 30, second)
    tried = [event.order_id for event in shift.office.journal.events() if isinstance(event, ev.Ordered)]  # type: ignore[union-attr]
    assert [name.rsplit("-", 1)[1] for name in tried] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("off", ["a clock that is wrong", "positions that lag behind"])
def test_what_stands_against_entries_stands_against_their_retries(shift: Shift, off: str) -> None:
    shift.office.faults.now = {"refuse_for_now"}
    shift.at(9, 30)
    shift.office.faults.now = set()
    if off == "a clock that is wrong":
        shift.office.desk.hold = off
    else:
        shift.office.desk._lagging = ("B",)
    for second in (5, 15, 45):
        shift.at(9, 30, second)
    tried = [event for event in shift.office.journal.events() if isinstance(event, ev.Ordered)]  # type: ignore[union-attr]
    assert len(tried) == 1


def test_a_refusal_that_cannot_pass_is_not_tried_again(shift: Shift) -> None:
    shift.office.faults.now = {"refuse"}
    for second in (0, 10, 60):
        shift.at(9, 30, second)
    tried = [event for event in shift.office.journal.events() if isinstance(event, ev.Ordered)]  # type: ignore[union-attr]
    assert len(tried) == 1


def test_of_several_minutes_at_once_only_the_newest_decides(shift: Shift) -> None:
    shift.at(9, 30)
    shift.fill(100.0)
    shift.at(9, 31)
    shift.tape.print(1, 90.0)  # would have left
    shift.tape.print(2, 99.0)  # would not
    shift.at(9, 33)
    assert shift.office.book.positions["A"].leaving is None
    assert shift.office.book.positions["A"].worst_price == 90.0, "they are taken in all the same"
    shift.tape.print(3, 90.0)
    shift.at(9, 34)
    assert shift.office.book.positions["A"].leaving is not None


def test_a_day_that_is_begun_again_repeats_nothing(shift: Shift) -> None:
    shift.at(9, 30)
    shift.fill(100.0)
    shift.at(9, 31)
    before = (shift.ids(), dict(shift.office.book.done))
    shift.office.start()
    shift.heard.clear()
    shift.begin()
    shift.at(9, 31)
    assert (shift.ids(), dict(shift.office.book.done)) == before
    assert not shift.heard


def test_while_entries_are_off_a_group_is_skipped_with_the_reason(shift: Shift) -> None:
    shift.office.desk.orders.keep(ev.Paused(shift.office.clock.now(), MONDAY, "ops", "news"))
    shift.at(9, 30)
    assert not shift.ids()
    assert (stage(shift, "moo").status, stage(shift, "moo").detail) == ("skipped", "paused by ops: news")
    shift.office.desk.orders.keep(ev.Resumed(shift.office.clock.now(), MONDAY, "ops"))
    shift.at(9, 45)
    assert len(shift.ids()) == 2, "who waited is asked again with the later group"

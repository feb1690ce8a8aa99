"""Journal and broker side by side, and what is done when they differ."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from autotrader.core import events as ev
from autotrader.core.book import LET_STAND
from autotrader.execution.refusals import meaning
from autotrader.market.broker import OrderRequest, Refused

from .desks import MONDAY, Office


@pytest.fixture
def office(tmp_path: Path) -> Office:
    office = Office(tmp_path)
    office.enter()
    office.bar(100.0)
    return office


def found(office: Office) -> list[tuple[str, str, str]]:
    return [(item.subject, item.expected, item.found) for item in office.book.differences.values()]


def test_what_agrees_is_no_difference(office: Office) -> None:
    office.desk.reconcile()
    assert not found(office)
    assert office.desk.entries_off() is None


def test_a_position_closed_by_hand_turns_entries_off_and_is_told_once(office: Office) -> None:
    office.wait(120)  # its fill is old: no list lacks it any more
    office.exchange.trade_by_hand("A", 0, Decimal(99))
    for _ in range(3):
        office.desk.reconcile()
    assert found(office) == [("A", "100 shares", "0 shares")]
    assert office.desk.entries_off() == "journal and broker disagree about A"
    assert office.told == [("A", "the journal says 100 shares, the broker 0 shares")]


def test_a_list_that_lacks_the_last_fill_keeps_entries_off_for_a_while_and_calls_nobody(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(office.broker, "positions", list)
        office.desk.reconcile()
        assert office.desk.entries_off() == "the broker does not list the last fills of A yet"
        assert not found(office)
        assert not office.told
    office.desk.reconcile()
    assert office.desk.entries_off() is None
    monkeypatch.setattr(office.broker, "positions", list)
    office.wait(120)
    office.desk.reconcile()
    assert found(office) == [("A", "100 shares", "0 shares")]
    assert office.told


def test_shares_that_never_were_held_are_told_at_once(office: Office) -> None:
    office.exchange.trade_by_hand("A", 40, Decimal(99))
    office.desk.reconcile()
    assert found(office) == [("A", "100 shares", "40 shares")]


def test_a_position_opened_by_hand_is_one_too(office: Office) -> None:
    office.exchange.trade_by_hand("X", -5, Decimal(50))
    office.desk.reconcile()
    assert found(office) == [("X", "0 shares", "-5 shares")]


def test_a_difference_that_is_gone_is_resolved_by_itself(office: Office) -> None:
    office.exchange.trade_by_hand("X", 5, Decimal(50))
    office.desk.reconcile()
    office.exchange.trade_by_hand("X", 0, Decimal(50))
    office.desk.reconcile()
    assert not found(office)
    assert office.desk.entries_off() is None


def test_what_a_person_lets_stand_is_not_found_again_and_its_symbol_is_not_entered(office: Office) -> None:
    office.exchange.trade_by_hand("X", 5, Decimal(50))
    office.desk.reconcile()
    office.desk.orders.keep(ev.Resolved(office.clock.now(), MONDAY, "position", "X", "ops", LET_STAND))
    office.desk.reconcile()
    assert not found(office)
    office.enter("X")
    assert "X" not in {order.ordered.symbol for order in office.book.orders.values()}
    office.exchange.trade_by_hand("X", 7, Decimal(50))
    office.desk.reconcile()
    assert found(office) == [("X", "0 shares", "7 shares")], "other shares than those are another difference"


def test_somebody_elses_order_halts_entries_and_is_left_alone(office: Office) -> None:
    office.exchange.submit(OrderRequest("by-hand", "Z", "buy", 3, "buy_to_open"), office.clock.now())
    office.desk.reconcile()
    assert found(office) == [("by-hand", "not in the journal", "buy 3 Z")]
    assert office.exchange.order("by-hand").status == "new"  # type: ignore[union-attr]


def test_an_order_under_our_name_that_nobody_decided_is_canceled(office: Office) -> None:
    name = "t-20200302-moo-rsi_mean_reversion-Z-entry-1"
    office.exchange.submit(OrderRequest(name, "Z", "buy", 3, "buy_to_open"), office.clock.now())
    office.desk.reconcile()
    assert office.exchange.order(name).status == "canceled"  # type: ignore[union-attr]
    office.desk.reconcile()
    assert not found(office)


def test_entries_are_off_until_journal_and_broker_were_compared(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.desk._compared = False
    office.enter()
    assert not office.open_at_broker()
    done = office.book.done[MONDAY, "enter:moo"]
    assert (done.status, done.detail) == ("skipped", "journal and broker have not been compared yet")


def test_exits_go_on_while_entries_are_off(office: Office) -> None:
    office.exchange.trade_by_hand("X", 5, Decimal(50))
    office.desk.reconcile()
    office.desk.flatten()
    office.desk.settle()
    office.bar(99.0)
    assert not office.book.positions


def test_a_corrected_position_is_a_trade_at_the_price_a_person_named(office: Office) -> None:
    office.exchange.cancel(office.stop().client_order_id, office.clock.now())
    office.exchange.trade_by_hand("A", 40, Decimal(99))
    office.desk.sync()
    office.wait(70)
    for order in list(office.book.orders):
        office.desk.orders.end(order, office.clock.now())
    office.desk.sync()
    office.desk.orders.keep(ev.Corrected(office.clock.now(), MONDAY, "A", 60, 99.0, "ops"))
    office.desk.reconcile()
    assert office.book.positions["A"].quantity == 40
    assert not found(office)


@pytest.mark.parametrize(
    ("message", "means"),
    [
        ("client_order_id must be unique", "exists"),
        ("potential wash trade detected. use complex orders", "passes"),
        ("insufficient qty available for order (requested: 23, available: 0)", "passes"),
        ('market order rejected due to trading halt on symbol: "X", please place a limit order instead', "passes"),
        ("too many requests.", "passes"),
        ('only day orders are allowed for hard-to-borrow asset "X"', "day_only"),
        ("insufficient buying power", "final"),
        ("account is not allowed to short", "final"),
        ("something nobody has seen before", "final"),
    ],
)
def test_a_refusal_means_what_the_table_says(message: str, means: str) -> None:
    assert meaning(Refused(message, "40310000")) == means

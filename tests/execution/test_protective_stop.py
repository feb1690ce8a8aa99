"""The stop that rests at the broker for the case that nobody is watching."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotrader.market.broker import BrokerOrder, OrderRequest, Refused

from .desks import MINUTE, OPENS, Office

LEAVE_AT_ONCE = ("when: days_held == 0, then: hold", "when: false, then: hold")
NO_STOP = ("    enabled: true\n", "    enabled: false\n")


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path, LEAVE_AT_ONCE)


def test_it_is_placed_once_the_entry_is_filled(office: Office) -> None:
    office.enter()
    assert [order.type for order in office.open_at_broker()] == ["market"]
    office.bar(100.0)
    stop = office.stop()
    held = office.book.positions["A"]
    # 1.25 times the larger of 10% of the entry and the stop distance
    assert float(stop.stop_price or 0) == 87.5
    assert (stop.side, stop.quantity, stop.time_in_force) == ("sell", held.quantity, "gtc")
    office.bar(101.0)
    assert office.stop() == stop, "it stays as it is"


def test_a_shorts_stop_lies_above(office: Office) -> None:
    office.enter(direction="short")
    office.bar(100.0)
    stop = office.stop()
    assert (stop.side, float(stop.stop_price or 0)) == ("buy", 112.5)


def test_none_is_placed_where_the_configuration_has_none(tmp_path: Path) -> None:
    office = Office(tmp_path, NO_STOP)
    office.enter()
    office.bar(100.0)
    assert office.book.positions["A"].quantity
    assert not office.open_at_broker()


def test_it_waits_until_an_entry_that_fills_in_parts_is_over(office: Office) -> None:
    office.enter()
    office.faults.now = {"partial_fill"}
    office.bar(100.0)
    assert [order.type for order in office.open_at_broker()] == ["market"], "the other half is still to come"
    office.faults.now = set()
    office.bar(100.0)
    assert office.stop().quantity == office.book.positions["A"].quantity == 100


def test_a_rules_exit_cancels_it_sees_it_canceled_and_then_sells(office: Office) -> None:
    office.enter()
    office.bar(100.0)
    stop = office.stop()
    office.bar(94.0)  # beyond the stop distance of 5, above the protective stop
    assert office.exchange.order(stop.client_order_id).status == "canceled"  # type: ignore[union-attr]
    (exit_,) = office.open_at_broker()
    assert (exit_.type, exit_.side) == ("market", "sell")
    office.bar(93.0)
    assert not office.book.positions
    assert office.exchange.position("A") == 0
    assert office.book.trades[0].exit_rule == "stop_loss"


def test_nothing_is_sold_while_the_cancel_is_not_confirmed(office: Office) -> None:
    office.enter()
    office.bar(100.0)
    stop = office.stop()
    office.faults.now = {"fill_after_cancel"}  # the broker takes the cancel, and its end comes with the next bar
    office.bar(94.0)
    assert office.stop().status == "pending_cancel"
    assert office.book.positions["A"].leaving is not None
    office.faults.now = set()
    office.bar(93.5)
    assert office.exchange.order(stop.client_order_id).status == "canceled"  # type: ignore[union-attr]
    assert [order.type for order in office.open_at_broker()] == ["market"]


def test_a_stop_that_fills_before_its_cancel_leaves_nothing_to_sell(office: Office) -> None:
    office.enter()
    office.bar(100.0)
    office.faults.now = {"fill_after_cancel"}
    office.bar(94.0)
    office.faults.now = set()
    office.bar(94.0, low=80.0)  # the stop is touched before its end
    assert office.exchange.position("A") == 0
    assert not office.open_at_broker()
    assert not office.book.positions
    (trade,) = office.book.trades
    assert (trade.exit_rule, trade.exit_price) == ("protective_stop", 87.5)


def test_it_is_restored_when_the_exit_is_refused_and_canceled_again_for_the_next_one(office: Office) -> None:
    office.enter()
    office.bar(100.0)
    office.faults.now, office.faults.leg = {"refuse"}, "-exit-"
    office.bar(94.0)
    office.faults.now = set()
    assert office.stop().client_order_id.endswith("stop-2"), "the exit waits before it is tried again: the stop is back"
    assert ("A", "the exit order was refused: order refused for no reason (fault)") in office.told
    office.wait(10)
    (exit_,) = office.open_at_broker()
    assert exit_.client_order_id.endswith("exit-2")
    office.minute += 1  # the market's next minute
    office.bar(94.0)
    assert not office.book.positions


def test_a_refused_stop_is_told_and_not_sent_again_at_once(office: Office) -> None:
    office.enter()
    office.faults.now = {"refuse"}
    office.bar(100.0)
    assert len(office.told) == 1
    office.wait(1)
    office.wait(1)
    assert len(office.told) == 1, "it waits"
    office.faults.now = set()
    office.wait(60)
    assert office.stop().client_order_id.endswith("stop-2")


def test_it_is_resized_and_moved_with_a_split(office: Office) -> None:
    office.enter()
    office.bar(100.0)
    cash = office.exchange.split("A", 3, 2, 66.67)
    office.desk.split("A", 3, 2, float(cash))
    office.look()
    stop, held = office.stop(), office.book.positions["A"]
    assert stop.quantity == held.quantity == 150
    assert float(stop.stop_price or 0) == pytest.approx(58.34)  # 7/8 of the new entry, toward the market
    office.exchange.on_bar(office.clock.now(), "A", 60, 60, 50, 50, 1000.0)
    office.look()
    assert office.exchange.position("A") == 0
    assert not office.book.positions


def test_it_is_found_again_after_a_restart(office: Office) -> None:
    office.enter()
    office.bar(100.0)
    stop = office.stop()
    office.start()
    assert office.stop() == stop
    assert list(office.book.orders) == [stop.client_order_id]


def test_it_sells_while_the_process_is_dead_and_the_next_one_learns_of_it(office: Office) -> None:
    office.enter()
    office.bar(100.0)
    assert office.journal is not None
    office.journal.close()
    office.exchange.on_bar(office.clock.now(), "A", 99.0, 99.0, 85.0, 86.0, 1000.0)
    office.clock.advance_to(office.clock.now() + (office.clock.now() - office.clock.now()))
    office.start()
    assert not office.book.positions
    assert office.book.trades[0].exit_price == 87.5
    assert office.desk.entries_off() is None, "journal and broker agree"


def test_a_position_that_lost_its_stop_gets_another_at_the_next_start(office: Office) -> None:
    office.enter()
    office.bar(100.0)
    office.exchange.cancel(office.stop().client_order_id, office.clock.now())  # somebody did, by hand
    office.start()
    assert office.stop().client_order_id.endswith("stop-2")


def test_an_exit_decided_on_the_last_bar_waits_at_the_broker_for_the_next_open(office: Office) -> None:
    """Its stop is canceled for it, so the exit must not stay at home over night."""
    office.enter()
    office.bar(100.0)
    office.minute = 389
    office.clock.advance_to(OPENS + 389 * MINUTE)
    office.bar(94.0)
    office.clock.advance_to(office.clock.now() + MINUTE)
    office.look()
    (exit_,) = office.open_at_broker()
    assert (exit_.type, exit_.status) == ("market", "accepted")


def test_an_exit_that_could_not_be_sent_before_the_close_is_sent_after_it(office: Office) -> None:
    office.enter()
    office.bar(100.0)
    office.faults.now, office.faults.leg = {"refuse"}, "-exit-"
    office.minute = 389
    office.clock.advance_to(OPENS + 389 * MINUTE)
    office.bar(94.0)
    assert office.stop().client_order_id.endswith("stop-2"), "protected meanwhile"
    office.faults.now = set()
    office.wait(60)
    (exit_,) = office.open_at_broker()
    assert exit_.client_order_id.endswith("exit-2")


def test_a_stop_that_may_not_outlast_the_session_is_a_day_order(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = office.broker.submit
    asked: list[str] = []

    def fussy(request: OrderRequest) -> BrokerOrder:
        asked.append(request.time_in_force)
        if request.time_in_force == "gtc":
            raise Refused('only day orders are allowed for hard-to-borrow asset "A"', "42210000")
        return submit(request)

    monkeypatch.setattr(office.broker, "submit", fussy)
    office.enter()
    office.bar(100.0)
    assert (office.stop().time_in_force, office.stop().quantity) == ("day", office.book.positions["A"].quantity)
    for _ in range(3):
        office.bar(100.0)
    office.start()
    office.bar(100.0)
    assert asked == ["day", "gtc", "day"], "it rests, and is not asked for again"
    assert not office.told

"""From an intent to an order to fills, whatever the broker says, says twice, or does not say."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from days import CALENDAR

from autotrader.clock import VirtualClock
from autotrader.core import events as ev
from autotrader.core.book import Book
from autotrader.execution.orders import LOOK_UPS, SILENCE, OrderManager
from autotrader.journal.store import Journal
from autotrader.market.broker import BrokerOrder, OrderRequest
from autotrader.market.exchange import Exchange
from autotrader.plugins.brokers.paper import FaultKind, PaperBroker

MONDAY = date(2020, 3, 2)
OPENS = CALENDAR.opens_at(MONDAY)
MINUTE = timedelta(minutes=1)
PLAN = ev.EntryPlan("MOO", 1, 0.5, None, "TREND", 2.0, 100.0, 100.0, 5.0, "hash")


class Strikes:
    """Faults by name; each strikes every time, until it is lifted."""

    def __init__(self) -> None:
        self.now: set[FaultKind] = set()

    def strikes(self, kind: FaultKind, client_order_id: str) -> bool:
        return kind in self.now


class Shop:
    """An order manager over a paper exchange and a journal on disk."""

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock(OPENS)
        self.exchange = Exchange(100_000, CALENDAR)
        self.faults = Strikes()
        self.broker = PaperBroker(self.exchange, self.clock, self.faults)
        self.journal = Journal.open(folder / "journal.sqlite3", "TEST", initial_cash=100_000.0, clock=self.clock)
        self.book = Book(100_000.0)
        self.orders = OrderManager(self.broker, self.journal, self.book, self.book.apply)
        self.keep(ev.SessionOpened(OPENS, MONDAY, 1))

    def keep(self, event: ev.Event) -> None:
        self.journal.append(event)
        self.book.apply(event)

    def entry(self, symbol: str = "A", quantity: int = 10) -> str:
        name = f"t-20200302-moo-s-{symbol}-entry-1"
        at = self.clock.now()
        self.orders.send([ev.Ordered(at, MONDAY, name, symbol, "s", "long", "entry", quantity, PLAN)])
        return name

    def exit(self, symbol: str = "A", attempt: int = 1) -> str:
        name = f"t-20200302-exit-s-{symbol}-exit-{attempt}"
        held = self.book.positions[symbol]
        self.orders.send([ev.Ordered(self.clock.now(), MONDAY, name, symbol, "s", "long", "exit", held.quantity, None,
                                     "stop_loss", "stop_loss")])  # fmt: skip
        return name

    def bar(self, price: float = 100.0, symbol: str = "A") -> list[ev.Event]:
        """One minute: its bar, then what the broker says at its end."""
        self.exchange.on_bar(self.clock.now(), symbol, price, price, price, price, 1000.0)
        self.clock.advance_to(self.clock.now() + MINUTE)
        return self.orders.sync(self.clock.now())

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.journal.events()]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_an_entry_is_filled_and_booked(shop: Shop) -> None:
    shop.entry()
    events = shop.bar(101.0)
    assert [type(event).__name__ for event in events] == ["Filled"]
    held = shop.book.positions["A"]
    assert (held.quantity, held.entry_price, held.entered_at) == (10, 101.0, OPENS)
    assert shop.exchange.position("A") == 10
    assert not shop.book.orders


def test_the_intent_is_on_disk_before_the_request_goes(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []

    def submit(request: OrderRequest) -> BrokerOrder:
        with Journal.read(shop.journal.path) as other:  # sees what is committed and nothing else
            found.extend(e.order_id for e in other.events() if isinstance(e, ev.Ordered))
        return shop.exchange.submit(request, shop.clock.now())

    monkeypatch.setattr(shop.broker, "submit", submit)
    name = shop.entry()
    assert found == [name]


def test_a_refused_order_has_ended_with_the_brokers_words(shop: Shop) -> None:
    shop.faults.now = {"refuse"}
    shop.entry()
    *_, ended = shop.journal.events()
    assert isinstance(ended, ev.OrderEnded)
    assert ended.status == "rejected"
    assert "no reason" in (ended.reason or "")
    assert (shop.book.orders, shop.book.entries_today()) == ({}, 0)


def test_an_order_of_unknown_fate_that_exists_is_found_and_not_sent_again(shop: Shop) -> None:
    shop.faults.now = {"unknown_accepted", "forget_update"}
    name = shop.entry()
    shop.faults.now = {"forget_update"}
    shop.bar(101.0)
    assert shop.book.positions["A"].quantity == 10
    assert [order.client_order_id for order in [shop.exchange.order(name)] if order] == [name]
    assert len(shop.exchange.executions(OPENS)) == 1


def test_an_entry_without_a_trace_is_given_up_after_some_look_ups_at_different_times(shop: Shop) -> None:
    shop.faults.now = {"unknown_lost"}
    name = shop.entry()
    shop.faults.now = set()
    for _ in range(10):  # of one moment: they count once
        assert not shop.orders.sync(shop.clock.now())
    for _ in range(LOOK_UPS - 2):
        assert not shop.bar()
    (ended,) = shop.bar()
    assert isinstance(ended, ev.OrderEnded)
    assert (ended.order_id, ended.status, ended.reason) == (name, "canceled", "no trace at the broker")
    assert shop.exchange.order(name) is None


def test_an_exit_without_a_trace_is_sent_again_under_the_same_id(shop: Shop) -> None:
    shop.entry()
    shop.bar()
    shop.faults.now = {"unknown_lost"}
    name = shop.exit()
    shop.faults.now = set()
    for _ in range(LOOK_UPS + 1):
        shop.bar(95.0)
    assert not shop.book.positions
    assert [fill.client_order_id for fill in shop.exchange.executions(OPENS)][1:] == [name]


def test_a_late_acknowledgement_is_not_taken_for_a_lost_order(shop: Shop) -> None:
    shop.faults.now = {"unknown_accepted", "delay_acknowledgement"}
    shop.entry()
    shop.faults.now = set()
    for _ in range(4):
        shop.bar()
    assert shop.book.positions["A"].quantity == 10
    assert shop.exchange.position("A") == 10


def test_an_update_that_comes_twice_is_booked_once(shop: Shop) -> None:
    shop.faults.now = {"duplicate_update"}
    shop.entry()
    shop.bar()
    shop.bar()
    assert shop.book.positions["A"].quantity == 10
    assert shop.kinds().count("Filled") == 1


def test_fills_that_come_in_the_wrong_order_are_booked_in_the_right_one(shop: Shop) -> None:
    shop.faults.now = {"partial_fill"}
    shop.entry()
    shop.faults.now = {"partial_fill", "reorder_update"}
    shop.bar(100.0)
    shop.faults.now = set()
    shop.bar(102.0)
    assert shop.book.positions["A"].quantity == 10
    fills = [event for event in shop.journal.events() if isinstance(event, ev.Filled)]
    assert [fill.cumulative for fill in fills] == [5, 10]
    assert shop.book.positions["A"].entry_price == pytest.approx(101.0)


def test_a_fill_that_was_never_reported_is_found_by_asking(shop: Shop) -> None:
    shop.faults.now = {"forget_update"}
    shop.entry()
    assert not shop.orders.sync(shop.clock.now() + SILENCE / 2), "an order is asked about when it was silent a while"
    assert isinstance(shop.bar()[0], ev.Filled)
    assert shop.book.positions["A"].quantity == 10
    assert not shop.orders.poll(shop.clock.now())


def test_a_partial_fill_that_is_canceled_leaves_what_was_filled(shop: Shop) -> None:
    shop.faults.now = {"partial_fill"}
    name = shop.entry()
    shop.bar()
    shop.orders.end(name, shop.clock.now())
    shop.orders.sync(shop.clock.now())
    assert shop.book.positions["A"].quantity == 5
    assert not shop.book.orders
    ended = [event for event in shop.journal.events() if isinstance(event, ev.OrderEnded)][-1]
    assert (ended.status, ended.at) == ("canceled", OPENS + MINUTE), "the time of the end, not of the order"


def test_a_fill_after_the_cancel_is_booked(shop: Shop) -> None:
    name = shop.entry()
    shop.faults.now = {"fill_after_cancel"}
    shop.orders.end(name, shop.clock.now())
    shop.bar(99.0)
    assert shop.book.positions["A"].entry_price == 99.0
    assert not shop.book.orders


def test_canceling_what_is_final_is_no_failure(shop: Shop) -> None:
    name = shop.entry()
    shop.bar()
    shop.orders.end(name, shop.clock.now())
    assert shop.book.positions["A"].quantity == 10


def test_a_fill_belongs_to_the_session_it_happened_in(shop: Shop) -> None:
    shop.entry()
    shop.bar()
    shop.clock.advance_to(CALENDAR.closes_at(MONDAY))
    shop.exit()
    tuesday = date(2020, 3, 3)
    shop.keep(ev.SessionClosed(shop.clock.now(), MONDAY, 100_000.0))
    shop.clock.advance_to(CALENDAR.opens_at(tuesday))
    shop.keep(ev.SessionOpened(shop.clock.now(), tuesday, 2))
    shop.bar(98.0)
    fill = [event for event in shop.journal.events() if isinstance(event, ev.Filled)][-1]
    assert fill.session == tuesday
    assert shop.book.exits("A")["exited_today"]
    assert shop.book.trades[0].sessions_held == 1


def test_an_order_that_is_not_ours_is_not_booked(shop: Shop) -> None:
    shop.exchange.submit(OrderRequest("someone-else", "A", "buy", 5, "buy_to_open"), shop.clock.now())
    assert shop.bar() == []
    assert not shop.book.positions


def test_whatever_goes_wrong_the_book_ends_where_the_broker_does(tmp_path: Path) -> None:
    from autotrader.plugins.brokers.paper import SeededFaults

    for seed in range(15):
        folder = tmp_path / str(seed)
        folder.mkdir()
        shop = Shop(folder)
        broker = PaperBroker(shop.exchange, shop.clock, SeededFaults(seed, 0.25))
        shop.orders = OrderManager(broker, shop.journal, shop.book, shop.book.apply)
        for symbol in "ABCDEF":
            shop.entry(symbol, 20)
        for _ in range(12):
            for symbol in "ABCDEF":
                shop.exchange.on_bar(shop.clock.now(), symbol, 100.0, 100.0, 100.0, 100.0, 1000.0)
            shop.clock.advance_to(shop.clock.now() + MINUTE)
            shop.orders.sync(shop.clock.now())
            shop.orders.poll(shop.clock.now())
        held = {item.symbol: item.quantity for item in shop.exchange.positions()}
        assert {symbol: item.quantity for symbol, item in shop.book.positions.items()} == held
        assert {order.client_order_id for order in shop.exchange.open_orders()} == set(shop.book.orders)
        assert shop.journal.book().positions == shop.book.positions


def test_times_in_the_journal_are_new_yorks(shop: Shop) -> None:
    shop.entry()
    shop.bar()
    assert {event.at.utcoffset() for event in shop.journal.events()} == {timedelta(hours=-5)}
    assert all(isinstance(event.at, datetime) for event in shop.journal.events())

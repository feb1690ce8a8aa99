"""What people ask for, carried out at a desk with a broker: orders, protective stops and differences included."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from days import CALENDAR, INDICATORS, configuration

from autotrader.clock import VirtualClock
from autotrader.core import events as ev
from autotrader.core.exits import Bar, Day
from autotrader.core.trader import Trader
from autotrader.execution.desk import Desk
from autotrader.journal.store import Journal
from autotrader.market.exchange import Exchange
from autotrader.plugins.brokers.paper import PaperBroker
from autotrader.service.inbox import (
    Accept,
    AdoptConfig,
    Flatten,
    Hands,
    Inbox,
    LetStand,
    Resume,
    What,
    flattened,
    new_request,
    take,
)

MONDAY = date(2020, 3, 2)
OPENS = CALENDAR.opens_at(MONDAY)
MINUTE = timedelta(minutes=1)
HASH = configuration().settings.config_hash
PLAN = ev.EntryPlan("MOO", 1, 0.5, None, "TREND", 2.0, 100.0, 100.0, 5.0, HASH)


class Firm:
    """A desk over a paper exchange, with 100 A and 50 B, each with its stop at the broker."""

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock(OPENS)
        self.exchange = Exchange(100_000, CALENDAR)
        self.inbox = Inbox(folder)
        self.journal = Journal.open(folder / "journal.sqlite3", "TEST", initial_cash=100_000.0, clock=self.clock)
        rulebook = configuration().rulebook
        self.rulebooks = {HASH: rulebook}
        trader = Trader(self.journal.book(), self.rulebooks, "test", self.day_of)
        broker = PaperBroker(self.exchange, self.clock)
        self.desk = Desk(trader, self.journal, broker, CALENDAR, self.clock, rulebook)
        self.book = trader.book
        self.desk.open_session(MONDAY)
        for symbol, quantity in (("A", 100), ("B", 50)):
            name = f"test-20200302-moo-rsi_mean_reversion-{symbol}-entry-1"
            self.desk.orders.send([ev.Ordered(self.clock.now(), MONDAY, name, symbol, "rsi_mean_reversion", "long",
                                              "entry", quantity, PLAN)])  # fmt: skip
        self.minute()
        self.minute()
        self.desk.reconcile()

    def day_of(self, _hash: str, _symbol: str) -> Day:
        return Day(MONDAY, CALENDAR.number(MONDAY), "TREND", INDICATORS, 100.0)

    def minute(self) -> None:
        """A minute of the market, and a turn of the loop: requests, what became of orders, what is needed now."""
        for symbol in ("A", "B"):
            self.exchange.on_bar(self.clock.now(), symbol, 100.0, 100.0, 100.0, 100.0, 1000.0)
        self.clock.advance_to(self.clock.now() + MINUTE)
        self.turn()

    def turn(self) -> list[ev.Asked]:
        hands = Hands(
            self.desk.orders.keep, self.journal.commit, lambda name: self.desk.orders.end(name, self.clock.now()),
            self.desk.sync, self.rulebooks.get,
        )  # fmt: skip
        taken = take(self.inbox, self.book, hands, self.clock.now(), MONDAY, lambda *_: None)
        self.desk.sync()
        self.desk.settle()
        return taken

    def bar(self, symbol: str, price: float) -> None:
        """A minute in which the symbol trades at a price and is judged."""
        began = self.clock.now()
        self.clock.advance_to(began + MINUTE)
        minute = (self.clock.now() - OPENS) // MINUTE
        self.desk.bars(began, {symbol: Bar(price, price, price, minute, 390 - minute)})

    def ask(self, what: What) -> None:
        self.inbox.put(new_request(what, self.clock.now()))

    def stops(self) -> dict[str, int]:
        """The stops that rest at the broker: symbol -> shares."""
        return {order.symbol: order.quantity for order in self.exchange.open_orders() if order.type == "stop"}


@pytest.fixture
def firm(tmp_path: Path) -> Firm:
    made = Firm(tmp_path)
    assert {symbol: held.quantity for symbol, held in made.book.positions.items()} == {"A": 100, "B": 50}
    assert made.stops() == {"A": 100, "B": 50}
    assert made.desk.entries_off() is None
    return made


def test_accepting_what_the_broker_has_ends_the_stop_corrects_the_position_and_protects_the_rest(firm: Firm) -> None:
    firm.exchange.trade_by_hand("A", 40, Decimal("97"))
    firm.desk.reconcile()
    assert firm.desk.entries_off() == "journal and broker disagree about A"
    firm.ask(Accept(subject="A", found="40 shares", price=97.0))
    (taken,) = firm.turn()
    assert taken.honoured
    assert firm.book.positions["A"].quantity == 40
    assert firm.book.positions["A"].realized == pytest.approx(-180.0)
    firm.turn()
    assert firm.stops() == {"A": 40, "B": 50}
    firm.desk.reconcile()
    assert firm.desk.entries_off() is None


def test_a_position_that_is_gone_at_the_broker_becomes_a_trade(firm: Firm) -> None:
    firm.minute()  # its fill is old by then: no list lacks it any more
    firm.exchange.trade_by_hand("A", 0, Decimal("97"))
    firm.desk.reconcile()
    firm.ask(Accept(subject="A", found="0 shares", price=97.0))
    firm.turn()
    assert firm.book.trades[-1].exit_reason == "corrected"
    firm.turn()
    assert firm.stops() == {"B": 50}
    firm.desk.reconcile()
    assert firm.desk.entries_off() is None


def test_somebody_elses_shares_that_may_stand_keep_entries_off_no_longer(firm: Firm) -> None:
    firm.exchange.hold("Z", 7, 10.0)
    firm.desk.reconcile()
    assert firm.desk.entries_off() is not None
    firm.ask(LetStand(of="position", subject="Z", found="7 shares"))
    firm.turn()
    firm.desk.reconcile()
    assert firm.desk.entries_off() is None
    firm.minute()
    firm.exchange.hold("Z", 8, 10.0)  # and what was let stand was seven
    firm.desk.reconcile()
    assert firm.desk.entries_off() is not None


def test_flatten_leaves_everything_though_stops_are_in_the_way_and_ends_when_it_is_flat(firm: Firm) -> None:
    firm.ask(Flatten())
    firm.turn()
    assert "flattening" in (firm.desk.entries_off() or "")
    assert flattened(firm.book, firm.clock.now(), MONDAY) is None
    for _ in range(3):
        firm.minute()
    assert not firm.book.positions
    assert firm.stops() == {}
    end = flattened(firm.book, firm.clock.now(), MONDAY)
    assert end is not None
    firm.desk.orders.keep(end)
    assert [trade.exit_reason for trade in firm.book.trades] == ["flatten", "flatten"]


def test_after_a_flatten_is_done_entries_stay_off_until_resumed(firm: Firm) -> None:
    firm.ask(Flatten())
    for _ in range(4):
        firm.minute()
    end = flattened(firm.book, firm.clock.now(), MONDAY)
    assert end is not None
    firm.desk.orders.keep(end)
    assert firm.desk.entries_off() is not None
    firm.ask(Resume())
    firm.turn()
    assert firm.desk.entries_off() is None


STRICTER = (
    ("sl_atr_mult: 2.5         # stop distance, in ATRs at entry", "sl_atr_mult: 1.0"),
    ("    - {name: day_skip, when: days_held == 0, then: hold, because: The first session's noise is not a reason to "
     "leave.}\n", ""),
)  # fmt: skip


def test_an_adopted_configuration_decides_from_the_next_bar_on_for_the_positions_that_adopted_it(firm: Firm) -> None:
    firm.bar("A", 97.0)
    firm.bar("B", 97.0)
    assert not any(held.leaving for held in firm.book.positions.values())
    firm.rulebooks["new"] = configuration(*STRICTER).rulebook
    firm.ask(AdoptConfig(config_hash="new", symbols=("A",)))
    (taken,) = firm.turn()
    assert taken.outcome == "adopted by A"
    bars_held = firm.book.positions["A"].bars_held
    firm.bar("A", 97.0)
    firm.bar("B", 97.0)
    assert firm.book.positions["A"].leaving == ("stop_loss", "stop_loss")
    assert firm.book.positions["A"].bars_held == bars_held + 1
    assert firm.book.positions["B"].leaving is None
    (last,) = list(firm.journal.decisions("A", MONDAY, "exit"))[-1:]
    assert (last.rule, last.config_hash) == ("stop_loss", "new")

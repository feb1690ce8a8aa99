"""The broker Alpaca against the simulated one: through the contract, and what each answer does."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import canary
import pytest
from alpaca_venue import CALENDAR, MONDAY, Venue, at, until

from autotrader import logs
from autotrader.market.broker import Broker, BrokerError, FateUnknown, OrderRequest, Refused, TimeInForce
from autotrader.plugins.alpaca.updates import TradeUpdates
from autotrader.plugins.brokers.alpaca import AlpacaBroker
from autotrader.plugins.brokers.contract import BrokerContract
from autotrader.settings import Logging
from autotrader.simulator.faults import Fault, Faults


class TestAlpacaKeepsTheContract(BrokerContract):
    not_lent = "XOM"

    @pytest.fixture(autouse=True)
    def _venue(self, tmp_path: Path) -> Iterator[None]:
        faults = Faults(0, [Fault(kind="hard_to_borrow", symbol="XOM")])
        self.venue = Venue(tmp_path, at(10), faults, scripted=True)
        yield
        self.venue.close()

    def make_broker(self) -> Broker:
        return self.venue.broker()

    def trade(self, symbol: str, price: float, at_most: int | None = None) -> None:
        self.venue.trade(symbol, price, at_most)

    def end_session(self) -> None:
        self.venue.step(CALENDAR.closes_at(MONDAY))


# --- what each answer, and each report that does not come, leads to ---------------------------------------------------

Start = Callable[..., Venue]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    opened: list[Venue] = []

    def begin(*faults: Fault, **options: Any) -> Venue:
        opened.append(Venue(tmp_path, options.pop("at", at(10)), Faults(0, list(faults)), scripted=True, **options))
        return opened[-1]

    yield begin
    for venue in opened:
        venue.close()


def buy(name: str = "one", quantity: int = 10, symbol: str = "AAPL", force: TimeInForce = "day") -> OrderRequest:
    return OrderRequest(name, symbol, "buy", quantity, "buy_to_open", time_in_force=force)


@pytest.mark.parametrize("kind", ["500_after", "504_after", "drop_after", "truncated", "not_json", "hang_after"])
def test_an_order_whose_answer_got_lost_is_found_and_sending_it_again_gives_the_same_one(
    start: Start, kind: str
) -> None:
    venue = start(Fault(kind=kind, request="POST /v2/orders", times=1, seconds=4))
    broker = venue.broker(read_seconds=1.5)  # long enough for answers that come, on a machine that is busy
    with pytest.raises(FateUnknown):
        broker.submit(buy())
    found = broker.order("one")
    assert found is not None
    assert broker.submit(buy()).client_order_id == "one"
    venue.trade("AAPL", 100.0)
    assert [(position.symbol, position.quantity) for position in broker.positions()] == [("AAPL", 10)]
    assert len(broker.executions(at(9))) == 1


@pytest.mark.parametrize("kind", ["500_before", "502_before", "503_before", "504_before", "drop_before"])
def test_an_order_that_never_arrived_is_not_there_and_may_be_sent_again(start: Start, kind: str) -> None:
    venue = start(Fault(kind=kind, request="POST /v2/orders", times=1))
    broker = venue.broker()
    with pytest.raises(FateUnknown):
        broker.submit(buy())
    assert broker.order("one") is None
    assert not broker.submit(buy()).final


def test_an_order_that_was_one_too_many_is_refused_and_does_not_exist(start: Start) -> None:
    venue = start(Fault(kind="429", request="POST /v2/orders", times=1))
    broker = venue.broker()
    with pytest.raises(Refused, match="too many requests"):
        broker.submit(buy())
    assert broker.order("one") is None


def test_an_order_may_be_taken_and_rejected_afterwards(start: Start) -> None:
    venue = start(Fault(kind="reject_order"))
    broker = venue.broker()
    assert not broker.submit(buy()).final
    order = broker.order("one")
    assert order is not None
    assert order.status == "rejected"
    venue.settle()
    assert [update.order.status for update in broker.updates()][-1] == "rejected"


def test_an_auction_order_out_of_its_hours_is_refused(start: Start) -> None:
    with pytest.raises(Refused, match="opg orders must be submitted") as refusal:
        start().broker().submit(buy(force="opg"))
    assert refusal.value.code == "40310000"


def test_an_auction_order_in_its_hours_waits_for_the_open(start: Start) -> None:
    broker = start(at=at(9)).broker()
    assert broker.submit(buy(force="opg")).status == "accepted"
    assert [order.time_in_force for order in broker.open_orders()] == ["opg"]


def test_a_halted_symbol_is_refused(start: Start) -> None:
    broker = start(Fault(kind="halt", symbol="AAPL")).broker()
    with pytest.raises(Refused, match="trading halt"):
        broker.submit(buy())
    assert not broker.submit(buy("two", symbol="MSFT")).final


@pytest.mark.parametrize("kind", ["duplicate_update", "reorder_update", "drop_update", "null_update"])
def test_whatever_reports_do_the_fills_are_whole_and_each_there_once(start: Start, kind: str) -> None:
    venue = start(Fault(kind=kind, rate=0.5))
    broker = venue.broker()
    for number in range(6):
        broker.submit(buy(f"o{number}"))
        venue.trade("AAPL", 100.0 + number, at_most=4)
        venue.trade("AAPL", 100.0 + number)
    fills = broker.executions(at(9))
    assert [(fill.client_order_id, fill.cumulative) for fill in fills] == [
        (f"o{number}", cumulative) for number in range(6) for cumulative in (4, 10)
    ]
    told = {update.execution for update in broker.updates() if update.execution is not None}
    assert told <= set(fills)
    assert venue.simulator.faults.counts[kind] > 0


def test_what_happens_while_the_stream_is_away_is_in_the_executions_and_the_break_is_counted(start: Start) -> None:
    venue = start(Fault(kind="close_stream", stream="trade_updates", times=1))
    broker = venue.broker()
    broker.submit(buy())
    assert broker.stream is not None
    until(lambda: broker.link() == (True, 1))
    broker.submit(buy("two"))
    venue.trade("AAPL", 100.0)
    assert [fill.client_order_id for fill in broker.executions(at(9))] == ["one", "two"]


def test_a_mute_stream_is_no_reason_not_to_know(start: Start) -> None:
    venue = start(Fault(kind="mute_stream", stream="trade_updates"))
    broker = venue.broker()
    broker.submit(buy())
    venue.trade("AAPL", 100.0)
    assert not broker.updates()
    order = broker.order("one")
    assert order is not None
    assert (order.status, order.filled_quantity) == ("filled", 10)


def test_of_two_processes_one_has_the_stream_and_both_can_ask(start: Start) -> None:
    venue = start()
    first = venue.broker()
    second = AlpacaBroker(first.connection, None)
    stream = TradeUpdates(first.connection.endpoints.updates, first.connection.credentials, venue.clock, None)
    stream.start()
    until(lambda: "connection limit exceeded" in stream.trouble)
    assert second.account() == first.account()
    assert first.link() == (True, 0)
    stream.close()


@pytest.mark.parametrize("payload", ["new", "old"])
def test_the_account_reads_before_and_after_fields_were_removed(start: Start, payload: str) -> None:
    account = start(payload=payload).broker(streaming=False).account()
    assert (account.account_id, account.cash) == ("PA3SIMULATED", 100_000)


def test_a_state_that_nobody_has_heard_of_is_not_final(start: Start) -> None:
    venue = start(Fault(kind="field_set", request="GET /v2/orders*", field="status", value="levitating"))
    broker = venue.broker(streaming=False)
    broker.submit(buy())
    assert [order.final for order in broker.open_orders()] == [False]


def test_many_unknown_orders_are_asked_for_at_once(start: Start) -> None:
    venue = start()
    broker = venue.broker()
    for number in range(8):
        broker.submit(buy(f"o{number}", 1))
    venue.trade("AAPL", 100.0)
    other = venue.broker(streaming=False)
    before = other.connection.requests
    assert {fill.client_order_id for fill in other.executions(at(9))} == {f"o{number}" for number in range(8)}
    assert other.connection.requests - before == 2


def test_nothing_that_is_logged_at_any_level_holds_a_key(start: Start, tmp_path: Path) -> None:
    venue = start(Fault(kind="504_after", request="POST /v2/orders", times=1))
    text = io.StringIO()
    with logs.set_up(Logging(level="debug"), tmp_path / "logs", venue.clock, text):
        broker, feed = venue.broker(), venue.feed()
        feed.watch(["AAPL"])
        venue.watching(feed, ["AAPL"])
        with pytest.raises(FateUnknown):
            broker.submit(buy())
        venue.trade("AAPL", 100.0)
        try:
            raise BrokerError(f"with {venue.secrets.credentials().key_id} and {canary.SECRET}")
        except BrokerError:
            logging.getLogger("autotrader").exception("it failed")
        broker.close()
        feed.close()
    assert "trading stream: listening" in text.getvalue()
    assert text.getvalue().count("[redacted]") >= 2
    assert "> GET" not in text.getvalue(), "what goes over the wire is not logged"
    assert not canary.is_in(text.getvalue())
    assert not canary.files_with_keys(tmp_path / "logs")

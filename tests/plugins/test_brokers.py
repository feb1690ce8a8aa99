"""The paper broker: through the contract, and what each fault does to its callers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta

import pytest

from autotrader.clock import NEW_YORK, Calendar, VirtualClock
from autotrader.market.broker import Broker, BrokerOrder, FateUnknown, OrderRequest, Refused
from autotrader.market.exchange import Exchange, unlimited
from autotrader.plugins.brokers.contract import BrokerContract
from autotrader.plugins.brokers.paper import KINDS, FaultKind, PaperBroker, SeededFaults
from autotrader.plugins.registry import load_broker

CALENDAR = Calendar()
TEN = datetime(2024, 3, 5, 10, tzinfo=NEW_YORK)
MINUTE = timedelta(minutes=1)


class Venue:
    """A paper broker with its exchange and its clock. at_most: shares of an order that fill at a time."""

    def __init__(self, *strikes: FaultKind) -> None:
        self.at_most: int | None = None
        self.clock = VirtualClock(TEN)
        self.exchange = Exchange(100_000, CALENDAR, liquidity=self._liquidity, not_shortable={"GME"})
        self.faults = Once(*strikes)
        self.broker = PaperBroker(self.exchange, self.clock, self.faults)

    def trade(self, symbol: str = "AAPL", price: float = 100.0) -> None:
        self.clock.advance_to(self.clock.now() + MINUTE)
        self.exchange.on_bar(self.clock.now(), symbol, price, price, price, price, 1000)

    def buy(self, quantity: int = 10, name: str = "one") -> BrokerOrder:
        return self.broker.submit(OrderRequest(name, "AAPL", "buy", quantity, "buy_to_open"))

    def held(self) -> int:
        return self.exchange.position("AAPL")

    def _liquidity(self, order: BrokerOrder) -> int:
        return unlimited(order) if self.at_most is None else min(self.at_most, unlimited(order))


class Once:
    """Each of these faults strikes the first time it can."""

    def __init__(self, *kinds: FaultKind) -> None:
        self.left = list(kinds)

    def strikes(self, kind: FaultKind, client_order_id: str) -> bool:
        if kind not in self.left:
            return False
        self.left.remove(kind)
        return True


class PaperContract(BrokerContract):
    not_lent = "GME"

    def make_broker(self) -> Broker:
        self.venue = Venue()
        return self.venue.broker

    def end_session(self) -> None:
        close = CALENDAR.closes_at(date(2024, 3, 5))
        self.venue.clock.advance_to(close)
        self.venue.exchange.close_session(close)


class TestPaperOnBarsKeepsTheContract(PaperContract):
    def trade(self, symbol: str, price: float, at_most: int | None = None) -> None:
        self.venue.at_most = at_most
        self.venue.trade(symbol, price)


class TestPaperWithCostsKeepsTheContract(TestPaperOnBarsKeepsTheContract):
    def make_broker(self) -> Broker:
        super().make_broker()
        self.venue.exchange = Exchange(
            100_000,
            CALENDAR,
            liquidity=self.venue._liquidity,
            not_shortable={"GME"},
            slippage_bps=3.3,
            commission=1.25,
        )
        return PaperBroker(self.venue.exchange, self.venue.clock)


def test_it_is_a_plugin_like_any_other() -> None:
    assert load_broker("paper") is PaperBroker


# --- faults -----------------------------------------------------------------------------------------------------------


def test_a_refused_order_does_not_exist_and_may_be_sent_again() -> None:
    venue = Venue("refuse")
    with pytest.raises(Refused):
        venue.buy()
    assert venue.broker.order("one") is None
    venue.buy()
    venue.trade()
    assert venue.held() == 10


def test_a_rejected_order_was_taken_and_is_final() -> None:
    venue = Venue("reject")
    assert not venue.buy().final
    order = venue.broker.order("one")
    assert order is not None
    assert order.status == "rejected"
    assert order.reason
    venue.trade()
    assert venue.held() == 0
    assert [update.order.status for update in venue.broker.updates()] == ["new", "rejected"]


def test_of_a_lost_order_nothing_is_known_and_nothing_comes() -> None:
    venue = Venue("unknown_lost")
    with pytest.raises(FateUnknown):
        venue.buy()
    venue.trade()
    assert venue.broker.order("one") is None
    assert venue.held() == 0


def test_an_order_of_unknown_fate_may_have_been_taken_and_sending_it_again_is_refused() -> None:
    venue = Venue("unknown_accepted")
    with pytest.raises(FateUnknown):
        venue.buy()
    assert venue.broker.order("one") is not None
    with pytest.raises(Refused, match="unique") as refusal:
        venue.buy()
    assert refusal.value.code == "40010001"
    venue.trade()
    assert venue.held() == 10


def test_a_late_acknowledgement_hides_the_order_while_its_fill_is_an_execution_already() -> None:
    venue = Venue("delay_acknowledgement")
    since = venue.buy().submitted_at
    venue.trade()
    assert venue.broker.order("one") is None
    assert not venue.broker.open_orders()
    assert not venue.broker.updates()
    assert len(venue.broker.executions(since)) == 1
    venue.trade()
    order = venue.broker.order("one")
    assert order is not None
    assert order.status == "filled"
    assert [update.order.status for update in venue.broker.updates()] == ["new", "filled"]


def test_a_late_fill_comes_with_the_next_bar() -> None:
    venue = Venue("late_fill")
    venue.buy()
    venue.trade()
    assert venue.held() == 0
    venue.trade()
    assert venue.held() == 10


def test_a_partial_fill_is_half_and_the_rest_comes_later() -> None:
    venue = Venue("partial_fill")
    since = venue.buy(9).submitted_at
    venue.trade()
    assert venue.held() == 4
    venue.trade()
    assert [fill.cumulative for fill in venue.broker.executions(since)] == [4, 9]


def test_a_cancel_may_lose_against_the_fill() -> None:
    venue = Venue("fill_after_cancel")
    venue.buy()
    venue.broker.cancel("one")
    order = venue.broker.order("one")
    assert order is not None
    assert order.status == "pending_cancel"
    assert venue.broker.open_orders() == [order]
    venue.trade()
    assert venue.held() == 10
    assert [update.order.status for update in venue.broker.updates()] == ["new", "pending_cancel", "filled"]


def test_a_cancel_that_is_late_for_a_part_ends_the_rest() -> None:
    venue = Venue("fill_after_cancel", "partial_fill")
    venue.buy()
    venue.broker.cancel("one")
    venue.trade()
    order = venue.broker.order("one")
    assert order is not None
    assert (order.status, order.filled_quantity, venue.held()) == ("canceled", 5, 5)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("forget_update", ["filled"]),
        ("duplicate_update", ["new", "new", "filled"]),
        ("reorder_update", ["filled", "new"]),
    ],
)
def test_updates_may_be_lost_told_twice_or_out_of_order(kind: FaultKind, told: list[str]) -> None:
    venue = Venue(kind)
    since = venue.buy().submitted_at
    heard = [*venue.broker.updates()]
    venue.trade()
    heard += venue.broker.updates()
    assert [update.order.status for update in heard] == told
    assert not venue.broker.updates()
    assert len(venue.broker.executions(since)) == 1, "executions are the truth whatever was told"


def _day_of_faults(seed: int, rate: float) -> tuple[list[object], dict[FaultKind, int], Venue]:
    venue = Venue()
    venue.faults = faults = SeededFaults(seed, rate)  # type: ignore[assignment]
    venue.broker = PaperBroker(venue.exchange, venue.clock, faults)
    seen: list[object] = []

    def tried(call: Callable[[], object]) -> None:
        try:
            seen.append(call())
        except (Refused, FateUnknown) as error:
            seen.append(str(error))

    for i in range(150):
        tried(lambda i=i: venue.buy(3, f"b{i}"))
        if i % 3 == 0:
            tried(lambda i=i: venue.broker.cancel(f"b{i}"))
        venue.trade()
        seen.extend(venue.broker.updates())
    return seen, dict(faults.counts), venue


def test_seeded_faults_are_the_same_in_every_run_and_strike_at_their_rate() -> None:
    one, counts, venue = _day_of_faults(7, 0.1)
    again, counts_again, _ = _day_of_faults(7, 0.1)
    assert one == again
    assert counts == counts_again
    assert one != _day_of_faults(8, 0.1)[0]
    assert all(counts[kind] > 0 for kind in KINDS), counts
    assert 5 <= counts["refuse"] <= 28
    assert sum(fill.quantity for fill in venue.broker.executions(TEN)) == venue.held()
    assert not any(_day_of_faults(7, 0.0)[1].values())


def test_only_the_kinds_asked_for_strike() -> None:
    faults = SeededFaults(1, rate=1.0, kinds={"late_fill"})
    assert faults.strikes("late_fill", "a")
    assert not faults.strikes("refuse", "a")
    assert faults.counts == {"late_fill": 1}


def test_what_was_asked_before_is_drawn_anew() -> None:
    faults = SeededFaults(1, rate=0.5)
    drawn = [faults.strikes("late_fill", "a") for _ in range(40)]
    assert 10 < sum(drawn) < 30

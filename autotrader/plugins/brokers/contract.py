"""What every broker must do, as tests that any implementation can be run through.

    class TestMyBroker(BrokerContract):
        def make_broker(self) -> Broker: ...
        def trade(self, symbol: str, price: float, at_most: int | None = None) -> None: ...
        def end_session(self) -> None: ...

pytest finds the test methods through the subclass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from autotrader.clock import Calendar
from autotrader.market.broker import Broker, BrokerOrder, OrderRequest, PositionIntent, Refused, Side

if TYPE_CHECKING:
    from datetime import datetime


class BrokerContract(ABC):
    """The contract; override what stands above the first test where a broker needs it."""

    symbols = ("AAPL", "MSFT")  # two that are traded, lent, and cost about 100 USD
    not_lent: str | None = None  # one that the broker does not lend; None: there is none to try

    @abstractmethod
    def make_broker(self) -> Broker:
        """A broker on an open market, on a session, with at least 10,000 USD and neither position nor order."""

    @abstractmethod
    def trade(self, symbol: str, price: float, at_most: int | None = None) -> None:
        """Lets time pass and the symbol trade once at this price; at_most: that many shares of each order fill.

        What was sent before may fill. Returns when the broker would report it.
        """

    @abstractmethod
    def end_session(self) -> None:
        """Closes the market for the day."""

    def _order(
        self,
        name: str,
        intent: PositionIntent,
        quantity: int = 10,
        symbol: str | None = None,
        stop: str | None = None,
    ) -> OrderRequest:
        side: Side = "buy" if intent.startswith("buy") else "sell"
        return OrderRequest(
            name,
            symbol or self.symbols[0],
            side,
            quantity,
            intent,
            type="market" if stop is None else "stop",
            time_in_force="day" if stop is None else "gtc",
            stop_price=None if stop is None else Decimal(stop),
        )

    def _held(self, broker: Broker) -> dict[str, int]:
        return {position.symbol: position.quantity for position in broker.positions()}

    def _known(self, broker: Broker, name: str) -> BrokerOrder:
        order = broker.order(name)
        assert order is not None, f"the broker does not know order {name}"
        return order

    def _long(self, broker: Broker, quantity: int = 10) -> datetime:
        """A long position; when it was ordered."""
        order = broker.submit(self._order("entry", "buy_to_open", quantity))
        self.trade(self.symbols[0], 100.0)
        assert self._held(broker) == {self.symbols[0]: quantity}
        return order.submitted_at

    # --- the account ----------------------------------------------------------------------------------------------

    def test_it_has_a_name(self) -> None:
        name = self.make_broker().name
        assert name, "a broker's name is not empty"
        assert name == name.strip().lower()

    def test_a_new_account_holds_cash_alone(self) -> None:
        broker = self.make_broker()
        account = broker.account()
        assert account.cash == account.equity >= 10_000
        assert account.buying_power >= account.cash
        assert not broker.positions()
        assert not broker.open_orders()

    def test_cash_moves_by_the_value_of_the_fills_and_their_commissions(self) -> None:
        broker = self.make_broker()
        before = broker.account().cash
        since = self._long(broker)
        broker.submit(self._order("exit", "sell_to_close"))
        self.trade(self.symbols[0], 110.0)
        spent = Decimal(0)
        for fill in broker.executions(since):
            spent += (1 if fill.side == "buy" else -1) * fill.quantity * fill.price + fill.commission
        assert broker.account().cash == before - spent

    def test_equity_follows_the_price_of_what_is_held(self) -> None:
        broker = self.make_broker()
        self._long(broker)
        self.trade(self.symbols[0], 112.0)
        account = broker.account()
        assert account.equity == account.cash + 10 * 112

    def test_it_says_whether_it_moves_real_money(self) -> None:
        assert self.make_broker().is_live in {True, False}

    def test_its_clock_knows_its_zone_and_goes_forward(self) -> None:
        broker = self.make_broker()
        before = broker.time()
        self.trade(self.symbols[0], 100.0)
        assert before.utcoffset() is not None
        assert before < broker.time()

    def test_its_hours_are_those_of_the_exchange(self) -> None:
        calendar, first, last = Calendar(), date(2019, 11, 25), date(2019, 12, 2)  # Thanksgiving, and a half day
        expected = [(day, calendar.opens_at(day), calendar.closes_at(day)) for day in calendar.sessions(first, last)]
        assert list(self.make_broker().hours(first, last)) == expected

    # --- an order's life ------------------------------------------------------------------------------------------

    def test_an_order_is_known_as_it_was_sent(self) -> None:
        broker = self.make_broker()
        sent = self._order("one", "buy_to_open", 7)
        for order in (broker.submit(sent), self._known(broker, "one"), *broker.open_orders()):
            assert (order.client_order_id, order.symbol, order.side) == ("one", sent.symbol, "buy")
            assert (order.quantity, order.type, order.time_in_force) == (7, "market", "day")
            assert not order.final
            assert order.filled_quantity == 0
            assert order.filled_average_price is None
            assert order.submitted_at.utcoffset() is not None
        assert len(broker.open_orders()) == 1

    def test_an_unknown_order_is_none(self) -> None:
        assert self.make_broker().order("never-sent") is None

    def test_a_market_order_fills_when_the_market_trades(self) -> None:
        broker = self.make_broker()
        broker.submit(self._order("one", "buy_to_open"))
        assert not broker.positions()
        self.trade(self.symbols[0], 100.0)
        order = self._known(broker, "one")
        assert (order.status, order.filled_quantity, order.final) == ("filled", 10, True)
        assert order.filled_average_price == broker.positions()[0].average_price
        assert not broker.open_orders()

    def test_another_symbol_s_trade_fills_nothing(self) -> None:
        broker = self.make_broker()
        broker.submit(self._order("one", "buy_to_open"))
        self.trade(self.symbols[1], 100.0)
        assert [order.client_order_id for order in broker.open_orders()] == ["one"]
        assert not broker.positions()

    def test_partial_fills_add_up(self) -> None:
        broker = self.make_broker()
        since = broker.submit(self._order("one", "buy_to_open", 10)).submitted_at
        self.trade(self.symbols[0], 100.0, at_most=4)
        order = self._known(broker, "one")
        assert (order.status, order.filled_quantity) == ("partially_filled", 4)
        assert self._held(broker) == {self.symbols[0]: 4}
        self.trade(self.symbols[0], 110.0)
        fills = broker.executions(since)
        assert [fill.quantity for fill in fills] == [4, 6]
        assert [fill.cumulative for fill in fills] == [4, 10]
        order = self._known(broker, "one")
        assert order.status == "filled"
        assert order.filled_average_price is not None
        value = sum(fill.quantity * fill.price for fill in fills)
        assert abs(order.filled_average_price * 10 - value) < Decimal("0.01")

    def test_an_order_that_is_canceled_is_final_and_fills_no_more(self) -> None:
        broker = self.make_broker()
        broker.submit(self._order("one", "buy_to_open"))
        broker.cancel("one")
        self.trade(self.symbols[0], 100.0)
        assert self._known(broker, "one").status == "canceled"
        assert not broker.open_orders()
        assert not broker.positions()

    def test_what_was_filled_before_the_cancel_stays(self) -> None:
        broker = self.make_broker()
        broker.submit(self._order("one", "buy_to_open"))
        self.trade(self.symbols[0], 100.0, at_most=4)
        broker.cancel("one")
        self.trade(self.symbols[0], 100.0)
        order = self._known(broker, "one")
        assert (order.status, order.filled_quantity) == ("canceled", 4)
        assert self._held(broker) == {self.symbols[0]: 4}

    def test_a_final_order_cannot_be_canceled(self) -> None:
        broker = self.make_broker()
        self._long(broker)
        self._refuses(lambda: broker.cancel("entry"))
        assert self._known(broker, "entry").status == "filled"

    def test_an_order_that_is_not_there_cannot_be_canceled(self) -> None:
        broker = self.make_broker()
        self._refuses(lambda: broker.cancel("never-sent"))

    def test_a_day_order_ends_with_the_session_and_a_good_till_canceled_one_does_not(self) -> None:
        broker = self.make_broker()
        self._long(broker)
        broker.submit(self._order("stop", "sell_to_close", stop="80"))
        broker.submit(self._order("day", "buy_to_open", symbol=self.symbols[1]))
        self.end_session()
        assert self._known(broker, "day").status == "expired"
        assert [order.client_order_id for order in broker.open_orders()] == ["stop"]

    def test_a_sell_stop_waits_for_its_price(self) -> None:
        broker = self.make_broker()
        since = self._long(broker)
        broker.submit(self._order("stop", "sell_to_close", stop="95"))
        self.trade(self.symbols[0], 95.5)
        assert self._held(broker) == {self.symbols[0]: 10}
        self.trade(self.symbols[0], 94.0)
        assert not broker.positions()
        assert broker.executions(since)[-1].price <= 94

    # --- one id, one order ----------------------------------------------------------------------------------------

    def test_an_id_is_taken_once_and_for_ever(self) -> None:
        broker = self.make_broker()
        broker.submit(self._order("one", "buy_to_open", 1))
        assert self._refuses(lambda: broker.submit(self._order("one", "buy_to_open", 2))).code == "40010001"
        broker.cancel("one")
        self.trade(self.symbols[0], 100.0)
        self._refuses(lambda: broker.submit(self._order("one", "buy_to_open", 2)))
        self._refuses(lambda: broker.submit(self._order("one", "buy_to_open", 2, self.symbols[1])))
        assert self._known(broker, "one").quantity == 1

    def test_an_order_that_was_refused_does_not_exist(self) -> None:
        broker = self.make_broker()
        self._refuses(lambda: broker.submit(self._order("none", "buy_to_open", 0)))
        self._refuses(lambda: broker.submit(self._order("none", "buy_to_open", -5)))
        assert broker.order("none") is None
        assert not broker.open_orders()
        assert not broker.updates()

    # --- positions ------------------------------------------------------------------------------------------------

    def test_a_short_is_a_negative_position(self) -> None:
        broker = self.make_broker()
        broker.submit(self._order("short", "sell_to_open"))
        self.trade(self.symbols[0], 100.0)
        assert self._held(broker) == {self.symbols[0]: -10}
        broker.submit(self._order("cover", "buy_to_close"))
        self.trade(self.symbols[0], 90.0)
        assert not broker.positions()
        assert broker.account().equity > 10_000

    def test_closing_without_a_position_is_refused(self) -> None:
        broker = self.make_broker()
        self._refuses(lambda: broker.submit(self._order("exit", "sell_to_close")))
        self._refuses(lambda: broker.submit(self._order("cover", "buy_to_close")))

    def test_opening_against_a_position_is_refused(self) -> None:
        broker = self.make_broker()
        self._long(broker)
        self._refuses(lambda: broker.submit(self._order("short", "sell_to_open")))

    def test_closing_more_than_is_held_is_refused(self) -> None:
        broker = self.make_broker()
        self._long(broker)
        self._refuses(lambda: broker.submit(self._order("exit", "sell_to_close", 11)))
        assert self._held(broker) == {self.symbols[0]: 10}

    def test_the_same_shares_are_not_sold_twice(self) -> None:
        broker = self.make_broker()
        self._long(broker)
        broker.submit(self._order("stop", "sell_to_close", 6, stop="80"))
        self._refuses(lambda: broker.submit(self._order("exit", "sell_to_close", 5)))
        broker.submit(self._order("rest", "sell_to_close", 4))
        self.trade(self.symbols[0], 100.0)
        assert self._held(broker) == {self.symbols[0]: 6}
        broker.cancel("stop")
        self.trade(self.symbols[0], 100.0)
        broker.submit(self._order("again", "sell_to_close", 6))
        self.trade(self.symbols[0], 100.0)
        assert not broker.positions()

    def test_an_exit_is_refused_while_the_entry_is_open(self) -> None:
        broker = self.make_broker()
        broker.submit(self._order("entry", "buy_to_open"))
        self.trade(self.symbols[0], 100.0, at_most=4)
        self._refuses(lambda: broker.submit(self._order("exit", "sell_to_close", 4)))

    def test_what_cannot_be_paid_is_refused(self) -> None:
        broker = self.make_broker()
        self.trade(self.symbols[0], 100.0)
        quantity = int(broker.account().buying_power / 100) + 1000
        self._refuses(lambda: broker.submit(self._order("much", "buy_to_open", quantity)))

    def test_what_is_not_lent_cannot_be_sold_short(self) -> None:
        broker = self.make_broker()
        assert broker.shortable(self.symbols[0]) in {True, None}
        if self.not_lent is not None:
            not_lent = self.not_lent
            assert broker.shortable(not_lent) in {False, None}
            self._refuses(lambda: broker.submit(self._order("short", "sell_to_open", symbol=not_lent)))

    # --- what is told ---------------------------------------------------------------------------------------------

    def test_executions_are_complete_from_a_time_on(self) -> None:
        broker = self.make_broker()
        since = self._long(broker)
        later = broker.submit(self._order("exit", "sell_to_close")).submitted_at
        self.trade(self.symbols[0], 101.0)
        fills = broker.executions(since)
        assert [(fill.client_order_id, fill.side, fill.quantity) for fill in fills] == [
            ("entry", "buy", 10),
            ("exit", "sell", 10),
        ]
        assert [fill.at for fill in fills] == sorted(fill.at for fill in fills)
        assert list(broker.executions(fills[1].at)) == [fills[1]], f"from the fill on, ordered at {later}"
        assert list(broker.executions(since)) == list(fills), "asking takes nothing away"

    def test_updates_tell_every_fill_and_the_end_of_every_order_once(self) -> None:
        broker = self.make_broker()
        since = broker.submit(self._order("one", "buy_to_open")).submitted_at
        broker.submit(self._order("two", "buy_to_open", symbol=self.symbols[1]))
        self.trade(self.symbols[0], 100.0, at_most=4)
        self.trade(self.symbols[0], 100.0)
        broker.cancel("two")
        self.trade(self.symbols[1], 100.0)
        updates = broker.updates()
        last = {update.order.client_order_id: update.order for update in updates}
        assert last == {name: self._known(broker, name) for name in ("one", "two")}
        told = [update.execution for update in updates if update.execution is not None]
        assert told == list(broker.executions(since))
        assert sum(update.order.final for update in updates) == 2
        assert not broker.updates(), "what was told is not told again"

    def test_reports_come_and_none_is_missing(self) -> None:
        broker = self.make_broker()
        assert broker.link() == (True, 0)
        self._long(broker)
        assert broker.link() == (True, 0)

    def test_after_it_was_closed_orders_stay_and_can_be_asked_for(self) -> None:
        broker = self.make_broker()
        broker.submit(self._order("one", "buy_to_open"))
        broker.close()
        broker.close()
        assert self._known(broker, "one").quantity == 10
        assert len(broker.open_orders()) == 1

    def _refuses(self, request: Callable[[], object]) -> Refused:
        try:
            request()
        except Refused as error:
            refusal = error
        else:
            raise AssertionError("this is not refused")
        assert str(refusal), "a refusal says why"
        return refusal

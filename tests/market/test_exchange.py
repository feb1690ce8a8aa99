"""Matching in virtual time: what fills, when and at what price, and what is refused."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotrader.clock import NEW_YORK, Calendar
from autotrader.market.broker import BrokerOrder, OrderRequest, PositionIntent, Refused
from autotrader.market.exchange import CLOSING, Exchange, unlimited

CALENDAR = Calendar()
SESSION = date(2024, 3, 5)
OPEN, CLOSE = CALENDAR.opens_at(SESSION), CALENDAR.closes_at(SESSION)
MINUTE = timedelta(minutes=1)


def exchange(**options: Any) -> Exchange:
    return Exchange(options.pop("cash", 100_000), CALENDAR, **options)


def request(
    name: str, intent: PositionIntent, quantity: int = 10, symbol: str = "A", **options: Any
) -> OrderRequest:  # fmt: skip
    return OrderRequest(name, symbol, "buy" if intent.startswith("buy") else "sell", quantity, intent, **options)


def stop(name: str, intent: PositionIntent, price: str, quantity: int = 10) -> OrderRequest:
    return request(name, intent, quantity, type="stop", time_in_force="gtc", stop_price=Decimal(price))


def bar(
    market: Exchange, minute: int, open: float, high: float | None = None, low: float | None = None, symbol: str = "A"
) -> None:
    high, low = open if high is None else high, open if low is None else low
    market.on_bar(OPEN + minute * MINUTE, symbol, open, high, low, (high + low) / 2, 1000)


def holding(intent: PositionIntent = "buy_to_open", price: float = 100.0, **options: Any) -> Exchange:
    market = exchange(**options)
    market.submit(request("entry", intent), OPEN)
    bar(market, 0, price)
    return market


def status(market: Exchange, name: str) -> str:
    order = market.order(name)
    assert order is not None
    return order.status


def fills(market: Exchange) -> list[tuple[str, int, Decimal]]:
    return [(f.client_order_id, f.quantity, f.price) for f in market.executions(OPEN - timedelta(days=9))]


# --- when and at what price -------------------------------------------------------------------------------------------


def test_a_market_order_fills_at_the_open_of_the_bar_that_starts_when_it_is_sent() -> None:
    market = holding(price=100.37)
    assert fills(market) == [("entry", 10, Decimal("100.37"))]
    assert market.executions(OPEN)[0].at == OPEN


def test_an_order_sent_within_a_bar_waits_for_the_next() -> None:
    market = exchange()
    market.submit(request("one", "buy_to_open"), OPEN + MINUTE / 2)
    bar(market, 0, 100.0)
    assert not market.positions()
    bar(market, 1, 101.0)
    assert fills(market) == [("one", 10, Decimal(101))]


def test_a_symbol_without_bars_does_not_fill_until_it_trades_again() -> None:
    market = exchange()
    market.submit(request("one", "buy_to_open"), OPEN)
    bar(market, 0, 50.0, symbol="B")
    bar(market, 40, 50.0, symbol="B")
    assert status(market, "one") == "new"
    bar(market, 41, 99.0)
    assert fills(market) == [("one", 10, Decimal(99))]


def test_a_bar_without_volume_fills_nothing_and_still_sets_the_price() -> None:
    market = exchange()
    market.submit(request("one", "buy_to_open"), OPEN)
    market.on_bar(OPEN, "A", 100, 100, 100, 100, 0)
    assert status(market, "one") == "new"
    assert market.last_price("A") == 100


def test_a_point_of_a_path_fills_market_orders_at_exactly_its_price() -> None:
    market = exchange()
    market.submit(request("one", "buy_to_open"), OPEN)
    market.on_price(OPEN, "A", 100.1234)
    assert fills(market) == [("one", 10, Decimal("100.1234"))]


def test_a_point_of_a_path_does_not_look_at_stops() -> None:
    market = holding()
    market.submit(stop("stop", "sell_to_close", "95"), OPEN)
    market.on_price(OPEN + MINUTE, "A", 80.0)
    assert status(market, "stop") == "new"


@pytest.mark.parametrize(("open", "price"), [(98.0, 95), (94.2, "94.2"), (95.0, 95)])
def test_a_sell_stop_fills_at_its_price_or_at_a_worse_open(open: float, price: object) -> None:
    market = holding()
    market.submit(stop("stop", "sell_to_close", "95"), OPEN)
    bar(market, 1, open, low=90.0)
    assert fills(market)[1:] == [("stop", 10, Decimal(str(price)))]


@pytest.mark.parametrize(("open", "price"), [(102.0, 105), (106.5, "106.5"), (105.0, 105)])
def test_a_buy_stop_is_the_mirror_image(open: float, price: object) -> None:
    market = holding("sell_to_open")
    market.submit(stop("stop", "buy_to_close", "105"), OPEN)
    bar(market, 1, open, high=110.0)
    assert fills(market)[1:] == [("stop", 10, Decimal(str(price)))]


def test_a_stop_is_triggered_when_touched_and_not_a_tick_before() -> None:
    market = holding()
    market.submit(stop("stop", "sell_to_close", "95"), OPEN)
    bar(market, 1, 98.0, low=95.01)
    assert status(market, "stop") == "new"
    bar(market, 2, 98.0, low=95.0)
    assert status(market, "stop") == "filled"


def test_a_stop_sent_after_the_bar_began_is_not_triggered_by_it() -> None:
    market = holding()
    market.submit(stop("stop", "sell_to_close", "95"), OPEN + 1.5 * MINUTE)
    bar(market, 1, 98.0, low=90.0)
    assert status(market, "stop") == "new"


def test_what_fills_at_the_open_comes_before_a_stop_of_the_same_bar() -> None:
    market = holding()
    market.submit(stop("stop", "sell_to_close", "95", 6), OPEN)
    market.submit(request("exit", "sell_to_close", 4), OPEN)
    bar(market, 1, 94.0, low=90.0)
    assert [name for name, _, _ in fills(market)] == ["entry", "exit", "stop"]


def test_a_triggered_stop_that_did_not_fill_whole_is_a_market_order_from_then_on() -> None:
    market = holding()
    market.submit(stop("stop", "sell_to_close", "95"), OPEN)
    market.liquidity = lambda order: 3
    bar(market, 1, 98.0, low=94.0)
    market.liquidity = unlimited
    bar(market, 2, 99.0)
    assert fills(market)[1:] == [("stop", 3, Decimal(95)), ("stop", 7, Decimal(99))]


@pytest.mark.parametrize(
    ("intent", "price", "bps", "paid"),
    [
        ("buy_to_open", 100.0, 5.0, "100.05"),
        ("sell_to_open", 100.0, 5.0, "99.95"),
        ("buy_to_open", 33.33, 1.0, "33.3334"),  # 33.333333 rounded up
        ("sell_to_open", 33.33, 1.0, "33.3266"),  # 33.326667 rounded down
        ("buy_to_open", 0.1, 0.0, "0.1"),
        ("buy_to_open", 12.34567, 0.0, "12.3457"),
        ("sell_to_open", 12.34567, 0.0, "12.3456"),
    ],
)
def test_slippage_and_rounding_go_against_the_taker(
    intent: PositionIntent, price: float, bps: float, paid: str
) -> None:
    assert fills(holding(intent, price, slippage_bps=bps)) == [("entry", 10, Decimal(paid))]


def test_the_commission_is_charged_with_an_order_s_first_fill() -> None:
    market = exchange(commission=1.5)
    market.submit(request("one", "buy_to_open"), OPEN)
    market.liquidity = lambda order: 5
    bar(market, 0, 100.0)
    bar(market, 1, 100.0)
    assert [fill.commission for fill in market.executions(OPEN)] == [Decimal("1.5"), 0]
    assert market.account().cash == Decimal("98998.5")


def test_the_average_price_is_of_the_shares_still_held() -> None:
    market = holding(price=100.0)
    market.submit(request("more", "buy_to_open", 10), OPEN)
    bar(market, 1, 110.0)
    assert market.positions()[0].average_price == 105
    market.submit(request("less", "sell_to_close", 5), OPEN)
    bar(market, 2, 120.0)
    assert [(p.quantity, p.average_price) for p in market.positions()] == [(15, 105)]


def test_the_market_does_not_go_back_in_time() -> None:
    market = exchange()
    bar(market, 5, 100.0)
    with pytest.raises(ValueError, match="cannot go back"):
        bar(market, 4, 100.0, symbol="B")
    with pytest.raises(ValueError, match="no time zone"):
        market.on_price(datetime(2024, 3, 5, 10), "A", 1.0)  # noqa: DTZ001


# --- sessions ---------------------------------------------------------------------------------------------------------


def test_day_orders_expire_at_the_close_and_good_till_canceled_ones_stay() -> None:
    market = holding()
    market.submit(stop("stop", "sell_to_close", "80"), OPEN)
    market.submit(request("day", "buy_to_open", symbol="B"), OPEN)
    market.close_session(CLOSE)
    assert (status(market, "day"), status(market, "stop")) == ("expired", "new")


def test_an_order_sent_without_a_session_waits_for_the_next() -> None:
    market = exchange()
    market.submit(request("one", "buy_to_open"), CLOSE)
    assert status(market, "one") == "accepted"
    market.close_session(CLOSE)
    assert status(market, "one") == "accepted"
    market.on_bar(OPEN + timedelta(days=1), "A", 100, 100, 100, 100, 1)
    assert status(market, "one") == "filled"


@pytest.mark.parametrize(
    ("at", "open"),
    [
        ("2024-03-05T09:29", False),
        ("2024-03-05T09:30", True),
        ("2024-03-05T15:59", True),
        ("2024-03-05T16:00", False),
        ("2024-11-29T13:00", False),  # a half day
        ("2024-03-09T12:00", False),  # a Saturday
        ("2024-07-04T12:00", False),
    ],
)
def test_an_order_is_new_in_a_session_and_accepted_otherwise(at: str, open: bool) -> None:
    order = exchange().submit(request("one", "buy_to_open"), datetime.fromisoformat(at).replace(tzinfo=NEW_YORK))
    assert order.status == ("new" if open else "accepted")


@pytest.mark.parametrize(("at", "taken"), [("18:59", False), ("19:00", True), ("09:27", True), ("09:28", False)])
def test_orders_for_the_opening_are_taken_from_seven_in_the_evening_to_0928(at: str, taken: bool) -> None:
    market, order = exchange(), request("one", "buy_to_open", time_in_force="opg")
    when = datetime.fromisoformat(f"2024-03-05T{at}").replace(tzinfo=NEW_YORK)
    if taken:
        market.submit(order, when)
    else:
        with pytest.raises(Refused, match="7:00pm"):
            market.submit(order, when)


def test_an_order_for_the_opening_fills_at_the_first_open_and_its_rest_expires() -> None:
    market = exchange()
    market.submit(request("one", "buy_to_open", time_in_force="opg"), OPEN - timedelta(hours=1))
    market.submit(request("two", "buy_to_open", symbol="B", time_in_force="opg"), OPEN - timedelta(hours=1))
    market.liquidity = lambda order: 4
    bar(market, 0, 100.0)
    order = market.order("one")
    assert order is not None
    assert (order.status, order.filled_quantity) == ("expired", 4)
    market.close_session(CLOSE)
    assert status(market, "two") == "expired"


# --- refusals ---------------------------------------------------------------------------------------------------------


def refused(market: Exchange, order: OrderRequest, code: str, *words: str) -> None:
    before = market.open_orders()
    with pytest.raises(Refused) as refusal:
        market.submit(order, OPEN + MINUTE)
    assert refusal.value.code == code
    for word in words:
        assert word in str(refusal.value)
    assert market.open_orders() == before


def test_an_id_is_unique_for_ever() -> None:
    market = holding()
    refused(market, request("entry", "buy_to_open", symbol="B"), "40010001", "client_order_id must be unique")
    refused(market, request("x" * 129, "buy_to_open"), "40010001", "128")


@pytest.mark.parametrize("quantity", [0, -1])
def test_a_quantity_is_positive(quantity: int) -> None:
    refused(exchange(), request("one", "buy_to_open", quantity), "40010001", "qty must be > 0")


def test_a_stop_order_has_a_stop_price_on_its_side_of_the_market() -> None:
    market = holding(price=100.0)
    refused(market, request("a", "sell_to_close", type="stop"), "40010001", "stop price")
    refused(market, request("b", "sell_to_close", stop_price=Decimal(90)), "40010001", "no stop price")
    refused(
        market,
        request("c", "sell_to_close", type="stop", stop_price=Decimal(90), time_in_force="opg"),
        "40010001",
        "time_in_force",
    )
    refused(market, stop("d", "sell_to_close", "100"), "42210000", "less than current price")
    refused(holding("sell_to_open"), stop("e", "buy_to_close", "100"), "42210000", "greater than current price")


@pytest.mark.parametrize(
    ("held", "intent", "inferred"),
    [
        (None, "sell_to_close", "sell_to_open"),
        (None, "buy_to_close", "buy_to_open"),
        ("buy_to_open", "sell_to_open", "sell_to_close"),
        ("buy_to_open", "buy_to_close", "buy_to_open"),
        ("sell_to_open", "buy_to_open", "buy_to_close"),
        ("sell_to_open", "sell_to_close", "sell_to_open"),
    ],
)
def test_an_intent_that_the_position_contradicts_is_refused(
    held: PositionIntent | None, intent: PositionIntent, inferred: str
) -> None:
    market = exchange() if held is None else holding(held)
    refused(market, request("one", intent), "42210000", "intent mismatch", f"inferred: {inferred}")


def test_only_what_is_lent_is_sold_short() -> None:
    market = exchange(not_shortable={"A"})
    refused(market, request("one", "sell_to_open"), "42210000", "cannot be sold short")
    market.submit(request("two", "buy_to_open"), OPEN)
    bar(market, 0, 100.0)
    market.submit(request("three", "sell_to_close"), OPEN)


def test_the_opposite_side_of_an_open_order_is_a_wash_trade() -> None:
    market = holding()
    market.submit(stop("stop", "sell_to_close", "80"), OPEN)
    refused(market, request("more", "buy_to_open"), "40310000", "wash trade", "stop")
    market.cancel("stop", OPEN + MINUTE)
    market.submit(request("more", "buy_to_open"), OPEN + MINUTE)
    refused(market, request("exit", "sell_to_close"), "40310000", "wash trade")


def test_shares_that_an_open_exit_holds_are_not_available() -> None:
    market = holding()
    market.submit(stop("stop", "sell_to_close", "80", 8), OPEN)
    refused(market, request("exit", "sell_to_close", 3), "40310000", "insufficient qty", "requested: 3, available: 2")
    market.submit(request("rest", "sell_to_close", 2), OPEN)


def test_orders_are_held_against_the_buying_power() -> None:
    market = exchange(cash=1000, leverage=1)
    market.mark("A", 100.0)
    refused(market, request("much", "buy_to_open", 11), "40310000", "insufficient buying power", "1100")
    market.submit(request("one", "buy_to_open", 6), OPEN)
    refused(market, request("two", "buy_to_open", 5), "40310000", "insufficient buying power")
    bar(market, 0, 100.0)
    refused(market, request("two", "buy_to_open", 5), "40310000", "insufficient buying power")
    market.submit(request("two", "buy_to_open", 4), OPEN)


def test_a_short_uses_buying_power_and_its_proceeds_give_none() -> None:
    market = holding("sell_to_open", cash=10_000, leverage=2)
    account = market.account()
    assert (account.cash, account.equity, account.buying_power) == (11_000, 10_000, 19_000)
    assert market.account({"A": 150.0}).equity == 9_500


def test_closing_needs_no_buying_power() -> None:
    market = holding("sell_to_open", cash=1000, leverage=1)
    bar(market, 1, 190.0)
    assert market.account().buying_power == 0
    market.submit(request("cover", "buy_to_close"), OPEN + MINUTE)


# --- ends -------------------------------------------------------------------------------------------------------------


def test_a_cancel_that_is_too_late_ends_what_the_market_did_not_fill() -> None:
    market = exchange()
    market.submit(request("one", "buy_to_open"), OPEN)
    market.cancel("one", OPEN, too_late=True)
    assert status(market, "one") == "pending_cancel"
    market.liquidity = lambda order: 4
    bar(market, 0, 100.0)
    order = market.order("one")
    assert order is not None
    assert (order.status, order.filled_quantity) == ("canceled", 4)


# --- limits -----------------------------------------------------------------------------------------------------------


def limit(name: str, intent: PositionIntent, price: str, quantity: int = 10, **options: Any) -> OrderRequest:
    return request(name, intent, quantity, type="limit", limit_price=Decimal(price), **options)


@pytest.mark.parametrize(
    ("intent", "at", "price"),
    [
        ("buy_to_open", "100", 99), ("buy_to_open", "98.5", 98.5), ("buy_to_open", "97.9", None),
        ("sell_to_open", "99", 99), ("sell_to_open", "100.1", 100.1), ("sell_to_open", "102.1", None),
    ],
)  # fmt: skip
def test_a_limit_fills_at_a_better_open_or_where_it_is_touched(
    intent: PositionIntent, at: str, price: float | None
) -> None:
    market = exchange()
    market.submit(limit("one", intent, at), OPEN)
    bar(market, 0, 99, high=102, low=98)
    assert [float(fill[2]) for fill in fills(market)] == ([] if price is None else [price])


def test_slippage_never_passes_a_limit() -> None:
    market = exchange(slippage_bps=50)
    market.submit(limit("one", "buy_to_open", "100.2"), OPEN)
    bar(market, 0, 100)
    assert fills(market)[0][2] == Decimal("100.2")


def test_a_limit_waits_and_one_for_the_opening_does_not() -> None:
    market = exchange()
    evening = OPEN - timedelta(hours=14)
    market.submit(limit("day", "buy_to_open", "95"), evening)
    market.submit(limit("opening", "buy_to_open", "95", time_in_force="opg"), evening)
    market.on_price(OPEN, "A", 96)
    assert (status(market, "day"), status(market, "opening")) == ("accepted", "expired")
    market.on_price(OPEN + MINUTE, "A", 94)
    assert fills(market) == [("day", 10, Decimal(94))]


def test_a_limit_order_has_a_limit_and_others_have_none() -> None:
    market = exchange()
    refused(market, request("one", "buy_to_open", type="limit"), "40010001", "require a limit price")
    refused(market, request("one", "buy_to_open", limit_price=Decimal(5)), "40010001", "take no limit price")


def test_limits_that_cannot_meet_are_no_wash_trade() -> None:
    market = holding()
    market.submit(limit("out", "sell_to_close", "110", 5), OPEN + MINUTE)
    refused(market, limit("in", "buy_to_open", "110"), "40310000", "opposite side limit order exists: out")
    refused(market, request("in", "buy_to_open"), "40310000", "opposite side market/stop order exists: out")
    market.submit(limit("in", "buy_to_open", "109.99"), OPEN + MINUTE)
    refused(market, limit("more", "sell_to_close", "109.99", 5), "40310000", "limit order exists: in")


def test_a_buyer_s_limit_and_a_seller_s_market_are_held_against_the_buying_power() -> None:
    market = exchange(cash=1000)
    market.mark("A", 100)
    refused(market, limit("one", "buy_to_open", "101", 20), "40310000", "cost_basis: 2020")
    market.submit(limit("one", "buy_to_open", "90", 10), OPEN)
    assert market.account().buying_power == 1100
    refused(market, limit("two", "sell_to_open", "95", 12), "40310000", "cost_basis: 1200")


@pytest.mark.parametrize(("intent", "price"), [("buy_to_open", "33.33"), ("sell_to_open", "33.34")])
def test_a_limit_is_split_to_no_worse_a_price(intent: PositionIntent, price: str) -> None:
    market = exchange()
    market.submit(limit("one", intent, "100", time_in_force="gtc"), OPEN)
    market.split("A", 3, 1, 33.3)
    order = market.order("one")
    assert order is not None
    assert (order.quantity, order.limit_price) == (30, Decimal(price))


def test_an_order_takes_the_place_of_another_and_its_shares() -> None:
    market = holding()
    market.submit(stop("first", "sell_to_close", "90"), OPEN + MINUTE)
    market.replace_order("first", stop("second", "sell_to_close", "95"), OPEN + MINUTE)
    old = market.order("first")
    assert old is not None
    assert (old.status, old.reason) == ("canceled", "replaced by second")
    assert [order.client_order_id for order in market.open_orders()] == ["second"]
    bar(market, 1, 96, low=94)
    assert fills(market)[-1] == ("second", 10, Decimal(95))


def test_an_order_stays_where_the_one_in_its_place_is_refused() -> None:
    market = holding()
    market.submit(stop("first", "sell_to_close", "90"), OPEN + MINUTE)
    market.drain_updates()
    with pytest.raises(Refused, match="insufficient qty"):
        market.replace_order("first", stop("second", "sell_to_close", "95", 11), OPEN + MINUTE)
    assert (status(market, "first"), market.available("A"), market.drain_updates()) == ("new", 0, [])
    assert [order.client_order_id for order in market.open_orders()] == ["first"]
    bar(market, 1, 89)
    assert fills(market)[-1][0] == "first"
    with pytest.raises(Refused, match='already in "filled" state'):
        market.replace_order("first", stop("third", "sell_to_close", "95"), OPEN + MINUTE)
    assert market.order("third") is None


@pytest.mark.parametrize(("quantity", "average"), [(15, "103.3333"), (4, "100"), (0, None), (-3, "110"), (10, "100")])
def test_a_position_is_made_by_hand_at_a_price(quantity: int, average: str | None) -> None:
    market = holding()
    market.trade_by_hand("A", quantity, Decimal(110))
    assert market.position("A") == quantity
    assert market.account().cash == 99_000 - (quantity - 10) * 110
    found = {item.symbol: round(item.average_price, 4) for item in market.positions()}
    assert found == ({} if average is None else {"A": Decimal(average)})
    assert len(market.executions(OPEN)) == 1, "it is no order's fill"


def test_a_cancel_that_is_pending_at_the_close_is_done_then() -> None:
    market = exchange()
    market.submit(request("one", "buy_to_open"), OPEN)
    market.cancel("one", OPEN, too_late=True)
    market.close_session(CLOSE)
    assert status(market, "one") == "canceled"


def test_a_split_takes_open_exits_along_so_that_they_close_what_is_left() -> None:
    market = holding()
    market.submit(request("exit", "sell_to_close"), OPEN)
    market.split("A", 1, 4, 400.0)  # 2 shares and a half are left, and so is the order
    assert market.position("A") == 2
    bar(market, 1, 400.0)
    assert not market.positions()


# --- splits -----------------------------------------------------------------------------------------------------------


def test_a_split_keeps_the_value_of_position_and_stop() -> None:
    market = holding(price=100.0)
    market.submit(stop("stop", "sell_to_close", "90"), OPEN)
    cash = market.account().cash
    assert market.split("A", 4, 1, 25.0) == 0
    assert [(p.quantity, p.average_price) for p in market.positions()] == [(40, 25)]
    order = market.order("stop")
    assert order is not None
    assert (order.quantity, order.stop_price) == (40, Decimal("22.50"))
    assert market.account().cash == cash
    assert market.account().equity == 100_000


@pytest.mark.parametrize(("intent", "paid"), [("buy_to_open", "100.00"), ("sell_to_open", "-100.00")])
def test_a_fraction_is_paid_in_cash(intent: PositionIntent, paid: str) -> None:
    market = holding(intent)  # 10 shares
    cash = market.account().cash
    assert market.split("A", 1, 3, 300.0) == Decimal(paid)
    assert market.account().cash == cash + Decimal(paid)
    assert abs(market.position("A")) == 3


@pytest.mark.parametrize(
    ("intent", "at", "stop_price"),
    [("sell_to_close", "80.00", "26.67"), ("buy_to_close", "140.00", "46.66")],
)
def test_a_stop_is_rounded_toward_the_market(intent: PositionIntent, at: str, stop_price: str) -> None:
    market = holding("buy_to_open" if intent == "sell_to_close" else "sell_to_open")
    market.submit(stop("stop", intent, at), OPEN)
    market.split("A", 3, 1, 33.34)
    order = market.order("stop")
    assert order is not None
    assert order.stop_price == Decimal(stop_price)


def test_a_position_of_less_than_a_share_is_paid_out_and_its_stop_canceled() -> None:
    market = holding()
    market.submit(stop("stop", "sell_to_close", "90"), OPEN)
    assert market.split("A", 1, 20, 2000.0) == 1000
    assert not market.positions()
    assert status(market, "stop") == "canceled"


# --- what always holds ------------------------------------------------------------------------------------------------

INTENTS: tuple[PositionIntent, ...] = ("buy_to_open", "sell_to_close", "sell_to_open", "buy_to_close")
PRICES = st.integers(5000, 15000).map(lambda cents: cents / 100)
STEPS = st.one_of(
    st.tuples(st.just("submit"), st.sampled_from(INTENTS), st.integers(1, 30), st.none() | PRICES),
    st.tuples(st.just("bar"), PRICES, PRICES, st.integers(0, 20)),
    st.tuples(st.just("cancel"), st.integers(0, 20), st.booleans()),
)


@given(st.lists(STEPS, min_size=3, max_size=40), st.integers(1, 9))
def test_whatever_comes_cash_positions_and_fills_agree_and_closing_never_flips(
    steps: list[tuple[Any, ...]], liquidity: int
) -> None:
    def some(order: BrokerOrder) -> int:
        return min(liquidity, unlimited(order))

    market = exchange(cash=10_000, commission=1, slippage_bps=2, liquidity=some)
    closing: dict[str, bool] = {}
    at, held, cash, seen = OPEN, 0, Decimal(10_000), 0
    for number, step in enumerate(steps):
        name = f"o{number}"
        try:
            if step[0] == "submit":
                price = None if step[3] is None else Decimal(str(step[3]))
                kind = {} if price is None else {"type": "stop", "stop_price": price, "time_in_force": "gtc"}
                market.submit(request(name, step[1], step[2], **kind), at)
                closing[name] = step[1] in CLOSING
            elif step[0] == "cancel":
                market.cancel(f"o{step[1]}", at, too_late=step[2])
            else:
                low, high = sorted(step[1:3])
                market.on_bar(at, "A", low if step[3] % 2 else high, high, low, high, step[3])
                at += MINUTE
        except Refused:
            assert step[0] != "bar"
        for fill in market.executions(OPEN)[seen:]:
            signed = fill.quantity if fill.side == "buy" else -fill.quantity
            if closing[fill.client_order_id]:
                assert held * signed < 0
                assert abs(signed) <= abs(held)
            else:
                assert held * signed >= 0
            held, cash, seen = held + signed, cash - signed * fill.price - fill.commission, seen + 1
        assert market.position("A") == held
        assert market.account().cash == cash
    told = [u.execution for u in market.drain_updates() if u.execution is not None]
    assert told == market.executions(OPEN)
    for order_name in closing:
        order = market.order(order_name)
        assert order is not None
        own = [fill for fill in told if fill.client_order_id == order_name]
        assert order.filled_quantity == sum(fill.quantity for fill in own) <= order.quantity
        assert [f.cumulative for f in own] == sorted({f.cumulative for f in own})

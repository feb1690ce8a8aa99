"""What becomes of orders, and which are refused."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest, ReplaceOrderRequest, StopOrderRequest

from autotrader.clock import NEW_YORK
from tests.simulator.conftest import MINUTE, Desk, Start, at


def place(desk: Desk, **order: Any) -> Any:
    answer = desk.order(**order)
    assert answer.status_code == 200, answer.text
    return answer.json()


def bought(start: Start, qty: int = 10) -> Desk:
    """At 10:01 with shares of AAPL."""
    desk = start(start=at(10))
    place(desk, qty=qty)
    desk.step(at(10, 1))
    return desk


def test_an_order_of_the_session_is_pending_then_filled_at_the_next_bars_open(start: Start) -> None:
    desk = start(start=at(10))
    order = place(desk, qty="10", client_order_id="mine")
    assert (order["status"], order["qty"], order["position_intent"]) == ("pending_new", "10", "buy_to_open")
    assert order["submitted_at"] == "2019-02-11T15:00:00Z"
    assert desk.get(f"/v2/orders/{order['id']}")["status"] == "new"
    desk.step(at(10, 1))
    filled = desk.get("/v2/orders:by_client_order_id", client_order_id="mine")
    bar = desk.get("/v2/stocks/bars/latest", symbols="AAPL")["bars"]["AAPL"]
    assert (filled["status"], filled["filled_qty"], float(filled["filled_avg_price"])) == ("filled", "10", bar["o"])
    assert filled["filled_at"] == "2019-02-11T15:00:00Z"


def test_an_order_within_a_minute_waits_for_the_next_one(start: Start) -> None:
    desk = start(start=at(10))
    desk.step(at(10, 0, 20))
    order = place(desk)
    desk.step(at(10, 1))
    assert desk.get(f"/v2/orders/{order['id']}")["status"] == "new"
    desk.step(at(10, 2))
    assert desk.get(f"/v2/orders/{order['id']}")["filled_at"] == "2019-02-11T15:01:00Z"


def test_an_order_at_night_is_accepted_and_fills_in_the_morning(start: Start) -> None:
    desk = start(start=at(17))
    order = place(desk)
    assert order["status"] == "accepted"
    desk.step(at(9, 31, day=12))
    assert desk.get(f"/v2/orders/{order['id']}")["filled_at"] == "2019-02-12T14:30:00Z"


def test_what_the_day_did_not_fill_expires_at_the_close(start: Start) -> None:
    desk = bought(start)
    day = place(desk, side="sell", qty=5, type="stop", stop_price="1.00")
    kept = place(desk, side="sell", qty=5, type="stop", stop_price=1.0, time_in_force="gtc")
    desk.step(at(16))
    assert desk.get(f"/v2/orders/{day['id']}")["expired_at"] == "2019-02-11T21:00:00Z"
    assert [order["id"] for order in desk.get("/v2/orders")] == [kept["id"]]
    assert kept["expires_at"] == "2019-05-12T15:01:00Z"


def test_the_day_ends_at_one_on_half_days(start: Start) -> None:
    desk = start(start=datetime(2019, 7, 3, 12, 59, tzinfo=NEW_YORK))
    order = place(desk, type="limit", limit_price=1)
    desk.step(datetime(2019, 7, 3, 13, 0, tzinfo=NEW_YORK))
    assert desk.get(f"/v2/orders/{order['id']}")["expired_at"] == "2019-07-03T17:00:00Z"
    assert place(desk)["status"] == "accepted"


def test_a_stop_sells_inside_the_bar_that_touches_it(start: Start) -> None:
    desk = bought(start)
    bars = desk.get("/v2/stocks/bars/latest", symbols="AAPL")["bars"]["AAPL"]
    stop = round(bars["c"] - 0.2, 2)
    request = StopOrderRequest(
        symbol="AAPL", qty=10, side=OrderSide.SELL, time_in_force=TimeInForce.GTC, stop_price=stop
    )
    order = desk.trading.submit_order(request)
    now = at(10, 1)
    while desk.trading.get_order_by_id(order.id).status != "filled":
        now += MINUTE
        desk.step(now)
    last = desk.get("/v2/stocks/bars/latest", symbols="AAPL")["bars"]["AAPL"]
    assert last["l"] <= stop
    assert float(desk.trading.get_order_by_id(order.id).filled_avg_price or 0) == min(stop, last["o"])


def test_a_cancel_is_asked_for_and_a_final_order_has_none(start: Start) -> None:
    desk = start(start=at(10))
    order = place(desk)
    assert desk.call("DELETE", f"/v2/orders/{order['id']}").status_code == 204
    assert desk.get(f"/v2/orders/{order['id']}")["canceled_at"] == "2019-02-11T15:00:00Z"
    again = desk.call("DELETE", f"/v2/orders/{order['id']}")
    assert (again.status_code, again.json()) == (
        422, {"code": 42210000, "message": 'order is already in "canceled" state'},
    )  # fmt: skip
    assert desk.call("DELETE", "/v2/orders/00000000-0000-4000-a000-000000000000").json()["code"] == 40410000


def test_an_order_is_replaced_by_one_with_another_price(start: Start) -> None:
    desk = bought(start)
    stop = place(desk, side="sell", type="stop", stop_price=1, time_in_force="gtc")
    updates = desk.updates()
    changed = desk.trading.replace_order_by_id(stop["id"], ReplaceOrderRequest(stop_price=2, client_order_id="higher"))
    assert (changed.stop_price, changed.qty, str(changed.replaces)) == ("2", "10", stop["id"])
    old = desk.get(f"/v2/orders/{stop['id']}")
    assert (old["status"], old["replaced_by"], old["canceled_at"]) == ("replaced", str(changed.id), None)
    assert [order["client_order_id"] for order in desk.get("/v2/orders")] == ["higher"]
    desk.until(lambda: {update.event for update in updates} == {"new", "replaced"})
    refused = desk.call("PATCH", f"/v2/orders/{changed.id}", json={"qty": "11"})
    assert refused.json()["message"] == "insufficient qty available for order (requested: 11, available: 10)"
    assert desk.get(f"/v2/orders/{changed.id}")["status"] == "new"
    assert desk.get("/v2/positions/AAPL")["qty_available"] == "0"
    assert desk.call("PATCH", f"/v2/orders/{stop['id']}", json={"qty": "5"}).status_code == 422


def test_all_orders_are_canceled_at_once(start: Start) -> None:
    desk = start(start=at(10))
    ids = [place(desk, symbol=symbol)["id"] for symbol in ("AAPL", "MSFT")]
    canceled = desk.call("DELETE", "/v2/orders").json()
    assert [(item["id"], item["status"]) for item in canceled] == [(name, 200) for name in ids]
    assert desk.get("/v2/orders") == []
    assert desk.trading.cancel_orders() == []


def test_a_client_order_id_is_used_once_for_ever(start: Start) -> None:
    desk = start(start=at(10))
    order = place(desk, client_order_id="once")
    desk.trading.cancel_order_by_id(order["id"])
    refused = desk.order(client_order_id="once")
    assert refused.status_code == 422
    assert refused.json() == {"code": 40010001, "message": "client_order_id must be unique"}
    desk.control("faults", {"add": [{"kind": "account_blocked"}]})
    assert desk.order(client_order_id="once").json()["code"] == 40010001, "whatever else speaks against it"


REFUSED: list[tuple[dict[str, Any], int, int, str]] = [
    ({"qty": 0}, 422, 40010001, "qty must be > 0"),
    ({"qty": None}, 422, 40010001, "qty must be > 0"),
    ({"qty": "x"}, 422, 40010001, "invalid qty"),
    ({"notional": 5}, 422, 40010001, "only one of qty or notional is accepted"),
    ({"qty": None, "notional": 5}, 403, 40310000, 'asset "AAPL" is not fractionable'),
    ({"qty": 1.5}, 403, 40310000, 'asset "AAPL" is not fractionable'),
    ({"symbol": "NONE"}, 422, 42210000, 'asset "NONE" not found'),
    ({"side": "short"}, 422, 40010001, "invalid side"),
    ({"type": "trailing_stop"}, 422, 40010001, "invalid type"),
    ({"time_in_force": "gtd"}, 422, 40010001, "invalid time_in_force"),
    ({"client_order_id": "x" * 129}, 422, 40010001, "client_order_id must be no more than 128 characters"),
    ({"type": "limit"}, 422, 40010001, "limit orders require a limit price"),
    ({"type": "limit", "limit_price": 290.123}, 422, 42210000,
     "invalid limit_price 290.123. sub-penny increment does not fulfill minimum pricing criteria"),
    ({"type": "stop"}, 422, 40010001, "stop orders require a stop price"),
    ({"type": "stop", "stop_price": 290.123}, 422, 42210000,
     "invalid stop_price 290.123. sub-penny increment does not fulfill minimum pricing criteria"),
    ({"type": "stop", "stop_price": 1}, 422, 42210000, "stop price must be greater than current price"),
    ({"time_in_force": "opg"}, 403, 40310000, "opg orders must be submitted after 7:00pm and before 9:28am"),
    ({"position_intent": "buy_to_close"}, 422, 42210000,
     "position intent mismatch, inferred: buy_to_open, specified: buy_to_close"),
    ({"side": "sell", "position_intent": "sell_to_close"}, 422, 42210000,
     "position intent mismatch, inferred: sell_to_open, specified: sell_to_close"),
    ({"take_profit": {"limit_price": 900}}, 422, 40010001, "take_profit is not simulated"),
    ({"trail_percent": 1}, 422, 40010001, "trail_percent is not simulated"),
    ({"qty": "1e400"}, 422, 40010001, "invalid qty"),
    ({"extended_hours": True}, 422, 42210000, "extended hours order must be DAY limit orders"),
    ({"extended_hours": True, "type": "limit", "limit_price": 9}, 422, 40010001, "extended_hours is not simulated"),
    ({"order_class": "bracket"}, 422, 40010001, "order_class bracket is not simulated"),
]  # fmt: skip


def test_refusals_have_alpacas_status_code_and_message(start: Start) -> None:
    desk = start(start=at(10))
    for change, status, code, message in REFUSED:
        answer = desk.order(**change)
        assert (answer.status_code, answer.json()) == (status, {"code": code, "message": message}), change
    assert desk.get("/v2/orders", status="all") == []
    for body in ("{", "[" * 20_000, "[]"):
        assert desk.call("POST", "/v2/orders", data=body).status_code == 400


def test_the_official_client_raises_with_the_code(start: Start) -> None:
    desk = start(start=at(10))
    request = MarketOrderRequest(symbol="AAPL", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.OPG)
    with pytest.raises(APIError) as raised:
        desk.trading.submit_order(request)
    assert (raised.value.status_code, raised.value.code) == (403, 40310000)


@pytest.mark.parametrize(
    ("hour", "minute", "taken"), [(9, 27, True), (9, 28, False), (18, 59, False), (19, 0, True), (0, 0, True)]
)
def test_orders_for_the_opening_have_their_hours(start: Start, hour: int, minute: int, taken: bool) -> None:
    desk = start(start=at(hour, minute))
    assert (desk.order(time_in_force="opg").status_code == 200) is taken


def test_an_order_for_the_opening_stays_after_928(start: Start) -> None:
    desk = start()
    order = place(desk, time_in_force="opg")
    desk.step(at(9, 28))
    assert desk.call("DELETE", f"/v2/orders/{order['id']}").status_code == 422
    desk.step(at(9, 31))
    assert desk.get(f"/v2/orders/{order['id']}")["status"] == "filled"


def test_shares_on_order_are_held(start: Start) -> None:
    desk = bought(start)
    stop = place(desk, side="sell", qty=7, type="stop", stop_price=1, time_in_force="gtc")
    assert desk.get("/v2/positions/AAPL")["qty_available"] == "3"
    refused = desk.order(side="sell", qty=10)
    assert refused.status_code == 403
    assert refused.json() == {
        "code": 40310000, "message": "insufficient qty available for order (requested: 10, available: 3)",
        "available": "3", "existing_qty": "10", "held_for_orders": "7", "symbol": "AAPL",
        "related_orders": [stop["id"]],
    }  # fmt: skip
    place(desk, side="sell", qty=3)


def test_the_other_side_of_an_open_order_is_a_wash_trade(start: Start) -> None:
    desk = bought(start)
    stop = place(desk, side="sell", type="stop", stop_price=1, time_in_force="gtc")
    refused = desk.order()
    assert refused.status_code == 403
    assert refused.json() == {
        "code": 40310000, "message": "potential wash trade detected. use complex orders",
        "existing_order_id": stop["id"], "reject_reason": "opposite side market/stop order exists",
    }  # fmt: skip
    desk.trading.cancel_order_by_id(stop["id"])
    place(desk)


def test_limit_orders_wait_for_their_price(start: Start) -> None:
    desk = start(start=at(10))
    price = desk.get("/v2/stocks/trades/latest", symbols="AAPL")["trades"]["AAPL"]["p"]
    request = LimitOrderRequest(
        symbol="AAPL", qty=5, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, limit_price=round(price * 1.1, 2)
    )
    taken = desk.trading.submit_order(request)
    low = place(desk, qty=5, type="limit", limit_price="1.5", extended_hours=False)
    assert (low["limit_price"], low["type"], low["extended_hours"]) == ("1.5", "limit", False)
    desk.step(at(10, 1))
    bar = desk.get("/v2/stocks/bars/latest", symbols="AAPL")["bars"]["AAPL"]
    assert float(desk.trading.get_order_by_id(taken.id).filled_avg_price or 0) == bar["o"]
    assert [order["id"] for order in desk.get("/v2/orders")] == [low["id"]]
    refused = desk.order(side="sell", qty=5, type="limit", limit_price=1.5)
    assert refused.json()["reject_reason"] == "opposite side limit order exists"
    raised = desk.call("PATCH", f"/v2/orders/{low['id']}", json={"limit_price": "1.6"}).json()
    assert (raised["limit_price"], raised["qty"]) == ("1.6", "5")


def test_buying_power_is_what_orders_cost_at_the_last_price(start: Start) -> None:
    desk = start(start=at(10), cash=10_000)
    price = desk.get("/v2/stocks/trades/latest", symbols="AAPL")["trades"]["AAPL"]["p"]
    most = int(20_000 / price)
    refused = desk.order(qty=most + 1)
    assert (refused.status_code, refused.json()["message"]) == (403, "insufficient buying power")
    assert refused.json()["buying_power"] == "20000"
    assert float(refused.json()["cost_basis"]) == pytest.approx((most + 1) * price)
    place(desk, qty=most)
    assert float(desk.get("/v2/account")["buying_power"]) == pytest.approx(20_000 - most * price)
    assert desk.order(qty=1).json()["message"] == "insufficient buying power"


def test_a_short_needs_equity_and_shares_to_borrow(start: Start) -> None:
    desk = start(start=at(10), cash=1_000)
    assert desk.order(side="sell", qty=1).json()["message"] == "account is not allowed to short"
    desk = start(start=at(10))
    place(desk, side="sell", position_intent="sell_to_open")
    desk.step(at(10, 1))
    position = desk.get("/v2/positions/AAPL")
    assert (position["qty"], position["side"], position["qty_available"]) == ("-10", "short", "-10")
    assert float(position["market_value"]) < 0
    desk.control("faults", {"add": [{"kind": "hard_to_borrow", "symbol": "MSFT"}]})
    kept = desk.order(symbol="MSFT", time_in_force="gtc").json()
    assert kept["message"] == 'only day orders are allowed for hard-to-borrow asset "MSFT"'
    refused = desk.order(symbol="MSFT", side="sell")
    assert refused.json() == {"code": 42210000, "message": 'asset "MSFT" cannot be sold short'}
    assert desk.get("/v2/assets/MSFT")["borrow_status"] == "hard_to_borrow"


def test_a_short_order_of_what_is_not_lent_any_more_is_gone_before_the_open(start: Start) -> None:
    desk = start(start=at(20))
    order = place(desk, side="sell", time_in_force="opg")
    desk.control("faults", {"add": [{"kind": "hard_to_borrow", "symbol": "AAPL", "since": at(23).isoformat()}]})
    desk.step(at(9, 31, day=12))
    assert desk.get(f"/v2/orders/{order['id']}")["canceled_at"] == "2019-02-12T09:00:00Z"


def test_orders_are_listed_as_asked(start: Start) -> None:
    desk = start(start=at(10))
    ids = []
    for minute in range(4):
        ids.append(place(desk, symbol="MSFT" if minute == 2 else "AAPL", client_order_id=str(minute))["id"])
        desk.step(at(10, minute + 1))
    ids.append(place(desk)["id"])

    def listed(**query: Any) -> list[int]:
        return [ids.index(order["id"]) for order in desk.get("/v2/orders", **query)]

    assert listed() == [4]
    assert listed(status="closed") == [3, 2, 1, 0]
    assert listed(status="all", direction="asc", limit=2) == [0, 1]
    assert listed(status="all", symbols="MSFT,XOM") == [2]
    assert listed(status="all", side="sell") == []
    assert listed(status="all", after="2019-02-11T15:01:00Z", until="2019-02-11T15:03:00Z") == [2]
    assert listed(status="all", after=at(10, 1).isoformat()) == [4, 3, 2]
    assert listed(status="all", after_order_id=ids[2]) == [4, 3]
    assert listed(status="all", before_order_id=ids[2], direction="asc") == [0, 1]
    assert desk.call("GET", f"/v2/orders?after_order_id={ids[0]}&after=2019-02-11").status_code == 422
    for query in ("limit=501", "direction=up", "side=both"):
        assert desk.call("GET", f"/v2/orders?{query}").status_code == 422, query
    assert desk.call("GET", "/v2/orders:by_client_order_id?client_order_id=none").status_code == 404


def test_a_clock_that_runs_fills_market_orders_when_they_come(start: Start) -> None:
    desk = start(start=at(10), speed=1.0)
    order = place(desk)
    assert order["status"] in ("filled", "pending_new")
    assert desk.get(f"/v2/orders/{order['id']}")["status"] == "filled"
    desk.until(lambda: desk.trading.get_clock().timestamp > at(10))

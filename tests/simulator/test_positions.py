"""Positions, their end, and the fills that made them."""

from __future__ import annotations

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.requests import ClosePositionRequest

from tests.simulator.conftest import Desk, Start, at


def holding(start: Start) -> Desk:
    """At 10:01 with 10 AAPL, short 20 MSFT and 4 XOM."""
    desk = start(start=at(10))
    for symbol, side, qty in (("AAPL", "buy", 10), ("MSFT", "sell", 20), ("XOM", "buy", 4)):
        assert desk.order(symbol, qty, side).status_code == 200
    desk.step(at(10, 1))
    return desk


def test_no_position_is_a_404(start: Start) -> None:
    desk = start()
    assert desk.get("/v2/positions") == []
    assert desk.call("GET", "/v2/positions/AAPL").json() == {"code": 40410000, "message": "position does not exist"}
    with pytest.raises(APIError):
        desk.trading.close_position("AAPL")


def test_positions_are_valued_at_the_last_price(start: Start) -> None:
    desk = holding(start)
    account, positions = desk.get("/v2/account"), desk.trading.get_all_positions()
    assert [(p.symbol, p.qty) for p in positions] == [("AAPL", "10"), ("MSFT", "-20"), ("XOM", "4")]
    worth = sum(float(p.market_value or 0) for p in positions)
    assert float(account["equity"]) == pytest.approx(float(account["cash"]) + worth, abs=0.01)
    assert float(account["short_market_value"]) == pytest.approx(float(positions[1].market_value or 0), abs=0.01)
    aapl = positions[0]
    assert float(aapl.unrealized_pl or 0) == pytest.approx(
        10 * (float(aapl.current_price or 0) - float(aapl.avg_entry_price))
    )
    assert desk.get(f"/v2/positions/{aapl.asset_id}")["symbol"] == "AAPL"


def test_a_position_is_closed_whole_or_in_part(start: Start) -> None:
    desk = holding(start)
    part = desk.trading.close_position("AAPL", ClosePositionRequest(qty="3"))
    assert (part.side, part.qty) == ("sell", "3")
    half = desk.call("DELETE", "/v2/positions/MSFT?percentage=50").json()
    assert (half["side"], half["qty"], half["position_intent"]) == ("buy", "10", "buy_to_close")
    desk.step(at(10, 2))
    desk.trading.close_position("AAPL")
    desk.step(at(10, 3))
    assert [(p["symbol"], p["qty"]) for p in desk.get("/v2/positions")] == [("MSFT", "-10"), ("XOM", "4")]


def test_all_positions_are_closed_at_once(start: Start) -> None:
    desk = holding(start)
    stop = desk.order("AAPL", 10, "sell", type="stop", stop_price=1, time_in_force="gtc").json()
    refused = {item["symbol"]: item["status"] for item in desk.call("DELETE", "/v2/positions").json()}
    assert refused == {"AAPL": 403, "MSFT": 200, "XOM": 200}
    desk.step(at(10, 2))
    closed = desk.trading.close_all_positions(cancel_orders=True)
    assert [item.symbol for item in closed] == ["AAPL"]
    desk.step(at(10, 3))
    assert desk.get("/v2/positions") == []
    assert desk.get(f"/v2/orders/{stop['id']}")["status"] == "canceled"


def test_fills_come_in_pages(start: Start) -> None:
    desk = holding(start)
    desk.trading.close_position("AAPL")
    desk.step(at(10, 2))
    path = "/account/activities/FILL"
    rows = desk.trading.get(path, {"direction": "asc"})
    assert [(row["symbol"], row["side"], row["qty"], row["leaves_qty"]) for row in rows] == [
        ("AAPL", "buy", "10", "0"), ("MSFT", "sell", "20", "0"), ("XOM", "buy", "4", "0"), ("AAPL", "sell", "10", "0"),
    ]  # fmt: skip
    first = desk.get("/v2" + path, direction="asc", page_size=3)
    rest = desk.get("/v2" + path, direction="asc", page_size=3, page_token=first[-1]["id"])
    assert first + rest == rows
    assert desk.get("/v2" + path) == rows[::-1]
    assert desk.get("/v2" + path, after="2019-02-11T15:00:00Z") == rows[3:]
    assert desk.get("/v2" + path, until="2019-02-11T15:01:00Z", direction="asc") == rows[:3]
    assert desk.get("/v2" + path, date="2019-02-12") == []
    assert desk.call("GET", f"/v2{path}?page_size=101").status_code == 422
    assert desk.call("GET", f"/v2{path}?page_token=x").status_code == 422


def test_positions_are_opened_and_closed_by_hand(start: Start) -> None:
    desk = holding(start)
    cash = float(desk.get("/v2/account")["cash"])
    desk.control("positions", {"symbol": "AAPL", "qty": 0, "price": 100})
    desk.control("positions", {"symbol": "XOM", "qty": -5, "price": 10})
    desk.control("positions", {"symbol": "JNJ", "qty": 7, "price": 10})
    held = {p["symbol"]: (p["qty"], p["avg_entry_price"]) for p in desk.get("/v2/positions")}
    assert "AAPL" not in held
    assert (held["XOM"], held["JNJ"]) == (("-5", "10"), ("7", "10"))
    assert float(desk.get("/v2/account")["cash"]) == pytest.approx(cash + 1000 + 90 - 70)
    assert desk.get("/v2/account/activities/FILL", date="2019-02-11", page_size=100)[0]["symbol"] != "JNJ"
    assert desk.call("POST", "/simulator/positions", json={"symbol": "NONE", "qty": 1}).status_code == 422

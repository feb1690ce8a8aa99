"""Account, hours, assets and keys."""

from __future__ import annotations

from datetime import date, datetime

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import GetCalendarRequest

from autotrader.clock import NEW_YORK
from tests.simulator.conftest import KEY, Start, at
from tests.simulator.protocol import check


def test_the_account_holds_what_it_began_with_and_says_so_in_text(start: Start) -> None:
    desk = start(cash=50_000)
    account = desk.get("/v2/account")
    assert (account["cash"], account["equity"], account["buying_power"]) == ("50000", "50000", "100000")
    assert desk.trading.get_account().account_number == account["account_number"]
    assert "pattern_day_trader" not in account
    desk.get("/v2/account/configurations")


def test_the_account_can_be_shown_as_before_july_2026(start: Start) -> None:
    desk = start()
    desk.control("settings", {"payload": "old"})
    check("old_account", desk.call("GET", "/v2/account", as_it_is=True).json())
    assert desk.trading.get_account().daytrade_count == 0


def test_the_clock_stands_still_between_steps_and_shows_new_york(start: Start) -> None:
    desk = start()
    assert desk.get("/v2/clock") == {
        "timestamp": "2019-02-11T09:00:00-05:00",
        "is_open": False,
        "next_open": "2019-02-11T09:30:00-05:00",
        "next_close": "2019-02-11T16:00:00-05:00",
    }
    desk.step(at(9, 30))
    clock = desk.trading.get_clock()
    assert (clock.is_open, clock.next_open, clock.next_close) == (True, at(9, 30, day=12), at(16))
    desk.step(at(16))
    clock = desk.trading.get_clock()
    assert (clock.is_open, clock.next_open, clock.next_close) == (False, at(9, 30, day=12), at(16, day=12))


def test_half_days_and_holidays_are_in_the_calendar(start: Start) -> None:
    desk = start(start=datetime(2019, 7, 3, 12, 59, tzinfo=NEW_YORK))
    days = desk.trading.get_calendar(GetCalendarRequest(start=date(2019, 7, 2), end=date(2019, 7, 5)))
    assert [(day.date.day, day.close.hour) for day in days] == [(2, 16), (3, 13), (5, 16)]
    desk.get("/v2/calendar", start="2019-07-02", end="2019-07-05")
    assert desk.trading.get_clock().is_open
    desk.step(datetime(2019, 7, 3, 13, 0, tzinfo=NEW_YORK))
    assert not desk.trading.get_clock().is_open


def test_assets_are_the_universe(start: Start) -> None:
    desk = start()
    assets = desk.trading.get_all_assets()
    assert [asset.symbol for asset in assets] == ["AAPL", "JNJ", "MSFT", "SPY", "XOM"]
    assert desk.get("/v2/assets/AAPL")["name"] == "AAPL Inc"
    assert desk.get(f"/v2/assets/{assets[0].id}")["symbol"] == "AAPL"
    assert desk.call("GET", "/v2/assets/NONE").status_code == 404
    assert len(desk.get("/v2/assets", status="active")) == 5
    assert desk.get("/v2/assets", status="inactive") == []


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [("/v2/account", 401, "unauthorized."), ("/v2/orders", 401, "unauthorized."),
     ("/v2/stocks/bars", 403, "forbidden."), ("/v1/corporate-actions", 403, "forbidden.")],
)  # fmt: skip
def test_wrong_keys_are_refused_without_a_code(start: Start, path: str, status: int, message: str) -> None:
    desk = start(keys={"MINE": "SECRET"})
    for headers in ({}, {"APCA-API-KEY-ID": "MINE", "APCA-API-SECRET-KEY": KEY}):
        answer = requests.get(desk.url + path, headers=headers, timeout=5)
        assert (answer.status_code, answer.json()) == (status, {"message": message})
    with pytest.raises(APIError):
        TradingClient("MINE", KEY, url_override=desk.url).get_account()
    TradingClient("MINE", "SECRET", url_override=desk.url).get_account()


def test_two_hundred_requests_a_minute_and_the_headers_count_them(start: Start) -> None:
    desk = start(rate_limit=3)
    left = [desk.call("GET", "/v2/clock").headers["X-RateLimit-Remaining"] for _ in range(3)]
    assert left == ["2", "1", "0"]
    refused = desk.call("GET", "/v2/clock")
    assert (refused.status_code, refused.headers["X-RateLimit-Limit"]) == (429, "3")
    assert int(refused.headers["X-RateLimit-Reset"]) > 1_700_000_000
    assert desk.call("GET", "/v1/corporate-actions").status_code == 200, "market data has a limit of its own"
    desk.control("settings", {"rate_limit": "off"})
    assert "X-RateLimit-Limit" not in desk.call("GET", "/v2/clock").headers


def test_an_unknown_path_is_a_404_with_a_message(start: Start) -> None:
    assert start().call("GET", "/v2/nothing").status_code == 404

"""Bars in pages, the latest of everything, corporate actions; and nothing from the future."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.data.enums import Adjustment, DataFeed
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.requests import (
    CorporateActionsRequest,
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockSnapshotRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

from autotrader.clock import NEW_YORK, Calendar
from autotrader.market.minutes import load_minutes
from autotrader.market.synthetic import synthetic_panel
from tests.simulator.conftest import KEY, SYMBOLS, Desk, Start, at


def bars(desk: Desk, **query: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = desk.get(
        "/v2/stocks/bars", **{"symbols": "AAPL", "timeframe": "1Day", "start": "2019-02-01", **query}
    )["bars"]
    return found


def test_daily_bars_are_those_of_the_market(start: Start) -> None:
    desk = start()
    panel = synthetic_panel(SYMBOLS, date(2018, 2, 12), date(2019, 2, 8), 0, Calendar())
    request = StockBarsRequest(
        symbol_or_symbols=list(SYMBOLS),
        timeframe=TimeFrame.Day,
        start=at(0, day=1) - timedelta(days=354),
        adjustment=Adjustment.SPLIT,
    )
    found = desk.data.get_stock_bars(request).data
    for row, symbol in enumerate(SYMBOLS):
        assert [bar.close for bar in found[symbol]] == panel.close[row].tolist()
        assert [bar.volume for bar in found[symbol]] == panel.volume[row].tolist()
    assert [bar.timestamp.astimezone(NEW_YORK).date() for bar in found["XOM"]] == panel.dates.tolist()


def test_a_daily_bar_is_stamped_with_new_yorks_midnight(start: Start) -> None:
    desk = start()
    assert bars(desk)["AAPL"][0]["t"] == "2019-02-01T05:00:00Z"
    assert bars(desk, start="2018-07-02", end="2018-07-02")["AAPL"][0]["t"] == "2018-07-02T04:00:00Z"


def test_the_limit_counts_the_rows_of_all_symbols_and_the_token_goes_on(start: Start) -> None:
    desk = start()
    whole = bars(desk, symbols="XOM,AAPL,JNJ")
    assert [len(rows) for rows in whole.values()] == [6, 6, 6]
    collected: dict[str, list[Any]] = {}
    pages, token = 0, None
    while pages == 0 or token is not None:
        query = {"symbols": "XOM,AAPL,JNJ", "timeframe": "1Day", "start": "2019-02-01", "limit": 5}
        page = desk.get("/v2/stocks/bars", **query, **({"page_token": token} if token else {}))
        assert sum(map(len, page["bars"].values())) <= 5
        for symbol, rows in page["bars"].items():
            collected.setdefault(symbol, []).extend(rows)
        pages, token = pages + 1, page["next_page_token"]
    assert (pages, collected) == (4, whole)
    assert list(collected) == ["AAPL", "JNJ", "XOM"]
    assert bars(desk, sort="desc", limit=2)["AAPL"] == whole["AAPL"][:-3:-1]


def test_a_symbol_without_bars_is_absent(start: Start) -> None:
    assert list(bars(start(), symbols="NONE,AAPL")) == ["AAPL"]


def test_no_bar_is_newer_than_now(start: Start) -> None:
    desk = start()
    assert bars(desk, end="2019-12-31")["AAPL"][-1]["t"].startswith("2019-02-08")
    desk.step(at(10))
    minutes = bars(desk, timeframe="1Min", start="2019-02-11", end="2019-12-31")["AAPL"]
    assert (minutes[0]["t"], minutes[-1]["t"]) == ("2019-02-11T14:30:00Z", "2019-02-11T14:59:00Z")
    today = bars(desk)["AAPL"][-1]
    assert (today["t"], today["o"], today["c"]) == ("2019-02-11T05:00:00Z", minutes[0]["o"], minutes[-1]["c"])
    assert today["h"] == max(bar["h"] for bar in minutes)


def test_the_minutes_of_a_day_make_its_bar(start: Start) -> None:
    desk = start(start=at(17))
    request = StockBarsRequest(
        symbol_or_symbols="AAPL", timeframe=TimeFrame(1, TimeFrameUnit.Minute), start=at(9, 30), end=at(15, 59)
    )
    minutes = desk.data.get_stock_bars(request).data["AAPL"]
    day = bars(desk)["AAPL"][-1]
    assert len(minutes) == 390
    assert (minutes[0].open, max(b.high for b in minutes), min(b.low for b in minutes), minutes[-1].close) == (
        day["o"], day["h"], day["l"], day["c"],
    )  # fmt: skip
    assert sum(bar.volume for bar in minutes) == day["v"]


BAD = (
    {"timeframe": "3Fortnights"}, {"adjustment": "all,none"}, {"limit": 10_001}, {"limit": "many"}, {"start": "soon"},
    {"end": "2018-01-01"}, {"page_token": "?"}, {"symbols": ""}, {"feed": "otc"}, {"sort": "up"},
)  # fmt: skip


def test_bad_queries_are_a_400(start: Start) -> None:
    desk = start()
    for query in BAD:
        given = {"symbols": "AAPL", "timeframe": "1Day", "start": "2019-02-01", **query}
        assert desk.call("GET", "/v2/stocks/bars", params=given).status_code == 400, query


@pytest.mark.parametrize("timeframe", ["1Day", "1Min"])
def test_a_time_before_all_markets_is_before_the_first_bar(start: Start, timeframe: str) -> None:
    desk = start()
    for first in ("0001-01-01", "0001-01-01T00:00:00+23:00"):
        given = {"symbols": "AAPL", "timeframe": timeframe, "start": first, "end": "9999-12-31", "limit": 1}
        assert desk.get("/v2/stocks/bars", **given)["bars"]["AAPL"][0]["t"][:10] == "2018-01-02"


def test_before_the_open_the_latest_price_is_what_the_session_opens_with(start: Start) -> None:
    desk = start(start=at(9, 5))
    snapshot = desk.data.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=["AAPL"]))["AAPL"]
    assert snapshot.latest_trade is not None
    assert snapshot.latest_quote is not None
    assert snapshot.daily_bar is not None
    assert snapshot.previous_daily_bar is not None
    assert snapshot.latest_trade.timestamp == at(9, 5)
    assert snapshot.latest_quote.ask_price == snapshot.latest_quote.bid_price == snapshot.latest_trade.price
    assert [bar.timestamp.day for bar in (snapshot.previous_daily_bar, snapshot.daily_bar)] == [7, 8]
    desk.step(at(9, 31))
    assert desk.get("/v2/stocks/bars/latest", symbols="AAPL")["bars"]["AAPL"]["o"] == snapshot.latest_trade.price
    assert desk.get("/v2/stocks/snapshots", symbols="AAPL")["AAPL"]["dailyBar"]["t"] == "2019-02-11T05:00:00Z"


def test_at_night_the_latest_price_is_the_last_close(start: Start) -> None:
    desk = start(start=at(3))
    trade = desk.get("/v2/stocks/trades/latest", symbols="AAPL")["trades"]["AAPL"]
    assert (trade["p"], trade["t"]) == (bars(desk)["AAPL"][-1]["c"], "2019-02-08T21:00:00Z")


def test_in_the_session_the_latest_is_the_last_minute(start: Start) -> None:
    desk = start()
    desk.step(at(10))
    bar = desk.data.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="AAPL"))["AAPL"]
    trade = desk.data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="AAPL"))["AAPL"]
    quotes = desk.data.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols=["AAPL", "NONE"]))
    assert (bar.timestamp, trade.timestamp) == (at(9, 59), at(10))
    assert bar.close == trade.price == quotes["AAPL"].bid_price
    assert list(quotes) == ["AAPL"]
    desk.get("/v2/stocks/quotes/latest", symbols="AAPL")
    assert desk.call("GET", "/v2/stocks/auctions/latest", params={"symbols": "AAPL"}).status_code == 404


def test_the_basic_plan_sees_the_consolidated_tape_a_quarter_of_an_hour_late(start: Start) -> None:
    desk = start(start=at(10))
    recent = StockLatestTradeRequest(symbol_or_symbols="AAPL", feed=DataFeed.SIP)
    with pytest.raises(APIError, match="subscription does not permit querying recent SIP data"):
        desk.data.get_stock_latest_trade(recent)
    query = {"timeframe": "1Min", "start": "2019-02-11", "feed": "sip"}
    assert bars(desk, **query)["AAPL"][-1]["t"] == "2019-02-11T14:45:00Z"
    refused = desk.call("GET", "/v2/stocks/bars", params={**query, "symbols": "AAPL", "end": at(9, 50).isoformat()})
    assert refused.status_code == 403
    desk.control("settings", {"plan": "plus"})
    assert desk.data.get_stock_latest_trade(recent)["AAPL"].timestamp == at(10)


def test_a_list_of_splits_beside_the_bars_is_applied(start: Start, market: Path, tmp_path: Path) -> None:
    copyfile(market, tmp_path / "daily.parquet")
    (tmp_path / "splits.csv").write_text("symbol,date,new,old\nAAPL,2019-02-12,2,1\n")
    desk, plain = start(data=tmp_path, start=at(15)), start(start=at(9, day=13))
    desk.order("AAPL", 10)
    desk.step(at(9, day=13))
    assert desk.get("/v2/positions/AAPL")["qty"] == "20"
    traded = bars(plain)["AAPL"]
    assert bars(desk)["AAPL"] == traded, "they stand there as they were traded"
    adjusted = bars(desk, adjustment="split")["AAPL"]
    assert [bar["c"] for bar in adjusted] == [*(bar["c"] / 2 for bar in traded[:-1]), traded[-1]["c"]]
    actions = desk.get("/v1/corporate-actions", start="2019-02-12", end="2019-02-12")["corporate_actions"]
    assert [action["symbol"] for action in actions["forward_splits"]] == ["AAPL"]


def test_minute_bars_beside_the_daily_ones_are_played_as_they_are(start: Start, real_data: Path) -> None:
    desk = start(data=real_data, universe=real_data / "sp500_constituents_2021.csv")
    desk.step(at(10))
    real = load_minutes(real_data, ["AAPL", "MSFT"], at(9).date())
    for symbol in ("AAPL", "MSFT"):
        found = bars(desk, symbols=symbol, timeframe="1Min", start="2019-02-11")[symbol]
        assert [bar["c"] for bar in found] == real[symbol].close[real[symbol].minute < 30].tolist()


def test_a_split_is_announced_and_changes_what_is_held_and_what_bars_look_like(start: Start) -> None:
    desk = start(start=at(10))
    desk.order("AAPL", 10)
    desk.order("JNJ", 9)
    desk.step(at(15, 59))
    stop = desk.order("AAPL", 10, "sell", type="stop", stop_price="1.01", time_in_force="gtc").json()
    desk.step(at(17))
    before, equity = bars(desk, symbols="AAPL,JNJ"), float(desk.get("/v2/account")["equity"])
    desk.control("splits", {"symbol": "AAPL", "session": "2019-02-12", "new": 4, "old": 1})
    desk.control("splits", {"symbol": "JNJ", "session": "2019-02-12", "new": 1, "old": 2})
    client = CorporateActionsClient(KEY, KEY, url_override=desk.url)
    request = CorporateActionsRequest(symbols=["AAPL", "JNJ"], start=date(2019, 2, 12), end=date(2019, 2, 12))
    actions = client.get_corporate_actions(request).data
    assert [(a.symbol, a.new_rate, a.old_rate) for a in actions["forward_splits"]] == [("AAPL", 4, 1)]
    assert [(a.symbol, a.new_rate, a.old_rate) for a in actions["reverse_splits"]] == [("JNJ", 1, 2)]
    desk.get("/v1/corporate-actions", symbols="AAPL,JNJ", start="2019-02-12", end="2019-02-12")
    assert desk.get("/v1/corporate-actions", start="2019-02-13", end="2019-02-20")["corporate_actions"] == {}

    desk.step(at(9, 0, day=12))
    held = {p["symbol"]: (p["qty"], float(p["avg_entry_price"])) for p in desk.get("/v2/positions")}
    assert (held["AAPL"][0], held["JNJ"][0]) == ("40", "4")
    order = desk.get(f"/v2/orders/{stop['id']}")
    assert (order["qty"], order["stop_price"]) == ("40", "0.2525")
    raw, adjusted = bars(desk, end="2019-02-11"), bars(desk, end="2019-02-11", adjustment="split")
    assert raw["AAPL"] == before["AAPL"]
    assert adjusted["AAPL"][-1]["c"] == before["AAPL"][-1]["c"] / 4
    assert adjusted["AAPL"][-1]["v"] == before["AAPL"][-1]["v"] * 4
    desk.step(at(17, day=12))
    today = bars(desk)["AAPL"][-1]
    assert 0.2 < today["o"] / before["AAPL"][-1]["c"] < 0.3
    assert bars(desk, adjustment="all")["AAPL"][-1] == today
    assert float(desk.get("/v2/account")["equity"]) == pytest.approx(equity, rel=0.02)

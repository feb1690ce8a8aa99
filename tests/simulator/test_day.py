"""A day of the official client: its clients, both its streams, and the market moved on by steps."""

from __future__ import annotations

from alpaca.data.models import Bar, Quote, Trade
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest

from tests.simulator.conftest import Start, at


def test_an_order_for_the_opening_fills_there_and_the_streams_tell(start: Start) -> None:
    desk = start()
    bars, updates = desk.bars("AAPL", "MSFT"), desk.updates()
    request = MarketOrderRequest(
        symbol="AAPL", qty=10, side=OrderSide.BUY, time_in_force=TimeInForce.OPG, client_order_id="one"
    )
    assert desk.trading.submit_order(request).status == "accepted"
    desk.step(at(9, 30))
    assert desk.trading.get_order_by_client_id("one").status == "new"
    sent = desk.step(at(9, 31))["sent"]
    desk.until(lambda: len(updates) == sent["trade_updates"]["messages"] and len(bars) == sent["bars"]["messages"])
    assert [update.event for update in updates] == ["accepted", "new", "fill"]
    opening = next(bar for bar in bars if bar.symbol == "AAPL")
    assert (opening.timestamp, updates[-1].price, updates[-1].position_qty) == (at(9, 30), opening.open, 10)
    position = desk.trading.get_open_position("AAPL")
    assert float(position.avg_entry_price) == opening.open
    assert float(position.current_price) == opening.close


def test_the_official_stream_hears_of_trades_and_quotes_before_their_bar(start: Start) -> None:
    desk = start(spread=0.001)
    heard = desk.bars("AAPL", prices=True)
    sent = desk.step(at(9, 31))["sent"]["bars"]
    desk.until(lambda: len(heard) == sent["messages"])
    trade, quote, bar = heard
    assert [type(item) for item in heard] == [Trade, Quote, Bar]
    assert (trade.price, trade.timestamp) == (bar.close, at(9, 31))
    assert quote.bid_price < bar.close < quote.ask_price
    assert quote.timestamp == at(9, 31)

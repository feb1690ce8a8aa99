"""The market and the matching are those of the paper broker: the same orders get the same fills."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from random import Random
from typing import Any

from autotrader.clock import Calendar
from autotrader.market.broker import OrderRequest, Refused
from autotrader.market.exchange import Exchange
from autotrader.market.feed import FeedOptions
from autotrader.market.playback import Playback
from autotrader.plugins.feeds.files import FilesFeed
from tests.simulator.conftest import MINUTE, SYMBOLS, Start, at

SESSIONS = (date(2019, 2, 11), date(2019, 2, 12))


def orders(seed: int) -> dict[tuple[date, int], list[dict[str, Any]]]:
    """What is sent at the start of which minute."""
    random, found = Random(seed), {}
    for session in SESSIONS:
        for minute in sorted(random.sample(range(390), 40)):
            found[session, minute] = [
                {"client_order_id": f"{session}-{minute}", "symbol": random.choice(SYMBOLS),
                 "side": random.choice(("buy", "sell")), "qty": random.randrange(1, 30)}
            ]  # fmt: skip
    return found


def in_memory(market: Path, script: dict[tuple[date, int], list[dict[str, Any]]]) -> list[Any]:
    calendar = Calendar()
    exchange = Exchange(100_000, calendar, slippage_bps=5)
    playback = Playback(FilesFeed.open(FeedOptions(market, 0, calendar)), calendar)
    for session in SESSIONS:
        day = playback.day(session, SYMBOLS)
        for minute in range(390):
            now = calendar.opens_at(session) + minute * MINUTE
            for order in script.get((session, minute), []):
                held = exchange.position(order["symbol"])
                closes = held > 0 if order["side"] == "sell" else held < 0
                intent: Any = f"{order['side']}_to_{'close' if closes else 'open'}"
                request = OrderRequest(order["client_order_id"], order["symbol"], order["side"], order["qty"], intent)
                try:
                    exchange.submit(request, now)
                except Refused:
                    continue
            for symbol, bar in day.at(minute):
                exchange.on_bar(now, symbol, bar.open, bar.high, bar.low, bar.close, bar.volume)
        exchange.close_session(calendar.closes_at(session))
    return [(e.client_order_id, e.symbol, e.side, e.quantity, float(e.price), e.at) for e in exchange.executions(at(0))]


def test_two_days_of_orders_fill_as_they_do_in_memory(start: Start, market: Path) -> None:
    script = orders(7)
    desk = start(slippage_bps=5)
    for (session, minute), sent in script.items():
        desk.step(at(9, 30, day=session.day) + minute * MINUTE)
        for order in sent:
            assert desk.order(**order).status_code in (200, 403)
    desk.step(at(17, day=12))
    fills = desk.alpaca.simulator.world.exchange.executions(at(0))
    found = [(e.client_order_id, e.symbol, e.side, e.quantity, float(e.price), e.at) for e in fills]
    assert found == in_memory(market, script)
    assert len(found) > 40


def test_equal_orders_give_equal_answers_in_every_run(start: Start) -> None:
    def run() -> list[Any]:
        desk = start()
        for (session, minute), sent in list(orders(3).items())[:30]:
            desk.step(at(9, 30, day=session.day) + minute * MINUTE)
            for order in sent:
                desk.order(**order)
        return [desk.get("/v2/orders", status="all", limit=500), desk.get("/v2/account/activities/FILL"),
                desk.get("/v2/positions"), desk.get("/v2/account")]  # fmt: skip

    assert run() == run()

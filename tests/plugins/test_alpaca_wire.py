"""What Alpaca sends, with any one part of it missing or nonsense: it is read, or said to be unreadable."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

import pytest

from autotrader.market.feed import FeedError
from autotrader.plugins.alpaca import wire
from autotrader.plugins.feeds import alpaca as feed

NONSENSE = (
    None, "", [], {}, [1], {"a": 1}, "x", "nan", -1, 0, True, float("inf"), float("nan"), 10**400, "1E+999999",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:00", "2024-03-05", "2024-03-05T15:00:00",
)  # fmt: skip
GONE = object()
ORDER = {
    "id": "5c3b", "client_order_id": "one", "symbol": "AAPL", "side": "buy", "qty": "10", "status": "accepted",
    "submitted_at": "2024-03-05T15:00:00.123456789Z", "type": "market", "time_in_force": "day", "filled_qty": "2",
    "filled_avg_price": "3.5", "stop_price": "3", "reject_reason": "why",
}  # fmt: skip
AT = "2024-03-05T15:00:00Z"
READ: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "order": (wire.order, ORDER),
    "account": (wire.account, {"account_number": "PA1", "cash": "1", "equity": "1", "buying_power": "2"}),
    "position": (wire.position, {"symbol": "A", "qty": "5", "side": "long", "avg_entry_price": "4"}),
    "activity": (
        lambda row: wire.activity(row, "one"),
        {"symbol": "A", "side": "buy", "qty": "5", "price": "1", "cum_qty": "5", "transaction_time": AT},
    ),
    "update": (wire.update, {"timestamp": AT, "event": "fill", "qty": "2", "price": "1", "order": ORDER}),
    "hours": (wire.hours, {"date": "2024-03-05", "open": "09:30", "close": "16:00"}),
    "asset": (wire.lends, {"shortable": True, "easy_to_borrow": True, "borrow_status": "easy_to_borrow"}),
    "bar": (feed._numbers, {"o": 1, "h": 2, "l": 1, "c": 2, "v": 3}),
    "quote": (
        lambda row: feed._quote(row, datetime(2024, 3, 5, 16, tzinfo=UTC)),
        {"latestTrade": {"t": AT, "p": 1}, "latestQuote": {"t": AT, "bp": 1, "ap": 2}},
    ),
    "split": (
        lambda row: feed._split(row, date(2024, 3, 5)),
        {"symbol": "A", "new_rate": 2, "old_rate": 1, "ex_date": "2024-03-05"},
    ),
}


@pytest.mark.parametrize("name", READ)
def test_nonsense_in_one_place_is_read_or_said_to_be_unreadable(name: str) -> None:
    read, whole = READ[name]
    assert read(whole) is not None
    for path in _places(whole):
        for value in (*NONSENSE, GONE):
            with suppress(wire.Unreadable, FeedError):
                read(_with(whole, path, value))


def _places(found: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in found.items():
        yield (*path, name)
        if isinstance(value, dict):
            yield from _places(value, (*path, name))


def _with(whole: Any, path: tuple[str, ...], value: Any) -> Any:
    made = copy.deepcopy(whole)
    inner = made
    for name in path[:-1]:
        inner = inner[name]
    if value is GONE:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return made

"""JSON as Alpaca sends it, read leniently: only what is needed must be there, and unknown words stop nothing.

Fields come and go (several of the account's were removed in July 2026), and the client's own models raise on one
unknown word; so its raw data is read here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import ROUND_UP, Decimal, InvalidOperation
from typing import Any, cast

from pydantic_core import from_json

from autotrader.clock import NEW_YORK
from autotrader.market.broker import (
    BrokerAccount,
    BrokerOrder,
    BrokerPosition,
    Execution,
    OrderStatus,
    OrderType,
    OrderUpdate,
    SessionHours,
    Side,
    TimeInForce,
)

log = logging.getLogger("autotrader.alpaca")

Row = Mapping[str, Any]


def parsed(text: str | bytes) -> Any:
    """What a body or a frame holds. ValueError where it is no JSON, or nested by hundreds.

    The standard library reads with Python's own stack: brackets enough to fill it raise RecursionError, and whatever
    is finalized meanwhile fails as well.
    """
    return from_json(text)


# "replaced" ends an order, another one stands in its place; what is not listed here is not final.
_STATUS: Mapping[str, OrderStatus] = {
    "accepted": "accepted",
    "pending_new": "accepted",
    "accepted_for_bidding": "accepted",
    "held": "accepted",
    "pending_review": "accepted",
    "new": "new",
    "stopped": "new",
    "suspended": "new",
    "pending_replace": "new",
    "done_for_day": "new",
    "calculated": "new",
    "partially_filled": "partially_filled",
    "pending_cancel": "pending_cancel",
    "filled": "filled",
    "canceled": "canceled",
    "expired": "expired",
    "rejected": "rejected",
    "replaced": "canceled",
}
_FILLS = frozenset({"fill", "partial_fill"})
_MOST_SHARES = 10**12


class Unreadable(Exception):
    """Something that cannot be done without is not in what the broker sent."""


def rows(body: Any) -> list[Row]:
    """The body as a list of objects."""
    if isinstance(body, list) and all(isinstance(item, dict) for item in body):
        return body
    raise Unreadable("the answer is no list of objects")


def row(body: Any) -> Row:
    """The body as an object."""
    if isinstance(body, dict):
        return body
    raise Unreadable("the answer is no object")


def part(body: Row, name: str) -> Row:
    """An object within the body; empty where it is not there."""
    found = body.get(name)
    return {} if found is None else row(found)


def text(source: Row, *names: str) -> str:
    """The first of these fields that is there."""
    for name in names:
        if (value := _value(source, name)) is not None:
            return value
    raise Unreadable(f"the answer has no {' or '.join(names)}")


def money(source: Row, *names: str) -> Decimal:
    return _decimal(text(source, *names), names[0])


def moment(source: Row, *names: str) -> datetime:
    """RFC 3339 with up to nine decimals; aware, in UTC."""
    value = text(source, *names)
    try:
        at = datetime.fromisoformat(value)
    except ValueError as error:
        raise Unreadable(f'{names[0]} is "{value}", not a time') from error
    if at.utcoffset() is None:
        raise Unreadable(f'{names[0]} is "{value}", without a zone')
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise Unreadable(f'{names[0]} is "{value}", at the end of time') from error


def shares(value: Any) -> int:
    """Whole shares. A fraction, which is never ours, is rounded up so that no comparison takes it for a whole."""
    found = _decimal(str(value or 0), "quantity")
    if abs(found) > _MOST_SHARES:
        raise Unreadable(f'quantity is "{found}", which no account holds')
    return int(found.quantize(Decimal(1), ROUND_UP))


def account(source: Row) -> BrokerAccount:
    return BrokerAccount(
        text(source, "account_number"),
        money(source, "cash"),
        money(source, "equity", "portfolio_value"),
        money(source, "buying_power"),
    )


def position(source: Row) -> BrokerPosition:
    quantity = shares(text(source, "qty"))
    if source.get("side") == "short":
        quantity = -abs(quantity)
    return BrokerPosition(text(source, "symbol"), quantity, money(source, "avg_entry_price"))


def order(source: Row) -> BrokerOrder:
    """An order. Type and time in force are the broker's words, also where an order by hand has others than ours."""
    average, stop = _value(source, "filled_avg_price"), _value(source, "stop_price")
    filled = shares(source.get("filled_qty"))
    return BrokerOrder(
        text(source, "client_order_id"),
        text(source, "symbol"),
        _side(source),
        shares(source.get("qty")),
        _status(text(source, "status"), filled),
        moment(source, "submitted_at", "created_at"),
        filled,
        None if average is None or not filled else _decimal(average, "filled_avg_price"),
        cast("OrderType", str(source.get("type") or source.get("order_type") or "market")),
        cast("TimeInForce", str(source.get("time_in_force") or "day")),
        None if stop is None else _decimal(stop, "stop_price"),
        _value(source, "reject_reason"),
    )


def activity(source: Row, client_order_id: str) -> Execution:
    """A row of the fill activities, which know only the broker's own order id."""
    quantity = shares(text(source, "qty"))
    return Execution(
        client_order_id,
        text(source, "symbol"),
        _side(source),
        quantity,
        money(source, "price"),
        shares(text(source, "cum_qty")),
        moment(source, "transaction_time"),
    )


def update(source: Row) -> OrderUpdate:
    """The data of a frame of the trading stream; with an execution where it reports a fill."""
    at = moment(source, "timestamp", "at")
    inner = row(source.get("order"))
    reported = order(inner)
    if _value(source, "event") not in _FILLS:
        return OrderUpdate(at, reported)
    execution = Execution(
        reported.client_order_id,
        reported.symbol,
        reported.side,
        shares(text(source, "qty")),
        money(source, "price"),
        shares(text(inner, "filled_qty")),
        at,
    )
    return OrderUpdate(at, reported, execution)


def hours(source: Row) -> SessionHours:
    """A row of the calendar: New York wall-clock times without a zone."""
    try:
        day = date.fromisoformat(text(source, "date"))
        opens, closes = (time.fromisoformat(text(source, name)) for name in ("open", "close"))
    except ValueError as error:
        raise Unreadable(f"the calendar has a row that is none: {error}") from error
    return SessionHours(day, datetime.combine(day, opens, NEW_YORK), datetime.combine(day, closes, NEW_YORK))


def lends(source: Row) -> bool | None:
    """Whether an asset can be sold short: lent, and easily. None: the broker does not say."""
    shortable = source.get("shortable")
    if shortable is False:
        return False
    easy = source.get("easy_to_borrow")
    if easy is None and source.get("borrow_status") is not None:
        easy = source["borrow_status"] == "easy_to_borrow"
    return None if shortable is None or easy is None else bool(easy)


def _value(source: Row, name: str) -> str | None:
    """A field's text or number as text; None where it is neither, or empty."""
    value = source.get(name)
    return str(value) if isinstance(value, str | int | float) and value != "" else None


def _status(word: str, filled: int) -> OrderStatus:
    status = _STATUS.get(word)
    if status is None:
        log.warning('the broker gives an order the unknown status "%.30s": taken for open', word)
        status = "accepted"
    return "partially_filled" if filled and status in {"accepted", "new"} else status


def _side(source: Row) -> Side:
    word = text(source, "side")
    if word.startswith("buy"):
        return "buy"
    if word.startswith("sell"):  # sell_short among them
        return "sell"
    raise Unreadable(f'an order has the side "{word}"')


def _decimal(value: str, name: str) -> Decimal:
    try:
        found = Decimal(value)
    except InvalidOperation as error:
        raise Unreadable(f'{name} is "{value}", not a number') from error
    if not found.is_finite():
        raise Unreadable(f'{name} is "{value}", not a number')
    return found

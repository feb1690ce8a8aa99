"""What clients ask of orders: bodies and queries, read, and refused where they cannot be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, get_args

from autotrader.market.broker import FINAL, BrokerOrder, OrderRequest, OrderType, PositionIntent, Side, TimeInForce
from autotrader.simulator.wire import ApiError, parse_time

MOST_SHARES = 10**10  # more than any company has


def read_order(body: Mapping[str, Any], name: str, inferred: Callable[[str, Side], PositionIntent]) -> OrderRequest:
    """POST /v2/orders. name: the client order id. inferred: the intent, where none is given. ApiError."""
    symbol = str(body.get("symbol"))
    side: Side = _one_of(body, "side", get_args(Side))
    kind: OrderType = _one_of(body, "type", get_args(OrderType))
    force: TimeInForce = _one_of(body, "time_in_force", get_args(TimeInForce))
    if (body.get("order_class") or "simple") != "simple":
        raise ApiError(422, f"order_class {body['order_class']} is not simulated", 40010001)
    for field in ("take_profit", "stop_loss", "trail_price", "trail_percent"):
        if body.get(field) is not None:
            raise ApiError(422, f"{field} is not simulated", 40010001)
    if body.get("extended_hours"):
        if (kind, force) != ("limit", "day"):
            raise ApiError(422, "extended hours order must be DAY limit orders", 42210000)
        raise ApiError(422, "extended_hours is not simulated", 40010001)
    intent = body.get("position_intent") or inferred(symbol, side)
    if intent not in get_args(PositionIntent):
        raise ApiError(422, f"invalid position_intent {intent}", 40010001)
    return OrderRequest(
        name, symbol, side, _quantity(body, symbol), intent, kind, force,
        _price(body, "stop_price"), _price(body, "limit_price"),
    )  # fmt: skip


def read_replacement(body: Mapping[str, Any], old: BrokerOrder, intent: PositionIntent, name: str) -> OrderRequest:
    """PATCH /v2/orders/{id}: what is left of the old order, with what the body changes. ApiError."""
    quantity = old.quantity if body.get("qty") is None else _quantity(body, old.symbol)
    if quantity <= old.filled_quantity:
        raise ApiError(422, "qty must be > filled_qty", 42210000)
    stop, limit = _price(body, "stop_price"), _price(body, "limit_price")
    force = _one_of({"time_in_force": old.time_in_force, **body}, "time_in_force", get_args(TimeInForce))
    return OrderRequest(
        name, old.symbol, old.side, quantity - old.filled_quantity, intent, old.type, force,
        stop or old.stop_price, limit or old.limit_price,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class OrderQuery:
    """What GET /v2/orders asks for."""

    status: Literal["open", "closed", "all"]
    limit: int
    ascending: bool
    symbols: frozenset[str]
    side: str | None
    after: datetime | None
    until: datetime | None
    after_number: int
    before_number: float

    @classmethod
    def parse(cls, query: Mapping[str, str], numbers: Mapping[str, int]) -> OrderQuery:
        """numbers: of the orders, by id. ApiError where it cannot be read."""
        status = query.get("status", "open")
        if status not in ("open", "closed", "all"):
            raise ApiError(422, f"invalid status {status}", 40010001)
        direction, side = query.get("direction", "desc"), query.get("side", "buy")
        if direction not in ("asc", "desc") or side not in get_args(Side):
            raise ApiError(422, f"invalid {'side' if direction in ('asc', 'desc') else 'direction'}", 40010001)
        by_id = [name for name in ("before_order_id", "after_order_id") if name in query]
        if len(by_id) > 1 or (by_id and ("after" in query or "until" in query)):
            raise ApiError(422, "before_order_id, after_order_id and after/until are mutually exclusive", 40010001)
        for name in by_id:
            if query[name] not in numbers:
                raise ApiError(404, f"order not found for {query[name]}", 40410000)
        try:
            limit = int(query.get("limit", "50"))
            after, until = (parse_time(query[name]) if name in query else None for name in ("after", "until"))
        except ValueError as error:
            raise ApiError(422, f"invalid query: {error}", 40010001) from error
        if not 1 <= limit <= 500:
            raise ApiError(422, "limit must be between 1 and 500", 40010001)
        return cls(
            status,  # type: ignore[arg-type]  # checked above
            limit,
            direction == "asc",
            frozenset(filter(None, query.get("symbols", "").split(","))),
            query.get("side"),
            after,
            until,
            numbers[query["after_order_id"]] if "after_order_id" in query else 0,
            numbers[query["before_order_id"]] if "before_order_id" in query else math.inf,
        )

    def takes(self, number: int, order: BrokerOrder) -> bool:
        final = order.status in FINAL
        return (
            (self.status == "all" or final is (self.status == "closed"))
            and (not self.symbols or order.symbol in self.symbols)
            and (self.side is None or order.side == self.side)
            and (self.after is None or order.submitted_at > self.after)
            and (self.until is None or order.submitted_at < self.until)
            and self.after_number < number < self.before_number
        )


def _one_of(body: Mapping[str, Any], name: str, known: Iterable[Any]) -> Any:
    value = body.get(name)
    if value not in tuple(known):
        raise ApiError(422, f"invalid {name}" if value else f"{name} is required", 40010001)
    return value


def _quantity(body: Mapping[str, Any], symbol: str) -> int:
    if body.get("qty") is not None and body.get("notional") is not None:
        raise ApiError(422, "only one of qty or notional is accepted", 40010001)
    if body.get("notional") is not None:
        raise ApiError(403, f'asset "{symbol}" is not fractionable', 40310000)
    quantity = _decimal(body, "qty")
    if quantity is None or quantity <= 0:
        raise ApiError(422, "qty must be > 0", 40010001)
    if quantity >= MOST_SHARES:
        raise ApiError(422, "invalid qty", 40010001)
    if quantity != int(quantity):
        raise ApiError(403, f'asset "{symbol}" is not fractionable', 40310000)
    return int(quantity)


def _price(body: Mapping[str, Any], name: str) -> Decimal | None:
    price = _decimal(body, name)
    if price is None:
        return None
    tick = Decimal("0.01") if price >= 1 else Decimal("0.0001")
    if price % tick:
        what = f"invalid {name} {price}. sub-penny increment does not fulfill minimum pricing criteria"
        raise ApiError(422, what, 42210000)
    return price


def _decimal(body: Mapping[str, Any], name: str) -> Decimal | None:
    """Numbers and texts, as clients send both."""
    value = body.get(name)
    if value is None:
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise ApiError(422, f"invalid {name}", 40010001)
    return number

"""Orders on the wire: requests taken and refused, what became of them, and what the stream tells about them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, get_args

from autotrader.clock import NEW_YORK
from autotrader.market.broker import (
    FINAL,
    BrokerOrder,
    Execution,
    OrderRequest,
    OrderType,
    OrderUpdate,
    PositionIntent,
    Refused,
    Side,
    TimeInForce,
)
from autotrader.market.exchange import OPG_UNTIL, charged
from autotrader.simulator.faults import Faults
from autotrader.simulator.wire import ApiError, Json, money, parse_time, stamp, ulid_of, uuid_of
from autotrader.simulator.world import World

STATUS_OF = {"40010001": 422, "42210000": 422, "40310000": 403, "40410000": 404}

OPENS = time(9, 30)
GOOD_FOR = timedelta(days=90)  # "good till canceled"
SHORT_EQUITY = 2000  # USD, the least for selling short

TIMES = {"filled": "filled_at", "canceled": "canceled_at", "expired": "expired_at", "rejected": "failed_at",
         "replaced": "replaced_at"}  # fmt: skip


@dataclass(slots=True)
class Record:
    """What the wire knows of an order beyond what the exchange does. number: in the order of submission."""

    number: int
    id: str
    client_order_id: str
    intent: PositionIntent
    created_at: datetime
    updated_at: datetime
    extended_hours: bool = False
    times: dict[str, datetime] = field(default_factory=dict)
    replaced_by: str | None = None
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class Fill:
    """A row of the account's activities."""

    id: str
    order_id: str
    execution: Execution
    left: int
    status: str


class Orders:
    """The account's orders by id and client order id. Every refusal is an ApiError."""

    def __init__(self, world: World, faults: Faults, seed: int = 0) -> None:
        self.fills: list[Fill] = []
        self.at_once = False  # market orders fill when they come, not at the next bar's open: a clock that runs
        self._world = world
        self._faults = faults
        self._seed = seed
        self._records: dict[str, Record] = {}  # by id, in the order of submission
        self._by_client_id: dict[str, Record] = {}
        self._liquidity = world.exchange.liquidity
        world.exchange.liquidity = self._fills_now

    # --- requests -------------------------------------------------------------------------------------------------

    def submit(self, body: Mapping[str, Any]) -> Json:
        """Takes an order. The answer is the order as it was accepted, whatever becomes of it."""
        now, exchange = self._world.now, self._world.exchange
        self._refuse_blocked()
        request = self._request(body)
        self._refuse_halted(request)
        price = self._world.price(request.symbol)
        if price is not None:
            exchange.mark(request.symbol, price.price)
        self._refuse_over_limit(request)
        try:
            order = exchange.submit(request, now)
        except Refused as refused:
            raise self._refusal(refused, request) from refused
        record = self._recorded(order, request)
        record.extended_hours = bool(body.get("extended_hours"))
        if self._faults.strike("reject_order", order.client_order_id, symbol=order.symbol):
            exchange.reject(order.client_order_id, now, "rejected by the exchange")
        elif self.at_once and order.type != "stop" and price is not None and self._world.is_open():
            exchange.on_price(now, order.symbol, price.price)
        accepted = self.payload(record, order)
        if accepted["status"] == "new":
            accepted["status"] = "pending_new"
        return accepted

    def replace(self, order_id: str, body: Mapping[str, Any]) -> Json:
        """PATCH: a new order with another quantity, time in force, stop price or client order id."""
        record = self._record(order_id)
        old = self._order(record)
        if old.status == "pending_cancel":
            raise ApiError(422, "order is pending cancel", 42210000)
        self._refuse_auction(old)
        quantity = old.quantity if body.get("qty") is None else _quantity(body, old.symbol)
        if quantity <= old.filled_quantity:
            raise ApiError(422, "qty must be > filled_qty", 42210000)
        stop, limit = _price(body, "stop_price"), _price(body, "limit_price")
        name = str(body.get("client_order_id") or uuid_of(self._seed, "client", len(self._records) + 1))
        force = _one_of({"time_in_force": old.time_in_force, **body}, "time_in_force", get_args(TimeInForce))
        request = OrderRequest(
            name, old.symbol, old.side, quantity - old.filled_quantity, record.intent, old.type, force,
            stop or old.stop_price, limit or old.limit_price,
        )  # fmt: skip
        try:
            order = self._world.exchange.replace_order(record.client_order_id, request, self._world.now)
        except Refused as refused:
            raise self._refusal(refused, request) from refused
        new = self._recorded(order, request)
        record.replaced_by, new.replaces = new.id, record.id
        return self.payload(new, order)

    def _recorded(self, order: BrokerOrder, request: OrderRequest) -> Record:
        number, now = len(self._records) + 1, self._world.now
        record = Record(number, uuid_of(self._seed, "order", number), order.client_order_id, request.intent, now, now)
        self._records[record.id] = self._by_client_id[order.client_order_id] = record
        return record

    def cancel(self, order_id: str) -> None:
        record = self._record(order_id)
        order = self._order(record)
        self._refuse_auction(order)
        late = self._faults.strike("slow_cancel", record.client_order_id, symbol=order.symbol)
        if order.status == "pending_cancel":
            raise ApiError(422, f'order is already in "{order.status}" state', 42210000)
        try:
            self._world.exchange.cancel(record.client_order_id, self._world.now, too_late=late is not None)
        except Refused as refused:
            raise self._refusal(refused) from refused

    def cancel_all(self) -> list[Json]:
        """What became of each open order's cancel."""
        results = []
        for record in [record for record in self._records.values() if not self._order(record).final]:
            try:
                self.cancel(record.id)
                results.append({"id": record.id, "status": 200})
            except ApiError as refused:
                results.append({"id": record.id, "status": refused.status, "body": refused.body})
        return results

    def get(self, order_id: str) -> Json:
        record = self._record(order_id)
        return self.payload(record, self._order(record))

    def by_client_id(self, client_order_id: str) -> Json:
        record = self._by_client_id.get(client_order_id)
        if record is None:
            raise ApiError(404, f"order not found for {client_order_id}", 40410000)
        return self.payload(record, self._order(record))

    def listed(self, query: Mapping[str, str]) -> list[Json]:
        """GET /v2/orders: by submission, newest first unless direction is asc."""
        wanted = OrderQuery.parse(query, self._records)
        found = []
        for record in self._records.values():
            order = self._order(record)
            if wanted.takes(record, order):
                found.append((record, order))
        if not wanted.ascending:
            found.reverse()
        return [self.payload(record, order) for record, order in found[: wanted.limit]]

    def open_for(self, symbol: str) -> list[str]:
        """The ids of a symbol's open orders."""
        exchange = self._world.exchange
        return [self._by_client_id[order.client_order_id].id for order in exchange.open_orders(symbol)]

    def _record(self, order_id: str) -> Record:
        record = self._records.get(order_id)
        if record is None:
            raise ApiError(404, f"order not found for {order_id}", 40410000)
        return record

    def _order(self, record: Record) -> BrokerOrder:
        order = self._world.exchange.order(record.client_order_id)
        assert order is not None
        return order

    # --- reading and refusing -------------------------------------------------------------------------------------

    def _request(self, body: Mapping[str, Any]) -> OrderRequest:
        symbol = str(body.get("symbol") or "")
        if not self._world.history.knows(symbol):
            raise ApiError(422, f'asset "{symbol}" not found', 42210000)
        side: Side = _one_of(body, "side", get_args(Side))
        kind: OrderType = _one_of(body, "type", get_args(OrderType))
        force: TimeInForce = _one_of(body, "time_in_force", get_args(TimeInForce))
        if (body.get("order_class") or "simple") != "simple":
            raise ApiError(422, f"order_class {body['order_class']} is not simulated", 40010001)
        if body.get("extended_hours") and (kind, force) != ("limit", "day"):
            raise ApiError(422, "extended hours order must be DAY limit orders", 42210000)
        name = str(body.get("client_order_id") or uuid_of(self._seed, "client", len(self._records) + 1))
        intent = body.get("position_intent") or self._inferred(symbol, side)
        if intent not in get_args(PositionIntent):
            raise ApiError(422, f"invalid position_intent {intent}", 40010001)
        return OrderRequest(
            name, symbol, side, _quantity(body, symbol), intent, kind, force,
            _price(body, "stop_price"), _price(body, "limit_price"),
        )  # fmt: skip

    def _inferred(self, symbol: str, side: Side) -> PositionIntent:
        held = self._world.exchange.position(symbol)
        if side == "sell":
            return "sell_to_close" if held > 0 else "sell_to_open"
        return "buy_to_close" if held < 0 else "buy_to_open"

    def _refuse_blocked(self) -> None:
        if self._faults.state("account_blocked"):
            raise ApiError(403, "account is not authorized to trade", 40310000)

    def _refuse_halted(self, request: OrderRequest) -> None:
        world = self._world
        if request.type == "market" and world.is_open() and world.is_halted(request.symbol):
            message = (
                f'market order rejected due to trading halt on symbol: "{request.symbol}", '
                "please place a limit order instead"
            )
            raise ApiError(422, message, 42210000)

    def _refuse_auction(self, order: BrokerOrder) -> None:
        """Orders for the opening stay from 9:28 on."""
        now = self._world.now.astimezone(NEW_YORK).time()
        if order.time_in_force == "opg" and self._world.session is not None and OPG_UNTIL <= now < OPENS:
            raise ApiError(422, "opg orders cannot be canceled or replaced after 9:28am", 42210000)

    def _refuse_over_limit(self, request: OrderRequest) -> None:
        """What the account may not do, also by faults."""
        if request.intent == "sell_to_open" and self._world.exchange.account().equity < SHORT_EQUITY:
            raise ApiError(403, "account is not allowed to short", 40310000)
        opens = request.intent in ("buy_to_open", "sell_to_open")
        if request.intent == "sell_to_open" and self._faults.state("hard_to_borrow", request.symbol):
            raise ApiError(422, f'asset "{request.symbol}" cannot be sold short', 42210000)
        if request.time_in_force == "gtc" and self._faults.state("hard_to_borrow", request.symbol):
            what = f'only day orders are allowed for hard-to-borrow asset "{request.symbol}"'
            raise ApiError(422, what, 42210000)
        price = self._world.exchange.last_price(request.symbol)
        limit = self._faults.holds("buying_power") if opens else None
        cost = Decimal(0) if price is None else request.quantity * charged(request, price)
        if limit is not None and cost > Decimal(str(limit.value or 0)):
            self._faults.state("buying_power")
            raise ApiError(
                403, "insufficient buying power", 40310000,
                buying_power=money(Decimal(str(limit.value or 0))), cost_basis=money(cost),
            )  # fmt: skip

    def _refusal(self, refused: Refused, request: OrderRequest | None = None) -> ApiError:
        """The exchange's refusal with what Alpaca adds to it."""
        message, code = str(refused), refused.code
        more: Json = {}
        exchange = self._world.exchange
        if wash := re.fullmatch(r"(potential wash trade.*) \((.+?): (.+)\)", message):
            message, reason, other = wash.groups()
            more = {"existing_order_id": self._by_client_id[other].id, "reject_reason": reason}
        elif request is not None and message.startswith("insufficient qty"):
            held, available = abs(exchange.position(request.symbol)), exchange.available(request.symbol)
            more = {
                "available": str(available), "existing_qty": str(held), "held_for_orders": str(held - available),
                "symbol": request.symbol, "related_orders": self.open_for(request.symbol),
            }  # fmt: skip
        elif request is not None and message.startswith("insufficient buying power"):
            message = "insufficient buying power"
            cost = request.quantity * charged(request, exchange.last_price(request.symbol) or Decimal(0))
            more = {"buying_power": money(exchange.account().buying_power), "cost_basis": money(cost)}
        return ApiError(STATUS_OF[code], message, int(code), **more)

    def _fills_now(self, order: BrokerOrder) -> int:
        name, left = order.client_order_id, self._liquidity(order)
        if self._faults.strike("late_fill", name, symbol=order.symbol):
            return 0
        if left > 1 and self._faults.strike("partial_fill", name, symbol=order.symbol):
            return left // 2
        return left

    # --- what is told ---------------------------------------------------------------------------------------------

    def take_in(self, update: OrderUpdate, position: int = 0) -> Json:
        """Notes what became of an order; the message of the stream. position: held after a fill, signed."""
        order, execution = update.order, update.execution
        record = self._by_client_id[order.client_order_id]
        record.updated_at = update.at
        event = self._status(record, order)
        if event in TIMES:
            record.times[TIMES[event]] = update.at
        more: Json = {}
        number = len(self.fills) + 1
        if execution is not None:
            event = "fill" if order.status == "filled" else "partial_fill"
            more = {
                "price": money(execution.price), "qty": str(execution.quantity),
                "position_qty": str(position),
            }  # fmt: skip
            row = f"{update.at:%Y%m%d%H%M%S}{update.at.microsecond // 1000:03}::{uuid_of(self._seed, 'fill', number)}"
            left = order.quantity - execution.cumulative
            self.fills.append(Fill(row, record.id, execution, left, order.status))
        elif order.status == "partially_filled":
            event = "restated"
        return {
            "event": event,
            "event_id": ulid_of(update.at, self._seed, record.id, event, order.filled_quantity),
            "execution_id": uuid_of(self._seed, "execution", record.id, event, number),
            "at": stamp(update.at),
            "timestamp": stamp(update.at),
            "order": self.payload(record, order),
            **more,
        }

    def before_open(self) -> None:
        """Ends short sales of what is not lent any more, and what was good for the last 90 days."""
        exchange = self._world.exchange
        for order in exchange.open_orders():
            record = self._by_client_id[order.client_order_id]
            old = self._world.now - order.submitted_at >= GOOD_FOR
            if old or (record.intent == "sell_to_open" and self._faults.state("hard_to_borrow", order.symbol)):
                exchange.cancel(order.client_order_id, self._world.now)

    def payload(self, record: Record, order: BrokerOrder) -> Json:
        status = self._status(record, order)
        if status == "accepted" and self._world.is_open():
            status = "new"
        return {
            "id": record.id,
            "client_order_id": record.client_order_id,
            "created_at": stamp(record.created_at),
            "updated_at": stamp(record.updated_at),
            "submitted_at": stamp(order.submitted_at),
            "filled_at": stamp(record.times.get("filled_at")),
            "expired_at": stamp(record.times.get("expired_at")),
            "expires_at": stamp(record.created_at + GOOD_FOR) if order.time_in_force == "gtc" else None,
            "canceled_at": stamp(record.times.get("canceled_at")),
            "failed_at": stamp(record.times.get("failed_at")),
            "replaced_at": stamp(record.times.get("replaced_at")),
            "replaced_by": record.replaced_by,
            "replaces": record.replaces,
            "asset_id": uuid_of("asset", order.symbol),
            "symbol": order.symbol,
            "asset_class": "us_equity",
            "notional": None,
            "qty": str(order.quantity),
            "filled_qty": str(order.filled_quantity),
            "filled_avg_price": money(order.filled_average_price),
            "order_class": "",
            "order_type": order.type,
            "type": order.type,
            "side": order.side,
            "position_intent": record.intent,
            "time_in_force": order.time_in_force,
            "limit_price": money(order.limit_price),
            "stop_price": money(order.stop_price),
            "status": status,
            "extended_hours": record.extended_hours,
            "legs": None,
            "trail_percent": None,
            "trail_price": None,
            "hwm": None,
            "subtag": None,
            "source": None,
        }

    def _status(self, record: Record, order: BrokerOrder) -> str:
        return "replaced" if record.replaced_by is not None and order.status == "canceled" else order.status


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
    def parse(cls, query: Mapping[str, str], records: Mapping[str, Record]) -> OrderQuery:
        """ApiError where it cannot be read."""
        status = query.get("status", "open")
        if status not in ("open", "closed", "all"):
            raise ApiError(422, f"invalid status {status}", 40010001)
        by_id = [name for name in ("before_order_id", "after_order_id") if name in query]
        if len(by_id) > 1 or (by_id and ("after" in query or "until" in query)):
            raise ApiError(422, "before_order_id, after_order_id and after/until are mutually exclusive", 40010001)
        numbers = {}
        for name in by_id:
            record = records.get(query[name])
            if record is None:
                raise ApiError(404, f"order not found for {query[name]}", 40410000)
            numbers[name] = record.number
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
            query.get("direction", "desc") == "asc",
            frozenset(filter(None, query.get("symbols", "").split(","))),
            query.get("side"),
            after,
            until,
            numbers.get("after_order_id", 0),
            numbers.get("before_order_id", float("inf")),
        )

    def takes(self, record: Record, order: BrokerOrder) -> bool:
        final = order.status in FINAL
        return (
            (self.status == "all" or final is (self.status == "closed"))
            and (not self.symbols or order.symbol in self.symbols)
            and (self.side is None or order.side == self.side)
            and (self.after is None or order.submitted_at > self.after)
            and (self.until is None or order.submitted_at < self.until)
            and self.after_number < record.number < self.before_number
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

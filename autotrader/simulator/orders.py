"""Orders on the wire: requests taken and refused, what became of them, and what the stream tells about them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any

from autotrader.clock import NEW_YORK
from autotrader.market.broker import (
    BrokerOrder,
    Execution,
    OrderRequest,
    OrderUpdate,
    PositionIntent,
    Refused,
    Side,
)
from autotrader.market.exchange import OPG_UNTIL, charged
from autotrader.simulator.faults import Faults
from autotrader.simulator.order_requests import OrderQuery, read_order, read_replacement
from autotrader.simulator.wire import ApiError, Json, money, stamp, ulid_of, uuid_of
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
        self._late_openings: dict[str, datetime | None] = {}  # by client order id: when they are filled
        world.exchange.opening_lasts = self._opens_late

    # --- requests -----------------------------------------------------------------------------------------------------

    def submit(self, body: Mapping[str, Any]) -> Json:
        """Takes an order. The answer is the order as it was accepted, whatever becomes of it."""
        now, exchange = self._world.now, self._world.exchange
        if str(body.get("client_order_id")) in self._by_client_id:  # before all else: the order exists
            raise ApiError(422, "client_order_id must be unique", 40010001)
        self._refuse_blocked()
        if not self._world.history.knows(str(body.get("symbol"))):
            raise ApiError(422, f'asset "{body.get("symbol") or ""}" not found', 42210000)
        request = read_order(body, self._name(body), self._inferred)
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
        request = read_replacement(body, old, record.intent, self._name(body))
        try:
            order = self._world.exchange.replace_order(record.client_order_id, request, self._world.now)
        except Refused as refused:
            raise self._refusal(refused, request) from refused
        new = self._recorded(order, request)
        record.replaced_by, new.replaces = new.id, record.id
        return self.payload(new, order)

    def _name(self, body: Mapping[str, Any]) -> str:
        """The client's own id of an order, else one made for it."""
        return str(body.get("client_order_id") or uuid_of(self._seed, "client", len(self._records) + 1))

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
        wanted = OrderQuery.parse(query, {name: record.number for name, record in self._records.items()})
        found = []
        for record in self._records.values():
            order = self._order(record)
            if wanted.takes(record.number, order):
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

    # --- refusing -----------------------------------------------------------------------------------------------------

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
        if order.time_in_force == "opg" and self._opens_late(order, self._world.now):
            return 0
        if self._faults.strike("late_fill", name, symbol=order.symbol):
            return 0
        if left > 1 and self._faults.strike("partial_fill", name, symbol=order.symbol):
            return left // 2
        return left

    def _opens_late(self, order: BrokerOrder, at: datetime) -> bool:
        """Whether an order for the opening waits for it still; asked from the opening on."""
        name = order.client_order_id
        if name not in self._late_openings:
            fault = self._faults.strike("late_opening", name, symbol=order.symbol)
            self._late_openings[name] = None if fault is None else at + timedelta(seconds=fault.seconds)
        until = self._late_openings[name]
        return until is not None and at < until

    # --- what is told -------------------------------------------------------------------------------------------------

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
            "extended_hours": False,
            "legs": None,
            "trail_percent": None,
            "trail_price": None,
            "hwm": None,
            "subtag": None,
            "source": None,
        }

    def _status(self, record: Record, order: BrokerOrder) -> str:
        return "replaced" if record.replaced_by is not None and order.status == "canceled" else order.status

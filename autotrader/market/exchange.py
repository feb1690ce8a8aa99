"""Matching in virtual time: one client's cash, positions and orders, in memory, moved on by the caller's bars.

Market orders fill at the open of the first bar that starts at or after their submission, stop and limit orders also
inside a bar.
Nothing reads a clock: every call brings its time, and the market's calls come in the order of time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Literal

from autotrader.clock import NEW_YORK, Calendar
from autotrader.core.prices import CENT, TICK, stop_tick
from autotrader.market.broker import (
    BrokerAccount,
    BrokerOrder,
    BrokerPosition,
    Execution,
    OrderRequest,
    OrderType,
    OrderUpdate,
    PositionIntent,
    Refused,
)

CLOSING: frozenset[str] = frozenset({"sell_to_close", "buy_to_close"})
OPG_FROM, OPG_UNTIL = time(19), time(9, 28)

Liquidity = Callable[[BrokerOrder], int]


def unlimited(order: BrokerOrder) -> int:
    """All that is left of the order."""
    return order.quantity - order.filled_quantity


@dataclass(slots=True)
class _Working:
    """An order and what the broker's view of it leaves out.

    value: paid or received so far, USD. triggered: a stop that was touched, from then on a market order.
    """

    order: BrokerOrder
    intent: PositionIntent
    value: Decimal = Decimal(0)
    triggered: bool = False

    @property
    def left(self) -> int:
        return self.order.quantity - self.order.filled_quantity

    @property
    def kind(self) -> OrderType:
        """What it is now."""
        return "market" if self.triggered else self.order.type

    def takes(self, price: float) -> bool:
        """Whether it would trade at this price now; a stop never does."""
        limit = self.order.limit_price
        if limit is not None:
            return _decimal(price) <= limit if self.order.side == "buy" else _decimal(price) >= limit
        return self.kind == "market"


@dataclass(slots=True)
class _Held:
    """quantity: signed. average: USD per share."""

    quantity: int
    average: Decimal


class Exchange:
    """One account and its orders.

    slippage_bps: what a taker pays on each fill. commission: USD per order, charged with its first fill.
    leverage: buying power over equity, before what is held and on order (2: Regulation T).
    not_shortable: symbols that are not lent.
    liquidity: how many shares of an order may fill at the moment it is asked about; 0: none yet.
    opening_lasts: whether an order for the opening that a price has not filled at some time still waits for it.
    """

    def __init__(
        self,
        cash: Decimal | float,
        calendar: Calendar,
        *,
        account_id: str = "paper",
        slippage_bps: float = 0.0,
        commission: Decimal | float = 0,
        leverage: float = 2.0,
        not_shortable: Collection[str] = frozenset(),
        liquidity: Liquidity = unlimited,
    ) -> None:
        self.liquidity = liquidity
        self.opening_lasts: Callable[[BrokerOrder, datetime], bool] = lambda _, __: False
        self._account_id = account_id
        self._cash = _decimal(cash)
        self._calendar = calendar
        self._slippage = _decimal(slippage_bps) / 10_000
        self._commission = _decimal(commission)
        self._leverage = _decimal(leverage)
        self._not_shortable = frozenset(not_shortable)
        self._orders: dict[str, _Working] = {}
        self._live: dict[str, _Working] = {}  # those that are not final, in the order of submission
        self._open: dict[str, dict[str, _Working]] = {}  # by symbol and id, in the order of submission
        self._held: dict[str, _Held] = {}
        self._prices: dict[str, float] = {}
        self._executions: list[Execution] = []
        self._updates: list[OrderUpdate] = []
        self._market_time: datetime | None = None

    # --- the client's side ----------------------------------------------------------------------------------------

    def submit(self, request: OrderRequest, at: datetime) -> BrokerOrder:
        """Takes an order; without a session it waits for the next one. Refused, by the first of REFUSALS that says so.

        A symbol that has never had a price is not held against the buying power.
        """
        for refusal in REFUSALS:
            if (message := refusal.check(self, request, at)) is not None:
                raise Refused(message, refusal.code)
        order = BrokerOrder(
            request.client_order_id,
            request.symbol,
            request.side,
            request.quantity,
            "new" if self._is_open(at) else "accepted",
            at,
            type=request.type,
            time_in_force=request.time_in_force,
            stop_price=request.stop_price,
            limit_price=request.limit_price,
        )
        working = _Working(order, request.intent)
        self._orders[order.client_order_id] = working
        self._keep(working)
        self._report(at, order)
        return order

    def cancel(self, client_order_id: str, at: datetime, *, too_late: bool = False) -> None:
        """Ends an order. too_late: it stays pending_cancel, and what the market does next comes before its end.

        Refused: there is no such order, or it is final.
        """
        working = self._cancelable(client_order_id)
        if too_late:
            working.order = replace(working.order, status="pending_cancel")
            self._report(at, working.order)
        else:
            self._end(working, "canceled", at)

    def replace_order(self, client_order_id: str, request: OrderRequest, at: datetime) -> BrokerOrder:
        """Takes another order in the place of an open one, whose shares it may use; the old one ends as canceled.

        Refused: there is no such order, it is final, or the new one is refused; then the old one stays.
        """
        old = self._cancelable(client_order_id)
        self._forget(old)
        try:
            order = self.submit(request, at)
        except Refused:
            self._keep(old)
            raise
        old.order = replace(old.order, status="canceled", reason=f"replaced by {order.client_order_id}")
        self._report(at, old.order)
        return order

    def reject(self, client_order_id: str, at: datetime, reason: str) -> None:
        """The exchange turns away an open order that the broker had taken."""
        self._end(self._orders[client_order_id], "rejected", at, reason)

    def _cancelable(self, client_order_id: str) -> _Working:
        working = self._orders.get(client_order_id)
        if working is None:
            raise Refused(f"order not found for {client_order_id}", "40410000")
        if working.order.final:
            raise Refused(f'order is already in "{working.order.status}" state', "42210000")
        return working

    def order(self, client_order_id: str) -> BrokerOrder | None:
        working = self._orders.get(client_order_id)
        return None if working is None else working.order

    def open_orders(self, symbol: str | None = None) -> list[BrokerOrder]:
        """In the order of submission; of all symbols or of one."""
        if symbol is not None:
            return [working.order for working in self._open.get(symbol, {}).values()]
        return [working.order for working in self._live.values()]

    def executions(self, since: datetime) -> list[Execution]:
        """All fills at or after `since`, in order."""
        return self._executions[bisect_left(self._executions, since, key=lambda fill: fill.at) :]

    def drain_updates(self) -> list[OrderUpdate]:
        """Every change of an order since the last call, in order."""
        updates, self._updates = self._updates, []
        return updates

    def positions(self) -> list[BrokerPosition]:
        """By symbol."""
        return [BrokerPosition(symbol, held.quantity, held.average) for symbol, held in sorted(self._held.items())]

    def position(self, symbol: str) -> int:
        """Shares held, negative for a short, 0 for none."""
        held = self._held.get(symbol)
        return 0 if held is None else held.quantity

    def shortable(self, symbol: str) -> bool:
        return symbol not in self._not_shortable

    def account(self, prices: Mapping[str, float] | None = None) -> BrokerAccount:
        """At these prices; else at the last known one of a symbol, else at what was paid for it."""
        known = {**self._prices, **(prices or {})}
        worth = {
            symbol: held.quantity * (_decimal(known[symbol]) if symbol in known else held.average)
            for symbol, held in self._held.items()
        }
        equity = self._cash + sum(worth.values(), Decimal(0))
        gross = sum((abs(value) for value in worth.values()), Decimal(0))
        on_order = sum(
            working.left * charged(working.order, _decimal(known[symbol]))
            for symbol, orders in self._open.items()
            if symbol in known
            for working in orders.values()
            if working.intent not in CLOSING
        )
        buying_power = max(Decimal(0), self._leverage * equity - gross - on_order)
        return BrokerAccount(self._account_id, self._cash, equity, buying_power)

    # --- what the refusals ask ------------------------------------------------------------------------------------

    def last_price(self, symbol: str) -> Decimal | None:
        price = self._prices.get(symbol)
        return None if price is None else _decimal(price)

    def available(self, symbol: str) -> int:
        """Shares held, of either side, that no open order is already leaving."""
        leaving = sum(w.left for w in self._open.get(symbol, {}).values() if w.intent in CLOSING)
        return abs(self.position(symbol)) - leaving

    def hold(self, symbol: str, quantity: int, average: Decimal | float) -> None:
        """Puts a position there that was made elsewhere, in an earlier process; quantity: signed, cash stays."""
        self._held[symbol] = _Held(quantity, _decimal(average))

    def trade_by_hand(self, symbol: str, quantity: int, price: Decimal) -> None:
        """Makes the position `quantity`, signed, 0 for none, by a trade at `price` that is nobody's order here."""
        traded = quantity - self.position(symbol)
        self._cash -= traded * price
        if quantity and self.position(symbol) * quantity < 0:  # over zero: the old position is gone
            del self._held[symbol]
            self._hold(symbol, quantity, price)
        elif traded:
            self._hold(symbol, traded, price)

    # --- the market's side ----------------------------------------------------------------------------------------

    def mark(self, symbol: str, price: float) -> None:
        """A price that nobody traded at here (before the open, from a feed): equity and buying power go by it."""
        self._prices[symbol] = price

    def on_bar(
        self, at: datetime, symbol: str, open: float, high: float, low: float, close: float, volume: float
    ) -> None:
        """A minute bar that starts at `at`: what was submitted by then fills at its open, then inside it.

        Stops come before limits. A stop that is already passed at the open fills there. A bar without volume is no
        trade and fills nothing.
        """
        self._advance(at)
        if volume > 0 and symbol in self._open:
            self._take(at, symbol, open)
            for working in self._waiting(at, symbol, "stop"):
                assert working.order.stop_price is not None
                stop, sells = float(working.order.stop_price), working.order.side == "sell"
                if low <= stop if sells else high >= stop:
                    working.triggered = True
                    self._fill(working, min(open, stop) if sells else max(open, stop), at)
            for working in self._waiting(at, symbol, "limit"):
                assert working.order.limit_price is not None
                if working.takes(low if working.order.side == "buy" else high):
                    self._fill(working, float(working.order.limit_price), at)
            self._finish_cancels(at, symbol)
        self._prices[symbol] = close

    def on_price(self, at: datetime, symbol: str, price: float) -> None:
        """A single price: what was submitted by then fills at it. Stop orders are not looked at."""
        self._advance(at)
        if symbol in self._open:
            self._take(at, symbol, price)
            self._finish_cancels(at, symbol)
        self._prices[symbol] = price

    def close_session(self, at: datetime) -> None:
        """The close: orders of this session expire, good-till-canceled ones and those submitted from `at` on stay."""
        self._advance(at)
        for working in [w for orders in self._open.values() for w in orders.values()]:
            if working.order.status == "pending_cancel":
                self._end(working, "canceled", at)
            elif working.order.time_in_force != "gtc" and working.order.submitted_at < at:
                self._end(working, "expired", at)

    def split(self, symbol: str, new: int, old: int, price: float) -> Decimal:
        """`new` shares take the place of `old`, between sessions; the cash paid for a fraction, negative for a short.

        price: of one share after the split. Open orders are rescaled with the position, stops rounded toward the
        market; one of which no share is left is canceled.
        """
        for working in list(self._open.get(symbol, {}).values()):
            order = working.order
            left, stop, limit = working.left * new // old, order.stop_price, order.limit_price
            if not left:
                self._end(working, "canceled", self._market_time or order.submitted_at, "no share left after the split")
                continue
            if stop is not None:
                stop = stop_tick(stop * old / new, order.side)
            if limit is not None:  # away from the market: never a worse price than was asked for
                rounding = ROUND_FLOOR if order.side == "buy" else ROUND_CEILING
                limit = (limit * old / new).quantize(CENT if limit * old >= new else TICK, rounding)
            working.order = replace(order, quantity=order.filled_quantity + left, stop_price=stop, limit_price=limit)
        if symbol in self._prices:
            self._prices[symbol] *= old / new
        held = self._held.get(symbol)
        if held is None:
            return Decimal(0)
        sign = 1 if held.quantity > 0 else -1
        whole, rest = divmod(abs(held.quantity) * new, old)
        cash = (sign * Decimal(rest) / old * _decimal(price)).quantize(CENT)
        self._cash += cash
        held.quantity, held.average = sign * whole, held.average * old / new
        if not whole:
            del self._held[symbol]
        return cash

    # --- matching -------------------------------------------------------------------------------------------------

    def _take(self, at: datetime, symbol: str, price: float) -> None:
        """What takes the price fills; an order for the opening that this opening did not fill is over."""
        for working in self._waiting(at, symbol, "market", "limit"):
            if working.takes(price):
                self._fill(working, price, at)
            order = working.order
            if order.time_in_force == "opg" and not order.final and not self.opening_lasts(order, at):
                self._end(working, "expired", at)

    def _waiting(self, at: datetime, symbol: str, *kinds: OrderType) -> list[_Working]:
        return [
            working
            for working in self._open.get(symbol, {}).values()
            if working.kind in kinds and working.order.submitted_at <= at
        ]

    def _fill(self, working: _Working, price: float, at: datetime) -> None:
        order = working.order
        quantity = min(working.left, self.liquidity(order))
        if quantity <= 0:
            return
        paid = self._price(price, order.side)
        if order.limit_price is not None:
            paid = min(paid, order.limit_price) if order.side == "buy" else max(paid, order.limit_price)
        cumulative = order.filled_quantity + quantity
        commission = Decimal(0) if order.filled_quantity else self._commission
        working.value += quantity * paid
        working.order = replace(
            order,
            status="filled" if cumulative == order.quantity else "partially_filled",
            filled_quantity=cumulative,
            filled_average_price=working.value / cumulative,
        )
        if order.status == "pending_cancel" and not working.order.final:
            working.order = replace(working.order, status="pending_cancel")
        sign = 1 if order.side == "buy" else -1
        self._cash -= sign * quantity * paid + commission
        self._hold(order.symbol, sign * quantity, paid)
        name = order.client_order_id
        fill = Execution(name, order.symbol, order.side, quantity, paid, cumulative, at, commission)
        self._executions.append(fill)
        if working.order.final:
            self._forget(working)
        self._report(at, working.order, fill)

    def _hold(self, symbol: str, quantity: int, price: Decimal) -> None:
        """The sign never flips: the refusals leave no order that could (and a test tries)."""
        held = self._held.setdefault(symbol, _Held(0, price))
        total = held.quantity + quantity
        if held.quantity * quantity > 0:
            held.average = (held.average * held.quantity + price * quantity) / total
        held.quantity = total
        if not total:
            del self._held[symbol]

    def _price(self, price: float, side: str) -> Decimal:
        """After slippage, to the tick, both against the taker."""
        if side == "buy":
            return (_decimal(price) * (1 + self._slippage)).quantize(TICK, ROUND_CEILING)
        return (_decimal(price) * (1 - self._slippage)).quantize(TICK, ROUND_FLOOR)

    def _finish_cancels(self, at: datetime, symbol: str) -> None:
        for working in list(self._open.get(symbol, {}).values()):
            if working.order.status == "pending_cancel":
                self._end(working, "canceled", at)

    def _end(
        self,
        working: _Working,
        status: Literal["canceled", "expired", "rejected"],
        at: datetime,
        reason: str | None = None,
    ) -> None:
        working.order = replace(working.order, status=status, reason=reason)
        self._forget(working)
        self._report(at, working.order)

    def _keep(self, working: _Working) -> None:
        name = working.order.client_order_id
        self._open.setdefault(working.order.symbol, {})[name] = working
        self._live[name] = working

    def _forget(self, working: _Working) -> None:
        orders = self._open[working.order.symbol]
        del orders[working.order.client_order_id]
        del self._live[working.order.client_order_id]
        if not orders:
            del self._open[working.order.symbol]

    def _report(self, at: datetime, order: BrokerOrder, execution: Execution | None = None) -> None:
        self._updates.append(OrderUpdate(at, order, execution))

    def _advance(self, at: datetime) -> None:
        if at.utcoffset() is None:
            raise ValueError(f"{at.isoformat()} has no time zone")
        if self._market_time is not None and at < self._market_time:
            raise ValueError(f"the market is at {self._market_time.isoformat()} and cannot go back to {at.isoformat()}")
        self._market_time = at

    def _is_open(self, at: datetime) -> bool:
        day = at.astimezone(NEW_YORK).date()
        return self._calendar.is_session(day) and self._calendar.opens_at(day) <= at < self._calendar.closes_at(day)


# --- refusals -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason not to take an order. check: the message, None where it does not apply."""

    code: str
    check: Callable[[Exchange, OrderRequest, datetime], str | None]


def _id_used(exchange: Exchange, request: OrderRequest, _: datetime) -> str | None:
    return None if exchange.order(request.client_order_id) is None else "client_order_id must be unique"


def _id_too_long(_: Exchange, request: OrderRequest, __: datetime) -> str | None:
    return None if len(request.client_order_id) <= 128 else "client_order_id must be no more than 128 characters"


def _no_quantity(_: Exchange, request: OrderRequest, __: datetime) -> str | None:
    return None if request.quantity > 0 else "qty must be > 0"


def _stop_price(_: Exchange, request: OrderRequest, __: datetime) -> str | None:
    if request.type == "stop":
        return None if request.stop_price is not None and request.stop_price > 0 else "stop orders require a stop price"
    return None if request.stop_price is None else f"{request.type} orders take no stop price"


def _limit_price(_: Exchange, request: OrderRequest, __: datetime) -> str | None:
    limit = request.limit_price
    if request.type == "limit":
        return None if limit is not None and limit > 0 else "limit orders require a limit price"
    return None if limit is None else f"{request.type} orders take no limit price"


def _time_in_force(_: Exchange, request: OrderRequest, __: datetime) -> str | None:
    return "invalid time_in_force" if request.type == "stop" and request.time_in_force == "opg" else None


def _opg_window(_: Exchange, request: OrderRequest, at: datetime) -> str | None:
    if request.time_in_force != "opg":
        return None
    now = at.astimezone(NEW_YORK).time()
    inside = now >= OPG_FROM or now < OPG_UNTIL
    return None if inside else "opg orders must be submitted after 7:00pm and before 9:28am"


def _not_shortable(exchange: Exchange, request: OrderRequest, _: datetime) -> str | None:
    if request.intent != "sell_to_open" or exchange.shortable(request.symbol):
        return None
    return f'asset "{request.symbol}" cannot be sold short'


def _intent(exchange: Exchange, request: OrderRequest, _: datetime) -> str | None:
    held = exchange.position(request.symbol)
    if request.side == "sell":
        inferred = "sell_to_close" if held > 0 else "sell_to_open"
    else:
        inferred = "buy_to_close" if held < 0 else "buy_to_open"
    if request.intent == inferred:
        return None
    return f"position intent mismatch, inferred: {inferred}, specified: {request.intent}"


def _wash_trade(exchange: Exchange, request: OrderRequest, _: datetime) -> str | None:
    for order in exchange.open_orders(request.symbol):
        if order.side == request.side:
            continue
        kind = "opposite side market/stop order exists"
        if request.limit_price is not None and order.limit_price is not None:
            kind = "opposite side limit order exists"
            apart = order.limit_price - request.limit_price
            if (apart if request.side == "buy" else -apart) > 0:  # they cannot meet
                continue
        return f"potential wash trade detected. use complex orders ({kind}: {order.client_order_id})"
    return None


def _shares_available(exchange: Exchange, request: OrderRequest, _: datetime) -> str | None:
    if request.intent not in CLOSING:
        return None
    available = exchange.available(request.symbol)
    if request.quantity <= available:
        return None
    return f"insufficient qty available for order (requested: {request.quantity}, available: {available})"


def _buying_power(exchange: Exchange, request: OrderRequest, _: datetime) -> str | None:
    price = exchange.last_price(request.symbol)
    if request.intent in CLOSING or price is None:
        return None
    cost, power = request.quantity * charged(request, price), exchange.account().buying_power
    return None if cost <= power else f"insufficient buying power (buying_power: {power}, cost_basis: {cost})"


def _stop_side(exchange: Exchange, request: OrderRequest, _: datetime) -> str | None:
    price = exchange.last_price(request.symbol)
    if request.stop_price is None or price is None:
        return None
    if request.side == "sell":
        return None if request.stop_price < price else "stop price must be less than current price"
    return None if request.stop_price > price else "stop price must be greater than current price"


# In the order they are asked. Codes and messages are Alpaca's, so that one table reads both brokers' refusals.
REFUSALS: Sequence[Refusal] = (
    Refusal("40010001", _id_used),
    Refusal("40010001", _id_too_long),
    Refusal("40010001", _no_quantity),
    Refusal("40010001", _stop_price),
    Refusal("40010001", _limit_price),
    Refusal("40010001", _time_in_force),
    Refusal("40310000", _opg_window),
    Refusal("42210000", _intent),
    Refusal("42210000", _not_shortable),
    Refusal("40310000", _wash_trade),
    Refusal("40310000", _shares_available),
    Refusal("42210000", _stop_side),
    Refusal("40310000", _buying_power),
)


def charged(order: OrderRequest | BrokerOrder, price: Decimal) -> Decimal:
    """What a share on order is held against the buying power with: a buyer's limit, else what the market may ask."""
    if order.limit_price is None:
        return price
    return order.limit_price if order.side == "buy" else max(order.limit_price, price)


def _decimal(value: Decimal | float) -> Decimal:
    """The number as it is written: 0.1 is a tenth."""
    return value if isinstance(value, Decimal) else Decimal(str(value))

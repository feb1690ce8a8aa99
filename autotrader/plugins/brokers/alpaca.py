"""The broker Alpaca: orders through the official client, reports through the trading stream, fills from the activities.

What decides is never the stream alone: its reports may be late, twice or missing, so every order can be asked for by
its id and every fill is in the activities. An order request is sent once; what became of it is looked up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

from autotrader.clock import NEW_YORK
from autotrader.market.broker import (
    BrokerAccount,
    BrokerError,
    BrokerOptions,
    BrokerOrder,
    BrokerPosition,
    Execution,
    FateUnknown,
    Link,
    OrderRequest,
    OrderUpdate,
    Refused,
    SessionHours,
)
from autotrader.market.checks import Check
from autotrader.plugins.alpaca import answers, checks, wire
from autotrader.plugins.alpaca.answers import Answered, Unanswered
from autotrader.plugins.alpaca.connection import Connection
from autotrader.plugins.alpaca.endpoints import AlpacaError, check_account
from autotrader.plugins.alpaca.updates import TradeUpdates
from autotrader.secrets import SecretsError

if TYPE_CHECKING:
    from alpaca.trading.requests import OrderRequest as ClientRequest

log = logging.getLogger("autotrader.alpaca")

T = TypeVar("T")

_LIVE_WITHIN = 1.0  # seconds that opening waits for the reports to begin
_ORDERS_A_PAGE, _FILLS_A_PAGE = 500, 100
_FEW = 3  # orders that are asked for one by one rather than as a list
_INSTANT = timedelta(microseconds=1)


class AlpacaBroker:
    """One account at Alpaca. Not for several threads at once; the reports come in a thread of their own."""

    name = "alpaca"

    def __init__(self, connection: Connection, updates: TradeUpdates | None) -> None:
        self.connection = connection
        self._updates = updates
        self._unreadable = 0
        self._began_late = False  # orders may have been sent before the reports had begun
        self._ids: dict[str, str] = {}  # client order id -> Alpaca's
        self._names: dict[str, str] = {}  # and back
        self._lent: dict[str, tuple[date, bool | None]] = {}

    @classmethod
    def open(cls, options: BrokerOptions) -> Self:
        """The account, if it is the one that is meant. BrokerError: it is not, or cannot be reached."""
        if options.system is None or options.secrets is None:
            raise BrokerError("the broker alpaca needs a configuration and keys")
        settings = options.system.alpaca
        try:
            connection = Connection(settings, options.secrets.credentials(), options.clock, options.wait)
        except (AlpacaError, SecretsError) as error:
            raise BrokerError(str(error)) from error
        updates = None
        if options.streaming:  # its handshake goes on while the client is imported and the account is asked for
            where, keys = connection.endpoints.updates, connection.credentials
            updates = TradeUpdates(where, keys, options.clock, options.notify)
            updates.start()
        broker = cls(connection, updates)
        try:
            check_account(settings, broker.account().account_id, local=connection.endpoints.local)
        except (AlpacaError, BrokerError) as error:
            broker.close()
            raise BrokerError(str(error)) from error
        if updates is not None and not updates.wait(_LIVE_WITHIN):
            log.warning("the trading stream is not live yet (%s)", updates.trouble or "no answer")
            broker._began_late = True
        return broker

    @property
    def is_live(self) -> bool:
        return self.connection.settings.live

    # --- the account ----------------------------------------------------------------------------------------------

    def time(self) -> datetime:
        return self._read(lambda: wire.moment(wire.row(self._get("/clock")), "timestamp"))

    def hours(self, first: date, last: date) -> Sequence[SessionHours]:
        params = {"start": first.isoformat(), "end": last.isoformat()}
        return self._read(lambda: [wire.hours(row) for row in wire.rows(self._get("/calendar", params))])

    def account(self) -> BrokerAccount:
        return self._read(lambda: wire.account(wire.row(self._get("/account"))))

    def positions(self) -> Sequence[BrokerPosition]:
        return self._read(lambda: [wire.position(row) for row in wire.rows(self._get("/positions"))])

    def shortable(self, symbol: str) -> bool | None:
        """As the asset says, which changes once a day: so it is asked once a day."""
        today = self.connection.clock.now().astimezone(NEW_YORK).date()
        known = self._lent.get(symbol)
        if known is None or known[0] != today:
            known = self._lent[symbol] = today, self._read(lambda: self._lends(symbol))
        return known[1]

    # --- orders ---------------------------------------------------------------------------------------------------

    def submit(self, request: OrderRequest) -> BrokerOrder:
        """Sends the order, once.

        An answer of the 4xx kind that is not certain, and one that the id is taken, are held against the order of that
        id: if the broker has it as it was asked for, it is ours and its first answer got lost. That also goes for 429,
        which comes before the order is taken as a rule, but from whatever stands in front of the broker.
        """
        if request.quantity < 1:
            raise Refused(f"an order of {request.quantity} shares is none; it was not sent")
        body = _client_request(request)
        try:
            sent = self.connection.once(lambda: self.connection.trading.submit_order(body))
            order = self._order(wire.row(sent))
        except (Unanswered, wire.Unreadable) as error:
            raise FateUnknown(f"order {request.client_order_id}: {error}") from error
        except Answered as answer:
            found = answers.meaning(answer)
            if found == "unknown":
                raise FateUnknown(f"order {request.client_order_id}: {answer}") from answer
            if found == "refused":
                raise Refused(str(answer), answer.code) from answer
            return self._held_against(request, answer)
        if order.client_order_id != request.client_order_id:
            raise FateUnknown(f"order {request.client_order_id}: the answer is about {order.client_order_id}")
        return order

    def cancel(self, client_order_id: str) -> None:
        try:
            order_id = self._ids.get(client_order_id) or self._found(client_order_id)
            self.connection.once(lambda: self.connection.trading.delete(f"/orders/{order_id}"))
        except (Unanswered, wire.Unreadable) as error:
            raise FateUnknown(f"cancel of {client_order_id}: {error}") from error
        except Answered as answer:
            if not 400 <= answer.status < 500 or answer.status in {408, 429}:
                raise FateUnknown(f"cancel of {client_order_id}: {answer}") from answer
            if "pending_cancel" in answer.message:
                return  # asked for already
            raise Refused(f"{client_order_id}: {answer}", answer.code) from answer

    def order(self, client_order_id: str) -> BrokerOrder | None:
        try:
            return self._read(lambda: self._order(wire.row(self._by_name(client_order_id))), pass_on=True)
        except Answered as answer:
            if answers.no_such_order(answer):
                return None
            raise BrokerError(f"order {client_order_id}: {answer}") from answer

    def open_orders(self) -> Sequence[BrokerOrder]:
        return self._read(lambda: [self._order(row) for row in self._list_orders({"status": "open"})])

    def executions(self, since: datetime) -> Sequence[Execution]:
        return self._read(lambda: self._executions(since))

    # --- reports --------------------------------------------------------------------------------------------------

    def updates(self) -> Sequence[OrderUpdate]:
        found: list[OrderUpdate] = []
        for data in self._updates.drain() if self._updates is not None else ():
            try:
                update = wire.update(data)
            except wire.Unreadable as error:
                log.warning("a report that cannot be read: %s", error)
                self._unreadable += 1  # as if it had been missed
                continue
            self._remember(data["order"])
            found.append(update)
        return found

    def link(self) -> Link:
        if self._updates is None:
            return Link(live=False, breaks=0)
        missed = self._began_late and self._updates.connections > 0
        return Link(self._updates.live, self._updates.breaks + self._unreadable + missed)

    @property
    def stream(self) -> TradeUpdates | None:
        """The reports' stream: for whoever compares what has arrived with what was sent."""
        return self._updates

    def close(self) -> None:
        if self._updates is not None:
            self._updates.close()

    def checks(self, symbol: str, *, streams: bool) -> Iterator[Check]:  # noqa: ARG002  # an account is about no symbol
        """For the doctor."""
        yield from checks.permissions(self.connection)
        if streams and self._updates is None:
            where, keys, clock = self.connection.endpoints.updates, self.connection.credentials, self.connection.clock
            yield checks.opens(TradeUpdates(where, keys, clock, None), "trading stream")

    # --- asking ---------------------------------------------------------------------------------------------------

    def _get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        return self.connection.get(self.connection.trading, path, params)

    def _read(self, ask: Callable[[], T], *, pass_on: bool = False) -> T:
        """What was asked for; BrokerError where there is no answer that holds it. pass_on: errors of the server's."""
        try:
            return ask()
        except (Unanswered, wire.Unreadable) as error:
            raise BrokerError(f"Alpaca: {error}") from error
        except Answered as answer:
            if pass_on:
                raise
            raise BrokerError(f"Alpaca: {answer}") from answer

    def _held_against(self, request: OrderRequest, answer: Answered) -> BrokerOrder:
        """The order that has the id, if it is the one that was asked for."""
        name = request.client_order_id
        try:
            found = self.order(name)
        except BrokerError as error:
            raise FateUnknown(f"order {name}: {answer}; and then: {error}") from error
        if found is not None and _same(found, request):
            log.warning("order %s: %s; but the broker has it, %s", name, answer, found.status)
            return found
        if found is None and answers.meaning(answer) == "id_taken":
            raise FateUnknown(f"order {name}: {answer}; but the broker knows no order of that id") from answer
        raise Refused(str(answer), answer.code) from answer

    def _found(self, client_order_id: str) -> str:
        """Alpaca's id of an order. Refused: there is none."""
        try:
            return wire.text(wire.row(self._by_name(client_order_id)), "id")
        except Answered as answer:
            if answers.no_such_order(answer):
                raise Refused(f"there is no order {client_order_id}", answer.code) from answer
            raise

    def _by_name(self, client_order_id: str) -> Any:
        return self._get("/orders:by_client_order_id", {"client_order_id": client_order_id})

    def _lends(self, symbol: str) -> bool | None:
        try:
            return wire.lends(wire.row(self._get(f"/assets/{symbol}")))
        except Answered as answer:
            if answer.status == 404:
                return False
            raise

    def _list_orders(self, params: Mapping[str, Any]) -> list[wire.Row]:
        """All orders, oldest first. There is no page token: the next page begins with what the last one ended with."""
        found: dict[str, wire.Row] = {}
        more = {**params, "limit": _ORDERS_A_PAGE, "direction": "asc", "nested": "false"}
        while True:
            page = wire.rows(self._get("/orders", more))
            new = {wire.text(row, "id"): row for row in page}
            grown = new.keys() - found.keys()
            found |= new
            if len(page) < _ORDERS_A_PAGE or not grown:
                return list(found.values())
            more["after"] = _stamp(wire.moment(page[-1], "submitted_at", "created_at") - _INSTANT)

    def _executions(self, since: datetime) -> list[Execution]:
        fills: dict[str, wire.Row] = {}
        # `after` leaves out what is at the very time, and the service's own times have three decimals
        params = {"after": _stamp(since - timedelta(seconds=1)), "direction": "asc", "page_size": _FILLS_A_PAGE}
        while True:
            page = wire.rows(self._get("/account/activities/FILL", params))
            new = {wire.text(row, "id"): row for row in page}
            grown = new.keys() - fills.keys()
            fills |= new
            if len(page) < _FILLS_A_PAGE or not grown:
                break
            params["page_token"] = wire.text(page[-1], "id")
        self._learn_names({wire.text(row, "order_id") for row in fills.values()}, since)
        found = [wire.activity(row, self._names[wire.text(row, "order_id")]) for row in fills.values()]
        return sorted((fill for fill in found if fill.at >= since), key=lambda fill: fill.at)

    def _learn_names(self, order_ids: Iterable[str], since: datetime) -> None:
        """The client order ids of these orders, which activities do not tell."""
        unknown = {order_id for order_id in order_ids if order_id not in self._names}
        if len(unknown) > _FEW:
            for row in self._list_orders({"status": "all", "after": _stamp(since - timedelta(days=1))}):
                self._remember(row)
            unknown -= self._names.keys()
        for order_id in sorted(unknown):
            self._remember(wire.row(self._get(f"/orders/{order_id}")))

    def _order(self, row: wire.Row) -> BrokerOrder:
        self._remember(row)
        return wire.order(row)

    def _remember(self, row: wire.Row) -> None:
        order_id, name = wire.text(row, "id"), wire.text(row, "client_order_id")
        self._ids[name], self._names[order_id] = order_id, name


def _same(order: BrokerOrder, request: OrderRequest) -> bool:
    """Whether the order is what the request asked for."""
    asked = (request.symbol, request.side, request.quantity, request.type, request.stop_price)
    return asked == (order.symbol, order.side, order.quantity, order.type, order.stop_price)


def _client_request(request: OrderRequest) -> ClientRequest:
    """The order as the official client sends it."""
    from alpaca.trading import requests as client

    common: dict[str, Any] = {
        "symbol": request.symbol,
        "qty": request.quantity,
        "side": request.side,
        "time_in_force": request.time_in_force,
        "client_order_id": request.client_order_id,
        "position_intent": request.intent,
    }
    if request.type == "stop":
        if request.stop_price is None:
            raise ValueError(f"{request.client_order_id} is a stop order without a price")
        return client.StopOrderRequest(**common, stop_price=float(request.stop_price))
    return client.MarketOrderRequest(**common)


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="microseconds")

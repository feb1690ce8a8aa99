"""Orders: an intent becomes durable, then an order, then fills. What the broker says goes into the journal first."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from autotrader.clock import NEW_YORK
from autotrader.core import events as ev
from autotrader.core.book import Book
from autotrader.journal.store import Journal
from autotrader.market.broker import (
    Broker,
    BrokerOrder,
    Execution,
    FateUnknown,
    OrderRequest,
    PositionIntent,
    Refused,
    Side,
    TimeInForce,
)
from autotrader.points import reached

log = logging.getLogger("autotrader.orders")

Apply = Callable[[ev.Event], None]

_SIDES: dict[tuple[str, str], tuple[Side, PositionIntent]] = {
    ("long", "entry"): ("buy", "buy_to_open"),
    ("long", "exit"): ("sell", "sell_to_close"),
    ("short", "entry"): ("sell", "sell_to_open"),
    ("short", "exit"): ("buy", "buy_to_close"),
}

# How often an order whose fate is unknown is looked up without a trace before it is given up (an entry) or sent again
# under the same id (an exit: the broker refuses an id it knows). Those of one moment count once.
LOOK_UPS = 3
LOOK_UP_EVERY = timedelta(seconds=45)


def order_request(ordered: ev.Ordered, time_in_force: TimeInForce = "day") -> OrderRequest:
    """What the broker is asked for an intent."""
    side, intent = _SIDES[ordered.direction, ordered.leg]
    return OrderRequest(ordered.order_id, ordered.symbol, side, ordered.quantity, intent, time_in_force=time_in_force)


class OrderManager:
    """Sends orders and takes in what becomes of them. apply: hands an event to whoever keeps the book."""

    def __init__(self, broker: Broker, journal: Journal, book: Book, apply: Apply) -> None:
        self._broker = broker
        self._journal = journal
        self._book = book
        self._apply = apply
        self._unknown: dict[str, list[datetime]] = {}  # order id -> look-ups without a trace

    def send(self, ordered: ev.Ordered, time_in_force: TimeInForce = "day") -> None:
        """Makes the intent durable, then sends its order. Everything journaled before it is durable with it."""
        self._keep(ordered)
        self._journal.commit()
        self._submit(ordered, time_in_force)

    def cancel(self, order_id: str) -> None:
        """Asks for the end of an order; `sync` learns whether it came."""
        try:
            reached("broker.cancel.before")
            self._broker.cancel(order_id)
            reached("broker.cancel.after")
        except Refused as error:
            log.info("%s cannot be canceled, it is final: %s", order_id, error)
        except FateUnknown:
            log.warning("%s: nobody knows whether the cancel arrived; it is looked up", order_id)

    def sync(self, at: datetime) -> list[ev.Event]:
        """Takes in the broker's updates and looks up what is unknown. Gives the events that were new."""
        taken: list[ev.Event] = []
        for update in self._broker.updates():
            if update.order.client_order_id in self._book.orders:
                taken += self._take(update.at, update.order, update.execution)
        for order_id in list(self._unknown):
            taken += self._look_up(order_id, at)
        return taken

    def poll(self, at: datetime) -> list[ev.Event]:
        """Asks the broker about every live order: for what updates have missed."""
        taken: list[ev.Event] = []
        for order_id, order in list(self._book.orders.items()):
            if order_id not in self._unknown:
                known = self._broker.order(order_id)
                if known is not None and (known.final or known.filled_quantity > order.filled):
                    taken += self._catch_up(at, known)
        return taken

    # --- sending ------------------------------------------------------------------------------------------------

    def _submit(self, ordered: ev.Ordered, time_in_force: TimeInForce) -> None:
        request = order_request(ordered, time_in_force)
        try:
            reached("broker.submit.before")
            order = self._broker.submit(request)
            reached("broker.submit.after")
        except Refused as error:
            log.warning("%s refused: %s", ordered.order_id, error)
            self._keep(ev.OrderEnded(ordered.at, ordered.session, ordered.order_id, "rejected", str(error)))
        except FateUnknown as error:
            log.warning("%s: fate unknown (%s); it is looked up, not sent again", ordered.order_id, error)
            self._unknown[ordered.order_id] = []
        else:
            log.info("%s sent: %s %d %s", ordered.order_id, request.side, ordered.quantity, order.status)

    def _look_up(self, order_id: str, at: datetime) -> list[ev.Event]:
        order = self._book.orders.get(order_id)
        if order is None:
            del self._unknown[order_id]
            return []
        known = self._broker.order(order_id)
        if known is not None:
            del self._unknown[order_id]
            log.info("%s: found at the broker, %s", order_id, known.status)
            return self._catch_up(at, known)
        looked = self._unknown[order_id]
        if not looked or at - looked[-1] >= LOOK_UP_EVERY:
            looked.append(at)
        if len(looked) < LOOK_UPS:
            return []
        del self._unknown[order_id]
        if order.ordered.leg == "exit":
            log.warning("%s: no trace at the broker; sent again under the same id", order_id)
            self._submit(order.ordered, "day")
            return []
        log.warning("%s: no trace at the broker; the entry is given up", order_id)
        ended = ev.OrderEnded(at, order.ordered.session, order_id, "canceled", "no trace at the broker")
        self._keep(ended)
        return [ended]

    # --- taking in ----------------------------------------------------------------------------------------------

    def _take(self, at: datetime, order: BrokerOrder, execution: Execution | None) -> list[ev.Event]:
        """An update: its fill if it is the next one, else all that the order's executions say."""
        mine = self._book.orders[order.client_order_id]
        if execution is not None:
            if execution.cumulative <= mine.filled:
                return []  # seen before
            if execution.cumulative - execution.quantity != mine.filled:
                return self._catch_up(at, order)  # one before it was missed
            filled = self._filled(execution)
            return [filled, *self._end(at, order)]
        return self._catch_up(at, order) if order.final or order.filled_quantity > mine.filled else []

    def _catch_up(self, at: datetime, order: BrokerOrder) -> list[ev.Event]:
        """All fills of an order that the book does not have, then its end."""
        mine = self._book.orders[order.client_order_id]
        taken: list[ev.Event] = []
        if order.filled_quantity > mine.filled:
            for execution in self._broker.executions(order.submitted_at):
                if execution.client_order_id == order.client_order_id and execution.cumulative > mine.filled:
                    taken.append(self._filled(execution))
        return [*taken, *self._end(at, order)]

    def _filled(self, execution: Execution) -> ev.Filled:
        # the session it happened in: an exit ordered at the close fills at the next open, and blocks re-entry there
        event = ev.Filled(
            execution.at, execution.at.astimezone(NEW_YORK).date(), execution.client_order_id, execution.quantity,
            float(execution.price), execution.cumulative, float(execution.commission),
        )  # fmt: skip
        self._keep(event)
        return event

    def _end(self, at: datetime, order: BrokerOrder) -> list[ev.Event]:
        mine = self._book.orders.get(order.client_order_id)
        if mine is None or not order.final or order.filled_quantity > mine.filled:
            return []
        assert order.status in ("filled", "canceled", "expired", "rejected")
        ended = ev.OrderEnded(at, mine.ordered.session, order.client_order_id, order.status, order.reason)
        self._keep(ended)
        return [ended]

    def _keep(self, event: ev.Event) -> None:
        self._journal.append(event)
        self._apply(event)

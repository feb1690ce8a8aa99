"""Orders: an intent becomes durable, then an order, then fills. What the broker says goes into the journal first.

What is kept here in memory alone (whose fate is unknown, what is to end, what is tried again) may be lost at any
moment: `recover` finds it again from the book and the broker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from autotrader.clock import NEW_YORK
from autotrader.core import events as ev
from autotrader.core.book import Book
from autotrader.core.orderid import next_attempt
from autotrader.execution.refusals import meaning
from autotrader.journal.store import Journal
from autotrader.market.broker import (
    Broker,
    BrokerError,
    BrokerOrder,
    Execution,
    OrderRequest,
    PositionIntent,
    Refused,
    Side,
)
from autotrader.points import reached

log = logging.getLogger("autotrader.orders")

Apply = Callable[[ev.Event], None]
# Tells people: severity, subject, what happened, what was done, what to do.
Tell = Callable[[ev.Severity, str, str, str, str], None]

_SIDES: dict[tuple[str, str], tuple[Side, PositionIntent]] = {
    ("long", "entry"): ("buy", "buy_to_open"),
    ("long", "exit"): ("sell", "sell_to_close"),
    ("long", "stop"): ("sell", "sell_to_close"),
    ("short", "entry"): ("sell", "sell_to_open"),
    ("short", "exit"): ("buy", "buy_to_close"),
    ("short", "stop"): ("buy", "buy_to_close"),
}

# How often an order whose fate is unknown is looked up without a trace before it is given up (an entry) or sent again
# under the same id (an exit, a stop: the broker refuses an id it knows). Those of one moment count once.
LOOK_UPS = 3
LOOK_UP_EVERY = timedelta(seconds=45)
ASK_AGAIN = timedelta(seconds=10)  # a cancel that nobody confirmed is asked for again
SILENCE = timedelta(seconds=5)  # an order that was not heard of for so long is asked about; resting stops more rarely
LISTED_WITHIN = timedelta(minutes=2)  # how long the broker's list of positions may lack a fill it told of
STOP_SILENCE = timedelta(seconds=60)
FRESH = timedelta(seconds=60)  # an entry that a crash kept from being sent is still what was decided for so long


def order_request(ordered: ev.Ordered) -> OrderRequest:
    """What the broker is asked for an intent."""
    side, intent = _SIDES[ordered.direction, ordered.leg]
    return OrderRequest(
        ordered.order_id, ordered.symbol, side, ordered.quantity, intent,
        type="market" if ordered.stop_price is None else "stop", time_in_force=ordered.order,
        stop_price=None if ordered.stop_price is None else Decimal(repr(ordered.stop_price)),
    )  # fmt: skip


def log_only(severity: ev.Severity, subject: str, happened: str, done: str, todo: str) -> None:
    """Tells people through the log."""
    level = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}[severity]
    log.log(level, "%s: %s; %s; to do: %s", subject, happened, done, todo or "nothing")


@dataclass(frozen=True, slots=True)
class EntryTerms:
    """How entries are sent. opens_until: the last moment at which the current session's may be, None: none may.

    retry_seconds: the waits before an entry that was refused, but may be taken later, is tried again.
    """

    opens_until: Callable[[], datetime | None]
    retry_seconds: Sequence[float] = ()


# How long an exit or a stop waits after each refusal in a row; the last one counts for all after it.
HOLDS: dict[ev.Leg, Sequence[timedelta]] = {
    "exit": [timedelta(seconds=seconds) for seconds in (5, 10, 30, 60)],
    "stop": [timedelta(seconds=60), timedelta(seconds=300)],
}


@dataclass(frozen=True, slots=True)
class _Hold:
    until: datetime
    refusals: int


@dataclass(frozen=True, slots=True)
class _Retry:
    due: datetime
    ordered: ev.Ordered
    tries: int


class OrderManager:
    """Sends orders and takes in what becomes of them. apply: hands an event to whoever keeps the book."""

    def __init__(
        self,
        broker: Broker,
        journal: Journal,
        book: Book,
        apply: Apply,
        terms: EntryTerms | None = None,
        tell: Tell = log_only,
    ) -> None:
        """terms: None: entries may be sent at any time and are not tried again."""
        self._broker = broker
        self._journal = journal
        self._book = book
        self._apply = apply
        self._terms = terms
        self._tell = tell
        self._unknown: dict[str, list[datetime]] = {}  # order id -> look-ups without a trace
        self._ending: dict[str, datetime] = {}  # order id -> when its end was last asked for
        self._retries: list[_Retry] = []
        self._asked: dict[str, datetime] = {}  # order id -> when it was asked about, of the latest moment
        self._heard: dict[str, datetime] = {}  # order id -> when the broker last said something of it
        self._tries: dict[str, int] = {}  # order id of a retried entry -> which retry it is
        self._holds: dict[tuple[str, ev.Leg], _Hold] = {}
        self._fills: list[tuple[datetime, str, int]] = []  # when a fill was heard of, symbol, shares, signed
        self._refused_again: set[str] = set()  # order ids that were refused when they were sent once more

    # --- what is wanted -----------------------------------------------------------------------------------------

    def send(self, orders: Sequence[ev.Ordered], *others: ev.Event) -> None:
        """Makes the intents durable, together with everything journaled before, then sends their orders in turn.

        others: events that become durable with them. A crash in between leaves orders that were decided and not sent,
        which `recover` sends; never one that was sent and not decided.
        """
        for event in (*orders, *others):
            self.keep(event)
        self._journal.commit()
        for ordered in orders:
            self._submit(ordered)

    def end(self, order_id: str, at: datetime) -> None:
        """Asks for the end of an order, again and again until it is final; `sync` learns when it is."""
        asked = self._ending.get(order_id)
        if order_id not in self._book.orders or (asked is not None and at - asked < ASK_AGAIN):
            return
        self._ending[order_id] = at
        if order_id in self._unknown:
            return  # it may not even be there; when it is found, its end is asked for
        self._journal.commit()
        try:
            reached("broker.cancel.before")
            self._broker.cancel(order_id)
            reached("broker.cancel.after")
        except Refused as error:  # it is final, or the broker does not know it: either way it is asked about
            log.info("%s cannot be canceled: %s", order_id, error)
            self._heard.pop(order_id, None)
        except BrokerError as error:
            log.warning("%s: nobody knows whether the cancel arrived (%s); it is asked for again", order_id, error)

    # --- what became of it --------------------------------------------------------------------------------------

    def sync(self, at: datetime) -> list[ev.Event]:
        """Takes in the broker's updates, asks about what is unknown or silent, and carries on with what is due.

        Gives the events that were new. What the broker does not answer is asked again the next time.
        """
        taken: list[ev.Event] = []
        try:
            updates = self._broker.updates()
        except BrokerError as error:
            log.warning("no updates from the broker: %s", error)
            updates = ()
        for update in updates:
            taken += self._take(at, update.order, update.execution)
        for order_id in list(self._unknown):
            taken += self._look_up(order_id, at)
        taken += self._ask_silent(at)
        for order_id in list(self._ending):
            if order_id in self._book.orders:
                self.end(order_id, at)
            else:
                del self._ending[order_id]
        self._retry(at)
        return taken

    def poll(self, at: datetime) -> list[ev.Event]:
        """Asks the broker about every live order: for what updates have missed. BrokerError where it cannot say."""
        taken: list[ev.Event] = []
        for order_id in list(self._book.orders):
            asked = self._asked.get(order_id) == at  # in this very moment, since it had been silent
            if order_id in self._book.orders and order_id not in self._unknown and not asked:
                taken += self._ask(order_id, at)
        return taken

    def recover(self, at: datetime) -> list[ev.Event]:
        """After a start: what the journal calls live is compared with the broker, order by order.

        One that the broker does not know was decided and not sent, or its request is still under way. An id is only
        ever taken once, so sending it again is safe: exits and stops are, and entries that are still fresh; others
        are looked up a while before they are given up. BrokerError where the broker cannot say.
        """
        taken: list[ev.Event] = []
        live = {order.client_order_id: order for order in self._broker.open_orders()} if self._book.orders else {}
        for order_id, order in list(self._book.orders.items()):
            ordered = order.ordered
            known = live.get(order_id) or self._broker.order(order_id)
            if known is not None:
                log.info("%s: found at the broker, %s", order_id, known.status)
                self._asked[order_id] = at
                taken += self._hear(at, known)
            elif ordered.leg != "entry" or (at - ordered.at <= FRESH and self._may_open(ordered, at)):
                log.warning("%s: decided before the start and not at the broker; sent under the same id", order_id)
                self._submit(ordered, again=True)
            else:
                log.warning("%s: decided before the start and not at the broker; it is looked up", order_id)
                self._unknown[order_id] = []
        self._journal.commit()
        return taken

    def adopt(self, at: datetime, order: BrokerOrder) -> list[ev.Event]:
        """Takes in an order of ours that the broker has and the book has given up. False reports change nothing."""
        return self._hear(at, order)

    def end_orphan(self, order_id: str) -> None:
        """Asks for the end of an order under our tag that the journal does not know: nobody decided it."""
        log.error("%s is at the broker and not in the journal; it is canceled", order_id)
        try:
            reached("broker.cancel.before")
            self._broker.cancel(order_id)
            reached("broker.cancel.after")
        except BrokerError as error:
            log.warning("%s: %s", order_id, error)

    def on_hold(self, at: datetime) -> set[tuple[str, ev.Leg]]:
        """Symbols and legs whose last order was refused a moment ago: they are not sent yet."""
        return {key for key, hold in self._holds.items() if at < hold.until}

    def before_fills(self, at: datetime) -> dict[str, set[int]]:
        """By symbol, the shares that were held before each of the fills of a moment ago, signed."""
        self._fills = [fill for fill in self._fills if at - fill[0] < LISTED_WITHIN]
        held = {symbol: held.sign * held.quantity for symbol, held in self._book.positions.items()}
        found: dict[str, set[int]] = {}
        for _, symbol, shares in reversed(self._fills):
            held[symbol] = held.get(symbol, 0) - shares
            found.setdefault(symbol, set()).add(held[symbol])
        return found

    def unsettled(self) -> bool:
        """Whether the fate of something that was asked for is still open."""
        return bool(self._unknown or self._ending or self._retries)

    # --- sending ------------------------------------------------------------------------------------------------

    def _submit(self, ordered: ev.Ordered, *, again: bool = False) -> None:
        """again: it may have been sent before, so that no answer but the order itself proves anything."""
        order_id = ordered.order_id
        self._journal.commit()  # what is known stands on the disk before anything is asked for
        try:
            reached("broker.submit.before")
            order = self._broker.submit(order_request(ordered))
            reached("broker.submit.after")
        except Refused as error:
            if again:  # its first copy may hold the very shares that this one is refused for
                log.warning("%s refused: %s; its first copy is looked for", order_id, error)
                self._unknown[order_id] = []
                self._refused_again.add(order_id)
            else:
                self._refused(ordered, error)
        except BrokerError as error:
            log.warning("%s: fate unknown (%s); it is looked up, not sent again", order_id, error)
            self._unknown[order_id] = []
        else:
            self._heard[order_id] = ordered.at
            log.info("%s sent: %s %d, %s", order_id, ordered.leg, ordered.quantity, order.status)

    def _refused(self, ordered: ev.Ordered, error: Refused) -> None:
        """The broker's no: to an id it knows, for now, or for good."""
        means = meaning(error)
        if means == "exists":
            log.warning("%s is at the broker already; it is looked up", ordered.order_id)
            self._unknown[ordered.order_id] = []
            return
        self.keep(ev.OrderEnded(ordered.at, ordered.session, ordered.order_id, "rejected", str(error)))
        self._journal.commit()
        if ordered.leg == "entry":
            log.warning("%s refused: %s", ordered.order_id, error)
            if means == "passes":
                self._try_later(ordered)
            return
        if means == "day_only" and ordered.order == "gtc":  # better one that ends with the session than none
            log.warning("%s refused: %s; sent as a day order", ordered.order_id, error)
            self.send([replace(ordered, order_id=next_attempt(ordered.order_id), order="day")])
            return
        self._alarm(ordered, f"the {ordered.leg} order was refused: {error}", ordered.at)

    def _try_later(self, ordered: ev.Ordered) -> None:
        tries = self._tries.pop(ordered.order_id, 0)
        waits = self._terms.retry_seconds if self._terms is not None else ()
        if tries >= len(waits):
            log.warning("%s is given up after %d retries", ordered.order_id, tries)
            return
        again = replace(ordered, order_id=next_attempt(ordered.order_id))
        self._retries.append(_Retry(ordered.at + timedelta(seconds=waits[tries]), again, tries + 1))

    def _retry(self, at: datetime) -> None:
        """Entries that were refused for the time being, while their window and their session last."""
        due = [item for item in self._retries if item.due <= at]
        self._retries = [item for item in self._retries if item.due > at]
        for item in due:
            ordered = replace(item.ordered, at=at)
            free = not self._book.live_orders(ordered.symbol) and ordered.symbol not in self._book.positions
            if ordered.session == self._book.session and free and self._may_open(ordered, at):
                self._tries[ordered.order_id] = item.tries
                self.send([ordered])

    def forget_retries(self) -> None:
        """Drops the entries that wait to be tried again: their places are given to others now."""
        self._retries.clear()

    def _may_open(self, ordered: ev.Ordered, at: datetime) -> bool:
        if self._terms is None:
            return True
        until = self._terms.opens_until()
        return until is not None and at < until and ordered.session == self._book.session

    def _alarm(self, ordered: ev.Ordered, happened: str, at: datetime) -> None:
        if ordered.leg == "entry":
            return  # it is skipped; nothing is at stake
        key, waits = (ordered.symbol, ordered.leg), HOLDS[ordered.leg]
        hold = self._holds.get(key)
        refusals = 1 if hold is None else hold.refusals + 1
        self._holds[key] = _Hold(at + waits[min(refusals, len(waits)) - 1], refusals)
        kind = "exit" if ordered.leg == "exit" else "protective stop"
        self._tell("critical" if ordered.leg == "exit" else "warning", ordered.symbol, happened,
                   f"the {kind} is tried again", "see why the broker refuses it; close the position there by hand "
                   "if it does not pass, then run `autotrader reconcile`")  # fmt: skip

    # --- asking -------------------------------------------------------------------------------------------------

    def _ask_silent(self, at: datetime) -> list[ev.Event]:
        taken: list[ev.Event] = []
        for order_id, order in list(self._book.orders.items()):
            patience = STOP_SILENCE if order.ordered.leg == "stop" and order_id not in self._ending else SILENCE
            heard = self._heard.get(order_id)
            if (
                order_id in self._book.orders
                and order_id not in self._unknown
                and (heard is None or at - heard >= patience)
            ):
                try:
                    taken += self._ask(order_id, at)
                except BrokerError as error:
                    log.warning("%s: the broker does not answer: %s", order_id, error)
        return taken

    def _ask(self, order_id: str, at: datetime) -> list[ev.Event]:
        known = self._broker.order(order_id)
        self._asked = {name: when for name, when in self._asked.items() if when == at} | {order_id: at}
        if known is None:
            log.warning("%s: the broker does not know it (yet); it is looked up", order_id)
            self._unknown[order_id] = [at]
            return []
        taken = self._hear(at, known)
        if taken:
            log.info("%s: learned by asking, no update had told of it", order_id)
        return taken

    def _look_up(self, order_id: str, at: datetime) -> list[ev.Event]:
        order = self._book.orders.get(order_id)
        if order is None:
            del self._unknown[order_id]
            return []
        try:
            known = self._broker.order(order_id)
        except BrokerError as error:
            log.warning("%s: the broker does not answer: %s", order_id, error)
            return []
        if known is not None:
            return self._hear(at, known)
        looked = self._unknown[order_id]
        if not looked or at - looked[-1] >= LOOK_UP_EVERY:
            looked.append(at)
        if len(looked) < LOOK_UPS:
            return []
        del self._unknown[order_id]
        given_up = order.ordered.leg == "entry" or order_id in self._ending or order_id in self._refused_again
        if not given_up:
            log.warning("%s: no trace at the broker; sent again under the same id", order_id)
            self._submit(order.ordered, again=True)
            return []
        if order_id in self._refused_again:
            self._refused_again.discard(order_id)
            self._alarm(order.ordered, "the order was lost and then refused", at)
        return [self._give_up(order_id, at, "no trace at the broker")]

    def _give_up(self, order_id: str, at: datetime, why: str) -> ev.OrderEnded:
        log.warning("%s: %s; it is given up", order_id, why)
        ended = ev.OrderEnded(at, self._book.orders[order_id].ordered.session, order_id, "canceled", why)
        self.keep(ended)
        return ended

    # --- taking in ----------------------------------------------------------------------------------------------

    def _take(self, at: datetime, order: BrokerOrder, execution: Execution | None) -> list[ev.Event]:
        """An update: its fill if it is the next one, else all that the order's executions say."""
        mine = self._book.orders.get(order.client_order_id)
        if mine is not None and execution is not None:
            self._heard[order.client_order_id] = at
            self._found(order)
            if execution.cumulative <= mine.filled:
                log.info("%s: told again of %d filled: counted once", order.client_order_id, execution.cumulative)
                return []
            if execution.cumulative - execution.quantity == mine.filled:
                return [self._filled(at, execution), *self._finish(at, order)]
        try:
            if mine is None and order.client_order_id in self._book.ended:
                if order.final and order.filled_quantity <= self._book.ended[order.client_order_id].filled:
                    log.info("%s: told again that it is %s: counted once", order.client_order_id, order.status)
                    return []
                log.info("%s: an update says %s, which may be older than what is known; asked", order.client_order_id,
                         order.status)  # fmt: skip
                now = self._broker.order(order.client_order_id)
                return [] if now is None else self._hear(at, now)
            if mine is None:
                log.info("%s: told late that it is %s: nothing is changed", order.client_order_id, order.status)
            elif order.filled_quantity > mine.filled:
                log.info("%s: an update before this one is missing; its fills are asked for", order.client_order_id)
            return self._hear(at, order)
        except BrokerError as error:
            log.warning("%s: its fills cannot be had now: %s", order.client_order_id, error)
            self._heard.pop(order.client_order_id, None)
            return []

    def _hear(self, at: datetime, order: BrokerOrder) -> list[ev.Event]:
        """What the broker says of an order: its fills that the book does not have, and its end."""
        order_id = order.client_order_id
        taken: list[ev.Event] = []
        given_up = self._book.ended.get(order_id)
        if given_up is not None and (not order.final or order.filled_quantity > given_up.filled):
            log.warning("%s was given up and is at the broker after all, %s", order_id, order.status)
            if not self._book.may_return(order_id):
                return []  # it is not what is held now: positions will disagree, and a person is asked
            revived = ev.Revived(at, given_up.ordered.session, order_id)
            self.keep(revived)
            taken.append(revived)
            if not order.final:
                self._ending[order_id] = at - ASK_AGAIN  # nobody counts on it any more
        mine = self._book.orders.get(order_id)
        if mine is None:
            return taken
        self._heard[order_id] = at
        self._found(order)
        if order.filled_quantity > mine.filled:
            for execution in self._broker.executions(order.submitted_at):
                if execution.client_order_id == order_id and execution.cumulative > mine.filled:
                    taken.append(self._filled(at, execution))
        return [*taken, *self._finish(at, order)]

    def _found(self, order: BrokerOrder) -> None:
        if self._unknown.pop(order.client_order_id, None) is not None:
            log.info("%s: found at the broker, %s", order.client_order_id, order.status)

    def _filled(self, at: datetime, execution: Execution) -> ev.Filled:
        # the session it happened in: an exit ordered at the close fills at the next open, and blocks re-entry there
        event = ev.Filled(
            execution.at, execution.at.astimezone(NEW_YORK).date(), execution.client_order_id, execution.quantity,
            float(execution.price), execution.cumulative, float(execution.commission),
        )  # fmt: skip
        ordered = self._book.orders[execution.client_order_id].ordered
        self._holds.pop((ordered.symbol, ordered.leg), None)
        held = self._book.positions.get(ordered.symbol)
        if held is not None and ordered.leg != "entry":  # its bars are counted up to here, in the journal too
            seen = (held.best_price, held.worst_price, held.bars_held)
            self.keep(ev.Marked(event.at, event.session, held.symbol, *seen))
        self.keep(event)
        side, _ = _SIDES[ordered.direction, ordered.leg]
        self._fills.append((at, ordered.symbol, event.quantity if side == "buy" else -event.quantity))
        log.info("%s: %d filled at %s, %d in all", execution.client_order_id, execution.quantity, execution.price,
                 execution.cumulative)  # fmt: skip
        return event

    def _finish(self, at: datetime, order: BrokerOrder) -> list[ev.Event]:
        mine = self._book.orders.get(order.client_order_id)
        if mine is None or not order.final or order.filled_quantity > mine.filled:
            return []
        assert order.status in ("filled", "canceled", "expired", "rejected")
        ended = ev.OrderEnded(at, mine.ordered.session, order.client_order_id, order.status, order.reason)
        self.keep(ended)
        log.info("%s: %s%s", order.client_order_id, order.status, f" ({order.reason})" if order.reason else "")
        if order.status == "rejected" and mine.ordered.leg == "entry":
            log.warning("%s was taken and then rejected: it is skipped", order.client_order_id)
        elif order.status == "rejected":
            leg, reason = mine.ordered.leg, order.reason or "no reason given"
            self._alarm(mine.ordered, f"the {leg} order was rejected: {reason}", at)
        return [ended]

    def keep(self, event: ev.Event) -> None:
        """Journals an event and hands it to the book."""
        self._journal.append(event)
        self._apply(event)

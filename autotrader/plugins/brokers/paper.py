"""The paper broker: an exchange in memory behind the broker's interface, and a seam through which it can misbehave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from hashlib import blake2b
from typing import Literal, Protocol, get_args

from autotrader.clock import Calendar, Clock
from autotrader.market.broker import (
    BrokerAccount,
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
from autotrader.market.exchange import Exchange, unlimited

FaultKind = Literal[
    "refuse",  # submit: no such order, though nothing is wrong with it
    "refuse_for_now",  # submit: the same, in words that say it may pass
    "reject",  # submit: taken, and rejected at once
    "delay_acknowledgement",  # submit: neither looked up, listed nor reported for a while; its fills are executions
    "unknown_lost",  # submit: no answer, and no order
    "unknown_accepted",  # submit: no answer, but an order
    "late_fill",  # not at this bar
    "partial_fill",  # half of what is left
    "fill_after_cancel",  # cancel: the market's next word comes before the end
    "forget_update",  # never reported
    "duplicate_update",  # reported twice
    "reorder_update",  # reported with the next batch, after newer ones
]
KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

ACKNOWLEDGEMENT_DELAY = timedelta(seconds=90)


class Faults(Protocol):
    """What goes wrong. Asked wherever something could, each time anew."""

    def strikes(self, kind: FaultKind, client_order_id: str) -> bool: ...


class NoFaults:
    """Nothing goes wrong."""

    def strikes(self, kind: FaultKind, client_order_id: str) -> bool:  # noqa: ARG002
        return False


class SeededFaults:
    """Each kind at a rate, decided by seed, kind, order and how often that was asked: the same in every run.

    counts: how often each kind struck.
    """

    def __init__(self, seed: int, rate: float = 0.02, kinds: Collection[FaultKind] = KINDS) -> None:
        self.counts: Counter[FaultKind] = Counter()
        self._seed = seed
        self._rate = rate
        self._kinds = frozenset(kinds)
        self._asked: Counter[tuple[FaultKind, str]] = Counter()

    def strikes(self, kind: FaultKind, client_order_id: str) -> bool:
        if kind not in self._kinds:
            return False
        self._asked[kind, client_order_id] += 1
        text = f"{self._seed}/{kind}/{client_order_id}/{self._asked[kind, client_order_id]}"
        drawn = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
        struck = drawn < self._rate
        self.counts[kind] += struck
        return struck


class PaperBroker:
    """A broker over an exchange that somebody else moves on. faults: none by default."""

    name = "paper"
    is_live = False

    def __init__(self, exchange: Exchange, clock: Clock, faults: Faults | None = None) -> None:
        self._exchange = exchange
        self._clock = clock
        self._faults = faults or NoFaults()
        self._hidden_until: dict[str, datetime] = {}
        self._reordered: list[OrderUpdate] = []
        self._held_back: list[OrderUpdate] = []
        self._liquidity = exchange.liquidity
        exchange.liquidity = self._fills_now

    def time(self) -> datetime:
        return self._clock.now()

    def hours(self, first: date, last: date) -> Sequence[SessionHours]:
        calendar = Calendar()
        days = calendar.sessions(first, last)
        return [SessionHours(day, calendar.opens_at(day), calendar.closes_at(day)) for day in days]

    def account(self) -> BrokerAccount:
        return self._exchange.account()

    def positions(self) -> Sequence[BrokerPosition]:
        return self._exchange.positions()

    def shortable(self, symbol: str) -> bool | None:
        return self._exchange.shortable(symbol)

    def submit(self, request: OrderRequest) -> BrokerOrder:
        now, name = self._clock.now(), request.client_order_id
        if self._faults.strikes("refuse", name):
            raise Refused("order refused for no reason (fault)", "40310000")
        if self._faults.strikes("refuse_for_now", name):
            raise Refused(f'market order rejected due to trading halt on symbol: "{request.symbol}"', "42210000")
        if self._faults.strikes("unknown_lost", name):
            raise FateUnknown(f"no answer to order {name}")
        order = self._exchange.submit(request, now)
        if self._faults.strikes("delay_acknowledgement", name):
            self._hidden_until[name] = now + ACKNOWLEDGEMENT_DELAY
        if self._faults.strikes("reject", name):
            self._exchange.reject(name, now, "rejected for no reason (fault)")
        if self._faults.strikes("unknown_accepted", name):
            raise FateUnknown(f"no answer to order {name}")
        return order

    def cancel(self, client_order_id: str) -> None:
        late = self._faults.strikes("fill_after_cancel", client_order_id)
        self._exchange.cancel(client_order_id, self._clock.now(), too_late=late)

    def order(self, client_order_id: str) -> BrokerOrder | None:
        return None if self._hidden(client_order_id) else self._exchange.order(client_order_id)

    def open_orders(self) -> Sequence[BrokerOrder]:
        return [order for order in self._exchange.open_orders() if not self._hidden(order.client_order_id)]

    def executions(self, since: datetime) -> Sequence[Execution]:
        return self._exchange.executions(since)

    def updates(self) -> Sequence[OrderUpdate]:
        waiting = [*self._held_back, *self._exchange.drain_updates()]
        self._held_back = [update for update in waiting if self._hidden(update.order.client_order_id)]
        told: list[OrderUpdate] = []
        after, self._reordered = self._reordered, []
        for update in waiting:
            name = update.order.client_order_id
            if self._hidden(name) or self._faults.strikes("forget_update", name):
                continue
            if self._faults.strikes("reorder_update", name):
                self._reordered.append(update)
                continue
            told.append(update)
            if self._faults.strikes("duplicate_update", name):
                told.append(update)
        return [*told, *after]

    def link(self) -> Link:
        return Link(live=True, breaks=0)

    def close(self) -> None:
        pass

    def _hidden(self, client_order_id: str) -> bool:
        until = self._hidden_until.get(client_order_id)
        return until is not None and self._clock.now() < until

    def _fills_now(self, order: BrokerOrder) -> int:
        quantity = self._liquidity(order)
        if self._faults.strikes("late_fill", order.client_order_id):
            return 0
        if quantity > 1 and self._faults.strikes("partial_fill", order.client_order_id):
            return min(quantity, unlimited(order)) // 2
        return quantity

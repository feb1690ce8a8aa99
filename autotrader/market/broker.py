"""What a broker must offer; plugins/brokers/contract.py holds any implementation to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from autotrader.clock import Calendar, Clock, SystemClock
from autotrader.errors import AutotraderError

if TYPE_CHECKING:
    from autotrader.secrets import Secrets
    from autotrader.settings import SystemSettings

Side = Literal["buy", "sell"]
PositionIntent = Literal["buy_to_open", "sell_to_close", "sell_to_open", "buy_to_close"]
OrderType = Literal["market", "limit", "stop"]
TimeInForce = Literal["day", "opg", "gtc"]
OrderStatus = Literal[
    "accepted", "new", "partially_filled", "filled", "pending_cancel", "canceled", "expired", "rejected"
]

FINAL: frozenset[str] = frozenset({"filled", "canceled", "expired", "rejected"})


class BrokerError(AutotraderError):
    """The broker did not do what was asked."""


class Refused(BrokerError):
    """The broker said no: there is no such order. code: the broker's, as text; "" where it gives none."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class FateUnknown(BrokerError):
    """Nobody knows whether the request was carried out: a time-out, a lost answer. Look it up; do not repeat it."""


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order to send. quantity: whole shares. client_order_id: ours, unique for ever, at most 128 characters."""

    client_order_id: str
    symbol: str
    side: Side
    quantity: int
    intent: PositionIntent
    type: OrderType = "market"
    time_in_force: TimeInForce = "day"
    stop_price: Decimal | None = None
    limit_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """An order as the broker knows it. filled_average_price: None before the first fill."""

    client_order_id: str
    symbol: str
    side: Side
    quantity: int
    status: OrderStatus
    submitted_at: datetime
    filled_quantity: int = 0
    filled_average_price: Decimal | None = None
    type: OrderType = "market"
    time_in_force: TimeInForce = "day"
    stop_price: Decimal | None = None
    reason: str | None = None
    limit_price: Decimal | None = None

    @property
    def final(self) -> bool:
        return self.status in FINAL


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill. cumulative: filled so far over the whole order, this execution included: with the order, its key."""

    client_order_id: str
    symbol: str
    side: Side
    quantity: int
    price: Decimal
    cumulative: int
    at: datetime
    commission: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """What the broker reports of its own accord. execution: with fills only."""

    at: datetime
    order: BrokerOrder
    execution: Execution | None = None


@dataclass(frozen=True, slots=True)
class BrokerPosition:
    """quantity: signed, negative for a short."""

    symbol: str
    quantity: int
    average_price: Decimal


@dataclass(frozen=True, slots=True)
class BrokerAccount:
    """Money in USD."""

    account_id: str
    cash: Decimal
    equity: Decimal
    buying_power: Decimal


class SessionHours(NamedTuple):
    """A session as the broker has it; aware times."""

    session: date
    opens: datetime
    closes: datetime


class Link(NamedTuple):
    """How reports come. live: they do now; until they have begun to, nothing should be entered.

    breaks: how often some may have been missed since the broker was opened; whenever it has risen, ask about every
    order.
    """

    live: bool
    breaks: int


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """What a broker may be opened with; it takes what it needs.

    secrets: where its keys are to be found. wait: lets that many seconds pass. notify: called from any thread when
    there is something for `updates`; it must return at once. streaming: whether reports are wanted at all.
    """

    calendar: Calendar
    clock: Clock = field(default_factory=SystemClock)
    system: SystemSettings | None = None
    secrets: Secrets | None = None
    wait: Callable[[float], None] = time.sleep
    notify: Callable[[], None] | None = None
    streaming: bool = True


class Broker(Protocol):
    """Synchronous; every call returns or raises in bounded time. BrokerError where it fails otherwise than stated."""

    name: str

    @property
    def is_live(self) -> bool:
        """Whether its orders move real money."""
        ...

    def time(self) -> datetime:
        """The broker's clock, aware."""
        ...

    def hours(self, first: date, last: date) -> Sequence[SessionHours]:
        """The sessions from `first` to `last`, as the broker has them, in order."""
        ...

    def account(self) -> BrokerAccount: ...

    def positions(self) -> Sequence[BrokerPosition]: ...

    def shortable(self, symbol: str) -> bool | None:
        """Whether the broker lends the symbol; None if it does not say."""
        ...

    def submit(self, request: OrderRequest) -> BrokerOrder:
        """Sends an order. Refused: it does not exist. FateUnknown: it may."""
        ...

    def cancel(self, client_order_id: str) -> None:
        """Asks for the end of an order; whether it came is known from its final state. Refused: it is final already."""
        ...

    def order(self, client_order_id: str) -> BrokerOrder | None:
        """The order as it is now; None: the broker knows no such order."""
        ...

    def open_orders(self) -> Sequence[BrokerOrder]: ...

    def executions(self, since: datetime) -> Sequence[Execution]:
        """All fills at or after `since`, in order: the source for what updates missed."""
        ...

    def updates(self) -> Sequence[OrderUpdate]:
        """What has been reported since the last call, in the order it came: perhaps late, twice or not at all."""
        ...

    def link(self) -> Link:
        """Whether reports come, and how often they may have been interrupted. Never blocks."""
        ...

    def close(self) -> None:
        """Ends the reports. Orders stay as they are."""
        ...

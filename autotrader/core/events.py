"""What happened to the account: the facts that the journal keeps and the book is folded from.

`at` is an aware time; `session` the trading session it belongs to; prices are USD per share, quantities whole shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from autotrader.core.strategy import Direction

Leg = Literal["entry", "exit"]
Ended = Literal["filled", "canceled", "expired", "rejected"]


@dataclass(frozen=True, slots=True)
class EntryPlan:
    """What an entry was decided on: what its position will be judged by until it is left."""

    group: str
    rank: int
    score: float
    sector: str | None
    regime: str
    atr: float
    prev_close: float
    price: float
    stop_distance: float
    config_hash: str


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """A session began. number: its place in the exchange's calendar, so that differences count sessions."""

    at: datetime
    session: date
    number: int


@dataclass(frozen=True, slots=True)
class Ordered:
    """An intent, made durable before its order is sent. plan: of entries. reason, rule: of exits."""

    at: datetime
    session: date
    order_id: str
    symbol: str
    strategy: str
    direction: Direction
    leg: Leg
    quantity: int
    plan: EntryPlan | None = None
    reason: str | None = None
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Filled:
    """An execution. cumulative: filled so far over the whole order, this execution included: what makes it unique."""

    at: datetime
    session: date
    order_id: str
    quantity: int
    price: float
    cumulative: int
    commission: float = 0.0


@dataclass(frozen=True, slots=True)
class OrderEnded:
    """An order reached a final state; what was not filled will not be."""

    at: datetime
    session: date
    order_id: str
    status: Ended
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Marked:
    """The best and worst price a position has seen moved, or its bars were counted on."""

    at: datetime
    session: date
    symbol: str
    best_price: float
    worst_price: float
    bars_held: int


@dataclass(frozen=True, slots=True)
class Split:
    """Before the open, `new` shares took the place of `old`. cash: paid in lieu of a fraction."""

    at: datetime
    session: date
    symbol: str
    new: int
    old: int
    cash: float = 0.0


@dataclass(frozen=True, slots=True)
class Charged:
    """Money that left the account for holding a position: borrowing, so far."""

    at: datetime
    session: date
    symbol: str
    amount: float


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """The equity at the close of a session."""

    at: datetime
    session: date
    equity: float


@dataclass(frozen=True, slots=True)
class StageDone:
    """A stage of a session was carried out and is not to be repeated. stage: gap_filter, enter:moo, ..., close."""

    at: datetime
    session: date
    stage: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DrawdownReset:
    """A person said that the drawdown starts again from here."""

    at: datetime
    session: date


Event = (
    SessionOpened | Ordered | Filled | OrderEnded | Marked | Split | Charged | SessionClosed | StageDone | DrawdownReset
)
EVENTS: tuple[type[Event], ...] = (
    SessionOpened, Ordered, Filled, OrderEnded, Marked, Split, Charged, SessionClosed, StageDone, DrawdownReset,
)  # fmt: skip

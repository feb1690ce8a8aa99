"""What happened to the account: the facts that the journal keeps and the book is folded from.

`at` is an aware time; `session` the trading session it belongs to; prices are USD per share, quantities whole shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from autotrader.core.strategy import Direction

Leg = Literal["entry", "exit", "stop"]
OrderKind = Literal["day", "opg", "gtc"]
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
    """An order, made durable before it is sent: an entry, one attempt at an exit, or a protective stop.

    plan: of entries. reason, rule: of exits and stops. order: how long it is good. stop_price: of stops, USD.
    """

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
    order: OrderKind = "day"
    stop_price: float | None = None


@dataclass(frozen=True, slots=True)
class Leaving:
    """A position is to be left, from now until it is flat, by as many orders as it takes: the intent behind exits."""

    at: datetime
    session: date
    symbol: str
    reason: str
    rule: str


@dataclass(frozen=True, slots=True)
class Revived:
    """An order that was given up, since the broker had no trace of it, is at the broker after all."""

    at: datetime
    session: date
    order_id: str


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
class DrawdownSeen:
    """Within a session, when entries were due, the equity stood further below its peak than it had since the reset."""

    at: datetime
    session: date
    equity: float


StageStatus = Literal["done", "late", "skipped"]


@dataclass(frozen=True, slots=True)
class StageDone:
    """A stage of a session is over and is not to be repeated. stage: scan, gap_filter, enter:moo, ..., close.

    status: late: carried out after its time; skipped: not carried out, detail says why. file: what it wrote, as the
    file's name and its sha256; "" for none.
    """

    at: datetime
    session: date
    stage: str
    detail: str = ""
    status: StageStatus = "done"
    file: str = ""


@dataclass(frozen=True, slots=True)
class StageFailed:
    """A stage failed; it is tried again, or given up by a StageDone that says skipped."""

    at: datetime
    session: date
    stage: str
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class DrawdownReset:
    """A person said that the drawdown starts again from here."""

    at: datetime
    session: date


@dataclass(frozen=True, slots=True)
class Difference:
    """Broker and journal disagree, and nothing that is known explains it: no entries until a person resolves it.

    kind: position, order, cash. expected, found: what the journal and the broker say, in words or numbers.
    """

    at: datetime
    session: date
    kind: str
    subject: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """A difference is no more: by itself, or because a person accepted what the broker says. by: who; how: in words."""

    at: datetime
    session: date
    kind: str
    subject: str
    by: str
    how: str


@dataclass(frozen=True, slots=True)
class Corrected:
    """A person accepted the broker's position as the truth: `quantity` of the position's shares left, or are gone.

    quantity: shares that are no longer held; price: what they count as having been left for, USD.
    """

    at: datetime
    session: date
    symbol: str
    quantity: int
    price: float
    by: str


@dataclass(frozen=True, slots=True)
class Paused:
    """No entries from here on, until a person says so."""

    at: datetime
    session: date
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """Entries are allowed again."""

    at: datetime
    session: date
    by: str


@dataclass(frozen=True, slots=True)
class Flattened:
    """A person wants out: entries are off, and every position is left. done: everything is flat."""

    at: datetime
    session: date
    by: str
    done: bool = False


@dataclass(frozen=True, slots=True)
class ConfigAdopted:
    """A position is judged by another configuration from here on."""

    at: datetime
    session: date
    symbol: str
    config_hash: str
    stop_distance: float
    by: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A person's request was taken, once, and honoured or refused. request: its id; what: as it was asked for.

    outcome: what came of it, in words.
    """

    at: datetime
    session: date
    request: str
    by: str
    what: str
    reason: str
    honoured: bool
    outcome: str


Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True, slots=True)
class Alerted:
    """Somebody was told. subject: what it is about, the same for the same trouble. todo: what a person is to do."""

    at: datetime
    session: date
    severity: Severity
    subject: str
    happened: str
    done: str
    todo: str


Event = (
    SessionOpened | Ordered | Leaving | Revived | Filled | OrderEnded | Marked | Split | Charged | SessionClosed
    | DrawdownSeen | StageDone | StageFailed | DrawdownReset | Difference | Resolved | Corrected | Paused | Resumed
    | Flattened | ConfigAdopted | Asked | Alerted
)  # fmt: skip
EVENTS: tuple[type[Event], ...] = (
    SessionOpened, Ordered, Leaving, Revived, Filled, OrderEnded, Marked, Split, Charged, SessionClosed,
    DrawdownSeen, StageDone, StageFailed, DrawdownReset, Difference, Resolved, Corrected, Paused, Resumed, Flattened,
    ConfigAdopted, Asked, Alerted,
)  # fmt: skip

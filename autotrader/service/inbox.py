"""What people ask of the service: one small file for each request, which stays until what follows from it is durable.

The journal has one writer, so whoever wants something leaves a file; the service reads the folder at its start and on
every tick. A request is taken once, also where the service dies between the commit and the removal of the file: the
book knows its id.
"""

from __future__ import annotations

import logging
import math
import os
import pwd
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from autotrader.batch.files import set_aside, write_atomically
from autotrader.core import events as ev
from autotrader.core.book import LET_STAND, Book, HeldPosition
from autotrader.core.exits import stop_distance
from autotrader.core.rulebook import Rulebook

log = logging.getLogger("autotrader.inbox")

_LARGEST = 65_536  # bytes; a request is a few hundred
_SHARES = re.compile(r"([+-]?\d+) shares?\Z")

Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Subject = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Pause(_Model):
    """No entries, until a person says so."""

    kind: Literal["pause"] = "pause"

    def __str__(self) -> str:
        return "pause"


class Resume(_Model):
    """Entries again. reset_drawdown: the drawdown starts again from the last close."""

    kind: Literal["resume"] = "resume"
    reset_drawdown: bool = False

    def __str__(self) -> str:
        return "resume and reset the drawdown" if self.reset_drawdown else "resume"


class Flatten(_Model):
    """No entries until a person resumes, and every position is left."""

    kind: Literal["flatten"] = "flatten"

    def __str__(self) -> str:
        return "flatten"


class AdoptConfig(_Model):
    """Open positions are judged by the configuration of this hash from here on. symbols: None is all of them."""

    kind: Literal["adopt-config"] = "adopt-config"
    config_hash: str
    symbols: tuple[Subject, ...] | None = None

    def __str__(self) -> str:
        return f"adopt-config {', '.join(self.symbols or ('all positions',))}"


class Accept(_Model):
    """The broker's position is the truth. found: what the person saw; price: what the missing shares count for, USD."""

    kind: Literal["accept"] = "accept"
    subject: Subject
    found: Text
    price: Annotated[float, Field(gt=0, lt=1e9)]

    def __str__(self) -> str:
        return f"accept {self.found} of {self.subject} at {self.price:.2f}"


class LetStand(_Model):
    """A difference is known and no reason to keep entries off. of: position, order, cash. found: what was seen."""

    kind: Literal["let-stand"] = "let-stand"
    of: Subject
    subject: Subject
    found: Text

    def __str__(self) -> str:
        return f"let stand {self.of} {self.subject} as {self.found}"


What = Annotated[Pause | Resume | Flatten | AdoptConfig | Accept | LetStand, Field(discriminator="kind")]


class Request(_Model):
    """One thing that a person asked for. id: unique for ever, and in the order of asking."""

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,80}$")]
    at: AwareDatetime
    by: Subject
    reason: Annotated[str, StringConstraints(max_length=1000)] = ""
    what: What


@dataclass(frozen=True, slots=True)
class Damaged:
    """A file that is no request. path: where it was set aside, so that it is looked at and not read again."""

    path: Path
    problem: str


class Inbox:
    """The folder of requests."""

    def __init__(self, data: Path) -> None:
        self.folder = data / "inbox"

    def put(self, request: Request) -> Path:
        """Leaves a request: it is there as a whole, or not at all, also after a crash."""
        if not self.folder.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            if os.geteuid() == 0:  # the service may be another user's
                owner = self.folder.parent.stat()
                os.chown(self.folder, owner.st_uid, owner.st_gid)
        path = self._path(request)
        write_atomically(path, (request.model_dump_json(indent=1) + "\n").encode())
        return path

    def waiting(self) -> tuple[list[Request], list[Damaged]]:
        """The requests in the order of asking, and what is none. Nothing is changed."""
        found: list[Request] = []
        damaged: list[Damaged] = []
        for path in sorted(self.folder.glob("*.json")):
            try:
                if not path.is_file():  # a pipe would never end
                    raise IsADirectoryError(0, "it is no file") if path.exists() else FileNotFoundError
                with path.open("rb") as file:
                    request = Request.model_validate_json(file.read(_LARGEST))
            except FileNotFoundError:
                continue  # taken meanwhile
            except OSError as error:
                damaged.append(Damaged(path, f"it cannot be read: {error.strerror}"))
            except ValidationError as error:
                first = error.errors(include_input=False, include_url=False)[0]
                where = ".".join(str(step) for step in first["loc"]) or "the file"
                damaged.append(Damaged(path, f"{where}: {first['msg']}"))
            else:
                if path.stem == request.id:
                    found.append(request)
                else:  # removing it would remove another's
                    damaged.append(Damaged(path, f"it holds the request {request.id}"))
        return sorted(found, key=lambda request: (request.at, request.id)), damaged

    def remove(self, request: Request) -> None:
        """Ends a request that was taken."""
        self._path(request).unlink(missing_ok=True)

    def set_aside(self, damaged: Damaged) -> Damaged:
        """Gives a damaged file another name; the same again with its new place."""
        return Damaged(set_aside(damaged.path), damaged.problem)

    def _path(self, request: Request) -> Path:
        return self.folder / f"{request.id}.json"


def new_request(what: What, at: datetime, reason: str = "", by: str | None = None) -> Request:
    """A request of this moment. by: None is whoever runs this process."""
    stamp = at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return Request(
        id=f"{stamp}-{what.kind}-{secrets.token_hex(3)}", at=at, by=by or user_name(), reason=reason, what=what
    )


def user_name() -> str:
    """The operating system's user, and on whose behalf root acts."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = f"uid {os.geteuid()}"
    behind = os.environ.get("SUDO_USER", "")
    return f"{behind} as {name}" if behind and behind != name else name


# --- what follows from a request ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """What follows from a request.

    events: to be kept in this order and made durable together; the last one says that the request was taken.
    cancels: ids of orders whose end comes first; then there are no events yet, and the request stays where it is.
    """

    events: tuple[ev.Event, ...] = ()
    cancels: tuple[str, ...] = ()


Find = Callable[[str], Rulebook | None]


def answer(request: Request, book: Book, at: datetime, session: date, find: Find) -> Answer:
    """What follows from a request, given the book. Without events: it was taken before.

    at, session: of the events. find: the rules of the configuration with that hash; None where there is none.
    """
    if request.id in book.asked:
        return Answer()
    by = request.by
    events: list[ev.Event] = []
    match request.what:
        case Pause():
            if book.paused is None:
                events.append(ev.Paused(at, session, by, request.reason or "no reason given"))
                outcome = "entries are off"
            else:
                outcome = f"entries were off already, paused by {book.paused.by}"
        case Resume(reset_drawdown=reset):
            outcome = _resume(book, at, session, by, reset, events)
        case Flatten():
            if book.flatten is None:
                if book.paused is None:  # entries stay off when everything is flat, until a person resumes
                    why = f"flatten: {request.reason}" if request.reason else "flatten"
                    events.append(ev.Paused(at, session, by, why))
                events.append(ev.Flattened(at, session, by))
                outcome = f"entries are off; {_count(len(book.positions), 'position')} to be left"
                if book.differences:
                    others = ", ".join(sorted(subject for _, subject in book.differences))
                    outcome += f"; the broker and the journal disagree about {others}: see `autotrader reconcile`"
            else:
                outcome = f"it was under way already, asked for by {book.flatten.by}"
        case AdoptConfig() as what:
            refused = _adopt(what, book, at, session, by, find, events)
            if refused:
                return Answer((_asked(request, at, session, refused, honoured=False),))
            adopted = [event.symbol for event in events if isinstance(event, ev.ConfigAdopted)]
            outcome = f"adopted by {', '.join(adopted)}" if adopted else "every position had it already"
        case Accept() as what:
            accepted = _accept(what, book, at, session, by, events)
            if accepted.cancels:
                return Answer(cancels=accepted.cancels)
            if accepted.refused:
                return Answer((_asked(request, at, session, accepted.refused, honoured=False),))
            outcome = accepted.outcome
        case LetStand() as what:
            found = book.differences.get((what.of, what.subject))
            if found is None or found.found != what.found:
                refused = _not_as_seen(found)
                return Answer((_asked(request, at, session, refused, honoured=False),))
            events.append(ev.Resolved(at, session, what.of, what.subject, by, LET_STAND))
            outcome = "it stands, and is no reason to keep entries off"
    return Answer((*events, _asked(request, at, session, outcome, honoured=True)))


def flattened(book: Book, at: datetime, session: date) -> ev.Flattened | None:
    """The end of a flattening that is done: nothing is held and nothing is on order. None: there is none to end.

    What the broker holds and the journal does not know of is held: then it is not flat, whatever the journal says.
    """
    if book.flatten is None or book.positions or book.orders or book.differences:
        return None
    return ev.Flattened(at, session, book.flatten.by, done=True)


def _resume(book: Book, at: datetime, session: date, by: str, reset: bool, events: list[ev.Event]) -> str:
    said = []
    if reset:
        events.append(ev.DrawdownReset(at, session))
        said.append("the drawdown starts again from the last close")
    if book.paused is None and book.flatten is None:
        said.insert(0, "entries were not paused")
    else:
        events.append(ev.Resumed(at, session, by))
        said.insert(0, "entries are allowed again" if not book.differences else "no longer paused")
        leaving = [symbol for symbol, held in sorted(book.positions.items()) if held.leaving is not None]
        if book.flatten is not None and leaving:
            said.append(f"what is being left goes on being left: {', '.join(leaving)}")
    if book.differences:
        said.append("entries stay off until the differences are resolved")
    return "; ".join(said)


def _adopt(
    what: AdoptConfig, book: Book, at: datetime, session: date, by: str, find: Find, events: list[ev.Event]
) -> str:
    """Adds the events; gives why it is refused, "" where it is not."""
    rulebook = find(what.config_hash)
    if rulebook is None:
        return "the configuration is no longer the one that was shown; look at it again"
    symbols = sorted(book.positions) if what.symbols is None else sorted(set(what.symbols))
    absent = [symbol for symbol in symbols if symbol not in book.positions]
    if absent:
        return f"{', '.join(absent)}: not held any more"
    for symbol in symbols:
        held = book.positions[symbol]
        if held.plan.config_hash == what.config_hash:
            continue
        problem = unfit(held, rulebook)
        if problem:
            return f"{symbol}: {problem}"
        distance = distance_of(held, rulebook)
        events.append(ev.ConfigAdopted(at, session, symbol, what.config_hash, distance, by))
    return ""


def unfit(held: HeldPosition, rulebook: Rulebook) -> str:
    """Why a position cannot be judged by a configuration; "" where it can."""
    if held.strategy not in rulebook.params.strategies:
        return f"the configuration does not have its strategy {held.strategy}"
    distance = distance_of(held, rulebook)
    if not (math.isfinite(distance) and distance > 0):
        return "the configuration gives it no stop distance"
    return ""


def distance_of(held: HeldPosition, rulebook: Rulebook) -> float:
    """The stop distance that a configuration gives a position, from its fill and its ATR at entry, USD per share."""
    return stop_distance(rulebook, held.strategy, held.direction, held.entry_price, held.plan.atr)


@dataclass(frozen=True, slots=True)
class _Accepted:
    outcome: str = ""
    refused: str = ""
    cancels: tuple[str, ...] = ()


def _accept(what: Accept, book: Book, at: datetime, session: date, by: str, events: list[ev.Event]) -> _Accepted:
    found = book.differences.get(("position", what.subject))
    if found is None or found.found != what.found:
        return _Accepted(refused=_not_as_seen(found))
    shares = _SHARES.match(found.found)
    if shares is None:
        return _Accepted(refused=f"{found.found!r} is no number of shares; the difference can only be let stand")
    held = book.positions.get(what.subject)
    mine, theirs = (0 if held is None else held.sign * held.quantity), int(shares[1])
    if held is None or theirs * held.sign < 0 or abs(theirs) >= abs(mine):
        return _Accepted(
            refused=f"the broker has {theirs}, the journal {mine}: more shares than the journal knows cannot be "
            "accepted, since nothing says how to leave them; close them at the broker, or let the difference stand"
        )
    live = tuple(order.ordered.order_id for order in book.live_orders(what.subject))
    if live:
        return _Accepted(cancels=live)
    gone = abs(mine) - abs(theirs)
    events.append(ev.Corrected(at, session, what.subject, gone, what.price, by))
    events.append(ev.Resolved(at, session, "position", what.subject, by, f"accepted at {what.price:.2f}"))
    return _Accepted(f"{gone} of {abs(mine)} shares count as left at {what.price:.2f}")


def _not_as_seen(found: ev.Difference | None) -> str:
    if found is None:
        return "there is no such difference any more"
    return f"the broker says {found.found} now, which is not what was seen; look at it again"


def _asked(request: Request, at: datetime, session: date, outcome: str, *, honoured: bool) -> ev.Asked:
    return ev.Asked(at, session, request.id, request.by, str(request.what), request.reason, honoured, outcome)


# --- carrying out -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hands:
    """What carries requests out. keep: appends an event to the journal and hands it to the book.

    end: asks for the end of an order; sync: takes in what became of orders; find: as for `answer`.
    """

    keep: Callable[[ev.Event], object]
    commit: Callable[[], object]
    end: Callable[[str], object]
    sync: Callable[[], object]
    find: Find


def take(
    inbox: Inbox,
    book: Book,
    hands: Hands,
    now: datetime,
    session: date,
    tell: Callable[[ev.Severity, str, str, str, str], object],
) -> list[ev.Asked]:
    """Takes every request that is waiting: events first, durable, then the file goes. Gives what was taken.

    It calls for the end of orders that stand in the way of one, which then waits for the next call: to be called
    before anything else orders for that symbol. tell: how people hear of it: severity, subject, what happened, what
    was done, what to do.
    """
    requests, damaged = inbox.waiting()
    for each in damaged:
        _set_aside(inbox, each, tell)
    if any(isinstance(request.what, Accept) for request in requests):
        hands.sync()  # orders that were to end may have ended
    taken: list[ev.Asked] = []
    for place, request in enumerate(requests):
        at = now + timedelta(microseconds=place)  # two of a kind in one moment are two events
        said = answer(request, book, at, session, hands.find)
        if said.cancels:
            for order_id in said.cancels:
                hands.end(order_id)
            hands.sync()
            said = answer(request, book, at, session, hands.find)
            if said.cancels:
                continue
        for event in said.events:
            hands.keep(event)
        hands.commit()
        inbox.remove(request)
        asked = [event for event in said.events if isinstance(event, ev.Asked)]
        _told(asked, tell)
        taken += asked
    return taken


def _told(asked: Iterable[ev.Asked], tell: Callable[[ev.Severity, str, str, str, str], object]) -> None:
    for event in asked:
        reason = f" ({event.reason})" if event.reason else ""
        happened = f"{event.by} asked for: {event.what}{reason}"
        if event.honoured:
            tell("info", f"request {event.request}", happened, event.outcome, "")
        else:
            tell(
                "warning",
                f"request {event.request}",
                happened,
                f"refused: {event.outcome}",
                "ask again if it is needed",
            )


def _set_aside(inbox: Inbox, damaged: Damaged, tell: Callable[[ev.Severity, str, str, str, str], object]) -> None:
    happened = f"{damaged.path} is no request: {damaged.problem}"
    try:
        aside = inbox.set_aside(damaged)
    except OSError as error:
        tell("warning", damaged.path.name, happened, f"it stays there, since it cannot be renamed: {error.strerror}",
             "look at it, remove it, and ask again by the command line")  # fmt: skip
    else:
        tell("warning", damaged.path.name, happened, f"nothing was done; it is kept as {aside.path.name}",
             "look at it, and ask again by the command line")  # fmt: skip


def pending(requests: Sequence[Request]) -> str:
    """The requests that wait, in words."""
    return "; ".join(f"{request.what} by {request.by}" for request in requests)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

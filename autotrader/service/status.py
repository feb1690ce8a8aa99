"""The state of a deployment at a moment, as JSON: what `autotrader status` and /status show.

Folded from what the journal has, whether a service runs or not. Prices and money in USD, times ISO 8601, New York.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

from autotrader.clock import NEW_YORK, Calendar
from autotrader.core import events as ev
from autotrader.core.book import Book, Order
from autotrader.core.rulebook import Rulebook
from autotrader.journal.codec import stamp
from autotrader.journal.views import position_rows, trade_row
from autotrader.service.adoption import levels
from autotrader.service.inbox import Request
from autotrader.service.presence import Running
from autotrader.service.timetable import SCAN, Due, coming, timetable
from autotrader.settings import StrategyParams

Row = dict[str, Any]

OVERDUE = timedelta(minutes=10)  # a stage that has not begun so long after its time is missed
READS = (ev.SessionOpened, ev.StageDone, ev.StageFailed, ev.Asked, ev.Alerted)  # what is read of recent events
CLOCK, DISK = "clock", "disk"  # alerts about them, while critical, are what keeps entries off
_SHOWN = 10  # alerts and requests, the latest ones


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the journal does not know.

    expected: whether a service is to run here; none does for a demo's account, whose days are over. running, beat_age:
    None where no service runs, or has never beaten. waiting: requests that nobody has taken yet. damaged: how many
    files in the inbox are no requests. scanned: the sessions that have a result file, whoever made it. edited: the
    configuration is not the one in effect. broken: and it has errors.
    """

    expected: bool = True
    running: Running | None = None
    beat_age_seconds: float | None = None
    stale_seconds: float = 60.0
    waiting: Sequence[Request] = ()
    damaged: int = 0
    scanned: frozenset[date] = frozenset()
    edited: bool = False
    broken: bool = False


def status(
    book: Book,
    recent: Iterable[ev.Event],
    prices: Mapping[str, float],
    rules_of: Callable[[str], Rulebook | None],
    params: StrategyParams | None,
    calendar: Calendar,
    now: datetime,
    around: Surroundings,
) -> Row:
    """The state at `now`.

    recent: the events of the kinds in READS from the opening of the last session but one on. prices: last known ones.
    rules_of: the rules of a configuration by its hash, where it is known. params: of the configuration in effect;
    None: it has errors.
    """
    events = list(recent)
    day = now.astimezone(NEW_YORK).date()
    session = book.session
    if around.expected:
        session = day if calendar.is_session(day) else calendar.previous_session(day)
    ledger = [] if session is None or params is None else _ledger(session, events, params, calendar, now, around)
    found: Row = {
        "at": stamp(now),
        "service": _service(around),
        "configuration_edited": around.edited,
        "entries": {"on": (why := next(iter(hindrances(events).values()), book.entries_off())) is None, "why_not": why},
        "differences": [_difference(each) for _, each in sorted(book.differences.items())],
        **_account(book),
        "today": {
            "session": None if session is None else session.isoformat(),
            "is_today": session == day,
            "stages": ledger,
            "entered": [trade_row(trade) for trade in book.all_trades() if _day(trade.entered_at) == session],
            "left": [trade_row(trade) for trade in book.trades if _day(trade.exited_at) == session],
            "unfilled": _unfilled(book, session),
            "requests": [_asked(event) for event in events if isinstance(event, ev.Asked)][-_SHOWN:],
            "alerts": [_alert(event) for event in events if isinstance(event, ev.Alerted)][-_SHOWN:],
        },
        "held": _held(book, prices, rules_of),
        "next": []
        if params is None or not around.expected
        else [_due(each, now) for each in _next(book, params, calendar, now)],
        "waiting_requests": [_request(each) for each in around.waiting],
    }
    problems = _problems(found, around, params)
    return {"healthy": not problems, "problems": problems, **found}


def hindrances(events: Iterable[ev.Event]) -> dict[str, str]:
    """What keeps entries off beyond the book, as people were told last: the disk, the clock."""
    told = {event.subject: event for event in events if isinstance(event, ev.Alerted)}
    return {subject: told[subject].happened for subject in (DISK, CLOCK)
            if subject in told and told[subject].severity == "critical"}  # fmt: skip


# --- healthy or not -----------------------------------------------------------------------------------------------


def _problems(found: Row, around: Surroundings, params: StrategyParams | None) -> list[str]:
    """What a person has to look at, each with what to do."""
    problems = []
    stops = [row["what"] for row in found["waiting_requests"] if row["what"] in ("pause", "flatten")]
    if stops and found["entries"]["on"]:
        problems.append(f"entries are on: the {' and the '.join(stops)} that was asked for waits for the service")
    age = around.beat_age_seconds
    if not around.expected:
        pass
    elif around.running is None:
        problems.append("no service runs: start it (`autotrader run`, or systemctl start autotrader)")
    elif age is None or age > around.stale_seconds:
        since = "since it started" if age is None else f"for {span(timedelta(seconds=age))}"
        problems.append(f"the service is stuck: no heartbeat {since}; see the log, then restart it")
    if params is None or around.broken:
        problems.append("the configuration has errors: run `autotrader validate`")
    for row in found["differences"]:
        problems.append(
            f"journal and broker disagree about {row['kind']} {row['subject']}: {row['expected']}, the broker "
            f"{row['found']}; run `autotrader reconcile`"
        )
    for row in found["today"]["stages"]:
        if row["status"] == "failed":
            problems.append(f"{row['stage']} of {row['session']} failed: {row['detail']}")
        elif row["status"] == "overdue":
            problems.append(f"{row['stage']} of {row['session']} was due at {row['due'][11:16]} and has not run")
    problems += [
        f"{row['symbol']} is not judged: its configuration {row['config_hash'][:12]} is not known to this version"
        for row in found["held"]
        if not row["config_known"]
    ]
    if around.damaged:
        problems.append(f"{around.damaged} files in the inbox are no requests; the service sets them aside")
    return problems


def _service(around: Surroundings) -> Row:
    running = around.running
    return {
        "running": running is not None,
        "pid": None if running is None else running.pid,
        "started_at": None if running is None or running.started_at is None else stamp(running.started_at),
        "beat_age_seconds": around.beat_age_seconds,
    }


# --- the day ------------------------------------------------------------------------------------------------------


def _ledger(
    session: date,
    events: Sequence[ev.Event],
    params: StrategyParams,
    calendar: Calendar,
    now: datetime,
    around: Surroundings,
) -> list[Row]:
    """Each stage of a session, from the scan that it is entered from on to its own."""
    done: dict[tuple[date, str], ev.StageDone] = {}
    failed: dict[tuple[date, str], list[ev.StageFailed]] = {}
    for event in events:
        if isinstance(event, ev.StageDone):
            done[event.session, event.stage] = event
        elif isinstance(event, ev.StageFailed):  # a failure after the end takes it back: its file is not what it was
            done.pop((event.session, event.stage), None)
            failed.setdefault((event.session, event.stage), []).append(event)
    before = calendar.previous_session(session)
    due = [each for each in timetable(before, params, calendar) if each.stage == SCAN]
    due += timetable(session, params, calendar)
    known = {(each.session, each.stage) for each in due}
    # what was due before the account's first session, nobody was there to miss
    first = min((event.at for event in events if isinstance(event, ev.SessionOpened)), default=now)
    due += [Due(event.at, *key) for key, event in done.items() if key not in known and key[0] == session]
    rows = []
    for each in sorted(due, key=lambda each: each.at):
        key = each.session, each.stage
        row = _stage(each, done.get(key), failed.get(key, []), now)
        if row["status"] == "overdue":
            if each.stage == SCAN and each.session in around.scanned:
                row |= {"status": "by hand", "detail": "a result is there"}
            elif not around.expected or each.at < first:
                row["status"] = "unrecorded"
        rows.append(row)
    return rows


def _stage(due: Due, done: ev.StageDone | None, failed: Sequence[ev.StageFailed], now: datetime) -> Row:
    row: Row = {"session": due.session.isoformat(), "stage": due.stage, "due": stamp(due.at), "failures": len(failed)}
    if done is not None:
        named, _, digest = done.file.partition(" ")
        return row | {"status": done.status, "at": stamp(done.at), "detail": done.detail, "file": named or None,
                      "file_hash": digest or None}  # fmt: skip
    none = {"at": None, "detail": "", "file": None, "file_hash": None}
    if failed:
        return row | none | {"status": "failed", "at": stamp(failed[-1].at), "detail": failed[-1].reason}
    if now - due.at > OVERDUE:
        return row | none | {"status": "overdue"}
    return row | none | {"status": "waiting" if due.at > now else "due"}


def _next(book: Book, params: StrategyParams, calendar: Calendar, now: datetime) -> list[Due]:
    """The stages that come, up to the next session's close."""
    return [each for each in coming(now, params, calendar) if (each.session, each.stage) not in book.done][:6]


# --- rows ---------------------------------------------------------------------------------------------------------


def _account(book: Book) -> Row:
    last = book.equity_history[-1] if book.equity_history else None
    equity = book.equity({}) if last is None else last[1]
    return {
        "last_session": None if book.session is None else book.session.isoformat(),
        "last_close": None if last is None else last[0].isoformat(),
        "equity": equity,
        "cash": book.cash,
        "drawdown": book.drawdown(equity),
        "worst_drawdown": book.worst_drawdown,
        "positions": len(book.positions),
        "open_orders": sorted(book.orders),
        "orders": [_order(order) for _, order in sorted(book.orders.items())],
        "entries_today": book.entries_today(),
        "trades": len(book.trades),
        "pnl": sum(trade.pnl or 0.0 for trade in book.trades),
    }


def _held(book: Book, prices: Mapping[str, float], rules_of: Callable[[str], Rulebook | None]) -> list[Row]:
    """The open positions with where their exits are."""
    rows = []
    for row in position_rows(book, prices):
        held = book.positions[row["symbol"]]
        rulebook = rules_of(held.plan.config_hash)
        known = rulebook is not None and held.strategy in rulebook.params.strategies
        at = levels(held, rulebook) if rulebook is not None and known else None
        stop, leaving = book.order_of(held.symbol, "stop"), book.order_of(held.symbol, "exit")
        rows.append(
            row
            | {
                "stop": None if at is None else at.stop,
                "target": None if at is None else at.target,
                "max_hold_days": None if at is None else at.max_hold_days,
                "config_known": known,
                "protective_due": None if at is None else at.protective,
                "protective": None if stop is None else stop.ordered.stop_price,
                "exit_order": None if leaving is None else leaving.ordered.order_id,
            }
        )
    return rows


def _unfilled(book: Book, session: date | None) -> list[Row]:
    """The session's orders that ended without all their shares."""
    return [
        _order(order)
        for order in book.ended.values()
        if order.ordered.session == session and order.ordered.leg != "stop"
    ]


def _order(order: Order) -> Row:
    ordered = order.ordered
    return {"at": stamp(ordered.at), "symbol": ordered.symbol, "leg": ordered.leg, "order": ordered.order_id,
            "quantity": ordered.quantity, "filled": order.filled}  # fmt: skip


def _difference(event: ev.Difference) -> Row:
    return {"kind": event.kind, "subject": event.subject, "expected": event.expected, "found": event.found,
            "since": stamp(event.at)}  # fmt: skip


def _alert(event: ev.Alerted) -> Row:
    return asdict(event) | {"at": stamp(event.at), "session": event.session.isoformat()}


def _asked(event: ev.Asked) -> Row:
    return asdict(event) | {"at": stamp(event.at), "session": event.session.isoformat()}


def _request(request: Request) -> Row:
    return {"id": request.id, "at": stamp(request.at), "by": request.by, "what": str(request.what),
            "reason": request.reason}  # fmt: skip


def _due(due: Due, now: datetime) -> Row:
    return {"at": stamp(due.at), "session": due.session.isoformat(), "stage": due.stage,
            "in_seconds": (due.at - now).total_seconds()}  # fmt: skip


def _day(at: datetime | None) -> date | None:
    return None if at is None else at.astimezone(NEW_YORK).date()


def span(length: timedelta) -> str:
    """A length of time for people: 40 s, 12 min, 3 h 05 min, 2 days."""
    seconds = int(length.total_seconds())
    if seconds < 90:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 48 * 3600:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02} min"
    return f"{seconds // 86400} days"

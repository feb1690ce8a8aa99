"""Sessions over the wire, by hand: a week that must equal the demo's, a week with each fault, a month of all of them,
and whole days of which each is killed dozens of times.

python -m tests.service.soak week|weeks|month [SESSIONS] [FAULT ...] | kills [DAYS]: `make week` and so on.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection
from datetime import date, datetime, timedelta
from pathlib import Path

import canary

from autotrader.core import events as ev
from autotrader.core.book import Book
from autotrader.journal.store import Journal
from autotrader.simulator.faults import Fault, Faults

from .killing import End, end, kill_at_times, kill_every, play, sound
from .wire import BUSY, CALENDAR, Wire, at, rows, shown

ROOT = Path(__file__).parents[2]
FIRST = date(2019, 2, 11)

# kind, request, rate: each strikes now and then, all of them together every few minutes of a session.
MODERATE = [
    Fault(kind="429", request="*", rate=0.002),
    Fault(kind="500_after", request="POST /v2/orders", rate=0.02),
    Fault(kind="504_after", request="POST /v2/orders", rate=0.02),
    Fault(kind="504_before", request="POST /v2/orders", rate=0.02),
    Fault(kind="drop_after", request="POST /v2/orders", rate=0.02),
    Fault(kind="503_before", request="GET *", rate=0.002),
    Fault(kind="truncated", request="GET *", rate=0.001),
    Fault(kind="duplicate_update", rate=0.05),
    Fault(kind="reorder_update", rate=0.03),
    Fault(kind="drop_update", rate=0.03),
    Fault(kind="missing_bar", rate=0.01),
    Fault(kind="partial_fill", rate=0.10),
    Fault(kind="late_fill", rate=0.05),
    Fault(kind="close_stream", rate=0.0003),
    Fault(kind="reject_order", rate=0.01),
]

POST = "POST /v2/orders"
# Each alone, for a week; a handshake is refused where the stream was closed before.
EACH = [
    [Fault(kind="429", request="*", rate=0.03)],
    *([Fault(kind=kind, request=POST, rate=0.3)] for kind in
      ("500_before", "500_after", "504_before", "504_after", "drop_after")),
    [Fault(kind="hang_after", request=POST, rate=0.1, seconds=1.0)],
    [Fault(kind="truncated", request="GET *", rate=0.01)],
    [Fault(kind="mute_stream", rate=0.01)],
    [Fault(kind="close_stream", rate=0.01)],
    [Fault(kind="refuse_stream", rate=0.5), Fault(kind="close_stream", rate=0.01)],
    [Fault(kind="duplicate_update")],
    [Fault(kind="reorder_update", rate=0.5)],
    [Fault(kind="drop_update", rate=0.5)],
    [Fault(kind="stale_positions", seconds=90.0)],
    [Fault(kind="reject_order", rate=0.3)],
    [Fault(kind="halt", symbol="MOS", since=at(FIRST, 9, 35), until=at(FIRST, 15))],
]  # fmt: skip

# What the log says of each: what happened, and what was done.
_GONE = r"no trace at the broker; (sent again under the same id|it is given up)"
_UNKNOWN = r"fate unknown \(.*{}.*\); it is looked up, not sent again"
_FOUND = r"orders: \S+: found at the broker, \w+"
_ASKED = r"learned by asking, no update had told of it"
_AGAIN = r"stream: listening"
SAID = {
    "429": (r"too many requests. \(429, ", r"; asked again in \d|-entry-\d refused: too many requests"),
    "500_before": (_UNKNOWN.format(r"\(500, "), _GONE),
    "500_after": (_UNKNOWN.format(r"\(500, "), _FOUND),
    "504_before": (_UNKNOWN.format(r"\(504\)"), _GONE),
    "504_after": (_UNKNOWN.format(r"\(504\)"), _FOUND),
    "hang_after": (_UNKNOWN.format("no answer"), _FOUND),
    "drop_after": (_UNKNOWN.format("no answer"), _FOUND),
    "truncated": (r"GET /\S+: no answer .*more expected", "; asked again$"),
    "mute_stream": (rf"stream: no (data for too long|answer for \d+ s); opened again|{_ASKED}", f"{_AGAIN}|{_ASKED}"),
    "close_stream": (r"(data|trading) stream: ConnectionClosedError: .*; opened again in", _AGAIN),
    "refuse_stream": (r"stream: InvalidStatus: .* HTTP 429; opened again in", _AGAIN),
    "duplicate_update": (r"told again", "counted once"),
    "reorder_update": (r"told (late|again) that it is \w+: ", r": (nothing is changed|counted once)$"),
    "drop_update": (_ASKED, r"\d+ filled at"),
    "stale_positions": (r"the broker does not list the last fills of .* yet; no entries, compared again",
                        "journal and broker agree again"),
    "reject_order": (r"was taken and then rejected|the \w+ order was rejected", r"it is skipped|is tried again"),
    "partial_fill": (r": \d+ filled at", r"-stop-\S+ sent"),
    "halt": (r"(MOS|VRSN): no bar for \d+ minutes, .*; nothing is decided", "(MOS|VRSN): has bars again"),
}  # fmt: skip


def told(kind: str, log: str) -> tuple[str, str]:
    """The first line of the log that says what happened, and the first from there on of what was done; "" for none."""
    lines = log.splitlines()
    happened, done = map(re.compile, SAID[kind])
    first = next((number for number, line in enumerate(lines) if happened.search(line)), len(lines))
    return "".join(lines[first : first + 1]), next((line for line in lines[first:] if done.search(line)), "")


def week(folder: Path, sessions: int) -> bool:
    """Whether the trades over the wire are those of the demo on the same market."""
    last = CALENDAR.sessions(FIRST, FIRST + timedelta(days=2 * sessions + 7))[sessions - 1]
    began = time.monotonic()
    with Wire(folder, at(CALENDAR.previous_session(FIRST), 19, 59)) as wire:
        wire.write_config(*BUSY)
        wire.run(at(last, 16, 5))
        mine, demo = rows(wire.book()), rows(wire.demo(FIRST, sessions))
    say(f"{sessions} sessions over the wire in {time.monotonic() - began:.0f} s: {len(mine)} trades")
    if mine != demo:
        say(f"{shown(mine)}\n--- the demo:\n{shown(demo)}")
    return mine == demo


def weeks(folder: Path, sessions: int, kinds: Collection[str] = ()) -> bool:
    """A week with each fault in turn, or with these: whether every invariant held, and the log told of it."""
    days = CALENDAR.sessions(FIRST, FIRST + timedelta(days=2 * sessions + 7))[:sessions]
    fine = True
    for number, given in enumerate(EACH):
        kind = given[0].kind
        if kinds and kind not in kinds:
            continue
        began, faults = time.monotonic(), Faults(4, given)
        start = at(CALENDAR.previous_session(FIRST), 19, 59)
        with Wire(folder / str(number), start, faults=faults, patience=0.3) as wire:
            wire.write_config(*BUSY)
            with wire.service() as service:
                wire.turn_until(service, at(days[-1], 16, 5))
                faults.clear()
                wire.turn_until(service, at(days[-1], 16, 20))  # what the fault has hidden is found
            broken = violations(wire, days[:-1])
            trades, log = len(wire.book().all_trades()), wire.log.getvalue()
        lines = told(kind, log)
        broken += [f"the log has no line like {pattern}" for line, pattern in zip(lines, SAID[kind], strict=True)
                   if not line]  # fmt: skip
        if not faults.counts[kind]:
            broken.append("it never struck")
        say(f"{kind}: struck {faults.counts[kind]} times, {trades} trades, {time.monotonic() - began:.0f} s; "
            f"{'; '.join(broken) or 'no invariant broken, all of it in the log'}")  # fmt: skip
        for line in lines:
            say(f"    {line}")
        fine = fine and not broken
    return fine


def month(folder: Path, sessions: int, kills: int, seed: int = 1) -> bool:
    """Plays sessions with a moderate rate of faults, the last ones with kills; says what it cost and what broke."""
    drawn = random.Random(seed)
    days = CALENDAR.sessions(FIRST, FIRST + timedelta(days=2 * sessions + 14))[:sessions]
    end, quiet = at(days[-1], 21), at(days[-4], 21)
    faults = Faults(seed, list(MODERATE))
    began = time.monotonic()
    with Wire(folder, at(CALENDAR.previous_session(FIRST), 19, 59), faults=faults) as wire:
        wire.write_config(*BUSY)
        resident: list[int] = []
        _process(wire, quiet, resident, None)
        recovered = []
        while wire.alpaca.simulator.world.now < end:
            lived = drawn.uniform(1, 5) if len(recovered) < kills else None
            recovered.append(_process(wire, end, [], lived))
        broken = violations(wire, days)
        events, decisions = Journal.read(wire.journal).counts()
        size = sum(path.stat().st_size for path in (wire.home / "data").glob("journal.sqlite3*")
                   if "ballast" not in path.name)  # fmt: skip
        logs = sum(path.stat().st_size for path in (wire.home / "data" / "logs").glob("*"))
        say(f"{sessions} sessions in {time.monotonic() - began:.0f} s, {len(wire.book().all_trades())} trades")
        say(f"faults: {dict(sorted(faults.counts.items()))}")
        settled = resident[5:] or resident
        say(f"memory: {settled[0] / 1024:.0f} MB after a week, {settled[-1] / 1024:.0f} MB at the end, at most "
            f"{max(resident) / 1024:.0f} MB; growth {settled[-1] / settled[0] - 1:+.1%}")  # fmt: skip
        say(f"journal: {size / 1e6:.1f} MB, {events} events, {decisions} decisions; logs: {logs / 1e6:.1f} MB; "
            f"{(size + logs) / 1e6 / sessions:.2f} MB a session")  # fmt: skip
        say(f"kill to recovered and protected, the process's start included: "
            f"{', '.join(f'{seconds:.1f}' for seconds in recovered)} s")  # fmt: skip
        say(f"keys found in files: {canary.files_with_keys(wire.home / 'data')}")
        say("\n".join(broken) if broken else "no invariant broken")
    return not broken


def kills(folder: Path, days: int) -> bool:
    """A whole session with the nights around it, again and again: whether each came to the end of the undisturbed one.

    From the scan of the evening before to the entries of the day after. Half of the days kill every process at the nth
    point that it reaches, for n from 8 on, the others after some seconds.
    """
    until = at(CALENDAR.next_session(FIRST), 9, 50)
    undisturbed: End | None = None
    fine, died = True, Counter[str]()
    for number in range(days + 1):
        with Wire(folder / str(number), at(CALENDAR.previous_session(FIRST), 19, 59)) as wire:
            wire.write_config(*BUSY)
            began = time.monotonic()
            if undisturbed is None:
                where = list(filter(None, [play(wire, until)]))
            elif number % 2:
                where = kill_every(wire, until, 8 + number // 2)
            else:
                where = kill_at_times(wire, until, random.Random(number))
            sound(wire)
            found = end(wire)
        undisturbed = undisturbed or found
        died.update(each.split()[0] for each in where)
        died.update(_stage(each) for each in where)
        fine = fine and found == undisturbed
        verdict = "the same end" if found == undisturbed else "ANOTHER END"
        say(f"day {number}: {len(where)} kills, {len(found.trades)} trades, {len(found.fills)} fills, "
            f"{time.monotonic() - began:.0f} s: {verdict}")  # fmt: skip
        for ours, theirs in zip(found, undisturbed, strict=True):
            if ours != theirs:
                say(f"{ours}\n--- undisturbed:\n{theirs}")
    say(f"killed at: {dict(sorted(died.items()))}")
    return fine


def _stage(where: str) -> str:
    """What a service was about at the market's time at which it died."""
    clock = where.rsplit(maxsplit=1)[-1]
    bounds = (("09:25", "the night"), ("09:30", "the morning before the open"), ("10:00", "entries"),
              ("16:00", "the day"), ("20:00", "the close and after"))  # fmt: skip
    return next((name for bound, name in bounds if clock < bound), "the scan and after")


def _process(wire: Wire, end: datetime, resident: list[int], lived: float | None) -> float:
    """Runs a process until END or for so many seconds, then kills it; seconds from its start until it had recovered."""
    began = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.service.killable", str(wire.home), wire.alpaca.url, end.isoformat()],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    )  # fmt: skip
    recovered = 0.0
    assert child.stdout is not None
    for line in child.stdout:
        words = line.split()
        if words[0] == "recovered":
            recovered = time.monotonic() - began
            if lived is not None:
                time.sleep(lived)
                child.kill()
        elif words[0] == "rss":
            resident.append(int(words[2]))
    code = child.wait()
    assert code == 0 or lived is not None, f"the service ended with {code}"
    return recovered


def violations(wire: Wire, days: list[date]) -> list[str]:
    """What must hold and does not, from the journal and the broker."""
    found: list[str] = []

    def hold(name: str, holds: bool, text: str) -> None:
        if not holds:
            found.append(f"{name}: {text}")

    book = Book(wire.cash)
    left: set[tuple[date, str]] = set()
    filled: Counter[str] = Counter()
    wanted: Counter[str] = Counter()  # by intent, whatever the number of its attempts
    entered: dict[str, datetime] = {}
    for event in wire.events():
        book.apply(event)  # which refuses what contradicts it: fills beyond orders, two orders at once, flipped signs
        taken = set(book.positions) | {order.ordered.symbol for order in book.pending_entries()}
        hold("I1", len(taken) <= 8, f"{sorted(taken)} open or pending at {event.at}")
        if isinstance(event, ev.Ordered) and event.plan is not None:
            opens, closes = at(event.session, 9, 30), at(event.session, 10)
            open_day = CALENDAR.is_session(event.session)
            hold("I3", open_day and opens <= event.at < closes, f"{event.order_id} at {event.at}")
            hold("I6", (event.session, event.symbol) not in left, f"{event.order_id} after an exit that day")
            intent = event.order_id.rpartition("-")[0]
            wanted[intent] = max(wanted[intent], event.quantity)
        if isinstance(event, ev.Leaving) and event.symbol in entered:
            judged = event.at - timedelta(minutes=1)  # the bar that ended then began so long before
            hold("I9", entered[event.symbol] <= judged, f"{event.symbol} is left at {event.at}: a bar before its fill")
        if isinstance(event, ev.Filled):
            filled[event.order_id] += event.quantity
            if event.order_id.rpartition("-")[0].endswith("-entry"):
                entered.setdefault(event.order_id.split("-")[4], event.at)
            for symbol in entered.keys() - book.positions.keys():
                del entered[symbol]
            if event.order_id.rpartition("-")[0].endswith("-exit"):
                left.add((event.session, event.order_id.split("-")[4]))
    exchange = wire.alpaca.simulator.world.exchange
    theirs: Counter[str] = Counter()
    for execution in exchange.executions(at(date(2000, 1, 3), 0)):
        theirs[execution.client_order_id] += execution.quantity
    hold("I8", filled == theirs, f"fills differ: {filled - theirs} {theirs - filled}")
    held = {symbol: held.sign * held.quantity for symbol, held in book.positions.items()}
    hold("I5", wire.held_at_broker() == held, f"the broker holds {wire.held_at_broker()}, the journal {held}")
    resting = Counter(order.symbol for order in exchange.open_orders() if order.type == "stop")
    exiting = {order.ordered.symbol for order in book.orders.values() if order.ordered.leg == "exit"}
    for symbol in held:
        hold("I4", resting[symbol] == 1 or symbol in exiting, f"{symbol} has {resting[symbol]} stops")
    for name, quantity in _quantities(wire).items():
        hold("I2", filled[name] <= quantity, f"{name} is filled beyond its order")
    entries = Counter[str]()
    for name, quantity in theirs.items():
        entries[name.rpartition("-")[0]] += quantity
    for intent, quantity in wanted.items():
        hold("I11", entries[intent] <= quantity, f"the attempts at {intent} are filled with {entries[intent]}")
    hold("I12", not wire.undecided, f"not durable when they were asked for: {wire.undecided}")
    for path in (wire.home / "data" / "batch_results").iterdir():
        hold("I13", path.suffix == ".json" and bool(json.loads(path.read_text())), f"{path.name} is no whole result")
    for day in days:
        names = {stage for session, stage in wire.stages() if session == day}
        hold("ledger", {"splits", "gap_filter", "close", "scan"} <= names, f"{day} has only {sorted(names)}")
    return found


def _quantities(wire: Wire) -> dict[str, int]:
    return {event.order_id: event.quantity for event in wire.events() if isinstance(event, ev.Ordered)}


def say(text: str) -> None:
    print(text, flush=True)


def main(what: str, *more: str) -> int:
    kinds = [word for word in more if word in SAID]  # 429 is one
    sessions = [int(word) for word in more if word not in kinds]
    with tempfile.TemporaryDirectory(prefix="autotrader-") as folder:
        if what == "month":
            fine = month(Path(folder), (sessions or [21])[0], 6)
        elif what == "weeks":
            fine = weeks(Path(folder), (sessions or [5])[0], kinds)
        elif what == "kills":
            fine = kills(Path(folder), (sessions or [20])[0])
        else:
            fine = week(Path(folder), (sessions or [5])[0])
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

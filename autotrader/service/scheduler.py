"""Which stages are due, which came too late, and when the next thing happens: a pure function of time and ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

from autotrader.clock import NEW_YORK, Calendar
from autotrader.core import events as ev
from autotrader.service.timetable import CLOSE, GAP_FILTER, SCAN, enter
from autotrader.settings import StrategyParams

SPLITS = "splits"
LATE = timedelta(minutes=1)  # a stage that begins this long after its time is marked so
VOID = 0  # the attempt of a failure that takes back what was done: its file is not what it was

Key = tuple[date, str]


@dataclass
class Ledger:
    """What became of stages, folded from the journal's events.

    opened: the sessions that were begun. since: when the account's journal began; what was over then, nobody missed.
    """

    since: datetime
    done: dict[Key, ev.StageDone] = field(default_factory=dict)
    failed: dict[Key, list[ev.StageFailed]] = field(default_factory=dict)
    opened: set[date] = field(default_factory=set)

    @classmethod
    def of(cls, events: Iterable[ev.Event], since: datetime) -> Ledger:
        ledger = cls(since)
        for event in events:
            ledger.take(event)
        return ledger

    def take(self, event: ev.Event) -> None:
        match event:
            case ev.SessionOpened():
                self.opened.add(event.session)
            case ev.StageDone():
                self.done[event.session, event.stage] = event
                self.failed.pop((event.session, event.stage), None)
            case ev.StageFailed(attempt=attempt):
                if attempt == VOID:
                    self.done.pop((event.session, event.stage), None)
                else:
                    self.failed.setdefault((event.session, event.stage), []).append(event)
            case _:
                pass

    def last(self, stage: str) -> date | None:
        """The last session of which a stage is over."""
        return max((session for session, name in self.done if name == stage), default=None)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a session: when it is due, and from when on it is of no use any more.

    retries: waits before each further attempt; for_ever: the last one counts for all after it.
    """

    session: date
    name: str
    at: datetime
    deadline: datetime
    retries: tuple[float, ...] = ()
    for_ever: bool = False

    @property
    def key(self) -> Key:
        return self.session, self.name


@dataclass(frozen=True, slots=True)
class Ready:
    """A stage to be carried out now. attempt: from 1 on."""

    stage: Stage
    late: bool
    attempt: int


@dataclass(frozen=True, slots=True)
class Lapsed:
    """A stage that is not carried out any more, and why."""

    stage: Stage
    reason: str


@dataclass(frozen=True, slots=True)
class Agenda:
    """ready and lapsed: in the order in which they are to be taken. next_at: when the next thing happens."""

    ready: tuple[Ready, ...]
    lapsed: tuple[Lapsed, ...]
    next_at: datetime


def stages(session: date, params: StrategyParams, calendar: Calendar) -> tuple[Stage, ...]:
    """The stages of a session in the order of its day. CalendarError where it is none."""
    batch, groups = params.batch, params.entry.groups
    before_next = _at(calendar.next_session(session), batch.gap_filter_time)
    morning, closes = _at(session, batch.gap_filter_time), calendar.closes_at(session)
    first_group = min((_at(session, group.at) for group in groups.values()), default=closes)
    window = _at(session, params.entry.window.closes)
    again = tuple(map(float, batch.gap_filter_retry_seconds))
    entries = [Stage(session, enter(key), _at(session, group.at), window) for key, group in groups.items()]
    return (
        Stage(session, SPLITS, morning, closes, again or (60.0,), for_ever=True),
        Stage(session, GAP_FILTER, morning, first_group, again),
        *sorted(entries, key=lambda stage: stage.at),
        Stage(session, CLOSE, closes, before_next),
        Stage(session, SCAN, _at(session, batch.scan_time), before_next, tuple(map(float, batch.retry_seconds))),
    )


def agenda(now: datetime, params: StrategyParams, calendar: Calendar, ledger: Ledger) -> Agenda:
    """What is to be done at `now`.

    Looked at are the last session before today, of which close and scan may be left, today's, and for the time of the
    next thing the one after it. Entry groups are the trading day's to enter: here they only say when something happens.
    """
    today = now.astimezone(NEW_YORK).date()
    before = stages(calendar.previous_session(today), params, calendar)
    left = [stage for stage in before if stage.name in (CLOSE, SCAN)]
    if calendar.is_session(today):
        left += stages(today, params, calendar)
    coming = [stage.at for stage in stages(calendar.next_session(today), params, calendar)]
    ready: list[Ready] = []
    lapsed: list[Lapsed] = []
    for stage in left:
        over = now >= calendar.closes_at(stage.session)
        if stage.key in ledger.done or stage.deadline <= ledger.since:
            continue
        if stage.name != SCAN and over and stage.session not in ledger.opened:
            continue  # a session that nobody began has no close, and once it is over no morning
        failures = ledger.failed.get(stage.key, [])
        due = _due(stage, failures)
        if due is None or now >= stage.deadline:
            if not stage.name.startswith(_ENTER):
                lapsed.append(Lapsed(stage, _why(stage, failures)))
        elif now < due:
            coming.append(min(due, stage.deadline))
        elif not stage.name.startswith(_ENTER):
            ready.append(Ready(stage, now - stage.at > LATE, len(failures) + 1))
    return Agenda(tuple(ready), tuple(lapsed), min(at for at in coming if at > now))


_ENTER = enter("")


def _due(stage: Stage, failures: Sequence[ev.StageFailed]) -> datetime | None:
    """When the next attempt is due; None: there is none any more."""
    if not failures:
        return stage.at
    tried, waits = len(failures), stage.retries
    if tried > len(waits) and not stage.for_ever:
        return None
    return failures[-1].at + timedelta(seconds=waits[min(tried, len(waits)) - 1])


def _why(stage: Stage, failures: Sequence[ev.StageFailed]) -> str:
    if failures:
        times = "once" if len(failures) == 1 else f"{len(failures)} times"
        return f"failed {times}, the last time: {failures[-1].reason}"
    return f"nobody was there until its deadline, {stage.deadline.astimezone(NEW_YORK):%Y-%m-%d %H:%M}"


def _at(session: date, when: time) -> datetime:
    return datetime.combine(session, when, NEW_YORK)

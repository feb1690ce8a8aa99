"""When the stages of a session are due: by the exchange's calendar and the times in YAML, New York time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time

from autotrader.clock import NEW_YORK, Calendar
from autotrader.settings import StrategyParams

SCAN, GAP_FILTER, CLOSE = "scan", "gap_filter", "close"


def enter(group: str) -> str:
    """The stage of an entry group."""
    return f"enter:{group}"


@dataclass(frozen=True, slots=True)
class Due:
    """A stage of a session and when it is to begin. session: for the scan, the one that is scanned."""

    at: datetime
    session: date
    stage: str


def timetable(session: date, params: StrategyParams, calendar: Calendar) -> tuple[Due, ...]:
    """The stages of a session in the order of the day. CalendarError where it is no session."""

    def at(when: time) -> datetime:
        return datetime.combine(session, when, NEW_YORK)

    batch, groups = params.batch, params.entry.groups
    stages = [
        Due(at(batch.gap_filter_time), session, GAP_FILTER),
        *sorted((Due(at(group.at), session, enter(key)) for key, group in groups.items()), key=lambda due: due.at),
        Due(calendar.closes_at(session), session, CLOSE),
        Due(at(batch.scan_time), session, SCAN),
    ]
    return tuple(stages)


def coming(now: datetime, params: StrategyParams, calendar: Calendar, sessions: int = 2) -> tuple[Due, ...]:
    """The stages that are due after `now`, over as many sessions."""
    day = now.astimezone(NEW_YORK).date()
    first = day if calendar.is_session(day) else calendar.next_session(day)
    following = [first, *(calendar.next_session(first, n) for n in range(1, sessions))]
    return tuple(due for each in following for due in timetable(each, params, calendar) if due.at > now)

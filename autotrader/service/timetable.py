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
    """The stages that are due after `now`: the rest of this session, if there is one, and as many in all."""
    day = now.astimezone(NEW_YORK).date()
    today = timetable(day, params, calendar) if calendar.is_session(day) else ()
    rest = [due for due in today if due.at > now]
    following = [calendar.next_session(day, n) for n in range(1, sessions + 1 - bool(rest))]
    return (*rest, *(due for each in following for due in timetable(each, params, calendar)))

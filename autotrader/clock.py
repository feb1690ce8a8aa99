"""Time: what a session is, and what time it is. Nothing else in the project reads a clock or knows a holiday.

A `Calendar` answers in New York wall-clock times, a `Clock` in UTC. Differences and comparisons between the two are
right across a clock change; a date taken from a clock needs `.astimezone(NEW_YORK)` first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Protocol
from zoneinfo import ZoneInfo

from autotrader.errors import AutotraderError

NEW_YORK = ZoneInfo("America/New_York")

FIRST_DAY = date(1970, 1, 1)  # before 1952 the exchange also opened on Saturdays; nobody scans the time in between
LAST_DAY = date(2069, 12, 31)  # the rules of today, applied to the future

_OPEN = time(9, 30)
_CLOSE = time(16)
_DAY = timedelta(days=1)
_FIRST_MONDAY = date(1969, 12, 29)


class CalendarError(AutotraderError, ValueError):
    """A day that is no session where one is needed, a day outside the calendar, or a time without a zone."""


@dataclass(frozen=True, slots=True)
class _Exceptions:
    """What differs from "Monday to Friday, 09:30 to 16:00"."""

    closed: frozenset[date]
    early_close: Mapping[date, time]


@cache
def _exceptions() -> _Exceptions:
    """The rules that exchange_calendars declares for XNYS, applied to the whole range once.

    Its constructor is not run: it costs 0.4 s whatever range it is given, since it expands holidays from 1970 to 2200,
    and it uses what pandas deprecates. A test holds the result equal to the constructed calendar.
    """
    import pandas as pd
    from exchange_calendars.exchange_calendar_xnys import XNYSExchangeCalendar

    rules = XNYSExchangeCalendar.__new__(XNYSExchangeCalendar)
    first, last = pd.Timestamp(FIRST_DAY), pd.Timestamp(LAST_DAY)
    closed = {at.date() for at in rules.regular_holidays.holidays(first, last)}
    closed |= {at.date() for at in rules.adhoc_holidays}
    early = {at.date(): hour for hour, days in rules.special_closes for at in days.holidays(first, last)}
    early |= {at.date(): hour for hour, days in rules.special_closes_adhoc for at in days}
    return _Exceptions(frozenset(closed), {day: hour for day, hour in early.items() if day not in closed})


@cache
def _closed_weekdays() -> list[date]:
    return sorted(day for day in _exceptions().closed if day.weekday() < 5 and day >= FIRST_DAY)


class Calendar:
    """The sessions of the New York Stock Exchange, 1970 to 2069.

    Constructing it costs nothing; the first question loads the holidays (about a second, most of it pandas).
    A day outside the range raises CalendarError.
    """

    def is_session(self, day: date) -> bool:
        if not FIRST_DAY <= day <= LAST_DAY:
            raise CalendarError(f"{day} is outside the exchange calendar, which knows {FIRST_DAY} to {LAST_DAY}")
        return day.weekday() < 5 and day not in _exceptions().closed

    def sessions(self, first: date, last: date) -> list[date]:
        """All sessions from `first` to `last`, both included where they are sessions; empty where first > last."""
        count = (last - first).days + 1
        return [day for day in (first + timedelta(days=i) for i in range(count)) if self.is_session(day)]

    def next_session(self, day: date, n: int = 1) -> date:
        """The n-th session after `day`, which need not be a session itself; n >= 1."""
        return self._step(day, n, _DAY)

    def previous_session(self, day: date, n: int = 1) -> date:
        """The n-th session before `day`, which need not be a session itself; n >= 1."""
        return self._step(day, n, -_DAY)

    def number(self, session: date) -> int:
        """Its place among all sessions, so that a difference counts sessions. CalendarError where it is none."""
        days = (self._session(session) - _FIRST_MONDAY).days
        weekdays = days // 7 * 5 + min(days % 7, 5)
        return weekdays - bisect_right(_closed_weekdays(), session)

    def opens_at(self, session: date) -> datetime:
        """The opening, New York time. CalendarError where `session` is no session."""
        return datetime.combine(self._session(session), _OPEN, NEW_YORK)

    def closes_at(self, session: date) -> datetime:
        """The close, New York time: 16:00, on half days 13:00. CalendarError where `session` is no session."""
        return self.hours(session)[1]

    def hours(self, session: date) -> tuple[datetime, datetime]:
        """Opening and close, as `opens_at` and `closes_at` give them."""
        hour = _exceptions().early_close.get(self._session(session), _CLOSE)
        return datetime.combine(session, _OPEN, NEW_YORK), datetime.combine(session, hour, NEW_YORK)

    def last_completed(self, now: datetime) -> date:
        """The last session that has closed at `now`; one that closes this very moment has."""
        day = _aware(now).astimezone(NEW_YORK).date()
        if self.is_session(day) and self.closes_at(day) <= now:
            return day
        return self.previous_session(day)

    def _session(self, day: date) -> date:
        if not self.is_session(day):
            raise CalendarError(f"{day} is not a session of the exchange")
        return day

    def _step(self, day: date, n: int, step: timedelta) -> date:
        if n < 1:
            raise ValueError(f"n is {n}, expected 1 or more")
        while n:
            day += step
            n -= self.is_session(day)
        return day


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class VirtualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, start: datetime) -> None:
        self._now = _aware(start).astimezone(UTC)

    def now(self) -> datetime:
        return self._now

    def advance_to(self, at: datetime) -> None:
        """Moves on to `at`; the time it already shows is allowed, an earlier one is a ValueError."""
        if _aware(at) < self._now:
            raise ValueError(f"the clock shows {self._now.isoformat()} and cannot go back to {at.isoformat()}")
        self._now = at.astimezone(UTC)


def apart(ahead: timedelta) -> str:
    """How far one clock is from another, in words that take what it is from: "12 s ahead of", "3 h 05 min behind"."""
    seconds = round(abs(ahead).total_seconds())
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    size = (f"{seconds} s" if seconds < 90 else f"{minutes} min" if not hours
            else f"{hours} h {minutes % 60:02} min" if days < 2 else f"{days} days")  # fmt: skip
    return f"{size} {'ahead of' if ahead > timedelta() else 'behind'}"


def _aware(at: datetime) -> datetime:
    if at.utcoffset() is None:
        raise CalendarError(f"{at.isoformat()} has no time zone")
    return at

"""Sessions, half days and holidays of the exchange, and clocks that only go forward."""

from __future__ import annotations

import subprocess
import sys
import warnings
from datetime import UTC, date, datetime, timedelta

import pytest

from autotrader.clock import FIRST_DAY, LAST_DAY, NEW_YORK, Calendar, CalendarError, SystemClock, VirtualClock


def new_york(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


def test_weekends_and_holidays_are_no_sessions() -> None:
    calendar = Calendar()
    assert calendar.is_session(date(2026, 11, 20))
    assert not calendar.is_session(date(2026, 11, 21))
    assert not calendar.is_session(date(2026, 11, 26))  # Thanksgiving
    assert not calendar.is_session(date(2019, 4, 19))  # Good Friday
    assert not calendar.is_session(date(2012, 10, 29))  # hurricane Sandy: in no rule, only in the list


def test_the_calendar_equals_the_one_that_exchange_calendars_constructs() -> None:
    from exchange_calendars.exchange_calendar_xnys import XNYSExchangeCalendar

    first, last = date(1990, 1, 1), date(2035, 12, 31)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its constructor uses what pandas 3.1 deprecates
        whole = XNYSExchangeCalendar(start=str(first), end=str(last))
    calendar = Calendar()
    sessions = calendar.sessions(first, last)
    assert sessions == [at.date() for at in whole.sessions]
    assert [calendar.opens_at(day) for day in sessions] == list(whole.opens)
    # before 1993 half days closed at 14:00
    assert [calendar.closes_at(day) for day in sessions] == list(whole.closes)


def test_sessions_include_both_ends() -> None:
    calendar = Calendar()
    assert calendar.sessions(date(2026, 11, 24), date(2026, 11, 27)) == [
        date(2026, 11, 24),
        date(2026, 11, 25),
        date(2026, 11, 27),
    ]
    assert calendar.sessions(date(2026, 11, 26), date(2026, 11, 26)) == []
    assert calendar.sessions(date(2026, 11, 27), date(2026, 11, 24)) == []


def test_steps_count_sessions_from_any_day() -> None:
    calendar = Calendar()
    assert calendar.next_session(date(2026, 11, 25)) == date(2026, 11, 27)
    assert calendar.next_session(date(2026, 11, 26)) == date(2026, 11, 27)
    assert calendar.next_session(date(2026, 11, 20), 5) == date(2026, 11, 30)
    assert calendar.previous_session(date(2026, 11, 27)) == date(2026, 11, 25)
    assert calendar.previous_session(date(2026, 11, 29), 2) == date(2026, 11, 25)
    with pytest.raises(ValueError, match="n is 0"):
        calendar.next_session(date(2026, 11, 20), 0)


def test_a_half_day_closes_at_one() -> None:
    calendar = Calendar()
    assert calendar.closes_at(date(2026, 11, 27)) == new_york("2026-11-27T13:00")
    assert calendar.closes_at(date(2026, 11, 25)) == new_york("2026-11-25T16:00")


def test_opening_hours_are_new_york_time_on_both_sides_of_a_clock_change() -> None:
    calendar = Calendar()
    friday, monday = calendar.opens_at(date(2026, 3, 6)), calendar.opens_at(date(2026, 3, 9))
    assert (friday.hour, friday.minute) == (monday.hour, monday.minute) == (9, 30)
    assert monday.astimezone(UTC) - friday.astimezone(UTC) == timedelta(days=3, hours=-1)


def test_a_day_without_a_session_has_no_hours() -> None:
    with pytest.raises(CalendarError, match="2026-11-26 is not a session"):
        Calendar().opens_at(date(2026, 11, 26))
    with pytest.raises(CalendarError, match="2026-11-21 is not a session"):
        Calendar().closes_at(date(2026, 11, 21))


@pytest.mark.parametrize(
    ("now", "completed"),
    [
        ("2026-11-20T15:59:59", date(2026, 11, 19)),
        ("2026-11-20T16:00:00", date(2026, 11, 20)),
        ("2026-11-22T12:00:00", date(2026, 11, 20)),
        ("2026-11-27T12:59:59", date(2026, 11, 25)),
        ("2026-11-27T13:00:00", date(2026, 11, 27)),
        ("2026-11-23T00:30:00", date(2026, 11, 20)),
    ],
)
def test_a_session_is_completed_when_it_has_closed(now: str, completed: date) -> None:
    at = new_york(now)
    assert Calendar().last_completed(at) == completed
    assert Calendar().last_completed(at.astimezone(UTC)) == completed


def test_a_time_without_a_zone_is_refused() -> None:
    naive = datetime(2026, 11, 20, 16)  # noqa: DTZ001
    with pytest.raises(CalendarError, match="no time zone"):
        Calendar().last_completed(naive)
    with pytest.raises(CalendarError, match="no time zone"):
        VirtualClock(naive)
    clock = VirtualClock(new_york("2026-11-20T09:30"))
    with pytest.raises(CalendarError, match="no time zone"):
        clock.advance_to(naive)


def test_a_day_outside_the_calendar_is_refused() -> None:
    calendar = Calendar()
    assert calendar.sessions(LAST_DAY - timedelta(days=30), LAST_DAY)
    for day in (FIRST_DAY - timedelta(days=1), LAST_DAY + timedelta(days=1)):
        with pytest.raises(CalendarError, match="outside the exchange calendar"):
            calendar.is_session(day)
    with pytest.raises(CalendarError, match="outside"):
        calendar.next_session(LAST_DAY)


def test_a_virtual_clock_stands_still_until_it_is_moved_and_never_goes_back() -> None:
    start = new_york("2026-11-20T09:30")
    clock = VirtualClock(start)
    assert clock.now() == start
    assert clock.now().tzinfo is UTC
    clock.advance_to(start)
    clock.advance_to(start + timedelta(minutes=1))
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance_to(start)
    assert clock.now() == start + timedelta(minutes=1)


def test_differences_between_clock_and_calendar_are_right_across_a_clock_change() -> None:
    clock = VirtualClock(new_york("2026-03-06T16:00"))
    assert Calendar().opens_at(date(2026, 3, 9)) - clock.now() == timedelta(days=2, hours=16, minutes=30)


def test_the_system_clock_is_aware_and_in_utc() -> None:
    now = SystemClock().now()
    assert now.utcoffset() == timedelta(0)
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)


def test_importing_the_clock_and_making_a_calendar_loads_nothing_heavy() -> None:
    script = (
        "import sys; from autotrader.clock import Calendar; Calendar(); "
        "assert not {'numpy', 'pandas', 'exchange_calendars'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)

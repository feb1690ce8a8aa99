"""When stages are due: by the exchange's calendar, clock changes and half days included."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from days import configuration

from autotrader.clock import NEW_YORK, Calendar, CalendarError
from autotrader.service.timetable import coming, timetable

CALENDAR = Calendar()
PARAMS = configuration().settings.params


def shown(session: date) -> list[str]:
    return [f"{due.at:%H:%M} {due.stage}" for due in timetable(session, PARAMS, CALENDAR)]


def test_a_session_has_its_stages_in_the_order_of_the_day() -> None:
    day = ["09:25 gap_filter", "09:30 enter:moo", "09:45 enter:confirmation", "16:00 close", "20:00 scan"]
    assert shown(date(2026, 11, 25)) == day
    assert shown(date(2026, 11, 27)) == [*day[:3], "13:00 close", day[4]]  # the day after Thanksgiving


def test_a_day_without_a_session_has_none() -> None:
    with pytest.raises(CalendarError):
        timetable(date(2026, 11, 26), PARAMS, CALENDAR)


def test_what_comes_skips_closed_days_and_keeps_new_yorks_time_across_a_clock_change() -> None:
    friday_evening = datetime(2026, 10, 30, 21, 0, tzinfo=NEW_YORK)  # clocks go back on Sunday
    following = coming(friday_evening, PARAMS, CALENDAR)
    assert following[0].at == datetime(2026, 11, 2, 14, 25, tzinfo=UTC)
    assert {due.session for due in following} == {date(2026, 11, 2), date(2026, 11, 3)}
    noon = datetime(2026, 11, 25, 12, 0, tzinfo=NEW_YORK)
    assert [due.stage for due in coming(noon, PARAMS, CALENDAR, 1)] == ["close", "scan"]
    assert coming(noon, PARAMS, CALENDAR)[2].session == date(2026, 11, 27)

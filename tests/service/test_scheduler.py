"""What is due when: over holidays, half days and clock changes, after failures, and for a start at any minute."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

import pytest
from days import configuration

from autotrader.clock import NEW_YORK, Calendar
from autotrader.core import events as ev
from autotrader.service.scheduler import VOID, Agenda, Ledger, agenda, stages
from autotrader.service.timetable import CLOSE, GAP_FILTER, SCAN

CALENDAR = Calendar()
PARAMS = configuration().settings.params
LONG_AGO = datetime(2015, 1, 1, tzinfo=NEW_YORK)
MONDAY = date(2019, 3, 4)
FRIDAY = date(2019, 3, 1)


def at(day: date, hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime.combine(day, time(hour, minute, second), NEW_YORK)


def done(*keys: tuple[date, str]) -> list[ev.Event]:
    return [ev.StageDone(at(day, 12), day, stage) for day, stage in keys]


def opened(*days: date) -> list[ev.Event]:
    return [ev.SessionOpened(at(day, 9, 25), day, CALENDAR.number(day)) for day in days]


def failed(day: date, stage: str, *times: datetime) -> list[ev.Event]:
    return [ev.StageFailed(when, day, stage, n, "no bars") for n, when in enumerate(times, 1)]


def look(now: datetime, *events: Sequence[ev.Event], since: datetime = LONG_AGO) -> Agenda:
    return agenda(now, PARAMS, CALENDAR, Ledger.of([each for some in events for each in some], since))


def ready(found: Agenda) -> list[tuple[date, str]]:
    return [each.stage.key for each in found.ready]


def lapsed(found: Agenda) -> list[tuple[date, str]]:
    return [each.stage.key for each in found.lapsed]


NIGHT_BEFORE = (*opened(FRIDAY), *done((FRIDAY, CLOSE), (FRIDAY, SCAN)))
MORNING = (*NIGHT_BEFORE, *opened(MONDAY), *done((MONDAY, "splits"), (MONDAY, GAP_FILTER)))


@pytest.mark.parametrize(
    ("now", "events", "due", "next_at"),
    [
        (at(MONDAY, 9, 24, 59), NIGHT_BEFORE, [], at(MONDAY, 9, 25)),
        (at(MONDAY, 9, 25), NIGHT_BEFORE, ["splits", GAP_FILTER], at(MONDAY, 9, 30)),
        (at(MONDAY, 9, 26), MORNING, [], at(MONDAY, 9, 30)),
        (at(MONDAY, 9, 30), MORNING, [], at(MONDAY, 9, 45)),
        (at(MONDAY, 12), MORNING, [], at(MONDAY, 16)),
        (at(MONDAY, 16), MORNING, [CLOSE], at(MONDAY, 20)),
        (at(MONDAY, 20), (*MORNING, *done((MONDAY, CLOSE))), [SCAN], at(date(2019, 3, 5), 9, 25)),
    ],
)
def test_each_stage_is_due_at_its_time(
    now: datetime, events: Sequence[ev.Event], due: list[str], next_at: datetime
) -> None:
    found = look(now, events)
    assert ready(found) == [(MONDAY, name) for name in due]
    assert (lapsed(found), found.next_at) == ([], next_at)


@pytest.mark.parametrize(
    ("day", "utc"),
    [(date(2019, 3, 8), 14), (date(2019, 3, 11), 13), (date(2019, 11, 1), 13), (date(2019, 11, 4), 14)],
)
def test_stages_keep_new_yorks_time_over_clock_changes(day: date, utc: int) -> None:
    morning = stages(day, PARAMS, CALENDAR)[0].at.astimezone(UTC)
    assert (morning.hour, morning.minute) == (utc, 25)


def test_half_days_close_at_one() -> None:
    by_name = {stage.name: stage.at for stage in stages(date(2019, 11, 29), PARAMS, CALENDAR)}
    assert by_name[CLOSE] == at(date(2019, 11, 29), 13)
    assert by_name[SCAN] == at(date(2019, 11, 29), 20)


def test_on_a_closed_day_nothing_is_due_but_what_the_last_session_left() -> None:
    holiday, before = date(2019, 11, 28), date(2019, 11, 27)
    begun = (*opened(before), *done((before, CLOSE)))
    for hour in range(24):
        assert ready(look(at(holiday, hour), begun, done((before, SCAN)))) == []
    found = look(at(holiday, 15), begun)
    assert [(each.stage.key, each.late) for each in found.ready] == [((before, SCAN), True)]
    assert look(at(holiday, 15), begun, done((before, SCAN))).next_at == at(date(2019, 11, 29), 9, 25)


@pytest.mark.parametrize("minute", range(0, 24 * 60, 7))
def test_a_start_at_any_minute_does_what_can_still_be_done_and_gives_up_the_rest(minute: int) -> None:
    now = at(MONDAY, 0) + timedelta(minutes=minute)
    found = look(now, opened(FRIDAY), done((FRIDAY, CLOSE)))
    clock = now.time()
    expected = []
    if clock < time(9, 25):
        expected = [(FRIDAY, SCAN)]
    elif clock < time(9, 30):
        expected = [(MONDAY, "splits"), (MONDAY, GAP_FILTER)]
    elif clock < time(16):
        expected = [(MONDAY, "splits")]
    elif clock >= time(20):
        expected = [(MONDAY, SCAN)]
    assert ready(found) == expected
    given_up = [(FRIDAY, SCAN)] if clock >= time(9, 25) else []
    given_up += [(MONDAY, GAP_FILTER)] if time(9, 30) <= clock < time(16) else []
    assert lapsed(found) == given_up
    assert found.next_at > now


def test_a_start_more_than_a_minute_late_is_marked_so() -> None:
    found = look(at(MONDAY, 9, 26, 1), NIGHT_BEFORE)
    assert [each.late for each in found.ready] == [True, True]
    assert not look(at(MONDAY, 9, 26), NIGHT_BEFORE).ready[0].late


def test_what_was_over_when_the_account_began_nobody_missed() -> None:
    began = at(MONDAY, 19, 59)
    assert lapsed(look(at(MONDAY, 20), since=began)) == []
    assert ready(look(at(MONDAY, 20), since=began)) == [(MONDAY, SCAN)]


def test_a_failed_scan_is_tried_again_after_60_120_and_300_seconds_and_then_given_up() -> None:
    times = [at(MONDAY, 20)]
    begun = (*MORNING, *done((MONDAY, CLOSE)))
    for wait in (60, 120, 300):
        due = times[-1] + timedelta(seconds=wait)
        early = look(due - timedelta(seconds=1), begun, failed(MONDAY, SCAN, *times))
        assert (ready(early), early.next_at) == ([], due)
        found = look(due, begun, failed(MONDAY, SCAN, *times))
        assert [(each.stage.name, each.attempt) for each in found.ready] == [(SCAN, len(times) + 1)]
        times.append(due)
    found = look(times[-1], begun, failed(MONDAY, SCAN, *times))
    assert [each.reason for each in found.lapsed] == ["failed 4 times, the last time: no bars"]


def test_a_gap_filter_that_failed_three_times_is_given_up_before_the_open() -> None:
    times = [at(MONDAY, 9, 25), at(MONDAY, 9, 25, 30), at(MONDAY, 9, 26, 30)]
    morning = (*NIGHT_BEFORE, *opened(MONDAY), *done((MONDAY, "splits")))
    assert ready(look(times[1], morning, failed(MONDAY, GAP_FILTER, times[0]))) == [(MONDAY, GAP_FILTER)]
    assert lapsed(look(times[2], morning, failed(MONDAY, GAP_FILTER, *times))) == [(MONDAY, GAP_FILTER)]


def test_splits_are_asked_for_until_the_close() -> None:
    times = [at(MONDAY, 9, 25), at(MONDAY, 9, 25, 30), at(MONDAY, 9, 26, 30), at(MONDAY, 9, 27, 30)]
    begun = (*NIGHT_BEFORE, *opened(MONDAY), *done((MONDAY, GAP_FILTER)))
    assert ready(look(at(MONDAY, 9, 28, 30), begun, failed(MONDAY, "splits", *times))) == [(MONDAY, "splits")]


def test_a_stage_whose_file_was_lost_is_due_again() -> None:
    lost = [ev.StageFailed(at(MONDAY, 21), MONDAY, SCAN, VOID, "it was changed since")]
    night = (*MORNING, *done((MONDAY, CLOSE), (MONDAY, SCAN)))
    assert ready(look(at(MONDAY, 21), night)) == []
    assert [(each.stage.key, each.attempt) for each in look(at(MONDAY, 21), night, lost).ready] == [((MONDAY, SCAN), 1)]


def test_a_session_that_nobody_began_is_not_closed() -> None:
    assert ready(look(at(MONDAY, 17), NIGHT_BEFORE)) == []


def test_a_close_that_was_missed_is_made_up_for_until_the_next_morning() -> None:
    tuesday = date(2019, 3, 5)
    assert (MONDAY, CLOSE) in ready(look(at(tuesday, 8), MORNING))
    assert (MONDAY, CLOSE) in lapsed(look(at(tuesday, 9, 25), MORNING))

"""The state of a deployment at a moment, from its events."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from days import configuration

from autotrader.clock import NEW_YORK, Calendar
from autotrader.core import events as ev
from autotrader.core.book import Book
from autotrader.service.inbox import Pause, Request
from autotrader.service.presence import Running
from autotrader.service.status import Surroundings, span, status

TUESDAY, WEDNESDAY = date(2026, 11, 24), date(2026, 11, 25)
RULES = configuration().rulebook
PLAN = ev.EntryPlan("MOO", 1, 0.5, "Energy", "TREND", 2.0, 100.0, 100.0, 5.0, "hash")


def at(hour: int, minute: int = 0, day: date = WEDNESDAY) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=NEW_YORK)


def entry(symbol: str, quantity: int = 100) -> list[ev.Event]:
    name = f"{symbol}-in"
    return [
        ev.Ordered(at(9, 30), WEDNESDAY, name, symbol, "rsi_mean_reversion", "long", "entry", quantity, PLAN),
        ev.Filled(at(9, 31), WEDNESDAY, name, quantity, 100.0, quantity),
    ]


OPENED: list[ev.Event] = [
    ev.SessionOpened(at(9, 20, TUESDAY), TUESDAY, 1),
    ev.SessionClosed(at(16, 0, TUESDAY), TUESDAY, 10_000.0),
    ev.StageDone(at(20, 1, TUESDAY), TUESDAY, "scan", "12 candidates", "done", "2026-11-24.json sha256:abcd"),
    ev.SessionOpened(at(9, 25), WEDNESDAY, 2),
]
MORNING: list[ev.Event] = [
    *OPENED,
    ev.StageFailed(at(9, 25), WEDNESDAY, "gap_filter", 1, "no quotes"),
    ev.StageDone(at(9, 27), WEDNESDAY, "gap_filter", "", "late", "2026-11-24_filtered.json sha256:ef"),
    *entry("A"),
    ev.StageDone(at(9, 31), WEDNESDAY, "enter:moo"),
    ev.StageDone(at(9, 45), WEDNESDAY, "enter:confirmation", "paused by ops: news", "skipped"),
]
ALIVE = Surroundings(running=Running(7, at(9)), beat_age_seconds=1.0)


def seen(events: list[ev.Event], now: datetime, around: Surroundings = ALIVE, **prices: float) -> dict[str, Any]:
    book = Book(10_000.0).fold(events)
    found = status(
        book, events, prices, {"hash": RULES}.get, configuration().settings.params, Calendar(), now, around
    )  # fmt: skip
    json.dumps(found, allow_nan=False)
    return found


def stages(found: dict[str, Any]) -> dict[str, str]:
    return {f"{row['session'][5:]} {row['stage']}": row["status"] for row in found["today"]["stages"]}


def test_each_stage_of_the_day_is_shown_with_what_became_of_it() -> None:
    found = seen(MORNING, at(10, 30))
    assert stages(found) == {
        "11-24 scan": "done", "11-25 gap_filter": "late", "11-25 enter:moo": "done",
        "11-25 enter:confirmation": "skipped", "11-25 close": "waiting", "11-25 scan": "waiting",
    }  # fmt: skip
    scan, gap, *_ = found["today"]["stages"]
    assert (scan["file"], scan["file_hash"], scan["detail"]) == ("2026-11-24.json", "sha256:abcd", "12 candidates")
    assert (gap["failures"], gap["at"], gap["due"]) == (1, "2026-11-25T09:27:00-05:00", "2026-11-25T09:25:00-05:00")
    assert found["healthy"]
    assert found["today"]["is_today"]


def test_a_stage_that_failed_or_was_missed_needs_somebody() -> None:
    found = seen([*OPENED, ev.StageFailed(at(9, 25), WEDNESDAY, "gap_filter", 1, "no quotes")], at(9, 36))
    assert stages(found)["11-25 gap_filter"] == "failed"
    assert stages(found)["11-25 enter:moo"] == "due"
    assert found["problems"] == ["gap_filter of 2026-11-25 failed: no quotes"]
    found = seen(OPENED, at(9, 41))
    assert stages(found)["11-25 enter:moo"] == "overdue"
    assert "enter:moo of 2026-11-25 was due at 09:30 and has not run" in found["problems"]
    assert not found["healthy"]


def test_a_stage_whose_end_was_taken_back_has_failed() -> None:
    taken_back = ev.StageFailed(at(9, 40), WEDNESDAY, "gap_filter", 0, "its file was changed")
    assert stages(seen([*MORNING, taken_back], at(9, 41)))["11-25 gap_filter"] == "failed"
    again = ev.StageDone(at(9, 42), WEDNESDAY, "gap_filter", "", "late")
    assert stages(seen([*MORNING, taken_back, again], at(9, 43)))["11-25 gap_filter"] == "late"


def test_what_was_due_before_the_accounts_first_session_nobody_missed() -> None:
    found = seen([ev.SessionOpened(at(12), WEDNESDAY, 1)], at(13))
    assert set(stages(found).values()) == {"unrecorded", "waiting"}
    assert found["healthy"]


def test_a_scan_that_was_made_by_hand_is_no_missed_one() -> None:
    without = [event for event in MORNING if not (isinstance(event, ev.StageDone) and event.stage == "scan")]
    assert stages(seen(without, at(10)))["11-24 scan"] == "overdue"
    by_hand = Surroundings(running=ALIVE.running, beat_age_seconds=1.0, scanned=frozenset({TUESDAY}))
    assert stages(seen(without, at(10), by_hand))["11-24 scan"] == "by hand"


@pytest.mark.parametrize(
    ("around", "says"),
    [
        (Surroundings(), "no service runs"),
        (Surroundings(running=Running(7, None)), "no heartbeat since it started"),
        (Surroundings(running=Running(7, None), beat_age_seconds=61.0), "no heartbeat for 61 s"),
        (Surroundings(running=Running(7, None), beat_age_seconds=1.0, damaged=2), "2 files in the inbox"),
    ],
)
def test_a_service_that_does_not_live_needs_somebody(around: Surroundings, says: str) -> None:
    (problem,) = seen(MORNING, at(10), around)["problems"]
    assert says in problem


def test_where_no_service_is_expected_its_absence_is_no_problem_and_nothing_comes_next() -> None:
    found = seen(MORNING, at(10, 0, date(2026, 12, 1)), Surroundings(expected=False))
    assert found["healthy"]
    assert found["next"] == []
    assert found["today"]["session"] == "2026-11-25"
    assert not found["today"]["is_today"]


def test_a_difference_needs_somebody_and_keeps_entries_off() -> None:
    found = seen([*MORNING, ev.Difference(at(10), WEDNESDAY, "position", "A", "100 shares", "0 shares")], at(10, 1))
    assert not found["entries"]["on"]
    assert found["differences"][0]["found"] == "0 shares"
    assert "disagree about position A: 100 shares, the broker 0 shares" in found["problems"][0]


def test_a_pause_is_no_problem_but_entries_are_off_and_say_why() -> None:
    found = seen([*MORNING, ev.Paused(at(10), WEDNESDAY, "ops", "news")], at(10, 1))
    assert found["healthy"]
    assert found["entries"] == {"on": False, "why_not": "paused by ops: news"}


def test_positions_show_where_their_exits_are_and_what_the_broker_holds_for_them() -> None:
    stop = ev.Ordered(at(9, 32), WEDNESDAY, "A-stop", "A", "rsi_mean_reversion", "long", "stop", 100, None, "p", "p",
                      "gtc", 87.5)  # fmt: skip
    (row,) = seen([*MORNING, stop], at(10), A=101.0)["held"]
    assert (row["stop"], row["target"], row["protective"], row["protective_due"]) == (95.0, 106.0, 87.5, 87.5)
    assert (row["sessions_held"], row["max_hold_days"], row["gain"]) == (0, 5, 100.0)
    assert row["config_known"]


def test_a_position_whose_configuration_is_not_known_needs_somebody() -> None:
    book = Book(10_000.0).fold(MORNING)
    found = status(book, MORNING, {}, lambda _: None, configuration().settings.params, Calendar(), at(10), ALIVE)
    assert (found["held"][0]["stop"], found["held"][0]["max_hold_days"]) == (None, None)
    assert "A is not judged" in found["problems"][0]


def test_what_was_entered_left_and_not_filled_today_is_shown() -> None:
    events = [
        *MORNING,
        ev.Ordered(
            at(11), WEDNESDAY, "A-out", "A", "rsi_mean_reversion", "long", "exit", 100, None, "stop", "stop_loss"
        ),
        ev.Filled(at(11), WEDNESDAY, "A-out", 100, 95.0, 100),
        *entry("B", 10),
        ev.Ordered(at(9, 46), WEDNESDAY, "C-in", "C", "bb_squeeze", "long", "entry", 5, PLAN),
        ev.OrderEnded(at(9, 47), WEDNESDAY, "C-in", "rejected", "no"),
    ]
    today = seen(events, at(12))["today"]
    assert sorted(row["symbol"] for row in today["entered"]) == ["A", "B"]
    assert [(row["symbol"], row["exit_reason"], row["pnl"]) for row in today["left"]] == [("A", "stop", -500.0)]
    assert [(row["symbol"], row["filled"]) for row in today["unfilled"]] == [("C", 0)]


def test_alerts_and_requests_of_the_day_and_what_waits_are_shown() -> None:
    events = [
        *MORNING,
        ev.Asked(at(10), WEDNESDAY, "r-1", "ops", "pause", "news", True, "entries are off"),
        ev.Alerted(at(10, 1), WEDNESDAY, "critical", "A", "the exit was refused", "it is tried again", "look"),
    ]
    waiting = Request(id="r-2", at=at(10, 2), by="ana", what=Pause())
    around = Surroundings(running=ALIVE.running, beat_age_seconds=1.0, waiting=[waiting])
    found = seen(events, at(10, 3), around)
    assert found["today"]["requests"][0]["outcome"] == "entries are off"
    assert found["today"]["alerts"][0]["todo"] == "look"
    assert [(row["what"], row["by"]) for row in found["waiting_requests"]] == [("pause", "ana")]
    assert "entries are on: the pause that was asked for waits for the service" in found["problems"]


def test_a_full_disk_and_a_wrong_clock_keep_entries_off_until_people_are_told_that_it_is_over() -> None:
    full = ev.Alerted(at(10), WEDNESDAY, "critical", "disk", "the disk is full", "entries are off", "make room")
    over = ev.Alerted(at(11), WEDNESDAY, "info", "disk", "the disk has room again", "entries are on", "")
    assert seen([*MORNING, full], at(10, 3))["entries"] == {"on": False, "why_not": "the disk is full"}
    assert seen([*MORNING, full, over], at(11, 3))["entries"]["on"]


def test_what_comes_next_leaves_out_what_is_done_and_says_how_long() -> None:
    found = seen([*MORNING, ev.StageDone(at(15, 59), WEDNESDAY, "close")], at(15, 59))
    first, second, *_ = found["next"]
    assert (first["stage"], first["at"], first["in_seconds"]) == ("scan", "2026-11-25T20:00:00-05:00", 4 * 3600 + 60)
    assert (second["stage"], second["session"]) == ("gap_filter", "2026-11-27")


def test_on_a_closed_day_the_last_session_is_shown() -> None:
    found = seen(MORNING, at(12, 0, date(2026, 11, 26)))
    assert (found["today"]["session"], found["today"]["is_today"]) == ("2026-11-25", False)
    assert stages(found)["11-25 close"] == "overdue"
    after = seen(MORNING, at(12, 0, date(2026, 11, 28)))
    assert after["today"]["session"] == "2026-11-27"
    assert "gap_filter of 2026-11-27 was due at 09:25 and has not run" in after["problems"]


def test_a_configuration_with_errors_is_said_and_hides_nothing_else() -> None:
    book = Book(10_000.0).fold(MORNING)
    found = status(book, MORNING, {}, {"hash": RULES}.get, None, Calendar(), at(10), ALIVE)
    assert found["problems"] == ["the configuration has errors: run `autotrader validate`"]
    assert found["held"]
    assert found["next"] == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89, "89 s"), (90, "1 min"), (3599, "59 min"), (3900, "1 h 05 min"),
                          (172_800, "2 days")]
)  # fmt: skip
def test_a_length_of_time_is_for_people(seconds: float, text: str) -> None:
    assert span(timedelta(seconds=seconds)) == text


def test_a_fresh_account_shows_the_last_session_that_the_exchange_had() -> None:
    scan = ev.StageDone(at(22, 0, date(2026, 11, 26)), WEDNESDAY, "scan", "", "late")
    found = seen([scan], at(22, 1, date(2026, 11, 26)))
    assert found["today"]["session"] == "2026-11-25"
    assert stages(found)["11-25 scan"] == "late"
    assert set(stages(found).values()) == {"late", "unrecorded"}
    assert found["healthy"]


def test_a_stage_without_a_time_of_its_own_stands_where_it_was_carried_out() -> None:
    splits = ev.StageDone(at(9, 26), WEDNESDAY, "splits")
    assert list(stages(seen([*MORNING, splits], at(10))))[:3] == ["11-24 scan", "11-25 gap_filter", "11-25 splits"]

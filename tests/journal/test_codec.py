"""Events as rows and back."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotrader.clock import NEW_YORK
from autotrader.core import events as ev
from autotrader.journal import codec

AT = datetime(2024, 7, 1, 9, 31, tzinfo=NEW_YORK)
DAY = date(2024, 7, 1)
PLAN = ev.EntryPlan("MOO", 1, 0.1 + 0.2, None, "TREND", 1 / 3, 100.0, 100.5, 5.0, "ab" * 32)
ONE_OF_EACH: tuple[ev.Event, ...] = (
    ev.SessionOpened(AT, DAY, 13_000),
    ev.Ordered(AT, DAY, "t-1", "BRK.B", "pullback", "long", "entry", 10, PLAN),
    ev.Ordered(AT, DAY, "t-2", "A", "pullback", "short", "exit", 10, None, 'a "stop"\n', "stop_loss"),
    ev.Filled(AT, DAY, "t-1", 4, 100.07, 4, 0.35),
    ev.OrderEnded(AT, DAY, "t-1", "canceled", "späť"),
    ev.Marked(AT, DAY, "A", 1e-9, 1e300, 5),
    ev.Split(AT, DAY, "A", 3, 2, 12.5),
    ev.Charged(AT, DAY, "A", 0.01),
    ev.SessionClosed(AT, DAY, 99_999.99),
    ev.StageDone(AT, DAY, "enter:moo", "3 entries"),
    ev.DrawdownReset(AT, DAY),
    ev.DrawdownSeen(AT, DAY, 84_999.5),
    ev.Ordered(AT, DAY, "t-3", "A", "pullback", "long", "stop", 10, None, "protective_stop", "protective_stop", "gtc",
               87.5),
    ev.Leaving(AT, DAY, "A", "stop_loss", "stop_loss"),
    ev.Revived(AT, DAY, "t-1"),
    ev.StageDone(AT, DAY, "gap_filter", "no quotes", "skipped", "2024-06-28_filtered.json sha256:00"),
    ev.StageFailed(AT, DAY, "scan", 2, "no bars"),
    ev.Difference(AT, DAY, "position", "A", "10", "0"),
    ev.Resolved(AT, DAY, "position", "A", "ops", "sold by hand"),
    ev.Corrected(AT, DAY, "A", 10, 99.5, "ops"),
    ev.Paused(AT, DAY, "ops", "news"),
    ev.Resumed(AT, DAY, "ops"),
    ev.Flattened(AT, DAY, "ops"),
    ev.ConfigAdopted(AT, DAY, "A", "cd" * 32, 4.5, "ops"),
    ev.Asked(AT, DAY, "r-1", "ops", "pause", "news", True, "entries are off"),
    ev.Alerted(AT, DAY, "critical", "A", "the exit was refused", "it is tried again", "look at the broker"),
)  # fmt: skip


def there_and_back(event: ev.Event) -> ev.Event:
    return codec.decode(*codec.encode(event)[1:])


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: type(event).__name__)
def test_an_event_comes_back_as_it_was(event: ev.Event) -> None:
    assert there_and_back(event) == event


def test_every_kind_is_tried_here() -> None:
    assert {type(event) for event in ONE_OF_EACH} == set(ev.EVENTS)


@given(st.floats(allow_nan=False, allow_infinity=False), st.text())
def test_every_number_and_every_text_come_back_exactly(number: float, text: str) -> None:
    assert there_and_back(ev.Charged(AT, DAY, text, number)) == ev.Charged(AT, DAY, text, number)


def test_a_time_is_written_with_new_yorks_offset_whatever_zone_it_came_in() -> None:
    in_utc = datetime(2024, 7, 1, 13, 31, tzinfo=UTC)
    row = codec.encode(ev.DrawdownReset(in_utc, DAY))
    assert row.at == "2024-07-01T09:31:00-04:00"
    back = there_and_back(ev.DrawdownReset(in_utc, DAY))
    assert back.at == in_utc
    assert back.at.tzinfo is NEW_YORK
    assert codec.stamp(datetime(2024, 1, 2, 9, 31, tzinfo=NEW_YORK)).endswith("-05:00")


def test_the_hour_that_the_clock_repeats_keeps_its_two_meanings() -> None:
    first = datetime(2024, 11, 3, 1, 30, tzinfo=NEW_YORK)
    assert codec.stamp(first).endswith("-04:00")
    assert codec.stamp(first.replace(fold=1)).endswith("-05:00")


def test_a_key_is_what_makes_the_event_the_only_one() -> None:
    at = "2024-07-01T09:31:00-04:00"
    assert [codec.event_key(event) for event in ONE_OF_EACH] == [
        "SessionOpened:2024-07-01", "Ordered:t-1", "Ordered:t-2", "Filled:t-1:4", f"OrderEnded:t-1:{at}",
        f"Marked:A:{at}:5:1e-09:1e+300", "Split:2024-07-01:A", "Charged:2024-07-01:A", "SessionClosed:2024-07-01",
        "StageDone:2024-07-01:enter:moo:", f"DrawdownReset:{at}",
        f"DrawdownSeen:{at}:84999.5", "Ordered:t-3", f"Leaving:A:{at}", f"Revived:t-1:{at}",
        "StageDone:2024-07-01:gap_filter:2024-06-28_filtered.json sha256:00",
        f"StageFailed:2024-07-01:scan:{at}", f"Difference:position:A:{at}:0",
        f"Resolved:position:A:{at}", f"Corrected:A:{at}", f"Paused:{at}", f"Resumed:{at}", f"Flattened:{at}:False",
        f"ConfigAdopted:A:{at}", "Asked:r-1", f"Alerted:A:{at}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "event",
    [
        ev.Charged(AT, DAY, "A", math.nan),
        ev.Charged(AT, DAY, "A", math.inf),
        ev.Charged(AT, DAY, "A", "1.0"),  # type: ignore[arg-type]
        ev.Charged(AT, DAY, None, 1.0),  # type: ignore[arg-type]
        ev.Marked(AT, DAY, "A", 1.0, 1.0, 1.0),  # type: ignore[arg-type]
        ev.OrderEnded(AT, DAY, "t-1", "lost"),  # type: ignore[arg-type]
        ev.DrawdownReset(datetime(2024, 7, 1, 9, 31), DAY),  # noqa: DTZ001
    ],
)
def test_what_cannot_be_kept_exactly_is_refused(event: ev.Event) -> None:
    with pytest.raises(ValueError, match=r"expected|time zone"):
        codec.encode(event)


def test_a_whole_number_in_place_of_a_price_is_kept_as_a_price() -> None:
    assert json.loads(codec.encode(ev.Charged(AT, DAY, "A", 5)).body) == {"symbol": "A", "amount": 5.0}


GOOD = {"symbol": "A", "amount": 1.5}


@pytest.mark.parametrize(
    ("kind", "version", "body", "says"),
    [
        ("Gained", 1, GOOD, 'unknown kind "Gained"'),
        ("Charged", 2, GOOD, "version 2 of Charged"),
        ("Charged", 1, GOOD | {"tax": 1}, "tax"),
        ("Charged", 1, {"symbol": "A"}, "amount"),
        ("Charged", 1, GOOD | {"amount": "much"}, "'much'"),
        ("Charged", 1, GOOD | {"amount": True}, "True"),
        ("Charged", 1, GOOD | {"symbol": None}, "None"),
        ("Charged", 1, [], "fields"),
        ("Ordered", 1, json.loads(codec.encode(ONE_OF_EACH[1]).body) | {"leg": "both"}, "'both'"),
    ],
)
def test_what_this_program_does_not_know_is_refused_with_its_name(
    kind: str, version: int, body: Any, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        codec.decode("2024-07-01T09:31:00-04:00", "2024-07-01", kind, version, json.dumps(body))


def test_text_after_the_json_is_damage() -> None:
    with pytest.raises(ValueError, match="after"):
        codec.decode("2024-07-01T09:31:00-04:00", "2024-07-01", "DrawdownReset", 1, "{}{}")


def test_an_old_record_is_brought_up_to_date_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_commission(body: codec.Body) -> codec.Body:
        return body | {"commission": 0.0}

    def in_dollars(body: codec.Body) -> codec.Body:
        return {name: value for name, value in body.items() if name != "cents"} | {"price": body["cents"] / 100}

    monkeypatch.setitem(codec.UPCASTERS, ("Filled", -1), in_dollars)
    monkeypatch.setitem(codec.UPCASTERS, ("Filled", 0), with_commission)
    old = '{"order_id":"t-1","quantity":4,"cents":10007,"cumulative":4}'
    event = codec.decode("2024-07-01T09:31:00-04:00", "2024-07-01", "Filled", -1, old)
    assert event == ev.Filled(AT, DAY, "t-1", 4, 100.07, 4)


def test_every_step_leads_to_a_version_that_is_known() -> None:
    for kind, version in codec.UPCASTERS:
        assert all((kind, later) in codec.UPCASTERS for later in range(version + 1, codec.VERSIONS[kind]))


def test_an_order_and_a_stage_of_the_first_version_are_read_as_they_were_meant() -> None:
    ordered = json.loads(codec.encode(ONE_OF_EACH[1]).body)
    del ordered["order"], ordered["stop_price"]
    assert codec.decode(AT.isoformat(), DAY.isoformat(), "Ordered", 1, json.dumps(ordered)) == ONE_OF_EACH[1]
    stage = '{"stage": "enter:moo", "detail": "3 entries"}'
    assert codec.decode(AT.isoformat(), DAY.isoformat(), "StageDone", 1, stage) == ONE_OF_EACH[9]

"""What the service does when the world misbehaves, each as docs/service.md states it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from autotrader.core import events as ev
from autotrader.journal.store import JournalError
from autotrader.service.inbox import Flatten, Inbox, Pause, Resume, new_request
from autotrader.simulator.faults import Fault

from .wire import BUSY, CALENDAR, Wire, at, rows, statuses

HALF_DAY = date(2019, 7, 3)
BEFORE = CALENDAR.previous_session(HALF_DAY)
DOWN = [("503_before", f"* /v2/{what}*") for what in ("orders", "positions", "account", "assets")]


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    """On the evening before a half day of many signals."""
    with Wire(tmp_path, at(BEFORE, 19, 59), patience=1.0) as wire:
        wire.write_config(*BUSY)
        yield wire


def trouble(wire: Wire, kinds: list[tuple[str, str]], since: datetime, until: datetime) -> None:
    for kind, on in kinds:
        wire.alpaca.simulator.faults.add(Fault(kind=kind, request=on, since=since, until=until))


def subjects(wire: Wire) -> set[str]:
    return {alert.subject for alert in wire.alerts()}


def at_one(wire: Wire) -> None:
    """Journal and broker agree, and every position has its stop there."""
    book = wire.book()
    held = {held.symbol: held.sign * held.quantity for held in book.positions.values()}
    assert wire.held_at_broker() == held
    orders = wire.alpaca.simulator.world.exchange.open_orders()
    assert sorted(order.symbol for order in orders if order.type == "stop") == sorted(held)


def entered(wire: Wire) -> dict[str, datetime]:
    return {event.symbol: event.at for event in wire.events() if isinstance(event, ev.Ordered) and event.plan}


def test_a_broker_that_is_down_for_an_hour_loses_nothing(wire: Wire) -> None:
    trouble(wire, DOWN, at(HALF_DAY, 9, 40), at(HALF_DAY, 10, 40))
    wire.run(at(HALF_DAY, 10, 45))
    assert "broker" in subjects(wire)
    times = entered(wire).values()
    assert {when for when in times if when < at(HALF_DAY, 9, 40)} == {at(HALF_DAY, 9, 30)}
    assert all(when < at(HALF_DAY, 10, 0) for when in times)
    left = [event for event in wire.events() if isinstance(event, ev.Leaving)]
    assert left, "exits are decided all the while"
    assert all(symbol not in wire.book().positions for symbol in {event.symbol for event in left})
    at_one(wire)


def test_a_network_that_is_gone_at_the_open_delays_entries_within_their_window(wire: Wire) -> None:
    trouble(wire, [("drop_before", "*")], at(HALF_DAY, 9, 29), at(HALF_DAY, 9, 36))
    wire.run(at(HALF_DAY, 9, 50))
    assert statuses(wire.stages(), HALF_DAY)["enter:moo"] == "late"
    assert "prices" in subjects(wire)
    assert min(entered(wire).values()) == at(HALF_DAY, 9, 36)
    at_one(wire)


def test_a_machine_that_slept_over_the_entries_enters_nothing_and_says_so(wire: Wire) -> None:
    with wire.service() as service:
        wire.turn_until(service, at(HALF_DAY, 9, 20))
        wire.alpaca.step(at(HALF_DAY, 11))
        wire.clock.advance_to(at(HALF_DAY, 11))
        wire.turn_until(service, at(HALF_DAY, 11, 2))
    stages = wire.stages()
    assert statuses(stages, HALF_DAY) == {
        "splits": "late", "gap_filter": "skipped", "enter:moo": "skipped", "enter:confirmation": "skipped"
    }  # fmt: skip
    assert "deadline" in stages[HALF_DAY, "gap_filter"].detail
    assert "gap_filter" in subjects(wire)
    assert not entered(wire)


def test_a_clock_that_is_set_back_repeats_nothing(wire: Wire) -> None:
    with wire.service() as service:
        wire.turn_until(service, at(HALF_DAY, 9, 50))
        before = rows(wire.book()), len(entered(wire))
        wire.set_back(timedelta(minutes=30))
        for _ in range(3):
            service.turn()
        assert (rows(wire.book()), len(entered(wire))) == before
        wire.set_back(timedelta())
        wire.turn_until(service, at(HALF_DAY, 9, 52))
    at_one(wire)


def test_a_configuration_edited_at_0944_takes_effect_at_the_next_scan(wire: Wire) -> None:
    with wire.service() as service:
        wire.turn_until(service, at(HALF_DAY, 9, 44))
        old = service.desk.rulebook
        path = wire.home / "config" / "strategy_params.yaml"
        path.write_text(path.read_text().replace("max_daily_entries: 6", "max_daily_entries: 1"))
        wire.turn_until(service, at(HALF_DAY, 9, 46))
        assert len(entered(wire)) > 1
        assert service.desk.rulebook is old
    with wire.service() as service:  # a restart in between changes nothing
        assert service.desk.rulebook.params.risk.params["max_daily_entries"] == 6
        wire.alpaca.step(at(HALF_DAY, 19, 59))
        wire.clock.advance_to(at(HALF_DAY, 19, 59))
        service.turn()
        assert service.desk.rulebook.params.risk.params["max_daily_entries"] == 6
        wire.turn_until(service, at(HALF_DAY, 20, 1))
        assert service.desk.rulebook.params.risk.params["max_daily_entries"] == 1
    book, scan = wire.book(), wire.stages()[HALF_DAY, "scan"]
    result = json.loads((wire.home / "data" / "batch_results" / scan.file.split()[0]).read_text())
    assert {held.plan.config_hash for held in book.positions.values()} != {result["config_hash"]}


def test_an_edit_with_errors_leaves_the_old_configuration_and_tells_why(wire: Wire) -> None:
    with wire.service() as service:
        service.turn()
        path = wire.home / "config" / "strategy_params.yaml"
        path.write_text(path.read_text().replace("when: abs(gap_pct) > max_gap_pct", "when: abs(gap_prc) > 1"))
        wire.turn_until(service, at(BEFORE, 20, 1))
    told = [alert for alert in wire.alerts() if alert.subject == "configuration"]
    assert len(told) == 1
    assert "gap_prc" in told[0].happened
    assert wire.stages()[BEFORE, "scan"].status == "done"


def test_pause_and_resume_asked_for_while_it_was_down_are_honoured(wire: Wire) -> None:
    wire.run(at(HALF_DAY, 9, 20))
    Inbox(wire.home / "data").put(new_request(Pause(), wire.clock.now(), "earnings", "ann"))
    wire.run(at(HALF_DAY, 9, 40))
    stages = wire.stages()
    assert (stages[HALF_DAY, "enter:moo"].status, stages[HALF_DAY, "enter:moo"].detail) == (
        "skipped", "paused by ann: earnings"
    )  # fmt: skip
    assert not entered(wire)
    Inbox(wire.home / "data").put(new_request(Resume(), wire.clock.now(), "", "ann"))
    wire.run(at(HALF_DAY, 9, 50))
    assert set(entered(wire).values()) == {at(HALF_DAY, 9, 45)}


def test_flatten_asked_for_while_it_was_down_leaves_everything(wire: Wire) -> None:
    wire.run(at(HALF_DAY, 9, 40))
    assert wire.book().positions
    Inbox(wire.home / "data").put(new_request(Flatten(), wire.clock.now(), "stop", "ann"))
    wire.run(at(HALF_DAY, 9, 50))
    book = wire.book()
    assert not book.positions
    assert not wire.held_at_broker()
    assert not wire.alpaca.simulator.world.exchange.open_orders()
    assert [event.done for event in wire.events() if isinstance(event, ev.Flattened)] == [False, True]
    assert max(entered(wire).values()) == at(HALF_DAY, 9, 30), "entries went off first"


def test_a_result_file_that_was_changed_is_set_aside_and_made_anew(wire: Wire) -> None:
    path = wire.home / "data" / "batch_results" / f"{BEFORE}.json"
    with wire.service() as service:
        wire.turn_until(service, at(BEFORE, 20, 1))
        good = json.loads(path.read_text())["candidates"]
        path.write_text("{}")
        wire.turn_until(service, at(BEFORE, 20, 2))
        wire.turn_until(service, at(BEFORE, 20, 4))
    assert path.with_name(f"{path.name}.bad").read_text() == "{}"
    assert json.loads(path.read_text())["candidates"] == good
    assert f"scan of {BEFORE}" in subjects(wire)


def test_a_second_service_in_the_same_folder_says_so_and_ends(wire: Wire) -> None:
    from autotrader.service.presence import ServiceRunning

    with wire.service(), pytest.raises(ServiceRunning, match="runs in"):
        wire.run(at(BEFORE, 20))


def test_what_cannot_be_recorded_ends_the_service_and_nothing_is_sent(wire: Wire) -> None:
    with wire.service() as service:
        wire.turn_until(service, at(HALF_DAY, 9, 29))
        with closing(sqlite3.connect(wire.journal)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(JournalError):
                wire.turn_until(service, at(HALF_DAY, 9, 31))
    assert not wire.alpaca.simulator.world.exchange.open_orders()
    wire.run(at(HALF_DAY, 9, 32))
    at_one(wire)

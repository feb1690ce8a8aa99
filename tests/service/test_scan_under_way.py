"""While a scan is under way the loop goes on: it beats, it answers, it takes what people ask for."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from autotrader.core import events as ev
from autotrader.service.inbox import Flatten, Inbox, new_request
from autotrader.service.run import Service

from .wire import BUSY, CALENDAR, Wire, at, statuses

HALF_DAY = date(2019, 7, 3)
BEFORE = CALENDAR.previous_session(HALF_DAY)


class Gate:
    """Lets nobody have the days' bars while it is shut."""

    def __init__(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self._open = threading.Event(), threading.Event()
        feed: Any = service._parts.feed
        daily_bars = feed.daily_bars

        def gated(*arguments: Any) -> Any:
            self.reached.set()
            assert self._open.wait(60)
            return daily_bars(*arguments)

        monkeypatch.setattr(feed, "daily_bars", gated)

    def open(self, service: Service) -> None:
        self._open.set()
        service.finish_scan()


def go_to(wire: Wire, service: Service, time: datetime) -> None:
    """The market is there, and the service has turned once."""
    wire.alpaca.step(time)
    wire.clock.advance_to(time)
    service.turn()


@pytest.fixture
def evening(tmp_path: Path) -> Iterator[Wire]:
    with Wire(tmp_path, at(BEFORE, 19, 59)) as wire:
        wire.write_config(*BUSY)
        yield wire


@pytest.fixture
def morning(tmp_path: Path) -> Iterator[Wire]:
    """A minute before the gap filter, on a day whose scan nobody was there for."""
    with Wire(tmp_path, at(HALF_DAY, 9, 24)) as wire:
        wire.write_config(*BUSY)
        yield wire


def test_health_answers_and_a_flatten_is_taken_and_the_result_is_the_same(
    evening: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wire = evening
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    system = wire.home / "config" / "default.yaml"
    system.write_text(re.sub(r"(?m)^  port: null", f"  port: {port}", system.read_text()))
    with wire.service() as service:
        gate = Gate(service, monkeypatch)
        go_to(wire, service, at(BEFORE, 20))
        assert gate.reached.wait(60)
        Inbox(wire.home / "data").put(new_request(Flatten(), wire.clock.now(), "stop", "ann"))
        heartbeat = wire.home / "data" / "heartbeat"
        heartbeat.unlink()
        go_to(wire, service, at(BEFORE, 20, 10))
        token = (wire.home / "data" / "token").read_text().strip()
        health = requests.get(
            f"http://127.0.0.1:{port}/health", headers={"Authorization": f"Bearer {token}"}, timeout=5
        )
        assert (health.status_code, health.json()["beat_age_seconds"]) == (200, 0.0)
        assert service.desk.entries_off() is not None
        assert [event.done for event in wire.events() if isinstance(event, ev.Flattened)] == [False, True]
        assert (BEFORE, "scan") not in wire.stages()
        gate.open(service)
        go_to(wire, service, at(BEFORE, 20, 11))
    assert wire.stages()[BEFORE, "scan"].status == "done"
    found = result(wire)
    with Wire(tmp_path / "again", at(BEFORE, 19, 59)) as undisturbed:
        undisturbed.write_config(*BUSY)
        undisturbed.run(at(BEFORE, 20, 1))
        assert result(undisturbed) == found


def test_the_gap_filter_waits_for_the_scan_that_is_under_way(morning: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = morning
    with wire.service() as service:
        gate = Gate(service, monkeypatch)
        service.turn()
        assert gate.reached.wait(60)
        go_to(wire, service, at(HALF_DAY, 9, 27))
        assert not wire.stages().keys() & {(BEFORE, "scan"), (HALF_DAY, "gap_filter")}
        assert [alert.happened for alert in wire.alerts()] == ["it is still under way"]
        gate.open(service)
        go_to(wire, service, at(HALF_DAY, 9, 28))
        wire.turn_until(service, at(HALF_DAY, 9, 31))
    assert wire.stages()[BEFORE, "scan"].status == "late"
    found = statuses(wire.stages(), HALF_DAY)
    assert (found["gap_filter"], found["enter:moo"]) == ("late", "done")
    assert wire.book().positions


def test_a_scan_that_takes_too_long_holds_up_nothing_but_entries(
    morning: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = morning
    with wire.service() as service:
        gate = Gate(service, monkeypatch)
        service.turn()
        assert gate.reached.wait(60)
        for minute in (26, 30, 31):
            go_to(wire, service, at(HALF_DAY, 9, minute))
        assert wire.stages()[HALF_DAY, "gap_filter"].detail.startswith("no entries: there is no scan")
        gate.open(service)
        wire.turn_until(service, at(HALF_DAY, 9, 50))
    assert wire.stages()[BEFORE, "scan"].status == "late"  # what it found is kept, for whoever asks
    assert not [event for event in wire.events() if isinstance(event, ev.Ordered)]


def result(wire: Wire) -> Any:
    written = json.loads((wire.home / "data" / "batch_results" / f"{BEFORE}.json").read_text())
    del written["timestamp"], written["scan_summary"]["scan_duration_seconds"]
    return written

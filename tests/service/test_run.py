"""The service over the wire: real alpaca-py, a simulated Alpaca, whole sessions."""

from __future__ import annotations

import re
import socket
from datetime import date
from pathlib import Path
from typing import Any

import canary
import requests

from autotrader.core import events as ev
from tests.service.wire import BUSY, CALENDAR, Wire, at, rows, shown, statuses

HALF_DAY = date(2019, 7, 3)
BEFORE = CALENDAR.previous_session(HALF_DAY)


def test_a_session_over_the_wire_gives_the_trades_of_the_demo_on_the_same_market(tmp_path: Path) -> None:
    with Wire(tmp_path, at(BEFORE, 19, 59)) as wire:
        wire.write_config(*BUSY)
        wire.run(at(HALF_DAY, 13, 5))
        mine, demo = rows(wire.book()), rows(wire.demo(HALF_DAY, 1))
        assert mine == demo, f"{shown(mine)}\n---\n{shown(demo)}"
        assert {row[2] for row in mine} == {"long", "short"}
        assert sum(row[6] is not None for row in mine) >= 1
        held = {trade.symbol for trade in wire.book().all_trades() if trade.exited_at is None}
        assert wire.held_at_broker().keys() == held
        stages = ("splits", "gap_filter", "enter:moo", "enter:confirmation", "close")
        assert statuses(wire.stages(), HALF_DAY) == dict.fromkeys(stages, "done")
        closed = [event for event in wire.events() if isinstance(event, ev.SessionClosed)]
        assert [event.at for event in closed] == [at(HALF_DAY, 13, 0)]
        assert not wire.alerts()


def test_a_running_service_shows_its_state_to_who_has_the_token(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Wire(tmp_path, at(BEFORE, 19, 59)) as wire:
        system = wire.home / "config" / "default.yaml"
        system.write_text(re.sub(r"(?m)^  port: null", f"  port: {port}", system.read_text()))
        with wire.service() as service:
            wire.turn_until(service, at(HALF_DAY, 9, 26))
            token = (wire.home / "data" / "token").read_text().strip()
            ask: dict[str, Any] = {"headers": {"Authorization": f"Bearer {token}"}, "timeout": 5}
            health = requests.get(f"http://127.0.0.1:{port}/health", **ask)
            shown = requests.get(f"http://127.0.0.1:{port}/status", **ask).json()
    assert health.status_code == 200
    assert (shown["healthy"], shown["entries"]["on"], shown["service"]["running"]) == (True, True, True)
    done = {row["stage"]: row["status"] for row in shown["today"]["stages"] if row["session"] == HALF_DAY.isoformat()}
    assert (done["splits"], done["gap_filter"], done["enter:moo"]) == ("done", "done", "waiting")
    assert shown["next"][0]["stage"] == "enter:moo"


def test_no_key_is_written_anywhere(tmp_path: Path) -> None:
    with Wire(tmp_path, at(BEFORE, 19, 59)) as wire:
        wire.run(at(BEFORE, 20, 1))
        assert canary.files_with_keys(wire.home / "data") == []
        assert not canary.is_in(wire.log.getvalue())

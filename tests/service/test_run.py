"""The service over the wire: real alpaca-py, a simulated Alpaca, whole sessions."""

from __future__ import annotations

from datetime import date
from pathlib import Path

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

"""A morning with each fault of the broker in turn: no invariant breaks, nothing is done twice, the log tells of it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from autotrader.simulator.faults import Fault, Faults

from .soak import told, violations
from .wire import BUSY, CALENDAR, Wire, at

HALF_DAY = date(2019, 7, 3)
BEFORE = CALENDAR.previous_session(HALF_DAY)
POST, GET = "POST /v2/orders", "GET *"

# Each strikes often enough to be met several times between the open and ten to ten.
FAULTS = {
    "429": Fault(kind="429", request="* /v2/orders*", rate=0.3),
    "500 before": Fault(kind="500_before", request=POST, rate=0.4),
    "500 after": Fault(kind="500_after", request=POST, rate=0.4),
    "504 before": Fault(kind="504_before", request=POST, rate=0.4),
    "504 after": Fault(kind="504_after", request=POST, rate=0.4),
    "no answer": Fault(kind="hang_after", request=POST, nth=1, seconds=1.0),
    "dropped": Fault(kind="drop_after", request=POST, rate=0.4),
    "truncated": Fault(kind="truncated", request=GET, rate=0.1),
    "mute stream": Fault(kind="mute_stream", nth=2),
    "closed stream": Fault(kind="close_stream", nth=3),
    "refused stream": Fault(kind="refuse_stream", times=2),
    "duplicate frames": Fault(kind="duplicate_update"),
    "reordered frames": Fault(kind="reorder_update", event="new"),
    "dropped frames": Fault(kind="drop_update", rate=0.5),
    "stale positions": Fault(kind="stale_positions", seconds=90.0),
    "rejected": Fault(kind="reject_order", rate=0.3),
    "partial fills": Fault(kind="partial_fill", rate=0.5),
    "halted": Fault(kind="halt", symbol="VRSN", since=at(HALF_DAY, 9, 35), until=at(HALF_DAY, 9, 45)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_morning_with_a_fault_breaks_no_invariant(tmp_path: Path, name: str) -> None:
    faults = Faults(4, [FAULTS[name]])
    with Wire(tmp_path, at(BEFORE, 19, 59), faults=faults, patience=0.3) as wire:
        wire.write_config(*BUSY)
        with wire.service() as service:
            wire.turn_until(service, at(HALF_DAY, 9, 50))
            faults.clear()
            wire.turn_until(service, at(HALF_DAY, 9, 58))
        assert faults.counts[FAULTS[name].kind], "it struck"
        assert not violations(wire, [])
        assert all(told(FAULTS[name].kind, wire.log.getvalue()))
        assert wire.book().positions

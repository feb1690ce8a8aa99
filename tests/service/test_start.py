"""A start protects what is held before anything else is made ready."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import date
from pathlib import Path

from .wire import BUSY, CALENDAR, Wire, at

ROOT = Path(__file__).parents[2]
HALF_DAY = date(2019, 7, 3)
BEFORE = CALENDAR.previous_session(HALF_DAY)
LATER = ("pandas", "numpy", "talib", "pyarrow", "exchange_calendars", "fastapi", "uvicorn", "apprise", "alpaca.data")
# Starts the service in this folder, and says at the moment at which it has recovered what is imported by then.
STARTED = f"""
import logging, os, sys
from datetime import datetime
from pathlib import Path
from autotrader.clock import VirtualClock
from autotrader.service.start import Deployment, Stop, opened

def watched(record):
    if record.getMessage().startswith("recovered: "):
        print(record.getMessage(), [name for name in {LATER} if name in sys.modules], flush=True)
        os._exit(0)
    return True

logging.getLogger("autotrader.service").addFilter(watched)
home = Path(sys.argv[1])
with opened(Deployment(home, home / "config", VirtualClock(datetime.fromisoformat(sys.argv[2]))), Stop()):
    pass
"""


def test_what_is_held_is_protected_before_anything_is_imported_that_it_does_not_need(tmp_path: Path) -> None:
    with Wire(tmp_path, at(BEFORE, 19, 59)) as wire:
        wire.write_config(*BUSY)
        wire.run(at(HALF_DAY, 9, 31))
        held = wire.held_at_broker()
        assert held
        exchange = wire.alpaca.simulator.world.exchange
        stop = exchange.open_orders()[0]
        exchange.cancel(stop.client_order_id, wire.clock.now())  # behind the service's back
        system = wire.home / "config" / "default.yaml"
        system.write_text(re.sub(r"(?m)^  port: null", "  port: 8749", system.read_text()))
        ran = subprocess.run(
            [sys.executable, "-c", STARTED, str(wire.home), wire.clock.now().isoformat()], capture_output=True,
            text=True, timeout=60, check=False, cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "AUTOTRADER_ALERT_URLS": "json://127.0.0.1:1"},
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        count = len(held)
        assert ran.stdout.startswith(f"recovered: {count} positions, {count} with a stop at the broker"), ran.stdout
        assert ran.stdout.endswith(" []\n"), ran.stdout
        assert sorted(order.symbol for order in exchange.open_orders() if order.type == "stop") == sorted(held)

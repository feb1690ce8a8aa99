"""A process of the service that moves its simulated market on by itself, and dies where it is told to.

python -m tests.service.killable HOME URL END [POINT NTH]: runs until END, market time; at the NTH time that POINT
(or "any" point) is reached, it kills itself as kill -9 would.
"""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import time
from datetime import datetime
from pathlib import Path

import requests

from autotrader.clock import VirtualClock
from autotrader.points import set_hook
from autotrader.service.start import Deployment, Stop, opened

from .stepping import Json, Stepped


def main(home: Path, url: str, end: datetime, point: str = "", nth: int = 0) -> None:
    left = nth

    def reached(name: str) -> None:
        nonlocal left
        if point in {name, "any"}:
            left -= 1
            if left == 0:
                print(f"dies {name}", flush=True)
                os.kill(os.getpid(), signal.SIGKILL)

    if point:
        set_hook(reached)
    http = requests.Session()
    http.trust_env = False

    def state() -> Json:
        return dict(http.get(f"{url}/simulator/state", timeout=60).json())

    def step(to: datetime) -> Json:
        return dict(http.post(f"{url}/simulator/step", json={"to": to.isoformat()}, timeout=60).json())

    clock = VirtualClock(datetime.fromisoformat(state()["time"]))
    pause = Stepped(step, state, clock)
    days = {clock.now().date()}

    def new_time(at: datetime) -> None:
        if at.date() not in days:
            days.add(at.date())
            resident = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
            print(f"rss {at.date()} {resident[1] if resident else 0}", flush=True)

    pause.on_step = new_time
    began = time.monotonic()
    deployment = Deployment(home, home / "config", clock, pause, io.StringIO())
    with opened(deployment, Stop()) as (service, _):
        pause.service = service
        pause.until(min(service.turn(), clock.now()))
        print(f"recovered {time.monotonic() - began:.3f}", flush=True)
        book = service.desk.trader.book
        ordered = {order.ordered.symbol for order in book.orders.values() if order.ordered.leg != "entry"}
        for symbol in book.positions.keys() - ordered:
            print(f"unprotected {symbol}", flush=True)
        while clock.now() < end:
            pause.until(min(service.turn(), end))
        service.turn()


if __name__ == "__main__":
    given = sys.argv[1:]
    main(Path(given[0]), given[1], datetime.fromisoformat(given[2]), *given[3:4], *map(int, given[4:5]))

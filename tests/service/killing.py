"""Playing a day with processes that die, and what must hold of it: as if nobody had died."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from autotrader.clock import NEW_YORK
from autotrader.core import events as ev

from .wire import Row, Wire, at, rows

ROOT = Path(__file__).parents[2]
LIVED = (0.2, 3.0)  # seconds of a process that is killed at some time, its start included


class End(NamedTuple):
    """What a day came to, as journal, broker and result files have it."""

    trades: list[Row]
    fills: list[tuple[datetime, str, int, float]]  # the broker's
    stops: dict[str, float | None]  # symbol -> where its stop rests
    stages: list[tuple[str, ...]]  # with the hash of each file
    closes: list[tuple[str, float]]  # the equity of each


def end(wire: Wire) -> End:
    exchange = wire.alpaca.simulator.world.exchange
    fills = [(fill.at, fill.client_order_id, fill.quantity, float(fill.price))
             for fill in exchange.executions(at(wire.start.date(), 0))]  # fmt: skip
    stops = {order.symbol: None if order.stop_price is None else float(order.stop_price)
             for order in exchange.open_orders()}  # fmt: skip
    stages = [(str(session), name, stage.status, stage.detail, stage.file)
              for (session, name), stage in wire.stages().items()]  # fmt: skip
    closes = [(str(session), equity) for session, equity in wire.book().equity_history]
    return End(rows(wire.book()), sorted(fills), stops, sorted(stages), closes)


def play(wire: Wire, until: datetime, point: str = "", nth: int = 0, lived: float | None = None) -> str | None:
    """Runs a process, which dies at a point or after so many seconds. It must not end otherwise.

    Gives where it died: the point and the market's time; None: it came to its end.
    """
    command = [sys.executable, "-m", "tests.service.killable", str(wire.home), wire.alpaca.url, until.isoformat()]
    process = subprocess.Popen(
        [*command, *((point, str(nth)) if point else ())], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=ROOT, env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    try:
        out, error = process.communicate(timeout=lived or 240)
    except subprocess.TimeoutExpired:
        process.kill()
        out, error = process.communicate()
        assert lived is not None, "it never came to an end"
    assert process.returncode in (0, -9), error[-4000:]
    assert "unprotected" not in out, out
    durable(wire)
    if process.returncode == 0:
        return None
    died = re.search(r"dies (\S+)", out)
    return f"{died[1] if died else 'some time'} {wire.alpaca.simulator.world.now.astimezone(NEW_YORK):%m-%d %H:%M}"


def durable(wire: Wire) -> None:
    """Whatever the broker has, the journal had first; also at the moment of a death."""
    if wire.journal.exists():
        known = {event.order_id for event in wire.events() if isinstance(event, ev.Ordered)}
        assert {order.client_order_id for order in wire.alpaca.simulator.world.exchange.open_orders()} <= known
        assert {fill.client_order_id for fill in
                wire.alpaca.simulator.world.exchange.executions(at(wire.start.date(), 0))} <= known  # fmt: skip


def sound(wire: Wire) -> None:
    """Nothing twice, nothing unprotected, journal and broker of one mind."""
    book = wire.book()
    held = {held.symbol: held.sign * held.quantity for held in book.positions.values()}
    assert wire.held_at_broker() == held
    assert not book.differences
    orders = wire.alpaca.simulator.world.exchange.open_orders()
    resting = Counter(order.symbol for order in orders if order.type == "stop")
    assert resting == dict.fromkeys(held, 1), "one stop for each position, and none else"
    assert {order.client_order_id for order in orders} == set(book.orders)
    sent = [event for event in wire.events() if isinstance(event, ev.Ordered) and event.leg == "entry"]
    assert max(Counter((event.session, event.symbol) for event in sent).values()) == 1, "an entry was decided twice"


def kill_every(wire: Wire, until: datetime, nth: int) -> list[str]:
    """Plays until then with processes that all die at the nth point they reach; where they died."""
    return list(iter(lambda: play(wire, until, "any", nth), None))


def kill_at_times(wire: Wire, until: datetime, drawn: random.Random) -> list[str]:
    """Plays until then with processes that die after some seconds; where they died."""
    return list(iter(lambda: play(wire, until, lived=drawn.uniform(*LIVED)), None))

"""kill -9 of the real process: at every kill point, and at random ones; the end is as if nothing had happened."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from datetime import date, datetime
from pathlib import Path

import pytest

from autotrader.core import events as ev
from autotrader.points import POINTS

from .wire import BUSY, CALENDAR, Wire, at, rows, shown

ROOT = Path(__file__).parents[2]
HALF_DAY = date(2019, 7, 3)
BEFORE = CALENDAR.previous_session(HALF_DAY)
END = at(HALF_DAY, 9, 55)
# What a healthy day reaches, in the order of the day, and the how many-th time it is that kills.
KILLS = {"journal.create": 1, "ballast.write": 1, "journal.commit": 1, "file.write": 1, "file.rename": 1,
         "broker.submit": 2, "broker.cancel": 1}  # fmt: skip
NEVER = {"journal.set_aside", "ballast.free", "file.set_aside"}


def play(wire: Wire, end: datetime, point: str = "", nth: int = 0) -> bool:
    """Runs a process; whether it was killed. It must not end otherwise."""
    command = [sys.executable, "-m", "tests.service.killable", str(wire.home), wire.alpaca.url, end.isoformat()]
    ran = subprocess.run(
        [*command, *((point, str(nth)) if point else ())], capture_output=True, text=True, timeout=240, check=False,
        cwd=ROOT, env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert ran.returncode in (0, -9), ran.stderr[-4000:]
    return ran.returncode == -9


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
    assert max(Counter(event.symbol for event in sent).values()) == 1, "an entry was decided twice"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """The trades of the day that nobody disturbs."""
    with Wire(tmp_path_factory.mktemp("undisturbed"), at(BEFORE, 19, 59)) as wire:
        wire.write_config(*BUSY)
        wire.run(END)
        sound(wire)
        found = rows(wire.book())
    assert sum(row[6] is not None for row in found) >= 1, "the day has an exit"
    return list(found)


def test_every_kill_point_has_its_day() -> None:
    assert {point.rpartition(".")[0] for point in POINTS} == KILLS.keys() | NEVER


@pytest.mark.slow
def test_a_service_killed_at_every_kill_point_comes_to_the_same_end(tmp_path: Path, undisturbed: list[object]) -> None:
    with Wire(tmp_path, at(BEFORE, 19, 59)) as wire:
        wire.write_config(*BUSY)
        for what, nth in KILLS.items():
            for point in (f"{what}.before", f"{what}.after"):
                assert play(wire, END, point, nth), f"{point} was not reached"
        play(wire, END)
        sound(wire)
        assert rows(wire.book()) == undisturbed, shown(rows(wire.book()))


@pytest.mark.slow
def test_a_service_killed_at_random_comes_to_the_same_end(tmp_path: Path, undisturbed: list[object]) -> None:
    drawn = random.Random(8)
    with Wire(tmp_path, at(BEFORE, 19, 59)) as wire:
        wire.write_config(*BUSY)
        kills = 0
        while wire.alpaca.simulator.world.now < END and kills < 8:
            kills += play(wire, END, "any", drawn.randrange(1, 60))
        play(wire, END)
        assert kills >= 4
        sound(wire)
        assert rows(wire.book()) == undisturbed, shown(rows(wire.book()))

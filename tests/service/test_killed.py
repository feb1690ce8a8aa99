"""kill -9 of the real process: at every kill point, and at random ones; the end is as if nothing had happened.

A whole session with the night before and the evening after. `make kills` is the long form.
"""

from __future__ import annotations

import random
from datetime import date
from pathlib import Path

import pytest

from autotrader.points import POINTS

from .killing import LIVED, End, end, play, sound
from .wire import BUSY, CALENDAR, Wire, at

HALF_DAY = date(2019, 7, 3)
BEFORE = CALENDAR.previous_session(HALF_DAY)
END = at(HALF_DAY, 20, 5)
# What a healthy day reaches, in the order of the day, and the how many-th time of a process that kills it.
KILLS = (
    ("journal.create", 1, 1), ("ballast.write", 1, 1), ("journal.commit", 1, 1),
    ("file.write", 1, 1), ("file.rename", 1, 1),  # the scan
    ("file.write", 2, 1), ("file.rename", 1, 1),  # the gap filter
    ("broker.submit", 2, 2), ("journal.commit", 5, 5),  # entries and their stops
    ("broker.cancel", 1, 1), ("broker.submit", 1, 1),  # an exit
    ("journal.commit", 40, 20), ("file.write", 1, 1),  # the day; the evening's scan
)  # before, after  # fmt: skip
NEVER = {"journal.set_aside", "ballast.free", "file.set_aside"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> End:
    """What the day that nobody disturbs comes to."""
    with Wire(tmp_path_factory.mktemp("undisturbed"), at(BEFORE, 19, 59)) as wire:
        wire.write_config(*BUSY)
        wire.run(END)
        sound(wire)
        found = end(wire)
    assert sum(row[6] is not None for row in found.trades) >= 2, "the day has exits"
    assert found.closes
    return found


def test_every_kill_point_has_its_day() -> None:
    assert {point.rpartition(".")[0] for point in POINTS} == {what for what, *_ in KILLS} | NEVER


@pytest.mark.slow
def test_a_service_killed_at_every_kill_point_comes_to_the_same_end(tmp_path: Path, undisturbed: End) -> None:
    with Wire(tmp_path, at(BEFORE, 19, 59)) as wire:
        wire.write_config(*BUSY)
        for what, before, after in KILLS:
            assert play(wire, END, f"{what}.before", before), f"{what}.before was not reached"
            assert play(wire, END, f"{what}.after", after), f"{what}.after was not reached"
        assert play(wire, END) is None
        sound(wire)
        assert end(wire) == undisturbed


@pytest.mark.slow
def test_a_service_killed_at_random_comes_to_the_same_end(tmp_path: Path, undisturbed: End) -> None:
    drawn = random.Random(8)
    with Wire(tmp_path, at(BEFORE, 19, 59)) as wire:
        wire.write_config(*BUSY)
        died = [play(wire, END, "any", drawn.randrange(6, 40)) for _ in range(6)]
        died += [play(wire, END, lived=drawn.uniform(*LIVED)) for _ in range(4)]
        assert sum(each is not None for each in died) >= 7
        assert play(wire, END) is None
        sound(wire)
        assert end(wire) == undisturbed

"""Disks that are full, that fail, that somebody else writes to."""

from __future__ import annotations

import logging
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest

from autotrader.journal import ballast
from autotrader.journal.store import Journal, JournalError

from .chaos import Chaos, World, projection
from .market import Market
from .processes import FORK

SEED = 25
BARS = 30


class Failing:
    """A connection whose disk fails: `fails` says whether this write does, and with which words."""

    def __init__(self, connection: sqlite3.Connection, fails: Any) -> None:
        self._connection = connection
        self._fails = fails

    def execute(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        if statement.startswith(("INSERT", "COMMIT")) and (words := self._fails(statement)):
            raise sqlite3.OperationalError(words)
        return self._connection.execute(statement, values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class FailingWorld(World):
    """A world of one short day, whose journal's disk fails as `fails` says."""

    fails: Any = None

    def start(self) -> None:
        opened = Journal.open

        def failing(*args: Any, **more: Any) -> Journal:
            journal = opened(*args, **more)
            journal._connection = Failing(journal._connection, self.fails)  # type: ignore[assignment]
            return journal

        Journal.open = failing  # type: ignore[assignment, method-assign]
        try:
            super().start()
        finally:
            Journal.open = opened  # type: ignore[method-assign]

    def play(self) -> dict[str, Any]:
        original = Market.__post_init__

        def short(market: Market) -> None:
            original(market)
            market.minutes = market.minutes[:BARS]

        Market.__post_init__ = short  # type: ignore[method-assign]
        logging.getLogger("autotrader").setLevel(logging.CRITICAL)
        try:
            self._session(self.sessions[0])
            assert self.desk is not None
            return projection(self.desk.trader.book)
        finally:
            logging.getLogger("autotrader").setLevel(logging.NOTSET)
            Market.__post_init__ = original  # type: ignore[method-assign]


def day(fails: Any) -> tuple[dict[str, Any], FailingWorld]:
    with tempfile.TemporaryDirectory() as folder:
        world = FailingWorld(Chaos(SEED, sessions=1), Path(folder))
        world.fails = fails
        try:
            return world.play(), world
        finally:
            world.invariants.close()
            world.die()


def test_whichever_write_fails_the_day_ends_as_if_none_had() -> None:
    whole, _ = day(lambda statement: None)
    assert whole["trades"]
    for n in range(1, 2000):
        left = n

        def nth(_statement: str) -> str | None:
            nonlocal left
            left -= 1
            return "disk I/O error" if left == 0 else None

        end, world = day(nth)
        assert end == whole, f"the {n}th write failed"
        if left > 0:  # there were fewer
            assert n > 50
            return
        assert world.counts["crashes"] == 1
    raise AssertionError("a day does not come to an end of its writes")


def test_on_a_full_disk_exits_are_still_recorded_and_nothing_is_opened() -> None:
    """Room is there again once the ballast is freed; from then on no entry is sent."""
    full_from = 40
    writes = 0
    folders: list[Path] = []

    def fails(statement: str) -> str | None:
        nonlocal writes
        writes += 1
        full = writes >= full_from and (folders[0] / "journal.sqlite3.ballast").exists()
        return "database or disk is full" if full else None

    with tempfile.TemporaryDirectory() as name:
        folders.append(Path(name))
        world = FailingWorld(Chaos(SEED, sessions=1), Path(name))
        world.fails = fails
        try:
            end = world.play()
            assert world.desk is not None
            assert world.journal is not None
            assert world.journal.cramped
            assert world.desk.entries_off() == "the disk is full"
            assert not (Path(name) / "journal.sqlite3.ballast").exists()
            assert world.counts["crashes"] == 0
            assert world.invariants.counts["Leaving"]
            assert end["trades"], "an exit was recorded and filled"
        finally:
            world.invariants.close()
            world.die()


def test_a_disk_that_stays_full_stops_the_process_in_words(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal.sqlite3", "A", initial_cash=1.0)
    journal._connection = Failing(journal._connection, lambda _: "database or disk is full")  # type: ignore[assignment]
    from datetime import UTC, date, datetime

    from autotrader.core import events as ev

    with pytest.raises(JournalError, match="disk is full; make room"):
        journal.append(ev.DrawdownReset(datetime(2020, 3, 2, 15, tzinfo=UTC), date(2020, 3, 2)))
    journal.close()


def test_there_is_room_kept_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    with Journal.open(path, "A", initial_cash=1.0) as journal:
        assert not journal.cramped
        kept = tmp_path / "journal.sqlite3.ballast"
        assert kept.stat().st_blocks * 512 >= ballast.BYTES, "really there, not a hole"
    assert ballast.free(path)
    assert not ballast.free(path)
    with Journal.open(path, "A") as journal:
        assert kept.exists(), "kept again once there is room"
        assert not journal.cramped


def test_two_processes_never_write_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    first = Journal.open(path, "A", initial_cash=1.0)

    def second() -> None:
        with pytest.raises(JournalError, match="only one may run"):
            Journal.open(path, "A")
        with Journal.read(path) as reader:  # whoever only looks may
            assert reader.account_id == "A"

    process = FORK.Process(target=second)
    process.start()
    process.join()
    assert process.exitcode == 0
    first.close()
    Journal.open(path, "A").close()

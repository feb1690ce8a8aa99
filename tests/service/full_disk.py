"""A service whose disk is really full: data/ is a file system of its own, of a few megabytes, and a file fills it.

python -m tests.service.full_disk HOME: HOME/data is that file system. Ends with 0 if all held.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import date
from pathlib import Path

import pytest

from autotrader.core import events as ev
from autotrader.core.book import Book
from autotrader.journal.store import JournalError
from autotrader.service.inbox import Inbox, Pause, new_request
from autotrader.service.run import Service

from .wire import BUSY, CALENDAR, Wire, at

HALF_DAY = date(2019, 7, 3)
BEFORE = CALENDAR.previous_session(HALF_DAY)
FULL = "the disk is full"


def fill(data: Path) -> Path:
    """Takes all the room that is left."""
    filler = data / "filler"
    file = os.open(filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for size in (1 << 16, 1 << 12, 1):
        try:
            while os.write(file, b"\0" * size):
                pass
        except OSError:
            continue
    os.close(file)
    return filler


def leave(data: Path, room: int) -> None:
    """Somebody else takes what room there is but for so many bytes."""
    filler = data / "filler"
    fill(data)
    os.truncate(filler, filler.stat().st_size - room)


def at_one(wire: Wire) -> Book:
    """Nothing is lost: journal and broker agree on every share and fill, and each position has its stop."""
    book = wire.book()
    assert wire.held_at_broker() == {held.symbol: held.sign * held.quantity for held in book.positions.values()}
    exchange = wire.alpaca.simulator.world.exchange
    filled = sorted((event.order_id, event.cumulative) for event in wire.events() if isinstance(event, ev.Filled))
    assert filled == sorted((fill.client_order_id, fill.cumulative) for fill in exchange.executions(at(BEFORE, 0)))
    assert sorted(order.symbol for order in exchange.open_orders()) == sorted(book.positions)
    return book


def lose_all_room(wire: Wire) -> None:
    """Not even the ballast's is left: what cannot be recorded is not done. The service ends, and nothing was sent."""
    data = wire.home / "data"
    with wire.service() as service:
        wire.turn_until(service, at(HALF_DAY, 9, 29))
        shrink_log(service)
        (data / "journal.sqlite3.ballast").unlink()
        fill(data)
        with pytest.raises(JournalError, match=FULL):
            wire.turn_until(service, at(HALF_DAY, 9, 31))
    assert not wire.alpaca.simulator.world.exchange.open_orders()
    (data / "filler").unlink()


def shrink_log(service: Service) -> None:
    """SQLite's write-ahead log keeps the room that it once had; without it, the next commit needs some."""
    service.desk.journal._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def play(wire: Wire, service: Service) -> None:
    data = wire.home / "data"
    wire.turn_until(service, at(HALF_DAY, 9, 40))
    held = set(service.desk.trader.book.positions)
    assert {"APTV", "CTAS"} <= held
    shrink_log(service)
    filler = fill(data)
    # with nothing left, what needs recording takes the ballast's room
    wire.turn_until(service, at(HALF_DAY, 9, 42, 30))
    assert service.desk.journal.cramped
    assert not (data / "journal.sqlite3.ballast").exists()
    wire.turn_until(service, at(HALF_DAY, 9, 50))
    assert service.desk.entries_off() == FULL
    assert wire.stages()[HALF_DAY, "enter:confirmation"].detail == FULL
    left = {trade.symbol for trade in wire.book().all_trades() if trade.exited_at is not None}
    assert {"APTV", "CTAS"} <= left, left  # exits go out, and are recorded
    assert [(alert.severity, alert.happened) for alert in wire.alerts() if alert.subject == "disk"] == [
        ("critical", FULL)
    ]  # fmt: skip
    at_one(wire)
    wire.turn_until(service, at(HALF_DAY, 19, 59))
    # somebody takes the ballast's room too, all but a little: what the scan found does not fit
    leave(data, 96 << 10)
    wire.turn_until(service, at(HALF_DAY, 20, 1))
    assert (HALF_DAY, "scan") not in wire.stages()
    assert any("scan" in alert.subject and "space" in alert.happened for alert in wire.alerts())
    assert not list((data / "batch_results").glob(f".{HALF_DAY}*")), "no part of a file is left"
    at_one(wire)
    # there is room again
    filler.unlink()
    wire.turn_until(service, at(HALF_DAY, 20, 10))
    assert not service.desk.journal.cramped
    assert (data / "journal.sqlite3.ballast").stat().st_size == 4 << 20
    assert service.desk.entries_off() is None
    assert (HALF_DAY, "scan") in wire.stages()
    told = [alert.happened for alert in wire.alerts() if alert.subject == "disk"]
    assert told[-1] == "the disk has room again", told


def start_on_a_full_disk(wire: Wire) -> None:
    """A start that finds no room: it recovers, watches, and enters nothing until there is some."""
    data = wire.home / "data"
    (data / "journal.sqlite3.ballast").unlink()
    filler = fill(data)
    os.truncate(filler, filler.stat().st_size - (1 << 17))  # some room for the journal, none for the ballast
    with wire.service() as service:
        service.turn()
        assert service.desk.entries_off() == FULL
        at_one(wire)
        Inbox(data).put(new_request(Pause(), wire.clock.now(), "look", "ann"))
        wire.turn_until(service, at(HALF_DAY, 20, 15))
        assert service.desk.trader.book.paused is not None, "people are heard"
    filler.unlink()


def main(home: Path) -> None:
    logging.raiseExceptions = False  # a log that cannot be written says so on stderr, again and again
    with Wire(home, at(BEFORE, 19, 59)) as wire:
        wire.write_config(*BUSY)
        lose_all_room(wire)
        with wire.service() as service:
            play(wire, service)
        start_on_a_full_disk(wire)
        book = at_one(wire)
        lines = [json.loads(line) for path in (home / "data" / "logs").glob("*.jsonl")
                 for line in path.read_text().splitlines()]  # fmt: skip
        assert all(line["message"] for line in lines), "every line of the log is whole"
        print(f"{len(book.all_trades())} trades, {len(list(wire.events()))} events")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The journal file: durable, append-only, of one account, and never mistaken for something else."""

from __future__ import annotations

import json
import math
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from autotrader.clock import NEW_YORK, VirtualClock
from autotrader.core import events as ev
from autotrader.core.book import Book
from autotrader.errors import AutotraderError
from autotrader.journal import codec
from autotrader.journal.store import DecisionRecord, Journal, JournalError, StoredConfig
from autotrader.rules.decision import Decision
from autotrader.settings import StrategyParams, SystemSettings
from autotrader.validation.load import PACKAGED_CONFIG
from autotrader.validation.structure import build, read_document

AT = datetime(2024, 7, 1, 9, 31, tzinfo=NEW_YORK)
DAY = date(2024, 7, 1)
PLAN = ev.EntryPlan("MOO", 1, 0.5, "Energy", "TREND", 2.0, 100.0, 100.0, 5.0, "hash")
OPENED = ev.SessionOpened(AT, DAY, 1)
ORDERED = ev.Ordered(AT, DAY, "t-1", "A", "pullback", "long", "entry", 10, PLAN)
FILLED = ev.Filled(AT, DAY, "t-1", 10, 100.0, 10)
CLOSED = ev.SessionClosed(AT, DAY, 100_000.0)
DAY_ONE: tuple[ev.Event, ...] = (OPENED, ORDERED, FILLED, ev.Marked(AT, DAY, "A", 101.0, 99.0, 1), CLOSED)
DECISION = DecisionRecord(
    AT, DAY, "exit", "A", "pullback", "hold", "day_skip", "day_skip", "hash", {"price": 100.5, "evidence": []}
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "journal.sqlite3"


def opened(path: Path, account: str = "ACCOUNT") -> Journal:
    return Journal.open(path, account, initial_cash=100_000.0, clock=VirtualClock(datetime(2024, 6, 30, tzinfo=UTC)))


def full(path: Path) -> Path:
    with opened(path) as journal:
        for event in DAY_ONE:
            journal.append(event)
        journal.record(DECISION)
    return path


# --- keeping ------------------------------------------------------------------------------------------------------


def test_what_was_appended_comes_back_in_its_order_and_folds_to_the_same_book(path: Path) -> None:
    with Journal.read(full(path)) as journal:
        assert tuple(journal.events()) == DAY_ONE
        assert journal.book() == Book(100_000.0).fold(DAY_ONE)
        assert list(journal.decisions()) == [DECISION]
        assert journal.last_session() == DAY
        assert journal.counts() == (5, 1)
        assert journal.account_id == "ACCOUNT"
        assert journal.initial_cash == 100_000.0
        assert journal.created_at == datetime(2024, 6, 30, tzinfo=UTC)


def test_recent_events_begin_with_the_opening_of_a_session(path: Path) -> None:
    def day(number: int) -> list[ev.Event]:
        at = AT + timedelta(days=number)
        return [ev.SessionOpened(at, at.date(), 1 + number), ev.SessionClosed(at, at.date(), 100_000.0)]

    first, second, third = day(0), day(1), day(2)
    with opened(path) as journal:
        assert list(journal.recent_events()) == []
        for event in first:
            journal.append(event)
        assert list(journal.recent_events(1)) == list(journal.recent_events(2)) == first
        for event in (*second, *third):
            journal.append(event)
        assert list(journal.recent_events(1)) == third
        assert list(journal.recent_events()) == [*second, *third]
        assert list(journal.recent_events(9)) == [*first, *second, *third]
        assert list(journal.recent_events(2, [ev.SessionClosed])) == [second[1], third[1]]


def test_a_new_journal_is_empty_and_private(path: Path) -> None:
    with opened(path) as journal:
        assert list(journal.events()) == []
        assert journal.last_session() is None
        assert journal.counts() == (0, 0)
        assert journal.book() == Book(100_000.0)
    assert path.stat().st_mode & 0o077 == 0
    there = sorted(file.name for file in path.parent.iterdir())  # nothing temporary stays
    assert there == ["journal.sqlite3", "journal.sqlite3.ballast", "journal.sqlite3.lock"]
    assert all(file.stat().st_mode & 0o077 == 0 for file in path.parent.iterdir())


def test_the_cash_of_the_first_opening_stays(path: Path) -> None:
    full(path)
    with Journal.open(path, "ACCOUNT", initial_cash=5.0) as journal:
        assert journal.initial_cash == 100_000.0


def test_without_an_initial_cash_there_is_no_book_to_start(path: Path) -> None:
    with Journal.open(path, "ACCOUNT") as journal, pytest.raises(JournalError, match="initial cash"):
        journal.book()


def test_every_commit_reaches_the_disk(path: Path) -> None:
    with opened(path) as journal:
        asked = journal._connection
        assert asked.execute("PRAGMA synchronous").fetchone() == (2,)
        assert asked.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert asked.execute("PRAGMA foreign_keys").fetchone() == (1,)
        assert asked.execute("PRAGMA busy_timeout").fetchone()[0] <= 5000


@pytest.mark.parametrize(("table", "column"), [("meta", "value"), ("events", "body"), ("decisions", "body"),
                                               ("configs", "body")])  # fmt: skip
@pytest.mark.parametrize("statement", ["DELETE FROM {0}", "UPDATE {0} SET {1} = {1}"])
def test_nothing_can_be_changed_or_removed_whoever_asks(path: Path, table: str, column: str, statement: str) -> None:
    connection = sqlite3.connect(full(path))
    connection.execute("INSERT INTO configs VALUES ('hash', '{}')")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement.format(table, column))
    connection.close()


# --- the same again -----------------------------------------------------------------------------------------------


def test_the_same_event_again_is_known_even_if_it_was_learned_of_later(path: Path) -> None:
    with opened(path) as journal:
        assert journal.append(FILLED)
        assert not journal.append(FILLED)
        assert not journal.append(replace(FILLED, at=AT + timedelta(seconds=3)))
        assert list(journal.events()) == [FILLED]


def test_another_event_under_the_same_key_is_a_contradiction(path: Path) -> None:
    with opened(path) as journal:
        journal.append(FILLED)
        with pytest.raises(JournalError, match="Filled:t-1:10 is there already"):
            journal.append(replace(FILLED, price=100.01))
        assert list(journal.events()) == [FILLED]


def test_an_event_that_cannot_be_kept_is_refused_and_leaves_no_trace(path: Path) -> None:
    with opened(path) as journal:
        with pytest.raises(JournalError, match="Filled cannot be kept"):
            journal.append(replace(FILLED, price=math.nan))
        assert not journal.in_transaction


def test_a_decision_is_recorded_once_and_what_was_acted_on_stays(path: Path) -> None:
    with opened(path) as journal:
        assert journal.record(DECISION)
        assert not journal.record(DECISION)
        assert journal.record(replace(DECISION, strategy=None))
        assert not journal.record(replace(DECISION, outcome="exit"))
        assert [record.outcome for record in journal.decisions()] == [DECISION.outcome] * 2


def test_an_unknown_number_of_a_decision_is_null(path: Path) -> None:
    with opened(path) as journal:
        journal.record(replace(DECISION, body={"price": math.nan, "evidence": [{"facts": {"rsi": math.inf}}]}))
        (found,) = journal.decisions()
        assert found.body == {"price": None, "evidence": [{"facts": {"rsi": None}}]}


def test_decisions_are_found_by_symbol_session_and_stage(path: Path) -> None:
    with opened(path) as journal:
        for symbol in "AB":
            for session in (DAY, date(2024, 7, 2)):
                for stage in ("limits", "exit"):
                    journal.record(replace(DECISION, symbol=symbol, session=session, stage=stage))
        assert len(list(journal.decisions())) == 8
        assert {found.symbol for found in journal.decisions("A")} == {"A"}
        assert [found.stage for found in journal.decisions("B", DAY)] == ["limits", "exit"]
        assert [found.session for found in journal.decisions("B", stage="exit")] == [DAY, date(2024, 7, 2)]
        assert list(journal.decisions("B", DAY, "gap_filter")) == []


def test_a_record_is_made_of_a_decision_with_its_evidence() -> None:
    decision = Decision("limits", "reject", "too_many", "slots", ("too_many", "too_late"))
    record = DecisionRecord.of(decision, AT, DAY, "A", "pullback", "hash", price=100.5)
    assert (record.stage, record.outcome, record.rule, record.reason) == ("limits", "reject", "too_many", "slots")
    assert record.body == {"matched": ["too_many", "too_late"], "evidence": [], "price": 100.5}
    assert record.key == "2024-07-01:limits:A:pullback:2024-07-01T09:31:00-04:00"


def test_a_configuration_comes_back_whole_by_its_hash(path: Path) -> None:
    params = build(StrategyParams, read_document(PACKAGED_CONFIG / "strategy_params.yaml"))
    assert isinstance(params, StrategyParams)
    system = SystemSettings.model_validate({"feed": {"seed": 7}, "logging": {"json": True}})
    with opened(path) as journal:
        journal.store_config("hash", params, system)
        journal.store_config("hash", params, SystemSettings())  # the first one stays
    with Journal.read(path) as journal:
        assert journal.config("hash") == StoredConfig(params, system)
        with pytest.raises(JournalError, match="no configuration other"):
            journal.config("other")


def test_a_configuration_that_is_no_longer_one_is_named(path: Path) -> None:
    changed(path, 'INSERT INTO configs VALUES (\'old\', \'{"params": {"version": 1}, "system": {}}\')')
    with Journal.read(path) as journal, pytest.raises(JournalError, match="configuration old is not one"):
        journal.config("old")


# --- transactions -------------------------------------------------------------------------------------------------


def test_a_reader_sees_what_is_committed_while_the_writer_goes_on(path: Path) -> None:
    with opened(path) as writer:
        writer.append(OPENED)
        writer.commit()
        writer.append(ORDERED)
        assert writer.in_transaction
        with Journal.read(path) as reader:
            assert list(reader.events()) == [OPENED]
            writer.commit()
            assert list(reader.events()) == [OPENED, ORDERED]
        assert not writer.in_transaction


def test_a_reader_cannot_write(path: Path) -> None:
    with Journal.read(full(path)) as reader, pytest.raises(JournalError, match="read-only"):
        reader.append(replace(FILLED, order_id="t-2"))


def test_a_second_writer_is_told_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autotrader.journal.store.BUSY_SECONDS", 0.05)
    with opened(path) as first:
        first.append(OPENED)
        with pytest.raises(JournalError, match="another process"):
            opened(path)


def test_an_exception_loses_what_was_not_committed_as_a_crash_would(path: Path) -> None:
    def fails() -> None:
        with opened(path) as journal:
            journal.append(OPENED)
            journal.commit()
            journal.append(ORDERED)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    with Journal.read(path) as journal:
        assert list(journal.events()) == [OPENED]


def test_a_kill_loses_only_what_was_not_committed(path: Path) -> None:
    program = f"""
import os, datetime
from pathlib import Path
from autotrader.clock import NEW_YORK
from autotrader.core import events as ev
from autotrader.journal.store import Journal
journal = Journal.open(Path({str(path)!r}), "ACCOUNT", initial_cash=1.0)
at = datetime.datetime(2024, 7, 1, 9, 31, tzinfo=NEW_YORK)
journal.append(ev.SessionOpened(at, at.date(), 1))
journal.commit()
journal.append(ev.SessionClosed(at, at.date(), 1.0))
os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == 9
    with Journal.open(path, "ACCOUNT") as journal:
        assert list(journal.events()) == [OPENED]
        assert journal.append(replace(CLOSED, equity=1.0))
    with Journal.read(path) as journal:
        assert len(list(journal.events())) == 2


# --- what is not our journal --------------------------------------------------------------------------------------


def changed(path: Path, statement: str) -> Path:
    """A journal that somebody worked on with other tools."""
    connection = sqlite3.connect(full(path))
    for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {trigger}")
    connection.execute(statement)
    connection.commit()
    connection.close()
    return path


def refuses(path: Path, says: str, account: str = "ACCOUNT") -> None:
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(JournalError, match=says) as caught:
        opened(path, account)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, AutotraderError)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_the_journal_of_another_account_is_refused(path: Path) -> None:
    refuses(full(path), "of account ACCOUNT, not of OTHER; use that account", "OTHER")


def test_a_text_file_is_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    path.write_text("trades\n" * 100)
    refuses(path, "is not a journal")


@pytest.mark.parametrize("statement", ["CREATE TABLE meta (name TEXT, value TEXT)", "CREATE TABLE trades (a TEXT)"])
def test_another_programs_database_is_no_journal(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "journal.sqlite3"
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.close()
    refuses(path, "not a journal")


def test_an_empty_file_is_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    path.touch()
    refuses(path, "not a journal")


def test_a_folder_is_no_journal(tmp_path: Path) -> None:
    refuses(tmp_path, "is a folder")
    with pytest.raises(JournalError, match="is a folder"):
        Journal.read(tmp_path)


def test_a_journal_of_a_newer_schema_is_refused(path: Path) -> None:
    refuses(changed(path, "UPDATE meta SET value = '2' WHERE name = 'schema_version'"), "schema 2")


def test_a_read_only_journal_is_refused_for_writing_and_can_be_read(path: Path) -> None:
    full(path).chmod(0o400)
    refuses(path, "read-only")
    with Journal.read(path) as journal:
        assert journal.last_session() == DAY


def test_a_damaged_file_is_named_and_set_aside_and_nothing_takes_its_place(path: Path) -> None:
    with opened(path) as journal:
        for number in range(500):
            journal.append(ev.StageDone(AT, DAY, f"stage {number}", "x" * 50))
    content = bytearray(path.read_bytes())
    content[8192:12288] = b"\xff" * 4096
    path.write_bytes(content)
    for _ in range(2):  # a service that is started again and again must not begin an empty journal
        with pytest.raises(JournalError, match="corrupt"):
            opened(path)
        assert not path.exists()
    aside = path.with_name("journal.sqlite3.corrupt")
    assert aside.read_bytes() == content
    aside.rename(path.with_name("elsewhere"))
    opened(path).close()


def test_a_file_cut_short_is_named_by_readers_too(path: Path) -> None:
    with opened(path) as journal:
        for number in range(500):
            journal.append(ev.StageDone(AT, DAY, f"stage {number}", "x" * 50))
    path.write_bytes(path.read_bytes()[:-40960])
    with pytest.raises(JournalError, match="corrupt"), Journal.read(path) as journal:
        list(journal.events())


def test_a_log_without_its_journal_is_not_written_over(path: Path) -> None:
    full(path).unlink()
    path.with_name(path.name + "-wal").write_bytes(b"frames")
    with pytest.raises(JournalError, match="without its journal"):
        opened(path)
    assert path.with_name(path.name + "-wal").read_bytes() == b"frames"
    assert not path.exists()


def test_there_is_nothing_to_read_where_nothing_was_written(path: Path) -> None:
    with pytest.raises(JournalError, match="no journal at"):
        Journal.read(path)
    assert not path.exists()


def test_a_place_where_no_file_can_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="no journal can be made"):
        opened(tmp_path / "file" / "journal.sqlite3")


def test_an_event_that_cannot_be_read_is_named_by_its_number(path: Path) -> None:
    changed(path, "UPDATE events SET kind = 'Gained' WHERE seq = 3")
    with Journal.read(path) as journal, pytest.raises(JournalError, match=r'event 3 .*unknown kind "Gained"'):
        list(journal.events())


def test_an_event_that_contradicts_the_others_is_named_by_its_number(path: Path) -> None:
    changed(path, "UPDATE events SET body = json_set(body, '$.quantity', 11) WHERE kind = 'Filled'")
    with Journal.read(path) as journal, pytest.raises(JournalError, match="event 3 contradicts"):
        journal.book()


def test_a_damaged_decision_is_named_by_its_number(path: Path) -> None:
    changed(path, "UPDATE decisions SET body = '{'")
    with Journal.read(path) as journal, pytest.raises(JournalError, match="decision 1 is damaged"):
        list(journal.decisions())


def test_an_old_event_counts_as_the_same_as_its_new_form(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = json.dumps({"order_id": "t-1", "quantity": 10, "price": 100.0, "cumulative": 10})
    changed(path, f"UPDATE events SET version = 0, body = '{old}' WHERE kind = 'Filled'")
    monkeypatch.setitem(codec.UPCASTERS, ("Filled", 0), lambda body: body | {"commission": 0.0})
    with Journal.open(path, "ACCOUNT") as journal:
        assert tuple(journal.events()) == DAY_ONE
        assert not journal.append(FILLED)

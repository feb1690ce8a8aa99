"""The journal: one SQLite file of an account, append-only and durable, from which everything else is folded."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import math
import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from autotrader.clock import Clock, SystemClock
from autotrader.core.book import Book, BookError
from autotrader.core.events import EVENTS, Event
from autotrader.errors import AutotraderError
from autotrader.journal import ballast, codec
from autotrader.points import reached
from autotrader.rules.decision import Decision

if TYPE_CHECKING:
    from autotrader.settings import StrategyParams, SystemSettings

log = logging.getLogger("autotrader.journal")

SCHEMA_VERSION = 1
BUSY_SECONDS = 2.0  # how long a write waits for another process's; two writers are a mistake

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, at TEXT NOT NULL, session TEXT NOT NULL,
    kind TEXT NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL
);
CREATE TABLE decisions (
    seq INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, at TEXT NOT NULL, session TEXT NOT NULL,
    stage TEXT NOT NULL, symbol TEXT NOT NULL, strategy TEXT, outcome TEXT NOT NULL, rule TEXT,
    reason TEXT NOT NULL, body TEXT NOT NULL
);
CREATE TABLE configs (hash TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE INDEX decisions_of_symbol ON decisions (symbol, session);
CREATE INDEX decisions_of_session ON decisions (session);
""" + "".join(
    f"CREATE TRIGGER {table}_{act.lower()} BEFORE {act} ON {table} "
    "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;\n"
    for table in ("meta", "events", "decisions", "configs")
    for act in ("UPDATE", "DELETE")
)
_ADD_EVENT = (
    "INSERT INTO events (key, at, session, kind, version, body) VALUES (?,?,?,?,?,?) ON CONFLICT (key) DO NOTHING"
)
_ADD_DECISION = (
    "INSERT INTO decisions (key, at, session, stage, symbol, strategy, outcome, rule, reason, body) "
    "VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT (key) DO NOTHING"
)


class JournalError(AutotraderError):
    """The journal cannot be used, or what it is told contradicts it. The text names the file."""


class CorruptJournal(JournalError):
    """The journal's content cannot be trusted. set_aside: it has another name now, and nothing takes its place."""

    def __init__(self, path: Path, found: str, *, set_aside: bool = False) -> None:
        where = f"it is kept as {_aside(path).name}, and" if set_aside else "nothing was changed;"
        way_out = "nothing is traded until a copy is restored in its place"
        super().__init__(f"{path} is corrupt ({found}); {where} {way_out}")
        self.found = found


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A decision as it is kept: what `explain` shows. body: evidence, and whatever else was there to know."""

    at: datetime
    session: date
    stage: str
    symbol: str
    strategy: str | None
    outcome: str
    rule: str | None
    reason: str
    config_hash: str
    body: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        decision: Decision,
        at: datetime,
        session: date,
        symbol: str,
        strategy: str | None,
        config_hash: str,
        **extra: Any,
    ) -> DecisionRecord:
        """The record of a decision about a symbol. extra: more to keep in the body."""
        body = {**decision.as_json(), **extra}
        for name in ("stage", "outcome", "rule", "reason"):  # they have places of their own
            del body[name]
        return cls(at, session, decision.stage, symbol, strategy, decision.outcome, decision.rule, decision.reason,
                   config_hash, body)  # fmt: skip

    @property
    def key(self) -> str:
        return f"{self.session}:{self.stage}:{self.symbol}:{self.strategy or ''}:{codec.stamp(self.at)}"


@dataclass(frozen=True, slots=True)
class StoredConfig:
    """A configuration that decisions were made under."""

    params: StrategyParams
    system: SystemSettings


class Journal:
    """One account's journal. What is appended is durable after `commit`; a crash before it loses only that.

    Used as a context it commits and closes; on an exception it closes as a crash would, without committing.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Use `open` or `read`."""
        self.path = path
        self.cramped = False  # the disk was full: what is kept for bad times is being used up
        self._connection = connection
        place = path.stat()
        self._place = place.st_dev, place.st_ino
        self._meta = self._read_meta()
        self._pending: list[tuple[str, tuple[object, ...]]] = []  # inserted and not committed
        self._lock: int | None = None

    # --- opening ------------------------------------------------------------------------------------------------

    @classmethod
    def open(
        cls, path: Path, account_id: str, *, initial_cash: float | None = None, clock: Clock | None = None
    ) -> Journal:
        """The journal at `path` for writing; made if there is none, with `initial_cash` (USD) as its start.

        JournalError where it is of another account or cannot be trusted or written.
        """
        _check_file(path)
        lock = _lock(path)
        try:
            journal = cls._open(path, account_id, initial_cash, clock)
        except CorruptJournal as error:
            _set_aside(path)
            os.close(lock)
            raise CorruptJournal(path, error.found, set_aside=True) from error
        except BaseException:
            os.close(lock)
            raise
        journal._lock = lock
        return journal

    @classmethod
    def _open(cls, path: Path, account_id: str, initial_cash: float | None, clock: Clock | None) -> Journal:
        if not path.exists():
            _create(path, account_id, initial_cash, (clock or SystemClock()).now())
        elif not path.stat().st_mode & stat.S_IWUSR:  # asked of the file, since root may write anything
            raise JournalError(f"{path} is read-only; make it writable, or say where else the journal is")
        journal = _connect(cls, path, "rw")
        try:
            journal.check_account(account_id)
            journal._prepare()
            journal.cramped = not ballast.keep(path)
        except BaseException:
            journal.close()
            raise
        return journal

    @classmethod
    def read(cls, path: Path) -> Journal:
        """The journal at `path` for reading, also while another process writes it."""
        _check_file(path)
        if not path.exists():
            raise JournalError(f"there is no journal at {path}")
        return _connect(cls, path, "ro")

    def check_account(self, account_id: str) -> None:
        """JournalError where it is another account's."""
        if self.account_id != account_id:
            raise JournalError(
                f"{self.path} is the journal of account {self.account_id}, not of {account_id}; "
                "use that account, or another deployment folder"
            )

    def check_place(self) -> None:
        """JournalError where the file was taken away: what is written to it would be lost with this process."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._place:
            raise JournalError(f"{self.path} was moved, removed or replaced while it was in use; put it back, all of "
                               "its files, or restore a copy")  # fmt: skip

    def close(self) -> None:
        """Closes without committing."""
        self._connection.close()
        if self._lock is not None:
            os.close(self._lock)  # which gives the lock back
            self._lock = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            self.close()

    @property
    def account_id(self) -> str:
        return self._meta["account_id"]

    @property
    def initial_cash(self) -> float | None:
        """USD, as it was when the journal was made."""
        text = self._meta["initial_cash"]
        return float(text) if text else None

    @property
    def created_at(self) -> datetime:
        return codec.unstamp(self._meta["created_at"])

    # --- writing ------------------------------------------------------------------------------------------------

    @property
    def in_transaction(self) -> bool:
        """Whether something waits for a commit."""
        return self._connection.in_transaction

    def commit(self) -> None:
        """Makes durable all that was appended since the last one."""
        if self._connection.in_transaction:
            reached("journal.commit.before")
            try:
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._make_room(error)
                self._execute("COMMIT")
            self._pending.clear()
            reached("journal.commit.after")

    def append(self, event: Event) -> bool:
        """Adds an event. False: it is there already. JournalError: another one is there under its key.

        Happening twice or learned of twice, `at` and `session` may differ; where they matter they are in the key.
        """
        try:
            row = codec.encode(event)
        except ValueError as error:
            raise JournalError(f"{self.path}: {type(event).__name__} cannot be kept: {error}") from error
        if self._insert(_ADD_EVENT, row):
            return True
        old = self._execute("SELECT kind, version, body FROM events WHERE key = ?", (row.key,)).fetchone()
        if old != row[3:] and codec.encode(self._decode(0, row.at, row.session, *old)).body != row.body:
            raise JournalError(f"{self.path}: {row.key} is there already, as {old[2]}, not {row.body}")
        return False

    def record(self, decision: DecisionRecord) -> bool:
        """Adds a decision. False: there is one under its key already, which stays.

        After a crash a moment may be judged again with more known than the first time. What was acted on is the first.
        """
        body = {"config_hash": decision.config_hash, **decision.body}
        try:
            text = _to_json(body)
        except ValueError:
            text = _to_json(_known(body))
        row = (
            decision.key, codec.stamp(decision.at), decision.session.isoformat(), decision.stage, decision.symbol,
            decision.strategy, decision.outcome, decision.rule, decision.reason, text,
        )  # fmt: skip
        if self._insert(_ADD_DECISION, row):
            return True
        old = self._execute("SELECT outcome, rule, reason, body FROM decisions WHERE key = ?", (row[0],)).fetchone()
        if old != row[6:]:
            log.warning("the decision %s is there already, as %s; not recorded again as %s", row[0], old, row[6:])
        return False

    def store_config(self, config_hash: str, params: StrategyParams, system: SystemSettings) -> None:
        """Keeps a configuration under its hash; the first one stays."""
        body = {"params": params.model_dump(), "system": system.model_dump(mode="json", by_alias=True)}
        text = json.dumps(body, separators=(",", ":"), allow_nan=False, default=_time_text)
        self._insert("INSERT INTO configs (hash, body) VALUES (?,?) ON CONFLICT (hash) DO NOTHING", (config_hash, text))

    def _insert(self, statement: str, row: tuple[object, ...]) -> bool:
        try:
            if not self._connection.in_transaction:
                self._connection.execute("BEGIN IMMEDIATE")
            added = self._connection.execute(statement, row).rowcount == 1
        except sqlite3.Error as error:
            self._make_room(error)
            added = self._execute(statement, row).rowcount == 1
        self._pending.append((statement, row))
        return added

    def _make_room(self, error: sqlite3.Error) -> None:
        """On a full disk: gives the ballast back and begins the open transaction again. JournalError for all else."""
        if not _is_full(error) or not ballast.free(self.path):
            raise _said(self.path, error) from error
        self.cramped = True
        log.error("%s: the disk is full; the room kept for this is used now, nothing new is opened", self.path)
        if self._connection.in_transaction:  # SQLite may have undone it already
            self._execute("ROLLBACK")
        self._execute("BEGIN IMMEDIATE")
        for statement, row in self._pending:
            self._execute(statement, row)

    def find_room(self) -> bool:
        """Keeps room for bad times again, once the disk has it; whether it is there."""
        if self.cramped:
            self.cramped = not ballast.keep(self.path)
        return not self.cramped

    # --- reading ------------------------------------------------------------------------------------------------

    def events(self) -> Iterator[Event]:
        """Every event, in the order in which they were appended, in today's form."""
        for _, event in self._events():
            yield event

    def recent_events(self, sessions: int = 2, kinds: Sequence[type[Event]] = EVENTS) -> Iterator[Event]:
        """The events of some kinds from the opening of the last sessions on, in order.

        All of them where there were fewer sessions. A session has thousands of marks: who does not need them says so.
        """
        opened = self._execute(
            "SELECT seq FROM events WHERE kind = 'SessionOpened' ORDER BY seq DESC LIMIT ?", (sessions,)
        ).fetchall()
        first = opened[-1][0] if len(opened) == sessions else 0
        statement = (
            "SELECT seq, at, session, kind, version, body FROM events "  # noqa: S608  # places for the names
            f"WHERE seq >= ? AND kind IN ({','.join('?' * len(kinds))}) ORDER BY seq"
        )
        for row in self._rows(statement, (first, *(kind.__name__ for kind in kinds))):
            yield self._decode(*row)

    def book(self) -> Book:
        """The account as its events left it, from the initial cash."""
        if self.initial_cash is None:
            raise JournalError(f"{self.path} was made without an initial cash: there is nothing to start a book from")
        book = Book(self.initial_cash)
        for seq, event in self._events():
            try:
                book.apply(event)
            except BookError as error:
                raise JournalError(f"{self.path}: event {seq} contradicts those before it: {error}") from error
        return book

    def decisions(
        self, symbol: str | None = None, session: date | None = None, stage: str | None = None
    ) -> Iterator[DecisionRecord]:
        """Decisions in the order in which they were recorded; of one symbol, session, stage where given."""
        given = {"symbol": symbol, "session": session and session.isoformat(), "stage": stage}
        wanted = {name: value for name, value in given.items() if value is not None}
        where = " AND ".join(f"{name} = ?" for name in wanted) or "1"
        statement = (
            "SELECT seq, at, session, stage, symbol, strategy, outcome, rule, reason, body "  # noqa: S608  # names above
            f"FROM decisions WHERE {where} ORDER BY seq"
        )
        for seq, at, day, named, of, strategy, outcome, rule, reason, text in self._rows(
            statement, tuple(wanted.values())
        ):
            try:
                body = json.loads(text)
                config_hash = body.pop("config_hash")
                when = codec.unstamp(at)
                record = DecisionRecord(
                    when, date.fromisoformat(day), named, of, strategy, outcome, rule, reason, config_hash, body
                )
            except (ValueError, KeyError, AttributeError) as error:
                raise JournalError(f"{self.path}: decision {seq} is damaged: {error}") from error
            yield record

    def last_session(self) -> date | None:
        """The session that was opened last."""
        row = self._execute("SELECT max(session) FROM events WHERE kind = 'SessionOpened'").fetchone()
        return date.fromisoformat(row[0]) if row[0] else None

    def counts(self) -> tuple[int, int]:
        """How many events and how many decisions it has."""
        # nothing is ever removed, so the last number is the count
        row = self._execute("SELECT (SELECT max(seq) FROM events), (SELECT max(seq) FROM decisions)").fetchone()
        return row[0] or 0, row[1] or 0

    def size_bytes(self) -> int:
        """What it takes on the disk, its write-ahead log included."""
        files = (self.path, _log_of(self.path))
        return sum(file.stat().st_size for file in files if file.exists())

    def config(self, config_hash: str) -> StoredConfig:
        """The configuration of that hash. JournalError where it is not there, or no longer one for this program."""
        from pydantic import ValidationError

        from autotrader.settings import StrategyParams, SystemSettings

        row = self._execute("SELECT body FROM configs WHERE hash = ?", (config_hash,)).fetchone()
        if row is None:
            raise JournalError(f"{self.path} has no configuration {config_hash}")
        body = json.loads(row[0])
        try:
            return StoredConfig(
                StrategyParams.model_validate(body["params"]), SystemSettings.model_validate(body["system"])
            )
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(step) for step in first["loc"])
            raise JournalError(
                f"{self.path}: the configuration {config_hash} is not one this version understands: "
                f"{where}: {first['msg']}"
            ) from error

    def _events(self) -> Iterator[tuple[int, Event]]:
        for row in self._rows("SELECT seq, at, session, kind, version, body FROM events ORDER BY seq"):
            yield row[0], self._decode(*row)

    def _decode(self, seq: int, at: str, session: str, kind: str, version: int, body: str) -> Event:
        try:
            return codec.decode(at, session, kind, version, body)
        except ValueError as error:
            raise JournalError(f"{self.path}: event {seq} cannot be read: {error}") from error

    def _rows(self, statement: str, values: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise _said(self.path, error) from error

    def _execute(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise _said(self.path, error) from error

    # --- checks on opening --------------------------------------------------------------------------------------

    def _read_meta(self) -> dict[str, str]:
        tables = {row[0] for row in self._execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        meta = dict(self._execute("SELECT name, value FROM meta").fetchall()) if "meta" in tables else {}
        if not {"schema_version", "account_id", "created_at"} <= meta.keys():
            raise JournalError(
                f"{self.path} is a database, but not a journal; move it away, or say where the journal is"
            )
        if meta["schema_version"] != str(SCHEMA_VERSION):
            raise JournalError(
                f"{self.path} is a journal of schema {meta['schema_version']}, this program knows {SCHEMA_VERSION}; "
                "use the version that wrote it, or a newer one"
            )
        return meta

    def _prepare(self) -> None:
        """What a writer asks for: a sound file, a write-ahead log, durability; and that it can write at all."""
        found = self._execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise CorruptJournal(self.path, found)
        mode = self._execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise JournalError(f"{self.path}: no write-ahead log on this file system; use a local disk")
        self._execute("PRAGMA synchronous=FULL")
        self._execute("PRAGMA foreign_keys=ON")
        self._execute("BEGIN IMMEDIATE")
        self._execute("ROLLBACK")


def _connect(cls: type[Journal], path: Path, mode: str) -> Journal:
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode={mode}", uri=True, timeout=BUSY_SECONDS, isolation_level=None
        )
    except sqlite3.Error as error:
        raise _said(path, error) from error
    try:
        return cls(path, connection)
    except BaseException:
        connection.close()
        raise


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise JournalError(f"{path} is a folder, not a journal")
    if not path.exists() and _aside(path).exists():
        raise JournalError(
            f"{path} was corrupt and is kept as {_aside(path).name}; restore a copy in its place. To begin an empty "
            "journal instead, with nothing known of what the account holds, move that file away"
        )
    if not path.exists() and _log_of(path).exists():
        raise JournalError(f"{_log_of(path)} is there without its journal {path.name}; restore both from a copy")


def _lock(path: Path) -> int:
    """The one writer's lock, for as long as the descriptor is open: a killed process gives it back."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalError(f"no journal can be made at {path}: {error}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise JournalError(f"{path} is being written by another process; only one may run for an account") from error
    return handle


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.corrupt")


def _set_aside(path: Path) -> None:
    reached("journal.set_aside.before")
    for file in (path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm"), path):
        if file.exists():
            file.replace(file.with_name(file.name.replace(path.name, _aside(path).name)))
    reached("journal.set_aside.after")


def _is_full(error: sqlite3.Error) -> bool:
    return "full" in str(error)  # SQLITE_FULL: "database or disk is full"


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _create(path: Path, account_id: str, initial_cash: float | None, at: datetime) -> None:
    """Makes the file beside its place and links it there, so that it is whole or absent, and never over another."""
    meta = {
        "schema_version": str(SCHEMA_VERSION),
        "account_id": account_id,
        "created_at": codec.stamp(at),
        "initial_cash": "" if initial_cash is None else repr(float(initial_cash)),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with contextlib.closing(sqlite3.connect(name, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous=OFF")  # it is synced below, once
                connection.executescript(_SCHEMA)
                connection.executemany("INSERT INTO meta VALUES (?,?)", meta.items())
                connection.execute("PRAGMA journal_mode=WAL")
            os.fsync(handle)
            reached("journal.create.before")
            os.link(name, path)
            reached("journal.create.after")
        finally:
            os.close(handle)
            Path(name).unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (OSError, sqlite3.Error) as error:
        raise JournalError(f"no journal can be made at {path}: {error}") from error


def _said(path: Path, error: sqlite3.Error) -> JournalError:
    text = str(error)
    if "not a database" in text:
        return JournalError(f"{path} is not a journal; move it away, or say where the journal is")
    if "malformed" in text:
        return CorruptJournal(path, text)
    if _is_full(error):
        return JournalError(f"{path}: the disk is full; make room on it")
    if "locked" in text:
        return JournalError(f"{path} is being written by another process; only one may run for an account")
    if "readonly" in text:
        return JournalError(f"{path} is read-only; make it writable, or say where else the journal is")
    return JournalError(f"{path}: {text}")


def _known(value: Any) -> Any:
    """NaN and infinities are unknown, and unknown is null."""
    if isinstance(value, Mapping):
        return {key: _known(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_known(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _time_text(value: object) -> str:
    if isinstance(value, time):
        return value.isoformat("minutes")
    raise TypeError(f"{value!r} is no value of a configuration")


_to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode

"""The result files: their shape, and writing them so that a reader finds the old one or the new one, never a part."""

from __future__ import annotations

import json
import os
import tempfile
from datetime import date
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autotrader.errors import AutotraderError
from autotrader.points import reached


class ResultFileError(AutotraderError):
    """A result file that cannot be trusted: absent, unreadable, not JSON, or not of its shape."""


R = TypeVar("R", bound=BaseModel)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Side = Literal["long", "short"]


class CandidateRecord(_Record):
    """A signal chosen for entry in the next session."""

    symbol: str
    strategy: str
    direction: Side
    entry_group: str = Field(description="MOO, CONFIRM, or another group's key in capitals.")
    prev_close: float = Field(description="Close of the scanned session, USD.")
    atr: float = Field(description="ATR of the scanned session, USD.")
    sl_atr_mult: float | None
    tp_atr_mult: float | None
    score: float = Field(description="Composite score, 0 to 1.")
    max_hold_days: int | None = Field(description="Sessions, the entry's counted as 0.")
    rank: int = Field(description="1 the best.")
    sector: str | None
    strength: float
    signals_of_symbol: int
    opposite_signal: bool
    blackout: bool
    metadata: dict[str, Any] = Field(description="Every indicator of the scan bar, null where unknown.")


class FilteredRecord(CandidateRecord):
    """A candidate that passed the gap filter."""

    pre_market_price: float | None = Field(description="USD; null where there was none.")
    gap_pct: float | None = Field(description="Pre-market price over prev_close, minus one.")
    status: Literal["passed", "no_price", "unfiltered"]


class RejectedRecord(_Record):
    """A candidate that did not."""

    symbol: str
    reason: str
    gap_pct: float | None


class FilteredResultRecord(_Record):
    """The gap filter's result: data/batch_results/{scan_date}_filtered.json."""

    schema_version: Literal[1] = 1
    config_hash: str
    timestamp: str = Field(description="When the filter ran, ISO 8601, UTC.")
    scan_date: date
    filter_date: date = Field(description="The trading session.")
    regime: str
    result_age: int = Field(description="Sessions from the scan to the trading session; 1: last night's.")
    gap_threshold_pct: float | None = Field(description="max_gap_pct of strategy_defaults.")
    candidates_before: int
    candidates_after: int
    filtered: list[FilteredRecord]
    rejected: list[RejectedRecord]


class SignalRecord(_Record):
    """A signal of the scan, chosen or not."""

    symbol: str
    strategy: str
    direction: Side
    strength: float
    score: float | None = Field(description="Null if unknown.")
    outcome: str = Field(description="candidate, or why it is none.")


class ScanSummary(_Record):
    signals_by_strategy: dict[str, int]
    sectors_represented: list[str] = Field(description="Sectors of the candidates.")
    scan_duration_seconds: float


class Skipped(_Record):
    symbol: str
    reason: str


class TraceRecord(_Record):
    """How one signal was judged: each rule with what it read."""

    symbol: str
    strategy: str
    direction: Side
    outcome: str
    decisions: list[dict[str, Any]]


class BatchResultRecord(_Record):
    """The nightly scan's result: data/batch_results/{scan_date}.json."""

    schema_version: Literal[1] = 1
    config_hash: str
    timestamp: str = Field(description="When the scan ran, ISO 8601, UTC.")
    scan_date: date = Field(description="The scanned session.")
    regime: str
    regime_proxy: str = Field(description="What the regime was read from.")
    regime_decision: dict[str, Any]
    total_symbols_scanned: int = Field(description="Usable symbols.")
    total_signals_generated: int
    candidates: list[CandidateRecord]
    scan_summary: ScanSummary
    all_signals: list[SignalRecord]
    skipped: list[Skipped]
    short_history: dict[str, int] = Field(description="Symbols scanned on fewer bars than the full history.")
    notes: list[str]
    trace: list[TraceRecord]


RECORDS: dict[str, type[BaseModel]] = {"batch_result": BatchResultRecord, "filtered_result": FilteredResultRecord}


def result_path(folder: Path, session: date) -> Path:
    """Where the scan of a session lies."""
    return folder / f"{session.isoformat()}.json"


def filtered_path(folder: Path, session: date) -> Path:
    """Where the gap filter's result for the scan of a session lies."""
    return folder / f"{session.isoformat()}_filtered.json"


def write_record(path: Path, record: BaseModel) -> None:
    """Replaces the file as a whole."""
    text = json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, text.encode())


def write_atomically(path: Path, content: bytes) -> None:
    """Old or new, also after a crash: a temporary file in the same folder, fsync, rename, fsync of the folder.

    What root writes belongs to whoever owns the folder, so that a service of another user can read it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            if os.geteuid() == 0:
                owner = path.parent.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            reached("file.write.before")
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        reached("file.write.after")
        give_name(Path(temporary), path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def give_name(path: Path, name: Path) -> None:
    """Renames a file, over whatever had that name."""
    reached("file.rename.before")
    path.replace(name)
    reached("file.rename.after")


def set_aside(path: Path) -> Path:
    """Gives a file that cannot be trusted another name, which is returned: nothing reads it, and nothing is lost."""
    aside = path.with_name(f"{path.name}.bad")
    reached("file.set_aside.before")
    path.replace(aside)
    reached("file.set_aside.after")
    return aside


def read_batch_result(path: Path) -> BatchResultRecord:
    """The scan's result. ResultFileError where it cannot be trusted; it is never read as "nothing there"."""
    return _read(BatchResultRecord, path)


def read_filtered(path: Path) -> FilteredResultRecord:
    """The gap filter's result, as in `read_batch_result`."""
    return _read(FilteredResultRecord, path)


def _read(model: type[R], path: Path) -> R:
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ResultFileError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"]) or "the file"
        raise ResultFileError(f"{path}: not a result file: {where}: {first['msg']}") from error

"""Result files: a reader finds the old one or the new one, and never takes a broken one for an empty one."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from autotrader.batch.files import (
    BatchResultRecord,
    ResultFileError,
    read_batch_result,
    result_path,
    write_atomically,
    write_record,
)
from autotrader.batch.run import run_scan, to_record
from autotrader.clock import VirtualClock
from autotrader.validation.load import Configuration

from .conftest import Scan

NIGHT = date(2017, 10, 10)


@pytest.fixture(scope="module")
def record(configuration: Configuration, scan_small: Scan) -> BatchResultRecord:
    result = scan_small(configuration, NIGHT)
    return to_record(result, list(configuration.enabled), datetime(2017, 10, 11, 0, 0, 5, tzinfo=UTC), 1.23456)


def test_a_record_reads_back_as_it_was(record: BatchResultRecord, tmp_path: Path) -> None:
    path = result_path(tmp_path / "new" / "folder", NIGHT)
    write_record(path, record)
    assert path.name == "2017-10-10.json"
    assert read_batch_result(path) == record


def test_the_agreed_fields_are_there(record: BatchResultRecord, tmp_path: Path) -> None:
    write_record(tmp_path / "a.json", record)
    written = json.loads((tmp_path / "a.json").read_bytes())
    assert written["timestamp"] == "2017-10-11T00:00:05Z"
    assert written["scan_summary"]["scan_duration_seconds"] == 1.235
    assert set(written) >= {
        "timestamp", "scan_date", "regime", "total_symbols_scanned", "total_signals_generated", "candidates",
        "scan_summary", "all_signals", "config_hash", "schema_version",
    }  # fmt: skip
    assert set(written["candidates"][0]) >= {
        "symbol", "strategy", "direction", "entry_group", "prev_close", "atr", "sl_atr_mult", "tp_atr_mult", "score",
        "max_hold_days", "metadata",
    }  # fmt: skip
    assert set(written["scan_summary"]) == {"signals_by_strategy", "sectors_represented", "scan_duration_seconds"}
    assert set(written["all_signals"][0]) >= {"symbol", "strategy", "direction", "strength", "score"}


def test_state_is_private_to_its_user(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.json", b"{}")
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o600


def test_an_overwrite_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, b"a long old text")
    reader = path.open("rb")
    write_atomically(path, b"new")
    assert reader.read() == b"a long old text", "who has it open reads on"
    reader.close()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[step], fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    sync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "content")
        sync(handle)

    def replaced(path: Path, target: Path) -> Path:
        steps.append("name")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    write_atomically(tmp_path / "a.json", b"new")
    assert steps == ["content", "name", "folder"]


BREAKS: dict[str, Callable[[str], str]] = {
    "cut off": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "a list": lambda text: "[]",
    "a field short": lambda text: text.replace('"regime":', '"regimen":', 1),
    "a text for a number": lambda text: text.replace('"total_symbols_scanned": ', '"total_symbols_scanned": "many', 1),
    "another version": lambda text: text.replace('"schema_version": 1', '"schema_version": 2', 1),
    "not a number": lambda text: text.replace('"score": 0', '"score": NaN, "x": 0', 1),
}


@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_file_is_an_error_that_names_it(record: BatchResultRecord, tmp_path: Path, how: str) -> None:
    path = tmp_path / "2017-10-10.json"
    write_record(path, record)
    text = path.read_text(encoding="utf-8")
    broken = BREAKS[how](text)
    assert broken != text
    path.write_text(broken, encoding="utf-8")
    with pytest.raises(ResultFileError, match=r"2017-10-10\.json"):
        read_batch_result(path)


def test_an_absent_file_is_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(ResultFileError, match="No such file"):
        read_batch_result(tmp_path / "2017-10-10.json")


def test_a_scan_stamps_its_record_with_the_clock_it_was_given(
    configuration: Configuration, tmp_path: Path, small_csv: Path
) -> None:
    clock = VirtualClock(datetime(2017, 10, 11, 1, 0, tzinfo=UTC))
    run = run_scan(configuration, tmp_path, universe=small_csv, clock=clock)
    assert run.record.timestamp == "2017-10-11T01:00:00Z"
    assert run.record.scan_date == NIGHT, "the last session that has closed"
    assert run.record.scan_summary.scan_duration_seconds == 0
    assert run.results == tmp_path / "data" / "batch_results"
    again = run_scan(configuration, tmp_path, universe=small_csv, clock=clock)
    assert again.record.model_dump_json() == run.record.model_dump_json()


def test_before_the_close_the_session_before_is_scanned(
    configuration: Configuration, tmp_path: Path, small_csv: Path
) -> None:
    noon = VirtualClock(datetime(2017, 10, 10, 16, 0, tzinfo=UTC))
    assert run_scan(configuration, tmp_path, universe=small_csv, clock=noon).record.scan_date == date(2017, 10, 9)


@pytest.fixture
def small_csv(tmp_path: Path) -> Path:
    from autotrader.market.universe import load_universe

    path = tmp_path / "universe.csv"
    rows = [f"{member.symbol},{member.symbol},{member.sector}" for member in load_universe()[::25]]
    path.write_text("\n".join(["symbol,name,sector", *rows]) + "\n", encoding="utf-8")
    return path

"""The operator's page on backup and restore, carried out."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from autotrader.core import events as ev
from autotrader.journal.store import Journal

AT = datetime(2024, 7, 1, 14, 0, tzinfo=UTC)


def alert(number: int) -> ev.Alerted:
    return ev.Alerted(AT + timedelta(seconds=number), date(2024, 7, 1), "info", "A", str(number), "", "")


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="no sqlite3 command here")
def test_a_copy_made_while_the_service_writes_is_whole_and_can_take_the_journals_place(tmp_path: Path) -> None:
    path, copy = tmp_path / "journal.sqlite3", tmp_path / "backup" / "journal-2024-07-01.sqlite3"
    copy.parent.mkdir()
    with Journal.open(path, "PA-7", initial_cash=1000.0) as journal:
        for number in range(50):
            journal.append(alert(number))
        journal.commit()
        journal.append(alert(50))  # in the middle of a transaction
        subprocess.run(["sqlite3", str(path), f".backup '{copy}'"], check=True, timeout=60)
    for name in ("journal.sqlite3", "journal.sqlite3-wal", "journal.sqlite3-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copy(copy, path)
    with Journal.open(path, "PA-7") as restored:
        assert list(restored.events()) == [alert(number) for number in range(50)]
        restored.append(alert(50))
    with Journal.read(path) as again:
        assert len(list(again.events())) == 51

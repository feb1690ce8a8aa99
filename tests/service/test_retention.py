"""What goes after its time, and what never does."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from autotrader.service.retention import tidy

TODAY = date(2026, 11, 25)


def test_old_results_and_logs_go_and_everything_else_stays(tmp_path: Path) -> None:
    old = [
        "batch_results/2026-08-26.json", "batch_results/2026-08-26_filtered.json",
        "batch_results/2026-08-26_filtered.json.bad", "batch_results/2020-01-01.json", "logs/2026-10-25.jsonl",
    ]  # fmt: skip
    kept = [
        "journal.sqlite3", "journal.sqlite3-wal", "2020-01-01.json", "batch_results/2026-08-27.json",
        "batch_results/2026-11-24_filtered.json", "batch_results/notes.json", "batch_results/2020-13-01.json",
        "batch_results/journal.sqlite3", "batch_results/2020-01-01.sqlite3", "logs/2026-10-26.jsonl",
        "logs/service.log", "inbox/2020-01-01.json", "token",
    ]  # fmt: skip
    for name in (*old, *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "batch_results" / "2019-01-01.json").symlink_to(tmp_path / "journal.sqlite3")
    removed = tidy(tmp_path, TODAY, results_days=90, logs_days=30)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in removed) == sorted(old)
    assert all((tmp_path / name).exists() for name in kept)
    assert not any((tmp_path / name).exists() for name in old)
    assert tidy(tmp_path, TODAY, results_days=90, logs_days=30) == []


def test_a_deployment_without_results_has_nothing_to_tidy(tmp_path: Path) -> None:
    assert tidy(tmp_path, TODAY, results_days=1, logs_days=1) == []

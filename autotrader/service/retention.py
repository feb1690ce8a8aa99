"""What is kept for how long: result files and logs go after their time, the journal never does."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

log = logging.getLogger("autotrader.retention")

# 2026-11-25.json, 2026-11-25_filtered.json, and what was set aside of them; 2026-11-25.jsonl
_RESULT = re.compile(r"(\d{4}-\d{2}-\d{2})(_filtered)?\.json(\.\w+)*\Z")
_LOG = re.compile(r"(\d{4}-\d{2}-\d{2})\.\w+\Z")


def tidy(data: Path, today: date, *, results_days: int, logs_days: int) -> list[Path]:
    """Removes result files and logs older than so many days; gives what was removed.

    Only files whose name is that of a result or a log of a day, and by that day: everything else stays.
    """
    old = [
        *_older(data / "batch_results", _RESULT, today - timedelta(days=results_days)),
        *_older(data / "logs", _LOG, today - timedelta(days=logs_days)),
    ]
    removed = []
    for path in old:
        try:
            path.unlink()
            removed.append(path)
        except OSError as error:
            log.warning("%s is past its time and cannot be removed: %s", path, error.strerror)
    if removed:
        log.info("removed %d files past their time: %s", len(removed), ", ".join(path.name for path in removed))
    return removed


def _older(folder: Path, pattern: re.Pattern[str], first_kept: date) -> Iterable[Path]:
    for path in sorted(folder.glob("*")):
        found = pattern.match(path.name)
        if found is None or not path.is_file() or path.is_symlink():
            continue
        try:
            day = date.fromisoformat(found[1])
        except ValueError:
            continue
        if day < first_kept:
            yield path

"""Where log records go: readable lines to the terminal, JSON lines to one file a day, no secret in either.

with set_up(settings.logging, folder / "logs", clock):
    ...
"""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from autotrader.clock import NEW_YORK, Clock
from autotrader.secrets import redact

if TYPE_CHECKING:
    from autotrader.settings import Logging

CHATTY = ("websockets", "urllib3", "asyncio")  # below INFO they write what goes over the wire, keys included
_WORDS = {"WARNING": "warn", "CRITICAL": "error"}


def set_up(settings: Logging, folder: Path | None, clock: Clock, terminal: TextIO | None = None) -> ExitStack:
    """Has everything logged from now on written; closing what is returned ends it.

    folder: of the daily files, made where it is not there; None: no files. terminal: stderr unless given.
    """
    root = logging.getLogger()
    shown = logging.StreamHandler(terminal or sys.stderr)
    shown.setFormatter(JsonLines(clock) if settings.as_json else Lines(clock))
    handlers: list[logging.Handler] = [shown]
    if folder is not None:
        handlers.append(DailyFiles(folder, settings.keep_days, clock))
    before = root.level
    root.setLevel(settings.level.upper())
    quiet()
    undo = ExitStack()
    undo.callback(root.setLevel, before)
    for handler in handlers:
        root.addHandler(handler)
        undo.callback(handler.close)
        undo.callback(root.removeHandler, handler)
    return undo


def quiet() -> None:
    """Keeps what would log the wire at INFO or above, whatever level all others have."""
    for name in CHATTY:
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.INFO))


class Lines(logging.Formatter):
    """2026-11-25 09:45:03 warn  orders: ...; the time is New York's."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def format(self, record: logging.LogRecord) -> str:
        at = self._clock.now().astimezone(NEW_YORK)
        level = _WORDS.get(record.levelname, record.levelname.lower())
        name = record.name.removeprefix("autotrader.")
        lines = [f"{at:%Y-%m-%d %H:%M:%S} {level:5} {name}: {record.getMessage()}"]
        if (trace := _trace(self, record)) is not None:
            lines.append(trace)
        return redact("\n".join(lines))


class JsonLines(logging.Formatter):
    """One object a line: at (ISO 8601, New York), level, logger, message, and trace where there is one."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def format(self, record: logging.LogRecord) -> str:
        at = self._clock.now().astimezone(NEW_YORK)
        line = {
            "at": at.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if (trace := _trace(self, record)) is not None:
            line["trace"] = redact(trace)
        return redact(json.dumps(line, ensure_ascii=False))


class DailyFiles(logging.Handler):
    """JSON lines in a file for each day, New York's, that its owner alone can read; those older than keep_days go."""

    def __init__(self, folder: Path, keep_days: int, clock: Clock) -> None:
        super().__init__()
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._keep = timedelta(days=keep_days)
        self._clock = clock
        self._day: date | None = None
        self._file: TextIO | None = None
        self.setFormatter(JsonLines(clock))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            file = self._of(self._clock.now().astimezone(NEW_YORK).date())
            file.write(f"{self.format(record)}\n")
            file.flush()
        except OSError:  # a full disk is no reason to stop; logging says so on stderr
            self.handleError(record)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()

    def _of(self, day: date) -> TextIO:
        if self._file is None or day != self._day:
            if self._file is not None:
                self._file.close()
            path = self._folder / f"{day}.jsonl"
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            self._file, self._day = open(descriptor, "a", encoding="utf-8"), day  # noqa: PTH123, SIM115
            self._remove_before(day - self._keep)
        return self._file

    def _remove_before(self, day: date) -> None:
        for path in self._folder.glob("????-??-??.jsonl"):
            if path.stem < day.isoformat():
                path.unlink(missing_ok=True)


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str | None:
    if record.exc_text:
        return record.exc_text
    return formatter.formatException(record.exc_info) if record.exc_info else None

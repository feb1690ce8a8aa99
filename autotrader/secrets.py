"""Keys: where they come from, and that their values are never written anywhere.

From the moment a key is in this process, every log record and every traceback that goes uncaught is redacted by value,
whoever wrote it and whatever handler takes it. What else is written passes through `redact`.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import stat
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, quote_plus

from autotrader.errors import AutotraderError

KEY_ID, SECRET_KEY = "APCA_API_KEY_ID", "APCA_API_SECRET_KEY"
REDACTED = "[redacted]"
_SHORTEST_KEY = 8  # a value that occurs in ordinary words cannot be kept out of texts
_SHORTEST_REMEMBERED = 4


class SecretsError(AutotraderError):
    """There are no keys, or they are kept where others can read them; one sentence that says what to do."""


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """The broker's key and its secret. Whoever makes one has both values redacted from then on."""

    key_id: str
    secret: str

    def __post_init__(self) -> None:
        remember(self.key_id)
        remember(self.secret)

    def __repr__(self) -> str:
        return "Credentials(***)"


class Secrets:
    """What a deployment keeps secret: from the environment, else from config/.env of its folder."""

    def __init__(self, home: Path, environment: Mapping[str, str] = os.environ) -> None:
        self.file = home / "config" / ".env"
        self._environment = environment

    def credentials(self) -> Credentials:
        """SecretsError: there are none, one of two is missing, or the file can be read by others."""
        found = {name: self._environment.get(name, "").strip() for name in (KEY_ID, SECRET_KEY)}
        where = "the environment"
        if not any(found.values()):
            written = self._from_file()
            found, where = {name: written.get(name, "") for name in (KEY_ID, SECRET_KEY)}, str(self.file)
        if not any(found.values()):
            raise SecretsError(
                f"no keys: set {KEY_ID} and {SECRET_KEY} in the environment, or write them to {self.file} (chmod 600)"
            )
        for name, value in found.items():
            if not value:
                raise SecretsError(f"{where} has {' and '.join(n for n, v in found.items() if v)} but no {name}")
            if len(value) < _SHORTEST_KEY:
                raise SecretsError(f"{name} in {where} is too short to be a key")
        return Credentials(found[KEY_ID], found[SECRET_KEY])

    def value(self, name: str) -> str | None:
        """Any other secret, as one text; None where there is none. It is redacted from then on, each word for itself.

        SecretsError: the file can be read by others.
        """
        found = self._environment.get(name, "").strip() or self._from_file().get(name)
        for word in (found or "").split():
            remember(word)
        return found or None

    def _from_file(self) -> dict[str, str]:
        from io import StringIO

        from dotenv import dotenv_values

        try:
            with self.file.open(encoding="utf-8") as file:
                about = os.fstat(file.fileno())  # of what is read, not of what the name meant a moment ago
                if about.st_uid != os.geteuid() or stat.S_IMODE(about.st_mode) & 0o077:
                    raise SecretsError(f"{self.file} can be read by others: chmod 600 {self.file}")
                text = file.read()
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise SecretsError(f"{self.file} cannot be read: {error}") from error
        written = dotenv_values(stream=StringIO(text), interpolate=False)
        return {name: value.strip() for name, value in written.items() if value}


# --- redaction ----------------------------------------------------------------------------------------------------

_lock = threading.Lock()
_values: set[str] = set()
_pattern: re.Pattern[str] | None = None


def remember(value: str) -> None:
    """Has this value redacted from now on, as it is and as it looks in a URL, in JSON, in a repr and in Base64."""
    global _pattern  # noqa: PLW0603  # a value is secret in the whole process, whoever learned it
    if len(value) < _SHORTEST_REMEMBERED:
        return
    with _lock:
        if value not in _values:
            _values.add(value)
            forms = {form for known in _values for form in _forms(known)}
            _pattern = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))
    _guard()


def redact(text: str) -> str:
    """The text without the value of any secret that this process knows."""
    pattern = _pattern
    return text if pattern is None else pattern.sub(REDACTED, text)


def _forms(value: str) -> set[str]:
    encoded = base64.b64encode(value.encode()).decode()
    return {value, quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1], repr(value)[1:-1], encoded}


def _guard() -> None:
    """Has log records and uncaught tracebacks redacted, once."""
    factory = logging.getLogRecordFactory()
    if not isinstance(factory, _Redacted):
        logging.setLogRecordFactory(_Redacted(factory))
    if sys.excepthook is not _uncaught:
        sys.excepthook = _uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _uncaught_in_thread


class _Redacted:
    """Makes log records that hold no secret, whatever formats them afterwards."""

    def __init__(self, make: Any) -> None:
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record: logging.LogRecord = self._make(*args, **kwargs)
        try:
            text = record.getMessage()
        except (TypeError, ValueError, KeyError):  # a format that does not fit: logging would print the arguments
            text = f"{record.msg} {record.args!r}"
        record.msg, record.args = redact(text), None
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = redact("".join(traceback.format_exception(*record.exc_info)).rstrip("\n"))
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return record


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))


def _uncaught_in_thread(about: threading.ExceptHookArgs) -> None:
    if about.exc_type is SystemExit or about.exc_value is None:
        return
    name = about.thread.name if about.thread else "a thread"
    text = "".join(traceback.format_exception(about.exc_type, about.exc_value, about.exc_traceback))
    sys.stderr.write(redact(f"Exception in thread {name}:\n{text}"))

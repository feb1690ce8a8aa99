"""Whether a service runs: the lock that only one may hold, and the heartbeat that stops when it is stuck."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import threading
import time
import urllib.request
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from autotrader.errors import AutotraderError
from autotrader.journal.codec import stamp, unstamp

log = logging.getLogger("autotrader.presence")

_LOCK, _HEARTBEAT = "service.lock", "heartbeat"
_PATIENCE = 1.0  # seconds: who only looks holds the lock for a moment


class ServiceRunning(AutotraderError):
    """Another service runs in this deployment folder."""


@dataclass(frozen=True, slots=True)
class Running:
    """The service that runs. started_at: None where its file could not be read."""

    pid: int | None
    started_at: datetime | None


class ServiceLock:
    """One service to a deployment folder. It ends with the process, however that ends; the file stays."""

    def __init__(self, data: Path) -> None:
        self.path = data / _LOCK
        self._file: int | None = None

    def take(self, started_at: datetime) -> None:
        """ServiceRunning where another process has it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() < end:
                    time.sleep(0.02)
                    continue
                os.close(file)
                found = running(self.path.parent)
                who = f"process {found.pid}" if found is not None and found.pid is not None else "another process"
                raise ServiceRunning(
                    f"a service runs in {self.path.parent.parent.resolve()} already ({who}); stop it first"
                ) from None
        self._file = file
        try:
            os.ftruncate(file, 0)
            os.pwrite(file, json.dumps({"pid": os.getpid(), "started_at": stamp(started_at)}).encode(), 0)
        except OSError as error:  # the disk is full: who holds the lock is only shown
            log.warning("%s cannot be written: %s", self.path, error.strerror)

    def release(self) -> None:
        """Gives it back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def running(data: Path) -> Running | None:
    """The service that runs in a deployment's data folder; None: none does."""
    path = data / _LOCK
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        try:
            found = json.loads(os.pread(file, 4096, 0))
            return Running(int(found["pid"]), unstamp(found["started_at"]))
        except (ValueError, KeyError, TypeError):
            return Running(None, None)  # it has just been taken
    finally:
        os.close(file)


def process_age() -> float | None:
    """Seconds since this process began, to a hundredth; None where the machine does not say."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, IndexError, ValueError):
        return None


class Heartbeat:
    """The loop beats; a file's time shows it, and an outside monitor is asked for as long as it goes on.

    The monitor's address is a secret and is never shown. Nothing here waits or raises: whoever misses the beat acts.
    """

    def __init__(self, data: Path, url: str | None = None, every_seconds: float = 60.0) -> None:
        self.path = data / _HEARTBEAT
        self._url, self._every = url, every_seconds
        self._touched = self._asked = -1e9
        self._failed = False
        self._thread: threading.Thread | None = None

    def beat(self) -> None:
        """The loop is alive; often: once a second something is written, and the monitor is asked when it is time."""
        now = time.monotonic()
        if now - self._touched >= 1.0:
            self._touched = now
            try:
                self.path.touch(mode=0o600)
                self._say(None)
            except OSError as error:
                self._say(f"{self.path} cannot be written: {error.strerror}")
        if self._url and now - self._asked >= self._every and (self._thread is None or not self._thread.is_alive()):
            self._asked = now
            self._thread = threading.Thread(target=self._ask, args=(self._url,), name="heartbeat", daemon=True)
            self._thread.start()

    def _say(self, problem: str | None) -> None:
        """Once, not on every beat."""
        if problem is not None and not self._failed:
            log.error("%s", problem)
        self._failed = problem is not None

    def _ask(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            log.error("the outside monitor's address is not one of http or https")
            return
        try:
            with contextlib.closing(urllib.request.urlopen(url, timeout=10)):  # noqa: S310  # checked above
                log.debug("the outside monitor was reached")
        except (OSError, ValueError) as error:  # its text may hold the address
            log.warning("the outside monitor was not reached: %s", type(error).__name__)


def heartbeat_age(data: Path, now: datetime) -> float | None:
    """Seconds since the last beat; None: there was none."""
    try:
        return now.timestamp() - (data / _HEARTBEAT).stat().st_mtime
    except FileNotFoundError:
        return None

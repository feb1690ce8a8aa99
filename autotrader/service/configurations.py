"""Which configuration is in effect: an edited one takes its place at the next scan, if it has no errors.

A copy of what is in effect lies in the data folder, so that a restart between an edit and the scan changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from autotrader.batch.files import write_atomically
from autotrader.errors import AutotraderError
from autotrader.execution.orders import Tell
from autotrader.rules.problems import render_text
from autotrader.validation.load import (
    BLACKOUTS_FILE,
    PARAMS_FILE,
    SYSTEM_FILE,
    Configuration,
    Loaded,
    load_configuration,
    load_files,
)

log = logging.getLogger("autotrader.configuration")

SUBJECT = "configuration"
IN_EFFECT = "config_in_effect"  # the folder of the copy, in the data folder
_FOLLOWED = (PARAMS_FILE, BLACKOUTS_FILE)  # default.yaml is read at the start alone: it says whom to connect to

Contents = Mapping[str, bytes]


class ConfigurationError(AutotraderError):
    """There is no configuration to run by; the text shows every problem."""


class Configurations:
    """The configuration folder of a deployment and the copy of what is in effect."""

    def __init__(self, folder: Path, data: Path, tell: Tell) -> None:
        """ConfigurationError where neither the copy nor the folder has a sound configuration."""
        self._folder = folder
        self._copy = data / IN_EFFECT
        self._tell = tell
        self._waiting: Configuration | None = None
        self._seen = self._read()
        loaded = self._of_copy()
        if loaded is not None and loaded.configuration is not None:
            self.current = loaded.configuration
            if self._contents(self._copy) != {name: self._seen[name] for name in _FOLLOWED if name in self._seen}:
                self._consider()
        else:
            loaded = load_configuration(folder)
            if loaded.configuration is None:
                raise ConfigurationError(render_text(loaded.problems, loaded.sources))
            self.current = loaded.configuration
            self._keep()

    @property
    def pending(self) -> bool:
        """Whether another one waits for the scan."""
        return self._waiting is not None

    def look(self, *, again: bool = False) -> None:
        """Looks whether the folder was edited; again: says what it finds even if it was not."""
        found = self._read()
        if found != self._seen or again:
            self._seen = found
            self._consider()

    def take_effect(self) -> bool:
        """At a scan: what waits takes the place of what was in effect. Whether something did."""
        if self._waiting is None:
            return False
        self.current, self._waiting = self._waiting, None
        try:
            self._keep()
        except OSError as error:
            self._tell("warning", "configuration in effect", f"{self._copy} cannot be written: {error.strerror}",
                       "the edited configuration is in effect; after a restart, the one before may be",
                       "make room, then save the file again")  # fmt: skip
        log.info("the configuration %s is in effect", self.current.settings.config_hash[:12])
        return True

    def _consider(self) -> None:
        loaded = load_configuration(self._folder)
        if loaded.configuration is None:
            self._waiting = None
            first = next(problem for problem in loaded.problems if problem.severity == "error")
            count = sum(problem.severity == "error" for problem in loaded.problems)
            said = f"an error: {first.message}" if count == 1 else f"{count} errors, the first: {first.message}"
            self._tell("warning", SUBJECT, f"the edited configuration has {said}",
                       f"the one in effect stays ({self.current.settings.config_hash[:12]})",
                       "run `autotrader validate`, and save the file again")  # fmt: skip
            return
        settings = loaded.configuration.settings
        self._waiting = loaded.configuration
        if settings.system != self.current.settings.system:
            log.info("default.yaml was edited: it is read at the next start")
        self._tell("info", f"{SUBJECT} {settings.config_hash[:12]}", "the configuration was edited, and has no errors",
                   "it takes effect at the next scan; what is held keeps its own", "")  # fmt: skip

    def _of_copy(self) -> Loaded | None:
        if not (self._copy / PARAMS_FILE).exists():
            return None
        paths = [self._copy / name for name in _FOLLOWED if (self._copy / name).exists()]
        system = self._folder / SYSTEM_FILE
        return load_files([*paths, system] if system.exists() else paths)

    def _keep(self) -> None:
        for name in _FOLLOWED:
            if name in self._seen:
                write_atomically(self._copy / name, self._seen[name])
            else:
                (self._copy / name).unlink(missing_ok=True)

    def _read(self) -> Contents:
        return self._contents(self._folder, *_FOLLOWED, SYSTEM_FILE)

    @staticmethod
    def _contents(folder: Path, *names: str) -> dict[str, bytes]:
        found = {}
        for name in names or _FOLLOWED:
            try:
                found[name] = (folder / name).read_bytes()
            except OSError:
                continue
        return found

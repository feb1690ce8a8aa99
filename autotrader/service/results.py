"""The result files as the ledger knows them: by name and hash, so that another content is never taken for the same."""

from __future__ import annotations

import hashlib
from pathlib import Path

from autotrader.batch.files import (
    BatchResultRecord,
    FilteredResultRecord,
    ResultFileError,
    read_batch_result,
    read_filtered,
    set_aside,
)


def fingerprint(path: Path, name: str | None = None) -> str:
    """The file's name and what is in it, as it is recorded with the stage that wrote it. name: instead of its own."""
    return f"{name or path.name} sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


class ResultFiles:
    """The folder of results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, recorded: str) -> Path:
        return self.folder / recorded.partition(" ")[0]

    def problem(self, recorded: str) -> str | None:
        """Why the file that was recorded cannot be used; None: it is there, as it was written."""
        path = self.path(recorded)
        try:
            if fingerprint(path) != recorded:
                return f"{path} is not the file that was written: it was changed since"
        except OSError as error:
            return f"{path}: {error.strerror}"
        return None

    def scan(self, recorded: str) -> BatchResultRecord:
        """ResultFileError where it cannot be trusted."""
        self._check(recorded)
        return read_batch_result(self.path(recorded))

    def filtered(self, recorded: str) -> FilteredResultRecord:
        """ResultFileError where it cannot be trusted."""
        self._check(recorded)
        return read_filtered(self.path(recorded))

    def set_aside(self, recorded: str) -> Path | None:
        """Gives what stands in the file's place another name; None: there is nothing."""
        try:
            return set_aside(self.path(recorded))
        except FileNotFoundError:
            return None

    def _check(self, recorded: str) -> None:
        problem = self.problem(recorded)
        if problem is not None:
            raise ResultFileError(problem)

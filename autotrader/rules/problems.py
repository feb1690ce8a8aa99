"""A mistake in a configuration is a value: what, where, how bad, and a way out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One finding in one file. Lines and columns count from 1, columns in characters.

    code:    stable, kebab-case, e.g. "unknown-fact".
    message: one sentence that says what is wrong and, where there is one, the way out ('did you mean "close"?').
    length:  characters to underline, at least 1.
    """

    file: str
    line: int
    column: int
    code: str
    message: str
    severity: Severity = "error"
    length: int = 1

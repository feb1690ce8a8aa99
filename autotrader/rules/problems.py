"""A mistake in a configuration is a value: what, where, how bad, and a way out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
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


def suggest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` was probably meant to be."""
    known = list(candidates)
    near = get_close_matches(name, known, n=1, cutoff=0.6) or [k for k in known if k.lower() == name.lower()]
    return near[0] if near else None


def allowed(candidates: Iterable[str], most: int = 12) -> str:
    """What may be written, for a list short enough to read: "one of a, b, c"."""
    known = list(candidates)
    return "one of " + ", ".join(known) if len(known) <= most else f"one of {len(known)} names"

"""A mistake in a configuration is a value: what, where, how bad, and a way out."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]

_WIDTH = 160  # columns of a rendered source line, line number included
_SHORT_LIST = 12


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


def render_text(problems: Iterable[Problem], sources: Mapping[str, str]) -> str:
    """All problems for a terminal, in order of file, line and column, each with its line and a caret below.

    sources: the text of each file; a problem in another file is shown without its line.
    """
    lines = {file: text.replace("\r\n", "\n").replace("\r", "\n").split("\n") for file, text in sources.items()}
    rendered = []
    for problem in sorted(problems):
        head = f"{problem.file}:{problem.line}:{problem.column}: {problem.severity}[{problem.code}] {problem.message}"
        rendered.append("".join(_shown(char) for char in head))
        source = lines.get(problem.file, [])
        if 1 <= problem.line <= len(source):
            rendered += _excerpt(problem, source[problem.line - 1])
    return "\n".join(rendered)


def render_json(problems: Iterable[Problem]) -> list[dict[str, str | int]]:
    """All problems as plain objects, in the order of render_text."""
    return [
        {
            "file": problem.file,
            "line": problem.line,
            "column": problem.column,
            "length": problem.length,
            "code": problem.code,
            "severity": problem.severity,
            "message": problem.message,
        }
        for problem in sorted(problems)
    ]


def suggest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` is most likely a misspelling of, or None where none is near."""
    import difflib

    if len(name) > 100:
        return None
    by_spelling = {candidate.lower().replace("-", "_"): candidate for candidate in sorted(candidates, reverse=True)}
    near = difflib.get_close_matches(name.lower().replace("-", "_"), by_spelling, n=1, cutoff=0.65)
    return by_spelling[near[0]] if near else None


def allowed(candidates: Iterable[str]) -> str:
    """'allowed: a, b' for a list short enough to read, else an empty text."""
    names = list(candidates)
    return f"allowed: {', '.join(names)}" if 0 < len(names) <= _SHORT_LIST else ""


def _excerpt(problem: Problem, line: str) -> list[str]:
    """The source line, cut to a window around the place, and the caret line."""
    gutter = f"{problem.line:>5} | "
    cells = [_shown(char) for char in line]
    first = min(problem.column - 1, len(cells))
    last = min(first + max(1, problem.length), max(len(cells), first + 1))
    start, stop = _window(cells, first, last, _WIDTH - len(gutter) - 2)
    before, after = "…" if start > 0 else "", "…" if stop < len(cells) else ""
    shown = before + "".join(cells[start:stop]) + after
    indent = sum(map(_columns, [before, *cells[start:first]]))
    marks = max(1, sum(map(_columns, cells[first : min(last, stop)])))
    return [(gutter + shown).rstrip(), " " * (len(gutter) - 2) + "| " + " " * indent + "^" * marks]


def _window(cells: list[str], first: int, last: int, room: int) -> tuple[int, int]:
    """Which cells to show in `room` columns: all, or those around the place, its beginning never cut off."""
    widths = [_columns(cell) for cell in cells]
    if sum(widths) <= room:
        return 0, len(cells)
    start = stop = first
    used = 0
    while stop < min(last, len(cells)) and used + widths[stop] <= room:
        used += widths[stop]
        stop += 1
    while True:
        grown = False
        if start > 0 and used + widths[start - 1] <= room:
            start, used, grown = start - 1, used + widths[start - 1], True
        if stop < len(cells) and used + widths[stop] <= room:
            used, stop, grown = used + widths[stop], stop + 1, True
        if not grown:
            return start, stop


def _shown(char: str) -> str:
    """A character as a terminal may show it: controls escaped, a tab as one space."""
    if char == "\t":
        return " "
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"):
        code = ord(char)
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    return char


def _columns(text: str) -> int:
    """How many terminal columns a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(char) in ("Mn", "Me") else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )

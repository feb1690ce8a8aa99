"""A mistake in a configuration is a value: what, where, how bad, and a way out."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import PurePath
from typing import Literal, NamedTuple

Severity = Literal["error", "warning"]

_WIDTH = 160  # columns of a rendered source line, line number included
_AROUND = 500  # characters on either side of a place among which the columns shown are chosen
_SHORT_LIST = 12


class Problem(NamedTuple):
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


def render_json(problems: Iterable[Problem], _sources: Mapping[str, str]) -> str:
    """All problems as a JSON list of objects: file, line, column, length, code, severity, message."""
    import json

    objects = [
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
    return json.dumps(objects, indent=1)


def render_github(problems: Iterable[Problem], _sources: Mapping[str, str]) -> str:
    """All problems as workflow commands, which GitHub shows beside the lines of a pull request."""
    return "\n".join(
        f"::{problem.severity} file={_property(problem.file)},line={problem.line},col={problem.column},"
        f"endColumn={problem.column + problem.length},title={_property(problem.code)}::{_escaped(problem.message)}"
        for problem in sorted(problems)
    )


def render_sarif(problems: Iterable[Problem], _sources: Mapping[str, str], codes: Mapping[str, str]) -> str:
    """All problems as SARIF 2.1.0, which code scanning services read. codes: code -> what it means, in a line."""
    import json

    found = sorted(problems)
    rules = [
        {"id": code, "shortDescription": {"text": codes.get(code, code)}}
        for code in sorted({problem.code for problem in found})
    ]
    results = [
        {
            "ruleId": problem.code,
            "level": problem.severity,
            "message": {"text": problem.message},
            "locations": [{"physicalLocation": _sarif_location(problem)}],
        }
        for problem in found
    ]
    driver = {"name": "autotrader validate", "rules": rules}
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=1)


def _sarif_location(problem: Problem) -> dict[str, object]:
    from urllib.parse import quote

    path = PurePath(problem.file)
    uri = quote(path.as_posix().encode("utf-8", "surrogateescape"))
    region = {
        "startLine": problem.line,
        "startColumn": problem.column,
        "endColumn": problem.column + problem.length,
    }
    return {"artifactLocation": {"uri": f"file://{uri}" if path.is_absolute() else uri}, "region": region}


def _escaped(text: str) -> str:
    """A text as the value of a workflow command: one line, and no % that would be decoded."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def suggest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` is most likely a misspelling of, or None where none is near."""
    return None if len(name) > 100 else _nearest(name, tuple(sorted(candidates, reverse=True)))


@lru_cache(maxsize=1024)  # one slip is often made a hundred times
def _nearest(name: str, candidates: tuple[str, ...]) -> str | None:
    import difflib

    by_spelling = {candidate.lower().replace("-", "_"): candidate for candidate in candidates}
    near = difflib.get_close_matches(name.lower().replace("-", "_"), by_spelling, n=1, cutoff=0.65)
    return by_spelling[near[0]] if near else None


def allowed(candidates: Iterable[str]) -> str:
    """'allowed: a, b' for a list short enough to read, else an empty text."""
    names = list(candidates)
    return f"allowed: {', '.join(names)}" if 0 < len(names) <= _SHORT_LIST else ""


def _excerpt(problem: Problem, line: str) -> list[str]:
    """The source line, cut to a window around the place, and the caret line."""
    gutter = f"{problem.line:>5} | "
    skipped = max(0, problem.column - 1 - _AROUND)  # a line of a megabyte is not looked through for each problem
    part = line[skipped : problem.column - 1 + _AROUND]
    cells = [_shown(char) for char in part]
    first = min(problem.column - 1 - skipped, len(cells))
    last = min(first + max(1, problem.length), max(len(cells), first + 1))
    start, stop = _window(cells, first, last, _WIDTH - len(gutter) - 2)
    before = "…" if skipped or start > 0 else ""
    after = "…" if stop < len(cells) or skipped + len(part) < len(line) else ""
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

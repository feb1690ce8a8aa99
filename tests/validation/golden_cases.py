"""Golden cases: a mistake in the default configuration, as an edit, and what validate says about it.

A case is a file golden/<case>.txt:

    # what the mistake is                       comment lines, kept
    file: default.yaml                          optional: which file is edited; default: strategy_params.yaml
    times: 1000                                 optional: how often the added text is repeated
    - top_candidates: 12                        the text that is replaced, its first occurrence; several: line by line
    + top_candidate: 12                         what stands there instead; without a - line, the whole file
    \\ \\xff                                      the same with Python's escapes, as bytes
    ! missing                                   the file is not there
    ! broken plugin                             a plugin named "broken" is installed, which does not load
    =                                           the findings follow, without those of the unedited default
    strategy_params.yaml:15:3: error[unknown-key] ...

`python tests/validation/golden_cases.py` writes all findings and docs/validate.md anew; read the difference before it
is committed.
"""

from __future__ import annotations

import codecs
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from autotrader.rules.problems import Problem, render_text
from autotrader.validation.codes import CODES
from autotrader.validation.load import Loaded, load_configuration

FOLDER = Path(__file__).parent / "golden"
CONFIG = Path(__file__).parents[2] / "config"
FILES = ("strategy_params.yaml", "default.yaml", "blackouts.csv")

PAGE = CONFIG.parent / "docs" / "validate.md"
MARK = "<!-- from here on written by tests/validation/golden_cases.py -->"
CODE = re.compile(r": (?:error|warning)\[([a-z0-9-]+)\] ", re.MULTILINE)

Finding = tuple[str, str]  # code and message


@dataclass(frozen=True)
class Case:
    """One edit of one file, and the findings that are expected."""

    path: Path
    head: str
    file: str
    edits: tuple[tuple[str, bytes], ...]  # what is replaced ("": everything), and by what
    orders: frozenset[str]
    expected: str

    def loaded(self, folder: Path) -> Loaded:
        """What loading says about the edited configuration, written to `folder`."""
        for name in FILES:
            shutil.copy(CONFIG / name, folder / name)
        target = folder / self.file
        content = target.read_bytes() if target.exists() else b""
        for old, new in self.edits:
            assert old.encode() in content, f"{self.path.name}: {old!r} is not in {self.file}"
            content = content.replace(old.encode(), new, 1) if old else new
        target.write_bytes(content)
        if "missing" in self.orders:
            target.unlink()
        if "broken plugin" not in self.orders:
            return load_configuration(folder)
        packages = folder / "packages"
        (packages / "broken-1.0.dist-info").mkdir(parents=True)
        (packages / "broken-1.0.dist-info" / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n"
        )
        points = "[autotrader.strategies]\nbroken = no_such_module:Broken\n"
        (packages / "broken-1.0.dist-info" / "entry_points.txt").write_text(points)
        sys.path.insert(0, str(packages))
        try:
            return load_configuration(folder)
        finally:
            sys.path.remove(str(packages))

    def problems(self, folder: Path) -> list[Problem]:
        """The findings that the unedited default does not have."""
        return [each for each in self.loaded(folder).problems if (each.code, each.message) not in default_findings()]

    def text(self) -> str:
        """The findings as validate prints them, with the files named as in their folder."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            loaded = self.loaded(folder)
            new = [each for each in loaded.problems if (each.code, each.message) not in default_findings()]
            return render_text(new, loaded.sources).replace(f"{folder}/", "")


@cache
def default_findings() -> frozenset[Finding]:
    """What is said about the default configuration."""
    return frozenset((each.code, each.message) for each in load_configuration(CONFIG).problems)


def cases() -> list[Case]:
    """Every case, by name."""
    return [read(path) for path in sorted(FOLDER.glob("*.txt"))]


def read(path: Path) -> Case:
    """The case in a file."""
    head, _, expected = path.read_text(encoding="utf-8").partition("\n=\n")
    file, times = FILES[0], 1
    orders: set[str] = set()
    edits: list[tuple[list[str], list[bytes]]] = []
    for line in head.split("\n"):
        mark, text = line[:1], line[2:]
        if mark == "-":
            if not edits or edits[-1][1]:
                edits.append(([], []))
            edits[-1][0].append(text)
        elif mark in ("+", "\\"):
            if not edits:
                edits.append(([], []))
            raw = text.encode() if mark == "+" else codecs.decode(text, "unicode_escape").encode("latin-1")
            edits[-1][1].append(raw)
        elif mark == "!":
            orders.add(text)
        elif line.startswith("file: "):
            file = line.removeprefix("file: ")
        elif line.startswith("times: "):
            times = int(line.removeprefix("times: "))
        else:
            assert re.match("#|$", line), f"{path.name}: {line!r}"
    done = tuple(("\n".join(old), b"\n".join(new) * times) for old, new in edits)
    return Case(path, head, file, done, frozenset(orders), expected.rstrip("\n"))


def with_codes(page: str) -> str:
    """The page with its part about codes written anew: each with its meaning and the first finding of a case."""
    sections = []
    for code, meaning in CODES.items():
        found = min((each for each in cases() if code in CODE.findall(each.expected)), key=lambda c: _rank(c, code))
        sections.append(f"### {code}\n\n{meaning}\n\n```\n{_finding(found.expected, code)}\n```\n")
    head, _, _ = page.partition(MARK)
    return f"{head}{MARK}\n\n" + "\n".join(sections)


def _rank(case: Case, code: str) -> tuple[bool, bool, str]:
    stem = case.path.stem
    return stem != code, not stem.startswith(code), stem


def _finding(text: str, code: str) -> str:
    """The first finding of a code, with its line and caret."""
    lines = text.split("\n")
    first = next(index for index, line in enumerate(lines) if CODE.findall(line) == [code])
    rest = [line for line in lines[first + 1 : first + 3] if not CODE.search(line)]
    return "\n".join([lines[first], *rest])


def main() -> None:
    changed = 0
    for case in cases():
        text = case.text()
        changed += text != case.expected
        case.path.write_text(f"{case.head}\n=\n{text}\n", encoding="utf-8")
    PAGE.write_text(with_codes(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{changed} of {len(cases())} changed")


if __name__ == "__main__":
    sys.exit(main())

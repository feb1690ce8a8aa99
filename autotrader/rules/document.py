"""Strict YAML with positions: plain data, and where in the file each part of it stands."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import yaml

from autotrader.rules.problems import Problem, Severity
from autotrader.rules.yaml_scalars import Trap, quoted, read_plain

if TYPE_CHECKING:  # what only a broken file needs is imported for one
    from autotrader.rules.yaml_syntax import Finding

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
MAX_VALUES = 50_000
MAX_PROBLEMS = 100
_MAX_REPAIRS = 20
_LONG_TEXT = 1000  # as far as the end of a text that fell apart is looked for
_MAX_REPAIRED_CHARACTERS = 100_000  # each repair parses again

# Controls, and what cannot be seen: soft hyphen, zero-width space, marks that turn the direction of text.
_UNSEEN = "\xad\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
_NOT_TEXT = f"[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|[{_UNSEEN}]"
_NOT_ASCII_TEXT = "[^\t\n\x20-\x7e]"  # the same for ASCII; the other takes 5 ms to compile
_CONTROL = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_UNSEEN}]")
# Codes of findings after which a value is not what its author meant.
_STAND_INS = frozenset({"needs-quotes", "tag", "key-without-value", "anchor", "syntax"})
_TAB_INDENT = re.compile(r"^ *\t[ \t]*(?=\S)", re.MULTILINE)
_COMMENT_FOLLOWS = re.compile(r":?[ \t]+#")
_COMMA_FOLLOWS = re.compile(r"\s*,")
_COLON_FOLLOWS = re.compile(r"\s*:")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the pure loader is eight times slower

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a file: line and column from 1, length in characters, at least 1, within the line."""

    line: int
    column: int
    length: int


class DocumentError(Exception):
    """A file that is no sound document.

    problems: all that were found. text: the source, for showing them, U+FFFD for what is no text; "" if unread.
    document: the data as far as it could be read, to look for further problems in; None where the structure is broken.
    mended: the lines, from 1, whose values in `document` are stand-ins: nothing said about them is worth reporting.
    """

    def __init__(
        self,
        problems: list[Problem],
        text: str = "",
        document: Document | None = None,
        mended: frozenset[int] = frozenset(),
    ) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems, first"
        super().__init__(f"{count}: {problems[0].message}" if problems else "no problems")
        self.problems = problems
        self.text = text
        self.document = document
        self.mended = mended


@dataclass(slots=True)
class _Node:
    """Where one value stands: indices into the text, line and column from 0. style: as PyYAML's, "" for plain."""

    start: int
    end: int
    line: int
    column: int
    style: str = ""
    keys: dict[str | int, tuple[int, int]] = field(default_factory=dict)  # each key's start and end
    children: dict[str | int, _Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """One YAML file as plain data with positions.

    data:  dict, list, str, int, float, bool and None only. A path is the tuple of keys and indices to a value in it.
    text:  the source with "\\n" as line ends and without a byte order mark; lines: the same, split.
    A path that does not exist stands where its nearest existing parent does.
    """

    file: str
    text: str
    data: dict[str, Any]
    lines: list[str]
    _root: _Node
    _starts: list[int]

    def span(self, path: Path) -> Span:
        """Where the value is; for one of several lines, its first line."""
        node, _ = self._find(path)
        return self._cover(node.start, node.end)

    def key_span(self, path: Path) -> Span:
        """Where the value's key is; for a list item, the item."""
        parent, rest = self._find(path[:-1])
        if path and not rest and path[-1] in parent.keys:
            return self._cover(*parent.keys[path[-1]])
        return self.span(path)

    def raw(self, path: Path) -> str:
        """The source text of a value, with its quotes or block header."""
        node, _ = self._find(path)
        return self.text[node.start : node.end]

    def comment_follows(self, path: Path) -> bool:
        """Whether a ` #` ends the value: what was meant to be more of it is a comment then."""
        node, rest = self._find(path)
        return not rest and _COMMENT_FOLLOWS.match(self.text, node.end) is not None

    def locate(self, path: Path, offset: int, length: int = 1) -> Span:
        """Where `length` characters of a text value from its `offset`-th on (from 0) stand in the source.

        Right for every style of scalar; an offset at or behind the end is the place just after the last character.
        """
        from autotrader.rules.yaml_positions import value_indices

        node, rest = self._find(path)
        value = self._value(path)
        if rest or not isinstance(value, str):
            return self.span(path)
        indices = value_indices(self.text, node.start, node.end, node.style, value)
        if indices is None:
            return self.span(path)
        after = node.end - 1 if node.style in ("'", '"') else node.end
        if node.style in ("|", ">") and indices:
            after = indices[-1] + 1
        indices.append(after)
        first = indices[min(max(offset, 0), len(value))]
        last = indices[min(max(offset + length, offset + 1), len(value))]
        return self._cover(first, max(last, first + 1))

    def problem(
        self,
        path: Path,
        code: str,
        message: str,
        *,
        offset: int | None = None,
        length: int | None = None,
        key: bool = False,
        severity: Severity = "error",
    ) -> Problem:
        """A problem with the value at `path`, its key, or `length` characters of its text from `offset` on."""
        if offset is not None:
            span = self.locate(path, offset, length or 1)
        else:
            span = self.key_span(path) if key else self.span(path)
        return Problem(self.file, span.line, span.column, code, message, severity, length=span.length)

    def _find(self, path: Path) -> tuple[_Node, Path]:
        node = self._root
        for depth, step in enumerate(path):
            child = node.children.get(step)
            if child is None:
                return node, path[depth:]
            node = child
        return node, ()

    def _value(self, path: Path) -> Any:
        value: Any = self.data
        for step in path:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def _cover(self, start: int, end: int) -> Span:
        line = bisect.bisect_right(self._starts, start) - 1
        column = start - self._starts[line]
        visible = len(self.lines[line].rstrip())
        return Span(line + 1, column + 1, max(1, min(end - self._starts[line], visible) - column))


def load(text: str | bytes, file: str) -> Document:
    """Read one YAML document.

    Raises DocumentError with all problems found. Nothing is executed or expanded: no tags, anchors, merges.
    """
    source = decode(text, file)
    problems: list[Problem] = []
    repaired: set[int] = set()
    indented_anew = False
    attempt = source
    while True:
        builder = _Builder(attempt, file)
        try:
            builder.run()
            break
        except yaml.MarkedYAMLError as error:
            from autotrader.rules.yaml_syntax import explain

            finding = explain(error, attempt.split("\n"))
            if finding.line in repaired:  # what our repair made of the line is not the author's mistake
                break
            attempt, found = _repair(attempt, finding, file)
            problems += found
            indented_anew |= finding.code == "tab"
            repaired |= {problem.line - 1 for problem in found}
            if finding.repaired is None and finding.code != "tab":
                break
            if len(repaired) > _MAX_REPAIRS or len(source) > _MAX_REPAIRED_CHARACTERS:
                break
    problems += [problem for problem in builder.problems if problem.line - 1 not in repaired]
    document = None
    if builder.done and builder.root is not None and isinstance(builder.data, dict) and not indented_anew:
        lines = attempt.split("\n")
        document = Document(file, attempt, builder.data, lines, builder.root, _line_starts(lines))
    if problems or document is None:
        stand_ins = {problem.line for problem in builder.problems if problem.code in _STAND_INS}
        mended = frozenset({line + 1 for line in repaired} | stand_ins)
        raise DocumentError(sorted(problems)[:MAX_PROBLEMS], source, document, mended)
    return document


def decode(text: str | bytes, file: str) -> str:
    """The text with plain line ends and no byte order mark. DocumentError: no text, or of no reasonable size."""
    if len(text) > MAX_BYTES or (isinstance(text, str) and len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES):
        message = f"larger than {MAX_BYTES // 1_000_000} MB; a configuration is some hundred lines of text"
        raise DocumentError([Problem(file, 1, 1, "too-large", message)])
    decoded = text if isinstance(text, str) else _from_utf8(text, file)
    source = _with_plain_line_ends(decoded)
    not_text = re.compile(_NOT_ASCII_TEXT if source.isascii() else _NOT_TEXT)
    bad = list(islice(not_text.finditer(source), MAX_PROBLEMS))
    if bad:
        starts = _line_starts(source.split("\n"))
        problems = []
        for found in bad:
            line = bisect.bisect_right(starts, found.start()) - 1
            message = f"invisible character U+{ord(found[0]):04X}; delete it"
            problems.append(Problem(file, line + 1, found.start() - starts[line] + 1, "control-character", message))
        shown = source.encode("utf-8", "replace").decode()
        raise DocumentError(problems, shown)
    return source


def _from_utf8(content: bytes, file: str) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DocumentError([Problem(file, 1, 1, "not-utf8", "this is UTF-16; save the file as UTF-8")])
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        shown = _with_plain_line_ends(content.decode("utf-8", "replace"))
        before = _with_plain_line_ends(content[: error.start].decode("utf-8")).split("\n")
        message = f"byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise DocumentError([Problem(file, len(before), len(before[-1]) + 1, "not-utf8", message)], shown) from None


def _with_plain_line_ends(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _line_starts(lines: list[str]) -> list[int]:
    starts, at = [], 0
    for line in lines:
        starts.append(at)
        at += len(line) + 1
    return starts


def _repair(source: str, finding: Finding, file: str) -> tuple[str, list[Problem]]:
    """The finding as problems, and the source with the lines changed so that the parser gets past them."""
    lines = source.split("\n")
    if finding.code == "tab":
        found = []
        for number, line in enumerate(lines):
            if _TAB_INDENT.match(line) or number == finding.line:
                column = line.find("\t")
                found.append(Problem(file, number + 1, column + 1, "tab", finding.message))
                lines[number] = line.replace("\t", "  ")
        return "\n".join(lines), found
    if finding.repaired is not None:
        lines[finding.line] = finding.repaired
    problem = Problem(
        file, finding.line + 1, finding.column + 1, finding.code, finding.message, length=max(1, finding.length)
    )
    return "\n".join(lines), [problem]


@dataclass(slots=True)
class _Frame:
    """A mapping or list being read. key: the key whose value comes next; skip: the next value belongs to no key."""

    node: _Node
    data: Any
    flow: bool
    key: str | None = None
    skip: bool = False
    apart: bool = False  # inside braces, a text fell apart at its commas and the pieces look like keys
    is_key: bool = False


class _Stop(Exception):  # control flow inside the builder, never seen outside
    """Nothing sensible can be read beyond this point."""


class _Builder:
    """Builds data and positions from the parser's events, without recursion and without expanding anything."""

    def __init__(self, source: str, file: str) -> None:
        self.source = source
        self.file = file
        self.problems: list[Problem] = []
        self.data: Any = None
        self.root: _Node | None = None
        self.done = False
        self._stack: list[_Frame] = []
        self._values = 0
        self._long_scalars: list[tuple[int, int]] = []  # first and last line of texts over several lines

    def run(self) -> None:
        """Read all events; raises yaml.MarkedYAMLError for broken syntax, with `problems` holding what came before."""
        documents = 0
        try:
            for event in self._events():
                kind = type(event)
                if kind is yaml.ScalarEvent:
                    self._scalar(event)
                elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                    self._start(event)
                elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                    self._end(event)
                elif kind is yaml.AliasEvent:
                    self._alias(event)
                elif kind is yaml.DocumentStartEvent:
                    documents += 1
                    if documents > 1:
                        self._report(event, "several-documents", 'a second document begins here; remove the line "---"')
                        raise _Stop
                if len(self.problems) >= MAX_PROBLEMS:
                    raise _Stop
        except _Stop:
            return
        self.done = True
        self._check_root()
        self._check_tabs()

    def _events(self) -> Iterator[Any]:
        return yaml.parse(self.source, Loader=_LOADER)

    def _check_root(self) -> None:
        if self.root is None or self.data is None:
            self.problems.append(Problem(self.file, 1, 1, "empty-document", "the file holds nothing but comments"))
        elif not isinstance(self.data, dict):
            what = "a list" if isinstance(self.data, list) else "a single value"
            message = f'expected lines of "key: value" at the left margin, found {what}'
            line, column = self.root.line + 1, self.root.column + 1
            self.problems.append(Problem(self.file, line, column, "not-a-mapping", message))

    def _check_tabs(self) -> None:
        for found in _TAB_INDENT.finditer(self.source):
            line = self.source.count("\n", 0, found.start())
            if not any(first < line <= last for first, last in self._long_scalars):
                column = found[0].index("\t")
                message = "a tab in the indentation; write spaces"
                self.problems.append(Problem(self.file, line + 1, column + 1, "tab", message))

    # --- events ---------------------------------------------------------------------------------------------------

    def _scalar(self, event: Any) -> None:
        style, mark, end = event.style or "", event.start_mark, event.end_mark
        node = _Node(mark.index, end.index, mark.line, mark.column, style)
        if end.line > mark.line:
            self._long_scalars.append((mark.line, end.line))
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.key is None and not frame.skip and isinstance(frame.data, dict):
            self._key(event, frame, node)
            return
        if frame is not None and frame.skip:
            frame.skip = False
            return
        self._attach(frame, node, self._read(event, style, frame))

    def _key(self, event: Any, frame: _Frame, node: _Node) -> None:
        text = event.value
        if frame.flow and text and not _COLON_FOLLOWS.match(self.source, node.end):
            frame.skip = True
            if not frame.apart:
                hint = f"{text.replace(':', ': ', 1)}" if ":" in text else f"{text}: ..."
                self._report(event, "key-without-value", f"expected a key with a value: {hint}")
            return
        frame.apart = False
        self._refuse_anchor_and_tag(event, "")
        if not event.style:
            value, trap = read_plain(text)
            if text == "<<":
                self._report(event, "merge-key", "merging with << is not read here; write the keys out")
            elif trap is not None:
                self._trap(event, trap)
            elif not isinstance(value, str):
                self._report(event, "key-not-text", f'a key must be text; write "{text}":')
        else:
            self._refuse_control(event)
        if text in frame.node.keys:
            first = self._place(frame.node.keys[text][0])
            self._report(
                event, "duplicate-key", f'the key "{_short(text)}" is there twice, first in {first}; remove one of them'
            )
        frame.node.keys[text] = (node.start, node.end)
        frame.key = text

    def _read(self, event: Any, style: str, frame: _Frame | None) -> Any:
        text: str = event.value
        key = frame.key if frame is not None and frame.key is not None else "value"
        self._refuse_anchor_and_tag(event, key)
        if style in ("|", ">"):
            header = self.source[event.start_mark.index : event.end_mark.index].partition("\n")[0]
            if not text.strip() and any(c.isdigit() for c in header):
                self._report(
                    event, "needs-quotes",
                    f'"{style}" begins a block of text in YAML, not a comparison; write the whole condition, with both '
                    f'sides, in quotes: {key}: "... {header.strip()}"',
                )  # fmt: skip
            return text
        if style:
            self._refuse_control(event)
            return text
        ended_by_comma = frame is not None and frame.flow and _COMMA_FOLLOWS.match(self.source, event.end_mark.index)
        if frame is not None and ended_by_comma and text.count("(") > text.count(")"):
            self._fell_apart(event, frame, key)
            return text
        if event.tag is not None:
            return text
        value, trap = read_plain(text)
        if trap is not None:
            self._trap(event, trap)
        return value

    def _start(self, event: Any) -> None:
        frame = self._stack[-1] if self._stack else None
        if len(self._stack) >= MAX_DEPTH:
            self._report(event, "too-deep", f"nested more than {MAX_DEPTH} levels deep")
            raise _Stop
        key = frame.key if frame is not None and frame.key is not None else "value"
        self._refuse_anchor_and_tag(event, key)
        mark = event.start_mark
        node = _Node(mark.index, event.end_mark.index, mark.line, mark.column)
        mapping = type(event) is yaml.MappingStartEvent
        new = _Frame(node, {} if mapping else [], bool(event.flow_style))
        if frame is not None and isinstance(frame.data, dict) and frame.key is None and not frame.skip:
            self._report(event, "key-not-text", "a key must be text, not a list or a mapping; quote the text")
            new.is_key = True
        elif frame is not None and frame.skip:
            frame.skip = False
        else:
            self._attach(frame, node, new.data)
        self._stack.append(new)

    def _end(self, event: Any) -> None:
        frame = self._stack.pop()
        if frame.flow or not frame.node.children:
            frame.node.end = event.end_mark.index
        else:  # a block's end mark stands at the next token, beyond blank lines and comments
            frame.node.end = max(child.end for child in frame.node.children.values())
        if frame.is_key:
            self._stack[-1].skip = True

    def _alias(self, event: Any) -> None:
        self._report(
            event, "anchor", 'anchors (&) and aliases (*) are not read here; write the value out, or quote "*"'
        )
        frame = self._stack[-1] if self._stack else None
        mark = event.start_mark
        node = _Node(mark.index, event.end_mark.index, mark.line, mark.column)
        if frame is not None and isinstance(frame.data, dict) and frame.key is None and not frame.skip:
            frame.skip = True
        elif frame is not None and frame.skip:
            frame.skip = False
        else:
            self._attach(frame, node, None)

    # --- parts ----------------------------------------------------------------------------------------------------

    def _attach(self, frame: _Frame | None, node: _Node, value: Any) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            message = f"more than {MAX_VALUES} values; a configuration is some hundred lines of text"
            self.problems.append(Problem(self.file, node.line + 1, node.column + 1, "too-large", message))
            raise _Stop
        if frame is None:
            if self.root is None:
                self.data, self.root = value, node
        elif isinstance(frame.data, list):
            frame.node.children[len(frame.data)] = node
            frame.data.append(value)
        else:
            key = frame.key or ""
            if node.start == node.end:  # nothing was written: the key is what can be shown
                node.start, node.end = frame.node.keys[key]
            frame.node.children[key] = node
            frame.data[key] = value
            frame.key = None

    def _fell_apart(self, event: Any, frame: _Frame, key: str) -> None:
        """`{value: clip(a, 0, 1)}`: inside braces a comma ends the text."""
        frame.apart = True
        start = event.start_mark.index
        depth = 0
        end = start
        for end in range(start, min(len(self.source), start + _LONG_TEXT)):
            char = self.source[end]
            depth += (char == "(") - (char == ")")
            if char == "\n" or (depth <= 0 and char in ",}]"):
                break
        whole = self.source[start:end].strip()
        if depth > 0:
            self._report(event, "syntax", f'a "(" of {_short(whole)} is never closed; add the missing ")"')
            return
        before, around = (f"{key}: ", "braces") if isinstance(frame.data, dict) else ("", "brackets")
        message = f"inside {around} a comma ends the text; quote the whole: {before}{quoted(whole)}"
        self._report(event, "needs-quotes", message)

    def _refuse_anchor_and_tag(self, event: Any, key: str) -> None:
        if event.anchor is not None:
            self._report(event, "anchor", "anchors (&) and aliases (*) are not read here; remove the & and its name")
        if event.tag is not None:
            written = self.source[event.start_mark.index :].split(None, 1)[:1]
            if type(event) is yaml.ScalarEvent and key and not event.tag.startswith("tag:"):
                from autotrader.rules.yaml_syntax import negation

                message = negation(key, f"{written[0] if written else '!'} {event.value}")
            else:
                message = f"tags ({written[0] if written else '!'}) are not read here; remove it, or quote the text"
            self._report(event, "tag", message)

    def _refuse_control(self, event: Any) -> None:
        found = _CONTROL.search(event.value)
        if found:
            self._report(event, "control-character", f"an escape for the invisible U+{ord(found[0]):04X}; remove it")

    def _trap(self, event: Any, trap: Trap) -> None:
        self._report(event, trap.code, trap.message)

    def _report(self, event: Any, code: str, message: str) -> None:
        start, end = event.start_mark, event.end_mark
        length = end.column - start.column if end.line == start.line else 1
        self.problems.append(Problem(self.file, start.line + 1, start.column + 1, code, message, length=max(1, length)))

    def _place(self, index: int) -> str:
        line = self.source.count("\n", 0, index)
        return f"line {line + 1}, column {index - self.source.rfind(chr(10), 0, index)}"


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"

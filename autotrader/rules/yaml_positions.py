"""Where each character of a YAML scalar's value stands in the source: the scalar is read again, keeping indices.

The scanning follows libyaml's, for every style; the caller compares the text with the parser's value, so a disagreement
costs precision and never gives a wrong position.
"""

from __future__ import annotations

_ESCAPES = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "\t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b",
    " ": " ", '"': '"', "/": "/", "\\": "\\", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029",
}  # fmt: skip
_HEX_ESCAPES = {"x": 2, "u": 4, "U": 8}

Characters = list[tuple[str, int]]  # each character of the value with its index in the source


def value_indices(source: str, start: int, end: int, style: str, value: str) -> list[int] | None:
    """For each character of `value`, its index in `source`; None where it cannot be told.

    source[start:end] is the scalar with its quotes or block header; line ends are "\\n". style: "" plain, "'", '"',
    "|" or ">".
    """
    if style in ("|", ">"):
        candidates = (_block(source, start, style, indent) for indent in _indents(source, start, end))
    else:
        candidates = (_flow(source, start, end, style) for _ in range(1))
    for characters in candidates:
        if len(characters) == len(value) and "".join([c for c, _ in characters]) == value:
            return [index for _, index in characters]
    return None


def _flow(source: str, start: int, end: int, style: str) -> Characters:
    if style:
        start, end = start + 1, end - 1
    out: Characters = []
    at = start
    while at < end:
        char = source[at]
        if char in " \t":
            stop = at
            while stop < end and source[stop] in " \t":
                stop += 1
            if stop == end or source[stop] != "\n":
                out.extend((source[i], i) for i in range(at, stop))
            at = stop
        elif char == "\n":
            stop, breaks = _skip_breaks(source, at + 1, end)
            out.extend([("\n", i) for i in breaks] or [(" ", at)])
            at = stop
        elif char == "'" and style == "'":
            out.append((char, at))
            at += 2
        elif char == "\\" and style == '"':
            at = _escape(source, at, end, out)
        else:
            out.append((char, at))
            at += 1
    return out


def _skip_breaks(source: str, at: int, end: int) -> tuple[int, list[int]]:
    """Past blanks and line ends: where the text goes on, and the line ends passed."""
    breaks = []
    while at < end and source[at] in " \t\n":
        if source[at] == "\n":
            breaks.append(at)
        at += 1
    return at, breaks


def _escape(source: str, at: int, end: int, out: Characters) -> int:
    code = source[at + 1 : at + 2]
    if code == "\n":
        stop, breaks = _skip_breaks(source, at + 2, end)
        out.extend(("\n", i) for i in breaks)
        return stop
    digits = _HEX_ESCAPES.get(code)
    if digits is None:
        out.append((_ESCAPES.get(code, ""), at))
        return at + 2
    out.append((chr(int(source[at + 2 : at + 2 + digits], 16)), at))
    return at + 2 + digits


def _indents(source: str, start: int, end: int) -> list[int]:
    """The indentations a block's content may have: written in its header, relative to a parent, or its first line's."""
    header, _, body = source[start:end].partition("\n")
    first = next((line for line in body.split("\n") if line.strip(" ")), "")
    found = len(first) - len(first.lstrip(" "))
    explicit = any(c.isdigit() for c in header.partition("#")[0])
    return list(range(found, 0, -1)) if explicit else [found]


def _block(source: str, start: int, style: str, indent: int) -> Characters:
    header_end = source.find("\n", start)
    if header_end < 0 or indent < 1:
        return []
    header = source[start:header_end].partition("#")[0]
    out: Characters = []
    leading: list[int] = []  # the line end after the last content line
    after_blank = False
    at, trailing = _block_breaks(source, header_end + 1, indent)
    while at < len(source) and at - (source.rfind("\n", 0, at) + 1) == indent:
        blank = source[at] in " \t"
        if style == ">" and leading and not after_blank and not blank:
            if not trailing:
                out.append((" ", leading[0]))
        else:
            out.extend(("\n", i) for i in leading)
        out.extend(("\n", i) for i in trailing)
        after_blank = blank
        stop = source.find("\n", at)
        stop = len(source) if stop < 0 else stop
        out.extend((source[i], i) for i in range(at, stop))
        leading = [stop] if stop < len(source) else []
        at, trailing = _block_breaks(source, stop + 1, indent)
    if "-" not in header:
        out.extend(("\n", i) for i in leading)
        if "+" in header:
            out.extend(("\n", i) for i in trailing)
    return out


def _block_breaks(source: str, at: int, indent: int) -> tuple[int, list[int]]:
    """Past up to `indent` spaces and any empty lines: where content may stand, and the line ends passed."""
    breaks: list[int] = []
    while True:
        stop = at
        while stop < len(source) and stop - at < indent and source[stop] == " ":
            stop += 1
        if stop >= len(source) or source[stop] != "\n":
            return stop, breaks
        breaks.append(stop)
        at = stop + 1

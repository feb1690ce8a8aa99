"""What a YAML syntax error means to someone who writes rules, and a line that would parse, to go on looking."""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml

from autotrader.rules.yaml_scalars import quoted

_BLOCK_KEY = re.compile(r"\s*(?:- +)*([\w.-]+|\"[^\"]*\"|'[^']*')\s*:[ \t]+(?=\S)")
_FLOW_KEY = re.compile(r"[{,]\s*([\w.-]+|\"[^\"]*\"|'[^']*')\s*:\s+(?=\S)")
_NEXT_FLOW_KEY = re.compile(r",\s*[\w.\"'-]+\s*:(?:\s|$)")
_QUOTED_THEN_TEXT = re.compile(r"(\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*')\s*[^\s,}\]#:]")
_GLUED = re.compile(r"([ -]*[A-Za-z_]\w*):([^\s:].*)")
_COLON = re.compile(r":(?:\s|$)")
_STARTS_SOMETHING_ELSE = frozenset("!&*@`%|>?-]},:")


@dataclass(frozen=True, slots=True)
class Finding:
    """One syntax error. line, column: from 0. repaired: the line as it would parse, to look for further errors."""

    line: int
    column: int
    length: int
    code: str
    message: str
    repaired: str | None = None


@dataclass(frozen=True, slots=True)
class _Value:
    """The text behind `key:` in a line, where a reader without YAML in mind sees one value."""

    key: str
    column: int
    text: str


def explain(error: yaml.MarkedYAMLError, lines: list[str]) -> Finding:
    """The error in words, at the place where something can be done about it."""
    problem = error.problem or "not readable"
    mark = error.problem_mark or error.context_mark
    line, column = (min(mark.line, len(lines) - 1), mark.column) if mark else (0, 0)
    text = lines[line]
    if text[column : column + 1] == "\t" or "tab character" in problem:
        return Finding(line, column, 1, "tab", "a tab in the indentation or before a value; write spaces")
    value = _value_at(text, column)
    trap = _value_trap(value) if value else None
    if value and trap:
        replaced = text[: value.column] + '"-"' + text[value.column + len(value.text) :]
        code = "tag" if value.text[0] == "!" else "needs-quotes"
        return Finding(line, value.column, len(value.text), code, trap, replaced)
    return _explain_structure(problem, error, lines, line, column)


def _explain_structure(problem: str, error: yaml.MarkedYAMLError, lines: list[str], line: int, column: int) -> Finding:
    start = error.context_mark
    rest = max(1, len(lines[line].rstrip()) - column)
    if start and "quoted scalar" in (error.context or "") and "end of stream" in problem:
        quote = lines[start.line][start.column : start.column + 1]
        return Finding(
            start.line, start.column, 1, "syntax", f"this quotation mark is never closed; add a closing {quote}"
        )
    if start and "escape" in problem:
        return Finding(
            line, column, 2, "syntax", "a backslash begins an escape inside double quotes; use single quotes, or \\\\"
        )
    if start and "expected ',' or" in problem:
        opening = lines[start.line]
        bracket = opening[start.column : start.column + 1] or "{"
        closing = {"{": "}", "[": "]"}.get(bracket, "}")
        if line > start.line:
            return _unclosed(opening, start.line, start.column, bracket, closing, line)
        place = f"opened in line {start.line + 1}, column {start.column + 1}"
        return Finding(
            line, min(column, len(lines[line])), 1, "syntax",
            f'expected "," or "{closing}" for the "{bracket}" {place}; add the missing one, or quote the text before',
        )  # fmt: skip
    if start and "could not find expected ':'" in problem:
        at = lines[start.line]
        glued = _GLUED.match(at)
        if glued and glued.start(2) > start.column:
            message = f"a space must follow the colon: {glued[1].strip()}: {glued[2].partition(' #')[0].rstrip()}"
            return Finding(start.line, start.column, len(glued[1].strip()) + 1, "syntax", message,
                           f"{glued[1]}: {glued[2]}")  # fmt: skip
        return Finding(
            start.line, start.column, max(1, len(at.rstrip()) - start.column), "syntax",
            'expected "key: value", found text without a colon (a space must follow the colon)',
        )  # fmt: skip
    if "mapping values are not allowed" in problem:
        above = max((i for i in range(line) if lines[i].strip()), default=0)
        return Finding(
            line, column, 1, "syntax",
            f'this ":" is not expected here, since the text of line {above + 1} still goes on; a key needs the same '
            f"indentation as its neighbours, and a space after its colon",
        )  # fmt: skip
    if "expected key" in problem or "'-' indicator" in problem:
        what = '"key: value"' if "key" in problem else 'a list item, "- ..."'
        block = f" of the block that begins in line {start.line + 1}" if start else ""
        return Finding(line, column, rest, "syntax", f"expected {what} at the indentation{block}; check the spaces")
    if "cannot start any token" in problem or "expected node content" in problem:
        char = lines[line][column : column + 1]
        return Finding(line, column, 1, "syntax", f'a value cannot begin with "{char}" here; put the text in quotes')
    return Finding(
        line, column, 1, "syntax", f"not readable as YAML: {problem}; check quotes, brackets and spaces here"
    )


def _unclosed(text: str, line: int, column: int, bracket: str, closing: str, before: int) -> Finding:
    """Why a bracket is not closed in its line: a quotation mark that is open, a comment that cuts, or forgotten."""
    quote, opened = "", column
    for at in range(column, len(text)):
        char = text[at]
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'" and text[at - 1] in " {[,":
            quote, opened = char, at
        elif char == "#" and text[at - 1] in " \t":
            if closing not in text[at:]:
                break
            message = f'the # begins a comment, so that "{bracket}" is not closed; put the text with the # in quotes'
            return Finding(line, at, 1, "syntax", message, text[:at].rstrip() + closing)
    if quote:
        message = f"this quotation mark is never closed; add a closing {quote}"
        return Finding(line, opened, 1, "syntax", message, f"{text}{quote}{closing}")
    message = f'this "{bracket}" is not closed before line {before + 1}; add the missing "{closing}"'
    return Finding(line, column, 1, "syntax", message, text.partition(" #")[0].rstrip() + closing)


def _value_at(line: str, column: int) -> _Value | None:
    """The value that the error at `column` is part of, seen as one text."""
    block = _BLOCK_KEY.match(line)
    if block and block.end() <= column and line[block.end()] not in "{[":
        start, key = block.end(), block[1]
        end = len(line)
        comment = re.search(r"\s#", line[start:])
        if comment:
            end = start + comment.start()
    else:
        keys = [found for found in _FLOW_KEY.finditer(line) if found.end() <= column]
        if not keys:
            return None
        start, key = keys[-1].end(), keys[-1][1]
        end = _flow_end(line, start)
    text = line[start:end].rstrip()
    return _Value(key, start, text) if text else None


def _flow_end(line: str, start: int) -> int:
    """Where a value inside braces ends for a human reader: before the next `, key:` or the brace that closes."""
    depth, quote = 0, ""
    for at in range(start, len(line)):
        char = line[at]
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            if depth == 0 and char != ")":
                return at
            depth = max(0, depth - 1)
        elif char == "," and depth == 0 and _NEXT_FLOW_KEY.match(line, at):
            return at
    return len(line)


def _value_trap(value: _Value) -> str | None:
    text, first = value.text, value.text[0]
    if _QUOTED_THEN_TEXT.match(text):
        return f"text after the closing quotation mark; quote the whole text: {value.key}: {quoted(text)}"
    if first in "\"'{[":
        return None
    if first in "><" and not text[1:2].isalnum():
        return (
            f'a value that begins with "{first}" is not read as a comparison; write the whole condition, with both '
            f'sides, in quotes: {value.key}: "... {text.replace(chr(34), chr(39))}"'
        )
    if first == "|":
        return f'"|" begins a block of text in YAML; quote the whole text: {value.key}: {quoted(text)}'
    if first == "!":
        return negation(value.key, text)
    if first in _STARTS_SOMETHING_ELSE and (first not in "?-:" or text[1:2] in ("", " ")):
        return f'a "{first}" at the beginning means something else; quote the whole text: {value.key}: {quoted(text)}'
    if _COLON.search(text):
        return f"a colon and a space inside a text; quote the whole text: {value.key}: {quoted(text)}"
    return None


def negation(key: str, text: str) -> str:
    """What to write for `key: !text`, which YAML reads as a tag."""
    return f'"!" begins a tag in YAML and is not "not"; write {key}: not {text.strip("!=,]} ") or "..."}'

"""The text of an expression as tokens: every character is accounted for, and what is not of the language is refused."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from autotrader.rules.flaws import ExpressionError, Flaw

MAX_CHARACTERS = 500

WORDS = frozenset({"and", "or", "not", "if", "else", "true", "false"})

_TOKEN = re.compile(
    r"""[ \t\r\n]+
      | (?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?%?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<text>"[^"\\\x00-\x1f]*"|'[^'\\\x00-\x1f]*')
      | (?P<operator><=|>=|!=|==(?!=)|<(?![<>])|>(?!>)|-(?!>)|\*(?!\*)|/(?!/)|[+(),])
      | (?P<refused>\*\*|//|:=|->|<<|>>|<>|&&|\|\||={3,}|=[<>]|.)""",
    re.VERBOSE | re.DOTALL,
)

_WAY_OUT: Mapping[str, str] = {
    "=": "use == to compare",
    "===": "use == to compare",
    "=>": "write >=",
    "=<": "write <=",
    "<>": "use != to compare",
    "&&": "write and",
    "||": "write or",
    "&": "write and",
    "|": "write or",
    "!": "write not",
    "~": "write not",
    "**": "powers are not part of the language; multiply instead",
    "^": "powers are not part of the language; multiply instead",
    "//": "use / to divide",
    ":=": "nothing can be assigned in an expression",
    "%": "a percent follows its number directly, as in 7%; there is no remainder operator",
    ".": "a name has no parts, and a number starts with a digit",
    "[": "nothing can be indexed",
    "]": "nothing can be indexed",
    "{": "no braces in an expression",
    "}": "no braces in an expression",
    ";": "one expression only",
    "\\": "no backslash in an expression",
    '"': "a quoted text ends on the line it starts on",
    "'": "a quoted text ends on the line it starts on",
    "#": "a # starts a comment in YAML only",
    "@": "not an operator here",
    ":": "no colon in an expression",
    "?": "write `a if condition else b`",
    "$": "amounts are written without a currency sign",
}


class Token(NamedTuple):
    """kind: number, name, text, operator or end. Words such as `and` are names here. start, end: in the text."""

    kind: str
    text: str
    start: int
    end: int


def tokenise(text: str) -> list[Token]:
    """The tokens, closed by one of the kind "end" that stands behind the last.

    Raises ExpressionError with every flaw that can be told from a single token.
    """
    if len(text) > MAX_CHARACTERS:
        message = f"an expression has at most {MAX_CHARACTERS} characters; this one has {len(text):,}"
        raise ExpressionError(text[:80], [Flaw("expression-too-long", message)])
    flaws: list[Flaw] = []
    tokens: list[Token] = []
    touching = -1  # where a token ended that a number, name or text must not touch: 0x10, 7%5, f"..."
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind is None:  # space
            continue
        word, (start, end) = match.group(), match.span()
        if kind == "refused":
            flaws.append(_refused(word, start, text))
        elif kind != "operator":
            if touching == start:
                message = f'an operator or a space is missing before "{_shown(word)}"'
                flaws.append(Flaw("syntax", message, start, len(word)))
            touching = end
            flaws.extend(_CHECKS[kind](word, start))
        tokens.append(Token(kind, word, start, end))
    if flaws:
        raise ExpressionError(text, flaws)
    if not tokens:
        raise ExpressionError(text, [Flaw("empty-expression", "the expression is empty")])
    tokens.append(Token("end", "", tokens[-1].end, tokens[-1].end))
    return tokens


def number(word: str) -> float:
    """The value of a number token. 7% moves the decimal point in the text, since 7 / 100 is inexact."""
    if not word.endswith("%"):
        return float(word)
    mantissa, _, exponent = word[:-1].lower().partition("e")
    return float(f"{mantissa}e{int(exponent or 0) - 2}")


def _check_number(word: str, start: int) -> Iterator[Flaw]:
    value = number(word)
    if math.isinf(value):
        yield Flaw("number-too-large", f"{_shown(word)} is too large a number", start, len(word))
    elif value == 0 and re.match(r"[0.]*[1-9]", word):
        yield Flaw("number-too-large", f"{_shown(word)} has too large a negative exponent; it is 0", start, len(word))


def _check_name(word: str, start: int) -> Iterator[Flaw]:
    if word in WORDS:
        return
    if word.lower() in WORDS:
        yield Flaw("bad-word", f"write {word.lower()} instead of {word}", start, len(word))
    elif word in {"None", "null"}:
        message = "a condition cannot ask for a missing value; say on_missing: skip or match in the rule"
        yield Flaw("bad-word", message, start, len(word))
    elif keyword.iskeyword(word):
        way_out = "; use == to compare" if word in {"is", "in"} else ""
        yield Flaw("not-allowed", f'"{word}" is not part of the expression language{way_out}', start, len(word))


def _check_text(word: str, start: int) -> Iterator[Flaw]:
    for index, character in enumerate(word):
        if not character.isprintable():
            message = f"a quoted text cannot hold the invisible character {_shown(character)}"
            yield Flaw("bad-character", message, start + index)


_CHECKS = {"number": _check_number, "name": _check_name, "text": _check_text}


def _refused(word: str, start: int, text: str) -> Flaw:
    shown = _shown(word)
    if not word.isascii() or not word.isprintable():
        message = f'"{shown}" is not a plain character; write the expression in ASCII'
        return Flaw("bad-character", message, start, len(word))
    if word == "%" and text[:start].rstrip()[-1:].isdigit():
        return Flaw("not-allowed", 'no space between a number and its "%"', start, 1)
    why = _WAY_OUT.get(word[:3])
    return Flaw("not-allowed", f'"{shown}" is not allowed here' + (f": {why}" if why else ""), start, len(word))


def _shown(word: str) -> str:
    return word[:20] if word.isprintable() else f"U+{ord(word[0]):04X}"

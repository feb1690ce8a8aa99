"""What an unquoted YAML text means: number, percent, a flag, nothing, else text; YAML 1.1's surprises are named."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

Scalar = str | int | float | bool | None

_WORDS: dict[str, bool | None] = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
}  # fmt: skip
_SWITCHES = {"on": "true", "yes": "true", "y": "true", "off": "false", "no": "false", "n": "false"}
_NUMERIC_START = frozenset("0123456789+-.")
_MAX_DIGITS = 300

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\Z")
_PERCENT = re.compile(r"([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))%\Z")
_BASE_60 = re.compile(r"[-+]?(?:[1-9][0-9_]*(?::[0-5]?[0-9])+|[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*)\Z")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}.*)?\Z")
_LEADING_ZERO = re.compile(r"([-+]?)0+([0-9]+)\Z")
_OTHER_BASE = re.compile(r"([-+]?)0([xXbBoO])_*([0-9a-fA-F][0-9a-fA-F_]*)\Z")
_GROUPED = re.compile(r"[-+]?[0-9]*_[0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?\Z|[-+]?[0-9]*\.[0-9]*_[0-9_]*\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|nan)\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Trap:
    """An unquoted text that readers of YAML understand differently. message: what, and what to write instead."""

    code: str
    message: str


def quoted(text: str) -> str:
    """`text` as one YAML value in quotes, in the quotes that need no escapes where there are any."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return "'" + text.replace("'", "''") + "'"


def read_plain(text: str) -> tuple[Scalar, Trap | None]:
    """The value of an unquoted text; with a trap, the value is the text as it stands.

    Percents are fractions: the decimal point moves in the text, so that 7% is the float nearest to 0.07.
    """
    if text in _WORDS:
        return _WORDS[text], None
    if text[0] in _NUMERIC_START:
        return _read_number(text)
    lowered = text.lower()
    if lowered in _SWITCHES:
        meaning = _SWITCHES[lowered]
        return text, Trap("ambiguous-word", f'some readers take {text} for {meaning}; write "{text}" or {meaning}')
    if text == "=":
        return text, Trap("needs-quotes", 'a lone = has a meaning of its own in YAML; write "="')
    return text, None


def _read_number(text: str) -> tuple[Scalar, Trap | None]:
    if len(text) > _MAX_DIGITS and (_NUMBER.match(text) or _PERCENT.match(text)):
        return text, Trap("number-too-large", f"a number of {len(text)} characters; write fewer digits")
    if _INTEGER.match(text):
        return int(text), None
    zero = _LEADING_ZERO.match(text)
    if zero:
        plain = zero[1] + zero[2].lstrip("0") if zero[2].strip("0") else "0"
        return text, Trap(
            "ambiguous-number", f'some readers take {text} for an octal number; write {plain}, or "{text}" for text'
        )
    percent = _PERCENT.match(text)
    if percent or _NUMBER.match(text):
        number = float(f"{percent[1]}e-2" if percent else text)
        if math.isinf(number):
            return text, Trap("number-too-large", f"{text} is beyond the largest number, about 1.8e308")
        return number, None
    return text, _numeric_trap(text)


def _numeric_trap(text: str) -> Trap | None:
    if _BASE_60.match(text):
        parts = text.lstrip("+-").replace("_", "").split(":")
        number = 0.0
        for part in parts[:12]:
            number = number * 60 + float(part)
        return Trap("ambiguous-time", f'some readers take {text} for the number {number:.15g}; write "{text}"')
    if _DATE.match(text):
        return Trap("ambiguous-date", f'some readers take {text} for a date, others for text; write "{text}"')
    other = _OTHER_BASE.match(text)
    if other:
        base = {"x": 16, "b": 2, "o": 8}[other[2].lower()]
        try:
            number_text = other[1] + str(int(other[3].replace("_", ""), base))
        except ValueError:  # not digits of that base, or thousands of them
            return None
        return Trap(
            "ambiguous-number", f'only decimal numbers are read here; write {number_text}, or "{text}" for text'
        )
    if _GROUPED.match(text) and text.strip("+-._"):
        return Trap("ambiguous-number", f'write {text.replace("_", "")} without the underscore, or "{text}" for text')
    if _NOT_FINITE.match(text):
        return Trap(
            "ambiguous-number", f'{text} is not a number to decide by; write a finite one, or "{text}" for text'
        )
    return None

"""Random expressions of the language, as trees that know their text and, by the slowest and plainest way, their value.

Nothing here uses the code under test: numbers are Python floats, unknown is NaN in a number and None in a condition.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("AUTOTRADER_EXAMPLES", "40"))  # of each property; more for a long run

NUMBERS = ("n0", "n1", "n2", "n3")
FLAGS = ("f0", "f1")
TEXTS = ("t0", "t1")
KINDS = {**dict.fromkeys(NUMBERS, "number"), **dict.fromkeys(FLAGS, "flag"), **dict.fromkeys(TEXTS, "text")}

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Sentence:
    """text: as written, to stand where nothing binds more strongly than `strength`. value: for a clean row."""

    text: str
    strength: int
    value: Callable[[Row], Any]

    def inside(self, strength: int) -> str:
        return self.text if self.strength >= strength else f"({self.text})"


def same(a: Any, b: Any) -> bool:
    """Bit for bit, all NaN alike."""
    if isinstance(a, float) and isinstance(b, float):
        return (a != a and b != b) or struct.pack("d", a) == struct.pack("d", b)
    return a is b or a == b


# --- rows ---------------------------------------------------------------------------------------------------------

ABSENT = object()
_number = st.one_of(
    st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 0, 1, -1, 0.07, 2.5, -2.5, 3, 2**53, 1e308, 5e-324]),
    st.floats(-4, 4, width=16),
    st.floats(),
    st.integers(-5, 5),
)  # fmt: skip


@st.composite
def rows(draw: st.DrawFn, lacking: bool = True) -> dict[str, Any]:
    """A row of facts; with `lacking`, some of them None or absent."""
    gaps = st.sampled_from([None, ABSENT]) if lacking else st.nothing()
    row = {name: draw(st.one_of(_number, _number, _number, gaps)) for name in NUMBERS}
    row |= {name: draw(st.one_of(st.booleans(), st.booleans(), gaps)) for name in FLAGS}
    row |= {name: draw(st.one_of(st.sampled_from(["x", "y"]), st.sampled_from(["x", "é"]), gaps)) for name in TEXTS}
    return {name: value for name, value in row.items() if value is not ABSENT}


def clean(row: Row) -> dict[str, Any]:
    """All names; an unknown number is NaN, every number a float."""
    numbers = {name: math.nan if row.get(name) is None else float(row[name]) for name in NUMBERS}
    return {**numbers, **{name: row.get(name) for name in FLAGS + TEXTS}}


# --- numbers ------------------------------------------------------------------------------------------------------

OR, AND, NOT, COMPARISON, SUM, PRODUCT, SIGN, ATOM = range(1, 9)
CHOICE = 0


def _constant(text: str, value: Any) -> Sentence:
    return Sentence(text, ATOM, lambda _row: value)


def _name(name: str) -> Sentence:
    return Sentence(name, ATOM, lambda row: row[name])


_literals = st.sampled_from(
    [("0", 0.0), ("1", 1.0), ("2.5", 2.5), ("7%", 0.07), (".5", 0.5), ("3.", 3.0), ("1e3", 1000.0), ("1.5e-2%", 1.5e-4),
     ("007", 7.0), ("1e308", 1e308), ("12.5%", 0.125), ("0.1", 0.1), ("35%", 0.35)]
).map(lambda item: _constant(*item))  # fmt: skip


def _negative(a: Sentence) -> Sentence:
    return Sentence(f"-{a.inside(SIGN)}", SIGN, lambda row: -a.value(row))


def _arithmetic(a: Sentence, operator: str, b: Sentence) -> Sentence:
    strength = SUM if operator in "+-" else PRODUCT

    def value(row: Row) -> float:
        x, y = a.value(row), b.value(row)
        if operator == "/":
            return math.nan if y == 0 or y != y else x / y
        return {"+": lambda: x + y, "-": lambda: x - y, "*": lambda: x * y}[operator]()

    return Sentence(f"{a.inside(strength)} {operator} {b.inside(strength + 1)}", strength, value)


def _least(values: list[float]) -> float:
    return math.nan if any(value != value for value in values) else sorted(values)[0] + 0.0


def _most(values: list[float]) -> float:
    return -_least([-value for value in values]) + 0.0


def _rounded(value: float, digits: int) -> float:
    scaled = value * 10.0**digits
    if scaled != scaled or abs(scaled) >= 2.0**52:
        return value + 0.0
    return round(scaled) / 10.0**digits + 0.0


def _function(name: str, arguments: list[Sentence], digits: int | None = None) -> Sentence:
    def value(row: Row) -> float:
        values = [argument.value(row) for argument in arguments]
        if name == "abs":
            return abs(values[0])
        if name == "min":
            return _least(values)
        if name == "max":
            return _most(values)
        if name == "clip":
            return _least([_most(values[:2]), values[2]])
        return _rounded(values[0], digits or 0)

    written = [argument.text for argument in arguments] + ([] if digits is None else [str(digits)])
    return Sentence(f"{name}({', '.join(written)})", ATOM, value)


def _choice(a: Sentence, test: Sentence, b: Sentence, unknown: Any) -> Sentence:
    def value(row: Row) -> Any:
        holds = test.value(row)
        return unknown if holds is None else a.value(row) if holds else b.value(row)

    text = f"{a.inside(OR)} if {test.inside(OR)} else {b.text}"
    return Sentence(text, CHOICE, value)


# --- conditions ---------------------------------------------------------------------------------------------------


def _not(a: Sentence) -> Sentence:
    def value(row: Row) -> bool | None:
        holds = a.value(row)
        return None if holds is None else not holds

    return Sentence(f"not {a.inside(NOT)}", NOT, value)


def _all(verdicts: list[bool | None]) -> bool | None:
    return False if False in verdicts else None if None in verdicts else True


def _any(verdicts: list[bool | None]) -> bool | None:
    return True if True in verdicts else None if None in verdicts else False


def _joined(word: str, parts: list[Sentence]) -> Sentence:
    strength, decide = (AND, _all) if word == "and" else (OR, _any)
    text = f" {word} ".join(part.inside(strength + 1) for part in parts)
    return Sentence(text, strength, lambda row: decide([part.value(row) for part in parts]))


def _compared(sides: list[Sentence], operators: list[str]) -> Sentence:
    def link(a: Any, operator: str, b: Any) -> bool | None:
        if a is None or b is None or a != a or b != b:
            return None
        return {
            "<": lambda: a < b, "<=": lambda: a <= b, ">": lambda: a > b, ">=": lambda: a >= b,
            "==": lambda: a == b, "!=": lambda: a != b,
        }[operator]()  # fmt: skip

    def value(row: Row) -> bool | None:
        values = [side.value(row) for side in sides]
        return _all([link(a, op, b) for a, op, b in zip(values, operators, values[1:], strict=False)])

    text = sides[0].inside(SUM)
    for operator, side in zip(operators, sides[1:], strict=True):
        text += f" {operator} {side.inside(SUM)}"
    return Sentence(text, COMPARISON, value)


@st.composite
def numbers(draw: st.DrawFn, depth: int = 3) -> Sentence:
    what = draw(st.integers(0, 3 if depth <= 0 else 9))
    if what <= 2:
        return _name(draw(st.sampled_from(NUMBERS)))
    if what == 3:
        return draw(_literals)
    if what == 4:
        return _negative(draw(numbers(depth - 1)))
    if what <= 7:
        return _arithmetic(draw(numbers(depth - 1)), draw(st.sampled_from("+-*/")), draw(numbers(depth - 1)))
    if what == 8:
        return _choice(draw(numbers(depth - 2)), draw(conditions(depth - 2)), draw(numbers(depth - 2)), math.nan)
    name, count = draw(st.sampled_from([("abs", 1), ("min", 2), ("min", 3), ("max", 2), ("clip", 3), ("round", 1)]))
    digits = draw(st.none() | st.integers(0, 10)) if name == "round" else None
    return _function(name, [draw(numbers(depth - 1)) for _ in range(count)], digits)


_orders = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
_words = st.sampled_from(["x", "y", "é", ""]).map(lambda word: _constant(f'"{word}"', word))


@st.composite
def conditions(draw: st.DrawFn, depth: int = 3) -> Sentence:
    what = draw(st.integers(0, 4 if depth <= 0 else 9))
    if what == 0:
        return draw(st.sampled_from([_name("f0"), _name("f1"), _constant("true", True), _constant("false", False)]))
    if what == 1:
        sides = [_name(draw(st.sampled_from(TEXTS))), draw(_words | st.sampled_from(TEXTS).map(_name))]
        return _compared(draw(st.permutations(sides)), [draw(st.sampled_from(["==", "!="]))])
    if what <= 4:
        count = draw(st.sampled_from([1, 1, 1, 2, 3]))
        sides = [draw(numbers(max(depth - 1, 0))) for _ in range(count + 1)]
        return _compared(sides, [draw(_orders) for _ in range(count)])
    if what == 5:
        return _not(draw(conditions(depth - 1)))
    if what == 6:
        return _choice(draw(conditions(depth - 2)), draw(conditions(depth - 2)), draw(conditions(depth - 2)), None)
    word = draw(st.sampled_from(["and", "or"]))
    return _joined(word, [draw(conditions(depth - 1)) for _ in range(draw(st.integers(2, 3)))])

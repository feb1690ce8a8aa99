"""How far each comparison of a condition was from turning out otherwise: what an explanation of a decision shows."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from autotrader.rules import compile as compiled
from autotrader.rules.compile import Row
from autotrader.rules.expression import Atom, Expression
from autotrader.rules.facts import Scalar

_LITERAL = re.compile(r"""-? *[0-9.]+([eE][+-]?[0-9]+)?%?|["'].*""")
_FRACTION = re.compile(r"-? *(?=.*[1-9])[0-9.]+([eE][+-]?[0-9]+)?")
_PERCENTS = ("_pct", "%")  # how a name or a number ends that is a share of something
_FEWEST, _MOST = 2, 6  # decimals shown of a number that is not whole


@dataclass(frozen=True, slots=True)
class Margin:
    """One comparison of a condition, or one flag, with the values it had.

    left_text, right_text: as written. left, right: their values, None if unknown. operator, right_text, right: None
    for a flag. holds: None if unknown. away: for numbers, the difference of the two sides, never negative: by so much
    one of them would have to move for another result (or just more, where they are equal); else None.
    """

    left_text: str
    left: Scalar
    operator: str | None
    right_text: str | None
    right: Scalar
    holds: bool | None
    away: float | None

    @property
    def text(self) -> str:
        """As written, e.g. "loss_per_share >= stop_distance"."""
        return self.left_text if self.operator is None else f"{self.left_text} {self.operator} {self.right_text}"

    @property
    def shown(self) -> str:
        """The comparison with its values, e.g. "loss_per_share 2.31 >= stop_distance 3.10"."""
        unit = self._unit
        left = _side(self.left_text, self.left, unit)
        if self.operator is None:
            return left
        return f"{left} {self.operator} {_side(self.right_text or '', self.right, unit)}"

    @property
    def _unit(self) -> _Unit:
        """How the numbers are shown: as percents where one side is called or written so, and none as a fraction."""
        texts = (self.left_text, self.right_text or "")
        is_percent = any(text.endswith(_PERCENTS) for text in texts) and not any(map(_FRACTION.fullmatch, texts))
        return _unit(is_percent, self.left, self.right, self.away)

    def __str__(self) -> str:
        """E.g. "loss_per_share 2.31 >= stop_distance 3.10 no, 0.79 away"."""
        shown = self.shown
        if self.holds is None:
            return f"{shown} unknown" if self.left is not None and self.right is not None else shown
        if self.operator is None:
            return shown
        shown += " yes" if self.holds else " no"
        if not self.away:
            return shown
        away = self._unit.number(self.away)
        return f"{shown}, by {away}" if self.holds else f"{shown}, {away} away"


def margins(expression: Expression, facts: Row, constants: Row) -> tuple[Margin, ...]:
    """Every comparison and flag of a condition, in order of appearance, those it did not depend on included.

    facts, constants: as recorded, where an unknown number may be None. A chain a < b < c gives two margins.
    """
    return measure(expression, constants)(facts)


def measure(expression: Expression, constants: Row) -> Callable[[Row], tuple[Margin, ...]]:
    """`margins`, made ready once for many rows."""
    known = compiled.clean_constants(expression.reads, constants)
    reads = {name: kind for name, kind in expression.reads.items() if name not in known}
    coder = compiled.Coder(known)
    items = "".join(f"({_code(coder, atom)}), " for atom in expression.atoms)
    values = compiled.function("values(facts)", [f"return ({items})"])

    def measured(facts: Row) -> tuple[Margin, ...]:
        found = values(compiled.clean(reads, facts))
        return tuple([_margin(atom, *judged) for atom, judged in zip(expression.atoms, found, strict=True)])

    return measured


def _code(coder: compiled.Coder, atom: Atom) -> str:
    right = "None" if atom.right is None else coder.code(atom.right)
    holds = f"True if {coder.code(atom.match)} else False if {coder.code(atom.miss)} else None"
    return f"{coder.code(atom.left)}, {right}, {holds}"


def _margin(atom: Atom, left: Scalar, right: Scalar, holds: bool | None) -> Margin:
    away = None
    if holds is not None and isinstance(left, float) and isinstance(right, float):
        away = 0.0 if left == right else abs(left - right)
    left, right = compiled.known(left), compiled.known(right)
    return Margin(atom.left_text, left, atom.operator, atom.right_text, right, holds, away)


# --- rendering ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Unit:
    """Numbers with so many decimals, or percents."""

    is_percent: bool
    decimals: int

    def number(self, value: float) -> str:
        sign = "%" if self.is_percent else ""
        value = _scaled(self.is_percent, value)
        shown = f"{value:.{self.decimals}f}"
        return (f"{value:.3g}" if value and not float(shown) else shown) + sign


def _unit(is_percent: bool, *values: Scalar) -> _Unit:
    """As many decimals for all as the smallest needs for two digits; none where all are whole."""
    numbers = (value for value in values if isinstance(value, float) and math.isfinite(value))
    sizes = [size for value in numbers if (size := abs(_scaled(is_percent, value)))]
    if all(size.is_integer() for size in sizes):
        return _Unit(is_percent, 0)
    return _Unit(is_percent, min(max(_FEWEST, 1 - math.floor(math.log10(min(sizes)))), _MOST))


def _scaled(is_percent: bool, value: float) -> float:
    return round(value * 100, 10) if is_percent else value


def _side(text: str, value: Scalar, unit: _Unit) -> str:
    """What was written and its value; a number or a text that stands for itself is not said twice."""
    return text if _LITERAL.fullmatch(text) else f"{text} {_value(value, unit)}"


def _value(value: Scalar, unit: _Unit) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else unit.number(value)

"""Rules over ranges: which rule decides wherever some facts stand between two values, if it is everywhere the same.

The ends of an expression come from the ends of what it reads, by the operations that a single value goes through, and
rounding keeps the order of numbers: nothing between the ends lies outside of theirs. Where an end is unknown or
infinite, nothing is certain.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from autotrader.rules import compile as compiled
from autotrader.rules.compile import Row

if TYPE_CHECKING:
    from autotrader.rules.ruleset import OnMissing, Rule

# facts, the least and the most of those that move -> the index of the rule that decides; None: it may differ
Steady = Callable[[Row, Row, Row], int | None]

Ends = tuple[str, str]  # Python for the least and for the most of a number


def steady(rules: Sequence[tuple[Rule, OnMissing]], constants: Row, moving: frozenset[str], *, alike: bool) -> Steady:
    """The function that tells which rule decides, -1 for none, everywhere between.

    rules: with what an unknown condition of each counts as. moving: the numbers that are given as a least and a most;
    all else stands in the facts. alike: and up to the rule that decides, every rule's own verdict is everywhere the
    same; else one that cannot match may be unknown here and not there. for_bars counts as 1.
    """
    body: list[str] = []
    coder = _RangeCoder(constants, moving - constants.keys())
    for index, (rule, unknown) in enumerate(rules):
        assert rule.when.match is not None
        assert rule.when.miss is not None
        match, miss = coder.certain(rule.when.match), coder.certain(rule.when.miss)
        body += coder.take()
        if unknown == "skip" and match == "False" and (miss == "False" or not alike):  # it reads an unknown constant
            continue
        if unknown != "fail" and not coder.moves(rule.when.match):  # one verdict, maybe unknown
            body.append(f"if {match if unknown == 'skip' else f'not ({miss})'}: return {index}")
        else:
            body.append(f"if not ({miss}): return {index} if {match} else None")
    judge = compiled.function("steady(facts, least, most)", [*body, "return -1"], **_SCOPE)

    def decides(facts: Row, least: Row, most: Row) -> int | None:
        try:
            found: int | None = judge(facts, least, most)
        except compiled.UNFIT:  # something is None, or beyond the floats
            return None
        return found

    return decides


class _RangeCoder:
    """Writes normalised trees as Python over `facts`, `least` and `most`."""

    def __init__(self, constants: Row, moving: frozenset[str]) -> None:
        self._fixed = compiled.Coder(constants)
        self._moving = moving
        self._made: dict[Ends, Ends] = {}
        self._lines: list[str] = []
        self._fresh: list[str] = []

    def moves(self, tree: ast.expr) -> bool:
        return any(isinstance(node, ast.Name) and node.id in self._moving for node in ast.walk(tree))

    def take(self) -> list[str]:
        """The lines that have to run before what was written since the last call; they return None on an odd end."""
        lines, fresh = self._lines, self._fresh
        self._lines, self._fresh = [], []
        if fresh:  # nothing but a finite number is nothing when taken from itself
            lines += [f"sum = {' + '.join(fresh)}", "if sum - sum != 0.0: return None"]
        return lines

    def certain(self, tree: ast.expr) -> str:
        """Python that is true only if a condition is true everywhere between."""
        if not self.moves(tree):
            return self._fixed.code(tree)
        if isinstance(tree, ast.BoolOp):
            return self._fixed.joined(tree.op, map(self.certain, tree.values))
        assert isinstance(tree, ast.Compare)
        (low, high), (least, most) = self._ends(tree.left), self._ends(tree.comparators[0])
        match tree.ops[0]:
            case _ if "unknown" in (low, least):
                return "False"
            case ast.Lt():
                return f"{high} < {least}"
            case ast.LtE():
                return f"{high} <= {least}"
            case ast.Gt():
                return f"{low} > {most}"
            case ast.GtE():
                return f"{low} >= {most}"
        assert isinstance(tree.ops[0], ast.Eq)  # of numbers, "!=" has become "less or more"
        return f"{low} == {high} == {least} == {most}"

    def _ends(self, tree: ast.expr) -> Ends:
        """The variables that hold the least and the most of a number, one and the same where it does not move."""
        if not self.moves(tree):
            code = self._fixed.code(tree)
            return (code, code) if code == "unknown" else self._kept(code, code)
        if isinstance(tree, ast.Name):
            return self._kept(f"least[{tree.id!r}]", f"most[{tree.id!r}]")
        if isinstance(tree, ast.UnaryOp):
            low, high = self._ends(tree.operand)
            return self._kept(f"-{high}", f"-{low}")
        if isinstance(tree, ast.IfExp):
            test, body, orelse = self.certain(tree.test), self._ends(tree.body), self._ends(tree.orelse)
            other = f"({', '.join(orelse)})"
            if self.moves(tree.test):  # it may be either, here and there
                other = f"_hull({', '.join((*body, *orelse))})"
            return self._pair(f"({', '.join(body)}) if {test} else {other}", told=False)
        if isinstance(tree, ast.BinOp):
            (low, high), (least, most) = self._ends(tree.left), self._ends(tree.right)
            match tree.op:
                case ast.Add():
                    return self._kept(f"{low} + {least}", f"{high} + {most}")
                case ast.Sub():
                    return self._kept(f"{low} - {most}", f"{high} - {least}")
                case ast.Mult():
                    return self._pair(f"_product({low}, {high}, {least}, {most})")
            return self._pair(f"_quotient({low}, {high}, {least}, {most})")
        assert isinstance(tree, ast.Call)
        assert isinstance(tree.func, ast.Name)
        ends = [self._ends(argument) for argument in tree.args]
        if tree.func.id in {"abs", "round"}:
            return self._pair(f"_ends_of_{tree.func.id}({', '.join(end for pair in ends for end in pair)})")
        lows, highs = (", ".join(side) for side in zip(*ends, strict=True))
        return self._kept(f"_{tree.func.id}({lows})", f"_{tree.func.id}({highs})")  # min, max, clip: rise with each

    def _kept(self, low: str, high: str) -> Ends:
        """Two ends, worked out once."""
        made = self._made.get((low, high))
        if made is None:
            number = len(self._made)
            made = self._made[low, high] = (f"a{number}", f"a{number}" if low == high else f"z{number}")
            self._lines.append(f"{made[0]} = {low}")
            if low != high:
                self._lines.append(f"{made[1]} = {high}")
                self._fresh += made
        return made

    def _pair(self, code: str, *, told: bool = True) -> Ends:
        """Two ends that come together. told: they have to be; else the branch not taken may be odd."""
        made = self._made.get((code, ""))
        if made is None:
            number = len(self._made)
            made = self._made[code, ""] = (f"a{number}", f"z{number}")
            self._lines.append(f"{made[0]}, {made[1]} = {code}")
            self._fresh += made if told else ()
        return made


_UNTOLD = math.nan, math.nan


def _hull(low: float, high: float, least: float, most: float) -> tuple[float, float]:
    """The least and the most of two ranges."""
    return _of(low, high, least, most)


def _product(low: float, high: float, least: float, most: float) -> tuple[float, float]:
    return _of(low * least, low * most, high * least, high * most)


def _quotient(low: float, high: float, least: float, most: float) -> tuple[float, float]:
    if not (least > 0 or most < 0):  # somewhere it is divided by zero
        return _UNTOLD
    return _of(low / least, low / most, high / least, high / most)


def _ends_of_abs(low: float, high: float) -> tuple[float, float]:
    if low >= 0:
        return low, high
    return (-high, -low) if high <= 0 else _of(0.0, -low, high)


def _ends_of_round(low: float, high: float, digits: float = 0.0, most: float = 0.0) -> tuple[float, float]:
    """Of one number of digits, where both ends have digits to lose."""
    if digits != most or not max(-low, high) * math.pow(10.0, digits) < compiled.WHOLE:
        return _UNTOLD
    return compiled.rounded(low, digits), compiled.rounded(high, digits)


def _of(*values: float) -> tuple[float, float]:
    """The least and the most of some; untold where one of them is unknown."""
    return _UNTOLD if any(value != value for value in values) else (min(values), max(values))


_SCOPE = {
    "_hull": _hull,
    "_product": _product,
    "_quotient": _quotient,
    "_ends_of_abs": _ends_of_abs,
    "_ends_of_round": _ends_of_round,
}

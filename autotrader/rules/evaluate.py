"""The reference evaluator: simpleeval over a normalised tree, for one row and for whole columns alike.

A row gives each name one value, a column one array; the arithmetic is numpy's float64 in both. What is unknown is NaN
in a number and None in a text or a flag; an absent name and a division by zero are unknown.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simpleeval import SimpleEval

from autotrader.rules.compile import WHOLE, Row, clean_value
from autotrader.rules.expression import Expression
from autotrader.rules.facts import Kind, Scalar

Array = NDArray[Any]
Columns = Mapping[str, Array | Scalar]


def row_value(expression: Expression, row: Row) -> float:
    """The number an expression gives for one row; NaN if unknown."""
    return float(column_number(expression, row))


def row_truth(expression: Expression, row: Row) -> bool | None:
    """Whether a condition holds for one row; None if unknown."""
    if bool(column_match(expression, row)):
        return True
    return False if bool(column_miss(expression, row)) else None


def column_number(expression: Expression, columns: Columns) -> NDArray[np.float64]:
    """The number for every element: float64 of the columns' common shape, NaN where unknown.

    An expression without names gives a 0-d array; one that is just a name may give the column itself.
    """
    return np.asarray(_evaluate(expression.value, expression, columns), dtype=np.float64)


def column_match(expression: Expression, columns: Columns) -> NDArray[np.bool_]:
    """Where a condition certainly holds. Shapes as in column_number."""
    assert expression.match is not None
    return np.asarray(_evaluate(expression.match, expression, columns), dtype=np.bool_)


def column_miss(expression: Expression, columns: Columns) -> NDArray[np.bool_]:
    """Where a condition certainly does not hold. Shapes as in column_number."""
    assert expression.miss is not None
    return np.asarray(_evaluate(expression.miss, expression, columns), dtype=np.bool_)


def _evaluate(tree: ast.expr, expression: Expression, columns: Columns) -> Any:
    names = {name: _operand(kind, columns.get(name)) for name, kind in expression.reads.items()}
    with np.errstate(all="ignore"):
        return _Evaluator(names).eval("", previously_parsed=tree)


def _operand(kind: Kind, value: Array | Scalar) -> Any:
    if not isinstance(value, np.ndarray):
        value = clean_value(kind, value)
        return np.float64(value) if kind == "number" else value
    return value.astype(np.float64, copy=False) if kind == "number" else value


class _Evaluator(SimpleEval):  # type: ignore[misc]  # simpleeval ships no types
    """simpleeval with the operators of the language: NaN-aware, and never short-circuiting, so that arrays work."""

    def __init__(self, names: Mapping[str, object]) -> None:
        super().__init__(operators=_OPERATORS, functions=_FUNCTIONS, names=names)
        self.nodes[ast.BinOp] = self._calculate
        self.nodes[ast.BoolOp] = self._join
        self.nodes[ast.IfExp] = self._choose

    def _calculate(self, node: ast.BinOp) -> Any:
        run: list[ast.BinOp] = []  # a sum of hundreds is no deeper than one of two
        first: ast.expr = node
        while isinstance(first, ast.BinOp):
            run.append(first)
            first = first.left
        value = self._eval(first)
        for part in reversed(run):
            value = self.operators[type(part.op)](value, self._eval(part.right))
        return value

    def _join(self, node: ast.BoolOp) -> Array:
        combine = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        values = [self._eval(value) for value in node.values]
        room: Array | None = next((value for value in values if self._can_take(value, values)), None)
        if room is None:
            joined: Array = reduce(combine, values)
            return joined
        for value in values:
            if value is not room:
                combine(room, value, out=room)
        return room

    def _can_take(self, value: Any, values: list[Any]) -> bool:
        """Whether it is an array that was made on the way here, and fits the result: a new one takes longer."""
        if not isinstance(value, np.ndarray) or value.dtype != np.bool_:
            return False
        if any(value is given for given in self.names.values()):
            return False
        return all(np.shape(other) in ((), value.shape) for other in values)

    def _choose(self, node: ast.IfExp) -> Array:
        chosen: Array = np.where(self._eval(node.test), self._eval(node.body), self._eval(node.orelse))
        return chosen


def _divide(a: Array, b: Array) -> Array:
    zero = np.equal(b, 0.0)
    quotient: Array = np.divide(a, b)
    return np.where(zero, np.nan, quotient) if np.any(zero) else quotient


def _equal(a: Any, b: Any) -> Any:
    """a == b; of a flag's column, itself or its opposite, which takes no comparison."""
    if isinstance(b, bool) and isinstance(a, np.ndarray) and a.dtype == np.bool_:
        return a if b else np.logical_not(a)
    return a == b


# Which of two zeros is the less differs between machines: + 0.0 leaves one zero.


def _min(*values: Array) -> Array:
    return reduce(np.minimum, values) + 0.0  # np.minimum keeps NaN


def _max(*values: Array) -> Array:
    return reduce(np.maximum, values) + 0.0


def _clip(value: Array, low: Array, high: Array) -> Array:
    return np.minimum(np.maximum(value, low), high) + 0.0


def _round(value: Array, digits: float = 0.0) -> Array:
    scale = math.pow(10.0, digits)
    scaled = value * scale
    return np.where(np.abs(scaled) < WHOLE, np.rint(scaled) / scale, value) + 0.0


_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divide,
    ast.USub: operator.neg,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: _equal,
    ast.NotEq: operator.ne,
}

_FUNCTIONS = {"abs": np.abs, "min": _min, "max": _max, "clip": _clip, "round": _round}

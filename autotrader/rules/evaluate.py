"""The reference evaluator: simpleeval over a normalised tree, for one row and for whole columns alike.

A row gives each name one value, a column one array; the arithmetic is numpy's float64 in both. What is unknown is NaN
in a number and None in a text or a flag; a division by zero is unknown.
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

from autotrader.rules.expression import Expression
from autotrader.rules.facts import Kind, Scalar

Array = NDArray[Any]
Columns = Mapping[str, Array | Scalar]


def row_value(expression: Expression, row: Mapping[str, Scalar]) -> float:
    """The number an expression gives for one row; NaN if unknown."""
    return float(_evaluate(expression.value, as_row(expression, row)))


def row_truth(expression: Expression, row: Mapping[str, Scalar]) -> bool | None:
    """Whether a condition holds for one row; None if unknown."""
    assert expression.match is not None
    assert expression.miss is not None
    names = as_row(expression, row)
    if bool(_evaluate(expression.match, names)):
        return True
    return False if bool(_evaluate(expression.miss, names)) else None


def column_number(expression: Expression, columns: Columns) -> NDArray[np.float64]:
    """The number for every element: float64 of the columns' common shape, NaN where unknown.

    An expression without names gives a 0-d array.
    """
    return np.asarray(_evaluate(expression.value, columns), dtype=np.float64)


def column_match(expression: Expression, columns: Columns) -> NDArray[np.bool_]:
    """Where a condition certainly holds. Shapes as in column_number."""
    assert expression.match is not None
    return np.asarray(_evaluate(expression.match, columns), dtype=np.bool_)


def column_miss(expression: Expression, columns: Columns) -> NDArray[np.bool_]:
    """Where a condition certainly does not hold. Shapes as in column_number."""
    assert expression.miss is not None
    return np.asarray(_evaluate(expression.miss, columns), dtype=np.bool_)


def as_row(expression: Expression, row: Mapping[str, Scalar]) -> dict[str, Any]:
    """What the expression reads of a row, ready to compute with; an absent name is unknown."""
    return {name: cell(kind, row.get(name)) for name, kind in expression.reads.items()}


def cell(kind: Kind, value: Scalar) -> Any:
    """One value as the evaluators want it: a number that is None becomes NaN, an unknown text or flag stays None."""
    return np.float64(np.nan if value is None else value) if kind == "number" else value


def _divide(a: Array, b: Array) -> Array:
    quotient: Array = np.where(b == 0, np.nan, np.divide(a, b))
    return quotient


def _round(a: Array, digits: float = 0.0) -> Array:
    scale = math.pow(10.0, digits)
    rounded: Array = np.rint(a * scale) / scale
    return rounded


class _Evaluator(SimpleEval):  # type: ignore[misc]  # simpleeval ships no types
    """simpleeval with the operators of the language: NaN-aware, and never short-circuiting, so that arrays work."""

    def __init__(self, names: Mapping[str, object]) -> None:
        super().__init__(operators=_OPERATORS, functions=_FUNCTIONS, names=names)
        self.nodes[ast.BoolOp] = self._join
        self.nodes[ast.IfExp] = self._choose

    def _join(self, node: ast.BoolOp) -> Array:
        combine = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        joined: Array = reduce(combine, [self._eval(value) for value in node.values])
        return joined

    def _choose(self, node: ast.IfExp) -> Array:
        chosen: Array = np.where(self._eval(node.test), self._eval(node.body), self._eval(node.orelse))
        return chosen


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
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}

_FUNCTIONS = {
    "abs": np.abs,
    "min": lambda *values: reduce(np.minimum, values),  # np.minimum keeps NaN
    "max": lambda *values: reduce(np.maximum, values),
    "clip": lambda value, low, high: np.minimum(np.maximum(value, low), high),
    "round": _round,
}


def _evaluate(tree: ast.expr, names: Mapping[str, object]) -> Any:
    with np.errstate(all="ignore"):
        return _Evaluator(names).eval("", previously_parsed=tree)

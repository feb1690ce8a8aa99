"""The compiled form, for the scalar hot path: a normalised tree as Python byte code over one mapping of facts.

Only trees that the parser has checked and normalised get here. Constants (parameters, strategy values) are folded in.
The quick form divides with `/` and takes numbers as they are; where that raises, the careful form decides instead.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from typing import Any, cast

from autotrader.rules.expression import Expression
from autotrader.rules.facts import Kind, Scalar

FACTS = "facts"  # the name of the argument that holds the row
_NAN = "unknown"

# What a quick form may raise on input it was not made for: None where a number should be, a fact that is absent,
# a division by zero. Anything else is a defect and must not be hidden.
UNFIT = (ZeroDivisionError, TypeError, KeyError)


def inline(tree: ast.expr, constants: Mapping[str, Scalar], *, careful: bool) -> ast.expr:
    """The tree with constants folded in, facts read from `facts[...]`, and functions that know NaN."""
    return cast(ast.expr, _Inliner(constants, careful).visit(tree))


def function(name: str, arguments: list[str], body: list[ast.stmt]) -> Callable[..., Any]:
    """A Python function of this body, which may use the language's functions and nothing else."""
    definition = ast.parse(f"def {name}({', '.join(arguments)}): pass")
    cast(ast.FunctionDef, definition.body[0]).body = body
    scope: dict[str, Any] = {"__builtins__": {}, **_SCOPE}
    exec(compile(ast.fix_missing_locations(definition), f"<{name}>", "exec"), scope)  # noqa: S102  # our own tree
    return cast(Callable[..., Any], scope[name])


def number(expression: Expression, constants: Mapping[str, Scalar]) -> Callable[[Mapping[str, Scalar]], float]:
    """The number an expression gives for a row of facts; NaN if unknown."""

    def form(careful: bool) -> Callable[..., Any]:
        value = inline(expression.value, constants, careful=careful)
        return function("number", [FACTS], [ast.Return(value)])

    quick, careful = form(False), form(True)
    reads = {name: kind for name, kind in expression.reads.items() if name not in constants}

    def evaluate(facts: Mapping[str, Scalar]) -> float:
        try:
            return cast(float, quick(facts))
        except UNFIT:
            return cast(float, careful(clean(reads, facts)))

    return evaluate


def clean(reads: Mapping[str, Kind], facts: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The facts as the careful form wants them: an absent or None number is NaN, anything else absent is None."""
    return {name: clean_value(kind, facts.get(name)) for name, kind in reads.items()}


def clean_value(kind: Kind, value: Scalar) -> Scalar:
    return math.nan if value is None and kind == "number" else value


class UnknownFact(Exception):  # noqa: N818  # it names what happened, not an error in the code
    """A rule that says `on_missing: fail` met an unknown: its subject stops at this stage."""

    def __init__(self, stage: str, rule: str) -> None:
        super().__init__(f'{stage}: rule "{rule}" cannot be judged: a fact it needs is unknown')
        self.stage = stage
        self.rule = rule


class _Inliner(ast.NodeTransformer):
    """Copies a tree, so that the parsed one stays as it is."""

    def __init__(self, constants: Mapping[str, Scalar], careful: bool) -> None:
        self._constants = constants
        self._careful = careful

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in self._constants:
            return ast.Subscript(ast.Name(FACTS, ast.Load()), ast.Constant(node.id), ast.Load())
        return _constant(self._constants[node.id])

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return _constant(node.value)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name = cast(ast.Name, node.func).id
        return ast.Call(ast.Name(f"_{name}", ast.Load()), [self.visit(argument) for argument in node.args], [])

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        left, right = self.visit(node.left), self.visit(node.right)
        if isinstance(node.op, ast.Div) and self._careful:
            return ast.Call(ast.Name("_divide", ast.Load()), [left, right], [])
        return ast.BinOp(left, node.op, right)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        return ast.UnaryOp(node.op, self.visit(node.operand))

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        return ast.Compare(self.visit(node.left), node.ops, [self.visit(side) for side in node.comparators])

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        return ast.BoolOp(node.op, [self.visit(value) for value in node.values])

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        return ast.IfExp(self.visit(node.test), self.visit(node.body), self.visit(node.orelse))


def _constant(value: Any) -> ast.expr:
    if isinstance(value, float) and math.isnan(value):
        return ast.Name(_NAN, ast.Load())
    return ast.Constant(value)


# --- the functions of the language, for one number each -----------------------------------------------------------


def _divide(a: float, b: float) -> float:
    return math.nan if b == 0 else a / b


def _min(*values: float) -> float:
    least = values[0]
    for value in values:
        if value < least or value != value:
            least = value
    return least


def _max(*values: float) -> float:
    most = values[0]
    for value in values:
        if value > most or value != value:
            most = value
    return most


def _clip(value: float, low: float, high: float) -> float:
    return _min(_max(value, low), high)


def _round(value: float, digits: float = 0.0) -> float:
    scale = math.pow(10.0, digits)
    scaled = value * scale
    return float(round(scaled)) / scale if math.isfinite(scaled) else scaled


def _fail(stage: str, rule: str) -> bool:
    raise UnknownFact(stage, rule)


_SCOPE: Mapping[str, Any] = {
    "_abs": abs,
    "_min": _min,
    "_max": _max,
    "_clip": _clip,
    "_round": _round,
    "_divide": _divide,
    "_fail": _fail,
    _NAN: math.nan,
}

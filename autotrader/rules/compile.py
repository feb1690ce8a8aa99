"""The compiled form, for the scalar hot path: normalised trees as one Python function over a row of facts.

Only trees that the parser has checked and normalised get here. Constants (parameters, strategy values) are folded in.
A function takes the facts as they are; where it meets what it was not made for, it is called again on clean ones.
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from autotrader.rules.expression import Expression
from autotrader.rules.facts import Kind, Scalar

Row = Mapping[str, Scalar]

# What a compiled function may raise on facts that are not clean: a number that is None, absent, or a whole one beyond
# the largest float. Anything else is a defect and must not be hidden.
UNFIT = (TypeError, KeyError, OverflowError)


def clean(reads: Mapping[str, Kind], facts: Row) -> dict[str, Scalar]:
    """The facts as any function takes them: numbers are floats, NaN if None or absent; other absent facts are None."""
    return {name: clean_value(kind, facts.get(name)) for name, kind in reads.items()}


def clean_value(kind: Kind, value: Scalar) -> Scalar:
    if kind != "number":
        return value
    if value is None:
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf if isinstance(value, int) and value > 0 else -math.inf


def clean_constants(reads: Mapping[str, Kind], constants: Row) -> dict[str, Scalar]:
    """Those of the constants that are read, clean."""
    return clean({name: kind for name, kind in reads.items() if name in constants}, constants)


def known(value: Scalar) -> Scalar:
    """A value as it stands in a record: an unknown number is None."""
    return None if value != value else value


def number(expression: Expression, constants: Row) -> Callable[[Row], float]:
    """The number an expression gives for a row of facts; NaN if unknown."""
    coder = Coder(clean_constants(expression.reads, constants))
    quick = function("number(facts)", [f"return {coder.as_float(expression.value)}"])
    reads = {name: kind for name, kind in expression.reads.items() if name not in constants}

    def evaluate(facts: Row) -> float:
        value: float
        try:
            value = quick(facts)
        except UNFIT:
            value = quick(clean(reads, facts))
        return value

    return evaluate


def function(signature: str, body: Iterable[str], **scope: object) -> Callable[..., Any]:
    """A Python function of these lines, which may use the language's functions, `scope`, and nothing else."""
    name = signature.partition("(")[0]
    source = f"def {signature}:\n" + "".join(f"    {line}\n" for line in body)
    within: dict[str, Any] = {"__builtins__": {}, **_SCOPE, **scope}
    exec(compile(source, f"<{name}>", "exec"), within)  # noqa: S102  # written by a Coder from checked trees
    found: Callable[..., Any] = within[name]
    return found


def function_over_facts(signature: str, constants: Row, write: Callable[[Coder], list[str]]) -> Callable[..., Any]:
    """A function of the lines that `write` makes with a Coder; facts that occur twice are looked up once."""
    counting = Coder(constants)
    write(counting)
    often = [name for name, count in counting.read.items() if count > 1]
    variables = {name: f"fact{index}" for index, name in enumerate(often)}
    taken = [f"{variable} = facts[{name!r}]" for name, variable in variables.items()]
    return function(signature, taken + write(Coder(constants, variables)))


class Coder:
    """Writes normalised trees as Python, over a mapping `facts` or over local variables."""

    def __init__(self, constants: Row, variables: Mapping[str, str] | None = None) -> None:
        """variables: the local variables that hold facts, by the facts' names; others are read as `facts[name]`."""
        self.read: Counter[str] = Counter()  # how often each fact occurs in what was written
        self._constants = constants
        self._variables = variables or {}
        self._temporaries = 0

    def as_float(self, tree: ast.expr) -> str:
        """Python for a number, a float in any case."""
        return f"{self.code(tree)} * 1.0" if self._maybe_int(tree) else self.code(tree)

    def code(self, tree: ast.expr) -> str:
        """Python for a tree; "False" where a comparison with an unknown constant decides."""
        if isinstance(tree, ast.Name):
            return self._name(tree.id)
        if isinstance(tree, ast.Constant):
            return literal(cast(Scalar, tree.value))
        if isinstance(tree, ast.BinOp):
            return self._arithmetic(tree)
        if isinstance(tree, ast.Compare):
            left, right = self.code(tree.left), self.code(tree.comparators[0])
            return "False" if "unknown" in (left, right) else f"{left} {_COMPARE[type(tree.ops[0])]} {right}"
        if isinstance(tree, ast.BoolOp):
            return self.joined(tree.op, map(self.code, tree.values))
        if isinstance(tree, ast.UnaryOp):
            operand = self.code(tree.operand)
            return f"({operand} * -1.0)" if self._maybe_int(tree.operand) else f"(-{operand})"
        if isinstance(tree, ast.IfExp):
            return f"({self.code(tree.body)} if {self.code(tree.test)} else {self.code(tree.orelse)})"
        assert isinstance(tree, ast.Call)
        assert isinstance(tree.func, ast.Name)
        return f"_{tree.func.id}({', '.join(map(self.code, tree.args))})"

    def _name(self, name: str) -> str:
        if name in self._constants:
            return literal(self._constants[name])
        self.read[name] += 1
        return self._variables.get(name, f"facts[{name!r}]")

    def _arithmetic(self, tree: ast.BinOp) -> str:
        """a + b - c, or a * b / c: as many as there are in a row. Zero among the denominators: unknown."""
        run: list[tuple[ast.operator, ast.expr]] = []
        first: ast.expr = tree
        while isinstance(first, ast.BinOp) and type(first.op) in _SAME[type(tree.op)]:
            run.append((first.op, first.right))
            first = first.left
        code, nonzero = self.code(first), []
        if not isinstance(run[-1][0], ast.Div) and self._maybe_int(first) and self._maybe_int(run[-1][1]):
            code += " * 1.0"  # a float from here on, as in a column
        for op, right in reversed(run):
            operand = self.code(right)
            if isinstance(op, ast.Div) and not _is_nonzero(operand):
                self._temporaries += 1
                nonzero.append(f"(_{self._temporaries} := {operand})")
                operand = f"_{self._temporaries}"
            code += f" {_ARITHMETIC[type(op)]} {operand}"
        return f"({code} if {' and '.join(nonzero)} else unknown)" if nonzero else f"({code})"

    def joined(self, word: ast.boolop, codes: Iterable[str]) -> str:
        """Conditions joined by `and` or `or`, without those that are "False" in any case."""
        every, parts = isinstance(word, ast.And), list(codes)
        if every and "False" in parts:
            return "False"
        parts = [part for part in parts if part != "False"]
        return f"({(' and ' if every else ' or ').join(parts)})" if parts else "False"

    def _maybe_int(self, tree: ast.expr) -> bool:
        """Whether a number's Python may give an int: facts may be ints, the rest of the arithmetic is in floats."""
        if isinstance(tree, ast.Name):
            return tree.id not in self._constants
        if isinstance(tree, ast.IfExp):
            return self._maybe_int(tree.body) or self._maybe_int(tree.orelse)
        return isinstance(tree, ast.Call) and self._maybe_int(tree.args[0])


def literal(value: Scalar) -> str:
    """A constant as Python: a number is a float, which may be `unknown` or infinite."""
    if isinstance(value, bool | str) or value is None:
        return repr(value)
    value = float(value)
    if math.isnan(value):
        return "unknown"
    return repr(value) if math.isfinite(value) else "infinite" if value > 0 else "(-infinite)"


def _is_nonzero(code: str) -> bool:
    try:
        return float(code) != 0
    except ValueError:
        return False


_ARITHMETIC: Mapping[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_SAME: Mapping[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Add, ast.Sub),
    ast.Sub: (ast.Add, ast.Sub),
    ast.Mult: (ast.Mult, ast.Div),
    ast.Div: (ast.Mult, ast.Div),
}
_COMPARE: Mapping[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}


# --- the functions of the language, for one number each. Which of two zeros is less is nobody's business: + 0.0 -----


def _min(*values: float) -> float:
    least = values[0]
    for value in values:
        if value < least or value != value:
            least = value
    return least + 0.0


def _max(*values: float) -> float:
    most = values[0]
    for value in values:
        if value > most or value != value:
            most = value
    return most + 0.0


def _clip(value: float, low: float, high: float) -> float:
    return _min(_max(value, low), high)


def rounded(value: float, digits: float = 0.0) -> float:
    scale = math.pow(10.0, digits)
    scaled = value * scale
    if not -WHOLE < scaled < WHOLE:  # it has no digits behind the point, is infinite or unknown
        return value + 0.0
    return round(scaled) / scale + 0.0


WHOLE = 2.0**52  # floats from here on are whole numbers


_SCOPE: Mapping[str, Any] = {
    "_abs": abs,
    "_min": _min,
    "_max": _max,
    "_clip": _clip,
    "_round": rounded,
    "unknown": math.nan,
    "infinite": math.inf,
}

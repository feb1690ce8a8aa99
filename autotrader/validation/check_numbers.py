"""Checks of the numbers that are compared: what is always or never so, and what stands in two units."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from autotrader.rules.document import Path
from autotrader.rules.expression import Atom, Flaw
from autotrader.rules.facts import Fact
from autotrader.settings import BySide
from autotrader.validation.context import Context, Written

_NO_END = 1e12  # a range that goes so far is one without an end

Range = tuple[float, float]  # the least and the most
Given = tuple[Path, float]  # a number of the configuration, and where it stands

# operator -> whether it holds everywhere between the ends of both sides, and whether it does nowhere
_EVERYWHERE: Mapping[str, tuple[Callable[[Range, Range], bool], Callable[[Range, Range], bool]]] = {
    "<": (lambda a, b: a[1] < b[0], lambda a, b: a[0] >= b[1]),
    "<=": (lambda a, b: a[1] <= b[0], lambda a, b: a[0] > b[1]),
    ">": (lambda a, b: a[0] > b[1], lambda a, b: a[1] <= b[0]),
    ">=": (lambda a, b: a[0] >= b[1], lambda a, b: a[1] < b[0]),
}


def compared_numbers(context: Context) -> None:
    """A number compared with one that it is always beyond, or never reaches: the rule says nothing, or stops all."""
    ranges = {
        stage.name: {fact.name: fact.range for fact in stage.facts.values() if fact.range is not None}
        for stage in context.stages.values()
    }
    values = list(_values_by_side(context))
    for written in context.written:
        expression, known = written.expression, ranges.get(written.stage.name, {})
        if expression is None or known.keys().isdisjoint(expression.reads):
            continue
        for atom in expression.atoms:
            names = set(_names(atom.left)) | set(_names(atom.right))
            others = sorted(names - known.keys())
            if len(others) == len(names) or any(name in written.stage.facts for name in others):
                continue
            for given in _settings(context, written, others, values):
                numbers = {name: (value, value) for name, (_, value) in given.items()}
                holds = everywhere(atom, {name: numbers.get(name) or known[name] for name in names})
                places = [path for path, _ in given.values()]
                if holds is not None and not any(map(context.is_told, places)):
                    facts = {name: known[name] for name in sorted(names & known.keys())}
                    _report_certain(context, written, atom, given, facts, holds=holds)


# What a name that is no fact is in, by its ending, and what facts are in; nothing is said of other units.
_UNITS = {"_pct": "ratio", "_atr": "atr", "_atr_mult": "atr", "_days": "sessions"}
_IN_WORDS = {"ratio": "a share", "atr": "in ATRs", "usd": "in USD", "sessions": "in sessions", "score": "0 to 100"}


def compared_units(context: Context) -> None:
    """A number compared with one in another unit: a share of the price with ATRs, say."""
    for written in context.written:
        for atom in written.expression.atoms if written.expression is not None else ():
            units = {name: unit for side in (atom.left, atom.right)
                     if (name := _alone(side)) is not None and (unit := _unit(name, written.stage.facts)) in _IN_WORDS}
            if len(set(units.values())) > 1:
                said = " and ".join(f"{name} is {_IN_WORDS[unit]}" for name, unit in units.items())
                _report(context, written, atom, "units", f": {said}")


def _alone(node: ast.expr | None) -> str | None:
    """The one name of a side that is no more than that, its sign or its amount."""
    match node:
        case ast.Name():
            return node.id
        case ast.UnaryOp(operand=inner) | ast.Call(func=ast.Name(id="abs"), args=[inner]):
            return _alone(inner)
    return None


def _unit(name: str, facts: Mapping[str, Fact]) -> str:
    fact = facts.get(name)
    if fact is not None:
        return fact.unit or ""
    return next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "")


def _report_certain(
    context: Context,
    written: Written,
    atom: Atom,
    given: Mapping[str, Given],
    facts: Mapping[str, Range],
    *,
    holds: bool,
) -> None:
    """At the setting that makes it so, if it is one."""
    when = " and ".join(f"{name} is {value:.10g}" for name, (_, value) in given.items())
    spans = [
        f"{name} is {low:g} or more" if high >= _NO_END else f"{name} is {low:g} to {high:,.10g}"
        for name, (low, high) in facts.items()
    ]
    code, how = ("always-true", "always") if holds else ("never-true", "never")
    said = f" is {how} true" + (f" when {when}" if when else "") + f": {' and '.join(spans)}"
    _report(context, written, atom, code, said, *(path for path, _ in given.values()))


def _report(context: Context, written: Written, atom: Atom, code: str, said: str, *settings: Path) -> None:
    """A remark on a comparison: at the one setting that it is about, else where the comparison begins."""
    message = f"{written.label}: {atom.left_text} {atom.operator} {atom.right_text}{said}"
    if len(settings) == 1:
        context.report(settings[0], code, message, severity="warning")
    else:
        flaw = Flaw(code, "", max(0, written.text.find(atom.left_text)), len(atom.left_text))
        context.report(written.path, code, message, flaw=flaw, severity="warning")


def _settings(
    context: Context, written: Written, names: Sequence[str], values: Sequence[Mapping[str, Given]]
) -> Iterable[Mapping[str, Given]]:
    """What these names are, which are no facts: once, or once for each strategy and side; nothing where one lacks."""
    path, numbers = context.params_at(written)
    common: dict[str, Given] = {name: ((*path, name), numbers[name]) for name in names if name in numbers}
    if len(common) == len(names):
        yield common
        return
    for of_side in values:
        if all(name in common or name in of_side for name in names):
            yield {name: common.get(name) or of_side[name] for name in names}


def _values_by_side(context: Context) -> Iterator[Mapping[str, Given]]:
    """The strategies' values, once for each enabled strategy and side."""
    defaults = context.params.strategy_defaults.values
    for strategy, block in context.params.strategies.items():
        own = block.values
        places: dict[str, Path] = {name: ("strategy_defaults", name) for name in defaults}
        places |= {name: ("strategies", strategy, name) for name in own}
        for side in block.directions or ("long", "short") if block.enabled else ():
            numbers = {
                name: getattr(value, side) if isinstance(value, BySide) else value
                for name, value in {**defaults, **own}.items()
            }
            yield {name: (places[name], number) for name, number in numbers.items() if number is not None}


def everywhere(atom: Atom, ranges: Mapping[str, Range]) -> bool | None:
    """Whether a comparison holds wherever its numbers stand within their ranges; None: here and not there, or unsure.
    """
    left, right = _ends(atom.left, ranges), _ends(atom.right, ranges)
    if left is None or right is None or atom.operator is None or atom.operator not in _EVERYWHERE:
        return None
    holds, fails = _EVERYWHERE[atom.operator]
    return True if holds(left, right) else False if fails(left, right) else None


def _names(node: ast.expr | None) -> Iterator[str]:
    """The names in a number, as far as `_ends` understands it."""
    match node:
        case ast.Name():
            yield node.id
        case ast.UnaryOp():
            yield from _names(node.operand)
        case ast.BinOp():
            yield from _names(node.left)
            yield from _names(node.right)
        case ast.Call(args=[argument]):
            yield from _names(argument)


def _ends(node: ast.expr | None, ranges: Mapping[str, Range]) -> Range | None:
    """The least and the most of a number; None where that takes more than signs, sums and amounts."""
    match node:
        case ast.Name():
            return ranges.get(node.id)
        case ast.Constant(value=int() | float() as value):
            return value, value
        case ast.UnaryOp(op=ast.USub()):
            operand = _ends(node.operand, ranges)
            return None if operand is None else (-operand[1], -operand[0])
        case ast.BinOp(op=ast.Add() | ast.Sub()):
            left, right = _ends(node.left, ranges), _ends(node.right, ranges)
            if left is None or right is None:
                return None
            low, high = right if isinstance(node.op, ast.Add) else (-right[1], -right[0])
            return left[0] + low, left[1] + high
        case ast.Call(func=ast.Name(id="abs"), args=[argument]):
            inner = _ends(argument, ranges)
            if inner is None:
                return None
            low = 0.0 if inner[0] <= 0 <= inner[1] else min(map(abs, inner))
            return low, max(map(abs, inner))
    return None

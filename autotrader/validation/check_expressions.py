"""Checks of what expressions say: names, kinds, and the words and numbers that are compared."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from autotrader.core.rulebook import value_names
from autotrader.rules.document import Path
from autotrader.rules.expression import Atom, Expression, Flaw, comparisons
from autotrader.rules.facts import Fact
from autotrader.rules.problems import allowed, suggest
from autotrader.settings import BySide, NamedValues
from autotrader.validation.context import Context, Written, param_sets, regimes, rule_sets
from autotrader.vocabulary import known_at

# What traders say for a fact, or what it is called at another stage; the first that the stage knows is meant.
_ALSO_CALLED: Mapping[str, tuple[str, ...]] = {
    "close": ("price", "prev_close"),
    "last": ("price", "close"),
    "profit_pct": ("gain_pct",),
    "pnl_pct": ("gain_pct",),
    "pnl": ("gain_pct",),
    "profit": ("gain_pct",),
    "loss": ("loss_pct",),
    "side": ("direction",),
    "drawdown": ("worst_drawdown",),
    "qty": ("quantity",),
    "shares": ("quantity",),
    "holding_days": ("days_held",),
    "time": ("minute_of_session",),
    "gap": ("gap_pct",),
}

_INCOMPLETE = frozenset({"syntax", "empty-expression", "wrong-kind"})


def expressions(context: Context) -> None:
    """Every flaw of an expression at its place; a name of another stage is told so."""
    for written in context.written:
        for flaw in written.flaws:
            if flaw.name is not None and (flaw.name in context.settled or context.was_lost(flaw.name)):
                continue
            message = _in_words(context, written, flaw) + _cut_short(context, written, flaw)
            context.report(written.path, flaw.code, message, flaw=flaw)


def _in_words(context: Context, written: Written, flaw: Flaw) -> str:
    if flaw.code != "unknown-fact" or flaw.name is None:
        return f"{written.label}: {flaw.message}"
    name, label, stage = flaw.name, written.label, written.stage
    meant = next((other for other in _ALSO_CALLED.get(name, ()) if other in stage.facts), None)
    elsewhere = known_at(name, context.stages)
    if elsewhere is not None:
        way_out = f'; did you mean "{meant}"?' if meant else ""
        return f"{label}: {name} is known at {elsewhere}, not at {stage.name}{way_out}"
    if stage.name in {"regime", "signal"} and name in value_names(context.params):
        return f"{label}: {name} is a strategy's value, not known at {stage.name}; write the number here"
    for path, given, _ in param_sets(context.params):
        if name in given:
            own = next((".".join(map(str, at)) for at, _, stages in param_sets(context.params)
                        if stage.name in stages and written.path[: len(at) - 1] == at[:-1]), "")  # fmt: skip
            way_out = f"; give it in {own} too" if own else ""
            return f"{label}: {name} is a parameter of {'.'.join(map(str, path))}, not known here{way_out}"
    if name in NamedValues.model_fields and stage.name not in {"regime", "signal"}:
        return f"{label} needs {name}, which neither strategy_defaults nor a strategy gives"
    meant = context.nearest(name, written) or meant
    if meant is not None:
        return f'unknown name "{name}" in {label}; did you mean "{meant}"?'
    every = {fact: at for at, other in reversed(list(context.stages.items())) for fact in other.facts}
    near = suggest(name, every)
    if near is not None:
        return f'unknown name "{name}" in {label}; did you mean "{near}"? (known at {every[near]}, not at {stage.name})'
    return f'unknown name "{name}" in {label}; autotrader facts {stage.name} lists what is known there'


def _cut_short(context: Context, written: Written, flaw: Flaw) -> str:
    """` #` begins a comment in YAML; a condition that cannot be understood may have been cut by it."""
    if flaw.code not in _INCOMPLETE or not context.document.comment_follows(context.origin(written.path)):
        return ""
    if flaw.code == "wrong-kind" and flaw.length < len(written.text.strip()):
        return ""
    return "; the # after it begins a comment: if it belongs to the text, put the whole in quotes"


def compared_words(context: Context) -> None:
    """A text fact compared with a word it can never be."""
    for written in context.written:
        if written.expression is None:
            continue
        for name, word, offset, length in _comparisons(written.expression):
            known = _values(context, written.stage.facts.get(name))
            if known and word not in known and not context.was_lost(word):
                near = suggest(word, known)
                hint = f'did you mean "{near}"?' if near else allowed(known)
                flaw = Flaw("unknown-value", "", offset, length)
                message = f'{written.label}: {name} is never "{word}"; {hint}'
                context.report(written.path, "unknown-value", message, flaw=flaw)


def _values(context: Context, fact: Fact | None) -> Sequence[str]:
    if fact is None:
        return ()
    if fact.name == "strategy":
        return () if context.touched("strategies") else tuple(context.params.strategies)
    if fact.name in {"regime", "regime_at_entry"}:
        return () if context.touched("regime") else regimes(context.params, context.stages["regime"].default)
    if fact.name == "entry_group" and context.touched("entry", "groups"):
        return ()
    return fact.values


def _comparisons(expression: Expression) -> Iterator[tuple[str, str, int, int]]:
    """name, word, offset and length of the word, for each comparison of a name with a quoted text."""
    if '"' not in expression.text and "'" not in expression.text:
        return
    for node in comparisons(expression):
        sides = [node.left, *node.comparators]
        names = [side.id for side in sides if isinstance(side, ast.Name)]
        for side in sides:
            if isinstance(side, ast.Constant) and isinstance(side.value, str) and names:
                end = side.end_col_offset or side.col_offset + 1
                yield names[0], side.value, side.col_offset, end - side.col_offset


def unreachable_rules(context: Context) -> None:
    """Where the first match decides, nothing below `when: true` is ever asked."""
    sites = {written.path: written for written in context.written}
    for path, rules in rule_sets(context.params):
        for index, rule in enumerate(rules[:-1]):
            written = sites.get((*path, index, "when"))
            if written is None or written.expression is None or written.stage.policy != "first":
                continue
            tree = written.expression.tree
            if isinstance(tree, ast.Constant) and tree.value is True and getattr(rule, "for_bars", 1) == 1:
                below = [f'"{other.name}"' for other in rules[index + 1 :]]
                named = ", ".join(below[:3]) + (f" and {len(below) - 3} more" if len(below) > 3 else "")
                are = "is" if len(below) == 1 else "are"
                message = f"{written.label} always decides: {named} below it {are} never asked; put it last"
                context.report(written.path, "unreachable-rule", message)
                break


# --- numbers ----------------------------------------------------------------------------------------------------

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
                message = f"{written.label}: {atom.left_text} {atom.operator} {atom.right_text}: {said}"
                flaw = Flaw("units", "", max(0, written.text.find(atom.left_text)), len(atom.left_text))
                context.report(written.path, "units", message, flaw=flaw, severity="warning")


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
    """At the setting that makes it so, if it is one; else where the comparison begins."""
    text = f"{atom.left_text} {atom.operator} {atom.right_text}"
    when = " and ".join(f"{name} is {value:.10g}" for name, (_, value) in given.items())
    spans = [
        f"{name} is {low:g} or more" if high >= _NO_END else f"{name} is {low:g} to {high:,.10g}"
        for name, (low, high) in facts.items()
    ]
    certain = f"is {'always' if holds else 'never'} true" + (f" when {when}" if when else "")
    code = "always-true" if holds else "never-true"
    path, flaw = written.path, None
    if len(given) == 1:
        ((path, _),) = given.values()
    else:
        flaw = Flaw(code, "", max(0, written.text.find(atom.left_text)), len(atom.left_text))
    message = f"{written.label}: {text} {certain}: {' and '.join(spans)}"
    context.report(path, code, message, flaw=flaw, severity="warning")


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

"""Checks of what expressions say: names, kinds, words that are compared, and rules that are never asked."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from autotrader.core.rulebook import value_names
from autotrader.rules.expression import Expression, Flaw, comparisons
from autotrader.rules.facts import Fact
from autotrader.rules.problems import allowed, suggest
from autotrader.settings import NamedValues
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

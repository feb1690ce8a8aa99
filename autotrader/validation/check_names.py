"""Checks of names: each means one thing, and what is declared is what is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from autotrader.core.rulebook import value_names
from autotrader.rules.document import Path
from autotrader.rules.problems import suggest
from autotrader.settings import BySide, NamedValues
from autotrader.validation.check_indicators import REQUIRED_INDICATORS
from autotrader.validation.context import Context, indicator_blocks, param_sets, rule_sets
from autotrader.vocabulary import stages


def names_defined_twice(context: Context) -> None:
    """A name that both a fact and a parameter or value define would be a shadow."""
    every, values = context.stages, value_names(context.params)
    for path, given, where in param_sets(context.params):
        for name in given:
            known = next((stage for stage in where if name in every[stage].facts), None)
            if known is not None:
                message = f'"{name}" is a fact of {known} already; give the parameter another name'
                context.report((*path, name), "name-defined-twice", message, key=True)
            elif name in values:
                message = f'"{name}" is a value of the strategies already; give the parameter another name'
                context.report((*path, name), "name-defined-twice", message, key=True)
    facts = {name: stage.name for stage in reversed(list(every.values())) for name in stage.facts}
    for path, values_given in _value_blocks(context):
        for name in values_given:
            if name in facts:
                message = f'"{name}" is a fact of {facts[name]} already; give the value another name'
                context.report((*path, name), "name-defined-twice", message, key=True)


def indicator_names(context: Context) -> None:
    """An indicator's name must not be a fact's that the stages know otherwise."""
    own = {name: stage.name for stage in reversed(list(stages().values())) for name in stage.facts}
    for path, declared in indicator_blocks(context.params):
        for name in declared:
            if name in own:
                message = f'"{name}" is a fact of {own[name]} already; give the indicator another name'
                context.report((*path, name), "name-defined-twice", message, key=True)
            elif len(path) > 1 and name in context.params.indicators:
                message = f'"{name}" is declared in the section indicators already; give this one another name'
                context.report((*path, name), "name-defined-twice", message, key=True)


def rule_names(context: Context) -> None:
    """A rule is told by its name, so a set has each name once."""
    for path, rules in rule_sets(context.params):
        seen: dict[str, int] = {}
        for index, rule in enumerate(rules):
            if rule.name in seen:
                line = context.line((*path, seen[rule.name], "name"))
                message = f'the name "{rule.name}" is there twice, first in line {line}; give each its own'
                context.report((*path, index, "name"), "duplicate-rule", message)
            seen.setdefault(rule.name, index)


def misspelt_declarations(context: Context) -> None:
    """Nothing reads a name, but several places ask for one very much like it: the declaration is what is misspelt."""
    wanted = context.wanted()
    missing = {name for name in REQUIRED_INDICATORS if name not in context.params.indicators}
    if not wanted and not missing:
        return
    sure = {*missing, *NamedValues.model_fields, *(name for names in context.reads.values() for name in names)}
    used = {name for one in context.written if one.expression is not None for name in one.expression.names}
    used |= {name for names in context.reads.values() for name in names}
    for path, name in _declarations(context):
        meant = suggest(name, {*wanted, *missing}) if name not in used else None
        if meant is None or (wanted[meant] < 2 and meant not in sure) or meant in context.settled:
            continue
        askers = _askers(context, meant)
        message = f'nothing reads "{name}"; did you mean "{meant}", which {askers} should find?'
        context.report((*path, name), "misspelt-name", message, key=True)
        context.settled |= {meant, name}


def _askers(context: Context, name: str) -> str:
    labels = [one.label for one in context.written if any(flaw.name == name for flaw in one.flaws)]
    labels += [f'strategy "{strategy}"' for strategy, names in context.reads.items() if name in names]
    more = len(labels) - 2
    return ", ".join(labels[:2]) + (f" and {more} more" if more > 0 else "") if labels else "ranking and sizing"


def _declarations(context: Context) -> Iterator[tuple[Path, str]]:
    for name in context.params.indicators:
        yield ("indicators",), name
    for name in context.params.strategy_defaults.values:
        yield ("strategy_defaults",), name
    for path, given, _ in param_sets(context.params):
        for name in given:
            yield path, name


def _value_blocks(context: Context) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    yield ("strategy_defaults",), context.params.strategy_defaults.values
    for name, block in context.params.strategies.items():
        yield ("strategies", name), block.values


def unused(context: Context) -> None:
    """A parameter or value that no rule reads does nothing."""
    used = context.used()
    places: dict[str, list[Path]] = {}
    blocks = [*_value_blocks(context), *((path, given) for path, given, _ in param_sets(context.params))]
    for path, given in blocks:
        for name in given:
            if name not in used and name not in context.settled:
                places.setdefault(name, []).append((*path, name))
    for name, paths in places.items():
        near = suggest(name, used)
        hint = f'did you mean "{near}"?' if near else "remove it, or use it in a rule"
        lines = ", ".join(str(context.line(path)) for path in paths[1:])
        message = f'no rule reads "{name}"' + (f" (also in line {lines})" if lines else "") + f"; {hint}"
        context.report(paths[0], "unused-parameter", message, key=True, severity="warning")


def large_percents(context: Context) -> None:
    """A share above 1 is more often a forgotten percent sign."""
    blocks = [*_value_blocks(context), *((path, given) for path, given, _ in param_sets(context.params))]
    for path, given in blocks:
        for name, value in given.items():
            sides = [value.long, value.short] if isinstance(value, BySide) else [value]
            largest = max((abs(side) for side in sides if side is not None), default=0.0)
            if largest > (1 if name.endswith("_pct") else 10 if name.endswith("_ratio") else math.inf):
                message = f"{name} is {largest:g}, that is {largest * 100:.10g}%; did you mean {largest:g}%?"
                context.report((*path, name), "large-percent", message, severity="warning")


def negative_values(context: Context) -> None:
    """Rules give a limit its sign: one that has a minus already means the opposite."""
    blocks = [*_value_blocks(context), *((path, given) for path, given, _ in param_sets(context.params))]
    for path, given in blocks:
        for name, value in given.items():
            sides = [value.long, value.short] if isinstance(value, BySide) else [value]
            least = min((side for side in sides if side is not None), default=0.0)
            limits = name.startswith("max_") or (name.endswith(("_pct", "_mult")) and not name.startswith("min_"))
            if limits and least < 0:
                written = f"{least * 100:.10g}%" if name.endswith("_pct") else f"{least:.10g}"
                message = f"{name} is {written}; did you mean {written[1:]}? The rules give it its sign"
                context.report((*path, name), "negative-value", message, severity="warning")

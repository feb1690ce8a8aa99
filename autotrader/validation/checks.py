"""What must hold in a configuration beyond its form: one function a check, one line each in CHECKS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import time
from typing import Any

from pydantic import BaseModel, ValidationError

from autotrader.core.rulebook import Rulebook, Site, build_rulebook, value_names
from autotrader.core.strategy import Strategy as StrategyPlugin
from autotrader.plugins import registry
from autotrader.rules.document import Document, Path
from autotrader.rules.expression import Expression, ExpressionError, Flaw, parse
from autotrader.rules.expression_fields import Kind as ExpressionKind
from autotrader.rules.facts import Fact, Kind, Stage
from autotrader.rules.problems import Problem, Severity, allowed, suggest
from autotrader.settings import BySide, Strategy, StrategyParams, indicator_specs
from autotrader.validation.structure import build
from autotrader.vocabulary import (
    INDICATOR_KINDS,
    OPTIONAL_VALUES,
    SERIES_FIELDS,
    Indicator,
    known_at,
    stages,
)

# What ranking and sizing need of every scan, whether a rule asks or not.
REQUIRED_INDICATORS = ("atr", "dollar_volume_rank")

_CLOSE, _AUCTION = time(16), time(9, 28)


@dataclass
class Checked:
    """What the checks found out about a configuration.

    plugin_classes: the enabled strategies' plugins, as far as they load. versions: plugin -> version, for the hash.
    """

    problems: list[Problem] = field(default_factory=list)
    plugin_classes: dict[str, type[StrategyPlugin]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


@dataclass
class Context:
    """What a check reads, and where it reports. used: every name that an expression reads."""

    params: StrategyParams
    document: Document
    origin: Callable[[Path], Path]
    checked: Checked
    rulebook: Rulebook
    sites: list[tuple[Site, Expression]]
    flaws: list[tuple[Site, Flaw]]
    used: set[str] = field(default_factory=set)

    def report(
        self,
        path: Path,
        code: str,
        message: str,
        *,
        flaw: Flaw | None = None,
        key: bool = False,
        severity: Severity = "error",
    ) -> None:
        place = self.origin(path)
        offset = None if flaw is None else flaw.offset
        length = None if flaw is None else flaw.length
        self.checked.problems.append(
            self.document.problem(place, code, message, offset=offset, length=length, key=key, severity=severity)
        )


def check(params: StrategyParams, document: Document, origin: Callable[[Path], Path]) -> Checked:
    """Every problem of a configuration whose form is sound. origin: from a path of `params` to the document's."""
    sites: list[tuple[Site, Expression]] = []
    flaws: list[tuple[Site, Flaw]] = []
    rulebook = build_rulebook(
        params,
        report=lambda site, flaw: flaws.append((site, flaw)),
        visit=lambda site, expression: sites.append((site, expression)),
    )
    context = Context(params, document, origin, Checked(), rulebook, sites, flaws)
    for one in CHECKS:
        one(context)
    return context.checked


# --- expressions --------------------------------------------------------------------------------------------------


def expressions(context: Context) -> None:
    """Every flaw of an expression at its place; a name of another stage is told so."""
    every = context.rulebook.stages
    for site, flaw in context.flaws:
        context.report(site.path, flaw.code, _in_words(flaw, site.label, site.stage, every), flaw=flaw)
    for _, expression in context.sites:
        context.used.update(expression.names)


def _in_words(flaw: Flaw, label: str, stage: Stage, every: Mapping[str, Stage]) -> str:
    if flaw.code != "unknown-fact" or flaw.name is None:
        return f"{label}: {flaw.message}"
    elsewhere = known_at(flaw.name, every)
    if elsewhere is not None:
        return f"{label}: {flaw.name} is known at {elsewhere}, not at {stage.name}"
    head, _, tail = flaw.message.partition(";")
    return f"{head} in {label}" + (f";{tail}" if tail else f"; autotrader facts {stage.name} lists what is known there")


def compared_words(context: Context) -> None:
    """A text fact compared with a word it can never be."""
    for site, expression in context.sites:
        for name, word, offset, length in _comparisons(expression):
            known = _values(context, site.stage.facts.get(name))
            if known and word not in known:
                near = suggest(word, known)
                hint = f'did you mean "{near}"?' if near else allowed(known)
                flaw = Flaw("unknown-value", "", offset, length)
                context.report(site.path, "unknown-value", f'{site.label}: {name} is never "{word}"; {hint}', flaw=flaw)


def _values(context: Context, fact: Fact | None) -> tuple[str, ...]:
    if fact is None:
        return ()
    if fact.name == "strategy":
        return tuple(context.params.strategies)
    return fact.values


def _comparisons(expression: Expression) -> Iterator[tuple[str, str, int, int]]:
    """name, word, offset and length of the word, for each comparison of a name with a quoted text."""
    import ast

    from autotrader.rules.expression import comparisons

    for node in comparisons(expression):
        sides = [node.left, *node.comparators]
        names = [side.id for side in sides if isinstance(side, ast.Name)]
        for side in sides:
            if isinstance(side, ast.Constant) and isinstance(side.value, str) and names:
                end = side.end_col_offset or side.col_offset + 1
                yield names[0], side.value, side.col_offset, end - side.col_offset


# --- names --------------------------------------------------------------------------------------------------------


def names_defined_twice(context: Context) -> None:
    """A name that both a fact and a parameter or value define would be a shadow."""
    params = context.params
    stage = context.rulebook.stages
    sets: tuple[tuple[Path, Mapping[str, float], tuple[str, ...]], ...] = (
        (("regime", "params"), params.regime.params, ("regime",)),
        (("ranking", "eligible", "params"), params.ranking.eligible.params, ("eligible",)),
        (("ranking", "params"), params.ranking.params, ("score",)),
        (("entry", "gap_filter", "params"), params.entry.gap_filter.params, ("gap_filter",)),
        *(
            (("entry", "groups", key, "params"), group.params, ("confirmation",))
            for key, group in params.entry.groups.items()
        ),
        (("exit", "params"), params.exit.params, ("exit", "stop_distance", "protective_stop")),
        (("exit", "reentry", "params"), params.exit.reentry.params, ("reentry",)),
        (("risk", "params"), params.risk.params, ("limits", "sizing", "order")),
    )
    values = value_names(params)
    for path, given, where in sets:
        for name in given:
            if any(name in stage[one].facts for one in where):
                message = f'"{name}" is a fact of {where[0]} already; give the parameter another name'
                context.report((*path, name), "name-defined-twice", message, key=True)
            elif name in values:
                message = f'"{name}" is a value of the strategies already; give the parameter another name'
                context.report((*path, name), "name-defined-twice", message, key=True)
    facts = {name for one in stage.values() for name in one.facts}
    blocks: list[tuple[Path, Mapping[str, Any]]] = [(("strategy_defaults",), params.strategy_defaults.values)]
    blocks += [(("strategies", name), block.values) for name, block in params.strategies.items()]
    for path, given in blocks:
        for name in given:
            if name in facts:
                message = f'"{name}" is a fact already; give the value another name'
                context.report((*path, name), "name-defined-twice", message, key=True)


def indicator_names(context: Context) -> None:
    """An indicator's name must not be a fact's that the stages know otherwise."""
    own = {name for stage in stages().values() for name in stage.facts}
    for path, declared in _indicator_blocks(context):
        for name in declared:
            if name in own:
                message = f'"{name}" is a fact already; give the indicator another name'
                context.report((*path, name), "name-defined-twice", message, key=True)
            elif len(path) > 1 and name in context.params.indicators:
                message = f'"{name}" is declared in the section indicators already; give this one another name'
                context.report((*path, name), "name-defined-twice", message, key=True)


def rule_names(context: Context) -> None:
    """A rule is told by its name, so a set has each name once."""
    params = context.params
    sets: list[tuple[Path, tuple[Any, ...]]] = [
        (("regime", "rules"), params.regime.rules),
        (("ranking", "eligible", "rules"), params.ranking.eligible.rules),
        (("ranking", "score"), params.ranking.score),
        (("entry", "gap_filter", "rules"), params.entry.gap_filter.rules),
        *((("entry", "groups", key, "rules"), group.rules) for key, group in params.entry.groups.items()),
        (("exit", "rules"), params.exit.rules),
        (("exit", "reentry", "rules"), params.exit.reentry.rules),
        (("risk", "limits"), params.risk.limits),
        (("risk", "sizing", "values"), params.risk.sizing.values),
        (("risk", "sizing", "rules"), params.risk.sizing.rules),
    ]
    for path, rules in sets:
        seen: dict[str, int] = {}
        for index, rule in enumerate(rules):
            if rule.name in seen:
                line = context.document.span(context.origin((*path, seen[rule.name], "name"))).line
                message = f'the rule "{rule.name}" is there twice, first in line {line}'
                context.report((*path, index, "name"), "duplicate-rule", message)
            seen.setdefault(rule.name, index)


# --- indicators ---------------------------------------------------------------------------------------------------


def _indicator_blocks(context: Context) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    yield ("indicators",), context.params.indicators
    for name, strategy in context.params.strategies.items():
        if strategy.indicators:
            yield ("strategies", name, "indicators"), strategy.indicators


def indicators(context: Context) -> None:
    """`of` reads fields and indicators declared before it; what every scan needs is declared."""
    for path, declared in _indicator_blocks(context):
        known: dict[str, Kind] = dict.fromkeys(SERIES_FIELDS, "number")
        if len(path) > 1:
            known |= dict.fromkeys(context.params.indicators, "number")
        for name, settings in declared.items():
            if settings.of is not None:
                place = (*path, name, "of")
                try:
                    context.used.update(parse(settings.of, known, "number").names)
                except ExpressionError as error:
                    for flaw in error.flaws:
                        if flaw.name in declared:
                            what = "itself" if flaw.name == name else f"{flaw.name}, which is declared below it"
                            message = f'indicator "{name}" reads {what}; an indicator reads those above it'
                            context.report(place, "indicator-order", message, flaw=flaw)
                        else:
                            head, _, tail = flaw.message.partition(";")
                            message = f'{head} in indicator "{name}"' + (f";{tail}" if tail else "")
                            context.report(place, flaw.code, message, flaw=flaw)
            known[name] = "number"
    for name in REQUIRED_INDICATORS:
        if name not in context.params.indicators:
            context.report(("indicators",), "missing-indicator", f'the indicator "{name}" must be declared', key=True)


def history(context: Context) -> None:
    """Enough bars for every indicator: to have a value at all, and to have forgotten where the series began."""
    batch = context.params.batch
    if batch.min_bars > batch.history_days:
        message = f"min_bars is {batch.min_bars}, more than the {batch.history_days} sessions of history_days"
        context.report(("batch", "min_bars"), "short-history", message)
    specs = {spec.name: spec for spec in indicator_specs(context.params)}
    warmups: dict[str, int] = {}
    memories: dict[str, int] = {}
    for name, spec in specs.items():
        kind = INDICATOR_KINDS[spec.kind]
        before = [read for read in _names(spec) if read in warmups]
        warmups[name] = kind.warmup(spec) + max((warmups[read] for read in before), default=0)
        memories[name] = max(kind.memory(spec), *(memories[read] for read in before), 0) + warmups[name]
    late = [name for name, warmup in warmups.items() if warmup >= batch.min_bars]
    if late:
        need = max(warmups[name] for name in late) + 1
        message = (
            f"on {batch.min_bars} bars {', '.join(late)} {'is' if len(late) == 1 else 'are'} still unknown: a symbol "
            f"with fewer than {need} bars is scanned but cannot signal by {'it' if len(late) == 1 else 'them'}"
        )
        context.report(("batch", "min_bars"), "short-warmup", message, severity="warning")
    hasty = [name for name, memory in memories.items() if memory > batch.history_days]
    if hasty:
        need = max(memories[name] for name in hasty)
        message = (
            f"on {batch.history_days} sessions {', '.join(hasty)} still depend on where the series begins; "
            f"{need} sessions make scan and backtest agree"
        )
        context.report(("batch", "history_days"), "short-memory", message, severity="warning")


def _names(spec: Indicator) -> tuple[str, ...]:
    import re

    return tuple(re.findall(r"[A-Za-z_]\w*", spec.of))


# --- strategies ---------------------------------------------------------------------------------------------------


def plugins(context: Context) -> None:
    """Every strategy's plugin exists, takes its parameters, and reads indicators that are declared."""
    from importlib.metadata import version

    known = registry.strategies()
    series: dict[str, Kind] = dict.fromkeys((*SERIES_FIELDS, *context.params.indicators), "number")
    for name, block in context.params.strategies.items():
        plugin = block.plugin or name
        if plugin not in known:
            near = suggest(plugin, known)
            hint = f'did you mean "{near}"?' if near else f"installed: {', '.join(known)}"
            path: Path = ("strategies", name, "plugin") if block.plugin else ("strategies", name)
            message = f'there is no strategy plugin "{plugin}"; {hint}'
            context.report(path, "unknown-plugin", message, key=block.plugin is None)
            continue
        try:
            loaded = registry.load_strategy(plugin)
        except registry.PluginError as error:
            context.report(("strategies", name), "failing-plugin", str(error), key=True)
            continue
        params = _plugin_params(context, name, block, loaded)
        if params is None:
            continue
        own = series | dict.fromkeys(block.indicators, "number")
        if _plugin_expressions(context, ("strategies", name, "signal"), params, own):
            continue
        if block.enabled:
            context.checked.plugin_classes[name] = loaded
            distribution = known[plugin].dist
            context.checked.versions[plugin] = f"{distribution.name} {distribution.version}" if distribution else ""
        for read in loaded(params).reads:
            context.used.add(read)
            if read not in own:
                near = suggest(read, own)
                hint = f'; did you mean "{near}"?' if near else ""
                message = f'strategy "{name}" reads the indicator "{read}", which is not declared{hint}'
                context.report(("strategies", name), "missing-indicator", message, key=True)
    context.checked.versions["TA-Lib"] = version("TA-Lib")


def _plugin_params(context: Context, name: str, block: Strategy, plugin: type[StrategyPlugin]) -> BaseModel | None:
    """The plugin's own parameters; None where they have problems, which are reported."""
    if not block.signal:
        try:
            return plugin.Params()
        except ValidationError:
            message = f'strategy "{name}" needs the section signal: its plugin has parameters without a default'
            context.report(("strategies", name), "missing-key", message, key=True)
            return None
    built = build(plugin.Params, context.document, context.origin(("strategies", name, "signal")))
    if isinstance(built, list):
        context.checked.problems += built
        return None
    return built


def _plugin_expressions(context: Context, path: Path, params: BaseModel, names: Mapping[str, Kind]) -> bool:
    """Whether an expression among a plugin's parameters is flawed; every flaw is reported."""
    flawed = False
    for key, info in type(params).model_fields.items():
        value, place = getattr(params, key), (*path, key)
        if isinstance(value, BaseModel):
            flawed |= _plugin_expressions(context, place, value, names)
        kind = next((item.kind for item in info.metadata if isinstance(item, ExpressionKind)), None)
        if kind is None or not isinstance(value, str):
            continue
        try:
            context.used.update(parse(value, names, kind).names)
        except ExpressionError as error:
            flawed = True
            stage = context.rulebook.stages["signal"]
            label = f'{key} of strategy "{path[1]}"'
            for flaw in error.flaws:
                context.report(place, flaw.code, _in_words(flaw, label, stage, context.rulebook.stages), flaw=flaw)
    return flawed


def groups(context: Context) -> None:
    """Each enabled strategy is in exactly one entry group; a group names only strategies that exist."""
    params = context.params
    seen: dict[str, str] = {}
    for key, group in params.entry.groups.items():
        for index, name in enumerate(group.strategies):
            path = ("entry", "groups", key, "strategies", index)
            if name not in params.strategies:
                near = suggest(name, params.strategies)
                hint = f'did you mean "{near}"?' if near else allowed(params.strategies)
                context.report(path, "unknown-strategy", f'there is no strategy "{name}"; {hint}')
            elif name in seen:
                message = f'strategy "{name}" is in two entry groups, {seen[name]} and {key}; keep one'
                context.report(path, "two-groups", message)
            seen.setdefault(name, key)
    for name, block in params.strategies.items():
        if block.enabled and name not in seen:
            message = f'strategy "{name}" is in no entry group; add it to one of {", ".join(params.entry.groups)}, or '
            context.report(("strategies", name), "no-group", message + "say enabled: false", key=True)


def weights(context: Context) -> None:
    """Shares add up: a score's to 1, a regime's to no more than 1; both name what exists."""
    params = context.params
    total = sum(part.weight for part in params.ranking.score)
    if abs(total - 1.0) > 1e-9:
        message = f"the weights add up to {total:.10g}, not 1"
        context.report(("ranking", "score"), "weights-sum", message, key=True)
    regimes = [*(rule.then or rule.name for rule in params.regime.rules), context.rulebook.stages["regime"].default]
    for regime, row in params.regime.weights.rows.items():
        path: Path = ("regime", "weights", regime)
        if regime not in regimes:
            near = suggest(regime, regimes)
            hint = f'did you mean "{near}"?' if near else allowed(dict.fromkeys(regimes))
            context.report(path, "unknown-regime", f'no rule names the regime "{regime}"; {hint}', key=True)
        for name in row:
            if name not in params.strategies:
                near = suggest(name, params.strategies)
                hint = f'did you mean "{near}"?' if near else allowed(params.strategies)
                context.report((*path, name), "unknown-strategy", f'there is no strategy "{name}"; {hint}', key=True)
        if sum(row.values()) > 1.0 + 1e-9:
            message = f"the shares of {regime} add up to {sum(row.values()):.10g}, more than 1"
            context.report(path, "weights-sum", message, key=True)


def values(context: Context) -> None:
    """A value that a rule needs is there for every strategy, unless the rule or the vocabulary says it may lack."""
    names = value_names(context.params)
    needed: dict[str, Site] = {}
    for site, expression in context.sites:
        if site.rule is not None and site.rule.on_missing is not None:
            continue
        for name in expression.names:
            if name in names and name not in OPTIONAL_VALUES:
                needed.setdefault(name, site)
    for strategy, block in context.params.strategies.items():
        if not block.enabled:
            continue
        given = {**context.params.strategy_defaults.values, **block.values}
        for name, site in needed.items():
            value = given.get(name)
            sides = [side for side in (block.directions or ("long", "short"))
                     if isinstance(value, BySide) and getattr(value, side) is None]  # fmt: skip
            if value is None or sides:
                missing = f" for {' and '.join(sides)}" if sides else ""
                message = (
                    f'strategy "{strategy}" has no {name}{missing}, which {site.label} needs; give it one here or in '
                    "strategy_defaults, or say on_missing in the rule"
                )
                context.report(("strategies", strategy), "missing-value", message, key=True)


def unused(context: Context) -> None:
    """A parameter or value that no rule reads does nothing."""
    params = context.params
    blocks: list[tuple[Path, Mapping[str, Any]]] = [
        (("strategy_defaults",), params.strategy_defaults.values),
        *((("strategies", name), block.values) for name, block in params.strategies.items()),
        (("regime", "params"), params.regime.params),
        (("ranking", "eligible", "params"), params.ranking.eligible.params),
        (("ranking", "params"), params.ranking.params),
        (("entry", "gap_filter", "params"), params.entry.gap_filter.params),
        *((("entry", "groups", key, "params"), group.params) for key, group in params.entry.groups.items()),
        (("exit", "params"), params.exit.params),
        (("exit", "reentry", "params"), params.exit.reentry.params),
        (("risk", "params"), params.risk.params),
    ]
    if context.flaws:  # a flawed expression may be the one that reads it
        return
    for path, given in blocks:
        for name in given:
            if name not in context.used:
                message = f'no rule reads "{name}"'
                near = suggest(name, context.used)
                message += f'; did you mean "{near}"?' if near else "; remove it, or use it in a rule"
                context.report((*path, name), "unused-parameter", message, key=True, severity="warning")


def hidden_stops(context: Context) -> None:
    """A stop that an ordinary ATR puts behind the emergency stop never decides."""
    for name, block in context.params.strategies.items():
        given = {**context.params.strategy_defaults.values, **block.values}
        multiple, emergency, cap = (given.get(key) for key in ("sl_atr_mult", "emergency_stop_pct", "max_stop_pct"))
        if not all(isinstance(value, float | int) and value for value in (multiple, emergency)):
            continue
        if isinstance(cap, float | int) and cap <= emergency:  # type: ignore[operator]  # both are numbers here
            continue
        beyond = emergency / multiple  # type: ignore[operator]
        if beyond < _ORDINARY_ATR:
            message = (
                f'the stop of "{name}" lies behind the emergency stop of {emergency:.4g} whenever ATR is over '
                f"{beyond:.1%} of the price: there it never decides"
            )
            context.report(("strategies", name, "sl_atr_mult"), "hidden-stop", message, severity="warning")


_ORDINARY_ATR = 0.03  # of the price; about a third of S&P 500 stocks in a nervous month


# --- times --------------------------------------------------------------------------------------------------------


def times(context: Context) -> None:
    """The day's times are in order, inside the session, and fit the order type."""
    batch, entry = context.params.batch, context.params.entry
    opens, closes = entry.window.opens, entry.window.closes
    place: Path = ("entry", "window", "closes")
    if not _OPEN <= opens < _CLOSE:
        context.report(("entry", "window", "opens"), "time-outside", f"{opens:%H:%M} is not within 09:30 to 16:00")
    if closes <= opens:
        context.report(place, "time-order", f"the window closes at {closes:%H:%M}, not after it opens ({opens:%H:%M})")
    elif closes > _CLOSE:
        context.report(place, "time-outside", f"{closes:%H:%M} is after the session's end, 16:00")
    if batch.gap_filter_time >= opens:
        message = f"the gap filter at {batch.gap_filter_time:%H:%M} must be before the window opens ({opens:%H:%M})"
        context.report(("batch", "gap_filter_time"), "time-order", message)
    if batch.scan_time < _CLOSE:
        message = f"the scan at {batch.scan_time:%H:%M} is before the close (16:00): the day's bar is not complete"
        context.report(("batch", "scan_time"), "time-order", message)
    for key, group in entry.groups.items():
        path: Path = ("entry", "groups", key, "at")
        if group.order == "opg":
            if not batch.gap_filter_time < group.at < _AUCTION:
                message = (
                    f"opg orders are sent after the gap filter ({batch.gap_filter_time:%H:%M}) and before 09:28, "
                    f"not at {group.at:%H:%M}"
                )
                context.report(path, "time-order-type", message)
        elif not opens <= group.at < closes:
            message = f"{group.at:%H:%M} is outside the entry window, {opens:%H:%M} to {closes:%H:%M}"
            context.report(path, "time-order", message)


_OPEN = time(9, 30)

CHECKS: tuple[Callable[[Context], None], ...] = (
    expressions,
    compared_words,
    names_defined_twice,
    indicator_names,
    rule_names,
    indicators,
    history,
    plugins,
    groups,
    weights,
    values,
    unused,
    hidden_stops,
    times,
)

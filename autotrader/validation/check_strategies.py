"""Checks of the strategies: plugins, entry groups, weights, and the values that rules need of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from autotrader.core.rulebook import value_names
from autotrader.core.strategy import Strategy as StrategyPlugin
from autotrader.plugins import registry
from autotrader.rules.document import Path
from autotrader.rules.expression import ExpressionError, parse
from autotrader.rules.expression_fields import Kind as ExpressionKind
from autotrader.rules.facts import Kind
from autotrader.rules.problems import allowed, suggest
from autotrader.settings import BySide, NamedValues, Strategy
from autotrader.validation.context import Context, Written, regimes
from autotrader.validation.structure import build
from autotrader.vocabulary import OPTIONAL_VALUES, SERIES_FIELDS

# --- plugins ------------------------------------------------------------------------------------------------------


def plugins(context: Context) -> None:
    """Every strategy's plugin exists, and takes its parameters."""
    from importlib.metadata import version

    context.checked.versions["TA-Lib"] = version("TA-Lib")
    try:
        known = registry.strategies()
    except registry.PluginError as error:
        context.report(("strategies",), "failing-plugin", str(error), key=True)
        return
    for name, block in context.params.strategies.items():
        plugin = block.plugin or name
        if context.is_mended(("strategies", name)):
            continue
        if plugin not in known:
            near = suggest(plugin, known)
            hint = f'did you mean "{near}"?' if near else f"installed: {', '.join(known)}"
            path: Path = ("strategies", name, "plugin") if block.plugin else ("strategies", name)
            message = f'there is no strategy plugin "{plugin}"; {hint}'
            context.report(path, "unknown-plugin", message, key=block.plugin is None)
            continue
        started = _start(context, name, block, plugin)
        if started is None:
            continue
        context.reads[name] = tuple(started[1].reads)
        if block.enabled:
            context.checked.plugin_classes[name] = started[0]
            context.checked.versions[plugin] = registry.origin(known[plugin])


def _start(
    context: Context, name: str, block: Strategy, plugin: str
) -> tuple[type[StrategyPlugin], StrategyPlugin] | None:
    """The plugin's class and an instance with the block's parameters; None where a problem is reported."""
    try:
        loaded = registry.load_strategy(plugin)
        params = _plugin_params(context, name, block, loaded)
        if params is None or _plugin_expressions(context, ("strategies", name, "signal"), name, params):
            return None
        return loaded, loaded(params)
    except registry.PluginError as error:
        context.report(("strategies", name), "failing-plugin", str(error), key=True)
    except Exception as error:  # noqa: BLE001  # somebody else's model or constructor can raise anything
        message = f'plugin "{plugin}" does not start: {type(error).__name__}: {error}'
        context.report(("strategies", name), "failing-plugin", message, key=True)
    return None


def _plugin_params(context: Context, name: str, block: Strategy, plugin: type[StrategyPlugin]) -> BaseModel | None:
    """The plugin's own parameters; None where they have problems, which are reported."""
    at: Path = ("strategies", name, "signal")
    if not block.signal:
        try:
            return plugin.Params()
        except ValidationError as error:
            missing = [str(details["loc"][0]) for details in error.errors() if details["type"] == "missing"]
            reason = f"its plugin asks for {', '.join(missing)}" if missing else _reason(error)
            message = f'strategy "{name}" needs the section signal: {reason}'
            context.report(("strategies", name), "missing-key", message, key=True)
            return None
    if context.is_mended(at):
        return None
    built = build(plugin.Params, context.document, context.origin(at))
    if isinstance(built, list):
        context.checked.problems += built
        return None
    return built


def _reason(error: ValidationError) -> str:
    return str(error.errors()[0]["msg"]).removeprefix("Value error, ")


def _plugin_expressions(context: Context, path: Path, strategy: str, params: BaseModel) -> bool:
    """Gathers the expressions among a plugin's parameters; whether one is flawed."""
    flawed = False
    block = context.params.strategies[strategy]
    names: dict[str, Kind] = dict.fromkeys((*SERIES_FIELDS, *context.params.indicators, *block.indicators), "number")
    for key, info in type(params).model_fields.items():
        value, place = getattr(params, key), (*path, key)
        if isinstance(value, BaseModel):
            flawed |= _plugin_expressions(context, place, strategy, value)
        kind = next((item.kind for item in info.metadata if isinstance(item, ExpressionKind)), None)
        if kind is None or not isinstance(value, str):
            continue
        stage, label = context.stages["signal"], f'{key} of strategy "{strategy}"'
        try:
            expression = parse(value, names, kind)
        except ExpressionError as error:
            flawed = True
            context.written.append(Written(place, label, stage, value, None, tuple(error.flaws)))
        else:
            context.written.append(Written(place, label, stage, value, expression))
    return flawed


# --- where strategies are named -----------------------------------------------------------------------------------


def _known(context: Context) -> set[str]:
    """The strategies, and what a misspelt one was meant to be: its own finding says so."""
    known = set(context.params.strategies)
    missing = {name for group in context.params.entry.groups.values() for name in group.strategies} - known
    for name, block in context.params.strategies.items():
        if block.plugin is None and name not in context.reads:
            near = suggest(name, missing)
            known |= {near} if near else set()
    return known


def groups(context: Context) -> None:
    """Each enabled strategy is in exactly one entry group; a group names only strategies that exist."""
    params = context.params
    known = _known(context)
    seen: dict[str, str] = {}
    meant: set[str] = set()
    for key, group in params.entry.groups.items():
        for index, name in enumerate(group.strategies):
            path = ("entry", "groups", key, "strategies", index)
            if name not in known and not context.was_lost(name):
                near = suggest(name, params.strategies)
                meant |= {near} if near else set()
                hint = f'did you mean "{near}"?' if near else allowed(params.strategies)
                context.report(path, "unknown-strategy", f'there is no strategy "{name}"; {hint}')
            elif name in seen:
                twice = f"the group {key} twice" if seen[name] == key else f"two entry groups, {seen[name]} and {key}"
                context.report(path, "two-groups", f'strategy "{name}" is in {twice}; keep one')
            seen.setdefault(name, key)
    if context.touched("entry", "groups", "*", "strategies"):
        return
    for name, block in params.strategies.items():
        if block.enabled and name not in seen and name not in meant and suggest(name, known & seen.keys()) is None:
            message = f'strategy "{name}" is in no entry group; add it to one of {", ".join(params.entry.groups)}, or '
            context.report(("strategies", name), "no-group", message + "say enabled: false", key=True)


def weights(context: Context) -> None:
    """Shares add up: a score's to 1, a regime's to no more than 1; both name what exists."""
    params = context.params
    total = sum(part.weight for part in params.ranking.score)
    if abs(total - 1.0) > 1e-9:
        message = f"the weights add up to {total:.10g}, not 1"
        context.report(("ranking", "score"), "weights-sum", message, key=True)
    named = regimes(params, context.stages["regime"].default)
    known = _known(context)
    for regime, row in params.regime.weights.rows.items():
        path: Path = ("regime", "weights", regime)
        if regime not in named and not context.touched("regime", "rules"):
            near = suggest(regime, named)
            hint = f'did you mean "{near}"?' if near else allowed(named)
            context.report(path, "unknown-regime", f'no rule names the regime "{regime}"; {hint}', key=True)
        for name in row:
            if name not in known and not context.was_lost(name):
                near = suggest(name, params.strategies)
                hint = f'did you mean "{near}"?' if near else allowed(params.strategies)
                context.report((*path, name), "unknown-strategy", f'there is no strategy "{name}"; {hint}', key=True)
        if sum(row.values()) > 1.0 + 1e-9:
            message = f"the shares of {regime} add up to {sum(row.values()):.10g}, more than 1"
            context.report(path, "weights-sum", message, key=True)


# --- values -------------------------------------------------------------------------------------------------------


def values(context: Context) -> None:
    """A value that a rule needs is there for every strategy, unless the rule or the vocabulary says it may lack."""
    params = context.params
    known = set(value_names(params)) - OPTIONAL_VALUES
    needed: dict[str, str] = {}
    read: set[str] = set()
    for written in context.written:
        names = written.expression.names if written.expression is not None else ()
        read.update(names)
        for name in names:
            if written.sure and name in known:
                needed.setdefault(name, written.label)
    for name, label in needed.items():
        if name in context.settled or context.was_lost(name):
            continue
        lacking: dict[str, str] = {}
        for strategy, block in params.strategies.items():
            if block.enabled and not context.is_mended(("strategies", strategy)):
                missing = _missing(name, block, params.strategy_defaults.values)
                if missing is not None and not _is_misspelt(context, strategy, block, name, label, read):
                    lacking[strategy] = missing
        _report_lacking(context, name, label, lacking)


def _missing(name: str, block: Strategy, defaults: Mapping[str, Any]) -> str | None:
    """None where the value is there; else "", or the sides it is missing for."""
    value = block.values.get(name, defaults.get(name))
    if value is None:
        return ""
    sides = block.directions or ("long", "short")
    absent = [side for side in sides if isinstance(value, BySide) and getattr(value, side) is None]
    return f" for {' and '.join(absent)}" if absent else None


def _is_misspelt(context: Context, strategy: str, block: Strategy, name: str, label: str, read: Iterable[str]) -> bool:
    """Whether another value of the block looks like the missing one; it is reported where it stands."""
    unread = [given for given in block.values if given not in read and given not in NamedValues.model_fields]
    near = suggest(name, unread)
    if near is None:
        return False
    message = f'no rule reads "{near}"; did you mean "{name}", which {label} needs?'
    context.report(("strategies", strategy, near), "misspelt-name", message, key=True)
    context.settled.add(near)
    return True


def _report_lacking(context: Context, name: str, label: str, lacking: Mapping[str, str]) -> None:
    if not lacking:
        return
    first, missing = next(iter(lacking.items()))
    if len(lacking) == 1:
        way_out = "give it one here or in strategy_defaults, or say on_missing in the rule"
        if missing:
            way_out += f", or enter one side only, with directions: [{'short' if 'long' in missing else 'long'}]"
        message = f'strategy "{first}" has no {name}{missing}, which {label} needs; {way_out}'
    else:
        message = (
            f"{', '.join(lacking)} have no {name}, which {label} needs; give one in strategy_defaults, or say "
            "on_missing in the rule"
        )
    context.report(("strategies", first), "missing-value", message, key=True)


def hidden_stops(context: Context) -> None:
    """A stop that lies behind another one, by its number or with an ordinary ATR, never decides there."""
    _behind_the_immediate_stop(context)
    if not {"emergency_stop_pct", "sl_atr_mult"} <= context.used():
        return
    for name, block in context.params.strategies.items():
        given = {**context.params.strategy_defaults.values, **block.values}
        multiple, emergency, cap = (given.get(key) for key in ("sl_atr_mult", "emergency_stop_pct", "max_stop_pct"))
        if not isinstance(multiple, float | int) or not isinstance(emergency, float | int):
            continue
        if isinstance(cap, float | int) and cap <= emergency:
            continue
        beyond = emergency / multiple
        if beyond < _ORDINARY_ATR:
            message = (
                f"a stop of {multiple:g} ATR lies behind the emergency stop of {_percent(emergency)} where ATR is over "
                f"{_percent(beyond)} of the price, as for many volatile stocks: there it never decides; lower it, or "
                f"give the strategy a max_stop_pct below {_percent(emergency)}"
            )
            context.report(("strategies", name, "sl_atr_mult"), "hidden-stop", message, severity="warning")


def _behind_the_immediate_stop(context: Context) -> None:
    """Of both emergency stops the immediate one has to be the further away."""
    names = ("emergency_immediate_pct", "emergency_stop_pct")
    if not context.used().issuperset(names):
        return
    defaults = context.params.strategy_defaults.values
    blocks: list[tuple[Path, Mapping[str, Any]]] = [(("strategy_defaults",), defaults)]
    blocks += [(("strategies", name), block.values) for name, block in context.params.strategies.items()]
    for path, own in blocks:
        name = next((name for name in names if name in own), None)
        immediate, emergency = (own.get(name, defaults.get(name)) for name in names)
        if name is None or not isinstance(immediate, float | int) or not isinstance(emergency, float | int):
            continue
        if immediate <= emergency:
            message = (
                f"the immediate emergency stop of {_percent(immediate)} comes before the emergency stop of "
                f"{_percent(emergency)}, which never decides"
            )
            context.report((*path, name), "hidden-stop", message, severity="warning")


def failing_exits(context: Context) -> None:
    """Where an exit rule fails, the rules after it are not asked: a position could only leave by its stop."""
    rules = context.params.exit.rules
    expressions = {written.path: written.expression for written in context.written}
    for index, rule in enumerate(rules[:-1]):
        expression = expressions.get(("exit", "rules", index, "when"))
        if rule.on_missing != "fail" or expression is None:
            continue
        facts = context.stages["exit"].facts
        unknown = [name for name in expression.names
                   if name in OPTIONAL_VALUES or ((fact := facts.get(name)) is not None and fact.nullable)]  # fmt: skip
        if unknown:
            message = (
                f'exit rule "{rule.name}" fails where {" or ".join(unknown)} is unknown, and then none of the rules '
                "below it leaves; say skip, or put it last"
            )
            context.report(("exit", "rules", index, "on_missing"), "failing-exit", message, severity="warning")


_ORDINARY_ATR = 0.03  # of the price; about a third of S&P 500 stocks in a nervous month


def _percent(share: float) -> str:
    return f"{share * 100:.2g}%"

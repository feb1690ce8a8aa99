"""A configuration's rule sets, compiled: everything the stages judge by, and nothing they have to look up twice.

The same walk serves the checker: with `report`, every flaw is told to it and a harmless expression takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from autotrader.core.strategy import Direction
from autotrader.errors import AutotraderError
from autotrader.rules.expression import Expression, ExpressionError, Flaw, parse
from autotrader.rules.facts import Kind, Stage, kinds
from autotrader.rules.ruleset import Part, Rule, RuleSet, ValueSet
from autotrader.settings import BySide, ExitRule, ScorePart, StrategyParams, ValuePart, indicator_specs
from autotrader.settings import Rule as RuleSettings
from autotrader.vocabulary import ACCOUNT_FACTS, Indicator, group_name, stages

Path = tuple[str | int, ...]
Params = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Site:
    """Where an expression stands: its path in the YAML, the stage that judges it, and what a message calls it."""

    path: Path
    stage: Stage
    label: str
    rule: RuleSettings | None = None


Report = Callable[[Site, Flaw], None]
Visit = Callable[[Site, Expression], None]


class RulebookError(AutotraderError):
    """An expression of the configuration is flawed; `autotrader validate` shows all of them."""


@dataclass(frozen=True, eq=False)
class Rulebook:
    """Every rule set of one configuration.

    confirmation: by entry group key, for the groups that have rules.
    """

    params: StrategyParams
    stages: Mapping[str, Stage]
    indicators: tuple[Indicator, ...]
    regime: RuleSet
    eligible: RuleSet
    score: ValueSet
    gap_filter: RuleSet
    confirmation: Mapping[str, RuleSet]
    limits: RuleSet
    reentry: RuleSet
    sizing: ValueSet
    scale: ValueSet
    order: RuleSet
    stop_distance: ValueSet
    protective_stop: ValueSet
    exit: RuleSet

    @cached_property
    def _bound(self) -> dict[tuple[str, Direction], Bound]:
        return {}

    def bound(self, strategy: str, direction: Direction) -> Bound:
        """The rule sets with the values of one strategy and side folded in; made once."""
        found = self._bound.get((strategy, direction))
        if found is None:
            found = self._bound[strategy, direction] = Bound(self, strategy, direction)
        return found

    @cached_property
    def all_indicators(self) -> tuple[str, ...]:
        return tuple(indicator.name for indicator in self.indicators)

    @cached_property
    def indicator_names(self) -> frozenset[str]:
        return frozenset(indicator.name for indicator in self.indicators)

    @cached_property
    def account_limits(self) -> RuleSet:
        """The limits that read facts of the account and nothing else."""
        rules = self.limits.rules
        of_account = [rule for rule in rules if rule.when.reads.keys() - self.limits.constants.keys() <= ACCOUNT_FACTS]
        return RuleSet(self.limits.stage, tuple(of_account), self.limits.constants)

    @cached_property
    def exit_on_path(self) -> RuleSet:
        """The exit rules for points of a daily path, where for_bars counts as 1."""
        return self.exit.without_streaks()

    @cached_property
    def exit_indicators(self) -> tuple[str, ...]:
        """The daily indicators that an exit rule reads."""
        return tuple(name for name in self.exit.reads if name in self.indicator_names)

    @cached_property
    def entry_indicators(self) -> tuple[str, ...]:
        """The scan bar's indicators that a stage from the gap filter to the order reads."""
        limits: tuple[RuleSet | ValueSet, ...] = (self.reentry, self.limits, self.sizing, self.scale, self.order)
        sets = (self.gap_filter, *self.confirmation.values(), *limits)
        read = {name for rules in sets for name in rules.reads}
        return tuple(item.name for item in self.indicators if item.name in read)

    @cached_property
    def scan_facts(self) -> frozenset[str]:
        """The facts of a candidate that the gap filter knows already, indicators included."""
        return frozenset(self.stages["gap_filter"].facts)

    @cached_property
    def _value_names(self) -> tuple[str, ...]:
        return value_names(self.params)

    def value(self, name: str, strategy: str, direction: Direction) -> float:
        """A strategy value for one side: the strategy's own, else the default; NaN if neither has one."""
        own = self.params.strategies[strategy].values
        value = own[name] if name in own else self.params.strategy_defaults.values.get(name)
        return _side(value, direction)

    @cached_property
    def _values_of(self) -> dict[tuple[str, Direction], Mapping[str, float]]:
        return {}

    def values(self, strategy: str, direction: Direction) -> Mapping[str, float]:
        """All strategy values for one side."""
        found = self._values_of.get((strategy, direction))
        if found is None:
            found = {name: self.value(name, strategy, direction) for name in self._value_names}
            self._values_of[strategy, direction] = found
        return found

    def own_indicators(self, strategy: str) -> tuple[Indicator, ...]:
        """The indicators that a strategy declares for itself."""
        return indicator_specs(self.params.strategies[strategy])

    def weight(self, regime: str, strategy: str) -> float:
        """The share of equity a strategy may use in a regime."""
        return self._shares(regime)[0][strategy]

    def weight_max(self, regime: str) -> float:
        """The largest share that an enabled strategy has in a regime."""
        return self._shares(regime)[1]

    @cached_property
    def _shares_of(self) -> dict[str, tuple[dict[str, float], float]]:
        return {}

    def _shares(self, regime: str) -> tuple[dict[str, float], float]:
        if regime not in self._shares_of:
            strategies, share = self.params.strategies, self.params.regime.weights.share
            row = {name: share(regime, name) for name in strategies}
            most = max((row[name] for name in strategies if strategies[name].enabled), default=math.nan)
            self._shares_of[regime] = row, most
        return self._shares_of[regime]

    @cached_property
    def _due_with(self) -> dict[str, frozenset[str]]:
        groups = self.params.entry.groups
        return {
            key: frozenset(group_name(other) for other, earlier in groups.items() if earlier.at <= group.at)
            for key, group in groups.items()
        }

    def due_with(self, group: str) -> frozenset[str]:
        """The names, as candidates carry them, of the groups that are due when this one is. group: its key."""
        return self._due_with[group]

    @cached_property
    def _group_of(self) -> dict[str, str]:
        groups = self.params.entry.groups.items()
        return {strategy: key for key, group in groups for strategy in group.strategies}

    def group_of(self, strategy: str) -> str | None:
        """The key of the entry group a strategy enters in."""
        return self._group_of.get(strategy)


class Bound:
    """The rule sets of a rulebook for one strategy and side. confirmation: of the strategy's group, if it has rules."""

    def __init__(self, book: Rulebook, strategy: str, direction: Direction) -> None:
        values = book.values(strategy, direction)
        group = book.confirmation.get(book.group_of(strategy) or "")
        self.gap_filter = book.gap_filter.bind(values)
        self.confirmation = None if group is None else group.bind(values)
        self.reentry = book.reentry.bind(values)
        self.limits = book.limits.bind(values)
        self.sizing = book.sizing.bind(values)
        self.scale = book.scale.bind(values)
        self.order = book.order.bind(values)
        self.stop_distance = book.stop_distance.bind(values)
        self.protective_stop = book.protective_stop.bind(values)
        self.exit = book.exit.bind(values)
        self.exit_on_path = book.exit_on_path.bind(values)
        entry = (self.gap_filter, self.confirmation, self.reentry, self.limits, self.sizing, self.scale, self.order)
        read = dict.fromkeys(name for rules in entry if rules is not None for name in rules.reads)
        # the facts of a candidate that are read anywhere between the gap filter and the order
        self.entry_reads = tuple(name for name in read if name in book.scan_facts)


def value_names(params: StrategyParams) -> tuple[str, ...]:
    """Every name that a strategy or strategy_defaults gives a value."""
    names = dict.fromkeys(params.strategy_defaults.values)
    for strategy in params.strategies.values():
        names |= dict.fromkeys(strategy.values)
    return tuple(names)


def build_rulebook(params: StrategyParams, report: Report | None = None, visit: Visit | None = None) -> Rulebook:
    """The compiled rule sets of a configuration.

    report: told of every flaw; without it the first one raises RulebookError. visit: told of every sound expression.
    """
    indicators = indicator_specs(params)
    regimes = [rule.name for rule in params.regime.rules]
    every = stages(indicators, regimes, list(params.entry.groups))
    build = _Builder(every, value_names(params), report, visit)
    entry, leave, risk = params.entry, params.exit, params.risk
    return Rulebook(
        params,
        every,
        indicators,
        regime=build.rules("regime", ("regime", "rules"), params.regime.rules, "regime rule", params.regime.params),
        eligible=build.rules("eligible", ("ranking", "eligible", "rules"), params.ranking.eligible.rules,
                             "eligibility rule", params.ranking.eligible.params),
        score=build.values("score", ("ranking", "score"), params.ranking.score, "score", params.ranking.params),
        gap_filter=build.rules("gap_filter", ("entry", "gap_filter", "rules"), entry.gap_filter.rules,
                               "gap filter rule", entry.gap_filter.params),
        confirmation={
            key: build.rules("confirmation", ("entry", "groups", key, "rules"), group.rules,
                             f"{key} rule", group.params)
            for key, group in entry.groups.items()
            if group.rules
        },
        limits=build.rules("limits", ("risk", "limits"), risk.limits, "limit", risk.params),
        reentry=build.rules("reentry", ("exit", "reentry", "rules"), leave.reentry.rules, "re-entry rule",
                            leave.reentry.params),
        sizing=build.values("sizing", ("risk", "sizing", "values"), risk.sizing.values, "sizing value", risk.params),
        scale=build.value("sizing", ("risk", "sizing", "scale"), risk.sizing.scale, "risk.sizing.scale", risk.params),
        order=build.rules("order", ("risk", "sizing", "rules"), risk.sizing.rules, "order rule", risk.params),
        stop_distance=build.value("stop_distance", ("exit", "stop_distance"), leave.stop_distance,
                                  "exit.stop_distance", leave.params),
        protective_stop=build.value("protective_stop", ("exit", "protective_stop", "distance"),
                                    leave.protective_stop.distance, "exit.protective_stop.distance", leave.params),
        exit=build.rules("exit", ("exit", "rules"), leave.rules, "exit rule", leave.params),
    )  # fmt: skip


class _Builder:
    def __init__(
        self,
        every: Mapping[str, Stage],
        values: Sequence[str],
        report: Report | None,
        visit: Visit | None,
    ) -> None:
        self._stages = every
        self._values: dict[str, Kind] = dict.fromkeys(values, "number")
        self._report = report
        self._visit = visit

    def rules(
        self,
        stage: str,
        path: Path,
        rules: Sequence[RuleSettings],
        what: str,
        params: Params | None = None,
    ) -> RuleSet:
        known = self._stages[stage]
        built = []
        for index, rule in enumerate(rules):
            site = Site((*path, index, "when"), known, f'{what} "{rule.name}"', rule)
            when = self._parse(site, rule.when, "flag", params or {})
            bars = rule.for_bars if isinstance(rule, ExitRule) else 1
            then, reason = rule.then or rule.name, rule.reason or rule.name
            built.append(Rule(rule.name, when, then, reason, bars, rule.on_missing, rule.because))
        return RuleSet(known, tuple(built), dict(params or {}))

    def values(
        self,
        stage: str,
        path: Path,
        parts: Sequence[ValuePart],
        what: str,
        params: Params | None = None,
    ) -> ValueSet:
        known = self._stages[stage]
        built = []
        for index, part in enumerate(parts):
            site = Site((*path, index, "value"), known, f'{what} "{part.name}"')
            value = self._parse(site, part.value, "number", params or {})
            weight = part.weight if isinstance(part, ScorePart) else 1.0
            built.append(Part(part.name, value, weight, part.on_missing, part.because))
        return ValueSet(known, tuple(built), dict(params or {}))

    def value(self, stage: str, path: Path, text: str, label: str, params: Params) -> ValueSet:
        """A single value, as a least of one."""
        known = self._stages[stage]
        value = self._parse(Site(path, known, label), text, "number", params)
        return ValueSet(known, (Part(str(path[-1]), value),), dict(params or {}))

    def _parse(self, site: Site, text: str, expect: Kind, params: Params) -> Expression:
        names: dict[str, Kind] = {**self._values, **dict.fromkeys(params, "number"), **kinds(site.stage.facts)}
        if site.stage.name == "regime":  # the market is nobody's strategy
            names = kinds(site.stage.facts)
        try:
            expression = parse(text, names, expect)
        except ExpressionError as error:
            if self._report is None:
                where = ".".join(str(step) for step in site.path)
                raise RulebookError(f"{where}: {error}") from error
            for flaw in error.flaws:
                self._report(site, flaw)
            return parse("false" if expect == "flag" else "0", {})
        if self._visit is not None:
            self._visit(site, expression)
        return expression


def _side(value: float | BySide | None, direction: Direction) -> float:
    """A value for one direction: {long:, short:} is resolved, and what is absent is unknown."""
    if isinstance(value, BySide):
        value = value.long if direction == "long" else value.short
    return math.nan if value is None else float(value)

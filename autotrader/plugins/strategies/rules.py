"""A strategy without code: conditions and strengths written in YAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import model_validator

from autotrader.core.strategy import Direction, Fired, SignalParams
from autotrader.rules.expression import FUNCTIONS, Expression, parse
from autotrader.rules.expression_fields import Condition, Value
from autotrader.rules.facts import Kind

if TYPE_CHECKING:
    from autotrader.core.panel import Array


class Side(SignalParams):
    when: Condition
    strength: Value


class _EverySeries(Mapping[str, Kind]):
    """Every name is a number: which names there are is the business of whoever checks the configuration."""

    def __getitem__(self, name: str) -> Kind:
        if name in FUNCTIONS:
            raise KeyError(name)
        return "number"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class _Rule:
    direction: Direction
    when: Expression
    strength: Expression


class RulesStrategy:
    """Fires where `when` certainly matches and `strength`, clipped to [0, 1], is known.

    A strategy's own indicators are series like any other: the caller adds them (`Series.extended`).
    """

    class Params(SignalParams):
        long: Side | None = None
        short: Side | None = None

        @model_validator(mode="after")
        def _one_at_least(self) -> RulesStrategy.Params:
            if self.long is None and self.short is None:
                raise ValueError("give a long or a short condition, or both")
            return self

    def __init__(self, params: Params) -> None:
        """Raises ExpressionError for a text that is not an expression."""
        self._rules: list[_Rule] = []
        sides: tuple[tuple[Direction, Side | None], ...] = (("long", params.long), ("short", params.short))
        for direction, side in sides:
            if side is not None:
                when = parse(side.when, _EverySeries(), "flag")
                self._rules.append(_Rule(direction, when, parse(side.strength, _EverySeries(), "number")))
        names = (name for rule in self._rules for name in (*rule.when.names, *rule.strength.names))
        self.reads = tuple(dict.fromkeys(names)) or ("close",)

    def signals(self, series: Mapping[str, Array]) -> list[Fired]:
        return [self._fired(rule, series) for rule in self._rules]

    def _fired(self, rule: _Rule, series: Mapping[str, Array]) -> Fired:
        import numpy as np

        from autotrader.rules.evaluate import column_match, column_number

        where = column_match(rule.when, {name: series[name] for name in rule.when.names})
        if where.ndim == 0:  # `true` names no series: it holds wherever there is a bar
            where = where & np.isfinite(series[self.reads[0]])
        at = np.flatnonzero(where)
        strength = column_number(rule.strength, {name: series[name].take(at) for name in rule.strength.names})
        strength = np.clip(np.broadcast_to(strength, at.shape), 0.0, 1.0)
        unknown = np.isnan(strength)
        where.flat[at[unknown]] = False
        return Fired(rule.direction, where, strength[~unknown])

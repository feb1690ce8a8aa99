"""What must hold in a configuration beyond its form: one function a check, one line each in CHECKS."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from autotrader.rules.document import Document
from autotrader.settings import StrategyParams
from autotrader.validation.check_expressions import compared_words, expressions, unreachable_rules
from autotrader.validation.check_indicators import history, indicators, missing_indicators
from autotrader.validation.check_names import (
    indicator_names,
    large_percents,
    misspelt_declarations,
    names_defined_twice,
    negative_values,
    rule_names,
    unused,
)
from autotrader.validation.check_numbers import compared_numbers, compared_units
from autotrader.validation.check_strategies import failing_exits, groups, hidden_stops, plugins, values, weights
from autotrader.validation.check_times import times
from autotrader.validation.context import Checked, Context, gather

if TYPE_CHECKING:
    from autotrader.validation.salvage import Salvaged

# The first two also gather what the others need; a misspelt declaration settles what follows from it.
CHECKS: tuple[Callable[[Context], None], ...] = (
    indicators,
    plugins,
    misspelt_declarations,
    expressions,
    compared_words,
    unreachable_rules,
    names_defined_twice,
    indicator_names,
    rule_names,
    large_percents,
    negative_values,
    compared_numbers,
    compared_units,
    missing_indicators,
    history,
    groups,
    weights,
    values,
    unused,
    hidden_stops,
    failing_exits,
    times,
)


def check(params: StrategyParams, document: Document, salvaged: Salvaged[StrategyParams] | None = None) -> Checked:
    """Every problem of a configuration whose form is sound. salvaged: where the params are not all the document's."""
    context = gather(params, document, salvaged)
    for one in CHECKS:
        one(context)
    return context.checked

"""How many shares: the least value, times the scale, down to whole shares, and the order rules over the result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from autotrader.core.rulebook import Rulebook
from autotrader.core.strategy import Direction
from autotrader.rules.decision import Decision
from autotrader.rules.facts import Scalar


@dataclass(frozen=True, slots=True)
class Sized:
    """What sizing gave. least: the smallest value, in shares before the scale.

    quantity: whole shares, may be 0 or less; None where something it needs is unknown. order: what the order rules say
    of it; None where there is no quantity.
    """

    least: Decision
    quantity: int | None
    order: Decision | None

    @property
    def entered(self) -> bool:
        return self.quantity is not None and self.quantity > 0 and self.order is not None and self.order.rule is None


def size(rulebook: Rulebook, strategy: str, direction: Direction, facts: Mapping[str, Scalar]) -> Sized:
    """Sizes one entry. facts: those of the stage sizing."""
    bound = rulebook.bound(strategy, direction)
    least = bound.sizing.judge(facts)
    scale, _ = bound.scale.value(facts)
    shares = math.nan if least.value is None else least.value * scale
    if not math.isfinite(shares):
        return Sized(least, None, None)
    quantity = math.floor(shares)
    order = bound.order.judge({**facts, "quantity": quantity})
    return Sized(least, quantity, order)

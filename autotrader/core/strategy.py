"""What a strategy is: parameters, the series it reads, and signals for all symbols and all bars at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from autotrader.core.panel import Array, Mask

Direction = Literal["long", "short"]

Score = Annotated[float, Field(ge=0, le=100)]  # RSI, ADX
Span = Annotated[float, Field(gt=0)]  # the distance over which a strength rises from 0 to 1


@dataclass(frozen=True, slots=True, eq=False)
class Fired:
    """One direction's signals.

    where:    [symbol, time], True where the strategy fires.
    strength: one value for each True, in the order of np.nonzero(where), each in [0, 1].
    """

    direction: Direction
    where: Mask
    strength: Array


class Strategy(Protocol):
    """A strategy plugin. Its module must not import numpy when it is imported: checking parameters starts without.

    Params: the model of the `signal:` section of its YAML block.
    """

    Params: ClassVar[type[BaseModel]]

    def __init__(self, params: Any) -> None:
        """params: an instance of `Params`."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The price fields and indicators that `signals` looks up."""
        ...

    def signals(self, series: Mapping[str, Array]) -> list[Fired]:
        """At most one Fired for each direction, over the arrays' shape.

        series: float64 [symbol, time] by name, at least `reads`; NaN is unknown and never fires. The signals of a bar
        come from that bar and earlier ones of the same symbol. The arrays are shared: they must not be written to.
        """
        ...


class SignalParams(BaseModel):
    """The base of a strategy's parameters: unknown keys are refused, values do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class PerSide(SignalParams):
    """A value for each direction. A side that is left out is unknown: it never fires."""

    long: float | None = None
    short: float | None = None


def strength(first: Array, second: Array) -> Array:
    """Half and half of two parts, each clipped to [0, 1]."""
    import numpy as np

    return 0.5 * np.clip(first, 0.0, 1.0) + 0.5 * np.clip(second, 0.0, 1.0)

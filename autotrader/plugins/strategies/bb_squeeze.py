"""Out of a quiet stretch, with a trend beginning: the breakout beyond a Bollinger band."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from autotrader.core.strategy import Fired, PerSide, SignalParams, Span, strength

if TYPE_CHECKING:
    from autotrader.core.panel import Array


class Strength(SignalParams):
    pct_b_span: Span = 0.5
    adx_rise_span: Span = 4


class BbSqueeze:
    """Bands narrow against their mean, ADX up since the previous bar, the close beyond the upper or lower band."""

    class Params(SignalParams):
        squeeze_ratio: Annotated[float, Field(gt=0)] = 0.75
        adx_rise: float = 2.0
        pct_b: PerSide = PerSide(long=1.0, short=0.0)
        strength: Strength = Strength()

    reads = ("bb_width_ratio", "adx", "pct_b")

    def __init__(self, params: Params) -> None:
        self._params = params

    def signals(self, series: Mapping[str, Array]) -> list[Fired]:
        import numpy as np

        p, span = self._params, self._params.strength
        adx, pct_b = series["adx"], series["pct_b"]
        rise = np.full_like(adx, np.nan)
        rise[:, 1:] = adx[:, 1:] - adx[:, :-1]
        wakes = (series["bb_width_ratio"] <= p.squeeze_ratio) & (rise >= p.adx_rise)
        fired = []
        if p.pct_b.long is not None:
            where = wakes & (pct_b > p.pct_b.long)
            beyond = (pct_b[where] - p.pct_b.long) / span.pct_b_span
            fired.append(Fired("long", where, strength(beyond, (rise[where] - p.adx_rise) / span.adx_rise_span)))
        if p.pct_b.short is not None:
            where = wakes & (pct_b < p.pct_b.short)
            beyond = (p.pct_b.short - pct_b[where]) / span.pct_b_span
            fired.append(Fired("short", where, strength(beyond, (rise[where] - p.adx_rise) / span.adx_rise_span)))
        return fired

"""Too far, too fast, without a trend behind it: back to the mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autotrader.core.strategy import Fired, PerSide, Score, SignalParams, Span, strength

if TYPE_CHECKING:
    from autotrader.core.panel import Array


class Strength(SignalParams):
    rsi_span: Span = 15
    pct_b_span: Span = 0.5


class RsiMeanReversion:
    """Long: RSI and %B below their thresholds and ADX below its own; short: mirrored."""

    class Params(SignalParams):
        rsi: PerSide = PerSide(long=30, short=75)
        pct_b: PerSide = PerSide(long=0.05, short=0.95)
        adx_max: Score = 25
        strength: Strength = Strength()

    reads = ("rsi", "pct_b", "adx")

    def __init__(self, params: Params) -> None:
        self._params = params

    def signals(self, series: Mapping[str, Array]) -> list[Fired]:
        p, span = self._params, self._params.strength
        rsi, pct_b = series["rsi"], series["pct_b"]
        calm = series["adx"] < p.adx_max
        fired = []
        if p.rsi.long is not None and p.pct_b.long is not None:
            where = (rsi < p.rsi.long) & (pct_b < p.pct_b.long) & calm
            depth = (p.rsi.long - rsi[where]) / span.rsi_span, (p.pct_b.long - pct_b[where]) / span.pct_b_span
            fired.append(Fired("long", where, strength(*depth)))
        if p.rsi.short is not None and p.pct_b.short is not None:
            where = (rsi > p.rsi.short) & (pct_b > p.pct_b.short) & calm
            height = (rsi[where] - p.rsi.short) / span.rsi_span, (pct_b[where] - p.pct_b.short) / span.pct_b_span
            fired.append(Fired("short", where, strength(*height)))
        return fired

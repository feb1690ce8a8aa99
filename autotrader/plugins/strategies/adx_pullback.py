"""A pause in a strong rise: buy the pullback that stays above the slow mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autotrader.core.strategy import Fired, Score, SignalParams, Span, strength

if TYPE_CHECKING:
    from autotrader.core.panel import Array


class Strength(SignalParams):
    adx_span: Span = 25
    rsi_span: Span = 10


class AdxPullback:
    """Long: ADX above its threshold, the fast mean above the slow one, RSI come down, the close above the slow mean."""

    class Params(SignalParams):
        adx_min: Score = 25
        rsi_max: Score = 50
        strength: Strength = Strength()

    reads = ("adx", "ema_fast", "ema_slow", "rsi", "close")

    def __init__(self, params: Params) -> None:
        self._params = params

    def signals(self, series: Mapping[str, Array]) -> list[Fired]:
        p, span = self._params, self._params.strength
        adx, rsi, slow = series["adx"], series["rsi"], series["ema_slow"]
        where = (adx > p.adx_min) & (series["ema_fast"] > slow) & (rsi <= p.rsi_max) & (series["close"] > slow)
        trend, dip = (adx[where] - p.adx_min) / span.adx_span, (p.rsi_max - rsi[where]) / span.rsi_span
        return [Fired("long", where, strength(trend, dip))]

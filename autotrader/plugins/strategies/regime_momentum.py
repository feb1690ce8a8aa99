"""A trend with room: rising, widening, neither stretched nor wild."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from autotrader.core.strategy import Fired, Score, SignalParams, Span, strength

if TYPE_CHECKING:
    from autotrader.core.panel import Array


class Strength(SignalParams):
    return_span: Span = 0.2
    adx_span: Span = 25


class RegimeMomentum:
    """Long: ADX and band width up, a positive return, RSI in its range, the fast mean above the slow, a modest ATR."""

    class Params(SignalParams):
        adx_min: Score = 25
        width_ratio_min: Annotated[float, Field(gt=0)] = 1.3
        return_min: float = 0.0
        rsi_min: Score = 50
        rsi_max: Score = 70
        atr_pct_max: Annotated[float, Field(gt=0)] = 0.03
        strength: Strength = Strength()

    reads = ("adx", "bb_width_ratio", "return_20", "rsi", "ema_fast", "ema_slow", "atr", "close")

    def __init__(self, params: Params) -> None:
        self._params = params

    def signals(self, series: Mapping[str, Array]) -> list[Fired]:
        import numpy as np

        p, span = self._params, self._params.strength
        adx, gain, rsi = series["adx"], series["return_20"], series["rsi"]
        with np.errstate(all="ignore"):
            atr_pct = series["atr"] / series["close"]
        where = (
            (adx >= p.adx_min)
            & (series["bb_width_ratio"] >= p.width_ratio_min)
            & (gain > p.return_min)
            & (p.rsi_min <= rsi)
            & (rsi <= p.rsi_max)
            & (series["ema_fast"] > series["ema_slow"])
            & (atr_pct < p.atr_pct_max)
        )
        rise = (gain[where] - p.return_min) / span.return_span
        return [Fired("long", where, strength(rise, (adx[where] - p.adx_min) / span.adx_span))]

"""A stretched rise that has just turned: sell the first lower close."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autotrader.core.strategy import Fired, Score, SignalParams, Span, strength

if TYPE_CHECKING:
    from autotrader.core.panel import Array


class Strength(SignalParams):
    rsi_span: Span = 15
    pct_b_span: Span = 0.5


class OverboughtShort:
    """Short: RSI and %B above their thresholds on the previous bar; now ADX below its own and a lower close."""

    class Params(SignalParams):
        rsi_min: Score = 75
        pct_b_min: float = 0.95
        adx_max: Score = 25
        strength: Strength = Strength()

    reads = ("rsi", "pct_b", "adx", "close")

    def __init__(self, params: Params) -> None:
        self._params = params

    def signals(self, series: Mapping[str, Array]) -> list[Fired]:
        import numpy as np

        p, span = self._params, self._params.strength
        rsi, pct_b = series["rsi"][:, :-1], series["pct_b"][:, :-1]  # of the previous bar
        adx, close = series["adx"], series["close"]
        turned = (rsi > p.rsi_min) & (pct_b > p.pct_b_min) & (adx[:, 1:] < p.adx_max) & (close[:, 1:] < close[:, :-1])
        where = np.zeros(adx.shape, dtype=np.bool_)
        where[:, 1:] = turned
        height = (rsi[turned] - p.rsi_min) / span.rsi_span, (pct_b[turned] - p.pct_b_min) / span.pct_b_span
        return [Fired("short", where, strength(*height))]

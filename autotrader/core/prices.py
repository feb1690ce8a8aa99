"""Prices at the border: what a taker pays after slippage, to the tick."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

TICK = Decimal("0.0001")


def taker_price(price: float | Decimal, side: str, slippage_bps: float | Decimal = 0) -> Decimal:
    """What a market order pays (side "buy") or gets ("sell"): slippage and rounding to 0.0001 USD go against it."""
    exact = price if isinstance(price, Decimal) else Decimal(repr(price))
    slip = exact * Decimal(slippage_bps if isinstance(slippage_bps, Decimal) else repr(slippage_bps)) / 10_000
    if side == "buy":
        return (exact + slip).quantize(TICK, ROUND_CEILING)
    return (exact - slip).quantize(TICK, ROUND_FLOOR)

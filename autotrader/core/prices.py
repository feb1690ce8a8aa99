"""Prices at the border: what a taker pays after slippage, to the tick."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

TICK = Decimal("0.0001")
CENT = Decimal("0.01")


def taker_price(price: float | Decimal, side: str, slippage_bps: float | Decimal = 0) -> Decimal:
    """What a market order pays (side "buy") or gets ("sell"): slippage and rounding to 0.0001 USD go against it.

    Nothing is sold for less than 0.0001 USD.
    """
    exact = price if isinstance(price, Decimal) else Decimal(repr(price))
    slip = Decimal(0)
    if slippage_bps:
        slip = exact * Decimal(slippage_bps if isinstance(slippage_bps, Decimal) else repr(slippage_bps)) / 10_000
    if side == "buy":
        return (exact + slip).quantize(TICK, ROUND_CEILING)
    return max(TICK, (exact - slip).quantize(TICK, ROUND_FLOOR))


def stop_tick(price: Decimal, side: str) -> Decimal:
    """A stop's price to the tick (0.01 USD, below 1 USD 0.0001), rounded toward the market: a sell stop up."""
    return price.quantize(CENT if price >= 1 else TICK, ROUND_CEILING if side == "sell" else ROUND_FLOOR)

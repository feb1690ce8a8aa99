"""The words the configuration may use: indicator kinds, and the facts of each stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

# --- indicators -------------------------------------------------------------------------------------------------

SERIES_FIELDS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class Indicator:
    """One declared indicator: the fact `name` is `kind` of a series, with its parameters.

    of: an expression over series fields and indicators declared earlier; kinds that read whole bars ignore it.
    symbol: "market" computes it on the regime proxy instead of on each symbol; None: on each symbol.
    """

    name: str
    kind: str
    of: str = "close"
    length: int = 1
    width: float = 2.0
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class IndicatorKind:
    """What a `kind:` means.

    parameters: the keys a declaration of this kind may set (without `kind` and `symbol`), with their defaults;
                None: it must be given.
    reads:      "bars" (high, low, close) or "of" (one series).
    warmup:     how many bars before the first value, the bar itself not counted, from the declaration; what `of`
                needs is added by the caller.
    memory:     how many bars until a value no longer depends on where the series began, to within 1e-3 of its scale.
    """

    name: str
    doc: str
    parameters: Mapping[str, float | str | None]
    reads: str
    unit: str | None
    warmup: Callable[[Indicator], int]
    memory: Callable[[Indicator], int]


def _window(spec: Indicator) -> int:
    return spec.length - 1


def _lag(spec: Indicator) -> int:
    return spec.length


def _kind(
    name: str,
    doc: str,
    parameters: Mapping[str, float | str | None],
    warmup: Callable[[Indicator], int],
    *,
    reads: str = "of",
    unit: str | None = None,
    memory: Callable[[Indicator], int] | None = None,
) -> IndicatorKind:
    return IndicatorKind(name, doc, parameters, reads, unit, warmup, memory or warmup)


_OF_LENGTH: Mapping[str, float | str | None] = {"of": "close", "length": None}
_OF_STEP: Mapping[str, float | str | None] = {"of": "close", "length": 1}
_BAND: Mapping[str, float | str | None] = {"of": "close", "length": 20, "width": 2.0}

INDICATOR_KINDS: Mapping[str, IndicatorKind] = {
    kind.name: kind
    for kind in (
        _kind(
            "rsi",
            "Wilder's relative strength index, 0 to 100.",
            {"length": 14},
            _lag,
            reads="bars",
            unit="score",
            memory=lambda s: s.length * 8,
        ),
        _kind(
            "adx",
            "Wilder's average directional index, 0 to 100.",
            {"length": 14},
            lambda s: 2 * s.length - 1,
            reads="bars",
            unit="score",
            memory=lambda s: s.length * 14,
        ),
        _kind(
            "atr",
            "Wilder's average true range, in USD.",
            {"length": 14},
            _lag,
            reads="bars",
            unit="usd",
            memory=lambda s: s.length * 8,
        ),
        _kind("bollinger_width", "Upper less lower band over the middle.", _BAND, _window, unit="ratio"),
        _kind(
            "bollinger_pct_b",
            "Where the value stands between the bands: 0 lower, 1 upper.",
            _BAND,
            _window,
            unit="ratio",
        ),
        _kind("sma", "Simple moving average.", _OF_LENGTH, _window),
        _kind(
            "ema",
            "Exponential moving average, started with the simple mean.",
            _OF_LENGTH,
            _window,
            memory=lambda s: s.length * 4,
        ),
        _kind("prev", "The value `length` bars earlier.", _OF_STEP, _lag),
        _kind("change", "The value less the value `length` bars earlier.", _OF_STEP, _lag),
        _kind("return", "The value over the value `length` bars earlier, minus 1.", _OF_STEP, _lag, unit="ratio"),
        _kind("highest", "Highest of the last `length` values.", _OF_LENGTH, _window),
        _kind("lowest", "Lowest of the last `length` values.", _OF_LENGTH, _window),
        _kind("mean", "Mean of the last `length` values.", _OF_LENGTH, _window),
        _kind(
            "ratio_to_mean", "The value over the mean of the last `length` values.", _OF_LENGTH, _window, unit="ratio"
        ),
        _kind(
            "universe_rank",
            "Rank among the day's usable symbols, 0 lowest to 1 highest; ties share the average.",
            {"of": "close"},
            lambda _: 0,
            unit="ratio",
        ),
    )
}

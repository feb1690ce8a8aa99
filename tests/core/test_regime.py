"""The market's regime: its rules, and the proxy that stands in where there is no index."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.core.panel import Panel
from autotrader.core.regime import RegimeDetector, equal_weight
from autotrader.core.rulebook import build_rulebook
from autotrader.rules.document import load
from autotrader.settings import StrategyParams

CONFIG = Path(__file__).parents[2] / "config" / "strategy_params.yaml"


def detector(rules: list[dict[str, str]] | None = None) -> RegimeDetector:
    data: dict[str, Any] = load(CONFIG.read_bytes(), "f").data
    if rules is not None:
        data["regime"]["rules"] = rules
    return RegimeDetector(build_rulebook(StrategyParams.model_validate(data)).regime)


DEFAULT = detector()


def series(*bars: dict[str, float]) -> dict[str, Any]:
    """Of a calm bar that no rule speaks of, unless it says otherwise."""
    calm = {"close": 100.0, "atr": 1.0, "adx": 22.0, "bb_width_ratio": 0.9}
    return {name: np.array([[{**calm, **bar}[name] for bar in bars]]) for name in calm}


@pytest.mark.parametrize(
    ("bar", "regime"),
    [
        ({}, "UNCERTAIN"),
        ({"atr": 3.1}, "HIGH_VOLATILITY"),
        ({"atr": 3.0}, "UNCERTAIN"),
        ({"adx": 25.0, "bb_width_ratio": 1.0}, "TREND"),
        ({"adx": 24.9, "bb_width_ratio": 1.0}, "UNCERTAIN"),
        ({"adx": 19.9, "bb_width_ratio": 0.8}, "RANGING"),
        ({"adx": 20.0, "bb_width_ratio": 0.8}, "UNCERTAIN"),
    ],
)
def test_the_default_rules_name_the_regime(bar: dict[str, float], regime: str) -> None:
    assert detector().regimes(series(bar), 1) == [regime]


def test_the_first_match_names_it() -> None:
    both = {"atr": 5.0, "adx": 40.0, "bb_width_ratio": 1.5}
    assert detector().regimes(series(both), 1) == ["HIGH_VOLATILITY"]


def test_each_session_has_its_own() -> None:
    found = detector().regimes(series({}, {"atr": 9.0}, {"adx": 30.0, "bb_width_ratio": 1.2}), 3)
    assert found == ["UNCERTAIN", "HIGH_VOLATILITY", "TREND"]


def test_an_unknown_matches_nothing_and_is_uncertain() -> None:
    unknown = dict.fromkeys(("close", "atr", "adx", "bb_width_ratio"), math.nan)
    assert detector().regimes(series(unknown), 1) == ["UNCERTAIN"]
    only = [{"name": "TREND", "when": "adx >= 25"}]
    assert detector(only).regimes(series(unknown), 1) == ["UNCERTAIN"]


def test_without_a_match_it_is_uncertain() -> None:
    assert detector([{"name": "TREND", "when": "adx >= 25"}]).regimes(series({}), 1) == ["UNCERTAIN"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*(st.sampled_from([math.nan, 0.5, 0.9, 1.0, 2.5, 4.0, 19.0, 26.0]) for _ in range(3)))))
def test_the_evidence_decides_as_the_column_does(values: list[tuple[float, float, float]]) -> None:
    bars = series(*({"atr": atr, "adx": adx, "bb_width_ratio": ratio} for atr, adx, ratio in values))
    names = DEFAULT.regimes(bars, len(values))
    assert [DEFAULT.decide(bars, day).outcome for day in range(len(values))] == names


def test_the_decision_shows_what_it_read() -> None:
    decision = detector().decide(series({"atr": 5.0}))
    assert (decision.outcome, decision.rule) == ("HIGH_VOLATILITY", "HIGH_VOLATILITY")
    assert decision.evidence[0].facts == {"atr": 5.0, "close": 100.0}


# --- the stand-in ---------------------------------------------------------------------------------------------------


def chained_slowly(panel: Panel) -> list[tuple[float, float, float, float]]:
    """From the definition: 100, then the mean of each symbol's open, high, low and close over its previous close."""
    bars = [(100.0, 100.0, 100.0, 100.0)]
    for day in range(1, panel.sessions):
        ratios = []
        for row in range(len(panel.symbols)):
            before = panel.close[row, day - 1]
            today = [getattr(panel, name)[row, day] for name in ("open", "high", "low", "close")]
            if math.isfinite(before) and before > 0 and all(math.isfinite(price) for price in today):
                ratios.append([price / before for price in today])
        base = bars[-1][3]
        means = [sum(column) / len(ratios) for column in zip(*ratios, strict=True)] if ratios else [1.0] * 4
        opened, high, low, close = (base * mean for mean in means)
        bars.append((opened, max(high, opened, close), min(low, opened, close), close))
    return bars


@st.composite
def panels(draw: st.DrawFn) -> Panel:
    symbols, sessions = draw(st.integers(0, 4)), draw(st.integers(0, 6))
    price = st.sampled_from([math.nan, -3.0, 0.0, 8.0, 10.0, 10.5, 11.0, 12.5])
    cells = st.lists(price, min_size=symbols * sessions, max_size=symbols * sessions)
    fields = [np.array(draw(cells), dtype=np.float64).reshape(symbols, sessions) for _ in range(5)]
    dates = np.datetime64("2020-01-01", "D") + np.arange(sessions)
    return Panel(tuple(f"S{row}" for row in range(symbols)), dates, *fields)


@settings(max_examples=60, deadline=None)
@given(panels())
def test_the_stand_in_is_the_chained_mean_of_the_universe(panel: Panel) -> None:
    index = equal_weight(panel)
    assert index.close.shape == (1, panel.sessions)
    np.testing.assert_array_equal(index.dates, panel.dates)
    for day, bar in enumerate(chained_slowly(panel)[: panel.sessions]):
        found = [getattr(index, name)[0, day] for name in ("open", "high", "low", "close")]
        np.testing.assert_allclose(found, bar, rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(panels())
def test_the_stand_in_leaves_the_bars_alone(panel: Panel) -> None:
    before = [getattr(panel, name).copy() for name in ("open", "high", "low", "close", "volume")]
    equal_weight(panel)
    for name, values in zip(("open", "high", "low", "close", "volume"), before, strict=True):
        np.testing.assert_array_equal(getattr(panel, name), values)


def test_the_stand_in_of_one_symbol_moves_as_it_does() -> None:
    close = np.array([[10.0, 11.0, 9.9, 9.9]])
    bars = Panel(("A",), np.arange(4).astype("datetime64[D]"), close, close + 1, close - 1, close, close)
    np.testing.assert_allclose(equal_weight(bars).close[0], [100, 110, 99, 99])


def test_nothing_newer_than_a_bar_is_in_the_stand_in() -> None:
    random = np.random.default_rng(3)
    close = 50 + random.normal(size=(5, 40)).cumsum(axis=1)
    bars = Panel(tuple("ABCDE"), np.arange(40).astype("datetime64[D]"), close, close + 1, close - 1, close, close)
    cut = equal_weight(bars.window(bars.dates[24].item()))
    np.testing.assert_array_equal(cut.close[0], equal_weight(bars).close[0, :25])

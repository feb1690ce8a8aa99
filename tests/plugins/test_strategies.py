"""The built-in strategies: the contract, a slow calculation from the table of conditions, and ten real years."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugins import reference
from pydantic import ValidationError

from autotrader.core.indicators import Series
from autotrader.core.panel import Panel
from autotrader.core.strategy import Strategy
from autotrader.market.bars import load_daily
from autotrader.plugins.strategies.adx_pullback import AdxPullback
from autotrader.plugins.strategies.bb_squeeze import BbSqueeze
from autotrader.plugins.strategies.contract import StrategyContract
from autotrader.plugins.strategies.overbought_short import OverboughtShort
from autotrader.plugins.strategies.regime_momentum import RegimeMomentum
from autotrader.plugins.strategies.rsi_mean_reversion import RsiMeanReversion
from autotrader.plugins.strategies.rules import RulesStrategy
from autotrader.rules.expression import ExpressionError
from autotrader.vocabulary import Indicator

Made = Callable[[], Strategy]
SLOW = {
    RsiMeanReversion: reference.rsi_mean_reversion,
    BbSqueeze: reference.bb_squeeze,
    AdxPullback: reference.adx_pullback,
    OverboughtShort: reference.overbought_short,
    RegimeMomentum: reference.regime_momentum,
}
FIVE: list[Any] = list(SLOW)

# The five again, in YAML's terms; what needs the bar before is declared as an indicator.
AS_RULES: dict[Any, dict[str, dict[str, str]]] = {
    RsiMeanReversion: {
        "long": {
            "when": "rsi < 30 and pct_b < 0.05 and adx < 25",
            "strength": "clip((30 - rsi) / 15, 0, 1) / 2 + clip((0.05 - pct_b) / 0.5, 0, 1) / 2",
        },
        "short": {
            "when": "rsi > 75 and pct_b > 0.95 and adx < 25",
            "strength": "clip((rsi - 75) / 15, 0, 1) / 2 + clip((pct_b - 0.95) / 0.5, 0, 1) / 2",
        },
    },
    AdxPullback: {
        "long": {
            "when": "adx > 25 and ema_fast > ema_slow and rsi <= 50 and close > ema_slow",
            "strength": "clip((adx - 25) / 25, 0, 1) / 2 + clip((50 - rsi) / 10, 0, 1) / 2",
        },
    },
    RegimeMomentum: {
        "long": {
            "when": "adx >= 25 and bb_width_ratio >= 1.3 and return_20 > 0 and 50 <= rsi <= 70"
            " and ema_fast > ema_slow and atr / close < 3%",
            "strength": "clip(return_20 / 0.2, 0, 1) / 2 + clip((adx - 25) / 25, 0, 1) / 2",
        },
    },
}


class TestRsiMeanReversion(StrategyContract):
    def make_strategy(self) -> Strategy:
        return RsiMeanReversion(RsiMeanReversion.Params())


class TestBbSqueeze(StrategyContract):
    def make_strategy(self) -> Strategy:
        return BbSqueeze(BbSqueeze.Params())


class TestAdxPullback(StrategyContract):
    def make_strategy(self) -> Strategy:
        return AdxPullback(AdxPullback.Params())


class TestOverboughtShort(StrategyContract):
    def make_strategy(self) -> Strategy:
        return OverboughtShort(OverboughtShort.Params())


class TestRegimeMomentum(StrategyContract):
    def make_strategy(self) -> Strategy:
        return RegimeMomentum(RegimeMomentum.Params())


class TestRules(StrategyContract):
    params = AS_RULES[RsiMeanReversion]

    def make_strategy(self) -> Strategy:
        return RulesStrategy(RulesStrategy.Params(**self.params))


class TestRulesWithOr(StrategyContract):
    params = {"long": {"when": "rsi < 30 or adx > 40", "strength": "dollar_volume_rank"}}  # noqa: RUF012
    needs_all = False

    def make_strategy(self) -> Strategy:
        return RulesStrategy(RulesStrategy.Params(**self.params))


@pytest.fixture(scope="session")
def ten_years(real_data: Path) -> Series:
    return Series(load_daily(real_data / "sp500_daily.parquet"), StrategyContract.indicators)


@pytest.fixture(scope="session")
def some_bars(real_data: Path) -> Series:
    days = {"first": date(2012, 10, 1), "last": date(2013, 12, 15)}
    panel = load_daily(real_data / "sp500_daily.parquet", reference.SYMBOLS, **days)
    return Series(panel, StrategyContract.indicators)


def found(strategy: Strategy, series: Any) -> dict[tuple[int, int, str], float]:
    out = {}
    for fired in strategy.signals(series):
        for row, t, strength in zip(*np.nonzero(fired.where), fired.strength, strict=True):
            out[int(row), int(t), fired.direction] = float(strength)
    return out


def expected(slow: Any, names: tuple[str, ...], series: Any) -> dict[tuple[int, int, str], float]:
    values = {name: series[name].tolist() for name in names}
    nothing = dict.fromkeys(names, reference.NAN)
    out = {}
    for row in range(len(series[names[0]])):
        before = nothing
        for t in range(series[names[0]].shape[1]):
            bar = {name: values[name][row][t] for name in names}
            for direction, strength in slow(before, bar):
                out[row, t, direction] = strength
            before = bar
    return out


def assert_same(fast: dict[tuple[int, int, str], float], slow: dict[tuple[int, int, str], float]) -> None:
    assert fast.keys() == slow.keys()
    for key, strength in slow.items():
        assert fast[key] == pytest.approx(strength, rel=1e-12, abs=1e-12), key


@pytest.mark.parametrize("strategy", FIVE)
def test_real_bars_fire_where_the_conditions_say(strategy: Any, some_bars: Series) -> None:
    made = strategy(strategy.Params())
    assert_same(found(made, some_bars), expected(SLOW[strategy], made.reads, some_bars))


# On, next to and far from every threshold; the bar before counts, so many bars are needed to meet every pair.
EDGES: dict[str, list[float]] = {
    "rsi": [29, 30, 31, 49, 50, 51, 70, 71, 75, 76, 90],
    "adx": [20, 22, 24, 25, 26, 27, 30, 50],
    "pct_b": [-0.9, -0.1, 0, 0.04, 0.05, 0.06, 0.94, 0.95, 0.96, 1, 1.1, 1.9],
    "bb_width_ratio": [0.7, 0.75, 0.8, 1.2, 1.3, 1.4],
    "return_20": [-0.1, 0, 0.1, 0.3],
    "atr": [0.05, 0.06, 0.09, 0.2],
    "ema_fast": [1, 2, 3],
    "ema_slow": [1, 2, 3],
    "close": [0, 1, 2, 3],
}


@pytest.mark.parametrize("strategy", FIVE)
@pytest.mark.parametrize("unknown", [0.0, 0.1])
def test_values_at_the_thresholds_fire_where_the_conditions_say(strategy: Any, unknown: float) -> None:
    random, made, shape = np.random.default_rng(5), strategy(strategy.Params()), (20, 2000)
    series = {name: random.choice(EDGES[name], shape).astype(np.float64) for name in made.reads}
    for values in series.values():
        values[random.random(shape) < unknown] = np.nan
    slow = expected(SLOW[strategy], made.reads, series)
    assert len(slow) > 20
    assert_same(found(made, series), slow)


def test_ten_years_of_signals_are_as_counted(ten_years: Series) -> None:
    counts = {
        (strategy.__name__, fired.direction): int(np.count_nonzero(fired.where))
        for strategy in FIVE
        for fired in strategy(strategy.Params()).signals(ten_years)
    }
    assert counts == {
        ("RsiMeanReversion", "long"): 6986,
        ("RsiMeanReversion", "short"): 2624,
        ("BbSqueeze", "long"): 178,
        ("BbSqueeze", "short"): 65,
        ("AdxPullback", "long"): 365,
        ("OverboughtShort", "short"): 845,
        ("RegimeMomentum", "long"): 32452,
    }


@pytest.mark.parametrize("strategy", list(AS_RULES))
def test_the_same_conditions_in_yaml_fire_the_same(strategy: Any, ten_years: Series) -> None:
    in_python = strategy(strategy.Params()).signals(ten_years)
    in_yaml = RulesStrategy(RulesStrategy.Params(**AS_RULES[strategy])).signals(ten_years)
    for one, other in zip(in_yaml, in_python, strict=True):
        assert one.direction == other.direction
        np.testing.assert_array_equal(one.where, other.where)
        np.testing.assert_allclose(one.strength, other.strength, rtol=1e-12)


# --- parameters -----------------------------------------------------------------------------------------------------


def test_the_defaults_are_the_agreed_numbers() -> None:
    assert {strategy.__name__: strategy.Params().model_dump() for strategy in FIVE} == {
        "RsiMeanReversion": {
            "rsi": {"long": 30, "short": 75},
            "pct_b": {"long": 0.05, "short": 0.95},
            "adx_max": 25,
            "strength": {"rsi_span": 15, "pct_b_span": 0.5},
        },
        "BbSqueeze": {
            "squeeze_ratio": 0.75,
            "adx_rise": 2.0,
            "pct_b": {"long": 1.0, "short": 0.0},
            "strength": {"pct_b_span": 0.5, "adx_rise_span": 4},
        },
        "AdxPullback": {"adx_min": 25, "rsi_max": 50, "strength": {"adx_span": 25, "rsi_span": 10}},
        "OverboughtShort": {
            "rsi_min": 75,
            "pct_b_min": 0.95,
            "adx_max": 25,
            "strength": {"rsi_span": 15, "pct_b_span": 0.5},
        },
        "RegimeMomentum": {
            "adx_min": 25,
            "width_ratio_min": 1.3,
            "return_min": 0.0,
            "rsi_min": 50,
            "rsi_max": 70,
            "atr_pct_max": 0.03,
            "strength": {"return_span": 0.2, "adx_span": 25},
        },
    }


def numbers(model: dict[str, Any], at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    return [
        path
        for key, value in model.items()
        for path in (numbers(value, (*at, key)) if isinstance(value, dict) else [(*at, key)])
    ]


@pytest.mark.parametrize(
    ("strategy", "path"),
    [(strategy, path) for strategy in FIVE for path in numbers(strategy.Params().model_dump())],
    ids=lambda x: x.__name__ if isinstance(x, type) else ".".join(x),
)
def test_every_parameter_has_an_effect(strategy: Any, path: tuple[str, ...], ten_years: Series) -> None:
    """Each number, moved a little, changes which signals there are or how strong they are."""
    recent = {name: ten_years[name][:, -1000:] for name in strategy.reads}
    changed = strategy.Params().model_dump()
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = place[path[-1]] * 0.9 + 0.01
    before = strategy(strategy.Params()).signals(recent)
    after = strategy(strategy.Params(**changed)).signals(recent)
    assert any(
        not np.array_equal(a.where, b.where) or not np.array_equal(a.strength, b.strength)
        for a, b in zip(before, after, strict=True)
    )


@pytest.mark.parametrize("bad", [{"adx_max": "25"}, {"adx_max": True}, {"adx_max": float("nan")}, {"adx_max": 101}])
def test_a_parameter_that_is_no_sensible_number_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RsiMeanReversion.Params(**bad)
    with pytest.raises(ValidationError):
        RsiMeanReversion.Params(strength={"rsi_span": 0})


def test_a_side_without_a_threshold_never_fires(some_bars: Series) -> None:
    params = RsiMeanReversion.Params(rsi={"long": 45})
    assert [fired.direction for fired in RsiMeanReversion(params).signals(some_bars)] == ["long"]
    params = BbSqueeze.Params(pct_b={"short": 0.0})
    assert [fired.direction for fired in BbSqueeze(params).signals(some_bars)] == ["short"]


# --- strategies in YAML ---------------------------------------------------------------------------------------------


def rules(**side: Any) -> RulesStrategy:
    return RulesStrategy(RulesStrategy.Params(long=side))


def test_a_rule_of_true_fires_wherever_there_is_a_bar() -> None:
    strategy = rules(when=True, strength=0.25)
    assert strategy.reads == ("close",)
    (fired,) = strategy.signals({"close": np.array([[1.0, np.nan], [2.0, 3.0]])})
    assert fired.where.tolist() == [[True, False], [True, True]]
    assert fired.strength.tolist() == [0.25] * 3


def test_a_strength_is_clipped_and_an_unknown_one_does_not_fire() -> None:
    strategy = rules(when="close > 1", strength="change / 10")
    assert strategy.reads == ("close", "change")
    (fired,) = strategy.signals(
        {"close": np.array([[2.0, 2, 2, 0, 2]]), "change": np.array([[50.0, np.nan, -3, 5, 5]])}
    )
    assert fired.where.tolist() == [[True, False, True, False, True]]
    assert fired.strength.tolist() == [1.0, 0.0, 0.5]


def test_a_rule_over_the_market_alone_fires_for_every_symbol() -> None:
    market = np.broadcast_to(np.array([1.0, 2.0, 3.0]), (2, 3))
    value = np.array([[0, 0.5, 1], [0, np.nan, 0.25]])
    (fired,) = rules(when="market > 1", strength="value").signals({"market": market, "value": value})
    assert fired.where.tolist() == [[False, True, True], [False, False, True]]
    assert fired.strength.tolist() == [0.5, 1.0, 0.25]


def test_a_rule_that_is_no_condition_is_refused() -> None:
    for when in ("rsi", "rsi <", "rsi = 3", "min > 3"):
        with pytest.raises(ExpressionError):
            rules(when=when, strength=1)
    with pytest.raises(ExpressionError):
        rules(when="rsi < 3", strength="rsi < 3")


def test_a_strategy_with_neither_side_is_refused() -> None:
    with pytest.raises(ValidationError, match="long or a short"):
        RulesStrategy.Params()


def test_a_rule_may_use_the_strategys_own_series() -> None:
    series = Series(Panel(("A",), np.array(["2020-01-01", "2020-01-02"], "M8[D]"), *[np.array([[1.0, 2.0]])] * 5), [])
    own = series.extended([Indicator("step", "change")])
    (fired,) = rules(when="step > 0", strength="step").signals(own)
    assert fired.where.tolist() == [[False, True]]


def test_parameters_are_checked_without_numpy() -> None:
    modules = [strategy.__module__ for strategy in (*FIVE, RulesStrategy)]
    heavy = {"numpy", "pandas", "talib", "simpleeval"}
    code = f"import sys, {', '.join(modules)}; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

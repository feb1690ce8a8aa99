"""The report's metrics against hand calculations and against an independent library."""

from __future__ import annotations

import math
import warnings
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from autotrader.backtest import metrics
from autotrader.backtest.output import by_group, document

from .worlds import configure, market, run

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its optional imports
    import empyrical

CURVES = [np.cumsum(np.random.default_rng(seed).normal(0.02, 1.0, 700)) + 100.0 for seed in range(5)]


# --- against the library ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("curve", CURVES)
def test_return_and_risk_are_what_an_independent_library_says(curve: np.ndarray) -> None:
    r = metrics.returns(curve, 100.0)
    depth = float(metrics.drawdowns(curve, 100.0).max())
    ours = {
        "total": metrics.total_return(r),
        "cagr": metrics.cagr(r),
        "volatility": metrics.volatility(r),
        "sharpe": metrics.sharpe(r),
        "sortino": metrics.sortino(r),
        "drawdown": -depth,
        "calmar": metrics.calmar(r, depth),
    }
    theirs = {
        "total": empyrical.cum_returns_final(r),
        "cagr": empyrical.annual_return(r, period="daily"),
        "volatility": empyrical.annual_volatility(r),
        "sharpe": empyrical.sharpe_ratio(r),
        "sortino": empyrical.sortino_ratio(r),
        "drawdown": empyrical.max_drawdown(r),
        "calmar": empyrical.calmar_ratio(r),
    }
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_the_metrics_of_a_whole_run_are_what_the_library_makes_of_its_equity(tmp_path: Path) -> None:
    found = run(configure(tmp_path), market(40, date(2017, 1, 3), date(2019, 12, 31)), date(2018, 1, 2))
    measured = document(found, feed="test")["metrics"]
    r = np.diff(np.concatenate(([found.cash], found.equity))) / np.concatenate(([found.cash], found.equity[:-1]))
    b = np.diff(np.concatenate(([found.cash], found.benchmark)))
    b /= np.concatenate(([found.cash], found.benchmark[:-1]))
    assert measured["closed_trades"] > 50
    theirs = {
        "total_return": found.equity[-1] / found.cash - 1,
        "cagr": empyrical.annual_return(r),
        "volatility": empyrical.annual_volatility(r),
        "sharpe": empyrical.sharpe_ratio(r),
        "sortino": empyrical.sortino_ratio(r),
        "max_drawdown": -empyrical.max_drawdown(r),
        "calmar": empyrical.calmar_ratio(r),
        "benchmark_cagr": empyrical.annual_return(b),
        "benchmark_volatility": empyrical.annual_volatility(b),
        "benchmark_sharpe": empyrical.sharpe_ratio(b),
        "benchmark_max_drawdown": -empyrical.max_drawdown(b),
    }
    assert {key: measured[key] for key in theirs} == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_months_and_years_compound_to_the_whole(seed: int) -> None:
    days = [date(2019, 1, 2) + np.timedelta64(7 * i, "D").astype(object) for i in range(100)]
    r = np.random.default_rng(seed).normal(0, 0.02, 100)
    monthly = metrics.monthly_returns(days, r)
    assert math.prod(1 + value for value in monthly.values()) == pytest.approx(np.prod(1 + r))
    for year, value in metrics.yearly_returns(monthly).items():
        assert value == pytest.approx(np.prod([1 + x for day, x in zip(days, r, strict=True) if day.year == year]) - 1)
    march = [x for day, x in zip(days, r, strict=True) if (day.year, day.month) == (2019, 3)]
    assert monthly[2019, 3] == pytest.approx(np.prod([1 + x for x in march]) - 1)


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_returns_begin_at_the_initial_cash() -> None:
    np.testing.assert_allclose(metrics.returns(np.array([110.0, 99.0, 99.0]), 100.0), [0.10, -0.10, 0.0])


def test_growth_volatility_and_ratios_of_four_sessions() -> None:
    r = np.array([0.01, -0.02, 0.03, 0.0])
    mean, deviation = 0.005, math.sqrt(((0.005) ** 2 + 0.025**2 + 0.025**2 + 0.005**2) / 3)
    assert metrics.total_return(r) == pytest.approx(1.01 * 0.98 * 1.03 - 1)
    assert metrics.cagr(r) == pytest.approx((1.01 * 0.98 * 1.03) ** 63 - 1)
    assert metrics.volatility(r) == pytest.approx(deviation * math.sqrt(252))
    assert metrics.sharpe(r) == pytest.approx(mean / deviation * math.sqrt(252))
    assert metrics.sortino(r) == pytest.approx(mean / math.sqrt(0.02**2 / 4) * math.sqrt(252))


def test_a_drawdown_is_measured_from_the_peak_before_it_and_the_initial_cash_is_one() -> None:
    falls = metrics.drawdowns(np.array([90.0, 120.0, 60.0, 90.0, 130.0, 117.0]), 100.0)
    np.testing.assert_allclose(falls, [0.10, 0.0, 0.5, 0.25, 0.0, 0.10])
    deepest = metrics.deepest_drawdown(falls)
    assert deepest == metrics.Drawdown(depth=0.5, peak=1, trough=2, regained=4)
    assert metrics.longest_drawdown(falls) == 2


def test_a_drawdown_from_the_start_that_never_ends() -> None:
    falls = metrics.drawdowns(np.array([99.0, 80.0, 90.0]), 100.0)
    assert metrics.deepest_drawdown(falls) == metrics.Drawdown(pytest.approx(0.2), -1, 1, None)
    assert metrics.longest_drawdown(falls) == 3


def test_a_curve_that_never_falls_has_no_drawdown_and_no_ratio_to_one() -> None:
    curve = np.array([100.0, 101.0, 103.0])
    assert metrics.deepest_drawdown(metrics.drawdowns(curve, 100.0)) is None
    assert metrics.calmar(metrics.returns(curve, 100.0), 0.0) is None
    assert metrics.sortino(metrics.returns(curve, 100.0)) is None


def test_a_flat_curve_has_no_sharpe() -> None:
    r = metrics.returns(np.full(10, 100.0), 100.0)
    assert metrics.sharpe(r) is None
    assert metrics.sharpe(np.full(100, 0.1 + 0.2)) is None, "rounding is no risk"
    assert (metrics.volatility(r), metrics.total_return(r)) == (0.0, 0.0)


def test_no_session_at_all_has_no_metric() -> None:
    nothing = np.empty(0)
    for metric in (metrics.total_return, metrics.cagr, metrics.volatility, metrics.sharpe, metrics.sortino):
        assert metric(nothing) is None, metric.__name__
    assert metrics.exposure(nothing, nothing) is None
    assert metrics.turnover(0.0, nothing) is None
    assert metrics.longest_drawdown(nothing) == 0


def test_an_account_that_is_lost_has_no_compound_growth() -> None:
    assert metrics.cagr(metrics.returns(np.array([50.0, -1.0]), 100.0)) is None


def test_trades_hit_rate_profit_factor_and_expectancy() -> None:
    pnl = np.array([100.0, -50.0, 200.0, 0.0, -50.0])
    assert metrics.hit_rate(pnl) == pytest.approx(0.4), "a trade that ends at nothing is no hit"
    assert metrics.profit_factor(pnl) == pytest.approx(3.0)
    assert metrics.mean(np.array([1.0, -1.0, 4.0, 0.0, np.nan])) == pytest.approx(1.0), "what is unknown is left out"
    assert metrics.profit_factor(np.array([1.0])) is None
    assert metrics.hit_rate(np.empty(0)) is None


def test_exposure_and_turnover() -> None:
    equity = np.array([100.0, 200.0])
    assert metrics.exposure(np.array([50.0, 0.0]), equity) == pytest.approx(0.25)
    assert metrics.turnover(600.0, equity) == pytest.approx(600 / 2 / 150 * 252 / 2)


def test_a_run_counts_its_trades_as_one_would_with_its_list_in_hand(tmp_path: Path) -> None:
    content = document(run(configure(tmp_path), market(40, date(2017, 1, 3), date(2018, 12, 31))), feed="test")
    measured, trades = content["metrics"], content["trades"]
    closed = [trade for trade in trades if trade["pnl"] is not None]
    assert len(closed) > 50
    wins = [t["pnl"] for t in closed if t["pnl"] > 0]
    losses = [t["pnl"] for t in closed if t["pnl"] < 0]
    assert measured["closed_trades"] == len(closed)
    assert measured["open_trades"] == len(trades) - len(closed)
    assert measured["hit_rate"] == pytest.approx(len(wins) / len(closed))
    assert measured["profit_factor"] == pytest.approx(sum(wins) / -sum(losses))
    assert measured["average_win"] == pytest.approx(sum(wins) / len(wins))
    assert measured["average_loss"] == pytest.approx(sum(losses) / len(losses))
    for trade in closed:
        sign = 1 if trade["direction"] == "long" else -1
        gross = (trade["exit_price"] - trade["entry_price"]) * sign * trade["quantity"]
        assert trade["pnl"] == pytest.approx(gross - trade["costs"])
        assert trade["r"] == pytest.approx(trade["pnl"] / trade["risk"])
        assert trade["mae"] <= min(0.0, gross) + 1e-6
        assert trade["mfe"] >= max(0.0, gross) - 1e-6
    assert measured["expectancy_r"] == pytest.approx(sum(t["r"] for t in closed) / len(closed))
    assert measured["expectancy"] == pytest.approx(sum(t["pnl"] for t in closed) / len(closed))
    final = content["initial_cash"] + sum(t["pnl"] for t in closed)
    final += sum(t["marked_gain"] for t in trades if t["pnl"] is None)
    assert content["final_equity"] == pytest.approx(final)
    by_strategy = by_group(trades, lambda row: row["strategy"])
    assert sum(group["trades"] for group in by_strategy) == len(closed)
    assert sum(group["pnl"] for group in by_strategy) == pytest.approx(measured["pnl"])

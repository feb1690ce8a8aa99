"""The market that is made up: the same bars in every window, and a market to a trader's eye."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.clock import Calendar
from autotrader.core.panel import FIELDS, Array, Panel
from autotrader.market.feed import FeedError
from autotrader.market.synthetic import FIRST_SESSION, INDEX, synthetic_panel
from autotrader.market.universe import load_universe

CALENDAR = Calendar()
UNIVERSE = (*(member.symbol for member in load_universe()), INDEX)
SEEDS = (0, 7)


def same(one: Panel, other: Panel) -> None:
    assert one.symbols == other.symbols
    np.testing.assert_array_equal(one.dates, other.dates)
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field), err_msg=field)


@pytest.fixture(scope="module")
def short() -> Panel:
    """The whole universe over the first 18 months."""
    return synthetic_panel(UNIVERSE, FIRST_SESSION, date(2013, 6, 28), 7, CALENDAR)


@pytest.fixture(scope="module", params=SEEDS)
def long(request: pytest.FixtureRequest) -> Iterator[Panel]:
    """The whole universe over the eight years before 2026, for two seeds."""
    return synthetic_panel(UNIVERSE, date(2018, 1, 2), date(2025, 12, 31), request.param, CALENDAR)


@settings(max_examples=40, deadline=None)
@given(
    symbols=st.lists(st.sampled_from(UNIVERSE), min_size=1, max_size=12, unique=True),
    start=st.integers(0, 370),
    length=st.integers(1, 370),
)
def test_a_bar_is_the_same_in_every_window_and_any_company(
    short: Panel, symbols: list[str], start: int, length: int
) -> None:
    end = min(start + length, short.sessions) - 1
    first, last = short.dates[start].item(), short.dates[end].item()
    same(short.select(symbols).window(last, end - start + 1), synthetic_panel(symbols, first, last, 7, CALENDAR))


def test_another_seed_is_another_market(short: Panel) -> None:
    other = synthetic_panel(UNIVERSE, FIRST_SESSION, date(2013, 6, 28), 8, CALENDAR)
    assert (other.close != short.close).mean() > 0.99
    assert abs(np.corrcoef(returns(other)[-1], returns(short)[-1])[0, 1]) < 0.2


def test_every_symbol_has_a_bar_on_every_session(short: Panel) -> None:
    assert short.dates.tolist() == CALENDAR.sessions(FIRST_SESSION, date(2013, 6, 28))
    for field in FIELDS:
        values = getattr(short, field)
        assert np.isfinite(values).all()
        assert values.flags.c_contiguous


def test_symbols_outside_the_universe_are_rows_of_nan() -> None:
    panel = synthetic_panel(("ZZZZ", "AAPL", "YYYY"), FIRST_SESSION, date(2012, 1, 31), 7, CALENDAR)
    assert np.isnan(panel.close).all(axis=1).tolist() == [True, False, True]
    assert np.isnan(synthetic_panel(("ZZZZ",), FIRST_SESSION, date(2012, 1, 31), 7, CALENDAR).volume).all()


def test_the_market_begins_in_2012_and_says_so() -> None:
    with pytest.raises(FeedError, match="begins on 2012-01-03, 2012-01-02 lies before it"):
        synthetic_panel(("AAPL",), FIRST_SESSION - timedelta(days=1), date(2012, 1, 31), 7, CALENDAR)


def test_a_range_without_a_session_is_a_panel_without_columns() -> None:
    assert synthetic_panel(("AAPL",), date(2012, 1, 7), date(2012, 1, 8), 7, CALENDAR).close.shape == (1, 0)


def test_prices_and_volumes_are_those_of_an_exchange(long: Panel) -> None:
    assert (long.low <= np.minimum(long.open, long.close)).all()
    assert (np.maximum(long.open, long.close) <= long.high).all()
    for field in FIELDS[:4]:
        prices = getattr(long, field)
        np.testing.assert_array_equal(prices, np.round(prices, 2))
    assert np.mean((long.close < 5) | (long.close > 1000)) < 0.01
    assert long.low.min() > 1
    assert (long.volume == np.rint(long.volume)).all()
    traded = np.median(long.close * long.volume, axis=1)
    assert traded.min() > 1e6
    assert traded[-1] == traded.max(), "SPY is traded most"


def returns(panel: Panel) -> Array:
    """Log returns from close to close, [S, T - 1]."""
    return np.diff(np.log(panel.close), axis=1)


def test_returns_have_the_properties_of_stocks(long: Panel) -> None:
    found = returns(long)[:-1]
    volatility = found.std(axis=1)
    assert np.quantile(volatility, 0.02) > 0.01
    assert np.quantile(volatility, 0.95) < 0.035
    tails = np.median(((found - found.mean(axis=1, keepdims=True)) ** 4).mean(axis=1) / volatility**4)
    assert 6 < tails < 30
    size = np.abs(found) - np.abs(found).mean(axis=1, keepdims=True)
    for lag, least in ((1, 0.08), (5, 0.05), (20, 0.01)):
        clusters = (size[:, lag:] * size[:, :-lag]).mean(axis=1) / (size**2).mean(axis=1)
        assert np.median(clusters) > least, f"absolute returns at lag {lag}"
    together = np.corrcoef(found)
    count = len(together)
    assert 0.2 < (together.sum() - count) / (count * (count - 1)) < 0.4
    gaps = np.log(long.open[:-1, 1:] / long.close[:-1, :-1])
    assert 0.2 < np.median(gaps.var(axis=1) / volatility**2) < 0.5


def test_stocks_of_one_sector_move_together_more_than_others(long: Panel) -> None:
    together = np.corrcoef(returns(long)[:-1])
    sectors = np.array([member.sector for member in load_universe()])
    one = sectors[:, np.newaxis] == sectors
    other = ~one
    np.fill_diagonal(one, val=False)
    assert together[one].mean() > together[other].mean() + 0.05


def test_the_index_is_the_market(long: Panel) -> None:
    found = returns(long)
    assert np.corrcoef(found[-1], found[:-1].mean(axis=0))[0, 1] > 0.9
    assert 0.006 < found[-1].std() < 0.016
    assert found[-1].std() < np.quantile(found[:-1].std(axis=1), 0.05)


def test_a_crisis_comes_now_and_then(long: Panel) -> None:
    atr = talib.ATR(long.high[-1], long.low[-1], long.close[-1], 14)[14:] / long.close[-1, 14:]
    assert 0 < np.mean(atr > 0.03) < 0.2
    assert 0.008 < np.median(atr) < 0.02


def signals(panel: Panel) -> dict[str, int]:
    """How often each default strategy's entry condition holds, one symbol at a time."""
    count = dict.fromkeys(("mean_long", "mean_short", "squeeze", "pullback", "overbought", "momentum"), 0)
    for high, low, close in zip(panel.high, panel.low, panel.close, strict=True):
        rsi, adx = talib.RSI(close, 14), talib.ADX(high, low, close, 14)
        upper, middle, lower = talib.BBANDS(close, 20, 2.0, 2.0)
        width, pct_b = (upper - lower) / middle, (close - lower) / (upper - lower)
        ratio = width / np.concatenate([np.full(19, np.nan), talib.SMA(width[19:], 20)])
        fast, slow = talib.EMA(close, 8), talib.EMA(close, 21)
        now, before = slice(60, None), slice(59, -1)  # past every warm-up
        up = fast[now] > slow[now]
        calm = adx[now] < 25
        rise = adx[now] - adx[before]
        change = close[now] / close[40:-20] - 1
        quiet = talib.ATR(high, low, close, 14)[now] / close[now] < 0.03
        mean = (rsi[now] >= 50) & (rsi[now] <= 70)
        overbought = (rsi[before] > 75) & (pct_b[before] > 0.95)
        fired = {
            "mean_long": (rsi[now] < 30) & (pct_b[now] < 0.05) & calm,
            "mean_short": (rsi[now] > 75) & (pct_b[now] > 0.95) & calm,
            "squeeze": (ratio[now] <= 0.75) & (rise >= 2) & ((pct_b[now] > 1) | (pct_b[now] < 0)),
            "pullback": (adx[now] > 25) & up & (rsi[now] <= 50) & (close[now] > slow[now]),
            "overbought": overbought & calm & (close[now] < close[before]),
            "momentum": (adx[now] >= 25) & (ratio[now] >= 1.3) & (change > 0) & mean & up & quiet,
        }
        for name, flags in fired.items():
            count[name] += int(flags.sum())
    return count


@pytest.mark.parametrize("year", [2019, 2025])
def test_every_strategy_finds_its_entries_within_a_year(long: Panel, year: int) -> None:
    end = int(np.searchsorted(long.dates, np.datetime64(f"{year}-12-31"), side="right"))
    days = CALENDAR.sessions(date(year, 1, 1), date(year, 12, 31))
    found = signals(long.select(UNIVERSE[:-1]).window(long.dates[end - 1].item(), len(days) + 60))
    assert min(found.values()) >= 3, found
    assert found["momentum"] > found["mean_long"] > found["squeeze"], found

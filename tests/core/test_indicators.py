"""Every kind of indicator against a slow calculation from its definition, and what is unknown stays unknown."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from plugins import reference

from autotrader.core.indicators import Series
from autotrader.core.panel import FIELDS, Array, Mask, Panel
from autotrader.market.bars import load_daily
from autotrader.vocabulary import INDICATOR_KINDS, Indicator

Rows = dict[str, list[float]]
SLOW: dict[str, Callable[[Rows, list[float], Indicator], list[float]]] = {
    "rsi": lambda bars, of, i: reference.rsi(bars["close"], i.length),
    "adx": lambda bars, of, i: reference.adx(bars["high"], bars["low"], bars["close"], i.length),
    "atr": lambda bars, of, i: reference.atr(bars["high"], bars["low"], bars["close"], i.length),
    "bollinger_width": lambda bars, of, i: reference.bollinger_width(of, i.length, i.width),
    "bollinger_pct_b": lambda bars, of, i: reference.bollinger_pct_b(of, i.length, i.width),
    "sma": lambda bars, of, i: reference.mean(of, i.length),
    "ema": lambda bars, of, i: reference.ema(of, i.length),
    "prev": lambda bars, of, i: reference.prev(of, i.length),
    "change": lambda bars, of, i: reference.change(of, i.length),
    "return": lambda bars, of, i: reference.returned(of, i.length),
    "highest": lambda bars, of, i: reference.highest(of, i.length),
    "lowest": lambda bars, of, i: reference.lowest(of, i.length),
    "mean": lambda bars, of, i: reference.mean(of, i.length),
    "ratio_to_mean": lambda bars, of, i: reference.ratio_to_mean(of, i.length),
}


def panel_of(close: Array | list[list[float]], **fields: Array) -> Panel:
    """Bars that stand still within the day, but for the fields given."""
    rows = np.array(close, dtype=np.float64)
    rows = rows.reshape(rows.shape if rows.ndim == 2 else (1, -1))
    dates = np.datetime64("2020-01-01", "D") + np.arange(rows.shape[1])
    all_fields = {**dict.fromkeys(FIELDS[:4], rows), "volume": np.full(rows.shape, 1000.0), **fields}
    return Panel(tuple(f"S{i}" for i in range(rows.shape[0])), dates, **all_fields)


def one(close: list[float], indicator: Indicator) -> Array:
    return Series(panel_of([close]), [indicator])[indicator.name][0]


def slow(panel: Panel, indicator: Indicator) -> Array:
    rows = []
    for row in range(len(panel.symbols)):
        bars = {field: getattr(panel, field)[row].tolist() for field in FIELDS}
        bars = {field: [x if math.isfinite(x) else math.nan for x in values] for field, values in bars.items()}
        rows.append(SLOW[indicator.kind](bars, bars[indicator.of], indicator))
    return np.array(rows).reshape(panel.close.shape)


def specimens() -> list[Indicator]:
    """Each kind with its usual length, one that is a power of two, and the shortest."""
    found = []
    for kind in INDICATOR_KINDS.values():
        if kind.name == "universe_rank":
            continue
        least = 2 if kind.name in {"rsi", "adx"} else 1
        usual = 14 if kind.reads == "bars" else 20
        found += [Indicator(f"{kind.name}_{n}", kind.name, length=n) for n in (usual, 16, least, 21)]
    return [*found, Indicator("volume_mean", "mean", of="volume", length=20)]


@pytest.fixture(scope="session")
def bars(real_data: Path) -> Panel:
    return load_daily(
        real_data / "sp500_daily.parquet", reference.SYMBOLS, first=date(2012, 10, 1), last=date(2013, 12, 15)
    )


def test_every_kind_is_computed(bars: Panel) -> None:
    assert {i.kind for i in specimens()} | {"universe_rank"} == set(INDICATOR_KINDS)


@pytest.mark.parametrize("indicator", specimens(), ids=lambda i: i.name)
def test_real_bars_give_what_the_definition_says(bars: Panel, indicator: Indicator) -> None:
    assert np.isnan(bars.close).any(), "ZTS begins within the range"
    fast = Series(bars, [indicator])[indicator.name]
    assert fast.shape == bars.close.shape
    assert fast.dtype == np.float64
    np.testing.assert_allclose(fast, slow(bars, indicator), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("indicator", specimens(), ids=lambda i: i.name)
def test_the_first_value_comes_after_the_declared_warm_up(bars: Panel, indicator: Indicator) -> None:
    row = Series(bars, [indicator])[indicator.name][0]
    warmup = INDICATOR_KINDS[indicator.kind].warmup(indicator)
    if indicator.kind.startswith("bollinger_pct") and indicator.length == 1:
        assert np.isnan(row).all()  # one bar is a flat window
    else:
        assert np.isnan(row[:warmup]).all()
        assert np.isfinite(row[warmup:]).all()


prices = st.floats(0.01, 5000, allow_nan=False).map(lambda x: round(x, 2))
odd = st.one_of(prices, prices, prices, st.just(math.nan), st.just(math.inf), st.just(10.0), st.just(10.0))


@settings(max_examples=150, deadline=None)
@given(
    closes=st.lists(odd, min_size=1, max_size=60),
    spreads=st.lists(st.floats(0, 0.2), min_size=60, max_size=60),
    kind=st.sampled_from(sorted(SLOW)),
    length=st.integers(2, 12),
)
@example(closes=[10.0] * 40, spreads=[0.0] * 60, kind="bollinger_pct_b", length=7)
@example(closes=[*range(1, 15), math.nan, *range(1, 30)], spreads=[0.1] * 60, kind="rsi", length=5)
def test_any_bars_with_holes_give_what_the_definition_says(
    closes: list[float], spreads: list[float], kind: str, length: int
) -> None:
    close = np.array([closes])
    spread = np.array([spreads[: len(closes)]])
    panel = panel_of(close, high=close * (1 + spread), low=close * (1 - spread / 2))
    indicator = Indicator("x", kind, length=length)
    fast, expected = Series(panel, [indicator])["x"], slow(panel, indicator)
    np.testing.assert_allclose(fast, expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=150, deadline=None)
@given(
    days=st.lists(
        st.lists(
            st.sampled_from([math.nan, -math.nan, -2.0, -7.0, 0.0, -0.0, 1.0, 1.0 + 2**-52, 7.5]),
            min_size=7,
            max_size=7,
        )
    ),
    usable=st.lists(st.booleans(), min_size=7, max_size=7),
)
def test_ranks_are_shared_by_equal_values_and_by_usable_symbols_only(
    days: list[list[float]], usable: list[bool]
) -> None:
    close = np.array(days).reshape(-1, 7).T.copy()
    mask: Mask = np.repeat(np.array(usable)[:, None], close.shape[1], axis=1)
    fast = Series(panel_of(close), [Indicator("rank", "universe_rank")], usable=mask)["rank"]
    for t, day in enumerate(days):
        np.testing.assert_allclose(fast[:, t], reference.universe_rank(day, usable), rtol=1e-12)


def test_ranks_over_a_real_universe(bars: Panel) -> None:
    declared = [
        Indicator("dollars", "mean", of="close * volume", length=20),
        Indicator("rank", "universe_rank", of="dollars"),
    ]
    series = Series(bars, declared)
    for t in range(0, bars.sessions, 25):
        expected = reference.universe_rank(series["dollars"][:, t].tolist(), [True] * 20)
        np.testing.assert_allclose(series["rank"][:, t], expected, rtol=1e-12)


# --- what is unknown ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("price", [33.3, 0.1, 1e-3, 1234.567])
@pytest.mark.parametrize("length", range(2, 24))
def test_a_flat_series_is_unknown_not_oversold(price: float, length: int) -> None:
    flat = [price] * 60
    assert np.isnan(one(flat, Indicator("x", "rsi", length=length))).all()
    assert np.isnan(one(flat, Indicator("x", "bollinger_pct_b", length=length))).all()
    assert (one(flat, Indicator("x", "bollinger_width", length=length))[length - 1 :] == 0).all()


def test_a_series_gone_flat_has_no_pct_b_and_no_infinity() -> None:
    row = one([*range(50, 90), *[33.3] * 40], Indicator("x", "bollinger_pct_b", length=20))
    assert np.isfinite(row[19:59]).all()
    assert np.isnan(row[59:]).all()


def test_moves_that_have_decayed_to_nothing_are_unknown_not_oversold() -> None:
    row = one([10.0, 11.0, 10.5, *[10.7] * 1500], Indicator("x", "rsi", length=2))
    assert row[3] > 0
    assert not (row == 0).any()


def test_nothing_but_losses_is_an_rsi_of_zero() -> None:
    row = one([float(x) for x in range(100, 50, -1)], Indicator("x", "rsi", length=14))
    assert (row[14:] == 0).all()


def test_a_hole_restarts_what_remembers_and_reaches_only_its_own_windows() -> None:
    close = [float(10 + x % 5) for x in range(40)]
    broken = [*close[:20], math.nan, *close[21:]]
    ema, whole = Indicator("x", "ema", length=5), one(close, Indicator("x", "sma", length=5))
    after = one(broken, ema)
    assert np.isnan(after[20:25]).all()
    np.testing.assert_allclose(after[21:], one(close[21:], ema))
    holed = one(broken, Indicator("x", "sma", length=5))
    assert np.isnan(holed[20:25]).all()
    assert (holed[25:] == whole[25:]).all()


def test_a_window_holds_its_own_bars_and_nothing_else() -> None:
    """After a bar a billion times larger has left the window, no trace of it is left."""
    quiet = [1.1, 1.2, 1.3] * 20
    for kind in ("mean", "bollinger_width", "bollinger_pct_b", "ratio_to_mean"):
        indicator = Indicator("x", kind, length=20)
        assert (one([1e9, *quiet], indicator)[21:] == one(quiet, indicator)[20:]).all(), kind


def test_infinities_are_unknown() -> None:
    close = [1.0, math.inf, 2.0, -math.inf, 1e308, 0.0, 5.0, 6.0]
    series = Series(panel_of([close]), [Indicator("r", "return"), Indicator("m", "mean", length=2)])
    np.testing.assert_array_equal(np.isnan(series["close"][0]), [False, True, False, True, True, False, False, False])
    assert np.isnan(series["r"][0, :7]).sum() == 7  # into, out of and over infinities, and from zero
    assert not any(np.isinf(series[name]).any() for name in series)


def test_a_run_just_long_enough_has_one_value() -> None:
    np.testing.assert_allclose(one([1.0, 2.0, 6.0], Indicator("x", "ema", length=3)), [math.nan, math.nan, 3.0])


@pytest.mark.parametrize("shape", [(0, 0), (0, 40), (3, 0), (3, 1), (2, 13), (1, 14), (1, 15), (1, 27), (1, 28)])
def test_short_and_empty_panels_are_no_trouble(shape: tuple[int, int]) -> None:
    close = 50 + np.arange(shape[0] * shape[1], dtype=np.float64).reshape(shape) % 7
    declared = [*specimens(), Indicator("rank", "universe_rank")]
    series = Series(panel_of(close), declared)
    for name in series:
        assert series[name].shape == shape, name


def test_one_symbol_alone_ranks_in_the_middle() -> None:
    assert (Series(panel_of([[1.0, 2.0]]), [Indicator("rank", "universe_rank")])["rank"] == 0.5).all()


# --- names ----------------------------------------------------------------------------------------------------------


def test_of_reads_fields_and_earlier_indicators_in_expressions() -> None:
    declared = [Indicator("gain", "change"), Indicator("x", "mean", of="abs(gain) / close", length=2)]
    close = [10.0, 12.0, 9.0, 9.0]
    np.testing.assert_allclose(
        Series(panel_of([close]), declared)["x"][0], [math.nan, math.nan, (2 / 12 + 3 / 9) / 2, (3 / 9 + 0) / 2]
    )
    with pytest.raises(ValueError, match="gain"):
        Series(panel_of([close]), declared[::-1])["x"]


def test_series_are_a_mapping_in_the_order_of_declaration() -> None:
    series = Series(panel_of([[1.0, 2.0]]), [Indicator("b", "sma"), Indicator("a", "sma")])
    assert list(series) == [*FIELDS, "b", "a"]
    assert len(series) == 7
    assert "a" in series
    with pytest.raises(KeyError, match="clsoe"):
        series["clsoe"]


@pytest.mark.parametrize(
    ("declared", "match"),
    [
        ([Indicator("x", "sma"), Indicator("x", "ema")], "twice"),
        ([Indicator("close", "sma")], "twice"),
        ([Indicator("x", "magic")], "magic"),
        ([Indicator("x", "rsi", length=1)], "at least 2"),
        ([Indicator("x", "sma", length=0)], "at least 1"),
        ([Indicator("x", "sma", symbol="market")], "market"),
    ],
)
def test_what_cannot_be_computed_is_said_at_once(declared: list[Indicator], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Series(panel_of([[1.0, 2.0]]), declared)


def test_market_indicators_are_those_of_the_proxy_for_every_symbol() -> None:
    declared = [
        Indicator("mean", "sma", length=2),
        Indicator("market_mean", "prev", of="mean", symbol="market"),
        Indicator("apart", "sma", of="mean - market_mean"),
    ]
    series = Series(panel_of([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), declared, market=panel_of([[10.0, 20.0, 40.0]]))
    np.testing.assert_array_equal(series["market_mean"], [[math.nan, math.nan, 15.0]] * 2)
    np.testing.assert_array_equal(series["apart"][:, 2], [2.5 - 15, 5.5 - 15])
    np.testing.assert_array_equal(series.market["mean"], [[math.nan, 15.0, 30.0]])
    with pytest.raises(ValueError, match="one symbol"):
        Series(panel_of([[1.0, 2.0]]), declared, market=panel_of([[1.0, 2.0], [1.0, 2.0]]))


def test_a_strategys_own_series_are_seen_by_it_alone() -> None:
    series = Series(panel_of([[1.0, 2.0, 4.0]]), [Indicator("mean", "sma", length=2)])
    own = series.extended([Indicator("twice", "sma", of="mean * 2")])
    np.testing.assert_array_equal(own["twice"], [[math.nan, 3.0, 6.0]])
    assert own["mean"] is series["mean"]
    assert "twice" not in series
    assert series.extended(()) is series
    with pytest.raises(ValueError, match="twice"):
        series.extended([Indicator("mean", "ema", length=2)])


def test_arrays_are_computed_once_and_cannot_be_written_to() -> None:
    series = Series(panel_of([[1.0, 2.0, 4.0]]), [Indicator("mean", "sma", length=2)])
    for name in ("close", "mean"):
        assert series[name] is series[name]
        with pytest.raises(ValueError, match="read-only"):
            series[name][0, 0] = 1.0


def test_no_value_changes_when_later_bars_are_cut_off(bars: Panel) -> None:
    declared = [*specimens(), Indicator("rank", "universe_rank")]
    whole, cut = Series(bars, declared), Series(bars.window(bars.dates[150].item()), declared)
    for name in whole:
        np.testing.assert_array_equal(whole[name][:, :151], cut[name], err_msg=name)

"""What every strategy must hold to, as a test suite. In the tests of a package with a strategy:

from autotrader.plugins.strategies.contract import StrategyContract

class TestMyStrategy(StrategyContract):
    def make_strategy(self):
        return MyStrategy(MyStrategy.Params())
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from autotrader.core.indicators import Series
from autotrader.core.panel import FIELDS, Array, Panel
from autotrader.core.strategy import Fired, Strategy
from autotrader.vocabulary import Indicator


class StrategyContract:
    """Subclass it, give it a strategy, and run pytest.

    params:     values for `Params` that the model must accept; {}: its defaults.
    indicators: the declarations that `reads` refers to.
    needs_all:  the strategy fires only where everything it reads is known. Switch it off where that is not meant, as
                for a condition with `or`.
    """

    params: Mapping[str, Any] = {}
    indicators: tuple[Indicator, ...] = (
        Indicator("rsi", "rsi", length=14),
        Indicator("adx", "adx", length=14),
        Indicator("atr", "atr", length=14),
        Indicator("bb_width", "bollinger_width", length=20),
        Indicator("pct_b", "bollinger_pct_b", length=20),
        Indicator("bb_width_ratio", "ratio_to_mean", of="bb_width", length=20),
        Indicator("ema_fast", "ema", length=8),
        Indicator("ema_slow", "ema", length=21),
        Indicator("return_20", "return", length=20),
        Indicator("dollar_volume", "mean", of="close * volume", length=20),
        Indicator("dollar_volume_rank", "universe_rank", of="dollar_volume"),
    )
    needs_all = True

    def make_strategy(self) -> Strategy:
        """The strategy under test."""
        raise NotImplementedError("give the suite a strategy: override make_strategy")

    def make_panel(self) -> Panel:
        """Bars on which the strategy fires at least once."""
        return lively_panel(symbols=60, sessions=500)

    # --- the tests --------------------------------------------------------------------------------------------------

    def test_it_fires_on_the_panel(self) -> None:
        assert any(fired.where.any() for fired in self._fired(self.make_panel())), "the other tests would be empty"

    def test_signals_have_the_panels_shape_and_strengths_from_0_to_1(self) -> None:
        panel = self.make_panel()
        fired = self._fired(panel)
        directions = [each.direction for each in fired]
        assert set(directions) <= {"long", "short"}
        assert len(set(directions)) == len(directions), "one Fired for each direction"
        for each in fired:
            assert each.where.shape == panel.close.shape
            assert each.where.dtype == np.bool_
            assert each.strength.shape == (np.count_nonzero(each.where),)
            assert each.strength.dtype == np.float64
            assert ((each.strength >= 0) & (each.strength <= 1)).all(), "NaN is not a strength either"

    def test_it_reads_only_what_it_says(self) -> None:
        strategy, series = self.make_strategy(), self._series(self.make_panel())
        assert strategy.reads, "a strategy reads something"
        only = {name: series[name] for name in strategy.reads}
        _same(strategy.signals(only), strategy.signals(series))

    def test_it_knows_no_later_bar(self) -> None:
        panel = self.make_panel()
        whole = self._fired(panel)
        for sessions in {panel.sessions // 2, panel.sessions - 1}:
            cut = self._fired(panel.window(panel.dates[sessions - 1].item()))
            _same(cut, [_part(each, np.s_[:, :sessions]) for each in whole])

    def test_a_symbols_signals_depend_on_no_other_symbol(self) -> None:
        panel = self.make_panel()
        strategy, series = self.make_strategy(), self._series(panel)
        for row in {0, len(panel.symbols) - 1}:
            alone = strategy.signals({name: series[name][row : row + 1] for name in strategy.reads})
            _same(alone, [_part(each, np.s_[row : row + 1]) for each in strategy.signals(series)])

    def test_the_same_bars_give_the_same_signals(self) -> None:
        strategy, series = self.make_strategy(), self._series(self.make_panel())
        first = strategy.signals(series)
        _same(strategy.signals(series), first)
        _same(self.make_strategy().signals(series), first)

    def test_it_leaves_what_it_reads_alone(self) -> None:
        strategy, series = self.make_strategy(), self._series(self.make_panel())
        given = {name: series[name].copy() for name in strategy.reads}
        strategy.signals(given)
        for name in strategy.reads:
            np.testing.assert_array_equal(given[name], series[name], err_msg=name)

    @pytest.mark.parametrize("kind", ["unknown", "holes", "flat", "late flat", "no volume", "zero", "short", "one bar"])
    def test_an_unknown_never_fires(self, kind: str) -> None:
        panel = _odd_panel(kind, self.make_panel())
        strategy, series = self.make_strategy(), self._series(panel)
        known = np.array([np.isfinite(series[name]) for name in strategy.reads])
        enough = known.all(axis=0) if self.needs_all else known.any(axis=0)
        for fired in strategy.signals(series):
            assert fired.where.shape == panel.close.shape
            assert not (fired.where & ~enough).any()
            assert np.isfinite(fired.strength).all()

    @pytest.mark.parametrize(("symbols", "sessions"), [(0, 0), (0, 30), (3, 0)])
    def test_an_empty_panel_is_no_trouble(self, symbols: int, sessions: int) -> None:
        for fired in self._fired(lively_panel(symbols, sessions)):
            assert fired.where.shape == (symbols, sessions)
            assert fired.strength.shape == (0,)

    def test_good_parameters_are_accepted_and_unknown_ones_refused(self) -> None:
        model: type[BaseModel] = self.make_strategy().Params
        model(**self.params)
        with pytest.raises(ValidationError):
            model(**self.params, surely_no_such_parameter=1)

    # --- how ----------------------------------------------------------------------------------------------------------

    def _series(self, panel: Panel) -> Series:
        return Series(panel, self.indicators)

    def _fired(self, panel: Panel) -> list[Fired]:
        return self.make_strategy().signals(self._series(panel))


def lively_panel(symbols: int, sessions: int, seed: int = 7) -> Panel:
    """Made-up bars with quiet and loud stretches, rises and falls; the same for the same arguments."""
    random = np.random.default_rng(seed)
    shape = (symbols, sessions)
    mood = np.repeat(random.normal(size=(symbols, sessions // 25 + 1)), 25, axis=1)[:, :sessions]
    noise = np.repeat(random.uniform(0.003, 0.03, size=(symbols, sessions // 15 + 1)), 15, axis=1)[:, :sessions]
    close = 80 * np.exp(np.cumsum(mood * 0.006 + noise * random.normal(size=shape), axis=1))
    opened = close * (1 + 0.3 * noise * random.normal(size=shape))
    high = np.maximum(opened, close) * (1 + noise * random.uniform(0, 0.6, size=shape))
    low = np.minimum(opened, close) * (1 - noise * random.uniform(0, 0.6, size=shape))
    volume = np.rint(1e6 * np.exp(random.normal(size=shape)))
    dates = np.datetime64("2015-01-01", "D") + np.arange(sessions)
    return Panel(tuple(f"S{row:03}" for row in range(symbols)), dates, opened, high, low, close, volume)


def _odd_panel(kind: str, panel: Panel) -> Panel:
    def fields(change: Any) -> Panel:
        return replace(panel, **{field: change(getattr(panel, field).copy()) for field in FIELDS})

    def holes(values: Array) -> Array:
        values[::2, ::37] = np.nan
        values[1::2, : panel.sessions // 2] = np.nan
        return values

    def late_flat(values: Array) -> Array:
        values[:, panel.sessions // 2 :] = values[:, panel.sessions // 2, None]
        return values

    match kind:
        case "unknown":
            return fields(lambda values: np.full_like(values, np.nan))
        case "holes":
            return fields(holes)
        case "flat":
            return fields(lambda values: np.full_like(values, 33.3))
        case "late flat":
            return fields(late_flat)
        case "no volume":
            return replace(panel, volume=np.zeros_like(panel.volume))
        case "zero":
            return fields(np.zeros_like)
        case "short":
            return panel.window(panel.dates[min(9, panel.sessions - 1)].item())
        case _:
            return panel.window(panel.dates[0].item())


def _part(fired: Fired, part: Any) -> Fired:
    strength = np.full(fired.where.shape, np.nan)
    strength[fired.where] = fired.strength
    return Fired(fired.direction, fired.where[part], strength[part][fired.where[part]])


def _same(found: list[Fired], expected: list[Fired]) -> None:
    assert [each.direction for each in found] == [each.direction for each in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.where, other.where)
        np.testing.assert_allclose(one.strength, other.strength, rtol=1e-12, atol=0)

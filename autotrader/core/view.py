"""What the daily bars say: usable symbols, indicators, regimes. For one night or for ten years, the same columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autotrader.core.exits import Day
from autotrader.core.indicators import Series
from autotrader.core.panel import Array, Mask, Panel
from autotrader.core.ranking import Signals, collect
from autotrader.core.regime import EQUAL_WEIGHT, RegimeDetector, equal_weight
from autotrader.core.rulebook import Rulebook
from autotrader.core.screen import USABLE, screen
from autotrader.core.strategy import Strategy


@dataclass(frozen=True, eq=False)
class MarketView:
    """A panel seen through one configuration.

    codes:   int8 [symbol, session], see `screen`. usable: where they are 0.
    proxy:   the name of what the regimes are read from; series.market holds its fields and indicators.
    regimes: one name a session.
    """

    rulebook: Rulebook
    panel: Panel
    codes: NDArray[np.int8]
    usable: Mask
    series: Series
    proxy: str
    regimes: Sequence[str]

    def signals(self, strategies: Mapping[str, Strategy], sessions: slice = slice(None)) -> Signals:
        """What the strategies fire on usable symbols in these sessions, on the sides that the configuration allows."""
        wanted = np.zeros_like(self.usable)
        wanted[:, sessions] = self.usable[:, sessions]
        fired = {}
        for name, strategy in strategies.items():
            sides = self.rulebook.params.strategies[name].directions
            found = strategy.signals(self.series.extended(self.rulebook.own_indicators(name)))
            fired[name] = [side for side in found if sides is None or side.direction in sides]
        return collect(fired, wanted)

    def day(self, symbol: int, index: int, session: date, number: int) -> Day:
        """What a symbol's exits are judged with in `session`, of which `index` is the last completed one here."""
        at = symbol, index
        indicators = {name: values.item(at) for name, values in self._exit_series}
        return Day(session, number, self.regimes[index], indicators, self.panel.close.item(at))

    @cached_property
    def _exit_series(self) -> list[tuple[str, Array]]:
        return [(name, self.series[name]) for name in self.rulebook.exit_indicators]


def market_view(rulebook: Rulebook, panel: Panel, market: Panel | None) -> MarketView:
    """The view of a universe's panel.

    market: the regime proxy's bars over the same sessions; None: the equal-weight mean of the panel stands in.
    """
    batch = rulebook.params.batch
    codes = screen(panel, batch.min_bars, batch.history_days)
    usable = codes == USABLE
    proxy = rulebook.params.regime.symbol if market is not None else EQUAL_WEIGHT
    market = equal_weight(panel) if market is None else market
    series = Series(panel, rulebook.indicators, usable, market)
    regimes = RegimeDetector(rulebook.regime).regimes(series.market, panel.sessions)
    return MarketView(rulebook, panel, codes, usable, series, proxy, regimes)

"""From ranked signals to the candidates that the next session's stages read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from autotrader.core.ranking import Ranking
from autotrader.core.strategy import Direction
from autotrader.core.types import Candidate
from autotrader.core.view import MarketView
from autotrader.vocabulary import group_name

_NOTHING: Mapping[str, float | None] = MappingProxyType({})


def candidates(
    ranking: Ranking, rows: NDArray[np.intp], view: MarketView, sectors: Sequence[str | None], names: Sequence[str]
) -> list[Candidate]:
    """The candidates of these rows of the ranking.

    sectors: of each row of the panel. names: the indicators that go into the metadata.
    """
    signals, rulebook = ranking.signals, view.rulebook
    symbol, session = signals.symbol[rows], signals.session[rows]
    columns = [view.series[name][symbol, session].tolist() for name in names]
    per_signal = [
        array[rows].tolist()
        for array in (
            signals.strategy, signals.short, ranking.score, ranking.rank, signals.strength, *ranking.company,
            ranking.blackout,
        )
    ]  # fmt: skip
    bars = [array[symbol, session].tolist() for array in (view.panel.close, view.series["atr"])]
    groups = {name: group_name(rulebook.group_of(name) or "") for name in signals.names}
    sides: tuple[Direction, ...] = ("long", "short")
    values = {
        (name, side): {key: _known(value) for key, value in rulebook.values(name, side).items()}
        for name in signals.names
        for side in sides
    }
    found = []
    table = zip(symbol.tolist(), *per_signal, *bars, strict=True)
    for at, (row, strategy, short, score, rank, strength, company, opposite, blackout, close, atr) in enumerate(table):
        name = signals.names[strategy]
        side: Direction = "short" if short else "long"
        value = values[name, side]
        hold = value.get("max_hold_days")
        metadata = {key: _known(column[at]) for key, column in zip(names, columns, strict=True)} if names else _NOTHING
        found.append(
            Candidate._make((
                view.panel.symbols[row], name, side, groups[name], close, atr, value.get("sl_atr_mult"),
                value.get("tp_atr_mult"), score, None if hold is None else int(hold), rank, sectors[row], strength,
                int(company), opposite, blackout, metadata,
            ))
        )  # fmt: skip
    return found


def snapshot(view: MarketView, symbol: int, session: int) -> dict[str, float | None]:
    """Every declared indicator of one bar; None where unknown."""
    names = view.rulebook.indicators
    return {item.name: _known(float(view.series[item.name][symbol, session])) for item in names}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value

"""From a ranked signal to the candidate that the next session's stages read."""

from __future__ import annotations

import math
from collections.abc import Sequence

from autotrader.core.ranking import Ranking
from autotrader.core.types import Candidate
from autotrader.core.view import MarketView
from autotrader.vocabulary import group_name


def candidate(ranking: Ranking, row: int, view: MarketView, sectors: Sequence[str | None]) -> Candidate:
    """The candidate of one row of the ranking. sectors: of each row of the panel."""
    signals, rulebook = ranking.signals, view.rulebook
    symbol, session = int(signals.symbol[row]), int(signals.session[row])
    strategy, direction = signals.names[signals.strategy[row]], signals.direction(row)
    value = rulebook.values(strategy, direction)
    hold = _known(value.get("max_hold_days", math.nan))
    return Candidate(
        symbol=view.panel.symbols[symbol],
        strategy=strategy,
        direction=direction,
        entry_group=group_name(rulebook.group_of(strategy) or ""),
        prev_close=float(view.panel.close[symbol, session]),
        atr=float(view.series["atr"][symbol, session]),
        sl_atr_mult=_known(value.get("sl_atr_mult", math.nan)),
        tp_atr_mult=_known(value.get("tp_atr_mult", math.nan)),
        score=float(ranking.score[row]),
        max_hold_days=None if hold is None else int(hold),
        rank=int(ranking.rank[row]),
        sector=sectors[symbol],
        strength=float(signals.strength[row]),
        signals_of_symbol=int(ranking.company[0][row]),
        opposite_signal=bool(ranking.company[1][row]),
        blackout=bool(ranking.blackout[row]),
        metadata=snapshot(view, symbol, session),
    )


def snapshot(view: MarketView, symbol: int, session: int) -> dict[str, float | None]:
    """Every declared indicator of one bar; None where unknown."""
    names = view.rulebook.indicators
    return {item.name: _known(float(view.series[item.name][symbol, session])) for item in names}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value

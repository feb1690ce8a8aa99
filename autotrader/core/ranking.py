"""From fired signals to ranked candidates: facts, eligibility, score, one per symbol, the sector cap, the top.

Everything works on a table of signals, whether of one night or of ten years.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autotrader.core.panel import Array, Mask, Panel
from autotrader.core.rulebook import Rulebook
from autotrader.core.strategy import Direction, Fired
from autotrader.core.types import Blackout
from autotrader.rules.decision import Decision
from autotrader.rules.facts import Scalar

Column = NDArray[np.generic]

_ALWAYS = {"signals_of_symbol", "opposite_signal", "blackout"}  # known of every signal, whether a rule asks or not

# What became of a signal: an index into this list. INELIGIBLE is told further by the rule that rejected it.
OUTCOMES = ("candidate", "ineligible", "score_unknown", "outranked", "sector_full", "below_top")
CANDIDATE, INELIGIBLE, SCORE_UNKNOWN, OUTRANKED, SECTOR_FULL, BELOW_TOP = range(len(OUTCOMES))


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """A table of n signals, sorted by session, symbol, strategy.

    symbol, session: int [n], indices into the panel's rows and columns. strategy: int [n], an index into `names`.
    short: bool [n]. strength: float64 [n].
    """

    names: tuple[str, ...]
    symbol: NDArray[np.intp]
    session: NDArray[np.intp]
    strategy: NDArray[np.intp]
    short: Mask
    strength: Array

    def __len__(self) -> int:
        return len(self.symbol)

    def take(self, rows: NDArray[np.intp]) -> Signals:
        """Some of them, which have to be in order."""
        return Signals(
            self.names,
            self.symbol[rows],
            self.session[rows],
            self.strategy[rows],
            self.short[rows],
            self.strength[rows],
        )

    def direction(self, row: int) -> Direction:
        return "short" if self.short[row] else "long"


def collect(fired: Mapping[str, Sequence[Fired]], usable: Mask) -> Signals:
    """The signals of usable symbols, from what each strategy fired."""
    names = tuple(sorted(fired))
    parts = []
    for index, name in enumerate(names):
        for side in fired[name]:
            at = np.flatnonzero(side.where)
            keep = usable.take(at)
            symbol, session = np.divmod(at[keep], max(side.where.shape[1], 1))
            short = np.full(len(symbol), side.direction == "short")
            parts.append((symbol, session, np.full(len(symbol), index), short, side.strength[keep]))
    if not parts:
        none = np.empty(0, dtype=np.intp)
        return Signals(names, none, none, none, np.empty(0, dtype=np.bool_), np.empty(0))
    symbol, session, strategy, short, strength = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((short, strategy, symbol, session))
    return Signals(names, symbol[order], session[order], strategy[order], short[order], strength[order])


@dataclass(frozen=True, eq=False)
class Ranking:
    """What the ranking made of each signal.

    score:   float64 [n], NaN if unknown; given for ineligible signals too.
    outcome: int8 [n], an index into OUTCOMES.
    rank:    int [n], 1 the best of its session; 0 for what is no candidate.
    rejects: bool [rules, n], which eligibility rules matched.
    company: for each signal, how many its symbol has in its session, and whether one of them is for the other side.
    blackout: bool [n], whether the symbol is blacked out in the session it would be entered in.
    columns: what the rules read, by name, one element a signal.
    """

    signals: Signals
    rulebook: Rulebook
    score: Array
    outcome: NDArray[np.int8]
    rank: NDArray[np.intp]
    rejects: NDArray[np.bool_]
    company: tuple[Array, Mask]
    blackout: Mask
    columns: Mapping[str, Column]

    @cached_property
    def candidates(self) -> NDArray[np.intp]:
        """The rows of the candidates, by session and rank."""
        rows = np.flatnonzero(self.outcome == CANDIDATE)
        ordered: NDArray[np.intp] = rows[np.lexsort((self.rank[rows], self.signals.session[rows]))]
        return ordered

    def reason(self, row: int) -> str:
        """What became of a signal, in the words of its rule where one rejected it."""
        if self.outcome[row] != INELIGIBLE:
            return OUTCOMES[self.outcome[row]]
        return self.rulebook.eligible.rules[int(np.argmax(self.rejects[:, row]))].reason

    def decisions(self, row: int) -> tuple[Decision, Decision]:
        """Eligibility and score of one signal with their evidence."""
        facts = {name: _scalar(column[row]) for name, column in self.columns.items()}
        matched = tuple(int(index) for index in np.flatnonzero(self.rejects[:, row]))
        return self.rulebook.eligible.vetoed(matched, facts), self.rulebook.score.judge(facts)


class SignalRanker:
    """Ranks signals by the rule sets `ranking.eligible` and `ranking.score`."""

    def __init__(self, rulebook: Rulebook, sectors: Sequence[str | None], blackouts: Sequence[Blackout] = ()) -> None:
        """sectors: the GICS sector of each row of the panel."""
        self._rulebook = rulebook
        self._sectors = np.array(list(sectors) or [None], dtype=object)[: len(sectors)]
        self._blackouts = blackouts

    def rank(
        self,
        signals: Signals,
        panel: Panel,
        series: Mapping[str, Array],
        regimes: Sequence[str],
        next_sessions: NDArray[np.datetime64],
    ) -> Ranking:
        """The ranking of each session's signals.

        regimes: one name a session of the panel. next_sessions: for each session the one its entries would be made in.
        """
        rulebook = self._rulebook
        company = _company(signals, len(panel.symbols))
        blackout = self._blackout(signals, panel, next_sessions)
        read = {**rulebook.eligible.reads, **rulebook.score.reads}.keys() - _ALWAYS
        columns = self.columns(sorted(read), signals, panel, series, regimes)
        columns |= {"signals_of_symbol": company[0], "opposite_signal": company[1], "blackout": blackout}
        shape = (len(signals),)
        rejects = rulebook.eligible.match_columns(columns, shape)
        score = rulebook.score.weigh_columns(columns, shape)
        outcome, rank = self._choose(signals, score, np.logical_or.reduce(rejects, axis=0))
        return Ranking(signals, rulebook, score, outcome, rank, rejects, company, blackout, columns)

    def columns(
        self,
        names: Sequence[str],
        signals: Signals,
        panel: Panel,
        series: Mapping[str, Array],
        regimes: Sequence[str],
    ) -> dict[str, Column]:
        """Facts of the scan and strategy values by their names, one element a signal."""
        rulebook = self._rulebook
        at = (signals.symbol, signals.session)
        strategies = np.array([*signals.names, ""], dtype=object)
        columns: dict[str, Column] = {}
        for name in names:
            match name:
                case "strategy":
                    columns[name] = strategies[signals.strategy]
                case "direction":
                    columns[name] = np.where(signals.short, "short", "long").astype(object)
                case "sector":
                    columns[name] = self._sectors[signals.symbol]
                case "regime":
                    columns[name] = np.array(regimes, dtype=object)[signals.session]
                case "strength":
                    columns[name] = signals.strength
                case "prev_close":
                    columns[name] = panel.close[at]
                case "regime_weight" | "regime_weight_max":
                    columns[name] = self._weights(signals, regimes, largest=name == "regime_weight_max")
                case _ if name in rulebook.indicator_names:
                    columns[name] = series[name][at]
                case _:
                    columns[name] = self._values(name, signals)
        return columns

    def _weights(self, signals: Signals, regimes: Sequence[str], *, largest: bool) -> Array:
        known = sorted(set(regimes))
        table = np.array([[self._rulebook.weight(regime, name) for name in signals.names] for regime in known])
        regime = np.array([known.index(regime) for regime in regimes], dtype=np.intp)[signals.session]
        if largest:
            most = np.array([self._rulebook.weight_max(regime) for regime in known])
            weights: Array = most[regime]
        else:
            weights = table.reshape(len(known), -1)[regime, signals.strategy]
        return weights

    def _values(self, name: str, signals: Signals) -> Array:
        """A strategy value by strategy and direction, NaN where the strategy has none."""
        table = np.array(
            [[self._rulebook.value(name, strategy, side) for side in ("long", "short")] for strategy in signals.names]
        )
        values: Array = table.reshape(-1, 2)[signals.strategy, signals.short.astype(np.intp)]
        return values

    def _blackout(self, signals: Signals, panel: Panel, next_sessions: NDArray[np.datetime64]) -> Mask:
        row = {symbol: index for index, symbol in enumerate(panel.symbols)}
        black = np.zeros(len(signals), dtype=np.bool_)
        entry = next_sessions[signals.session]
        for item in self._blackouts:
            if item.symbol in row:
                days = (entry >= np.datetime64(item.first)) & (entry <= np.datetime64(item.last))
                black |= days & (signals.symbol == row[item.symbol])
        return black

    def _choose(self, signals: Signals, score: Array, ineligible: Mask) -> tuple[NDArray[np.int8], NDArray[np.intp]]:
        """Of each session's signals, from the best on: one per symbol, at most so many per sector and in all."""
        outcome = np.full(len(signals), BELOW_TOP, dtype=np.int8)
        outcome[np.isnan(score)] = SCORE_UNKNOWN
        outcome[ineligible] = INELIGIBLE
        rank = np.zeros(len(signals), dtype=np.intp)
        rows = np.flatnonzero(outcome == BELOW_TOP)
        # ties: symbol, then strategy, as the table is sorted
        order = rows[np.lexsort((rows, -score[rows], signals.session[rows]))]
        top, per_sector = (
            self._rulebook.params.batch.top_candidates,
            self._rulebook.params.ranking.max_per.get("sector"),
        )
        # each symbol by its best signal, each sector by its best so many, and of those the top
        day, symbol = signals.session[order], signals.symbol[order]
        best = _place_in(day, symbol) == 0
        outcome[order[~best]] = OUTRANKED
        order, day = order[best], day[best]
        numbers: dict[str | None, int] = {}
        sector = np.array([numbers.setdefault(name, len(numbers)) for name in self._sectors])[signals.symbol[order]]
        fits = _place_in(day, sector) < (len(order) if per_sector is None else per_sector)
        chosen = fits & (_counted_before(fits, day) < top)
        if per_sector is not None:
            outcome[order[~chosen & (_counted_before(chosen, day, sector) >= per_sector)]] = SECTOR_FULL
        outcome[order[chosen]] = CANDIDATE
        rank[order[chosen]] = _place_in(day[chosen]) + 1
        return outcome, rank


def _place_in(*keys: NDArray[np.intp]) -> NDArray[np.intp]:
    """For each element, how many before it have the same keys."""
    return _counted_before(np.ones(len(keys[0]), dtype=np.bool_), *keys)


def _counted_before(counted: Mask, *keys: NDArray[np.intp]) -> NDArray[np.intp]:
    """For each element, how many of the counted ones before it have the same keys."""
    by_key = np.lexsort((*keys,))  # stable: within a group as they were
    before: NDArray[np.intp] = np.cumsum(counted[by_key]) - counted[by_key]
    starts = np.zeros(len(by_key), dtype=np.bool_)
    for key in keys:
        starts |= np.diff(key[by_key], prepend=-1) != 0
    group = np.cumsum(starts) - 1
    found = np.empty(len(by_key), dtype=np.intp)
    found[by_key] = before - before[np.flatnonzero(starts)][group]
    return found


def _company(signals: Signals, symbols: int) -> tuple[NDArray[np.float64], Mask]:
    """For each signal: how many its symbol has in its session, and whether one of them is for the other side."""
    key = signals.session * symbols + signals.symbol  # which rises, as the signals are sorted
    group = np.cumsum(np.diff(key, prepend=-1) > 0) - 1
    count = np.bincount(group)
    shorts = np.bincount(group, weights=signals.short, minlength=len(count))
    mixed = (shorts > 0) & (shorts < count)
    return count[group].astype(np.float64), mixed[group]


def _scalar(value: object) -> Scalar:
    found: Scalar = value.item() if isinstance(value, np.generic) else value  # type: ignore[assignment]
    return found

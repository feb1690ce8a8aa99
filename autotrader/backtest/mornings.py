"""The mornings of a period over columns: whom the gap filter lets pass, and how a shut account turns everybody away.

What is decided here is decided by the live day's rule sets, in their form for columns. Candidates that are asked while
the account is open are asked one by one, as on the live day. All are priced at the daily open of their session.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autotrader.backtest.statistics import Tally
from autotrader.core.book import Book
from autotrader.core.candidates import candidates
from autotrader.core.entry import Exposure
from autotrader.core.gap_filter import Filtered, Quote
from autotrader.core.panel import Array, Mask, Panel
from autotrader.core.ranking import Column, Ranking, SignalRanker
from autotrader.core.strategy import Direction
from autotrader.core.types import Candidate
from autotrader.core.view import MarketView
from autotrader.market.feed import ShareSplit
from autotrader.rules.facts import Scalar
from autotrader.rules.ruleset import RuleSet
from autotrader.vocabulary import group_name

Facts = Mapping[str, Column | Scalar]  # one value for all candidates, or one for each

_AT_ONCE = 128  # scans whose candidates are made together
_NONE: Facts = {}


class Passing(NamedTuple):
    """Who passed the gap filter of a session, by rank, and the first prices."""

    passed: list[Filtered]
    quotes: dict[str, Quote]


_NOBODY = Passing([], {})


class Mornings:
    """The n candidates of a period, by session and rank.

    A scan is named by its column of the panel; its candidates are entered in the session of the next column.
    """

    def __init__(
        self,
        ranker: SignalRanker,
        ranking: Ranking,
        view: MarketView,
        sectors: Sequence[str | None],
        splits: Sequence[ShareSplit] | None,
        tally: Tally,
    ) -> None:
        """splits: None: nobody has said whether there are any. tally: hears of what is decided here."""
        self._ranker, self._ranking, self._view = ranker, ranking, view
        self._sectors, self._splits, self._tally = sectors, splits, tally
        self._rows = ranking.candidates
        self._signals = signals = ranking.signals.take(self._rows)
        panel, self._scan = view.panel, signals.session
        self._close = panel.close[signals.symbol, self._scan]
        self._open = first_prices(panel, signals.symbol, self._scan + 1)
        self._columns: dict[str, Column] = {}
        self._starts = np.searchsorted(self._scan, np.arange(panel.sessions + 1))  # of each scan, and where all end
        self._priced = np.bincount(self._scan, ~np.isnan(self._open), panel.sessions) > 0
        sides: tuple[Direction, ...] = ("long", "short")
        self._bounds = {(name, side): view.rulebook.bound(name, side) for name in signals.names for side in sides}
        everybody = np.ones(len(self._rows), dtype=np.bool_)
        self._rejected = self._matches(view.rulebook.gap_filter, everybody)
        self._pass = ~self._rejected.any(axis=0) | ~self._priced[self._scan]
        self._filtered = np.zeros(panel.sessions, dtype=np.bool_)  # the scans whose candidates were filtered here
        self._made: dict[int, Passing] = {}
        self._made_until = -1

    def are_priced(self, scan: int) -> bool:
        """Whether any candidate of a scan has a daily open. If not, nothing is decided about them before the open."""
        return bool(self._priced[scan])

    def candidates(self, scan: int) -> list[Candidate]:
        """All of a scan."""
        places = np.arange(self._starts[scan], self._starts[scan + 1])
        return self._make(places) if len(places) else []

    def passing(self, scan: int) -> Passing:
        """Those of a scan that pass the gap filter, with their prices. For scans that are priced, in their order."""
        self._filtered[scan] = True
        if scan >= self._made_until:
            self._made_until = min(scan + _AT_ONCE, len(self._starts) - 1)
            begin, end = self._starts[scan], self._starts[self._made_until]
            self._made = self._let_pass(begin + np.flatnonzero(self._pass[begin:end]))
        return self._made.get(scan, _NOBODY)

    def _let_pass(self, places: NDArray[np.intp]) -> dict[int, Passing]:
        """By scan, in the form that `core.gap_filter` gives them."""
        names = {name: None for bound in self._bounds.values() for name in bound.entry_reads}
        known = {name: self._column(name)[places].tolist() for name in names}
        opens, gaps = self._open[places].tolist(), self._column("gap_pct")[places].tolist()
        split = self._column("corporate_action")[places].tolist()
        found: dict[int, Passing] = {}
        for at, (item, scan) in enumerate(zip(self._make(places), self._scan[places].tolist(), strict=True)):
            passed, quotes = found.setdefault(scan, Passing([], {}))
            reads = self._bounds[item.strategy, item.direction].entry_reads
            price, gap = opens[at], gaps[at]
            facts = {name: known[name][at] for name in reads}
            passed.append(Filtered(item, price, gap, "passed" if gap == gap else "no_price", facts))
            if price == price:
                quotes[item.symbol] = Quote(price, 0.0, 0.0, split[at], True)
        return found

    def refuse(
        self, scan: int, groups: Sequence[str], account: Mapping[str, Scalar], book: Book
    ) -> Iterable[tuple[str, date]]:
        """Turns away everybody from a scan on: nothing is held, and a limit on the account alone lets nobody in.

        groups: in the order of their times. account: its facts, which nothing changes any more. Gives the limits that
        match, in the order in which they would have been heard of, with the session.
        """
        rulebook, signals, symbols = self._view.rulebook, self._signals, self._view.panel.symbols
        begin = int(self._starts[scan])
        if begin == len(self._scan):
            return []
        self._filtered[scan:] = self._priced[scan:]
        group_of = np.array([rulebook.group_of(name) for name in signals.names], dtype=object)[signals.strategy]
        since_exit, losses = (
            np.array([book.exits(symbol)[name] for symbol in symbols], dtype=np.float64)[signals.symbol]
            for name in ("sessions_since_exit", "losing_exits_in_row")
        )
        nothing_held: dict[str, Scalar] = {"minute_of_session": 0, "exited_today": False}
        Exposure(book, {}).tell(self._make(np.array([begin]))[0], nothing_held)  # the same for all
        facts: dict[str, Column | Scalar] = {
            **account, **nothing_held,
            "sessions_since_exit": since_exit + (self._scan - scan), "losing_exits_in_row": losses,
        }  # fmt: skip
        alive = self._pass.copy()
        alive[:begin] = False
        heard: list[tuple[int, int, int, int]] = []  # scan, group, candidate, limit
        for number, group in enumerate(groups):
            due = [key for key in groups if group_name(key) in rulebook.due_with(group)]
            asked = alive & np.isin(group_of, due)
            facts["better_ranked_waiting"] = self._before(alive & ~asked)
            for key in due:
                rules = rulebook.confirmation.get(key)
                if rules is not None:
                    there = asked & (group_of == key)
                    enters = np.array([*(rule.then == "enter" for rule in rules.rules), False])
                    decided = np.maximum(self._decides(rules, there, facts), -1)  # one that fails lets nobody in
                    alive[there] = asked[there] = enters[decided]
            asked[asked] = ~self._vetoes(rulebook.reentry, asked, facts).any(axis=0)
            limits, places = self._vetoes(rulebook.limits, asked, facts), np.flatnonzero(asked)
            for limit in np.flatnonzero(limits.any(axis=1)).tolist():
                place = int(places[np.argmax(limits[limit])])
                heard.append((int(self._scan[place]), number, place, limit))
        dates = self._view.panel.dates
        return [(rulebook.limits.rules[limit].name, dates[at + 1].item()) for at, _, _, limit in sorted(heard)]

    def count(self) -> None:
        """Counts what the gap filter decided here."""
        rules, where = self._view.rulebook.gap_filter, self._filtered[self._scan]
        self._tally.vetoes(rules, self._rejected[:, where], self._unknown(rules, where, _NONE))

    def _make(self, places: NDArray[np.intp]) -> list[Candidate]:
        names = self._view.rulebook.entry_indicators
        return candidates(self._ranking, self._rows[places], self._view, self._sectors, names)

    def _before(self, counted: Mask) -> NDArray[np.int64]:
        """For each candidate, how many better ones of its session are among the counted."""
        before: NDArray[np.int64] = np.cumsum(counted) - counted
        return before - before[self._starts[self._scan]]

    # --- rules over columns -------------------------------------------------------------------------------------

    def _matches(self, rules: RuleSet, where: Mask, facts: Facts = _NONE) -> NDArray[np.bool_]:
        return rules.match_columns(self._given(rules, where, facts), (int(where.sum()),))

    def _vetoes(self, rules: RuleSet, where: Mask, facts: Facts) -> NDArray[np.bool_]:
        """bool [rules, candidates there], which are counted."""
        matched = self._matches(rules, where, facts)
        self._tally.vetoes(rules, matched, self._unknown(rules, where, facts))
        return matched

    def _decides(self, rules: RuleSet, where: Mask, facts: Facts) -> NDArray[np.intp]:
        """For each candidate there the rule that decides, which are counted."""
        decided = rules.first_columns(self._given(rules, where, facts), (int(where.sum()),))
        self._tally.firsts(rules, decided, self._unknown(rules, where, facts))
        return decided

    def _unknown(self, rules: RuleSet, where: Mask, facts: Facts) -> NDArray[np.bool_] | None:
        if not self._tally.unknowns:
            return None
        return rules.unknown_columns(self._given(rules, where, facts), (int(where.sum()),))

    def _given(self, rules: RuleSet, where: Mask, facts: Facts) -> dict[str, Column | Scalar]:
        """What the rules read, of the candidates there."""
        found: dict[str, Column | Scalar] = {}
        for name in rules.reads:
            value = facts[name] if name in facts else self._column(name)
            found[name] = value[where] if isinstance(value, np.ndarray) else value
        return found

    def _column(self, name: str) -> Column:
        """A fact of every candidate that is known at its session's open, or a value of its strategy and side."""
        if name not in self._columns:
            self._columns[name] = self._made_column(name)
        return self._columns[name]

    def _made_column(self, name: str) -> Column:
        signals, ranking, rows, view = self._signals, self._ranking, self._rows, self._view
        is_known = ~np.isnan(self._open)
        move = self._open - self._close
        match name:
            case "score" | "rank" | "blackout":
                return np.asarray(getattr(ranking, name)[rows])
            case "signals_of_symbol" | "opposite_signal":
                company, opposite = ranking.company
                return np.asarray(opposite[rows] if name == "opposite_signal" else company[rows].astype(np.int64))
            case "entry_group":
                names = [group_name(view.rulebook.group_of(name) or "") for name in signals.names]
                return np.array(names, dtype=object)[signals.strategy]
            case "result_age":
                return np.ones(len(rows), dtype=np.int64)
            case "price" | "pre_market_price":
                return self._open
            case "gap_pct":
                return move / self._close
            case "move_pct":
                return np.where(signals.short, -move, move) / self._close
            case "price_age_seconds" | "spread_pct":
                return np.where(is_known, 0.0, np.nan)
            case "shortable":
                return _flags(is_known, is_known)
            case "corporate_action":
                split = {(item.symbol, item.session) for item in self._splits or ()}
                sessions, symbols = view.panel.dates[self._scan + 1].tolist(), view.panel.symbols
                pairs = zip((symbols[row] for row in signals.symbol.tolist()), sessions, strict=True)
                return _flags([pair in split for pair in pairs], is_known & (self._splits is not None))
        return self._ranker.columns([name], signals, view.panel, view.series, view.regimes)[name]


def first_prices(panel: Panel, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Array:
    """The opens of these bars, USD; NaN where there is no whole bar, or no price in it.

    What the rest of the bar says is not known yet, even where it cannot have been.
    """
    opens = panel.open[rows, columns]
    with np.errstate(invalid="ignore"):
        whole = ~np.isnan(panel.high[rows, columns] + panel.low[rows, columns] + panel.close[rows, columns])
        known: Array = np.where(whole & (opens > 0) & (opens < np.inf), opens, np.nan)
    return known


def _flags(holds: Sequence[bool] | Mask, is_known: Mask) -> Column:
    """A flag, which may be unknown."""
    found = np.array(holds, dtype=object)
    found[~is_known] = None
    return found

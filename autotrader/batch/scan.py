"""The nightly scan: bars, indicators, signals, regime, ranking, result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np

from autotrader.clock import Calendar
from autotrader.core.indicators import Series
from autotrader.core.panel import Panel
from autotrader.core.ranking import Ranking, SignalRanker, collect
from autotrader.core.regime import EQUAL_WEIGHT, RegimeDetector, equal_weight
from autotrader.core.rulebook import Rulebook
from autotrader.core.screen import REASONS, USABLE, bar_counts, screen
from autotrader.core.strategy import Strategy
from autotrader.core.types import BatchResult, Blackout, Candidate, ScanResult
from autotrader.errors import AutotraderError
from autotrader.market.feed import Feed
from autotrader.market.universe import Member
from autotrader.vocabulary import Indicator, group_name


class ScanError(AutotraderError):
    """There is no result for this session; one sentence that says why and what to do."""


class NightlyScanner:
    """Scans one session: what `scan` returns depends on its arguments and the feed's bars alone."""

    def __init__(
        self,
        rulebook: Rulebook,
        config_hash: str,
        strategies: Mapping[str, Strategy],
        universe: Sequence[Member],
        calendar: Calendar,
        blackouts: Sequence[Blackout] = (),
    ) -> None:
        """strategies: the enabled ones by name."""
        self._rulebook = rulebook
        self._config_hash = config_hash
        self._strategies = strategies
        self._universe = universe
        self._calendar = calendar
        self._blackouts = blackouts

    def scan(self, feed: Feed, session: date) -> BatchResult:
        """The ranked result of one session. ScanError or FeedError where there can be none."""
        if not self._calendar.is_session(session):
            raise ScanError(
                f"{session} is not a session of the exchange; the one before is "
                f"{self._calendar.previous_session(session)}"
            )
        if not self._universe:
            raise ScanError("the universe is empty")
        panel, market = self._bars(feed, session)
        return self.rank(panel, market, session)

    def _bars(self, feed: Feed, session: date) -> tuple[Panel, Panel | None]:
        """The universe's bars, and the proxy's where the feed has it."""
        batch = self._rulebook.params.batch
        proxy = self._rulebook.params.regime.symbol
        symbols = [member.symbol for member in self._universe]
        asked = symbols if proxy in symbols else [*symbols, proxy]
        panel = feed.daily_bars(asked, session, batch.history_days)
        market = panel.select([proxy])
        known = screen(market, batch.min_bars, batch.history_days)[0, -1] == USABLE
        return (panel if len(asked) == len(symbols) else panel.select(symbols)), market if known else None

    def rank(self, panel: Panel, market: Panel | None, session: date) -> BatchResult:
        """The result from bars in memory.

        panel:  the universe's, in its order; the last column is the scanned session.
        market: the regime proxy's, the same sessions; None: the equal-weight mean of the panel stands in.
        """
        rulebook, batch = self._rulebook, self._rulebook.params.batch
        codes = screen(panel, batch.min_bars, batch.history_days)
        usable = codes == USABLE
        self._check_coverage(usable, session)
        notes = []
        proxy = rulebook.params.regime.symbol
        if market is None:
            notes.append(f"no usable bars for {proxy}: the regime is read from the {EQUAL_WEIGHT}")
            market, proxy = equal_weight(panel), EQUAL_WEIGHT
        series = Series(panel, rulebook.indicators, usable, market)
        regime = RegimeDetector(rulebook.regime)
        proxy_series = Series(market, rulebook.indicators)
        regimes = regime.regimes(proxy_series, panel.sessions)

        tonight = np.zeros_like(usable)
        tonight[:, -1] = usable[:, -1]
        fired = {
            name: strategy.signals(series.extended(rulebook.own_indicators(name)))
            for name, strategy in self._strategies.items()
        }
        following = np.append(panel.dates[1:], np.datetime64(self._calendar.next_session(session)))
        ranker = SignalRanker(rulebook, [member.sector for member in self._universe], self._blackouts)
        ranking = ranker.rank(collect(fired, tonight), panel, series, regimes, following)

        counts = bar_counts(panel)
        short = {
            symbol: int(counts[row])
            for row, symbol in enumerate(panel.symbols)
            if usable[row, -1] and counts[row] < batch.history_days
        }
        return BatchResult(
            scan_date=session,
            regime=regimes[-1],
            regime_decision=regime.decide(proxy_series),
            regime_proxy=proxy,
            total_symbols_scanned=int(usable[:, -1].sum()),
            candidates=self._candidates(ranking, panel, series),
            scan_results=self._scan_results(ranking, panel, series),
            skipped={
                symbol: REASONS[code]
                for symbol, code in zip(panel.symbols, codes[:, -1].tolist(), strict=True)
                if code != USABLE
            },
            short_history=short,
            config_hash=self._config_hash,
            notes=tuple(notes),
        )

    def _check_coverage(self, usable: np.ndarray, session: date) -> None:
        need = self._rulebook.params.batch.min_coverage
        found = int(usable[:, -1].sum()) if usable.shape[1] else 0
        total = len(self._universe)
        if found < need * total:
            raise ScanError(
                f"only {found} of {total} symbols of the universe have usable bars on {session} "
                f"({found / total:.0%}; batch.min_coverage is {need:.0%}); nothing was written. "
                "If the data holds other symbols than the universe, name its own with --universe"
            )

    def _candidates(self, ranking: Ranking, panel: Panel, series: Series) -> tuple[Candidate, ...]:
        return tuple(self._candidate(ranking, int(row), panel, series) for row in ranking.candidates)

    def _candidate(self, ranking: Ranking, row: int, panel: Panel, series: Series) -> Candidate:
        signals, rulebook = ranking.signals, self._rulebook
        symbol, session = int(signals.symbol[row]), int(signals.session[row])
        strategy, direction = signals.names[signals.strategy[row]], signals.direction(row)
        value = rulebook.values(strategy, direction)
        hold = _known(value["max_hold_days"]) if "max_hold_days" in value else None
        indicators = _snapshot(rulebook.indicators, series, symbol, session)
        return Candidate(
            symbol=panel.symbols[symbol],
            strategy=strategy,
            direction=direction,
            entry_group=group_name(rulebook.group_of(strategy) or ""),
            prev_close=float(panel.close[symbol, session]),
            atr=float(series["atr"][symbol, session]),
            sl_atr_mult=_known(value.get("sl_atr_mult")),
            tp_atr_mult=_known(value.get("tp_atr_mult")),
            score=float(ranking.score[row]),
            max_hold_days=None if hold is None else int(hold),
            rank=int(ranking.rank[row]),
            sector=self._universe[symbol].sector,
            strength=float(signals.strength[row]),
            signals_of_symbol=int(ranking.company[0][row]),
            opposite_signal=bool(ranking.company[1][row]),
            blackout=bool(ranking.blackout[row]),
            metadata=indicators,
        )

    def _scan_results(self, ranking: Ranking, panel: Panel, series: Series) -> tuple[ScanResult, ...]:
        signals, indicators = ranking.signals, self._rulebook.indicators
        found = []
        for row in range(len(signals)):
            symbol, session = int(signals.symbol[row]), int(signals.session[row])
            found.append(
                ScanResult(
                    symbol=panel.symbols[symbol],
                    strategy=signals.names[signals.strategy[row]],
                    direction=signals.direction(row),
                    strength=float(signals.strength[row]),
                    prev_close=float(panel.close[symbol, session]),
                    atr=float(series["atr"][symbol, session]),
                    indicators=_snapshot(indicators, series, symbol, session),
                    sector=self._universe[symbol].sector,
                    score=_known(float(ranking.score[row])),
                    outcome=ranking.reason(row),
                    decisions=ranking.decisions(row),
                )
            )
        return tuple(found)


def _snapshot(indicators: Sequence[Indicator], series: Series, symbol: int, session: int) -> dict[str, float | None]:
    return {item.name: _known(float(series[item.name][symbol, session])) for item in indicators}


def _known(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else value

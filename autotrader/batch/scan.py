"""The nightly scan: bars, indicators, signals, regime, ranking, result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np

from autotrader.clock import Calendar
from autotrader.core.candidates import candidates, snapshot
from autotrader.core.panel import Panel
from autotrader.core.ranking import Ranking, SignalRanker
from autotrader.core.regime import RegimeDetector
from autotrader.core.rulebook import Rulebook
from autotrader.core.screen import NO_BARS, REASONS, USABLE, bar_counts, screen
from autotrader.core.strategy import Strategy
from autotrader.core.types import BatchResult, Blackout, ScanResult
from autotrader.core.view import MarketView, market_view
from autotrader.errors import AutotraderError
from autotrader.market.feed import BarSource
from autotrader.market.universe import Member


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

    def scan(self, feed: BarSource, session: date) -> BatchResult:
        """The ranked result of one session. ScanError or FeedError where there can be none."""
        if not self._calendar.is_session(session):
            raise ScanError(
                f"{session} is not a session of the exchange; the one before is "
                f"{self._calendar.previous_session(session)}"
            )
        if not self._universe:
            raise ScanError("the universe is empty")
        return self.judge(self.look(feed, session), session)

    def look(self, feed: BarSource, session: date) -> MarketView:
        """The universe's bars up to a session, with everything that is computed from them."""
        panel, market = self._bars(feed, session)
        return market_view(self._rulebook, panel, market)

    def _bars(self, feed: BarSource, session: date) -> tuple[Panel, Panel | None]:
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
        return self.judge(market_view(self._rulebook, panel, market), session)

    def judge(self, view: MarketView, session: date) -> BatchResult:
        """The result of the view's last session."""
        rulebook, batch, panel = self._rulebook, self._rulebook.params.batch, view.panel
        self._check_coverage(view, session)
        notes = []
        if view.proxy != rulebook.params.regime.symbol:
            notes.append(
                f"no usable bars for {rulebook.params.regime.symbol}: the regime is read from the {view.proxy}"
            )
        following = np.append(panel.dates[1:], np.datetime64(self._calendar.next_session(session)))
        sectors = [member.sector for member in self._universe]
        ranker = SignalRanker(rulebook, sectors, self._blackouts)
        tonight = view.signals(self._strategies, slice(-1, None))
        ranking = ranker.rank(tonight, panel, view.series, view.regimes, following)
        counts = bar_counts(panel)
        short = {
            symbol: int(counts[row])
            for row, symbol in enumerate(panel.symbols)
            if view.usable[row, -1] and counts[row] < batch.history_days
        }
        return BatchResult(
            scan_date=session,
            regime=view.regimes[-1],
            regime_decision=RegimeDetector(rulebook.regime).decide(view.series.market),
            regime_proxy=view.proxy,
            total_symbols_scanned=int(view.usable[:, -1].sum()),
            candidates=tuple(candidates(ranking, ranking.candidates, view, sectors, rulebook.all_indicators)),
            scan_results=self._scan_results(ranking, view),
            skipped={
                symbol: REASONS[code]
                for symbol, code in zip(panel.symbols, view.codes[:, -1].tolist(), strict=True)
                if code != USABLE
            },
            short_history=short,
            config_hash=self._config_hash,
            notes=tuple(notes),
        )

    def _check_coverage(self, view: MarketView, session: date) -> None:
        need, total = self._rulebook.params.batch.min_coverage, len(self._universe)
        found = int(view.usable[:, -1].sum())
        if found >= need * total:
            return
        why = Counter(REASONS[code] for code in view.codes[:, -1].tolist() if code != USABLE).most_common()
        text = (
            f"only {found} of {total} symbols of the universe have usable bars on {session} ({found / total:.1%}; "
            f"batch.min_coverage is {need:.1%}): {', '.join(f'{count} {reason}' for reason, count in why)}"
        )
        if why[0][0] == REASONS[NO_BARS]:
            text += "; if the data holds other symbols than the universe, name its own with --universe"
        raise ScanError(text)

    def _scan_results(self, ranking: Ranking, view: MarketView) -> tuple[ScanResult, ...]:
        signals, found = ranking.signals, []
        for row in range(len(signals)):
            symbol, session = int(signals.symbol[row]), int(signals.session[row])
            score = float(ranking.score[row])
            found.append(
                ScanResult(
                    symbol=view.panel.symbols[symbol],
                    strategy=signals.names[signals.strategy[row]],
                    direction=signals.direction(row),
                    strength=float(signals.strength[row]),
                    prev_close=float(view.panel.close[symbol, session]),
                    atr=float(view.series["atr"][symbol, session]),
                    indicators=snapshot(view, symbol, session),
                    sector=self._universe[symbol].sector,
                    score=None if np.isnan(score) else score,
                    outcome=ranking.reason(row),
                    decisions=ranking.decisions(row),
                )
            )
        return tuple(found)

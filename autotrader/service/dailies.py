"""What exits are judged with all day: the last completed day's values of what is held, under each one's configuration.

Had each night, whether or not the scan succeeds, and again after a split; without them a position is judged by its
price alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

from autotrader.clock import Calendar
from autotrader.core.exits import Day
from autotrader.core.rulebook import Rulebook
from autotrader.market.feed import BarSource
from autotrader.market.universe import Member

if TYPE_CHECKING:
    from autotrader.core.panel import Panel
    from autotrader.core.view import MarketView

_WORD = re.compile(r"[A-Za-z_]\w*")


class Dailies:
    """The daily values of one trading session; those of the one before are dropped."""

    def __init__(
        self, feed: BarSource, calendar: Calendar, universe: Sequence[Member], rulebooks: Mapping[str, Rulebook]
    ) -> None:
        """rulebooks: by configuration hash, of everything that is held; it may grow."""
        self._feed = feed
        self._calendar = calendar
        self._universe = universe
        self._rulebooks = rulebooks
        self._session: date | None = None
        self._panel: Panel | None = None
        self._known: frozenset[str] = frozenset()
        self._views: dict[str, tuple[MarketView, dict[str, int]]] = {}

    def lacks(self, session: date, symbols: Collection[str]) -> bool:
        """Whether something has to be had first for these symbols on that session."""
        return bool(symbols) and (session != self._session or not self._known.issuperset(symbols))

    def load(self, session: date, symbols: Collection[str]) -> None:
        """Has the values for these symbols. FeedError where the bars cannot be had; then nothing has changed."""
        known = self._known if session == self._session else frozenset()
        wanted = sorted(known.union(symbols))
        proxies = {rulebook.params.regime.symbol for rulebook in self._rulebooks.values()}
        universe = {member.symbol for member in self._universe} if self._needs_universe() else set()
        count = max(rulebook.params.batch.history_days for rulebook in self._rulebooks.values())
        before = self._calendar.previous_session(session)
        asked = list(dict.fromkeys([*wanted, *sorted(proxies), *sorted(universe)]))
        panel = self._feed.daily_bars(asked, before, count)
        self._session, self._panel, self._known = session, panel, frozenset(wanted)
        self._views.clear()

    def forget(self) -> None:
        """What was had is no longer right: a split was taken since."""
        self._session, self._panel, self._known = None, None, frozenset()
        self._views.clear()

    def day(self, config_hash: str, symbol: str, session: date) -> Day:
        """The values for a symbol; unknown where they could not be had."""
        number = self._calendar.number(session)
        if self._panel is None or session != self._session or symbol not in self._known:
            names = self._rulebooks[config_hash].exit_indicators
            return Day(session, number, None, dict.fromkeys(names, math.nan), math.nan)
        if config_hash not in self._views:
            self._views[config_hash] = self._look(config_hash, self._panel)
        view, rows = self._views[config_hash]
        return view.day(rows[symbol], -1, session, number)

    def close_before(self, symbol: str) -> float:
        """The close of the session before, USD; NaN where it is not known."""
        if self._panel is None or symbol not in self._known:
            return math.nan
        return float(self._panel.close[self._panel.symbols.index(symbol), -1])

    def _look(self, config_hash: str, panel: Panel) -> tuple[MarketView, dict[str, int]]:
        from autotrader.batch.scan import NightlyScanner
        from autotrader.market.memory import PanelFeed

        rulebook = self._rulebooks[config_hash]
        proxy = rulebook.params.regime.symbol
        symbols = [symbol for symbol in panel.symbols if symbol in self._known or symbol != proxy]
        members = [Member(symbol, symbol, "") for symbol in symbols]
        scanner = NightlyScanner(rulebook, config_hash, {}, members, self._calendar)
        view = scanner.look(PanelFeed(panel), panel.dates[-1].item())
        return view, {symbol: row for row, symbol in enumerate(symbols)}

    def _needs_universe(self) -> bool:
        """Whether an exit rule of anybody's reads what is computed over all symbols."""
        return any(_reads_ranks(rulebook) for rulebook in self._rulebooks.values())


def _reads_ranks(rulebook: Rulebook) -> bool:
    declared = {item.name: item for item in rulebook.indicators}
    names = set(rulebook.exit_indicators)
    while further := {word for name in names for word in _WORD.findall(declared[name].of) if word in declared} - names:
        names |= further
    return any(declared[name].kind == "universe_rank" for name in names)

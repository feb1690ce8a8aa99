"""A feed over bars that are in memory already: what another feed gave, asked once for many nights."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from autotrader.core.panel import Panel


class PanelFeed:
    """Serves windows of one panel; a bar after the `last` that is asked for is never in the answer."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel

    def daily_bars(self, symbols: Sequence[str], last: date, sessions: int | None) -> Panel:
        return self._panel.window(last, sessions).select(symbols)

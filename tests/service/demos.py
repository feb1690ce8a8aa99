"""Demos on small markets, and what they left behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from backtest.worlds import CALENDAR, MemoryFeed, configure, edited, market, members

from autotrader.core import events as ev
from autotrader.core.book import Book, Trade
from autotrader.core.panel import FIELDS, Panel
from autotrader.execution.day import Told
from autotrader.journal.store import Journal
from autotrader.market.feed import ShareSplit
from autotrader.service.demo import Dawn, Demo, DemoOptions, Evening, Morning, Night, Tale
from autotrader.validation.load import Configuration

__all__ = [
    "CALENDAR",
    "Dawn",
    "Evening",
    "MemoryFeed",
    "Morning",
    "Night",
    "Told",
    "Trade",
    "configure",
    "edited",
    "members",
]

START = date(2019, 3, 4)
HISTORY = date(2018, 1, 2)


@cache
def bars() -> Panel:
    """120 made-up symbols, 2018 and 2019."""
    return market(120, HISTORY, date(2019, 12, 31), seed=5)


@dataclass(frozen=True)
class Played:
    """A demo that is over."""

    folder: Path
    tales: list[Tale]
    book: Book

    @property
    def journal(self) -> Path:
        return self.folder / "journal.sqlite3"

    def events(self) -> list[ev.Event]:
        with Journal.read(self.journal) as journal:
            return list(journal.events())

    def told(self, kind: type[Any]) -> list[Any]:
        return [tale for tale in self.tales if isinstance(tale, kind)]


def play(
    folder: Path,
    days: int = 10,
    start: date | None = START,
    *edits: tuple[str, str],
    panel: Panel | None = None,
    configuration: Configuration | None = None,
    **options: Any,
) -> Played:
    """A demo on a panel, by default the 120 symbols'. options: of DemoOptions."""
    folder.mkdir(parents=True, exist_ok=True)
    panel = bars() if panel is None else panel
    tales: list[Tale] = []
    demo = Demo(
        configuration or configure(folder, *edits), MemoryFeed(panel), members(panel.symbols),
        DemoOptions(folder / "data", days, start, **options), tales.append,
    )  # fmt: skip
    desk = demo.play()
    desk.journal.close()
    return Played(folder / "data", tales, desk.trader.book)


def as_traded(panel: Panel, splits: Sequence[ShareSplit]) -> Panel:
    """The panel as it was before anybody adjusted it for these splits."""

    def undo(fields: dict[str, np.ndarray]) -> None:
        for split in splits:
            row = panel.symbols.index(split.symbol)
            before = panel.dates < np.datetime64(split.session)
            for name in FIELDS:
                ratio = split.new / split.old
                fields[name][row, before] *= 1 / ratio if name == "volume" else ratio

    return edited(panel, undo)

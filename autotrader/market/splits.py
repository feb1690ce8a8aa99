"""Splits that the bars are not adjusted for, told in a file beside them: splits.csv with symbol, date, new, old.

A bar stands there as it was traded. What looks back over a split (a scan, the indicators of a position) sees the bars
before it in the shares of after it; what is played is as it was.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np

from autotrader.core.panel import Panel
from autotrader.errors import AutotraderError
from autotrader.market.feed import BarSource, ShareSplit

FILE = "splits.csv"
COLUMNS = ("symbol", "date", "new", "old")


class SplitsError(AutotraderError, ValueError):
    """A list of splits that cannot be used; one sentence that names the file and the place."""


def load_splits(data: Path | None) -> tuple[ShareSplit, ...] | None:
    """The splits of a data folder, by date and symbol; None: no such folder, or it has no splits.csv.

    A row "AAPL,2020-08-31,4,1" says that before the open of that session 4 shares took the place of 1.
    SplitsError: unreadable, a missing column, a cell that is none, a symbol and date twice.
    """
    if data is None or not (path := data / FILE).is_file():
        return None
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise SplitsError(
                    f"{path}: column {', '.join(missing)} is missing; the first line is {','.join(COLUMNS)}"
                )
            found = [_split(f"{path}:{reader.line_num}", row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SplitsError(f"{path}: cannot be read as CSV: {error}") from error
    found.sort(key=lambda split: (split.session, split.symbol))
    for one, other in pairwise(found):
        if (one.session, one.symbol) == (other.session, other.symbol):
            raise SplitsError(f"{path}: {one.symbol} is split twice on {one.session}")
    return tuple(found)


def _split(place: str, row: dict[str, str | None]) -> ShareSplit:
    symbol, day, new, old = ((row[column] or "").strip() for column in COLUMNS)
    if not symbol:
        raise SplitsError(f"{place}: the symbol is empty")
    try:
        session = date.fromisoformat(day)
    except ValueError:
        raise SplitsError(f'{place}: "{day}" is not a date like 2020-08-31') from None
    if not (new.isdecimal() and old.isdecimal() and int(new) and int(old)):
        raise SplitsError(f"{place}: {new} new for {old} old shares; both are whole numbers, a 3-for-2 split is 3,2")
    return ShareSplit(symbol, session, int(new), int(old))


class AsOf:
    """A feed that looks back over splits: its bars are in the shares of the last session that is asked for.

    basis: of that later session instead, for what is known before its open.
    """

    def __init__(self, source: BarSource, splits: Sequence[ShareSplit], basis: date | None = None) -> None:
        self._source = source
        self._splits = splits
        self._basis = basis

    def daily_bars(self, symbols: Sequence[str], last: date, sessions: int | None) -> Panel:
        return adjusted(self._source.daily_bars(symbols, last, sessions), self._splits, self._basis or last)


def adjusted(panel: Panel, splits: Sequence[ShareSplit], basis: date) -> Panel:
    """The panel in the shares of `basis`: prices and volumes before each split up to it are rescaled."""
    rows = {symbol: row for row, symbol in enumerate(panel.symbols)}
    ratio = np.ones((len(panel.symbols), panel.sessions))
    for split in splits:
        if split.symbol in rows and split.session <= basis:
            before = int(np.searchsorted(panel.dates, np.datetime64(split.session, "D")))
            ratio[rows[split.symbol], :before] *= split.new / split.old
    if (ratio == 1.0).all():
        return panel
    prices = {field: getattr(panel, field) / ratio for field in ("open", "high", "low", "close")}
    return replace(panel, **prices, volume=panel.volume * ratio)

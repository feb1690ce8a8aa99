"""Bars of many symbols as arrays [symbol, time]: the one shape every calculation reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FIELDS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Daily bars, one row a symbol and one column a session.

    symbols: S names, in the order of the rows, unique.
    dates:   T sessions, datetime64[D], strictly ascending.
    open, high, low, close: float64 [S, T], USD, C-contiguous; NaN where the symbol has no bar.
    volume:  float64 [S, T], shares; NaN where the symbol has no bar.
    """

    symbols: tuple[str, ...]
    dates: NDArray[np.datetime64]
    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array

    def __post_init__(self) -> None:
        shape = (len(self.symbols), len(self.dates))
        for name in FIELDS:
            found = getattr(self, name).shape
            if found != shape:
                raise ValueError(f"{name} has shape {found}, expected {shape}")

    @property
    def sessions(self) -> int:
        return len(self.dates)

    def window(self, last: date, sessions: int | None = None) -> Panel:
        """The bars up to and including `last`, at most `sessions` of them: nothing newer is in the result."""
        end = int(np.searchsorted(self.dates, np.datetime64(last, "D"), side="right"))
        start = 0 if sessions is None else max(0, end - sessions)
        return self._columns(slice(start, end))

    def select(self, symbols: Sequence[str]) -> Panel:
        """The same sessions for these symbols, in this order. KeyError names a symbol that is not there."""
        row = {symbol: i for i, symbol in enumerate(self.symbols)}
        rows = [row[symbol] for symbol in symbols]
        return Panel(tuple(symbols), self.dates, *(np.ascontiguousarray(getattr(self, f)[rows]) for f in FIELDS))

    def _columns(self, part: slice) -> Panel:
        arrays = (np.ascontiguousarray(getattr(self, f)[:, part]) for f in FIELDS)
        return Panel(self.symbols, self.dates[part], *arrays)

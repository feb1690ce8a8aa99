"""Which symbols can be trusted with a signal: enough bars, none missing, none impossible, and the last one traded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autotrader.core.panel import Array, Mask, Panel

FLAT_SESSIONS = 20

USABLE = 0
# A code of `screen` is an index into this list; where several hold, the first in the order of `_checks` is given.
REASONS = (
    "usable",
    "no bars",
    "no bar in the scanned session",
    "a price that is not a positive number",
    "no volume in the scanned session",
    "a session without a bar",
    "too few bars",
    "flat for 20 sessions",
)


def screen(panel: Panel, min_bars: int, window: int) -> NDArray[np.int8]:
    """For every symbol and session, a code: 0 usable, else an index into REASONS.

    Judged on the `window` sessions up to and including the session, so that a column of ten years says what a scan
    of that night would have said. A series that begins inside the window is not missing sessions.
    """
    present = ~np.isnan(panel.close) | ~np.isnan(panel.open)
    sound = _sound(panel)
    bars = _rolling_sum(present, window)
    codes = np.zeros(present.shape, dtype=np.int8)
    with np.errstate(invalid="ignore"):
        traded = panel.volume > 0
    checks = (  # the last one that holds wins
        _flat(panel.close),
        bars < min_bars,
        _has_hole(present, bars, window),
        ~traded,
        _rolling_sum(present & ~sound, window) > 0,
        ~present,
        bars == 0,
    )
    for code, holds in zip(range(len(REASONS) - 1, 0, -1), checks, strict=True):
        codes[holds] = code
    return codes


def bar_counts(panel: Panel) -> NDArray[np.int64]:
    """How many bars each symbol has in the panel."""
    counts: NDArray[np.int64] = np.count_nonzero(~np.isnan(panel.close), axis=1)
    return counts


def _sound(panel: Panel) -> Mask:
    """Where a bar's four prices are positive and finite."""
    sound = np.ones(panel.close.shape, dtype=np.bool_)
    with np.errstate(invalid="ignore"):
        for prices in (panel.open, panel.high, panel.low, panel.close):
            sound &= (prices > 0) & (prices < np.inf)
    return sound


def _rolling_sum(what: Mask, window: int) -> NDArray[np.int32]:
    """How many of the last `window` sessions, this one included."""
    total = np.cumsum(what, axis=1, dtype=np.int32)
    total[:, window:] -= total[:, :-window].copy()
    return total


def _has_hole(present: Mask, bars: NDArray[np.int32], window: int) -> Mask:
    """Whether a session is absent after the first bar of the window."""
    sessions = present.shape[1]
    index = np.arange(sessions)
    # for each session, the next one at or after it that has a bar
    following = np.where(present, index, sessions)
    following = np.minimum.accumulate(following[:, ::-1], axis=1)[:, ::-1]
    start = np.maximum(index - window + 1, 0)
    expected = index + 1 - following[:, start]
    hole: Mask = bars != np.maximum(expected, 0)
    return hole


def _flat(close: Array) -> Mask:
    """Where the last closes have all been the same."""
    same = np.zeros(close.shape, dtype=np.bool_)
    same[:, 1:] = close[:, 1:] == close[:, :-1]
    flat: Mask = _rolling_sum(same, FLAT_SESSIONS - 1) >= FLAT_SESSIONS - 1
    return flat

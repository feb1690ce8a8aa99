"""Which symbols can be trusted with a signal: enough bars, none missing, none impossible, and the last one traded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autotrader.core.panel import Array, Mask, Panel

FLAT_SESSIONS = 20

# A code of `screen` is an index into this list; where several reasons hold, the first is given.
REASONS = (
    "usable",
    "no bars",
    "no bar in the scanned session",
    "a price that is not positive, or a volume that is no number",
    "no volume in the scanned session",
    "a session without a bar",
    "too few bars",
    "flat for 20 sessions",
)
USABLE, NO_BARS, NO_BAR_NOW, UNSOUND, NO_VOLUME, GAP, TOO_FEW, FLAT = range(len(REASONS))


def screen(panel: Panel, min_bars: int, window: int) -> NDArray[np.int8]:
    """For every symbol and session, a code: 0 usable, else an index into REASONS; where several hold, the first.

    Judged on the `window` sessions up to and including the session, so that a column of ten years says what a scan
    of that night would have said. A series that begins inside the window is not missing sessions.
    window: at least FLAT_SESSIONS.
    """
    sound = _sound(panel)
    with np.errstate(invalid="ignore"):
        silent = ~(panel.volume > 0)
    flat = _flat(panel.close)
    bars = np.minimum(np.arange(1, panel.sessions + 1), window)
    codes = np.zeros(sound.shape, dtype=np.int8)
    codes[flat] = FLAT
    codes[:, bars < min_bars] = TOO_FEW
    codes[silent] = NO_VOLUME
    odd = np.flatnonzero(~sound.all(axis=1))  # all else can only be wrong with a row that is not whole
    if odd.size:
        present = ~np.isnan(panel.close[odd]) | ~np.isnan(panel.open[odd])
        bars = _rolling_sum(present, window)
        checks = (  # the last one that holds wins
            (FLAT, flat[odd]),
            (TOO_FEW, bars < min_bars),
            (GAP, _has_gap(present, bars, window)),
            (NO_VOLUME, silent[odd]),
            (UNSOUND, _rolling_sum(present & ~sound[odd], window) > 0),
            (NO_BAR_NOW, ~present),
            (NO_BARS, bars == 0),
        )
        part = np.zeros(present.shape, dtype=np.int8)
        for code, holds in checks:
            part[holds] = code
        codes[odd] = part
    return codes


def bar_counts(panel: Panel) -> NDArray[np.int64]:
    """How many bars each symbol has in the panel."""
    counts: NDArray[np.int64] = np.count_nonzero(~np.isnan(panel.close), axis=1)
    return counts


def _sound(panel: Panel) -> Mask:
    """Where a bar's four prices are positive and finite, and its volume is a number that is not negative."""
    with np.errstate(invalid="ignore"):
        sound = (panel.volume >= 0) & (panel.volume < np.inf)
        for prices in (panel.open, panel.high, panel.low, panel.close):
            sound &= prices > 0
            sound &= prices < np.inf
    return sound


def _rolling_sum(what: Mask, window: int) -> NDArray[np.int32]:
    """How many of the last `window` sessions, this one included."""
    total = np.cumsum(what, axis=1, dtype=np.int32)
    total[:, window:] -= total[:, :-window].copy()
    return total


def _has_gap(present: Mask, bars: NDArray[np.int32], window: int) -> Mask:
    """Whether a session is absent after the first bar of the window."""
    sessions = present.shape[1]
    index = np.arange(sessions)
    # for each session, the next one at or after it that has a bar
    following = np.where(present, index, sessions)
    following = np.minimum.accumulate(following[:, ::-1], axis=1)[:, ::-1]
    start = np.maximum(index - window + 1, 0)
    expected = index + 1 - following[:, start]
    gap: Mask = bars != np.maximum(expected, 0)
    return gap


def _flat(close: Array) -> Mask:
    """Where the last FLAT_SESSIONS closes have all been the same."""
    flat = np.zeros(close.shape, dtype=np.bool_)
    if close.shape[1] < FLAT_SESSIONS:
        return flat
    same, steps = close[:, 1:] == close[:, :-1], 1  # steps: how many in a row `same` speaks of
    while steps < FLAT_SESSIONS - 1:
        more = min(steps, FLAT_SESSIONS - 1 - steps)
        same, steps = same[:, more:] & same[:, :-more], steps + more
    flat[:, FLAT_SESSIONS - 1 :] = same
    return flat

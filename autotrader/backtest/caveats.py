"""What the data of a backtest cannot say, and where they look doubtful."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from autotrader.backtest.engine import BacktestResult
from autotrader.core.book import Trade
from autotrader.core.panel import Array, Panel
from autotrader.core.regime import EQUAL_WEIGHT

JUMP = 0.25  # an overnight move beyond the market's by this much is listed
_BEFORE_ENTRY = timedelta(days=30)  # how long a jump stays in the indicators that a signal reads
_NAMED = 12  # symbols named in one sentence

ASSUMPTIONS = (
    "Where a symbol has minute bars in a session, it is played by them: exits are judged on each bar and filled at the "
    "open of the next one, as live. Everything below is about sessions of which there is only the daily bar.",
    "A session is judged along its daily path: open, adverse extreme, favourable extreme, close, so that what hurts "
    "comes first. An exit is filled at the first price on the way at which its rule leaves, at the open where it gaps.",
    "The pre-market price and the price that confirms an entry are the session's open; all entries are filled there.",
    "for_bars counts as 1: one point of the path is enough. The best price is taken from points that are over.",
    "The protective stop is filled at its own price where the way to a point meets it, at an open beyond it.",
    "An order is filled as a whole; its size moves no price. Every stock can be borrowed.",
    "No interest on cash, no dividends: longs do not receive them, shorts do not pay them.",
    "What is open at the end stays open and is valued at its last close. The drawdown limit is never reset.",
)


@dataclass(frozen=True, slots=True)
class Jump:
    """An overnight move that the market did not make. move, market: open over the close before, minus 1.

    market: the median of all symbols. touches: "held" through it, or "entered" within 30 days after it.
    """

    symbol: str
    session: date
    move: float
    market: float
    touches: str


def jumps(panel: Panel, first: date, last: date, trades: Sequence[Trade]) -> list[Jump]:
    """Moves beyond JUMP against the market that a trade was held through or entered after, the largest first.

    An unadjusted spin-off or split looks like one; so does news.
    """
    begin, end = _columns(panel, first - _BEFORE_ENTRY, last)
    begin = max(begin, 1)
    with np.errstate(all="ignore"):
        moves = panel.open[:, begin:end] / panel.close[:, begin - 1 : end - 1] - 1.0
        moves[~np.isfinite(moves)] = np.nan
        market = _median(moves)
        rows, columns = np.nonzero(np.abs(moves - market) > JUMP)
    stays: dict[str, list[tuple[date, date]]] = {}
    for trade in trades:
        left = last if trade.exited_at is None else trade.exited_at.date()
        stays.setdefault(trade.symbol, []).append((trade.entered_at.date(), left))
    found = []
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        symbol, session = panel.symbols[row], panel.dates[begin + column].item()
        near = stays.get(symbol, ())
        held = any(entered < session <= left for entered, left in near)
        if held or any(session <= entered <= session + _BEFORE_ENTRY for entered, _ in near):
            touches = "held" if held else "entered"
            found.append(Jump(symbol, session, float(moves[row, column]), float(market[column]), touches))
    return sorted(found, key=lambda jump: (jump.touches != "held", -abs(jump.move - jump.market), jump.symbol))


def _median(moves: Array) -> Array:
    """Of each column, what is unknown left out; 0 where all is. numpy.nanmedian takes ten times as long."""
    ordered = np.sort(moves.T, axis=1)  # the unknown last
    known = (~np.isnan(ordered)).sum(axis=1)
    column = np.arange(len(known))
    middle = (ordered[column, np.maximum(known - 1, 0) // 2] + ordered[column, known // 2]) / 2.0
    found: Array = np.where(known > 0, middle, 0.0)
    return found


def caveats(result: BacktestResult, *, invented: bool) -> list[str]:
    """What to keep in mind about this result, in sentences. invented: the market is made up."""
    first, last = result.sessions[0], result.sessions[-1]
    panel, view = result.view.panel, result.view
    begin, end = _columns(panel, first, last)
    begin = max(begin - 1, 0)  # the scan of the session before
    said = []
    if invented:
        said.append("The market is made up: what a strategy earns on it says nothing about a real one.")
    else:
        said.append("One list of symbols stands for the whole period. If it is today's, those that failed or left in "
                    "between are missing, which flatters longs.")  # fmt: skip
        said.append("Prices are taken as they are: check whether your data are adjusted for splits. Prices that are "
                    "not adjusted for spin-offs jump, and no dividends are booked.")  # fmt: skip
    proxy = view.rulebook.params.regime.symbol
    if view.proxy == EQUAL_WEIGHT:
        said.append(f"No bars of {proxy} over the whole period: the regime is read from the {EQUAL_WEIGHT}.")
    said += _impossible(panel, begin, end)
    said += _coverage(result, begin, end)
    said += _gaps(panel, begin, end)
    if result.misfits:
        worst = {item.symbol: f"{item.symbol} (x {item.ratio:.3g})" for item in result.misfits}
        said.append(f"Minute bars on another price basis than the daily ones, {_count(len(result.misfits), 'session')} "
                    f"of a symbol, are not used: {_named(list(worst.values()))}.")  # fmt: skip
    bars = ~np.isnan(panel.close[:, begin:end])
    rows = {symbol: row for row, symbol in enumerate(panel.symbols)}
    stale = [e.trade.symbol for e in result.trades if e.trade.exited_at is None and not bars[rows[e.trade.symbol], -1]]
    if stale:
        said.append(f"Held to the end without a bar there, valued at the last known price: {_named(stale)}.")
    return said


def _impossible(panel: Panel, begin: int, end: int) -> list[str]:
    """Bars that cannot have been: prices that are none, a high or a low that another price is beyond."""
    opens, high, low, close = (values[:, begin:end] for values in (panel.open, panel.high, panel.low, panel.close))
    there = ~(np.isnan(opens) & np.isnan(high) & np.isnan(low) & np.isnan(close))
    sound = (low > 0) & (low <= opens) & (opens <= high) & (high < np.inf) & (low <= close) & (close <= high)
    rows, columns = np.nonzero(there & ~sound)
    if not rows.size:
        return []
    bars = zip(rows.tolist(), columns.tolist(), strict=True)
    named = [f"{panel.symbols[row]} ({panel.dates[begin + column]})" for row, column in bars]
    return [f"{_count(len(named), 'daily bar')} that cannot have been (a price that is none, or one beyond the bar's "
            f"own high or low), of which the open at most is played: {_named(named)}."]  # fmt: skip


def _coverage(result: BacktestResult, begin: int, end: int) -> list[str]:
    view, batch = result.view, result.view.rulebook.params.batch
    usable = view.usable[:, begin : end - 1].mean(axis=0)  # of the scans before each session
    said = []
    none = int((usable == 0.0).sum())
    if none:
        said.append(f"Before {_count(none, 'session')} no symbol was usable (batch.min_bars is {batch.min_bars}): "
                    "nothing could be entered.")  # fmt: skip
    few = int(((usable < batch.min_coverage) & (usable > 0.0)).sum())
    if few:
        said.append(f"Before {_count(few, 'session')} fewer than {batch.min_coverage:.0%} of the symbols were usable: "
                    "the nightly scan would have failed, and nothing been entered; the backtest entered.")  # fmt: skip
    return said


def _gaps(panel: Panel, begin: int, end: int) -> list[str]:
    """Symbols that begin, end or pause inside the period, sessions that nobody traded in."""
    bars = ~np.isnan(panel.close[:, begin:end])
    present = bars.any(axis=1)
    first = np.where(present, bars.argmax(axis=1), 0)
    last = np.where(present, bars.shape[1] - 1 - bars[:, ::-1].argmax(axis=1), -1)
    empty = ~bars.any(axis=0)
    names, dates = panel.symbols, panel.dates[begin:end]
    said = []
    absent = [names[row] for row in np.flatnonzero(~present).tolist()]
    if absent:
        said.append(f"No bars in the period: {_named(absent)}.")
    inside = [f"{names[row]} ({dates[first[row]]})" for row in np.flatnonzero(present & (first > 0)).tolist()]
    if inside:
        verb = "begins" if len(inside) == 1 else "begin"
        said.append(f"{_count(len(inside), 'symbol')} {verb} inside the period: {_named(inside)}.")
    ended = [f"{names[row]} ({dates[last[row]]})" for row in np.flatnonzero(present & (last < len(dates) - 1)).tolist()]
    if ended:
        verb = "ends" if len(ended) == 1 else "end"
        said.append(f"{_count(len(ended), 'symbol')} {verb} inside the period: {_named(ended)}. A position in one is "
                    "not left any more, and is valued at its last close.")  # fmt: skip
    if empty.any():
        said.append(f"{_count(int(empty.sum()), 'session')} without any bar: {_named([str(d) for d in dates[empty]])}.")
    column = np.arange(len(dates))
    paused = (~bars & ~empty & (column > first[:, None]) & (column < last[:, None])).sum(axis=1)
    holes = [f"{names[row]} ({paused[row]})" for row in np.flatnonzero(paused).tolist()]
    if holes:
        said.append(f"Bars missing in between: {_named(holes)}.")
    return said


def _columns(panel: Panel, first: date, last: date) -> tuple[int, int]:
    """The panel's columns from `first` and until after `last`."""
    begin = int(np.searchsorted(panel.dates, np.datetime64(first), side="left"))
    return begin, int(np.searchsorted(panel.dates, np.datetime64(last), side="right"))


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"


def _count(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count:,} {what}s"

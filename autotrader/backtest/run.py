"""One backtest from configuration to result: opens feed and universe, loads the bars, plays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from autotrader.backtest.engine import Backtest, BacktestError, BacktestResult, Costs
from autotrader.backtest.minutes import MinuteFiles
from autotrader.batch.run import open_feed, told_splits
from autotrader.clock import Calendar
from autotrader.core.panel import Panel
from autotrader.market.feed import BarSource, Feed, ShareSplit
from autotrader.market.splits import AsOf
from autotrader.market.universe import Member, load_universe
from autotrader.plugins.feeds.files import FilesFeed
from autotrader.plugins.feeds.synthetic import SyntheticFeed
from autotrader.settings import inside
from autotrader.validation.load import Configuration

_NAMED = 12


@dataclass(frozen=True, slots=True)
class Source:
    """Where bars and symbols come from, instead of what the configuration says; data means the feed "files"."""

    feed: str | None = None
    data: Path | None = None
    universe: Path | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class BacktestRun:
    """A finished backtest. feed: its name; invented: it makes its market up. notes: what was not as asked for."""

    result: BacktestResult
    feed: str
    invented: bool
    notes: tuple[str, ...]


def run_backtest(
    configuration: Configuration,
    home: Path,
    first: date,
    last: date,
    source: Source | None = None,
    *,
    cash: float = 100_000.0,
    costs: Costs | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> BacktestRun:
    """The sessions from `first` to `last`, as far as there are data. tell: hears what is under way.

    Raises an AutotraderError where there can be no result.
    """
    source = source or Source()
    if first > last:
        raise BacktestError(f"--from {first} is after --to {last}")
    calendar = Calendar()
    feed = open_feed(configuration, home, calendar, source.feed, source.data, source.seed)
    members = load_universe(source.universe or inside(home, configuration.settings.system.universe))
    notes = []
    end = feed.last_session()
    if first > end:
        raise BacktestError(f"--from {first} is after the end of the data, {end}")
    if last > end:
        notes.append(f"The data end on {end}: nothing after it is tested.")
    tell("loading bars")
    splits = told_splits(configuration, home, feed, source.data)
    if splits is not None:
        splits = tuple(split for split in splits if split.session <= min(last, end))
    bars = AsOf(feed, splits or ())
    members, panel, market, missing = _load(configuration, bars, calendar, members, first, min(last, end))
    if missing:
        shown = ", ".join(missing[:_NAMED]) + (f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else "")
        need = configuration.settings.params.batch.min_coverage
        few = len(members) < need * (len(members) + len(missing))
        notes.append(
            f"Symbols of the universe without any bars, left out: {shown}."
            + (f" A nightly scan needs {need:.0%} of its universe and would fail on this one." if few else "")
        )
    test = Backtest(
        configuration.rulebook, configuration.settings.config_hash, configuration.strategies(), members, panel, market,
        calendar, configuration.blackouts, _minutes(configuration, home, feed, source, splits or ()), splits,
    )  # fmt: skip
    tell(f"playing {first} to {min(last, end)}")
    result = test.run(first, last, cash, costs)
    begins = result.sessions[0]
    if len(calendar.sessions(first, begins)) > 1:
        notes.append(f"The data begin on {panel.dates[0]}: the first session with a scan before it is {begins}.")
    if configuration.blackouts:
        rows, strangers = configuration.blackouts, {item.symbol for item in configuration.blackouts}
        strangers -= {member.symbol for member in members} | set(missing)
        of_none = f"; not in the universe: {', '.join(sorted(strangers)[:_NAMED])}" if strangers else ""
        notes.append(f"Blackouts apply ({len(rows)} of blackouts.csv), which the configuration's hash does not cover"
                     f"{of_none}.")  # fmt: skip
    return BacktestRun(result, feed.name, isinstance(feed, SyntheticFeed), tuple(notes))


def _minutes(
    configuration: Configuration, home: Path, feed: Feed, source: Source, splits: Sequence[ShareSplit]
) -> MinuteFiles | None:
    """The minute bars that lie in the folder of the daily ones, if that is a folder."""
    path = source.data or inside(home, configuration.settings.system.feed.path)
    if not isinstance(feed, FilesFeed) or path is None or not path.is_dir():
        return None
    return MinuteFiles(path, splits)


def _load(
    configuration: Configuration,
    feed: BarSource,
    calendar: Calendar,
    universe: Sequence[Member],
    first: date,
    last: date,
) -> tuple[tuple[Member, ...], Panel, Panel | None, list[str]]:
    """The members that have bars, their bars, the regime proxy's if it has one in every session, and those without.

    The bars begin twice the scan's history before the period: by then indicators with a long memory have forgotten
    where their data began, so that a session is judged the same in every period around it.
    """
    history = 2 * configuration.settings.params.batch.history_days
    sessions = len(calendar.sessions(first, last)) + history
    symbols = [member.symbol for member in universe]
    proxy = configuration.settings.params.regime.symbol
    asked = symbols if proxy in symbols else [*symbols, proxy]
    panel = feed.daily_bars(asked, last, sessions)
    market = panel.select([proxy])
    rows = np.flatnonzero(~np.isnan(panel.close).all(axis=1))
    present = {panel.symbols[row] for row in rows.tolist()}
    members = tuple(member for member in universe if member.symbol in present)
    if not members:
        raise BacktestError("no symbol of the universe has bars in the data; name the data's own list with --universe")
    complete = not np.isnan(market.close).any()
    missing = [symbol for symbol in symbols if symbol not in present]
    return members, panel.select([member.symbol for member in members]), market if complete else None, missing

"""Small markets to test on, configurations with a few words changed, and one way to run both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Self

import numpy as np

from autotrader.backtest.engine import Backtest, BacktestResult, Costs
from autotrader.backtest.minutes import MinuteSource
from autotrader.clock import Calendar
from autotrader.core.panel import FIELDS, Panel
from autotrader.core.strategy import Strategy
from autotrader.market.bars import load_daily
from autotrader.market.feed import FeedOptions, ShareSplit
from autotrader.market.synthetic import synthetic_panel
from autotrader.market.universe import Member, load_universe
from autotrader.validation.load import PACKAGED_CONFIG, PARAMS_FILE, Configuration, load_files

CALENDAR = Calendar()
SECTORS = ("Energy", "Utilities", "Financials", "Materials", "Health Care")
FREE = Costs(0.0, 0.0, 0.0)


def configure(folder: Path, *edits: tuple[str, str]) -> Configuration:
    """The default configuration with these pieces of its text replaced, each of which must be there."""
    text = (PACKAGED_CONFIG / PARAMS_FILE).read_text(encoding="utf-8")
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / PARAMS_FILE
    path.write_text(text, encoding="utf-8")
    loaded = load_files([path])
    assert loaded.configuration is not None, loaded.problems
    return loaded.configuration


def members(symbols: Sequence[str]) -> list[Member]:
    return [Member(name, name, SECTORS[row % len(SECTORS)]) for row, name in enumerate(symbols)]


def market(count: int, first: date, last: date, seed: int = 0) -> Panel:
    """Made-up bars of some symbols of the packaged universe."""
    packaged = [member.symbol for member in load_universe()]
    return synthetic_panel(packaged[:: len(packaged) // count][:count], first, last, seed, CALENDAR)


def edited(panel: Panel, edit: Callable[[dict[str, np.ndarray]], None]) -> Panel:
    """A copy of a panel; edit: changes its fields in place."""
    fields = {name: getattr(panel, name).copy() for name in FIELDS}
    edit(fields)
    return Panel(panel.symbols, panel.dates, **fields)


def from_closes(closes: np.ndarray, first: date, spread: float = 0.0) -> Panel:
    """Bars that open at the close before; high and low lie `spread` beyond open and close. closes: [symbol, time]."""
    sessions = CALENDAR.sessions(first, CALENDAR.next_session(first, closes.shape[1] + 1))[: closes.shape[1]]
    opens = np.concatenate([closes[:, :1], closes[:, :-1]], axis=1)
    high, low = np.maximum(opens, closes) * (1 + spread), np.minimum(opens, closes) * (1 - spread)
    names = tuple(f"S{row:02}" for row in range(len(closes)))
    dates = np.array(sessions, dtype="datetime64[D]")
    return Panel(names, dates, opens, high, low, closes.copy(), np.full(closes.shape, 1e6))


def shuffled(panel: Panel, seed: int) -> Panel:
    """The symbols with whole histories, their sessions in another order and each without its mean return.

    What a session did to all of them stays together; that one session says nothing about the next is certain.
    """
    whole = panel.select([name for row, name in enumerate(panel.symbols) if not np.isnan(panel.close[row]).any()])
    order = np.random.default_rng(seed).permutation(whole.sessions - 1)
    before = whole.close[:, :-1]
    moves = {name: (getattr(whole, name)[:, 1:] / before)[:, order] for name in ("open", "high", "low", "close")}
    mean = moves["close"].mean(axis=1, keepdims=True)
    close = 100.0 * np.cumprod(np.concatenate((np.ones_like(mean), moves["close"] / mean), axis=1), axis=1)
    bars = [np.concatenate((close[:, :1], close[:, :-1] * moves[name] / mean), axis=1)
            for name in ("open", "high", "low")]  # fmt: skip
    volume = np.concatenate((whole.volume[:, :1], whole.volume[:, 1:][:, order]), axis=1)
    return Panel(whole.symbols, whole.dates, *bars, close, volume)


def run(
    configuration: Configuration,
    panel: Panel,
    first: date | None = None,
    last: date | None = None,
    *,
    universe: Sequence[Member] | None = None,
    costs: Costs | None = None,
    strategies: Mapping[str, Strategy] | None = None,
    cash: float = 100_000.0,
    tally: bool = True,
    minutes: MinuteSource | None = None,
    splits: Sequence[ShareSplit] | None = None,
) -> BacktestResult:
    """A backtest over a whole panel, or the sessions from `first` to `last` of it."""
    test = Backtest(
        configuration.rulebook, configuration.settings.config_hash, strategies or configuration.strategies(),
        members(panel.symbols) if universe is None else universe, panel, None, CALENDAR, configuration.blackouts,
        minutes, splits,
    )  # fmt: skip
    return test.run(first or panel.dates[0].item(), last or panel.dates[-1].item(), cash, costs, tally=tally)


def real_market(folder: Path, first: date | None = None, last: date | None = None) -> tuple[Panel, list[Member]]:
    """The real bars, and their symbols with sectors."""
    panel = load_daily(folder / "sp500_daily.parquet", None, first, last)
    there = set(panel.symbols)
    universe = [item for item in load_universe(folder / "sp500_constituents_2021.csv") if item.symbol in there]
    return panel.select([item.symbol for item in universe]), universe


class MemoryFeed:
    """A panel as a feed: symbols that it lacks are rows of NaN."""

    name = "memory"

    def __init__(self, panel: Panel) -> None:
        self._panel = panel

    @classmethod
    def open(cls, options: FeedOptions) -> Self:
        raise NotImplementedError(f"it is made from a panel, not from {options}")

    def last_session(self) -> date:
        found: date = self._panel.dates[-1].item()
        return found

    def daily_bars(self, symbols: Sequence[str], last: date, sessions: int | None) -> Panel:
        known = self._panel.window(last, sessions)
        rows = {symbol: row for row, symbol in enumerate(known.symbols)}
        fields = {}
        for name in FIELDS:
            values = np.full((len(symbols), known.sessions), np.nan)
            for at, symbol in enumerate(symbols):
                if symbol in rows:
                    values[at] = getattr(known, name)[rows[symbol]]
            fields[name] = values
        return replace(known, symbols=tuple(symbols), **fields)

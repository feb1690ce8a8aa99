"""The demo: whole sessions through the live stages, in virtual time, on a market that nobody pays for."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path

from autotrader.batch.files import (
    BatchResultRecord,
    FilteredResultRecord,
    filtered_path,
    read_batch_result,
    read_filtered,
    result_path,
    write_record,
)
from autotrader.batch.gap_filter import GapFilter, to_plan
from autotrader.batch.run import to_record
from autotrader.batch.scan import NightlyScanner, ScanError
from autotrader.clock import NEW_YORK, Calendar, SystemClock, VirtualClock
from autotrader.core.book import Trade
from autotrader.core.events import Split
from autotrader.core.exits import Day
from autotrader.core.panel import Panel
from autotrader.core.trader import Trader
from autotrader.core.view import MarketView
from autotrader.errors import AutotraderError
from autotrader.execution.day import Told
from autotrader.execution.desk import Desk
from autotrader.execution.session import VirtualSession
from autotrader.journal.store import Journal
from autotrader.market.exchange import Exchange
from autotrader.market.feed import Feed, ShareSplit
from autotrader.market.memory import PanelFeed
from autotrader.market.playback import Mode, Playback
from autotrader.market.splits import AsOf
from autotrader.market.universe import Member
from autotrader.plugins.brokers.paper import PaperBroker, SeededFaults
from autotrader.service.timetable import GAP_FILTER, SCAN
from autotrader.settings import Batch
from autotrader.validation.load import Configuration

ACCOUNT = "DEMO"
_TAG = "demo"


class DemoError(AutotraderError):
    """The demo cannot be played; one sentence that says why and what to do."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What to play. folder: where journal and results go; what a demo left there is removed first.

    minutes: real minute bars, where there are any. mode: "minutes", or "path" for the daily path. faults: how often
    the broker fails, by each kind of fault, 0 to 1.
    splits: those that the bars are not adjusted for; None: nobody has said.
    """

    folder: Path
    days: int
    start: date | None = None
    cash: float = 100_000.0
    seed: int = 0
    mode: Mode = "minutes"
    minutes: Path | None = None
    slippage_bps: float = 0.0
    commission: float = 0.0
    borrow: float = 0.01
    faults: float = 0.0
    splits: Sequence[ShareSplit] | None = None


@dataclass(frozen=True, slots=True)
class Night:
    """A scan was made, or not."""

    session: date
    record: BatchResultRecord | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Dawn:
    """A session begins. closes: when, New York."""

    session: date
    closes: time


@dataclass(frozen=True, slots=True)
class Morning:
    """The gap filter has run."""

    session: date
    record: FilteredResultRecord


@dataclass(frozen=True, slots=True)
class Evening:
    """A session has closed. day_return: over equity at the previous close."""

    session: date
    equity: float
    day_return: float
    drawdown: float
    open_positions: int


Tale = Night | Dawn | Morning | Told | Evening | Trade | Split


class Demo:
    """Plays sessions one after the other; `tell` hears everything as it happens."""

    def __init__(
        self,
        configuration: Configuration,
        feed: Feed,
        universe: Sequence[Member],
        options: DemoOptions,
        tell: Callable[[Tale], None],
    ) -> None:
        self._configuration = configuration
        self._universe = universe
        self._options = options
        self._tell = tell
        self._calendar = Calendar()
        self.sessions = self._pick_sessions(feed)
        self._feed = self._load(feed)
        self._results = options.folder / "batch_results"
        self.clock = VirtualClock(self._at(self._before(self.sessions[0]), self._batch.scan_time))
        self._scanner = NightlyScanner(
            configuration.rulebook, configuration.settings.config_hash, configuration.strategies(), universe,
            self._calendar, configuration.blackouts,
        )  # fmt: skip
        self._view: MarketView | None = None
        self._rows = {member.symbol: row for row, member in enumerate(universe)}

    @property
    def _batch(self) -> Batch:
        return self._configuration.settings.params.batch

    def play(self) -> Desk:
        """All sessions. The desk as the last one left it; its journal is open."""
        options, rulebook = self._options, self._configuration.rulebook
        _clear(options.folder)
        journal = Journal.open(options.folder / "journal.sqlite3", ACCOUNT, initial_cash=options.cash)
        settings = self._configuration.settings
        journal.store_config(settings.config_hash, settings.params, settings.system)
        exchange = Exchange(
            options.cash, self._calendar, account_id=ACCOUNT, slippage_bps=options.slippage_bps,
            commission=options.commission,
        )  # fmt: skip
        trader = Trader(journal.book(), {settings.config_hash: rulebook}, _TAG, self._day_of)
        broker = PaperBroker(exchange, self.clock, SeededFaults(options.seed, options.faults))
        desk = Desk(
            trader, journal, broker, self._calendar, self.clock, rulebook,
            protect=options.mode == "minutes",
        )  # fmt: skip
        desk.recover()
        playback = Playback(
            self._feed, self._calendar, options.mode, options.seed, options.minutes, options.splits
        )  # fmt: skip
        stage = VirtualSession(
            desk, playback, exchange, self._calendar, self.clock, rulebook, self._tell, options.borrow
        )
        self._scan(self._before(self.sessions[0]))
        for session in self.sessions:
            self._play(session, desk, stage, playback)
            self.clock.advance_to(self._at(session, self._batch.scan_time))
            if self._scan(session):
                desk.finish(SCAN)
        return desk

    def _play(self, session: date, desk: Desk, stage: VirtualSession, playback: Playback) -> None:
        before, options = self._before(session), self._options
        self.clock.advance_to(self._at(session, self._batch.gap_filter_time))
        desk.open_session(session)
        self._tell(Dawn(session, self._calendar.closes_at(session).astimezone(NEW_YORK).time()))
        if playback.splits(session):
            # what exits are judged with today looks back in today's shares
            self._view = self._scanner.look(AsOf(self._feed, options.splits or (), session), before)
            for split in stage.take_splits(session):
                self._tell(split)
        plan = None
        if result_path(self._results, before).exists():
            record = self._filter(session, before, desk, playback)
            plan = to_plan(record, self._configuration.rulebook)
        closed = len(desk.trader.book.trades)
        stage.play(session, plan)
        for trade in desk.trader.book.trades[closed:]:
            self._tell(trade)
        book = desk.trader.book
        equity = book.equity_history[-1][1]
        previous = book.equity_history[-2][1] if len(book.equity_history) > 1 else options.cash
        self._tell(Evening(session, equity, equity / previous - 1, book.drawdown(equity), len(book.positions)))

    def _filter(self, session: date, before: date, desk: Desk, playback: Playback) -> FilteredResultRecord:
        scan = read_batch_result(result_path(self._results, before))
        quotes = playback.pre_market(session, [item.symbol for item in scan.candidates])
        record, judged = GapFilter(self._configuration.rulebook).filter(
            scan, quotes, session, 1, self.clock.now(), playback.splits(session)
        )
        write_record(filtered_path(self._results, before), record)
        desk.record(judged)
        desk.finish(GAP_FILTER)
        self._tell(Morning(session, record))
        return read_filtered(filtered_path(self._results, before))

    def _scan(self, session: date) -> bool:
        """The night's scan. False: there is none, and no entries; exits know the day's bars all the same."""
        self._view = self._scanner.look(AsOf(self._feed, self._options.splits or ()), session)
        try:
            result = self._scanner.judge(self._view, session)
        except ScanError as error:
            self._tell(Night(session, None, str(error)))
            return False
        record = to_record(result, list(self._configuration.enabled), self.clock.now(), 0.0)
        write_record(result_path(self._results, session), record)
        self._tell(Night(session, record))
        return True

    def _day_of(self, _config_hash: str, symbol: str) -> Day:
        """The last night's values of a held symbol."""
        assert self._view is not None
        session = self.clock.now().astimezone(NEW_YORK).date()
        return self._view.day(self._rows[symbol], -1, session, self._calendar.number(session))

    # --- what to play -------------------------------------------------------------------------------------------

    def _pick_sessions(self, feed: Feed) -> list[date]:
        days, start = self._options.days, self._options.start
        if days < 1:
            raise DemoError(f"{days} days cannot be played; --days is at least 1")
        end = feed.last_session()
        if start is None:
            last = min(end, self._calendar.last_completed(SystemClock().now()))
            sessions = [last]
            while len(sessions) < days:
                sessions.append(self._calendar.previous_session(sessions[-1]))
            return sessions[::-1]
        first = start if self._calendar.is_session(start) else self._calendar.next_session(start)
        sessions = [first]
        while len(sessions) < days:
            sessions.append(self._calendar.next_session(sessions[-1]))
        if sessions[-1] > end:
            there = sum(session <= end for session in sessions)
            raise DemoError(f"the data ends on {end}: of {days} sessions from {start} it has {there}")
        return sessions

    def _load(self, feed: Feed) -> PanelFeed:
        """All bars that will be needed, read once."""
        proxy = self._configuration.settings.params.regime.symbol
        symbols = list(dict.fromkeys([*(member.symbol for member in self._universe), proxy]))
        count = len(self.sessions) + self._batch.history_days + 1
        panel: Panel = feed.daily_bars(symbols, self.sessions[-1], count)
        return PanelFeed(panel)

    def _before(self, session: date) -> date:
        return self._calendar.previous_session(session)

    def _at(self, session: date, when: time) -> datetime:
        return datetime.combine(session, when, NEW_YORK)


def _clear(folder: Path) -> None:
    """Removes what an earlier demo left, and nothing else's."""
    journal = folder / "journal.sqlite3"
    if journal.exists():
        with Journal.read(journal) as found:
            if found.account_id != ACCOUNT:
                raise DemoError(
                    f"{journal} is the journal of account {found.account_id}, not of a demo; "
                    "give the demo a folder of its own with --home"
                )
        for name in ("journal.sqlite3", "journal.sqlite3-wal", "journal.sqlite3-shm"):
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / "batch_results", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)

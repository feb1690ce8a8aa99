"""One stage of a session by hand: the gap filter, an entry group, the monitor, each in a process of its own.

The paper broker's exchange lives in memory, so each stage restores it from the book, plays the session on from where
the stage before it stopped, and leaves what happened in the journal. Running a stage again changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from autotrader.batch.files import (
    BatchResultRecord,
    FilteredResultRecord,
    ResultFileError,
    filtered_path,
    give_name,
    read_batch_result,
    read_filtered,
    result_path,
    set_aside,
    write_record,
)
from autotrader.batch.gap_filter import GapFilter, to_plan
from autotrader.batch.scan import NightlyScanner
from autotrader.clock import NEW_YORK, Calendar, VirtualClock
from autotrader.core.book import Book
from autotrader.core.events import StageDone
from autotrader.core.exits import Day
from autotrader.core.rulebook import Rulebook, build_rulebook
from autotrader.core.trader import Plan, Trader
from autotrader.core.view import MarketView
from autotrader.errors import AutotraderError
from autotrader.execution.desk import Desk
from autotrader.execution.orders import order_request
from autotrader.execution.session import SPLITS, VirtualSession
from autotrader.journal.store import Journal
from autotrader.market.exchange import Exchange
from autotrader.market.feed import Feed, ShareSplit
from autotrader.market.playback import Mode, Playback
from autotrader.market.splits import AsOf
from autotrader.market.universe import Member
from autotrader.plugins.brokers.paper import PaperBroker
from autotrader.service.demo import Dawn, Evening, Morning, Tale
from autotrader.service.results import fingerprint
from autotrader.validation.load import Configuration

ACCOUNT = "PAPER"
CASH = 100_000.0
BORROW = 0.01  # what shorts pay, as an annual ratio
_TAG = "paper"


class StageError(AutotraderError):
    """The stage cannot be carried out, and nothing was done; one sentence that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where a deployment keeps its state, and what its days are played on.

    folder: of the journal and of batch_results. mode, minutes, splits: see Playback. cash: of an account that begins
    here.
    """

    configuration: Configuration
    feed: Feed
    universe: Sequence[Member]
    folder: Path
    mode: Mode = "minutes"
    minutes: Path | None = None
    seed: int = 0
    cash: float = CASH
    splits: Sequence[ShareSplit] | None = None

    @property
    def results(self) -> Path:
        return self.folder / "batch_results"


class Stages:
    """The stages of one trading session, each by itself. False from one: it was done before, nothing was done now."""

    def __init__(self, deployment: Deployment, session: date | None, tell: Callable[[Tale], None]) -> None:
        """session: the trading session; None: the one after the latest scan."""
        self._deployment = deployment
        self._tell = tell
        self._calendar = Calendar()
        self.session = self._checked(session or self._after_latest_scan())
        params = deployment.configuration.settings.params
        self._clock = VirtualClock(datetime.combine(self.session, params.batch.gap_filter_time, NEW_YORK))
        self._playback = Playback(
            deployment.feed, self._calendar, deployment.mode, deployment.seed, deployment.minutes, deployment.splits
        )  # fmt: skip
        self._views: dict[str, tuple[MarketView, dict[str, int]]] = {}

    def gap_filter(self) -> bool:
        """Filters the candidates of the latest scan by the prices before the open; writes the filtered result."""
        with self._journal() as journal:
            recorded = self._recorded(journal, "gap_filter")
            if recorded is not None and self._fingerprint_fits(recorded):
                return False
            scan = self._scan()
            desk, _ = self._desk(journal, begin=recorded is None)
            symbols = [item.symbol for item in scan.candidates]
            quotes = self._playback.pre_market(self.session, symbols)
            age = self._calendar.number(self.session) - self._calendar.number(scan.scan_date)
            record, judged = GapFilter(self._rulebook).filter(
                scan, quotes, self.session, age, self._clock.now(), self._splits_since(scan.scan_date)
            )
            path = filtered_path(self._deployment.results, scan.scan_date)
            if recorded is not None:
                self._write_again(path, record, recorded)
                return False
            write_record(path, record)
            desk.record(judged)
            desk.finish("gap_filter", fingerprint(path))
        self._tell(Morning(self.session, record))
        return True

    def enter(self, group: str) -> bool:
        """Plays the session on to a group's time and enters its candidates."""
        groups = self._deployment.configuration.settings.params.entry.groups
        with self._journal() as journal:
            if self._recorded(journal, f"enter:{group}") is not None:
                return False
            for key, other in groups.items():
                if other.at > groups[group].at and self._recorded(journal, f"enter:{key}") is not None:
                    raise StageError(f"group {key} of {self.session} was entered already, and {group} comes before it")
            plan = self._plan(journal)
            desk, stage = self._desk(journal)
            closed = len(desk.trader.book.trades)
            stage.play_to(self.session, plan, group)
            self._tell_trades(desk.trader.book, closed)
        return True

    def monitor(self) -> bool:
        """Plays the rest of the session for what is held, and closes it."""
        with self._journal() as journal:
            if self._recorded(journal, "close") is not None:
                return False
            desk, stage = self._desk(journal)
            book = desk.trader.book
            closed = len(book.trades)
            stage.play_out(self.session)
            self._tell_trades(book, closed)
        equity = book.equity_history[-1][1]
        before = book.equity_history[-2][1] if len(book.equity_history) > 1 else journal.initial_cash or equity
        self._tell(Evening(self.session, equity, equity / before - 1, book.drawdown(equity), len(book.positions)))
        return True

    # --- the files of the stages before -------------------------------------------------------------------------

    def _after_latest_scan(self) -> date:
        found = [day for path in self._deployment.results.glob("*.json") if (day := _day(path.stem)) is not None]
        if not found:
            raise StageError(f"no scan result in {self._deployment.results}; run `autotrader scan` first")
        return self._calendar.next_session(max(found))

    def _checked(self, session: date) -> date:
        if not self._calendar.is_session(session):
            following = self._calendar.next_session(session)
            raise StageError(f"{session} is not a session of the exchange; the next one is {following}")
        end = self._deployment.feed.last_session()
        if session > end:
            raise StageError(f"the data ends on {end}: there are no prices for {session} yet")
        return session

    def _scan(self) -> BatchResultRecord:
        """The latest scan before the session that is not too old for it."""
        batch = self._deployment.configuration.settings.params.batch
        before = self._calendar.previous_session(self.session)
        for age in range(1, batch.max_stale_sessions + 2):
            day = self._calendar.previous_session(self.session, age)
            path = result_path(self._deployment.results, day)
            if not path.exists():
                continue
            record = read_batch_result(path)
            if record.scan_date != day:
                raise ResultFileError(f"{path} holds the scan of {record.scan_date}; scan {day} again")
            known = self._deployment.configuration.settings.params.strategies
            unknown = sorted({item.strategy for item in record.candidates} - set(known))
            if unknown:
                raise StageError(
                    f"{path} has candidates of {', '.join(unknown)}, which the configuration does not know any more; "
                    f"scan {day} again"
                )
            return record
        path = result_path(self._deployment.results, before)
        raise StageError(f"{path} is not there; run `autotrader scan --date {before}` first")

    def _splits_since(self, scanned: date) -> list[ShareSplit]:
        return [item for item in self._deployment.splits or () if scanned < item.session <= self.session]

    def _plan(self, journal: Journal) -> Plan:
        """The candidates that the gap filter left, from the very file that it wrote."""
        recorded = self._recorded(journal, "gap_filter")
        if recorded is None:
            before = filtered_path(self._deployment.results, self._calendar.previous_session(self.session))
            raise StageError(
                f"the gap filter has not run for {self.session} ({before}); "
                f"run `autotrader gap-filter --date {self.session}` first"
            )
        path = self._deployment.results / recorded.split(maxsplit=1)[0]
        record: FilteredResultRecord = read_filtered(path)
        if not self._fingerprint_fits(recorded):
            raise ResultFileError(
                f"{path} is not the file that the gap filter wrote for {self.session}: it was changed since; "
                f"`autotrader gap-filter --date {self.session}` restores it"
            )
        plan = to_plan(record, self._rulebook)
        return replace(plan, config_hash=self._deployment.configuration.settings.config_hash)

    def _fingerprint_fits(self, recorded: str) -> bool:
        path = self._deployment.results / recorded.split(maxsplit=1)[0]
        return path.exists() and fingerprint(path) == recorded

    def _write_again(self, path: Path, record: FilteredResultRecord, recorded: str) -> None:
        """Restores a filtered result that was lost or changed, if the same comes out; what stands there is kept."""
        beside = path.with_name(f"{path.name}.again")
        write_record(beside, record)
        same = fingerprint(beside, path.name) == recorded
        if not same:
            beside.unlink()
            raise ResultFileError(
                f"{path} is not the file that the gap filter wrote for {self.session}, and filtering again gives "
                "another result (the scan, the prices or the configuration have changed): no entries in this session"
            )
        if path.exists():
            set_aside(path)
        give_name(beside, path)

    # --- the desk -----------------------------------------------------------------------------------------------

    @property
    def _rulebook(self) -> Rulebook:
        return self._deployment.configuration.rulebook

    def _journal(self) -> Journal:
        path = self._deployment.folder / "journal.sqlite3"
        return Journal.open(path, ACCOUNT, initial_cash=self._deployment.cash, clock=self._clock)

    def _recorded(self, journal: Journal, stage: str) -> str | None:
        """What was recorded when the stage was done; None: it was not."""
        for event in journal.events():
            if isinstance(event, StageDone) and (event.session, event.stage) == (self.session, stage):
                return event.detail
        return None

    def _desk(self, journal: Journal, *, begin: bool = True) -> tuple[Desk, VirtualSession]:
        """Everything as the stages before left it. begin: the session is opened, if it was not."""
        book = journal.book()
        self._check_order(book)
        settings = self._deployment.configuration.settings
        journal.store_config(settings.config_hash, settings.params, settings.system)
        hashes = {held.plan.config_hash for held in book.positions.values()} - {settings.config_hash}
        rulebooks = {name: build_rulebook(journal.config(name).params) for name in sorted(hashes)}
        rulebooks[settings.config_hash] = self._rulebook
        exchange = self._exchange(book)
        trader = Trader(book, rulebooks, _TAG, lambda name, symbol: self._day_of(rulebooks[name], name, symbol, book))
        trader.prices.update(self._last_prices(book))
        protect = self._deployment.mode == "minutes"
        broker = PaperBroker(exchange, self._clock)
        desk = Desk(trader, journal, broker, self._calendar, self._clock, self._rulebook, protect=protect)
        desk.recover()
        stage = VirtualSession(
            desk, self._playback, exchange, self._calendar, self._clock, self._rulebook, self._tell, BORROW
        )
        self._tell(Dawn(self.session, self._calendar.closes_at(self.session).astimezone(NEW_YORK).time()))
        if begin:
            desk.open_session(self.session)
            for split in stage.take_splits(self.session):
                self._tell(split)
        return desk, stage

    def _check_order(self, book: Book) -> None:
        """Sessions are worked one after the other."""
        if book.session is None or book.session == self.session:
            return
        if book.session > self.session:
            raise StageError(f"the account is at {book.session} already; {self.session} is over")
        if not book.equity_history or book.equity_history[-1][0] != book.session:
            raise StageError(
                f"the session of {book.session} was begun and not closed; "
                f"run `autotrader monitor --date {book.session}` first"
            )

    def _exchange(self, book: Book) -> Exchange:
        """The paper exchange with what the account holds and has on order."""
        exchange = Exchange(book.cash, self._calendar, account_id=ACCOUNT)
        for held in book.positions.values():
            exchange.hold(held.symbol, held.sign * held.quantity, held.entry_price)
        for order in book.orders.values():
            exchange.submit(order_request(order.ordered), self._clock.now())
        return exchange

    def _last_prices(self, book: Book) -> dict[str, float]:
        """What was held before the session was worth at the close before it."""
        before = self._calendar.previous_session(self.session)
        held = sorted(symbol for symbol, position in book.positions.items() if position.session < self.session)
        if not held:
            return {}
        day = self._playback.day(before, held)
        closes = {symbol: bar.close for symbol, bar in day.daily.items()}
        closes |= {symbol: float(bars.close[-1]) for symbol, bars in day.bars.items()}
        if (self.session, SPLITS) in book.done:  # what is held is in the new shares already
            for split in self._playback.splits(self.session):
                if split.symbol in closes:
                    closes[split.symbol] *= split.old / split.new
        return closes

    def _day_of(self, rulebook: Rulebook, config_hash: str, symbol: str, book: Book) -> Day:
        """The values of the last completed day, under the configuration that the position was opened with."""
        if config_hash not in self._views:
            known = {member.symbol for member in self._deployment.universe}
            others = [Member(name, name, "") for name in sorted(book.positions) if name not in known]
            universe = [*self._deployment.universe, *others]
            scanner = NightlyScanner(rulebook, config_hash, {}, universe, self._calendar)
            # bars before a split that takes effect this morning are seen in this morning's shares
            feed = AsOf(self._deployment.feed, self._deployment.splits or (), self.session)
            view = scanner.look(feed, self._calendar.previous_session(self.session))
            self._views[config_hash] = view, {member.symbol: row for row, member in enumerate(universe)}
        view, rows = self._views[config_hash]
        return view.day(rows[symbol], -1, self.session, self._calendar.number(self.session))

    def _tell_trades(self, book: Book, before: int) -> None:
        for trade in book.trades[before:]:
            self._tell(trade)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None

"""The service's loop: recover, take what people ask for, carry out what is due, trade, and say how it is.

One turn does all that is to be done at a moment and may be repeated anywhere: what was done is in the journal.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from autotrader.batch.files import BatchResultRecord, ResultFileError
from autotrader.clock import NEW_YORK, Calendar, Clock, apart
from autotrader.core.exits import Day
from autotrader.core.rulebook import Rulebook, RulebookError, build_rulebook
from autotrader.core.trader import Plan, Trader
from autotrader.errors import AutotraderError
from autotrader.execution.day import Told, TradingDay
from autotrader.execution.desk import Desk
from autotrader.journal.store import Journal, JournalError
from autotrader.market.broker import Broker, BrokerError
from autotrader.market.feed import FeedError, LiveFeed
from autotrader.market.universe import Member
from autotrader.service import inbox
from autotrader.service.adoption import finder
from autotrader.service.alerts import Alerts
from autotrader.service.configurations import Configurations
from autotrader.service.dailies import Dailies
from autotrader.service.live import LivePrices
from autotrader.service.phases import Phases
from autotrader.service.presence import Running
from autotrader.service.results import ResultFiles
from autotrader.service.retention import tidy
from autotrader.service.scheduler import SPLITS, Agenda, Lapsed, Ledger, Ready, agenda
from autotrader.service.status import CLOCK, DISK, READS, Row, Surroundings, hindrances, status
from autotrader.service.timetable import CLOSE, GAP_FILTER, SCAN
from autotrader.validation.load import Configuration

log = logging.getLogger("autotrader.service")

MINUTE = timedelta(minutes=1)
TRY_AGAIN = timedelta(seconds=5)  # what could not be had from broker or feed is asked for again
LAST_BARS = timedelta(seconds=30)  # after the close, its last minute's bars are waited for no longer
IDLE_SYNC = timedelta(seconds=60)  # how often orders are asked about while no session runs
BROKER, DAILY, FILES = "broker", "daily values", "result files"


@dataclass(frozen=True)
class Parts:
    """What a service is made of. data: its folder. beat: called on every turn; wake: has it turn at once."""

    folder: Path
    data: Path
    broker: Broker
    feed: LiveFeed
    journal: Journal
    configurations: Configurations
    universe: tuple[Member, ...]
    calendar: Calendar
    clock: Clock
    alerts: Alerts
    grace: timedelta
    silence: timedelta
    clock_within: timedelta
    keep_logs_days: int = 30
    beat: Callable[[], None] = lambda: None
    wake: Callable[[], None] = lambda: None


class Rulebooks(dict[str, Rulebook]):
    """Compiled rules by configuration hash, from the journal where they are not there yet. JournalError."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def __missing__(self, config_hash: str) -> Rulebook:
        try:
            found = build_rulebook(self._journal.config(config_hash).params)
        except RulebookError as error:
            raise JournalError(f"the configuration {config_hash[:12]} cannot be used any more: {error}") from error
        self[config_hash] = found
        return found


@dataclass(frozen=True)
class _Scan:
    """A scan that is under way in a thread of its own."""

    ready: Ready
    configuration: Configuration
    result: Future[BatchResultRecord]


class Service:
    """One account's service. Starting it is recovering: nothing but the journal and the broker is relied on.

    publish: hands over the state, at the end of every turn.
    """

    def __init__(self, parts: Parts) -> None:
        self.publish: Callable[[Service], None] = lambda _: None
        self._parts = parts
        self._clock, self._calendar = parts.clock, parts.calendar
        self._alerts, self._configurations = parts.alerts, parts.configurations
        journal = parts.journal
        book = journal.book()
        self.ledger = Ledger.of(journal.events(), journal.created_at)
        self.rulebooks = Rulebooks(journal)
        settings = self._configurations.current.settings
        journal.store_config(settings.config_hash, settings.params, settings.system)
        self.rulebooks[settings.config_hash] = self._configurations.current.rulebook
        trader = Trader(book, self.rulebooks, account_tag(journal.account_id), self._day_of)
        self.desk = Desk(
            trader, journal, parts.broker, self._calendar, self._clock, self._configurations.current.rulebook,
            tell=parts.alerts.tell, explains=self._is_split,
        )  # fmt: skip
        self.phases = Phases(
            self.desk, parts.feed, ResultFiles(parts.data / "batch_results"), self.ledger, self.rulebooks,
            parts.universe, self._calendar, self._clock, parts.alerts.tell,
        )  # fmt: skip
        self._dailies = Dailies(parts.feed, self._calendar, parts.universe, self.rulebooks)
        self._inbox = inbox.Inbox(parts.data)
        self._hands = inbox.Hands(
            self.desk.orders.keep, journal.commit, lambda name: self.desk.orders.end(name, self._clock.now()),
            self.desk.sync, finder(parts.folder, journal, self.rulebooks),
        )  # fmt: skip
        self._day: TradingDay | None = None
        self._prices: LivePrices | None = None
        self._planned = False
        self._plan: Plan | None = None
        self._recovered = False
        self._scanning: _Scan | None = None
        before = hindrances(journal.recent_events(kinds=READS))
        self._clock_is_right = CLOCK not in before
        self.desk.hold = before.get(CLOCK)
        self._breaks = 0
        self._not_before: dict[str, datetime] = {}  # what failed -> when it is tried again
        self._last_sync: datetime | None = None
        self._tidied: date | None = None
        self._reload = False
        self._started = self._clock.now()
        if DISK in before:
            self._try_later(DISK, timedelta())
        self._know_held()

    # --- the loop -------------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """The configuration is to be looked at, edited or not."""
        self._reload = True

    def turn(self) -> datetime:
        """All that is to be done now; gives when the next thing is to be done at the latest.

        JournalError: what happens cannot be recorded any more, so nothing may go on happening.
        """
        self._parts.beat()
        self.desk.journal.check_place()
        again, self._reload = self._reload, False
        self._configurations.look(again=again)
        self.recover()
        self._watch_clock()
        self._take_requests()
        self._carry_out()
        self._load_dailies()
        if self._active() is not None:
            self._trade()
        else:
            self._idle()
        self._watch_disk()
        self._alerts.tick()
        self.desk.journal.commit()
        self.publish(self)
        return self._next_at()

    def agenda(self) -> Agenda:
        return agenda(self._clock.now(), self._configurations.current.settings.params, self._calendar, self.ledger)

    def state(self, now: datetime) -> Row:
        """What /status shows."""
        trader = self.desk.trader
        recent = self.desk.journal.recent_events(kinds=READS)
        params = self._configurations.current.settings.params
        around = Surroundings(
            running=Running(os.getpid(), self._started), beat_age_seconds=0.0, edited=self._configurations.pending
        )
        return status(
            trader.book, recent, trader.prices, self.rulebooks.get, params, self._calendar, now, around
        )

    # --- starting -------------------------------------------------------------------------------------------------

    def _know_held(self) -> None:
        """The rules of everything that is held or on order; what cannot be had any more is judged by today's."""
        book = self.desk.trader.book
        plans = [held.plan for held in book.positions.values()]
        plans += [order.ordered.plan for order in book.orders.values() if order.ordered.plan is not None]
        for config_hash in {plan.config_hash for plan in plans}:
            try:
                self.rulebooks[config_hash]  # loads it
            except JournalError as error:
                self.rulebooks[config_hash] = self._configurations.current.rulebook
                self._alerts.tell("critical", f"configuration {config_hash[:12]}", str(error),
                                  "what was opened under it is judged by the configuration in effect",
                                  "see `autotrader status`, and `autotrader adopt-config`")  # fmt: skip

    def recover(self) -> None:
        """Until journal and broker have been compared nothing is opened; exits go on all the while."""
        if not self._recovered and self._may_try("recover"):
            try:
                self.desk.recover()
            except BrokerError as error:
                self._broker_trouble(error)
                self._try_later("recover")
                return
            self._recovered = True
            self._alerts.over(BROKER)
            book, off = self.desk.trader.book, self.desk.entries_off()
            stops = {order.ordered.symbol for order in book.orders.values() if order.ordered.leg == "stop"}
            log.info("recovered: %d positions, %d with a stop at the broker, %d being left; %d open orders; entries %s",
                     len(book.positions), len(stops & book.positions.keys()),
                     sum(held.leaving is not None for held in book.positions.values()), len(book.orders),
                     f"off: {off}" if off else "on")  # fmt: skip
        link = self._parts.broker.link()
        if link.breaks != self._breaks and self._may_try("poll"):
            try:
                self.desk.orders.poll(self._clock.now())
            except BrokerError as error:
                self._broker_trouble(error)
                self._try_later("poll")
            else:
                self._breaks = link.breaks

    def _compare(self) -> None:
        """Journal and broker, also between sessions; in one, the day's ticks see to it."""
        if self.desk.quiet():
            try:
                self.desk.reconcile()
            except BrokerError as error:
                self._broker_trouble(error)

    def _is_split(self, symbol: str, mine: int, theirs: int) -> bool:
        """Whether the broker has made a split before this service has, whose time for it is just before the open."""
        today = self._clock.now().astimezone(NEW_YORK).date()
        if not mine or not self._calendar.is_session(today) or (today, SPLITS) in self.ledger.done:
            return False
        try:
            found = self._parts.feed.splits([symbol], today)
        except FeedError as error:
            log.warning("nobody knows whether %s is split today: %s", symbol, error)
            return False
        return any(theirs == (1 if mine > 0 else -1) * (abs(mine) * split.new // split.old) for split in found)

    # --- people ---------------------------------------------------------------------------------------------------

    def _take_requests(self) -> None:
        book, now = self.desk.trader.book, self._clock.now()
        session = book.session or now.astimezone(NEW_YORK).date()
        inbox.take(self._inbox, book, self._hands, now, session, self._alerts.tell)
        if book.flatten is None:
            return
        active = self._active()
        if active is not None and self._is_open(active):
            self.desk.end_entries()
            if any(held.leaving is None for held in book.positions.values()):
                self.desk.flatten()
        end = inbox.flattened(book, now, session)
        if end is not None:
            self.desk.orders.keep(end)
            self.desk.journal.commit()
            self._alerts.tell("info", "flatten", "everything is flat", "entries stay off", "`autotrader resume`")

    # --- stages ---------------------------------------------------------------------------------------------------

    def _carry_out(self) -> None:
        if self._may_try(FILES):
            self._try_later(FILES, MINUTE)
            self._check_scan()
        self._take_scan()
        if not self._clock_is_right:
            return
        found = self.agenda()
        for lapsed in found.lapsed:
            if lapsed.stage.name == SCAN and self._scanning is not None:
                self._alerts.tell("warning", f"scan of {lapsed.stage.session}", "it is still under way",
                                  "the gap filter waits for it as long as it can", "see the log")  # fmt: skip
            else:
                self._give_up(lapsed)
        for ready in found.ready:
            if ready.stage.name == GAP_FILTER and self._scanning is not None:
                continue  # the result it is about to have is the one to be filtered
            {SCAN: self._scan, SPLITS: self._splits, GAP_FILTER: self._filter, CLOSE: self._close}[ready.stage.name](
                ready
            )

    def _check_scan(self) -> None:
        """The scan that the next session is entered from must stay as it was written."""
        today = self._clock.now().astimezone(NEW_YORK).date()
        filtered = (today, GAP_FILTER) in self.ledger.done
        self.phases.check_file(today if filtered else self.ledger.last(SCAN) or today, SCAN)

    def _scan(self, ready: Ready) -> None:
        """Begins a scan in a thread of its own: it takes seconds, and the loop has to go on."""
        if self._scanning is not None:
            return
        if self._configurations.take_effect():
            self.desk.rulebook = self._configurations.current.rulebook
        scan = self._scanning = _Scan(ready, self._configurations.current, Future())

        def work() -> None:
            try:
                scan.result.set_result(self.phases.scan(ready.stage.session, scan.configuration))
            except BaseException as error:  # noqa: BLE001  # the loop is told, whatever it is
                scan.result.set_exception(error)
            self._parts.wake()

        threading.Thread(target=work, name="scan", daemon=True).start()

    def finish_scan(self) -> None:
        """Waits until the scan that is under way, if there is one, has come to its end; the next turn takes it."""
        if self._scanning is not None:
            self._scanning.result.exception()

    def _take_scan(self) -> None:
        """What became of the scan that was begun."""
        if self._scanning is None or not self._scanning.result.done():
            return
        scan, self._scanning = self._scanning, None
        ready, session = scan.ready, scan.ready.stage.session
        try:
            self.phases.scanned(scan.result.result(), scan.configuration, late=ready.late)
        except JournalError:
            raise
        except Exception as error:  # noqa: BLE001  # a strategy is somebody else's code and can raise anything
            text = str(error) if isinstance(error, AutotraderError) else f"{type(error).__name__}: {error}"
            self.phases.failed(session, SCAN, ready.attempt, text)
            self._alerts.tell("warning", f"scan of {session}", text, "it is tried again until the morning's deadline",
                              "see whether data and strategies are as they should be")  # fmt: skip
        else:
            self._alerts.over(f"scan of {session}")

    def _splits(self, ready: Ready) -> None:
        session = ready.stage.session
        try:
            if self.phases.splits(session, late=ready.late):
                self._dailies.forget()
            self._alerts.over(SPLITS)
        except FeedError as error:
            self.phases.open_session(session)
            self.phases.failed(session, SPLITS, ready.attempt, str(error))
            self._alerts.tell("warning", SPLITS, f"nobody knows whether anything held is split today: {error}",
                              "it is asked again; what is held is judged as it is",
                              "see whether the data service has trouble, if it lasts")  # fmt: skip

    def _filter(self, ready: Ready) -> None:
        session = ready.stage.session
        prices = self._open_day(session)
        try:
            self.phases.gap_filter(session, prices.quotes, late=ready.late)
        except (FeedError, OSError) as error:  # no prices, or no room for the result
            self.phases.failed(session, GAP_FILTER, ready.attempt, str(error))

    def _close(self, ready: Ready) -> None:
        session = ready.stage.session
        self._open_day(session)
        assert self._day is not None
        assert self._prices is not None
        self._tick(())
        late = self._clock.now() - ready.stage.at
        if self._prices.next_at() is not None and late < LAST_BARS:
            return  # the last minute's bars are under way
        self._day.close()
        self.ledger.take(self.desk.trader.book.done[session, CLOSE])
        self._day = self._prices = None
        self._parts.feed.watch(())

    def _give_up(self, lapsed: Lapsed) -> None:
        session, name = lapsed.stage.session, lapsed.stage.name
        if name == GAP_FILTER:
            self.phases.open_session(session)
            try:
                self.phases.unfiltered(session, lapsed.reason)
            except OSError as error:
                self.phases.no_entries(session, f"{lapsed.reason}; and its result cannot be written: {error}")
            return
        self.phases.done(session, name, "skipped", lapsed.reason)
        done = {SCAN: "the result of the session before is used, if it may be, else nothing is entered",
                SPLITS: "what is held was judged as it was",
                CLOSE: "there is no equity of that close"}[name]  # fmt: skip
        self._alerts.tell("warning", f"{name} of {session}", lapsed.reason, done, "see the log")

    # --- the session ----------------------------------------------------------------------------------------------

    def _active(self) -> date | None:
        """The session that was begun and is not closed."""
        session = self.desk.trader.book.session
        return None if session is None or (session, CLOSE) in self.ledger.done else session

    def _is_open(self, session: date) -> bool:
        return self._calendar.opens_at(session) <= self._clock.now() < self._calendar.closes_at(session)

    def _open_day(self, session: date) -> LivePrices:
        if self._day is None or self._day.session != session or self._prices is None:
            self._prices = LivePrices(
                self._parts.feed, self._calendar.opens_at(session), self._calendar.closes_at(session), self._clock,
                self._alerts.tell, self._alerts.over, self._shortable, grace=self._parts.grace,
                silence=self._parts.silence,
            )  # fmt: skip
            self._day = TradingDay(self.desk, self._prices, session, self._calendar, self._clock, self._told)
            self._planned, self._plan = False, None
        return self._prices

    def _trade(self) -> None:
        session = self._active()
        assert session is not None
        prices = self._open_day(session)
        now = self._clock.now()
        self._take_plan(session)
        prices.watch(self._followed() if now < self._calendar.closes_at(session) else ())
        ready = self._planned and self._recovered and self._parts.broker.link().live and not self.desk.waits
        self._tick(None if self._clock_is_right and (ready or self._window_is_over()) else ())

    def _window_is_over(self) -> bool:
        """Then groups that were not entered are recorded as such, whatever kept them."""
        assert self._day is not None
        closes = self.desk.rulebook.params.entry.window.closes
        return self._clock.now() >= datetime.combine(self._day.session, closes, NEW_YORK)

    def _tick(self, groups: tuple[str, ...] | None) -> None:
        assert self._day is not None
        try:
            try:
                self._day.tick(groups)
            except FeedError:  # told already: no prices, no entries; exits go on
                self._day.tick(())
        except BrokerError as error:
            self._broker_trouble(error)

    def _take_plan(self, session: date) -> None:
        """The candidates, once the gap filter has decided on them."""
        if self._planned or (session, GAP_FILTER) not in self.ledger.done:
            return
        assert self._day is not None
        plan = None
        try:
            plan = self.phases.plan(session)
        except ResultFileError:
            self.phases.check_file(session, GAP_FILTER)
            if (session, GAP_FILTER) not in self.ledger.done:
                return  # done again, or given up, by the next turn
        self._day.begin(plan)
        self._plan, self._planned = plan, True

    def _followed(self) -> list[str]:
        """Whose minutes are streamed: what is held and on order first, then what may be entered."""
        book = self.desk.trader.book
        wanted = [*sorted(book.positions), *(order.ordered.symbol for order in book.orders.values())]
        if not self._window_is_over():
            wanted += [item.candidate.symbol for item in self.desk.trader.waiting]
        return list(dict.fromkeys(wanted))

    def _told(self, told: Told) -> None:
        for outcome in told.outcomes:
            log.info("%s %s: %s", told.group, outcome.symbol, "entered" if outcome.entered else outcome.reason)
        for leaving in told.step.leaving if told.step is not None else ():
            log.info("%s is left: %s", leaving.symbol, leaving.reason)

    def _shortable(self, symbol: str) -> bool | None:
        try:
            return self._parts.broker.shortable(symbol)
        except BrokerError as error:
            log.warning("nobody knows whether %s is lent: %s", symbol, error)
            return None

    def _idle(self) -> None:
        """Between sessions: orders are asked about now and then, old files go."""
        now = self._clock.now()
        if self._last_sync is None or now - self._last_sync >= IDLE_SYNC:
            self._last_sync = now
            self.desk.sync()
            if self._recovered:
                self.desk.settle()  # what is being left waits at the broker for the open, what is held has its stop
                self._compare()
        today = now.astimezone(NEW_YORK).date()
        if self._tidied != today:
            self._tidied = today
            batch = self._configurations.current.settings.params.batch
            tidy(self._parts.data, today, results_days=batch.keep_days, logs_days=self._parts.keep_logs_days)

    # --- the daily values -----------------------------------------------------------------------------------------

    def _day_of(self, config_hash: str, symbol: str) -> Day:
        session = self.desk.trader.book.session
        assert session is not None
        return self._dailies.day(config_hash, symbol, session)

    def _load_dailies(self) -> None:
        """What exits are judged with: tonight for tomorrow, and at once for whatever lacks it."""
        session = self._active()
        if session is None:
            last = self._calendar.last_completed(self._clock.now())
            if (last, SCAN) not in self.ledger.done:
                return  # the day's bars are had when the scan is due
            session = self._calendar.next_session(last)
        symbols = self._followed() if self._day is not None else sorted(self.desk.trader.book.positions)
        if not self._dailies.lacks(session, symbols) or not self._may_try(DAILY):
            return
        try:
            self._dailies.load(session, symbols)
        except FeedError as error:
            self._try_later(DAILY, timedelta(seconds=30))
            self._alerts.tell("warning", DAILY, f"the daily values of what is held cannot be had: {error}",
                              "positions are judged by their prices alone; it is tried again",
                              "see whether the data service has trouble, if it lasts")  # fmt: skip
            return
        self._alerts.over(DAILY)
        trader = self.desk.trader
        for symbol in trader.book.positions.keys() - trader.prices.keys():
            close = self._dailies.close_before(symbol)
            if close > 0:
                trader.prices[symbol] = close
        trader.renew_days()

    # --- trouble --------------------------------------------------------------------------------------------------

    def _broker_trouble(self, error: BrokerError) -> None:
        self._alerts.tell("critical", BROKER, f"the broker does not answer: {error}",
                          "nothing is opened; exits are tried again until they pass",
                          "see whether the broker has trouble; close positions there by hand if it lasts")  # fmt: skip

    def _watch_clock(self) -> None:
        """Stages and entries have their times: by a clock that is far from the broker's nothing but exits is done.

        Where the broker does not say what time it is, what was known stays.
        """
        if not self._may_try(CLOCK):
            return
        self._try_later(CLOCK, MINUTE)
        before = self._clock.now()
        try:
            theirs = self._parts.broker.time()
        except BrokerError as error:
            log.info("the broker does not say what time it is: %s", error)
            return
        took = self._clock.now() - before
        ahead = before + took / 2 - theirs
        right = abs(ahead) - took / 2 <= self._parts.clock_within
        if not right:
            self.desk.hold = f"this machine's clock is {apart(ahead)} the broker's"
            self._alerts.tell("critical", CLOCK, self.desk.hold,
                              "nothing is entered and no stage carried out; exits go on, by the bars that come",
                              "set the clock, and have it kept right (chrony, systemd-timesyncd)")  # fmt: skip
        elif not self._clock_is_right:
            self.desk.hold = None
            self._day = self._prices = None  # what was thought to be over is not
            self._alerts.over(CLOCK)
            self._alerts.tell("info", CLOCK, "the clock is right again", "what is due is carried out", "")
            self._alerts.over(CLOCK)
        self._clock_is_right = right

    def _watch_disk(self) -> None:
        known = DISK in self._not_before
        if not (known or self.desk.journal.cramped) or not self._may_try(DISK):
            return
        if known and self.desk.journal.find_room():
            del self._not_before[DISK]
            self._alerts.over(DISK)
            self._alerts.tell("info", DISK, "the disk has room again", "entries are on, unless something else stands "
                              "against them", "")  # fmt: skip
            self._alerts.over(DISK)
            return
        self._try_later(DISK, MINUTE)
        self._alerts.tell("critical", DISK, "the disk is full", "entries are off; exits are still recorded",
                          "make room on the disk: entries come back by themselves")  # fmt: skip

    def _may_try(self, what: str) -> bool:
        at, now = self._not_before.get(what), self._clock.now()
        return at is None or now >= at or at - now > MINUTE  # so long only after the clock was set back

    def _try_later(self, what: str, after: timedelta = TRY_AGAIN) -> None:
        self._not_before[what] = self._clock.now() + after

    def _next_at(self) -> datetime:
        now = self._clock.now()
        retries = (at for what, at in self._not_before.items() if what not in (CLOCK, FILES) and at > now)
        coming = [self.agenda().next_at, *retries]
        session = self._active()
        if session is not None and self._prices is not None and now < self._calendar.closes_at(session) + MINUTE:
            opens = self._calendar.opens_at(session)
            coming.append(max(opens, opens + ((now - opens) // MINUTE + 1) * MINUTE))
            waiting = self._prices.next_at()
            if waiting is not None and waiting > now:
                coming.append(waiting)
        return min(coming)


def account_tag(account_id: str) -> str:
    """What the client order ids of an account begin with."""
    return "".join(sign for sign in account_id if sign.isalnum()) or "account"

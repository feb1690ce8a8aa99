"""The stages around a session, each carried out once: the night's scan, the morning's splits and its gap filter.

Each either leaves its row in the ledger, with the file it wrote, or raises; who called it decides what follows. What
they compute with is imported when it is needed first: a start protects what is held before that.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from autotrader.batch.files import (
    BatchResultRecord,
    ResultFileError,
    filtered_path,
    result_path,
    write_record,
)
from autotrader.clock import Calendar, Clock
from autotrader.core import events as ev
from autotrader.core.gap_filter import Quote
from autotrader.core.rulebook import Rulebook
from autotrader.core.trader import Plan
from autotrader.execution.desk import Desk
from autotrader.execution.orders import Tell
from autotrader.journal.store import JournalError
from autotrader.market.feed import LiveFeed, ShareSplit
from autotrader.market.universe import Member
from autotrader.rules.decision import FAIL
from autotrader.service.results import ResultFiles, fingerprint
from autotrader.service.scheduler import SPLITS, VOID, Ledger
from autotrader.service.timetable import GAP_FILTER, SCAN
from autotrader.validation.load import Configuration

log = logging.getLogger("autotrader.phases")

Quotes = Callable[[Sequence[str]], Mapping[str, Quote]]


@dataclass
class Phases:
    """rulebooks: by configuration hash; a scan's is put there."""

    desk: Desk
    feed: LiveFeed
    files: ResultFiles
    ledger: Ledger
    rulebooks: dict[str, Rulebook]
    universe: Sequence[Member]
    calendar: Calendar
    clock: Clock
    tell: Tell

    # --- the ledger -----------------------------------------------------------------------------------------------

    def keep(self, *events: ev.Event) -> None:
        """Makes events durable."""
        for event in events:
            self.desk.orders.keep(event)
            self.ledger.take(event)
        self.desk.journal.commit()

    def done(self, session: date, stage: str, status: ev.StageStatus, detail: str = "", file: str = "") -> None:
        self.keep(ev.StageDone(self.clock.now(), session, stage, detail, status, file))
        log.info("%s of %s: %s%s", stage, session, status, f" ({detail})" if detail else "")

    def failed(self, session: date, stage: str, attempt: int, reason: str) -> None:
        self.keep(ev.StageFailed(self.clock.now(), session, stage, attempt, reason))
        log.warning("%s of %s failed: %s", stage, session, reason)

    # --- the night ------------------------------------------------------------------------------------------------

    def scan(self, session: date, configuration: Configuration) -> BatchResultRecord:
        """Scans a session, in whatever thread: nothing but the feed's days is touched, and nothing is kept.

        ScanError or FeedError where there can be no result; a strategy can raise anything.
        """
        from autotrader.batch.run import to_record
        from autotrader.batch.scan import NightlyScanner

        started = self.clock.now()
        scanner = NightlyScanner(
            configuration.rulebook, configuration.settings.config_hash, configuration.strategies(), self.universe,
            self.calendar, configuration.blackouts,
        )  # fmt: skip
        result = scanner.scan(self.feed, session)
        return to_record(result, list(configuration.enabled), started, (self.clock.now() - started).total_seconds())

    def scanned(self, record: BatchResultRecord, configuration: Configuration, *, late: bool) -> None:
        """Keeps the result of a scan."""
        settings = configuration.settings
        self.rulebooks[settings.config_hash] = configuration.rulebook
        path = result_path(self.files.folder, record.scan_date)
        write_record(path, record)
        self.desk.journal.store_config(settings.config_hash, settings.params, settings.system)
        self._tell_failures(record)
        detail = f"{record.regime}, {len(record.candidates)} candidates of {record.total_signals_generated} signals"
        self.done(record.scan_date, SCAN, "late" if late else "done", detail, fingerprint(path))

    def _tell_failures(self, record: BatchResultRecord) -> None:
        """Says which rules of the night say on_missing: fail and met an unknown."""
        judged = [("the market", record.regime_decision)]
        judged += [(trace.symbol, decision) for trace in record.trace for decision in trace.decisions]
        failed: dict[tuple[str, str], list[str]] = {}
        for subject, decision in judged:
            if decision["outcome"] == FAIL:
                failed.setdefault((decision["stage"], decision["rule"]), []).append(subject)
        for (stage, rule), subjects in failed.items():
            self.tell("warning", f"rule {rule}", f"{stage}: it reads what is unknown for {', '.join(subjects)}",
                      "they are no candidates; without a regime the default one holds",
                      "see `autotrader explain`; to have it go on, let the rule say on_missing: skip")  # fmt: skip

    # --- the morning ----------------------------------------------------------------------------------------------

    def splits(self, session: date, *, late: bool) -> list[ev.Split]:
        """Begins the session, and takes the splits of what is held since the last one. FeedError."""
        book = self.desk.trader.book
        held = sorted(book.positions)
        known = self.ledger.last(SPLITS)
        days = [session] if known is None else self.calendar.sessions(known, session)[1:]
        found = [split for day in days for split in (self.feed.splits(held, day) if held else ())]
        self.open_session(session)
        taken = []
        for split in found:
            position = book.positions.get(split.symbol)
            if position is not None:
                price = self.desk.trader.prices.get(split.symbol, position.entry_price) * split.old / split.new
                cash = position.sign * round(position.quantity * split.new % split.old / split.old * price, 2)
                taken.append(self.desk.split(split.symbol, split.new, split.old, cash))
        detail = ", ".join(f"{split.symbol} {split.new} for {split.old}" for split in taken)
        self.done(session, SPLITS, "late" if late else "done", detail)
        return taken

    def open_session(self, session: date) -> None:
        """Begins the session, unless it was."""
        if session not in self.ledger.opened:
            self.desk.open_session(session)
            self.ledger.opened.add(session)
            self.desk.journal.commit()

    def gap_filter(self, session: date, quotes: Quotes, *, late: bool) -> None:
        """Filters the candidates of the last scan that may be used. FeedError where there are no prices."""
        found = self._usable_scan(session)
        if isinstance(found, str):
            self.no_entries(session, found)
            return
        record, age = found
        symbols = [item.symbol for item in record.candidates]
        splits = self._splits_since(record, session, symbols)
        self._filter(session, record, age, quotes(symbols) if symbols else {}, splits, "late" if late else "done", "")

    def unfiltered(self, session: date, reason: str) -> None:
        """All candidates of the last scan that may be used, marked unfiltered: the filter cannot run any more."""
        found = self._usable_scan(session)
        if isinstance(found, str):
            self.no_entries(session, found)
            return
        record, age = found
        self._filter(session, record, age, {}, (), "skipped", f"{reason}; all candidates pass, unfiltered")
        self.tell("warning", GAP_FILTER, f"the gap filter of {session} did not run: {reason}",
                  "all candidates of the scan pass, marked unfiltered",
                  "pause entries (`autotrader pause`) if that is not wanted")  # fmt: skip

    def no_entries(self, session: date, reason: str) -> None:
        """The session is entered from nothing."""
        self.done(session, GAP_FILTER, "skipped", f"no entries: {reason}")
        self.tell("warning", f"entries of {session}", reason, "nothing is entered in this session; exits go on",
                  "see `autotrader status` for what became of the scan")  # fmt: skip

    def plan(self, session: date) -> Plan | None:
        """The session's candidates, from the very file that the gap filter wrote; None: there are none.

        ResultFileError where that file cannot be trusted.
        """
        from autotrader.batch.gap_filter import to_plan

        done = self.ledger.done.get((session, GAP_FILTER))
        if done is None or not done.file:
            return None
        record = self.files.filtered(done.file)
        return to_plan(record, self.rulebooks[record.config_hash])

    def check_file(self, session: date, stage: str) -> bool:
        """Whether the file of a stage that is done is the one that it wrote; if not, the stage is to be done again."""
        done = self.ledger.done.get((session, stage))
        if done is None or not done.file:
            return True
        problem = self.files.problem(done.file)
        if problem is None:
            return True
        aside = self.files.set_aside(done.file)
        where = f"; it is kept as {aside.name}" if aside is not None else ""
        self.failed(session, stage, VOID, problem)
        self.tell("warning", f"{stage} of {session}", f"{problem}{where}",
                  "the stage is carried out again if there is time, else there are no entries from it", "")  # fmt: skip
        return False

    # --- inside ---------------------------------------------------------------------------------------------------

    def _usable_scan(self, session: date) -> tuple[BatchResultRecord, int] | str:
        """The scan that a session is entered from and its age in sessions; or why there is none."""
        stale = self.desk.rulebook.params.batch.max_stale_sessions
        for age in range(1, stale + 2):
            day = self.calendar.previous_session(session, age)
            done = self.ledger.done.get((day, SCAN))
            if done is None or not done.file:
                continue
            try:
                record = self.files.scan(done.file)
                self.rulebooks[record.config_hash]  # must be known
            except (ResultFileError, JournalError) as error:
                return str(error)
            return record, age
        before = self.calendar.previous_session(session)
        return f"there is no scan of {before}, and none before it that may be used"

    def _splits_since(
        self, record: BatchResultRecord, session: date, symbols: Sequence[str]
    ) -> list[ShareSplit]:
        days = self.calendar.sessions(record.scan_date, session)[1:]
        return [split for day in days for split in (self.feed.splits(symbols, day) if symbols else ())]

    def _filter(
        self,
        session: date,
        scan: BatchResultRecord,
        age: int,
        quotes: Mapping[str, Quote],
        splits: Sequence[ShareSplit],
        status: ev.StageStatus,
        why: str,
    ) -> None:
        from autotrader.batch.gap_filter import GapFilter

        rulebook = self.rulebooks[scan.config_hash]
        known = {symbol: quote for symbol, quote in quotes.items() if math.isfinite(quote.price)}
        at = self.clock.now()
        record, judged = GapFilter(rulebook).filter(scan, known, session, age, at, splits)
        path = filtered_path(self.files.folder, scan.scan_date)
        write_record(path, record)
        self.desk.record(judged)
        stale = f"the scan is {age} sessions old" if age > 1 else ""
        passed = f"{record.candidates_after} of {record.candidates_before} candidates pass" if not why else ""
        self.done(session, GAP_FILTER, status, "; ".join(filter(None, (why, passed, stale))), fingerprint(path))

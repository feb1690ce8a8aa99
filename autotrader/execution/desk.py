"""The desk: the decision loop with its journal and its broker. What is decided is recorded, then done."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta

from autotrader.clock import NEW_YORK, Calendar, Clock
from autotrader.core import events as ev
from autotrader.core.entry import Outcome
from autotrader.core.exits import Bar
from autotrader.core.gap_filter import Quote
from autotrader.core.rulebook import Rulebook
from autotrader.core.trader import Judged, Plan, Step, Trader
from autotrader.execution.orders import EntryTerms, OrderManager, Tell, log_only
from autotrader.execution.reconcile import Explains, compare, nothing_explains
from autotrader.journal.store import DecisionRecord, Journal
from autotrader.market.broker import Broker

log = logging.getLogger("autotrader.desk")

WINDOW_CLOSED = "the entry window has closed"


class Desk:
    """Carries out the steps of one account's trader.

    rulebook: the current configuration's, whose limits and window hold. protect: protective stops are kept at the
    broker where the configuration has them. tell: how people hear of trouble. explains: see compare.
    """

    def __init__(
        self,
        trader: Trader,
        journal: Journal,
        broker: Broker,
        calendar: Calendar,
        clock: Clock,
        rulebook: Rulebook,
        *,
        protect: bool = True,
        tell: Tell = log_only,
        explains: Explains = nothing_explains,
    ) -> None:
        self.trader = trader
        self.journal = journal
        self.rulebook = rulebook
        terms = EntryTerms(self._opens_until, rulebook.params.entry.window.retry_seconds)
        self.orders = OrderManager(broker, journal, trader.book, trader.apply, terms, tell)
        self._broker = broker
        self._calendar = calendar
        self._clock = clock
        self._protect = protect
        self._tell = tell
        self._explains = explains
        self._compared = False
        self._lagging: tuple[str, ...] = ()  # symbols of which the broker does not list the last fills yet
        self.hold: str | None = None  # why nothing may be opened, beyond what the book and the journal know

    # --- the session and its stages -------------------------------------------------------------------------------

    def open_session(self, session: date) -> None:
        """Begins the session, unless it was begun before."""
        if self.trader.book.session != session:
            number = self._calendar.number(session)
            self.carry_out(self.trader.open_session(self._clock.now(), session, number))

    def done(self, stage: str) -> bool:
        """Whether the current session's stage is over."""
        book = self.trader.book
        return book.session is not None and (book.session, stage) in book.done

    def finish(self, stage: str, detail: str = "", status: ev.StageStatus = "done", file: str = "") -> None:
        """Records that a stage of the current session is not to be repeated."""
        self.orders.keep(self._stage(stage, detail, status, file))
        self.journal.commit()

    def plan(self, plan: Plan) -> None:
        """Takes the session's candidates, without those that were decided for the day before a restart."""
        gone = {record.symbol for stage in ("confirmation", "order")
                for record in self.journal.decisions(session=self.trader.book.session, stage=stage)
                if record.outcome in {"discard", "allow"}}  # fmt: skip
        left = tuple(item for item in plan.candidates if item.candidate.symbol not in gone)
        self.trader.plan(replace(plan, candidates=left))

    def close_session(self, borrow: float = 0.0) -> None:
        """Ends the session. borrow: what shorts pay, as an annual ratio."""
        self.carry_out(self.trader.close_session(self._clock.now(), borrow))
        self.finish("close")

    # --- entries --------------------------------------------------------------------------------------------------

    def entries_off(self) -> str | None:
        """Why nothing may be opened now, in words; None: nothing stands against it."""
        return self._hindrance() if self._compared else "journal and broker have not been compared yet"

    def _hindrance(self) -> str | None:
        """What stands against entries, as far as journal and broker have been compared."""
        if self._lagging:
            return f"the broker does not list the last fills of {', '.join(self._lagging)} yet"
        if self.journal.cramped:
            return "the disk is full"
        return self.hold or self.trader.book.entries_off()

    @property
    def waits(self) -> bool:
        """Whether the broker's list of positions lags behind fills: a group whose time comes can wait for it."""
        return bool(self._lagging)

    def no_entries(self) -> str | None:
        """Why a group of the current session cannot be entered now, in words; None: it can."""
        off = self.entries_off()
        return WINDOW_CLOSED if off is None and self._clock.now() >= self._last_moment() else off

    def enter(
        self,
        group: str,
        minute: int,
        quotes: Mapping[str, Quote],
        recorded_at: datetime | None = None,
        status: ev.StageStatus = "done",
    ) -> list[Outcome]:
        """One entry group at its time. recorded_at: of its decisions, where that is not now.

        All its intents become durable with the stage, then they are sent: a crash in between repeats no decision.
        """
        off = self.no_entries()
        if off is not None:
            self.finish(f"enter:{group}", off, "skipped")
            return []
        self.orders.forget_retries()
        step = self.trader.group_due(self._clock.now(), group, minute, quotes)
        self._record(step, recorded_at)
        self.orders.send(step.orders, self._stage(f"enter:{group}", "", status))
        return step.outcomes

    def end_entries(self) -> None:
        """The window has closed: every entry that is still open is to end, and is asked about until it has."""
        for order in self.trader.book.pending_entries():
            self.orders.end(order.ordered.order_id, self._clock.now())

    def _opens_until(self) -> datetime | None:
        return None if self.trader.book.session is None or self._hindrance() is not None else self._last_moment()

    def _last_moment(self) -> datetime:
        """Until when entries of the session are sent: orders take time to arrive."""
        session, window = self.trader.book.session, self.rulebook.params.entry.window
        assert session is not None
        closes = datetime.combine(session, window.closes, NEW_YORK)
        return closes - timedelta(seconds=window.margin_seconds)

    # --- positions ------------------------------------------------------------------------------------------------

    def bars(self, at: datetime, bars: Mapping[str, Bar]) -> Step:
        """One minute's bars: one transaction over all positions."""
        step = self.trader.bars(at, bars)
        self.carry_out(step)
        return step

    def take_in(self, at: datetime, bars: Mapping[str, Bar]) -> None:
        """Bars that were judged before a restart, or come too late to be acted on."""
        self.trader.bars(at, bars, decide=False)

    def carry_out(self, step: Step) -> None:
        """Records what a step decided, then does it."""
        self._record(step)
        self._send(step)

    def _send(self, step: Step) -> None:
        """Sends a step's orders, now, after what stands in their way was asked to end."""
        now = self._clock.now()
        if step.cancels:
            self.journal.commit()
        for order_id in step.cancels:
            self.orders.end(order_id, now)
        waiting = self.orders.on_hold(now)
        ready = [replace(ordered, at=now) for ordered in step.orders if (ordered.symbol, ordered.leg) not in waiting]
        if ready:
            self.orders.send(ready)

    def flatten(self) -> None:
        """Every position is to be left."""
        self.carry_out(self.trader.flatten(self._clock.now()))

    def sync(self) -> list[ev.Event]:
        """What became of orders."""
        return self.orders.sync(self._clock.now())

    def settle(self) -> None:
        """What positions need now that orders have ended: the next attempt at an exit, a protective stop.

        Brokers that confirm a cancel at once see the order that waited for it in the same moment.
        """
        for _ in range(2):
            now = self._clock.now()
            step = self.trader.pursue(now)  # also after the close: the broker keeps it for the next open
            self._send(step)
            if self._protect:
                waiting = {symbol for symbol, leg in self.orders.on_hold(now) if leg == "exit"}
                stops = self.trader.protect(now, waiting)
                self._send(stops)
                step.cancels += stops.cancels
            if not step.cancels:
                break
            self.sync()
        self.journal.commit()

    def split(self, symbol: str, new: int, old: int, cash: float) -> ev.Split:
        """A held symbol is split before the open; cash: paid in lieu of a fraction."""
        session = self.trader.book.session
        assert session is not None
        event = ev.Split(self._clock.now(), session, symbol, new, old, cash)
        self.orders.keep(event)
        return event

    # --- the broker -----------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """After a start: what was decided and not sent is sent, what was missed is learned, both sides are compared.

        BrokerError where the broker cannot say; then nothing is opened until it was tried again.
        """
        now = self._clock.now()
        self.orders.recover(now)
        self.reconcile(now)
        if self.trader.book.session is not None:
            self.settle()

    def quiet(self) -> bool:
        """Whether nothing is on its way, so that journal and broker must agree."""
        moving = any(order.ordered.leg != "stop" for order in self.trader.book.orders.values())
        return not moving and not self.orders.unsettled()

    def reconcile(self, asked: datetime | None = None) -> None:
        """Compares journal and broker. A disagreement that nothing explains turns entries off and is told.

        asked: when orders were asked about a moment ago; those are not asked about again.
        """
        book, now = self.trader.book, self._clock.now()
        self.orders.poll(asked or now)
        session = book.session or now.astimezone(NEW_YORK).date()
        before = self.orders.before_fills(now)
        found = compare(book, self._broker.positions(), self._broker.open_orders(), self.trader.tag, before,
                        self._explains)  # fmt: skip
        for order in found.returned:
            self.orders.adopt(now, order)
        for order in found.orphans:
            self.orders.end_orphan(order.client_order_id)
        news = {(item.kind, item.subject): item for item in found.disagreements}
        if found.lagging and found.lagging != self._lagging:
            log.warning("the broker does not list the last fills of %s yet; no entries, compared again in a minute",
                        ", ".join(found.lagging))  # fmt: skip
        for symbol in set(self._lagging) - {*found.lagging, *(item.subject for item in found.disagreements)}:
            log.info("%s: journal and broker agree again", symbol)
        self._lagging = found.lagging
        for key in [key for key in book.differences if key not in news and key[1] not in found.lagging]:
            self.orders.keep(ev.Resolved(now, session, *key, "autotrader", "journal and broker agree again"))
            log.info("%s: journal and broker agree again", key[1])
        for key, item in news.items():
            known = book.differences.get(key)
            if known is None or known.found != item.found:
                self.orders.keep(ev.Difference(now, session, item.kind, item.subject, item.expected, item.found))
                self._tell("critical", item.subject, f"the journal says {item.expected}, the broker {item.found}",
                           "no entries until it is resolved; exits go on", "see `autotrader reconcile`")  # fmt: skip
        self._compared = True
        self.journal.commit()

    # --- recording ------------------------------------------------------------------------------------------------

    def record(self, judged: Iterable[Judged], at: datetime | None = None) -> None:
        """Journals decisions of the current session. at: None is now."""
        session, at = self.trader.book.session, at or self._clock.now()
        assert session is not None
        for item in judged:
            self.journal.record(
                DecisionRecord.of(item.decision, at, session, item.symbol, item.strategy, item.config_hash,
                                  price=item.price, **item.more)
            )  # fmt: skip
            if item.decision.failed:
                self._tell_failure(item)

    def _tell_failure(self, item: Judged) -> None:
        decision = item.decision
        held = decision.stage == "exit"
        self._tell(
            "critical" if held else "warning", f"rule {decision.rule}" + (f" of {item.symbol}" if held else ""),
            f"{decision.stage}: it cannot be judged for {item.symbol}: {' and '.join(decision.missing)} unknown",
            "no rule leaves the position until it can be" if held else f"{item.symbol} is not entered",
            f"see `autotrader explain {item.symbol}`; to have it go on, let the rule say on_missing: skip",
        )  # fmt: skip

    def _record(self, step: Step, at: datetime | None = None) -> None:
        """at: of its decisions, where that is not now."""
        for event in step.events:
            self.journal.append(event)
        self.record(step.judged, at)

    def _stage(self, stage: str, detail: str, status: ev.StageStatus, file: str = "") -> ev.StageDone:
        session = self.trader.book.session
        assert session is not None
        return ev.StageDone(self._clock.now(), session, stage, detail, status, file)

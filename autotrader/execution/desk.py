"""The desk: the decision loop with its journal and its broker. What is decided is recorded, then done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime

from autotrader.clock import Calendar, Clock
from autotrader.core import events as ev
from autotrader.core.entry import Outcome
from autotrader.core.exits import Bar
from autotrader.core.gap_filter import Quote
from autotrader.core.trader import Judged, Plan, Step, Trader
from autotrader.execution.orders import OrderManager
from autotrader.journal.store import DecisionRecord, Journal
from autotrader.market.broker import Broker, TimeInForce


class Desk:
    """Carries out the steps of one account's trader."""

    def __init__(self, trader: Trader, journal: Journal, broker: Broker, calendar: Calendar, clock: Clock) -> None:
        self.trader = trader
        self.journal = journal
        self.orders = OrderManager(broker, journal, trader.book, trader.apply)
        self._calendar = calendar
        self._clock = clock

    def open_session(self, session: date) -> None:
        """Begins the session, unless it was begun before."""
        if self.trader.book.session != session:
            number = self._calendar.number(session)
            self._carry_out(self.trader.open_session(self._clock.now(), session, number))

    def done(self, stage: str) -> bool:
        """Whether the current session's stage was carried out."""
        book = self.trader.book
        return book.session is not None and (book.session, stage) in book.done

    def finish(self, stage: str, detail: str = "") -> None:
        """Records that a stage of the current session is not to be repeated."""
        session = self.trader.book.session
        assert session is not None
        event = ev.StageDone(self._clock.now(), session, stage, detail)
        self.journal.append(event)
        self.trader.apply(event)
        self.journal.commit()

    def enter(
        self,
        group: str,
        minute: int,
        quotes: Mapping[str, Quote],
        order: TimeInForce = "day",
        recorded_at: datetime | None = None,
    ) -> list[Outcome]:
        """One entry group at its time. recorded_at: of its decisions, where that is not now."""
        step = self.trader.group_due(self._clock.now(), group, minute, quotes)
        self.record(step.judged, recorded_at)
        self.send(step, order)
        self.finish(f"enter:{group}")
        return step.outcomes

    def plan(self, plan: Plan) -> None:
        """Takes the session's candidates, without those that were decided for the day before a restart."""
        gone = {record.symbol for stage in ("confirmation", "order")
                for record in self.journal.decisions(session=self.trader.book.session, stage=stage)
                if record.outcome in {"discard", "allow"}}  # fmt: skip
        left = tuple(item for item in plan.candidates if item.candidate.symbol not in gone)
        self.trader.plan(replace(plan, candidates=left))

    def bars(self, at: datetime, bars: Mapping[str, Bar]) -> Step:
        """One minute's bars: one transaction over all positions."""
        step = self.trader.bars(at, bars)
        self._carry_out(step)
        self.journal.commit()
        return step

    def point(self, at: datetime, symbol: str, bar: Bar, previous: float | None) -> tuple[Step, float]:
        """One point of a daily path; the orders are not sent yet, since the market has to stand at their price."""
        step, price = self.trader.point(at, symbol, bar, previous)
        self._record(step)
        return step, price

    def send(self, step: Step, order: TimeInForce = "day") -> None:
        """Sends a step's orders, now."""
        for ordered in step.orders:
            self.orders.send(replace(ordered, at=self._clock.now()), order)

    def sync(self) -> list[ev.Event]:
        """What became of orders."""
        return self.orders.sync(self._clock.now())

    def cancel_entries(self) -> list[str]:
        """Asks for the end of every entry that is still open; gives their ids."""
        names = [order.ordered.order_id for order in self.trader.book.pending_entries()]
        for name in names:
            self.orders.cancel(name)
        return names

    def close_session(self, borrow: float = 0.0) -> None:
        """Ends the session. borrow: what shorts pay, as an annual ratio."""
        self._carry_out(self.trader.close_session(self._clock.now(), borrow))
        self.finish("close")

    def split(self, symbol: str, new: int, old: int, cash: float) -> ev.Split:
        """A held symbol is split before the open; cash: paid in lieu of a fraction."""
        session = self.trader.book.session
        assert session is not None
        event = ev.Split(self._clock.now(), session, symbol, new, old, cash)
        self.journal.append(event)
        self.trader.apply(event)
        return event

    def _carry_out(self, step: Step) -> None:
        self._record(step)
        self.send(step)

    def _record(self, step: Step) -> None:
        for event in step.events:
            self.journal.append(event)
        self.record(step.judged)

    def record(self, judged: Iterable[Judged], at: datetime | None = None) -> None:
        """Journals decisions of the current session. at: None is now."""
        session, at = self.trader.book.session, at or self._clock.now()
        assert session is not None
        for item in judged:
            self.journal.record(
                DecisionRecord.of(item.decision, at, session, item.symbol, item.strategy, item.config_hash,
                                  price=item.price, **item.more)
            )  # fmt: skip

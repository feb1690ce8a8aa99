"""A session's decisions from moment to moment: the same live, in the demo, and after a restart in its middle."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Protocol

from autotrader.clock import NEW_YORK, Calendar, Clock
from autotrader.core.entry import Outcome
from autotrader.core.exits import Bar
from autotrader.core.gap_filter import Quote
from autotrader.core.trader import Plan, Step
from autotrader.execution.desk import Desk

MINUTE = timedelta(minutes=1)
LATE = timedelta(minutes=1)  # a stage that begins this long after its time is marked so
COMPARE_EVERY = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Told:
    """What a listener hears: an entry group's outcomes, or a step with positions that are left."""

    at: datetime
    group: str | None
    outcomes: tuple[Outcome, ...] = ()
    step: Step | None = None


Listener = Callable[[Told], None]


class Prices(Protocol):
    """The market of the running session, as far as it has come."""

    def quotes(self, symbols: Sequence[str]) -> Mapping[str, Quote]:
        """The latest price of each symbol; one without is absent."""
        ...

    def minutes(self, symbols: Collection[str]) -> Sequence[tuple[int, Mapping[str, Bar]]]:
        """The minutes that have become complete since the last call, oldest first, with the bars of these symbols.

        Numbered from the open. The first call gives all of the session so far: after a restart it is taken in anew.
        """
        ...


class TradingDay:
    """One session over a desk. Whoever drives it calls `tick` whenever time has passed.

    Everything in a tick may be repeated: what was done is in the journal, and a restart at any point of it comes to
    the same end.
    """

    def __init__(
        self, desk: Desk, prices: Prices, session: date, calendar: Calendar, clock: Clock, listen: Listener
    ) -> None:
        self.desk = desk
        self.session = session
        self.opens = calendar.opens_at(session)
        self.closes = calendar.closes_at(session)
        self._prices = prices
        self._clock = clock
        self._listen = listen
        self._next_compare = clock.now() + COMPARE_EVERY

    def begin(self, plan: Plan | None) -> None:
        """Opens the session. plan: its candidates; None: there are none."""
        self.desk.open_session(self.session)
        if plan is not None:
            self.desk.plan(plan)

    def tick(self, groups: Collection[str] | None = None) -> None:
        """Takes in what happened and does what is due now. groups: those that may be entered; None: all."""
        desk, now = self.desk, self._clock.now()
        desk.sync()
        self._judge(now)
        if now >= self._at(desk.rulebook.params.entry.window.closes):
            desk.end_entries()
        self._enter_due(now, groups)
        desk.settle()
        if now >= self._next_compare and desk.quiet():
            self._next_compare = now + COMPARE_EVERY
            desk.reconcile()

    def close(self, borrow: float = 0.0) -> None:
        """Ends the session, unless that was done. borrow: what shorts pay, as an annual ratio."""
        self.desk.sync()
        if not self.desk.done("close"):
            self._judge(self._clock.now())  # after a restart at the close the session is taken in anew
            self.desk.close_session(borrow)

    def groups(self, *, done: bool = False) -> dict[str, datetime]:
        """Entry groups with their times, in order: those that are still to be entered, or those that are over."""
        groups = sorted(self.desk.rulebook.params.entry.groups.items(), key=lambda item: item[1].at)
        return {key: self._at(group.at) for key, group in groups if self.desk.done(f"enter:{key}") is done}

    def _judge(self, now: datetime) -> None:
        """The bars since the last tick: of several minutes only the newest decides, the others came too late."""
        minutes = self._prices.minutes(self.desk.trader.book.positions.keys())
        for minute, bars in minutes[:-1]:
            self.desk.take_in(self.opens + minute * MINUTE, bars)
        for minute, bars in minutes[-1:]:
            step = self.desk.bars(self.opens + minute * MINUTE, bars)
            if step.leaving:
                self._listen(Told(now, None, (), step))

    def _enter_due(self, now: datetime, groups: Collection[str] | None) -> None:
        due = {key: at for key, at in self.groups().items() if at <= now and (groups is None or key in groups)}
        for key, at in due.items():
            waiting = () if self.desk.no_entries() is not None else self.desk.trader.waiting
            quotes = self._prices.quotes([item.candidate.symbol for item in waiting]) if waiting else {}
            minute = max(0, -((self.opens - now) // MINUTE))
            outcomes = self.desk.enter(key, minute, quotes, status="late" if now - at > LATE else "done")
            self._listen(Told(now, key, tuple(outcomes)))

    def _at(self, when: time) -> datetime:
        return datetime.combine(self.session, when, NEW_YORK)

"""The decision loop of a session: what to enter at a group's time, what to leave on every bar.

Synchronous and deterministic: the same calls in the same order give the same steps. It sends nothing and keeps nothing;
whoever drives it journals a step's events, sends its orders, and applies the fills that come back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple, Protocol

from autotrader.core import events as ev
from autotrader.core.book import Book, HeldPosition
from autotrader.core.entry import Account, Moment, Outcome, account, enter, shut_out
from autotrader.core.exits import MOVING, Bar, Day, ExitRuleEngine, between, facts, first_exit, protective_distance
from autotrader.core.gap_filter import Filtered, Quote
from autotrader.core.orderid import order_id
from autotrader.core.prices import stop_tick
from autotrader.core.rulebook import Rulebook
from autotrader.rules.compile import Row
from autotrader.rules.decision import Decision
from autotrader.rules.facts import Scalar
from autotrader.rules.ruleset import RuleSet

# The daily values a symbol's exits are judged with in a session, under the configuration of that hash.
DayOf = Callable[[str, str], Day]

SESSIONS_A_YEAR = 252
_NOTHING: Row = MappingProxyType({})
_PROTECTIVE = ("protective_stop", "protective_stop")  # reason and rule of what the stop at the broker sells


class Judged(NamedTuple):
    """A decision to be recorded: about which symbol and strategy, under which configuration, at which price.

    more: of the last one of a session: how many bars were judged and the facts at the lowest and the highest of them.
    """

    symbol: str
    strategy: str
    config_hash: str
    decision: Decision
    price: float = math.nan
    more: Mapping[str, object] = MappingProxyType({})


@dataclass(slots=True)
class Step:
    """What one call gave. events: to be journaled. cancels: ids of orders to be ended, which stand in the way.

    orders: to be made durable, then sent, in this order.
    """

    orders: list[ev.Ordered] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)
    events: list[ev.Event] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def leaving(self) -> list[ev.Leaving]:
        """The positions that this step decided to leave."""
        return [event for event in self.events if isinstance(event, ev.Leaving)]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a session is entered from: the filtered candidates of a scan, by rank."""

    candidates: tuple[Filtered, ...]
    regime: str
    result_age: int
    config_hash: str


class Observer(Protocol):
    """Who counts what was judged. unknowns: also how often each rule's own condition was unknown."""

    unknowns: bool

    def outcomes(self, outcomes: Sequence[Outcome]) -> None: ...

    def exit(self, rules: RuleSet, index: int, row: Mapping[str, Scalar], times: int = 1) -> None: ...


@dataclass(slots=True)
class _Watch:
    """A held position under observation in this session."""

    config_hash: str
    day: Day
    fixed: dict[str, Scalar]
    rules: RuleSet
    streaks: tuple[int, ...]
    since: datetime
    verdicts: Sequence[str] = ()
    last: datetime | None = None
    bars: int = 0
    decided: int = -1
    left_last: bool = False  # the exit was decided on the session's last bar
    row: Row = field(default_factory=lambda: _NOTHING)
    lowest: Row = field(default_factory=lambda: _NOTHING)
    highest: Row = field(default_factory=lambda: _NOTHING)
    low: float = math.inf
    high: float = -math.inf

    def saw(self, row: Row, price: float, decided: int) -> None:
        """Remembers what a bar looked like and which rule decided, for the record at the close."""
        self.bars += 1
        self.row, self.decided = row, decided
        if price < self.low:
            self.lowest, self.low = row, price
        if price > self.high:
            self.highest, self.high = row, price


class Trader:
    """Decides over one book. rulebooks: by configuration hash; every open position's must be there."""

    def __init__(
        self,
        book: Book,
        rulebooks: Mapping[str, Rulebook],
        account_tag: str,
        day_of: DayOf,
        observer: Observer | None = None,
    ) -> None:
        """observer: told of every exit judgement; then exits alone are recorded, not each change of a verdict or mark.
        """
        self.book = book
        self._observer = observer
        self.prices: dict[str, float] = {}
        self._rulebooks = rulebooks
        self.tag = account_tag
        self._day_of = day_of
        self._plan: Plan | None = None
        self._alive: list[Filtered] = []
        self._watches: dict[str, _Watch] = {}
        self._standing: dict[str, tuple[float, ev.EntryPlan, dict[str, Scalar]]] = {}  # as the stops, for every session
        self._stops: dict[str, tuple[float, ev.EntryPlan, float | None]] = {}  # asked for on every bar, rarely new

    # --- the session --------------------------------------------------------------------------------------------

    def open_session(self, at: datetime, session: date, number: int) -> Step:
        """Begins a session. number: its place in the calendar."""
        self._plan, self._alive = None, []
        self._watches.clear()
        for symbol in self.prices.keys() - self.book.positions.keys():
            del self.prices[symbol]  # of a position that was left: worth nothing to the next one in that symbol
        event = ev.SessionOpened(at, session, number)
        self.book.apply(event)
        return Step(events=[event])

    def plan(self, plan: Plan) -> None:
        """Takes the session's candidates; those that were entered already, before a restart, are dropped."""
        self._plan = plan
        taken = {order.ordered.symbol for order in self.book.pending_entries()} | set(self.book.entered.values())
        taken |= {subject for kind, subject in self.book.accepted if kind == "position"}  # somebody else's shares too
        self._alive = [item for item in plan.candidates if item.candidate.symbol not in taken]

    @property
    def waiting(self) -> Sequence[Filtered]:
        """The candidates that may still be entered in this session, by rank."""
        return self._alive

    def group_due(self, at: datetime, group: str, minute: int, quotes: Mapping[str, Quote]) -> Step:
        """Judges the candidates whose time has come, of this group and of earlier ones."""
        step = Step()
        if self._plan is None or not self._alive:
            return step
        plan = self._plan
        self._see_drawdown(step, at)
        moment = Moment(group, minute, plan.regime, plan.result_age, plan.config_hash)
        rulebook = self._rulebooks[plan.config_hash]
        intents, step.outcomes = enter(moment, self._alive, self.book, quotes, self.prices, rulebook)
        if self._observer is not None:
            self._observer.outcomes(step.outcomes)
        assert self.book.session is not None
        kind: ev.OrderKind = "opg" if rulebook.params.entry.groups[group].order == "opg" else "day"
        if self._observer is None:
            step.judged += self._told(step.outcomes, quotes, plan.config_hash)
        for intent in intents:
            item = intent.candidate
            attempt = self.book.attempts(item.symbol, "entry") + 1
            name = order_id(self.tag, self.book.session, group, item.strategy, item.symbol, "entry", attempt)
            step.orders.append(
                ev.Ordered(at, self.book.session, name, item.symbol, item.strategy, item.direction, "entry",
                           intent.quantity, intent.plan, order=kind)
            )  # fmt: skip
        gone = {outcome.symbol for outcome in step.outcomes if outcome.final or outcome.intent is not None}
        if gone:
            self._alive = [item for item in self._alive if item.candidate.symbol not in gone]
        return step

    def _see_drawdown(self, step: Step, at: datetime) -> None:
        """A drawdown that entries were judged by is remembered, though the equity has come back by the close."""
        assert self.book.session is not None
        equity = self.book.equity(self.prices)
        if self.book.drawdown(equity) > self.book.worst_drawdown:
            seen = ev.DrawdownSeen(at, self.book.session, equity)
            self.book.apply(seen)
            step.events.append(seen)

    def _told(self, outcomes: Sequence[Outcome], quotes: Mapping[str, Quote], config_hash: str) -> Iterator[Judged]:
        """Every decision about candidates, for the record."""
        strategies = {item.candidate.symbol: item.candidate.strategy for item in self._alive}
        for outcome in outcomes:
            price = quotes[outcome.symbol].price if outcome.symbol in quotes else math.nan
            for decision in outcome.decisions:
                yield Judged(outcome.symbol, strategies[outcome.symbol], config_hash, decision, price)

    def close_session(self, at: datetime, borrow: float = 0.0) -> Step:
        """Ends a session: what each position has seen, what shorts pay for the night, and the equity.

        borrow: annual ratio of a short's value at the close.
        """
        step = Step()
        assert self.book.session is not None
        for symbol, held in sorted(self.book.positions.items()):
            if self._observer is None:
                step.judged += self._last_word(symbol, held)
                step.events.append(self._marked(at, symbol, held))
            if held.sign < 0 and borrow > 0:
                value = held.quantity * self.prices.get(symbol, held.entry_price)
                charged = ev.Charged(at, self.book.session, symbol, value * borrow / SESSIONS_A_YEAR)
                self.book.apply(charged)
                step.events.append(charged)
        closed = ev.SessionClosed(at, self.book.session, self.book.equity(self.prices))
        self.book.apply(closed)
        step.events.append(closed)
        return step

    def _last_word(self, symbol: str, held: HeldPosition) -> Iterator[Judged]:
        """How a position stood at the session's last bar, and how near the others came to an exit."""
        watch = self._watches.get(symbol)
        if watch is None or not watch.bars or watch.since != held.entered_at or watch.left_last:
            return
        rules, extremes = watch.rules, {"lowest": watch.lowest, "highest": watch.highest}
        more = {side: {name: row[name] for name in rules.reads if name in row} for side, row in extremes.items()}
        decision = rules.decision(watch.decided, watch.row, watch.streaks)
        yield Judged(symbol, held.strategy, held.plan.config_hash, decision, self.prices[symbol],
                     {"bars": watch.bars, **more})  # fmt: skip

    def shut_out(self, config_hash: str) -> dict[str, Scalar] | None:
        """As in `entry.shut_out`, at the last known prices."""
        return shut_out(self.book, self.prices, self._rulebooks[config_hash])

    def account(self) -> Account:
        """The account at the last known prices."""
        return account(self.book, self.prices)

    # --- held positions -----------------------------------------------------------------------------------------

    def bars(self, at: datetime, bars: Mapping[str, Bar], *, decide: bool = True) -> Step:
        """One minute's bars, by symbol; `at` is when it began. decide: False only takes them in.

        After a restart the session's bars so far are given once more with decide=False: what counts bars is then as
        if there had been none. What such a step holds was journaled before, or too late to be acted on.
        A bar that is not newer than the symbol's last one, that began before the position's fill, or that has no
        price changes nothing. Symbols are judged in alphabetical order.
        """
        step = Step()
        for symbol in sorted(bars):
            bar = bars[symbol]
            if not _sound(bar):
                continue
            held = self.book.positions.get(symbol)
            if held is None:
                self.prices[symbol] = bar.close
                continue
            watch = self._watch(symbol, held)
            if at < watch.since or (watch.last is not None and at <= watch.last):
                continue
            watch.last = at
            self.prices[symbol] = bar.close
            row = facts(held, watch.fixed, watch.day, bar)
            verdict = watch.rules.first(row, watch.streaks)
            self._judge(step, at, held, watch, bar.high, bar.low, row, verdict, decide)
        return step

    def point(self, at: datetime, symbol: str, bar: Bar, previous: float | None = None) -> tuple[Step, float]:
        """One point of a daily path and the price at which the position is left, if it is, on the way there.

        By a rule, or by its protective stop where that lies before it: at the stop's price, or at an open beyond it.
        previous: the price of the point before; None: the session's first. for_bars counts as 1.
        """
        step = Step()
        held = self.book.positions[symbol]
        watch = self._watch(symbol, held, on_path=True)
        rules, fixed, day = watch.rules, watch.fixed, watch.day

        price, row = bar.close, facts(held, fixed, day, bar)
        verdict = rules.first(row)
        if previous is not None and _leaves(rules, verdict[0]):

            def leaves_at(price: float) -> bool:
                there = Bar.point(price, bar.minute, bar.to_close)
                return _leaves(rules, rules.first(facts(held, fixed, day, there))[0])

            price = first_exit(previous, price, leaves_at)
            row = facts(held, fixed, day, Bar.point(price, bar.minute, bar.to_close))
            verdict = rules.first(row)
        stop = self._protective_price(held)
        if stop is not None and held.leaving is None and held.sign * (price - stop) <= 0:
            if previous is not None:
                price = stop if held.sign * (previous - stop) > 0 else previous
            self.prices[symbol] = price
            held.mark(price, price)
            self._leave(step, at, held, *_PROTECTIVE)
            return step, price
        self.prices[symbol] = price
        self._judge(step, at, held, watch, price, price, row, verdict, True)
        return step, price

    def settled(self, symbol: str, path: Sequence[tuple[int, float]], minutes: int) -> bool:
        """Judges a position on all points of a path at once, where one rule decides at each of them and none leaves.

        Whether it did; if not, nothing has happened, as in any case where every judgement is recorded. The position's
        price is the first point's then. path: (minute, price). minutes: the session's.
        """
        held = self.book.positions[symbol]
        if self._observer is None or held.leaving is not None:
            return False
        engine, day, fixed = self._known(held)
        rules = engine.rules(held, on_path=True)
        prices = [price for _, price in path]
        low, high = min(prices), max(prices)
        stop = self._protective_price(held)
        if stop is not None and (low <= stop if held.sign > 0 else high >= stop):
            return False
        least, most = between(held, day, low, high, minutes)
        unknowns = self._observer.unknowns
        index = rules.first_between(MOVING, alike=unknowns)(fixed, least, most)
        if index is None or _leaves(rules, index):
            return False
        self._observer.exit(rules, index, {**fixed, **least} if unknowns else fixed, len(path))
        held.bars_held += len(path)
        held.mark(high, low)
        self.prices[symbol] = prices[0]
        return True

    def pursue(self, at: datetime) -> Step:
        """What the positions that are to be left need now: a next order, or the end of what stands in its way."""
        step = Step()
        for _, held in sorted(self.book.positions.items()):
            if held.leaving is not None:
                self._pursue(step, at, held)
        return step

    def flatten(self, at: datetime) -> Step:
        """Every position is left, by nobody's rule but a person's word."""
        step = Step()
        for _, held in sorted(self.book.positions.items()):
            if held.leaving is None:
                self._leave(step, at, held, "flatten", "flatten")
        return step

    def protect(self, at: datetime, waiting: Collection[str] = ()) -> Step:
        """A stop order at the broker for every position that nothing else is ordered for, sized and placed anew.

        Without effect where the position's configuration has none. A position that is being left has its exit, and a
        stop beside it could sell the same shares twice; unless its exit failed and waits to be tried again.
        """
        step = Step()
        for symbol, held in sorted(self.book.positions.items()):
            if held.leaving is not None and symbol not in waiting:
                continue
            price = self._protective_price(held)
            live = self.book.order_of(symbol, "stop")
            if live is not None:
                if live.open_quantity != held.quantity or live.ordered.stop_price != price:
                    step.cancels.append(live.ordered.order_id)
            elif price is not None and not self.book.live_orders(symbol):
                step.orders.append(self._order(at, held, "stop", *_PROTECTIVE, "gtc", price))
        return step

    def _protective_price(self, held: HeldPosition) -> float | None:
        """Where a position's protective stop lies, to the tick; None: it has none."""
        known = self._stops.get(held.symbol)
        if known is None or known[0] != held.entry_price or known[1] is not held.plan:
            known = self._stops[held.symbol] = held.entry_price, held.plan, self._stop_price(held)
        return known[2]

    def _stop_price(self, held: HeldPosition) -> float | None:
        rulebook = self._rulebooks[held.plan.config_hash]
        if not rulebook.params.exit.protective_stop.enabled:
            return None
        distance = protective_distance(rulebook, held)
        price = held.entry_price - held.sign * distance
        if not price > 0:
            return None  # unknown, or further away than the price can fall
        exact = Decimal(repr(round(price, 8)))
        return float(stop_tick(exact, "sell" if held.sign > 0 else "buy"))

    def apply(self, event: ev.Event) -> None:
        """Takes in what happened to an order or to the account."""
        self.book.apply(event)
        if isinstance(event, ev.Split):
            self._watches.pop(event.symbol, None)
            if event.symbol in self.prices:  # until the first bar, what is held is worth what it was
                self.prices[event.symbol] *= event.old / event.new

    def _watch(self, symbol: str, held: HeldPosition, *, on_path: bool = False) -> _Watch:
        watch = self._watches.get(symbol)
        if watch is not None and watch.since != held.entered_at:
            watch = None  # of a position that was left earlier in the session
        # what a later fill of the same entry changes is the price, and with it the distances
        if (
            watch is None
            or watch.fixed["entry_price"] != held.entry_price
            or watch.config_hash != held.plan.config_hash
        ):
            engine, day, fixed = self._known(held)
            rules, config_hash = engine.rules(held, on_path=on_path), held.plan.config_hash
            fresh = _Watch(config_hash, day, fixed, rules, rules.no_streaks, held.entered_at)
            if watch is not None:
                fresh.last = watch.last
                if watch.config_hash == config_hash:
                    fresh.streaks = watch.streaks
            else:  # the session's bars come from the first on, after a restart as well
                held.bars_held = held.bars_before
            self._watches[symbol] = watch = fresh
        return watch

    def renew_days(self) -> None:
        """The daily values have been had only now: what is watched is judged with them from here on."""
        for symbol, watch in self._watches.items():
            held = self.book.positions.get(symbol)
            if held is not None:
                _, watch.day, watch.fixed = self._known(held)

    def _known(self, held: HeldPosition) -> tuple[ExitRuleEngine, Day, dict[str, Scalar]]:
        """What a position is judged by in this session: rules, daily values, facts that no bar changes."""
        symbol, plan = held.symbol, held.plan
        engine = ExitRuleEngine(self._rulebooks[plan.config_hash])
        day = self._day_of(plan.config_hash, symbol)
        known = self._standing.get(symbol)
        if known is None or known[0] != held.entry_price or known[1] is not plan:
            known = self._standing[symbol] = held.entry_price, plan, engine.standing(held)
        return engine, day, engine.fixed(held, day, known[2])

    def _judge(
        self,
        step: Step,
        at: datetime,
        held: HeldPosition,
        watch: _Watch,
        high: float,
        low: float,
        row: Mapping[str, Scalar],
        verdict: tuple[int, tuple[int, ...]],
        decide: bool,
    ) -> None:
        """verdict: what `RuleSet.first` gave."""
        rules = watch.rules
        held.bars_held += 1
        index, watch.streaks = verdict
        leaving = decide and held.leaving is None and _leaves(rules, index)
        moved = held.mark(high, low)
        if self._observer is None and (moved or leaving or held.leaving is not None):  # bars are counted to the end
            step.events.append(self._marked(at, held.symbol, held))
        if self._observer is not None:
            self._observer.exit(rules, index, row)
            told = leaving
        else:
            watch.saw(row, self.prices[held.symbol], index)
            verdicts = rules.verdicts(row)
            # what has changed on the last bar is said at the close, which is the same moment
            told = leaving or (verdicts != watch.verdicts and row["minutes_to_close"] != 0)
            watch.verdicts = verdicts
        if told:
            decision = rules.decision(index, row, watch.streaks)
            step.judged.append(
                Judged(held.symbol, held.strategy, held.plan.config_hash, decision, self.prices[held.symbol])
            )
        if leaving:
            watch.left_last = row["minutes_to_close"] == 0
            self._leave(step, at, held, rules.rules[index].reason, rules.rules[index].name)
        elif decide and held.leaving is not None:
            self._pursue(step, at, held)  # the attempt before ended without its shares

    def _leave(self, step: Step, at: datetime, held: HeldPosition, reason: str, rule: str) -> None:
        """Decides that a position is left: from here until it is flat."""
        assert self.book.session is not None
        event = ev.Leaving(at, self.book.session, held.symbol, reason, rule)
        self.book.apply(event)
        step.events.append(event)
        self._pursue(step, at, held)

    def _pursue(self, step: Step, at: datetime, held: HeldPosition) -> None:
        """The next attempt at an exit; where another order is live, its end comes first."""
        live = self.book.live_orders(held.symbol)
        step.cancels += [order.ordered.order_id for order in live if order.ordered.leg != "exit"]
        if not live and held.leaving is not None:
            reason, rule = held.leaving
            step.orders.append(self._order(at, held, "exit", reason, rule))

    def _order(
        self,
        at: datetime,
        held: HeldPosition,
        leg: ev.Leg,
        reason: str,
        rule: str,
        order: ev.OrderKind = "day",
        stop_price: float | None = None,
    ) -> ev.Ordered:
        """An order over all that is held."""
        assert self.book.session is not None
        attempt = self.book.attempts(held.symbol, leg) + 1
        name = order_id(self.tag, self.book.session, leg, held.strategy, held.symbol, leg, attempt)
        return ev.Ordered(at, self.book.session, name, held.symbol, held.strategy, held.direction, leg,
                          held.quantity, None, reason, rule, order, stop_price)  # fmt: skip

    def _marked(self, at: datetime, symbol: str, held: HeldPosition) -> ev.Marked:
        assert self.book.session is not None
        return ev.Marked(at, self.book.session, symbol, held.best_price, held.worst_price, held.bars_held)


def _leaves(rules: RuleSet, index: int) -> bool:
    """Whether the exit rule that decides, below 0 if none does, says to leave."""
    return index >= 0 and rules.rules[index].then == "exit"


def _sound(bar: Bar) -> bool:
    """Whether a bar can be judged: real prices, high at least low."""
    return bar.low > 0 and bar.high >= bar.low and bar.low <= bar.close <= bar.high and math.isfinite(bar.high)

"""The book: positions, orders, trades, cash and counters, folded from events. Nothing else stores a position."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from autotrader.core import events as ev
from autotrader.core.strategy import Direction

LET_STAND = "let stand"  # how a difference is resolved that a person accepts without a change of the journal


class BookError(ValueError):
    """An event that contradicts the book: a fill of an unknown order, more filled than ordered, a flipped sign."""


@dataclass(slots=True)
class HeldPosition:
    """A position. quantity: shares, positive for both sides. number: the entry session's place in the calendar.

    costs:    commissions and charges so far, USD.
    realized: gain of the shares that have left, before costs, USD.
    left_quantity, left_value: those shares, counted as of today's splits, and what they were traded for, USD.
    """

    symbol: str
    strategy: str
    direction: Direction
    quantity: int
    entry_price: float
    entered_at: datetime
    session: date
    number: int
    plan: ev.EntryPlan
    best_price: float
    worst_price: float
    bars_held: int = 0
    bars_before: int = 0  # of bars_held, those of earlier sessions
    costs: float = 0.0
    leaving: tuple[str, str] | None = None  # reason and rule, once it was decided: it is left until it is flat
    realized: float = 0.0
    left_quantity: float = 0.0
    left_value: float = 0.0

    @property
    def sign(self) -> int:
        return 1 if self.direction == "long" else -1

    @property
    def whole_quantity(self) -> int:
        """Shares entered, those that have left included."""
        return self.quantity + math.floor(self.left_quantity + 1e-6)

    def gain(self, price: float) -> float:
        """Gain in USD of the shares still held, at a price, before costs."""
        return (price - self.entry_price) * self.sign * self.quantity

    def mark(self, high: float, low: float) -> bool:
        """Takes in a bar's extremes; whether the best or the worst price moved."""
        best, worst = (high, low) if self.direction == "long" else (low, high)
        better = (best - self.best_price) * self.sign > 0
        worse = (self.worst_price - worst) * self.sign > 0
        if better:
            self.best_price = best
        if worse:
            self.worst_price = worst
        return better or worse


@dataclass(slots=True)
class Order:
    """An order of ours that is not final."""

    ordered: ev.Ordered
    filled: int = 0

    @property
    def open_quantity(self) -> int:
        return self.ordered.quantity - self.filled


@dataclass(slots=True)
class Trade:
    """A position from its first fill to its last; exit fields are None while it is open.

    quantity: shares entered. pnl: USD, net of costs. mfe, mae: best and worst gain of the position while held, USD;
    mfe >= 0 >= mae.
    """

    symbol: str
    strategy: str
    direction: Direction
    quantity: int
    entered_at: datetime
    entry_price: float
    exited_at: datetime | None
    exit_price: float | None
    exit_reason: str | None
    exit_rule: str | None
    pnl: float | None
    mfe: float
    mae: float
    bars_held: int
    sessions_held: int
    costs: float
    plan: ev.EntryPlan


@dataclass(slots=True)
class _Past:
    """What is remembered of a symbol's exits."""

    session: date
    number: int
    losses_in_row: int = 0


_NEVER_LEFT: Mapping[str, bool | float] = {
    "exited_today": False, "sessions_since_exit": math.nan, "losing_exits_in_row": 0,
}  # fmt: skip


@dataclass
class Book:
    """The account as the events so far left it; `apply` takes one more.

    equity_history: equity at the close of each session. prices of open positions are not the book's: whoever asks
    for equity brings them.
    """

    cash: float
    positions: dict[str, HeldPosition] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    trades: list[Trade] = field(default_factory=list)
    equity_history: list[tuple[date, float]] = field(default_factory=list)
    session: date | None = None
    number: int = 0
    peak: float = 0.0
    worst_drawdown: float = 0.0
    done: dict[tuple[date, str], ev.StageDone] = field(default_factory=dict)  # the current session's stages
    entered: dict[str, str] = field(default_factory=dict)  # order id -> symbol: the entries that opened, this session
    differences: dict[tuple[str, str], ev.Difference] = field(default_factory=dict)  # unresolved, by kind and subject
    accepted: dict[tuple[str, str], str] = field(default_factory=dict)  # differences a person lets stand, as found
    asked: set[str] = field(default_factory=set)  # the ids of people's requests that were taken
    paused: ev.Paused | None = None
    flatten: ev.Flattened | None = None  # asked for, and not everything is flat yet
    ended: dict[str, Order] = field(default_factory=dict)  # orders that ended without all their shares, by id
    _attempts: dict[tuple[str, str], int] = field(default_factory=dict)  # symbol, leg -> orders of this session
    _numbers: dict[date, int] = field(default_factory=dict)
    _order_ids: set[str] = field(default_factory=set)
    _pasts: dict[str, _Past] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.peak = self.peak or self.cash

    # --- the fold -----------------------------------------------------------------------------------------------

    def apply(self, event: ev.Event) -> None:
        """Takes in one event. BookError where it contradicts what the book knows; the book is then unchanged."""
        match event:
            case ev.Marked():
                held = self._held(event.symbol, "a mark")
                held.best_price, held.worst_price, held.bars_held = event.best_price, event.worst_price, event.bars_held
            case ev.Ordered():
                self._ordered(event)
            case ev.Leaving():
                held = self._held(event.symbol, "a decision to leave")
                held.leaving = held.leaving or (event.reason, event.rule)
            case ev.Revived():
                self._revived(event)
            case ev.Filled():
                self._filled(event)
            case ev.OrderEnded():
                self._ended(event)
            case ev.SessionOpened():
                self._opened(event)
            case ev.SessionClosed():
                self._closed(event)
            case ev.StageDone():
                self.done[event.session, event.stage] = event
            case ev.Split():
                self._split(event)
            case ev.Charged():
                self._held(event.symbol, "a charge").costs += event.amount
                self.cash -= event.amount
            case ev.DrawdownSeen():
                if not math.isfinite(event.equity):
                    raise BookError(f"a drawdown to an equity of {event.equity}")
                self.worst_drawdown = max(self.worst_drawdown, self.drawdown(event.equity))
            case ev.DrawdownReset():
                self.worst_drawdown = 0.0
                if self.equity_history:  # before the first close the peak is the cash at the start, and stays
                    self.peak = self.equity_history[-1][1]
            case ev.Corrected():
                self._corrected(event)
            case ev.ConfigAdopted():
                held = self._held(event.symbol, "another configuration")
                held.plan = replace(held.plan, config_hash=event.config_hash, stop_distance=event.stop_distance)
            case ev.Difference():
                self.differences[event.kind, event.subject] = event
            case ev.Resolved():
                self._resolved(event)
            case ev.Paused():
                self.paused = event
            case ev.Resumed():
                self.paused = self.flatten = None
            case ev.Flattened():
                self.flatten = None if event.done else event
                for held in self.positions.values():
                    held.leaving = held.leaving or ("flatten", "flatten")
            case ev.Asked():
                self.asked.add(event.request)
            case ev.StageFailed() | ev.Alerted():
                pass  # said for the record; the account is as it was

    def fold(self, events: Iterable[ev.Event]) -> Book:
        for event in events:
            self.apply(event)
        return self

    def _held(self, symbol: str, what: str) -> HeldPosition:
        held = self.positions.get(symbol)
        if held is None:
            raise BookError(f"{what} of {symbol}, which is not held")
        return held

    def _opened(self, event: ev.SessionOpened) -> None:
        known = self._numbers.get(event.session, event.number)
        if known != event.number or (self.session is not None and event.session < self.session):
            raise BookError(f"session {event.session} ({event.number}) after {self.session} ({self.number})")
        if event.session != self.session:  # the same one again, after a restart, keeps what was done in it
            self.entered.clear()
            self.done.clear()
            self._attempts.clear()
            for held in self.positions.values():
                held.bars_before = held.bars_held
        self._numbers[event.session] = event.number
        self.session, self.number = event.session, event.number

    def _closed(self, event: ev.SessionClosed) -> None:
        if self.equity_history and event.session <= self.equity_history[-1][0]:
            raise BookError(f"the close of {event.session} after that of {self.equity_history[-1][0]}")
        if not math.isfinite(event.equity):
            raise BookError(f"an equity of {event.equity} at the close of {event.session}")
        self.equity_history.append((event.session, event.equity))
        self.peak = max(self.peak, event.equity)
        self.worst_drawdown = max(self.worst_drawdown, self.drawdown(event.equity))

    def _number_of(self, session: date) -> int:
        """A fill may be learned of after its session, which then still is the one it belongs to."""
        return self._numbers.get(session, self.number)

    def _ordered(self, event: ev.Ordered) -> None:
        if event.order_id in self._order_ids:
            raise BookError(f"order {event.order_id} is there already")
        if event.quantity < 1:
            raise BookError(f"order {event.order_id} of {event.quantity} shares")
        for live in self.live_orders(event.symbol):
            # an exit waits until nothing else is open, so that no two orders can sell the same shares; a stop does
            # not rest while an entry is open, nor two of a kind
            raise BookError(f"{event.symbol}: {event.order_id} while {live.ordered.order_id} is live")
        held = self.positions.get(event.symbol)
        if event.leg == "entry":
            if event.plan is None:
                raise BookError(f"{event.symbol}: the entry {event.order_id} has no plan")
            if held is not None and (held.strategy, held.direction) != (event.strategy, event.direction):
                raise BookError(f"{event.symbol}: {event.order_id} while {held.strategy} holds it {held.direction}")
        else:
            if held is None or held.direction != event.direction or event.quantity > held.quantity:
                raise BookError(f"{event.symbol}: {event.order_id} of {event.quantity} shares would flip the position")
            if event.reason is None:
                raise BookError(f"{event.symbol}: the {event.leg} {event.order_id} has no reason")
            if event.leg == "exit":
                held.leaving = (event.reason, event.rule or event.reason)
        self._attempts[event.symbol, event.leg] = self.attempts(event.symbol, event.leg) + 1
        self._order_ids.add(event.order_id)
        self.orders[event.order_id] = Order(event)

    def _revived(self, event: ev.Revived) -> None:
        if not self.may_return(event.order_id):
            raise BookError(f"{event.order_id} cannot come back: it did not end short of its shares, or does not fit")
        self.orders[event.order_id] = self.ended.pop(event.order_id)

    def _filled(self, event: ev.Filled) -> None:
        order = self.orders.get(event.order_id)
        if order is None:
            raise BookError(f"fill of an order that is not open: {event.order_id}")
        if event.quantity <= 0 or event.cumulative != order.filled + event.quantity:
            raise BookError(
                f"{event.order_id}: fills add up to {order.filled + event.quantity}, not {event.cumulative}"
            )
        if event.quantity > order.open_quantity:
            raise BookError(f"{event.order_id}: {event.cumulative} filled of {order.ordered.quantity} ordered")
        if not 0.0 < event.price < math.inf:
            raise BookError(f"{event.order_id}: filled at {event.price}")
        if order.ordered.leg == "entry":
            self._entered(order.ordered, event)
        else:
            self._left(order.ordered.symbol, event, order.ordered.reason, order.ordered.rule, event.commission)
        order.filled = event.cumulative
        if order.open_quantity == 0:
            del self.orders[event.order_id]

    def _entered(self, ordered: ev.Ordered, event: ev.Filled) -> None:
        assert ordered.plan is not None  # _ordered has seen to it
        held = self.positions.get(ordered.symbol)
        if held is None:
            held = self.positions[ordered.symbol] = HeldPosition(
                ordered.symbol, ordered.strategy, ordered.direction, event.quantity, event.price, event.at,
                event.session, self._number_of(event.session), ordered.plan, event.price, event.price,
            )  # fmt: skip
            if event.session == (self.session or event.session):
                self.entered[ordered.order_id] = ordered.symbol
        else:
            total = held.quantity + event.quantity
            held.entry_price = (held.entry_price * held.quantity + event.price * event.quantity) / total
            held.quantity = total
            held.mark(event.price, event.price)
        held.costs += event.commission
        self.cash -= held.sign * event.quantity * event.price + event.commission

    def _left(
        self, symbol: str, event: ev.Filled | ev.Corrected, reason: str | None, rule: str | None, commission: float
    ) -> None:
        held = self.positions.get(symbol)
        if held is None or event.quantity > held.quantity:
            raise BookError(f"{symbol}: an exit of {event.quantity} shares would flip the position")
        held.mark(event.price, event.price)
        held.costs += commission
        held.realized += (event.price - held.entry_price) * held.sign * event.quantity
        held.quantity -= event.quantity
        held.left_quantity += event.quantity
        held.left_value += event.price * event.quantity
        self.cash += held.sign * event.quantity * event.price - commission
        if held.quantity == 0:
            self._finish(held, event, reason, rule)

    def _corrected(self, event: ev.Corrected) -> None:
        if event.quantity < 1 or not 0.0 < event.price < math.inf:
            raise BookError(f"{event.symbol}: a correction by {event.quantity} shares at {event.price}")
        if self.live_orders(event.symbol):
            raise BookError(f"{event.symbol}: a correction while an order is live")
        self._left(event.symbol, event, "corrected", None, 0.0)

    def _resolved(self, event: ev.Resolved) -> None:
        found = self.differences.pop((event.kind, event.subject), None)
        if found is not None and event.how == LET_STAND:
            self.accepted[event.kind, event.subject] = found.found

    def _finish(
        self, held: HeldPosition, event: ev.Filled | ev.Split | ev.Corrected, reason: str | None, rule: str | None
    ) -> None:
        """Nothing of the position is left: it becomes a trade."""
        del self.positions[held.symbol]
        pnl = held.realized - held.costs
        self.trades.append(
            self._trade(held, event.at, held.left_value / held.left_quantity, reason, rule, pnl, event.session)
        )
        past = self._pasts.get(held.symbol)
        losses = (past.losses_in_row if past else 0) + 1 if pnl < 0 else 0
        self._pasts[held.symbol] = _Past(event.session, self._number_of(event.session), losses)

    def _ended(self, event: ev.OrderEnded) -> None:
        order = self.orders.get(event.order_id)
        if order is None:
            if event.status != "filled" or event.order_id not in self._order_ids:
                raise BookError(f"the end of an order that is not open: {event.order_id}")
            return  # its last fill has ended it
        if event.status == "filled":
            raise BookError(f"{event.order_id}: filled, of {order.ordered.quantity} shares {order.filled} are known")
        self.ended[event.order_id] = self.orders.pop(event.order_id)

    def _split(self, event: ev.Split) -> None:
        """Quantity, prices, ATR and levels together, so that value and distances in shares of the price stay.

        A fraction of a share leaves for `cash`; where nothing but a fraction is left, so does the position.
        """
        held = self._held(event.symbol, "a split")
        if event.new < 1 or event.old < 1:
            raise BookError(f"{event.symbol}: a split of {event.old} into {event.new}")
        ratio = event.new / event.old
        for order in self.live_orders(event.symbol):  # as the broker does
            ordered, left = order.ordered, order.open_quantity * event.new // event.old
            stop = None if ordered.stop_price is None else ordered.stop_price / ratio
            if left:
                order.ordered = replace(ordered, quantity=order.filled + left, stop_price=stop)
        quantity, rest = divmod(held.quantity * event.new, event.old)
        self.cash += event.cash
        if quantity == 0:
            held.realized += event.cash - held.sign * held.quantity * held.entry_price
            held.left_quantity += held.quantity
            held.left_value += abs(event.cash)
            held.quantity = 0
            self._finish(held, event, "split", None)
            return
        held.quantity = quantity
        held.entry_price /= ratio
        held.best_price /= ratio
        held.worst_price /= ratio
        held.left_quantity *= ratio
        held.realized += event.cash - held.sign * rest / event.old * held.entry_price
        plan = held.plan
        held.plan = replace(
            plan, atr=plan.atr / ratio, prev_close=plan.prev_close / ratio, price=plan.price / ratio,
            stop_distance=plan.stop_distance / ratio,
        )  # fmt: skip

    # --- questions ----------------------------------------------------------------------------------------------

    def equity(self, prices: Mapping[str, float]) -> float:
        """Cash and positions at these prices; a position without one counts at its entry price."""
        total = self.cash
        for symbol, held in self.positions.items():
            price = prices.get(symbol, math.nan)
            total += held.sign * held.quantity * (held.entry_price if math.isnan(price) else price)
        return total

    def drawdown(self, equity: float) -> float:
        """How far the equity is below its peak, 0 to 1."""
        return max(0.0, 1.0 - equity / self.peak) if self.peak > 0 else 0.0

    def previous_equity(self) -> float | None:
        """Equity at the last close."""
        return self.equity_history[-1][1] if self.equity_history else None

    def pending_entries(self) -> list[Order]:
        return [order for order in self.orders.values() if order.ordered.leg == "entry"]

    def may_return(self, order_id: str) -> bool:
        """Whether an order that was given up can be live again: what is held now is what it was for."""
        order = self.ended.get(order_id)
        if order is None:
            return False
        ordered, held = order.ordered, self.positions.get(order.ordered.symbol)
        if held is None:
            return ordered.leg == "entry"
        return (held.strategy, held.direction) == (ordered.strategy, ordered.direction)

    def live_orders(self, symbol: str) -> list[Order]:
        """The orders of a symbol that are not final; at most one, but for those that came back from the dead."""
        return [order for order in self.orders.values() if order.ordered.symbol == symbol]

    def order_of(self, symbol: str, leg: ev.Leg) -> Order | None:
        """The live order of a symbol for this leg."""
        return next((order for order in self.live_orders(symbol) if order.ordered.leg == leg), None)

    def attempts(self, symbol: str, leg: ev.Leg) -> int:
        """How many orders of this leg the symbol had in this session."""
        return self._attempts.get((symbol, leg), 0)

    def entries_off(self) -> str | None:
        """Why nothing may be opened, in words; None: nothing stands against it."""
        if self.flatten is not None:
            return f"flattening, asked for by {self.flatten.by}"
        if self.paused is not None:
            return f"paused by {self.paused.by}: {self.paused.reason}"
        if self.differences:
            subjects = ", ".join(sorted(subject for _, subject in self.differences))
            return f"journal and broker disagree about {subjects}"
        return None

    def entries_today(self) -> int:
        """Entries of this session, filled or live; a dead one without a fill does not count, nor a second attempt."""
        waiting = {
            order.ordered.symbol
            for order in self.pending_entries()
            if order.ordered.order_id not in self.entered and order.ordered.symbol not in self.positions
        }
        return len(self.entered) + len(waiting)

    def exits(self, symbol: str) -> Mapping[str, bool | float]:
        """The facts about a symbol's exits: one today, sessions since the last (NaN: never), losses in a row."""
        past = self._pasts.get(symbol)
        if past is None:
            return _NEVER_LEFT
        return {
            "exited_today": past.session == self.session,
            "sessions_since_exit": float(self.number - past.number),
            "losing_exits_in_row": past.losses_in_row,
        }

    def all_trades(self) -> list[Trade]:
        """The closed trades and then the open positions as trades without an exit."""
        return [*self.trades, *map(self.open_trade, self.positions)]

    def open_trade(self, symbol: str) -> Trade:
        """The open position of a symbol as a trade without an exit. KeyError where there is none."""
        return self._trade(self.positions[symbol])

    def _trade(
        self,
        held: HeldPosition,
        at: datetime | None = None,
        price: float | None = None,
        reason: str | None = None,
        rule: str | None = None,
        pnl: float | None = None,
        session: date | None = None,
    ) -> Trade:
        whole = held.sign * held.whole_quantity
        number = self.number if session is None else self._number_of(session)
        return Trade(
            held.symbol, held.strategy, held.direction, held.whole_quantity, held.entered_at, held.entry_price, at,
            price, reason, rule, pnl, max(0.0, (held.best_price - held.entry_price) * whole),
            min(0.0, (held.worst_price - held.entry_price) * whole), held.bars_held, number - held.number, held.costs,
            held.plan,
        )  # fmt: skip

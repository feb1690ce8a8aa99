"""The book: positions, orders, trades, cash and counters, folded from events. Nothing else stores a position."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from autotrader.core import events as ev
from autotrader.core.strategy import Direction


class BookError(ValueError):
    """An event that contradicts the book: a fill of an unknown order, more filled than ordered, a flipped sign."""


@dataclass(slots=True)
class HeldPosition:
    """A position. quantity: shares, positive for both sides. number: the entry session's place in the calendar."""

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
    costs: float = 0.0
    leaving: tuple[str, str] | None = None  # reason and rule, once an exit was ordered: it is left until it is flat

    @property
    def sign(self) -> int:
        return 1 if self.direction == "long" else -1

    def gain(self, price: float) -> float:
        """Gain in USD of the whole position at a price, before costs."""
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

    pnl: USD, net of costs. mfe, mae: best and worst gain of the position while held, USD; mfe >= 0 >= mae.
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


@dataclass(slots=True)
class _Exit:
    """What an exit has filled so far."""

    value: float = 0.0
    quantity: int = 0


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
    done: dict[tuple[date, str], datetime] = field(default_factory=dict)  # the current session's stages
    entered: dict[str, str] = field(default_factory=dict)  # order id -> symbol: this session's filled entries
    _attempts: dict[str, int] = field(default_factory=dict)  # symbol -> exits ordered in this session
    _exits: dict[str, _Exit] = field(default_factory=dict)
    _pasts: dict[str, _Past] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.peak = self.peak or self.cash

    # --- the fold -----------------------------------------------------------------------------------------------

    def apply(self, event: ev.Event) -> None:
        """Takes in one event. BookError where it contradicts what the book knows."""
        match event:
            case ev.Marked():
                self._marked(event)
            case ev.Ordered():
                if event.order_id in self.orders:
                    raise BookError(f"order {event.order_id} is there already")
                self.orders[event.order_id] = Order(event)
                if event.leg == "exit":
                    assert event.reason is not None
                    self.positions[event.symbol].leaving = (event.reason, event.rule or event.reason)
                    self._attempts[event.symbol] = self._attempts.get(event.symbol, 0) + 1
            case ev.Filled():
                self._filled(event)
            case ev.OrderEnded():
                self._ended(event)
            case ev.SessionOpened():
                self.session, self.number = event.session, event.number
                self.entered.clear()
                self.done.clear()
                self._attempts.clear()
            case ev.SessionClosed():
                self.equity_history.append((event.session, event.equity))
                self.peak = max(self.peak, event.equity)
                self.worst_drawdown = max(self.worst_drawdown, self.drawdown(event.equity))
            case ev.StageDone():
                self.done[event.session, event.stage] = event.at
            case ev.Split():
                self._split(event)
            case ev.Charged():
                self.cash -= event.amount
                self.positions[event.symbol].costs += event.amount
            case ev.DrawdownReset():
                self.worst_drawdown = 0.0
                self.peak = self.equity_history[-1][1] if self.equity_history else self.cash

    def fold(self, events: Iterable[ev.Event]) -> Book:
        for event in events:
            self.apply(event)
        return self

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
        order.filled = event.cumulative
        if order.ordered.leg == "entry":
            self._entered(order.ordered, event)
        else:
            self._left(order.ordered, event)
        if order.open_quantity == 0:
            del self.orders[event.order_id]

    def _entered(self, ordered: ev.Ordered, event: ev.Filled) -> None:
        assert ordered.plan is not None
        sign = 1 if ordered.direction == "long" else -1
        self.cash -= sign * event.quantity * event.price + event.commission
        self.entered[ordered.order_id] = ordered.symbol
        held = self.positions.get(ordered.symbol)
        if held is None:
            self.positions[ordered.symbol] = HeldPosition(
                ordered.symbol, ordered.strategy, ordered.direction, event.quantity, event.price, event.at,
                ordered.session, self.number, ordered.plan, event.price, event.price, 0, event.commission,
            )  # fmt: skip
            return
        if held.direction != ordered.direction:
            raise BookError(f"{ordered.symbol}: an entry {ordered.direction} while held {held.direction}")
        total = held.quantity + event.quantity
        held.entry_price = (held.entry_price * held.quantity + event.price * event.quantity) / total
        held.quantity = total
        held.costs += event.commission
        held.mark(event.price, event.price)

    def _left(self, ordered: ev.Ordered, event: ev.Filled) -> None:
        held = self.positions.get(ordered.symbol)
        if held is None or event.quantity > held.quantity:
            raise BookError(f"{ordered.symbol}: an exit of {event.quantity} shares would flip the position")
        done = self._exits.setdefault(ordered.symbol, _Exit())
        done.value += event.price * event.quantity
        done.quantity += event.quantity
        self.cash += held.sign * event.quantity * event.price - event.commission
        held.costs += event.commission
        held.mark(event.price, event.price)
        if event.quantity < held.quantity:
            held.quantity -= event.quantity
            return
        del self._exits[ordered.symbol], self.positions[ordered.symbol]
        exit_price = done.value / done.quantity
        held.quantity = done.quantity
        pnl = held.gain(exit_price) - held.costs
        self.trades.append(self._trade(held, event.at, exit_price, ordered.reason, ordered.rule, pnl))
        past = self._pasts.get(ordered.symbol)
        losses = (past.losses_in_row if past else 0) + 1 if pnl < 0 else 0
        self._pasts[ordered.symbol] = _Past(event.session, self.number, losses)

    def _ended(self, event: ev.OrderEnded) -> None:
        order = self.orders.pop(event.order_id, None)
        if order is None and event.status != "filled":
            raise BookError(f"the end of an order that is not open: {event.order_id}")

    def _marked(self, event: ev.Marked) -> None:
        held = self.positions[event.symbol]
        held.best_price, held.worst_price, held.bars_held = event.best_price, event.worst_price, event.bars_held

    def _split(self, event: ev.Split) -> None:
        """Quantity, prices, ATR and levels together, so that value and distances in shares of the price stay."""
        held = self.positions[event.symbol]
        ratio = event.new / event.old
        held.quantity = held.quantity * event.new // event.old
        self.cash += event.cash
        held.entry_price /= ratio
        held.best_price /= ratio
        held.worst_price /= ratio
        plan = held.plan
        held.plan = ev.EntryPlan(
            plan.group, plan.rank, plan.score, plan.sector, plan.regime, plan.atr / ratio, plan.prev_close / ratio,
            plan.price / ratio, plan.stop_distance / ratio, plan.config_hash,
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

    def exit_order(self, symbol: str) -> Order | None:
        """The live exit of a position; there is at most one."""
        return next((o for o in self.orders.values() if o.ordered.leg == "exit" and o.ordered.symbol == symbol), None)

    def exit_attempts(self, symbol: str) -> int:
        """How many exits of the symbol were ordered in this session."""
        return self._attempts.get(symbol, 0)

    def entries_today(self) -> int:
        """Entries of this session, filled or live; a dead one without a fill does not count."""
        live = {order.ordered.order_id for order in self.pending_entries()}
        return len(live | self.entered.keys())

    def exited_today(self, symbol: str) -> bool:
        past = self._pasts.get(symbol)
        return past is not None and past.session == self.session

    def sessions_since_exit(self, symbol: str) -> float:
        """Sessions since the symbol was last left; NaN if never."""
        past = self._pasts.get(symbol)
        return math.nan if past is None else float(self.number - past.number)

    def losing_exits_in_row(self, symbol: str) -> int:
        past = self._pasts.get(symbol)
        return 0 if past is None else past.losses_in_row

    def all_trades(self) -> list[Trade]:
        """The closed trades and then the open positions as trades without an exit."""
        return [*self.trades, *(self._trade(held, None, None, None, None, None) for held in self.positions.values())]

    def _trade(
        self,
        held: HeldPosition,
        at: datetime | None,
        price: float | None,
        reason: str | None,
        rule: str | None,
        pnl: float | None,
    ) -> Trade:
        return Trade(
            held.symbol, held.strategy, held.direction, held.quantity, held.entered_at, held.entry_price, at, price,
            reason, rule, pnl, max(0.0, held.gain(held.best_price)), min(0.0, held.gain(held.worst_price)),
            held.bars_held, self.number - held.number, held.costs, held.plan,
        )  # fmt: skip

"""Entries: confirmation, re-entry block, limits and sizing of candidates in the order of their rank."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from autotrader.core.book import Book
from autotrader.core.events import EntryPlan
from autotrader.core.exits import stop_distance
from autotrader.core.gap_filter import NO_QUOTE, Filtered, Quote
from autotrader.core.rulebook import Bound, Rulebook
from autotrader.core.sizing import size
from autotrader.core.strategy import Direction
from autotrader.core.types import Candidate
from autotrader.rules.decision import Decision
from autotrader.rules.facts import Scalar


@dataclass(frozen=True, slots=True)
class Intent:
    """An entry to be made: what is ordered, and on what grounds. sized_by: the sizing value that decided."""

    candidate: Candidate
    quantity: int
    plan: EntryPlan
    sized_by: str


class Account(NamedTuple):
    """What limits and sizing know of the account. day_return, worst_drawdown: fractions; the rest in USD."""

    equity: float
    day_return: float
    worst_drawdown: float
    buying_power: float


class Moment(NamedTuple):
    """When and under which scan entries are judged. minute: of the session. result_age: in sessions."""

    group: str
    minute: int
    regime: str
    result_age: int
    config_hash: str


class Outcome(NamedTuple):
    """What became of one candidate at one group's time. final: not asked again in this session."""

    symbol: str
    decisions: tuple[Decision, ...]
    intent: Intent | None
    final: bool

    @property
    def entered(self) -> bool:
        return self.intent is not None

    @property
    def reason(self) -> str:
        if self.entered:
            return "entered"
        last = self.decisions[-1]
        return "no_whole_share" if last.outcome == "allow" else last.reason  # nothing stood against none at all


def account(book: Book, prices: Mapping[str, float]) -> Account:
    """The account at these prices."""
    return _account(book, prices, Exposure(book, prices).gross)


def _account(book: Book, prices: Mapping[str, float], gross: float) -> Account:
    """Buying power is what a cash account has: equity less everything held or ordered."""
    equity = book.equity(prices)
    before = book.previous_equity()
    return Account(
        equity=equity,
        day_return=0.0 if not before else equity / before - 1.0,
        worst_drawdown=max(book.worst_drawdown, book.drawdown(equity)),
        buying_power=max(0.0, equity - gross),
    )


def enter(
    moment: Moment,
    candidates: Sequence[Filtered],
    book: Book,
    quotes: Mapping[str, Quote],
    prices: Mapping[str, float],
    rulebook: Rulebook,
) -> tuple[list[Intent], list[Outcome]]:
    """The entries to make now, and what was decided about every candidate that was asked.

    candidates: those still alive, of all groups, by rank; those of groups later than `moment.group` wait.
    quotes: the candidates'. prices: of what is held. A candidate that a limit keeps out leaves the slot to the next.
    """
    due = rulebook.due_with(moment.group)
    asked = [item for item in candidates if item.candidate.entry_group in due]
    if not asked:
        return [], []
    waiting = sorted(item.candidate.rank for item in candidates if item.candidate.entry_group not in due)
    exposure = Exposure(book, prices)
    state = _account(book, prices, exposure.gross)
    entries_today = book.entries_today()
    shared = _shared(moment, exposure, state, entries_today)
    intents: list[Intent] = []
    outcomes: list[Outcome] = []
    for item in asked:
        chosen = item.candidate
        bound = rulebook.bound(chosen.strategy, chosen.direction)
        quote = quotes.get(chosen.symbol, NO_QUOTE)
        row = {**shared, **item.facts}
        _quoted(row, chosen, quote)
        decisions = _confirmed(bound, row)
        final = bool(decisions) and decisions[0].outcome != "enter"
        intent = None
        if not final:
            exposure.tell(chosen, row)
            row |= book.exits(chosen.symbol)
            if waiting:
                row["better_ranked_waiting"] = bisect_left(waiting, chosen.rank)
            reentry = bound.reentry.judge(row)
            limits = bound.limits.judge(row) if reentry.rule is None else None
            decisions += (reentry,) if limits is None else (reentry, limits)
            if limits is not None and limits.rule is None and row["symbol_held"]:
                decisions += (_HELD,)
            elif limits is not None and limits.rule is None:
                sized, intent = _sized(moment, chosen, quote.price, row, rulebook)
                decisions += sized
        outcomes.append(Outcome(chosen.symbol, decisions, intent, final))
        if intent is not None:
            intents.append(intent)
            value = intent.quantity * intent.plan.price
            exposure.add(chosen.symbol, chosen.strategy, chosen.direction, chosen.sector, value)
            shared = _shared(moment, exposure, state, entries_today + len(intents))
    return intents, outcomes


def shut_out(book: Book, prices: Mapping[str, float], rulebook: Rulebook) -> dict[str, Scalar] | None:
    """The facts of the account where a limit that reads nothing else lets nobody in; None: somebody may come in."""
    exposure = Exposure(book, prices)
    facts = _of_account(exposure, _account(book, prices, exposure.gross), book.entries_today())
    return facts if rulebook.account_limits.matching(facts) else None


def _of_account(exposure: Exposure, state: Account, entries_today: int) -> dict[str, Scalar]:
    """The facts of vocabulary.ACCOUNT_FACTS: the same for all candidates until one of them enters."""
    return {
        **exposure.shared(),
        "equity": state.equity,
        "day_return": state.day_return,
        "worst_drawdown": state.worst_drawdown,
        "buying_power": max(0.0, state.equity - exposure.gross),
        "entries_today": entries_today,
    }


def _shared(moment: Moment, exposure: Exposure, state: Account, entries_today: int) -> dict[str, Scalar]:
    """A row of facts as it is for all candidates until one of them enters."""
    known = _of_account(exposure, state, entries_today)
    return {**_ROOM, **known, "minute_of_session": moment.minute, "better_ranked_waiting": 0}


def _quoted(row: dict[str, Scalar], chosen: Candidate, quote: Quote) -> None:
    """Puts the price now into a row, and what comes with it."""
    price, before = quote.price, chosen.prev_close
    row["price"] = price
    row["price_age_seconds"] = quote.age_seconds
    row["spread_pct"] = quote.spread_pct
    row["corporate_action"] = quote.corporate_action
    row["shortable"] = quote.shortable
    row["move_pct"] = (price - before if chosen.direction == "long" else before - price) / before


def _confirmed(bound: Bound, row: dict[str, Scalar]) -> tuple[Decision, ...]:
    """Whether the group's own rules let it enter; a group without rules does. If not, not in this session."""
    return () if bound.confirmation is None else (bound.confirmation.judge(row),)


def _sized(
    moment: Moment, chosen: Candidate, price: float, row: dict[str, Scalar], rulebook: Rulebook
) -> tuple[tuple[Decision, ...], Intent | None]:
    """Sizing and the order rules; the intent where nothing stands against it."""
    distance = stop_distance(rulebook, chosen.strategy, chosen.direction, price, chosen.atr)
    row |= {"entry_price": price, "atr_at_entry": chosen.atr, "stop_distance": distance}
    sized = size(rulebook, chosen.strategy, chosen.direction, row)
    decisions = (sized.least,) if sized.order is None else (sized.least, sized.order)
    if not sized.entered:
        return decisions, None
    assert sized.quantity is not None
    plan = EntryPlan(
        group=chosen.entry_group,
        rank=chosen.rank,
        score=chosen.score,
        sector=chosen.sector,
        regime=moment.regime,
        atr=chosen.atr,
        prev_close=chosen.prev_close,
        price=price,
        stop_distance=distance,
        config_hash=moment.config_hash,
    )
    return decisions, Intent(chosen, sized.quantity, plan, sized.least.rule or "")


_NOTHING = 0, 0.0

# Whatever the limits say: a symbol has one position, and one order that opens it.
_HELD = Decision("limits", "reject", None, "already_held")

# The facts of one candidate, there from the start: a row that does not grow is a third of the time.
_ROOM: dict[str, Scalar] = dict.fromkeys((
    "price", "price_age_seconds", "spread_pct", "corporate_action", "shortable", "move_pct", "open_in_strategy",
    "open_in_sector", "exposure_sector", "exposure_strategy", "strategy_exposure", "symbol_held", "exited_today",
    "sessions_since_exit", "losing_exits_in_row",
))  # fmt: skip


class Exposure:
    """What is held or pending, as limits count it: positions at their prices, pending entries at their planned ones.

    A symbol counts once, also while its entry is filled in part. Values are USD and positive.
    """

    def __init__(self, book: Book, prices: Mapping[str, float]) -> None:
        self.gross = 0.0
        self._symbols: set[str] = set()
        self._count: dict[str, int] = {"long": 0, "short": 0}
        self._value: dict[str, float] = {"long": 0.0, "short": 0.0}
        self._in_strategy: dict[str, tuple[int, float]] = {}
        self._in_sector: dict[str | None, tuple[int, float]] = {}
        for symbol, held in book.positions.items():
            price = prices.get(symbol, math.nan)
            value = held.quantity * (held.entry_price if math.isnan(price) else price)
            self.add(symbol, held.strategy, held.direction, held.plan.sector, value)
        for order in book.pending_entries():
            ordered = order.ordered
            assert ordered.plan is not None
            value = order.open_quantity * ordered.plan.price
            self.add(ordered.symbol, ordered.strategy, ordered.direction, ordered.plan.sector, value)

    def add(self, symbol: str, strategy: str, direction: Direction, sector: str | None, value: float) -> None:
        new = symbol not in self._symbols
        self._symbols.add(symbol)
        self.gross += value
        self._count[direction] += new
        self._value[direction] += value
        count, sum_ = self._in_strategy.get(strategy, (0, 0.0))
        self._in_strategy[strategy] = count + new, sum_ + value
        count, sum_ = self._in_sector.get(sector, (0, 0.0))
        self._in_sector[sector] = count + new, sum_ + value

    def shared(self) -> dict[str, Scalar]:
        """The facts of limits that count what is held or pending, whatever the candidate."""
        return {
            "open_positions": len(self._symbols),
            "open_long": self._count["long"],
            "open_short": self._count["short"],
            "exposure_gross": self.gross,
            "exposure_long": self._value["long"],
            "exposure_short": self._value["short"],
        }

    def tell(self, item: Candidate, row: dict[str, Scalar]) -> None:
        """Puts those into a row that count it for one candidate: what is in its strategy, its sector, its symbol."""
        row["open_in_strategy"], strategy_exposure = self._in_strategy.get(item.strategy, _NOTHING)
        row["open_in_sector"], row["exposure_sector"] = self._in_sector.get(item.sector, _NOTHING)
        row["exposure_strategy"] = row["strategy_exposure"] = strategy_exposure
        row["symbol_held"] = item.symbol in self._symbols

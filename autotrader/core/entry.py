"""Entries: confirmation, re-entry block, limits and sizing of candidates in the order of their rank."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotrader.core.book import Book
from autotrader.core.events import EntryPlan
from autotrader.core.exits import stop_distance
from autotrader.core.gap_filter import Filtered, Quote, candidate_facts
from autotrader.core.rulebook import Rulebook
from autotrader.core.strategy import Direction
from autotrader.core.types import Candidate
from autotrader.rules.decision import Decision
from autotrader.rules.facts import Scalar
from autotrader.vocabulary import group_name


@dataclass(frozen=True, slots=True)
class Intent:
    """An entry to be made: what is ordered, and on what grounds. sized_by: the sizing value that decided."""

    candidate: Candidate
    quantity: int
    plan: EntryPlan
    sized_by: str


@dataclass(frozen=True, slots=True)
class Account:
    """What limits and sizing know of the account. day_return, worst_drawdown: fractions; the rest in USD."""

    equity: float
    day_return: float
    worst_drawdown: float
    buying_power: float


@dataclass(frozen=True, slots=True)
class Moment:
    """When and under which scan entries are judged. minute: of the session. result_age: in sessions."""

    group: str
    minute: int
    regime: str
    result_age: int
    config_hash: str


@dataclass(frozen=True, slots=True)
class _Held:
    """A position or pending entry, as limits count it. value: USD, positive."""

    symbol: str
    strategy: str
    direction: Direction
    sector: str | None
    value: float


@dataclass(frozen=True, slots=True)
class Outcome:
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
        return "entered" if self.entered else self.decisions[-1].reason


def account(book: Book, prices: Mapping[str, float]) -> Account:
    """The account at these prices. Buying power is what a cash account has: equity less everything held or ordered."""
    equity = book.equity(prices)
    before = book.previous_equity()
    exposure = sum(item.value for item in _held(book, prices))
    return Account(
        equity=equity,
        day_return=0.0 if not before else equity / before - 1.0,
        worst_drawdown=max(book.worst_drawdown, book.drawdown(equity)),
        buying_power=max(0.0, equity - exposure),
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
    groups = rulebook.params.entry.groups
    due = {group_name(key) for key, group in groups.items() if group.at <= groups[moment.group].at}
    waiting = [item.candidate.rank for item in candidates if item.candidate.entry_group not in due]
    state = account(book, prices)
    held = _held(book, prices)
    entries_today = book.entries_today()
    intents: list[Intent] = []
    outcomes: list[Outcome] = []
    for item in candidates:
        if item.candidate.entry_group not in due:
            continue
        better_waiting = sum(rank < item.candidate.rank for rank in waiting)
        judged = _Judgement(moment, item, quotes.get(item.candidate.symbol, Quote()), rulebook)
        counts = _counts(item.candidate, book, held, entries_today, better_waiting)
        intent = judged.decide(state, counts)
        outcomes.append(Outcome(item.candidate.symbol, tuple(judged.decisions), intent, judged.final))
        if intent is not None:
            intents.append(intent)
            entries_today += 1
            value = intent.quantity * intent.plan.price
            chosen = intent.candidate
            held.append(_Held(chosen.symbol, chosen.strategy, chosen.direction, chosen.sector, value))
            state = Account(state.equity, state.day_return, state.worst_drawdown, max(0.0, state.buying_power - value))
    return intents, outcomes


class _Judgement:
    """One candidate on its way through confirmation, re-entry, limits, sizing and the order rules."""

    def __init__(self, moment: Moment, item: Filtered, quote: Quote, rulebook: Rulebook) -> None:
        self.decisions: list[Decision] = []
        self.final = False
        self._moment = moment
        self._item = item
        self._quote = quote
        self._rulebook = rulebook

    def decide(self, state: Account, counts: Mapping[str, Scalar]) -> Intent | None:
        """The intent, or None where a decision stood against it; `decisions` ends with that one."""
        chosen, rulebook, price = self._item.candidate, self._rulebook, self._quote.price
        sign = 1.0 if chosen.direction == "long" else -1.0
        row: dict[str, Scalar] = candidate_facts(rulebook, chosen, self._moment.regime) | {
            "result_age": self._moment.result_age,
            "pre_market_price": self._item.pre_market_price,
            "gap_pct": self._item.gap_pct,
            "price_age_seconds": self._quote.age_seconds,
            "spread_pct": self._quote.spread_pct,
            "corporate_action": self._quote.corporate_action,
            "price": price,
            "move_pct": (price - chosen.prev_close) / chosen.prev_close * sign,
            "minute_of_session": self._moment.minute,
        }
        key = rulebook.group_of(chosen.strategy)
        confirmation = rulebook.confirmation.get(key or "")
        if confirmation is not None:
            decision = rulebook.bound(confirmation, chosen.strategy, chosen.direction).judge(row)
            self.decisions.append(decision)
            if decision.outcome != "enter":
                self.final = True
                return None
        row |= counts
        row |= {
            "equity": state.equity,
            "day_return": state.day_return,
            "worst_drawdown": state.worst_drawdown,
            "buying_power": state.buying_power,
            "shortable": self._quote.shortable,
        }
        for rules in (rulebook.reentry, rulebook.limits):
            decision = rulebook.bound(rules, chosen.strategy, chosen.direction).judge(row)
            self.decisions.append(decision)
            if decision.rule is not None:
                return None
        return self._size(row)

    def _size(self, row: dict[str, Scalar]) -> Intent | None:
        chosen, rulebook, price = self._item.candidate, self._rulebook, self._quote.price
        distance = stop_distance(rulebook, chosen.strategy, chosen.direction, price, chosen.atr)
        row = row | {"entry_price": price, "atr_at_entry": chosen.atr, "stop_distance": distance}
        sized = rulebook.bound(rulebook.sizing, chosen.strategy, chosen.direction).judge(row)
        self.decisions.append(sized)
        scale, _ = rulebook.bound(rulebook.scale, chosen.strategy, chosen.direction).value(row)
        shares = math.nan if sized.value is None else sized.value * scale
        if math.isnan(shares) or math.isinf(shares):
            return None
        quantity = math.floor(shares)
        order = rulebook.bound(rulebook.order, chosen.strategy, chosen.direction).judge(row | {"quantity": quantity})
        self.decisions.append(order)
        if order.rule is not None or quantity <= 0:
            return None
        plan = EntryPlan(
            group=chosen.entry_group,
            rank=chosen.rank,
            score=chosen.score,
            sector=chosen.sector,
            regime=self._moment.regime,
            atr=chosen.atr,
            prev_close=chosen.prev_close,
            price=price,
            stop_distance=distance,
            config_hash=self._moment.config_hash,
        )
        return Intent(chosen, quantity, plan, sized.rule or "")


def _held(book: Book, prices: Mapping[str, float]) -> list[_Held]:
    """Positions at their prices and pending entries at their planned ones."""
    found = []
    for symbol, held in book.positions.items():
        price = prices.get(symbol, math.nan)
        value = held.quantity * (held.entry_price if math.isnan(price) else price)
        found.append(_Held(symbol, held.strategy, held.direction, held.plan.sector, value))
    for order in book.pending_entries():
        ordered = order.ordered
        assert ordered.plan is not None
        value = order.open_quantity * ordered.plan.price
        found.append(_Held(ordered.symbol, ordered.strategy, ordered.direction, ordered.plan.sector, value))
    return found


def _counts(
    item: Candidate, book: Book, held: Sequence[_Held], entries_today: int, better_waiting: int
) -> dict[str, Scalar]:
    """The facts of limits that count what is held or pending. An entry filled in part counts as one position."""
    longs = {other.symbol for other in held if other.direction == "long"}
    shorts = {other.symbol for other in held if other.direction == "short"}
    same_strategy = [other for other in held if other.strategy == item.strategy]
    same_sector = [other for other in held if other.sector == item.sector]
    long_value = sum(other.value for other in held if other.direction == "long")
    short_value = sum(other.value for other in held if other.direction == "short")
    return {
        "open_positions": len(longs | shorts),
        "open_long": len(longs),
        "open_short": len(shorts),
        "open_in_strategy": len({other.symbol for other in same_strategy}),
        "open_in_sector": len({other.symbol for other in same_sector}),
        "exposure_gross": long_value + short_value,
        "exposure_long": long_value,
        "exposure_short": short_value,
        "exposure_sector": sum(other.value for other in same_sector),
        "strategy_exposure": sum(other.value for other in same_strategy),
        "entries_today": entries_today,
        "better_ranked_waiting": better_waiting,
        "symbol_held": item.symbol in longs or item.symbol in shorts,
        "exited_today": book.exited_today(item.symbol),
        "sessions_since_exit": book.sessions_since_exit(item.symbol),
        "losing_exits_in_row": book.losing_exits_in_row(item.symbol),
    }

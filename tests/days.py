"""Days to decide on: the packaged configuration with edits, candidates, and a trader whose orders fill at once."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from autotrader.clock import Calendar
from autotrader.core import events as ev
from autotrader.core.book import Book
from autotrader.core.exits import Bar, Day
from autotrader.core.gap_filter import Filtered, Quote, gap_filter
from autotrader.core.strategy import Direction
from autotrader.core.trader import Plan, Step, Trader
from autotrader.core.types import Candidate
from autotrader.rules.decision import Decision
from autotrader.validation.load import PACKAGED_CONFIG, PARAMS_FILE, Configuration, load_configuration
from autotrader.vocabulary import group_name

CALENDAR = Calendar()
MONDAY = date(2020, 3, 2)
INDICATORS = {"rsi": math.nan, "pct_b": math.nan}

Edit = tuple[str, str]


@cache
def configuration(*edits: Edit) -> Configuration:
    """The packaged configuration with pieces of its text replaced."""
    text = (PACKAGED_CONFIG / PARAMS_FILE).read_text(encoding="utf-8")
    for old, new in edits:
        assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
        text = text.replace(old, new)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / PARAMS_FILE).write_text(text, encoding="utf-8")
        loaded = load_configuration(Path(folder))
    assert loaded.configuration is not None, [problem.message for problem in loaded.problems]
    return loaded.configuration


def candidate(
    symbol: str, rank: int = 1, strategy: str = "rsi_mean_reversion", direction: Direction = "long", **more: Any
) -> Candidate:
    """A candidate at 100 USD with an ATR of 2, the only one of its sector unless told."""
    group = configuration().rulebook.group_of(strategy)
    values: dict[str, Any] = {
        "symbol": symbol, "strategy": strategy, "direction": direction, "entry_group": group_name(group or ""),
        "prev_close": 100.0, "atr": 2.0, "sl_atr_mult": 2.5, "tp_atr_mult": 3.0, "score": 1.0 - rank / 100,
        "max_hold_days": 5, "rank": rank, "sector": f"sector of {symbol}", "strength": 0.5, "signals_of_symbol": 1,
        "opposite_signal": False, "blackout": False, "metadata": {"rsi": 20.0},
    }  # fmt: skip
    return Candidate(**(values | more))


def prices(**of: float) -> dict[str, Quote]:
    return {symbol: Quote(price, 0.0, 0.0, False, True) for symbol, price in of.items()}


def facts_of(decision: Decision, rule: str) -> Mapping[str, Any]:
    """What a rule read."""
    return next(item.facts for item in decision.evidence if item.rule == rule)


class Floor:
    """A trader on a trading floor where every order is filled at once, at the price that is asked for."""

    def __init__(self, *edits: Edit, cash: float = 100_000.0, session: date = MONDAY) -> None:
        self.configuration = configuration(*edits)
        self.book = Book(cash)
        self.indicators: dict[str, dict[str, float]] = {}
        self.prev_close = math.nan
        self.rulebooks = {"now": self.configuration.rulebook}
        self.trader = Trader(self.book, self.rulebooks, "test", self.day_of)
        self.fills = True
        self.journal: list[ev.Event] = []
        self.open(session)

    def day_of(self, _hash: str, symbol: str) -> Day:
        found = INDICATORS | self.indicators.get(symbol, {})
        return Day(self.session, CALENDAR.number(self.session), "TREND", found, self.prev_close)

    @property
    def opens(self) -> datetime:
        return CALENDAR.opens_at(self.session)

    def at(self, minute: float) -> datetime:
        return self.opens + timedelta(minutes=minute)

    def open(self, session: date) -> None:
        self.session = session
        self.journal += self.trader.open_session(self.opens, session, CALENDAR.number(session)).events

    def close(self) -> Step:
        step = self.trader.close_session(CALENDAR.closes_at(self.session))
        self.journal += step.events
        return step

    def next(self, sessions: int = 1) -> None:
        """Closes the session and opens the n-th after it."""
        for _ in range(sessions):
            self.close()
            self.open(CALENDAR.next_session(self.session))

    def tell(self, *events: ev.Event) -> None:
        for event in events:
            self.trader.apply(event)
            self.journal.append(event)

    # --- entries ------------------------------------------------------------------------------------------------

    def plan(self, *items: Candidate, regime: str = "UNCERTAIN", age: int = 1) -> None:
        """Candidates that passed the gap filter without a price."""
        quotes = {item.symbol: Quote(item.prev_close) for item in items}
        passed, rejected, _ = gap_filter(items, quotes, self.rulebooks["now"], regime, age)
        assert not rejected
        self.trader.plan(Plan(tuple(passed), regime, age, "now"))

    def group(self, key: str, **of: float) -> dict[str, str]:
        """Enters a group at these prices; symbol -> what became of it."""
        minute = {"moo": 0, "confirmation": 15}[key]
        self.step = self.trader.group_due(self.at(minute), key, minute, prices(**of))
        self._send(self.step, of)
        self.decided = {outcome.symbol: outcome.decisions for outcome in self.step.outcomes}
        return {outcome.symbol: outcome.reason for outcome in self.step.outcomes}

    def hold(
        self, symbol: str, strategy: str = "rsi_mean_reversion", direction: Direction = "long", quantity: int = 100,
        price: float = 100.0, atr: float = 2.0, sector: str | None = None, minute: float = 0, config_hash: str = "now",
    ) -> None:  # fmt: skip
        """A position, entered now."""
        plan = ev.EntryPlan("MOO", 1, 0.5, sector or f"sector of {symbol}", "TREND", atr, price, price,
                            2.5 * atr, config_hash)  # fmt: skip
        name = f"held-{self.session}-{symbol}-{minute}"
        self.tell(
            ev.Ordered(self.at(minute), self.session, name, symbol, strategy, direction, "entry", quantity, plan),
            ev.Filled(self.at(minute), self.session, name, quantity, price, quantity),
        )

    # --- exits --------------------------------------------------------------------------------------------------

    def bar(self, minute: int, symbol: str, price: float, high: float | None = None, low: float | None = None) -> str:
        """One bar; what was ordered on it: the exit's rule, or "" for none."""
        high = max(price, high) if high is not None else price
        low = min(price, low) if low is not None else price
        length = (CALENDAR.closes_at(self.session) - self.opens) // timedelta(minutes=1)
        bar = Bar(high, low, price, minute + 1, length - minute - 1)
        self.step = self.trader.bars(self.at(minute), {symbol: bar})
        self._send(self.step, {symbol: price})
        return self.step.orders[0].rule or "" if self.step.orders else ""

    def _send(self, step: Step, of: Mapping[str, float]) -> None:
        self.journal += step.events
        for ordered in step.orders:
            self.tell(ordered)
            if self.fills:
                self.fill(ordered, of[ordered.symbol])

    def fill(
        self, ordered: ev.Ordered, price: float, quantity: int | None = None, cumulative: int | None = None
    ) -> None:
        quantity = ordered.quantity if quantity is None else quantity
        self.tell(ev.Filled(ordered.at, self.session, ordered.order_id, quantity, price, cumulative or quantity))

    def end(self, ordered: ev.Ordered, status: ev.Ended) -> None:
        self.tell(ev.OrderEnded(ordered.at, self.session, ordered.order_id, status))


def filtered(*items: Candidate, regime: str = "UNCERTAIN") -> tuple[Filtered, ...]:
    return tuple(gap_filter(items, {}, configuration().rulebook, regime, 1)[0])

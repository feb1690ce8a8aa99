"""Exits: the facts of a held position at a price, the rules over them, and where on a path they first leave."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date
from typing import NamedTuple

from autotrader.core.book import HeldPosition
from autotrader.core.rulebook import Rulebook
from autotrader.core.strategy import Direction
from autotrader.rules.compile import Row
from autotrader.rules.decision import Decision
from autotrader.rules.facts import Scalar
from autotrader.rules.ruleset import RuleSet

POINTS = 4  # of a daily path: open, one extreme, the other, close
# The facts that differ from bar to bar of a session; all numbers.
MOVING = frozenset((
    "price", "high", "low", "gain_pct", "loss_pct", "gain_atr", "best_gain_atr", "retrace_atr", "loss_per_share",
    "move_pct", "bars_held", "minute_of_session", "minutes_to_close",
))  # fmt: skip

_BISECT = 1e-9  # relative width at which a crossing price is known


class Bar(NamedTuple):
    """What an exit is judged on: one minute's high, low and close, or a point of a path, where all three are one.

    minute: of the session, at the end of the bar. to_close: minutes from there to the close.
    """

    high: float
    low: float
    close: float
    minute: int
    to_close: int

    @classmethod
    def point(cls, price: float, minute: int, to_close: int) -> Bar:
        return cls(price, price, price, minute, to_close)


class Day(NamedTuple):
    """What is the same for all bars of a session. number: its place in the calendar.

    indicators: the symbol's, of the last completed day; prev_close: of the same day, NaN if unknown.
    """

    session: date
    number: int
    regime: str | None
    indicators: Mapping[str, float]
    prev_close: float


class ExitRuleEngine:
    """Judges held positions by `exit.rules`, bound to each strategy and side once."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook

    def rules(self, held: HeldPosition, *, on_path: bool = False) -> RuleSet:
        """The exit rules with the values of the position's strategy and side, for bars or for points of a path."""
        bound = self._rulebook.bound(held.strategy, held.direction)
        return bound.exit_on_path if on_path else bound.exit

    def standing(self, held: HeldPosition) -> dict[str, Scalar]:
        """The facts of a position that are the same until another fill or a split."""
        plan = held.plan
        return {
            "strategy": held.strategy,
            "direction": held.direction,
            "sector": plan.sector,
            "regime_at_entry": plan.regime,
            "entry_price": held.entry_price,
            "atr_at_entry": plan.atr,
            # from the actual entry price; the plan's was from the planned one
            "stop_distance": stop_distance(self._rulebook, held.strategy, held.direction, held.entry_price, plan.atr),
        }

    def fixed(self, held: HeldPosition, day: Day, standing: Mapping[str, Scalar] | None = None) -> dict[str, Scalar]:
        """The facts of a position that are the same for all bars of a session. standing: from before, if still so."""
        return {
            **(standing or self.standing(held)),
            **day.indicators,
            "regime": day.regime,
            "days_held": day.number - held.number,
            "calendar_days_held": (day.session - held.session).days,
        }

    def judge(
        self, held: HeldPosition, fixed: Mapping[str, Scalar], day: Day, bar: Bar, streaks: tuple[int, ...]
    ) -> Decision:
        """The decision on one bar with its evidence; `decision.streaks` go into the next bar's."""
        return self.rules(held).judge(facts(held, fixed, day, bar), streaks)


def stop_distance(rulebook: Rulebook, strategy: str, direction: Direction, price: float, atr: float) -> float:
    """exit.stop_distance for a position entered at `price`, in USD per share; NaN if unknown."""
    row: dict[str, Scalar] = {"entry_price": price, "atr_at_entry": atr, "strategy": strategy, "direction": direction}
    return rulebook.bound(strategy, direction).stop_distance.value(row)[0]


def protective_distance(rulebook: Rulebook, held: HeldPosition) -> float:
    """exit.protective_stop.distance of a position, in USD per share; NaN if unknown."""
    atr, entry = held.plan.atr, held.entry_price
    row: dict[str, Scalar] = {
        "entry_price": entry, "atr_at_entry": atr, "strategy": held.strategy, "direction": held.direction,
        "stop_distance": stop_distance(rulebook, held.strategy, held.direction, entry, atr),
    }  # fmt: skip
    return rulebook.bound(held.strategy, held.direction).protective_stop.value(row)[0]


def facts(held: HeldPosition, fixed: Mapping[str, Scalar], day: Day, bar: Bar) -> dict[str, Scalar]:
    """Every fact of the stage exit. The best price takes the bar itself in: its extremes are known at its close."""
    price, entry, atr = bar.close, held.entry_price, held.plan.atr
    if held.sign > 0:
        gain, best = price - entry, bar.high if bar.high > held.best_price else held.best_price
        best_gain, retrace = best - entry, best - price
    else:
        gain, best = entry - price, bar.low if bar.low < held.best_price else held.best_price
        best_gain, retrace = entry - best, price - best
    atr = atr if atr > 0 else math.nan
    before = day.prev_close if day.prev_close > 0 else math.nan
    return {
        **fixed,
        "price": price,
        "high": bar.high,
        "low": bar.low,
        "gain_pct": gain / entry,
        "loss_pct": -gain / entry,
        "gain_atr": gain / atr,
        "best_gain_atr": best_gain / atr,
        "retrace_atr": retrace / atr,
        "loss_per_share": -gain,
        "move_pct": (price - before) / before * held.sign,
        "bars_held": held.bars_held,
        "minute_of_session": bar.minute,
        "minutes_to_close": bar.to_close,
    }


def between(held: HeldPosition, day: Day, low: float, high: float, minutes: int) -> tuple[Row, Row]:
    """The least and the most of every fact of `facts` that moves while prices stay between `low` and `high`.

    For bars that are points of a session of so many minutes, up to POINTS of them, in any order.
    """
    entry, atr, sign = held.entry_price, held.plan.atr, held.sign
    if sign > 0:
        lost, gain = low - entry, high - entry
        best = high if high > held.best_price else held.best_price
        best_gain, most_gain = held.best_price - entry, best - entry
        retrace, most_retrace = held.best_price - high, best - low
    else:
        lost, gain = entry - high, entry - low
        best = low if low < held.best_price else held.best_price
        best_gain, most_gain = entry - held.best_price, entry - best
        retrace, most_retrace = low - held.best_price, high - best
    atr = atr if atr > 0 else math.nan
    before = day.prev_close if day.prev_close > 0 else math.nan
    down, up = (low, high) if sign > 0 else (high, low)
    least: dict[str, Scalar] = {
        "price": low,
        "high": low,
        "low": low,
        "gain_pct": lost / entry,
        "loss_pct": -gain / entry,
        "gain_atr": lost / atr,
        "best_gain_atr": best_gain / atr,
        "retrace_atr": max(0.0, retrace) / atr,
        "loss_per_share": -gain,
        "move_pct": (down - before) / before * sign,
        "bars_held": held.bars_held,
        "minute_of_session": 0,
        "minutes_to_close": 0,
    }
    most: dict[str, Scalar] = {
        "price": high,
        "high": high,
        "low": high,
        "gain_pct": gain / entry,
        "loss_pct": -lost / entry,
        "gain_atr": gain / atr,
        "best_gain_atr": most_gain / atr,
        "retrace_atr": most_retrace / atr,
        "loss_per_share": -lost,
        "move_pct": (up - before) / before * sign,
        "bars_held": held.bars_held + POINTS,
        "minute_of_session": minutes,
        "minutes_to_close": minutes,
    }
    return least, most


def first_exit(start: float, end: float, leaves: Callable[[float], bool]) -> float:
    """The first price on the way from `start`, which does not leave, to `end`, which does, to 1e-9 relative.

    Given from the leaving side, so that a judgement at it leaves. Where already `start` would leave, it is not the
    price that decides (the minute does), and only `end` has been reached by then.
    """
    if leaves(start):
        return end
    while abs(end - start) > _BISECT * abs(end):
        middle = start + (end - start) / 2
        if middle in {start, end}:
            break
        if leaves(middle):
            end = middle
        else:
            start = middle
    return end

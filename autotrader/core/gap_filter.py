"""The gap filter: which candidates may still be entered, given where they trade before the open.

What is made for every candidate of every session is a named tuple: a fifth of the time of a frozen dataclass. And of
what could be known of a candidate, only the facts that some rule of the morning reads are worked out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

from autotrader.core.rulebook import Rulebook
from autotrader.core.types import Candidate
from autotrader.rules.decision import Decision
from autotrader.rules.facts import Scalar

Status = Literal["passed", "no_price", "unfiltered"]


class Quote(NamedTuple):
    """The latest price of a symbol. price: last trade or middle of the quote, USD; NaN where there is none.

    age_seconds, spread_pct: NaN if unknown. corporate_action: a split or the like takes effect today; None: unknown.
    shortable: the broker lends it; None: unknown.
    """

    price: float = math.nan
    age_seconds: float = math.nan
    spread_pct: float = math.nan
    corporate_action: bool | None = None
    shortable: bool | None = None


NO_QUOTE = Quote()


class Filtered(NamedTuple):
    """A candidate that passed. status: passed, no_price (there was none, and no rule minded) or unfiltered.

    facts: what is known of it at the gap filter and read there or by the stages after it.
    """

    candidate: Candidate
    pre_market_price: float
    gap_pct: float
    status: Status
    facts: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A candidate that did not. reason: of the first rule that matched."""

    candidate: Candidate
    gap_pct: float
    reason: str


def gap_filter(
    candidates: Sequence[Candidate],
    quotes: Mapping[str, Quote],
    rulebook: Rulebook,
    regime: str,
    result_age: int,
) -> tuple[list[Filtered], list[Rejected], dict[str, Decision]]:
    """The candidates that pass, those that do not, and the decision about each symbol.

    A symbol without a quote has no price; where no symbol has one, all pass as "unfiltered" and nothing is decided.
    result_age: sessions from the scan to the session it is used in.
    """
    if not any(quote.price == quote.price for quote in quotes.values()):
        rows = [known_facts(rulebook, item, regime, result_age, NO_QUOTE) for item in candidates]
        unfiltered = zip(candidates, rows, strict=True)
        return [Filtered(item, math.nan, math.nan, "unfiltered", row) for item, row in unfiltered], [], {}
    passed: list[Filtered] = []
    rejected: list[Rejected] = []
    decisions: dict[str, Decision] = {}
    for item in candidates:
        quote = quotes.get(item.symbol, NO_QUOTE)
        gap = _gap(item, quote)
        row = known_facts(rulebook, item, regime, result_age, quote)
        decision = rulebook.bound(item.strategy, item.direction).gap_filter.judge(row)
        decisions[item.symbol] = decision
        if decision.rule is None:
            status: Status = "no_price" if gap != gap else "passed"
            passed.append(Filtered(item, quote.price, gap, status, row))
        else:
            rejected.append(Rejected(item, gap, decision.reason))
    return passed, rejected, decisions


def after_split(item: Candidate, new: int, old: int) -> Candidate:
    """The candidate of a symbol of which `new` shares take the place of `old` between the scan and the open.

    Its close and ATR are brought to the new shares; its other indicators stay as they were scanned, so a rule that
    compares one of them with a price has to ask for `corporate_action`.
    """
    known, ratio = dict(item.metadata), new / old
    if known.get("atr") is not None:
        known["atr"] = item.atr / ratio
    return item._replace(prev_close=item.prev_close / ratio, atr=item.atr / ratio, metadata=known)


def known_facts(rulebook: Rulebook, item: Candidate, regime: str, result_age: int, quote: Quote) -> dict[str, Scalar]:
    """What is known of a candidate at the gap filter and read by some rule from there to the order."""
    known, indicators = _split(rulebook.bound(item.strategy, item.direction).entry_reads)
    facts = {name: fact(rulebook, item, regime, result_age, quote) for name, fact in known}
    for name in indicators:
        facts[name] = item.metadata.get(name)
    return facts


@cache
def _split(names: tuple[str, ...]) -> tuple[list[tuple[str, _Fact]], list[str]]:
    """The facts with how each is known, and the scan's indicators."""
    return [(name, FACTS[name]) for name in names if name in FACTS], [name for name in names if name not in FACTS]


def _gap(item: Candidate, quote: Quote) -> float:
    """One division, so that 103 over 100 is a gap of 3% and not of a little more."""
    return (quote.price - item.prev_close) / item.prev_close


_Fact = Callable[[Rulebook, Candidate, str, int, Quote], Scalar]

# Every fact that the gap filter knows besides the scan's indicators.
FACTS: Mapping[str, _Fact] = {
    "strategy": lambda _book, item, _regime, _age, _quote: item.strategy,
    "direction": lambda _book, item, _regime, _age, _quote: item.direction,
    "sector": lambda _book, item, _regime, _age, _quote: item.sector,
    "regime": lambda _book, _item, regime, _age, _quote: regime,
    "strength": lambda _book, item, _regime, _age, _quote: item.strength,
    "prev_close": lambda _book, item, _regime, _age, _quote: item.prev_close,
    "regime_weight": lambda book, item, regime, _age, _quote: book.weight(regime, item.strategy),
    "regime_weight_max": lambda book, _item, regime, _age, _quote: book.weight_max(regime),
    "signals_of_symbol": lambda _book, item, _regime, _age, _quote: item.signals_of_symbol,
    "opposite_signal": lambda _book, item, _regime, _age, _quote: item.opposite_signal,
    "blackout": lambda _book, item, _regime, _age, _quote: item.blackout,
    "score": lambda _book, item, _regime, _age, _quote: item.score,
    "rank": lambda _book, item, _regime, _age, _quote: item.rank,
    "entry_group": lambda _book, item, _regime, _age, _quote: item.entry_group,
    "result_age": lambda _book, _item, _regime, age, _quote: age,
    "pre_market_price": lambda _book, _item, _regime, _age, quote: quote.price,
    "gap_pct": lambda _book, item, _regime, _age, quote: _gap(item, quote),
    "price_age_seconds": lambda _book, _item, _regime, _age, quote: quote.age_seconds,
    "spread_pct": lambda _book, _item, _regime, _age, quote: quote.spread_pct,
    "corporate_action": lambda _book, _item, _regime, _age, quote: quote.corporate_action,
}

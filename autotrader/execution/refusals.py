"""What a broker's "no" means: one table. Codes are shared by many causes, so the wording has to be read as well."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from autotrader.market.broker import Refused

Meaning = Literal["exists", "passes", "day_only", "final"]


@dataclass(frozen=True, slots=True)
class _Row:
    pattern: re.Pattern[str]
    meaning: Meaning


def _row(pattern: str, meaning: Meaning) -> _Row:
    return _Row(re.compile(pattern, re.IGNORECASE), meaning)


# In this order, the first that fits.
_TABLE = (
    _row(r"client_order_id must be unique", "exists"),  # sent before: the order is there
    _row(r"potential wash trade", "passes"),  # an order of the other side is still ending
    _row(r"insufficient qty available", "passes"),  # its shares are still held by an order that is ending
    _row(r"trading halt", "passes"),
    _row(r"too many requests|rate limit", "passes"),
    _row(r"only day orders are allowed", "day_only"),  # of what is hard to borrow; seen on stops of long positions too
)


def meaning(refusal: Refused) -> Meaning:
    """exists: an order of this id is at the broker. passes: the same order may be taken later. final: it will not.
    day_only: it will not, but the same for this session alone may be.

    What the table does not know is final: not taken, and looked at by reconciliation.
    """
    return next((row.meaning for row in _TABLE if row.pattern.search(str(refusal))), "final")

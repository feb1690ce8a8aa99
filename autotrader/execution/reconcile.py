"""Journal and broker side by side: what one has and the other has not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from autotrader.core.book import Book
from autotrader.core.orderid import is_ours
from autotrader.market.broker import BrokerOrder, BrokerPosition

Kind = Literal["position", "order"]
# Whether something beyond the journal explains a position: its symbol, the shares of the journal and of the broker.
Explains = Callable[[str, int, int], bool]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """What the journal expects of a symbol's position or of an order, and what the broker says, in words."""

    kind: Kind
    subject: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of it.

    disagreements: what nothing in the journal explains; those that a person lets stand are not among them.
    lagging: symbols of which the broker lists as many shares as were held before the last fills: its list may be late.
    returned: open orders of ours that the book had given up; our ids explain them.
    orphans: open orders under our tag that the journal does not know at all: to be ended, since nobody decided them.
    """

    disagreements: tuple[Disagreement, ...]
    lagging: tuple[str, ...]
    returned: tuple[BrokerOrder, ...]
    orphans: tuple[BrokerOrder, ...]


def nothing_explains(_symbol: str, _mine: int, _theirs: int) -> bool:
    return False


def compare(
    book: Book,
    positions: Sequence[BrokerPosition],
    open_orders: Sequence[BrokerOrder],
    tag: str,
    before: Mapping[str, Collection[int]],
    explains: Explains = nothing_explains,
) -> Comparison:
    """Compares the union of both sides. The book has taken in all fills that the broker knows before.

    before: by symbol, the shares that were held, signed, until one of the fills of a moment ago.
    """
    found: list[Disagreement] = []
    lagging: list[str] = []
    theirs = {position.symbol: position.quantity for position in positions}
    for symbol in sorted(theirs.keys() | book.positions.keys()):
        held = book.positions.get(symbol)
        mine, other = (0 if held is None else held.sign * held.quantity), theirs.get(symbol, 0)
        if mine != other and other in before.get(symbol, ()):
            lagging.append(symbol)
        elif mine != other and not explains(symbol, mine, other):
            found.append(Disagreement("position", symbol, f"{mine} shares", f"{other} shares"))
    returned, orphans = [], []
    for order in open_orders:
        name = order.client_order_id
        if name in book.orders:
            continue
        if name in book.ended:
            returned.append(order)
            continue
        if is_ours(name, tag):
            orphans.append(order)
        text = f"{order.side} {order.quantity} {order.symbol}"
        found.append(Disagreement("order", name, "not in the journal", text))
    standing = tuple(item for item in found if book.accepted.get((item.kind, item.subject)) != item.found)
    return Comparison(standing, tuple(lagging), tuple(returned), tuple(orphans))

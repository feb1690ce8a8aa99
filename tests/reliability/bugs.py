"""Ten bugs that such a system could have, each planted alone: how many seeds until the checker finds it?

`make bugs` prints the table of docs/reliability.md.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from autotrader.core import entry, orderid, trader
from autotrader.core import events as ev
from autotrader.core.book import Book
from autotrader.execution.desk import Desk
from autotrader.execution.orders import OrderManager
from autotrader.journal.store import Journal

from .chaos import Chaos, Outcome, play


@dataclass(frozen=True)
class Bug:
    """name: what is wrong. plant: puts it there and gives what is to be restored, as (owner, attribute, value)."""

    name: str
    plant: Callable[[], list[tuple[Any, str, Any]]]


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    changes = bug.plant()
    before = [(owner, name, owner.__dict__[name]) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def _no_wait_for_cancel() -> list[tuple[Any, str, Any]]:
    def live_orders(self: Book, symbol: str) -> list[Any]:
        found = [order for order in self.orders.values() if order.ordered.symbol == symbol]
        return [order for order in found if order.ordered.leg != "stop"]

    return [(Book, "live_orders", live_orders)]


def _random_id() -> list[tuple[Any, str, Any]]:
    def order_id(tag: str, session: Any, stage: str, strategy: str, symbol: str, leg: str, attempt: int) -> str:
        return orderid_original(tag, session, stage, strategy, symbol, leg, random.randrange(1, 10**6))

    orderid_original = orderid.order_id
    return [(trader, "order_id", order_id)]


def _entries_after_the_window() -> list[tuple[Any, str, Any]]:
    original = Desk._opens_until

    def opens_until(self: Desk) -> datetime | None:
        until = original(self)
        return None if until is None else until + timedelta(minutes=3)

    return [(Desk, "_opens_until", opens_until), (Desk, "end_entries", lambda self: None)]


def _one_moment_too_late() -> list[tuple[Any, str, Any]]:
    def may_open(self: OrderManager, ordered: ev.Ordered, at: datetime) -> bool:
        assert self._terms is not None
        until = self._terms.opens_until()
        return until is not None and at <= until + timedelta(seconds=5)

    return [(OrderManager, "_may_open", may_open)]


def _no_reentry_block() -> list[tuple[Any, str, Any]]:
    original = Book.exits
    return [(Book, "exits", lambda self, symbol: original(self, symbol) | {"exited_today": False})]


def _ordered_for_filled() -> list[tuple[Any, str, Any]]:
    original = OrderManager._filled

    def filled(self: OrderManager, execution: Any) -> ev.Filled:
        order = self._book.orders[execution.client_order_id]
        whole = order.ordered.quantity - order.filled
        from dataclasses import replace

        return original(self, replace(execution, quantity=whole, cumulative=order.ordered.quantity))

    return [(OrderManager, "_filled", filled)]


def _new_id_when_the_fate_is_unknown() -> list[tuple[Any, str, Any]]:
    original = OrderManager._submit

    def submit(self: OrderManager, ordered: ev.Ordered, *, again: bool = False) -> None:
        original(self, ordered, again=again)
        if ordered.order_id in self._unknown:  # taken for a refusal
            del self._unknown[ordered.order_id]
            self.keep(ev.OrderEnded(ordered.at, ordered.session, ordered.order_id, "rejected", "timeout"))
            self._journal.commit()
            self._try_later(ordered)

    return [(OrderManager, "_submit", submit)]


def _send_before_it_is_durable() -> list[tuple[Any, str, Any]]:
    original = Journal.commit

    def commit(self: Journal) -> None:
        frame = sys._getframe(1)
        if frame.f_code.co_name in {"send", "_submit"}:
            return
        original(self)

    return [(Journal, "commit", commit)]


def _every_bar_decides() -> list[tuple[Any, str, Any]]:
    original = trader.Trader._watch

    def watch(self: trader.Trader, symbol: str, held: Any, *, on_path: bool = False) -> Any:
        found = original(self, symbol, held, on_path=on_path)
        found.since = found.since - timedelta(minutes=5)  # bars from before the fill count
        return found

    return [(trader.Trader, "_watch", watch)]


def _pending_entries_do_not_count() -> list[tuple[Any, str, Any]]:
    class Exposure(entry.Exposure):
        def shared(self) -> dict[str, Any]:
            return super().shared() | {"open_positions": 0}

    return [(entry, "Exposure", Exposure)]


def _updates_are_all_there_is() -> list[tuple[Any, str, Any]]:
    return [(OrderManager, "_ask_silent", lambda self, at: []), (OrderManager, "poll", lambda self, at: [])]


def _restart_forgets_what_was_not_sent() -> list[tuple[Any, str, Any]]:
    return [(OrderManager, "recover", lambda self, at: [])]


BUGS = (
    Bug("does not wait for the end of the protective stop before it sells", _no_wait_for_cancel),
    Bug("a random part in the order id", _random_id),
    Bug("sends and leaves entries open after 10:00", _entries_after_the_window),
    Bug("tries a refused entry again at 10:00 (> for >=)", _one_moment_too_late),
    Bug("forgets the re-entry block", _no_reentry_block),
    Bug("counts ordered for filled", _ordered_for_filled),
    Bug("takes a time-out for a rejection and sends a new id", _new_id_when_the_fate_is_unknown),
    Bug("sends before the intent is durable", _send_before_it_is_durable),
    Bug("judges exits on bars from before the fill", _every_bar_decides),
    Bug("pending entries do not count toward the limit", _pending_entries_do_not_count),
    Bug("believes that updates tell of every fill", _updates_are_all_there_is),
    Bug("a restart takes what was decided for sent", _restart_forgets_what_was_not_sent),
)


def seeds_needed(bug: Bug, most: int) -> tuple[int | None, str]:
    """How many seeds until a run fails, and what it said; None: none of `most` did."""
    with planted(bug):
        for seed in range(most):
            try:
                _try(seed)
            except (AssertionError, KeyError) as error:
                return seed + 1, str(error).split("): ", 1)[-1][:110]
    return None, "not found"


def _try(seed: int) -> None:
    """Faults, faults and kills, or kills alone: then the end must be that of a run without."""
    if seed % 3 < 2:
        _run(Chaos(seed, rate=0.05, kills=0.02 * (seed % 3)))
        return
    whole, interrupted = _run(Chaos(seed)), _run(Chaos(seed, kills=0.04))
    assert interrupted.end == whole.end, "I17: a run that was killed ends otherwise than one that was not"


def _run(chaos: Chaos) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        return play(chaos, Path(folder))


def main() -> int:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    missed = 0
    for bug in BUGS:
        seeds, text = seeds_needed(bug, most)
        missed += seeds is None
        print(f"| {bug.name} | {seeds or f'> {most}'} | {text} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""A session along its daily path: the order in which entries and exits meet the points of a daily bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from autotrader.core.exits import Bar
from autotrader.core.strategy import Direction
from autotrader.core.trader import Step, Trader

POINTS = 4
Path = Sequence[tuple[int, float]]  # (minute of the session, price); empty where the symbol has no bar

PathOf = Callable[[str, Direction], Path]
Enter = Callable[[str], None]
Leave = Callable[[datetime, str, Step, float], None]


def walk(
    trader: Trader,
    opens: datetime,
    minutes: int,
    at_open: Sequence[str],
    later: Sequence[str],
    path_of: PathOf,
    enter: Enter,
    leave: Leave,
) -> None:
    """Plays one session.

    Groups that enter at the open; exits at the open; the later groups, at the open's price as well; then point after
    point of the path, symbols in order. minutes: the session's length. enter: carries out one group. leave: carries
    out a step with an exit at a price, before anything else happens.
    """
    held_before = sorted(trader.book.positions)
    for group in at_open:
        enter(group)
    open_point(trader, opens, minutes, held_before, path_of, leave)
    for group in later:
        enter(group)
    later_points(trader, opens, minutes, path_of, leave)


def open_point(
    trader: Trader, opens: datetime, minutes: int, held_before: Sequence[str], path_of: PathOf, leave: Leave
) -> None:
    """Judges what was held before the session at its open."""
    for symbol in held_before:
        path = path_of(symbol, trader.book.positions[symbol].direction)
        if path:
            _point(trader, opens, minutes, symbol, path[0], None, leave)


def later_points(trader: Trader, opens: datetime, minutes: int, path_of: PathOf, leave: Leave) -> None:
    """Judges what is held at the rest of the path, point after point, symbols in order."""
    book = trader.book
    held = sorted(book.positions)
    paths = {symbol: path_of(symbol, book.positions[symbol].direction) for symbol in held}
    for segment in range(1, POINTS):
        for symbol in held:
            if symbol in book.positions and paths[symbol]:
                (_, previous), point = paths[symbol][segment - 1], paths[symbol][segment]
                _point(trader, opens, minutes, symbol, point, previous, leave)


def _point(
    trader: Trader,
    opens: datetime,
    minutes: int,
    symbol: str,
    point: tuple[int, float],
    previous: float | None,
    leave: Leave,
) -> None:
    minute, price = point
    at = opens + timedelta(minutes=minute)
    step, price = trader.point(at, symbol, Bar.point(price, minute, minutes - minute), previous)
    leave(at, symbol, step, price)


def daily_path(minutes: int, direction: Direction, open: float, high: float, low: float, close: float) -> Path:
    """A daily bar as open, adverse extreme, favourable extreme, close, a third of the session apart."""
    adverse, favourable = (low, high) if direction == "long" else (high, low)
    third = minutes // 3
    return (0, open), (third, adverse), (2 * third, favourable), (minutes, close)

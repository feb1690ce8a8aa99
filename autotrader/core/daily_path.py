"""A session along its daily path: the order in which entries and exits meet the points of a daily bar."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from datetime import datetime, timedelta

from autotrader.core.exits import POINTS, Bar
from autotrader.core.strategy import Direction
from autotrader.core.trader import Step, Trader

DailyPath = Sequence[tuple[int, float]]  # (minute of the session, price), up to POINTS of them

PathOf = Callable[[str, Direction], DailyPath]
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
    out a step with an exit at a price, before anything else happens. A position whose rules cannot tell the points of
    its path apart is judged once, for all of them; of that nothing but the trader's observer hears.
    """
    positions = trader.book.positions
    held_before = sorted(positions)
    for group in at_open:
        enter(group)
    settled: set[str] = set()  # what has been judged for the whole session

    def settle(symbol: str, first: int) -> None:
        path = path_of(symbol, positions[symbol].direction)[first:]
        if path and trader.settled(symbol, path, minutes):
            settled.add(symbol)

    for symbol in held_before:
        settle(symbol, 0)
    open_point(trader, opens, minutes, [symbol for symbol in held_before if symbol not in settled], path_of, leave)
    for group in later:
        enter(group)
    for symbol in sorted(positions.keys() - set(held_before)):
        settle(symbol, 1)
    later_points(trader, opens, minutes, path_of, leave, settled)


def open_point(
    trader: Trader, opens: datetime, minutes: int, held_before: Sequence[str], path_of: PathOf, leave: Leave
) -> None:
    """Judges what was held before the session at its open."""
    for symbol in held_before:
        path = path_of(symbol, trader.book.positions[symbol].direction)
        if path:
            _point(trader, opens, minutes, symbol, path[0], None, leave)


def later_points(
    trader: Trader, opens: datetime, minutes: int, path_of: PathOf, leave: Leave, settled: Container[str] = ()
) -> None:
    """Judges what is held, but for what is settled, at the rest of the path: point after point, symbols in order."""
    book = trader.book
    held = [symbol for symbol in sorted(book.positions) if symbol not in settled]
    paths = {symbol: path_of(symbol, book.positions[symbol].direction) for symbol in held}
    for segment in range(1, POINTS):
        for symbol in held:
            if symbol in book.positions and segment < len(paths[symbol]):
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


def is_sound(open: float, high: float, low: float, close: float) -> bool:
    """Whether there is a bar that can have been: real prices, the highest and the lowest of which are so."""
    return 0.0 < low <= open <= high < math.inf and low <= close <= high


def daily_path(minutes: int, direction: Direction, open: float, high: float, low: float, close: float) -> DailyPath:
    """A daily bar as open, adverse extreme, favourable extreme, close, a third of the session apart; () for no bar.

    Of one that cannot have been there is the open alone: that, nothing has contradicted yet.
    """
    if not is_sound(open, high, low, close):
        whole = high == high and low == low and close == close
        return ((0, open),) if whole and 0.0 < open < math.inf else ()
    adverse, favourable = (low, high) if direction == "long" else (high, low)
    third = minutes // 3
    return (0, open), (third, adverse), (2 * third, favourable), (minutes, close)

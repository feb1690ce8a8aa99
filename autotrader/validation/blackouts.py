"""blackouts.csv: symbols that are not entered for a while, one a line: symbol,from,to,reason."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING

from autotrader.rules.problems import Problem

if TYPE_CHECKING:
    from autotrader.core.types import Blackout

_HEADER = ["symbol", "from", "to", "reason"]
_MAX_PROBLEMS = 100
_SYMBOL = re.compile(r"[A-Z][A-Z0-9]*([./-][A-Z0-9]+)*")


def read_blackouts(text: str, file: str) -> tuple[tuple[Blackout, ...], list[Problem]]:
    """The rows, and what is wrong with others. A # begins a line of comment."""
    found: list[Blackout] = []
    problems: list[Problem] = []
    lines = text.split("\n")
    header_seen = False
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        length = len(line.rstrip())
        if not header_seen:
            header_seen = True
            if [name.strip() for name in line.split(",")] != _HEADER:
                problems.append(Problem(file, number, 1, "blackouts", "the first line must be symbol,from,to,reason",
                                        length=length))  # fmt: skip
                return (), problems
            continue
        row = _row(line)
        if not isinstance(row, tuple):
            found.append(row)
        elif len(problems) < _MAX_PROBLEMS:
            message, cell = row
            column = line.find(cell) + 1 if cell else 1
            problems.append(Problem(file, number, max(1, column), "blackouts", message, length=len(cell) or length))
    if not header_seen:
        problems.append(Problem(file, 1, 1, "blackouts", "the first line must be symbol,from,to,reason"))
    return tuple(found), problems


def _row(line: str) -> Blackout | tuple[str, str]:
    """The row, or what is wrong with it and with which cell."""
    import csv

    from autotrader.core.types import Blackout

    try:
        (cells,) = list(csv.reader([line], skipinitialspace=True, strict=True))
    except (csv.Error, ValueError):
        return "a quotation mark is never closed, or a cell is too long", ""
    cells = [cell.strip() for cell in cells]
    if len(cells) != len(_HEADER):
        quote = "; put a reason with commas in quotes" if len(cells) > len(_HEADER) else ""
        return f"expected symbol,from,to,reason: four cells, found {len(cells)}{quote}", ""
    symbol, first, last, reason = cells
    if not symbol:
        return "the symbol is empty", ""
    if not _SYMBOL.fullmatch(symbol):
        upper = symbol.upper()
        hint = f'; did you mean "{upper}"?' if _SYMBOL.fullmatch(upper) else ""
        return f'"{symbol}" is not a symbol like AAPL or BRK.B{hint}', symbol
    days = []
    for cell in (first, last):
        try:
            day = date.fromisoformat(cell)
        except ValueError:
            return f'"{cell}" is not a date like 2026-01-31', cell
        if len(cell) != len("2026-01-31"):  # the standard's other forms: 20260131, 2026-W05-6
            return f'"{cell}" is not a date like 2026-01-31', cell
        days.append(day)
    if days[0] > days[1]:
        return f"{first} is after {last}", first
    return Blackout(symbol, days[0], days[1], reason)

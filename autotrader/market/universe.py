"""The symbols to scan, with the sector of each: the packaged S&P 500, or a list of one's own."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from autotrader.errors import AutotraderError

PACKAGED = Path(__file__).with_name("sp500.csv")
COLUMNS = ("symbol", "name", "sector")


class UniverseError(AutotraderError, ValueError):
    """A list of symbols that cannot be used; one sentence that names the file and the place."""


@dataclass(frozen=True, slots=True)
class Member:
    """One stock; `sector` is one of the eleven GICS sectors in the packaged list, free text in others."""

    symbol: str
    name: str
    sector: str


def load_universe(path: Path | None = None) -> tuple[Member, ...]:
    """The members of the list at `path`, or of the packaged one, sorted by symbol.

    The file is UTF-8 CSV with a header that has symbol, name and sector; further columns are ignored.
    UniverseError: unreadable, a missing column, an empty symbol or sector, an invisible character, a symbol twice, no
    member at all.
    """
    source = PACKAGED if path is None else path
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            members = _members(source, csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UniverseError(f"{source}: cannot be read as CSV: {error}") from error
    if not members:
        raise UniverseError(f"{source}: holds no symbol")
    return tuple(sorted(members.values(), key=lambda member: member.symbol))


def _members(source: Path, reader: csv.DictReader[str]) -> dict[str, Member]:
    found = list(reader.fieldnames or ())
    missing = [column for column in COLUMNS if column not in found]
    if missing:
        have = f"it has {', '.join(found)}" if found else "it is empty"
        raise UniverseError(f"{source}: column {', '.join(missing)} is missing; {have}")
    members: dict[str, Member] = {}
    for row in reader:
        symbol, name, sector = ((row[column] or "").strip() for column in COLUMNS)
        if not symbol or not sector:
            raise UniverseError(f"{source}:{reader.line_num}: {'sector' if symbol else 'symbol'} is empty")
        if not f"{symbol}{name}{sector}".isprintable():
            raise UniverseError(f"{source}:{reader.line_num}: holds an invisible character; delete it")
        if symbol in members:
            raise UniverseError(f"{source}:{reader.line_num}: symbol {symbol} stands there twice")
        members[symbol] = Member(symbol, name, sector)
    return members

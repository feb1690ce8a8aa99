"""How tables and numbers look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autotrader.cli.app import console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_NUMBERS = {"shares", "entry", "price", "exit", "gain", "%", "pnl", "best", "worst", "sessions"}


def new_table(*names: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in names:  # on a narrow terminal times and names take two lines, numbers never
        if name in _NUMBERS:
            table.add_column(name, justify="right", no_wrap=True)
        else:
            width = 10 if name in {"strategy", "entered", "exited", "reason"} else None
            table.add_column(name, no_wrap=name in {"symbol", "side"}, min_width=width, overflow="fold")
    return table


def wide() -> Console:
    """A file has room for whole rows."""
    out = console()
    if not out.is_terminal:
        out.width = 200
    return out


def side(direction: str) -> str:
    return f"[{'green' if direction == 'long' else 'red'}]{direction}[/]"


def time(at: str | None) -> str:
    return "" if at is None else at[:16].replace("T", " ")


def price(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}"


def money(value: float | None) -> str:
    return "" if value is None else _coloured(f"{value:+,.2f}", value)


def percent(value: float | None) -> str:
    return "" if value is None else _coloured(f"{value:+.2%}", value)


def _coloured(text: str, value: float) -> str:
    return f"[{'green' if value > 0 else 'red'}]{text}[/]" if value else text

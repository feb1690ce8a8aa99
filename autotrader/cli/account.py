"""`autotrader positions | trades | status`: the account as its journal has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autotrader.cli.app import AsJson, Config, Home, app, config_folder, console, home_folder, print_error

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from autotrader.core.book import Book
    from autotrader.journal.store import Journal
    from autotrader.settings import SystemSettings

OfDemo = Annotated[bool, typer.Option("--demo", help="The last demo's account, in data/demo, instead of the real one.")]


@app.command()
def positions(
    context: typer.Context, as_json: AsJson = False, demo: OfDemo = False, config: Config = None, home: Home = None
) -> None:
    """The open positions, each at the price of its latest recorded decision.

    [bold]Example:[/bold] autotrader positions --json
    """
    from autotrader.journal.views import position_rows

    with open_journal(context, home, config, demo) as journal:
        book = journal.book()
        rows = position_rows(book, last_prices(journal, book))
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    if not rows:
        console().print("no open positions")
        return
    table = _table("symbol", "side", "shares", "strategy", "entered", "entry", "price", "gain", "%", "best", "worst",
                   "sessions", "leaving")  # fmt: skip
    for row in rows:
        paid = row["entry_price"] * row["quantity"]
        table.add_row(
            row["symbol"], _side(row["direction"]), f"{row['quantity']:,}", row["strategy"], _time(row["entered_at"]),
            _price(row["entry_price"]), _price(row["price"]), _money(row["gain"]),
            _percent(None if row["gain"] is None else row["gain"] / paid), _money(row["mfe"]), _money(row["mae"]),
            str(row["sessions_held"]), row["leaving"] or "",
        )  # fmt: skip
    out = _wide()
    out.print(table)
    out.print(f"{len(rows)} open; together {_money(sum(row['gain'] or 0.0 for row in rows))} USD before costs")


@app.command()
def trades(
    context: typer.Context,
    as_json: AsJson = False,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="DIR", help="Also write DIR/trades.jsonl and DIR/equity.jsonl."),
    ] = None,
    demo: OfDemo = False,
    config: Config = None,
    home: Home = None,
) -> None:
    """Every trade: closed ones with their result, then the open ones.

    [bold]Examples:[/bold] autotrader trades --json   |   autotrader trades --export reports
    """
    from autotrader.journal.views import export_jsonl, trade_rows

    with open_journal(context, home, config, demo) as journal:
        rows = trade_rows(journal.book())
        files = export_jsonl(journal) if export is not None else None
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    elif rows:
        _show_trades(rows)
    else:
        console().print("no trades yet")
    if export is not None and files is not None:
        for name, lines in (("trades.jsonl", files.trades), ("equity.jsonl", files.equity)):
            _write_lines(export / name, lines)
            print_error(f"wrote {len(lines)} lines to {export / name}")


@app.command()
def status(
    context: typer.Context, as_json: AsJson = False, demo: OfDemo = False, config: Config = None, home: Home = None
) -> None:
    """The account at a glance: equity, drawdown, what is open, what the journal holds.

    [bold]Example:[/bold] autotrader status --home /srv/autotrader
    """
    with open_journal(context, home, config, demo) as journal:
        found = _status(journal)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    last, events = found["last_close"], found["journal"]
    table = _table("", "")
    table.show_header = False
    table.add_row("account", f"[bold]{found['account']}[/bold]")
    table.add_row("last session", found["last_session"] or "none yet")
    close = f" at the close of {last}" if last else ", before the first close"
    table.add_row("equity", f"{found['equity']:,.2f} USD{close} ({_percent(found['return'])} since the start)")
    table.add_row("drawdown", f"{found['drawdown']:.2%}, at worst {found['worst_drawdown']:.2%} since the last reset")
    table.add_row("positions", str(found["positions"]))
    table.add_row("open orders", ", ".join(found["open_orders"]) or "0")
    table.add_row("entries", f"{found['entries_today']} in the last session")
    table.add_row("trades", f"{found['trades']} closed, {_money(found['pnl'])} USD")
    table.add_row("journal", f"{events['events']:,} events, {events['decisions']:,} decisions, "
                             f"{events['bytes'] / 1e6:,.1f} MB, {events['path']}")  # fmt: skip
    _wide().print(table)


def _status(journal: Journal) -> dict[str, Any]:
    book = journal.book()
    last = book.equity_history[-1] if book.equity_history else None
    equity = book.equity({}) if last is None else last[1]
    events, decisions = journal.counts()
    assert journal.initial_cash is not None  # or there were no book
    return {
        "account": journal.account_id,
        "last_session": book.session.isoformat() if book.session else None,
        "last_close": last[0].isoformat() if last else None,
        "equity": equity,
        "return": equity / journal.initial_cash - 1.0 if journal.initial_cash else None,
        "drawdown": book.drawdown(equity),
        "worst_drawdown": book.worst_drawdown,
        "positions": len(book.positions),
        "open_orders": list(book.orders),
        "entries_today": book.entries_today(),
        "trades": len(book.trades),
        "pnl": sum(trade.pnl or 0.0 for trade in book.trades),
        "journal": {
            "path": str(journal.path), "events": events, "decisions": decisions, "bytes": journal.size_bytes()
        },
    }  # fmt: skip


# --- where the journal is -----------------------------------------------------------------------------------------


def open_journal(context: typer.Context, home: Path | None, config: Path | None, demo: bool) -> Journal:
    """The deployment's journal for reading. JournalError where there is none."""
    from autotrader.journal.store import Journal, JournalError

    folder = home_folder(context, home)
    beside = folder / "data" / "demo" / "journal.sqlite3"
    path = beside if demo else data_folder(folder, config) / "journal.sqlite3"
    if not path.exists():
        hint = "; the last demo's is there: add --demo" if beside.exists() else ""
        raise JournalError(f"no journal at {path} yet: nothing has run in {folder.resolve()}{hint}")
    return Journal.read(path)


def data_folder(home: Path, config: Path | None) -> Path:
    """Where the deployment keeps its data."""
    return home / system_settings(home, config).paths.data


def system_settings(home: Path, config: Path | None) -> SystemSettings:
    """Only default.yaml is read: a rule being edited does not hide the account."""
    from autotrader.rules.document import DocumentError
    from autotrader.rules.problems import render_text
    from autotrader.settings import SystemSettings
    from autotrader.validation.load import SYSTEM_FILE
    from autotrader.validation.structure import build, read_document

    path = (config or home / "config") / SYSTEM_FILE
    if config is not None:
        config_folder(home, config)  # it must be a folder
    if not path.exists():
        return SystemSettings()
    try:
        document = read_document(path)
    except DocumentError as error:
        print_error(render_text(list(error.problems), {str(path): error.text}))
        raise typer.Exit(2) from None
    built = build(SystemSettings, document)
    if not isinstance(built, SystemSettings):
        print_error(render_text(built, {str(path): document.text}))
        raise typer.Exit(1)
    return built


def last_prices(journal: Journal, book: Book) -> dict[str, float]:
    """symbol -> price of its latest exit decision in the book's session, for what is held and was judged there."""
    prices: dict[str, float] = {}
    for symbol in book.positions:
        for record in journal.decisions(symbol, book.session, "exit"):
            if isinstance(price := record.body.get("price"), float):
                prices[symbol] = price
    return prices


def _write_lines(path: Path, lines: list[str]) -> None:
    from autotrader.batch.files import write_atomically
    from autotrader.errors import AutotraderError

    try:
        write_atomically(path, "".join(f"{line}\n" for line in lines).encode())
    except OSError as error:
        raise AutotraderError(f"{path} cannot be written: {error.strerror}") from error


# --- how it looks -------------------------------------------------------------------------------------------------


def _show_trades(rows: list[dict[str, Any]]) -> None:
    out = _wide()
    extremes = ("best", "worst") if out.width >= 150 else ()
    table = _table("symbol", "side", "shares", "strategy", "entered", "entry", "exited", "exit", "reason", "pnl",
                   *extremes)  # fmt: skip
    for row in rows:
        cells = (
            row["symbol"], _side(row["direction"]), f"{row['quantity']:,}", row["strategy"], _time(row["entered_at"]),
            _price(row["entry_price"]), _time(row["exited_at"]), _price(row["exit_price"]), row["exit_reason"] or "",
            _money(row["pnl"]), _money(row["mfe"]), _money(row["mae"]),
        )  # fmt: skip
        table.add_row(*cells[: len(table.columns)])
    closed = [row["pnl"] for row in rows if row["pnl"] is not None]
    out.print(table)
    won = sum(pnl > 0 for pnl in closed)
    total = _money(sum(closed))
    out.print(f"{len(closed)} closed, {won} with a gain, together {total} USD; {len(rows) - len(closed)} open")


_NUMBERS = {"shares", "entry", "price", "exit", "gain", "%", "pnl", "best", "worst", "sessions"}


def _table(*names: str) -> Table:
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


def _wide() -> Console:
    """A file has room for whole rows."""
    out = console()
    if not out.is_terminal:
        out.width = 200
    return out


def _side(direction: str) -> str:
    return f"[{'green' if direction == 'long' else 'red'}]{direction}[/]"


def _time(at: str | None) -> str:
    return "" if at is None else at[:16].replace("T", " ")


def _price(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}"


def _money(value: float | None) -> str:
    return "" if value is None else _coloured(f"{value:+,.2f}", value)


def _percent(value: float | None) -> str:
    return "" if value is None else _coloured(f"{value:+.2%}", value)


def _coloured(text: str, value: float) -> str:
    return f"[{'green' if value > 0 else 'red'}]{text}[/]" if value else text

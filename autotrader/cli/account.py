"""`autotrader positions | trades`: the account as its journal has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autotrader.cli.app import AsJson, Config, Home, app, config_folder, console, home_folder, print_error
from autotrader.cli.tables import money, new_table, percent, price, side, time, wide

if TYPE_CHECKING:
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
    table = new_table("symbol", "side", "shares", "strategy", "entered", "entry", "price", "gain", "%", "best", "worst",
                   "sessions", "leaving")  # fmt: skip
    for row in rows:
        paid = row["entry_price"] * row["quantity"]
        table.add_row(
            row["symbol"], side(row["direction"]), f"{row['quantity']:,}", row["strategy"], time(row["entered_at"]),
            price(row["entry_price"]), price(row["price"]), money(row["gain"]),
            percent(None if row["gain"] is None else row["gain"] / paid), money(row["mfe"]), money(row["mae"]),
            str(row["sessions_held"]), row["leaving"] or "",
        )  # fmt: skip
    out = wide()
    out.print(table)
    out.print(f"{len(rows)} open; together {money(sum(row['gain'] or 0.0 for row in rows))} USD before costs")


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
            if isinstance(found := record.body.get("price"), float):
                prices[symbol] = found
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
    out = wide()
    extremes = ("best", "worst") if out.width >= 150 else ()
    table = new_table("symbol", "side", "shares", "strategy", "entered", "entry", "exited", "exit", "reason", "pnl",
                   *extremes)  # fmt: skip
    for row in rows:
        cells = (
            row["symbol"], side(row["direction"]), f"{row['quantity']:,}", row["strategy"], time(row["entered_at"]),
            price(row["entry_price"]), time(row["exited_at"]), price(row["exit_price"]), row["exit_reason"] or "",
            money(row["pnl"]), money(row["mfe"]), money(row["mae"]),
        )  # fmt: skip
        table.add_row(*cells[: len(table.columns)])
    closed = [row["pnl"] for row in rows if row["pnl"] is not None]
    out.print(table)
    won = sum(pnl > 0 for pnl in closed)
    total = money(sum(closed))
    out.print(f"{len(closed)} closed, {won} with a gain, together {total} USD; {len(rows) - len(closed)} open")

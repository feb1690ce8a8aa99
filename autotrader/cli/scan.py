"""`autotrader scan`: the nightly scan once."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autotrader.cli.app import (
    Config,
    Home,
    app,
    config_folder,
    console,
    home_folder,
    print_error,
    progress,
    sound_configuration,
)

if TYPE_CHECKING:
    from autotrader.batch.files import BatchResultRecord

Day = Annotated[
    datetime | None,
    typer.Option("--date", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD",
                 help="The scanned session; default: the last completed one, with --data the last in the data."),
]  # fmt: skip
Data = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="PATH", help="Daily bars: a parquet file or a folder of them; implies --feed files."
    ),
]
Universe = Annotated[
    Path | None,
    typer.Option("--universe", metavar="PATH", help="CSV with symbol, name, sector; default: the packaged S&P 500."),
]
FeedName = Annotated[
    str | None, typer.Option("--feed", metavar="NAME", help="Where bars come from; default: as configured.")
]


@app.command()
def scan(
    context: typer.Context,
    config: Config = None,
    day: Day = None,
    feed: FeedName = None,
    data: Data = None,
    universe: Universe = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the result goes; default: data/batch_results.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result file instead of the tables.")] = False,
    home: Home = None,
) -> None:
    """Scan one session: signals of all strategies, ranked, to a table and a JSON file.

    [bold]Example:[/bold] autotrader scan --date 2017-10-10 --data bars.parquet --universe symbols.csv --out out
    """
    from autotrader.batch.files import ResultFileError, result_path, write_record
    from autotrader.batch.run import run_scan

    folder = home_folder(context, home)
    configuration = sound_configuration(config_folder(folder, config))
    with progress("scanning"):
        run = run_scan(configuration, folder, None if day is None else day.date(), feed, data, universe)
    path = result_path(out or run.results, run.record.scan_date)
    try:
        write_record(path, run.record)
    except OSError as error:
        raise ResultFileError(f"{path}: cannot be written: {error.strerror}") from error
    if as_json:
        typer.echo(path.read_text(), nl=False)
    else:
        _show(run.record)
        console().print(f"\nwritten to {path}")
    print_error(f"{run.record.scan_summary.scan_duration_seconds:.2f} s")


def _show(record: BatchResultRecord) -> None:
    from collections import Counter

    from rich import box
    from rich.markup import escape
    from rich.table import Table

    out = console()
    regime = escape(record.regime)
    out.print(f"[bold]Scan of {record.scan_date}[/bold]   regime [bold]{regime}[/bold] ({record.regime_proxy})")
    out.print(
        f"{record.total_symbols_scanned} symbols scanned, {len(record.skipped)} skipped, "
        f"{record.total_signals_generated} signals, {len(record.candidates)} candidates\n"
    )
    if record.candidates:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("#", "symbol", "strategy", "side", "group", "close", "ATR", "score", "sector"):
            right = name in {"#", "close", "ATR", "score"}
            table.add_column(name, justify="right" if right else "left", no_wrap=True)
        for item in record.candidates:
            side = f"[green]{item.direction}[/green]" if item.direction == "long" else f"[red]{item.direction}[/red]"
            names = (escape(item.symbol), item.strategy, side, item.entry_group)
            numbers = (f"{item.prev_close:.2f}", f"{item.atr:.2f}", f"{item.score:.3f}")
            table.add_row(str(item.rank), *names, *numbers, escape(item.sector or ""))
        out.print(table)
    signals = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    outcomes = [name for name, _ in Counter(item.outcome for item in record.all_signals).most_common()]
    signals.add_column("signals by strategy")
    signals.add_column("all", justify="right")
    for name in outcomes:
        signals.add_column(name, justify="right")
    for strategy, count in record.scan_summary.signals_by_strategy.items():
        found = Counter(item.outcome for item in record.all_signals if item.strategy == strategy)
        signals.add_row(strategy, str(count), *(str(found[name]) if found[name] else "" for name in outcomes))
    out.print(signals)
    for reason, symbols in _by_reason(record).items():
        shown = ", ".join(symbols[:8]) + (f" and {len(symbols) - 8} more" if len(symbols) > 8 else "")
        out.print(f"skipped, {reason}: {shown}")
    if record.short_history:
        shown = ", ".join(f"{symbol} ({bars})" for symbol, bars in list(record.short_history.items())[:8])
        more = len(record.short_history) - 8
        out.print(f"scanned on fewer bars than the full history: {shown}" + (f" and {more} more" if more > 0 else ""))
    for note in record.notes:
        out.print(f"note: {note}")


def _by_reason(record: BatchResultRecord) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for item in record.skipped:
        reasons.setdefault(item.reason, []).append(item.symbol)
    return reasons

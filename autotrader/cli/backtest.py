"""`autotrader backtest`: years through the decision loop of the live day, to a summary, a report and a JSON file."""

from __future__ import annotations

import time
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autotrader.cli.app import (
    Config,
    Home,
    app,
    config_folder,
    console,
    home_folder,
    output_file,
    print_error,
    progress,
    sound_configuration,
)
from autotrader.cli.scan import Data, FeedName, Universe

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from autotrader.backtest.output import Document

_DAY = ["%Y-%m-%d"]


@app.command()
def backtest(
    context: typer.Context,
    first: Annotated[
        datetime,
        typer.Option("--from", formats=_DAY, metavar="YYYY-MM-DD", help="The first session to trade, at or after."),
    ],
    last: Annotated[
        datetime, typer.Option("--to", formats=_DAY, metavar="YYYY-MM-DD", help="The last one, at or before.")
    ],
    data: Data = None,
    universe: Universe = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Write the report: one file, opens offline.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write trades, equity, metrics and rules as JSON.")
    ] = None,
    cash: Annotated[float, typer.Option("--cash", min=1.0, max=1e12, help="Cash to begin with, USD.")] = 100_000.0,
    slippage: Annotated[
        float, typer.Option("--slippage", min=0.0, max=5_000.0, help="Slippage of each fill, in basis points.")
    ] = 0.0,
    commission: Annotated[
        float, typer.Option("--commission", min=0.0, max=1e6, help="Commission, USD per order.")
    ] = 0.0,
    borrow: Annotated[
        float, typer.Option("--borrow", min=0.0, max=10.0, help="What shorts pay, as an annual ratio.")
    ] = 0.01,
    feed: FeedName = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Another seed, another market; default: as configured.")
    ] = None,
    config: Config = None,
    home: Home = None,
) -> None:
    """Test the configuration on history: the live day's decisions, session by session, along daily bars.

    [bold]Example:[/bold] autotrader backtest --from 2015-01-01 --to 2020-12-31 --data bars.parquet
    --universe symbols.csv --report report.html --json result.json
    """
    from autotrader.backtest.engine import BacktestError, Costs
    from autotrader.backtest.output import document, to_json
    from autotrader.backtest.run import Source, run_backtest
    from autotrader.batch.files import write_atomically
    from autotrader.settings import inside

    started = time.monotonic()
    folder = home_folder(context, home)
    settings = config_folder(folder, config)
    configuration = sound_configuration(settings, tell_warnings=True)
    system = configuration.settings.system
    read = (settings, data or inside(folder, system.feed.path), universe or inside(folder, system.universe))
    report_to = None if report is None else output_file(report, "--report", read)
    json_to = None if json_file is None else output_file(json_file, "--json", (*read, report_to))
    with progress("opening the data") as status:

        def tell(what: str) -> None:
            if status is not None:
                status.update(f"{what} ...")  # type: ignore[attr-defined]  # rich's Status, where there is a terminal

        run = run_backtest(
            configuration, folder, first.date(), last.date(), Source(feed, data, universe, seed), cash=cash,
            costs=Costs(slippage, commission, borrow), tell=tell,
        )  # fmt: skip
        content = document(run.result, feed=run.feed, invented=run.invented, notes=run.notes)
        files: list[tuple[Path | None, Path, bytes]] = []
        if json_to is not None:
            files.append((json_file, json_to, to_json(content)))
        if report_to is not None:
            from autotrader.backtest.report import report as page

            tell("writing the report")
            files.append((report, report_to, page(content, run.result)))
        for named, path, made in files:
            try:
                write_atomically(path, made)
            except OSError as error:
                raise BacktestError(f"{named}: cannot be written: {error.strerror}") from error
    _show(content, invented=run.invented)
    for named, _, made in files:
        console().print(f"written to {named} ({len(made) / 1e6:.1f} MB)")
    print_error(f"{time.monotonic() - started:.1f} s")


def _show(content: Document, *, invented: bool) -> None:
    from rich.columns import Columns
    from rich.markup import escape

    from autotrader.backtest.output import by_group, findings

    out = console()
    costs, gain = content["costs"], content["final_equity"] / content["initial_cash"] - 1
    colour = "green" if gain >= 0 else "red"
    out.print(
        f"[bold]{content['from']} to {content['to']}[/bold], {content['sessions']:,} sessions, {content['symbols']:,} "
        f"symbols, feed {escape(content['feed'])}; slippage {costs['slippage_bps']:g} bps, commission "
        f"{costs['commission']:g} USD, borrowing {costs['borrow']:.2%} a year"
    )
    out.print(f"equity {content['initial_cash']:,.2f} -> [bold]{content['final_equity']:,.2f}[/bold] USD "
              f"([{colour}]{gain:+.2%}[/{colour}])")  # fmt: skip
    if invented:
        out.print("[yellow]a made-up market[/yellow]: --data names your own bars")
    for latch in content["latched"]:
        out.print(f"[yellow]no entries since {latch['since']}[/yellow]: the limit {escape(latch['rule'])}, see below")
    out.print()
    _show_metrics(out, content)
    if content["metrics"]["closed_trades"]:
        named = (("strategy", "strategy"), ("regime at entry", "regime"), ("exit rule", "exit_rule"))
        tables = [_groups(name, by_group(content["trades"], itemgetter(key))) for name, key in named]
        out.print(Columns(tables, padding=(0, 3)))
    else:
        out.print("no trade was closed\n")
    for said in content["notes"]:
        out.print(f"note: {escape(said)}")
    for said in findings(content):
        out.print(f"[yellow]look at[/yellow]: {escape(said)}")
    for said in content["caveats"]:
        out.print(f"caveat: {escape(said)}", style="dim")
    if content["jumps"]:
        worst = ", ".join(f"{item['symbol']} {item['session']} {item['move']:+.0%}" for item in content["jumps"][:5])
        out.print(f"caveat: {len(content['jumps'])} overnight jumps that the market did not make touch a trade; they "
                  f"may be unadjusted spin-offs or splits: {escape(worst)}"
                  f"{' ...' if len(content['jumps']) > 5 else ''}", style="dim")  # fmt: skip


def _show_metrics(out: Console, content: Document) -> None:
    from itertools import groupby

    from rich.columns import Columns
    from rich.table import Table

    from autotrader.backtest.output import MEASURES, shown

    tables = []
    for group, measures in groupby(MEASURES, key=lambda measure: measure.group):
        table = Table(box=None, pad_edge=False, show_header=True, header_style="bold")
        table.add_column(group)
        table.add_column("", justify="right")
        for measure in measures:
            table.add_row(measure.label, shown(content["metrics"][measure.key], measure.unit))
        tables.append(table)
    out.print(Columns(tables, padding=(1, 4)))


def _groups(name: str, groups: list[dict[str, Any]]) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from autotrader.backtest.output import shown

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(name)
    for head in ("trades", "hits", "mean", "factor", "USD"):
        table.add_column(head, justify="right")
    for group in groups:
        colour = "green" if group["pnl"] >= 0 else "red"
        table.add_row(
            escape(group["name"]), str(group["trades"]), shown(group["hit_rate"], "percent"),
            shown(group["expectancy_r"], "r"), shown(group["profit_factor"], "number"),
            f"[{colour}]{group['pnl']:+,.0f}[/{colour}]",
        )  # fmt: skip
    return table

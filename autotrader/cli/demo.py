"""`autotrader demo`: whole sessions through the live stages in virtual time, told as they go."""

from __future__ import annotations

import json
import shlex
from datetime import datetime
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
    print_error,
    progress,
    sound_configuration,
)
from autotrader.cli.scan import Data, Universe

if TYPE_CHECKING:
    from autotrader.core.book import Trade
    from autotrader.service.demo import Tale

_WAYS = ("minutes", "path")


@app.command()
def demo(
    context: typer.Context,
    days: Annotated[int, typer.Option("--days", min=1, metavar="N", help="How many sessions to play.")] = 5,
    start: Annotated[
        datetime | None,
        typer.Option(
            "--start",
            formats=["%Y-%m-%d"],
            metavar="YYYY-MM-DD",
            help="The first session; default: so that the last one is the last completed.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Another seed, another market; default: as configured.")
    ] = None,
    data: Data = None,
    universe: Universe = None,
    market: Annotated[
        str,
        typer.Option(
            "--market",
            help="minutes: minute bars, real where --data has them, else made up; "
            "path: each day as open, adverse extreme, favourable extreme, close.",
        ),
    ] = "minutes",
    cash: Annotated[float, typer.Option("--cash", min=1.0, help="Cash to begin with, USD.")] = 100_000.0,
    slippage: Annotated[
        float, typer.Option("--slippage", min=0.0, help="Slippage of each fill, in basis points.")
    ] = 0.0,
    commission: Annotated[float, typer.Option("--commission", min=0.0, help="Commission, USD per order.")] = 0.0,
    borrow: Annotated[float, typer.Option("--borrow", min=0.0, help="What shorts pay, as an annual ratio.")] = 0.01,
    faults: Annotated[
        float,
        typer.Option(
            "--faults", min=0.0, max=1.0, metavar="RATE",
            help="How often the broker refuses, forgets, delays, doubles or leaves in the dark: 0.02 is 2% of each "
            "kind. What becomes of every order is told too.",
        ),
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end, no story.")] = False,
    config: Config = None,
    home: Home = None,
) -> None:
    """Play whole sessions, from the nightly scan to the close, on the embedded synthetic market or on real bars.

    The state goes to data/demo (with --home DIR to DIR/data) and starts empty each time.

    [bold]Examples:[/bold] autotrader demo --days 5   |   autotrader demo --data bars.parquet --universe symbols.csv
    --start 2020-02-03 --days 40
    """
    from autotrader.batch.run import open_feed, told_splits
    from autotrader.cli.story import Story
    from autotrader.clock import Calendar
    from autotrader.market.universe import load_universe
    from autotrader.service.demo import Demo, DemoOptions
    from autotrader.settings import inside

    if market not in _WAYS:
        raise typer.BadParameter(f"{market} is not one of {', '.join(_WAYS)}", param_hint="--market")
    if home is not None:
        home.mkdir(parents=True, exist_ok=True)  # a demo begins anew anyway
    folder = home_folder(context, home)
    configuration = sound_configuration(config_folder(folder, config))
    system = configuration.settings.system
    own_home = home is not None or context.obj is not None
    state = folder / system.paths.data if own_home else folder / "data" / "demo"
    feed = open_feed(configuration, folder, Calendar(), data=data, seed=seed)
    source = data or (inside(folder, system.feed.path) if feed.name == "files" else None)
    members = load_universe(universe or inside(folder, system.universe))
    options = DemoOptions(
        folder=state, days=days, start=None if start is None else start.date(), cash=cash,
        seed=system.feed.seed if seed is None else seed, mode="path" if market == "path" else "minutes",
        minutes=source if source is not None and source.is_dir() else None, slippage_bps=slippage,
        commission=commission, borrow=borrow, faults=faults, splits=told_splits(configuration, folder, feed, data),
    )  # fmt: skip
    account = AccountOf(cash)
    story = None if as_json else Story(console())

    def tell(tale: Tale) -> None:
        account.tell(tale)
        if story is not None:
            story.tell(tale)

    with progress("loading bars"):
        run = Demo(configuration, feed, members, options, tell)
    sessions = [session.isoformat() for session in run.sessions]
    if story is not None:
        story.begin(feed.name, len(members), sessions, cash)
        if faults:
            story.tell_of_orders(run.clock)
    desk = run.play()
    trades = desk.trader.book.all_trades()
    if story is None:
        typer.echo(json.dumps(account.as_json(trades, state), indent=1))
    else:
        story.end(trades, desk.trader.prices, cash, account.equity)
    desk.journal.close()
    if not account.scans:
        print_error("no night had a scan with a result, so nothing could be entered")
        raise typer.Exit(1)
    if story is not None:
        # the state lies in DIR/data, or beside a deployment's own in ./data/demo
        where = f" --home {shlex.quote(str(folder))}" if own_home else " --demo"
        story.hints(trades[0].symbol if trades else members[0].symbol, where, str(state))


class AccountOf:
    """What a demo came to: its funnel and equity by session."""

    def __init__(self, cash: float) -> None:
        self.equity = self._cash = cash
        self.scans = 0  # with a result
        self._scan: dict[str, Any] = {}
        self._day: dict[str, Any] = {}
        self._sessions: list[dict[str, Any]] = []

    def tell(self, tale: Tale) -> None:
        from autotrader.execution.day import Told
        from autotrader.service.demo import Dawn, Evening, Morning, Night

        match tale:
            case Night():
                record = tale.record
                self.scans += record is not None
                self._scan = {"regime": None, "scanned": 0, "signals": 0, "candidates": 0} if record is None else {
                    "regime": record.regime,
                    "scanned": record.total_symbols_scanned,
                    "signals": record.total_signals_generated,
                    "candidates": len(record.candidates),
                }  # fmt: skip
            case Dawn():
                self._day = {"date": tale.session.isoformat(), **self._scan, "after_gap": 0, "entered": 0, "exits": 0}
            case Morning():
                self._day["after_gap"] = tale.record.candidates_after
            case Told():
                self._day["entered"] += sum(outcome.entered for outcome in tale.outcomes)
                self._day["exits"] += 0 if tale.step is None else len(tale.step.leaving)
            case Evening():
                self.equity = tale.equity
                self._day |= {"equity": tale.equity, "day_return": tale.day_return, "drawdown": tale.drawdown,
                              "open_positions": tale.open_positions}  # fmt: skip
                self._sessions.append(self._day)

    def as_json(self, trades: list[Trade], state: Path) -> dict[str, Any]:
        from autotrader.journal.views import trade_row

        return {
            "initial_cash": self._cash,
            "final_equity": self.equity,
            "sessions": self._sessions,
            "trades": [trade_row(trade) for trade in trades],
            "state": str(state),
        }

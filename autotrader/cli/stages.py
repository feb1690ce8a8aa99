"""`autotrader gap-filter | enter | monitor`: one stage of a session by hand, on the paper broker."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autotrader.cli.app import Config, Home, app, config_folder, console, home_folder, progress, sound_configuration
from autotrader.cli.scan import Data, FeedName, Universe

if TYPE_CHECKING:
    from autotrader.service.stages import Stages

Day = Annotated[
    datetime | None,
    typer.Option("--date", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD",
                 help="The trading session; default: the one after the latest scan result."),
]  # fmt: skip
Market = Annotated[
    str,
    typer.Option("--market", help="minutes: minute bars, real where --data has them, else made up; path: the daily "
                                  "bar as open, adverse extreme, favourable extreme, close."),
]  # fmt: skip
Cash = Annotated[
    float, typer.Option("--cash", min=1.0, help="Cash of an account that begins with this stage, USD.")
]  # fmt: skip


@app.command("gap-filter")
def gap_filter(
    context: typer.Context,
    day: Day = None,
    feed: FeedName = None,
    data: Data = None,
    universe: Universe = None,
    market: Market = "minutes",
    cash: Cash = 100_000.0,
    config: Config = None,
    home: Home = None,
) -> None:
    """Filter the latest scan's candidates by their prices before the open.

    [bold]Example:[/bold] autotrader gap-filter --date 2017-10-11 --data bars.parquet --universe symbols.csv
    """
    with progress("gap filter"):
        stages = _stages(context, home, config, day, feed, data, universe, market, cash)
        if not stages.gap_filter():
            console().print(f"the gap filter of {stages.session} has run already; nothing was done")


@app.command()
def enter(
    context: typer.Context,
    group: Annotated[str, typer.Option("--group", help="The entry group: moo, confirmation, ...")],
    day: Day = None,
    feed: FeedName = None,
    data: Data = None,
    universe: Universe = None,
    market: Market = "minutes",
    cash: Cash = 100_000.0,
    config: Config = None,
    home: Home = None,
) -> None:
    """Enter one group's candidates at its time; what is held is watched up to there.

    [bold]Example:[/bold] autotrader enter --group moo --date 2017-10-11 --data bars.parquet --universe symbols.csv
    """
    with progress(f"enter {group}"):
        stages = _stages(context, home, config, day, feed, data, universe, market, cash, group)
        if not stages.enter(group):
            console().print(f"group {group} of {stages.session} was entered already; nothing was done")


@app.command()
def monitor(
    context: typer.Context,
    day: Day = None,
    feed: FeedName = None,
    data: Data = None,
    universe: Universe = None,
    market: Market = "minutes",
    cash: Cash = 100_000.0,
    config: Config = None,
    home: Home = None,
) -> None:
    """Watch what is held through the rest of the session, leave what the exit rules say, and close the session.

    [bold]Example:[/bold] autotrader monitor --date 2017-10-11 --data bars.parquet --universe symbols.csv
    """
    with progress("monitor"):
        stages = _stages(context, home, config, day, feed, data, universe, market, cash)
        if not stages.monitor():
            console().print(f"the session of {stages.session} is closed already; nothing was done")


def _stages(
    context: typer.Context,
    home: Path | None,
    config: Path | None,
    day: datetime | None,
    feed_name: str | None,
    data: Path | None,
    universe: Path | None,
    market: str,
    cash: float,
    group: str | None = None,
) -> Stages:
    from autotrader.batch.run import open_feed, told_splits
    from autotrader.cli.story import Story
    from autotrader.clock import Calendar
    from autotrader.market.universe import load_universe
    from autotrader.service.stages import Deployment, Stages
    from autotrader.settings import inside

    if market not in {"minutes", "path"}:
        raise typer.BadParameter(f"{market} is not one of minutes, path", param_hint="--market")
    folder = home_folder(context, home)
    configuration = sound_configuration(config_folder(folder, config))
    system = configuration.settings.system
    groups = configuration.settings.params.entry.groups
    if group is not None and group not in groups:
        raise typer.BadParameter(f"{group} is not one of {', '.join(groups)}", param_hint="--group")
    feed = open_feed(configuration, folder, Calendar(), feed_name, data)
    source = data if data is not None else inside(folder, system.feed.path) if feed.name == "files" else None
    deployment = Deployment(
        configuration=configuration,
        feed=feed,
        universe=load_universe(universe or inside(folder, system.universe)),
        folder=folder / system.paths.data,
        mode="path" if market == "path" else "minutes",
        minutes=source if source is not None and source.is_dir() else None,
        seed=system.feed.seed,
        cash=cash,
        splits=told_splits(configuration, folder, feed, data),
    )
    return Stages(deployment, None if day is None else day.date(), Story(console()).tell)

"""`autotrader run`: the service."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from autotrader.cli.app import Config, Home, app, config_folder, home_folder

Until = Annotated[
    datetime | None,
    typer.Option("--until", formats=["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"], metavar="TIME",
                 help="Stop at this time, New York; default: when it is told to."),
]  # fmt: skip


@app.command()
def run(context: typer.Context, until: Until = None, config: Config = None, home: Home = None) -> None:
    """Run the service: scan at night, enter in the morning, watch and leave all day, until it is told to stop.

    It may be killed at any moment: starting it again is recovering. SIGTERM stops it after what it is doing; an edited
    configuration, or SIGHUP, takes effect at the next scan.

    [bold]Example:[/bold] autotrader run --home /srv/autotrader
    """
    from autotrader.cli import BEGAN
    from autotrader.clock import NEW_YORK
    from autotrader.service.start import Deployment, run

    folder = home_folder(context, home)
    end = None if until is None else until.replace(tzinfo=NEW_YORK)
    run(Deployment(folder, config_folder(folder, config), began=BEGAN), end)

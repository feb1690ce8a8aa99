"""`autotrader init DIR`: lays out a deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autotrader.cli.app import app, print_error


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The deployment folder; made where it is not there.")],
) -> None:
    """Lay out a deployment: configuration with its cases, data, secrets' file, systemd unit. Nothing is overwritten.

    [bold]Example:[/bold] autotrader init /srv/autotrader
    """
    import getpass

    from autotrader.service.deployment import PORT, lay_out

    user = getpass.getuser()
    laid = lay_out(folder, user)
    for path in laid.written:
        typer.echo(f"wrote {path}{'/' if path.is_dir() else ''}")
    home = laid.home
    if user == "root":
        print_error(
            f"\nThe service would run as root, and the folder is root's. It needs no such rights: give the folder to a "
            f"user of its own (chown -R USER: {home}) and write User=USER into {home}/autotrader.service."
        )
    print_error(
        f"""
Next:
  1. Decide where data come from and where orders go: {home}/config/default.yaml
  2. Keys, and where alerts go: {home}/config/.env     then: autotrader notify --test --home {home}
  3. Check it:        autotrader validate --home {home} && autotrader test --home {home}
  4. Run it once:     autotrader run --home {home}      (Ctrl-C stops it)
  5. Install it:      sudo cp {home}/autotrader.service /etc/systemd/system/ && sudo systemctl daemon-reload
                   sudo systemctl enable --now autotrader
  6. Look at it:      autotrader status --home {home}    also http://127.0.0.1:{PORT}/health, see docs/operations.md"""
    )

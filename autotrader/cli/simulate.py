"""`autotrader simulate-alpaca`: the simulated broker, on loopback."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from autotrader.cli.app import app, progress
from autotrader.cli.scan import Universe


@app.command("simulate-alpaca")
def simulate_alpaca(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, metavar="P", help="On 127.0.0.1; 0 takes any that is free.")
    ] = 0,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="PATH", help="Bars: a parquet file or a folder of them; default: the synthetic market."
        ),
    ] = None,
    universe: Universe = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--start",
            metavar="T",
            help="The market's time at the beginning, New York where no offset is given, such as 2019-02-11T09:00; "
            "default: 09:00 of the last session there is.",
        ),
    ] = None,
    speed: Annotated[
        float,
        typer.Option("--speed", min=0.0, metavar="X", help="How fast time runs; 0: only when it is stepped."),
    ] = 0.0,
    faults: Annotated[
        Path | None, typer.Option("--faults", metavar="FILE", help="What is to go wrong, as YAML (docs/simulator.md).")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="Of the synthetic market and the faults.")] = 0,
    keys: Annotated[
        str,
        typer.Option(
            "--keys", metavar="KEY:SECRET", envvar="AUTOTRADER_SIMULATOR_KEYS", help="What clients must send."
        ),
    ] = "SIMULATED:SIMULATED",
    cash: Annotated[float, typer.Option("--cash", min=1.0, help="Cash to begin with, USD.")] = 100_000.0,
    slippage: Annotated[
        float, typer.Option("--slippage", min=0.0, help="Slippage of each fill, in basis points.")
    ] = 0.0,
    commission: Annotated[float, typer.Option("--commission", min=0.0, help="Commission, USD per order.")] = 0.0,
    rate_limit: Annotated[
        int, typer.Option("--rate-limit", min=0, help="Requests a minute, for trading and for data each; 0: no limit.")
    ] = 200,
    plan: Annotated[
        str, typer.Option("--plan", help="basic: IEX only, 30 symbols streamed; plus: everything.")
    ] = "basic",
    old_account: Annotated[
        bool, typer.Option("--old-account", help="With the account's fields from before 2026-07-06.")
    ] = False,
    seconds: Annotated[
        float | None, typer.Option("--for", min=0.0, metavar="SECONDS", help="Stop by itself after so long.")
    ] = None,
) -> None:
    """A market and an account that speak Alpaca's protocol: REST and both streams, on one port.

    [bold]Example:[/bold] autotrader simulate-alpaca --port 8080 --start 2019-02-11T09:00 --speed 60
    """
    from autotrader.clock import NEW_YORK
    from autotrader.simulator.server import prepare, run
    from autotrader.simulator.simulator import SimulatorOptions

    try:
        begin = None if start is None else datetime.fromisoformat(start.replace("Z", "+00:00"))
    except ValueError as error:
        raise typer.BadParameter(f"{start} is not a time such as 2019-02-11T09:00", param_hint="--start") from error
    if begin is not None and begin.tzinfo is None:
        begin = begin.replace(tzinfo=NEW_YORK)
    key, _, secret = keys.partition(":")
    if not key or not secret:
        raise typer.BadParameter("expected KEY:SECRET, neither of them empty", param_hint="--keys")
    if plan not in ("basic", "plus"):
        raise typer.BadParameter(f"{plan} is not one of basic, plus", param_hint="--plan")
    options = SimulatorOptions(
        data=data, universe=universe, start=begin, speed=speed, seed=seed, keys={key: secret}, cash=cash,
        slippage_bps=slippage, commission=commission, plan="plus" if plan == "plus" else "basic",
        payload="old" if old_account else "new", rate_limit=rate_limit or None,
    )  # fmt: skip
    with progress("making the market"):
        server = prepare(options, faults, port)
    run(server, say, seconds)


def say(line: str) -> None:
    """At once, so that whoever started this process learns the port."""
    print(line, flush=True)  # noqa: T201

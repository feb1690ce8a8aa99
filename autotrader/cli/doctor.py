"""`autotrader doctor`: whether a deployment could trade now, line by line, and what to do where it could not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autotrader.cli.app import AsJson, Config, Home, app, config_folder, console, home_folder, progress

if TYPE_CHECKING:
    from datetime import datetime

    from autotrader.clock import Calendar, Clock
    from autotrader.market.broker import Broker
    from autotrader.market.checks import Check
    from autotrader.market.feed import Feed
    from autotrader.secrets import Secrets
    from autotrader.validation.load import Configuration

CLOCK_WARN_SECONDS, CLOCK_FAIL_SECONDS = 1.0, 5.0
DISK_WARN_BYTES, DISK_FAIL_BYTES = 2 << 30, 200 << 20
CALENDAR_DAYS = 60
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@app.command()
def doctor(
    context: typer.Context,
    config: Config = None,
    streams: Annotated[
        bool, typer.Option("--streams", help="Also open the broker's streams; not while the service runs.")
    ] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Check keys, account, permissions, clock, calendar, feed, data, disk and configuration; nothing is changed.

    Each line says what was found, and what to do. Exit code 1 where something fails.

    [bold]Example:[/bold] autotrader doctor --streams
    """
    import json
    import logging

    from autotrader.clock import SystemClock

    folder = home_folder(context, home)
    logging.getLogger("autotrader").addHandler(logging.NullHandler())  # what matters is in the lines below
    with progress("looking"):
        found = list(examine(folder, config_folder(folder, config), SystemClock(), streams=streams))
    if as_json:
        typer.echo(json.dumps([check._asdict() for check in found], indent=1))
    else:
        _show(found)
    raise typer.Exit(1 if any(check.verdict == "fail" for check in found) else 0)


def examine(home: Path, config: Path, clock: Clock, *, streams: bool = False) -> Iterator[Check]:
    """All checks, one after the other."""
    from autotrader.clock import Calendar
    from autotrader.secrets import Secrets
    from autotrader.validation.load import load_configuration

    loaded = load_configuration(config)
    yield _configuration(loaded.problems, config)
    configuration = loaded.configuration
    if configuration is None:
        yield _disk(home)
        return
    yield _disk(home / configuration.settings.system.paths.data)
    secrets, calendar = Secrets(home), Calendar()
    yield from _broker_and_feed(configuration, home, secrets, calendar, clock, streams=streams)


def _broker_and_feed(
    configuration: Configuration, home: Path, secrets: Secrets, calendar: Calendar, clock: Clock, *, streams: bool
) -> Iterator[Check]:
    from autotrader.batch.run import open_feed
    from autotrader.clock import VirtualClock
    from autotrader.errors import AutotraderError
    from autotrader.market.checks import Check, HasChecks

    symbol = configuration.settings.params.regime.symbol
    names = {configuration.settings.system.broker.name, configuration.settings.system.feed.name}
    if "alpaca" in names:
        keys = _keys(secrets)
        yield keys
        if keys.verdict == "fail":
            return
    now = clock.now()
    broker: Broker | None = None
    try:
        broker = _open_broker(configuration, secrets, calendar, clock)
    except AutotraderError as error:
        yield Check("account", "fail", str(error), "nothing can be traded until this is right")
        if len(names) == 1:
            return  # the feed would say the same, after waiting for the server for a while
    if broker is not None:
        yield from _broker(broker, calendar, clock, symbol, streams=streams)
        now = broker.time()
    elif configuration.settings.system.broker.name == "paper":
        yield Check("account", "ok", "the paper broker: fills in memory, no money")
    try:
        feed = open_feed(configuration, home, calendar, clock=VirtualClock(now))
        yield _freshness(feed, calendar, symbol, now)
    except AutotraderError as error:
        yield Check("data", "fail", str(error), "see feed in config/default.yaml")
        return
    if isinstance(feed, HasChecks):
        yield from feed.checks(symbol, streams=streams)


def _configuration(problems: Any, config: Path) -> Check:
    from autotrader.market.checks import Check

    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    advice = f"autotrader validate --config {config} shows them" if problems else ""
    verdict = "fail" if errors else "warn" if warnings else "ok"
    counted = f"errors {errors}, warnings {warnings}" if problems else "nothing is wrong with it"
    found = f"{config}: {counted}"
    return Check("configuration", verdict, found, advice)  # type: ignore[arg-type]


def _disk(folder: Path) -> Check:
    import os
    import shutil

    from autotrader.market.checks import Check

    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    found = f"{free / (1 << 30):,.1f} GiB free for {folder}"
    if not os.access(there, os.W_OK):
        return Check("disk", "fail", f"{there} cannot be written", "make it writable for this user")
    if free < DISK_FAIL_BYTES:
        return Check("disk", "fail", found, "free some space: the journal is written before every order")
    if free < DISK_WARN_BYTES:
        return Check("disk", "warn", found, "free some space")
    return Check("disk", "ok", found)


def _keys(secrets: Secrets) -> Check:
    from autotrader.market.checks import Check
    from autotrader.secrets import KEY_ID, SecretsError

    try:
        secrets.credentials()
    except SecretsError as error:
        return Check("keys", "fail", str(error), f"{KEY_ID} and its secret are on the account's page at alpaca.markets")
    return Check("keys", "ok", "there, and readable by nobody else")


def _open_broker(configuration: Configuration, secrets: Secrets, calendar: Calendar, clock: Clock) -> Broker | None:
    """The configured broker, without its reports; None for one that lives in memory."""
    from autotrader.market.broker import BrokerOptions
    from autotrader.plugins.registry import load_broker

    plugin = load_broker(configuration.settings.system.broker.name)
    if not hasattr(plugin, "open"):
        return None
    system = configuration.settings.system
    broker: Broker = plugin.open(BrokerOptions(calendar, clock, system, secrets, streaming=False))
    return broker


def _broker(broker: Broker, calendar: Calendar, clock: Clock, symbol: str, *, streams: bool) -> Iterator[Check]:
    from autotrader.market.broker import BrokerError
    from autotrader.market.checks import Check, HasChecks

    try:
        account = broker.account()
        kind = "LIVE, real money" if broker.is_live else "paper, no money"
        yield Check("account", "ok", f"{account.account_id} ({kind}), equity {account.equity:,.2f} USD")
        if isinstance(broker, HasChecks):
            yield from broker.checks(symbol, streams=streams)
        yield _clock(broker, clock)
        yield _calendar(broker, calendar)
    except BrokerError as error:
        yield Check("account", "fail", str(error), "check that the broker can be reached")


def _clock(broker: Broker, clock: Clock) -> Check:
    """The broker's clock against ours, less what the answer took."""
    from datetime import timedelta

    from autotrader.clock import apart
    from autotrader.market.checks import Check

    before = clock.now()
    theirs = broker.time()
    after = clock.now()
    offset = (theirs - before).total_seconds() - (after - before).total_seconds() / 2
    sure = max(0.0, abs(offset) - (after - before).total_seconds() / 2)
    found = "with the broker's, to the second"
    if sure > CLOCK_WARN_SECONDS:
        found = f"this machine's clock is {apart(timedelta(seconds=-offset))} the broker's"
    advice = "orders have deadlines to the second: have the machine's clock synchronised (chrony, systemd-timesyncd)"
    if sure > CLOCK_FAIL_SECONDS:
        return Check("clock", "fail", found, advice)
    return Check("clock", "warn", found, advice) if sure > CLOCK_WARN_SECONDS else Check("clock", "ok", found)


def _calendar(broker: Broker, calendar: Calendar) -> Check:
    """The broker's sessions to come against ours: half days and holidays move deadlines."""
    from datetime import timedelta

    from autotrader.clock import NEW_YORK
    from autotrader.market.checks import Check

    first = broker.time().astimezone(NEW_YORK).date()
    last = first + timedelta(days=CALENDAR_DAYS)
    ours = {day: (calendar.opens_at(day), calendar.closes_at(day)) for day in calendar.sessions(first, last)}
    theirs = {item.session: (item.opens, item.closes) for item in broker.hours(first, last)}
    wrong = sorted(day for day in ours.keys() | theirs.keys() if ours.get(day) != theirs.get(day))
    if not wrong:
        return Check("calendar", "ok", f"{len(ours)} sessions up to {last}, the same hours as the broker's")
    named = ", ".join(str(day) for day in wrong[:3]) + (" ..." if len(wrong) > 3 else "")
    return Check("calendar", "fail", f"the broker has other hours than we on {named}",
                 "update exchange-calendars; do not trade on these days")  # fmt: skip


def _freshness(feed: Feed, calendar: Calendar, symbol: str, now: datetime) -> Check:
    """Whether the feed has the last session's bar."""
    import math

    from autotrader.market.checks import Check

    due = calendar.last_completed(now)
    last = min(feed.last_session(), due)
    close = float(feed.daily_bars([symbol], last, 1).close[0, -1])
    if last < due:
        behind = calendar.number(due) - calendar.number(last)
        sessions = "session" if behind == 1 else "sessions"
        return Check("data", "warn", f"the feed {feed.name} ends on {last}, {behind} {sessions} ago",
                     "newer bars are needed to scan for today")  # fmt: skip
    if math.isnan(close):
        return Check("data", "fail", f"the feed {feed.name} has no bar of {symbol} on {last}",
                     "a scan would have nothing to stand on; is the feed late?")  # fmt: skip
    return Check("data", "ok", f"the feed {feed.name} has {symbol} on {last}, at {close:,.2f}")


def _show(found: list[Check]) -> None:
    from rich.markup import escape

    out = console()
    width = max(len(check.name) for check in found)
    for check in found:
        colour = _COLOURS[check.verdict]
        out.print(f"[{colour}]{check.verdict:4}[/{colour}]  {check.name:{width}}  {escape(check.found)}")
        if check.advice:
            out.print(f"      {'':{width}}  -> {escape(check.advice)}")

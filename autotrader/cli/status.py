"""`autotrader status`: is it healthy, what happened today, what is held and where the exits are, what comes next."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from autotrader.cli.account import OfDemo, data_folder, last_prices, open_journal, system_settings
from autotrader.cli.app import AsJson, Config, Home, app, home_folder
from autotrader.cli.tables import money, percent, price, side, wide

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from autotrader.core.rulebook import Rulebook
    from autotrader.journal.store import Journal
    from autotrader.service.status import Surroundings
    from autotrader.settings import StrategyParams

Row = dict[str, Any]

DEMO = "DEMO"  # service.demo's account, whose days are over; importing that takes a second
_STYLES = {"done": "green", "late": "yellow", "skipped": "yellow", "failed": "bold red", "overdue": "bold red",
           "waiting": "dim", "due": "cyan", "by hand": "green", "unrecorded": "dim"}  # fmt: skip
_SEVERITIES = {"info": "dim", "warning": "yellow", "critical": "bold red"}


@app.command()
def status(
    context: typer.Context, as_json: AsJson = False, demo: OfDemo = False, config: Config = None, home: Home = None
) -> None:
    """One screen: healthy or not, what happened today, what is held and where its exits are, what comes next and when.

    It reads the journal, whether a service runs or not. [bold]Example:[/bold] autotrader status --home /srv/autotrader
    """
    from autotrader.clock import Calendar, SystemClock
    from autotrader.service.status import READS, Surroundings
    from autotrader.service.status import status as status_of

    folder = home_folder(context, home)
    params, edited, broken = _params(folder, config)
    around = _surroundings(folder, config, edited=edited, broken=broken)
    with open_journal(context, home, config, demo) as journal:
        book = journal.book()
        events, decisions = journal.counts()
        is_demo = demo or journal.account_id == DEMO
        found = {
            "account": journal.account_id,
            "return": 0.0,
            **status_of(
                book,
                journal.recent_events(kinds=READS),
                last_prices(journal, book),
                lambda name: _rules_of(journal, name),
                params,
                Calendar(),
                SystemClock().now(),
                Surroundings(expected=False) if is_demo else around,
            ),
            "journal": {
                "path": str(journal.path), "events": events, "decisions": decisions, "bytes": journal.size_bytes()
            },
        }  # fmt: skip
        start = journal.initial_cash
    found["return"] = found["equity"] / start - 1 if start else None
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        _show(found)


def _rules_of(journal: Journal, config_hash: str) -> Rulebook | None:
    from autotrader.core.rulebook import RulebookError, build_rulebook
    from autotrader.journal.store import JournalError

    try:
        return build_rulebook(journal.config(config_hash).params)
    except (JournalError, RulebookError):
        return None


def _params(home: Path, config: Path | None) -> tuple[StrategyParams | None, bool, bool]:
    """The parameters in effect, as far as their form goes, which is enough for the times; None where that is broken.

    And whether the configuration was edited since, and whether it is broken now.
    """
    from autotrader.service.configurations import IN_EFFECT
    from autotrader.validation.load import PACKAGED_CONFIG, PARAMS_FILE

    path = (config or home / "config") / PARAMS_FILE
    if config is None and not path.exists():
        path = PACKAGED_CONFIG / PARAMS_FILE
    current = _read(path)
    copy = data_folder(home, config) / IN_EFFECT / PARAMS_FILE
    if not copy.exists():
        return current, False, current is None
    return _read(copy), path.read_bytes() != copy.read_bytes(), current is None


def _read(path: Path) -> StrategyParams | None:
    from autotrader.rules.document import DocumentError
    from autotrader.settings import StrategyParams
    from autotrader.validation.structure import build, read_document

    try:
        built = build(StrategyParams, read_document(path))
    except DocumentError:
        return None
    return built if isinstance(built, StrategyParams) else None


def _surroundings(home: Path, config: Path | None, *, edited: bool, broken: bool) -> Surroundings:
    from autotrader.clock import SystemClock
    from autotrader.service.inbox import Inbox
    from autotrader.service.presence import heartbeat_age, running
    from autotrader.service.status import Surroundings

    data = data_folder(home, config)
    waiting, damaged = Inbox(data).waiting()
    return Surroundings(
        running=running(data),
        beat_age_seconds=heartbeat_age(data, SystemClock().now()),
        stale_seconds=system_settings(home, config).watch.stale_seconds,
        waiting=waiting,
        damaged=len(damaged),
        edited=edited,
        broken=broken,
        scanned=frozenset(
            day for path in (data / "batch_results").glob("*.json") if (day := _day_of(path)) is not None
        ),
    )


def _day_of(path: Path) -> date | None:
    try:
        return date.fromisoformat(path.stem)
    except ValueError:
        return None


# --- the screen ---------------------------------------------------------------------------------------------------


def _show(found: Row) -> None:
    out = wide()
    _head(out, found)
    _today(out, found["today"], found["waiting_requests"])
    _held(out, found["held"])
    _coming(out, found["next"])
    journal = found["journal"]
    out.print(f"[dim]journal: {journal['events']:,} events, {journal['decisions']:,} decisions, "
              f"{journal['bytes'] / 1e6:,.1f} MB, {journal['path']}[/]")  # fmt: skip


def _head(out: Console, found: Row) -> None:
    at = f"{_weekday(found['at'])} {found['at'][11:16]} New York"
    out.print(f"[bold green]healthy[/]   {at}" if found["healthy"] else f"[bold red]needs you[/]   {at}")
    if found["problems"]:
        problems = _plain_table()
        for problem in found["problems"]:
            problems.add_row(" [red]-[/]", _plain(problem))
        out.print(problems)
    table = _plain_table()
    service, entries = found["service"], found["entries"]
    if service["running"]:
        since = "" if service["started_at"] is None else f" since {service['started_at'][:16].replace('T', ' ')}"
        beat = service["beat_age_seconds"]
        heard = "no heartbeat yet" if beat is None else f"last heartbeat {max(0.0, beat):.0f} s ago"
        table.add_row("service", f"process {service['pid']}{since}, {heard}")
    else:
        table.add_row("service", "none runs")
    off = f"[yellow]off[/]: {_plain(entries['why_not'] or '')}"
    waits = any(row["what"] in ("pause", "flatten") for row in found["waiting_requests"])
    on = "[yellow]on, until the service takes the request that waits[/]" if waits else "on"
    table.add_row("entries", on if entries["on"] else off)
    if found["configuration_edited"]:
        table.add_row("config", "edited; it takes effect at the next scan, if it has no errors")
    last = found["last_close"]
    close = f" at the close of {last}" if last else ", before the first close"
    since_start = f" ({percent(found['return'])} since the start)" if found["return"] is not None else ""
    table.add_row("account", f"[bold]{_plain(found['account'])}[/]: {found['equity']:,.2f} USD{close}{since_start}")
    table.add_row("drawdown", f"{found['drawdown']:.2%}, at worst {found['worst_drawdown']:.2%} since the last reset")
    table.add_row("trades", f"{found['trades']} closed, {money(found['pnl'])} USD; {found['positions']} open")
    orders = [f"{row['leg']} of {row['quantity'] - row['filled']:,} {row['symbol']}" for row in found["orders"]]
    table.add_row("open orders", ", ".join(orders) or "none")
    out.print(table)


def _today(out: Console, today: Row, waiting: list[Row]) -> None:
    session = today["session"]
    if session is None:
        out.print("\n[bold]Today[/]: no session yet")
    else:
        name = "Today" if today["is_today"] else "The last session"
        out.print(f"\n[bold]{name}[/], {_weekday(session)}")
    table = _plain_table()
    for row in today["stages"]:
        other = "" if row["session"] == session else f" of {row['session']}"
        style = _STYLES[row["status"]]
        when = "" if row["at"] is None else row["at"][11:16]
        table.add_row(
            f"{row['due'][11:16]}",
            f"{row['stage']}{other}",
            f"[{style}]{row['status']}[/] {when}".rstrip(),
            _about(row),
        )
    if table.row_count:
        out.print(table)
    story = _plain_table()
    for at, text in sorted(_story(today), key=lambda line: line[0]):
        story.add_row(_stamp(at, session), text)
    for row in waiting:
        story.add_row("", f"[yellow]waiting for the service[/]: {_plain(row['what'])}, asked by {_plain(row['by'])}")
    if story.row_count:
        out.print()
        out.print(story)


def _story(today: Row) -> Iterator[tuple[str, str]]:
    """When and what, in words: entries and exits, what people asked for, what they were told."""
    for row in today["entered"]:
        yield row["entered_at"], (f"entered {side(row['direction'])} {row['quantity']:,} {row['symbol']} at "
                                  f"{price(row['entry_price'])}, {row['strategy']}")  # fmt: skip
    for row in today["left"]:
        yield row["exited_at"], (f"left {row['symbol']} at {price(row['exit_price'])}: {row['exit_reason']}, "
                                 f"{money(row['pnl'])} USD")  # fmt: skip
    for row in today["unfilled"]:
        yield row["at"], f"not filled: {row['leg']} of {row['quantity']} {row['symbol']}, {row['filled']} filled"
    for row in today["requests"]:
        word = "" if row["honoured"] else "[yellow]refused[/]: "
        reason = f" ({_plain(row['reason'])})" if row["reason"] else ""
        yield row["at"], (f"{_plain(row['by'])} asked for {_plain(row['what'])}{reason}: "
                          f"{word}{_plain(row['outcome'])}")  # fmt: skip
    for row in today["alerts"]:
        if not row["subject"].startswith("request "):  # it stands above
            todo = f"; to do: {_plain(row['todo'])}" if row["todo"] else ""
            yield row["at"], (f"[{_SEVERITIES[row['severity']]}]{row['severity']}[/] {_plain(row['subject'])}: "
                              f"{_plain(row['happened'])}; {_plain(row['done'])}{todo}")  # fmt: skip


def _about(row: Row) -> str:
    parts = []
    if row["failures"]:
        parts.append(f"{row['failures']} failed {'attempt' if row['failures'] == 1 else 'attempts'}")
    if row["detail"]:
        parts.append(_plain(row["detail"]))
    if row["file"]:
        digest = (row["file_hash"] or "").removeprefix("sha256:")[:8]
        parts.append(f"[dim]{_plain(row['file'])} {digest}[/]")
    return ", ".join(parts)


def _held(out: Console, rows: list[Row]) -> None:
    if not rows:
        out.print("\n[bold]Held[/]: nothing")
        return
    out.print("\n[bold]Held[/], and where the exits are")
    table = _plain_table("symbol", "side", "shares", "entry", "price", "gain", "stop", "target", "at broker", "days",
                         "strategy")  # fmt: skip
    for row in rows:
        days = str(row["sessions_held"]) + ("" if row["max_hold_days"] is None else f"/{row['max_hold_days']}")
        table.add_row(
            row["symbol"], side(row["direction"]), f"{row['quantity']:,}", price(row["entry_price"]),
            price(row["price"]), money(row["gain"]), price(row["stop"]), price(row["target"]), _at_broker(row), days,
            row["strategy"] if row["leaving"] is None else f"[yellow]leaving: {_plain(row['leaving'])}[/]",
        )  # fmt: skip
    out.print(table)


def _at_broker(row: Row) -> str:
    """What is on order for a position: its exit, else its protective stop."""
    if row["exit_order"] is not None:
        return "exit"
    if row["protective"] is not None:
        return price(row["protective"])
    return "none" if row["protective_due"] is None else "[red]none[/]"


def _coming(out: Console, rows: list[Row]) -> None:
    if not rows:
        return
    out.print("\n[bold]Next[/]")
    table = _plain_table()
    for row in rows:
        # the scan of a session is made in its evening
        table.add_row(f"{_weekday(row['at'])} {row['at'][11:16]}", row["stage"], f"in {_span(row['in_seconds'])}")
    out.print(table)


def _plain_table(*names: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD if names else None, pad_edge=False, show_header=bool(names), show_edge=False,
                  padding=(0, 1 if names else 2, 0, 0))  # fmt: skip
    numbers = {"shares", "entry", "price", "gain", "stop", "target", "at broker", "days"}
    for name in names:
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=name != "strategy",
                         overflow="fold")  # fmt: skip
    return table


def _plain(text: str) -> str:
    """Text from elsewhere is no markup."""
    from rich.markup import escape

    return escape(text)


def _weekday(text: str) -> str:
    return f"{date.fromisoformat(text[:10]):%a %Y-%m-%d}"


def _stamp(at: str, session: str | None) -> str:
    """The time; with its day where that is not the session's."""
    return at[11:16] if at[:10] == session else at[:16].replace("T", " ")


def _span(seconds: float) -> str:
    from autotrader.service.status import span

    return span(timedelta(seconds=seconds))

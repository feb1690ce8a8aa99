"""`autotrader pause | resume | flatten | adopt-config | reconcile | notify`: what people ask of the service.

Nothing here writes the journal: a request is left in the inbox, and the service takes it, now or at its next start.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autotrader.cli.account import data_folder, open_journal, system_settings
from autotrader.cli.app import AsJson, Config, Home, app, config_folder, home_folder, print_error, sound_configuration
from autotrader.cli.tables import wide
from autotrader.errors import AutotraderError

if TYPE_CHECKING:
    from autotrader.core.book import Book
    from autotrader.journal.store import Journal
    from autotrader.service.adoption import Adoption, Levels
    from autotrader.service.inbox import Request, What

Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the request.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

_PATIENCE = 5.0  # seconds that a running service is given to take a request, before the command says so and ends


class ControlError(AutotraderError):
    """What was asked for makes no sense as things are; nothing was asked of the service."""


@app.command()
def pause(context: typer.Context, reason: Reason = "", config: Config = None, home: Home = None) -> None:
    """No entries from now on, until `autotrader resume`; exits go on.

    [bold]Example:[/bold] autotrader pause --reason "earnings week"
    """
    from autotrader.service.inbox import Pause

    _ask(context, home, config, Pause(), reason)


@app.command()
def resume(
    context: typer.Context,
    reset_drawdown: Annotated[
        bool, typer.Option("--reset-drawdown", help="The drawdown starts again from the last close.")
    ] = False,
    reason: Reason = "",
    config: Config = None,
    home: Home = None,
) -> None:
    """Entries again after a pause or a flatten; differences with the broker keep them off all the same.

    [bold]Example:[/bold] autotrader resume --reset-drawdown
    """
    from autotrader.service.inbox import Resume

    _ask(context, home, config, Resume(reset_drawdown=reset_drawdown), reason)


@app.command()
def flatten(
    context: typer.Context, yes: Yes = False, reason: Reason = "", config: Config = None, home: Home = None
) -> None:
    """Leave every position: entries off first, then exits, until the account is flat; `autotrader resume` ends it.

    [bold]Example:[/bold] autotrader flatten --yes --reason "stop everything"
    """
    from autotrader.service.inbox import Flatten

    data = data_folder(home_folder(context, home), config)
    if (data / "journal.sqlite3").exists():
        with open_journal(context, home, config, demo=False) as journal:
            held = sorted(journal.book().positions)
        shown = f"{len(held)} positions ({', '.join(held)})" if held else "nothing; entries would go off"
    else:
        shown = "nothing yet; entries would go off"
    _agree(f"This leaves {shown}. Go on?", yes)
    _ask(context, home, config, Flatten(), reason)


@app.command("adopt-config")
def adopt_config(
    context: typer.Context,
    symbols: Annotated[
        list[str] | None, typer.Argument(metavar="[SYMBOL ...]", help="The positions; default: all.")
    ] = None,
    yes: Yes = False,
    reason: Reason = "",
    config: Config = None,
    home: Home = None,
) -> None:
    """Have open positions judged by the configuration as it is now; shows first what changes for each.

    A position otherwise keeps the configuration that it was opened under.

    [bold]Example:[/bold] autotrader adopt-config AAPL
    """
    from autotrader.service.inbox import AdoptConfig

    folder = home_folder(context, home)
    configuration = sound_configuration(config_folder(folder, config))
    config_hash = configuration.settings.config_hash
    with open_journal(context, home, config, demo=False) as journal:
        book = journal.book()
        wanted = sorted(book.positions) if not symbols else sorted({symbol.upper() for symbol in symbols})
        absent = [symbol for symbol in wanted if symbol not in book.positions]
        if absent:
            raise ControlError(
                f"{', '.join(absent)}: not held; held is {', '.join(sorted(book.positions)) or 'nothing'}"
            )
        changing = [symbol for symbol in wanted if book.positions[symbol].plan.config_hash != config_hash]
        found = _adoptions(journal, book, changing, configuration.rulebook)
    out = wide()
    if not changing:
        out.print(
            "nothing changes: every position is judged by this configuration already" if wanted else "nothing is held"
        )
        return
    for each in found:
        _show_adoption(each)
    problems = [each for each in found if each.problem]
    if problems:
        raise ControlError(f"{problems[0].symbol} cannot adopt it: {problems[0].problem}")
    _agree(f"{', '.join(changing)}: judge by the configuration of now from here on?", yes)
    _ask(context, home, config, AdoptConfig(config_hash=config_hash, symbols=tuple(changing)), reason)


@app.command()
def reconcile(
    context: typer.Context,
    accept: Annotated[
        str | None,
        typer.Option("--accept", metavar="SYMBOL", help="The broker's position is right: the missing shares are gone."),
    ] = None,
    price: Annotated[
        float | None, typer.Option("--price", min=0.0001, help="What the missing shares count as left for, USD.")
    ] = None,
    let_stand: Annotated[
        str | None,
        typer.Option(
            "--let-stand", metavar="SUBJECT", help="The difference is known and no reason to keep entries off."
        ),
    ] = None,
    reason: Reason = "",
    as_json: AsJson = False,
    config: Config = None,
    home: Home = None,
) -> None:
    """Where journal and broker disagree, which keeps entries off; and a person's word about it.

    [bold]Examples:[/bold] autotrader reconcile   |   autotrader reconcile --accept AAPL --price 187.20
    """
    from autotrader.service.inbox import Accept, LetStand

    if accept is not None and let_stand is not None:
        raise typer.BadParameter("either --accept or --let-stand", param_hint="--accept")
    if (accept is None) is not (price is None):
        raise typer.BadParameter("--accept SYMBOL and --price P go together", param_hint="--price")
    with open_journal(context, home, config, demo=False) as journal:
        differences = journal.book().differences
    found = [each for _, each in sorted(differences.items())]
    if accept is not None and price is not None:
        difference = differences.get(("position", accept.upper()))
        if difference is None:
            raise ControlError(f"there is no difference about the position {accept.upper()}; {_named(differences)}")
        what: What = Accept(subject=accept.upper(), found=difference.found, price=price)
        _ask(context, home, config, what, reason)
    elif let_stand is not None:
        same = [each for each in found if let_stand in (each.subject, each.subject.lower())]
        if not same:
            raise ControlError(f"there is no difference about {let_stand}; {_named(differences)}")
        for each in same:
            _ask(context, home, config, LetStand(of=each.kind, subject=each.subject, found=each.found), reason)
    elif as_json:
        from autotrader.journal.codec import stamp

        rows = [{"kind": each.kind, "subject": each.subject, "expected": each.expected, "found": each.found,
                 "since": stamp(each.at)} for each in found]  # fmt: skip
        typer.echo(json.dumps(rows, indent=1))
    elif not found:
        wide().print("journal and broker agree, as far as the service has compared them")
    else:
        out = wide()
        for each in found:
            out.print(f"{each.kind} {each.subject}: the journal says {each.expected}, the broker {each.found} "
                      f"(since {each.at:%Y-%m-%d %H:%M})", markup=False)  # fmt: skip
        out.print("Entries are off until each is explained by itself, accepted (--accept SYMBOL --price P), or let "
                  "stand (--let-stand SUBJECT).", markup=False)  # fmt: skip


@app.command()
def notify(
    context: typer.Context,
    test: Annotated[bool, typer.Option("--test", help="Send a test alert to each address, now.")] = False,
    config: Config = None,
    home: Home = None,
) -> None:
    """Where alerts go; with --test, whether they arrive.

    [bold]Example:[/bold] autotrader notify --test
    """
    from autotrader.secrets import Secrets
    from autotrader.service.alerts import Message, addresses

    folder = home_folder(context, home)
    settings = system_settings(folder, config).alerts
    urls = Secrets(folder).value(settings.urls_env)
    if not urls:
        raise ControlError(
            f"no address is configured: alerts are journaled, logged and shown by `autotrader status`, and sent to "
            f"nobody. Set {settings.urls_env} in {folder / 'config' / '.env'} or in the environment, to one or more "
            'apprise URLs separated by blanks, such as "mailto://user:password@example.com tgram://token/chat"'
        )
    found = addresses(urls, settings.timeout_seconds)
    out = wide()
    if not test:
        out.print(f"alerts of severity {settings.least} and above go to {', '.join(each.name for each in found)}")
        return
    body = "Happened: somebody ran `autotrader notify --test`\nDone: this was sent\nTo do: nothing"
    message = Message("info", "autotrader: test", body)
    failed = []
    for each in found:
        arrived = each.deliver(message)
        out.print(f"{each.name}: {'taken' if arrived else 'NOT taken'}")
        failed += [] if arrived else [each.name]
    if failed:
        raise ControlError(f"{', '.join(failed)} did not take it: check the address and the network")


# --- asking -------------------------------------------------------------------------------------------------------


def _ask(context: typer.Context, home: Path | None, config: Path | None, what: What, reason: str) -> None:
    """Leaves the request, and says what becomes of it."""
    from autotrader.clock import SystemClock
    from autotrader.service.inbox import Inbox, new_request
    from autotrader.service.presence import running

    folder = home_folder(context, home)
    data = data_folder(folder, config)
    inbox = Inbox(data)
    request = new_request(what, SystemClock().now(), reason)
    try:
        path = inbox.put(request)
    except OSError as error:
        raise ControlError(f"{inbox.folder} cannot be written: {error.strerror}; nothing was asked") from error
    found = running(data)
    if found is None:
        print_error(
            f"asked: {what}. No service runs in {folder.resolve()}: it is honoured as soon as one starts. "
            f"Until then {path} may be removed to take it back."
        )
        return
    print_error(f"asked: {what}. A service runs (process {found.pid}) and reads its inbox on every tick ...")
    end = time.monotonic() + _PATIENCE
    while path.exists() and time.monotonic() < end:
        time.sleep(0.05)
    if path.exists():
        print_error("it has not been taken yet; it stays there until it is. `autotrader status` shows it.")
        return
    outcome = _outcome(data / "journal.sqlite3", request)
    if outcome is None:
        return
    honoured, said = outcome
    if not honoured:
        raise ControlError(f"the service refused it: {said}")
    print_error(f"done: {said}")


def _outcome(path: Path, request: Request) -> tuple[bool, str] | None:
    """What the service recorded about a request that it took."""
    from autotrader.core.events import Asked
    from autotrader.journal.store import Journal

    with Journal.read(path) as journal:
        for event in journal.recent_events(1, [Asked]):
            if isinstance(event, Asked) and event.request == request.id:
                return event.honoured, event.outcome
    return None


def _agree(question: str, yes: bool) -> None:
    """Asks, unless that was answered already; ends the command with 1 where the answer is no."""
    try:
        agreed = yes or typer.confirm(question, err=True)
    except typer.Abort:
        print_error("\nnobody answered; without a terminal, give --yes")
        agreed = False
    if not agreed:
        print_error("nothing was asked of the service")
        raise typer.Exit(1)


def _named(differences: Any) -> str:
    subjects = ", ".join(f"{subject} ({kind})" for kind, subject in sorted(differences))
    return f"there are: {subjects}" if subjects else "there are none"


# --- adopt-config -------------------------------------------------------------------------------------------------


def _adoptions(journal: Journal, book: Book, symbols: list[str], after: Any) -> list[Adoption]:
    from autotrader.core.rulebook import build_rulebook
    from autotrader.service.adoption import adoption

    hashes = {book.positions[symbol].plan.config_hash for symbol in symbols}
    before = {name: build_rulebook(journal.config(name).params) for name in sorted(hashes)}
    return [adoption(book.positions[symbol], before[book.positions[symbol].plan.config_hash], after)
            for symbol in symbols]  # fmt: skip


def _show_adoption(each: Adoption) -> None:
    out = wide()
    out.print(f"[bold]{each.symbol}[/]")
    if each.after is None:
        out.print(f"  {each.problem}", markup=False)
        return
    for name, before, after in _levels(each.before, each.after):
        out.print(f"  {name}: {before}" if before == after else f"  {name}: {before} -> {after}", markup=False)
    for change in each.changes:
        if change.before is None:
            out.print(f"  + {change.what}: {change.after}", markup=False)
        elif change.after is None:
            out.print(f"  - {change.what}: {change.before}", markup=False)
        else:
            out.print(f"  ~ {change.what}: {change.before}  ->  {change.after}", markup=False)
    if not each.changes:
        out.print(
            "  no exit rule, value or indicator changes; what does is elsewhere in the configuration, or a version"
        )


def _levels(before: Levels, after: Levels) -> list[tuple[str, str, str]]:
    def shown(value: float | None) -> str:
        return "none" if value is None else f"{value:,.2f}" if isinstance(value, float) else str(value)

    names = {"stop_distance": "stop distance", "stop": "stop", "target": "target", "protective": "stop at the broker",
             "max_hold_days": "most days held"}  # fmt: skip
    return [(name, shown(getattr(before, key)), shown(getattr(after, key))) for key, name in names.items()]

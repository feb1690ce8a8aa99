"""`autotrader explain SYMBOL`: every decision about a symbol, with the numbers, as it was recorded."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from autotrader.cli.account import OfDemo, system_settings
from autotrader.cli.app import AsJson, Config, Home, app, console, home_folder
from autotrader.cli.scan import Universe

if TYPE_CHECKING:
    from rich.console import Console

    from autotrader.service.explain import Chapter, Explanation, Judgement, Rule, Signal


@app.command()
def explain(
    context: typer.Context,
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="E.g. AAPL, or BRK.B.")],
    day: Annotated[
        datetime | None,
        typer.Option("--date", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD",
                     help="The scanned or the trading session; default: the latest with anything about the symbol."),
    ] = None,
    as_json: AsJson = False,
    demo: OfDemo = False,
    universe: Universe = None,
    config: Config = None,
    home: Home = None,
) -> None:  # fmt: skip
    """Tell what every stage decided about a symbol, rule by rule, and how far each rule was from deciding.

    [bold]Examples:[/bold] autotrader explain AAPL   |   autotrader explain AAPL --date 2020-02-03 --json
    """
    from autotrader.journal.store import Journal
    from autotrader.market.universe import load_universe
    from autotrader.service.explain import explain as explained
    from autotrader.settings import inside

    folder = home_folder(context, home)
    system = system_settings(folder, config)
    state = folder / "data" / "demo" if demo else folder / system.paths.data
    members = load_universe(universe or inside(folder, system.universe))
    path = state / "journal.sqlite3"
    journal = Journal.read(path) if path.exists() else None
    try:
        session = None if day is None else day.date()
        found = explained(state / "batch_results", symbol.upper(), members, journal, session)
    finally:
        if journal is not None:
            journal.close()
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=1))
    else:
        _tell(console(), found)


def _tell(out: Console, found: Explanation) -> None:
    known = "   ".join(text for text in (found.name, found.sector) if text)
    out.print(f"[bold]{found.symbol}[/bold]   {known}".rstrip())
    if found.why_not:
        out.print(f"{found.why_not[0].upper()}{found.why_not[1:]}.")
    for chapter in found.chapters:
        _chapter(out, chapter)


def _chapter(out: Console, chapter: Chapter) -> None:
    when = "traded" if chapter.gap or chapter.judgements or chapter.happened else "for"
    out.print(f"\n[bold]Scanned {chapter.scan_date:%a %Y-%m-%d}, {when} {chapter.trading_date:%a %Y-%m-%d}[/bold]")
    if chapter.scanned:
        facts = chapter.scanned
        out.print(f"regime {chapter.regime} (from {facts['regime_proxy']}), {facts['symbols_scanned']} symbols, "
                  f"{facts['signals']} signals, {facts['candidates']} candidates")  # fmt: skip
    for signal in chapter.signals:
        _signal(out, signal)
    if chapter.gap is not None and chapter.gap["status"] == "unfiltered":
        out.print(
            "\n[bold]gap filter[/bold]  no symbol had a price: skipped, the candidate stays in, marked unfiltered"
        )
    if chapter.held_since is not None:
        out.print(f"\nheld since {chapter.held_since}: `--date {chapter.held_since}` tells how it was entered")
    _day(out, chapter)
    for note in chapter.notes:
        out.print(f"note: {note}", style="dim")


def _signal(out: Console, signal: Signal) -> None:
    where = f", rank {signal.rank}, group {signal.entry_group}" if signal.rank else ""
    score = "unknown" if signal.score is None else f"{signal.score:.3f}"
    out.print(f"\n[bold]scan[/bold]  {_side(signal.direction)} signal of {signal.strategy}, strength "
              f"{signal.strength:.3f}, score {score}: [bold]{_words(signal.outcome)}[/bold]{where}")  # fmt: skip
    for judgement in signal.judgements:
        _judgement(out, judgement)


def _day(out: Console, chapter: Chapter) -> None:
    """Decisions and what came of them, in the order of time."""
    story: list[tuple[datetime, int, object]] = [(item.at, 1, item) for item in chapter.happened]
    story += [(item.at, 0, item) for item in chapter.judgements if item.at is not None]
    before: Judgement | None = None
    from autotrader.service.explain import Happening, Judgement

    for at, _, item in sorted(story, key=lambda entry: (entry[0], entry[1])):
        if isinstance(item, Happening):
            out.print(f"[bold]{at:%H:%M}[/bold]  [cyan]{item.what}[/cyan]")
        elif isinstance(item, Judgement):
            if item.stage == "exit":
                _exit(out, item, before)
                before = item
            else:
                _judgement(out, item)


def _judgement(out: Console, item: Judgement) -> None:
    at = "" if item.at is None else f"[bold]{item.at:%H:%M}[/bold]  "
    price = "" if item.price is None else f" at {item.price:.2f}"
    value = "" if item.value is None else f" {item.value:.3f}" if item.stage == "score" else f" {item.value:.1f} shares"
    reasons = f" ({', '.join(item.matched)})" if item.matched and item.rule else ""
    out.print(f"{at}[bold]{_words(item.stage)}[/bold]{price}: {_outcome(item.outcome)}{value}{reasons}")
    for rule in item.rules:
        _rule(out, rule, item)


def _exit(out: Console, item: Judgement, before: Judgement | None) -> None:
    """An exit judgement: whole where it decides, is the first or the last; else what has changed since."""
    assert item.at is not None
    head = f"[bold]{item.at:%H:%M}[/bold]  [bold]exit rules[/bold] at {item.price:.2f}: {_outcome(item.outcome)}"
    head += f" ({item.rule})" if item.rule else ""
    if item.bars is not None:
        near = f"; nearest to an exit: {item.closest}" if item.closest and item.outcome != "exit" else ""
        out.print(f"{head} at the last of {item.bars} bars{near}")
    elif before is None or item.outcome == "exit":
        out.print(head)
    else:
        was = {rule.name: rule.verdict for rule in before.rules}
        changed = [f"{rule.name} {_verdict(rule.verdict)}" for rule in item.rules if was.get(rule.name) != rule.verdict]
        out.print(f"{head}: {', '.join(changed) or 'as before'}")
        return
    for rule in item.rules:
        _rule(out, rule, item)


def _rule(out: Console, rule: Rule, item: Judgement) -> None:
    decided = rule.name in item.matched
    mark = "[bold yellow]>[/bold yellow]" if decided else " "
    if rule.verdict is None:
        result = (
            "unknown"
            if rule.result is None
            else f"{rule.result:.3f}"
            if item.stage == "score"
            else f"{rule.result:,.1f}"
        )
        weight = "" if rule.weight is None else f" x {rule.weight:g}"
        facts = ", ".join(f"{name} {_value(value)}" for name, value in rule.facts.items())
        out.print(f"   {mark} {rule.name}: {result}{weight} = {rule.text}  [dim]{facts}[/dim]")
    else:
        shown = rule.nearest if rule.nearest and rule.verdict == "no_match" else rule.margins
        how = "; ".join(str(part) for part in shown) or rule.text
        streak = "" if rule.streak is None else f", {rule.streak} {'bar' if rule.streak == 1 else 'bars'} in a row"
        closest = " [dim](nearest of the session)[/dim]" if shown is rule.nearest and rule.nearest else ""
        out.print(f"   {mark} {rule.name}: {_verdict(rule.verdict)}{streak}  [dim]{how}[/dim]{closest}")
    if rule.because and decided:
        out.print(f"       [italic]{rule.because}[/italic]")


def _verdict(verdict: str | None) -> str:
    return {"match": "[yellow]yes[/yellow]", "no_match": "no", "unknown": "[red]unknown[/red]"}.get(verdict or "", "")


def _outcome(outcome: str) -> str:
    good = {"pass", "allow", "enter", "eligible", "scored", "sized", "hold"}
    return f"[green]{_words(outcome)}[/green]" if outcome in good else f"[yellow]{_words(outcome)}[/yellow]"


def _side(direction: str) -> str:
    return f"[{'green' if direction == 'long' else 'red'}]{direction}[/]"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _value(value: object) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return str(value)

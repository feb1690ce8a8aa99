"""`autotrader validate | facts | schema | plugins`: the configuration's language and its checker."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from autotrader.cli.app import AsJson, Config, Home, app, config_folder, console, home_folder, print_error


class Format(StrEnum):
    """How findings are printed."""

    text = "text"
    json = "json"
    github = "github"
    sarif = "sarif"


@app.command()
def validate(
    context: typer.Context,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE ...]", help="The files to check; default: the whole folder.")
    ] = None,
    config: Config = None,
    style: Annotated[Format, typer.Option("--format", help="How findings are printed.")] = Format.text,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    home: Home = None,
) -> None:
    """Check the configuration: every problem at once, with file, line, column and a way out.

    Exit code 0: clean, 1: problems, 2: unreadable.

    [bold]Examples:[/bold] autotrader validate   |   autotrader validate config/strategy_params.yaml --format json
    """
    from functools import partial

    from autotrader.rules import problems as rendering
    from autotrader.validation.codes import CODES
    from autotrader.validation.load import load_configuration, load_files

    if files:
        loaded = load_files(files)
    else:
        loaded = load_configuration(config_folder(home_folder(context, home), config))
    renderers: dict[Format, Callable[..., str]] = {
        Format.text: rendering.render_text,
        Format.json: rendering.render_json,
        Format.github: rendering.render_github,
        Format.sarif: partial(rendering.render_sarif, codes=CODES),
    }
    if loaded.problems or style in {Format.json, Format.sarif}:
        typer.echo(_printable(renderers[style](loaded.problems, loaded.sources)))
    errors = sum(problem.severity == "error" for problem in loaded.problems)
    warnings = len(loaded.problems) - errors
    print_error(_printable(f"{', '.join(loaded.sources)}: {_count(errors, 'error')}, {_count(warnings, 'warning')}"))
    raise typer.Exit(loaded.exit_code(strict=strict))


@app.command()
def facts(
    context: typer.Context,
    stage: Annotated[str | None, typer.Argument(help="One stage only.", show_default=False)] = None,
    config: Config = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """What a rule may speak of at each stage: the facts with their kinds, units and meaning.

    [bold]Example:[/bold] autotrader facts exit
    """
    import json
    from dataclasses import asdict

    from rich import box
    from rich.table import Table

    from autotrader.cli.app import sound_configuration
    from autotrader.rules.problems import suggest
    from autotrader.vocabulary import INDICATOR_KINDS

    rulebook = sound_configuration(config_folder(home_folder(context, home), config)).rulebook
    stages = rulebook.stages
    if stage is not None and stage not in stages:
        near = suggest(stage, stages)
        hint = f'did you mean "{near}"? ' if near else ""
        raise typer.BadParameter(f'no stage "{stage}"; {hint}stages: {", ".join(stages)}', param_hint="STAGE")
    shown = [stages[stage]] if stage else list(stages.values())
    if as_json:
        found = {item.name: [asdict(fact) for fact in item.facts.values()] for item in shown}
        typer.echo(json.dumps(found, indent=1))
        return
    out = console()
    if stage is None:
        table = Table(
            box=box.SIMPLE_HEAD, pad_edge=False, title="Stages, in the order of the day", title_justify="left"
        )
        for name in ("stage", "policy", "outcomes", "what it decides"):
            table.add_column(name, no_wrap=name != "what it decides")
        for item in shown:
            table.add_row(item.name, item.policy, ", ".join((*item.outcomes, item.default)), item.doc)
        out.print(table)
        kinds = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Indicator kinds", title_justify="left")
        for name in ("kind", "parameters", "what it is"):
            kinds.add_column(name, no_wrap=name == "kind")
        for kind in INDICATOR_KINDS.values():
            given = ", ".join(key if value is None else f"{key}={value:g}" if isinstance(value, float | int)
                              else f"{key}={value}" for key, value in kind.parameters.items())  # fmt: skip
            kinds.add_row(kind.name, given, kind.doc)
        out.print(kinds)
        out.print("autotrader facts STAGE lists the facts of a stage.")
        return
    item = shown[0]
    out.print(f"[bold]{item.name}[/bold]: {item.doc} Policy {item.policy}; without a decision: {item.default}.")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("fact", "kind", "unit", "meaning"):
        table.add_column(name, no_wrap=name != "meaning")
    for fact in item.facts.values():
        doc = fact.doc + (f" One of {', '.join(fact.values)}." if fact.values else "")
        table.add_row(fact.name, fact.kind, fact.unit or "", doc + (" May be unknown." if fact.nullable else ""))
    out.print(table)


@app.command()
def schema(
    context: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 1 if a schema file is missing or out of date.")
    ] = False,
    config: Config = None,
    home: Home = None,
) -> None:
    """Write the JSON Schemas of the configuration and of the result files to config/schemas/.

    Editors complete and check the YAML by them. [bold]Example:[/bold] autotrader schema --check
    """
    folder = config_folder(home_folder(context, home), config) / "schemas"
    texts = schema_texts()
    stale = [
        name for name, text in texts.items()
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != text
    ]  # fmt: skip
    if check:
        for name in stale:
            print_error(f"{folder / name} is missing or out of date; run autotrader schema")
        raise typer.Exit(1 if stale else 0)
    folder.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (folder / name).write_text(texts[name], encoding="utf-8")
        typer.echo(f"wrote {folder / name}")
    if not stale:
        typer.echo(f"{folder} is up to date")


def schema_texts() -> dict[str, str]:
    """file name -> text of every schema: of the configuration with all plugins' parameters, rule cases, results."""
    from autotrader.batch.files import RECORDS
    from autotrader.plugins import registry
    from autotrader.validation.cases import SCHEMA as CASES
    from autotrader.validation.cases import cases_schema
    from autotrader.validation.json_schema import generate_schemas, schema_text

    signals = {name: registry.load_strategy(name).Params.model_json_schema() for name in registry.strategies()}
    schemas = generate_schemas(signals)
    schemas[CASES] = cases_schema()
    schemas |= {f"{name}.schema.json": record.model_json_schema() for name, record in RECORDS.items()}
    return {name: schema_text(item) for name, item in schemas.items()}


@app.command()
def plugins(as_json: AsJson = False) -> None:
    """The strategies, brokers and feeds that are installed, and where each comes from.

    [bold]Example:[/bold] autotrader plugins
    """
    import json

    from rich import box
    from rich.table import Table

    from autotrader.plugins import registry

    rows = []
    for kind, found, load in (
        ("strategy", registry.strategies(), registry.load_strategy),
        ("broker", registry.brokers(), registry.load_broker),
        ("feed", registry.feeds(), registry.load_feed),
    ):
        for name, point in found.items():
            try:
                load(name)
                problem = None
            except registry.PluginError as error:
                problem = str(error)
            rows.append(
                {"kind": kind, "name": name, "from": registry.origin(point), "object": point.value, "problem": problem}
            )
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("kind", "name", "from", "problem"):
        table.add_column(name)
    for row in rows:
        table.add_row(row["kind"], row["name"], row["from"], row["problem"] or "")
    console().print(table)


def _printable(text: str) -> str:
    """What the output cannot show is escaped: a terminal without UTF-8 is no reason to fail."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

"""`autotrader test`: the rule cases, judged by the configuration, and which rules they were seen to try."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autotrader.cli.app import (
    AsJson,
    Config,
    Home,
    app,
    config_folder,
    console,
    home_folder,
    print_error,
    sound_configuration,
)

if TYPE_CHECKING:
    from autotrader.rules.decision import Evidence
    from autotrader.rules.facts import Scalar
    from autotrader.rules.ruleset import Rule
    from autotrader.validation.trial import Coverage, Result, RuleCoverage, Sheet

_VERDICTS = {"match": "match", "no_match": "no match", "unknown": "unknown"}


@app.command("test")
def run_cases(
    context: typer.Context,
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PATH]", help="A file of cases or a folder of them; default: cases/ of the configuration."
        ),
    ] = None,
    config: Config = None,
    fail_under: Annotated[
        float,
        typer.Option(
            "--fail-under",
            metavar="PERCENT",
            min=0,
            max=100,
            help="Exit 1 if fewer of the rules were seen both matching and not matching.",
        ),
    ] = 0.0,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Judge the rule cases: what each decision must be, given these facts; with the coverage of all rules.

    Exit code 0: all passed, 1: a case failed, a mistake in a file, or coverage below --fail-under, 2: unreadable.

    [bold]Examples:[/bold] autotrader test   |   autotrader test config/cases/exit.yaml --fail-under 100
    """
    import json

    from autotrader.rules.problems import render_json, render_text
    from autotrader.validation.cases import load_cases
    from autotrader.validation.trial import Trial, coverage

    folder = config_folder(home_folder(context, home), config)
    rulebook = sound_configuration(folder).rulebook
    files = _files(path, folder)
    loaded = load_cases(files, rulebook)
    if loaded.problems:
        if as_json:
            typer.echo(render_json(loaded.problems, loaded.sources))
        else:
            typer.echo(render_text(loaded.problems, loaded.sources))
        raise typer.Exit(loaded.exit_code())
    trial = Trial(rulebook)
    results = {file: [trial.judge(case) for case in cases] for file, cases in loaded.files.items()}
    every = [result for found in results.values() for result in found]
    seen = coverage(every, rulebook)
    if as_json:
        typer.echo(json.dumps(_as_json(results, seen), indent=1))
    else:
        _show(results, seen)
    low = seen.percent < fail_under
    if low:
        print_error(f"coverage {seen.percent:.1f}% is below {fail_under:g}%")
    raise typer.Exit(1 if low or not all(result.passed for result in every) else 0)


def _files(path: Path | None, config: Path) -> list[Path]:
    """The files to read. One that is named is read whatever it is called; unreadable ones are told of when read."""
    from autotrader.validation.cases import CASES_FOLDER

    folder = path or config / CASES_FOLDER
    if not folder.is_dir() and path is not None:
        return [path]
    found = sorted(file for pattern in ("*.yaml", "*.yml") for file in folder.glob(pattern))
    if not found:
        print_error(f"no cases: {folder} has no *.yaml" if folder.is_dir() else f"no cases: no folder {folder}")
        raise typer.Exit(1)
    return found


# --- text ---------------------------------------------------------------------------------------------------------


def _show(results: Mapping[str, Sequence[Result]], seen: Coverage) -> None:
    width = max(map(len, results))
    for file, found in results.items():
        failed = sum(not result.passed for result in found)
        bad = f", {failed} failed" if failed else ""
        typer.echo(f"{file:{width}}  {len(found) - failed:>3} passed{bad}")
    failures = [result for found in results.values() for result in found if not result.passed]
    for result in failures:
        typer.echo("")
        for line in _failure(result):
            typer.echo(line)
    _show_coverage(seen)
    total = sum(map(len, results.values()))
    typer.echo(f"{total - len(failures)} passed, {len(failures)} failed; {_percent(seen)} of the rules seen both ways")


def _failure(result: Result) -> Iterator[str]:
    """What a failed case says: where it stands, expected and got, and every rule with what it read."""
    case = result.case
    yield f"FAILED {case.file}:{case.line}: {case.name}"
    yield f"  expected  {_expected(result)}"
    yield f"  got       {_got(result)}"
    for sheet in result.sheets:
        if len(result.sheets) > 1:
            yield f"  {sheet.key}:"
        rows = [_row(sheet, item) for item in sheet.evidence]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
        for rule, gave, why in rows:
            yield f"    {rule:{widths[0]}}  {gave:{widths[1]}}  {why}".rstrip()
    missing = [f"{name} (for {', '.join(rules)})" for name, rules in result.not_given.items()]
    if missing:
        yield f"  not given: {', '.join(missing)}"


def _expected(result: Result) -> str:
    case = result.case
    value, quantity = case.value, case.quantity
    near = "about " if case.tolerance > 2e-9 * max(1.0, abs(value or 0.0)) else ""
    shown = None if value is None else near + _number(value)
    at = f"on bar {len(case.bars)}" if len(case.bars) > 1 else ""
    rules = () if case.rule is None else (case.rule,)
    return _sentence(case.outcome, rules, shown, quantity, at)


def _got(result: Result) -> str:
    count = len(result.case.bars)
    at = f"on bar {result.bar} of {count}" if count > 1 else ""
    shown = None if result.value is None else _number(result.value)
    rules = result.rules
    if not rules and result.sheets[0].rules.stage.policy in ("first", "veto"):
        rules = ("no rule",)
    return _sentence(result.outcome, rules, shown, result.quantity, at)


def _sentence(outcome: str | None, rules: Sequence[str], value: str | None, quantity: int | None, at: str) -> str:
    named = ", ".join("no rule" if rule == "none" else rule for rule in rules)
    parts = [
        " ".join(part for part in (outcome, f"by {named}" if named else "") if part),
        "" if value is None else f"value {value}",
        "" if quantity is None else f"quantity {quantity}",
        at,
    ]
    return ", ".join(part for part in parts if part)


def _row(sheet: Sheet, item: Evidence) -> tuple[str, str, str]:
    """A rule's name, the one that decided marked; what it gave; and the values that made it so."""
    mark = "> " if item.rule in sheet.decided else "  "
    if item.verdict is None:
        gave = "unknown" if item.value is None else _number(item.value)
        return mark + item.rule, gave, f"{item.text}: {_facts(item.facts)}" if item.facts else item.text
    gave = _VERDICTS[item.verdict]
    rule = _rule(sheet, item.rule)
    if item.streak:
        gave += f", bar {item.streak} of {rule.for_bars}"
    return mark + item.rule, gave, _why(sheet, rule, item)


def _rule(sheet: Sheet, name: str) -> Rule:
    from autotrader.rules.ruleset import RuleSet

    assert isinstance(sheet.rules, RuleSet)
    return next(rule for rule in sheet.rules.rules if rule.name == name)


def _why(sheet: Sheet, rule: Rule, item: Evidence) -> str:
    """Each comparison of a condition with its values and how far it was from turning out otherwise."""
    from autotrader.rules.margins import margins

    found = margins(rule.when, sheet.facts, sheet.rules.constants)
    if not found:
        return item.text
    sides = {side for margin in found for side in (margin.left_text, margin.right_text)}
    inside = {name: value for name, value in item.facts.items() if name not in sides}
    why = "; ".join(map(str, found)) + (f" ({_facts(inside)})" if inside else "")
    return why if len(found) == 1 else f"{item.text}: {why}"


def _facts(facts: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{name} {_shown(name, value)}" for name, value in facts.items())


def _shown(name: str, value: Scalar) -> str:
    """A value as one writes it: shares of something, which are called pct, as percents."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return f"{value * 100:.10g}%" if name.endswith("_pct") else _number(value)


def _number(value: float) -> str:
    return f"{value:.10g}"


def _show_coverage(seen: Coverage) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Coverage", title_justify="left")
    for name in ("rules", "rule"):
        table.add_column(name, no_wrap=True)
    for name in ("matched", "not matched", "unknown"):
        table.add_column(name, justify="right")
    before = ""
    for rule in seen.rules:
        unmatched = "-" if rule.one_sided else str(rule.not_matched)
        key = rule.key if rule.key != before else ""
        table.add_row(key, rule.rule, str(rule.matched), unmatched, str(rule.unknown))
        before = rule.key
    typer.echo("")
    console().print(table)
    for label, rules in (("never matching", seen.never_matched), ("never not matching", seen.always_matched)):
        if rules:
            typer.echo(f"{label}: {', '.join(map(_place, rules))}")


def _place(rule: RuleCoverage) -> str:
    return f"{rule.key}/{rule.rule}"


def _percent(seen: Coverage) -> str:
    covered = sum(rule.covered for rule in seen.rules)
    return f"{covered} of {len(seen.rules)} ({seen.percent:.1f}%)"


# --- JSON ---------------------------------------------------------------------------------------------------------


def _as_json(results: Mapping[str, Sequence[Result]], seen: Coverage) -> dict[str, Any]:
    every = [result for found in results.values() for result in found]
    failed = [result for result in every if not result.passed]
    return {
        "passed": len(every) - len(failed),
        "failed": len(failed),
        "files": [
            {"file": file, "passed": sum(r.passed for r in found), "failed": sum(not r.passed for r in found)}
            for file, found in results.items()
        ],
        "failures": [_failure_json(result) for result in failed],
        "coverage": {
            "percent": seen.percent,
            "rules": [
                {"set": rule.key, "rule": rule.rule, "matched": rule.matched, "not_matched": rule.not_matched,
                 "unknown": rule.unknown, "covered": rule.covered}
                for rule in seen.rules
            ],
            "never_matched": [_place(rule) for rule in seen.never_matched],
            "never_not_matched": [_place(rule) for rule in seen.always_matched],
        },
    }  # fmt: skip


def _failure_json(result: Result) -> dict[str, Any]:
    case = result.case
    return {
        "name": case.name, "file": case.file, "line": case.line, "stage": case.stage, "strategy": case.strategy,
        "expected": {"outcome": case.outcome, "rule": case.rule, "value": case.value, "quantity": case.quantity,
                     "bar": len(case.bars)},
        "got": {"outcome": result.outcome, "rules": list(result.rules), "value": result.value,
                "quantity": result.quantity, "bar": result.bar},
        "rules": [{"set": sheet.key, **item.as_json()} for sheet in result.sheets for item in sheet.evidence],
        "not_given": {name: list(rules) for name, rules in result.not_given.items()},
    }  # fmt: skip

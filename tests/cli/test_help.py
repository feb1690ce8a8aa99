"""Every command says how it is used, and starts without what it does not need."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, Run

AUTOTRADER = Path(sys.executable).with_name("autotrader")
HEAVY = ("numpy", "pandas", "pyarrow", "talib", "exchange_calendars")


def commands() -> list[str]:
    from autotrader.cli.app import app

    names = [each.name or each.callback.__name__ for each in app.registered_commands if each.callback]
    return [name.replace("_", "-") for name in names]


@pytest.mark.parametrize("name", commands())
def test_every_command_has_help_with_an_example(run: Run, name: str) -> None:
    ran = run(name, "--help")
    assert ran.code == 0
    assert re.search(r"Examples?:", ran.out), ran.out
    assert f"autotrader {name}" in ran.out


def test_help_names_every_command(run: Run) -> None:
    ran = run("--help")
    assert ran.code == 0
    assert all(name in ran.out for name in commands())


def test_without_a_command_help_is_shown(run: Run) -> None:
    assert "Usage" in (ran := run()).out + ran.err


def test_an_unknown_command_or_option_is_a_matter_of_usage(run: Run) -> None:
    assert run("scam").code == 2
    assert run("scan", "--dat", "x").code == 2


def test_the_installed_command_runs() -> None:
    ran = subprocess.run([AUTOTRADER, "--help"], capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0
    assert "autotrader" in ran.stdout
    assert ran.stderr == ""


@pytest.mark.parametrize("arguments", [["--help"], ["scan", "--help"], ["validate"], ["plugins", "--help"]])
def test_light_commands_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\nfrom autotrader.cli import main\n"
        f"sys.argv = ['autotrader', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60
    )
    assert ran.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/architecture.md",
        "docs/operations.md",
        "docs/trading-day.md",
    ],
)
def test_the_documents_name_commands_and_files_that_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:\$ |`)autotrader ([a-z-]+)", text))
    assert named <= set(commands())
    targets = set(re.findall(r"(?<=^make )[a-z]+", text, re.MULTILINE)) | set(re.findall(r"`make ([a-z]+)`", text))
    made = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{target}:", made, re.MULTILINE) for target in targets)
    links = re.findall(r"\]\(((?!http|#)[^)]+)\)", text)
    files = re.findall(r"`((?:autotrader|tests|config|docs|benchmarks)/[\w./]+)`", text)
    assert [path for path in (*links, *files) if not (ROOT / name).parent.joinpath(path).exists()
            and not (ROOT / path).exists()] == []  # fmt: skip


@pytest.mark.parametrize("name", commands())
@pytest.mark.parametrize("before", [[], ["--home", "somewhere"]])
def test_only_the_command_that_is_asked_for_is_made_ready(name: str, before: list[str]) -> None:
    from autotrader.cli import asked_for
    from autotrader.cli.app import app

    (found,) = asked_for(app, [*before, name, "--help"]).registered_commands
    assert found in app.registered_commands
    assert found.name in {name, None}


@pytest.mark.parametrize("arguments", [[], ["--help"], ["valdate"], ["--home", "validate"], ["--home"]])
def test_where_no_command_can_be_told_all_are_there(arguments: list[str]) -> None:
    from autotrader.cli import asked_for
    from autotrader.cli.app import app

    assert asked_for(app, arguments) is app

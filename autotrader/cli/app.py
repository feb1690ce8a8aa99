"""The application and what all commands share: the deployment folder, the configuration, how things are shown."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from autotrader.validation.load import Configuration

app = typer.Typer(
    name="autotrader",
    help="A declarative rules engine that trades: every decision is a rule in config/strategy_params.yaml.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Home = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="The deployment folder, with config/ and data/.", show_default=False),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="DIR", help="The folder with the configuration; default: config/ in the home."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.callback()
def root(
    context: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(
            "--home",
            metavar="DIR",
            envvar="AUTOTRADER_HOME",
            help="The deployment folder, with config/ and data/; default: the current folder.",
        ),
    ] = None,
) -> None:
    context.obj = home


def home_folder(context: typer.Context, home: Path | None) -> Path:
    """The deployment folder: given after the command, before it, in AUTOTRADER_HOME, else the current folder."""
    folder = home or context.obj or Path()
    if not folder.is_dir():
        raise typer.BadParameter(f"{folder} is not a folder", param_hint="--home")
    return folder


def config_folder(home: Path, config: Path | None) -> Path:
    """The configuration's folder; where the home has none, the packaged default, and says so on stderr."""
    from autotrader.validation.load import PACKAGED_CONFIG

    if config is not None:
        if not config.is_dir():
            raise typer.BadParameter(f"{config} is not a folder", param_hint="--config")
        return config
    own = home / "config"
    if (own / "strategy_params.yaml").exists():
        return own
    print_error(
        f"no config/strategy_params.yaml in {home.resolve()}: using the packaged default configuration; "
        "`autotrader init DIR` lays out a folder with one to edit"
    )
    return PACKAGED_CONFIG


def sound_configuration(folder: Path, *, tell_warnings: bool = False) -> Configuration:
    """The configuration if it has no errors; else they are shown and the command ends with 1 (2: unreadable).

    tell_warnings: each in a line on stderr.
    """
    from autotrader.rules.problems import render_text
    from autotrader.validation.load import load_configuration

    loaded = load_configuration(folder)
    if loaded.configuration is None:
        print_error(render_text(loaded.problems, loaded.sources))
        raise typer.Exit(loaded.exit_code())
    for problem in loaded.problems if tell_warnings else ():
        print_error(f"{problem.file}:{problem.line}: warning[{problem.code}] {problem.message}")
    return loaded.configuration


def output_file(path: Path, option: str, inputs: Iterable[Path | None]) -> Path:
    """Where a file is to be written, links followed. BadParameter where that would destroy something.

    inputs: the files and folders that the command reads.
    """
    target = path.resolve()
    if target.is_dir():
        raise typer.BadParameter(f"{path} is a folder, a file is needed", param_hint=option)
    if target.exists() and not target.is_file():
        raise typer.BadParameter(f"{path} is a device, a file is needed", param_hint=option)
    for given in filter(None, inputs):
        source = given.resolve()
        of_folder = source in target.parents and target.exists() and target.suffix in _READ
        if target == source or of_folder:
            raise typer.BadParameter(f"{path} is what the command reads; choose another name", param_hint=option)
    return target


_READ = frozenset({".parquet", ".csv", ".yaml"})  # what is read from a folder


def print_error(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201


def progress(what: str) -> AbstractContextManager[object]:
    """Shows that work is under way, on stderr where that is a terminal, until the block ends."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(f"{what} ...")


def console() -> Console:
    """Where tables go: stdout; 110 columns where it is no terminal. What only looks like markup is shown as it is."""
    from rich.console import Console
    from rich.errors import MarkupError
    from rich.text import Text

    class Tolerant(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            try:
                return super().render_str(text, **options)
            except MarkupError:
                return Text(text)

    terminal = sys.stdout.isatty()
    return Tolerant(width=None if terminal else 110, highlight=False, soft_wrap=not terminal)


from autotrader.cli import account as _account  # noqa: E402, F401  # commands register themselves
from autotrader.cli import backtest as _backtest  # noqa: E402, F401
from autotrader.cli import configuration as _configuration  # noqa: E402, F401
from autotrader.cli import controls as _controls  # noqa: E402, F401
from autotrader.cli import demo as _demo  # noqa: E402, F401
from autotrader.cli import doctor as _doctor  # noqa: E402, F401
from autotrader.cli import explain as _explain  # noqa: E402, F401
from autotrader.cli import init as _init  # noqa: E402, F401
from autotrader.cli import run as _run  # noqa: E402, F401
from autotrader.cli import scan as _scan  # noqa: E402, F401
from autotrader.cli import simulate as _simulate  # noqa: E402, F401
from autotrader.cli import stages as _stages  # noqa: E402, F401
from autotrader.cli import status as _status  # noqa: E402, F401
from autotrader.cli import testing as _testing  # noqa: E402, F401

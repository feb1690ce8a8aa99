"""The command line. Commands import what they need when they run, so that --help and validate start at once."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from typer import Typer
    from typer.models import CommandInfo

BEGAN = time.monotonic()  # the program's first line


def main() -> None:
    """The entry point: exit code 0 done, 1 a problem in what was asked, 2 usage or unreadable."""
    # What is made at start-up stays: looking through it for garbage, again and again, takes a fifth of the start.
    gc.set_threshold(100_000)
    # pydantic would look through everything installed for plugins of its own, of which we use none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # started with it closed, as some schedulers do
            setattr(sys, name, _nowhere())
    from autotrader.cli.app import app
    from autotrader.errors import AutotraderError

    try:
        asked_for(app, sys.argv[1:])()
    except AutotraderError as error:
        from autotrader.secrets import redact

        print(redact(f"autotrader: {error}"), file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except BrokenPipeError:  # the reader of our output has gone: nothing to say, and nobody to say it to
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:  # the machine's doing: the disk is full, a folder may not be written
        where = f"{error.filename}: " if error.filename else ""
        print(f"autotrader: {where}{error.strerror or error}", file=sys.stderr)  # noqa: T201
        sys.stdout = _nowhere()  # what could not be written is not tried again on the way out
        sys.exit(1)
    finally:
        gc.freeze()  # the process ends: its last collections would find nothing, and take as long as the command


def asked_for(app: Typer, arguments: Sequence[str]) -> Typer:
    """The application with only the command that is asked for, where that can be told.

    Making ready all commands with all their options takes longer than some of them take to run.
    """
    from copy import copy

    name = arguments[2:3] if arguments[:1] == ["--home"] else arguments[:1]
    found = [command for command in app.registered_commands if [_name(command)] == list(name)]
    if not found:
        return app
    narrowed = copy(app)
    narrowed.registered_commands, narrowed.registered_groups = found, []
    return narrowed


def _name(command: CommandInfo) -> str:
    return command.name or getattr(command.callback, "__name__", "").replace("_", "-")


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123  # open to the end of the process

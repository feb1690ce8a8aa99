"""The command line. Commands import what they need when they run, so that --help and validate start at once."""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point: exit code 0 done, 1 a problem in what was asked, 2 usage or unreadable."""
    from autotrader.cli.app import app
    from autotrader.errors import AutotraderError

    try:
        app()
    except AutotraderError as error:
        print(f"autotrader: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except BrokenPipeError:  # the reader of our output has gone: nothing to say, and nobody to say it to
        sys.stderr.close()
        sys.exit(1)

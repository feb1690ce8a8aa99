"""The places at which a crash would hurt, by name: before and after whatever leaves the process for good.

`reached` does nothing unless somebody has set a hook; a test's hook kills the process there, or refuses to go on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

Hook = Callable[[str], None]

# What lasts: a row of the journal, a file under its name, an order at the broker.
POINTS: Final[tuple[str, ...]] = tuple(
    f"{what}.{when}"
    for what in (
        "journal.create",  # a new journal gets its name
        "journal.commit",  # all that was appended becomes durable
        "journal.set_aside",  # one that cannot be trusted gets another name
        "file.write",  # the content of a result file, under a temporary name
        "file.rename",  # the file gets its name
        "file.set_aside",  # one that cannot be trusted gets another name
        "ballast.write",  # room on the disk is kept for bad times
        "ballast.free",  # it is given back
        "broker.submit",
        "broker.cancel",
    )
    for when in ("before", "after")
)
_KNOWN = frozenset(POINTS)

_hook: Hook | None = None


def reached(name: str) -> None:
    """Says that the process is at this point. ValueError for a name that POINTS does not have."""
    if name not in _KNOWN:
        raise ValueError(f"{name!r} is no kill point; add it to POINTS")
    if _hook is not None:
        _hook(name)


def set_hook(hook: Hook | None) -> None:
    """Who is told of every point that is reached, in this process; None: nobody."""
    global _hook  # noqa: PLW0603  # one per process, as a kill is
    _hook = hook

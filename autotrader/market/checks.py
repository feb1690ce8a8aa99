"""What a doctor finds. A broker or a feed may have more to say than everybody's: it then has a method `checks`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, Protocol, runtime_checkable

Verdict = Literal["ok", "warn", "fail"]


class Check(NamedTuple):
    """One thing that was looked at. found: what is so. advice: what to do about it; "" where nothing is to be done."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


@runtime_checkable
class HasChecks(Protocol):
    """A plugin with checks of its own."""

    def checks(self, symbol: str, *, streams: bool) -> Iterable[Check]:
        """symbol: one that trades all the time. streams: whether to open what it listens to. It never raises."""
        ...

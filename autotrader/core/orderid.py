"""Client order ids: a pure function of the intent, so that the same intent can never be two orders."""

from __future__ import annotations

import re
from datetime import date

from autotrader.core.events import Leg

MAX_LENGTH = 128  # the broker's
_PARTS = re.compile(r"(?P<tag>[^-]+)-(?P<session>\d{8})-(?P<stage>[^-]+)-(?P<strategy>[^-]+)-(?P<symbol>[^-]+)"
                    r"-(?P<leg>entry|exit|stop)-(?P<attempt>\d+)\Z")  # fmt: skip


def order_id(tag: str, session: date, stage: str, strategy: str, symbol: str, leg: Leg, attempt: int) -> str:
    """The id of one attempt at an intent: account tag, session, stage, strategy, symbol, leg, attempt from 1 on.

    ValueError where it would be too long or could not be read back.
    """
    day = session.isoformat().replace("-", "")
    name = f"{tag}-{day}-{stage}-{strategy}-{symbol}-{leg}-{attempt}"
    if len(name) > MAX_LENGTH or not _PARTS.match(name):
        raise ValueError(f"not an order id of at most {MAX_LENGTH} characters: {name}")
    return name


def is_ours(name: str, tag: str) -> bool:
    """Whether an id was made here, for this account."""
    found = _PARTS.match(name)
    return found is not None and found["tag"] == tag


def next_attempt(name: str) -> str:
    """The id of the attempt after this one. ValueError where `name` is no order id."""
    found = _PARTS.match(name)
    if found is None:
        raise ValueError(f"not an order id: {name}")
    return f"{name[: found.start('attempt')]}{int(found['attempt']) + 1}"

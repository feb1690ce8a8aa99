"""How values and refusals look on the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any, overload

from starlette.responses import Response

Json = dict[str, Any]

FIRST, LAST = datetime(1970, 1, 2, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class ApiError(Exception):
    """A request that is answered with an error. code: None where the body has none. more: further members of it."""

    def __init__(self, status: int, message: str, code: int | None = None, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {**({} if code is None else {"code": code}), "message": message, **more}


def answer(body: Any, status: int = 200) -> Response:
    return Response(json.dumps(body), status, media_type="application/json")


@overload
def stamp(at: datetime) -> str: ...
@overload
def stamp(at: datetime | None) -> str | None: ...
def stamp(at: datetime | None) -> str | None:
    """RFC 3339 in UTC."""
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def money(value: Decimal | float | int | None, digits: int = 6) -> str | None:
    """A number as text without an exponent: "100", "0.5", "-12.25"."""
    if value is None:
        return None
    number = round(value if isinstance(value, Decimal) else Decimal(str(value)), digits)
    if not number:
        return "0"
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def parse_time(text: str) -> datetime:
    """An RFC 3339 time or a date, which is its midnight in UTC. ValueError.

    What lies before or after all markets is moved to where every zone still has a date for it.
    """
    at = datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace(" ", "+"))
    if not FIRST.year <= at.year < LAST.year:
        at = FIRST if at.year < FIRST.year else LAST
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def uuid_of(*name: object) -> str:
    """A name as a version 4 UUID, always the same."""
    digest = blake2b("/".join(map(str, name)).encode(), digest_size=16).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-a{digest[17:20]}-{digest[20:]}"


def ulid_of(at: datetime, *name: object) -> str:
    """A time and a name as a ULID, always the same."""
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    digest = int.from_bytes(blake2b("/".join(map(str, name)).encode(), digest_size=10).digest(), "big")
    number = (int(at.timestamp() * 1000) << 80) | digest
    return "".join(alphabet[(number >> shift) & 31] for shift in range(125, -1, -5))


def flag(values: Mapping[str, str], name: str) -> bool:
    """A switch of a query: the official client writes booleans as True and False."""
    return values.get(name, "").lower() in {"true", "1"}

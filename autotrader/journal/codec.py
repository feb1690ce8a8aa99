"""Events as rows of the journal and back, from the dataclasses themselves; old versions are brought up to date."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from autotrader.clock import NEW_YORK
from autotrader.core import events as ev
from autotrader.core.events import Event

Body = dict[str, Any]
Upcast = Callable[[Body], Body]

# The current version of each kind. A change to an event's fields raises it and adds the step from the one before.
VERSIONS: dict[str, int] = {kind.__name__: 1 for kind in ev.EVENTS} | {"Ordered": 2, "StageDone": 2}

# (kind, version) -> from the body of that version to the next one's.
UPCASTERS: dict[tuple[str, int], Upcast] = {
    ("Ordered", 1): lambda body: {**body, "order": "day", "stop_price": None},
    ("StageDone", 1): lambda body: {**body, "status": "done", "file": ""},
}


class Row(NamedTuple):
    """An event as it is stored. at: ISO 8601 with New York's offset; body: JSON of all fields but at and session."""

    key: str
    at: str
    session: str
    kind: str
    version: int
    body: str


# What makes an event the only one of its kind.
_IDENTITY: dict[type[Any], tuple[str, ...]] = {
    ev.SessionOpened: ("session",),
    ev.Ordered: ("order_id",),
    ev.Leaving: ("symbol", "at"),
    ev.Revived: ("order_id", "at"),
    ev.Filled: ("order_id", "cumulative"),
    ev.OrderEnded: ("order_id", "at"),  # one that was given up may come back, and end again
    ev.Marked: ("symbol", "at", "bars_held", "best_price", "worst_price"),  # a bar may be judged again after a crash
    ev.Split: ("session", "symbol"),
    ev.Charged: ("session", "symbol"),
    ev.SessionClosed: ("session",),
    ev.DrawdownSeen: ("at", "equity"),
    ev.StageDone: ("session", "stage", "file"),  # one whose file was lost is carried out again
    ev.StageFailed: ("session", "stage", "at"),
    ev.DrawdownReset: ("at",),
    ev.Difference: ("kind", "subject", "at", "found"),
    ev.Resolved: ("kind", "subject", "at"),
    ev.Corrected: ("symbol", "at"),
    ev.Paused: ("at",),
    ev.Resumed: ("at",),
    ev.Flattened: ("at", "done"),
    ev.ConfigAdopted: ("symbol", "at"),
    ev.Asked: ("request",),
    ev.Alerted: ("subject", "at"),
}


def stamp(at: datetime) -> str:
    """A time as the journal and every report write it: ISO 8601, New York. ValueError for one without a zone."""
    return _stamp(at, at.fold)


@lru_cache(maxsize=64)  # the positions of a minute share its time
def _stamp(at: datetime, fold: int) -> str:  # noqa: ARG001  # two times that differ in their fold alone are equal
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no time zone")
    return at.astimezone(NEW_YORK).isoformat()


@lru_cache(maxsize=64)
def unstamp(text: str) -> datetime:
    """The time of a stamp, New York. ValueError where it is none."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return at.astimezone(NEW_YORK)


_day = lru_cache(maxsize=64)(date.fromisoformat)


def event_key(event: Event) -> str:
    """What no other event can have: the same for the same happening, however often it is learned of."""
    kind = type(event)
    parts = [getattr(event, name) for name in _IDENTITY[kind]]
    return ":".join([kind.__name__, *[stamp(part) if isinstance(part, datetime) else str(part) for part in parts]])


def encode(event: Event) -> Row:
    """The row of an event. ValueError where it holds what cannot be kept exactly: NaN, a foreign type, a naive time."""
    kind = type(event)
    name = kind.__name__
    return Row(event_key(event), stamp(event.at), event.session.isoformat(), name, VERSIONS[name],
               _FORMS[kind].text(event))  # fmt: skip


def decode(at: str, session: str, kind: str, version: int, body: str) -> Event:
    """The event of a row of any version. ValueError where this program does not know it or it is damaged."""
    current = VERSIONS.get(kind)
    if current is None:
        raise ValueError(f'unknown kind "{kind}": was it written by a newer version?')
    data, end = _parse(body)
    if end != len(body):
        raise ValueError(f"{body[end:]!r} after the JSON")
    while version != current:
        upcast = UPCASTERS.get((kind, version))
        if upcast is None:
            raise ValueError(f"version {version} of {kind}; this program knows {current} and what leads to it")
        data, version = upcast(data), version + 1
    made: Event = _FORMS[_KINDS[kind]].make(data, unstamp(at), _day(session))
    return made


_parse = json.JSONDecoder().raw_decode  # a third of the time of json.loads on texts this small


# --- forms --------------------------------------------------------------------------------------------------------


class _Form:
    """How one dataclass becomes a JSON object and back. given: how many leading fields are not part of the object."""

    def __init__(self, kind: type[Any], given: int = 0) -> None:
        hints = get_type_hints(kind)
        names = [item.name for item in fields(kind)][given:]
        converters = [_converter(hints[name]) for name in names]
        self._kind = kind
        self._known = frozenset(names)
        self._readers = [(name, read) for name, (read, _) in zip(names, converters, strict=True)]
        self._writers = [(name, write) for name, (_, write) in zip(names, converters, strict=True)]
        self._template = "{" + ",".join(f'"{name}":%s' for name in names) + "}"

    def text(self, value: Any) -> str:
        """JSON. ValueError where a field is not of its type."""
        try:
            return self._template % tuple([write(getattr(value, name)) for name, write in self._writers])
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self._kind.__name__}: {error}") from error

    def make(self, data: Any, *given: Any) -> Any:
        """The instance. ValueError where a field is missing, unknown, or not of its type."""
        if not isinstance(data, dict) or data.keys() != self._known:
            found = sorted(data) if isinstance(data, dict) else data
            raise ValueError(f"{self._kind.__name__} has the fields {sorted(self._known)}, found {found}")
        try:
            return self._kind(*given, *[read(data[name]) for name, read in self._readers])
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self._kind.__name__}: {error}") from error


_Read = Callable[[Any], Any]
_Write = Callable[[Any], str]


def _converter(hint: Any) -> tuple[_Read, _Write]:
    """From a JSON value to a field's, and from a field's to JSON text; ValueError for a value of another type."""
    if get_origin(hint) in {UnionType, Union}:
        (inner,) = (item for item in get_args(hint) if item is not NoneType)
        read, write = _converter(inner)
        return (
            lambda value: None if value is None else read(value),
            lambda value: "null" if value is None else write(value),
        )
    if get_origin(hint) is Literal:
        allowed = frozenset(get_args(hint))
        return (
            lambda value: value if value in allowed else _refuse(value, sorted(allowed)),
            lambda value: f'"{value}"' if value in allowed else _refuse(value, sorted(allowed)),
        )
    if is_dataclass(hint):
        form = _Form(hint)  # type: ignore[arg-type]  # a class, not an instance
        return form.make, form.text
    return _SCALARS[hint]


def _read_float(value: Any) -> float:
    return value if type(value) is float else float(_read_int(value))


def _write_float(value: Any) -> str:
    if type(value) is not float:
        value = float(value) if isinstance(value, int | float) else _refuse(value, "a number")
    text = repr(value)
    return text if text[-1] not in "nf" else _refuse(value, "a finite number")  # nan, inf


def _read_int(value: Any) -> int:
    return value if type(value) is int else _refuse(value, "a whole number")


def _read_text(value: Any) -> str:
    return value if type(value) is str else _refuse(value, "a text")


def _read_flag(value: Any) -> bool:
    return value if type(value) is bool else _refuse(value, "true or false")


def _refuse(value: Any, expected: object) -> Any:
    raise ValueError(f"{value!r} where {expected} is expected")


_quote = json.JSONEncoder().encode  # a text on its own goes straight to C

_SCALARS: dict[Any, tuple[_Read, _Write]] = {
    float: (_read_float, _write_float),
    int: (_read_int, lambda value: str(_read_int(value))),
    str: (_read_text, lambda value: _quote(_read_text(value))),
    bool: (_read_flag, lambda value: "true" if _read_flag(value) else "false"),
}

_FORMS = {kind: _Form(kind, 2) for kind in ev.EVENTS}  # all begin with at, session
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in ev.EVENTS}

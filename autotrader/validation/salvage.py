"""A typed configuration from a document with structural problems, so that everything else is checked all the same.

What does not fit is replaced by the default configuration's or left out. Nothing salvaged is ever run.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from autotrader.rules.document import Path

M = TypeVar("M", bound=BaseModel)

_ROUNDS = 30


@dataclass(frozen=True, slots=True)
class Salvaged(Generic[M]):
    """What could be kept.

    origin: from a path of `params` to the document's. mended: the document's paths whose values are not the author's.
    read:   words of values that are not there any more, which may have been names.
    lost:   every key and name that was left out: that something cannot be found by them is not the author's mistake.
    """

    params: M
    origin: Callable[[Path], Path]
    mended: frozenset[Path]
    lost: frozenset[str]
    read: frozenset[str] = frozenset()


def salvage(model: type[M], data: Any, fallback: Any) -> Salvaged[M] | None:
    """The model from what is sound in `data`; None if hopeless. fallback: sound data of the whole model."""
    work = _Salvage(copy.deepcopy(data), fallback)
    for _ in range(_ROUNDS):
        try:
            params = model.model_validate(work.data)
        except ValidationError as error:
            work.mend(error.errors(include_url=False, include_input=False))
        else:
            return Salvaged(params, work.origin, frozenset(work.mended), frozenset(work.lost))
    return None


class _Salvage:
    def __init__(self, data: Any, fallback: Any) -> None:
        self.data = data
        self.fallback = fallback
        self.mended: set[Path] = set()
        self.lost: set[str] = set()
        self._removed: dict[Path, list[int]] = {}  # list -> indices that are gone, in the document's counting

    def origin(self, path: Path) -> Path:
        found: list[str | int] = []
        for step in path:
            place = step
            if isinstance(place, int):
                for gone in sorted(self._removed.get(tuple(found), ())):
                    place += gone <= place
            found.append(place)
        return tuple(found)

    def mend(self, mistakes: list[Any]) -> None:
        """One round. The last mistake first, so that the indices of the others stay right; each place once."""
        done: set[Path] = set()
        places = [(_existing(self.data, details["loc"]), details) for details in mistakes]  # before anything is changed
        for path, details in reversed(places):
            if details["type"] == "missing":
                path = (*path, details["loc"][-1])  # noqa: PLW2901
            if not any(path[:depth] in done for depth in range(len(path) + 1)):
                done.add(self._mend(path, details["type"]))

    def _mend(self, path: Path, kind: str) -> Path:
        """Make one place fit; the place that was changed."""
        if not path:
            return path
        holder, key, place = _at(self.data, path[:-1]), path[-1], self.origin(path)
        spare = None if kind == "extra_forbidden" or place in self.mended else self._spare(path)
        self.mended.add(place)
        if isinstance(holder, dict) and spare is not None:
            self.lost |= _names(holder.get(key))
            holder[key] = copy.deepcopy(spare)
            return path
        if kind == "missing":
            return self._mend(path[:-1], "unmendable")
        self.lost |= {str(key)} | _names(holder[key])
        if isinstance(holder, list):
            self._removed.setdefault(self.origin(path[:-1]), []).append(int(place[-1]))
        del holder[key]
        return path

    def _spare(self, path: Path) -> Any:
        if path[-1] == "name":
            return f"unnamed_{len(self.mended)}"
        return next(_like(self.fallback, path), None)


def _like(data: Any, path: Path) -> Iterator[Any]:
    """What stands at the path, or at a like one: another item of the list, another key of the mapping."""
    if not path:
        yield data
        return
    holder = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    exact = _at(data, path[:1])
    if exact is not None:
        yield from _like(exact, path[1:])
    if len(path) > 1:
        for other in holder:
            yield from _like(other, path[1:])


def _existing(data: Any, location: tuple[str | int, ...]) -> Path:
    path: list[str | int] = []
    for step in location:
        inside = step in data if isinstance(data, dict) else isinstance(data, list) and step in range(len(data))
        if inside:
            data = data[step]
            path.append(step)
    return tuple(path)


def _names(value: Any) -> set[str]:
    """Every key inside, and what `name:` says."""
    found: set[str] = set()
    if isinstance(value, dict):
        for key, item in value.items():
            found |= {key} | _names(item) | ({item} if key == "name" and isinstance(item, str) else set())
    elif isinstance(value, list):
        for item in value:
            found |= _names(item) | ({item} if isinstance(item, str) else set())
    return found


def _at(data: Any, path: Path) -> Any:
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data

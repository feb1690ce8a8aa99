"""A typed configuration from a document with structural problems, so that its expressions are checked all the same.

What does not fit is left out, what is then missing comes from the default configuration. Nothing salvaged is ever run.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from autotrader.rules.document import Path

M = TypeVar("M", bound=BaseModel)

_ROUNDS = 30


def salvage(model: type[M], data: Any, fallback: Any) -> tuple[M, Callable[[Path], Path]] | None:
    """The model from what is sound in `data`, and a function from its paths to those of `data`; None if hopeless.

    fallback: sound data of the whole model.
    """
    data = copy.deepcopy(data)
    removed: dict[Path, list[int]] = {}

    def origin(path: Path) -> Path:
        found: list[str | int] = []
        for depth, step in enumerate(path):
            if isinstance(step, int):
                for gone in sorted(removed.get(path[:depth], ())):
                    step += gone <= step
            found.append(step)
        return tuple(found)

    for _ in range(_ROUNDS):
        try:
            return model.model_validate(data), origin
        except ValidationError as error:
            # the last one first, so that the indices of the others stay right
            for details in reversed(error.errors(include_url=False, include_input=False)):
                _mend(data, _existing(data, details["loc"]), details, fallback, removed)
    return None


def _mend(data: Any, path: Path, details: Any, fallback: Any, removed: dict[Path, list[int]]) -> None:
    if details["type"] == "missing":
        spare = _at(fallback, path)
        key = details["loc"][-1]
        holder = _at(data, path)
        if isinstance(spare, dict) and key in spare and isinstance(holder, dict):
            holder[key] = copy.deepcopy(spare[key])
            return
    if not path:
        return
    holder, step = _at(data, path[:-1]), path[-1]
    if isinstance(holder, list):
        original = int(step)
        for gone in sorted(removed.get(path[:-1], ())):
            original += gone <= original
        removed.setdefault(path[:-1], []).append(original)
    if isinstance(holder, dict | list):
        del holder[step]  # type: ignore[arg-type]  # an index for a list, a key for a dict


def _existing(data: Any, location: tuple[str | int, ...]) -> Path:
    path: list[str | int] = []
    for step in location:
        inside = step in data if isinstance(data, dict) else isinstance(data, list) and step in range(len(data))
        if inside:
            data = data[step]
            path.append(step)
    return tuple(path)


def _at(data: Any, path: Path) -> Any:
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data

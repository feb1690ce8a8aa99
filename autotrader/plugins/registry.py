"""Plugins by name: entry points of three groups, the built-ins' among them, with nothing privileged."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import TYPE_CHECKING, Any, cast

from autotrader.errors import AutotraderError

if TYPE_CHECKING:
    from autotrader.core.strategy import Strategy


class PluginError(AutotraderError):
    """A plugin is not there, is there twice, or does not load. The text names those that exist, or the cause."""


def strategies() -> Mapping[str, EntryPoint]:
    """The strategy plugins by name, in alphabetical order; none is loaded. PluginError: a name is there twice."""
    return _plugins("strategies")


def brokers() -> Mapping[str, EntryPoint]:
    """The broker plugins, as in `strategies`."""
    return _plugins("brokers")


def feeds() -> Mapping[str, EntryPoint]:
    """The feed plugins, as in `strategies`."""
    return _plugins("feeds")


def load_strategy(name: str) -> type[Strategy]:
    """The strategy's class. PluginError: unknown, failing, or not a strategy."""
    from pydantic import BaseModel

    found = _load("strategies", name)
    params = getattr(found, "Params", None)
    if not (isinstance(params, type) and issubclass(params, BaseModel)):
        raise PluginError(f'strategy "{name}" has no pydantic model `Params`')
    if not callable(getattr(found, "signals", None)):
        raise PluginError(f'strategy "{name}" has no method `signals`')
    return cast("type[Strategy]", found)


def load_broker(name: str) -> Any:
    """The broker's class. PluginError: unknown or failing."""
    return _load("brokers", name)


def load_feed(name: str) -> Any:
    """The feed's class. PluginError: unknown or failing."""
    return _load("feeds", name)


def origin(point: EntryPoint) -> str:
    """What a plugin came with, and its version: "autotrader-rules 0.1.0"."""
    return _name_and_version(point.dist) if point.dist else "unknown"


def _plugins(kind: str) -> Mapping[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    group = f"autotrader.{kind}"
    points = (point for point in _entry_points(tuple(sys.path)) if point.group == group)
    for point in sorted(points, key=lambda point: point.name):
        other = found.setdefault(point.name, point)
        if other is not point and (other.value, _distribution(other)) != (point.value, _distribution(point)):
            both = " and ".join(f"{_distribution(each)} ({each.value})" for each in (other, point))
            raise PluginError(f'two plugins in {kind} are named "{point.name}", in {both}; uninstall one of them')
    return found


@lru_cache(maxsize=1)
def _entry_points(_path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """The entry points of all our groups on this path, once for each distribution.

    importlib.metadata.entry_points reads the metadata of everything that is installed, each time it is asked.
    """
    ours: dict[str, Distribution] = {}
    for distribution in distributions():
        if "autotrader." in (distribution.read_text("entry_points.txt") or ""):
            ours.setdefault(distribution.name.lower().replace("_", "-"), distribution)  # the first one shadows others
    return tuple(point for distribution in ours.values() for point in distribution.entry_points)


@cache
def _name_and_version(distribution: Distribution) -> str:
    metadata = distribution.metadata  # parsed each time it is asked for
    return f"{metadata['Name']} {metadata['Version']}"


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "an unknown package"


def _load(kind: str, name: str) -> Any:
    found = _plugins(kind)
    if name not in found:
        there = ", ".join(found) or "none"
        raise PluginError(f'there is no plugin "{name}" in {kind}; installed: {there}')
    try:
        return found[name].load()
    except Exception as error:  # importing somebody else's module can raise anything
        cause = f"{type(error).__name__}: {error}"
        raise PluginError(f'plugin "{name}" in {kind} ({found[name].value}) does not load: {cause}') from error

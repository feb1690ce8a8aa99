"""What changes for an open position when it is judged by another configuration, and where its exits are."""

from __future__ import annotations

import math
import re
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

from autotrader.core.book import HeldPosition
from autotrader.core.exits import protective_distance
from autotrader.core.rulebook import Rulebook
from autotrader.journal.store import Journal
from autotrader.service.inbox import Find, distance_of, unfit
from autotrader.settings import ExitRule
from autotrader.vocabulary import Indicator

_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Levels:
    """Where a position's exits are, USD per share. None: it has no such exit, or it is unknown.

    stop: of exit.stop_distance; target: of tp_atr_mult; protective: of the stop order at the broker, as configured.
    """

    stop_distance: float | None
    stop: float | None
    target: float | None
    protective: float | None
    max_hold_days: int | None


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is judged differently. before, after: as written; None: it is not there."""

    what: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Adoption:
    """What another configuration means for a position. problem: why it cannot be adopted; "" where it can."""

    symbol: str
    before: Levels
    after: Levels | None
    changes: tuple[Change, ...]
    problem: str = ""


def levels(held: HeldPosition, rulebook: Rulebook) -> Levels:
    """Where the exits of a position are under a configuration that has its strategy."""
    entry, sign = held.entry_price, held.sign
    distance = distance_of(held, rulebook)
    target = rulebook.value("tp_atr_mult", held.strategy, held.direction) * held.plan.atr
    days = rulebook.value("max_hold_days", held.strategy, held.direction)
    enabled = rulebook.params.exit.protective_stop.enabled
    protective = protective_distance(rulebook, held) if enabled else math.nan
    return Levels(
        _known(distance),
        _known(entry - sign * distance),
        _known(entry + sign * target),
        _known(entry - sign * protective),
        None if math.isnan(days) else int(days),
    )


def adoption(held: HeldPosition, before: Rulebook, after: Rulebook) -> Adoption:
    """What changes for a position."""
    problem = unfit(held, after)
    now = levels(held, before)
    if problem:
        return Adoption(held.symbol, now, None, (), problem)
    changes = (*_rules(before, after), *_values(held, before, after), *_indicators(before, after))
    return Adoption(held.symbol, now, levels(held, after), changes)


def finder(folder: Path, journal: Journal, rulebooks: MutableMapping[str, Rulebook]) -> Find:
    """Finds the rules of a configuration by its hash: among those in use, else in the folder as it is now.

    What is found in the folder is kept in the journal and put among those in use.
    """

    def find(config_hash: str) -> Rulebook | None:
        if config_hash not in rulebooks:
            from autotrader.validation.load import load_configuration

            configuration = load_configuration(folder).configuration
            if configuration is None or configuration.settings.config_hash != config_hash:
                return None
            settings = configuration.settings
            journal.store_config(config_hash, settings.params, settings.system)
            rulebooks[config_hash] = configuration.rulebook
        return rulebooks[config_hash]

    return find


def _rules(before: Rulebook, after: Rulebook) -> list[Change]:
    old = {rule.name: rule for rule in before.params.exit.rules}
    new = {rule.name: rule for rule in after.params.exit.rules}
    found = [
        Change(f"rule {name}", _text(old.get(name)), _text(new.get(name)))
        for name in dict.fromkeys([*new, *old])
        if _text(old.get(name)) != _text(new.get(name))
    ]
    both = [name for name in old if name in new]
    if both != [name for name in new if name in old]:
        found.append(Change("order of the rules", ", ".join(old), ", ".join(new)))
    one, other = before.params.exit, after.params.exit
    pairs = (
        ("stop_distance", one.stop_distance, other.stop_distance),
        ("protective_stop.distance", one.protective_stop.distance, other.protective_stop.distance),
        ("protective_stop.enabled", _shown(one.protective_stop.enabled), _shown(other.protective_stop.enabled)),
    )
    return found + [Change(what, old_text, new_text) for what, old_text, new_text in pairs if old_text != new_text]


def _text(rule: ExitRule | None) -> str | None:
    if rule is None:
        return None
    bars = f" for {rule.for_bars} bars" if rule.for_bars > 1 else ""
    missing = f" (unknown: {rule.on_missing})" if rule.on_missing else ""
    return f"{rule.when}{bars}: {rule.then}{missing}"


def _values(held: HeldPosition, before: Rulebook, after: Rulebook) -> list[Change]:
    """The named numbers that the exit expressions read, for the position's strategy and side."""
    read = _read(before) | _read(after)
    old = {**before.values(held.strategy, held.direction), **before.params.exit.params}
    new = {**after.values(held.strategy, held.direction), **after.params.exit.params}
    found = []
    for name in sorted((old.keys() | new.keys()) & read):
        one, other = _shown(old.get(name, math.nan)), _shown(new.get(name, math.nan))
        if one != other:
            found.append(Change(name, one, other))
    return found


def _indicators(before: Rulebook, after: Rulebook) -> list[Change]:
    """The indicators that the exit rules read, directly or through others."""
    old = {item.name: item for item in before.indicators}
    new = {item.name: item for item in after.indicators}
    names = _read(before) | _read(after)
    while True:
        declared = [side[name].of for name in names for side in (old, new) if name in side]
        further = {word for text in declared for word in _NAME.findall(text)} - names
        if not further:
            break
        names |= further
    return [
        Change(f"indicator {name}", _declared(old.get(name)), _declared(new.get(name)))
        for name in sorted(names & (old.keys() | new.keys()))
        if old.get(name) != new.get(name)
    ]


def _declared(indicator: Indicator | None) -> str | None:
    if indicator is None:
        return None
    given = {key: getattr(indicator, key) for key in ("kind", "of", "length", "width", "symbol")}
    return ", ".join(f"{key} {_shown(value)}" for key, value in given.items() if value is not None)


def _read(rulebook: Rulebook) -> set[str]:
    """Every name in the exit expressions."""
    texts = [rule.when for rule in rulebook.params.exit.rules]
    texts += [rulebook.params.exit.stop_distance, rulebook.params.exit.protective_stop.distance]
    return {word for text in texts for word in _NAME.findall(text)}


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "none" if math.isnan(value) else f"{value:g}"
    return str(value)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) and value > 0 else None

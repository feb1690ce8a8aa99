"""What a rule may speak of: facts, declared once, and the stages that know them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["number", "flag", "text"]
Policy = Literal["first", "veto", "weigh", "least"]
Scalar = float | int | str | bool | None


@dataclass(frozen=True, slots=True)
class Fact:
    """One declared fact.

    unit:     of a number, e.g. "usd", "ratio", "sessions"; None: not known.
    range:    the values a number can take, both ends included.
    values:   the words a text can be; empty: any.
    nullable: it may be unknown in ordinary operation, so that a rule over it should say what then.
    """

    name: str
    kind: Kind
    doc: str
    unit: str | None = None
    range: tuple[float, float] | None = None
    nullable: bool = False
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """A place where rules are judged: which facts are known there, how rules are weighed, and what can come out.

    policy:   first (in order, the first match decides), veto (any match rejects), weigh (sum of weight x value),
              least (the smallest value wins).
    outcomes: what `then:` may say; () where the policy leaves no choice or, with open_outcomes, where a rule's own
              name is the outcome.
    default:  the outcome when no rule decides.
    unknown_matches: outcomes whose rules match when their condition is unknown, unless the rule says otherwise.
    optional: strategy values that a rule may use though a strategy leaves them out.
    """

    name: str
    policy: Policy
    facts: Mapping[str, Fact]
    default: str
    outcomes: tuple[str, ...] = ()
    unknown_matches: frozenset[str] = field(default_factory=frozenset)
    open_outcomes: bool = False
    optional: frozenset[str] = field(default_factory=frozenset)
    doc: str = ""


def kinds(facts: Mapping[str, Fact]) -> dict[str, Kind]:
    """name -> kind, as the expression parser wants it."""
    return {name: fact.kind for name, fact in facts.items()}

"""What judging gives: one Decision, which carries its own evidence.

Both are made for every position on every bar: a named tuple takes a fifth of the time that a frozen dataclass does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from autotrader.rules.facts import Scalar

if TYPE_CHECKING:
    from autotrader.rules.ruleset import Judge

Verdict = Literal["match", "no_match", "unknown"]

FAIL = "fail"  # the outcome where a rule or a value that says on_missing: fail is unknown, of whatever stage


class Evidence(NamedTuple):
    """One rule, or one weighed value, as it was judged.

    verdict: what the condition gave, before on_missing and for_bars; None for a value.
    value:   what a value gave, None if unknown; None for a condition.
    facts:   what it read, parameters and strategy values included; None: unknown.
    streak:  of a rule with for_bars, on how many bars in a row it has held now.
    """

    rule: str
    text: str
    verdict: Verdict | None
    value: float | None
    facts: Mapping[str, Scalar]
    streak: int | None = None

    def as_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"rule": self.rule}
        if self.verdict is not None:
            shown |= {"when": self.text, "verdict": self.verdict}
        else:
            shown |= {"value": self.text, "result": self.value}
        if self.streak is not None:
            shown["streak"] = self.streak
        return shown | {"facts": dict(self.facts)}


class Decision(NamedTuple):
    """The outcome of one judgement of one subject.

    outcome:  what the stage makes of it: one of its outcomes, its default, or FAIL.
    rule:     the rule or value that decided; None: none did, and the default stands.
    reason:   what is reported: the rule's reason, else its name, else the outcome.
    matched:  every rule that matched, for policies that report them all.
    value:    the number of a weighing or a least; None: unknown.
    """

    stage: str
    outcome: str
    rule: str | None
    reason: str
    matched: tuple[str, ...] = ()
    value: float | None = None
    judge: Judge | None = None
    facts: Mapping[str, Scalar] | None = None
    streaks: tuple[int, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether a rule that must be known was not: the subject goes no further, and a person is to hear of it."""
        return self.outcome == FAIL

    @property
    def missing(self) -> tuple[str, ...]:
        """What the rule or value that decided reads and is unknown; its own text where that is a division by zero."""
        read = next((item for item in self.evidence if item.rule == self.rule), None)
        if read is None:
            return ()
        return tuple(name for name, value in read.facts.items() if value is None) or (read.text,)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """Every rule up to the one that decided, or every value, with what it read; worked out when asked for."""
        if self.judge is None or self.facts is None:
            return ()
        return self.judge.evidence(self.facts, self.rule, self.streaks)

    def as_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"stage": self.stage, "outcome": self.outcome, "rule": self.rule, "reason": self.reason}
        if len(self.matched) > 1:
            shown["matched"] = list(self.matched)
        if self.value is not None:
            shown["value"] = self.value
        return shown | {"evidence": [item.as_json() for item in self.evidence]}

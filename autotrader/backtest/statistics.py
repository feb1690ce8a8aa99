"""Rule statistics: how often each rule of each set was judged, matched, decided, was unknown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autotrader.core.entry import Outcome
from autotrader.core.ranking import Ranking
from autotrader.core.rulebook import Rulebook
from autotrader.rules.compile import Row
from autotrader.rules.decision import Decision
from autotrader.rules.ruleset import RuleSet, ValueSet


@dataclass(frozen=True, slots=True)
class RuleStatistics:
    """One rule, or one sizing value, of one set.

    evaluated: how often it was judged; under the policy first, only where no rule before it decided.
    matched:   how often its condition counted as matching. decided: how often the outcome was its own.
    unknown:   how often its condition was unknown, whatever on_missing made of it; None: not counted.
    """

    stage: str
    rule: str
    evaluated: int
    matched: int
    decided: int
    unknown: int | None

    def plus(self, other: RuleStatistics) -> RuleStatistics:
        """The same rule's counts of both."""
        unknown = None if self.unknown is None or other.unknown is None else self.unknown + other.unknown
        return replace(self, evaluated=self.evaluated + other.evaluated, matched=self.matched + other.matched,
                       decided=self.decided + other.decided, unknown=unknown)  # fmt: skip


class Tally:
    """Counts what was decided; patterns first, rules at the end, so that counting costs next to nothing.

    unknowns: whether every rule's own verdict is worked out too, for the count of unknowns.
    """

    def __init__(self, *, unknowns: bool = True) -> None:
        self._unknowns = unknowns
        self._matched: Counter[tuple[int, str, tuple[str, ...]]] = Counter()
        self._first: Counter[tuple[int, int]] = Counter()
        self._unknown: Counter[tuple[int, int]] = Counter()
        self._ranked: list[RuleStatistics] = []

    def ranking(self, ranking: Ranking) -> None:
        """Eligibility of every signal, from the ranking's own columns."""
        eligible = ranking.rulebook.eligible
        decided = (
            np.argmax(ranking.rejects, axis=0)[ranking.rejects.any(axis=0)] if len(eligible.rules) else np.empty(0)
        )
        unknown = eligible.unknown_columns(ranking.columns, (len(ranking.signals),)) if self._unknowns else None
        for index, rule in enumerate(eligible.rules):
            self._ranked.append(
                RuleStatistics(
                    "eligible", rule.name, len(ranking.signals), int(ranking.rejects[index].sum()),
                    int((decided == index).sum()), None if unknown is None else int(unknown[index].sum()),
                )
            )  # fmt: skip

    def decisions(self, decisions: Iterable[Decision]) -> None:
        matched, unknowns = self._matched, self._unknowns
        for decision in decisions:
            judge = decision.judge
            if isinstance(judge, RuleSet):
                matched[id(judge.rules), decision.rule or "", decision.matched] += 1
                if unknowns and decision.facts is not None:
                    verdicts = judge.verdicts(decision.facts)
                    if "unknown" in verdicts:
                        self._unknown_where(judge, decision.rule, verdicts)
            elif isinstance(judge, ValueSet):
                matched[id(judge.parts), decision.rule or "", ()] += 1

    def outcomes(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            self.decisions(outcome.decisions)

    def exit(self, rules: RuleSet, index: int, row: Row) -> None:
        """One exit judgement; index: of the rule that decided, -1 for none."""
        self._first[id(rules.rules), index] += 1
        if self._unknowns:
            verdicts = rules.verdicts(row)
            if "unknown" in verdicts:
                self._unknown_where(rules, rules.rules[index].name if index >= 0 else None, verdicts)

    def _unknown_where(self, rules: RuleSet, decided: str | None, verdicts: Sequence[str]) -> None:
        """Counts the unknown ones among the rules that were asked: under the policy first, up to the one that decided.
        """
        for index, (rule, verdict) in enumerate(zip(rules.rules, verdicts, strict=True)):
            if verdict == "unknown":
                self._unknown[id(rules.rules), index] += 1
            if rule.name == decided and rules.stage.policy == "first":
                return

    def statistics(self, rulebook: Rulebook) -> list[RuleStatistics]:
        """Every rule of every set that this tally was fed from, in the order of the day."""
        found = list(self._ranked)
        sets = [
            ("gap_filter", rulebook.gap_filter),
            *((f"confirmation:{key}", rules) for key, rules in rulebook.confirmation.items()),
            ("reentry", rulebook.reentry),
            ("limits", rulebook.limits),
        ]
        for name, rules in sets:
            found += self._of(name, rules)
        found += self._of_values(rulebook.sizing)
        found += self._of("order", rulebook.order)
        on_path, on_bars = self._of("exit", rulebook.exit_on_path), self._of("exit", rulebook.exit)
        return found + [one.plus(other) for one, other in zip(on_path, on_bars, strict=True)]

    def _of(self, name: str, rules: RuleSet) -> list[RuleStatistics]:
        key, count = id(rules.rules), len(rules.rules)
        evaluated, matched, decided = [0] * count, [0] * count, [0] * count
        index_of = {rule.name: index for index, rule in enumerate(rules.rules)}
        if rules.stage.policy == "veto":
            for (owner, rule, names), times in self._matched.items():
                if owner == key:
                    evaluated = [seen + times for seen in evaluated]
                    for item in names:
                        matched[index_of[item]] += times
                    if rule:
                        decided[index_of[rule]] += times
        else:
            firsts = Counter({index: times for (owner, index), times in self._first.items() if owner == key})
            for (owner, rule, _), times in self._matched.items():
                if owner == key:
                    firsts[index_of.get(rule, -1)] += times
            for index, times in firsts.items():
                for seen in range(count if index < 0 else index + 1):
                    evaluated[seen] += times
                if index >= 0:
                    matched[index] += times
                    decided[index] += times
        return [
            RuleStatistics(name, rule.name, evaluated[index], matched[index], decided[index],
                           self._unknown[key, index] if self._unknowns else None)
            for index, rule in enumerate(rules.rules)
        ]  # fmt: skip

    def _of_values(self, values: ValueSet) -> list[RuleStatistics]:
        key = id(values.parts)
        decided = Counter[str]()
        for (owner, rule, _), times in self._matched.items():
            if owner == key:
                decided[rule] += times
        total = sum(decided.values())
        return [
            RuleStatistics("sizing", part.name, total, decided[part.name], decided[part.name], None)
            for part in values.parts
        ]

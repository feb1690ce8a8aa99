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
        self._seen: Counter[tuple[int, str | None, tuple[str, ...], Sequence[str]]] = Counter()
        self._first: Counter[tuple[int, int, Sequence[str]]] = Counter()
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
        seen, unknowns = self._seen, self._unknowns
        for decision in decisions:
            judge = decision.judge
            if isinstance(judge, RuleSet):
                verdicts = judge.verdicts(decision.facts) if unknowns and decision.facts is not None else ()
                seen[id(judge.rules), decision.rule, decision.matched, verdicts] += 1
            elif isinstance(judge, ValueSet):
                seen[id(judge.parts), decision.rule, (), ()] += 1

    def outcomes(self, outcomes: Iterable[Outcome]) -> None:
        self.decisions(decision for outcome in outcomes for decision in outcome.decisions)

    def exit(self, rules: RuleSet, index: int, row: Row, times: int = 1) -> None:
        """An exit judgement, or as many of the same; index: of the rule that decided, -1 for none."""
        self._first[id(rules.rules), index, rules.verdicts(row) if self._unknowns else ()] += times

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
        evaluated, matched, decided, unknown = ([0] * count for _ in range(4))
        index_of = {rule.name: index for index, rule in enumerate(rules.rules)}

        def add(decider: int, asked: int, matches: Iterable[int], verdicts: Sequence[str], times: int) -> None:
            for index in range(asked):
                evaluated[index] += times
                if verdicts and verdicts[index] == "unknown":
                    unknown[index] += times
            for index in matches:
                matched[index] += times
            if decider >= 0:
                decided[decider] += times

        for (owner, rule, names, verdicts), times in self._seen.items():
            if owner == key:
                decider = -1 if rule is None else index_of[rule]
                asked = count if rules.stage.policy == "veto" or decider < 0 else decider + 1
                add(decider, asked, [index_of[item] for item in names], verdicts, times)
        for (owner, index, verdicts), times in self._first.items():
            if owner == key:
                decider = index if index >= -1 else -2 - index  # one that failed decides as well
                asked = count if index == -1 else decider + 1
                add(decider, asked, (index,) if index >= 0 else (), verdicts, times)
        return [
            RuleStatistics(name, rule.name, evaluated[index], matched[index], decided[index],
                           unknown[index] if self._unknowns else None)
            for index, rule in enumerate(rules.rules)
        ]  # fmt: skip

    def _of_values(self, values: ValueSet) -> list[RuleStatistics]:
        key = id(values.parts)
        decided = Counter[str]()
        for (owner, rule, _, _), times in self._seen.items():
            if owner == key and rule is not None:
                decided[rule] += times
        total = sum(decided.values())
        return [
            RuleStatistics("sizing", part.name, total, decided[part.name], decided[part.name], None)
            for part in values.parts
        ]

"""Rule statistics: how often each rule of each set was judged, matched, decided, was unknown."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autotrader.core.entry import Outcome
from autotrader.core.panel import Array, Mask
from autotrader.core.ranking import Ranking
from autotrader.core.rulebook import Rulebook
from autotrader.rules.compile import Row
from autotrader.rules.decision import Decision
from autotrader.rules.ruleset import Judge, RuleSet, ValueSet


@dataclass(frozen=True, slots=True)
class RuleStatistics:
    """One rule, or one sizing value, of one set.

    evaluated: how often it was judged; under the policy first, only where no rule before it decided.
    matched:   how often its condition counted as matching. decided: how often the outcome was its own; of a sizing
               value how often it was the least, of a part of the score how often it added something.
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
        self.unknowns = unknowns
        self._seen: Counter[tuple[Judge | None, str | None, tuple[str, ...], Sequence[str]]] = Counter()
        self._first: Counter[tuple[RuleSet, int, Sequence[str]]] = Counter()
        self._columns: defaultdict[int, list[NDArray[np.int64]]] = defaultdict(list)
        self._ranking: Ranking | None = None

    def regimes(self, rules: RuleSet, series: Mapping[str, Array], sessions: slice) -> None:
        """The regime of these sessions. series: the proxy's, float64 [1, T]."""
        columns = {name: series[name][0][sessions] for name in rules.reads}
        shape = (len(range(*sessions.indices(series["close"].shape[1]))),)
        unknown = rules.unknown_columns(columns, shape) if self.unknowns else None
        self.firsts(rules, rules.first_columns(columns, shape), unknown)

    def ranking(self, ranking: Ranking) -> None:
        """Eligibility and score of every signal, from the ranking's own columns."""
        self._ranking = ranking
        eligible = ranking.rulebook.eligible
        unknown = eligible.unknown_columns(ranking.columns, (len(ranking.signals),)) if self.unknowns else None
        self.vetoes(eligible, ranking.rejects, unknown)

    def vetoes(self, rules: RuleSet, matched: Mask, unknown: Mask | None) -> None:
        """Judgements of n subjects by a set whose policy is veto. matched, unknown: bool [rules, n]."""
        count = len(rules.rules)
        deciders = matched.argmax(axis=0)[matched.any(axis=0)] if count else np.empty(0, dtype=np.intp)
        decided = np.bincount(deciders, minlength=count)
        self._add(rules, np.full(count, matched.shape[1]), matched.sum(axis=1), decided, unknown)

    def firsts(self, rules: RuleSet, decided: NDArray[np.intp], unknown: Mask | None) -> None:
        """Judgements of n subjects by a set whose policy is first. decided: [n], as from `first_columns`."""
        count = len(rules.rules)
        deciders = np.where(decided < -1, -2 - decided, decided)  # one that fails decides as well
        each, matched = (np.bincount(of + 1, minlength=count + 1)[1:] for of in (deciders, np.maximum(decided, -1)))
        asked = len(decided) - (np.cumsum(each) - each)
        if unknown is not None:
            unknown = unknown & ((deciders < 0) | (np.arange(count)[:, None] <= deciders))
        self._add(rules, asked, matched, each, unknown)

    def _add(
        self,
        rules: RuleSet,
        evaluated: NDArray[np.int64],
        matched: NDArray[np.int64],
        decided: NDArray[np.int64],
        unknown: Mask | None,
    ) -> None:
        unknowns = np.zeros_like(evaluated) if unknown is None else unknown.sum(axis=1)
        self._columns[id(rules.rules)].append(np.stack([evaluated, matched, decided, unknowns]))

    def decisions(self, decisions: Iterable[Decision]) -> None:
        seen, unknowns = self._seen, self.unknowns
        for decision in decisions:
            judge = decision.judge
            verdicts: Sequence[str] = ()
            if unknowns and isinstance(judge, RuleSet) and decision.facts is not None:
                verdicts = judge.verdicts(decision.facts)
            seen[judge, decision.rule, decision.matched, verdicts] += 1

    def outcomes(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            self.decisions(outcome.decisions)

    def exit(self, rules: RuleSet, index: int, row: Row, times: int = 1) -> None:
        """An exit judgement, or as many of the same; index: of the rule that decided, -1 for none."""
        self._first[rules, index, rules.verdicts(row) if self.unknowns else ()] += times

    def statistics(self, rulebook: Rulebook) -> list[RuleStatistics]:
        """Every rule of every set that this tally was fed from, in the order of the day."""
        found = self._of("regime", rulebook.regime) + self._of("eligible", rulebook.eligible) + self._of_score()
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
        known = sum(self._columns[key], np.zeros((4, count), dtype=np.int64))
        evaluated, matched, decided, unknown = known.tolist()
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

        for (judge, rule, names, verdicts), times in self._seen.items():
            if isinstance(judge, RuleSet) and judge.rules is rules.rules:
                decider = -1 if rule is None else index_of[rule]
                asked = count if rules.stage.policy == "veto" or decider < 0 else decider + 1
                add(decider, asked, [index_of[item] for item in names], verdicts, times)
        for (other, index, verdicts), times in self._first.items():
            if other.rules is rules.rules:
                decider = index if index >= -1 else -2 - index  # one that failed decides as well
                asked = count if index == -1 else decider + 1
                add(decider, asked, (index,) if index >= 0 else (), verdicts, times)
        return [
            RuleStatistics(name, rule.name, evaluated[index], matched[index], decided[index],
                           unknown[index] if self.unknowns else None)
            for index, rule in enumerate(rules.rules)
        ]  # fmt: skip

    def _of_score(self) -> list[RuleStatistics]:
        ranking = self._ranking
        if ranking is None:
            return []
        rows = []
        for part, value, unknown in ranking.rulebook.score.part_columns(ranking.columns, (len(ranking.signals),)):
            added, lost = int(np.count_nonzero(~unknown & (value != 0))), int(np.count_nonzero(unknown))
            rows.append(RuleStatistics("score", part.name, len(value), added, added, lost if self.unknowns else None))
        return rows

    def _of_values(self, values: ValueSet) -> list[RuleStatistics]:
        decided = Counter[str]()
        for (judge, rule, _, _), times in self._seen.items():
            if isinstance(judge, ValueSet) and judge.parts is values.parts and rule is not None:
                decided[rule] += times
        total = sum(decided.values())
        return [
            RuleStatistics("sizing", part.name, total, decided[part.name], decided[part.name], None)
            for part in values.parts
        ]

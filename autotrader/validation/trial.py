"""Judging cases by the rules of a configuration: what each gave and why, and what the rules were seen to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from autotrader.core.rulebook import Rulebook
from autotrader.core.sizing import size
from autotrader.core.strategy import Direction
from autotrader.rules.decision import Evidence
from autotrader.rules.facts import Scalar
from autotrader.rules.ruleset import RuleSet
from autotrader.validation.cases import NO_RULE, Case, Rules, judging, rule_sets


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """One rule set as a case was judged by it. key: as in rule_sets. rules: with the strategy's values folded in.

    decided: the rules or the value that decided. streaks: after the last bar.
    """

    key: str
    rules: Rules
    facts: Mapping[str, Scalar]
    decided: tuple[str, ...] = ()
    streaks: tuple[int, ...] = ()

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """Every rule of the set, those behind the decision too."""
        return self.rules.evidence(self.facts, None, self.streaks)


@dataclass(frozen=True, eq=False)
class Result:
    """What a case gave.

    outcome, rules, value, quantity: what was decided, and by which rules or value; None, () where there is none.
    bar: from 1, the bar of the decision, where judging ended.
    """

    case: Case
    outcome: str
    rules: tuple[str, ...]
    value: float | None
    quantity: int | None
    bar: int
    sheets: tuple[Sheet, ...]

    @cached_property
    def passed(self) -> bool:
        case = self.case
        return (
            (case.outcome is None or case.outcome == self.outcome)
            and (case.rule is None or case.rule in (self.rules or (NO_RULE,)))
            and (case.value is None or (self.value is not None and abs(self.value - case.value) <= case.tolerance))
            and (case.quantity is None or case.quantity == self.quantity)
            and self.bar == len(case.bars)
        )

    @cached_property
    def not_given(self) -> Mapping[str, tuple[str, ...]]:
        """Facts that were not given though a rule that mattered needed them -> those rules.

        What matters: every rule up to the one that decided where the order counts, else every rule, and the expected.
        """
        found: dict[str, tuple[str, ...]] = {}
        for sheet in self.sheets:
            names = [item.rule for item in sheet.evidence]
            ordered = sheet.rules.stage.policy == "first" and sheet.decided
            reached = names.index(sheet.decided[0]) + 1 if ordered else len(names)
            for index, item in enumerate(sheet.evidence):
                known = item.verdict != "unknown" if item.verdict is not None else item.value is not None
                if known or (index >= reached and item.rule != self.case.rule):
                    continue
                declared = sheet.rules.stage.facts
                if any(value is None for name, value in item.facts.items() if name not in declared):
                    continue  # the strategy has no value for this rule: no fact could make it decide
                for name in item.facts:
                    if name in declared and name not in sheet.facts:
                        found[name] = (*found.get(name, ()), item.rule)
        return found


@dataclass(frozen=True, slots=True)
class RuleCoverage:
    """What one rule, or value, did over all cases.

    matched, not_matched: of a value that competes with others: it decided, it did not; of any other: it was known.
    one_sided: it cannot but match, so that matching is all there is to see.
    """

    key: str
    rule: str
    matched: int
    not_matched: int
    unknown: int
    one_sided: bool

    @property
    def covered(self) -> bool:
        return self.matched > 0 and (self.not_matched > 0 or self.one_sided)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Every rule of the configuration, in the order of the day."""

    rules: tuple[RuleCoverage, ...]

    @property
    def percent(self) -> float:
        """How many of a hundred rules were seen both matching and not matching."""
        return 100.0 * sum(rule.covered for rule in self.rules) / max(1, len(self.rules))

    @property
    def never_matched(self) -> list[RuleCoverage]:
        return [rule for rule in self.rules if not rule.matched]

    @property
    def always_matched(self) -> list[RuleCoverage]:
        """Those never seen not matching."""
        return [rule for rule in self.rules if not rule.not_matched and not rule.one_sided]


class Trial:
    """Judges cases by one configuration."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook
        self._sets = rule_sets(rulebook)
        self._bound: dict[tuple[str, str, Direction], Rules] = {}

    def judge(self, case: Case) -> Result:
        """Judges one case: bar by bar, until one leaves or the last has been judged."""
        if case.stage == "sizing":
            return self._size(case)
        (key,) = judging(self._rulebook, case.stage, case.strategy)
        rules = self._rules(key, case)
        bar = 0
        streaks: tuple[int, ...] = ()
        for facts in case.bars:
            bar += 1
            decision = rules.judge(facts, streaks) if isinstance(rules, RuleSet) else rules.judge(facts)
            streaks = decision.streaks
            if decision.failed or (case.stage == "exit" and decision.outcome == "exit"):
                break
        decided = decision.matched or (() if decision.rule is None else (decision.rule,))
        sheet = Sheet(key, rules, facts, decided, streaks)
        return Result(case, decision.outcome, decided, decision.value, None, bar, (sheet,))

    def _size(self, case: Case) -> Result:
        assert case.strategy is not None
        assert case.direction is not None
        facts = case.bars[0]
        sheets = {key: Sheet(key, self._rules(key, case), facts) for key in ("sizing", "scale")}
        sized = size(self._rulebook, case.strategy, case.direction, facts)
        decided: tuple[str, ...] = () if sized.least.rule is None else (sized.least.rule,)
        sheets["sizing"] = Sheet("sizing", sheets["sizing"].rules, facts, decided)
        outcome = "sized" if sized.entered else self._rulebook.sizing.stage.default
        if sized.least.failed:
            outcome = sized.least.outcome
        if sized.order is not None:
            matched = sized.order.matched
            sheets["order"] = Sheet("order", self._rules("order", case), sized.order.facts or facts, matched)
            if sized.order.rule is not None:
                outcome, decided = sized.order.outcome, matched
        return Result(case, outcome, decided, sized.least.value, sized.quantity, 1, tuple(sheets.values()))

    def _rules(self, key: str, case: Case) -> Rules:
        """A rule set with the values of the case's strategy and side folded in."""
        if case.strategy is None or case.direction is None:
            return self._sets[key]
        at = (key, case.strategy, case.direction)
        if at not in self._bound:
            self._bound[at] = self._sets[key].bind(self._rulebook.values(case.strategy, case.direction))
        return self._bound[at]


def coverage(results: Iterable[Result], rulebook: Rulebook) -> Coverage:
    """What every rule did on each case's last judged facts, those behind the decision too."""
    seen: Counter[tuple[str, str, str]] = Counter()
    for result in results:
        for sheet in result.sheets:
            for rule, verdict in _verdicts(sheet):
                seen[sheet.key, rule, verdict] += 1
    found = []
    for key, rules in rule_sets(rulebook).items():
        for name, one_sided in _members(rules):
            matched, not_matched, unknown = (seen[key, name, verdict] for verdict in ("match", "no_match", "unknown"))
            found.append(RuleCoverage(key, name, matched, not_matched, unknown, one_sided))
    return Coverage(tuple(found))


def _verdicts(sheet: Sheet) -> Iterable[tuple[str, str]]:
    """What each rule of a sheet did: match, no_match or unknown."""
    rules = sheet.rules
    if isinstance(rules, RuleSet):
        needed = {rule.name: rule.for_bars for rule in rules.rules}
        for item in sheet.evidence:
            short = item.streak is not None and item.streak < needed[item.rule]
            yield item.rule, "no_match" if short and item.verdict == "match" else str(item.verdict)
        return
    decides = rules.stage.policy == "least" and len(rules.parts) > 1
    for item in sheet.evidence:
        if item.value is None:
            yield item.rule, "unknown"
        else:
            yield item.rule, "match" if not decides or item.rule in sheet.decided else "no_match"


def _members(rules: Rules) -> Iterable[tuple[str, bool]]:
    """The rules or values of a set, and whether each cannot but match."""
    if isinstance(rules, RuleSet):
        return [(rule.name, not rule.when.names) for rule in rules.rules]
    return [(part.name, rules.stage.policy != "least" or len(rules.parts) == 1) for part in rules.parts]

"""Rule sets: rules over one stage's facts, judged by the stage's policy, for one row of facts or for whole columns."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Literal, Protocol

from autotrader.rules import compile as compiled
from autotrader.rules.compile import Row
from autotrader.rules.decision import FAIL, Decision, Evidence, Verdict
from autotrader.rules.expression import Expression
from autotrader.rules.facts import Kind, Scalar, Stage
from autotrader.rules.ranges import Steady, steady

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from autotrader.rules.evaluate import Columns

OnMissing = Literal["skip", "match", "fail"]
Streaks = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A condition and what follows from it.

    for_bars: it counts as matching once it has matched on so many rows in a row. on_missing: None takes the policy's
    default.
    """

    name: str
    when: Expression
    then: str
    reason: str
    for_bars: int = 1
    on_missing: OnMissing | None = None
    because: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A named value of a weighing (with its weight) or of a least.

    on_missing: "skip" leaves an unknown one out; else it leaves the whole unknown, which with "fail" is a failure.
    """

    name: str
    value: Expression
    weight: float = 1.0
    on_missing: OnMissing | None = None
    because: str | None = None


class Judge(Protocol):
    """What can explain a decision it made."""

    def evidence(self, facts: Row, decided: str | None, streaks: Streaks) -> tuple[Evidence, ...]: ...


def _treats_unknown(stage: Stage, rule: Rule) -> OnMissing:
    """What an unknown condition counts as: what the rule says, else what the policy says."""
    if rule.on_missing is not None:
        return rule.on_missing
    if stage.policy == "veto" or rule.then in stage.unknown_matches:
        return "match"
    return "skip"


def _reads(expressions: Iterable[Expression]) -> dict[str, Kind]:
    return {name: kind for expression in expressions for name, kind in expression.reads.items()}


@dataclass(frozen=True, eq=False)
class RuleSet:
    """Rules under the policy first or veto.

    constants: parameters and strategy values, folded in; `bind` gives the same rules with further ones. An unknown
    number is NaN.
    """

    stage: Stage
    rules: tuple[Rule, ...]
    constants: Row = field(default_factory=dict)

    def bind(self, constants: Row) -> RuleSet:
        return RuleSet(self.stage, self.rules, {**self.constants, **constants})

    def without_streaks(self) -> RuleSet:
        """The same rules with for_bars counting as 1: for rows that are not consecutive bars."""
        return RuleSet(self.stage, tuple(replace(rule, for_bars=1) for rule in self.rules), self.constants)

    @cached_property
    def reads(self) -> Mapping[str, Kind]:
        """The facts that have to be given, with their kinds."""
        every = _reads(rule.when for rule in self.rules)
        return {name: kind for name, kind in every.items() if name not in self.constants}

    @cached_property
    def streak_rules(self) -> tuple[Rule, ...]:
        """The rules with for_bars above 1, in order: what a tuple of streaks counts."""
        return tuple(rule for rule in self.rules if rule.for_bars > 1)

    @cached_property
    def no_streaks(self) -> Streaks:
        return (0,) * len(self.streak_rules)

    # --- one row ------------------------------------------------------------------------------------------------

    def first(self, facts: Row, streaks: Streaks = ()) -> tuple[int, Streaks]:
        """The index of the rule that decides, -1 if none, and the streaks after this bar. Nothing is recorded.

        An index of -2 - i: rule i was reached, is unknown and says on_missing: fail.
        streaks: those after the bar before, of the same session; () at a session's first. Every streak counts on
        every bar, wherever it is decided.
        """
        try:
            return self._first(facts, streaks or self.no_streaks)
        except compiled.UNFIT:
            return self._first(compiled.clean(self.reads, facts), streaks or self.no_streaks)

    def matching(self, facts: Row) -> tuple[int, ...]:
        """The indices of all rules that match or fail: what a veto reports. for_bars counts as 1."""
        try:
            return self._matching(facts)
        except compiled.UNFIT:
            return self._matching(compiled.clean(self.reads, facts))

    def verdicts(self, facts: Row) -> Sequence[Verdict]:
        """What each rule's own condition gives, whatever on_missing and for_bars make of it."""
        try:
            return self._verdicts(facts)
        except compiled.UNFIT:
            return self._verdicts(compiled.clean(self.reads, facts))

    def count(self, streaks: Streaks, facts: Row) -> Streaks:
        """The streaks after one more bar. A rule that matches counts on; one that does not, or is unknown, restarts.

        on_missing is applied first: with `match`, an unknown counts; with `fail`, it restarts.
        """
        try:
            return self._count(facts, streaks or self.no_streaks)
        except compiled.UNFIT:
            return self._count(compiled.clean(self.reads, facts), streaks or self.no_streaks)

    def streaks_over(self, rows: Iterable[Row]) -> Streaks:
        """The streaks after these bars, as counting bar by bar would have left them: for a restart, or after a gap.

        rows: of one session, oldest first, only bars that were received and are newer than the fill; minutes
        without a bar are simply not there.
        """
        return reduce(self.count, rows, self.no_streaks)

    def judge(self, facts: Row, streaks: Streaks = ()) -> Decision:
        """The decision for one row, with its evidence. The row must not change afterwards."""
        if self._vetoes:
            matched = self.matching(facts)
            if matched and self.rules[matched[0]].on_missing == "fail":
                return self.vetoed(matched, facts)
        else:
            index, streaks = self.first(facts, streaks)
            matched = (index,) if index != -1 else ()
        known = self._conclusions.get(matched) or self._concluded(matched)
        return tuple.__new__(Decision, (*known, self, facts, streaks))

    def decision(self, index: int, facts: Row, streaks: Streaks = ()) -> Decision:
        """The Decision of the policy first, from what `first` gave."""
        matched = (index,) if index != -1 else ()
        return tuple.__new__(Decision, (*self._concluded(matched), self, facts, streaks))

    def vetoed(self, matched: tuple[int, ...], facts: Row) -> Decision:
        """The Decision of the policy veto, from what `matching` gave: the first of them decides."""
        if matched and self.rules[matched[0]].on_missing == "fail":
            first, *others = matched
            if self.verdicts(facts)[first] == "unknown":
                matched = (-2 - first, *others)
        return tuple.__new__(Decision, (*self._concluded(matched), self, facts, ()))

    def evidence(self, facts: Row, decided: str | None, streaks: Streaks) -> tuple[Evidence, ...]:
        """What each rule gave and read; under the policy first, up to the rule that decided."""
        counts = streaks or (None,) * len(self.streak_rules)
        try:
            found = self._evidence(facts, counts)
        except compiled.UNFIT:
            found = self._evidence(compiled.clean(self.reads, facts), counts)
        if decided is None or self.stage.policy == "veto":
            return found
        return found[: self._judged_by[decided]]

    def first_between(self, moving: frozenset[str], *, alike: bool) -> Steady:
        """Which rule decides, where these facts are given as a least and a most; see `steady`. Made once."""
        found = self._between.get((moving, alike))
        if found is None:
            rules = [(rule, _treats_unknown(self.stage, rule)) for rule in self.rules]
            found = self._between[moving, alike] = steady(rules, self._known, moving, alike=alike)
        return found

    # --- columns ------------------------------------------------------------------------------------------------

    def first_columns(self, columns: Columns, shape: tuple[int, ...]) -> NDArray[np.intp]:
        """For every element what `first` gives: the index of the rule that decides. for_bars counts as 1."""
        import numpy as np

        decided = np.full(shape, -1, dtype=np.intp)
        for index, (matched, failed) in enumerate(self._matches(columns, shape)):
            undecided = decided == -1
            decided[undecided & matched] = index
            if failed is not None:
                decided[undecided & failed] = -2 - index
        return decided

    def match_columns(self, columns: Columns, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """bool [rules, *shape]: where each rule matches or fails, unknowns counted as on_missing says."""
        import numpy as np

        found = np.zeros((len(self.rules), *shape), dtype=np.bool_)
        for index, (matched, failed) in enumerate(self._matches(columns, shape)):
            found[index] = matched if failed is None else matched | failed
        return found

    def unknown_columns(self, columns: Columns, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """bool [rules, *shape]: where each rule's own condition is unknown, whatever on_missing makes of it."""
        import numpy as np

        from autotrader.rules.evaluate import column_match, column_miss

        given = {**columns, **self.constants}
        found = np.zeros((len(self.rules), *shape), dtype=np.bool_)
        for index, rule in enumerate(self.rules):
            found[index] = ~(column_match(rule.when, given) | column_miss(rule.when, given))
        return found

    def _matches(
        self, columns: Columns, shape: tuple[int, ...]
    ) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_] | None]]:
        """For each rule, where it counts as matching, and where it fails, if it can."""
        import numpy as np

        from autotrader.rules.evaluate import column_match, column_miss

        given = {**columns, **self.constants}
        for rule in self.rules:
            failed = None
            unknown = _treats_unknown(self.stage, rule)
            if unknown == "match":
                matched = ~column_miss(rule.when, given)
            else:
                matched = column_match(rule.when, given)
                if unknown == "fail":
                    failed = np.broadcast_to(~(matched | column_miss(rule.when, given)), shape)
            yield np.broadcast_to(matched, shape), failed

    # --- compiled forms -----------------------------------------------------------------------------------------

    @cached_property
    def _vetoes(self) -> bool:
        return self.stage.policy == "veto"

    @cached_property
    def _between(self) -> dict[tuple[frozenset[str], bool], Steady]:
        return {}

    @cached_property
    def _conclusions(self) -> dict[tuple[int, ...], tuple[object, ...]]:
        """What a Decision begins with, by the rules that matched, as far as they have been met."""
        return {}

    def _concluded(self, matched: tuple[int, ...]) -> tuple[object, ...]:
        known = self._conclusions.get(matched)
        if known is None:
            known = self._conclusions[matched] = self._conclusion(matched)
        return known

    def _conclusion(self, matched: tuple[int, ...]) -> tuple[object, ...]:
        stage = self.stage
        if not matched:
            return stage.name, stage.default, None, stage.default, (), None
        first, *others = matched
        rule = self.rules[first if first >= 0 else -2 - first]
        if first < 0 and not self._vetoes:  # where any match rejects, one that fails is reported with them
            return stage.name, FAIL, rule.name, f"{rule.reason} unknown", (), None
        outcome, reason = (rule.then, rule.reason) if first >= 0 else (FAIL, f"{rule.reason} unknown")
        return stage.name, outcome, rule.name, reason, (rule.name, *(self.rules[at].name for at in others)), None

    @cached_property
    def _known(self) -> dict[str, Scalar]:
        return compiled.clean_constants(_reads(rule.when for rule in self.rules), self.constants)

    @cached_property
    def _judged_by(self) -> Mapping[str, int]:
        """How many rules have been judged when a rule decides, by its name."""
        return {rule.name: count for count, rule in enumerate(self.rules, 1)}

    @cached_property
    def _first(self) -> Callable[[Row, Streaks], tuple[int, Streaks]]:
        return compiled.function_over_facts("first(facts, streaks)", self._known, self._first_lines)

    def _first_lines(self, coder: compiled.Coder) -> list[str]:
        body, after, slots = self._counting(coder)
        for index, rule in enumerate(self.rules):
            unknown = _treats_unknown(self.stage, rule)
            test = f"{slots[rule]} >= {rule.for_bars}" if rule in slots else self._test(coder, rule, unknown)
            body.append(f"if {test}: return {index}, {after}")
            if unknown == "fail":  # a streak has begun where the condition is known to hold
                begun = f"{slots[rule]} == 0 and " if rule in slots else ""
                body.append(f"if {begun}not ({coder.code(_conditions(rule)[1])}): return {-2 - index}, {after}")
        return [*body, f"return -1, {after}"]

    @cached_property
    def _count(self) -> Callable[[Row, Streaks], Streaks]:
        def lines(coder: compiled.Coder) -> list[str]:
            body, after, _ = self._counting(coder)
            return [*body, f"return {after}"]

        return compiled.function_over_facts("count(facts, streaks)", self._known, lines)

    @cached_property
    def _matching(self) -> Callable[[Row], tuple[int, ...]]:
        """if rule 0 or rule 1 or ...: return those that match; return () -- most subjects match nothing."""

        def lines(coder: compiled.Coder) -> list[str]:
            reported: Mapping[OnMissing, OnMissing] = {"skip": "skip", "match": "match", "fail": "match"}
            tests = [self._test(coder, rule, reported[_treats_unknown(self.stage, rule)]) for rule in self.rules]
            each = "".join(f"*(({index},) if {test} else ()), " for index, test in enumerate(tests))
            any_of = " or ".join(f"({test})" for test in tests) or "False"
            return [f"if {any_of}: return ({each})", "return ()"]

        return compiled.function_over_facts("matching(facts)", self._known, lines)

    @cached_property
    def _verdicts(self) -> Callable[[Row], tuple[Verdict, ...]]:
        def lines(coder: compiled.Coder) -> list[str]:
            return [f"return ({''.join(f'{self._verdict(coder, rule)}, ' for rule in self.rules)})"]

        return compiled.function_over_facts("verdicts(facts)", self._known, lines)

    @cached_property
    def _evidence(self) -> Callable[[Row, Sequence[int | None]], tuple[Evidence, ...]]:
        """Every fact is taken once into two variables: `v0` to judge by, and `s0` as it stands in a record."""
        body = ["get = facts.get"]
        slots = {name: slot for slot, name in enumerate(self.reads)}
        for name, slot in slots.items():
            body.append(f"s{slot} = v{slot} = get({name!r})")
            if self.reads[name] == "number":
                body.append(f"if v{slot} != v{slot}: s{slot} = None")
                body.append(f"elif v{slot} is None: v{slot} = unknown")
        coder = compiled.Coder(self._known, {name: f"v{slot}" for name, slot in slots.items()})
        shown = {name: compiled.literal(compiled.known(value)) for name, value in self._known.items()}
        shown |= {name: f"s{slot}" for name, slot in slots.items()}
        items = []
        counted = 0
        for rule in self.rules:
            read = ", ".join(f"{name!r}: {shown[name]}" for name in rule.when.names)
            streak = "None"
            if rule.for_bars > 1:
                streak, counted = f"streaks[{counted}]", counted + 1
            verdict = self._verdict(coder, rule)
            items.append(f"new(Evidence, ({rule.name!r}, {rule.when.text!r}, {verdict}, None, {{{read}}}, {streak})), ")
        body.append(f"return ({''.join(items)})")
        return compiled.function("evidence(facts, streaks)", body, Evidence=Evidence, new=tuple.__new__)

    def _counting(self, coder: compiled.Coder) -> tuple[list[str], str, Mapping[Rule, str]]:
        """The lines that count all streaks, the tuple of them, and each rule's variable."""
        body = []
        slots = {rule: f"streak{slot}" for slot, rule in enumerate(self.streak_rules)}
        for slot, (rule, name) in enumerate(slots.items()):
            test = self._test(coder, rule, _treats_unknown(self.stage, rule))
            body.append(f"{name} = streaks[{slot}] + 1 if {test} else 0")
        return body, f"({''.join(f'{name}, ' for name in slots.values())})", slots

    def _test(self, coder: compiled.Coder, rule: Rule, unknown: OnMissing) -> str:
        """Python that is true where the rule counts as matching."""
        match, miss = _conditions(rule)
        return f"not ({coder.code(miss)})" if unknown == "match" else coder.code(match)

    def _verdict(self, coder: compiled.Coder, rule: Rule) -> str:
        match, miss = _conditions(rule)
        return f"'match' if {coder.code(match)} else 'no_match' if {coder.code(miss)} else 'unknown'"


@dataclass(frozen=True, eq=False)
class ValueSet:
    """Named values under the policy weigh or least.

    weigh: the sum of weight x value; an unknown one leaves the whole unknown (outcome: the stage's default).
    least: the smallest value, the first of equals; a negative one counts as 0; an unknown one as in weigh.
    """

    stage: Stage
    parts: tuple[Part, ...]
    constants: Row = field(default_factory=dict)

    def bind(self, constants: Row) -> ValueSet:
        return ValueSet(self.stage, self.parts, {**self.constants, **constants})

    @cached_property
    def reads(self) -> Mapping[str, Kind]:
        """The facts that have to be given, with their kinds."""
        every = _reads(part.value for part in self.parts)
        return {name: kind for name, kind in every.items() if name not in self.constants}

    # --- one row ------------------------------------------------------------------------------------------------

    def value(self, facts: Row) -> tuple[float, int]:
        """The number, NaN if unknown, and the index of the part that decided: the least, or the first unknown one.

        The index is -1 where no single part decides.
        """
        try:
            values = self._every(facts)
        except compiled.UNFIT:
            values = self._every(compiled.clean(self.reads, facts))
        if len(values) == 1 and values[0] > 0 and not self._weighs:
            return values[0], 0
        total, least, decided, unknown = 0.0, math.nan, -1, -1
        for index, (part, value) in enumerate(zip(self.parts, values, strict=True)):
            if value != value:
                if part.on_missing != "skip" and unknown < 0:
                    unknown = index
                continue
            total += part.weight * value
            if decided < 0 or value < least:
                least, decided = value, index
        if unknown >= 0:
            return math.nan, unknown
        if self._weighs:
            return total, -1
        return (least if least > 0 or decided < 0 else 0.0), decided

    def judge(self, facts: Row) -> Decision:
        """The decision for one row: outcome the stage's first outcome, or its default where the value is unknown."""
        value, decided = self.value(facts)
        stage = self.stage
        rule = self.parts[decided].name if decided >= 0 else None
        if math.isnan(value):
            strict = (part for part in self.parts if part.on_missing == "fail")
            failed = next((part.name for part in strict if math.isnan(self._numbers[part.name](facts))), None)
            if failed is not None:
                return Decision(stage.name, FAIL, failed, f"{failed} unknown", (), None, self, facts)
            return Decision(stage.name, stage.default, rule, stage.default, (), None, self, facts)
        return Decision(stage.name, stage.outcomes[0], rule, rule or stage.outcomes[0], (), value, self, facts)

    def evidence(self, facts: Row, _decided: str | None, _streaks: Streaks) -> tuple[Evidence, ...]:
        """What each value gave and read."""
        found = []
        for part in self.parts:
            number = self._numbers[part.name](facts)
            read = {name: compiled.known(self._given(name, facts)) for name in part.value.names}
            found.append(Evidence(part.name, part.value.text, None, None if math.isnan(number) else number, read))
        return tuple(found)

    @cached_property
    def _weighs(self) -> bool:
        return self.stage.policy == "weigh"

    @cached_property
    def _every(self) -> Callable[[Row], tuple[float, ...]]:
        """The numbers of all parts."""
        known = compiled.clean_constants(_reads(part.value for part in self.parts), self.constants)

        def lines(coder: compiled.Coder) -> list[str]:
            return [f"return ({''.join(f'{coder.as_float(part.value.value)}, ' for part in self.parts)})"]

        return compiled.function_over_facts("every(facts)", known, lines)

    @cached_property
    def _numbers(self) -> Mapping[str, Callable[[Row], float]]:
        return {part.name: compiled.number(part.value, self.constants) for part in self.parts}

    def _given(self, name: str, facts: Row) -> Scalar:
        return self.constants[name] if name in self.constants else facts.get(name)

    # --- columns ------------------------------------------------------------------------------------------------

    def weigh_columns(self, columns: Columns, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """The weighed sum for every element, NaN where unknown."""
        import numpy as np

        total = np.zeros(shape)
        for part, value, unknown in self.part_columns(columns, shape):
            kept = np.where(unknown, 0.0, value) if part.on_missing == "skip" else value
            with np.errstate(all="ignore"):
                total += part.weight * kept
        return total

    def least_columns(self, columns: Columns, shape: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """For every element, what `value` gives: the number, NaN where unknown, and the index of the part."""
        import numpy as np

        least, decided = np.full(shape, np.nan), np.full(shape, -1, dtype=np.intp)
        lost = np.zeros(shape, dtype=np.bool_)
        for index, (part, value, unknown) in enumerate(self.part_columns(columns, shape)):
            if part.on_missing != "skip":
                decided[unknown & ~lost] = index
                lost |= unknown
            better = ~lost & ~unknown & ((decided < 0) | (value < least))
            least[better], decided[better] = value[better], index
        least = np.where(least > 0, least, np.where(np.isnan(least), least, 0.0))
        return np.where(lost, np.nan, least), decided

    def part_columns(
        self, columns: Columns, shape: tuple[int, ...]
    ) -> Iterator[tuple[Part, NDArray[np.float64], NDArray[np.bool_]]]:
        """Each part's values, and where they are unknown."""
        import numpy as np

        from autotrader.rules.evaluate import column_number

        given = {**columns, **self.constants}
        for part in self.parts:
            value = np.broadcast_to(column_number(part.value, given), shape)
            unknown = np.isnan(value)
            yield part, value, unknown


def _conditions(rule: Rule) -> tuple[ast.expr, ast.expr]:
    assert rule.when.match is not None
    assert rule.when.miss is not None
    return rule.when.match, rule.when.miss

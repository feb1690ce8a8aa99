"""Rule sets: rules over one stage's facts, judged by the stage's policy, for one row of facts or for whole columns."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from autotrader.rules import compile as compiled
from autotrader.rules.compile import UnknownFact
from autotrader.rules.decision import Decision, Evidence, Verdict
from autotrader.rules.expression import Expression
from autotrader.rules.facts import Kind, Scalar, Stage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from autotrader.rules.evaluate import Columns

OnMissing = Literal["skip", "match", "fail"]
Row = Mapping[str, Scalar]


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A condition and what follows from it. on_missing: None takes the policy's default."""

    name: str
    when: Expression
    then: str
    reason: str
    for_bars: int = 1
    on_missing: OnMissing | None = None
    because: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A named value of a weighing (with its weight) or of a least. on_missing "skip" leaves an unknown one out."""

    name: str
    value: Expression
    weight: float = 1.0
    on_missing: OnMissing | None = None
    because: str | None = None


class Judge(Protocol):
    """What can explain a decision it made."""

    def evidence(self, facts: Row, decided: str | None, streaks: tuple[int, ...]) -> tuple[Evidence, ...]: ...


def _treats_unknown(stage: Stage, rule: Rule) -> OnMissing:
    """What an unknown condition counts as: what the rule says, else what the policy says."""
    if rule.on_missing is not None:
        return rule.on_missing
    if stage.policy == "veto" or rule.then in stage.unknown_matches:
        return "match"
    return "skip"


@dataclass(frozen=True, eq=False)
class RuleSet:
    """Rules under the policy first or veto.

    constants: parameters and strategy values, folded in; `bind` gives the same rules with further ones. An unknown
    number is NaN.
    """

    stage: Stage
    rules: tuple[Rule, ...]
    constants: Mapping[str, Scalar] = field(default_factory=dict)

    def bind(self, constants: Mapping[str, Scalar]) -> RuleSet:
        return RuleSet(self.stage, self.rules, {**self.constants, **constants})

    @cached_property
    def reads(self) -> Mapping[str, Kind]:
        """The facts that have to be given, with their kinds."""
        return {
            name: kind for rule in self.rules for name, kind in rule.when.reads.items() if name not in self.constants
        }

    @cached_property
    def streak_rules(self) -> tuple[Rule, ...]:
        """The rules with for_bars above 1, in order: what a tuple of streaks counts."""
        return tuple(rule for rule in self.rules if rule.for_bars > 1)

    @cached_property
    def no_streaks(self) -> tuple[int, ...]:
        return (0,) * len(self.streak_rules)

    # --- one row ------------------------------------------------------------------------------------------------

    def first(self, facts: Row, streaks: tuple[int, ...] = ()) -> tuple[int, tuple[int, ...]]:
        """The index of the rule that decides, -1 if none, and the streaks after this bar. Nothing is recorded.

        Raises UnknownFact for a rule that says on_missing: fail.
        """
        try:
            return self._first_quick(facts, streaks or self.no_streaks)
        except compiled.UNFIT:
            return self._first_careful(compiled.clean(self.reads, facts), streaks or self.no_streaks)

    def matching(self, facts: Row) -> tuple[int, ...]:
        """The indices of all rules that match: what a veto reports."""
        try:
            return self._matching_quick(facts)
        except compiled.UNFIT:
            return self._matching_careful(compiled.clean(self.reads, facts))

    def judge(self, facts: Row, streaks: tuple[int, ...] = ()) -> Decision:
        """The decision for one row, with its evidence. The row must not change afterwards."""
        if self.stage.policy == "veto":
            return self.decision(self.matching(facts), facts)
        index, streaks = self.first(facts, streaks)
        return self.decision(() if index < 0 else (index,), facts, streaks)

    def decision(self, matched: tuple[int, ...], facts: Row, streaks: tuple[int, ...] = ()) -> Decision:
        """The Decision for rules already judged: `matched` are their indices, the first of them decides."""
        stage = self.stage
        if not matched:
            return Decision(stage.name, stage.default, None, stage.default, (), None, self, facts, streaks)
        rule = self.rules[matched[0]]
        names = tuple(self.rules[index].name for index in matched)
        return Decision(stage.name, rule.then, rule.name, rule.reason, names, None, self, facts, streaks)

    def verdicts(self, facts: Row) -> Sequence[Verdict]:
        """What each rule's own condition gives, whatever on_missing and for_bars make of it."""
        return self._verdicts(compiled.clean(self.reads, facts))

    def evidence(self, facts: Row, decided: str | None, streaks: tuple[int, ...]) -> tuple[Evidence, ...]:
        known = compiled.clean(self.reads, facts)
        counts = dict(zip((rule.name for rule in self.streak_rules), streaks, strict=False))
        found = []
        for rule, verdict in zip(self.rules, self._verdicts(known), strict=True):
            read = _read(rule.when, facts, self.constants)
            found.append(Evidence(rule.name, rule.when.text, verdict, None, read, counts.get(rule.name)))
            if self.stage.policy == "first" and rule.name == decided:
                break
        return tuple(found)

    # --- columns ------------------------------------------------------------------------------------------------

    def first_columns(self, columns: Columns, shape: tuple[int, ...]) -> NDArray[np.intp]:
        """For every element, the index of the rule that decides, -1 if none. for_bars counts as 1.

        Raises UnknownFact if a rule that says on_missing: fail is reached by an unknown.
        """
        import numpy as np

        decided = np.full(shape, -1, dtype=np.intp)
        for index, matched in self._matches(columns, shape):
            decided[(decided < 0) & matched] = index
        return decided

    def match_columns(self, columns: Columns, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """bool [rules, *shape]: where each rule matches, unknowns counted as on_missing says."""
        import numpy as np

        found = np.zeros((len(self.rules), *shape), dtype=np.bool_)
        for index, matched in self._matches(columns, shape):
            found[index] = matched
        return found

    def _matches(self, columns: Columns, shape: tuple[int, ...]) -> Any:
        import numpy as np

        from autotrader.rules.evaluate import column_match, column_miss

        given = {**columns, **self.constants}
        for index, rule in enumerate(self.rules):
            unknown = _treats_unknown(self.stage, rule)
            if unknown == "match":
                matched = ~column_miss(rule.when, given)
            else:
                matched = column_match(rule.when, given)
                if unknown == "fail" and not np.all(matched | column_miss(rule.when, given)):
                    raise UnknownFact(self.stage.name, rule.name)
            yield index, np.broadcast_to(matched, shape)

    # --- compiled forms -----------------------------------------------------------------------------------------

    @cached_property
    def _first_quick(self) -> Callable[..., tuple[int, tuple[int, ...]]]:
        return self._compile_first(careful=False)

    @cached_property
    def _first_careful(self) -> Callable[..., tuple[int, tuple[int, ...]]]:
        return self._compile_first(careful=True)

    @cached_property
    def _matching_quick(self) -> Callable[[Row], tuple[int, ...]]:
        return self._compile_matching(careful=False)

    @cached_property
    def _matching_careful(self) -> Callable[[Row], tuple[int, ...]]:
        return self._compile_matching(careful=True)

    @cached_property
    def _verdicts(self) -> Callable[[Row], Sequence[Verdict]]:
        """Each rule's own verdict, whatever on_missing says."""
        verdicts: list[ast.expr] = []
        for rule in self.rules:
            match, miss = self._trees(rule, careful=True)
            other = ast.IfExp(miss, ast.Constant("no_match"), ast.Constant("unknown"))
            verdicts.append(ast.IfExp(match, ast.Constant("match"), other))
        return compiled.function("verdicts", [compiled.FACTS], [ast.Return(ast.Tuple(verdicts, ast.Load()))])

    def _trees(self, rule: Rule, *, careful: bool) -> tuple[ast.expr, ast.expr]:
        assert rule.when.match is not None
        assert rule.when.miss is not None
        match = compiled.inline(rule.when.match, self.constants, careful=careful)
        return match, compiled.inline(rule.when.miss, self.constants, careful=careful)

    def _test(self, rule: Rule, *, careful: bool) -> ast.expr:
        """A tree that is true where the rule counts as matching."""
        match, miss = self._trees(rule, careful=careful)
        unknown = _treats_unknown(self.stage, rule)
        if unknown == "match":
            return ast.UnaryOp(ast.Not(), miss)
        if unknown == "skip":
            return match
        fail = ast.Call(ast.Name("_fail", ast.Load()), [ast.Constant(self.stage.name), ast.Constant(rule.name)], [])
        return ast.BoolOp(ast.Or(), [match, ast.BoolOp(ast.And(), [ast.UnaryOp(ast.Not(), miss), fail])])

    def _compile_first(self, *, careful: bool) -> Callable[..., tuple[int, tuple[int, ...]]]:
        body: list[ast.stmt] = []
        counts: list[ast.expr] = []
        reached: dict[str, ast.expr] = {}
        for slot, rule in enumerate(self.streak_rules):
            count = f"streak_{slot}"
            before = ast.Subscript(ast.Name("streaks", ast.Load()), ast.Constant(slot), ast.Load())
            longer = ast.BinOp(before, ast.Add(), ast.Constant(1))
            value = ast.IfExp(self._test(rule, careful=careful), longer, ast.Constant(0))
            body.append(ast.Assign([ast.Name(count, ast.Store())], value))
            counts.append(ast.Name(count, ast.Load()))
            enough = [ast.Constant(rule.for_bars)]
            reached[rule.name] = ast.Compare(ast.Name(count, ast.Load()), [ast.GtE()], cast(list[ast.expr], enough))
        after = ast.Tuple(counts, ast.Load())

        def give(index: int) -> ast.stmt:
            return ast.Return(ast.Tuple([ast.Constant(index), after], ast.Load()))

        for index, rule in enumerate(self.rules):
            test = reached.get(rule.name) or self._test(rule, careful=careful)
            body.append(ast.If(test, [give(index)], []))
        body.append(give(-1))
        return compiled.function("first", [compiled.FACTS, "streaks"], body)

    def _compile_matching(self, *, careful: bool) -> Callable[[Row], tuple[int, ...]]:
        """if rule 0 or rule 1 or ...: return those that match; return () -- most subjects match nothing."""
        tests = [self._test(rule, careful=careful) for rule in self.rules]
        each = [
            ast.Starred(
                ast.IfExp(test, ast.Tuple([ast.Constant(index)], ast.Load()), ast.Tuple([], ast.Load())), ast.Load()
            )
            for index, test in enumerate(tests)
        ]
        found = ast.Return(ast.Tuple(cast(list[ast.expr], each), ast.Load()))
        none = ast.Return(ast.Tuple([], ast.Load()))
        if not tests:
            return compiled.function("matching", [compiled.FACTS], [none])
        any_of = tests[0] if len(tests) == 1 else ast.BoolOp(ast.Or(), tests)
        return compiled.function("matching", [compiled.FACTS], [ast.If(any_of, [found], []), none])


@dataclass(frozen=True, eq=False)
class ValueSet:
    """Named values under the policy weigh or least.

    weigh: the sum of weight x value; an unknown one leaves the whole unknown (outcome: the stage's default).
    least: the smallest value, the first of equals; a negative one counts as 0; an unknown one as in weigh.
    """

    stage: Stage
    parts: tuple[Part, ...]
    constants: Mapping[str, Scalar] = field(default_factory=dict)

    def bind(self, constants: Mapping[str, Scalar]) -> ValueSet:
        return ValueSet(self.stage, self.parts, {**self.constants, **constants})

    @cached_property
    def reads(self) -> Mapping[str, Kind]:
        return {
            name: kind for part in self.parts for name, kind in part.value.reads.items() if name not in self.constants
        }

    @cached_property
    def _values(self) -> tuple[Callable[[Row], float], ...]:
        return tuple(compiled.number(part.value, self.constants) for part in self.parts)

    def value(self, facts: Row) -> tuple[float, int]:
        """The number, NaN if unknown, and the index of the part that decided (least; -1 where none does)."""
        values = [value(facts) for value in self._values]
        if self.stage.policy == "weigh":
            total = 0.0
            for part, value in zip(self.parts, values, strict=True):
                if value == value or part.on_missing != "skip":
                    total += part.weight * value
            return total, -1
        least, decided = math.inf, -1
        for index, value in enumerate(values):
            if value < least:
                least, decided = value, index
            elif value != value:
                if self.parts[index].on_missing == "skip":
                    continue
                if self.parts[index].on_missing == "fail":
                    raise UnknownFact(self.stage.name, self.parts[index].name)
                return math.nan, index
        return (max(least, 0.0), decided) if decided >= 0 else (math.nan, -1)

    def judge(self, facts: Row) -> Decision:
        """The decision for one row: outcome the stage's first outcome, or its default where the value is unknown."""
        value, decided = self.value(facts)
        stage = self.stage
        rule = self.parts[decided].name if decided >= 0 else None
        if math.isnan(value):
            return Decision(stage.name, stage.default, rule, stage.default, (), None, self, facts)
        return Decision(stage.name, stage.outcomes[0], rule, rule or stage.outcomes[0], (), value, self, facts)

    def weigh_columns(self, columns: Columns, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """The weighed sum for every element, NaN where unknown."""
        import numpy as np

        from autotrader.rules.evaluate import column_number

        given = {**columns, **self.constants}
        total = np.zeros(shape)
        for part in self.parts:
            value = column_number(part.value, given)
            if part.on_missing == "skip":
                value = np.where(np.isnan(value), 0.0, value)
            total += part.weight * value
        return total

    def evidence(self, facts: Row, _decided: str | None, _streaks: tuple[int, ...]) -> tuple[Evidence, ...]:
        found = []
        for part, value in zip(self.parts, (value(facts) for value in self._values), strict=True):
            shown = None if math.isnan(value) else value
            found.append(Evidence(part.name, part.value.text, None, shown, _read(part.value, facts, self.constants)))
        return tuple(found)


def _read(expression: Expression, facts: Row, constants: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """What an expression reads, as it stands in a record: an unknown number is None."""
    read: dict[str, Scalar] = {}
    for name in expression.names:
        value = constants[name] if name in constants else facts.get(name)
        read[name] = None if isinstance(value, float) and math.isnan(value) else value
    return read

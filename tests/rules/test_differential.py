"""simpleeval by row, simpleeval by column, the compiled form and a plain calculation agree on everything."""

from __future__ import annotations

import ast
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from sentences import (
    EXAMPLES,
    FLAGS,
    KINDS,
    NUMBERS,
    TEXTS,
    Row,
    Sentence,
    clean,
    conditions,
    numbers,
    rows,
    same,
)

from autotrader.rules import compile as compiled
from autotrader.rules.evaluate import column_match, column_miss, column_number, row_truth, row_value
from autotrader.rules.expression import Expression, ExpressionError, parse
from autotrader.rules.facts import Stage
from autotrader.rules.margins import margins
from autotrader.rules.ruleset import Part, Rule, RuleSet, ValueSet

often = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)

FIRST = Stage("first", "first", {}, "none", ("go", "stay"), frozenset({"stay"}))
VETO = Stage("veto", "veto", {}, "pass", ("reject",))
WEIGH = Stage("weigh", "weigh", {}, "dropped", ("weighed",))
LEAST = Stage("least", "least", {}, "dropped", ("sized",))


def parsed(sentence: Sentence, kind: Any) -> Expression:
    """The expression; texts that are beyond the limits are no examples."""
    try:
        return parse(sentence.text, KINDS, kind)
    except ExpressionError as error:
        assume(error.flaws[0].code not in {"expression-too-long", "expression-too-deep"})
        raise


def columns(table: list[dict[str, Any]]) -> dict[str, Any]:
    """The rows as columns: float64 for numbers, object with None for texts and flags that lack some."""
    found: dict[str, Any] = {name: np.array([clean(row)[name] for row in table], dtype=float) for name in NUMBERS}
    for name in FLAGS + TEXTS:
        values = [row.get(name) for row in table]
        found[name] = np.array(values, dtype=bool if name in FLAGS and None not in values else object)
    return found


tables = st.lists(rows(), min_size=1, max_size=5)


@often
@given(numbers(4), tables)
def test_a_number_is_the_same_to_the_bit_in_every_evaluator(sentence: Sentence, table: list[dict[str, Any]]) -> None:
    expression = parsed(sentence, "number")
    quick = compiled.number(expression, {})
    column = np.broadcast_to(column_number(expression, columns(table)), (len(table),))
    for row, by_column in zip(table, column.tolist(), strict=True):
        wanted = sentence.value(clean(row))
        found = {"row": row_value(expression, row), "column": by_column, "compiled": quick(row),
                 "compiled, clean": quick(clean(row)), "folded in": compiled.number(expression, row)({})}  # fmt: skip
        assert all(isinstance(value, float) and same(value, wanted) for value in found.values()), (wanted, found)


@often
@given(conditions(4), tables)
def test_a_condition_has_the_same_verdict_in_every_evaluator(sentence: Sentence, table: list[dict[str, Any]]) -> None:
    expression = parsed(sentence, "flag")
    rules = RuleSet(VETO, (Rule("it", expression, "reject", "it"),))
    given_columns = columns(table)
    match = np.broadcast_to(column_match(expression, given_columns), (len(table),))
    miss = np.broadcast_to(column_miss(expression, given_columns), (len(table),))
    assert not (match & miss).any()
    for index, row in enumerate(table):
        wanted = sentence.value(clean(row))
        assert row_truth(expression, row) is wanted
        assert (True if match[index] else False if miss[index] else None) is wanted
        word = {True: "match", False: "no_match", None: "unknown"}[wanted]
        for facts, bound in ((row, rules), (clean(row), rules), ({}, rules.bind(row))):
            assert bound.verdicts(facts) == (word,)
            assert [item.verdict for item in bound.judge(facts).evidence] == [word]


@often
@given(conditions(3), rows())
def test_what_is_read_stands_in_the_evidence(sentence: Sentence, row: dict[str, Any]) -> None:
    expression = parsed(sentence, "flag")
    (item,) = RuleSet(FIRST, (Rule("it", expression, "go", "it"),)).judge(row).evidence
    assert list(item.facts) == list(expression.names)
    for name, value in item.facts.items():
        known = None if row.get(name) != row.get(name) else row.get(name)
        assert value is known or value == known


@often
@given(st.one_of(numbers(4), conditions(4)))
def test_the_tree_is_the_one_that_python_reads(sentence: Sentence) -> None:
    text = re.sub(r"\btrue\b", "True", re.sub(r"\bfalse\b", "False", sentence.text))
    assume("%" not in text)
    assume("007" not in text)
    expression = parsed(sentence, None)
    theirs = ast.parse(text, mode="eval").body
    for node in ast.walk(theirs):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            node.value = float(node.value)
    assert ast.dump(expression.tree) == ast.dump(theirs)


@often
@given(st.one_of(numbers(3), conditions(3)))
def test_a_node_knows_the_text_it_was_written_as(sentence: Sentence) -> None:
    expression = parsed(sentence, None)
    for node in ast.walk(expression.tree):
        if isinstance(node, ast.expr) and not (isinstance(node, ast.Name) and node.id not in KINDS):
            again = parse(expression.text[node.col_offset : node.end_col_offset], KINDS)
            assert ast.dump(again.tree) == ast.dump(node)


@often
@given(conditions(3), rows())
def test_margins_agree_with_the_verdict(sentence: Sentence, row: dict[str, Any]) -> None:
    expression = parsed(sentence, "flag")
    found = margins(expression, row, {})
    for margin in found:
        again = parse(margin.text if margin.operator else margin.left_text, KINDS, "flag")
        assert row_truth(again, row) is margin.holds
        assert str(margin)
    if len(found) == 1 and sentence.text == found[0].text:
        assert found[0].holds is sentence.value(clean(row))


# --- policies -----------------------------------------------------------------------------------------------------

on_missing = st.sampled_from([None, None, None, "skip", "match", "fail"])


@st.composite
def rule_sets(draw: st.DrawFn, stage: Stage, longest: int = 1) -> list[tuple[Rule, Sentence]]:
    found = []
    for index in range(draw(st.integers(0, 4))):
        sentence = draw(conditions(2))
        then = draw(st.sampled_from(stage.outcomes))
        bars = draw(st.integers(1, longest))
        rule = Rule(f"r{index}", parsed(sentence, "flag"), then, f"why{index}", bars, draw(on_missing))
        found.append((rule, sentence))
    return found


def counts_as_match(stage: Stage, rule: Rule, verdict: bool | None) -> bool | None:
    """None: it fails."""
    if verdict is not None:
        return verdict
    treat = rule.on_missing or ("match" if stage is VETO or rule.then == "stay" else "skip")
    return {"match": True, "skip": False, "fail": None}[treat]


def slow_first(rules: list[tuple[Rule, Sentence]], row: Row, streaks: dict[str, int]) -> int:
    """The index that decides, -2 - index for a failure; counts on in `streaks`."""
    verdicts = [counts_as_match(FIRST, rule, sentence.value(clean(row))) for rule, sentence in rules]
    for (rule, _), verdict in zip(rules, verdicts, strict=True):
        streaks[rule.name] = streaks.get(rule.name, 0) + 1 if verdict else 0
    for index, ((rule, _), verdict) in enumerate(zip(rules, verdicts, strict=True)):
        if verdict is None:
            return -2 - index
        if verdict and streaks[rule.name] >= rule.for_bars:
            return index
    return -1


@often
@given(rule_sets(FIRST), tables)
def test_the_first_match_decides_alike_everywhere(
    rules: list[tuple[Rule, Sentence]], table: list[dict[str, Any]]
) -> None:
    rule_set = RuleSet(FIRST, tuple(rule for rule, _ in rules))
    wanted = [slow_first(rules, row, {}) for row in table]
    for row, index in zip(table, wanted, strict=True):
        for facts, bound in ((row, rule_set), (clean(row), rule_set), ({}, rule_set.bind(row))):
            assert bound.first(facts) == (index, ())
            decision = bound.judge(facts)
            verdicts = [item.verdict for item in decision.evidence]
            if index < -1:
                rule = rules[-2 - index][0]
                assert (decision.outcome, decision.rule, decision.failed) == ("fail", rule.name, True)
                assert len(verdicts) == -1 - index
                assert verdicts[-1] == "unknown"
            elif index < 0:
                assert (decision.outcome, decision.rule, decision.reason) == ("none", None, "none")
                assert len(verdicts) == len(rules)
            else:
                rule = rules[index][0]
                assert (decision.outcome, decision.rule, decision.reason) == (rule.then, rule.name, rule.reason)
                assert len(verdicts) == index + 1
                assert verdicts[-1] in {"match", "unknown"}
    assert rule_set.first_columns(columns(table), (len(table),)).tolist() == wanted


@often
@given(rule_sets(VETO), tables)
def test_every_veto_is_reported_alike_everywhere(
    rules: list[tuple[Rule, Sentence]], table: list[dict[str, Any]]
) -> None:
    rule_set = RuleSet(VETO, tuple(rule for rule, _ in rules))
    wanted = []
    for row in table:
        matched = [counts_as_match(VETO, rule, sentence.value(clean(row))) for rule, sentence in rules]
        for facts, bound in ((row, rule_set), (clean(row), rule_set), ({}, rule_set.bind(row))):
            decision = bound.judge(facts)
            assert decision.matched == tuple(
                rule.name for (rule, _), match in zip(rules, matched, strict=True) if match is not False
            )
            first = next((match for match in matched if match is not False), False)
            assert decision.outcome == {None: "fail", True: "reject", False: "pass"}[first]
            assert len(decision.evidence) == len(rules)
        wanted.append([match is not False for match in matched])
    found = rule_set.match_columns(columns(table), (len(table),))
    assert found.shape == (len(rules), len(table))
    assert found.T.tolist() == wanted


@often
@given(rule_sets(FIRST, longest=3), st.lists(rows(), min_size=1, max_size=8))
def test_streaks_counted_bar_by_bar_are_those_recomputed_from_the_bars(
    rules: list[tuple[Rule, Sentence]], bars: list[dict[str, Any]]
) -> None:
    rule_set = RuleSet(FIRST, tuple(rule for rule, _ in rules))
    names = [rule.name for rule in rule_set.streak_rules]
    streaks: tuple[int, ...] = ()
    slow: dict[str, int] = {}
    for count, bar in enumerate(bars, 1):
        index = slow_first(rules, bar, slow)
        counted = rule_set.count(streaks, bar)
        found, streaks = rule_set.first(bar, streaks)
        assert found == index
        assert streaks == counted
        assert streaks == tuple(slow[name] for name in names)
        assert streaks == rule_set.streaks_over(bars[:count])


@st.composite
def value_sets(draw: st.DrawFn) -> list[tuple[Part, Sentence]]:
    found = []
    for index in range(draw(st.integers(1, 4))):
        sentence = draw(numbers(2))
        weight = draw(st.sampled_from([0.25, 0.1, 1.0, 0.0]))
        part = Part(
            f"p{index}", parsed(sentence, "number"), weight, draw(st.sampled_from([None, None, "skip", "fail"]))
        )
        found.append((part, sentence))
    return found


def slow_value(stage: Stage, parts: list[tuple[Part, Sentence]], row: Row) -> tuple[float, int]:
    values = [sentence.value(clean(row)) for _, sentence in parts]
    unknown = [index for index, value in enumerate(values) if value != value]
    spoiling = [index for index in unknown if parts[index][0].on_missing != "skip"]
    if spoiling:
        return math.nan, spoiling[0]
    kept = [(index, value) for index, value in enumerate(values) if value == value]
    if stage is WEIGH:
        return sum((parts[index][0].weight * value for index, value in kept), 0.0), -1
    if not kept:
        return math.nan, -1
    least = min(value for _, value in kept)
    return (least if least > 0 else 0.0), next(index for index, value in kept if value == least)


@pytest.mark.parametrize("stage", [WEIGH, LEAST], ids=lambda stage: stage.name)
@often
@given(parts=value_sets(), table=tables)
def test_values_are_combined_alike_everywhere(
    stage: Stage, parts: list[tuple[Part, Sentence]], table: list[dict[str, Any]]
) -> None:
    values = ValueSet(stage, tuple(part for part, _ in parts))
    every = []
    for row in table:
        wanted = slow_value(stage, parts, row)
        every.append(wanted)
        failing = [part.name for part, sentence in parts
                   if part.on_missing == "fail" and math.isnan(sentence.value(clean(row)))]  # fmt: skip
        for facts, bound in ((row, values), (clean(row), values), ({}, values.bind(row))):
            number, index = bound.value(facts)
            assert same(number, wanted[0])
            assert index == wanted[1]
            decision = bound.judge(facts)
            assert (decision.value is None) == (number != number)
            assert decision.failed == bool(failing)
            if failing:
                assert decision.rule == failing[0]
            results = [item.value for item in decision.evidence]
            assert all(
                same(math.nan if result is None else result, sentence.value(clean(row)))
                for result, (_, sentence) in zip(results, parts, strict=True)
            )
    given_columns, shape = columns(table), (len(table),)
    if stage is WEIGH:
        assert all(map(same, values.weigh_columns(given_columns, shape).tolist(), [number for number, _ in every]))
    else:
        least, decided = values.least_columns(given_columns, shape)
        assert all(map(same, least.tolist(), [number for number, _ in every]))
        assert decided.tolist() == [index for _, index in every]


# --- ranges -------------------------------------------------------------------------------------------------------

_MOVING = st.sets(st.sampled_from(NUMBERS)).map(frozenset)


@often
@given(rule_sets(FIRST), rows(lacking=False), rows(lacking=False), _MOVING, st.booleans(), st.data())
def test_what_decides_between_two_rows_decides_at_each_row_between(
    rules: list[tuple[Rule, Sentence]],
    one: dict[str, Any],
    other: dict[str, Any],
    moving: frozenset[str],
    alike: bool,
    data: Any,
) -> None:
    constants = {"n3": math.nan} if data.draw(st.booleans()) else {}
    rule_set = RuleSet(FIRST, tuple(rule for rule, _ in rules), constants)
    ends = {name: sorted((one[name] + 0.0, other[name] + 0.0)) for name in moving}
    least, most = ({name: pair[at] for name, pair in ends.items()} for at in (0, 1))
    index = rule_set.first_between(moving, alike=alike)({**one, **dict.fromkeys(moving)}, least, most)
    assume(index is not None)
    verdicts = set()
    for _ in range(6):
        row = dict(one)
        for name, (low, high) in ends.items():
            between = st.floats(low, high) if low <= high else st.just(low)
            row[name] = data.draw(st.one_of(st.sampled_from([low, high]), between))
        assert rule_set.first(row) == (index, ())
        count = len(rules) if index == -1 else index + 1
        verdicts.add(tuple(rule_set.verdicts(row)[:count]))
    assert len(verdicts) == 1 or not alike


@pytest.mark.parametrize(
    ("when", "index"),
    [("n0 > 0", 0), ("n0 > 1", None), ("n0 > 3", -1), ("-n0 < 0", 0), ("n0 != 3", 0), ("n3 == n3", 0),
     ("n0 * n1 > -7", 0), ("n1 * n1 >= 0", None), ("abs(n1) >= 0", 0), ("n0 - n0 < 1.5", 0), ("n0 - n0 < 0.5", None),
     ("n0 / n1 < 5", None), ("1 / n0 < 2", 0), ("round(n0) == 1 or n0 > 1.4", None), ("min(n0, n1, 0.5) <= 0.5", 0),
     ("clip(n1, 0, 1) > 1", -1), ("(n0 if n1 > -5 else -n0) > 0", 0), ("(n0 if n1 > 0 else 4) > 0.5", None),
     ("(n0 if f0 else -n0) * 2 > 1", 0), ("n0 + n2 > 0", None), ("n0 > 0 or n2 > 0", 0), ("n0 > 3 and n2 > 0", -1)],
)  # fmt: skip
def test_what_a_range_tells(when: str, index: int | None) -> None:
    rules = RuleSet(FIRST, (Rule("it", parse(when, KINDS), "go", "it"),))
    facts: dict[str, Any] = {"n2": math.nan, "f0": True}
    least, most = {"n0": 1, "n1": -3.0, "n3": 2.0}, {"n0": 2.0, "n1": 3.0, "n3": 2.0}
    assert rules.first_between(frozenset(least), alike=True)(facts, least, most) == index


def test_between_here_and_infinity_nothing_is_certain() -> None:
    rules = RuleSet(FIRST, (Rule("it", parse("clip(n0 - n0, 0, 1) <= 1", KINDS), "go", "it"),))
    between = rules.first_between(frozenset({"n0"}), alike=True)
    assert between({}, {"n0": 1.0}, {"n0": 2.0}) == 0
    assert between({}, {"n0": 1.0}, {"n0": math.inf}) is None, "infinity less infinity is unknown"


def test_a_rule_that_cannot_match_may_be_unknown_here_and_not_there() -> None:
    rules = RuleSet(FIRST, (Rule("it", parse("n0 > 1 and n1 > 2", KINDS), "go", "it"),), {"n1": math.nan})
    ends: tuple[dict[str, float], ...] = ({}, {"n0": 0.0}, {"n0": 2.0})
    assert rules.first_between(frozenset({"n0"}), alike=False)(*ends) == -1
    assert rules.first_between(frozenset({"n0"}), alike=True)(*ends) is None


# --- edges that random rows seldom hit ----------------------------------------------------------------------------


def test_empty_columns_give_empty_answers() -> None:
    empty = columns([])
    condition = parse('n0 / n1 > 1 and f0 or t0 != "x"', KINDS, "flag")
    assert column_match(condition, empty).shape == (0,)
    assert column_miss(condition, empty).shape == (0,)
    assert column_number(parse("clip(n0, 0, 1) if f0 else n1", KINDS), empty).shape == (0,)
    assert RuleSet(FIRST, (Rule("it", condition, "go", "it"),)).first_columns(empty, (0,)).shape == (0,)


def test_a_column_that_is_absent_is_unknown() -> None:
    condition = parse('n0 > 1 or n1 > 1 or f0 or t0 == "x"', KINDS, "flag")
    given_columns = {"n1": np.array([0.0, 2.0])}
    assert column_match(condition, given_columns).tolist() == [False, True]
    assert column_miss(condition, given_columns).tolist() == [False, False]


def test_columns_of_whole_numbers_are_computed_as_floats() -> None:
    whole = np.array([2**40, 3])
    assert column_number(parse("n0 * n0", KINDS), {"n0": whole}).tolist() == [2.0**80, 9.0]


@example(10**400)
@example(-(10**400))
@given(st.integers())
def test_a_whole_number_of_any_size_raises_nothing(number: int) -> None:
    row = {"n0": number, "n1": number}
    for text in ("n0 * n1 / n0 - n1", "min(n0, n1)", "round(n0)", "-n0", "n0", "abs(n0) + 0.5"):
        expression = parse(text, KINDS)
        assert isinstance(compiled.number(expression, {})(row), float)
        assert isinstance(row_value(expression, row), float)
    RuleSet(FIRST, (Rule("it", parse("n0 + 0.5 > n1 * n1", KINDS), "go", "it"),)).judge(row).as_json()


def test_numpy_numbers_divide_by_zero_without_a_warning() -> None:
    row = {"n0": np.float64(1.0), "n1": np.float64(0.0)}
    condition = parse("n0 / n1 > 3", KINDS, "flag")
    assert RuleSet(FIRST, (Rule("it", condition, "go", "it"),)).verdicts(row) == ("unknown",)

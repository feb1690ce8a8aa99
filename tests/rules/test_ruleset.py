"""What the policies make of rules, and what a decision says of itself."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from autotrader.rules.expression import parse
from autotrader.rules.facts import Kind, Scalar, Stage
from autotrader.rules.ruleset import OnMissing, Part, Rule, RuleSet, ValueSet

KINDS: dict[str, Kind] = {"a": "number", "b": "number", "limit": "number", "flag": "flag"}
FIRST = Stage("exits", "first", {}, "hold", ("exit", "hold"), frozenset({"hold"}))
VETO = Stage("limits", "veto", {}, "pass", ("reject",))
WEIGH = Stage("score", "weigh", {}, "dropped", ("scored",))
LEAST = Stage("size", "least", {}, "no_entry", ("sized",))


def rule(
    name: str, when: str, then: str = "exit", bars: int = 1, on_missing: OnMissing | None = None, reason: str = ""
) -> Rule:
    return Rule(name, parse(when, KINDS, "flag"), then, reason or name, bars, on_missing)


def first(*rules: Rule, **constants: Scalar) -> RuleSet:
    return RuleSet(FIRST, rules, constants)


def part(name: str, value: str, weight: float = 1.0, on_missing: OnMissing | None = None) -> Part:
    return Part(name, parse(value, KINDS, "number"), weight, on_missing)


# --- first --------------------------------------------------------------------------------------------------------


def test_the_first_match_decides_and_gives_its_reason() -> None:
    rules = first(rule("low", "a < 0"), rule("high", "a > 1", reason="profit"), rule("higher", "a > 2"))
    decision = rules.judge({"a": 3.0})
    assert (decision.outcome, decision.rule, decision.reason, decision.matched) == ("exit", "high", "profit", ("high",))
    assert [(item.rule, item.verdict) for item in decision.evidence] == [("low", "no_match"), ("high", "match")]


def test_without_a_match_the_default_stands_and_every_rule_is_evidence() -> None:
    decision = first(rule("low", "a < 0"), rule("high", "a > limit"), limit=2.0).judge({"a": 1.0, "b": 5.0})
    assert (decision.outcome, decision.rule, decision.reason) == ("hold", None, "hold")
    assert [dict(item.facts) for item in decision.evidence] == [{"a": 1.0}, {"a": 1.0, "limit": 2.0}]


def test_an_unknown_never_exits_but_holds() -> None:
    assert first(rule("out", "a > 1")).judge({}).outcome == "hold"
    assert first(rule("stay", "a > 1", "hold"), rule("out", "true")).judge({}).rule == "stay"


def test_on_missing_decides_otherwise() -> None:
    assert first(rule("out", "a > 1", on_missing="match")).judge({}).rule == "out"
    assert first(rule("stay", "a > 1", "hold", on_missing="skip"), rule("out", "true")).judge({}).rule == "out"
    assert first(rule("out", "a > 1", on_missing="fail"), rule("late", "true")).judge({}).outcome == "fail"


def test_a_rule_that_must_not_be_judged_stops_nothing_where_an_earlier_one_decides() -> None:
    rules = first(rule("emergency", "b > 1"), rule("strict", "a > 1", bars=2, on_missing="fail"))
    assert rules.judge({"b": 2.0}).rule == "emergency"
    assert (rules.judge({"b": 0.0}).outcome, rules.judge({"b": 0.0}).rule) == ("fail", "strict")
    import numpy as np

    columns = {"a": np.array([math.nan, 0.0, math.nan]), "b": np.array([2.0, 0.0, 0.0])}
    assert rules.first_columns(columns, (3,)).tolist() == [0, -1, -3]


def test_constants_can_be_bound_again_and_again() -> None:
    rules = first(rule("out", "a > limit"))
    assert rules.bind({"limit": 1.0}).judge({"a": 2.0}).rule == "out"
    assert rules.bind({"limit": 1.0}).bind({"limit": 3.0}).judge({"a": 2.0}).rule is None
    assert rules.bind({"limit": math.nan}).judge({"a": 2.0}).evidence[0].facts == {"a": 2.0, "limit": None}
    assert rules.reads == {"a": "number", "limit": "number"}
    assert rules.bind({"limit": 1.0}).reads == {"a": "number"}


# --- for_bars -----------------------------------------------------------------------------------------------------


def over(rules: RuleSet, bars: Sequence[float | None]) -> list[str | None]:
    """The rule that decides on each bar. A minute without a bar is simply not there."""
    streaks: tuple[int, ...] = ()
    found = []
    for bar in bars:
        decision = rules.judge({"a": bar}, streaks)
        streaks = decision.streaks
        found.append(decision.rule)
    return found


def test_a_rule_for_two_bars_waits_for_the_second_in_a_row() -> None:
    assert over(first(rule("stop", "a > 1", bars=2)), [2, 0, 2, 2, 2, 0, 2]) == [
        None,
        None,
        None,
        "stop",
        "stop",
        None,
        None,
    ]


def test_an_unknown_bar_restarts_the_count() -> None:
    assert over(first(rule("stop", "a > 1", bars=2)), [2, None, 2, 2]) == [None, None, None, "stop"]


def test_on_missing_match_counts_an_unknown_bar() -> None:
    assert over(first(rule("stop", "a > 1", bars=2, on_missing="match")), [2, None, 0]) == [None, "stop", None]


def test_a_streak_counts_on_where_an_earlier_rule_decides() -> None:
    rules = first(rule("early", "a > 5"), rule("late", "a > 1", bars=3))
    assert over(rules, [2, 6, 2]) == [None, "early", "late"]


def test_later_rules_apply_while_a_streak_grows() -> None:
    assert over(first(rule("slow", "a > 1", bars=2), rule("quick", "a > 1")), [2, 2]) == ["quick", "slow"]


def test_streaks_are_recomputed_from_the_bars_after_a_restart() -> None:
    rules = first(rule("x", "a > 1", bars=2), rule("y", "a > 2"), rule("z", "a > 0", bars=5))
    bars = [{"a": value} for value in (1.0, 2.0, 3.0)]
    assert rules.streaks_over(bars) == (2, 3)
    assert rules.streaks_over([]) == rules.no_streaks == (0, 0)
    assert [item.streak for item in rules.judge({"a": 0.5}, rules.streaks_over(bars)).evidence] == [0, None, 4]


def test_after_a_failure_the_streaks_go_on() -> None:
    rules = first(rule("strict", "b > 1", on_missing="fail"), rule("stop", "a > 1", bars=2))
    assert rules.first({"a": 2.0}, (1,)) == (-2, (2,))
    assert rules.count((1,), {"a": 2.0}) == (2,)


def test_off_the_minute_bars_a_streak_counts_as_one() -> None:
    rules = first(rule("stop", "a > 1", bars=3), limit=1.0).without_streaks()
    assert rules.judge({"a": 2.0}).rule == "stop"
    assert rules.streak_rules == ()
    assert rules.constants == {"limit": 1.0}


# --- veto ---------------------------------------------------------------------------------------------------------


def test_any_match_rejects_and_all_are_reported() -> None:
    rules = RuleSet(
        VETO, (rule("one", "a > 1", "reject"), rule("two", "a > 9", "reject"), rule("three", "a > 2", "reject"))
    )
    decision = rules.judge({"a": 3.0})
    assert (decision.outcome, decision.rule, decision.matched) == ("reject", "one", ("one", "three"))
    assert [item.verdict for item in decision.evidence] == ["match", "no_match", "match"]
    assert rules.judge({"a": 0.0}).outcome == "pass"


def test_an_unknown_rejects_unless_the_rule_says_otherwise() -> None:
    assert RuleSet(VETO, (rule("one", "a > 1", "reject"),)).judge({}).outcome == "reject"
    assert RuleSet(VETO, (rule("one", "a > 1", "reject", on_missing="skip"),)).judge({}).outcome == "pass"


def test_a_veto_that_fails_is_told_where_it_is_the_first() -> None:
    rules = (rule("one", "b > 1", "reject"), rule("two", "a > 1", "reject", on_missing="fail"))
    decision = RuleSet(VETO, rules).judge({"b": 0.0})
    assert (decision.outcome, decision.rule, decision.matched) == ("fail", "two", ("two",))
    decision = RuleSet(VETO, rules).judge({"b": 2.0})
    assert (decision.outcome, decision.rule, decision.matched) == ("reject", "one", ("one", "two"))
    assert RuleSet(VETO, rules).judge({"b": 0.0, "a": 2.0}).outcome == "reject"
    assert not RuleSet(VETO, rules).judge({"b": 0.0, "a": 0.0}).failed


def test_no_rules_let_everything_pass() -> None:
    assert RuleSet(VETO, ()).judge({}).outcome == "pass"
    assert RuleSet(FIRST, ()).judge({}).evidence == ()


# --- weigh and least ----------------------------------------------------------------------------------------------


def test_a_weighing_adds_up() -> None:
    values = ValueSet(WEIGH, (part("x", "a", 0.25), part("y", "b * limit", 0.75)), {"limit": 2.0})
    decision = values.judge({"a": 1.0, "b": 3.0})
    assert (decision.outcome, decision.value, decision.rule) == ("scored", 4.75, None)
    assert [(item.rule, item.value, dict(item.facts)) for item in decision.evidence] == [
        ("x", 1.0, {"a": 1.0}),
        ("y", 6.0, {"b": 3.0, "limit": 2.0}),
    ]


def test_an_unknown_part_drops_the_whole_and_is_named() -> None:
    for stage, outcome in ((WEIGH, "dropped"), (LEAST, "no_entry")):
        decision = ValueSet(stage, (part("x", "a"), part("y", "b"))).judge({"a": 1.0})
        assert (decision.outcome, decision.value, decision.rule) == (outcome, None, "y")
        assert ValueSet(stage, (part("x", "a"), part("y", "b", on_missing="skip"))).judge({"a": 1.0}).value == 1.0
        failed = ValueSet(stage, (part("x", "b"), part("y", "b", on_missing="fail"))).judge({"a": 1.0})
        assert (failed.outcome, failed.rule, failed.value, failed.missing) == ("fail", "y", None, ("b",))


def test_the_least_value_wins_and_is_named() -> None:
    values = ValueSet(LEAST, (part("x", "a"), part("y", "b"), part("z", "b")))
    assert (values.judge({"a": 3.0, "b": 2.0}).value, values.judge({"a": 3.0, "b": 2.0}).rule) == (2.0, "y")
    assert values.judge({"a": 3.0, "b": -2.0}).value == 0.0
    assert values.judge({"a": math.inf, "b": math.inf}).rule == "x"


# --- evidence -----------------------------------------------------------------------------------------------------


def test_a_decision_can_be_written_down() -> None:
    decision = first(rule("stop", "a > limit and not flag", bars=2), limit=1.0).judge({"a": math.nan}, (1,))
    assert json.loads(json.dumps(decision.as_json())) == {
        "stage": "exits", "outcome": "hold", "rule": None, "reason": "hold",
        "evidence": [{"rule": "stop", "when": "a > limit and not flag", "verdict": "unknown", "streak": 0,
                      "facts": {"a": None, "limit": 1.0, "flag": None}}],
    }  # fmt: skip
    sized = ValueSet(LEAST, (part("x", "a"),)).judge({"a": 2})
    assert sized.as_json()["evidence"] == [{"rule": "x", "value": "a", "result": 2.0, "facts": {"a": 2}}]

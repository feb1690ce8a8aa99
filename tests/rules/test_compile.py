"""The compiled form: what it may touch, and what it says when it must not be judged."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autotrader.rules import compile as compiled
from autotrader.rules.compile import Coder
from autotrader.rules.expression import parse
from autotrader.rules.facts import Kind, Stage
from autotrader.rules.ruleset import Rule, RuleSet

KINDS: dict[str, Kind] = {"a": "number", "b": "number", "flag": "flag", "side": "text"}
STAGE = Stage("stage", "first", {}, "none", ("go",))


def code(text: str, **constants: object) -> str:
    expression = parse(text, KINDS)
    return Coder(compiled.clean_constants(expression.reads, constants)).code(expression.value)  # type: ignore[arg-type]


def test_constants_are_folded_in_as_floats() -> None:
    assert code("a > b", b=3) == "facts['a'] > 3.0"
    assert code("a > b", b=np.float64(3)) == "facts['a'] > 3.0"
    assert code("a > b", b=-math.inf) == "facts['a'] > (-infinite)"


def test_a_comparison_with_an_unknown_constant_never_holds_and_costs_nothing() -> None:
    assert code("a > b", b=math.nan) == "False"
    assert code("a > b", b=None) == "False"
    assert code("a > b and flag", b=math.nan) == "False"
    assert code("a > b or flag", b=math.nan) == "(facts['flag'] == True)"


def test_a_long_quotient_is_no_deeper_than_a_short_one() -> None:
    assert (
        code("a / b / a * 2")
        == "(facts['a'] / _1 / _2 * 2.0 if (_1 := facts['b']) and (_2 := facts['a']) else unknown)"
    )
    assert code("a / 2") == "(facts['a'] / 2.0)"


def test_compiled_code_has_no_builtins() -> None:
    assert "__import__" not in compiled.function("f()", ["return abs"]).__globals__["__builtins__"]


def test_a_text_with_quotes_stays_a_text() -> None:
    row = {"side": "facts['a']"}
    expression = parse("side == \"facts['a']\" and side != '\"'", KINDS)
    assert RuleSet(STAGE, (Rule("it's", expression, "go", 'a "reason"'),)).judge(row).rule == "it's"


@pytest.mark.parametrize(
    ("when", "constants", "missing"),
    [("a > b", {}, ("a", "b")), ("a > b", {"a": 1.0}, ("b",)), ("a > b", {"b": math.nan}, ("a", "b")),
     ("flag or side == 'x'", {}, ("flag", "side"))],
)  # fmt: skip
def test_what_is_unknown_is_named(when: str, constants: dict[str, float], missing: tuple[str, ...]) -> None:
    rules = RuleSet(STAGE, (Rule("it", parse(when, KINDS), "go", "it", on_missing="fail"),), constants)
    decision = rules.judge({})
    assert (decision.outcome, decision.failed, decision.rule, decision.reason) == ("fail", True, "it", "it unknown")
    assert decision.missing == missing


def test_a_division_by_zero_names_itself() -> None:
    rules = RuleSet(STAGE, (Rule("it", parse("a / b > 1", KINDS), "go", "it", on_missing="fail"),))
    decision = rules.judge({"a": 1.0, "b": 0.0})
    assert decision.failed
    assert decision.missing == ("a / b > 1",)


def test_a_mistake_in_the_facts_is_not_hidden() -> None:
    rules = RuleSet(STAGE, (Rule("it", parse("a > 1", KINDS), "go", "it"),))
    with pytest.raises(ValueError, match="could not convert"):
        rules.judge({"a": "three"})

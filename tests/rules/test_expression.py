"""What an expression means: its value, its names, and where each part of it stands."""

from __future__ import annotations

import ast

import pytest

from autotrader.rules.compile import number
from autotrader.rules.evaluate import row_truth
from autotrader.rules.expression import Expression, ExpressionError, comparisons, parse, source_of
from autotrader.rules.facts import Kind

KINDS: dict[str, Kind] = {"a": "number", "b": "number", "c": "number", "flag": "flag", "other": "flag", "side": "text"}


def value(text: str, **row: float) -> float:
    return number(parse(text, KINDS, "number"), {})(row)


def truth(text: str, **row: float | str | bool | None) -> bool | None:
    return row_truth(parse(text, KINDS, "flag"), row)


# --- numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("7%", 0.07), ("12.5%", 0.125), ("100%", 1.0), ("0.7%", 0.007), (".5%", 0.005), ("35%", 0.35), ("1e2%", 1.0),
     ("007", 7.0), ("1.", 1.0), (".5", 0.5), ("1e3", 1000.0), ("2E-2", 0.02), ("0e9", 0.0), ("29%", 0.29)],
)  # fmt: skip
def test_a_number_means_what_it_says(text: str, wanted: float) -> None:
    assert value(text) == wanted


def test_every_percent_is_the_float_that_its_decimal_point_gives() -> None:
    for tenths in range(2000):
        assert value(f"{tenths / 10}%") == float(f"{tenths}e-3")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("1 + 2 * 3", 7.0), ("(1 + 2) * 3", 9.0), ("8 / 4 / 2", 1.0), ("8 / (4 / 2)", 4.0), ("5 - 3 - 1", 1.0),
     ("5 - (3 - 1)", 3.0), ("-2 * -3", 6.0), ("--2", 2.0), ("-(1 + 2)", -3.0), ("2 * -3 + 1", -5.0),
     ("1 if 2 > 1 else 2 if true else 3", 1.0), ("1 if false else 2 if true else 3", 2.0),
     ("abs(-3)", 3.0), ("min(3, 1, 2)", 1.0), ("max(3, 1, 2)", 3.0), ("clip(5, 0, 1)", 1.0), ("clip(-5, 0, 1)", 0.0),
     ("clip(0.5, 0, 1)", 0.5), ("round(2.5)", 2.0), ("round(3.5)", 4.0), ("round(1.234, 2)", 1.23),
     ("round(1e300, 10)", 1e300),
     ("abs ( -3 )", 3.0), ("1\n+\t2", 3.0)],
)  # fmt: skip
def test_arithmetic_is_pythons(text: str, wanted: float) -> None:
    assert value(text) == wanted


@pytest.mark.parametrize("text", ["a / b", "1 / (b - b)", "min(a / b, 1)", "a if c / b > 1 else a", "round(a / b, 2)"])
def test_a_division_by_zero_is_unknown_and_spreads(text: str) -> None:
    found = value(text, a=1.0, b=0.0, c=1.0)
    assert found != found


# --- conditions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("a < 10 or true", True), ("a < 10 and false", False), ("a < 10 and true", None), ("a < 10 or false", None),
     ("not a < 10", None), ("not (a < 10 or true)", False), ("a == a", None), ("a != a", None), ("1 < 2 < a", None),
     ("2 < 1 < a", False), ("flag", None), ("not flag", None), ("flag or not flag", None), ("side == 'x'", None),
     ("side != 'x'", None), ("side == side", None), ("true if a > 1 else true", None),
     ("a > 1 if false else true", True)],
)  # fmt: skip
def test_what_is_unknown_spreads_as_in_three_valued_logic(text: str, wanted: bool | None) -> None:
    assert truth(text, a=float("nan"), flag=None, side=None) is wanted
    assert truth(text) is wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("not flag and other", True), ("not (flag and other)", True), ("flag or other and flag", False),
     ("(true or true) and false", False), ("true or true and false", True), ("not not other", True),
     ("1 < 2 < 3", True),
     ("1 < 3 < 2", False), ("3 > 2 >= 2 != 1", True), ("side == 'long'", True), ("'short' != side", True),
     ("not 1 > 2", True)],
)  # fmt: skip
def test_conditions_are_pythons(text: str, wanted: bool) -> None:
    assert truth(text, flag=False, other=True, side="long") is wanted


def test_infinities_are_ordered() -> None:
    assert truth("a > b", a=float("inf"), b=1.0) is True
    assert truth("a != a", a=float("inf")) is False


# --- what it knows of itself --------------------------------------------------------------------------------------


def test_names_are_listed_once_in_order_of_appearance() -> None:
    expression = parse("c > 1 and (side == 'a' or flag) and c < b", KINDS)
    assert expression.names == ("c", "side", "flag", "b")
    assert dict(expression.reads) == {"c": "number", "side": "text", "flag": "flag", "b": "number"}


def test_a_name_that_only_a_flawed_part_reads_is_no_reason_for_another_flaw() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("zzz + 1 > 2 and (zzz if flag else 1) > yyy", KINDS, "flag")
    assert [flaw.name for flaw in caught.value.flaws] == ["zzz", "zzz", "yyy"]


def test_nodes_stand_where_they_were_written_in_the_original_text() -> None:
    text = "  true and side != 'öß' and (a + 12.5%) * 2 > b / 7% or false  "
    expression = parse(text, KINDS, "flag")
    found = {
        type(node).__name__: source_of(expression, node)
        for node in ast.walk(expression.tree)
        if isinstance(node, ast.BinOp)
    }
    assert found == {"BinOp": "a + 12.5%"}
    pieces = [source_of(expression, node) for node in comparisons(expression)]
    assert pieces == ["side != 'öß'", "(a + 12.5%) * 2 > b / 7%"]
    constants = sorted((node.col_offset, source_of(expression, node)) for node in ast.walk(expression.tree)
                       if isinstance(node, ast.Constant))  # fmt: skip
    assert [text for _, text in constants] == ["true", "'öß'", "12.5%", "2", "7%", "false"]
    assert source_of(expression, expression.tree) == text.strip()


def test_comparisons_come_in_order_of_appearance() -> None:
    expression = parse("a > (1 if b > 2 and c > 3 else 2) and c > 4", KINDS)
    pieces = [source_of(expression, node) for node in comparisons(expression)]
    assert pieces == ["a > (1 if b > 2 and c > 3 else 2)", "b > 2", "c > 3", "c > 4"]


def atoms(expression: Expression) -> list[tuple[str, str | None, str | None]]:
    return [(atom.left_text, atom.operator, atom.right_text) for atom in expression.atoms]


def test_what_a_condition_asks_is_listed() -> None:
    expression = parse("0 < a <= (b if flag else 7%) and not (side == 'x' or other)", KINDS)
    assert atoms(expression) == [
        ("0", "<", "a"),
        ("a", "<=", "(b if flag else 7%)"),
        ("flag", None, None),
        ("side", "==", "'x'"),
        ("other", None, None),
    ]
    assert atoms(parse("a + b", KINDS)) == []


def test_a_fact_may_have_the_name_of_a_function() -> None:
    assert number(parse("min + min(min, 1)", {"min": "number"}), {})({"min": 3.0}) == 4.0

"""Whole columns: shapes and kinds that the differential test does not draw."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autotrader.rules.evaluate import column_match, column_miss, column_number
from autotrader.rules.expression import parse
from autotrader.rules.facts import Kind

KINDS: dict[str, Kind] = {"a": "number", "b": "number", "flag": "flag", "side": "text"}


def test_columns_of_two_dimensions_keep_their_shape() -> None:
    a = np.array([[1.0, math.nan], [3.0, 0.0]])
    condition = parse("6 / a > 2", KINDS)
    assert column_match(condition, {"a": a}).tolist() == [[True, False], [False, False]]
    assert column_miss(condition, {"a": a}).tolist() == [[False, False], [True, False]]


def test_a_column_and_a_single_value_go_together() -> None:
    given = {"a": np.array([1.0, 3.0]), "b": 2, "side": "long", "flag": None}
    assert column_match(parse('a > b and side == "long"', KINDS), given).tolist() == [False, True]
    assert column_number(parse("a * b", KINDS), given).tolist() == [2.0, 6.0]
    assert column_match(parse("flag or a > b", KINDS), given).tolist() == [False, True]


def test_without_names_there_is_no_shape() -> None:
    assert column_match(parse("true", KINDS), {}).shape == ()
    assert column_number(parse("1 / 0", KINDS), {}).shape == ()


@pytest.mark.parametrize("sides", [np.array(["x", "y", "x"]), np.array(["x", "y", None], dtype=object)])
def test_texts_may_be_fixed_in_length_or_objects(sides: np.ndarray) -> None:
    found = (
        column_match(parse('side == "x"', KINDS), {"side": sides}),
        column_miss(parse('side == "x"', KINDS), {"side": sides}),
    )
    assert found[0].tolist() == [True, False, sides[2] == "x"]
    assert found[1].tolist() == [False, True, False]


def test_the_columns_are_left_as_they_were() -> None:
    a = np.array([1.0, 0.0, math.nan])
    before = a.copy()
    for text in ("min(a, 0) + a / a - round(a)", "a if a > 0 else -a"):
        column_number(parse(text, KINDS), {"a": a})
    assert np.array_equal(a, before, equal_nan=True)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("flag and true and a > 1", [False, False, True]), ("true and false or a > 1", [False, True, True]),
     ("flag or a > 1 or b > 2", [True, True, True]), ("flag and flag", [True, False, True]),
     ("not flag or a > 1 and flag", [False, True, True]), ("b > 2 and a > 1", [False, False, False])],
)  # fmt: skip
def test_joined_columns_leave_the_given_ones_alone(text: str, wanted: list[bool]) -> None:
    given = {"a": np.array([1.0, 2.0, 3.0]), "b": 2, "flag": np.array([True, False, True])}
    condition = parse(text, KINDS)
    for _ in range(2):
        assert column_match(condition, given).tolist() == wanted
        assert column_miss(condition, given).tolist() == [not each for each in wanted]
    assert given["flag"].tolist() == [True, False, True]

"""How far each comparison was from turning out otherwise."""

from __future__ import annotations

import math

import pytest

from autotrader.rules.expression import parse
from autotrader.rules.facts import Kind, Scalar
from autotrader.rules.margins import margins

KINDS: dict[str, Kind] = {
    **dict.fromkeys(("loss_per_share", "stop_distance", "gap_pct", "max_gap_pct", "days_held", "a", "b"), "number"),
    "direction": "text", "shortable": "flag",
}  # fmt: skip


def shown(text: str, constants: dict[str, Scalar] | None = None, **facts: Scalar) -> list[str]:
    return [str(margin) for margin in margins(parse(text, KINDS), facts, constants or {})]


def test_a_comparison_says_both_sides_and_how_far_it_was() -> None:
    (margin,) = margins(
        parse("loss_per_share >= stop_distance", KINDS), {"loss_per_share": 2.31}, {"stop_distance": 3.1}
    )
    assert margin.text == "loss_per_share >= stop_distance"
    assert (margin.left, margin.right, margin.holds) == (2.31, 3.1, False)
    assert margin.away == pytest.approx(0.79)
    assert str(margin) == "loss_per_share 2.31 >= stop_distance 3.10 no, 0.79 away"


@pytest.mark.parametrize(
    ("text", "facts", "wanted"),
    [
        ("a > 1", {"a": 3}, ["a 3 > 1 yes, by 2"]),
        ("a >= 7%", {"a": 0.0312}, ["a 3.12% >= 7% no, 3.88% away"]),
        ("a < 7%", {"a": 1e-15}, ["a 0% < 7% yes, by 7%"]),
        ("days_held == 0", {"days_held": 0}, ["days_held 0 == 0 yes"]),
        ("days_held == 0", {"days_held": 2}, ["days_held 2 == 0 no, 2 away"]),
        ("a > -0.5", {"a": 0.25}, ["a 0.25 > -0.5 yes, by 0.75"]),
        ("a > b", {"a": 1.0, "b": 1.0 + 1e-12}, ["a 1.000000 > b 1.000000 no, 1e-12 away"]),
        ("a - b > 1", {"a": 5, "b": 3}, ["a - b 2 > 1 yes, by 1"]),
        ("0 < a <= b", {"a": 3, "b": 2}, ["0 < a 3 yes, by 3", "a 3 <= b 2 no, 1 away"]),
        ("abs(gap_pct) > max_gap_pct", {"max_gap_pct": 0.03}, ["abs(gap_pct) unknown > max_gap_pct 3%"]),
        ("abs(gap_pct) > max_gap_pct", {"gap_pct": -0.0299, "max_gap_pct": 0.03},
         ["abs(gap_pct) 2.990% > max_gap_pct 3.000% no, 0.010% away"]),
        ("gap_pct > 0.03", {"gap_pct": 0.031}, ["gap_pct 0.0310 > 0.03 yes, by 0.0010"]),
        ("gap_pct > 0", {"gap_pct": 0.031}, ["gap_pct 3.10% > 0 yes, by 3.10%"]),
        ("a / b > 1", {"a": 1, "b": 0}, ["a / b unknown > 1"]),
        ('direction == "short" and not shortable', {"direction": "long", "shortable": True},
         ['direction "long" == "short" no', "shortable true"]),
        ("shortable", {}, ["shortable unknown"]),
        ("a > b", {"a": math.inf, "b": math.inf}, ["a inf > b inf no"]),
        ("a > b if shortable else a < 1", {"a": 2, "b": 1},
         ["a 2 > b 1 yes, by 1", "shortable unknown", "a 2 < 1 no, 1 away"]),
    ],
)  # fmt: skip
def test_a_margin_reads_like_a_sentence(text: str, facts: dict[str, Scalar], wanted: list[str]) -> None:
    assert shown(text, **facts) == wanted


def test_a_recorded_unknown_is_as_unknown_as_it_was() -> None:
    (margin,) = margins(parse("a > b", KINDS), {"a": None}, {"b": None})
    assert (margin.left, margin.right, margin.holds, margin.away) == (None, None, None, None)

"""What is not of the language is refused in milliseconds, with a place and a way out, and nothing else ever happens."""

from __future__ import annotations

import time
import tracemalloc
import warnings
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sentences import EXAMPLES, KINDS, Row, clean, conditions, numbers, rows

from autotrader.rules import compile as compiled
from autotrader.rules.evaluate import row_truth, row_value
from autotrader.rules.expression import FLAW_CODES, FUNCTIONS, MAX_CHARACTERS, ExpressionError, Flaw, parse
from autotrader.rules.facts import Kind, Stage
from autotrader.rules.ruleset import Rule, RuleSet
from autotrader.rules.tokens import WORDS

SECONDS = 0.2  # of CPU time; what is measured is a hundredth of it
STAGE = Stage("stage", "first", {}, "none", ("go",))


def flaws(text: str, expect: Kind | None = None, names: Mapping[str, Kind] = KINDS) -> list[Flaw]:
    """The flaws of a text that has some; whatever else happens fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = time.process_time()
        with pytest.raises(ExpressionError) as caught:
            parse(text, names, expect)
        assert time.process_time() - before < SECONDS
    check_places(text, caught.value)
    return caught.value.flaws


def check_places(text: str, error: ExpressionError) -> None:
    assert error.flaws
    for flaw in error.flaws:
        assert flaw.code in FLAW_CODES
        assert flaw.message
        assert flaw.message.isprintable()
        assert flaw.length >= 1
        assert flaw.offset >= 0
        assert flaw.offset + flaw.length <= max(len(text), 1)


def check(text: str, row: Row) -> None:
    """Refused with ExpressionError and nothing else, or sound in every evaluator."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = time.process_time()
        try:
            expression = parse(text, KINDS)
        except ExpressionError as error:
            check_places(text, error)
            return
        finally:
            assert time.process_time() - before < SECONDS
        if expression.kind == "number":
            compiled.number(expression, {})(row)
            row_value(expression, row)
        elif expression.kind == "flag":
            RuleSet(STAGE, (Rule("it", expression, "go", "it"),)).judge(row).as_json()
            row_truth(expression, row)


BREAKOUTS = [
    "n0.__class__", "n0.__class__.__mro__", "().__class__", "''.join", "n0.real", "t0.upper()", "__import__('os')",
    "__builtins__", "open('x')", "eval('1')", "exec('1')", "globals()", "getattr(n0, 'real')", "abs.__self__",
    "abs(n0).real", "[n0]", "[x for x in (1, 2)]", "{x for x in t0}", "{1: 2}", "{}", "(x for x in t0)", "(n0,)",
    "n0, n1", "*n0", "**n0", "lambda: 1", "lambda x: x", "(lambda: 1)()", "n0 := 1", "(n0 := 1)", "n0 = 1",
    "n0 += 1", "f'{n0}'", 'f"{n0}"', "b'x'", "r'x'", "u'x'", "rb'x'", "n0 ** 2", "9 ** 9 ** 9", "2 ** 1000000",
    "'x' * 1000000000", "1000000000 * 'x'", "'x' + 'y'", "t0 + t1", "t0 * 3", "-t0", "n0 // 2", "n0 % 2",
    "n0 << 100", "1 << 1000000000", "n0 & 1", "n0 | 1", "n0 ^ 1", "~n0", "n0 @ n1", "n0[0]", "t0[0]", "t0[::-1]",
    "n0 is None", "n0 is not None", "t0 in ('x', 'y')", "n0 not in t0", "None", "null", "True", "False", "NOT f0",
    "f0 AND f1", "Or", "await n0", "yield n0", "(yield)", "async", "import os", "del n0", "pass", "return 1",
    "raise n0", "assert f0", "global n0", "while f0: 1", "print(n0)", "n0; n1", "n0 > 1; n1", "n0 > 1 # note", "#",
    "n0 > 1 \\\n", "\\", "n0 > 1\x00", "\x00", "\x00n0", "n0 >\x0c1", "n0 >\x0b1", "n0\u00a0> 1", "n0 > 1\u2028",
    "\ufeffn0 > 1", "\u043d0 > 1", "n0 \uff1e 1", "n0 > \u0661", "n0 > \uff11", "n0 \u2265 1", "n0 \u2212 1",
    "\u201cx\u201d == t0", "n\u200b0 > 1", "t0 == 'x\ud800'", "t0 == 'x\u202ey'", "t0 == 'x\x7f'", "t0 == 'x\ty'",
    "t0 == 'x\ny'", "t0 == '\\x41'", "t0 == 'x", 't0 == "x\'', "'''x''' == t0", "'x' 'y' == t0", "'x'\"y\" == t0",
    "n0 > 1_000", "n0 > 0x10", "n0 > 0b1", "n0 > 0o7", "n0 > 1j", "n0 > 1e", "n0 > 1e999", "n0 > 1e-999",
    "n0 > 1e9999999999999999999999%", "n0 > 1e5j", "n0 > 1.2.3", "n0 > 1..2", "n0 > .", "n0 > 1.x", "n0 > 7 %",
    "n0 > 7%5", "n0 > 7%%", "n0 > %7", "n0 > 5n0", "n0 > 5and f0", "n0 > 5if f0 else 1", "n0n1", "n0 n1", "1 2",
    "n0 1", "f0 f1", "f0 not f1", "f0 and", "and f0", "f0 and or f1", "not", "f0 or not", "n0 >", "> n0", "n0 > > 1",
    "n0 => 1", "n0 =< 1", "n0 <> 1", "n0 === 1", "n0 ==== 1", "n0 !== 1", "! f0", "!f0", "f0 && f1", "f0 || f1",
    "n0 > 1 ? 2 : 3", "$5 > n0", "`n0`", "(", ")", "()", "(()", "n0)", "(n0", "((n0)", "n0 > (1", ")(", "min",
    "min(", "min()", "min(n0)", "min(n0,)", "min(,n0)", "min(n0, n1", "min n0, n1", "min(n0 n1)", "min(n0, key=n1)",
    "min(*n0)", "min(**n0)", "abs(n0, n1)", "clip(n0)", "round(n0, n1)", "round(n0, -1)", "round(n0, 2.5)",
    "round(n0, 11)", "round(n0, true)", "round(f0)", "abs(t0)", "max('x', 'y')", "sum(n0, n1)", "n0(1)", "7(1)",
    "'x'(1)", "(n0)(1)", "(abs)(n0)", "f0()", "abs(n0)(n1)", "if f0 else 1", "n0 if f0", "n0 if else n1",
    "n0 else n1", "n0 if f0 else", "n0 if f0 n1", "n0 if n1 else n2", "n0 if f0 else t0", "t0 if f0 else t1",
    "f0 if f1 else n0", "+n0", "n0 + +n1", "n0 + f0", "not n0", "n0 and f0", "f0 or 1", "f0 == true", "f0 == f1",
    "true == true", "n0 < 1 == true", "(n0 < 1) == (n1 < 1)", "n0 == 'x'", "t0 == 1", "t0 < t1", "t0 >= 'x'",
    "n0 == not f0", "-not f0", "n0 + not f0", "nothing > 1", "N0 > 1", "n0 > mni(n1, 2)", "else", "if", "or", ",",
    "n0,", ",n0", "n0..n1", "...", "@n0", "n0 -> n1", "n0: 1", "n0 > 1,", "*", "/", "-", "--", "n0 *", "/ n0",
]  # fmt: skip


@pytest.mark.parametrize("text", BREAKOUTS)
def test_what_is_not_of_the_language_is_refused_with_its_place(text: str) -> None:
    flaws(text)


DEEP = "n0"
for _ in range(12):
    DEEP = f"(1 if {DEEP}!=0 else 0)"


@pytest.mark.parametrize(
    "text",
    [
        "a" * 200_000, "(" * 200_000, "1+" * 100_000 + "1", "not " * 5_000 + "f0", "-" * 5_000 + "n0", "9" * 200_000,
        "'" + "x" * 200_000, "not " * 100 + "f0", "-" * 499 + "1", "- " * 249 + "1", "(" * 250 + "1" + ")" * 249,
        "(" * 400, ")" * 400, "abs(" * 100, "abs(" * 80 + "n0" + ")" * 80, "1 if f0 else " * 30 + "1",
        "f0 if " * 60 + "f0" + " else f0" * 20, "9" * 499, "1e" + "9" * 490, "1e" + "9" * 490 + "%", "\x00" * 400,
        "\n" * 400, " " * 500, "é" * 500, "'" * 500, "." * 500, "%" * 500, "zz+" * 166 + "zz", DEEP,
    ],
    ids=lambda text: f"{text[:8]!r} x{len(text)}",
)  # fmt: skip
def test_size_and_depth_are_bounded_before_anything_is_built(text: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ExpressionError) as caught:
            parse(text, KINDS)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    check_places(text, caught.value)
    flaws(text)


@pytest.mark.parametrize("text", [
    "+".join(["n0"] * 160), "/".join(["n0"] * 160), "*".join(["n0"] * 160), " or ".join(["f0"] * 80),
    "<".join(["n0"] * 160), "!=".join(["n0"] * 120), "not " * 19 + "f0", "-" * 19 + "n0", "(" * 20 + "n0" + ")" * 20,
    "1 if f0 else " * 19 + "1", "abs(" * 19 + "n0" + ")" * 19, f"min({','.join(['n0'] * 20)})",
], ids=lambda text: text[:12])  # fmt: skip
def test_what_is_long_but_allowed_evaluates(text: str) -> None:
    assert parse(text, KINDS)
    for row in ({}, {"n0": 0, "f0": False}, {"n0": 2.0, "f0": True}):
        check(text, row)


def test_exactly_as_long_as_allowed_is_allowed() -> None:
    text = "n0 > 1" + " " * (MAX_CHARACTERS - 6)
    assert parse(text, KINDS)
    (flaw,) = flaws(text + " ")
    assert flaw.code == "expression-too-long"


def test_twenty_levels_are_allowed_and_one_more_is_not() -> None:
    for text in ("not " * 20 + "f0", "-" * 20 + "n0", "(" * 21 + "n0" + ")" * 21, "1 if f0 else " * 20 + "1"):
        (flaw,) = flaws(text)
        assert flaw.code == "expression-too-deep"


# --- every code, with its place -----------------------------------------------------------------------------------

# code, text, what it points at, what it says
TABLE = [
    ("bad-character", "n0 ≥ 1", "≥", "ASCII"),
    ("bad-character", "t0 == 'é\u202e' ", "\u202e", "U+202E"),
    ("bad-character", "n0 > 1\x00", "\x00", "U+0000"),
    ("bad-word", "t0 == 'é' AND f0", "AND", "write and"),
    ("bad-word", "n0 == None", "None", "on_missing"),
    ("empty-expression", "", "", "empty"),
    ("empty-expression", " \n ", " ", "empty"),
    ("expression-too-deep", "not " * 25 + "f0", "n", "20 levels"),
    ("expression-too-deep", DEEP[:500], None, "split"),
    ("expression-too-long", "1" * 501, "1", "500"),
    ("not-allowed", "n0 = 1", "=", "use =="),
    ("not-allowed", "n0 === 1", "===", "use =="),
    ("not-allowed", "n0 => 1", "=>", ">="),
    ("not-allowed", "t0 == 'é' && f0", "&&", "write and"),
    ("not-allowed", "n0 > 7 %", "%", "no space"),
    ("not-allowed", "n0 in n1", "in", "use =="),
    ("not-allowed", "n0 > +1", "+", "plus"),
    ("number-too-large", "n0 > 1e999", "1e999", "too large"),
    ("number-too-large", "n0 > 12.5% + 1e-999", "1e-999", "it is 0"),
    ("syntax", "7% > n0 n1", "n1", "missing"),
    ("syntax", "12.5% < 7%5", "5", "space is missing"),
    ("syntax", "(n0 > 7%", "(", "never closed"),
    ("syntax", "n0 > 7%)", ")", "closes nothing"),
    ("syntax", "t0 == 'é' and", "and", "ends where"),
    ("syntax", "n0 if f0", "if", "else"),
    ("syntax", "n0 == not f0", "not", "parentheses"),
    ("syntax", "f0 and min > 1", "min", "min(...)"),
    ("syntax", "'(' == t0 and (f0", "(f0"[:1], "never closed"),
    ("unknown-fact", "true and 'é' != t0 and abs(n00) > 1", "n00", 'did you mean "n0"?'),
    ("unknown-function", "7% > mni(n0, 1)", "mni", 'did you mean "min"?'),
    ("unknown-function", "7% > sqrt(n0)", "sqrt", "allowed: abs"),
    ("wrong-arguments", "7% > abs(n0, n1)", "abs(n0, n1)", "1 argument"),
    ("wrong-arguments", "7% > round(n0, 2.5)", "2.5", "0 to 10"),
    ("wrong-kind", "7% > (t0)", "(t0)", "cannot be compared"),
    ("wrong-kind", "t0 == 'é' and n0", "n0", "true or false"),
    ("wrong-kind", "t0 == 'é' and t0 < 'x'", "'x'", "== or !="),
    ("wrong-kind", "7% < n0 == true", "true", "is a flag"),
    ("wrong-kind", "n0 + (n1 < 7%) > 0", "(n1 < 7%)", "parentheses"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "text", "pointed", "said"), TABLE)
def test_each_flaw_points_at_its_place_and_says_a_way_out(code: str, text: str, pointed: str | None, said: str) -> None:
    flaw = flaws(text)[0]
    assert flaw.code == code
    assert said in flaw.message
    if pointed is not None:
        assert text[flaw.offset : flaw.offset + flaw.length] == pointed


def test_every_code_stands_in_the_table() -> None:
    assert {code for code, *_ in TABLE} == set(FLAW_CODES)
    assert list(FLAW_CODES) == sorted(FLAW_CODES)


def test_all_flaws_are_reported_in_order_of_appearance() -> None:
    text = "a1 > 1 and t0 > 2 and sqrt(b1) > t1 and 'é' == 7%"
    found = [(flaw.code, text[flaw.offset : flaw.offset + flaw.length]) for flaw in flaws(text)]
    assert found == [
        ("unknown-fact", "a1"),
        ("wrong-kind", "2"),
        ("unknown-function", "sqrt"),
        ("unknown-fact", "b1"),
        ("wrong-kind", "7%"),
    ]


@pytest.mark.parametrize(
    ("text", "expect", "said"),
    [
        (" n0 ", "flag", "compare it with something"),
        (" t0 ", "flag", "compare it with something"),
        (" f0 ", "number", "must be a number"),
        (" n0 ", "text", "must be text"),
    ],
)
def test_a_result_of_another_kind_is_wrong(text: str, expect: Kind, said: str) -> None:
    (flaw,) = flaws(text, expect)
    assert said in flaw.message
    assert (flaw.code, flaw.offset, flaw.length) == ("wrong-kind", 1, 2)


def test_a_hundred_unknown_names_among_a_thousand_known_ones_are_quick() -> None:
    names: dict[str, Kind] = dict.fromkeys((f"known_name_{index}" for index in range(1000)), "number")
    before = time.process_time()
    with pytest.raises(ExpressionError):
        parse("+".join(f"x{index}" for index in range(100)), names)
    assert time.process_time() - before < 1.0


# --- chance -------------------------------------------------------------------------------------------------------

often = settings(max_examples=5 * EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
CHARACTERS = "+-*/()<>=!,.%'\"#&|~^@;:?$[]{}\\\n\t 0179eEjx_"
PIECES = [*KINDS, *FUNCTIONS, *sorted(WORDS), *CHARACTERS, "==", "<=", ">=", "!=", "**", "//", ":=", "7%",
          "1e999", "0x1F", "1_0", "'x'", "'é'", "é", "\x00", "\u202e", "__class__", "lambda", "in", "is",
          " for ", "None"]  # fmt: skip


@often
@example("'\ud800'")
@given(st.text(max_size=60))
def test_any_text_is_refused_or_sound(text: str) -> None:
    check(text, {})


@often
@given(st.lists(st.sampled_from(PIECES), max_size=25), st.sampled_from(["", " "]), rows())
def test_any_pieces_of_the_language_are_refused_or_sound(pieces: list[str], between: str, row: Row) -> None:
    check(between.join(pieces), row)


@settings(often, max_examples=2 * EXAMPLES)
@given(st.one_of(numbers(3), conditions(3)), st.data(), rows())
def test_a_sentence_with_a_slip_is_refused_or_sound(sentence: object, data: st.DataObject, row: Row) -> None:
    text = sentence.text  # type: ignore[attr-defined]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 3))
        text = text[:at] + data.draw(st.sampled_from(["", *PIECES])) + text[at + cut :]
    check(text, row)
    check(text, clean(row))

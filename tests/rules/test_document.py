"""Strict YAML: what is read, what is refused and in which words, and where each character stands."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.rules.document import MAX_BYTES, MAX_DEPTH, Document, DocumentError, load
from autotrader.rules.problems import Problem, allowed, render_github, render_json, render_text, suggest


def problems(text: str | bytes) -> list[Problem]:
    with pytest.raises(DocumentError) as caught:
        load(text, "f.yaml")
    assert caught.value.problems
    return caught.value.problems


def only(text: str | bytes) -> Problem:
    (problem,) = problems(text)
    return problem


# --- values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True), ("False", False), ("TRUE", True), ("null", None), ("~", None), ("", None),
        ("12", 12), ("-3", -3), ("+4", 4), ("0", 0), ("0.5", 0.5), ("-.5", -0.5), ("1.", 1.0),
        ("1e3", 1000.0), ("1.5e-3", 0.0015), ("7%", 0.07), ("-7.5%", -0.075), ("100%", 1.0), ("0.1%", 0.001),
        ("text", "text"), ("09:30", "09:30"), ("a > 5", "a > 5"), ("7 %", "7 %"), ("'7%'", "7%"), ('"on"', "on"),
        ('"20:00"', "20:00"), ("a-b", "a-b"), ("1.2.3", "1.2.3"), ("12 sessions", "12 sessions"),
    ],
)  # fmt: skip
def test_a_value_is_read_as_the_plain_thing_it_says(written: str, value: object) -> None:
    read = load(f"a: {written}\n", "f").data["a"]
    assert read == value
    assert type(read) is type(value)


@given(st.integers(0, 10**6), st.integers(0, 4))
def test_a_percent_is_the_float_nearest_to_its_hundredth(digits: int, places: int) -> None:
    whole = f"{digits / 10**places:.{places}f}"
    shifted = f"{digits / 10 ** (places + 2):.{places + 2}f}"
    assert load(f"a: {whole}%", "f").data["a"] == float(shifted)


@pytest.mark.parametrize(
    ("written", "code", "way_out"),
    [
        ("20:00", "ambiguous-time", 'write "20:00"'), ("1:30:00", "ambiguous-time", 'write "1:30:00"'),
        ("on", "ambiguous-word", 'write "on" or true'), ("ON", "ambiguous-word", 'write "ON"'),
        ("Off", "ambiguous-word", "false"), ("yes", "ambiguous-word", "true"), ("NO", "ambiguous-word", '"NO"'),
        ("y", "ambiguous-word", '"y"'), ("N", "ambiguous-word", '"N"'),
        ("2026-01-01", "ambiguous-date", 'write "2026-01-01"'),
        ("2026-01-01 10:00:00", "ambiguous-date", '"2026-01-01 10:00:00"'),
        ("010", "ambiguous-number", "write 10"), ("08", "ambiguous-number", "write 8"),
        ("0x1F", "ambiguous-number", "write 31"), ("0b101", "ambiguous-number", "write 5"),
        ("0o17", "ambiguous-number", "write 15"),
        ("1_000", "ambiguous-number", "write 1000"), ("1_000.5", "ambiguous-number", "write 1000.5"),
        (".inf", "ambiguous-number", "finite"), ("-.INF", "ambiguous-number", "finite"),
        (".NaN", "ambiguous-number", "finite"), ("1e999", "number-too-large", "1.8e308"),
        ("9" * 5000, "number-too-large", "fewer digits"), ("=", "needs-quotes", 'write "="'),
    ],
)  # fmt: skip
def test_what_readers_of_yaml_disagree_about_is_refused_with_a_way_out(written: str, code: str, way_out: str) -> None:
    problem = only(f"key: {written}")
    assert (problem.code, problem.line, problem.column) == (code, 1, 6)
    assert way_out in problem.message
    assert only(f"key: [{written}]").code == code


def test_a_switch_word_is_refused_as_a_key_too() -> None:
    assert only("ON: 1").code == "ambiguous-word"
    assert only("a: {n: 1}").code == "ambiguous-word"


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("a: &x 1\nb: 2", "anchor", (1, 4)), ("a: *x", "anchor", (1, 4)), ("<<: {a: 1}", "merge-key", (1, 1)),
        ("a: !!int 5", "tag", (1, 4)), ("a: {b: !!str x}", "tag", (1, 8)),
        ("a: 1\nb: 2\na: 3", "duplicate-key", (3, 1)),
        ("a: 1\n---\nb: 2", "several-documents", (2, 1)), ("", "empty-document", (1, 1)),
        ("# only a comment\n", "empty-document", (1, 1)), ("- a", "not-a-mapping", (1, 1)),
        ("text", "not-a-mapping", (1, 1)), ("1: a", "key-not-text", (1, 1)), ("true: a", "key-not-text", (1, 1)),
        ("? [a]\n: b", "key-not-text", (1, 3)), ("a: x\x00", "control-character", (1, 5)),
        ("a: x\x1b[31m", "control-character", (1, 5)), ('a: "\\0"', "control-character", (1, 4)),
        (b"a: \xff", "not-utf8", (1, 4)), (b"a: 1\nb: \xc3\xa9\xe9", "not-utf8", (2, 5)),
        ("a: 1".encode("utf-16"), "not-utf8", (1, 1)), ("a:\n\tb: 1", "tab", (2, 1)),
        ("{a: b,\n\tc: d}", "tab", (2, 1)),
        ("a: {b, c: 1}", "key-without-value", (1, 5)), ("a: {b:1}", "key-without-value", (1, 5)),
    ],
)  # fmt: skip
def test_what_the_language_leaves_out_is_refused_where_it_stands(
    text: str | bytes, code: str, place: tuple[int, int]
) -> None:
    problem = only(text)
    assert (problem.code, (problem.line, problem.column)) == (code, place)


def test_a_file_that_is_not_utf8_is_shown_as_far_as_it_can_be() -> None:
    with pytest.raises(DocumentError) as caught:
        load(b"a: 1\r\nb: \x80x", "f")
    assert render_text(caught.value.problems, {"f": caught.value.text}).split("\n")[1:] == [
        "    2 | b: \ufffdx",
        "      |    ^",
    ]


def test_a_duplicate_key_names_both_places() -> None:
    problem = only("x:\n  key: 1\n  other: 2\n  key: 3\n")
    assert (problem.line, problem.column) == (4, 3)
    assert "line 2, column 3" in problem.message


def test_too_much_is_refused_before_it_is_parsed() -> None:
    text = "a: " + "[" * (MAX_BYTES + 1)
    start = time.perf_counter()
    assert only(text).code == "too-large"
    assert only(text.encode()).code == "too-large"
    assert time.perf_counter() - start < 0.5


def test_a_size_counts_in_bytes() -> None:
    assert only("a: " + "é" * (MAX_BYTES // 2)).code == "too-large"


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_refused_without_recursion(opening: str) -> None:
    found = problems("a:\n " + opening * 20_000)
    assert {problem.code for problem in found} & {"too-deep", "syntax", "needs-quotes"}
    assert load("a: " + "[" * (MAX_DEPTH - 2) + "]" * (MAX_DEPTH - 2), "f")


@pytest.mark.parametrize(
    "unit", ["[a,", "a: b\n", "y: n\n", "- ", "'", '"a\n', "a: |\n b\n", "&a ", "{a: (,", "\t\n", "a: b: c\n"]
)
def test_a_megabyte_of_anything_is_refused_in_bounded_time(unit: str) -> None:
    start = time.perf_counter()
    assert len(problems("x:\n " + unit * (900_000 // len(unit)) + "\ny: on")) <= 100
    assert time.perf_counter() - start < 8


# --- traps around broken syntax -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("when: > 5", 7, 'not read as a comparison; write the whole condition, with both sides, in quotes: when: "'),
        ("when: >= 5", 7, "not read as a comparison"), ("when: >5\nb: 1", 7, "not a comparison"),
        ("{when: > 5, then: exit}", 8, "not read as a comparison"), ("when: | x", 7, 'when: "| x"'),
        ('when: "short" == direction', 7, """quote the whole text: when: '"short" == direction'"""),
        ('x: {when: "short" == direction, then: exit}', 11, """when: '"short" == direction'"""),
        ("because: Loss: x", 10, 'because: "Loss: x"'), ("x: {because: Loss: x, then: y1}", 14, 'because: "Loss: x"'),
        ("x:\n- name: a\n  because: Loss: x", 12, 'because: "Loss: x"'), ("when: @x", 7, 'when: "@x"'),
        ("when: `x`", 7, 'when: "`x`"'), ("when: * 5", 7, 'when: "* 5"'),
        ("x: {value: clip(a, 0, 1)}", 12, 'value: "clip(a, 0, 1)"'),
        ("x: {value: max(a, 0) > min(b, 1), then: exit}", 12, 'value: "max(a, 0) > min(b, 1)"'),
        ("x: [clip(a, 0, 1), 2]", 5, '"clip(a, 0, 1)"'),
    ],
)  # fmt: skip
def test_a_text_that_yaml_takes_apart_is_to_be_quoted_as_a_whole(text: str, column: int, says: str) -> None:
    problem = only(text)
    assert (problem.code, problem.column) == ("needs-quotes", column)
    assert says in problem.message


@pytest.mark.parametrize("text", ["when: !held", "x: {when: !held}", "x: {when: !held, then: exit}"])
def test_an_exclamation_mark_is_answered_with_the_word_not(text: str) -> None:
    problem = only(text)
    assert problem.code == "tag"
    assert "when: not held" in problem.message


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nfoo\nb: 2", 2, 'expected "key: value"'), ("a:\n  b: 2\n c: 3", 3, "indentation"),
        ("x:\n- {when: a\n- {when: b}", 2, '"{" is not closed before line 3'), ('a: "b\nc: 2', 1, "never closed"),
        ("a: b\n  c: d", 2, "text of line 1 still goes on"), ('a: "\\q"', 1, "single quotes"),
        ("- a\nb: c", 2, "list item"), ("a: [1, 2", 1, "]"),
    ],
)  # fmt: skip
def test_other_broken_syntax_is_explained_where_it_can_be_mended(text: str, line: int, says: str) -> None:
    problem = only(text)
    assert (problem.code, problem.line) == ("syntax", line)
    assert says in problem.message


def test_all_problems_are_found_beyond_broken_lines() -> None:
    text = 'a: b: c\nd: > 5\nwhen: "x" == y\ne: {f: g: h}\nk: 20:00\nk: on\nl: x\nm:\n\tz: 1\n'
    assert [(p.line, p.code) for p in problems(text)] == [
        (1, "needs-quotes"), (2, "needs-quotes"), (3, "needs-quotes"), (4, "needs-quotes"),
        (5, "ambiguous-time"), (6, "duplicate-key"), (6, "ambiguous-word"), (9, "tab"),
    ]  # fmt: skip


def test_a_document_with_traps_alone_can_be_searched_for_more() -> None:
    with pytest.raises(DocumentError) as caught:
        load('at: 20:00\nx: "7%"\n', "f")
    assert caught.value.document is not None
    assert caught.value.document.data == {"at": "20:00", "x": "7%"}


def test_a_byte_order_mark_and_foreign_line_ends_are_fine() -> None:
    document = load(b"\xef\xbb\xbfa: 1\r\nb: 2\rc: 3", "f")
    assert document.data == {"a": 1, "b": 2, "c": 3}
    assert (document.span(("c",)).line, document.span(("c",)).column) == (3, 4)


# --- positions ----------------------------------------------------------------------------------------------------

SAMPLE = """\
rules:
  - {name: a, when: close > 5}   # comment
  - name: b
    when: >-
      close
      > 6
empty:
"""


def test_positions_of_keys_values_and_blocks() -> None:
    document = load(SAMPLE, "f")
    span = document.span(("rules", 0, "when"))
    assert (span.line, span.column, span.length) == (2, 21, 9)
    assert document.key_span(("rules", 0, "when")).column == 15
    assert document.raw(("rules", 0, "when")) == "close > 5"
    assert (document.span(("rules", 1)).line, document.span(("rules", 1)).column) == (3, 5)
    assert document.span(("empty",)) == document.key_span(("empty",))


def test_a_path_that_does_not_exist_stands_at_its_nearest_parent() -> None:
    document = load(SAMPLE, "f")
    assert document.span(("rules", 0, "then", "x")) == document.span(("rules", 0))
    assert document.key_span(("rules", 0, "then")) == document.span(("rules", 0))
    assert document.locate(("nowhere",), 3).line == 1


def test_a_problem_points_into_the_text_of_a_value() -> None:
    document = load(SAMPLE, "f")
    problem = document.problem(("rules", 1, "when"), "code", "message", offset=8, length=1)
    assert (problem.file, problem.line, problem.column, problem.length) == ("f", 6, 9, 1)
    assert document.problem(("rules", 0, "when"), "c", "m", key=True).column == 15


TEXTS = st.text(alphabet="ab#:'\"\\ \n>|-é日😀%,", min_size=1, max_size=40)


def every_style(value: str) -> list[str]:
    """The value as YAML in each style that can say it, below a key in a nested block."""
    out = []
    for style in (None, "'", '"', "|", ">"):
        for width in (6, 20, 1000):
            text = yaml.dump({"x": [{"k": value, "z": 1}]}, default_style=style, width=width, allow_unicode=True)
            out.append(text.replace("!!int ", "").replace('"1"', "1").replace("'1'", "1"))
    return out


def check_positions(document: Document, value: str) -> None:
    for offset, char in enumerate(value):
        if char.isspace():
            continue
        span = document.locate(("x", 0, "k"), offset)
        found = document.lines[span.line - 1][span.column - 1 :]
        escaped = found.startswith("\\")
        assert escaped or found.startswith(char), (document.text, offset, char, span)


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_every_character_of_a_value_is_found_in_the_source_in_every_style(value: str) -> None:
    checked = 0
    for text in every_style(value):
        try:
            document = load(text, "f")
        except DocumentError:  # a tag, a trap: refused for other reasons
            continue
        if document.data["x"][0]["k"] == value:
            check_positions(document, value)
            checked += 1
    assert checked


@pytest.mark.parametrize(
    ("text", "offset", "place"),
    [
        ("x:\n- k: ab\n    cd\n\n    ef", 3, (3, 5)), ("x:\n- k: ab\n    cd\n\n    ef", 6, (5, 5)),
        ("x:\n- k: 'it''s b'", 5, (2, 13)), ('x:\n- k: "a\\u0062\\tc"', 3, (2, 16)),
        ('x:\n- k: "ab\\\n     cd"', 2, (3, 6)),
        ("x:\n- k: |2\n      ab\n    c", 2, (3, 7)), ("x:\n- k: >\n    ab\n    cd\n\n     e\n    f\n", 3, (4, 5)),
        ("x:\n- k: |\n\n    ab\n", 1, (4, 5)), ("x:\n- k: ab", 2, (2, 8)), ("x:\n- k: ab", 99, (2, 8)),
    ],
)  # fmt: skip
def test_positions_in_awkward_scalars(text: str, offset: int, place: tuple[int, int]) -> None:
    span = load(text, "f").locate(("x", 0, "k"), offset)
    assert (span.line, span.column) == place


# --- robustness and speed -----------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(alphabet="ab:-{}[]()\"'#&*!|>%@`?,= \n\t0159.~<", max_size=120)))
def test_any_input_is_a_document_or_problems(text: Any) -> None:
    try:
        document = load(text, "f")
    except DocumentError as error:
        found, lines = error.problems, error.text.split("\n")
        render_text(found, {"f": error.text})
    else:
        assert isinstance(document.data, dict)
        return
    assert found
    assert all(1 <= p.line <= len(lines) and p.column >= 1 and p.length >= 1 for p in found)


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
        max_leaves=12,
    )
)
def test_json_is_read_as_json(data: Any) -> None:
    import json

    wrapped = {"root": data}
    text = json.dumps(wrapped, ensure_ascii=True)
    try:
        read = load(text, "f").data
    except DocumentError as error:  # escapes of invisible characters, lone surrogates
        codes = {problem.code for problem in error.problems}
    else:
        assert read == wrapped
        return
    assert codes <= {"control-character", "syntax", "needs-quotes"}


# --- problems -----------------------------------------------------------------------------------------------------


def test_a_problem_is_rendered_with_its_line_and_a_caret() -> None:
    text = "\n" * 87 + "      when: clsoe <= stop_price\n"
    problem = Problem("config/a.yaml", 88, 13, "unknown-fact", 'unknown name "clsoe"; did you mean "close"?', length=5)
    assert render_text([problem], {"config/a.yaml": text}) == (
        'config/a.yaml:88:13: error[unknown-fact] unknown name "clsoe"; did you mean "close"?\n'
        "   88 |       when: clsoe <= stop_price\n"
        "      |             ^^^^^"
    )


def test_problems_come_in_order_of_file_line_and_column() -> None:
    mixed = [Problem("b", 1, 1, "x", "m"), Problem("a", 10, 1, "x", "m"), Problem("a", 9, 5, "x", "m")]
    assert [line[:5] for line in render_text(mixed, {}).split("\n")] == ["a:9:5", "a:10:", "b:1:1"]
    objects = json.loads(render_json(mixed, {}))
    assert [entry["line"] for entry in objects] == [9, 10, 1]
    assert set(objects[0]) == {"file", "line", "column", "length", "code", "severity", "message"}


def test_tabs_and_wide_and_combining_characters_do_not_shift_the_caret() -> None:
    shown = render_text([Problem("f", 1, 3, "c", "m")], {"f": "\t\tx: 1"}).split("\n")
    assert shown[1].index("x") == shown[2].index("^")
    wide = render_text([Problem("f", 1, 5, "c", "m", length=3)], {"f": "日本: foo"}).split("\n")
    assert wide[2] == "      | " + " " * 6 + "^^^"
    combining = render_text([Problem("f", 1, 4, "c", "m")], {"f": "e\u0301 x"}).split("\n")
    assert combining[2] == "      | " + " " * 2 + "^"


def test_a_long_line_is_cut_to_a_window_around_the_place() -> None:
    line = "a" * 500 + "HERE" + "b" * 500
    _, shown, caret = render_text([Problem("f", 1, 501, "c", "m", length=4)], {"f": line}).split("\n")
    assert len(shown) <= 160
    assert shown[caret.index("^") : caret.rindex("^") + 1] == "HERE"


def test_a_line_of_a_megabyte_is_shown_as_quickly_as_any() -> None:
    many = [Problem("f", 1, column, "c", "m", length=4) for column in range(1, 1_000_000, 20_000)]
    start = time.perf_counter()
    render_text(many, {"f": "{" * 1_000_000})
    assert time.perf_counter() - start < 2


def test_a_workflow_command_stays_one_line_whatever_is_in_it() -> None:
    shown = render_github([Problem("a,b:c.yaml", 2, 3, "code", "50%\nmore: x", length=4)], {})
    assert shown == "::error file=a%2Cb%3Ac.yaml,line=2,col=3,endColumn=7,title=code::50%25%0Amore: x"


def test_control_characters_never_reach_the_terminal() -> None:
    text = render_text([Problem("f\x1b", 1, 3, "c", "m\x07\u202e")], {"f\x1b": "a\x1b[31mred"})
    assert not any(ord(char) < 32 for char in text.replace("\n", ""))
    assert "\u202e" not in text
    assert "\\x1b" in text


def test_a_misspelt_name_gets_its_nearest_neighbour() -> None:
    assert suggest("clsoe", ["open", "close", "volume"]) == "close"
    assert suggest("Max-Long", ["max_long", "max_short"]) == "max_long"
    assert suggest("nothing_like_it", ["open", "close"]) is None
    assert suggest("x" * 1_000_000, ["x"]) is None
    assert allowed(["market", "opg"]) == "allowed: market, opg"
    assert allowed(str(i) for i in range(100)) == ""

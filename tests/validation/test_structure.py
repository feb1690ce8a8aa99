# ruff: noqa: E501  # the table of messages reads best with one case a line
"""The form of the configuration: schemas, positions and wording of problems, and any bytes at all as input."""

from __future__ import annotations

import json
import random
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ConfigDict

from autotrader.rules.document import DocumentError, load
from autotrader.rules.problems import Problem
from autotrader.settings import StrategyParams
from autotrader.validation.checker import errors
from autotrader.validation.json_schema import (
    STRATEGY_PARAMS,
    SYSTEM,
    checking_form,
    generate_schemas,
    schema_text,
    structure_schema,
)
from autotrader.validation.structure import build, check_structure, read_document

from .edits import DEFAULT, mutated

CONFIG = Path(__file__).parents[2] / "config"


def check(text: str | bytes) -> list[Problem]:
    """What structure and model say about a text that is a sound document."""
    document = load(text, "f")
    problems = check_structure(document, structure_schema(STRATEGY_PARAMS))
    built = build(StrategyParams, document)
    return problems or (built if isinstance(built, list) else [])


def edited(old: str, new: str) -> str:
    assert old in DEFAULT
    return DEFAULT.replace(old, new, 1)


def stands_at(problem: Problem, text: str, needle: str) -> bool:
    """Whether the problem begins where `needle` begins."""
    return "\n".join(text.split("\n")[problem.line - 1 :])[problem.column - 1 :].startswith(needle)


# --- schemas ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def schemas() -> dict[str, dict[str, Any]]:
    signals = {
        entry.name: entry.load().Params.model_json_schema() for entry in entry_points(group="autotrader.strategies")
    }
    return generate_schemas(signals)


@pytest.mark.parametrize("name", [STRATEGY_PARAMS, SYSTEM])
def test_the_schema_files_are_what_the_models_say(name: str, schemas: dict[str, dict[str, Any]]) -> None:
    assert (CONFIG / "schemas" / name).read_text(encoding="utf-8") == schema_text(schemas[name])
    Draft202012Validator.check_schema(schemas[name])
    Draft202012Validator.check_schema(checking_form(schemas[name]))


def every_schema(schema: Any) -> list[dict[str, Any]]:
    found = [schema] if isinstance(schema, dict) else []
    parts = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else []
    return found + [inner for part in parts for inner in every_schema(part)]


def test_every_key_is_described_for_the_editor(schemas: dict[str, dict[str, Any]]) -> None:
    for name, definition in schemas[STRATEGY_PARAMS]["$defs"].items():
        if name.startswith("signal.") or "properties" not in definition:
            continue
        for key, schema in definition["properties"].items():
            described = schema.get("description") or "$ref" in schema
            assert described, f"{name}.{key}"


def test_an_editor_accepts_the_default_configuration_percents_included(schemas: dict[str, dict[str, Any]]) -> None:
    import yaml

    as_editors_see_it = yaml.safe_load(DEFAULT)
    assert as_editors_see_it["strategy_defaults"]["max_gap_pct"] == "3%"
    assert list(Draft202012Validator(schemas[STRATEGY_PARAMS]).iter_errors(as_editors_see_it)) == []
    as_editors_see_it["strategy_defaults"]["max_gap_pct"] = "three"
    assert list(Draft202012Validator(schemas[STRATEGY_PARAMS]).iter_errors(as_editors_see_it))


def test_the_form_for_checking_needs_no_references_and_no_alternatives() -> None:
    parts = every_schema(structure_schema(STRATEGY_PARAMS))
    assert not any("$ref" in part or "anyOf" in part for part in parts)


def test_the_signal_of_a_strategy_is_checked_by_its_plugin_under_any_key() -> None:
    by_key = edited("adx_rise: 2.0", "adx_rize: 2.0")
    (problem,) = check(by_key)
    assert problem.code == "unknown-key"
    assert stands_at(problem, by_key, "adx_rize")
    assert 'did you mean "adx_rise"?' in problem.message
    named = edited(
        "  bb_squeeze:\n    signal: {squeeze_ratio: 0.75",
        "  mine:\n    plugin: bb_squeeze\n    signal: {squeeze_ratio: x",
    )
    (problem,) = check(named)
    assert problem.message == 'expected a number, found the text "x"'
    assert (
        check(
            edited(
                "  bb_squeeze:\n    signal: {squeeze_ratio: 0.75", "  bb_squeeze:\n    plugin: other\n    signal: {q: 1"
            )
        )
        == []
    )


def test_an_unlike_plugin_does_not_break_the_schema() -> None:
    class Inner(BaseModel):
        a: int | str | list[float] = 1

    class Outer(BaseModel):
        inner: Inner | float = 1.0
        many: dict[str, Inner] = {}

    schema = generate_schemas({"odd": Outer.model_json_schema()})[STRATEGY_PARAMS]
    Draft202012Validator.check_schema(schema)
    text = edited(
        "  bb_squeeze:\n    signal: {",
        "  odd:\n    signal: {inner: {a: {}}, many: {x: 1}}\n  bb_squeeze:\n    signal: {",
    )
    problems = check_structure(load(text, "f"), checking_form(schema))
    assert [p.message for p in problems] == [
        "expected a whole number or text or a list (- ...), found a mapping (key: value)",
        "expected {a: ...}, found the number 1",
    ]


# --- wording and places -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "at", "code", "message"),
    [
        ("top_candidates: 12", "top_candidate: 12", "top_candidate:", "unknown-key", 'unknown key "top_candidate"; did you mean "top_candidates"?'),
        ("opens:", "late: x, opens:", "late:", "unknown-key", 'unknown key "late"; allowed: opens, closes, margin_seconds, retry_seconds'),
        ("min_coverage: 0.90", "min_coverage: 1.5", "1.5", "out-of-range", "1.5 is out of range; at most 1; did you mean 1.5%?"),
        ("min_coverage: 0.90", "min_coverage: abc", "abc", "wrong-type", 'expected a number, found the text "abc"'),
        ("top_candidates: 12", "top_candidates: 12.0", "12.0", "wrong-type", "expected a whole number, found the number 12"),
        ("top_candidates: 12", "top_candidates:", "top_candidates", "wrong-type", "expected a whole number, found nothing; what follows the # is a comment"),
        ("retry_seconds: [60, 120, 300]", "retry_seconds: 60", "60  ", "wrong-type", "expected a list (- ...), found the number 60"),
        ('scan_time: "20:00"', 'scan_time: "8pm"', '"8pm"', "wrong-form", 'expected a time like "09:30", in quotes, found the text "8pm"'),
        ("order: market", "order: markt", "markt", "not-allowed", 'the text "markt" is not allowed here; did you mean "market"?'),
        ("order: market", "order: x", "x  ", "not-allowed", 'the text "x" is not allowed here; allowed: market, opg'),
        ("version: 1", "version: 2", "2\n\n", "not-allowed", "the number 2 is not allowed here; allowed: 1"),
        ("max_stop_pct: 5%", 'max_stop_pct: "5%"', '"5%"', "wrong-type", 'expected a number or {long: ..., short: ...} or null, found the text "5%"; write 5% without quotes or spaces'),
        ("{long: 70}", "{lng: 70}", "lng", "unknown-key", 'unknown key "lng"; did you mean "long"?'),
        ("{long: 70}", "seventy", "seventy", "wrong-type", 'expected a number or {long: ..., short: ...} or null, found the text "seventy"'),
        ("    signal: {adx_min: 25, rsi_max", "    singal: {adx_min: 25, rsi_max", "singal", "unknown-key", 'unknown key "singal"; did you mean "signal"?'),
        ("when: opposite_signal, then: reject", "then: reject", "{name: conflicting", "missing-key", 'the key "when" is missing here'),
        ("when: opposite_signal", "when: [a]", "[a]", "wrong-type", "expected an expression, found a list (- ...)"),
        ("{kind: rsi, length: 14}", "{kind: rsi, width: 2}", "width: 2", "unknown-key", "width has no meaning for rsi, adx, atr; remove it"),
        ("{kind: ema, length: 8}", "{kind: ema}", "ema_fast", "missing-key", 'the key "length" is missing here'),
        ("kind: adx,", "kind: adxx,", "adxx", "not-allowed", 'the text "adxx" is not allowed here; did you mean "adx"?'),
        ("then: hold", "then: reject", "reject, because: The", "not-allowed", 'the text "reject" is not allowed here; allowed: exit, hold'),
        ("name: blackout,", "name: blackout, for_bars: 2,", "for_bars: 2, when: blackout", "unknown-key", 'unknown key "for_bars"; allowed: name, when, then, on_missing, reason, because'),
        ("  bb_squeeze:\n", "  bb-squeeze:\n", "bb-squeeze:\n", "wrong-form", 'the name "bb-squeeze" is not allowed; expected a name of letters, digits and _, not beginning with a digit'),
        ("max_per: {sector: 3}", "max_per: {sectr: 3}", "sectr", "wrong-form", 'the name "sectr" is not allowed; expected "sector"'),
        ("\nregime:\n", "\nregimes:\n", "regimes", "unknown-key", 'unknown key "regimes"; did you mean "regime"?'),
        ("default: 0.10", "default: 2", "2   ", "out-of-range", "2 is out of range; at most 1; did you mean 2%?"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_problem_in_plain_words_at_its_place(
    old: str, new: str, at: str, code: str, message: str
) -> None:
    text = edited(old, new)
    (problem,) = check(text)
    assert (problem.code, problem.message) == (code, message)
    assert stands_at(problem, text, at)


def test_several_mistakes_are_all_reported() -> None:
    text = edited("top_candidates: 12", "top_candidate: 12").replace("order: market", "order: mkt")
    text = text.replace("when: opposite_signal, then", "than").replace("{long: 70}", "x")
    assert sorted(p.code for p in check(text)) == [
        "missing-key",
        "not-allowed",
        "not-allowed",
        "unknown-key",
        "unknown-key",
        "wrong-type",
    ]


def test_models_of_plugins_are_built_from_a_part_with_places() -> None:
    class Params(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)
        squeeze_ratio: float
        adx_rise: int | None = None
        other: float

    text = "strategies:\n  x:\n    signal:\n      squeeze_ratio: a\n      adx_rise: 2.5\n      more: 1\n"
    problems = build(Params, load(text, "f"), ("strategies", "x", "signal"))
    assert isinstance(problems, list)
    assert sorted((p.line, p.column, p.code) for p in problems) == [
        (3, 5, "missing-key"), (4, 22, "wrong-type"), (5, 17, "wrong-type"), (6, 7, "unknown-key"),
    ]  # fmt: skip


# --- files --------------------------------------------------------------------------------------------------------


def test_files_that_cannot_be_read_are_problems(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.yaml", tmp_path / "nul\0.yaml", tmp_path / ("long" * 100)):
        with pytest.raises(DocumentError) as caught:
            read_document(path)
        (problem,) = caught.value.problems
        assert (problem.code, problem.line, problem.column) == ("unreadable", 1, 1)
        assert problem.message.startswith("cannot be read: ")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(bytes(range(256)) * 10)
    with pytest.raises(DocumentError):
        read_document(binary)


# --- the shortcuts of the checker ------------------------------------------------------------------


def test_the_shortcuts_of_the_checker_find_what_jsonschema_finds() -> None:
    random_ = random.Random(7)
    schema = structure_schema(STRATEGY_PARAMS)
    compared = 0
    for _ in range(60):
        try:
            data = load(mutated(DEFAULT, random_), "f").data
        except DocumentError as error:
            if error.document is None:
                continue
            data = error.document.data
        wanted = {(tuple(e.absolute_path), e.validator) for e in Draft202012Validator(schema).iter_errors(data)}
        found = {(tuple(e.absolute_path), e.validator) for e in errors(schema, data)}
        whole = {place for place in found - wanted if place[1] == "type"}  # 5.0 is no whole number here
        assert found - whole == wanted
        compared += 1
    assert compared > 10


def test_schema_and_model_refuse_the_same() -> None:
    random_ = random.Random(11)
    for _ in range(100):
        try:
            document = load(mutated(DEFAULT, random_), "f")
        except DocumentError:
            continue
        problems = check_structure(document, structure_schema(STRATEGY_PARAMS))
        built = build(StrategyParams, document)
        for_plugin = all("signal:" in document.lines[p.line - 1] for p in problems)  # which the model leaves alone
        assert bool(problems) == isinstance(built, list) or (problems and for_plugin), (problems, built)


def test_the_schemas_are_plain_json() -> None:
    for name in (STRATEGY_PARAMS, SYSTEM):
        json.loads((CONFIG / "schemas" / name).read_text(encoding="utf-8"))

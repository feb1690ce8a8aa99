"""Every message of validate, as it is printed. See golden_cases for the form, and for writing the findings anew."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import autotrader
from autotrader.validation.codes import CODES

from .golden_cases import CODE, PAGE, Case, cases, default_findings, with_codes

CASES = cases()
PACKAGE = Path(autotrader.__file__).parent
CHECKED = [*(PACKAGE / "validation").glob("*.py"), *(PACKAGE / "rules").glob("*.py")]
DOCUMENTED_ELSEWHERE = {PACKAGE / "validation" / "cases.py"}  # what rule cases may be told; its own table


@pytest.mark.parametrize("case", CASES, ids=[case.path.stem for case in CASES])
def test_a_mistake_is_told_as_it_always_was(case: Case) -> None:
    assert case.text() == case.expected


def test_every_code_has_a_case_and_every_case_a_code_of_the_table() -> None:
    seen = {code for case in CASES for code in CODE.findall(case.expected)}
    assert seen == set(CODES)


def test_no_code_is_used_that_the_table_does_not_have() -> None:
    used: dict[str, str] = {}
    for path in set(CHECKED) - DOCUMENTED_ELSEWHERE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                for code in _codes(node):
                    used[code] = f"{path.name}:{node.lineno}"
    assert {code: place for code, place in used.items() if code not in CODES} == {}
    assert len(used) > 40


def _codes(node: ast.Call) -> list[str]:
    """The texts that a call hands on as a code, by the names of what is called."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name not in {"Problem", "Flaw", "Trap", "Finding", "report", "_report", "problem", "_flaw"}:
        return []
    texts = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return [text for text in texts[:1] if re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", text)]


def test_a_place_is_told_once() -> None:
    for case in CASES:
        heads = [line.split(": error")[0] for line in case.expected.split("\n") if ": error[" in line]
        assert len(heads) == len(set(heads)), case.path.stem


def test_the_default_configuration_has_no_errors_and_one_thing_to_think_about() -> None:
    assert [code for code, _ in default_findings()] == ["hidden-stop"]


def test_the_page_shows_each_code_with_its_meaning_and_a_real_example() -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert with_codes(written) == written
    assert set(CODE.findall(written)) == set(CODES)

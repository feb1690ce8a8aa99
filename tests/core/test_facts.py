"""Every fact that the vocabulary declares is given a value where its stage's row is made, if a rule reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from days import Floor, candidate, configuration

from autotrader.core.gap_filter import Quote, gap_filter
from autotrader.rules.facts import Fact

RULES = "      - {name: stale_open_entry, when:"


def mentioned(fact: Fact) -> str:
    """A condition that reads a fact."""
    if fact.kind == "text":
        word = {"strategy": "adx_pullback", "sector": "Energy"}.get(fact.name) or fact.values[0]
        return f'{fact.name} == "{word}"'
    return fact.name if fact.kind == "flag" else f"{fact.name} == 0"


@pytest.fixture(scope="module")
def edit() -> tuple[str, str]:
    """A gap filter's rule that reads whatever there is and never matches."""
    rulebook = configuration().rulebook
    facts = rulebook.stages["gap_filter"].facts
    every = " and ".join(mentioned(fact) for name, fact in facts.items() if name not in rulebook.indicator_names)
    return RULES, f"      - {{name: every, when: 'false and {every}', then: reject, on_missing: skip}}\n{RULES}"


@pytest.fixture(scope="module")
def rows(edit: tuple[str, str]) -> dict[str, Mapping[str, Any]]:
    """stage -> what it judged."""
    item = candidate("A", strategy="regime_momentum")
    (passed,), _, _ = gap_filter([item], {"A": Quote(100.0, 1.0, 0.001, False, True)},
                                      configuration(edit).rulebook, "TREND", 1)  # fmt: skip
    floor = Floor(edit)
    floor.plan(item)
    assert floor.group("confirmation", A=101.0) == {"A": "entered"}
    found = {decision.stage: decision.facts for decision in floor.decided["A"]} | {"gap_filter": passed.facts}
    floor.next()
    floor.bar(0, "A", 101.0)
    found["exit"] = floor.close().judged[0].decision.facts
    return {stage: facts for stage, facts in found.items() if facts is not None}


@pytest.mark.parametrize("stage", ["gap_filter", "confirmation", "reentry", "limits", "sizing", "order", "exit"])
def test_every_declared_fact_is_given(rows: dict[str, Mapping[str, Any]], stage: str) -> None:
    rulebook = configuration().rulebook
    declared = rulebook.stages[stage].facts.keys() - rulebook.indicator_names
    assert declared - rows[stage].keys() == set()


def test_of_a_candidate_no_more_is_worked_out_than_the_rules_read() -> None:
    item = candidate("A", strategy="regime_momentum")
    (passed,), _, _ = gap_filter([item], {"A": Quote(100.0)}, configuration().rulebook, "TREND", 1)
    assert passed.facts.keys() == {"gap_pct", "result_age", "entry_group", "direction", "regime_weight"}

"""Every fact that the vocabulary declares is given a value where its stage's row is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from days import Floor, candidate, configuration

from autotrader.core.gap_filter import Quote, gap_filter


@pytest.fixture(scope="module")
def rows() -> dict[str, Mapping[str, Any]]:
    """stage -> what it judged."""
    item = candidate("A", strategy="regime_momentum")
    (passed,), _, _ = gap_filter([item], {"A": Quote(100.0, 1.0, 0.001, False, True)},
                                      configuration().rulebook, "TREND", 1)  # fmt: skip
    floor = Floor()
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

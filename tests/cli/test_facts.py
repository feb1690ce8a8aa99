"""`autotrader facts`: the words that rules may use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import ROOT, Run

STAGES = ("regime", "eligible", "score", "gap_filter", "confirmation", "limits", "sizing", "exit")


def test_every_stage_is_named(run: Run) -> None:
    ran = run("facts", "--config", ROOT / "config")
    assert ran.code == 0
    assert all(stage in ran.out for stage in STAGES)
    assert "universe_rank" in ran.out, "the indicator kinds too"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_facts_are_listed_with_their_meaning(run: Run, stage: str) -> None:
    table, data = (run("facts", stage, "--config", ROOT / "config", *more) for more in ((), ("--json",)))
    assert (table.code, data.code) == (0, 0)
    facts = json.loads(data.out)[stage]
    assert facts
    assert all(fact["doc"] for fact in facts)
    assert all(fact["name"] in table.out for fact in facts)


def test_declared_indicators_are_facts(run: Run) -> None:
    facts = json.loads(run("facts", "regime", "--json", "--config", ROOT / "config").out)["regime"]
    assert {"close", "rsi", "bb_width_ratio", "dollar_volume_rank"} <= {fact["name"] for fact in facts}


def test_a_misspelt_stage_is_a_matter_of_usage_with_a_suggestion(run: Run) -> None:
    ran = run("facts", "exits", "--config", ROOT / "config")
    assert ran.code == 2
    assert '"exit"' in ran.err


def test_a_flawed_configuration_is_shown_and_not_used(run: Run, tmp_path: Path) -> None:
    text = (ROOT / "config" / "strategy_params.yaml").read_text(encoding="utf-8")
    (tmp_path / "strategy_params.yaml").write_text(text.replace("loss_pct >= emergency", "los_pct >= emergency"))
    ran = run("facts", "--config", tmp_path)
    assert ran.code == 1
    assert ran.out == ""
    assert "los_pct" in ran.err

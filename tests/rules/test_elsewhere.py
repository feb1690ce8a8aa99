"""The engine where nothing is traded: a garden's valve, its watering plan and its pump, from YAML to evidence."""

from __future__ import annotations

import numpy as np
import pytest

from autotrader.rules.document import Document, load
from autotrader.rules.expression import Expression, ExpressionError, parse
from autotrader.rules.facts import Fact, Kind, Stage, kinds
from autotrader.rules.margins import margins
from autotrader.rules.problems import render_text
from autotrader.rules.ruleset import Part, Rule, RuleSet, ValueSet

FACTS = {
    fact.name: fact
    for fact in (
        Fact("moisture", "number", "Water in the soil, 0 to 1.", "ratio", (0, 1), nullable=True),
        Fact("rain", "flag", "The forecast says rain.", nullable=True),
        Fact("plant", "text", "What grows in the bed.", values=("tomato", "cactus")),
        Fact("tank", "number", "Litres in the tank.", "litres", (0, 1000)),
        Fact("beds", "number", "How many beds wait.", "count", (0, 20)),
    )
}
VALVE = Stage("valve", "first", FACTS, "leave", ("open", "close"), frozenset({"close"}))
PERMIT = Stage("permit", "veto", FACTS, "permitted", ("refuse",))
LITRES = Stage("litres", "least", FACTS, "none", ("litres",))
URGENCY = Stage("urgency", "weigh", FACTS, "unknown", ("urgency",))

GARDEN = """\
limits: {dry: 20%, wet: 60%, reserve: 50}
valve:
  - {name: wet_enough, when: moisture >= wet, then: close}
  - name: dry
    when: >-
      moisture < dry
      and not (rain or plant == "cactus")
    then: open
    for_bars: 2
permit:
  - {name: tank_low, when: tank < reserve, then: refuse}
  - {name: rain_is_near, when: rain, then: refuse, on_missing: skip}
litres:
  - {name: share, value: tank / beds}
  - {name: need, value: "(wet - moisture) * 100"}
urgency:
  - {name: dryness, weight: 0.75, value: "clip(1 - moisture / wet, 0, 1)"}
  - {name: thirst, weight: 0.25, value: '1 if plant == "tomato" else 0'}
"""


def garden(text: str = GARDEN) -> Document:
    return load(text, "garden.yaml")


def expression(document: Document, path: tuple[str | int, ...], kind: Kind) -> Expression:
    holder, *steps = path
    text = document.data[holder]
    for step in steps:
        text = text[step]
    return parse(text, kinds(FACTS) | dict.fromkeys(document.data["limits"], "number"), kind)


def rules(document: Document, stage: Stage) -> RuleSet:
    built = [
        Rule(item["name"], expression(document, (stage.name, index, "when"), "flag"), item["then"], item["name"],
             item.get("for_bars", 1), item.get("on_missing"))
        for index, item in enumerate(document.data[stage.name])
    ]  # fmt: skip
    return RuleSet(stage, tuple(built), document.data["limits"])


def values(document: Document, stage: Stage) -> ValueSet:
    built = [
        Part(item["name"], expression(document, (stage.name, index, "value"), "number"), item.get("weight", 1.0))
        for index, item in enumerate(document.data[stage.name])
    ]
    return ValueSet(stage, tuple(built), document.data["limits"])


DRY = {"moisture": 0.1, "rain": False, "plant": "tomato", "tank": 400.0, "beds": 4}


def test_two_dry_readings_open_the_valve_and_a_silent_probe_closes_it() -> None:
    valve = rules(garden(), VALVE)
    first = valve.judge(DRY)
    second = valve.judge(DRY, first.streaks)
    silent = valve.judge(DRY | {"moisture": None}, second.streaks)
    assert [each.outcome for each in (first, second, silent)] == ["leave", "open", "close"]
    assert [item.verdict for item in silent.evidence] == ["unknown"]
    assert valve.streaks_over([DRY, DRY | {"moisture": None}, DRY]) == (1,)


def test_an_unknown_forecast_keeps_the_valve_but_not_the_permit() -> None:
    unsure = DRY | {"rain": None}
    valve = rules(garden(), VALVE)
    assert valve.judge(unsure, (1,)).outcome == "leave"
    assert valve.judge(unsure | {"plant": "cactus"}, (1,)).streaks == (0,)
    assert rules(garden(), PERMIT).judge(unsure).outcome == "permitted"
    assert rules(garden(), PERMIT).judge(unsure | {"tank": None}).matched == ("tank_low",)


def test_the_smallest_amount_is_named_and_no_bed_gets_none() -> None:
    litres = values(garden(), LITRES)
    assert (litres.judge(DRY).rule, litres.judge(DRY).value) == ("need", 50.0)
    assert litres.judge(DRY | {"beds": 0}).outcome == "none"
    assert values(garden(), URGENCY).judge(DRY).value == pytest.approx(0.75 * (1 - 0.1 / 0.6) + 0.25)


def test_a_hundred_beds_are_judged_at_once() -> None:
    moisture = np.linspace(0.0, 0.99, 100)
    columns = {"moisture": moisture, "rain": np.zeros(100, bool), "plant": "tomato", "tank": 400.0, "beds": 4}
    decided = rules(garden(), VALVE).first_columns(columns, (100,))
    assert decided.tolist() == [1 if wet < 0.2 else 0 if wet >= 0.6 else -1 for wet in moisture]


def test_the_evidence_says_how_far_it_was() -> None:
    decision = rules(garden(), VALVE).judge(DRY | {"moisture": 0.25})
    (dry,) = (item for item in decision.evidence if item.rule == "dry")
    shown = margins(expression(garden(), ("valve", 1, "when"), "flag"), dry.facts, {})
    assert str(shown[0]) == "moisture 0.250 < dry 0.200 no, 0.050 away"


def test_a_slip_in_a_folded_text_gets_its_caret() -> None:
    document = garden(GARDEN.replace("not (rain", "not (rian"))
    with pytest.raises(ExpressionError) as caught:
        expression(document, ("valve", 1, "when"), "flag")
    (flaw,) = caught.value.flaws
    problem = document.problem(("valve", 1, "when"), flaw.code, flaw.message, offset=flaw.offset, length=flaw.length)
    assert render_text([problem], {"garden.yaml": document.text}) == (
        'garden.yaml:7:16: error[unknown-fact] unknown name "rian"; did you mean "rain"?\n'
        '    7 |       and not (rian or plant == "cactus")\n'
        "      |                ^^^^"
    )

"""Rule cases: what is read, what is refused and where, what passes, and what counts as tried."""

from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import dedent

import jsonschema
import pytest
import yaml

from autotrader.core.rulebook import Rulebook, build_rulebook
from autotrader.rules.document import load
from autotrader.rules.problems import Problem
from autotrader.settings import StrategyParams
from autotrader.validation import cases as reading
from autotrader.validation.cases import CASE_CODES, SCHEMA, LoadedCases, cases_schema, load_cases, rule_sets
from autotrader.validation.json_schema import schema_text
from autotrader.validation.load import load_configuration
from autotrader.validation.trial import Coverage, Result, Trial, coverage

CONFIG = Path(__file__).parents[2] / "config"
SHIPPED = sorted((CONFIG / "cases").glob("*.yaml"))

QUIET = """\
stage: exit
strategy: rsi_mean_reversion
given: {direction: long, loss_pct: 0, days_held: 2, loss_per_share: 0, stop_distance: 5, gain_atr: 0, best_gain_atr: 0,
        retrace_atr: 0, rsi: 40, pct_b: 0.3}
"""


@pytest.fixture(scope="module")
def rulebook() -> Rulebook:
    loaded = load_configuration(CONFIG)
    assert loaded.configuration is not None, loaded.problems
    return loaded.configuration.rulebook


def edited(old: str, new: str) -> Rulebook:
    """The default configuration's rules with one text replaced."""
    text = (CONFIG / "strategy_params.yaml").read_text()
    assert text.count(old) == 1
    return build_rulebook(StrategyParams.model_validate(load(text.replace(old, new), "strategy_params.yaml").data))


class Bench:
    """Reads and judges cases written in a test."""

    def __init__(self, folder: Path, rulebook: Rulebook) -> None:
        self.file = folder / "cases.yaml"
        self.rulebook = rulebook

    def load(self, text: str) -> LoadedCases:
        self.file.write_text(text)
        return load_cases([self.file], self.rulebook)

    def problems(self, text: str) -> tuple[Problem, ...]:
        return self.load(text).problems

    def results(self, text: str) -> list[Result]:
        loaded = self.load(text)
        assert not loaded.problems, loaded.problems
        return [Trial(self.rulebook).judge(case) for case in loaded.files[str(self.file)]]

    def only(self, case: str, head: str = QUIET) -> Result:
        """The result of one case, given as the lines of its mapping."""
        lines = dedent(case).strip().splitlines()
        body = "\n".join(("  - " if index == 0 else "    ") + line for index, line in enumerate(lines))
        (result,) = self.results(f"{head}cases:\n{body}\n")
        return result


@pytest.fixture
def bench(tmp_path: Path, rulebook: Rulebook) -> Bench:
    return Bench(tmp_path, rulebook)


# --- the shipped cases --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped(rulebook: Rulebook) -> list[Result]:
    loaded = load_cases(SHIPPED, rulebook)
    assert not loaded.problems
    trial = Trial(rulebook)
    return [trial.judge(case) for cases in loaded.files.values() for case in cases]


def test_every_shipped_case_passes(shipped: list[Result]) -> None:
    assert len(shipped) > 100
    assert [result.case.name for result in shipped if not result.passed] == []


def test_the_shipped_cases_see_every_rule_of_the_default_configuration_match_and_not_match(
    shipped: list[Result], rulebook: Rulebook
) -> None:
    seen = coverage(shipped, rulebook)
    assert (seen.never_matched, seen.always_matched) == ([], [])
    assert seen.percent == 100.0
    assert {rule.key for rule in seen.rules} == set(rule_sets(rulebook))


def test_every_rule_of_the_default_configuration_is_the_expected_one_of_a_shipped_case(
    shipped: list[Result], rulebook: Rulebook
) -> None:
    decisive = {(sheet.key, name) for result in shipped for sheet in result.sheets for name in sheet.decided}
    rules = {(rule.key, rule.rule) for rule in coverage([], rulebook).rules}
    undecided = {(key, name) for key, name in rules if key in {"score", "scale"}}  # where nothing competes
    assert rules - undecided - decisive == set()


def test_every_shipped_case_says_all_that_its_rules_need(shipped: list[Result]) -> None:
    assert {result.case.name: dict(result.not_given) for result in shipped if result.not_given} == {}


@pytest.mark.parametrize(
    ("old", "new", "failing"),
    [
        ("emergency_immediate_pct: 10%", "emergency_immediate_pct: 11%", "a long exactly 10% down leaves at once"),
        ("emergency_stop_pct: 7%", "emergency_stop_pct: 8%",
         "a short 7% down for two bars leaves by the emergency stop"),
        ("for_bars: 2,", "for_bars: 1,", "a long 7% down for two bars leaves by the emergency stop"),
        ("for_bars: 2,", "for_bars: 3,", "a long 7% down for two bars leaves by the emergency stop"),
        ("days_held == 0", "days_held <= 1", "on the session after it, the stop counts"),
        ("loss_per_share >= stop_distance", "loss_per_share > stop_distance", "a long exactly at its stop leaves"),
        ("abs(gap_pct) > max_gap_pct", "gap_pct > max_gap_pct", "a gap of more than 3% down is too large"),
        ("move_pct >= 0", "move_pct > 0", "a long whose price stands where it closed is entered"),
        ("then: reject, on_missing: skip}     #", "then: reject}     #",
         "an unknown blackout does not keep a symbol out"),
        ("max_long: 6", "max_long: 5", "a long is allowed into the last free place"),
        ("max_short: 3", "max_short: 4", "three shorts are enough for a short"),
        ("day_return <= -max", "day_return < -max", "a day that lost exactly 2% has no more entries"),
        ("short_size_ratio: 0.65", "short_size_ratio: 0.5", "a short is 65% of what a long would be"),
        ("max_stop_pct: 5%", "max_stop_pct: 6%", "but never more than 5% of the price"),
        ("1.25 * stop_distance", "stop_distance", "behind a wide stop it is a quarter beyond the stop"),
        ("regime_weight < 0.05", "regime_weight <= 0.05", "a strategy with exactly 5% of equity is eligible"),
        ("atr / close > 0.03", "atr / close >= 0.03", "an average range of exactly 3% is not yet high volatility"),
        ("exited_today, then", "not exited_today, then", "a symbol left earlier may be entered again"),
    ],
)  # fmt: skip
def test_an_edited_threshold_makes_its_cases_fail(shipped: list[Result], old: str, new: str, failing: str) -> None:
    changed = edited(old, new)
    trial = Trial(changed)
    results = [trial.judge(result.case) for result in shipped]
    failed = {result.case.name for result in results if not result.passed}
    assert failing in failed
    assert len(failed) < 12


def test_the_shipped_schema_is_up_to_date() -> None:
    assert (CONFIG / "schemas" / SCHEMA).read_text() == schema_text(cases_schema())


def test_an_editor_accepts_the_shipped_cases() -> None:
    validator = jsonschema.Draft202012Validator(json.loads((CONFIG / "schemas" / SCHEMA).read_text()))
    for path in SHIPPED:
        assert list(validator.iter_errors(yaml.safe_load(path.read_text()))) == []


# --- passing and failing ------------------------------------------------------------------------------------------


def test_a_case_passes_where_outcome_and_rule_are_the_expected(bench: Bench) -> None:
    case = "name: a\ngiven: {loss_per_share: 5}\nexpect: exit\nrule: "
    assert bench.only(case + "stop_loss").passed
    assert not bench.only(case + "take_profit").passed
    assert bench.only("name: a\ngiven: {loss_per_share: 5}\nexpect: exit").passed
    assert not bench.only("name: a\ngiven: {loss_per_share: 5}\nexpect: hold").passed


def test_rule_none_expects_that_no_rule_decides(bench: Bench) -> None:
    assert bench.only("name: a\nexpect: hold\nrule: none").passed
    assert not bench.only("name: a\ngiven: {days_held: 0}\nexpect: hold\nrule: none").passed
    assert bench.only("name: a\ngiven: {days_held: 0}\nexpect: hold").passed


def test_where_several_rules_reject_each_of_them_may_be_expected(bench: Bench) -> None:
    given = "{direction: long, gap_pct: 5%, result_age: 2, entry_group: MOO}"
    head = f"stage: gap_filter\nstrategy: bb_squeeze\ngiven: {given}\n"
    for rule in ("gap_too_large", "stale_open_entry"):
        assert bench.only(f"name: a\nexpect: reject\nrule: {rule}", head).passed


def test_a_cases_own_facts_stand_before_those_of_its_file(bench: Bench) -> None:
    result = bench.only("name: a\ngiven: {rsi: 60}\nrule: rsi_target")
    assert result.passed
    assert result.case.bars[0]["pct_b"] == 0.3


def test_the_strategy_is_a_fact_too(bench: Bench) -> None:
    assert bench.only("name: a\nexpect: hold").case.bars[0]["strategy"] == "rsi_mean_reversion"


def test_a_number_of_bars_repeats_the_facts(bench: Bench) -> None:
    case = "name: a\ngiven: {loss_pct: 7%}\nbars: 2\nrule: emergency_stop"
    assert bench.only(case).passed
    assert not bench.only(case.replace("bars: 2", "bars: 1")).passed


def test_a_list_of_bars_changes_the_given_facts_not_the_bar_before(bench: Bench) -> None:
    result = bench.only("name: a\nbars:\n  - {loss_pct: 7%}\n  - {rsi: 45}\nexpect: hold")
    assert result.passed
    assert [bar["loss_pct"] for bar in result.case.bars] == [0.07, 0]


def test_a_position_that_leaves_before_the_last_bar_fails_the_case(bench: Bench) -> None:
    result = bench.only("name: a\ngiven: {loss_pct: 7%}\nbars: 3\nexpect: exit\nrule: emergency_stop")
    assert not result.passed
    assert (result.outcome, result.rules, result.bar) == ("exit", ("emergency_stop",), 2)


@pytest.mark.parametrize(
    ("expected", "passes"),
    [
        ("value: 5", True), ("value: 5.000000001", True), ("value: 5.0001", False),
        ("about: 5", True), ("about: 5.4", False), ("about: 5.04", False), ("about: 4.6", False), ("about: 500%", True),
    ],
)  # fmt: skip
def test_a_value_is_exact_and_about_is_to_the_digits_written(bench: Bench, expected: str, passes: bool) -> None:
    given = "{direction: long, entry_price: 100, atr_at_entry: 2}"
    head = f"stage: stop_distance\nstrategy: rsi_mean_reversion\ngiven: {given}\n"
    assert bench.only(f"name: a\n{expected}", head).passed is passes


@pytest.mark.parametrize(
    ("about", "passes"),
    [("33.3", True), ("33", True), ("33.4", False), ("33.33", True), ("3333%", True), ("34", False)],
)
def test_about_is_within_half_of_the_last_digit(bench: Bench, about: str, passes: bool) -> None:
    head = (
        "stage: sizing\nstrategy: rsi_mean_reversion\ngiven: {direction: long, equity: 100000, price: 300, "
        "stop_distance: 15, regime_weight: 35%, strategy_exposure: 0, buying_power: 100000}\n"
    )
    assert bench.only(f"name: a\nabout: {about}", head).passed is passes


def test_a_value_that_is_unknown_is_not_the_expected_one(bench: Bench) -> None:
    head = "stage: stop_distance\nstrategy: rsi_mean_reversion\ngiven: {direction: long, entry_price: 100}\n"
    result = bench.only("name: a\nvalue: 5", head)
    assert (result.passed, result.outcome, result.value) == (False, "unknown", None)
    assert result.not_given == {"atr_at_entry": ("stop_distance",)}


def test_sizing_gives_the_least_value_before_the_scale_and_whole_shares_after_it(bench: Bench) -> None:
    head = (
        "stage: sizing\nstrategy: overbought_short\ngiven: {direction: short, equity: 100000, price: 300, "
        "stop_distance: 15, regime_weight: 35%, strategy_exposure: 0, buying_power: 100000}\n"
    )
    result = bench.only("name: a\nquantity: 21\nvalue: 33.333333333333336", head)
    assert result.passed
    assert not bench.only("name: a\nquantity: 22", head).passed


def test_an_order_rule_can_reject_what_was_sized(bench: Bench) -> None:
    head = (
        "stage: sizing\nstrategy: rsi_mean_reversion\ngiven: {direction: long, equity: 1000, price: 60, "
        "stop_distance: 3, regime_weight: 35%, strategy_exposure: 0, buying_power: 1000}\n"
    )
    assert bench.only("name: a\nexpect: reject\nrule: order_too_small\nquantity: 1", head).passed
    assert [sheet.key for sheet in bench.only("name: a\nexpect: reject", head).sheets] == ["sizing", "scale", "order"]


def test_nothing_is_ordered_at_an_unknown_scale(tmp_path: Path) -> None:
    changed = edited('short_size_ratio if direction == "short" else 1', "1 / strength")
    head = (
        "stage: sizing\nstrategy: rsi_mean_reversion\ngiven: {direction: long, equity: 100000, price: 60, "
        "stop_distance: 3, regime_weight: 35%, strategy_exposure: 0, buying_power: 1000}\n"
    )
    result = Bench(tmp_path, changed).only("name: a\nexpect: no_entry", head)
    assert result.passed
    assert result.not_given == {"strength": ("scale",)}


def test_a_rule_that_fails_on_an_unknown_can_be_expected_to(tmp_path: Path) -> None:
    changed = edited("gap_pct) > max_gap_pct, then: reject, on_missing: skip", "gap_pct) > max_gap_pct, "
                     "then: reject, on_missing: fail")  # fmt: skip
    head = "stage: gap_filter\nstrategy: bb_squeeze\ngiven: {direction: long, result_age: 1, entry_group: MOO}\n"
    result = Bench(tmp_path, changed).only("name: a\nexpect: fail\nrule: gap_too_large", head)
    assert result.passed
    assert result.not_given == {"gap_pct": ("gap_too_large",)}


# --- what was not given -------------------------------------------------------------------------------------------


def test_a_failure_names_the_facts_that_were_not_given_though_a_rule_needed_them(bench: Bench) -> None:
    head = "stage: exit\nstrategy: rsi_mean_reversion\ngiven: {direction: long, loss_pct: 0, days_held: 2}\n"
    result = bench.only("name: a\nexpect: exit\nrule: rsi_target", head)
    assert not result.passed
    assert result.not_given["rsi"] == ("rsi_target",)
    assert set(result.not_given["loss_per_share"]) == {"stop_loss"}
    assert "days_held" not in result.not_given


def test_what_is_said_to_be_unknown_has_been_given(bench: Bench) -> None:
    assert bench.only("name: a\ngiven: {rsi: null}\nexpect: exit").not_given == {}


def test_what_stands_behind_the_decision_does_not_matter_unless_it_was_expected(bench: Bench) -> None:
    head = "stage: exit\nstrategy: rsi_mean_reversion\ngiven: {direction: long, loss_pct: 10%}\n"
    assert bench.only("name: a\nexpect: hold", head).not_given == {}
    assert bench.only("name: a\nrule: rsi_target", head).not_given == {"rsi": ("rsi_target",)}


def test_where_the_strategy_has_no_value_for_a_rule_no_fact_is_missed(bench: Bench) -> None:
    result = bench.only("name: a\nexpect: exit", QUIET.replace(", pct_b: 0.3", "").replace("retrace_atr: 0, ", ""))
    assert result.not_given == {}  # a reversal has neither tp_pct_b nor trailing_atr_mult


# --- what is refused ----------------------------------------------------------------------------------------------

# What one case says after its name, under QUIET; the code, what is underlined, and a piece of the message.
IN_A_CASE = [
    ("given: {los_pct: 7%}, expect: exit", "case-unknown-fact", "los_pct", 'did you mean "loss_pct"?'),
    ("given: {gap_pct: 7%}, expect: exit", "case-unknown-fact", "gap_pct", "is known at gap_filter, not at exit"),
    ("given: {tp_rsi: 7}, expect: exit", "case-unknown-fact", "tp_rsi", "the case is to test"),
    ("given: {strategy: x}, expect: exit", "case-unknown-fact", "strategy", "beside given"),
    ("bars: [{los_pct: 7%}], expect: exit", "case-unknown-fact", "los_pct", 'did you mean "loss_pct"?'),
    ("given: {rsi: true}, expect: exit", "case-wrong-kind", "true", "found true or false"),
    ("given: {rsi: '7'}, expect: exit", "case-wrong-kind", "'7'", "found a text"),
    ("given: {regime: 7}, expect: exit", "case-wrong-kind", "7", "is a text"),
    ("given: {direction: longg}, expect: exit", "case-unknown-word", "longg", 'did you mean "long"?'),
    ("given: {regime: TRND}, expect: exit", "case-unknown-word", "TRND", 'did you mean "TREND"?'),
    ("given: {days_held: -1}, expect: exit", "case-out-of-range", "-1", "from 0 to"),
    ("expect: exits", "case-unknown-outcome", "exits", 'did you mean "exit"?'),
    ("rule: stop_los", "case-unknown-rule", "stop_los", 'did you mean "stop_loss"?'),
    ("strategy: rsi_mean, expect: exit", "case-strategy", "rsi_mean", "rsi_mean_reversion"),
    ("value: 3", "case-unused-key", "value", "gives an outcome, not a number"),
    ("quantity: 3", "case-unused-key", "quantity", "sizing does"),
    ("bars: [{direction: short}], expect: hold", "case-direction", "direction", "under given"),
    ("stage: exitt, expect: hold", "not-allowed", "exitt", 'did you mean "exit"?'),
    ("expcet: hold", "unknown-key", "expcet", 'did you mean "expect"?'),
    ("bars: two, expect: hold", "wrong-type", "two", "a whole number"),
]

# A whole file; the code, the line and what is underlined in it, and a piece of the message.
IN_A_FILE = [
    (QUIET + "cases:\n  - {name: b}", "case-expects-nothing", 6, "b", "expect: exit or hold"),
    (QUIET + "cases:\n  - {name: b, rule: none}\n  - {name: b, rule: none}", "case-repeated-name", 7, "b", "line 6"),
    (QUIET + "cases:\n  - {expect: hold}", "missing-key", 6, "{expect: hold}", '"name"'),
    (QUIET + "cases: []", "too-few", 5, "[]", "at least 1"),
    (QUIET, "missing-key", 1, "stage: exit", '"cases"'),
    ("cases:\n  - name: a\n    expect: hold", "case-stage", 2, "name: a", "write stage:"),
    ("stage: exit\ncases:\n  - name: a\n    expect: hold\n    given: {direction: long}", "case-strategy", 3, "name: a",
     "write strategy:"),
    ("stage: exit\nstrategy: bb_squeeze\ncases:\n  - name: a\n    expect: hold", "case-direction", 4, "name: a",
     "give direction: long or short"),
    ("stage: confirmation\nstrategy: rsi_mean_reversion\ncases:\n  - {name: a, given: {direction: long}, rule: none}",
     "case-strategy", 2, "rsi_mean_reversion", 'group "moo", which has no rules'),
    ("stage: regime\nstrategy: bb_squeeze\ncases:\n  - {name: a, rule: none}", "case-strategy", 2, "bb_squeeze",
     "nobody's strategy"),
    ("stage: regime\ncases:\n  - {name: a, bars: 2, rule: none}", "case-unused-key", 3, "bars", "regime once"),
    ("stage: regime\ncases:\n  - {name: a, expect: TRENDY}", "case-unknown-outcome", 3, "TRENDY", '"TREND"?'),
    ("stage: score\nstrategy: bb_squeeze\ngiven: {direction: long}\ncases:\n  - {name: a, about: 1, value: 1}",
     "case-unused-key", 5, "about", "one of the two"),
]  # fmt: skip

REFUSED = [
    *((f"{QUIET}cases:\n  - {{name: a, {text}}}", code, 6, mark, message) for text, code, mark, message in IN_A_CASE),
    *IN_A_FILE,
]


@pytest.mark.parametrize(("text", "code", "line", "mark", "message"), REFUSED)
def test_a_mistake_in_a_case_has_a_place_and_a_way_out(
    bench: Bench, text: str, code: str, line: int, mark: str, message: str
) -> None:
    loaded = bench.load(text)
    found = loaded.problems[0]
    source = text.splitlines()[found.line - 1]
    assert (found.code, found.line, source[found.column - 1 :][: found.length]) == (code, line, mark)
    assert message in found.message
    assert loaded.exit_code() == 1


def test_every_code_of_cases_is_met_and_listed() -> None:
    met = {code for _, code, *_ in REFUSED if code.startswith("case-")}
    assert met == set(CASE_CODES)
    written = set(re.findall(r'"(case-[a-z-]+)"', Path(reading.__file__).read_text()))
    assert written == set(CASE_CODES)


def test_all_mistakes_are_told_at_once_and_sound_cases_stand(bench: Bench) -> None:
    text = QUIET + dedent("""\
        cases:
          - {name: a, given: {los_pct: 7%, rsi: no}, expect: exits, rule: stop_los}
          - {name: b, expct: hold, given: {rs: 5}, rule: stop_los}
          - {name: c, stage: exitt, given: {gap_pct: 5}}
          - {name: d, expect: hold}
        """)
    loaded = bench.load(text)
    assert [(problem.line, problem.code) for problem in loaded.problems] == [
        (6, "case-unknown-fact"), (6, "ambiguous-word"), (6, "case-wrong-kind"), (6, "case-unknown-outcome"),
        (6, "case-unknown-rule"), (7, "unknown-key"), (7, "case-unknown-fact"), (7, "case-unknown-rule"),
        (8, "not-allowed"),
    ]  # fmt: skip
    assert [case.name for case in loaded.files[str(bench.file)]] == ["d"]


def test_a_rule_of_another_entry_group_is_said_to_be_there(tmp_path: Path) -> None:
    late = """    early:
      at: "09:40"
      order: market
      strategies: [bb_squeeze]
      rules:
        - {name: early_enough, when: move_pct >= 0, then: enter}
    confirmation:
      at:"""
    text = (CONFIG / "strategy_params.yaml").read_text()
    text = text.replace("    confirmation:\n      at:", late).replace("[adx_pullback, bb_squeeze,", "[adx_pullback,")
    rulebook = build_rulebook(StrategyParams.model_validate(load(text, "strategy_params.yaml").data))
    case = "stage: confirmation\ncases:\n  - {{name: a, strategy: bb_squeeze, given: {{direction: long}}, rule: {}}}\n"
    for rule, says in (("confirmed", "group confirmation has one"), ("early_enuf", 'did you mean "early_enough"?')):
        (problem,) = Bench(tmp_path, rulebook).problems(case.format(rule))
        assert problem.code == "case-unknown-rule"
        assert "in the entry group early, which its strategy enters in" in problem.message
        assert says in problem.message


def test_a_file_that_is_missing_is_unreadable(tmp_path: Path, rulebook: Rulebook) -> None:
    loaded = load_cases([tmp_path / "none.yaml"], rulebook)
    assert [problem.code for problem in loaded.problems] == ["unreadable"]
    assert loaded.exit_code() == 2


def test_an_indicator_of_the_configuration_may_be_given(tmp_path: Path) -> None:
    changed = edited("  dollar_volume_rank:", "  rsi_2: {kind: rsi, length: 2}\n  dollar_volume_rank:")
    assert Bench(tmp_path, changed).only("name: a\ngiven: {rsi_2: 5}\nexpect: hold").passed


# --- coverage -----------------------------------------------------------------------------------------------------


def counts(seen: Coverage, key: str, rule: str) -> tuple[int, int, int]:
    (found,) = (item for item in seen.rules if (item.key, item.rule) == (key, rule))
    return found.matched, found.not_matched, found.unknown


def test_rules_behind_the_decision_count_as_tried(bench: Bench) -> None:
    seen = coverage([bench.only("name: a\ngiven: {loss_pct: 10%, rsi: 60}\nexpect: exit")], bench.rulebook)
    assert counts(seen, "exit", "emergency_immediate") == (1, 0, 0)
    assert counts(seen, "exit", "rsi_target") == (1, 0, 0)
    assert counts(seen, "exit", "stop_loss") == (0, 1, 0)
    assert counts(seen, "exit", "band_target") == (0, 0, 1)


def test_a_rule_for_several_bars_has_matched_only_when_all_of_them_held(bench: Bench) -> None:
    one = bench.only("name: a\ngiven: {loss_pct: 8%}\nexpect: hold")
    two = bench.only("name: a\ngiven: {loss_pct: 8%}\nbars: 2\nexpect: exit")
    assert counts(coverage([one], bench.rulebook), "exit", "emergency_stop") == (0, 1, 0)
    assert counts(coverage([two], bench.rulebook), "exit", "emergency_stop") == (1, 0, 0)


def test_a_rule_that_always_matches_need_not_be_seen_not_matching(bench: Bench) -> None:
    head = "stage: regime\ngiven: {atr: 4, close: 100}\n"
    seen = coverage([bench.only("name: a\nexpect: HIGH_VOLATILITY", head)], bench.rulebook)
    (uncertain,) = (rule for rule in seen.rules if rule.rule == "UNCERTAIN")
    assert uncertain.covered
    assert uncertain not in seen.always_matched


def test_of_values_that_compete_the_one_that_decides_has_matched(bench: Bench) -> None:
    head = (
        "stage: sizing\nstrategy: rsi_mean_reversion\ngiven: {direction: long, equity: 100000, price: 300, "
        "stop_distance: 15, regime_weight: 35%, strategy_exposure: 0, buying_power: 100000}\n"
    )
    seen = coverage([bench.only("name: a\nexpect: sized", head)], bench.rulebook)
    assert counts(seen, "sizing", "position_cap") == (1, 0, 0)
    assert counts(seen, "sizing", "risk_budget") == (0, 1, 0)
    assert counts(seen, "scale", "scale") == (1, 0, 0)


def test_without_cases_nothing_is_covered(rulebook: Rulebook) -> None:
    seen = coverage([], rulebook)
    assert seen.percent == 0.0
    assert seen.never_matched == list(seen.rules)

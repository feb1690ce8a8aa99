"""`autotrader test`: what it prints, and what it ends with."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, Run

PARAMS = "strategy_params.yaml"
DOCS = ROOT / "docs" / "rule-cases.md"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A deployment with the default configuration and its cases."""
    folder = tmp_path / "home"
    shutil.copytree(ROOT / "config" / "cases", folder / "config" / "cases")
    shutil.copy(ROOT / "config" / PARAMS, folder / "config" / PARAMS)
    return folder


def edit(home: Path, old: str, new: str) -> None:
    path = home / "config" / PARAMS
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_the_default_configuration_passes_with_every_rule_seen_both_ways(run: Run, home: Path) -> None:
    ran = run("--home", home, "test", "--fail-under", "100")
    assert ran.code == 0
    assert re.search(r"config/cases/exit\.yaml +\d+ passed\n", ran.out)
    assert re.search(r"\d+ passed, 0 failed; \d+ of \d+ \(100\.0%\) of the rules seen both ways\n$", ran.out)
    assert "never" not in ran.out


def test_a_folder_without_a_configuration_is_tested_by_the_packaged_one(run: Run) -> None:
    ran = run("test")
    assert ran.code == 0
    assert "packaged default" in ran.err


def test_an_edited_threshold_fails_its_cases_with_every_rule_and_its_values(run: Run, home: Path) -> None:
    edit(home, "emergency_stop_pct: 7%", "emergency_stop_pct: 8%")
    ran = run("test", "--home", home)
    assert ran.code == 1
    assert re.search(r"exit\.yaml +\d+ passed, 2 failed\n", ran.out)
    failure = ran.out[ran.out.index("FAILED") :].split("\n\n")[0]
    line = (home / "config/cases/exit.yaml").read_text().splitlines().index(
        "  - name: a long 7% down for two bars leaves by the emergency stop"
    )  # fmt: skip
    assert failure.splitlines()[:6] == [
        f"FAILED {home}/config/cases/exit.yaml:{line + 1}: a long 7% down for two bars leaves by the emergency stop",
        "  expected  exit by emergency_stop, on bar 2",
        "  got       hold by day_skip, on bar 2 of 2",
        "      emergency_immediate  no match  loss_pct 7% >= emergency_immediate_pct 10% no, 3% away",
        "      emergency_stop       no match  loss_pct 7% >= emergency_stop_pct 8% no, 1% away",
        "    > day_skip             match     days_held 0 == 0 yes",
    ]
    assert len(failure.splitlines()) == 12


def test_a_rule_on_its_way_shows_how_many_bars_it_has_held(run: Run, home: Path) -> None:
    edit(home, "for_bars: 2,", "for_bars: 3,")
    out = run("test", "--home", home).out
    assert "      emergency_stop       match, bar 2 of 3  loss_pct 7% >= emergency_stop_pct 7% yes\n" in out


def test_a_failed_sizing_shows_the_values_the_scale_and_the_order(run: Run, home: Path) -> None:
    edit(home, "short_size_ratio: 0.65", "short_size_ratio: 0.5")
    out = run("test", "--home", home).out
    assert "expected  sized by position_cap, value 100, quantity 65" in out
    assert "got       sized by position_cap, value 100, quantity 50" in out
    assert (
        "> position_cap   100   equity * max_position_pct / price: equity 100000, max_position_pct 10%, price 100"
        in out
    )
    assert 'scale  0.5  short_size_ratio if direction == "short" else 1: short_size_ratio 0.5, direction short' in out


def test_low_coverage_ends_with_1_and_names_the_rules(run: Run, home: Path) -> None:
    (home / "config" / "cases" / "exit.yaml").unlink()
    ran = run("test", "--home", home, "--fail-under", "90")
    assert ran.code == 1
    assert "is below 90%" in ran.err
    assert "never matching: exit/emergency_immediate, exit/emergency_stop, " in ran.out
    assert "never not matching: exit/emergency_immediate, " in ran.out
    assert run("test", "--home", home, "--fail-under", "50").code == 0


def test_a_rule_that_no_case_knows_lowers_the_coverage(run: Run, home: Path) -> None:
    edit(
        home,
        "    - {name: time_exit,",
        "    - {name: late, when: minutes_to_close <= 5, then: exit}\n    - {name: time_exit,",
    )
    ran = run("test", "--home", home, "--fail-under", "100")
    assert ran.code == 1
    assert "never matching: exit/late\nnever not matching: exit/late\n" in ran.out


def test_json_has_results_failures_and_coverage(run: Run, home: Path) -> None:
    edit(home, "max_gap_pct: 3%", "max_gap_pct: 2%")
    ran = run("test", "--home", home, "--json")
    assert ran.code == 1
    shown = json.loads(ran.out)
    assert shown["failed"] == 3 == len(shown["failures"])
    assert shown["passed"] == sum(file["passed"] for file in shown["files"])
    failure = shown["failures"][0]
    assert failure["name"] == "a gap of exactly 3% up passes"
    assert failure["expected"]["outcome"] == "pass"
    assert (failure["got"]["outcome"], failure["got"]["rules"]) == ("reject", ["gap_too_large"])
    assert failure["rules"][0]["facts"] == {"gap_pct": 0.03, "max_gap_pct": 0.02}
    assert shown["coverage"]["percent"] == 100.0
    assert {"set": "exit", "rule": "day_skip"}.items() <= shown["coverage"]["rules"][-7].items()


def test_mistakes_in_cases_are_shown_like_those_of_a_configuration(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("stage: regime\ncases:\n  - {name: a, given: {adx: 3, atrr: 3}, expect: RANGE}\n")
    ran = run("test", file)
    assert ran.code == 1
    assert f'{file}:3:31: error[case-unknown-fact] regime knows no fact "atrr"; did you mean "atr"?' in ran.out
    assert "    3 |   - {name: a, given: {adx: 3, atrr: 3}, expect: RANGE}\n" in ran.out
    assert "error[case-unknown-outcome]" in ran.out
    listed = json.loads(run("test", file, "--json").out)
    assert [problem["code"] for problem in listed] == ["case-unknown-fact", "case-unknown-outcome"]


def test_what_cannot_be_read_ends_with_2(run: Run, tmp_path: Path) -> None:
    ran = run("test", tmp_path / "none.yaml")
    assert ran.code == 2
    assert "error[unreadable]" in ran.out


def test_a_folder_without_cases_says_so(run: Run, tmp_path: Path, home: Path) -> None:
    ran = run("test", tmp_path)
    assert ran.code == 1
    assert "no cases" in ran.err
    shutil.rmtree(home / "config" / "cases")
    assert "no cases: no folder" in run("test", "--home", home).err


def test_a_broken_configuration_is_shown_instead(run: Run, home: Path) -> None:
    edit(home, "when: days_held == 0", "when: days_hold == 0")
    ran = run("test", "--home", home)
    assert ran.code == 1
    assert "days_held" in ran.err
    assert ran.out == ""


def test_cases_are_judged_without_numpy(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom autotrader.cli import main\nsys.argv = ['autotrader', 'test']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'numpy', 'pandas', 'pyarrow', 'talib', 'exchange_calendars', 'simpleeval'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ran.stdout.splitlines()[-1] == "[]", ran.stderr


def test_the_documentation_shows_what_is_printed(run: Run, home: Path) -> None:
    blocks = re.findall(r"```(yaml|text)\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    (cases,) = (text for kind, text in blocks if kind == "yaml")
    shown = [text for kind, text in blocks if kind == "text"]
    (home / "config" / "cases" / "my_exits.yaml").write_text(cases)
    ran = run("test", home / "config" / "cases" / "my_exits.yaml", "--home", home)
    assert ran.code == 1
    printed = ran.out.replace(f"{home}/", "")
    assert len(shown) == 3
    for text in shown:
        assert text in printed


def test_the_documentation_names_every_key(run: Run) -> None:
    from autotrader.validation.cases import cases_schema

    text = DOCS.read_text()
    for key in cases_schema()["$defs"]["Case"]["properties"]:
        assert f"`{key}`" in text

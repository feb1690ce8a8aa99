"""`autotrader validate`: exit codes, formats, what goes where, and a start that imports nothing numeric."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, Run

HEAVY = ("numpy", "pandas", "pyarrow", "talib", "exchange_calendars", "simpleeval")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "config", tmp_path / "config"))


def edit(config: Path, old: str, new: str) -> None:
    path = config / "strategy_params.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_default_configuration_is_clean_but_for_a_warning(run: Run, config: Path) -> None:
    ran = run("validate")
    assert ran.code == 0
    assert ran.out.startswith("config/strategy_params.yaml:69:18: warning[hidden-stop] ")
    assert ran.err.endswith("config/blackouts.csv: 0 errors, 1 warning\n")
    assert run("validate", "--strict").code == 1


def test_a_finding_is_shown_with_its_line_and_a_caret(run: Run, config: Path) -> None:
    edit(config, "gain_atr >= tp_atr_mult", "gain_art >= tp_atr_mult")
    ran = run("validate", "config/strategy_params.yaml")
    assert ran.code == 1
    assert (
        'config/strategy_params.yaml:149:33: error[unknown-fact] unknown name "gain_art" in exit rule "take_profit"; '
        'did you mean "gain_atr"?\n'
        "  149 |     - {name: take_profit, when: gain_art >= tp_atr_mult, then: exit}\n"
        "      |                                 ^^^^^^^^\n"
    ) in ran.out


def test_json_is_a_list_of_objects_and_empty_when_clean(run: Run, config: Path) -> None:
    assert run("validate", "config/default.yaml", "--format", "json").out == "[]\n"
    edit(config, "gain_atr >= tp_atr_mult", "gain_art >= tp_atr_mult")
    found = json.loads(run("validate", "--format", "json").out)
    assert [each["severity"] for each in found] == ["warning", "error"]
    assert {key: found[1][key] for key in ("file", "line", "column", "length", "code")} == {
        "file": "config/strategy_params.yaml", "line": 149, "column": 33, "length": 8, "code": "unknown-fact",
    }  # fmt: skip


def test_github_shows_findings_beside_their_lines(run: Run, config: Path) -> None:
    edit(config, "max_gap_pct: 3%", "max_gap_pct: 3 %")
    ran = run("validate", "--format", "github")
    assert ran.out.split("\n")[0] == (
        "::error file=config/strategy_params.yaml,line=60,col=16,endColumn=19,title=wrong-type::expected a number or "
        '{long: ..., short: ...} or null, found the text "3 %25"; write 3%25 without quotes or spaces'
    )


def test_sarif_names_the_codes_it_uses(run: Run, config: Path) -> None:
    edit(config, "gain_atr >= tp_atr_mult", "gain_art >= tp_atr_mult")
    report = json.loads(run("validate", "--format", "sarif").out)
    assert report["version"] == "2.1.0"
    (sarif,) = report["runs"]
    assert [rule["id"] for rule in sarif["tool"]["driver"]["rules"]] == ["hidden-stop", "unknown-fact"]
    last = sarif["results"][-1]
    assert (last["ruleId"], last["level"]) == ("unknown-fact", "error")
    place = last["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "config/strategy_params.yaml"
    assert place["region"] == {"startLine": 149, "startColumn": 33, "endColumn": 41}


def test_what_cannot_be_read_is_2_and_what_is_wrong_is_1(run: Run, config: Path, tmp_path: Path) -> None:
    assert run("validate", "nothing.yaml").code == 2
    assert run("validate", "config").code == 2
    assert run("validate", "--config", "nowhere").code == 2
    assert run("validate", "--format", "xml").code == 2
    (tmp_path / "x.yaml").write_bytes(b"\x00\xff")
    ran = run("validate", "x.yaml", "config/default.yaml")
    assert ran.code == 1
    assert ran.err == "x.yaml, config/default.yaml: 1 error, 0 warnings\n"


def test_without_a_configuration_the_packaged_one_is_checked_and_said(run: Run) -> None:
    ran = run("validate")
    assert ran.code == 0
    assert "packaged default" in ran.err


def test_a_terminal_without_utf_8_is_no_reason_to_fail(config: Path) -> None:
    edit(config, "gain_atr >= tp_atr_mult", "gain_atr ≥ tp_atr_mult")
    code = "from autotrader.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "validate", "--config", str(config)],
        capture_output=True, env={"PYTHONIOENCODING": "ascii"}, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"\\u2265" in done.stdout


def test_validating_imports_nothing_numeric() -> None:
    code = (
        "import sys\nfrom autotrader.cli import main\nsys.argv = ['autotrader', 'validate', '--config', sys.argv[1]]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "config")], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip().split("\n")[-1] == "[]"


@pytest.mark.parametrize(
    ("streams", "code", "said"),
    [(">&-", 0, "1 warning"), ("2>&-", 0, ""), (">&- 2>&-", 0, ""), ("> /dev/full", 1, "No space left on device")],
)
def test_nowhere_to_write_to_is_no_traceback(streams: str, code: int, said: str) -> None:
    command = f"{Path(sys.executable).with_name('autotrader')} validate --config config {streams}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert "ignored" not in done.stderr

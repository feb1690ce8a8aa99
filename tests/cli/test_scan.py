"""`autotrader scan` as a person uses it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from autotrader.batch.files import BatchResultRecord
from autotrader.market.universe import load_universe

from .conftest import ROOT, Run

AUTOTRADER = Path(sys.executable).with_name("autotrader")
CONFIG = ROOT / "config"
NIGHT = "2017-10-10"


@pytest.fixture
def universe(tmp_path: Path) -> Path:
    """Eighty symbols of the embedded market."""
    path = tmp_path / "universe.csv"
    rows = [f'{member.symbol},"{member.name}",{member.sector}' for member in load_universe()[::6]]
    path.write_text("\n".join(["symbol,name,sector", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A deployment folder that differs from the default in the number of candidates."""
    folder = tmp_path / "home"
    shutil.copytree(CONFIG, folder / "config")
    params = folder / "config" / "strategy_params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("top_candidates: 12", "top_candidates: 2"))
    return folder


def test_the_table_the_file_and_where_it_is(run: Run, universe: Path, tmp_path: Path) -> None:
    ran = run("scan", "--date", NIGHT, "--universe", universe, "--config", CONFIG, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    written = tmp_path / "out" / f"{NIGHT}.json"
    assert str(written) in ran.out.replace("\n", "")
    record = BatchResultRecord.model_validate_json(written.read_bytes())
    assert record.scan_date == date(2017, 10, 10)
    assert record.candidates
    assert f"Scan of {NIGHT}" in ran.out
    assert record.regime in ran.out
    for item in record.candidates:
        assert item.symbol in ran.out
        assert f"{item.score:.3f}" in ran.out
    for name, count in record.scan_summary.signals_by_strategy.items():
        assert name in ran.out
        assert str(count) in ran.out


def test_json_prints_the_file_and_nothing_else(run: Run, universe: Path, tmp_path: Path) -> None:
    ran = run("scan", "--date", NIGHT, "--universe", universe, "--config", CONFIG, "--out", tmp_path, "--json")
    assert ran.code == 0
    assert ran.out == (tmp_path / f"{NIGHT}.json").read_text(encoding="utf-8")


def without_times(path: Path) -> str:
    record = json.loads(path.read_text(encoding="utf-8"))
    record["timestamp"] = record["scan_summary"]["scan_duration_seconds"] = None
    return json.dumps(record)


def test_a_second_scan_replaces_the_first_with_the_same(run: Run, universe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    texts = []
    for _ in range(2):
        assert run("scan", "--date", NIGHT, "--universe", universe, "--config", CONFIG, "--out", out).code == 0
        texts.append(without_times(out / f"{NIGHT}.json"))
    assert texts[0] == texts[1]
    assert [path.name for path in out.iterdir()] == [f"{NIGHT}.json"]


def test_a_broken_result_does_not_keep_the_scan_from_being_redone(run: Run, universe: Path, tmp_path: Path) -> None:
    (tmp_path / f"{NIGHT}.json").write_text('{"candidates": [')
    assert run("scan", "--date", NIGHT, "--universe", universe, "--config", CONFIG, "--out", tmp_path).code == 0
    BatchResultRecord.model_validate_json((tmp_path / f"{NIGHT}.json").read_bytes())


# --- where the configuration and the result lie -----------------------------------------------------------------------


def chosen(folder: Path) -> int:
    record = json.loads((folder / "data" / "batch_results" / f"{NIGHT}.json").read_bytes())
    return len(record["candidates"])


def test_home_before_the_command(run: Run, home: Path, universe: Path) -> None:
    assert run("--home", home, "scan", "--date", NIGHT, "--universe", universe).code == 0
    assert chosen(home) == 2


def test_home_after_the_command(run: Run, home: Path, universe: Path) -> None:
    assert run("scan", "--date", NIGHT, "--universe", universe, "--home", home).code == 0
    assert chosen(home) == 2


def test_home_from_the_environment(run: Run, home: Path, universe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTRADER_HOME", str(home))
    ran = run("scan", "--date", NIGHT, "--universe", universe)
    assert ran.code == 0
    assert "packaged" not in ran.err
    assert chosen(home) == 2


def test_home_is_the_current_folder_otherwise(
    run: Run, home: Path, universe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    assert run("scan", "--date", NIGHT, "--universe", universe).code == 0
    assert chosen(home) == 2


def test_without_a_configuration_the_packaged_one_is_used_and_said(run: Run, universe: Path, tmp_path: Path) -> None:
    ran = run("scan", "--date", NIGHT, "--universe", universe, "--json")
    assert ran.code == 0
    assert "using the packaged default configuration" in ran.err
    assert chosen(tmp_path) == len(json.loads(ran.out)["candidates"]) > 2


def test_a_configuration_folder_of_ones_own(run: Run, home: Path, universe: Path, tmp_path: Path) -> None:
    ran = run("scan", "--date", NIGHT, "--universe", universe, "--config", home / "config")
    assert ran.code == 0
    assert chosen(tmp_path) == 2, "the result goes to the home, wherever the configuration is"


def test_a_flawed_configuration_is_shown_and_nothing_runs(run: Run, home: Path, universe: Path) -> None:
    params = home / "config" / "strategy_params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("abs(gap_pct)", "abs(gap_prc)"), encoding="utf-8")
    ran = run("scan", "--date", NIGHT, "--universe", universe, "--home", home)
    assert (ran.code, ran.out) == (1, "")
    assert 'did you mean "gap_pct"' in ran.err
    assert not (home / "data").exists()


# --- one clear line ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--date", "2017-10-08"], 1, "2017-10-08 is not a session of the exchange"),
        (["--date", "2017-12-25"], 1, "the one before is 2017-12-22"),
        (["--date", "2005-01-03"], 1, "begins on 2012-01-03"),
        (["--date", "1912-01-03"], 1, "outside the exchange calendar"),
        (["--date", "10.10.2017"], 2, "--date"),
        (["--feed", "bloomberg"], 1, 'there is no plugin "bloomberg" in feeds; installed: alpaca, files, synthetic'),
        (["--feed", "files"], 1, "needs --data PATH"),
        (["--data", "nothing.parquet"], 1, "nothing.parquet: no such file or folder"),
        (["--data", "text.txt"], 1, "text.txt: cannot be read as parquet"),
        (["--data", "."], 1, "holds no parquet file of daily bars"),
        (["--universe", "nothing.csv"], 1, "nothing.csv: cannot be read"),
        (["--universe", "text.txt"], 1, "column symbol"),
        (["--universe", "strangers.csv"], 1, "only 0 of 1 symbols of the universe have usable bars"),
        (["--config", "nowhere"], 2, "nowhere is not a folder"),
        (["--home", "nowhere"], 2, "nowhere is not a folder"),
        (["--config", "."], 2, "strategy_params.yaml"),
        (["--out", "text.txt"], 1, "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(
    run: Run, universe: Path, tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    (tmp_path / "text.txt").write_text("no parquet")
    (tmp_path / "strangers.csv").write_text("symbol,name,sector\nNOBODY,Nobody,Energy\n")
    before = sorted(tmp_path.rglob("*"))
    given = {"--date": NIGHT, "--universe": str(universe), "--config": str(CONFIG), arguments[0]: arguments[1]}
    ran = run("scan", *(word for pair in given.items() for word in pair))
    assert (ran.code, ran.out) == (code, "")
    assert says in " ".join(ran.err.replace("│", " ").split())
    if code == 1:
        assert len(ran.err.strip().splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before, "nothing was written"


def test_data_that_is_short_of_the_universe_suggests_to_name_ones_own(
    run: Run, real_data: Path, tmp_path: Path
) -> None:
    ran = run("scan", "--date", NIGHT, "--data", real_data / "sp500_daily.parquet", "--config", CONFIG)
    assert (ran.code, ran.out) == (1, "")
    assert "batch.min_coverage" in ran.err
    assert "--universe" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_session_after_the_end_of_the_data_says_where_it_ends(run: Run, real_data: Path, tmp_path: Path) -> None:
    bars = real_data / "sp500_daily.parquet"
    ran = run("scan", "--date", "2021-04-22", "--data", bars, "--config", CONFIG)
    assert (ran.code, ran.err) == (1, "autotrader: the data ends on 2021-04-21, 2021-04-22 lies after it\n")
    assert list(tmp_path.iterdir()) == []


def test_names_that_look_like_markup_are_shown_as_they_are(run: Run, universe: Path) -> None:
    lines = universe.read_text(encoding="utf-8").splitlines()
    rows = [f"{line.rpartition(',')[0]},[/bold]Tools[red]" for line in lines[1:]]
    universe.write_text("\n".join([lines[0], *rows]) + "\n", encoding="utf-8")
    ran = run("scan", "--date", NIGHT, "--universe", universe, "--config", CONFIG)
    assert ran.code == 0
    assert "[/bold]Tools[red]" in ran.out


# --- real processes ---------------------------------------------------------------------------------------------------


def test_the_last_session_in_the_data_is_scanned_by_default(real_data: Path, tmp_path: Path) -> None:
    command = [AUTOTRADER, "scan", "--data", real_data / "sp500_daily.parquet", "--out", tmp_path / "out", "--json",
               "--universe", real_data / "sp500_constituents_2021.csv"]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["scan_date"] == "2021-04-21"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["2021-04-21.json"]


def test_an_error_in_a_real_process_has_no_traceback(tmp_path: Path) -> None:
    command = [AUTOTRADER, "scan", "--date", "2017-10-08"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.splitlines()[-1].startswith("autotrader: 2017-10-08 is not a session")
    assert "Traceback" not in ran.stderr


def test_a_reader_that_goes_away_is_no_error_to_speak_of(universe: Path, tmp_path: Path) -> None:
    command = f"{AUTOTRADER} scan --date {NIGHT} --universe {universe} --json | head -c 1"
    ran = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120
    )
    assert ran.stdout == "{"
    assert "Traceback" not in ran.stderr

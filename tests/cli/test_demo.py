"""`autotrader demo` as a person uses it, and the commands that look at what it left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autotrader.market.universe import load_universe

from .conftest import ROOT, Run

CONFIG = ROOT / "config"
FIELDS = [
    "timestamp", "symbol", "strategy", "direction", "side", "quantity", "price", "pnl", "regime", "equity_after",
    "exit_reason", "mfe", "mae", "bars_held",
]  # fmt: skip


@pytest.fixture
def universe(tmp_path: Path) -> Path:
    """Eighty symbols of the embedded market."""
    path = tmp_path / "universe.csv"
    rows = [f'{member.symbol},"{member.name}",{member.sector}' for member in load_universe()[::6]]
    path.write_text("\n".join(["symbol,name,sector", *rows]) + "\n", encoding="utf-8")
    return path


def test_the_story_is_told_session_by_session_with_its_funnel_and_a_way_on(run: Run, universe: Path) -> None:
    ran = run("demo", "--days", 4, "--start", "2019-11-26", "--universe", universe, "--config", CONFIG)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0] == "4 sessions, 2019-11-26 to 2019-12-02: 84 symbols, market synthetic, cash 100,000 USD"
    assert lines[1].startswith("  scan of 2019-11-25: 84 symbols, ")
    heads = [line for line in lines if line[:3] in {"Mon", "Tue", "Wed", "Thu", "Fri"}]
    assert heads == [
        "Tue 2019-11-26", "Wed 2019-11-27", "Fri 2019-11-29 (half day, closes at 13:00)", "Mon 2019-12-02",
    ]  # fmt: skip
    assert sum(line.startswith("  funnel: 84 scanned, ") for line in lines) == 4
    assert sum(line.startswith("  close: equity ") for line in lines) == 4
    entered = [line for line in lines if " enter " in line]
    assert entered
    assert all(" sized by " in line and " stop " in line for line in entered)
    assert any(line.startswith("In the end: equity ") for line in lines)
    assert any(line.startswith("  autotrader explain ") and " --demo " in line for line in lines)
    assert "the state is in data/demo" in ran.out


def test_what_was_played_can_be_looked_at_with_the_commands_it_names(run: Run, universe: Path, tmp_path: Path) -> None:
    ran = run("demo", "--days", 6, "--start", "2019-03-04", "--universe", universe, "--config", CONFIG)
    commands = [line.split("autotrader ")[1].split("   ")[0].split() for line in ran.out.splitlines()
                if line.startswith("  autotrader ")]  # fmt: skip
    assert [words[0] for words in commands] == ["explain", "trades", "status"]
    for words in commands:
        shown = run(*words)
        assert shown.code == 0, shown.err
        assert shown.out
    status = json.loads(run("status", "--demo", "--json").out)
    assert status["last_close"] == "2019-03-11"
    rows = json.loads(run("trades", "--demo", "--json").out)
    held = json.loads(run("positions", "--demo", "--json").out)
    assert sorted(row["symbol"] for row in held) == sorted(row["symbol"] for row in rows if row["exit_price"] is None)
    assert run("trades", "--demo", "--export", tmp_path / "out").code == 0
    executions = [json.loads(line) for line in (tmp_path / "out" / "trades.jsonl").read_text().splitlines()]
    assert executions
    assert all(list(line) == FIELDS for line in executions)
    closed = [row for row in rows if row["pnl"] is not None]
    for row in closed:
        mine = [line for line in executions if line["symbol"] == row["symbol"] and line["pnl"] is not None]
        assert sum(line["pnl"] for line in mine) == pytest.approx(row["pnl"])
    equity = [json.loads(line) for line in (tmp_path / "out" / "equity.jsonl").read_text().splitlines()]
    assert [line["date"] for line in equity][-1] == "2019-03-11"
    assert equity[-1]["equity"] == pytest.approx(status["equity"])


def test_json_is_one_object_and_nothing_else(run: Run, universe: Path) -> None:
    ran = run("demo", "--days", 3, "--start", "2019-03-04", "--universe", universe, "--config", CONFIG, "--json")
    found = json.loads(ran.out)
    assert ran.err == ""
    assert [day["date"] for day in found["sessions"]] == ["2019-03-04", "2019-03-05", "2019-03-06"]
    assert found["sessions"][-1]["equity"] == found["final_equity"]
    assert sum(day["entered"] for day in found["sessions"]) == len(found["trades"])
    for day in found["sessions"]:
        assert day["scanned"] >= day["signals"] >= day["candidates"] >= day["after_gap"] >= day["entered"]


def test_with_a_home_of_its_own_the_state_lies_there_and_the_hints_name_it(
    run: Run, universe: Path, tmp_path: Path
) -> None:
    home = tmp_path / "a home"
    ran = run("--home", home, "demo", "--days", 1, "--start", "2019-03-04", "--universe", universe, "--config", CONFIG)
    assert ran.code == 2, "a folder that is not there is a mistake"
    ran = run("demo", "--days", 1, "--start", "2019-03-04", "--universe", universe, "--config", CONFIG, "--home", home)
    assert ran.code == 0, ran.err
    assert (home / "data" / "journal.sqlite3").exists()
    assert f"autotrader trades --home '{home}'" in ran.out
    again = run(
        "--home", home, "demo", "--days", 1, "--start", "2019-03-04", "--universe", universe, "--config", CONFIG
    )
    assert again.out == ran.out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--days", "0"], 2, "--days"),
        (["--market", "hours"], 2, "hours is not one of minutes, path"),
        (["--start", "2019-02-30"], 2, "2019-02-30"),
        (["--data", "nowhere.parquet"], 1, "nowhere.parquet: no such file or folder"),
        (["--start", "2011-01-03", "--days", "1"], 1, "begins on 2012-01-03"),
    ],
)
def test_mistakes_are_one_sentence(run: Run, arguments: list[str], code: int, words: str) -> None:
    ran = run("demo", *arguments, "--config", CONFIG)
    assert ran.code == code
    assert words in ran.err


def test_broken_splits_beside_the_data_are_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bars").mkdir()
    (tmp_path / "bars" / "splits.csv").write_text("symbol,date,new,old\nA,2019-03-04,two,1\n")
    ran = run("demo", "--data", tmp_path / "bars", "--config", CONFIG)
    assert ran.code == 1
    assert "splits.csv:2: two new for 1 old shares" in ran.err


def test_a_market_without_a_single_scan_is_a_problem_and_says_which(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "universe.csv"
    path.write_text("symbol,name,sector\nAAPL,Apple,Technology\nNOSUCH,None,Energy\n")
    ran = run("demo", "--days", 1, "--start", "2019-03-04", "--universe", path, "--config", CONFIG)
    assert ran.code == 1
    assert "no result: only 1 of 2 symbols of the universe have usable bars on 2019-03-01" in ran.out
    assert "What to try next" not in ran.out
    assert "no night had a scan with a result, so nothing could be entered" in ran.err

"""`autotrader scan`, `gap-filter`, `enter`, `monitor`: a session by hand, stage by stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autotrader.market.universe import load_universe

from .conftest import ROOT, Run

CONFIG = ROOT / "config"
STAGES = (["gap-filter"], ["enter", "--group", "moo"], ["enter", "--group", "confirmation"], ["monitor"])


@pytest.fixture
def scanned(run: Run, tmp_path: Path) -> list[object]:
    """The options that every stage takes, after the evening's scan."""
    path = tmp_path / "universe.csv"
    rows = [f'{member.symbol},"{member.name}",{member.sector}' for member in load_universe()[::6]]
    path.write_text("\n".join(["symbol,name,sector", *rows]) + "\n", encoding="utf-8")
    options: list[object] = ["--universe", path, "--config", CONFIG]
    assert run("scan", "--date", "2019-03-05", *options).code == 0
    return options


def account(run: Run) -> dict[str, Any]:
    """The account as it is shown, but for what goes by the wall clock."""
    shown: dict[str, Any] = json.loads(run("status", "--json").out)
    names = ("account", "last_close", "equity", "entries_today", "positions", "open_orders", "trades", "journal")
    return {name: shown[name] for name in names}


def test_a_session_by_hand_tells_what_each_stage_did_and_a_second_time_that_nothing_was_done(
    run: Run, scanned: list[object]
) -> None:
    for stage in STAGES:
        ran = run(*stage, *scanned)
        assert ran.code == 0, ran.err
        assert ran.out.startswith("\nWed 2019-03-06\n")
    assert "  close: equity " in ran.out
    before = account(run)
    assert (before["account"], before["last_close"]) == ("PAPER", "2019-03-06")
    assert before["entries_today"] > 0
    for stage in STAGES:
        again = run(*stage, *scanned)
        assert again.code == 0
        assert "nothing was done" in again.out
    assert account(run) == before


def test_a_stage_that_cannot_be_carried_out_says_what_to_run_first(run: Run, scanned: list[object]) -> None:
    ran = run("enter", "--group", "moo", *scanned)
    assert (ran.code, ran.out) == (1, "")
    assert "run `autotrader gap-filter --date 2019-03-06` first" in ran.err
    ran = run("monitor", "--date", "2019-03-09", *scanned)
    assert ran.code == 1
    assert "2019-03-09 is not a session of the exchange" in ran.err


def test_an_unknown_group_is_a_matter_of_usage(run: Run, scanned: list[object]) -> None:
    ran = run("enter", "--group", "lunch", *scanned)
    assert ran.code == 2
    assert "lunch is not one of moo, confirmation" in ran.err


def test_without_any_scan_the_first_step_is_named(run: Run) -> None:
    ran = run("gap-filter", "--config", CONFIG)
    assert ran.code == 1
    assert "run `autotrader scan` first" in ran.err

"""`autotrader positions | trades | status` over a deployment's journal."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path

import pytest

from autotrader.cli import main
from autotrader.clock import NEW_YORK
from autotrader.core import events as ev
from autotrader.journal.store import DecisionRecord, Journal

AT = datetime(2024, 7, 1, 9, 31, tzinfo=NEW_YORK)
DAY = date(2024, 7, 1)
PLAN = ev.EntryPlan("MOO", 1, 0.5, "Energy", "TREND", 2.0, 100.0, 100.0, 5.0, "hash")
FIELDS = [
    "symbol", "strategy", "direction", "quantity", "entered_at", "entry_price", "exited_at", "exit_price",
    "exit_reason", "pnl", "mfe", "mae",
]  # fmt: skip


def ordered(name: str, symbol: str, leg: ev.Leg) -> ev.Ordered:
    why = (PLAN, None, None) if leg == "entry" else (None, "stop", "stop_loss")
    return ev.Ordered(AT, DAY, name, symbol, "pullback", "long", leg, 10, *why)


def write(path: Path) -> None:
    with Journal.open(path, "PA-7", initial_cash=10_000.0) as journal:
        for event in (
            ev.SessionOpened(AT, DAY, 1),
            ordered("a-in", "A", "entry"), ev.Filled(AT, DAY, "a-in", 10, 100.0, 10),
            ordered("b-in", "B", "entry"), ev.Filled(AT, DAY, "b-in", 10, 50.0, 10),
            ordered("a-out", "A", "exit"), ev.Filled(AT, DAY, "a-out", 10, 105.0, 10),
            ordered("c-in", "C", "entry"),
            ev.SessionClosed(AT, DAY, 9_900.0),
        ):  # fmt: skip
            journal.append(event)
        seen = DecisionRecord(AT, DAY, "exit", "B", "pullback", "hold", None, "hold", "hash", {"price": 52.5})
        journal.record(seen)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write(tmp_path / "data" / "journal.sqlite3")
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["autotrader", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def test_trades_as_json_are_a_list_with_the_fixed_fields(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "trades", "--json", "--home", home) == 0
    closed, still_open = json.loads(capsys.readouterr().out)
    assert closed.keys() >= set(FIELDS)
    assert (closed["symbol"], closed["pnl"], closed["exit_reason"]) == ("A", 50.0, "stop")
    assert (still_open["symbol"], still_open["exit_price"]) == ("B", None)


def test_trades_are_a_table_for_people(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--home", home, "trades") == 0
    shown = capsys.readouterr().out
    assert "2024-07-01 09:31" in shown
    assert "+50.00" in shown
    assert "1 closed, 1 with a gain, together +50.00 USD; 1 open" in shown


def test_the_export_writes_both_files(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "trades", "--export", home / "out", "--home", home) == 0
    assert "wrote 3 lines" in capsys.readouterr().err
    sides = [json.loads(line)["side"] for line in (home / "out" / "trades.jsonl").read_text().splitlines()]
    assert sides == ["buy", "buy", "sell"]
    (close,) = (home / "out" / "equity.jsonl").read_text().splitlines()
    assert json.loads(close) == {"date": "2024-07-01", "equity": 9900.0, "drawdown": pytest.approx(0.01)}


def test_an_export_to_where_nothing_can_be_written_says_so(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "file").touch()
    assert run(monkeypatch, "trades", "--export", home / "file", "--home", home) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_positions_stand_at_the_price_of_their_latest_decision(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "positions", "--json", "--home", home) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["symbol"], row["price"], row["gain"]) == ("B", 52.5, 25.0)
    assert run(monkeypatch, "positions", "--home", home) == 0
    shown = capsys.readouterr().out
    assert "+5.00%" in shown
    assert "1 open; together +25.00 USD" in shown


def test_the_status_shows_the_account_at_a_glance(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "status", "--json", "--home", home) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["account"] == "PA-7"
    assert found["last_session"] == "2024-07-01"
    assert (found["equity"], found["drawdown"], found["positions"]) == (9900.0, pytest.approx(0.01), 1)
    assert (found["open_orders"], found["entries_today"], found["trades"]) == (["c-in"], 3, 1)
    assert found["journal"]["events"] == 9
    assert run(monkeypatch, "status", "--home", home) == 0
    shown = capsys.readouterr().out
    assert "PA-7" in shown
    assert "9,900.00 USD at the close of 2024-07-01" in shown


def test_a_journal_without_events_is_shown_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Journal.open(tmp_path / "data" / "journal.sqlite3", "PA-7", initial_cash=10_000.0).close()
    for command, says in (("positions", "no open positions"), ("trades", "no trades yet"), ("status", "Held: nothing")):
        assert run(monkeypatch, command, "--home", tmp_path) == 0
        assert says in capsys.readouterr().out


@pytest.mark.parametrize("command", ["positions", "trades", "status"])
@pytest.mark.parametrize("how", [[], ["--json"]])
def test_where_nothing_has_run_yet_it_says_so_and_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, how: list[str]
) -> None:
    assert run(monkeypatch, command, *how, "--home", tmp_path) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"no journal at {tmp_path / 'data' / 'journal.sqlite3'}" in said.err


def test_the_demos_account_is_its_own_and_is_pointed_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "data" / "demo" / "journal.sqlite3")
    assert run(monkeypatch, "trades", "--home", tmp_path) == 1
    assert "add --demo" in capsys.readouterr().err
    assert run(monkeypatch, "trades", "--demo", "--json", "--home", tmp_path) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2


def test_the_data_folder_is_the_configured_one_even_while_the_rules_are_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "elsewhere" / "journal.sqlite3")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "default.yaml").write_text("paths:\n  data: elsewhere\n")
    (tmp_path / "config" / "strategy_params.yaml").write_text("version: [\n")
    assert run(monkeypatch, "status", "--home", tmp_path) == 0
    assert run(monkeypatch, "status", "--home", tmp_path, "--config", tmp_path / "config") == 0
    capsys.readouterr()
    (tmp_path / "config" / "default.yaml").write_text("paths:\n  dta: elsewhere\n")
    assert run(monkeypatch, "status", "--home", tmp_path) == 1
    assert "default.yaml:2" in capsys.readouterr().err
    (tmp_path / "config" / "default.yaml").write_text("paths: [\n")
    assert run(monkeypatch, "status", "--home", tmp_path) == 2
    assert "default.yaml" in capsys.readouterr().err


def test_looking_at_the_account_loads_no_market_libraries(home: Path) -> None:
    program = (
        "import sys\n"
        f"sys.argv = ['autotrader', 'positions', '--json', '--home', {str(home)!r}]\n"
        "from autotrader.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('numpy', 'pandas', 'pyarrow', 'talib') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "[]"

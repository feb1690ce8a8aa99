"""`autotrader backtest` as a person uses it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from autotrader.clock import Calendar
from autotrader.core.panel import FIELDS, Panel
from autotrader.market.bars import load_daily
from autotrader.market.minutes import minutes_of_day
from autotrader.market.synthetic import synthetic_panel
from autotrader.market.universe import load_universe

from .conftest import ROOT, Run

AUTOTRADER = Path(sys.executable).with_name("autotrader")
CALENDAR = Calendar()
PERIOD = ("--from", "2018-01-01", "--to", "2018-12-31")
TRADE = ("symbol", "strategy", "direction", "quantity", "entered_at", "entry_price", "exited_at", "exit_price",
         "exit_reason", "pnl", "mfe", "mae")  # fmt: skip


def write(panel: Panel, path: Path) -> Path:
    columns = {"symbol": np.repeat(panel.symbols, panel.sessions), "date": np.tile(panel.dates, len(panel.symbols))}
    columns |= {name: getattr(panel, name).ravel() for name in FIELDS}
    there = ~np.isnan(columns["close"])
    parquet.write_table(pa.table({name: values[there] for name, values in columns.items()}), path)
    return path


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Bars of 39 symbols from 2016 to 2018, and their list."""
    folder = tmp_path_factory.mktemp("market")
    members = load_universe()[::13]
    symbols = [member.symbol for member in members]
    bars = write(synthetic_panel(symbols, date(2016, 1, 4), date(2018, 12, 31), 3, CALENDAR), folder / "bars.parquet")
    rows = [f'{member.symbol},"{member.name}",{member.sector}' for member in members]
    universe = folder / "universe.csv"
    universe.write_text("\n".join(["symbol,name,sector", *rows]), encoding="utf-8")
    return bars, universe


Common = tuple[object, ...]


@pytest.fixture
def common(market: tuple[Path, Path]) -> Common:
    return ("--data", market[0], "--universe", market[1])


def result(run: Run, tmp_path: Path, *arguments: object) -> dict[str, Any]:
    path = tmp_path / "result.json"
    ran = run("backtest", "--json", path, *arguments)
    assert ran.code == 0, ran.err
    loaded: dict[str, Any] = json.loads(path.read_bytes())
    return loaded


# --- what it gives ----------------------------------------------------------------------------------------------------


def test_the_json_file_has_what_other_programs_rely_on(run: Run, tmp_path: Path, common: Common) -> None:
    found = result(run, tmp_path, *PERIOD, *common)
    for key in ("initial_cash", "final_equity", "trades", "equity", "metrics", "rules", "config_hash"):
        assert key in found, key
    assert found["initial_cash"] == 100_000.0
    assert found["equity"][-1]["equity"] == found["final_equity"]
    assert [row["date"] for row in found["equity"]] == [
        day.isoformat() for day in CALENDAR.sessions(date(2018, 1, 1), date(2018, 12, 31))
    ]
    assert re.fullmatch("[0-9a-f]{64}", found["config_hash"])
    assert len(found["trades"]) > 30
    for trade in found["trades"]:
        assert all(key in trade for key in TRADE)
        assert isinstance(trade["quantity"], int)
        assert trade["mfe"] >= 0 >= trade["mae"]
        for stamp in (trade["entered_at"], trade["exited_at"]):
            if stamp is not None:
                assert datetime.fromisoformat(stamp).utcoffset() is not None
                assert stamp[-6:] in ("-05:00", "-04:00"), "New York"
        assert (trade["exit_price"] is None) == (trade["pnl"] is None) == (trade["exited_at"] is None)
    for rule in found["rules"]:
        assert set(rule) == {"stage", "rule", "evaluated", "matched", "decided", "unknown"}


def test_the_console_tells_the_same_in_short(run: Run, tmp_path: Path, common: Common) -> None:
    path = tmp_path / "r.json"
    ran = run("backtest", *PERIOD, *common, "--json", path, "--cash", 50_000)
    found = json.loads(path.read_bytes())
    assert ran.code == 0
    assert f"50,000.00 -> {found['final_equity']:,.2f} USD" in ran.out
    assert f"{found['metrics']['cagr']:.2%}" in ran.out
    assert "regime_momentum" in ran.out
    assert "Never decided in" in ran.out
    assert str(path) in ran.out.replace("\n", "")


def test_blackouts_keep_out_and_are_said_to_apply(run: Run, tmp_path: Path, common: Common) -> None:
    before = result(run, tmp_path, *PERIOD, *common)
    symbol = before["trades"][0]["symbol"]
    assert not any("Blackouts" in note for note in before["notes"])
    home = tmp_path / "home"
    shutil.copytree(ROOT / "config", home / "config")
    rows = f"symbol,from,to,reason\n{symbol},2018-01-01,2018-12-31,merger\nNVDAX,2018-01-01,2018-12-31,typo\n"
    (home / "config" / "blackouts.csv").write_text(rows)
    after = result(run, tmp_path, *PERIOD, *common, "--home", home)
    assert symbol not in {trade["symbol"] for trade in after["trades"]}
    (note,) = (note for note in after["notes"] if "Blackouts" in note)
    assert "2 of blackouts.csv" in note
    assert "not in the universe: NVDAX" in note
    assert after["config_hash"] == before["config_hash"]


def test_what_the_checker_remarks_upon_is_told_and_stops_nothing(run: Run, tmp_path: Path, common: Common) -> None:
    home = tmp_path / "home"
    shutil.copytree(ROOT / "config", home / "config")
    path = home / "config" / "strategy_params.yaml"
    path.write_text(path.read_text().replace("max_open_positions: 8", "max_open_positions: 0"))
    ran = run("backtest", *PERIOD, *common, "--home", home)
    assert ran.code == 0
    assert "warning[always-true] limit" in ran.err
    assert "no trade was closed" in ran.out


def test_cash_slippage_commission_and_borrow_change_what_they_should(run: Run, tmp_path: Path, common: Common) -> None:
    free = result(run, tmp_path, *PERIOD, *common, "--borrow", 0)
    paid = result(run, tmp_path, *PERIOD, *common, "--cash", 20_000, "--slippage", 10, "--commission", 1.5,
                  "--borrow", 0.2)  # fmt: skip
    assert paid["costs"] == {"slippage_bps": 10.0, "commission": 1.5, "borrow": 0.2}
    assert paid["initial_cash"] == 20_000.0
    assert {trade["costs"] for trade in free["trades"]} == {0.0}
    for trade in paid["trades"]:
        if trade["direction"] == "long" and trade["pnl"] is not None:
            assert trade["costs"] == 3.0
    assert any(trade["costs"] > 3.0 for trade in paid["trades"] if trade["direction"] == "short")
    first, dear = free["trades"][0], paid["trades"][0]
    assert (first["symbol"], first["entered_at"]) == (dear["symbol"], dear["entered_at"])
    assert dear["entry_price"] != first["entry_price"]
    assert dear["quantity"] < first["quantity"]


def test_the_embedded_market_is_played_without_data_and_called_made_up(run: Run, tmp_path: Path) -> None:
    few = tmp_path / "few.csv"
    few.write_text("symbol,name,sector\n" + "".join(f"{m.symbol},x,{m.sector}\n" for m in load_universe()[::20]))
    found = result(run, tmp_path, "--from", "2018-01-01", "--to", "2018-06-30", "--universe", few)
    assert found["feed"] == "synthetic"
    assert any("made up" in line for line in found["caveats"])
    assert "a made-up market" in run("backtest", "--from", "2018-06-01", "--to", "2018-06-30", "--universe", few).out
    other = result(run, tmp_path, "--from", "2018-01-01", "--to", "2018-06-30", "--universe", few, "--seed", 7)
    assert other["equity"] != found["equity"]


def test_an_edited_rule_changes_the_trades_and_the_hash(run: Run, tmp_path: Path, common: Common) -> None:
    from autotrader.validation.load import PACKAGED_CONFIG, PARAMS_FILE

    before = result(run, tmp_path, *PERIOD, *common)
    config = tmp_path / "config"
    config.mkdir()
    text = (PACKAGED_CONFIG / PARAMS_FILE).read_text(encoding="utf-8")
    (config / PARAMS_FILE).write_text(text.replace("max_hold_days: 5", "max_hold_days: 3"), encoding="utf-8")
    (config / "default.yaml").write_text((PACKAGED_CONFIG / "default.yaml").read_text(encoding="utf-8"))
    after = result(run, tmp_path, *PERIOD, *common, "--config", config)
    assert after["config_hash"] != before["config_hash"]
    assert after["trades"] != before["trades"]


# --- periods and data that do not fit ---------------------------------------------------------------------------------


def test_a_period_that_reaches_beyond_the_data_is_cut_and_said(run: Run, tmp_path: Path, common: Common) -> None:
    found = result(run, tmp_path, "--from", "2015-01-01", "--to", "2030-01-01", *common)
    assert (found["from"], found["to"]) == ("2016-01-05", "2018-12-31")
    assert "The data end on 2018-12-31: nothing after it is tested." in found["notes"]
    assert any("The data begin on 2016-01-04" in line for line in found["notes"])


def test_symbols_without_bars_are_left_out_and_named(run: Run, market: tuple[Path, Path], tmp_path: Path) -> None:
    universe = tmp_path / "more.csv"
    universe.write_text(market[1].read_text(encoding="utf-8") + "\nNOBODY,Nobody,Energy\n", encoding="utf-8")
    found = result(run, tmp_path, *PERIOD, "--data", market[0], "--universe", universe)
    assert any("left out: NOBODY" in line for line in found["notes"])
    assert found["symbols"] == 39


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--from", "2018-12-31"], 1, "--from 2018-12-31 is after --to 2018-01-31"),
        (["--from", "2020-01-01", "--to", "2020-02-01"], 1, "is after the end of the data, 2018-12-31"),
        (["--from", "2010-01-01", "--to", "2010-02-01"], 1, "2016-01-04"),
        (["--from", "2018-01-06", "--to", "2018-01-07"], 1, "no session from 2018-01-06 to 2018-01-07"),
        (["--from", "yesterday"], 2, "--from"),
        (["--to", "2018-02-30"], 2, "--to"),
        (["--cash", "0"], 2, "--cash"),
        (["--slippage", "-1"], 2, "--slippage"),
        (["--commission", "-1"], 2, "--commission"),
        (["--borrow", "-0.1"], 2, "--borrow"),
        (["--data", "nothing.parquet"], 1, "nothing.parquet: no such file or folder"),
        (["--data", "text.txt"], 1, "text.txt: cannot be read as parquet"),
        (["--universe", "nothing.csv"], 1, "nothing.csv: cannot be read"),
        (["--universe", "empty.csv"], 1, "empty.csv"),
        (["--universe", "strangers.csv"], 1, "no symbol of the universe has bars in the data"),
        (["--feed", "bloomberg"], 1, 'there is no plugin "bloomberg" in feeds'),
        (["--report", "."], 2, ". is a folder"),
        (["--json", "text.txt", "--report", "text.txt"], 2, "is what the command reads"),
        (["--json", "pipe"], 2, "pipe is a device"),
        (["--universe", "strangers.csv", "--report", "strangers.csv"], 2, "is what the command reads"),
        (["--universe", "strangers.csv", "--json", "link.csv"], 2, "is what the command reads"),
        (["--data", ".", "--json", "old.parquet"], 2, "is what the command reads"),
        (["--cash", "inf"], 2, "--cash"),
        (["--commission", "inf"], 2, "--commission"),
        (["--borrow", "1e200"], 2, "--borrow"),
        (["--json", "text.txt/r.json"], 1, "cannot be written"),
        (["--config", "nowhere"], 2, "nowhere is not a folder"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_clear_line(
    run: Run, market: tuple[Path, Path], tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    (tmp_path / "text.txt").write_text("no parquet")
    (tmp_path / "empty.csv").write_text("symbol,name,sector\n")
    (tmp_path / "strangers.csv").write_text("symbol,name,sector\nNOBODY,Nobody,Energy\n")
    (tmp_path / "old.parquet").write_text("old")
    (tmp_path / "link.csv").symlink_to("strangers.csv")
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.rglob("*"))
    given = {"--from": "2018-01-02", "--to": "2018-01-31", "--data": str(market[0]), "--universe": str(market[1])}
    given |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    ran = run("backtest", *(word for pair in given.items() for word in pair))
    assert ran.code == code, ran.err
    assert says in " ".join(ran.err.replace("│", " ").split())
    assert ran.out == ""
    assert sorted(tmp_path.rglob("*")) == before, "nothing was written"


def test_a_period_must_be_given(run: Run) -> None:
    ran = run("backtest", "--from", "2018-01-02")
    assert ran.code == 2
    assert "--to" in ran.err


# --- the same to the byte ---------------------------------------------------------------------------------------------


def test_two_processes_write_the_same_bytes(market: tuple[Path, Path], tmp_path: Path) -> None:
    made = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        command = [AUTOTRADER, "backtest", *PERIOD, "--data", market[0], "--universe", market[1],
                   "--report", "r.html", "--json", "r.json"]  # fmt: skip
        elsewhere = os.environ | {"PYTHONHASHSEED": seed, "TZ": "UTC" if seed == "1" else "Asia/Tokyo"}
        ran = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=folder, timeout=120, env=elsewhere
        )
        assert ran.returncode == 0, ran.stderr
        made.append([(folder / name).read_bytes() for name in ("r.json", "r.html")] + [ran.stdout.encode()])
    assert made[0] == made[1]


# --- beside the demo --------------------------------------------------------------------------------------------------


def test_the_demo_makes_the_same_trades(run: Run, real_data: Path, tmp_path: Path) -> None:
    """Half a real year, both as commands with the default configuration."""
    members = load_universe(real_data / "sp500_constituents_2021.csv")[::14]
    panel = load_daily(real_data / "sp500_daily.parquet", [m.symbol for m in members], date(2018, 1, 2),
                       date(2020, 6, 30))  # fmt: skip
    bars, universe = write(panel, tmp_path / "bars.parquet"), tmp_path / "universe.csv"
    rows = [f'{item.symbol},"{item.name}",{item.sector}' for item in members]
    universe.write_text("\n".join(["symbol,name,sector", *rows]), encoding="utf-8")
    both = ("--data", bars, "--universe", universe, "--slippage", 5, "--commission", 1, "--borrow", 0.03)
    days = len(CALENDAR.sessions(date(2020, 1, 2), date(2020, 6, 30)))
    home = tmp_path / "home"
    ran = run("demo", "--market", "path", "--start", "2020-01-02", "--days", days, "--home", home, *both)
    assert ran.code == 0, ran.err
    played = json.loads(run("trades", "--json", "--home", home).out)
    tested = result(run, tmp_path, "--from", "2020-01-01", "--to", "2020-06-30", *both)["trades"]
    assert len(tested) > 20
    for one, other in zip(played, tested, strict=True):
        assert one == {key: other[key] for key in one}


# --- minute bars ------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_minutes(market: tuple[Path, Path], tmp_path: Path) -> Path:
    """A folder with the daily bars, and minute bars of all symbols in one week; those of one are at twice the price."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "daily.parquet").write_bytes(market[0].read_bytes())
    panel = load_daily(market[0], None, date(2018, 3, 5), date(2018, 3, 9))
    columns: dict[str, list[Any]] = {name: [] for name in ("symbol", "ts", *FIELDS)}
    for column, day in enumerate(panel.dates.tolist()):
        start = int(CALENDAR.opens_at(day).timestamp())
        for row, symbol in enumerate(panel.symbols):
            bars = minutes_of_day(symbol, day, *(float(getattr(panel, f)[row, column]) for f in FIELDS), 390, 1)
            columns["symbol"] += [symbol] * 390
            columns["ts"].append((start + 60 * bars.minute).astype("datetime64[s]"))
            for name in FIELDS:
                columns[name].append(getattr(bars, name) * (2.0 if row == 0 and name != "volume" else 1.0))
    table = {name: values if name == "symbol" else np.concatenate(values) for name, values in columns.items()}
    table["ts"] = pa.array(table["ts"]).cast(pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC"))
    parquet.write_table(pa.table(table), folder / "minutes.parquet", row_group_size=100_000)
    return folder


def test_minute_bars_beside_the_daily_ones_are_played(
    run: Run, market: tuple[Path, Path], with_minutes: Path, tmp_path: Path
) -> None:
    period = ("--from", "2018-02-20", "--to", "2018-03-20", "--universe", market[1])
    daily = result(run, tmp_path, *period, "--data", market[0])
    found = result(run, tmp_path, *period, "--data", with_minutes)
    assert (daily["sessions_on_minute_bars"], found["sessions_on_minute_bars"]) == (0, 5)
    week = [t for t in found["trades"] if "2018-03-05" <= t["entered_at"][:10] <= "2018-03-09"]
    confirmed = [t for t in week if t["entry_group"] == "CONFIRM"]
    assert confirmed
    assert {t["entered_at"][11:16] for t in confirmed} == {"09:45"}
    outside = [t for t in found["trades"] if t["entered_at"][:10] < "2018-03-05"]
    assert outside
    assert {t["entered_at"][11:16] for t in outside} == {"09:30"}


def test_minute_bars_on_another_price_basis_are_not_played_and_named(
    run: Run, market: tuple[Path, Path], with_minutes: Path, tmp_path: Path
) -> None:
    symbol = load_daily(market[0], None, date(2018, 3, 5), date(2018, 3, 9)).symbols[0]
    alone = tmp_path / "alone.csv"
    alone.write_text(f"symbol,name,sector\n{symbol},x,Energy\n")
    loud = tmp_path / "config"
    loud.mkdir()
    from autotrader.validation.load import PACKAGED_CONFIG, PARAMS_FILE

    text = (PACKAGED_CONFIG / PARAMS_FILE).read_text(encoding="utf-8")
    text = text.replace("rsi: {long: 30, short: 75}, pct_b: {long: 0.05, short: 0.95}, adx_max: 25",
                        "rsi: {long: 99, short: 100}, pct_b: {long: 9.0, short: 10.0}, adx_max: 99")  # fmt: skip
    (loud / PARAMS_FILE).write_text(text, encoding="utf-8")
    (loud / "default.yaml").write_text((PACKAGED_CONFIG / "default.yaml").read_text(encoding="utf-8"))
    found = result(run, tmp_path, "--from", "2018-03-05", "--to", "2018-03-09", "--data", with_minutes,
                   "--universe", alone, "--config", loud)  # fmt: skip
    assert found["sessions_on_minute_bars"] == 0
    assert any("another price basis" in line and f"{symbol} (x 2)" in line for line in found["caveats"])
    assert found["trades"]

"""`autotrader explain` as a person reads it."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path

import pytest

from autotrader.market.universe import load_universe

from .conftest import ROOT, Run

CONFIG = ROOT / "config"


@pytest.fixture
def played(run: Run, tmp_path: Path) -> list[object]:
    """The options that find a demo of six sessions."""
    path = tmp_path / "universe.csv"
    rows = [f'{member.symbol},"{member.name}",{member.sector}' for member in load_universe()[::6]]
    path.write_text("\n".join(["symbol,name,sector", *rows]) + "\n", encoding="utf-8")
    options: list[object] = ["--universe", path, "--config", CONFIG]
    assert run("demo", "--days", 6, "--start", "2019-03-04", *options).code == 0
    return [*options, "--demo"]


def test_a_trade_is_told_rule_by_rule_in_the_order_of_time(run: Run, played: list[object]) -> None:
    trade = json.loads(run("trades", "--demo", "--json").out)[0]
    ran = run("explain", trade["symbol"].lower(), "--date", trade["entered_at"][:10], *played)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0].startswith(f"{trade['symbol']}   ")
    assert any(line.startswith("Scanned ") for line in lines)
    day = next(part for part in ran.out.split("\nScanned ") if f"traded {_weekday(trade['entered_at'])}" in part)
    times = re.findall(r"^(\d\d:\d\d)  ", day, re.MULTILINE)
    assert times == sorted(times)
    assert times[0] == "09:25"
    assert re.search(rf"entry filled: {trade['quantity']} at {trade['entry_price']:.2f}", ran.out)
    assert re.search(r"> position_cap: |> regime_budget: |> risk_budget: ", ran.out)
    assert re.search(
        r"emergency_stop: no(, 0 bars in a row)?  loss_pct -?[\d.]+% >= emergency_stop_pct [\d.]+% no, ", ran.out
    )


def _weekday(at: str) -> str:
    return f"{date.fromisoformat(at[:10]):%a %Y-%m-%d}"


def test_json_carries_the_same_with_every_fact(run: Run, played: list[object]) -> None:
    trade = json.loads(run("trades", "--demo", "--json").out)[0]
    ran = run("explain", trade["symbol"], "--date", trade["entered_at"][:10], "--json", *played)
    found = json.loads(ran.out)
    (chapter,) = [c for c in found["chapters"] if c["trading_date"] == trade["entered_at"][:10]]
    sizing = next(item for item in chapter["decisions"] if item["stage"] == "sizing")
    values = {rule["rule"]: rule["result"] for rule in sizing["rules"]}
    assert min(values.values()) == sizing["value"]
    facts = next(rule["facts"] for rule in sizing["rules"] if rule["rule"] == "position_cap")
    assert values["position_cap"] == pytest.approx(facts["equity"] * facts["max_position_pct"] / facts["price"])


def test_for_a_symbol_nothing_was_recorded_about_it_says_why_not(run: Run, played: list[object]) -> None:
    scan = json.loads(Path("data/demo/batch_results/2019-03-01.json").read_text())
    signals = {item["symbol"] for item in scan["all_signals"]}
    traded = {row["symbol"] for row in json.loads(run("trades", "--demo", "--json").out)}
    quiet = next(m.symbol for m in load_universe()[::6] if m.symbol not in signals | traded)
    ran = run("explain", quiet, "--date", "2019-03-01", *played)
    assert ran.code == 0
    assert f"No strategy fired on {quiet} in the scan of 2019-03-01" in ran.out
    assert json.loads(run("explain", quiet, "--date", "2019-03-01", "--json", *played).out)["why_not"]


def test_mistakes_are_one_sentence(run: Run, played: list[object]) -> None:
    assert "is not among the 84 symbols" in run("explain", "NOSUCH", *played).err
    assert "is not a session of the exchange" in run("explain", "A", "--date", "2019-03-09", *played).err
    assert run("explain", "A", "--date", "2019-03-09", *played).code == 1

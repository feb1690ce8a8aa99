"""`autotrader plugins`: what is installed."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint

import pytest

from .conftest import Run


def test_the_built_ins_are_listed(run: Run) -> None:
    ran = run("plugins", "--json")
    assert ran.code == 0
    rows = json.loads(ran.out)
    assert {"kind": "feed", "name": "files"} in [{key: row[key] for key in ("kind", "name")} for row in rows]
    strategies = {row["name"] for row in rows if row["kind"] == "strategy"}
    assert {"rsi_mean_reversion", "bb_squeeze", "adx_pullback", "overbought_short", "regime_momentum",
            "rules"} <= strategies  # fmt: skip
    assert [row["problem"] for row in rows] == [None] * len(rows)
    assert all(row["from"].startswith("autotrader-rules ") for row in rows)


def test_the_table_says_the_same(run: Run) -> None:
    ran = run("plugins")
    assert ran.code == 0
    assert "rsi_mean_reversion" in ran.out
    assert "synthetic" in ran.out


def test_a_plugin_that_does_not_load_is_shown_with_its_cause(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("broken", "no_such_module:Thing", "autotrader.strategies")
    monkeypatch.setattr("autotrader.plugins.registry._entry_points", lambda _path: (broken,))
    ran = run("plugins", "--json")
    assert ran.code == 0
    (row,) = json.loads(ran.out)
    assert "no_such_module" in row["problem"]

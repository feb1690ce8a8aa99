"""`autotrader run` where it cannot run: one sentence, exit code 1, nothing traded."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Run


def test_without_a_running_market_it_says_what_to_configure(run: Run, tmp_path: Path) -> None:
    ran = run("run", "--home", str(tmp_path))
    assert ran.code == 1
    assert "the feed synthetic and the broker paper know no running market" in ran.err
    assert "broker.name to alpaca" in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "data" / "journal.sqlite3").exists()


def test_a_configuration_with_errors_is_shown_and_nothing_starts(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "strategy_params.yaml").write_text("version: 1\n")
    ran = run("run", "--home", str(tmp_path))
    assert ran.code == 1
    assert "strategy_params.yaml" in ran.err
    assert not (tmp_path / "data").exists()

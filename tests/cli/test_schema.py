"""`autotrader schema`: the files that editors and other programs read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from .conftest import ROOT, Run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "config", tmp_path / "config"))


def test_the_committed_schemas_are_up_to_date(run: Run) -> None:
    ran = run("schema", "--check", "--config", ROOT / "config")
    assert ran.code == 0, ran.err


def test_each_is_a_schema(run: Run) -> None:
    schemas = sorted((ROOT / "config" / "schemas").glob("*.json"))
    assert {path.name for path in schemas} >= {"strategy_params.schema.json", "default.schema.json"}
    for path in schemas:
        Draft202012Validator.check_schema(json.loads(path.read_text(encoding="utf-8")))


def test_check_names_what_is_stale_and_changes_nothing(run: Run, config: Path) -> None:
    stale, gone = config / "schemas" / "default.schema.json", config / "schemas" / "strategy_params.schema.json"
    stale.write_text("{}")
    gone.unlink()
    ran = run("schema", "--check", "--config", config)
    assert ran.code == 1
    assert stale.name in ran.err
    assert gone.name in ran.err
    assert stale.read_text() == "{}"
    assert not gone.exists()


def test_what_is_stale_is_written_anew(run: Run, config: Path) -> None:
    shutil.rmtree(config / "schemas")
    assert run("schema", "--config", config).code == 0
    assert run("schema", "--check", "--config", config).code == 0
    again = run("schema", "--config", config)
    assert "up to date" in again.out

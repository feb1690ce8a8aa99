"""docs/rules.md: its examples run, and are of the language it describes."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

from autotrader.rules.document import load
from autotrader.rules.expression import FUNCTIONS, MAX_CHARACTERS, MAX_LEVELS
from autotrader.validation.load import load_configuration
from autotrader.vocabulary import stages

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def merged(into: Any, more: Any) -> Any:
    """Mappings key by key, lists one after the other, new rules first."""
    if isinstance(into, dict) and isinstance(more, dict):
        return into | {key: merged(into.get(key), value) for key, value in more.items()}
    return [*more, *into] if isinstance(into, list) and isinstance(more, list) else more


def test_every_piece_of_configuration_fits_into_the_default_one(tmp_path: Path) -> None:
    config = Path(shutil.copytree(ROOT / "config", tmp_path / "config"))
    params = config / "strategy_params.yaml"
    data = load(params.read_bytes(), "default").data
    assert len(blocks("yaml")) == 3
    for block in blocks("yaml"):
        data = merged(data, load(block, "block").data)
    params.write_text(json.dumps(data), encoding="utf-8")
    loaded = load_configuration(config)
    assert [str(problem.message) for problem in loaded.problems if problem.severity == "error"] == []
    assert loaded.configuration is not None
    assert loaded.configuration.rulebook.exit.rules[0].name == "late_stop"


def test_the_garden_is_watered_as_the_page_says() -> None:
    (code,), (wanted,) = blocks("python"), blocks("text")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "docs/rules.md", "exec"), {})
    assert printed.getvalue() == wanted


def test_what_the_page_lists_is_all_there_is() -> None:
    for name in FUNCTIONS:
        assert f"`{name}(" in PAGE
    assert f"At most {MAX_CHARACTERS} characters and {MAX_LEVELS} levels" in PAGE
    rows = re.findall(r"^\| (first|veto|weigh|least) \| ([^|]*) \|", PAGE, re.MULTILINE)
    listed = {stage.strip(): policy for policy, named in rows for stage in named.split(",")}
    assert listed == {stage.name: stage.policy for stage in stages().values() if stage.name != "signal"}

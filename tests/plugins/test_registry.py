"""Plugins by name: what is installed, and what is said of what is not there, there twice or broken."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from autotrader.errors import AutotraderError
from autotrader.plugins import registry
from autotrader.plugins.registry import PluginError


def install(folder: Path, package: str, entry_points: str) -> None:
    """A distribution as an installer leaves it."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_the_built_ins_are_plugins_like_any_other() -> None:
    names = ["adx_pullback", "bb_squeeze", "overbought_short", "regime_momentum", "rsi_mean_reversion", "rules"]
    assert list(registry.strategies()) == names
    for name in names:
        assert registry.load_strategy(name).__name__.lower().removesuffix("strategy") == name.replace("_", "")
    assert "files" in registry.feeds()
    assert isinstance(registry.brokers(), dict)


@pytest.mark.parametrize(
    ("load", "names"),
    [(registry.load_strategy, "adx_pullback, bb_squeeze"), (registry.load_feed, "files"), (registry.load_broker, "")],
)
def test_an_unknown_plugin_names_those_that_exist(load: object, names: str) -> None:
    with pytest.raises(PluginError, match='no plugin "bb_sqeeze".*installed: .*' + names):
        load("bb_sqeeze")  # type: ignore[operator]
    assert issubclass(PluginError, AutotraderError)


def test_a_plugin_from_elsewhere_is_found(site: Path) -> None:
    install(site, "extra", "[autotrader.strategies]\nextra = autotrader.plugins.strategies.rules:RulesStrategy\n")
    assert "extra" in registry.strategies()
    assert registry.load_strategy("extra").__name__ == "RulesStrategy"


def test_one_name_in_two_packages_names_both(site: Path) -> None:
    install(site, "mine", "[autotrader.strategies]\nrules = mine:Rules\n")
    with pytest.raises(PluginError, match=r'"rules".*autotrader-rules.*mine \(mine:Rules\)|"rules".*mine.*autotrader'):
        registry.strategies()
    registry.feeds()  # another kind is not concerned


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        (None, "ModuleNotFoundError: No module named 'broken_plugin'"),
        ("import nowhere_to_be_found", "nowhere_to_be_found"),
        ("x = 1 / 0", "ZeroDivisionError"),
        ("def f(:", "SyntaxError"),
        ("", "AttributeError"),
        ("class Broken: pass", "no pydantic model `Params`"),
        ("from pydantic import BaseModel\nclass Broken:\n    Params = BaseModel", "no method `signals`"),
    ],
)
def test_a_plugin_that_fails_says_why(site: Path, source: str | None, cause: str) -> None:
    install(site, "broken", "[autotrader.strategies]\nbroken = broken_plugin:Broken\n")
    sys.modules.pop("broken_plugin", None)
    if source is not None:
        (site / "broken_plugin.py").write_text(source)
    with pytest.raises(PluginError, match="broken") as raised:
        registry.load_strategy("broken")
    assert cause in str(raised.value)
    sys.modules.pop("broken_plugin", None)

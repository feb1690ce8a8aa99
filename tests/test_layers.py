"""Imports point one way."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "autotrader"

# From the ground up. A module may import from the rows above its own and from its own part, not from its neighbours.
LAYERS = (
    ("errors", "points", "rules"),
    ("clock", "secrets"),
    ("vocabulary",),
    ("settings",),
    ("core", "logs"),
    ("market",),
    ("plugins",),
    ("validation",),
    ("journal", "batch"),
    ("execution",),
    ("service", "backtest", "simulator"),
    ("cli",),
)
LEVEL = {name: level for level, row in enumerate(LAYERS) for name in row}


def part_of(module: str) -> str:
    """autotrader.core.panel -> core"""
    names = module.split(".")
    return names[1] if len(names) > 1 else ""


def imports(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """Line and name of every module that is imported, also inside functions and for type checking only.

    package: of the importing module, for relative imports.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module == PACKAGE:  # from autotrader import core
                yield from ((node.lineno, f"{PACKAGE}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def offences(folder: Path) -> list[str]:
    """Every import that points the wrong way, as file:line and who imports whom."""
    found = []
    for path in sorted((folder / PACKAGE).rglob("*.py")):
        relative = path.relative_to(folder)
        package = ".".join(relative.parent.parts)
        own = part_of(".".join(relative.with_suffix("").parts)).removesuffix("__init__")
        for line, module in imports(ast.parse(path.read_text(encoding="utf-8")), package):
            if not (module == PACKAGE or module.startswith(f"{PACKAGE}.")):
                continue
            other = part_of(module)
            if other == own:
                continue
            if own not in LEVEL or other not in LEVEL:
                found.append(f"{relative}:{line}: {own or relative} or {other} has no place in the layers")
            elif LEVEL[other] >= LEVEL[own]:
                found.append(f"{relative}:{line}: {own} must not import {module}")
    return found


def test_imports_point_one_way() -> None:
    assert not offences(ROOT), "\n".join(["", *offences(ROOT)])


def test_the_rule_engine_stands_alone() -> None:
    for path in (ROOT / PACKAGE / "rules").glob("*.py"):
        for line, module in imports(ast.parse(path.read_text(encoding="utf-8")), f"{PACKAGE}.rules"):
            if module.startswith(PACKAGE):
                assert part_of(module) == "rules", f"{path.name}:{line} imports {module}"


@pytest.mark.slow
def test_the_rule_engines_tests_pass_with_the_rest_deleted(tmp_path: Path) -> None:
    shutil.copytree(ROOT / PACKAGE / "rules", tmp_path / PACKAGE / "rules")
    shutil.copy(ROOT / PACKAGE / "__init__.py", tmp_path / PACKAGE)
    shutil.copytree(ROOT / "tests" / "rules", tmp_path / "tests")
    (tmp_path / "tests" / "test_alone.py").write_text(
        "import importlib.util\nimport autotrader\n\n"
        "def test_it_is_alone() -> None:\n"
        f"    assert autotrader.__file__.startswith({str(tmp_path)!r})\n"
        "    assert importlib.util.find_spec('autotrader.core') is None\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "tests"]
    alone = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "AUTOTRADER_EXAMPLES": "2"}
    ran = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr


def test_every_part_has_its_place() -> None:
    parts = {path.stem for path in (ROOT / PACKAGE).glob("*.py")} | {
        path.parent.name for path in (ROOT / PACKAGE).glob("*/__init__.py")
    }
    assert parts - {"__init__", "__main__"} <= LEVEL.keys()


def test_an_import_is_seen_wherever_it_hides(tmp_path: Path) -> None:
    core = tmp_path / PACKAGE / "core"
    core.mkdir(parents=True)
    (core / "bad.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from autotrader.market.bars import load_daily\n"
        "def late():\n    import autotrader.batch.scan\n"
        "from autotrader import cli\n"
        "from ..service import run\n"
        "from .panel import Panel\n"
        "from autotrader.settings import Settings\n"
    )
    assert offences(tmp_path) == [
        "autotrader/core/bad.py:6: core must not import autotrader.cli",
        "autotrader/core/bad.py:7: core must not import autotrader.service",
        "autotrader/core/bad.py:3: core must not import autotrader.market.bars",
        "autotrader/core/bad.py:5: core must not import autotrader.batch.scan",
    ]

"""The operator's page names every alert that the program gives."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def trees() -> list[ast.Module]:
    paths = [path for part in ("service", "execution") for path in sorted((ROOT / "autotrader" / part).glob("*.py"))]
    return [ast.parse(path.read_text(encoding="utf-8")) for path in paths]


def constants(modules: list[ast.Module]) -> dict[str, str]:
    """NAME = "text" at the top of a module, also several at once."""
    found = {}
    for node in (node for module in modules for node in module.body):
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            pairs = (
                zip(target.elts, value.elts, strict=True)
                if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
                else [(target, value)]
            )
            for name, text in pairs:
                if isinstance(name, ast.Name) and isinstance(text, ast.Constant) and isinstance(text.value, str):
                    found[name.id] = text.value
    return found


def subjects() -> Iterator[str]:
    """What the alerts in the code are about, as far as that is written there: of an f-string its first words."""
    modules = trees()
    known = constants(modules)

    def text(node: ast.expr) -> str:
        match node:
            case ast.Constant(value=str(value)):
                return value
            case ast.Name(id=name):
                return known.get(name, "")
            case ast.JoinedStr(values=[first, *rest]):
                inner = first.value if isinstance(first, ast.FormattedValue) else first
                begin = text(inner)
                return begin + text(rest[0]) if begin and rest and isinstance(rest[0], ast.Constant) else begin
            case _:
                return ""

    for call in (node for module in modules for node in ast.walk(module) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name in ("tell", "_tell") and len(call.args) == 5 and (found := text(call.args[1]).strip()):
            yield found


def test_every_alert_stands_on_the_page_with_what_to_do() -> None:
    told = set(subjects())
    assert {"broker", "disk", "configuration", "request", "scan of", "alert addresses"} <= told
    assert [subject for subject in sorted(told) if f"`{subject}" not in PAGE] == []

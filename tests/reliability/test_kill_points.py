"""A process that is really killed, at every place where that could hurt, and started again."""

from __future__ import annotations

import ast
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from autotrader import points
from autotrader.batch.files import set_aside, write_atomically
from autotrader.clock import SystemClock
from autotrader.journal.store import CorruptJournal, Journal, JournalError

from .chaos import Chaos, World
from .processes import FORK, Parent, uninterrupted

SEED = 25  # entries of both groups, four exits, three of them by rules that cancel a stop first
IN_A_DAY = ("journal.create", "journal.commit", "ballast.write", "broker.submit", "broker.cancel")
LATER = {"journal.commit": (1, 7, 25), "broker.submit": (1, 2, 5), "broker.cancel": (1, 2)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return uninterrupted(Chaos(SEED), tmp_path_factory.mktemp("whole"))


def test_the_day_is_worth_interrupting(whole: Any) -> None:
    assert len(whole["trades"]) >= 3


@pytest.mark.parametrize(
    ("point", "occurrence"),
    [(f"{what}.{when}", n) for what in IN_A_DAY for when in ("before", "after") for n in LATER.get(what, (1,))],
)
def test_killed_at_a_point_a_day_ends_as_if_nothing_had_happened(
    point: str, occurrence: int, whole: Any, tmp_path: Path
) -> None:
    parent = Parent(World(Chaos(SEED), tmp_path), (point, occurrence))
    assert parent.play() == whole
    assert parent.kills == 1


def test_killed_at_random_times_a_day_ends_as_if_nothing_had_happened(whole: Any, tmp_path: Path) -> None:
    parent = Parent(World(Chaos(SEED), tmp_path), at_random=0.3)
    assert parent.play() == whole
    assert parent.kills > 5


# --- what a trading day does not reach ---------------------------------------------------------------------------


def killed_at(point: str, act: Callable[[], object]) -> None:
    """Does something in a process of its own, which is killed at the point."""

    def run() -> None:
        points.set_hook(lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == point else None)
        act()

    process = FORK.Process(target=run)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL, f"{point} was not reached"


@pytest.mark.parametrize("point", ["file.write.before", "file.write.after", "file.rename.before", "file.rename.after"])
def test_a_file_is_the_old_one_or_the_new_one(point: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_atomically(path, b"old")
    killed_at(point, lambda: write_atomically(path, b"new" * 10_000))
    assert path.read_bytes() == (b"new" * 10_000 if point == "file.rename.after" else b"old")
    write_atomically(path, b"newer")
    assert path.read_bytes() == b"newer"


@pytest.mark.parametrize("point", ["file.set_aside.before", "file.set_aside.after"])
def test_a_file_that_is_set_aside_is_never_lost(point: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(b"torn")
    killed_at(point, lambda: set_aside(path))
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"torn"]


def corrupt_journal(path: Path) -> bytes:
    Journal.open(path, "A", initial_cash=1.0, clock=SystemClock()).close()
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    path.write_bytes(content)
    return bytes(content)


@pytest.mark.parametrize("point", ["journal.set_aside.before", "journal.set_aside.after"])
def test_a_corrupt_journal_is_kept_wherever_the_plug_is_pulled(point: str, tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    content = corrupt_journal(path)

    def act() -> None:
        try:
            Journal.open(path, "A", initial_cash=1.0)
        except CorruptJournal:
            os._exit(0)

    killed_at(point, act)
    with pytest.raises(JournalError, match="corrupt"):
        Journal.open(path, "A", initial_cash=1.0)
    assert not path.exists()
    assert (tmp_path / "journal.sqlite3.corrupt").read_bytes() == content


# --- the registry ------------------------------------------------------------------------------------------------

PACKAGE = Path(points.__file__).parent
TESTED = {f"{what}.{when}" for what in (*IN_A_DAY, "file.write", "file.rename", "journal.set_aside", "ballast.free",
                                        "file.set_aside") for when in ("before", "after")}  # fmt: skip


def test_every_point_is_one_that_is_tested() -> None:
    assert set(points.POINTS) == TESTED


def lasting(node: ast.Call) -> bool:
    """Whether a call does something that outlasts the process: a commit, a name for a file, a request to the broker."""
    function = node.func
    if not isinstance(function, ast.Attribute):
        return False
    if any(isinstance(arg, ast.Constant) and arg.value == "COMMIT" for arg in node.args):
        return True
    owner = ast.unparse(function.value)
    if function.attr in {"submit", "cancel"}:
        return owner.endswith("_broker")
    if owner == "os":
        return function.attr in {"link", "replace", "rename", "posix_fallocate"}
    return function.attr in {"replace", "rename"} and len(node.args) == 1 and not node.keywords  # of a Path


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for part in ("journal", "batch", "execution", "service"):
        for path in sorted((PACKAGE / part).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef):
                    yield f"{path.relative_to(PACKAGE)}:{node.name}", node


def test_whatever_lasts_stands_between_two_points() -> None:
    bare, found = [], 0
    for name, function in functions():
        calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
        marks = [(node.lineno, node.args[0].value) for node in calls
                 if isinstance(node.func, ast.Name) and node.func.id == "reached"
                 and isinstance(node.args[0], ast.Constant)]  # fmt: skip
        for call in filter(lasting, calls):
            found += 1
            before = [text for line, text in marks if line < call.lineno and str(text).endswith(".before")]
            after = [text for line, text in marks if line > call.lineno and str(text).endswith(".after")]
            if not before or not after:
                bare.append(f"{name}, line {call.lineno}: {ast.unparse(call)}")
    assert not bare, "give these a kill point before and after (autotrader/points.py):\n" + "\n".join(bare)
    assert found >= 8

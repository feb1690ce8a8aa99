"""A disk that is really full: a file system of a few megabytes, mounted where nobody else sees it, and filled."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SIZE = "12m"


def apart(command: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a shell command in a mount namespace of its own."""
    return subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", command, "sh", *arguments], capture_output=True,
        text=True, timeout=240, check=False, cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


@pytest.mark.slow
def test_a_full_disk_stops_entries_lets_exits_go_on_and_loses_nothing(tmp_path: Path) -> None:
    """No entries, exits from the ballast, an alert; back by itself when there is room: see full_disk."""
    (tmp_path / "data").mkdir()
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare(1) to mount a small disk with")
    mount = f'mount -t tmpfs -o size={SIZE} tmpfs "$1/data"'
    tried = apart(mount, tmp_path)
    if tried.returncode != 0:
        pytest.skip(f"this machine lets nobody mount a small disk: {tried.stderr.strip()}")
    ran = apart(f'{mount} && exec "$2" -m tests.service.full_disk "$1"', tmp_path, sys.executable)
    assert ran.returncode == 0, ran.stderr

"""`autotrader init DIR`: a deployment that works as it is laid out."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from autotrader.service.deployment import PORT, lay_out, unit
from autotrader.validation.load import PACKAGED_CONFIG, load_configuration

from .conftest import Run


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_fresh_deployment_is_valid_and_its_cases_pass(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "srv" / "autotrader"
    ran = run("init", home)
    assert ran.code == 0
    assert f"wrote {home}/config/" in ran.out
    assert "autotrader notify --test" in ran.err
    assert run("validate", "--home", home).code == 0
    tested = run("test", "--home", home)
    assert tested.code == 0
    assert "0 failed" in tested.out
    assert run("schema", "--check", "--home", home).code == 0
    assert run("pause", "--home", home).code == 0


def test_what_would_run_as_root_is_said(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for user, said in (("root", True), ("trader", False)):
        monkeypatch.setattr("getpass.getuser", lambda user=user: user)
        assert ("would run as root" in run("init", tmp_path / user).err) is said


def test_it_has_what_the_packaged_configuration_has_and_a_port_to_be_watched_at(tmp_path: Path) -> None:
    lay_out(tmp_path / "home", "trader")
    made, packaged = files(tmp_path / "home" / "config"), files(PACKAGED_CONFIG)
    assert made.keys() == packaged.keys() | {".env"}
    assert [name for name in packaged if made[name] != packaged[name]] == ["default.yaml"]
    configuration = load_configuration(tmp_path / "home" / "config").configuration
    assert configuration is not None
    assert configuration.settings.system.watch.port == PORT


def test_secrets_and_state_are_for_the_owner_alone_and_not_for_version_control(tmp_path: Path) -> None:
    home = lay_out(tmp_path / "home", "trader").home
    assert stat.S_IMODE((home / "config" / ".env").stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "data").stat().st_mode) == 0o700
    secrets = (home / "config" / ".env").read_text()
    assert {"#APCA_API_KEY_ID=", "#APCA_API_SECRET_KEY="} <= set(secrets.splitlines())
    assert [line for line in secrets.splitlines() if line and not line.startswith("#")] == []
    assert {"config/.env", "data/"} <= set((home / ".gitignore").read_text().splitlines())


@pytest.mark.parametrize("name", ["config/x", "data/x", ".gitignore", "autotrader.service"])
def test_nothing_is_overwritten_and_nothing_is_half_done(run: Run, tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    (home / name).parent.mkdir(parents=True)
    (home / name).write_text("mine")
    before = files(home)
    ran = run("init", home)
    assert ran.code == 1
    assert "is there already" in ran.err
    assert files(home) == before
    assert sorted(path.name for path in home.iterdir()) == [name.split("/", maxsplit=1)[0]]


def test_a_folder_with_other_things_in_it_is_fine(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    lay_out(tmp_path, "trader")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = run("init", tmp_path / "file" / "home")
    assert ran.code == 1
    assert "cannot be written" in ran.err


def test_the_unit_restarts_for_ever_and_may_write_its_data_only(tmp_path: Path) -> None:
    home = lay_out(tmp_path / "home", "trader").home
    lines = (home / "autotrader.service").read_text().splitlines()
    assert {"Restart=always", "StartLimitIntervalSec=0", "User=trader", f"WorkingDirectory={home}",
            f"ReadWritePaths={home}/data", "ProtectSystem=strict", "NoNewPrivileges=yes"} <= set(lines)  # fmt: skip
    (start,) = [line for line in lines if line.startswith("ExecStart=")]
    assert start.endswith(f"autotrader run --home {home}")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize("name", ["plain", "with space", "100% it's"])
def test_systemd_accepts_the_unit_whatever_the_folder_is_called(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    home.mkdir()
    command = tmp_path / "with space" / "autotrader"
    command.parent.mkdir(exist_ok=True)
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    (home / "data").mkdir()
    file = tmp_path / "autotrader.service"
    file.write_text(unit(home, command, "root"))
    done = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "autotrader.service" in done.stderr) == (0, False), done.stderr

"""A deployment folder: what `autotrader init` lays out."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from autotrader.errors import AutotraderError
from autotrader.settings import SystemSettings
from autotrader.validation.load import PACKAGED_CONFIG, SYSTEM_FILE

PORT = 8642  # of /health and /status in a new deployment

_ENV = """\
# Secrets of this deployment. Readable by its owner alone (chmod 600), never in version control, never in YAML.
# What stands in the environment goes before what stands here.

# The broker's keys; those of a paper account unless live trading is switched on.
#APCA_API_KEY_ID=
#APCA_API_SECRET_KEY=

# Where alerts go: apprise URLs, separated by blanks (https://github.com/caronc/apprise/wiki).
#{alerts}="mailto://user:password@example.com tgram://token/chat"

# An outside monitor that is asked for while all is well, and raises an alarm when that stops.
#{heartbeat}=https://example.com/ping/your-id
"""

_IGNORE = """\
# Secrets and state stay on this machine.
config/.env
data/
"""

_UNIT = """\
# Install: sudo cp autotrader.service /etc/systemd/system/ && sudo systemctl daemon-reload
#          sudo systemctl enable --now autotrader
[Unit]
Description=autotrader in {home}
Wants=network-online.target
After=network-online.target time-sync.target
# It is safe to kill and recovers by starting: never give up.
StartLimitIntervalSec=0

[Service]
Type=simple
User={user}
WorkingDirectory={home}
ExecStart={program} run --home {quoted}
ExecReload=/bin/kill -HUP $MAINPID
KillSignal=SIGTERM
TimeoutStopSec=60
Restart=always
RestartSec=5

# It needs its own folder and the network, nothing else.
UMask=0077
ReadWritePaths={escaped}
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
"""


class InitError(AutotraderError):
    """The folder cannot be laid out; nothing was written. One sentence that says why."""


@dataclass(frozen=True, slots=True)
class Laid:
    """What was laid out. home: the folder, absolute."""

    home: Path
    written: tuple[Path, ...]


def lay_out(folder: Path, user: str) -> Laid:
    """Makes a deployment in a folder, which may exist. InitError where anything of it is there already.

    user: whom the service runs as.
    """
    home = folder.absolute()
    if any(ord(sign) < 32 for sign in str(home)):
        raise InitError(f"{str(home)!r} has a control character in its name; take another folder")
    texts = {
        home / "config" / ".env": _environment(),
        home / ".gitignore": _IGNORE,
        home / "autotrader.service": unit(home, program(), user),
    }
    there = [path for path in (home / "config", home / "data", *texts) if path.exists() or path.is_symlink()]
    if there:
        raise InitError(f"{there[0]} is there already: nothing is overwritten, and nothing was written")
    try:
        home.mkdir(parents=True, exist_ok=True)
        shutil.copytree(PACKAGED_CONFIG, home / "config", ignore=shutil.ignore_patterns(".*", "*.bad"))
        _watched(home / "config" / SYSTEM_FILE)
        (home / "data").mkdir(mode=0o700)
        for path, text in texts.items():
            path.touch(mode=0o600 if path.name == ".env" else 0o644)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InitError(f"{error.filename or home} cannot be written: {error.strerror}") from error
    return Laid(home, (home / "config", home / "data", *texts))


def program() -> Path:
    """The installed command beside this interpreter."""
    return Path(sys.executable).with_name("autotrader").absolute()


def unit(home: Path, command: Path, user: str) -> str:
    """The systemd unit of a deployment."""
    escaped = _escaped(home)
    return _UNIT.format(
        home=str(home).replace("%", "%%"), user=user, program=_quoted(command), quoted=_quoted(home), escaped=escaped
    )


def _environment() -> str:
    settings = SystemSettings()
    return _ENV.format(alerts=settings.alerts.urls_env, heartbeat=settings.watch.heartbeat_env)


def _watched(path: Path) -> None:
    """A deployment is watched: the packaged default, which tests and demos run by, opens no port."""
    text = path.read_text(encoding="utf-8")
    before, after = "  port: null ", f"  port: {PORT} "
    if text.count(before) != 1:
        raise InitError(f"the packaged {path.name} has no line {before.strip()!r}; the installation is damaged")
    path.write_text(text.replace(before, after), encoding="utf-8")


def _quoted(path: Path) -> str:
    """A word of a command line in a unit file."""
    text = str(path).replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{text}"' if any(sign in text for sign in " \t'\"\\;") else text


def _escaped(path: Path) -> str:
    """A path in a list of paths in a unit file."""
    text = str(path / "data").replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"' if any(sign in text for sign in " \t'\"\\") else text

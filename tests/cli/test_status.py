"""The screen of `autotrader status`, as an operator sees it on a terminal of 100 columns."""

from __future__ import annotations

import shutil
from datetime import date, datetime
from pathlib import Path

import pytest
from days import configuration
from rich.console import Console

from autotrader.clock import NEW_YORK, SystemClock
from autotrader.core import events as ev
from autotrader.journal.store import DecisionRecord, Journal
from autotrader.service.demo import ACCOUNT
from autotrader.service.deployment import lay_out
from autotrader.service.inbox import Inbox, Resume, new_request
from autotrader.service.presence import Heartbeat, ServiceLock

from .conftest import Run

TUESDAY, WEDNESDAY = date(2026, 11, 24), date(2026, 11, 25)
GOLDEN = Path(__file__).with_name("golden") / "status.txt"


def at(hour: int, minute: int = 0, day: date = WEDNESDAY) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=NEW_YORK)


def story() -> list[ev.Event]:
    """A day until 11:07 on which much has happened."""
    plan = ev.EntryPlan("MOO", 1, 0.5, "Energy", "TREND", 2.0, 100.0, 100.0, 5.0, configuration().settings.config_hash)
    held = (
        ("AAPL", 100, 187.2, "rsi_mean_reversion", "long"), ("NVDA", 20, 540.0, "overbought_short", "short"),
        ("GOOGL", 46, 131.1, "rsi_mean_reversion", "long"),
    )  # fmt: skip
    entries: list[ev.Event] = []
    for symbol, quantity, price, strategy, side in held:
        name = f"{symbol}-in"
        entries.append(ev.Ordered(at(9, 30), WEDNESDAY, name, symbol, strategy, side, "entry", quantity, plan))  # type: ignore[arg-type]
        entries.append(ev.Filled(at(9, 30), WEDNESDAY, name, quantity, price, quantity))
    digest = "sha256:3fa9c1d2aa"
    return [
        ev.SessionOpened(at(9, 20, TUESDAY), TUESDAY, 1),
        ev.SessionClosed(at(16, 0, TUESDAY), TUESDAY, 101_000.0),
        ev.StageDone(at(20, 1, TUESDAY), TUESDAY, "scan", "12 candidates", "done", f"2026-11-24.json {digest}"),
        ev.SessionOpened(at(9, 25), WEDNESDAY, 2),
        ev.StageFailed(at(9, 25), WEDNESDAY, "gap_filter", 1, "no quotes in 30 s"),
        ev.StageDone(at(9, 27), WEDNESDAY, "gap_filter", "11 of 12 pass", "late", f"2026-11-24_filtered.json {digest}"),
        *entries,
        ev.StageDone(at(9, 30), WEDNESDAY, "enter:moo", "3 entries"),
        ev.Ordered(at(9, 32), WEDNESDAY, "AAPL-stop", "AAPL", "rsi_mean_reversion", "long", "stop", 100, None, "p", "p",
                   "gtc", 163.8),
        ev.Paused(at(9, 40), WEDNESDAY, "ana", "earnings"),
        ev.Asked(at(9, 40), WEDNESDAY, "r-1", "ana", "pause", "earnings", True, "entries are off"),
        ev.StageDone(at(9, 45), WEDNESDAY, "enter:confirmation", "paused by ana: earnings", "skipped"),
        ev.Ordered(at(11, 2), WEDNESDAY, "NVDA-out", "NVDA", "overbought_short", "short", "exit", 20, None,
                   "stop_loss", "stop_loss"),
        ev.Ordered(at(11, 2), WEDNESDAY, "GOOGL-out", "GOOGL", "rsi_mean_reversion", "long", "exit", 46, None,
                   "take_profit", "rsi_target"),
        ev.Filled(at(11, 2), WEDNESDAY, "GOOGL-out", 46, 135.0, 46),
        ev.Alerted(at(11, 3), WEDNESDAY, "critical", "NVDA", "the exit of 20 [NVDA] was refused: halted",
                   "it is tried again", "see why; close it at the broker by hand if it does not pass"),
        ev.Difference(at(11, 5), WEDNESDAY, "position", "AAPL", "100 shares", "60 shares"),
    ]  # fmt: skip


def write(home: Path, account: str = "PA3XYZ") -> None:
    settings = configuration().settings
    with Journal.open(home / "data" / "journal.sqlite3", account, initial_cash=100_000.0) as journal:
        journal.store_config(settings.config_hash, settings.params, settings.system)
        for event in story():
            journal.append(event)
        journal.record(DecisionRecord(at(11, 1), WEDNESDAY, "exit", "AAPL", "rsi_mean_reversion", "hold", None, "hold",
                                      settings.config_hash, {"price": 186.0}))  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(SystemClock, "now", lambda self: at(11, 7))
    import autotrader.cli.app  # first: it imports the commands, which import from it

    monkeypatch.setattr(autotrader.cli.status, "wide", lambda: Console(width=100, highlight=False))
    made = lay_out(tmp_path / "home", "trader").home
    write(made)
    return made


def without_what_varies(text: str) -> str:
    lines = [line.rstrip() for line in text.splitlines()]
    return "\n".join(line for line in lines if not line.startswith(("journal:", "service ", "/"))) + "\n"


def test_the_screen_says_what_needs_somebody_what_happened_what_is_held_and_what_comes(run: Run, home: Path) -> None:
    lock = ServiceLock(home / "data")
    lock.take(at(9))
    Heartbeat(home / "data").beat()
    Inbox(home / "data").put(new_request(Resume(reset_drawdown=True), at(11, 6), by="bob"))
    ran = run("status", "--home", home)
    lock.release()
    assert ran.code == 0
    assert "since 2026-11-25 09:00, last heartbeat 0 s ago" in ran.out
    assert without_what_varies(ran.out) == GOLDEN.read_text(encoding="utf-8")
    assert max(map(len, ran.out.splitlines())) <= 100


def test_without_a_service_it_needs_somebody(run: Run, home: Path) -> None:
    ran = run("status", "--home", home)
    assert ran.out.startswith("needs you")
    assert "no service runs: start it" in ran.out


def test_of_a_demo_no_service_is_expected(run: Run, tmp_path: Path, home: Path) -> None:
    demo = lay_out(tmp_path / "demo", "trader").home
    write(demo, ACCOUNT)
    assert "no service runs" not in run("status", "--home", demo).out


def test_a_configuration_that_is_being_edited_hides_nothing_but_the_times(run: Run, home: Path) -> None:
    (home / "config" / "strategy_params.yaml").write_text("version: [\n")
    ran = run("status", "--home", home)
    assert ran.code == 0
    assert "the configuration has errors: run `autotrader validate`" in ran.out.replace("\n    ", " ")
    assert "AAPL    long      100" in ran.out


def test_an_edit_waits_for_the_next_scan_and_until_then_the_times_are_those_in_effect(run: Run, home: Path) -> None:
    file = home / "config" / "strategy_params.yaml"
    (home / "data" / "config_in_effect").mkdir()
    shutil.copy(file, home / "data" / "config_in_effect")
    assert "edited" not in run("status", "--home", home).out
    file.write_text(file.read_text().replace('scan_time: "20:00"', 'scan_time: "21:00"'))
    shown = run("status", "--home", home).out
    assert "config       edited; it takes effect at the next scan, if it has no errors" in shown
    assert "Wed 2026-11-25 20:00  scan" in shown
    file.write_text("version: [\n")
    shown = run("status", "--home", home).out
    assert "the configuration has errors" in shown
    assert "Wed 2026-11-25 20:00  scan" in shown

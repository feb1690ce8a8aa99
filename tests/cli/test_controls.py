"""`autotrader pause | resume | flatten | adopt-config | reconcile | notify`: what is asked for, and what is said."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from days import configuration

from autotrader.core import events as ev
from autotrader.journal.store import Journal
from autotrader.service.inbox import Accept, AdoptConfig, Flatten, Hands, Inbox, LetStand, Pause, Request, Resume, take
from autotrader.service.presence import ServiceLock
from autotrader.settings import SystemSettings
from autotrader.validation.load import PACKAGED_CONFIG, PARAMS_FILE

from .conftest import Run

AT = datetime(2024, 7, 1, 14, 0, tzinfo=UTC)
DAY = date(2024, 7, 1)


def write(folder: Path, *more: ev.Event) -> Path:
    """A deployment that holds 100 A, under the packaged configuration."""
    settings = configuration().settings
    plan = ev.EntryPlan("MOO", 1, 0.5, None, "TREND", 2.0, 100.0, 100.0, 5.0, settings.config_hash)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    with Journal.open(folder / "data" / "journal.sqlite3", "T", initial_cash=100_000.0) as journal:
        journal.store_config(settings.config_hash, settings.params, SystemSettings())
        for event in (
            ev.SessionOpened(AT, DAY, 1),
            ev.Ordered(AT, DAY, "in", "A", "rsi_mean_reversion", "long", "entry", 100, plan),
            ev.Filled(AT, DAY, "in", 100, 100.0, 100),
            *more,
        ):
            journal.append(event)
    return folder


def requests(folder: Path) -> list[Request]:
    found, damaged = Inbox(folder / "data").waiting()
    assert not damaged
    return found


@contextmanager
def service(folder: Path, *, takes: bool = True) -> Iterator[None]:
    """A service's lock, and its loop as far as people's requests go."""
    lock = ServiceLock(folder / "data")
    lock.take(AT)
    stop = threading.Event()

    def loop() -> None:
        journal = Journal.open(folder / "data" / "journal.sqlite3", "T", initial_cash=1.0)
        book = journal.book()

        def keep(event: ev.Event) -> None:
            journal.append(event)
            book.apply(event)

        hands = Hands(keep, journal.commit, lambda _: None, lambda: None, lambda _: None)
        while takes and not stop.is_set():
            take(Inbox(folder / "data"), book, hands, datetime.now(UTC), DAY, lambda *_: None)
            time.sleep(0.02)
        journal.close()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        lock.release()


def test_where_no_service_runs_the_request_waits_and_it_is_said_until_when(run: Run, tmp_path: Path) -> None:
    home = write(tmp_path / "home")
    ran = run("pause", "--reason", "earnings week", "--home", home)
    assert ran.code == 0
    assert "No service runs" in ran.err
    assert "honoured as soon as one starts" in ran.err
    (request,) = requests(home)
    assert (request.what, request.reason) == (Pause(), "earnings week")


def test_a_pause_may_be_asked_for_before_anything_has_run(run: Run, tmp_path: Path) -> None:
    assert run("pause", "--home", tmp_path).code == 0
    assert len(requests(tmp_path)) == 1


def test_a_running_service_takes_it_and_what_came_of_it_is_said(run: Run, tmp_path: Path) -> None:
    home = write(tmp_path / "home")
    with service(home):
        ran = run("pause", "--reason", "news", "--home", home)
        assert (ran.code, ran.err.splitlines()[-1]) == (0, "done: entries are off")
        ran = run("resume", "--reset-drawdown", "--home", home)
        assert "entries are allowed again; the drawdown starts again" in ran.err
        ran = run("flatten", "--yes", "--home", home)
        assert "done: entries are off; 1 position to be left" in ran.err
    assert requests(home) == []


def test_a_service_that_does_not_take_it_in_time_is_said(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autotrader.cli.controls._PATIENCE", 0.1)
    home = write(tmp_path / "home")
    with service(home, takes=False):
        ran = run("resume", "--home", home)
    assert ran.code == 0
    assert "not been taken yet" in ran.err
    assert [request.what for request in requests(home)] == [Resume()]


def test_a_refusal_of_the_service_is_the_commands(run: Run, tmp_path: Path) -> None:
    home = write(tmp_path / "home")
    edit(home, ("max_hold_days: 5         # sessions", "max_hold_days: 4         # sessions"))
    with service(home):
        ran = run("adopt-config", "--yes", "--home", home)  # this service finds no configuration at all
    assert ran.code == 1
    assert "refused it: the configuration is no longer the one that was shown" in ran.err


def test_without_a_terminal_a_question_names_its_way_out(tmp_path: Path) -> None:
    home = write(tmp_path / "home")
    program = Path(sys.executable).with_name("autotrader")
    ran = subprocess.run([program, "flatten", "--home", home], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                         timeout=60, check=False)  # fmt: skip
    assert ran.returncode == 1
    assert "without a terminal, give --yes" in ran.stderr
    assert requests(home) == []


def test_flatten_asks_first_and_names_what_is_held(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = write(tmp_path / "home")
    monkeypatch.setattr("typer.confirm", lambda question, err: "1 positions (A)" not in question)
    ran = run("flatten", "--home", home)
    assert ran.code == 1
    assert "nothing was asked" in ran.err
    assert requests(home) == []
    monkeypatch.setattr("typer.confirm", lambda question, err: True)
    assert run("flatten", "--home", home).code == 0
    assert [request.what for request in requests(home)] == [Flatten()]


# --- adopt-config -------------------------------------------------------------------------------------------------


def edit(home: Path, *edits: tuple[str, str]) -> None:
    text = (PACKAGED_CONFIG / PARAMS_FILE).read_text()
    for old, new in edits:
        assert text.count(old) == 1
        text = text.replace(old, new)
    (home / "config").mkdir(exist_ok=True)
    (home / "config" / PARAMS_FILE).write_text(text)


def test_adopting_shows_what_changes_for_each_position_and_then_asks_for_exactly_that(run: Run, tmp_path: Path) -> None:
    home = write(tmp_path / "home")
    tighter = ("sl_atr_mult: 2.5         # stop distance, in ATRs at entry", "sl_atr_mult: 1.5")
    edit(home, tighter, ("for_bars: 2, then: exit", "for_bars: 3, then: exit"))
    ran = run("adopt-config", "--yes", "--home", home)
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "A",
        "  stop distance: 5.00 -> 3.00",
        "  stop: 95.00 -> 97.00",
        "  target: 106.00",
        "  stop at the broker: 87.50",
        "  most days held: 5",
        "  ~ rule emergency_stop: loss_pct >= emergency_stop_pct for 2 bars: exit  ->  "
        "loss_pct >= emergency_stop_pct for 3 bars: exit",
        "  ~ sl_atr_mult: 2.5  ->  1.5",
    ]
    (request,) = requests(home)
    expected = configuration(tighter, ("for_bars: 2, then: exit", "for_bars: 3, then: exit")).settings.config_hash
    assert request.what == AdoptConfig(config_hash=expected, symbols=("A",))


def test_adopting_what_is_in_use_already_asks_for_nothing(run: Run, tmp_path: Path) -> None:
    home = write(tmp_path / "home")
    edit(home)
    ran = run("adopt-config", "a", "--yes", "--home", home)
    assert ran.code == 0
    assert "nothing changes" in ran.out
    assert requests(home) == []


def test_adopting_for_what_is_not_held_or_cannot_be_is_a_mistake(run: Run, tmp_path: Path) -> None:
    home = write(tmp_path / "home")
    edit(home)
    ran = run("adopt-config", "ZZ", "--yes", "--home", home)
    assert (ran.code, ran.err.strip()) == (1, "autotrader: ZZ: not held; held is A")
    text = (home / "config" / PARAMS_FILE).read_text()
    text = text.replace("rsi_mean_reversion", "mean_reversion").replace(
        "  mean_reversion:\n    signal:", "  mean_reversion:\n    plugin: rsi_mean_reversion\n    signal:"
    )
    (home / "config" / PARAMS_FILE).write_text(text)
    ran = run("adopt-config", "--yes", "--home", home)
    assert ran.code == 1
    assert "A cannot adopt it: the configuration does not have its strategy rsi_mean_reversion" in ran.err
    assert requests(home) == []


def test_a_configuration_with_mistakes_is_shown_and_not_adopted(run: Run, tmp_path: Path) -> None:
    home = write(tmp_path / "home")
    edit(home, ("days_held == 0", "dayz_held == 0"))
    ran = run("adopt-config", "--yes", "--home", home)
    assert ran.code == 1
    assert "dayz_held" in ran.err
    assert requests(home) == []


# --- reconcile ----------------------------------------------------------------------------------------------------

MISSING = ev.Difference(AT, DAY, "position", "A", "100 shares", "0 shares")
FOREIGN = ev.Difference(AT, DAY, "order", "x-1", "not in the journal", "buy 5 B")


def test_differences_are_shown_with_what_may_be_done(run: Run, tmp_path: Path) -> None:
    home = write(tmp_path / "home", MISSING, FOREIGN)
    ran = run("reconcile", "--home", home)
    assert ran.code == 0
    assert "position A: the journal says 100 shares, the broker 0 shares" in ran.out
    assert "--accept SYMBOL --price P" in ran.out
    rows = json.loads(run("reconcile", "--json", "--home", home).out)
    assert [(row["kind"], row["subject"], row["found"]) for row in rows] == [
        ("order", "x-1", "buy 5 B"), ("position", "A", "0 shares")
    ]  # fmt: skip


def test_without_differences_both_agree(run: Run, tmp_path: Path) -> None:
    home = write(tmp_path / "home")
    assert "agree" in run("reconcile", "--home", home).out
    ran = run("reconcile", "--accept", "A", "--price", "1", "--home", home)
    assert (ran.code, ran.err) == (
        1, "autotrader: there is no difference about the position A; there are none\n"
    )  # fmt: skip


def test_a_word_about_a_difference_holds_for_what_was_seen(run: Run, tmp_path: Path) -> None:
    home = write(tmp_path / "home", MISSING, FOREIGN)
    assert run("reconcile", "--accept", "a", "--price", "95.5", "--home", home).code == 0
    assert run("reconcile", "--let-stand", "x-1", "--reason", "mine", "--home", home).code == 0
    assert [request.what for request in requests(home)] == [
        Accept(subject="A", found="0 shares", price=95.5), LetStand(of="order", subject="x-1", found="buy 5 B")
    ]  # fmt: skip
    with service(home):
        while requests(home):
            time.sleep(0.02)
    with Journal.read(home / "data" / "journal.sqlite3") as journal:
        book = journal.book()
    assert not book.differences
    assert not book.positions
    assert book.trades[0].exit_price == 95.5


@pytest.mark.parametrize("options", [["--accept", "A"], ["--price", "5"], ["--accept", "A", "--let-stand", "A"]])
def test_half_a_word_is_a_matter_of_usage(run: Run, tmp_path: Path, options: list[str]) -> None:
    home = write(tmp_path / "home", MISSING)
    assert run("reconcile", *options, "--home", home).code == 2
    assert requests(home) == []


# --- notify -------------------------------------------------------------------------------------------------------


@pytest.fixture
def urls(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("AUTOTRADER_ALERT_URLS", raising=False)
    return monkeypatch


def test_without_addresses_it_is_said_where_they_go(run: Run, tmp_path: Path, urls: pytest.MonkeyPatch) -> None:
    ran = run("notify", "--test", "--home", tmp_path)
    assert ran.code == 1
    assert "AUTOTRADER_ALERT_URLS" in ran.err
    assert str(tmp_path / "config" / ".env") in ran.err


def test_a_test_says_of_each_address_whether_it_took_it(run: Run, tmp_path: Path, urls: pytest.MonkeyPatch) -> None:
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        good = f"json://127.0.0.1:{server.server_address[1]}/secret"
        urls.setenv("AUTOTRADER_ALERT_URLS", good)
        ran = run("notify", "--test", "--home", tmp_path)
        assert (ran.code, ran.out) == (0, "json #1: taken\n")
        urls.setenv("AUTOTRADER_ALERT_URLS", f"{good} json://127.0.0.1:9/secret")
        ran = run("notify", "--test", "--home", tmp_path)
        assert (ran.code, ran.out) == (1, "json #1: taken\njson #2: NOT taken\n")
        assert "secret" not in ran.err
        ran = run("notify", "--home", tmp_path)
        assert "go to json #1, json #2" in ran.out
        server.shutdown()
        thread.join()

"""Alerts: said once, counted after that, journaled and logged whatever happens to the network."""

from __future__ import annotations

import http.server
import json
import logging
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from autotrader.clock import VirtualClock
from autotrader.core import events as ev
from autotrader.journal.store import JournalError
from autotrader.secrets import remember
from autotrader.service.alerts import Address, AlertError, Alerts, AppriseSender, Message, addresses, connect
from autotrader.settings import Alerts as Settings

AT = datetime(2024, 7, 1, 14, 0, tzinfo=UTC)
SUBJECT = ("critical", "A", "the exit was refused", "it is tried again", "look at the broker")


class Noted:
    """A sender that keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    def send(self, message: Message) -> None:
        self.sent.append(message)

    def close(self, timeout_seconds: float) -> None:
        pass


class World:
    def __init__(self, **options: Any) -> None:
        self.clock = VirtualClock(AT)
        self.kept: list[ev.Alerted] = []
        self.sender = Noted()
        self.alerts = Alerts(self.kept.append, self.clock, self.sender, **options)

    def pass_minutes(self, minutes: float) -> None:
        self.clock.advance_to(self.clock.now() + timedelta(minutes=minutes))


def test_an_alert_is_journaled_logged_and_sent_with_what_happened_was_done_and_is_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    with caplog.at_level(logging.INFO):
        world.alerts.tell(*SUBJECT)
    (event,) = world.kept
    assert (event.at, event.session.isoformat(), event.subject) == (AT, "2024-07-01", "A")
    assert (event.happened, event.done, event.todo) == SUBJECT[2:]
    (message,) = world.sender.sent
    assert message.title == "autotrader critical: A"
    assert message.body.splitlines() == [
        "Happened: the exit was refused", "Done: it is tried again", "To do: look at the broker",
        "2024-07-01 10:00:00 New York",
    ]  # fmt: skip
    assert "A: the exit was refused; it is tried again; to do: look at the broker" in caplog.text


def test_the_same_trouble_is_told_once_then_counted_and_told_again_after_its_time() -> None:
    world = World(repeat=timedelta(minutes=30))
    for _ in range(5):
        world.alerts.tell(*SUBJECT)
        world.pass_minutes(2)
    assert len(world.kept) == len(world.sender.sent) == 1
    world.alerts.tick()
    assert len(world.sender.sent) == 1
    world.pass_minutes(20)
    world.alerts.tell(*SUBJECT)
    assert len(world.kept) == len(world.sender.sent) == 2
    assert "(again, 4 times more since 10:00)" in world.sender.sent[1].body


def test_what_was_counted_is_told_when_its_time_is_over_though_it_does_not_happen_again() -> None:
    world = World(repeat=timedelta(minutes=30))
    world.alerts.tell(*SUBJECT)
    world.alerts.tell("critical", "A", "the exit was refused a second time", "", "")
    world.pass_minutes(31)
    world.alerts.tick()
    assert "Happened: the exit was refused a second time\n" in world.sender.sent[1].body
    world.pass_minutes(31)
    world.alerts.tick()
    assert len(world.sender.sent) == 2


def test_another_subject_a_worse_one_and_one_that_was_over_are_told_at_once() -> None:
    world = World()
    world.alerts.tell("warning", "A", "late", "", "")
    world.alerts.tell("warning", "B", "late", "", "")
    world.alerts.tell("critical", "A", "lost", "", "")
    world.alerts.tell("warning", "A", "late", "", "")
    assert [message.severity for message in world.sender.sent] == ["warning", "warning", "critical"]
    world.alerts.over("A")
    world.alerts.tell("warning", "A", "late", "", "")
    assert len(world.sender.sent) == 4


def test_what_is_less_than_the_least_severity_is_journaled_and_not_sent() -> None:
    world = World(least="warning")
    world.alerts.tell("info", "A", "a", "b", "")
    world.alerts.tell("warning", "B", "a", "b", "")
    assert len(world.kept) == 2
    assert len(world.sender.sent) == 1


def test_a_restart_does_not_tell_again_what_was_told_a_moment_ago() -> None:
    recent = [ev.Alerted(AT - timedelta(minutes=5), AT.date(), *SUBJECT)]  # type: ignore[arg-type]
    world = World(recent=recent)
    world.alerts.tell(*SUBJECT)
    assert world.kept == []
    world.pass_minutes(60)
    world.alerts.tell(*SUBJECT)
    assert len(world.kept) == 1


def test_an_alert_that_cannot_be_journaled_is_sent_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    def full(_: ev.Alerted) -> None:
        raise JournalError("disk full")

    sender = Noted()
    Alerts(full, VirtualClock(AT), sender).tell(*SUBJECT)
    assert len(sender.sent) == 1
    assert "disk full" in caplog.text


def test_no_secret_leaves_by_an_alert(caplog: pytest.LogCaptureFixture) -> None:
    remember("k3y-of-the-broker")
    world = World()
    world.alerts.tell("critical", "broker", "401 for ?key=k3y-of-the-broker", "asked again with k3y-of-the-broker", "")
    assert "k3y" not in str(world.kept) + str(world.sender.sent) + caplog.text


# --- sending ------------------------------------------------------------------------------------------------------


class Listener(http.server.ThreadingHTTPServer):
    """Takes apprise's JSON; fails the first requests where it is told to, or answers late."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[dict[str, Any]] = []
        self.fail = 0
        self.delay = threading.Event()
        self.delay.set()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Listener)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.delay.wait(5)
        server.fail -= 1
        if server.fail < 0:
            server.got.append(json.loads(body))
        self.send_response(200 if server.fail < 0 else 500)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.delay.set()
        server.shutdown()
        thread.join()


def url(listener: Listener) -> str:
    return f"json://127.0.0.1:{listener.server_address[1]}/secret-path"


def message(title: str = "t") -> Message:
    return Message("warning", title, "b")


def test_messages_arrive_in_order_at_every_address(listener: Listener) -> None:
    sender = AppriseSender(addresses(f"{url(listener)} {url(listener)}"))
    sender.send(message("one"))
    sender.send(message("two"))
    sender.close(5)
    assert [got["title"] for got in listener.got] == ["one", "one", "two", "two"]
    assert (listener.got[0]["message"], listener.got[0]["type"]) == ("b", "warning")


def test_what_did_not_arrive_is_sent_again(listener: Listener) -> None:
    listener.fail = 2
    sender = AppriseSender(addresses(url(listener)), retry_seconds=(0.01, 0.01))
    sender.send(message())
    while not listener.got:
        time.sleep(0.01)
    sender.close(5)
    assert len(listener.got) == 1


def test_what_never_arrives_is_logged_without_the_address(listener: Listener, caplog: pytest.LogCaptureFixture) -> None:
    listener.fail = 99
    sender = AppriseSender(addresses(url(listener)), retry_seconds=(0.01,))
    sender.send(message())
    sender.close(5)
    assert "was not delivered to json #1" in caplog.text
    assert "secret-path" not in caplog.text


def test_a_slow_address_blocks_nobody_and_a_full_queue_is_said(
    listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    listener.delay.clear()
    sender = AppriseSender(addresses(url(listener)), size=2, retry_seconds=())
    began = time.monotonic()
    for _ in range(10):
        sender.send(message())
    assert time.monotonic() - began < 1.0
    assert "2 alerts wait to be sent already" in caplog.text
    sender.close(0.05)
    assert "given up" in caplog.text


def test_an_address_that_hangs_is_left_after_its_time(listener: Listener) -> None:
    listener.delay.clear()
    (address,) = addresses(url(listener), timeout_seconds=0.2)
    began = time.monotonic()
    assert not address.deliver(message())
    assert time.monotonic() - began < 3.0


def test_a_plugin_that_raises_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    class Target:
        calls = 0

        def notify(self, **_: Any) -> bool:
            self.calls += 1
            if self.calls == 1:
                raise RuntimeError("https://secret")
            return True

    target = Target()
    sender = AppriseSender([Address("odd #1", target)], retry_seconds=())
    sender.send(message())
    sender.send(message())
    sender.close(5)
    assert target.calls == 2
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("urls", ["bogus://secret", "secret words"])
def test_an_address_that_apprise_does_not_know_is_named_without_its_secret(
    urls: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(AlertError) as refused:
        addresses(urls)
    assert "secret" not in str(refused.value) + caplog.text


def test_a_deployment_sends_to_the_addresses_of_its_environment(
    listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUTOTRADER_ALERT_URLS", raising=False)
    (tmp_path / "config").mkdir()
    secret = tmp_path / "config" / ".env"
    secret.touch(mode=0o600)
    secret.write_text(f'AUTOTRADER_ALERT_URLS="{url(listener)}"\n')
    kept: list[ev.Alerted] = []
    alerts = Alerts(kept.append, VirtualClock(AT))
    alerts.tell(*SUBJECT)  # also what was told before
    connect(alerts, tmp_path, Settings())
    alerts.close(5)
    assert [got["title"] for got in listener.got] == ["autotrader critical: A"]
    assert len(kept) == 1


def test_addresses_that_cannot_be_used_are_told_and_stop_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_URLS", "bogus://secret")
    kept: list[ev.Alerted] = []
    alerts = Alerts(kept.append, VirtualClock(AT))
    connect(alerts, tmp_path, Settings(urls_env="MY_URLS"))
    alerts.tell(*SUBJECT)
    assert [event.subject for event in kept] == ["alert addresses", "A"]
    assert "secret" not in str(kept)
    alerts.close(1)

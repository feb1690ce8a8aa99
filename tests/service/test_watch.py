"""What others see of a running service, and who may see it."""

from __future__ import annotations

import json
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from autotrader.clock import VirtualClock
from autotrader.service.watch import Snapshot, Watch, WatchError, token

AT = datetime(2024, 7, 1, 14, 0, tzinfo=UTC)
TOKEN = "t" * 43


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(AT)


@pytest.fixture
def watch(clock: VirtualClock) -> Iterator[Watch]:
    made = Watch(0, TOKEN, clock, stale_seconds=60)
    yield made
    made.close()


def get(watch: Watch, path: str, secret: str | None = TOKEN, **headers: str) -> tuple[int, Any]:
    if secret is not None:
        headers["Authorization"] = f"Bearer {secret}"
    request = urllib.request.Request(f"http://127.0.0.1:{watch.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def test_health_is_good_only_while_the_last_beat_is_young(watch: Watch, clock: VirtualClock) -> None:
    assert get(watch, "/health")[0] == 503  # nothing was published yet
    watch.publish(Snapshot(clock.now(), {}))
    clock.advance_to(AT + timedelta(seconds=60))
    assert get(watch, "/health") == (200, {"alive": True, "beat_age_seconds": 60.0})
    clock.advance_to(AT + timedelta(seconds=61))
    assert get(watch, "/health")[0] == 503
    watch.publish(Snapshot(clock.now(), {}))
    assert get(watch, "/health")[0] == 200


def test_status_is_what_the_loop_published_last(watch: Watch) -> None:
    assert get(watch, "/status")[0] == 503
    watch.publish(Snapshot(AT, {"healthy": True, "held": [{"symbol": "A"}]}))
    assert get(watch, "/status") == (
        200, {"beat": "2024-07-01T14:00:00+00:00", "healthy": True, "held": [{"symbol": "A"}]}
    )  # fmt: skip


@pytest.mark.parametrize("path", ["/health", "/status"])
def test_without_the_token_nothing_is_said(watch: Watch, path: str) -> None:
    watch.publish(Snapshot(AT, {"account": "PA-7"}))
    for secret in (None, "", TOKEN[:-1], TOKEN + "t", "é"):
        code, body = get(watch, path, secret)
        assert code == 401
        assert "PA-7" not in str(body)


@pytest.mark.parametrize("header", [{"Host": "evil.example"}, {"Host": "127.0.0.1"}, {"Origin": "http://evil.example"}])
def test_a_page_in_a_browser_is_told_nothing(watch: Watch, header: dict[str, str]) -> None:
    watch.publish(Snapshot(AT, {"account": "PA-7"}))
    for path in ("/health", "/status"):
        code, body = get(watch, path, **header)
        assert code == 403
        assert "PA-7" not in str(body)
    assert get(watch, "/health", Host=f"localhost:{watch.port}")[0] == 200


def test_there_is_nothing_else_to_find(watch: Watch) -> None:
    for path in ("/", "/docs", "/openapi.json", "/metrics"):
        assert get(watch, path)[0] == 404


def test_a_port_that_is_taken_is_said_and_a_closed_one_is_free_again(watch: Watch, clock: VirtualClock) -> None:
    with pytest.raises(WatchError, match=f"port {watch.port} of 127.0.0.1 cannot be had"):
        Watch(watch.port, TOKEN, clock, 60)
    watch.close()
    again = Watch(watch.port, TOKEN, clock, 60)
    again.close()


def test_the_token_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    made = token(tmp_path / "data")
    assert len(made) >= 40
    assert token(tmp_path / "data") == made
    assert stat.S_IMODE((tmp_path / "data" / "token").stat().st_mode) == 0o600
    (tmp_path / "data" / "token").write_text("")
    with pytest.raises(WatchError, match="holds no token"):
        token(tmp_path / "data")


def test_a_port_that_is_taken_is_told_and_does_not_keep_the_service_from_running(watch: Watch, tmp_path: Path) -> None:
    from autotrader.service.start import Deployment, publisher
    from autotrader.settings import SystemSettings
    from autotrader.settings import Watch as Settings

    told: list[tuple[str, ...]] = []
    system = SystemSettings(watch=Settings(port=watch.port))
    deployment = Deployment(tmp_path, tmp_path, VirtualClock(AT))
    with ExitStack() as stack:
        publisher(stack, deployment, system, tmp_path, lambda *said: told.append(said))
    assert [said[:2] for said in told] == [("warning", "watch")]
    assert f"port {watch.port}" in told[0][2]

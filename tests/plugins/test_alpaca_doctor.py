"""`autotrader doctor`: what it says of a sound deployment, and of each thing that can be wrong with one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import canary
import pytest
from alpaca_venue import SYMBOLS, Venue, at, until
from typer.testing import CliRunner

from autotrader.cli import doctor
from autotrader.cli.app import app
from autotrader.clock import Calendar, VirtualClock
from autotrader.market.checks import Check
from autotrader.simulator.faults import Fault, Faults
from autotrader.validation.load import PACKAGED_CONFIG

Examine = Callable[..., dict[str, Check]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment on the simulated Alpaca, its keys in config/.env."""
    monkeypatch.delenv("APCA_API_KEY_ID", raising=False)
    monkeypatch.delenv("APCA_API_SECRET_KEY", raising=False)
    config = tmp_path / "config"
    config.mkdir()
    shutil.copy(PACKAGED_CONFIG / "strategy_params.yaml", config)
    (config / ".env").touch(0o600)
    (config / ".env").write_text(f"APCA_API_KEY_ID={canary.KEY_ID}\nAPCA_API_SECRET_KEY='{canary.SECRET}'\n")
    (tmp_path / "data").mkdir()
    return tmp_path


@pytest.fixture
def faults() -> Faults:
    return Faults(0)


@pytest.fixture
def venue(home: Path, faults: Faults) -> Iterator[Venue]:
    found = Venue(home, at(10), faults)
    configure(home, found)
    yield found
    found.close()


def configure(home: Path, venue: Venue, **settings: str) -> None:
    more = "".join(f", {name}: {value}" for name, value in settings.items())
    text = f"feed: {{name: alpaca}}\nbroker: {{name: alpaca}}\nalpaca: {{url: '{venue.alpaca.url}'{more}}}\n"
    (home / "config" / "default.yaml").write_text(text)


def examine(home: Path, venue: Venue, *, streams: bool = False) -> dict[str, Check]:
    found = list(doctor.examine(home, home / "config", venue.clock, streams=streams))
    assert all(check.advice for check in found if check.verdict != "ok"), "what is wrong has a way out"
    return {check.name: check for check in found}


def verdicts(found: dict[str, Check]) -> dict[str, str]:
    return {name: check.verdict for name, check in found.items() if check.verdict != "ok"}


SOUND = {"configuration": "warn"}  # the packaged one has a warning


def test_a_sound_deployment_is_told_to_be_one(home: Path, venue: Venue) -> None:
    found = examine(home, venue, streams=True)
    assert verdicts(found) == SOUND
    assert list(found) == [
        "configuration", "disk", "keys", "account", "permissions", "shorting", "trading stream", "clock", "calendar",
        "data", "feed", "data stream", "prices",
    ]  # fmt: skip
    assert found["account"].found == "PA3SIMULATED (paper, no money), equity 100,000.00 USD"
    assert found["data"].found.startswith("the feed alpaca has SPY on 2019-02-08")


def test_the_command_prints_it_and_ends_with_1_where_something_fails(home: Path, venue: Venue) -> None:
    ran = CliRunner().invoke(app, ["doctor", "--home", str(home), "--json"])
    found = {line["name"]: line for line in json.loads(ran.stdout)}
    assert found["clock"]["verdict"] == "fail", "the simulated market is in 2019"
    assert ran.exit_code == 1
    shown = CliRunner().invoke(app, ["doctor", "--home", str(home)]).stdout
    assert "fail  clock" in shown
    assert "-> orders have deadlines to the second" in shown
    assert not canary.is_in(shown + ran.stdout)


def test_keys_that_others_can_read_are_found(home: Path, venue: Venue) -> None:
    (home / "config" / ".env").chmod(0o644)
    found = examine(home, venue)
    assert verdicts(found) == {**SOUND, "keys": "fail"}
    assert "chmod 600" in found["keys"].found
    (home / "config" / ".env").unlink()
    assert "no keys" in examine(home, venue)["keys"].found


def test_keys_that_the_broker_does_not_know_are_found(home: Path, venue: Venue) -> None:
    (home / "config" / ".env").write_text("APCA_API_KEY_ID=another-key-1\nAPCA_API_SECRET_KEY=another-secret-1\n")
    found = examine(home, venue)
    assert "unauthorized" in found["account"].found
    assert found["account"].verdict == "fail"


def test_another_account_than_the_one_named_is_found(home: Path, venue: Venue) -> None:
    configure(home, venue, account="PA9")
    found = examine(home, venue)
    assert found["account"].verdict == "fail"
    assert "PA3SIMULATED" in found["account"].found


def test_an_account_that_may_not_trade_is_found(home: Path, venue: Venue, faults: Faults) -> None:
    faults.add(Fault(kind="account_blocked"))
    found = examine(home, venue)
    assert verdicts(found) == {**SOUND, "permissions": "fail"}
    assert "blocked" in found["permissions"].found


def test_an_account_that_may_not_sell_short_is_found(home: Path, venue: Venue, faults: Faults) -> None:
    faults.add(Fault(kind="field_set", request="GET /v2/account", field="shorting_enabled", value=False))
    assert verdicts(examine(home, venue)) == {**SOUND, "shorting": "warn"}
    faults.clear()
    faults.add(Fault(kind="field_set", request="GET /v2/account", field="equity", value="1999.99"))
    assert "1,999.99 USD is below 2,000" in examine(home, venue)["shorting"].found


@pytest.mark.parametrize(("seconds", "verdict"), [(0.2, "ok"), (-3, "warn"), (30, "fail")])
def test_a_clock_that_is_wrong_is_found(home: Path, venue: Venue, faults: Faults, seconds: float, verdict: str) -> None:
    faults.add(Fault(kind="clock_skew", seconds=seconds))
    found = examine(home, venue)["clock"]
    assert found.verdict == verdict
    assert found.found == {"ok": "with the broker's, to the second",
                           "warn": "this machine's clock is 3 s ahead of the broker's",
                           "fail": "this machine's clock is 30 s behind the broker's"}[verdict]  # fmt: skip


def test_a_calendar_that_disagrees_is_found(home: Path, venue: Venue, faults: Faults) -> None:
    faults.add(Fault(kind="field_set", request="GET /v2/calendar", field="close", value="13:00"))
    found = examine(home, venue)
    assert verdicts(found) == {**SOUND, "calendar": "fail"}
    assert "2019-02-11, 2019-02-12, 2019-02-13 ..." in found["calendar"].found


def test_data_that_is_missing_is_found(home: Path, venue: Venue, faults: Faults) -> None:
    faults.add(Fault(kind="field_set", request="GET /v2/stocks/bars", field="bars", value={}))
    faults.add(Fault(kind="field_removed", request="GET /v2/stocks/snapshots", field="SPY"))
    assert verdicts(examine(home, venue)) == {**SOUND, "data": "fail", "prices": "fail"}


def test_prices_that_are_old_are_found(home: Path, venue: Venue, faults: Faults) -> None:
    faults.add(Fault(kind="stale_quote", symbol="SPY", seconds=600))
    found = examine(home, venue)
    assert verdicts(found) == {**SOUND, "prices": "warn"}
    assert "600 s old" in found["prices"].found


def test_a_feed_without_its_subscription_is_found(home: Path, venue: Venue) -> None:
    configure(home, venue, data_feed="sip")
    found = examine(home, venue)
    assert found["prices"].verdict == "fail"
    assert "set alpaca.data_feed to iex" in found["prices"].found


@pytest.mark.parametrize("setting", [{"stream_symbols": "200"}, {"requests_per_minute": "300"}])
def test_more_than_the_plan_allows_is_found(home: Path, venue: Venue, setting: dict[str, str]) -> None:
    configure(home, venue, **setting)
    assert verdicts(examine(home, venue)) == {**SOUND, "feed": "warn"}


def test_streams_that_another_process_has_are_found(home: Path, venue: Venue, faults: Faults) -> None:
    broker = venue.broker()
    until(lambda: broker.link().live)
    faults.add(Fault(kind="refuse_stream", stream="bars"))
    found = examine(home, venue, streams=True)
    assert verdicts(found) == {**SOUND, "trading stream": "warn", "data stream": "fail"}


def test_a_server_that_is_not_there_is_one_line(home: Path, venue: Venue) -> None:
    venue.close()
    found = examine(home, venue)
    assert verdicts(found) == {**SOUND, "account": "fail"}
    assert found["account"].found == "Alpaca: no answer: connection refused"


def test_the_lines_are_all_that_is_said_also_of_streams_that_break(home: Path, venue: Venue, faults: Faults) -> None:
    faults.add(Fault(kind="refuse_stream"))
    ran = subprocess.run(
        [Path(sys.executable).with_name("autotrader"), "doctor", "--streams", "--home", home], capture_output=True,
        text=True, timeout=120, check=False, env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert "fail  trading stream" in ran.stdout
    assert not ran.stderr


def test_a_configuration_with_errors_is_found_before_anything_is_asked(home: Path) -> None:
    (home / "config" / "default.yaml").write_text("feed: {name: alpacca}\n")
    found = list(doctor.examine(home, home / "config", VirtualClock(at(10))))
    assert [(check.name, check.verdict) for check in found] == [("configuration", "fail"), ("disk", "ok")]
    assert "autotrader validate" in found[0].advice


def test_a_disk_that_is_full_or_locked_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, verdict in ((100 << 20, "fail"), (1 << 30, "warn"), (50 << 30, "ok")):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: type("", (), {"free": free}))
        assert doctor._disk(tmp_path / "not" / "there").verdict == verdict
    monkeypatch.setattr("os.access", lambda *_: False)
    assert doctor._disk(tmp_path).verdict == "fail"


def test_a_paper_deployment_needs_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APCA_API_KEY_ID", raising=False)
    found = list(doctor.examine(tmp_path, PACKAGED_CONFIG, VirtualClock(at(10))))
    assert [check.name for check in found] == ["configuration", "disk", "account", "data"]
    assert {check.verdict for check in found} <= {"ok", "warn"}


def test_a_feed_that_ends_early_is_found() -> None:
    from autotrader.plugins.feeds.synthetic import SyntheticFeed

    class Ended(SyntheticFeed):
        def last_session(self):  # type: ignore[no-untyped-def]
            return at(10).date() - timedelta(days=3)

    check = doctor._freshness(Ended(0, Calendar()), Calendar(), SYMBOLS[0], at(17))
    assert (check.verdict, check.found) == ("warn", "the feed synthetic ends on 2019-02-08, 1 session ago")

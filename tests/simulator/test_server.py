"""The process: it says where it is, does what the options say, and never outlives its reason."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from autotrader.simulator.server import Server, ServerError
from autotrader.simulator.simulator import SimulatorOptions
from tests.cli.conftest import Run, run
from tests.simulator.conftest import Start, at

__all__ = ["run"]  # a fixture

COMMAND = [sys.executable, "-c", "from autotrader.cli import main; main()", "simulate-alpaca"]


@contextmanager
def process(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command and its address."""
    with subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", running.stdout.readline())
            assert found is not None
            yield running, found.group()
        finally:
            running.kill()


def test_the_command_serves_until_it_is_told_to_stop(universe: Path, market: Path, tmp_path: Path) -> None:
    faults = tmp_path / "faults.yaml"
    faults.write_text("faults: [{kind: '429', request: GET /v2/clock, nth: 2}]")
    options = ("--universe", universe, "--data", market, "--start", "2019-02-11T09:00", "--faults", faults,
               "--keys", "K:S", "--speed", "60")  # fmt: skip
    with process(*map(str, options)) as (running, url):
        keys = {"APCA-API-KEY-ID": "K", "APCA-API-SECRET-KEY": "S"}
        answers = [requests.get(f"{url}/v2/clock", headers=keys, timeout=5) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 429, 200]
        assert answers[0].headers["X-RateLimit-Limit"] == "200"
        end, began = time.monotonic() + 10, answers[0].json()["timestamp"]
        while requests.get(f"{url}/v2/clock", headers=keys, timeout=5).json()["timestamp"] == began:
            assert time.monotonic() < end, "its clock does not run"
            time.sleep(0.02)
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) in (0, -signal.SIGTERM)


def test_the_command_stops_with_its_parent(universe: Path, market: Path) -> None:
    script = (
        "import subprocess, sys\n"
        "child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True)\n"
        "print(child.stdout.readline(), flush=True)\n"
    )
    served = [*COMMAND, "--universe", str(universe), "--data", str(market), "--for", "60"]
    command = [sys.executable, "-c", script, *served]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    url = said.split()[-1]
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            requests.get(f"{url}/simulator/state", timeout=1)
        except requests.ConnectionError:
            return
        time.sleep(0.05)
    pytest.fail("it goes on without its parent")


def test_the_command_stops_by_itself(run: Run, universe: Path, market: Path) -> None:
    options = ("--universe", universe, "--data", market, "--start", "2019-02-11T09:00", "--for", "0.1")
    ran = run("simulate-alpaca", *options)
    assert ran.code == 0
    assert re.fullmatch(
        r"simulated Alpaca on http://127\.0\.0\.1:\d+\n"
        r"market time 2019-02-11T09:00:00-05:00, standing still between POST /simulator/step; Ctrl-C ends it\n",
        ran.out,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--start", "soon"], "soon is not a time"),
        (["--keys", "K:"], "KEY:SECRET"),
        (["--plan", "gold"], "gold is not one of"),
        (["--data", "none.parquet"], "none.parquet"),
        (["--faults", "none.yaml"], "none.yaml"),
    ],
)
def test_wrong_options_are_told_in_a_sentence(
    run: Run, universe: Path, market: Path, options: list[str], message: str
) -> None:
    ran = run("simulate-alpaca", "--universe", universe, "--data", market, *options)
    assert ran.code in (1, 2)
    assert message in ran.err


def test_a_port_that_is_taken_is_told(start: Start, universe: Path, market: Path) -> None:
    port = int(start().url.rsplit(":", 1)[1])
    with pytest.raises(ServerError, match=f"port {port} cannot be used"):
        Server(SimulatorOptions(universe=universe, data=market, start=at(9)), port=port)


def test_small_answers_are_sent_at_once(start: Start) -> None:
    desk = start()
    desk.get("/v2/clock")
    sockets = [item.get_extra_info("socket") for item in desk.alpaca._server._transports.values()]
    assert [item.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for item in sockets] == [1]


def test_time_goes_forward_and_steps_say_what_was_sent(start: Start) -> None:
    desk = start()
    told = desk.control("step", {"minutes": 31})
    assert told["time"] == "2019-02-11T09:31:00-05:00"
    assert told["sent"]["bars"] == {
        "connected": False, "listening": False, "connection": None, "frames": 0, "messages": 0, "total_frames": 0,
        "total_messages": 0, "symbols": [],
    }  # fmt: skip
    assert desk.call("POST", "/simulator/step", json={"to": at(9).isoformat()}).status_code == 422
    assert desk.call("POST", "/simulator/step", json={"too": 1}).status_code == 422
    desk.control("speed", {"speed": 600})
    desk.until(lambda: desk.get("/simulator/state")["time"] > "2019-02-11T09:32")
    desk.control("speed", {"speed": 0})
    stands = desk.get("/simulator/state")["time"]
    time.sleep(0.12)
    assert desk.get("/simulator/state")["time"] == stands

"""Both streams of Alpaca, against servers that misbehave: they come back for ever, and never hold anybody up."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import canary
import pytest
from alpaca_venue import until
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from autotrader.clock import NEW_YORK, Calendar, VirtualClock
from autotrader.market.broker import Link
from autotrader.plugins.alpaca.connection import Connection
from autotrader.plugins.alpaca.minutes import MinuteBars
from autotrader.plugins.alpaca.stream import Pace
from autotrader.plugins.alpaca.updates import TradeUpdates
from autotrader.plugins.brokers.alpaca import AlpacaBroker
from autotrader.secrets import Credentials
from autotrader.settings import Alpaca

KEYS = Credentials(canary.KEY_ID, canary.SECRET)
TEN = datetime(2024, 3, 5, 10, tzinfo=NEW_YORK)
QUICK = Pace(first=0.05, longest=0.2, ask_after=0.1, dead_after=0.4)
PATIENT = Pace(first=0.05, longest=0.2, ask_after=30, dead_after=60)

Part = Callable[[ServerConnection], None]


class Server:
    """A websocket server; each connection is played by the next part, the last one again and again.

    said: what clients sent, by connection. refuse: how many handshakes are answered with 429.
    """

    def __init__(self, *parts: Part, refuse: int = 0) -> None:
        self.parts = list(parts)
        self.said: list[list[Any]] = []
        self.at: list[float] = []
        self.refuse = refuse

    def play(self, socket: ServerConnection) -> None:
        self.said.append([])
        part = self.parts.pop(0) if len(self.parts) > 1 else self.parts[0]
        try:
            part(socket)
        except (ConnectionClosed, TimeoutError):
            return

    def hear(self, socket: ServerConnection, timeout: float | None = None) -> Any:
        message = json.loads(socket.recv(timeout))
        self.said[-1].append(message)
        return message

    def admit(self, _: ServerConnection, __: Request) -> Response | None:
        self.at.append(time.monotonic())
        if self.refuse:
            self.refuse -= 1
            return Response(HTTPStatus.TOO_MANY_REQUESTS, "Too Many Requests", headers=_headers(), body=b"")
        return None


def _headers() -> Any:
    from websockets.datastructures import Headers

    return Headers({"Content-Length": "0", "Connection": "close"})


@contextmanager
def serving(server: Server) -> Iterator[str]:
    with serve(server.play, "127.0.0.1", 0, process_request=server.admit, ping_interval=None) as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield f"ws://127.0.0.1:{found.socket.getsockname()[1]}"
        found.shutdown()


# --- the trading stream -----------------------------------------------------------------------------------------------


def report(name: str, event: str = "new", **more: Any) -> bytes:
    order = {
        "id": f"id-{name}", "client_order_id": name, "symbol": "AAPL", "side": "buy", "qty": "10", "status": "new",
        "submitted_at": "2024-03-05T15:00:00Z", "filled_qty": "0",
    }  # fmt: skip
    data = {"event": event, "timestamp": "2024-03-05T15:00:00Z", "order": order, **more}
    return json.dumps({"stream": "trade_updates", "data": data}).encode()


def welcome(server: Server, socket: ServerConnection, *between: bytes) -> None:
    """Logs a client of the trading stream in."""
    assert server.hear(socket) == {
        "action": "authenticate", "data": {"key_id": canary.KEY_ID, "secret_key": canary.SECRET},
    }  # fmt: skip
    socket.send(json.dumps({"stream": "authorization", "data": {"status": "authorized"}}).encode())
    server.hear(socket)
    for frame in between:
        socket.send(frame)
    socket.send(json.dumps({"stream": "listening", "data": {"streams": ["trade_updates"]}}).encode())


def stay(server: Server, socket: ServerConnection) -> None:
    """Answers whatever is asked until the client goes."""
    while True:
        server.hear(socket)
        socket.send(json.dumps({"stream": "listening", "data": {"streams": ["trade_updates"]}}).encode())


@contextmanager
def trading(server: Server, pace: Pace = PATIENT, **more: Any) -> Iterator[TradeUpdates]:
    with serving(server) as url:
        stream = TradeUpdates(url, KEYS, VirtualClock(TEN), more.get("notify"), pace)
        stream.start()
        yield stream
        stream.close()


def names(stream: TradeUpdates) -> list[str]:
    return [data["order"]["client_order_id"] for data in stream.drain()]


def test_what_is_reported_waits_in_order_until_it_is_asked_for() -> None:
    def play(socket: ServerConnection) -> None:
        welcome(server, socket, report("early"))
        for name in "abc":
            socket.send(report(name))
        stay(server, socket)

    server = Server(play)
    woken = threading.Event()
    with trading(server, notify=woken.set) as stream:
        until(lambda: stream.messages == 3)
        assert woken.is_set()
        assert names(stream) == ["early", "a", "b", "c"]
        assert not stream.drain()
        assert (stream.live, stream.breaks, stream.connections) == (True, 0, 1)


@pytest.mark.parametrize("code", [1000, 1006, 1011])
def test_a_lost_connection_is_opened_again_and_counted(code: int) -> None:
    def lost(socket: ServerConnection) -> None:
        welcome(server, socket)
        socket.send(report("a"))
        if code == 1006:
            socket.socket.close()
        else:
            socket.close(code)

    def fine(socket: ServerConnection) -> None:
        welcome(server, socket)
        socket.send(report("b"))
        stay(server, socket)

    server = Server(lost, fine)
    with trading(server) as stream:
        until(lambda: stream.connections == 2 and stream.messages == 1)
        assert names(stream) == ["a", "b"]
        assert (stream.live, stream.breaks) == (True, 1)


def test_refused_handshakes_are_tried_again_ever_more_slowly() -> None:
    def fine(socket: ServerConnection) -> None:
        welcome(server, socket)
        stay(server, socket)

    server = Server(fine, refuse=5)
    with trading(server) as stream:
        until(lambda: stream.live)
        gaps = [later - first for first, later in zip(server.at, server.at[1:], strict=False)]
        assert len(gaps) == 5
        assert sum(gaps) > 0.4, "0.025 + 0.05 + 0.1 + 0.1 + 0.1 at least"
        assert stream.breaks == 0, "what never began was not interrupted"


def test_the_delay_doubles_up_to_its_longest_and_is_drawn_from_half_to_whole() -> None:
    stream = TradeUpdates("ws://127.0.0.1:1", KEYS, VirtualClock(TEN), None)
    for failures, longest in ((1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (5000, 30)):
        drawn = [stream._delay(failures) for _ in range(50)]
        assert longest / 2 <= min(drawn) < max(drawn) <= longest


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"stream": "authorization", "data": {"status": "unauthorized"}}, "does not accept the keys"),
        ({"action": "error", "data": {"error_message": "connection limit exceeded"}}, "connection limit exceeded"),
        ([1, 2], "no answer"),
        ({"stream": "authorization", "data": None}, "does not accept the keys"),
    ],
)
def test_a_log_in_that_fails_is_tried_again_and_said(answer: Any, words: str) -> None:
    def refusing(socket: ServerConnection) -> None:
        server.hear(socket)
        socket.send(json.dumps(answer).encode())
        if answer == [1, 2]:
            socket.send(json.dumps({"stream": "authorization", "data": {"status": "no answer"}}).encode())
        server.hear(socket, 0.5)

    server = Server(refusing)
    with trading(server) as stream:
        until(lambda: len(server.said) >= 3)
        assert not stream.live
        assert words in stream.trouble
        assert not canary.is_in(stream.trouble)


def test_what_a_server_said_before_it_closed_is_said() -> None:
    def full(socket: ServerConnection) -> None:
        server.hear(socket)
        socket.send(json.dumps({"stream": "authorization", "data": {"status": "authorized"}}).encode())
        socket.send(json.dumps({"action": "error", "data": {"error_message": "connection limit exceeded"}}).encode())
        socket.close()

    server = Server(full)
    with trading(server) as stream:
        for tries in range(5):
            until(lambda tries=tries: len(server.said) >= 2 + tries)
            assert "connection limit exceeded" in stream.trouble


@pytest.mark.parametrize("frame", [b"{nonsense", b"null", b"[" * 100_000, b'{"stream": "trade_updates", "data": null}'])
def test_a_report_that_cannot_be_read_counts_as_missed_and_the_next_one_comes(frame: bytes) -> None:
    def play(socket: ServerConnection) -> None:
        welcome(server, socket)
        socket.send(frame)
        socket.send(report("b"))
        stay(server, socket)

    server = Server(play)
    with trading(server) as stream:
        until(lambda: stream.messages == 2)
        assert names(stream) == ["b"]
        assert (stream.live, stream.breaks, stream.connections) == (True, 1, 1)


def test_a_broker_tells_of_every_report_that_it_could_not_read() -> None:
    def play(socket: ServerConnection) -> None:
        welcome(server, socket)
        socket.send(json.dumps({"stream": "trade_updates", "data": {"event": "fill", "order": {}}}).encode())
        socket.send(report("b", event="a new kind of event", unheard={"of": 1}))
        stay(server, socket)

    server = Server(play)
    with trading(server) as stream:
        broker = AlpacaBroker(Connection(Alpaca(url="http://127.0.0.1:1"), KEYS, VirtualClock(TEN)), stream)
        until(lambda: stream.messages == 2)
        assert broker.link() == Link(live=True, breaks=0)
        assert [update.order.client_order_id for update in broker.updates()] == ["b"]
        assert broker.link() == Link(live=True, breaks=1)


def test_whatever_ends_a_connection_it_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def play(socket: ServerConnection) -> None:
        welcome(server, socket)
        socket.send(report(str(len(server.said))))
        stay(server, socket)

    def broken(self: TradeUpdates, message: Any) -> bool:
        if message["data"]["order"]["client_order_id"] == "1":
            raise RuntimeError("a mistake of our own")
        return take(self, message)

    take = TradeUpdates._take
    monkeypatch.setattr(TradeUpdates, "_take", broken)
    server = Server(play)
    with trading(server) as stream:
        until(lambda: stream.messages == 1 and stream.connections == 2)
        assert names(stream) == ["2"]
        assert stream.breaks == 1


def test_a_server_that_stops_answering_is_given_up_though_the_socket_is_open() -> None:
    def mute(socket: ServerConnection) -> None:
        welcome(server, socket)
        server.hear(socket)
        socket.send(json.dumps({"stream": "listening", "data": {"streams": ["trade_updates"]}}).encode())
        while True:
            server.hear(socket)

    def fine(socket: ServerConnection) -> None:
        welcome(server, socket)
        stay(server, socket)

    server = Server(mute, fine)
    with trading(server, QUICK) as stream:
        until(lambda: stream.connections == 2)
        assert stream.breaks == 1
        time.sleep(0.6)
        assert stream.connections == 2, "one that answers is kept, however quiet it is"


def test_a_server_that_never_answered_such_questions_is_not_given_up_for_it() -> None:
    def mute(socket: ServerConnection) -> None:
        welcome(server, socket)
        while True:
            server.hear(socket)

    server = Server(mute)
    with trading(server, QUICK) as stream:
        until(lambda: stream.connections == 1)
        until(lambda: len(server.said[0]) == 3)  # it was asked
        time.sleep(1.2)
        assert stream.connections == 1
        assert stream.live


def test_closing_ends_the_thread_whatever_it_is_doing() -> None:
    server = Server(lambda socket: server.hear(socket, 5))
    with serving(server) as url:
        for address in (url, "ws://127.0.0.1:1"):
            stream = TradeUpdates(address, KEYS, VirtualClock(TEN), None, Pace(30, 30, 30, 30))
            stream.start()
            time.sleep(0.1)
            stream.close()
            began = time.monotonic()
            stream.close()
            assert time.monotonic() - began < 5
    never = TradeUpdates("ws://127.0.0.1:1", KEYS, VirtualClock(TEN), None)
    never.close()


# --- the data stream --------------------------------------------------------------------------------------------------


def greet(server: Server, socket: ServerConnection) -> None:
    """Logs a client of the data stream in."""
    socket.send(json.dumps([{"T": "success", "msg": "connected"}]))
    assert server.hear(socket) == {"action": "auth", "key": canary.KEY_ID, "secret": canary.SECRET}
    socket.send(json.dumps([{"T": "success", "msg": "authenticated"}]))


def minute(symbol: str, at: str = "2024-03-05T15:00:00Z") -> dict[str, Any]:
    return {"T": "b", "S": symbol, "t": at, "o": 1, "h": 2.5, "l": 0.5, "c": 2, "v": 100, "n": 1, "vw": 1.5}


def obey(server: Server, socket: ServerConnection) -> None:
    """Takes subscriptions, answers with the current set and one bar of each symbol in it."""
    current: set[str] = set()
    while True:
        asked = server.hear(socket)
        change = current.union if asked["action"] == "subscribe" else current.difference
        current = change(asked["bars"])
        socket.send(json.dumps([{"T": "subscription", "bars": sorted(current)}]))
        if current:
            socket.send(json.dumps([minute(symbol) for symbol in sorted(current)]))


@contextmanager
def bars(
    server: Server, *symbols: str, clock: VirtualClock | None = None, most: int = 30, pace: Pace = PATIENT,
    notify: Callable[[], None] | None = None,
) -> Iterator[MinuteBars]:  # fmt: skip
    with serving(server) as url:
        stream = MinuteBars(url, KEYS, clock or VirtualClock(TEN), Calendar(), notify, most, 150.0, pace)
        stream.watch(symbols)
        stream.start()
        yield stream
        stream.close()


def obedient() -> Server:
    def play(socket: ServerConnection) -> None:
        greet(server, socket)
        obey(server, socket)

    server = Server(play)
    return server


def test_bars_are_streamed_with_their_times_and_numbers() -> None:
    with bars(obedient(), "AAPL") as stream:
        until(lambda: stream.messages == 1)
        (bar,) = stream.drain()
        assert bar == ("AAPL", datetime(2024, 3, 5, 15, tzinfo=UTC), 1.0, 2.5, 0.5, 2.0, 100.0)
        assert stream.last_heard == TEN


def test_only_what_changes_is_asked_for() -> None:
    server = obedient()
    with bars(server, "A", "B") as stream:
        until(lambda: stream.messages == 2)
        stream.watch(["C", "B", "B"])
        until(lambda: len(server.said[0]) == 4)
        assert server.said[0][1:] == [
            {"action": "subscribe", "bars": ["A", "B"]},
            {"action": "unsubscribe", "bars": ["A"]},
            {"action": "subscribe", "bars": ["C"]},
        ]


def test_other_symbols_can_be_watched_from_within_the_stream_itself() -> None:
    calls: list[None] = []

    def change() -> None:
        calls.append(None)
        if len(calls) == 3:
            stream.watch(["C"])

    server = obedient()
    with bars(server, "A", notify=change) as stream:
        until(lambda: bool(server.said) and {"action": "subscribe", "bars": ["C"]} in server.said[0])


def test_a_server_that_is_stuck_holds_nobody_up() -> None:
    def stuck(socket: ServerConnection) -> None:
        greet(server, socket)
        time.sleep(0.5)

    server = Server(stuck)
    with bars(server, "A") as stream:
        until(lambda: stream.live)
        began = time.monotonic()
        for number in range(200):
            stream.watch([f"S{number}"])
            stream.drain()
        assert time.monotonic() - began < 0.3


def test_after_a_break_everything_is_asked_for_again() -> None:
    def once(socket: ServerConnection) -> None:
        greet(server, socket)
        server.hear(socket)
        socket.close(1011)

    def play(socket: ServerConnection) -> None:
        greet(server, socket)
        obey(server, socket)

    server = Server(once, play)
    with bars(server, "A", "B") as stream:
        until(lambda: stream.messages == 2)
        assert server.said[1][1] == {"action": "subscribe", "bars": ["A", "B"]}
        assert stream.breaks == 1


def test_no_more_symbols_are_asked_for_than_the_plan_allows(caplog: pytest.LogCaptureFixture) -> None:
    server = obedient()
    with bars(server, *(f"S{n:02}" for n in range(40)), most=30) as stream:
        until(lambda: stream.messages == 30)
        assert len(server.said[0][1]["bars"]) == 30
    assert "10 symbols of 40 are not streamed" in caplog.text


def test_where_the_plan_allows_fewer_the_half_is_asked_for() -> None:
    def limited(socket: ServerConnection) -> None:
        greet(server, socket)
        if len(server.hear(socket)["bars"]) > 10:
            socket.send(json.dumps([{"T": "error", "code": 405, "msg": "symbol limit exceeded"}]))
        server.hear(socket, 5)

    server = Server(limited)
    with bars(server, *(f"S{n:02}" for n in range(30))) as stream:
        until(lambda: len(server.said) == 3 and len(server.said[2]) == 2)
        assert [len(said[1]["bars"]) for said in server.said] == [30, 15, 7]
        until(lambda: stream.live)


@pytest.mark.parametrize("code", [402, 404, 406, 407, 409, 500])
def test_an_error_at_the_log_in_or_later_ends_the_connection_not_the_stream(code: int) -> None:
    def refusing(socket: ServerConnection) -> None:
        socket.send(json.dumps([{"T": "success", "msg": "connected"}]))
        server.hear(socket)
        socket.send(json.dumps([{"T": "error", "code": code, "msg": "no"}]))
        server.hear(socket, 5)

    def later(socket: ServerConnection) -> None:
        greet(server, socket)
        socket.send(json.dumps([{"T": "error", "code": code, "msg": "no"}]))
        server.hear(socket, 5)
        server.hear(socket, 5)

    def play(socket: ServerConnection) -> None:
        greet(server, socket)
        obey(server, socket)

    server = Server(refusing, refusing, later, play)
    with bars(server, "A") as stream:
        until(lambda: stream.messages == 1 and len(server.said) == 4)


def test_one_bad_bar_costs_the_others_in_its_frame_nothing() -> None:
    def play(socket: ServerConnection) -> None:
        greet(server, socket)
        server.hear(socket)
        socket.send(json.dumps([minute("A"), {**minute("B"), "o": None}, {**minute("B"), "o": 10**400},
                                "nonsense", {"T": "?"}, minute("C")]))  # fmt: skip
        server.hear(socket, 5)

    server = Server(play)
    with bars(server, "A", "B", "C") as stream:
        until(lambda: stream.messages == 6)
        assert [bar.symbol for bar in stream.drain()] == ["A", "C"]
        assert stream.breaks == 3


def test_silence_in_a_session_opens_the_stream_again_and_outside_of_it_does_not() -> None:
    server = obedient()
    clock = VirtualClock(datetime(2024, 3, 5, 8, tzinfo=NEW_YORK))
    with bars(server, "A", clock=clock) as stream:
        until(lambda: stream.messages == 1)
        clock.advance_to(datetime(2024, 3, 5, 9, 32, tzinfo=NEW_YORK))
        time.sleep(1.2)
        assert stream.connections == 1, "two minutes after the open nothing is overdue"
        clock.advance_to(datetime(2024, 3, 5, 9, 33, tzinfo=NEW_YORK))
        until(lambda: stream.connections == 2 and stream.messages == 1)
        assert stream.breaks == 1
        clock.advance_to(datetime(2024, 3, 5, 9, 35, tzinfo=NEW_YORK))
        time.sleep(0.7)
        assert stream.connections == 2, "a bar came two minutes ago"
        clock.advance_to(datetime(2024, 3, 5, 16, 30, tzinfo=NEW_YORK))
        time.sleep(1.2)
        assert stream.connections == 2


def test_who_watches_nothing_waits_for_nothing() -> None:
    clock = VirtualClock(TEN)
    with bars(obedient(), "A", clock=clock) as stream:
        until(lambda: stream.live)
        stream.watch([])
        time.sleep(0.6)
        clock.advance_to(TEN + timedelta(hours=1))
        time.sleep(0.7)
        assert (stream.connections, stream.breaks) == (1, 0)

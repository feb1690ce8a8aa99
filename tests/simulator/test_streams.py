"""Both streams: handshake, errors, subscriptions, frames. What the official client hears is in test_day.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgpack
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from autotrader.simulator.faults import Fault, Faults
from tests.simulator.conftest import KEY, MINUTE, SYMBOLS, Desk, Start, at
from tests.simulator.protocol import check

PACKED = {"Content-Type": "application/msgpack"}
AUTH = {"action": "auth", "key": KEY, "secret": KEY}
LISTEN = {"action": "listen", "data": {"streams": ["trade_updates"]}}


class Socket:
    """A raw connection; every frame it receives is held against the schema."""

    def __init__(self, connection: ClientConnection, packed: bool, shape: str) -> None:
        self.connection = connection
        self._packed = packed
        self._shape = shape

    def say(self, message: Any) -> None:
        self.connection.send(msgpack.packb(message) if self._packed else json.dumps(message))

    def hear(self) -> Any:
        raw = self.connection.recv(timeout=5)
        if not self._packed:
            assert isinstance(raw, bytes if self._shape == "trade_stream" else str)
            return check(self._shape, json.loads(raw))
        assert isinstance(raw, bytes)
        found = msgpack.unpackb(raw, timestamp=3)
        if isinstance(found, dict):
            return check(self._shape, found)
        check(self._shape, [{k: v.isoformat() if k == "t" else v for k, v in m.items()} for m in found])
        return found

    def ask(self, message: Any) -> Any:
        self.say(message)
        return self.hear()

    def ends(self) -> None:
        with pytest.raises(ConnectionClosed):
            self.connection.recv(timeout=5)


@contextmanager
def opened(desk: Desk, path: str = "/v2/iex", packed: bool = False) -> Iterator[Socket]:
    url = desk.url.replace("http", "ws", 1) + path
    with connect(url, additional_headers=PACKED if packed else None) as connection:
        yield Socket(connection, packed, "trade_stream" if path.startswith("/stream") else "data_stream")


def subscribed(socket: Socket, **channels: Any) -> Any:
    assert socket.hear() == [{"T": "success", "msg": "connected"}]
    assert socket.ask(AUTH) == [{"T": "success", "msg": "authenticated"}]
    return socket.ask({"action": "subscribe", **channels})


# --- bars ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
def test_bars_come_as_json_or_msgpack_as_the_client_asks(start: Start, packed: bool) -> None:
    desk = start()
    with opened(desk, packed=packed) as socket:
        assert subscribed(socket, bars=["AAPL", "MSFT"])[0]["bars"] == ["AAPL", "MSFT"]
        desk.step(at(9, 31))
        frame = socket.hear()
        assert [(message["T"], message["S"]) for message in frame] == [("b", "AAPL"), ("b", "MSFT")]
        time = frame[0]["t"]
        assert (time if packed else at(9, 30)) == at(9, 30)
        assert packed or time == "2019-02-11T14:30:00Z"


def test_subscriptions_add_up_and_are_taken_back(start: Start) -> None:
    desk = start()
    with opened(desk) as socket:
        subscribed(socket, bars=["AAPL"], trades=["XOM"])
        both = socket.ask({"action": "subscribe", "bars": ["MSFT"], "statuses": ["*"]})[0]
        assert (both["bars"], both["trades"], both["statuses"]) == (["AAPL", "MSFT"], ["XOM"], ["*"])
        left = socket.ask({"action": "unsubscribe", "bars": ["AAPL"], "trades": ["XOM"]})[0]
        assert (left["bars"], left["trades"]) == (["MSFT"], [])
        desk.step(at(9, 31))
        assert [message["S"] for message in socket.hear()] == ["MSFT"]


def test_a_star_is_every_symbol(start: Start) -> None:
    desk = start()
    with opened(desk) as socket:
        subscribed(socket, bars=["*"], dailyBars=["AAPL"])
        desk.step(at(9, 31))
        assert [message["S"] for message in socket.hear()] == sorted([*SYMBOLS, "SPY"])


@pytest.mark.parametrize("packed", [False, True])
def test_each_minute_has_a_last_trade_and_quote_at_the_close_of_its_bar(start: Start, packed: bool) -> None:
    desk = start(spread=0.001)
    with opened(desk, packed=packed) as socket:
        subscribed(socket, trades=["AAPL"], quotes=["*"])
        sent = desk.step(at(9, 32))["sent"]["bars"]
        frames = [socket.hear() for _ in range(4)]
    assert (sent["frames"], sent["messages"]) == (4, 2 * (1 + len(SYMBOLS) + 1))
    rows = desk.get("/v2/stocks/bars", symbols="AAPL", timeframe="1Min", start="2019-02-11")["bars"]["AAPL"]
    for bar, trades, quotes in zip(rows, frames[::2], frames[1::2], strict=True):
        ends = datetime.fromisoformat(bar["t"]) + MINUTE
        assert [(trade["S"], trade["p"]) for trade in trades] == [("AAPL", bar["c"])]
        quote = quotes[0]
        assert [message["S"] for message in quotes] == sorted([*SYMBOLS, "SPY"])
        assert quote["bp"] < bar["c"] < quote["ap"]
        assert {m["t"] if packed else datetime.fromisoformat(m["t"]) for m in (*trades, *quotes)} == {ends}
    latest = desk.get("/v2/stocks/quotes/latest", symbols="AAPL")["quotes"]["AAPL"]
    assert [quote[side] for side in ("bp", "ap")] == [latest[side] for side in ("bp", "ap")]


def test_a_streamed_quote_may_lack_its_ask_or_be_old(start: Start) -> None:
    desk = faulty(start, Fault(kind="zero_ask", symbol="AAPL"), Fault(kind="stale_quote", seconds=600))
    with opened(desk) as socket:
        subscribed(socket, quotes=["AAPL", "MSFT"])
        desk.step(at(9, 31))
        found = socket.hear()
    assert [(quote["ap"] > 0, quote["t"]) for quote in found] == [
        (False, "2019-02-11T14:21:00Z"), (True, "2019-02-11T14:21:00Z")
    ]  # fmt: skip


def test_the_daily_bar_follows_the_close(start: Start) -> None:
    desk = start(start=at(15, 59))
    with opened(desk) as socket:
        subscribed(socket, dailyBars=["AAPL"])
        desk.step(at(16))
        bar = socket.hear()[0]
        assert (bar["T"], bar["t"]) == ("d", "2019-02-11T05:00:00Z")


def test_a_halt_is_a_status_and_no_bars(start: Start) -> None:
    desk = start(start=at(10))
    order = desk.order("AAPL", client_order_id="before").json()
    with opened(desk) as socket:
        subscribed(socket, bars=["AAPL", "MSFT"], statuses=["AAPL"])
        desk.control("halts", {"symbol": "AAPL"})
        assert socket.hear()[0]["sc"] == "H"
        desk.step(at(10, 1))
        assert [message["S"] for message in socket.hear()] == ["MSFT"]
        refused = desk.order("AAPL")
        assert refused.status_code == 422
        assert refused.json()["message"].startswith('market order rejected due to trading halt on symbol: "AAPL"')
        assert desk.get(f"/v2/orders/{order['id']}")["status"] == "new"
        desk.control("halts", {"symbol": "AAPL", "halted": False})
        assert socket.hear()[0]["sc"] == "T"
        desk.step(at(10, 2))
        assert [message["S"] for message in socket.hear()] == ["AAPL", "MSFT"]
    assert desk.get(f"/v2/orders/{order['id']}")["filled_at"] == "2019-02-11T15:01:00Z"
    rows = desk.get("/v2/stocks/bars", symbols="AAPL", timeframe="1Min", start="2019-02-11T15:00:00Z")["bars"]["AAPL"]
    assert [row["t"] for row in rows] == ["2019-02-11T15:01:00Z"]


def test_errors_have_alpacas_codes(start: Start) -> None:
    desk = start()
    for message, code in (
        ({"action": "auth", "key": KEY, "secret": "wrong"}, 402), ({"action": "subscribe", "bars": ["AAPL"]}, 401),
        ({"action": "auth", "key": "nobody"}, 402), ("nonsense", 400),
    ):  # fmt: skip
        with opened(desk) as socket:
            socket.hear()
            assert socket.ask(message)[0]["code"] == code
            socket.ends()
    with opened(desk) as socket:
        socket.hear()
        socket.connection.send("[" * 20_000)
        assert socket.hear()[0]["code"] == 400
    with opened(desk) as socket:
        subscribed(socket, bars=["AAPL"])
        assert socket.ask(AUTH)[0]["code"] == 403
        assert socket.ask({"action": "dance"})[0]["code"] == 400
        assert socket.ask({"action": "subscribe"})[0]["code"] == 410
        assert socket.ask({"action": "subscribe", "bars": "MSFT"})[0]["code"] == 410
        assert socket.ask({"action": "subscribe", "bars": [{}]})[0]["code"] == 410
        assert socket.ask({"action": "subscribe", "bars": [f"S{i}" for i in range(30)]})[0]["code"] == 405
        assert socket.ask({"action": "subscribe", "bars": ["MSFT"]})[0]["bars"] == ["AAPL", "MSFT"]
    with opened(desk, "/v2/sip") as socket:
        socket.hear()
        assert socket.ask(AUTH)[0]["code"] == 409


@pytest.mark.parametrize("path", ["/v2/iex", "/stream"])
def test_there_is_one_connection_and_its_end_frees_the_place(start: Start, path: str) -> None:
    desk = start()

    def enter(socket: Socket) -> Any:
        if path == "/v2/iex":
            socket.hear()
            return socket.ask(AUTH)[0].get("code")
        socket.ask({**AUTH, "data": {}})
        return socket.ask(LISTEN)["data"].get("error_message")

    with opened(desk, path) as first:
        assert enter(first) is None
        with opened(desk, path) as second:
            if path == "/v2/iex":
                assert enter(second) == 406
            else:
                assert second.ask(AUTH)["data"]["status"] == "authorized"
                assert second.hear()["data"]["error_message"] == "connection limit exceeded"
            second.ends()
    name = "bars" if path == "/v2/iex" else "trade_updates"
    desk.until(lambda: not desk.alpaca.state()["sent"][name]["connected"])
    with opened(desk, path) as third:
        assert enter(third) is None


# --- trade updates ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/stream", "/stream/"])
@pytest.mark.parametrize(
    "login", [{"action": "authenticate", "data": {"key_id": KEY, "secret_key": KEY}}, AUTH], ids=["old", "new"]
)
def test_updates_come_to_both_forms_of_login(start: Start, path: str, login: Any) -> None:
    desk = start(start=at(10))
    with opened(desk, path) as socket:
        assert socket.ask(login)["data"]["status"] == "authorized"
        assert socket.ask(LISTEN) == {"stream": "listening", "data": {"streams": ["trade_updates"]}}
        order = desk.order("AAPL", 10).json()
        assert desk.alpaca.state()["sent"]["trade_updates"]["messages"] == 1
        new = socket.hear()["data"]
        assert (new["event"], new["order"]["id"], new["timestamp"]) == ("new", order["id"], "2019-02-11T15:00:00Z")
        desk.step(at(10, 1))
        fill = socket.hear()["data"]
        assert (fill["event"], fill["qty"], fill["position_qty"]) == ("fill", "10", "10")
        assert fill["price"] == fill["order"]["filled_avg_price"]


def test_updates_come_as_msgpack_to_who_asks_for_it(start: Start) -> None:
    desk = start(start=at(10))
    with opened(desk, "/stream", packed=True) as socket:
        assert socket.ask(AUTH)["data"]["status"] == "authorized"
        assert socket.ask(LISTEN)["data"] == {"streams": ["trade_updates"]}
        desk.order("AAPL", 10)
        assert socket.hear()["data"]["event"] == "new"


def test_nothing_is_told_to_who_does_not_listen_or_has_wrong_keys(start: Start) -> None:
    desk = start(start=at(10))
    with opened(desk, "/stream") as socket:
        assert socket.ask({"action": "auth", "key": KEY, "secret": "wrong"})["data"]["status"] == "unauthorized"
        socket.ends()
    with opened(desk, "/stream") as socket:
        assert socket.ask({"action": "authenticate", "data": [KEY]})["data"]["status"] == "unauthorized"
        socket.ends()
    with opened(desk, "/stream") as socket:
        socket.ask(AUTH)
        desk.order()
        assert desk.alpaca.state()["sent"]["trade_updates"]["messages"] == 0
        for data in ([], {"streams": 1}, None):
            assert socket.ask({"action": "listen", "data": data})["data"]["error_message"] == "invalid action"
        for message in ({"action": "sing"}, [LISTEN]):
            assert socket.ask(message)["data"]["error_message"] == "invalid action"
        socket.ask(LISTEN)
        desk.order("MSFT")
        assert socket.hear()["data"]["order"]["symbol"] == "MSFT"


# --- what goes wrong ----------------------------------------------------------------------------------------------


def faulty(begin: Start, *faults: Fault, **options: Any) -> Desk:
    return begin(Faults(0, list(faults)), **options)


def test_a_handshake_is_refused_with_429(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    desk = faulty(start, Fault(kind="refuse_stream", times=1, stream="bars"))
    with pytest.raises(InvalidStatus, match="429"), opened(desk):
        pass
    with opened(desk) as socket:
        subscribed(socket, bars=["AAPL"])
    assert desk.get("/simulator/state")["faults"] == {"refuse_stream": 1}
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_full_stream_says_406(start: Start) -> None:
    desk = faulty(start, Fault(kind="full_stream", times=1))
    with opened(desk) as socket:
        socket.hear()
        assert socket.ask(AUTH)[0]["code"] == 406


@pytest.mark.parametrize("code", [1006, 1011])
def test_a_stream_is_closed_or_lost(start: Start, code: int) -> None:
    desk = faulty(start, Fault(kind="close_stream", nth=2, code=code, stream="bars"))
    with opened(desk) as socket:
        subscribed(socket, bars=["AAPL"])
        desk.step(at(9, 31))
        socket.hear()
        desk.step(at(9, 32))
        with pytest.raises(ConnectionClosed) as closed:
            socket.connection.recv(timeout=5)
        received = closed.value.rcvd
        assert (1006 if received is None else received.code) == code
    with opened(desk) as socket:
        subscribed(socket, bars=["AAPL"])
        desk.step(at(9, 33))
        assert socket.hear()[0]["t"] == "2019-02-11T14:32:00Z"


def test_a_stream_says_what_is_wrong_and_closes(start: Start) -> None:
    others = Fault(kind="stream_error", code=500, stream="trade_updates")
    desk = faulty(start, Fault(kind="stream_error", stream="bars"), others)
    with opened(desk) as socket:
        subscribed(socket, bars=["AAPL"])
        desk.step(at(9, 31))
        assert socket.hear() == [{"T": "error", "code": 407, "msg": "slow client"}]
        socket.ends()
    with opened(desk, "/stream") as socket:
        socket.ask(AUTH)
        socket.ask(LISTEN)
        desk.order()
        assert socket.hear() == {"action": "error", "data": {"error_message": "internal error"}}
        socket.ends()


def test_a_mute_stream_answers_pings_and_says_nothing(start: Start) -> None:
    desk = faulty(start, Fault(kind="mute_stream", nth=1))
    with opened(desk) as socket:
        subscribed(socket, bars=["AAPL"])
        sent = desk.step(at(9, 33))["sent"]["bars"]
        assert (sent["connected"], sent["messages"]) == (True, 0)
        assert socket.connection.ping().wait(5)
        socket.say({"action": "subscribe", "bars": ["MSFT"]})
        with pytest.raises(TimeoutError):
            socket.connection.recv(timeout=0.1)


def told(desk: Desk, *, last: str = "fill") -> list[Any]:
    """The updates of two orders, in the order they come; the last of them is not distorted."""
    with opened(desk, "/stream") as socket:
        socket.ask(AUTH)
        socket.ask(LISTEN)
        desk.order("AAPL", client_order_id="one")
        desk.order("MSFT", client_order_id="two")
        messages = desk.step(at(10, 1))["sent"]["trade_updates"]["messages"]
        frames = [json.loads(socket.connection.recv(timeout=5)) for _ in range(messages)]
    return [frame["data"] and (frame["data"]["event"], frame["data"]["order"]["client_order_id"]) for frame in frames]


WHOLE = [("new", "one"), ("new", "two"), ("fill", "one"), ("fill", "two")]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("duplicate_update", [*WHOLE[:3], ("fill", "one"), ("fill", "two")]),
        ("drop_update", [*WHOLE[:2], ("fill", "two")]),
        ("reorder_update", [*WHOLE[:2], ("fill", "two"), ("fill", "one")]),
        ("null_update", [*WHOLE[:2], None, ("fill", "two")]),
    ],
)
def test_updates_come_twice_not_at_all_late_or_empty(start: Start, kind: str, expected: list[Any]) -> None:
    desk = faulty(start, Fault(kind=kind, event="fill", nth=1), start=at(10))
    assert told(desk) == expected
    assert desk.get("/simulator/state")["faults"] == {kind: 1}


def test_a_bar_is_missing_from_the_stream_and_there_over_rest(start: Start) -> None:
    desk = faulty(start, Fault(kind="missing_bar", symbol="AAPL", nth=1))
    with opened(desk) as socket:
        subscribed(socket, bars=["AAPL", "MSFT"])
        desk.step(at(9, 32))
        assert [message["S"] for message in socket.hear()] == ["MSFT"]
        assert [message["S"] for message in socket.hear()] == ["AAPL", "MSFT"]
    rows = desk.get("/v2/stocks/bars", symbols="AAPL", timeframe="1Min", start="2019-02-11")["bars"]["AAPL"]
    assert [row["t"] for row in rows] == ["2019-02-11T14:30:00Z", "2019-02-11T14:31:00Z"]


def test_a_late_trade_corrects_a_bar_half_a_minute_later(start: Start) -> None:
    desk = faulty(start, Fault(kind="updated_bar", nth=1))
    with opened(desk) as socket:
        subscribed(socket, bars=["AAPL"], updatedBars=["AAPL"])
        desk.step(at(9, 31))
        first = socket.hear()[0]
        assert desk.step(at(9, 31, 29))["sent"]["bars"]["messages"] == 1
        desk.step(at(9, 31, 30))
        corrected = socket.hear()[0]
    assert (corrected["T"], corrected["t"]) == ("u", first["t"])
    assert corrected["v"] > first["v"]
    assert first["h"] == max(first["o"], first["c"]) <= corrected["h"]


def test_a_bar_is_delayed(start: Start) -> None:
    desk = faulty(start, Fault(kind="delayed_bar", nth=1, seconds=90))
    with opened(desk) as socket:
        subscribed(socket, bars=["AAPL"])
        desk.step(at(9, 33))
        assert [socket.hear()[0]["t"][14:16] for _ in range(3)] == ["31", "32", "30"]

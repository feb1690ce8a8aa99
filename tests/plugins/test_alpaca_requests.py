"""Requests to Alpaca: bounded in time and number, repeated only where nothing can double; what every answer means."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import canary
import pytest
from scripted import Answer, Script, breaks_off, drips, drips_its_head, hangs_up, is_silent, says, scripted

from autotrader.clock import Calendar, VirtualClock
from autotrader.market.broker import BrokerError, BrokerOptions, FateUnknown, OrderRequest, Refused
from autotrader.market.feed import FeedError, FeedOptions
from autotrader.plugins.alpaca.answers import Answered, Unanswered, answered, meaning
from autotrader.plugins.alpaca.connection import NIGHTLY, Connection, RateLimit
from autotrader.plugins.alpaca.endpoints import AlpacaError, check_account, endpoints
from autotrader.plugins.brokers.alpaca import AlpacaBroker
from autotrader.plugins.feeds.alpaca import AlpacaFeed
from autotrader.secrets import KEY_ID, SECRET_KEY, Credentials, Secrets
from autotrader.settings import Alpaca, SystemSettings

NOW = datetime(2024, 3, 5, 15, tzinfo=UTC)
KEYS = Credentials(canary.KEY_ID, canary.SECRET)
ENTRY = OrderRequest("one", "AAPL", "buy", 10, "buy_to_open")
ORDER = {
    "id": "5c3b", "client_order_id": "one", "symbol": "AAPL", "side": "buy", "qty": "10", "status": "accepted",
    "submitted_at": "2024-03-05T15:00:00.123456789Z", "type": "market", "time_in_force": "day", "filled_qty": "0",
}  # fmt: skip
BOTTOMLESS = "[" * 20_000
NOT_FOUND = says(404, {"code": 40410000, "message": "order not found for one"})
TAKEN = says(422, {"code": 40010001, "message": "client_order_id must be unique"})


class Patience:
    """Waits that only the clock feels."""

    def __init__(self) -> None:
        self.clock = VirtualClock(NOW)
        self.waited: list[float] = []

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.clock.advance_to(self.clock.now() + timedelta(seconds=seconds))


@pytest.fixture
def patience() -> Patience:
    return Patience()


def connection(script: Script, patience: Patience, **settings: Any) -> Connection:
    given = Alpaca.model_validate({"url": script.url, "connect_seconds": 0.5, "read_seconds": 0.3, **settings})
    return Connection(given, KEYS, patience.clock, patience.wait)


def broker(script: Script, patience: Patience, **settings: Any) -> AlpacaBroker:
    return AlpacaBroker(connection(script, patience, **settings), None)


@pytest.fixture
def script() -> Iterator[Script]:
    with scripted() as found:
        yield found


# --- time-outs and retries --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [is_silent, drips, drips_its_head])
def test_no_call_waits_longer_than_it_is_allowed_to(script: Script, patience: Patience, answer: Answer) -> None:
    script.then(answer)
    asked = connection(script, patience)
    client = asked.trading
    began = time.monotonic()
    with pytest.raises(Unanswered):
        asked.get(client, "/account")
    assert time.monotonic() - began < 2.5, "the server takes 5 s over it"
    assert len(script.asked) == 1, "what has taken long is not asked for again while somebody waits"


def test_the_time_for_one_answer_is_not_taken_from_the_next(script: Script, patience: Patience) -> None:
    def late(handler: Any) -> None:
        time.sleep(0.2)  # of 0.3
        says(200, {"fine": True})(handler)

    script.then(late)
    asked = connection(script, patience)
    for _ in range(3):
        assert asked.get(asked.trading, "/account") == {"fine": True}
    assert len(script.asked) == 3


def test_at_night_what_took_too_long_is_asked_for_again(script: Script, patience: Patience) -> None:
    script.then(is_silent, says(200, {"fine": True}))
    asked = connection(script, patience)
    assert asked.get(asked.trading, "/account", patience=NIGHTLY) == {"fine": True}


@pytest.mark.parametrize(
    "trouble",
    [
        says(429, {"message": "too many requests."}),
        says(500, {"code": 50010000, "message": "internal server error occurred"}),
        says(502, "<html>502 Bad Gateway</html>"),
        says(503, ""),
        says(504, "<html>504 Gateway Time-out</html>"),
        says(200, "<html>Alpaca</html>"),
        says(200, BOTTOMLESS),
        says(302, "moved", Location="/nowhere"),
        breaks_off,
        hangs_up,
    ],
)
def test_what_reads_is_asked_again(script: Script, patience: Patience, trouble: Answer) -> None:
    script.then(trouble, says(200, {"fine": True}))
    asked = connection(script, patience)
    assert asked.get(asked.trading, "/account") == {"fine": True}
    assert len(script.asked) == 2
    assert patience.waited == [0.3]


def test_what_reads_is_given_up_after_a_few_tries(script: Script, patience: Patience) -> None:
    script.then(says(503, "away"))
    asked = connection(script, patience)
    with pytest.raises(Answered, match=r"away \(503\)"):
        asked.get(asked.trading, "/account")
    assert len(script.asked) == 3


def test_what_was_refused_is_not_asked_again(script: Script, patience: Patience) -> None:
    script.then(says(404, {"code": 40410000, "message": "position does not exist"}))
    asked = connection(script, patience)
    with pytest.raises(Answered, match="position does not exist"):
        asked.get(asked.trading, "/positions/AAPL")
    assert len(script.asked) == 1


def test_only_the_night_waits_for_the_end_of_the_servers_limit(script: Script, patience: Patience) -> None:
    reset = str(int(NOW.timestamp()) + 30)
    script.then(says(429, "", X_RateLimit_Reset=reset), says(200, {}))
    asked = connection(script, patience)
    asked.get(asked.data, "/stocks/bars", patience=NIGHTLY)
    script.answers = [says(429, "", X_RateLimit_Reset=str(int(reset) + 30)), says(200, {})]
    asked.get(asked.data, "/stocks/snapshots")
    assert patience.waited == [30.0, 0.3]


# --- the shared limit -------------------------------------------------------------------------------------------------


def test_no_minute_has_more_requests_than_allowed_and_orders_do_not_wait_for_the_rest() -> None:
    patience = Patience()
    limit = RateLimit(50, patience.clock, patience.wait)
    times = []
    for _ in range(100):
        limit.take(for_order=False)
        times.append(patience.clock.now())
    for first, later in zip(times, times[30:], strict=False):
        assert later - first >= timedelta(minutes=1)
    waits = len(patience.waited)
    for _ in range(20):
        limit.take(for_order=True)
    assert len(patience.waited) == waits


def test_a_limit_that_is_counted_by_another_clock_is_not_shared(script: Script, patience: Patience) -> None:
    script.then(says(200, {}))
    earlier = Patience()
    both = [connection(script, each, requests_per_minute=30) for each in (earlier, patience)]
    for _ in range(10):
        for each in both:
            each.get(each.trading, "/clock")
    assert not earlier.waited
    assert not patience.waited


def test_broker_and_feed_of_one_account_share_the_limit(script: Script, patience: Patience) -> None:
    script.then(says(200, {}))
    one = connection(script, patience, requests_per_minute=30)
    other = connection(script, patience, requests_per_minute=30)
    for _ in range(5):
        one.get(one.trading, "/clock")
        other.get(other.data, "/stocks/snapshots")
    assert not patience.waited
    other.get(other.data, "/stocks/snapshots")
    assert patience.waited == [60.0]
    assert one.requests + other.requests == 11


# --- orders -----------------------------------------------------------------------------------------------------------


def test_an_order_is_sent_once_with_its_id_and_its_intent(script: Script, patience: Patience) -> None:
    script.then(says(200, ORDER))
    order = broker(script, patience).submit(ENTRY)
    assert (order.client_order_id, order.status, order.quantity) == ("one", "accepted", 10)
    assert order.submitted_at == datetime(2024, 3, 5, 15, 0, 0, 123456, UTC)
    (sent,) = script.asked
    assert (sent.method, sent.path) == ("POST", "/v2/orders")
    assert {name: sent.body[name] for name in ("symbol", "side", "type", "time_in_force")} == {
        "symbol": "AAPL", "side": "buy", "type": "market", "time_in_force": "day",
    }  # fmt: skip
    assert sent.body["client_order_id"] == "one"
    assert sent.body["position_intent"] == "buy_to_open"
    assert float(sent.body["qty"]) == 10


def test_a_stop_order_has_its_price(script: Script, patience: Patience) -> None:
    script.then(says(200, {**ORDER, "type": "stop", "stop_price": "95.37", "side": "sell"}))
    request = OrderRequest("one", "AAPL", "sell", 10, "sell_to_close", "stop", "gtc", Decimal("95.37"))
    assert broker(script, patience).submit(request).stop_price == Decimal("95.37")
    body = script.asked[0].body
    assert (str(body["stop_price"]), body["time_in_force"], body["type"]) == ("95.37", "gtc", "stop")


@pytest.mark.parametrize(
    "answer",
    [
        says(500, {"code": 50010000, "message": "internal server error occurred"}),
        says(502, "<html>502 Bad Gateway</html>"),
        says(503, ""),
        says(504, "<html>504 Gateway Time-out</html>"),
        says(408, {"message": "request timeout"}),
        says(302, "moved", Location="/nowhere"),
        says(200, "<html>Alpaca</html>"),
        says(200, BOTTOMLESS),
        says(503, BOTTOMLESS),
        says(200, ""),
        says(200, [1]),
        says(200, {"id": "5c3b"}),
        says(200, {**ORDER, "client_order_id": "another"}),
        breaks_off,
        hangs_up,
        is_silent,
        drips,
        drips_its_head,
    ],
)
def test_where_nobody_knows_the_order_is_neither_refused_nor_sent_again(
    script: Script, patience: Patience, answer: Answer
) -> None:
    script.then(answer)
    with pytest.raises(FateUnknown, match="one"):
        broker(script, patience).submit(ENTRY)
    assert script.paths() == ["POST /v2/orders"]


def test_where_nobody_listens_nobody_knows_either(patience: Patience) -> None:
    with scripted() as gone:
        pass
    with pytest.raises(FateUnknown):
        broker(gone, patience).submit(ENTRY)


REFUSALS = [
    (401, None, "unauthorized."),
    (403, None, "forbidden."),
    (422, 40010001, "qty must be > 0"),
    (403, 40310000, "opg orders must be submitted after 7:00pm and before 9:28am"),
    (403, 40310000, "insufficient buying power"),
    (403, 40310000, "insufficient qty available for order (requested: 23, available: 0)"),
    (403, 40310000, "potential wash trade detected. use complex orders"),
    (403, 40310000, "account is not allowed to short"),
    (403, 40310000, "account is not authorized to trade"),
    (403, 40310100, "trade denied due to pattern day trading protection"),
    (422, 42210000, 'asset "X" cannot be sold short'),
    (422, 42210000, 'only day orders are allowed for hard-to-borrow asset "X"'),
    (422, 42210000, 'market order rejected due to trading halt on symbol: "X", please place a limit order instead'),
    (422, 42210000, "position intent mismatch, inferred: sell_to_open, specified: sell_to_close"),
    (422, 42210000, 'asset "X" not found'),
    (422, 42210000, "asset X is not active"),
    (422, 42210000, "stop price must be less than current price"),
]


@pytest.mark.parametrize(("status", "code", "message"), REFUSALS)
def test_what_the_broker_certainly_refused_does_not_exist(
    script: Script, patience: Patience, status: int, code: int | None, message: str
) -> None:
    script.then(says(status, {"message": message} if code is None else {"code": code, "message": message}))
    with pytest.raises(Refused) as refusal:
        broker(script, patience).submit(ENTRY)
    assert message in str(refusal.value)
    assert refusal.value.code == ("" if code is None else str(code))
    assert script.paths() == ["POST /v2/orders"]


UNCLEAR = [
    says(429, {"code": 42910000, "message": "too many requests."}),
    says(403, "<html>Access denied</html>"),
    says(403, BOTTOMLESS),
    says(422, {"code": 49900000, "message": "something new"}),
    says(400, {"message": "bad request"}),
]


@pytest.mark.parametrize("answer", UNCLEAR)
def test_an_unknown_refusal_is_one_if_the_broker_does_not_know_the_order(
    script: Script, patience: Patience, answer: Answer
) -> None:
    script.then(answer, NOT_FOUND)
    with pytest.raises(Refused):
        broker(script, patience).submit(ENTRY)
    assert script.paths() == ["POST /v2/orders", "GET /v2/orders:by_client_order_id"]


@pytest.mark.parametrize("answer", UNCLEAR)
def test_an_unknown_refusal_is_none_if_the_broker_has_the_order(
    script: Script, patience: Patience, answer: Answer
) -> None:
    script.then(answer, says(200, {**ORDER, "status": "filled", "filled_qty": "10", "filled_avg_price": "99.5"}))
    order = broker(script, patience).submit(ENTRY)
    assert (order.status, order.filled_average_price) == ("filled", Decimal("99.5"))


@pytest.mark.parametrize("answer", [TAKEN, *UNCLEAR])
def test_it_stays_unknown_if_the_look_up_fails(script: Script, patience: Patience, answer: Answer) -> None:
    script.then(answer, says(503, "away"))
    with pytest.raises(FateUnknown, match="away"):
        broker(script, patience).submit(ENTRY)


def test_an_id_that_is_taken_by_the_very_order_is_its_late_answer(script: Script, patience: Patience) -> None:
    script.then(TAKEN, says(200, ORDER))
    assert broker(script, patience).submit(ENTRY).client_order_id == "one"


@pytest.mark.parametrize("other", [{"qty": "11"}, {"symbol": "MSFT"}, {"side": "sell"}, {"type": "stop"}])
def test_an_id_that_is_taken_by_another_order_is_a_refusal(
    script: Script, patience: Patience, other: dict[str, str]
) -> None:
    script.then(TAKEN, says(200, {**ORDER, **other}))
    with pytest.raises(Refused) as refusal:
        broker(script, patience).submit(ENTRY)
    assert refusal.value.code == "40010001"


def test_an_id_that_is_taken_by_nothing_that_can_be_found_stays_unknown(script: Script, patience: Patience) -> None:
    script.then(TAKEN, NOT_FOUND)
    with pytest.raises(FateUnknown, match="unique"):
        broker(script, patience).submit(ENTRY)


def test_only_the_brokers_own_404_says_that_there_is_no_order(script: Script, patience: Patience) -> None:
    script.then(NOT_FOUND)
    assert broker(script, patience).order("one") is None
    script.answers = [says(404, "<html>404 Not Found</html>")]
    with pytest.raises(BrokerError, match="404"):
        broker(script, patience).order("one")


def test_the_meaning_of_an_answer_does_not_hang_on_its_code_alone() -> None:
    assert meaning(answered(422, '{"code": 40010001, "message": "client_order_id must be unique"}')) == "id_taken"
    assert meaning(answered(403, '{"code": 40310000, "message": "never seen before"}')) == "unclear"
    assert meaning(answered(418, "")) == "unclear"
    assert meaning(answered(599, "")) == "unknown"


# --- cancels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (says(204, ""), None),
        (says(422, {"code": 42210000, "message": 'order is already in "pending_cancel" state'}), None),
        (says(422, {"code": 42210000, "message": 'order is already in "filled" state'}), Refused),
        (says(404, {"code": 40410000, "message": "order not found for 5c3b"}), Refused),
        (says(429, {"message": "too many requests."}), FateUnknown),
        (says(504, "<html>504 Gateway Time-out</html>"), FateUnknown),
        (hangs_up, FateUnknown),
        (is_silent, FateUnknown),
    ],
)
def test_a_cancel_is_sent_once(
    script: Script, patience: Patience, answer: Answer, error: type[Exception] | None
) -> None:
    script.then(says(200, ORDER), answer)
    mine = broker(script, patience)
    mine.submit(ENTRY)
    if error is None:
        mine.cancel("one")
    else:
        with pytest.raises(error) as raised:
            mine.cancel("one")
        assert type(raised.value) is error
    assert script.paths() == ["POST /v2/orders", "DELETE /v2/orders/5c3b"]


def test_an_order_of_another_process_is_looked_up_before_it_is_canceled(script: Script, patience: Patience) -> None:
    script.then(says(200, ORDER), says(204, ""))
    broker(script, patience).cancel("one")
    assert script.paths() == ["GET /v2/orders:by_client_order_id", "DELETE /v2/orders/5c3b"]


# --- reading ----------------------------------------------------------------------------------------------------------


def test_what_is_not_needed_may_be_missing_or_unheard_of(script: Script, patience: Patience) -> None:
    script.then(says(200, {"account_number": "PA1", "cash": "1", "equity": "2", "buying_power": "3", "new": {}}))
    assert broker(script, patience).account().equity == 2
    strange = {**ORDER, "status": "levitating", "asset_class": "moon", "type": "iceberg", "legs": 7}
    script.answers = [says(200, [strange, {**strange, "id": "6", "filled_qty": "3"}])]
    orders = broker(script, patience).open_orders()
    assert [order.status for order in orders] == ["accepted", "partially_filled"]
    assert not any(order.final for order in orders)


@pytest.mark.parametrize("word", ["replaced", "canceled", "expired", "rejected", "filled"])
def test_final_states_are_final(script: Script, patience: Patience, word: str) -> None:
    script.then(says(200, {**ORDER, "status": word}))
    order = broker(script, patience).order("one")
    assert order is not None
    assert order.final


@pytest.mark.parametrize("word", ["done_for_day", "calculated", "pending_replace", "suspended", "held", "stopped"])
def test_others_are_not(script: Script, patience: Patience, word: str) -> None:
    script.then(says(200, {**ORDER, "status": word}))
    order = broker(script, patience).order("one")
    assert order is not None
    assert not order.final


@pytest.mark.parametrize("missing", ["client_order_id", "symbol", "side", "status", "submitted_at"])
def test_what_is_needed_and_missing_is_said(script: Script, patience: Patience, missing: str) -> None:
    script.then(says(200, [{name: value for name, value in ORDER.items() if name != missing}]))
    with pytest.raises(BrokerError, match=missing):
        broker(script, patience).open_orders()


def test_positions_are_signed_and_a_fraction_is_never_taken_for_whole_shares(
    script: Script, patience: Patience
) -> None:
    rows = [
        ("A", "10", "long"),
        ("B", "-5", "short"),
        ("C", "5", "short"),
        ("D", "10.5", "long"),
        ("E", "-0.1", "short"),
    ]
    script.then(says(200, [{"symbol": s, "qty": q, "side": side, "avg_entry_price": "9.5"} for s, q, side in rows]))
    found = {position.symbol: position.quantity for position in broker(script, patience).positions()}
    assert found == {"A": 10, "B": -5, "C": -5, "D": 11, "E": -1}


@pytest.mark.parametrize(
    ("asset", "lent"),
    [
        ({"shortable": True, "easy_to_borrow": True}, True),
        ({"shortable": True, "easy_to_borrow": False}, False),
        ({"shortable": False}, False),
        ({"shortable": True, "borrow_status": "easy_to_borrow"}, True),
        ({"shortable": True, "borrow_status": "hard_to_borrow"}, False),
        ({"shortable": True}, None),
        ({}, None),
    ],
)
def test_what_is_lent_is_asked_once_a_day(
    script: Script, patience: Patience, asset: dict[str, Any], lent: bool | None
) -> None:
    script.then(says(200, {**asset, "exchange": "A NEW ONE"}))
    mine = broker(script, patience)
    assert mine.shortable("AAPL") is lent
    assert mine.shortable("AAPL") is lent
    assert len(script.asked) == 1
    patience.wait(86_400)
    mine.shortable("AAPL")
    assert len(script.asked) == 2


def test_fills_come_page_by_page_with_the_ids_of_their_orders(script: Script, patience: Patience) -> None:
    def fill(number: int) -> dict[str, Any]:
        return {
            "id": f"2024::{number}", "order_id": "5c3b", "symbol": "AAPL", "side": "sell_short", "qty": "1",
            "price": "9.51", "cum_qty": str(number + 1),
            "transaction_time": f"2024-03-05T15:{number // 60:02}:{number % 60:02}Z",
        }  # fmt: skip

    script.then(
        says(200, [fill(n) for n in range(100)]), says(200, [fill(n) for n in range(100, 130)]), says(200, ORDER)
    )
    found = broker(script, patience).executions(NOW + timedelta(seconds=10))
    assert [execution.cumulative for execution in found] == list(range(11, 131))
    assert {execution.client_order_id for execution in found} == {"one"}
    assert {execution.side for execution in found} == {"sell"}
    assert [item.query.get("page_token") for item in script.asked] == [None, "2024::99", None]
    assert script.asked[0].query["page_size"] == "100"


def test_open_orders_beyond_a_page_are_found(script: Script, patience: Patience) -> None:
    def order(number: int) -> dict[str, Any]:
        at = NOW + timedelta(seconds=number // 3)  # several in one second
        return {**ORDER, "id": str(number), "client_order_id": f"c{number}", "submitted_at": at.isoformat()}

    script.then(says(200, [order(n) for n in range(500)]), says(200, [order(n) for n in range(498, 620)]))
    assert len(broker(script, patience).open_orders()) == 620
    assert script.asked[1].query["after"] < order(499)["submitted_at"]


# --- the account that is meant ----------------------------------------------------------------------------------------


def opened(script: Script, home: Path, **settings: Any) -> AlpacaBroker:
    system = SystemSettings.model_validate({"alpaca": {"url": script.url, **settings}})
    secrets = Secrets(home, {KEY_ID: canary.KEY_ID, SECRET_KEY: canary.SECRET})
    return AlpacaBroker.open(BrokerOptions(Calendar(), VirtualClock(NOW), system, secrets, streaming=False))


def test_another_account_than_the_one_named_is_refused(script: Script, tmp_path: Path) -> None:
    script.then(says(200, {"account_number": "PA1", "cash": "1", "equity": "2", "buying_power": "3"}))
    with pytest.raises(BrokerError, match=r"account PA1, and alpaca\.account names PA2"):
        opened(script, tmp_path, account="PA2")
    assert not opened(script, tmp_path, account="PA1").is_live


def test_without_keys_it_does_not_open(script: Script, tmp_path: Path) -> None:
    system = SystemSettings.model_validate({"alpaca": {"url": script.url}})
    for options in (BrokerOptions(Calendar(), system=system, secrets=Secrets(tmp_path, {})), BrokerOptions(Calendar())):
        with pytest.raises(BrokerError, match="keys"):
            AlpacaBroker.open(options)
    with pytest.raises(FeedError, match="keys"):
        AlpacaFeed.open(FeedOptions(None, 0, Calendar(), system=system, secrets=Secrets(tmp_path, {})))


def test_live_takes_both_a_flag_and_the_account_number() -> None:
    for settings, number, wrong in (
        (Alpaca(live=True, account="PA1"), "PA1", "is a paper account"),
        (Alpaca(live=True, account="123456789"), "987654321", "alpaca.account names 123456789"),
        (Alpaca(), "123456789", "alpaca.live is not true"),
        (Alpaca(account="123456789"), "123456789", "alpaca.live is not true"),
    ):
        with pytest.raises(AlpacaError, match=wrong):
            check_account(settings, number, local=False)
    check_account(Alpaca(live=True, account="123456789"), "123456789", local=False)
    check_account(Alpaca(), "PA1", local=False)
    check_account(Alpaca(), "anything", local=True)


def test_live_without_an_account_number_is_a_mistake_of_the_configuration() -> None:
    with pytest.raises(ValueError, match="needs the account's number"):
        Alpaca(live=True)


def test_without_the_flag_all_goes_to_the_paper_market() -> None:
    paper = endpoints(Alpaca())
    assert paper.trading == "https://paper-api.alpaca.markets"
    assert paper.updates == "wss://paper-api.alpaca.markets/stream"
    assert (paper.data, paper.bars) == ("https://data.alpaca.markets", "wss://stream.data.alpaca.markets/v2/iex")
    live = endpoints(Alpaca(live=True, account="1", data_feed="sip"))
    assert (live.trading, live.updates) == ("https://api.alpaca.markets", "wss://api.alpaca.markets/stream")
    assert live.bars.endswith("/v2/sip")
    local = endpoints(Alpaca(url="http://127.0.0.1:8700/"))
    assert (local.trading, local.updates) == ("http://127.0.0.1:8700", "ws://127.0.0.1:8700/stream")
    assert local.local
    assert not paper.local


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://api.alpaca.markets", "live market"),
        ("http://example.com", "unencrypted"),
        ("127.0.0.1:8700", "no address"),
    ],
)
def test_keys_go_nowhere_else(url: str, words: str) -> None:
    with pytest.raises(AlpacaError, match=words):
        endpoints(Alpaca(url=url))
    with pytest.raises(AlpacaError, match=words):
        endpoints(Alpaca(stream_url=url.replace("http", "ws")))


# --- keys stay in -----------------------------------------------------------------------------------------------------


def test_a_server_that_repeats_the_keys_does_not_get_them_written(
    script: Script, patience: Patience, caplog: pytest.LogCaptureFixture
) -> None:
    script.then(says(403, {"code": 1, "message": f"key {canary.KEY_ID} secret {canary.SECRET} unknown"}))
    with caplog.at_level(logging.DEBUG), pytest.raises(BrokerError) as error:
        broker(script, patience).positions()
    assert "[redacted]" in str(error.value)
    text = f"{error.value} {caplog.text} {error.getrepr(style='long')!s}"
    assert not canary.is_in(text)


# --- the feed ---------------------------------------------------------------------------------------------------------


def feed(script: Script, patience: Patience) -> AlpacaFeed:
    return AlpacaFeed(connection(script, patience), Calendar())


def bar(day: str, close: float = 10.0, **other: Any) -> dict[str, Any]:
    return {"t": day, "o": close, "h": close, "l": close, "c": close, "v": 100, "n": 1, "vw": close, **other}


def test_daily_bars_come_in_full_pages_adjusted_for_splits(script: Script, patience: Patience) -> None:
    script.then(
        says(200, {"bars": {"A": [bar("2024-03-01T05:00:00Z", 1)]}, "next_page_token": "more"}),
        says(200, {"bars": {"A": [bar("2024-03-04T05:00:00Z", 2)], "B": [bar("2024-03-04T05:00:00Z", 3)]},
                   "next_page_token": None}),
    )  # fmt: skip
    panel = feed(script, patience).daily_bars(["B", "A"], date(2024, 3, 4), 2)
    assert panel.close.tolist()[1] == [1.0, 2.0]
    assert str(panel.close.tolist()[0]) == "[nan, 3.0]"
    first, second = script.asked
    assert first.query["adjustment"] == "split"
    assert (first.query["limit"], first.query["symbols"], first.query["feed"]) == ("10000", "B,A", "sip")
    assert first.query["start"] == "2024-03-01T00:00:00-05:00"
    assert first.query["end"] == "2024-03-04T00:00:00-05:00"
    assert second.query["page_token"] == "more"


def test_the_bar_of_a_session_that_is_not_over_is_none(script: Script, patience: Patience) -> None:
    script.then(says(200, {"bars": {"A": [bar("2024-03-04T05:00:00Z"), bar("2024-03-05T05:00:00Z")]}}))
    panel = feed(script, patience).daily_bars(["A"], date(2024, 3, 5), 2)
    assert script.asked[0].query["end"] == "2024-03-04T00:00:00-05:00"
    assert panel.dates[-1].item() == date(2024, 3, 5)


@pytest.mark.parametrize("missing", ["o", "h", "l", "c", "v"])
def test_a_bar_that_lacks_a_number_is_no_bar(script: Script, patience: Patience, missing: str) -> None:
    script.then(says(200, {"bars": {"A": [bar("2024-03-04T05:00:00Z", **{missing: None})]}}))
    panel = feed(script, patience).daily_bars(["A"], date(2024, 3, 4), 1)
    assert str(panel.close[0, 0]) == "nan"
    assert str(panel.open[0, 0]) == "nan"


def test_a_bar_on_a_day_without_a_session_is_refused(script: Script, patience: Patience) -> None:
    script.then(says(200, {"bars": {"A": [bar("2024-03-03T05:00:00Z")]}}))
    with pytest.raises(FeedError, match="2024-03-03"):
        feed(script, patience).daily_bars(["A"], date(2024, 3, 4), 5)


@pytest.mark.parametrize(
    "body",
    [[], {"bars": [1]}, {"bars": {"A": 5}}, {"bars": {"A": [1]}}, {"bars": {}, "next_page_token": ["more"]}],
    ids=str,
)
def test_a_page_that_is_none_is_refused(script: Script, patience: Patience, body: Any) -> None:
    script.then(says(200, body))
    with pytest.raises(FeedError):
        feed(script, patience).daily_bars(["A"], date(2024, 3, 4), 5)


def test_pages_that_never_end_are_noticed(script: Script, patience: Patience) -> None:
    script.then(says(200, {"bars": {}, "next_page_token": "same"}))
    with pytest.raises(FeedError, match="again and again"):
        feed(script, patience).daily_bars(["A"], date(2024, 3, 4), 5)
    assert len(script.asked) == 2


def test_a_symbol_that_the_server_does_not_take_for_one_costs_the_others_nothing(
    script: Script, patience: Patience
) -> None:
    script.then(
        says(400, {"message": "invalid symbol: BRK-B"}), says(200, {"bars": {"A": [bar("2024-03-04T05:00:00Z")]}})
    )
    panel = feed(script, patience).daily_bars(["BRK-B", "A"], date(2024, 3, 4), 1)
    assert script.asked[1].query["symbols"] == "A"
    assert panel.close[1, 0] == 10.0


def test_what_a_subscription_does_not_permit_is_said_with_a_way_out(script: Script, patience: Patience) -> None:
    script.then(says(403, {"code": 42210000, "message": "subscription does not permit querying recent SIP data"}))
    with pytest.raises(FeedError, match=r"set alpaca\.data_feed to iex"):
        feed(script, patience).quotes(["A"])


def snapshot(script: Script, patience: Patience, trade: Any, quote: Any) -> Any:
    members = {"latestTrade": trade, "latestQuote": quote, "dailyBar": bar("2024-03-04T05:00:00Z", 77)}
    script.answers = [says(200, {"A": {name: value for name, value in members.items() if value is not None}})]
    return feed(script, patience).quotes(["A", "B"]).get("A")


def test_the_price_is_the_newest_of_trade_and_quote(script: Script, patience: Patience) -> None:
    old, new = "2024-03-05T14:00:00Z", "2024-03-05T14:59:30.5Z"
    quote = {"t": new, "bp": 99.0, "ap": 101.0}
    found = snapshot(script, patience, {"t": old, "p": 90.0}, quote)
    assert (found.price, found.age_seconds, found.spread_pct) == (100.0, 29.5, 0.02)
    found = snapshot(script, patience, {"t": new, "p": 90.0}, {**quote, "t": old})
    assert (found.price, found.age_seconds, found.spread_pct) == (90.0, 29.5, 0.02)


@pytest.mark.parametrize(
    "quote",
    [
        None,
        {"t": "2024-03-05T14:59:00Z", "bp": 99.0, "ap": 0},
        {"t": "2024-03-05T14:59:00Z", "bp": 0, "ap": 101.0},
        {"t": "2024-03-05T14:59:00Z", "bp": 101.0, "ap": 99.0},
        {"t": "2024-03-05T14:59:00Z", "bp": 101.0},
        {"bp": 99.0, "ap": 101.0},
        "nonsense",
    ],
)
def test_a_quote_without_two_sides_has_no_price(script: Script, patience: Patience, quote: Any) -> None:
    found = snapshot(script, patience, {"t": "2024-03-05T14:00:00Z", "p": 90.0}, quote)
    assert (found.price, found.age_seconds, str(found.spread_pct)) == (90.0, 3600.0, "nan")
    assert snapshot(script, patience, None, quote) is None
    assert snapshot(script, patience, {"t": "2024-03-05T14:00:00Z", "p": 0}, quote) is None


def test_a_split_may_have_a_fraction_in_its_rates(script: Script, patience: Patience) -> None:
    row = {"symbol": "A", "ex_date": "2024-03-05", "new_rate": 1.5, "old_rate": 1}
    reverse = {"symbol": "B", "ex_date": "2024-03-05", "new_rate": 1, "old_rate": 20}
    later = {"symbol": "B", "ex_date": "2024-03-06", "new_rate": 1, "old_rate": 20}
    script.then(says(200, {"corporate_actions": {"forward_splits": [row], "reverse_splits": [later, reverse]}}))
    found = feed(script, patience).splits(["A", "B"], date(2024, 3, 5))
    assert [(split.symbol, split.new, split.old) for split in found] == [("A", 3, 2), ("B", 1, 20)]
    assert script.asked[0].path == "/v1/corporate-actions"


def test_the_plugins_are_found_without_loading_what_they_stand_on() -> None:
    code = (
        "import sys\nfrom autotrader.plugins.registry import load_broker, load_feed\n"
        "print(load_broker('alpaca').name, load_feed('alpaca').name)\n"
        "print([name for name in ('alpaca', 'requests', 'websockets', 'pandas', 'numpy') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "alpaca alpaca\n[]\n"


def test_what_stands_for_pandas_gives_way_to_it_when_something_of_it_is_asked_for() -> None:
    code = (
        "import sys\n"
        "from autotrader.plugins.alpaca.connection import _without_pandas\n"
        "with _without_pandas():\n"
        "    import pandas\n"
        "    assert not hasattr(pandas, '__file__')\n"
        "    from pandas import DataFrame\n"
        "print(DataFrame.__name__, sys.modules['pandas'].__name__, hasattr(sys.modules['pandas'], '__file__'))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["DataFrame", "pandas", "True"]

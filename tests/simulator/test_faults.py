"""What goes wrong on purpose: every kind does what it says, is counted, and is the same in every run."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest
from pydantic import ValidationError

from autotrader.simulator.faults import KINDS, Fault, Faults, FaultsError
from tests.simulator.conftest import Desk, Start, at

ROOT = Path(__file__).parents[2]


def faulty(begin: Start, *faults: Fault, **options: Any) -> Desk:
    return begin(Faults(0, list(faults)), **{"start": at(10), **options})


def counts(desk: Desk) -> dict[str, int]:
    found: dict[str, int] = desk.get("/simulator/state")["faults"]
    return found


def exists(desk: Desk, name: str) -> bool:
    path = f"/v2/orders:by_client_order_id?client_order_id={name}"
    return desk.call("GET", path, as_it_is=True).status_code == 200


# --- requests -----------------------------------------------------------------------------------------------------

ANSWERED = {"429": 429, "500_before": 500, "500_after": 500, "502_before": 502, "503_before": 503, "504_before": 504,
            "504_after": 504, "302": 302}  # fmt: skip


@pytest.mark.parametrize("kind", ANSWERED)
def test_an_order_meets_an_error_before_or_after_it_was_taken(start: Start, kind: str) -> None:
    desk = faulty(start, Fault(kind=kind, request="POST /v2/orders", nth=1))
    body = {"symbol": "AAPL", "qty": 1, "side": "buy", "type": "market", "time_in_force": "day"}
    answer = desk.call("POST", "/v2/orders", json={**body, "client_order_id": "one"}, as_it_is=True)
    assert answer.status_code == ANSWERED[kind]
    assert exists(desk, "one") is kind.endswith("after")
    assert counts(desk) == {kind: 1}
    assert desk.order(client_order_id="two").status_code == 200


@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "hang_before", "hang_after", "truncated"])
def test_an_answer_never_comes_or_breaks_off(start: Start, kind: str) -> None:
    desk = faulty(start, Fault(kind=kind, request="POST /v2/orders", nth=1, seconds=0.2))
    began = time.monotonic()
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        desk.order(client_order_id="one")
    assert (time.monotonic() - began >= 0.2) is kind.startswith("hang")
    assert exists(desk, "one") is not kind.endswith("before")
    assert counts(desk) == {kind: 1}


def test_the_official_client_repeats_a_504_and_meets_its_own_order(start: Start) -> None:
    desk = faulty(start, Fault(kind="504_after", nth=1))
    request = MarketOrderRequest(
        symbol="AAPL", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, client_order_id="one"
    )
    with pytest.raises(APIError) as raised:
        desk.trading.submit_order(request)
    assert (raised.value.status_code, raised.value.code) == (422, 40010001)
    assert exists(desk, "one")


def test_the_official_client_outlives_two_429(start: Start) -> None:
    desk = faulty(start, Fault(kind="429", times=2))
    assert desk.trading.get_account().status == "ACTIVE"
    assert counts(desk) == {"429": 2}


def test_an_answer_is_a_page_lacks_a_field_or_has_an_unknown_value(start: Start) -> None:
    desk = faulty(
        start,
        Fault(kind="not_json", request="GET /v2/clock"),
        Fault(kind="field_removed", request="GET /v2/account", field="cash"),
        Fault(kind="field_set", request="GET /v2/assets", field="exchange", value="MOON"),
        Fault(kind="slow", request="GET /v2/calendar", seconds=0.2),
    )
    assert "<html>" in desk.call("GET", "/v2/clock", as_it_is=True).text
    assert "cash" not in desk.call("GET", "/v2/account", as_it_is=True).json()
    with pytest.raises(ValueError, match="MOON"):
        desk.trading.get_all_assets()
    slow = desk.call("GET", "/v2/calendar", params={"start": "2019-02-11", "end": "2019-02-11"})
    assert slow.elapsed.total_seconds() > 0.2


# --- orders -------------------------------------------------------------------------------------------------------


def test_an_order_is_taken_and_rejected_afterwards(start: Start) -> None:
    desk = faulty(start, Fault(kind="reject_order", nth=1))
    updates = desk.updates()
    order = desk.order("AAPL").json()
    assert order["status"] == "pending_new"
    assert desk.get(f"/v2/orders/{order['id']}")["status"] == "rejected"
    desk.until(lambda: [update.event for update in updates] == ["new", "rejected"])


def test_an_order_is_filled_late_and_in_parts(start: Start) -> None:
    desk = faulty(start, Fault(kind="late_fill", symbol="AAPL", nth=1), Fault(kind="partial_fill", nth=1))
    updates = desk.updates()
    order = desk.order("AAPL", 9).json()
    seen = []
    for minute in range(1, 4):
        desk.step(at(10, minute))
        found = desk.get(f"/v2/orders/{order['id']}")
        seen.append((found["status"], found["filled_qty"]))
    assert seen == [("new", "0"), ("partially_filled", "4"), ("filled", "9")]
    desk.until(lambda: len(updates) == 3)
    assert [(u.event, u.qty, u.position_qty) for u in updates] == [
        ("new", None, None), ("partial_fill", 4, 4), ("fill", 5, 9),
    ]  # fmt: skip
    rows = desk.get("/v2/account/activities/FILL", direction="asc")
    assert [(r["type"], r["cum_qty"], r["leaves_qty"]) for r in rows] == [
        ("partial_fill", "4", "5"),
        ("fill", "9", "0"),
    ]


def test_an_unfilled_order_for_the_opening_expires(start: Start) -> None:
    desk = faulty(start, Fault(kind="late_fill", nth=1), Fault(kind="partial_fill", nth=1), start=at(9))
    none, half = (desk.order(symbol, 10, time_in_force="opg").json()["id"] for symbol in ("AAPL", "MSFT"))
    desk.step(at(9, 31))
    ended = [(order["status"], order["filled_qty"]) for order in (desk.get(f"/v2/orders/{i}") for i in (none, half))]
    assert ended == [("expired", "0"), ("expired", "5")]


def test_an_order_for_the_opening_may_be_filled_minutes_after_it(start: Start) -> None:
    desk = faulty(start, Fault(kind="late_opening", symbol="AAPL"), start=at(9))
    late, other = (desk.order(symbol, 10, time_in_force="opg").json()["id"] for symbol in ("AAPL", "MSFT"))
    desk.step(at(9, 35))
    assert [desk.get(f"/v2/orders/{i}")["status"] for i in (late, other)] == ["new", "filled"]
    desk.step(at(9, 36))
    assert desk.get(f"/v2/orders/{late}")["filled_at"] == "2019-02-11T14:35:00Z"
    assert counts(desk) == {"late_opening": 1}


def test_a_cancel_is_late_and_the_fill_comes_first(start: Start) -> None:
    desk = faulty(start, Fault(kind="slow_cancel"), Fault(kind="partial_fill", symbol="MSFT", nth=1))
    whole, part = desk.order("AAPL").json()["id"], desk.order("MSFT").json()["id"]
    for order in (whole, part):
        assert desk.call("DELETE", f"/v2/orders/{order}").status_code == 204
        assert desk.get(f"/v2/orders/{order}")["status"] == "pending_cancel"
        assert desk.call("DELETE", f"/v2/orders/{order}").status_code == 422
    desk.step(at(10, 1))
    found = [desk.get(f"/v2/orders/{order}") for order in (whole, part)]
    assert [(order["status"], order["filled_qty"]) for order in found] == [("filled", "10"), ("canceled", "5")]


# --- states -------------------------------------------------------------------------------------------------------


def test_positions_are_stale_for_a_while(start: Start) -> None:
    desk = faulty(start, Fault(kind="stale_positions"))
    desk.order("AAPL")
    desk.step(at(10, 1))
    assert desk.get("/v2/positions") == []
    assert desk.get("/v2/positions/AAPL")["qty"] == "10"
    desk.step(at(10, 3))
    assert [position["symbol"] for position in desk.get("/v2/positions")] == ["AAPL"]
    assert counts(desk) == {"stale_positions": 1}, "where it made a difference"


def test_quotes_have_no_ask_or_are_old(start: Start) -> None:
    desk = faulty(start, Fault(kind="zero_ask", symbol="AAPL"), Fault(kind="stale_quote", symbol="MSFT"))
    quotes = desk.get("/v2/stocks/quotes/latest", symbols="AAPL,MSFT,XOM")["quotes"]
    assert [quotes[symbol]["ap"] == 0 for symbol in ("AAPL", "MSFT", "XOM")] == [True, False, False]
    assert [quotes[symbol]["t"][11:16] for symbol in ("AAPL", "MSFT", "XOM")] == ["15:00", "14:00", "15:00"]


def test_the_clock_is_wrong(start: Start) -> None:
    desk = faulty(start, Fault(kind="clock_skew", seconds=-7))
    assert desk.trading.get_clock().timestamp == at(9, 59, 53)


def test_the_account_has_less_buying_power_or_may_not_trade(start: Start) -> None:
    desk = faulty(
        start, Fault(kind="buying_power", value=100, until=at(10, 1)), Fault(kind="account_blocked", since=at(10, 1))
    )
    assert desk.get("/v2/account")["buying_power"] == "100"
    assert desk.order("AAPL").json()["message"] == "insufficient buying power"
    desk.step(at(10, 1))
    account = desk.get("/v2/account")
    assert account["account_blocked"]
    assert account["buying_power"] == "200000"
    assert desk.order("AAPL").status_code == 403


def test_a_symbol_is_halted_between_two_times(start: Start) -> None:
    desk = faulty(start, Fault(kind="halt", symbol="AAPL", since=at(10), until=at(10, 2)), start=at(9, 59))
    bars = desk.bars("AAPL")
    desk.order("AAPL", client_order_id="before")
    desk.step(at(10, 3))
    desk.until(lambda: len(bars) == 2)
    assert [bar.timestamp for bar in bars] == [at(9, 59), at(10, 2)]
    assert counts(desk) == {"halt": 2}


# --- lists of faults ----------------------------------------------------------------------------------------------


def test_faults_are_added_and_removed_while_it_runs(start: Start) -> None:
    desk = faulty(start)
    added = desk.control("faults", {"add": [{"kind": "429"}, {"kind": "500_before", "request": "GET /v2/clock"}]})[
        "added"
    ]
    assert desk.call("GET", "/v2/clock").status_code == 429
    desk.control("faults", {"remove": [added[0]]})
    assert desk.call("GET", "/v2/clock").status_code == 500
    desk.control("faults", {"clear": True})
    assert desk.call("GET", "/v2/clock").status_code == 200
    assert desk.get("/simulator/faults") == {"faults": {}, "counts": {"429": 1, "500_before": 1}}
    unknown = desk.call("POST", "/simulator/faults", json={"add": [{"kind": "earthquake"}]})
    assert unknown.status_code == 422
    assert "earthquake is no kind of fault" in unknown.json()["message"]


def test_a_rate_strikes_the_same_in_every_run_whatever_else_is_asked() -> None:
    def struck(seed: int, others: int) -> list[bool]:
        faults = Faults(seed, [Fault(kind="missing_bar", rate=0.3)])
        found = []
        for i in range(200):
            found.append(faults.strike("missing_bar", f"AAPL/{i}") is not None)
            for other in range(others):
                faults.strike("missing_bar", f"MSFT/{i}/{other}")
        return found

    assert struck(1, 0) == struck(1, 3) != struck(2, 0)
    assert 40 < sum(struck(1, 0)) < 80


def test_the_nth_and_at_most_so_often() -> None:
    faults = Faults(0, [Fault(kind="429", nth=2), Fault(kind="302", times=2, request="GET *")])
    assert [faults.strike("429", "x", request="x") is not None for _ in range(4)] == [False, True, False, False]
    assert [faults.strike("302", "x", request="GET /v2/clock") is not None for _ in range(4)] == [
        True,
        True,
        False,
        False,
    ]
    assert faults.strike("302", "x", request="POST /v2/orders") is None
    assert faults.counts == {"429": 1, "302": 2}


def test_a_file_of_faults_is_read_and_its_mistakes_are_told(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text("seed: 3\nfaults:\n  - {kind: 504_after, rate: 0.1}\n  - {kind: halt, symbol: AAPL}\n")
    assert [fault.kind for fault in Faults.load(path).listed().values()] == ["504_after", "halt"]
    for text, message in (
        ("faults: [{kind: earthquake}]", "faults.0: earthquake is no kind of fault"),
        ("faults: [{kind: halt, rate: 0.1, nth: 2}]", "faults.0: rate and nth exclude each other"),
        ("faults: [{kind: halt, rate: 0.1}]", "faults.0: halt holds while it is there"),
        ("faults: [{kind: stream_error, code: 1006}]", "faults.0: 1006 is no error of the streams"),
        ("faults: [{kind: field_removed}]", "faults.0: field_removed needs a field"),
        ("faults: [{kind: halt, wher: x}]", "faults.0.wher: Extra inputs are not permitted"),
        ("faults: [", "cannot be read as YAML"),
    ):
        path.write_text(text)
        with pytest.raises(FaultsError, match=message):
            Faults.load(path)
    with pytest.raises(FaultsError):
        Faults.load(tmp_path / "none.yaml")
    with pytest.raises(ValidationError):
        Fault(kind="429", rate=2)


def test_every_kind_is_documented_and_tested() -> None:
    page = (ROOT / "docs" / "simulator.md").read_text()
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for kind, what in KINDS.items():
        assert f"| `{kind}` | {what.what} |" in page, kind
        assert json.dumps(kind) in tests, kind

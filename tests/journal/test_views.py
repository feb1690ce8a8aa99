"""What is shown and exported of an account."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from autotrader.clock import NEW_YORK
from autotrader.core import events as ev
from autotrader.core.book import Book
from autotrader.journal.store import Journal, JournalError
from autotrader.journal.views import export_jsonl, position_rows, trade_rows

PLAN = ev.EntryPlan("MOO", 1, 0.5, "Energy", "TREND", 2.0, 100.0, 100.0, 5.0, "hash")
MONDAY, TUESDAY = date(2024, 7, 1), date(2024, 7, 2)


def at(day: date, hour: int, minute: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=NEW_YORK)


def ordered(name: str, symbol: str, leg: ev.Leg, day: date, quantity: int, direction: Any = "long") -> ev.Ordered:
    why = (PLAN, None, None) if leg == "entry" else (None, "stop", "stop_loss")
    return ev.Ordered(at(day, 9, 30), day, name, symbol, "pullback", direction, leg, quantity, *why)


STORY: tuple[ev.Event, ...] = (
    ev.SessionOpened(at(MONDAY, 9, 0), MONDAY, 1),
    ordered("a-in", "A", "entry", MONDAY, 10),
    ev.Filled(at(MONDAY, 9, 31), MONDAY, "a-in", 10, 100.0, 10, 1.0),
    ordered("b-in", "B", "entry", MONDAY, 5, "short"),
    ev.Filled(at(MONDAY, 9, 32), MONDAY, "b-in", 5, 50.0, 5),
    ev.Marked(at(MONDAY, 10, 0), MONDAY, "A", 104.0, 97.0, 29),
    ev.SessionClosed(at(MONDAY, 16, 0), MONDAY, 10_100.0),
    ev.SessionOpened(at(TUESDAY, 9, 0), TUESDAY, 2),
    ev.Charged(at(TUESDAY, 9, 1), TUESDAY, "B", 0.5),
    ordered("a-out-1", "A", "exit", TUESDAY, 10),
    ev.Filled(at(TUESDAY, 9, 35), TUESDAY, "a-out-1", 4, 95.0, 4),
    ev.OrderEnded(at(TUESDAY, 9, 36), TUESDAY, "a-out-1", "canceled"),
    ordered("a-out-2", "A", "exit", TUESDAY, 6),
    ev.Filled(at(TUESDAY, 9, 40), TUESDAY, "a-out-2", 6, 90.0, 6, 1.0),
    ev.SessionClosed(at(TUESDAY, 16, 0), TUESDAY, 9_898.0),
)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal.open(tmp_path / "journal.sqlite3", "ACCOUNT", initial_cash=10_000.0)
    for event in STORY:
        made.append(event)
    return made


def test_a_trade_has_the_fixed_fields_and_new_yorks_time(journal: Journal) -> None:
    closed, still_open = trade_rows(journal.book())
    assert closed == {
        "symbol": "A", "strategy": "pullback", "direction": "long", "quantity": 10,
        "entered_at": "2024-07-01T09:31:00-04:00", "entry_price": 100.0,
        "exited_at": "2024-07-02T09:40:00-04:00", "exit_price": 92.0, "exit_reason": "stop", "exit_rule": "stop_loss",
        "pnl": -82.0, "mfe": 40.0, "mae": -100.0, "costs": 2.0, "regime": "TREND", "entry_group": "MOO",
        "bars_held": 29, "sessions_held": 1, "config_hash": "hash",
    }  # fmt: skip
    assert still_open["symbol"] == "B"
    assert [still_open[name] for name in ("exited_at", "exit_price", "exit_reason", "pnl")] == [None] * 4
    json.dumps([closed, still_open], allow_nan=False)


def test_a_position_is_worth_its_price_and_unknown_without_one(journal: Journal) -> None:
    (row,) = position_rows(journal.book(), {"B": 48.0})
    assert (row["symbol"], row["quantity"], row["price"], row["value"], row["gain"]) == ("B", 5, 48.0, -240.0, 10.0)
    assert row["costs"] == 0.5
    (row,) = position_rows(journal.book(), {})
    assert (row["price"], row["value"], row["gain"]) == (None, None, None)
    json.dumps(row, allow_nan=False)


def test_a_position_that_is_being_left_says_why() -> None:
    book = Book(10_000.0).fold(STORY[:10])
    assert [row["leaving"] for row in position_rows(book, {})] == ["stop", None]


def test_every_execution_is_a_line_and_the_exits_add_up_to_the_result(journal: Journal) -> None:
    lines = [json.loads(line) for line in export_jsonl(journal).trades]
    assert [(row["symbol"], row["side"], row["quantity"], row["price"], row["pnl"]) for row in lines] == [
        ("A", "buy", 10, 100.0, None),
        ("B", "sell", 5, 50.0, None),
        ("A", "sell", 4, 95.0, -21.0),  # with the entry's commission
        ("A", "sell", 6, 90.0, -61.0),
    ]
    assert lines[3] == {
        "timestamp": "2024-07-02T09:40:00-04:00", "symbol": "A", "strategy": "pullback", "direction": "long",
        "side": "sell", "quantity": 6, "price": 90.0, "pnl": -61.0, "regime": "TREND", "equity_after": 9_917.5,
        "exit_reason": "stop", "mfe": 40.0, "mae": -100.0, "bars_held": 29,
    }  # fmt: skip
    assert [row["equity_after"] for row in lines] == [9_999.0, 9_999.0, 9_948.5, 9_917.5]


def test_every_close_is_a_line_with_its_drawdown(journal: Journal) -> None:
    lines = [json.loads(line) for line in export_jsonl(journal).equity]
    assert lines == [
        {"date": "2024-07-01", "equity": 10_100.0, "drawdown": 0.0},
        {"date": "2024-07-02", "equity": 9_898.0, "drawdown": pytest.approx(0.02)},
    ]


def test_a_split_takes_the_last_known_price_along(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.sqlite3", "ACCOUNT", initial_cash=10_000.0) as made:
        for event in (*STORY[:3], ev.Split(at(TUESDAY, 9, 0), TUESDAY, "A", 2, 1), *STORY[3:5]):
            made.append(event)
        assert json.loads(export_jsonl(made).trades[1])["equity_after"] == 9_999.0


def test_without_an_initial_cash_nothing_is_exported(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.sqlite3", "A") as made, pytest.raises(JournalError, match="initial cash"):
        export_jsonl(made)


def test_numbers_are_shown_without_what_binary_arithmetic_leaves_behind(tmp_path: Path) -> None:
    nine = at(MONDAY, 9, 31)
    with Journal.open(tmp_path / "journal.sqlite3", "ACCOUNT", initial_cash=1e5) as journal:
        for event in (
            ev.SessionOpened(nine, MONDAY, 1),
            ordered("in", "A", "entry", MONDAY, 100),
            ev.Filled(nine, MONDAY, "in", 100, 50.67, 100),
            ordered("out", "A", "exit", MONDAY, 100),
            ev.Filled(nine, MONDAY, "out", 73, 46.94, 73),
            ev.Filled(nine, MONDAY, "out", 27, 46.94, 100),
        ):
            journal.append(event)
        book = journal.book()
        assert book.trades[0].pnl != -373.0
        (row,) = trade_rows(book)
        last = json.loads(export_jsonl(journal).trades[-1])
    assert (row["exit_price"], row["pnl"], row["mae"]) == (46.94, -373.0, -373.0)
    assert last["equity_after"] == 99_627.0

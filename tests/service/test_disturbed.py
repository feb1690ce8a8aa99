"""What the service does when the world misbehaves, each as docs/service.md states it."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Literal

import pytest

from autotrader.core import events as ev
from autotrader.journal.store import JournalError
from autotrader.market.feed import ShareSplit
from autotrader.service.inbox import AdoptConfig, Flatten, Inbox, Pause, Resume, new_request
from autotrader.service.run import Service
from autotrader.service.start import Deployment, Stop, Stopped, opened
from autotrader.simulator.faults import Fault
from autotrader.validation.load import load_configuration

from .network import Network
from .stepping import Stepped
from .wire import BUSY, CALENDAR, Wire, at, rows, statuses

SHORT = 0.2  # seconds that an answer may take
HALF_DAY = date(2019, 7, 3)
BEFORE = CALENDAR.previous_session(HALF_DAY)
DOWN = [("503_before", f"* /v2/{what}*") for what in ("orders", "positions", "account", "assets")]


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    """On the evening before a half day of many signals."""
    with Wire(tmp_path, at(BEFORE, 19, 59), patience=1.0) as wire:
        wire.write_config(*BUSY)
        yield wire


def trouble(wire: Wire, kinds: list[tuple[str, str]], since: datetime, until: datetime) -> None:
    for kind, on in kinds:
        wire.alpaca.simulator.faults.add(Fault(kind=kind, request=on, since=since, until=until))


def subjects(wire: Wire) -> set[str]:
    return {alert.subject for alert in wire.alerts()}


def at_one(wire: Wire) -> None:
    """Journal and broker agree, and every position has its stop there."""
    book = wire.book()
    held = {held.symbol: held.sign * held.quantity for held in book.positions.values()}
    assert wire.held_at_broker() == held
    orders = wire.alpaca.simulator.world.exchange.open_orders()
    assert sorted(order.symbol for order in orders if order.type == "stop") == sorted(held)


def entered(wire: Wire) -> dict[str, datetime]:
    return {event.symbol: event.at for event in wire.events() if isinstance(event, ev.Ordered) and event.plan}


def test_a_broker_that_is_down_for_an_hour_loses_nothing(wire: Wire) -> None:
    trouble(wire, DOWN, at(HALF_DAY, 9, 40), at(HALF_DAY, 10, 40))
    wire.run(at(HALF_DAY, 10, 45))
    assert "broker" in subjects(wire)
    times = entered(wire).values()
    assert {when for when in times if when < at(HALF_DAY, 9, 40)} == {at(HALF_DAY, 9, 30)}
    assert all(when < at(HALF_DAY, 10, 0) for when in times)
    left = [event for event in wire.events() if isinstance(event, ev.Leaving)]
    assert left, "exits are decided all the while"
    assert all(symbol not in wire.book().positions for symbol in {event.symbol for event in left})
    at_one(wire)


def test_a_network_that_is_gone_at_the_open_delays_entries_within_their_window(wire: Wire) -> None:
    trouble(wire, [("drop_before", "*")], at(HALF_DAY, 9, 29), at(HALF_DAY, 9, 36))
    wire.run(at(HALF_DAY, 9, 50))
    assert statuses(wire.stages(), HALF_DAY)["enter:moo"] == "late"
    assert "prices" in subjects(wire)
    assert min(entered(wire).values()) == at(HALF_DAY, 9, 36)
    at_one(wire)


def test_a_position_list_that_lags_behind_at_a_groups_time_delays_its_entries(wire: Wire) -> None:
    wire.alpaca.simulator.faults.add(Fault(kind="stale_positions", seconds=90))
    wire.run(at(HALF_DAY, 9, 50))
    assert statuses(wire.stages(), HALF_DAY)["enter:confirmation"] == "late"
    assert max(entered(wire).values()) > at(HALF_DAY, 9, 46)
    assert not any(isinstance(event, ev.Difference) for event in wire.events()), "nobody is called for it"


def test_a_machine_that_slept_over_the_entries_enters_nothing_and_says_so(wire: Wire) -> None:
    with wire.service() as service:
        wire.turn_until(service, at(HALF_DAY, 9, 20))
        wire.alpaca.step(at(HALF_DAY, 11))
        wire.clock.advance_to(at(HALF_DAY, 11))
        wire.turn_until(service, at(HALF_DAY, 11, 2))
    stages = wire.stages()
    assert statuses(stages, HALF_DAY) == {
        "splits": "late", "gap_filter": "skipped", "enter:moo": "skipped", "enter:confirmation": "skipped"
    }  # fmt: skip
    assert "deadline" in stages[HALF_DAY, "gap_filter"].detail
    assert "gap_filter" in subjects(wire)
    assert not entered(wire)


def test_a_clock_that_is_set_back_repeats_nothing(wire: Wire) -> None:
    with wire.service() as service:
        wire.turn_until(service, at(HALF_DAY, 9, 50))
        before = rows(wire.book()), len(entered(wire))
        wire.set_back(timedelta(minutes=30))
        for _ in range(3):
            service.turn()
        assert (rows(wire.book()), len(entered(wire))) == before
        assert service.desk.entries_off() == "this machine's clock is 30 min behind the broker's"
        assert "clock" in subjects(wire)
        wire.set_back(timedelta())
        wire.turn_until(service, at(HALF_DAY, 9, 52))
    at_one(wire)


def test_a_configuration_edited_at_0944_takes_effect_at_the_next_scan(wire: Wire) -> None:
    with wire.service() as service:
        wire.turn_until(service, at(HALF_DAY, 9, 44))
        old = service.desk.rulebook
        path = wire.home / "config" / "strategy_params.yaml"
        path.write_text(path.read_text().replace("max_daily_entries: 6", "max_daily_entries: 1"))
        wire.turn_until(service, at(HALF_DAY, 9, 46))
        assert len(entered(wire)) > 1
        assert service.desk.rulebook is old
    with wire.service() as service:  # a restart in between changes nothing
        assert service.desk.rulebook.params.risk.params["max_daily_entries"] == 6
        wire.alpaca.step(at(HALF_DAY, 19, 59))
        wire.clock.advance_to(at(HALF_DAY, 19, 59))
        service.turn()
        assert service.desk.rulebook.params.risk.params["max_daily_entries"] == 6
        wire.turn_until(service, at(HALF_DAY, 20, 1))
        assert service.desk.rulebook.params.risk.params["max_daily_entries"] == 1
    book, scan = wire.book(), wire.stages()[HALF_DAY, "scan"]
    result = json.loads((wire.home / "data" / "batch_results" / scan.file.split()[0]).read_text())
    assert {held.plan.config_hash for held in book.positions.values()} != {result["config_hash"]}


def test_an_edit_with_errors_leaves_the_old_configuration_and_tells_why(wire: Wire) -> None:
    with wire.service() as service:
        service.turn()
        path = wire.home / "config" / "strategy_params.yaml"
        path.write_text(path.read_text().replace("when: abs(gap_pct) > max_gap_pct", "when: abs(gap_prc) > 1"))
        wire.turn_until(service, at(BEFORE, 20, 1))
    told = [alert for alert in wire.alerts() if alert.subject == "configuration"]
    assert len(told) == 1
    assert "gap_prc" in told[0].happened
    assert wire.stages()[BEFORE, "scan"].status == "done"


def test_pause_and_resume_asked_for_while_it_was_down_are_honoured(wire: Wire) -> None:
    wire.run(at(HALF_DAY, 9, 20))
    Inbox(wire.home / "data").put(new_request(Pause(), wire.clock.now(), "earnings", "ann"))
    wire.run(at(HALF_DAY, 9, 40))
    stages = wire.stages()
    assert (stages[HALF_DAY, "enter:moo"].status, stages[HALF_DAY, "enter:moo"].detail) == (
        "skipped", "paused by ann: earnings"
    )  # fmt: skip
    assert not entered(wire)
    Inbox(wire.home / "data").put(new_request(Resume(), wire.clock.now(), "", "ann"))
    wire.run(at(HALF_DAY, 9, 50))
    assert set(entered(wire).values()) == {at(HALF_DAY, 9, 45)}


def test_flatten_asked_for_while_it_was_down_leaves_everything(wire: Wire) -> None:
    wire.run(at(HALF_DAY, 9, 40))
    assert wire.book().positions
    Inbox(wire.home / "data").put(new_request(Flatten(), wire.clock.now(), "stop", "ann"))
    wire.run(at(HALF_DAY, 9, 50))
    book = wire.book()
    assert not book.positions
    assert not wire.held_at_broker()
    assert not wire.alpaca.simulator.world.exchange.open_orders()
    assert [event.done for event in wire.events() if isinstance(event, ev.Flattened)] == [False, True]
    assert max(entered(wire).values()) == at(HALF_DAY, 9, 30), "entries went off first"


def test_a_result_file_that_was_changed_is_set_aside_and_made_anew(wire: Wire) -> None:
    path = wire.home / "data" / "batch_results" / f"{BEFORE}.json"
    with wire.service() as service:
        wire.turn_until(service, at(BEFORE, 20, 1))
        good = json.loads(path.read_text())["candidates"]
        path.write_text("{}")
        wire.turn_until(service, at(BEFORE, 20, 2))
        wire.turn_until(service, at(BEFORE, 20, 4))
    assert path.with_name(f"{path.name}.bad").read_text() == "{}"
    assert json.loads(path.read_text())["candidates"] == good
    assert f"scan of {BEFORE}" in subjects(wire)


def test_a_stop_that_may_only_be_a_day_order_is_one_and_is_there_again_the_next_morning(wire: Wire) -> None:
    wire.alpaca.simulator.faults.add(Fault(kind="hard_to_borrow"))
    wire.run(at(HALF_DAY, 9, 40))
    exchange, held = wire.alpaca.simulator.world.exchange, wire.book().positions
    assert held
    assert {order.symbol: order.time_in_force for order in exchange.open_orders()} == dict.fromkeys(held, "day")
    wire.run(at(HALF_DAY, 13, 30))
    left = wire.book().positions
    assert left
    assert {order.symbol: order.time_in_force for order in exchange.open_orders()} == dict.fromkeys(left, "day")
    assert "the stop order was refused" not in " ".join(alert.happened for alert in wire.alerts())


def test_a_second_service_in_the_same_folder_says_so_and_ends(wire: Wire) -> None:
    from autotrader.service.presence import ServiceRunning

    with wire.service(), pytest.raises(ServiceRunning, match="runs in"):
        wire.run(at(BEFORE, 20))


def test_what_cannot_be_recorded_ends_the_service_and_nothing_is_sent(wire: Wire) -> None:
    with wire.service() as service:
        wire.turn_until(service, at(HALF_DAY, 9, 29))
        with closing(sqlite3.connect(wire.journal)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(JournalError):
                wire.turn_until(service, at(HALF_DAY, 9, 31))
    assert not wire.alpaca.simulator.world.exchange.open_orders()
    wire.run(at(HALF_DAY, 9, 32))
    at_one(wire)


def clock_shows(wire: Wire, service: Service, ahead: timedelta, *times: datetime) -> None:
    """The market goes through these times, while the machine's clock shows later ones."""
    wire.set_back(-ahead)
    for time in times:
        wire.alpaca.step(time)
        wire.clock.advance_to(time)
        service.turn()
    wire.set_back(timedelta())


def test_a_clock_that_jumps_to_the_night_ends_no_session(wire: Wire, tmp_path: Path) -> None:
    with wire.service() as service:
        wire.turn_until(service, at(HALF_DAY, 9, 34))
        clock_shows(wire, service, timedelta(hours=12), at(HALF_DAY, 9, 35), at(HALF_DAY, 9, 36))
        assert statuses(wire.stages(), HALF_DAY).keys() == {"splits", "gap_filter", "enter:moo"}
        assert service.desk.entries_off() == "this machine's clock is 12 h 00 min ahead of the broker's"
        wire.turn_until(service, at(HALF_DAY, 9, 50))
        assert service.desk.entries_off() is None
        assert [alert.severity for alert in wire.alerts()] == ["critical", "info"]
    at_one(wire)
    with Wire(tmp_path / "undisturbed", at(BEFORE, 19, 59)) as undisturbed:
        undisturbed.write_config(*BUSY)
        undisturbed.run(at(HALF_DAY, 9, 50))
        assert rows(wire.book()) == rows(undisturbed.book())


def test_a_clock_that_is_ahead_enters_nothing_before_the_open(wire: Wire) -> None:
    with wire.service() as service:
        wire.turn_until(service, at(HALF_DAY, 9, 10))
        clock_shows(wire, service, timedelta(minutes=21), at(HALF_DAY, 9, 11), at(HALF_DAY, 9, 12))
        assert not statuses(wire.stages(), HALF_DAY)
        assert not wire.alpaca.simulator.world.exchange.open_orders()
        assert "clock" in subjects(wire)
        wire.turn_until(service, at(HALF_DAY, 9, 32))
    assert statuses(wire.stages(), HALF_DAY) == {"splits": "done", "gap_filter": "done", "enter:moo": "done"}
    at_one(wire)


@pytest.fixture
def network(wire: Wire) -> Iterator[Network]:
    """What the service reaches its broker through; it does not wait long for answers."""
    with Network(int(wire.alpaca.url.rpartition(":")[2])) as network:
        system = wire.home / "config" / "default.yaml"
        text = system.read_text().replace(wire.alpaca.url, f"http://127.0.0.1:{network.port}")
        for name in ("connect_seconds", "read_seconds"):
            text, count = re.subn(rf"(?m)^  {name}: \S+", f"  {name}: {SHORT}", text)
            assert count == 1
        system.write_text(text)
        yield network


def without(
    network: Network, state: Literal["refused", "gone"], wire: Wire, service: Service, until: datetime
) -> None:
    """Has the service turn until then without a network; nothing that is sent then is waited for."""
    network.turn(state)
    wire.pause.patience, patience = 0.02, wire.pause.patience
    wire.turn_until(service, until)
    wire.pause.patience = patience
    network.turn("up")


@pytest.mark.parametrize("state", ["refused", "gone"])
def test_without_a_network_entries_wait_and_exits_are_made_up_for(
    wire: Wire, network: Network, state: Literal["refused", "gone"]
) -> None:
    with wire.service() as service:
        wire.turn_until(service, at(HALF_DAY, 9, 29))
        without(network, state, wire, service, at(HALF_DAY, 9, 31, 30))
        assert not entered(wire)
        wire.turn_until(service, at(HALF_DAY, 9, 40))
        held = set(service.desk.trader.book.positions)
        assert held
        assert statuses(wire.stages(), HALF_DAY)["enter:moo"] == "late"
        Inbox(wire.home / "data").put(new_request(Flatten(), wire.clock.now(), "stop", "ann"))
        without(network, state, wire, service, at(HALF_DAY, 9, 41, 30))
        assert wire.held_at_broker().keys() == held, "it is to leave everything, and nobody answers"
        wire.turn_until(service, at(HALF_DAY, 9, 50))
    assert "broker" in subjects(wire)
    assert not wire.held_at_broker()
    at_one(wire)


def test_a_split_of_what_is_held_is_taken_before_the_open(wire: Wire) -> None:
    wire.run(at(HALF_DAY, 13, 5))
    held = wire.book().positions["VRSN"]
    following = CALENDAR.next_session(HALF_DAY)
    wire.alpaca.simulator.world.history.split(ShareSplit("VRSN", following, 3, 1))
    wire.run(at(following, 9, 35))
    now = wire.book().positions["VRSN"]
    assert now.quantity == 3 * held.quantity
    assert now.entry_price == pytest.approx(held.entry_price / 3)
    assert wire.stages()[following, "splits"].detail == "VRSN 3 for 1"
    assert not wire.alerts()
    at_one(wire)
    stop = next(order for order in wire.alpaca.simulator.world.exchange.open_orders() if order.symbol == "VRSN")
    assert stop.quantity == now.quantity
    assert stop.stop_price is not None
    assert float(stop.stop_price) < now.entry_price


def test_what_is_held_keeps_its_configuration_until_it_adopts_another(wire: Wire) -> None:
    with wire.service() as service:
        wire.turn_until(service, at(HALF_DAY, 9, 40))
        path = wire.home / "config" / "strategy_params.yaml"
        text = path.read_text()
        path.write_text(text.replace("when: gain_atr >= 0.3, then: exit", "when: gain_atr >= 30, then: exit"))
        edited = load_configuration(path.parent).configuration
        assert edited is not None
        asked = AdoptConfig(config_hash=edited.settings.config_hash, symbols=("CTAS",))
        Inbox(wire.home / "data").put(new_request(asked, wire.clock.now(), "let it run", "ann"))
        wire.turn_until(service, at(HALF_DAY, 9, 47))
    left = {trade.symbol for trade in wire.book().all_trades() if trade.exited_at is not None}
    assert "APTV" in left  # takes its profit as it was opened to
    assert wire.book().positions["CTAS"].plan.config_hash == edited.settings.config_hash
    wire.run(at(HALF_DAY, 9, 50))  # and a restart knows it
    assert "CTAS" in wire.book().positions
    at_one(wire)


def test_a_broker_that_cannot_be_reached_at_a_start_is_told_and_waited_for_until_it_is_told_to_stop(wire: Wire) -> None:
    wire.run(at(BEFORE, 20, 1))
    trouble(wire, [("503_before", "* /v2/account*")], at(BEFORE, 20), at(BEFORE, 21))
    stop, waited = Stop(), []

    class Impatient(Stepped):
        def seconds(self, seconds: float) -> None:
            waited.append(seconds)
            stop.asked = len(waited) > 20

    pause = Impatient(wire.alpaca.step, wire.alpaca.state, wire.clock)
    deployment = Deployment(wire.home, wire.home / "config", wire.clock, pause, StringIO())
    with pytest.raises(Stopped), opened(deployment, stop):
        pass
    assert [(alert.severity, alert.subject) for alert in wire.alerts()] == [("critical", "broker")]
    wire.alpaca.simulator.faults.clear()
    wire.run(at(BEFORE, 20, 2))


def test_a_journal_that_is_taken_away_ends_the_service_before_anything_is_lost(wire: Wire) -> None:
    aside = wire.journal.with_name("elsewhere")
    with wire.service() as service:
        wire.turn_until(service, at(HALF_DAY, 9, 29))
        wire.journal.rename(aside)
        with pytest.raises(JournalError, match="was moved"):
            wire.turn_until(service, at(HALF_DAY, 9, 31))
    assert not wire.alpaca.simulator.world.exchange.open_orders()
    aside.rename(wire.journal)
    wire.run(at(HALF_DAY, 9, 32))
    at_one(wire)

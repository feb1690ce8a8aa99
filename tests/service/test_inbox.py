"""What people ask for: durable, taken once, with exactly the effect that was asked for."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from days import Floor, configuration

from autotrader.core import events as ev
from autotrader.core.book import LET_STAND, Book
from autotrader.core.rulebook import Rulebook
from autotrader.journal.store import Journal
from autotrader.points import set_hook
from autotrader.service.inbox import (
    Accept,
    AdoptConfig,
    Answer,
    Flatten,
    Hands,
    Inbox,
    LetStand,
    Pause,
    Request,
    Resume,
    What,
    answer,
    flattened,
    new_request,
    take,
)

AT = datetime(2020, 3, 2, 15, 0, tzinfo=UTC)
DAY = date(2020, 3, 2)
TIGHTER = ("sl_atr_mult: 2.5         # stop distance, in ATRs at entry", "sl_atr_mult: 1.0")


def asked(what: What, name: str = "r-1", reason: str = "") -> Request:
    return Request(id=name, at=AT, by="ops", reason=reason, what=what)


def nobody(_: str) -> Rulebook | None:
    return None


def events_of(what: What, book: Book, find: Callable[[str], Rulebook | None] = nobody) -> list[ev.Event]:
    """What follows, without the record that it was asked for, which must be the last."""
    *events, last = answer(asked(what, reason="why"), book, AT, DAY, find).events
    assert isinstance(last, ev.Asked)
    assert (last.request, last.by, last.reason, last.at) == ("r-1", "ops", "why", AT)
    Book.fold(book, [*events, last])  # nothing of it contradicts the book
    return events


def refusal(what: What, book: Book, find: Callable[[str], Rulebook | None] = nobody) -> str:
    (only,) = answer(asked(what), book, AT, DAY, find).events
    assert isinstance(only, ev.Asked)
    assert not only.honoured
    return only.outcome


def differing(book: Book, symbol: str, found: str, kind: str = "position") -> Book:
    held = book.positions.get(symbol)
    expected = "0 shares" if held is None else f"{held.sign * held.quantity} shares"
    return book.fold([ev.Difference(AT, DAY, kind, symbol, expected, found)])


# --- the events ---------------------------------------------------------------------------------------------------


def test_a_pause_turns_entries_off_and_says_who_and_why() -> None:
    book = Book(1000.0)
    assert events_of(Pause(), book) == [ev.Paused(AT, DAY, "ops", "why")]
    assert book.entries_off() == "paused by ops: why"


def test_a_second_pause_changes_nothing_and_is_recorded() -> None:
    book = Book(1000.0).fold([ev.Paused(AT, DAY, "ana", "news")])
    assert events_of(Pause(), book) == []
    assert book.entries_off() == "paused by ana: news"


def test_a_resume_ends_a_pause_and_a_flatten() -> None:
    book = Book(1000.0).fold([ev.Paused(AT, DAY, "ana", "news"), ev.Flattened(AT, DAY, "ana")])
    assert events_of(Resume(), book) == [ev.Resumed(AT, DAY, "ops")]
    assert book.entries_off() is None


def test_a_resume_without_a_pause_only_resets_the_drawdown_where_that_was_asked_for() -> None:
    assert events_of(Resume(), Book(1000.0)) == []
    book = Book(1000.0).fold([ev.SessionOpened(AT, DAY, 1), ev.SessionClosed(AT, DAY, 800.0)])
    assert book.worst_drawdown == pytest.approx(0.2)
    assert events_of(Resume(reset_drawdown=True), book) == [ev.DrawdownReset(AT, DAY)]
    assert book.worst_drawdown == 0.0


def test_a_resume_says_that_differences_keep_entries_off() -> None:
    book = differing(Book(1000.0).fold([ev.Paused(AT, DAY, "ana", "news")]), "A", "5 shares")
    *_, last = answer(asked(Resume()), book, AT, DAY, nobody).events
    assert isinstance(last, ev.Asked)
    assert "differences" in last.outcome
    book.fold([ev.Resumed(AT, DAY, "ops")])
    assert book.entries_off() is not None


def test_a_flatten_turns_entries_off_and_has_every_position_left() -> None:
    floor = Floor()
    floor.hold("A")
    pause = ev.Paused(AT, DAY, "ops", "flatten: why")
    assert events_of(Flatten(), floor.book) == [pause, ev.Flattened(AT, DAY, "ops")]
    assert floor.book.entries_off() == "flattening, asked for by ops"
    assert floor.book.positions["A"].leaving == ("flatten", "flatten")


def test_entries_stay_off_when_everything_is_flat() -> None:
    book = Book(1000.0)
    events_of(Flatten(), book)
    book.apply(ev.Flattened(AT, DAY, "ops", done=True))
    assert book.entries_off() == "paused by ops: flatten: why"


def test_a_flatten_leaves_an_earlier_pause_as_it_is() -> None:
    book = Book(1000.0).fold([ev.Paused(AT, DAY, "ana", "news")])
    assert events_of(Flatten(), book) == [ev.Flattened(AT, DAY, "ops")]


def test_a_second_flatten_does_not_begin_it_again() -> None:
    floor = Floor()
    floor.hold("A")
    first = ev.Flattened(AT, DAY, "ana")
    floor.book.apply(first)
    assert events_of(Flatten(), floor.book) == []
    assert floor.book.flatten is first


def test_a_flatten_is_done_when_nothing_is_held_and_nothing_on_order() -> None:
    floor = Floor()
    assert flattened(floor.book, AT, DAY) is None
    floor.hold("A")
    floor.book.apply(ev.Flattened(AT, DAY, "ops"))
    assert flattened(floor.book, AT, DAY) is None
    name = "out-1"
    floor.tell(ev.Ordered(floor.at(5), DAY, name, "A", "rsi_mean_reversion", "long", "exit", 100, None, "x", "x"))
    floor.tell(ev.Filled(floor.at(5), DAY, name, 100, 99.0, 100))
    assert flattened(floor.book, AT, DAY) == ev.Flattened(AT, DAY, "ops", done=True)


def test_adopting_gives_a_position_the_rules_and_the_stop_distance_of_the_new_configuration() -> None:
    floor = Floor()
    floor.hold("A", atr=2.0)
    floor.hold("B", atr=3.0)
    new = configuration(TIGHTER)
    book = new.rulebook
    events = events_of(AdoptConfig(config_hash="new", symbols=("A",)), floor.book, {"new": book}.get)
    assert events == [ev.ConfigAdopted(AT, DAY, "A", "new", 2.0, "ops")]
    assert floor.book.positions["A"].plan.config_hash == "new"
    assert floor.book.positions["B"].plan.config_hash == "now"
    # all that are left, and what has it already is not touched
    request = asked(AdoptConfig(config_hash="new"), "r-2")
    every = answer(request, floor.book, AT, DAY, {"new": book}.get).events
    assert [event.symbol for event in every if isinstance(event, ev.ConfigAdopted)] == ["B"]


def test_adopting_is_refused_as_a_whole_where_one_position_cannot_or_the_configuration_is_another() -> None:
    floor = Floor()
    floor.hold("A")
    floor.hold("B", strategy="bb_squeeze")
    assert "no longer the one that was shown" in refusal(AdoptConfig(config_hash="new"), floor.book)
    without = configuration()
    params = without.settings.params
    strategies = {name: value for name, value in params.strategies.items() if name != "bb_squeeze"}
    from autotrader.core.rulebook import build_rulebook

    book = build_rulebook(params.model_copy(update={"strategies": strategies}))
    assert (
        refusal(AdoptConfig(config_hash="new"), floor.book, {"new": book}.get)
        == "B: the configuration does not have its strategy bb_squeeze"
    )
    assert (
        refusal(AdoptConfig(config_hash="new", symbols=("A", "Z")), floor.book, {"new": without.rulebook}.get)
        == "Z: not held any more"
    )


def test_accepting_takes_the_missing_shares_out_at_the_price_and_ends_the_difference() -> None:
    floor = Floor()
    floor.hold("A", quantity=100, price=100.0)
    book = differing(floor.book, "A", "40 shares")
    events = events_of(Accept(subject="A", found="40 shares", price=90.0), book)
    assert events[0] == ev.Corrected(AT, DAY, "A", 60, 90.0, "ops")
    assert isinstance(events[1], ev.Resolved)
    assert book.positions["A"].quantity == 40
    assert not book.differences
    assert book.entries_off() is None


def test_accepting_nothing_left_of_a_short_closes_it() -> None:
    floor = Floor()
    floor.hold("A", strategy="overbought_short", direction="short", quantity=100, price=100.0)
    book = differing(floor.book, "A", "0 shares")
    events_of(Accept(subject="A", found="0 shares", price=90.0), book)
    assert "A" not in book.positions
    assert book.trades[-1].pnl == pytest.approx(1000.0)


@pytest.mark.parametrize("found", ["150 shares", "-100 shares", "100 shares"])
def test_more_shares_or_the_other_side_cannot_be_accepted(found: str) -> None:
    floor = Floor()
    floor.hold("A", quantity=100)
    assert "cannot be accepted" in refusal(
        Accept(subject="A", found=found, price=90.0), differing(floor.book, "A", found)
    )


def test_shares_that_the_journal_does_not_know_cannot_be_accepted() -> None:
    book = differing(Book(1000.0), "A", "5 shares")
    assert "more shares than the journal knows" in refusal(Accept(subject="A", found="5 shares", price=9.0), book)


def test_accepting_waits_until_no_order_of_the_symbol_is_live() -> None:
    floor = Floor()
    floor.hold("A", quantity=100)
    book = differing(floor.book, "A", "0 shares")
    stop = ev.Ordered(AT, DAY, "stop-1", "A", "rsi_mean_reversion", "long", "stop", 100, None, "p", "p", "gtc", 80.0)
    floor.tell(stop)
    what = Accept(subject="A", found="0 shares", price=90.0)
    assert answer(asked(what), book, AT, DAY, nobody) == Answer(cancels=("stop-1",))
    floor.end(stop, "canceled")
    assert [type(event) for event in events_of(what, book)] == [ev.Corrected, ev.Resolved]


def test_letting_stand_ends_the_difference_as_it_was_seen_and_remembers_it() -> None:
    book = differing(Book(1000.0), "X-1", "buy 5 A", "order")
    events = events_of(LetStand(of="order", subject="X-1", found="buy 5 A"), book)
    assert events == [ev.Resolved(AT, DAY, "order", "X-1", "ops", LET_STAND)]
    assert book.accepted == {("order", "X-1"): "buy 5 A"}


@pytest.mark.parametrize(
    "what", [LetStand(of="position", subject="A", found="5 shares"), Accept(subject="A", found="5 shares", price=1.0)]
)
def test_a_difference_that_has_changed_since_it_was_seen_is_not_resolved(what: What) -> None:
    floor = Floor()
    floor.hold("A")
    assert refusal(what, floor.book) == "there is no such difference any more"
    book = differing(floor.book, "A", "7 shares")
    assert "7 shares now" in refusal(what, book)
    assert book.differences


# --- the files ----------------------------------------------------------------------------------------------------


def test_requests_come_in_the_order_of_asking_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "data")
    assert inbox.waiting() == ([], [])
    first, second = new_request(Pause(), AT, "news"), new_request(Resume(), AT + timedelta(seconds=1))
    inbox.put(second)
    path = inbox.put(first)
    assert inbox.waiting() == ([first, second], [])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(inbox.folder.stat().st_mode) == 0o700
    assert [each.name for each in inbox.folder.iterdir() if each.name.startswith(".")] == []
    inbox.remove(first)
    assert inbox.waiting() == ([second], [])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write for another user")
def test_what_root_asks_for_can_be_read_by_the_service_of_another_user(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 12_345, 12_345)
    inbox = Inbox(data)
    path = inbox.put(new_request(Pause(), AT))
    assert (inbox.folder.stat().st_uid, path.stat().st_uid) == (12_345, 12_345)


def test_a_request_names_the_user_of_the_process_and_on_whose_behalf_root_acts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import pwd

    me = pwd.getpwuid(os.geteuid()).pw_name
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert new_request(Pause(), AT).by == me
    monkeypatch.setenv("SUDO_USER", "ana")
    assert new_request(Pause(), AT).by == f"ana as {me}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the file"),
        ("{", "the file"),
        ('{"id": "x"}', "at"),
        (json.dumps({"id": "x", "at": "2020-03-02T15:00:00", "by": "o", "what": {"kind": "pause"}}), "at"),
        (json.dumps({"id": "x", "at": AT.isoformat(), "by": "o", "what": {"kind": "sell"}}), "what"),
        (json.dumps({"id": "x", "at": AT.isoformat(), "by": "o", "what": {"kind": "pause", "more": 1}}), "what"),
        (json.dumps({"id": "y", "at": AT.isoformat(), "by": "o", "what": {"kind": "pause"}}), "request y"),
        (json.dumps({"id": "../x", "at": AT.isoformat(), "by": "o", "what": {"kind": "pause"}}), "id"),
        ("[" * 70_000, "the file"),
    ],
)
def test_a_file_that_is_no_request_is_set_aside_and_told_and_the_others_are_taken(
    tmp_path: Path, text: str, says: str
) -> None:
    world = World(tmp_path)
    (world.inbox.folder).mkdir(parents=True)
    (world.inbox.folder / "x.json").write_text(text)
    world.inbox.put(asked(Pause(), "z"))
    assert [event.request for event in world.take()] == ["z"]
    ((severity, subject, happened, done, _), *_) = world.told
    assert (severity, subject) == ("warning", "x.json")
    assert says in happened
    assert "x.json.bad" in done
    assert (world.inbox.folder / "x.json.bad").read_text() == text
    assert world.inbox.waiting() == ([], [])


def test_a_file_that_cannot_be_read_is_no_request(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    (inbox.folder / "x.json").mkdir(parents=True)
    os.mkfifo(inbox.folder / "pipe.json")  # nobody ever writes to it
    damaged = inbox.waiting()[1]
    assert [found.path.name for found in damaged] == ["pipe.json", "x.json"]
    assert all("cannot be read" in found.problem for found in damaged)


# --- carrying out -------------------------------------------------------------------------------------------------


class Died(Exception):
    """The process is gone."""


class World:
    """A journal, its book, and an inbox; `restart` is what a new process would find."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inbox = Inbox(folder)
        self.told: list[tuple[Any, ...]] = []
        self.ended: list[str] = []
        self.on_end: Callable[[str], None] = lambda _: None
        self.open()

    def open(self) -> None:
        self.journal = Journal.open(self.folder / "journal.sqlite3", "T", initial_cash=1000.0)
        self.book = self.journal.book()

    def restart(self) -> None:
        set_hook(None)
        self.journal.close()
        self.open()

    def keep(self, event: ev.Event) -> None:
        self.journal.append(event)
        self.book.apply(event)

    def end(self, order_id: str) -> None:
        self.ended.append(order_id)
        self.on_end(order_id)

    def take(self, at: datetime = AT) -> list[ev.Asked]:
        hands = Hands(self.keep, self.journal.commit, self.end, lambda: None, nobody)
        return take(self.inbox, self.book, hands, at, DAY, lambda *said: self.told.append(said))

    @property
    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.journal.events()]


def test_a_request_is_taken_and_told_and_its_file_is_gone(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.inbox.put(asked(Pause(), reason="news"))
    (taken,) = world.take()
    assert (taken.honoured, taken.what, taken.reason) == (True, "pause", "news")
    assert world.kinds == ["Paused", "Asked"]
    assert world.inbox.waiting() == ([], [])
    assert world.told == [("info", "request r-1", "ops asked for: pause (news)", "entries are off", "")]
    assert world.take() == []


@pytest.mark.parametrize("point", ["journal.commit.before", "journal.commit.after"])
def test_a_crash_around_the_commit_loses_nothing_and_does_nothing_twice(tmp_path: Path, point: str) -> None:
    world = World(tmp_path)
    world.inbox.put(asked(Pause(), reason="news"))

    def die(name: str) -> None:
        if name == point:
            raise Died

    set_hook(die)
    try:
        with pytest.raises(Died):
            world.take()
    finally:
        world.restart()
    assert len(world.inbox.waiting()[0]) == 1
    # somebody has resumed meanwhile; the pause that is read again must not come back
    world.inbox.put(asked(Resume(), "r-2"))
    world.take(AT + timedelta(minutes=1))
    assert world.book.paused is None
    assert world.inbox.waiting() == ([], [])
    assert world.kinds == ["Paused", "Asked", "Resumed", "Asked"]


def test_two_of_a_kind_in_one_moment_are_two_events(tmp_path: Path) -> None:
    world = World(tmp_path)
    for name, what in (("a", Pause()), ("b", Resume()), ("c", Pause()), ("d", Resume())):
        world.inbox.put(asked(what, name, reason=name))
    assert len(world.take()) == 4
    assert world.kinds.count("Paused") == world.kinds.count("Resumed") == 2
    world.restart()
    assert world.book.asked == {"a", "b", "c", "d"}


def test_a_refused_request_is_recorded_told_and_gone(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.inbox.put(asked(LetStand(of="position", subject="A", found="5 shares")))
    (taken,) = world.take()
    assert not taken.honoured
    assert world.kinds == ["Asked"]
    assert world.told[0][0] == "warning"
    assert "refused" in world.told[0][3]
    assert world.inbox.waiting() == ([], [])


def test_an_order_that_stands_in_the_way_is_ended_first_and_the_request_waits_until_it_has(tmp_path: Path) -> None:
    world = World(tmp_path)
    plan = ev.EntryPlan("MOO", 1, 0.5, None, "TREND", 2.0, 10.0, 10.0, 1.0, "h")
    for event in (
        ev.SessionOpened(AT, DAY, 1),
        ev.Ordered(AT, DAY, "in", "A", "s", "long", "entry", 10, plan),
        ev.Filled(AT, DAY, "in", 10, 10.0, 10),
        ev.Ordered(AT, DAY, "stop", "A", "s", "long", "stop", 10, None, "p", "p", "gtc", 8.0),
        ev.Difference(AT, DAY, "position", "A", "10 shares", "0 shares"),
    ):
        world.keep(event)
    world.inbox.put(asked(Accept(subject="A", found="0 shares", price=9.0)))
    assert world.take() == []
    assert world.ended == ["stop"]
    assert len(world.inbox.waiting()[0]) == 1
    world.on_end = lambda name: world.keep(ev.OrderEnded(AT, DAY, name, "canceled"))
    (taken,) = world.take()
    assert taken.honoured
    assert not world.book.positions
    assert world.inbox.waiting() == ([], [])

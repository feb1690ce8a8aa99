"""One stage at a time, each as in a process of its own: the same days as the demo's, and nothing twice."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import pytest

from autotrader.batch.files import ResultFileError, filtered_path, read_filtered, result_path
from autotrader.core import events as ev
from autotrader.core.book import Book
from autotrader.journal.store import Journal
from autotrader.market.feed import ShareSplit
from autotrader.market.playback import Mode
from autotrader.service.demo import Tale
from autotrader.service.stages import Deployment, StageError, Stages
from autotrader.validation.load import Configuration

from .demos import CALENDAR, START, MemoryFeed, Played, Told, as_traded, bars, configure, members, play

FRIDAY = CALENDAR.previous_session(START)
DAYS = 8


@dataclass
class ByHand:
    """A deployment whose stages are called one by one; each call builds everything anew from its files."""

    deployment: Deployment
    tales: list[Tale] = field(default_factory=list)

    def at(self, session: date | None) -> Stages:
        return Stages(self.deployment, session, self.tales.append)

    def whole(self, session: date) -> None:
        assert self.at(session).gap_filter()
        assert self.at(session).enter("moo")
        assert self.at(session).enter("confirmation")
        assert self.at(session).monitor()

    @property
    def journal(self) -> Path:
        return self.deployment.folder / "journal.sqlite3"

    def book(self) -> Book:
        with Journal.read(self.journal) as journal:
            return journal.book()

    def counts(self) -> tuple[int, int]:
        with Journal.read(self.journal) as journal:
            return journal.counts()


def hand(folder: Path, scans: Path, mode: Mode = "minutes", configuration: Configuration | None = None) -> ByHand:
    """A deployment with the evening's scans of a demo and nothing else."""
    results = folder / "batch_results"
    results.mkdir(parents=True)
    for path in scans.glob("*.json"):
        if "_filtered" not in path.name:
            shutil.copy(path, results)
    panel = bars()
    return ByHand(
        Deployment(
            configuration or configure(folder), MemoryFeed(panel), members(panel.symbols), folder, mode, splits=()
        )
    )


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Played]:
    folder = tmp_path_factory.mktemp("demos")
    return {mode: play(folder / mode, DAYS, START, mode=mode, splits=()) for mode in ("minutes", "path")}


@pytest.fixture
def desk(tmp_path: Path, demos: dict[str, Played]) -> ByHand:
    return hand(tmp_path, demos["minutes"].folder / "batch_results")


@pytest.mark.parametrize("mode", ["minutes", "path"])
def test_days_by_hand_are_the_demos_days(tmp_path: Path, demos: dict[str, Played], mode: Mode) -> None:
    demo = demos[mode]
    desk = hand(tmp_path, demo.folder / "batch_results", mode)
    for session in CALENDAR.sessions(START, demo.book.equity_history[-1][0]):
        desk.whole(session)
    book = desk.book()
    assert len(demo.book.trades) > 2
    assert book.trades == demo.book.trades
    assert book.positions == demo.book.positions
    assert book.equity_history == demo.book.equity_history


def test_a_stage_again_changes_nothing_and_tells_nothing(desk: ByHand) -> None:
    desk.whole(START)
    before, told = desk.counts(), len([tale for tale in desk.tales if isinstance(tale, Told)])
    file = filtered_path(desk.deployment.results, FRIDAY).read_bytes()
    assert not desk.at(START).gap_filter()
    assert not desk.at(START).enter("moo")
    assert not desk.at(START).enter("confirmation")
    assert not desk.at(START).monitor()
    assert desk.counts() == before
    assert len([tale for tale in desk.tales if isinstance(tale, Told)]) == told
    assert filtered_path(desk.deployment.results, FRIDAY).read_bytes() == file


def test_without_a_date_the_session_after_the_latest_scan_is_meant(desk: ByHand, demos: dict[str, Played]) -> None:
    last = demos["minutes"].book.equity_history[-1][0]
    assert desk.at(None).session == CALENDAR.next_session(last)


def test_each_stage_reads_the_file_of_the_one_before(desk: ByHand) -> None:
    with pytest.raises(StageError, match=f"run `autotrader gap-filter --date {START}` first"):
        desk.at(START).enter("moo")
    result_path(desk.deployment.results, FRIDAY).unlink()
    with pytest.raises(StageError, match=f"run `autotrader scan --date {FRIDAY}` first"):
        desk.at(START).gap_filter()


def test_a_scan_of_the_session_before_the_last_may_serve_and_is_marked_stale(desk: ByHand) -> None:
    tuesday = CALENDAR.next_session(START)
    result_path(desk.deployment.results, START).unlink()
    desk.at(tuesday).gap_filter()
    record = read_filtered(filtered_path(desk.deployment.results, FRIDAY))
    assert (record.filter_date, record.result_age) == (tuesday, 2)
    assert all(item.entry_group != "MOO" for item in record.filtered)
    assert {item.reason for item in record.rejected} >= {"stale_open_entry"}


def test_groups_are_entered_in_the_order_of_time(desk: ByHand) -> None:
    desk.at(START).gap_filter()
    desk.at(START).enter("confirmation")
    with pytest.raises(StageError, match="group confirmation of 2019-03-04 was entered already, and moo comes before"):
        desk.at(START).enter("moo")


def test_a_session_that_was_begun_has_to_be_closed_before_the_next(desk: ByHand) -> None:
    tuesday = CALENDAR.next_session(START)
    desk.at(START).gap_filter()
    with pytest.raises(StageError, match=f"run `autotrader monitor --date {START}` first"):
        desk.at(tuesday).gap_filter()
    desk.at(START).monitor()
    desk.at(tuesday).gap_filter()
    with pytest.raises(StageError, match=f"the account is at {tuesday} already; {START} is over"):
        desk.at(START).enter("moo")


def test_what_is_no_session_or_lies_beyond_the_data_is_refused(desk: ByHand) -> None:
    with pytest.raises(StageError, match="2019-03-09 is not a session of the exchange; the next one is 2019-03-11"):
        desk.at(date(2019, 3, 9))
    with pytest.raises(StageError, match="the data ends on 2019-12-31: there are no prices for 2020-01-02 yet"):
        desk.at(date(2020, 1, 2))


def test_a_changed_filtered_result_is_not_entered_from_and_can_be_restored(desk: ByHand) -> None:
    desk.at(START).gap_filter()
    path = filtered_path(desk.deployment.results, FRIDAY)
    whole = path.read_bytes()
    body = json.loads(whole)
    body["filtered"][0]["prev_close"] *= 2
    path.write_text(json.dumps(body))
    with pytest.raises(ResultFileError, match="was changed since"):
        desk.at(START).enter("moo")
    assert not desk.at(START).gap_filter()
    assert path.read_bytes() == whole
    assert path.with_name(f"{path.name}.bad").exists()
    assert desk.at(START).enter("moo")


def test_a_scan_that_was_changed_after_the_gap_filter_does_not_restore_another_one(desk: ByHand) -> None:
    desk.at(START).gap_filter()
    filtered_path(desk.deployment.results, FRIDAY).unlink()
    path = result_path(desk.deployment.results, FRIDAY)
    body = json.loads(path.read_text())
    body["candidates"][0]["prev_close"] *= 1.01
    path.write_text(json.dumps(body))
    with pytest.raises(ResultFileError, match="no entries in this session"):
        desk.at(START).gap_filter()


def test_candidates_of_a_strategy_that_is_gone_are_not_entered(tmp_path: Path, demos: dict[str, Played]) -> None:
    desk = hand(tmp_path, demos["minutes"].folder / "batch_results")
    path = result_path(desk.deployment.results, FRIDAY)
    body = json.loads(path.read_text())
    body["candidates"][0]["strategy"] = "forgotten"
    path.write_text(json.dumps(body))
    with pytest.raises(StageError, match=f"candidates of forgotten.*scan {FRIDAY} again"):
        desk.at(START).gap_filter()


def test_a_position_is_left_by_the_rules_it_was_entered_under(tmp_path: Path, demos: dict[str, Played]) -> None:
    desk = hand(tmp_path, demos["minutes"].folder / "batch_results")
    desk.whole(START)
    held = desk.book().positions
    assert held
    other = configure(tmp_path, ("emergency_stop_pct: 7%", "emergency_stop_pct: 0.1%"))
    desk.deployment = replace(desk.deployment, configuration=other)
    tuesday = CALENDAR.next_session(START)
    desk.at(tuesday).monitor()
    with Journal.read(desk.journal) as journal:
        used = {record.config_hash for record in journal.decisions(session=tuesday, stage="exit")}
        left = [event for event in journal.events() if isinstance(event, ev.Ordered) and event.leg == "exit"]
    assert used == {position.plan.config_hash for position in held.values()}
    assert "emergency_stop" not in {order.rule for order in left}


def test_a_split_by_hand_is_taken_once_and_comes_out_as_the_demos(tmp_path: Path, demos: dict[str, Played]) -> None:
    tuesday = CALENDAR.next_session(START)
    symbol = next(trade.symbol for trade in demos["minutes"].book.all_trades() if trade.entered_at.date() == START)
    splits = [ShareSplit(symbol, tuesday, 2, 1)]
    panel = as_traded(bars(), splits)
    demo = play(tmp_path / "demo", 3, START, panel=panel, splits=splits)
    desk = hand(tmp_path / "hand", demo.folder / "batch_results")
    desk.deployment = replace(desk.deployment, feed=MemoryFeed(panel), splits=splits)
    for session in CALENDAR.sessions(START, demo.book.equity_history[-1][0]):
        desk.whole(session)
    with Journal.read(desk.journal) as journal:
        taken = [event for event in journal.events() if isinstance(event, ev.Split)]
    assert [(event.symbol, event.session, event.new, event.old) for event in taken] == [(symbol, tuesday, 2, 1)]
    assert desk.book().positions == demo.book.positions
    assert desk.book().equity_history == demo.book.equity_history

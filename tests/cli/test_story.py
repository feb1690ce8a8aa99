"""How a virtual day is told."""

from __future__ import annotations

import io
import re
from datetime import date, datetime, time

import pytest
from days import Floor, candidate
from rich.console import Console

from autotrader.cli.story import Story
from autotrader.clock import NEW_YORK
from autotrader.core.events import Split
from autotrader.execution.day import Told
from autotrader.service.demo import Dawn, Evening, Night

DAY = date(2020, 3, 2)
AT = datetime(2020, 3, 2, 9, 31, tzinfo=NEW_YORK)


class Listener:
    """A story and what it has said since it was asked last."""

    def __init__(self) -> None:
        self._file = io.StringIO()
        self.story = Story(Console(file=self._file, width=200, highlight=False))

    def hears(self, *tales: object) -> list[str]:
        for tale in tales:
            self.story.tell(tale)  # type: ignore[arg-type]
        said = self._file.getvalue().splitlines()
        self._file.seek(0)
        self._file.truncate()
        return said


@pytest.fixture
def listener() -> Listener:
    return Listener()


def test_an_exit_is_told_with_the_comparison_that_made_it(listener: Listener) -> None:
    floor = Floor()
    floor.hold("A", price=100.0, atr=2.0)
    floor.next()
    floor.bar(0, "A", 94.5)
    (line,) = listener.hears(Told(AT, None, (), floor.step))
    assert line == "  09:31 exit A at 94.50: stop_loss (loss_per_share 5.50 >= stop_distance 5.00)"


def test_a_target_is_told_for_the_side_it_was_asked_of(listener: Listener) -> None:
    floor = Floor()
    floor.hold("A", price=100.0, atr=2.0)
    floor.indicators["A"] = {"rsi": 61.0}
    floor.next()
    floor.bar(0, "A", 101.0)
    (line,) = listener.hears(Told(AT, None, (), floor.step))
    assert re.fullmatch(r"  09:31 exit A at 101\.00: rsi_target \(rsi 61(\.00)? > tp_rsi 50(\.00)?\)", line)


def test_those_that_were_not_entered_stand_together_by_their_reason(listener: Listener) -> None:
    floor = Floor()
    floor.plan(*(candidate(name, rank) for rank, name in enumerate("ABCD", 1)))
    floor.group("moo", A=100.0, B=100.0, C=100.0, D=100.0)
    lines = listener.hears(Told(AT, "moo", tuple(floor.step.outcomes)))
    assert [line.split(":")[1][3:] for line in lines[:2]] == [
        "enter long 100 A near 100.00 by rsi_mean_reversion", "enter long 100 B near 100.00 by rsi_mean_reversion",
    ]  # fmt: skip
    assert lines[2:] == ["  09:31 not entered (moo): strategy_full C, D"]


def test_a_half_day_says_when_it_closes(listener: Listener) -> None:
    assert listener.hears(Dawn(DAY, time(16))) == ["", "Mon 2020-03-02"]
    assert listener.hears(Dawn(DAY, time(13))) == ["", "Mon 2020-03-02 (half day, closes at 13:00)"]


def test_one_of_a_thing_is_not_many(listener: Listener) -> None:
    (line,) = listener.hears(Evening(DAY, 101_000.0, 0.01, 0.0, 1))
    assert line == "  close: equity 101,000.00 (+1.00%), drawdown 0.00%, 1 position open"


def test_a_split_and_a_failed_scan_are_told(listener: Listener) -> None:
    assert listener.hears(Split(AT, DAY, "AAPL", 4, 1)) == ["  split: 4 AAPL for 1"]
    assert listener.hears(Split(AT, DAY, "AAPL", 3, 2, 51.5)) == ["  split: 3 AAPL for 2, +51.50 USD for a fraction"]
    (line,) = listener.hears(Night(DAY, None, "no bars"))
    assert line == "  scan of 2020-03-02: no result: no bars; no entries tomorrow"

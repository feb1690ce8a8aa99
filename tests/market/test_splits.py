"""The list of splits beside the bars, and bars seen across a split."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from autotrader.core.panel import Panel
from autotrader.market.feed import ShareSplit
from autotrader.market.splits import AsOf, SplitsError, adjusted, load_splits

DATES = np.array(["2020-08-27", "2020-08-28", "2020-08-31", "2020-09-01"], dtype="datetime64[D]")
SPLIT = ShareSplit("AAPL", date(2020, 8, 31), 4, 1)


def panel() -> Panel:
    prices = np.array([[500.0, 500.0, 125.0, 130.0], [50.0, 51.0, 52.0, 53.0]])
    return Panel(("AAPL", "T"), DATES, *(prices.copy() for _ in range(4)), np.array([[100.0, 100, 400, 400]] * 2))


class Feed:
    def daily_bars(self, symbols: object, last: date, sessions: int | None) -> Panel:
        return panel().window(last, sessions)


def write(folder: Path, text: str) -> Path:
    (folder / "splits.csv").write_text(text, encoding="utf-8")
    return folder


def test_the_list_is_read_in_the_order_of_time(tmp_path: Path) -> None:
    found = load_splits(
        write(tmp_path, "symbol,date,new,old\nTSLA,2020-08-31,5,1\nAAPL,2020-08-31,4,1\nGE,2021-08-02,1,8\n")
    )
    assert found == (SPLIT, ShareSplit("TSLA", date(2020, 8, 31), 5, 1), ShareSplit("GE", date(2021, 8, 2), 1, 8))


def test_a_folder_without_a_list_says_nothing_and_an_empty_list_says_there_are_none(tmp_path: Path) -> None:
    assert load_splits(None) is None
    assert load_splits(tmp_path) is None
    assert load_splits(tmp_path / "bars.parquet") is None
    assert load_splits(write(tmp_path, "symbol,date,new,old\n")) == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("symbol,date,new\nAAPL,2020-08-31,4\n", "column old is missing"),
        ("symbol,date,new,old\nAAPL,31.8.2020,4,1\n", 'splits.csv:2: "31.8.2020" is not a date like 2020-08-31'),
        ("symbol,date,new,old\n,2020-08-31,4,1\n", "splits.csv:2: the symbol is empty"),
        ("symbol,date,new,old\nAAPL,2020-08-31,1.5,1\n", "a 3-for-2 split is 3,2"),
        ("symbol,date,new,old\nAAPL,2020-08-31,0,1\n", "0 new for 1 old shares"),
        ("symbol,date,new,old\nAAPL,2020-08-31\n", "whole numbers"),
        ("symbol,date,new,old\nA,2020-08-31,4,1\nA,2020-08-31,2,1\n", "A is split twice on 2020-08-31"),
    ],
)
def test_what_is_no_split_is_named_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SplitsError, match=words.replace(".", r"\.")):
        load_splits(write(tmp_path, text))


def test_a_list_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SplitsError, match=r"splits\.csv: cannot be read as CSV"):
        load_splits(tmp_path)


def test_bars_before_a_split_are_seen_in_the_shares_of_after_it() -> None:
    seen = adjusted(panel(), [SPLIT], date(2020, 9, 1))
    assert seen.close[0].tolist() == [125, 125, 125, 130]
    assert seen.volume[0].tolist() == [400, 400, 400, 400]
    assert seen.close[1].tolist() == panel().close[1].tolist()


def test_a_split_that_has_not_come_yet_changes_nothing() -> None:
    assert adjusted(panel(), [SPLIT], date(2020, 8, 28)).close[0].tolist() == panel().close[0].tolist()
    assert AsOf(Feed(), [SPLIT]).daily_bars(["AAPL", "T"], date(2020, 8, 28), 2).close[0].tolist() == [500, 500]


def test_before_the_open_the_bars_can_be_asked_for_in_the_shares_of_the_coming_session() -> None:
    feed = AsOf(Feed(), [SPLIT], date(2020, 8, 31))
    assert feed.daily_bars(["AAPL", "T"], date(2020, 8, 28), 2).close[0].tolist() == [125, 125]


def test_two_splits_multiply() -> None:
    again = ShareSplit("AAPL", date(2020, 9, 1), 1, 2)
    assert adjusted(panel(), [SPLIT, again], date(2020, 9, 1)).close[0].tolist() == [250, 250, 250, 130]

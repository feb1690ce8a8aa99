"""The built-in feeds: both through the contract, and what is particular to each."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autotrader.clock import Calendar
from autotrader.core.panel import FIELDS, Panel
from autotrader.market.feed import Feed, FeedError, FeedOptions
from autotrader.market.synthetic import synthetic_panel
from autotrader.plugins.feeds.contract import FeedContract
from autotrader.plugins.feeds.files import FilesFeed
from autotrader.plugins.feeds.synthetic import SyntheticFeed

CALENDAR = Calendar()
FIRST, LAST = date(2024, 1, 2), date(2024, 3, 15)


def save(path: Path, panel: Panel) -> Path:
    """The panel as a parquet file, without the bars that are not there."""
    rows, columns = np.nonzero(np.isfinite(panel.close))
    days = panel.dates[columns].astype("datetime64[D]").tolist()
    fields = {field: getattr(panel, field)[rows, columns] for field in FIELDS}
    symbols = [panel.symbols[row] for row in rows]
    pq.write_table(pa.table({"symbol": symbols, "date": pa.array(days, pa.date32()), **fields}), path)
    return path


def market(*symbols: str) -> Panel:
    return synthetic_panel(symbols, FIRST, LAST, 1, CALENDAR)


def files(path: Path) -> FilesFeed:
    return FilesFeed.open(FeedOptions(path=path, seed=0, calendar=CALENDAR))


class TestFilesFeedKeepsTheContract(FeedContract):
    first = FIRST

    @pytest.fixture(autouse=True)
    def _data(self, tmp_path: Path) -> None:
        self.path = save(tmp_path / "bars.parquet", market("AAPL", "JNJ", "MSFT", "XOM"))

    def make_feed(self) -> Feed:
        return files(self.path)


class TestSyntheticFeedKeepsTheContract(FeedContract):
    def make_feed(self) -> Feed:
        return SyntheticFeed.open(FeedOptions(path=None, seed=3, calendar=CALENDAR))

    def last(self) -> date:
        return date(2012, 6, 29)


def test_the_real_file_through_the_feed(real_data: Path) -> None:
    feed = files(real_data / "sp500_daily.parquet")
    assert feed.last_session() == date(2021, 4, 21)
    panel = feed.daily_bars(["VTRS", "AAPL"], feed.last_session(), 250)
    assert panel.close.shape == (2, 250)
    assert np.isfinite(panel.close).sum(axis=1).tolist() == [107, 250]


def test_a_session_that_the_files_lack_is_a_column_of_nan(tmp_path: Path) -> None:
    panel = market("AAPL", "MSFT")
    panel.close[:, 5] = np.nan
    feed = files(save(tmp_path / "bars.parquet", panel))
    found = feed.daily_bars(["AAPL", "MSFT"], LAST, None)
    np.testing.assert_array_equal(found.dates, panel.dates)
    np.testing.assert_array_equal(found.close, panel.close)
    assert np.isnan(found.open[:, 5]).all()


def test_sessions_after_the_end_of_the_files_are_columns_of_nan(tmp_path: Path) -> None:
    feed = files(save(tmp_path / "bars.parquet", market("AAPL")))
    found = feed.daily_bars(["AAPL"], date(2024, 3, 18), 3)
    assert found.dates.tolist() == [date(2024, 3, 14), date(2024, 3, 15), date(2024, 3, 18)]
    assert np.isnan(found.close[0]).tolist() == [False, False, True]


@pytest.mark.parametrize("sessions", [None, 3, 500])
def test_bars_on_days_without_a_session_are_refused_and_named(tmp_path: Path, sessions: int | None) -> None:
    panel = market("AAPL")
    path = save(tmp_path / "bars.parquet", panel)
    extra = Panel(panel.symbols, np.array(["2024-03-17"], "datetime64[D]"), *(np.ones((1, 1)) for _ in FIELDS))
    save(tmp_path / "sunday.parquet", extra)
    feed = files(path.parent)
    with pytest.raises(FeedError, match=r"days without a session of the exchange: 2024-03-17$"):
        feed.daily_bars(["AAPL"], date(2024, 3, 18), sessions)
    with pytest.raises(FeedError, match="2024-03-17"):
        feed.last_session()


def test_data_that_begins_on_a_day_without_a_session_is_refused(tmp_path: Path) -> None:
    panel = market("AAPL")
    panel.dates[0] = np.datetime64("2024-01-01")
    feed = files(save(tmp_path / "bars.parquet", panel))
    with pytest.raises(FeedError, match="2024-01-01"):
        feed.daily_bars(["AAPL"], LAST, None)


def test_the_files_feed_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="needs --data PATH"):
        FilesFeed.open(FeedOptions(path=None, seed=0, calendar=CALENDAR))
    with pytest.raises(FeedError, match="no such file or folder"):
        files(tmp_path / "none")
    feed = files(tmp_path)
    for ask in (feed.last_session, lambda: feed.daily_bars(["A"], LAST, 5)):
        with pytest.raises(FeedError, match="holds no parquet file of daily bars"):
            ask()


def test_bars_that_cannot_be_used_are_a_feed_error(tmp_path: Path) -> None:
    save(tmp_path / "one.parquet", market("AAPL"))
    save(tmp_path / "two.parquet", market("AAPL"))
    with pytest.raises(FeedError, match="AAPL has more than one bar"):
        files(tmp_path).daily_bars(["AAPL"], LAST, 5)


def test_the_synthetic_feed_gives_what_the_market_makes_and_moves_on() -> None:
    feed = SyntheticFeed(5, CALENDAR)
    for last, symbols in (
        (date(2012, 2, 1), ["AAPL"]),
        (date(2012, 2, 2), ["SPY", "AAPL"]),
        (date(2012, 2, 3), ["AAPL"]),
        (date(2012, 9, 4), ["AAPL", "SPY"]),
        (date(2012, 1, 20), ["AAPL", "SPY"]),
    ):
        expected = synthetic_panel(symbols, date(2012, 1, 3), last, 5, CALENDAR).window(last, 10)
        found = feed.daily_bars(symbols, last, 10)
        np.testing.assert_array_equal(found.dates, expected.dates)
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))


def test_the_synthetic_feed_never_ends_before_the_calendar() -> None:
    feed = SyntheticFeed(5, CALENDAR)
    last = feed.last_session()
    assert last == date(2069, 12, 31)
    assert np.isfinite(feed.daily_bars(["SPY"], last, 3).close).all()


@pytest.mark.parametrize("sessions", [0, -1])
def test_a_window_has_at_least_one_session(tmp_path: Path, sessions: int) -> None:
    for feed in (SyntheticFeed(5, CALENDAR), files(save(tmp_path / "bars.parquet", market("AAPL")))):
        with pytest.raises(ValueError, match="expected 1 or more"):
            feed.daily_bars(["AAPL"], LAST, sessions)

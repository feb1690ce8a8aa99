"""The feed of Alpaca against the simulated one: through the contract, and what is particular to it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import canary
import numpy as np
import pytest
from alpaca_venue import CALENDAR, MINUTE, MONDAY, SYMBOLS, Venue, at, until
from typer.testing import CliRunner

from autotrader.cli.app import app
from autotrader.core.panel import FIELDS
from autotrader.market.feed import LiveFeed, ShareSplit
from autotrader.market.synthetic import synthetic_panel
from autotrader.plugins.feeds.alpaca import FIRST_SESSION, AlpacaFeed
from autotrader.plugins.feeds.contract import LiveFeedContract
from autotrader.secrets import KEY_ID, SECRET_KEY
from autotrader.simulator.faults import Fault, Faults
from autotrader.validation.load import PACKAGED_CONFIG


class TestAlpacaKeepsTheContract(LiveFeedContract):
    first = FIRST_SESSION
    split = ShareSplit("AAPL", date(2019, 2, 19), 3, 2)

    @pytest.fixture(autouse=True)
    def _venue(self, tmp_path: Path) -> Iterator[None]:
        self.venue = Venue(tmp_path, at(10))
        assert self.split is not None
        self.venue.simulator.world.history.split(self.split)
        yield
        self.venue.close()

    def make_feed(self) -> LiveFeed:
        return self.venue.feed()

    def last(self) -> date:
        return date(2019, 2, 8)

    def pass_minutes(self, count: int) -> datetime:
        for _ in range(count):
            self.venue.step(self.venue.clock.now() + MINUTE)
        return self.venue.clock.now()

    def _watched(self, feed: LiveFeed, symbols: Sequence[str]) -> None:
        assert isinstance(feed, AlpacaFeed)
        feed.watch(symbols)
        self.venue.watching(feed, symbols)


# --- what is particular to it -----------------------------------------------------------------------------------------

Start = Callable[..., Venue]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    opened: list[Venue] = []

    def begin(*faults: Fault, **options: Any) -> Venue:
        opened.append(Venue(tmp_path, options.pop("at", at(10)), Faults(0, list(faults)), **options))
        return opened[-1]

    yield begin
    for venue in opened:
        venue.close()


def test_the_bars_are_those_of_the_market(start: Start) -> None:
    feed = start().feed()
    panel = feed.daily_bars(SYMBOLS, date(2019, 2, 8), 250)
    expected = synthetic_panel(SYMBOLS, date(2018, 1, 2), date(2019, 2, 8), 0, CALENDAR).window(date(2019, 2, 8), 250)
    np.testing.assert_array_equal(panel.dates, expected.dates)
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(panel, field), getattr(expected, field))
    assert feed.connection.requests == 1


def test_bars_before_a_split_are_on_the_new_basis(start: Start) -> None:
    venue = start(at=at(17, day=date(2019, 2, 8)))
    before = venue.feed().daily_bars(["AAPL"], date(2019, 2, 8), 5)
    venue.simulator.world.history.split(ShareSplit("AAPL", date(2019, 2, 11), 2, 1))
    assert venue.feed().splits(["AAPL", "MSFT"], date(2019, 2, 11)) == [ShareSplit("AAPL", date(2019, 2, 11), 2, 1)]
    venue.step(at(9, 25))
    after = venue.feed().daily_bars(["AAPL"], date(2019, 2, 8), 5)
    np.testing.assert_allclose(after.close, before.close / 2, atol=0.01)
    np.testing.assert_allclose(after.volume, before.volume * 2, atol=1)


def test_before_the_open_prices_are_of_this_morning_and_asked_for_at_once(start: Start) -> None:
    venue = start(at=at(9, 25), spread=0.001)
    feed = venue.feed()
    quotes = feed.quotes(SYMBOLS)
    assert feed.connection.requests == 1
    for symbol, quote in quotes.items():
        opening = venue.simulator.world.history.minutes(MONDAY, symbol)[0].open
        assert quote.price == pytest.approx(opening, rel=0.001)
        assert quote.age_seconds == 0
        assert quote.spread_pct == pytest.approx(0.001, abs=0.0005)


def test_a_side_that_is_not_there_leaves_the_trade(start: Start) -> None:
    quote = start(Fault(kind="zero_ask", symbol="AAPL"), spread=0.001).feed().quotes(["AAPL"])["AAPL"]
    assert quote.price > 0
    assert math.isnan(quote.spread_pct)


def test_old_prices_say_how_old_they_are(start: Start) -> None:
    feed = start(Fault(kind="stale_quote", symbol="AAPL", seconds=7200)).feed()
    quotes = feed.quotes(["AAPL", "MSFT"])
    assert quotes["AAPL"].age_seconds == pytest.approx(7200, abs=60)
    assert quotes["MSFT"].age_seconds < 60


@pytest.mark.parametrize("kind", ["missing_bar", "delayed_bar"])
def test_a_bar_that_the_stream_left_out_can_be_asked_for(start: Start, kind: str) -> None:
    venue = start(Fault(kind=kind, symbol="AAPL", times=1, seconds=3600))
    feed = venue.feed()
    feed.watch(["AAPL", "MSFT"])
    venue.watching(feed, ["AAPL", "MSFT"])
    venue.step(at(10, 1))
    assert [bar.symbol for bar in feed.streamed()] == ["MSFT"]
    assert [bar.symbol for bar in feed.minute_bars(["AAPL", "MSFT"], at(10), at(10, 1))] == ["AAPL", "MSFT"]


@pytest.mark.parametrize("code", [1006, 1011])
def test_after_a_break_bars_come_again_and_the_gap_can_be_asked_for(start: Start, code: int) -> None:
    venue = start(Fault(kind="close_stream", stream="bars", times=1, code=code))
    feed = venue.feed()
    feed.watch(["AAPL"])
    venue.watching(feed, ["AAPL"])
    venue.alpaca.step(at(10, 1))
    venue.clock.advance_to(at(10, 1))
    until(lambda: feed.breaks == 1 and feed.stream is not None and feed.stream.connections == 2)
    venue.watching(feed, ["AAPL"])
    venue.step(at(10, 2))
    assert [bar.start for bar in feed.streamed()] == [at(10, 1)]
    assert [bar.start for bar in feed.minute_bars(["AAPL"], at(10), at(10, 2))] == [at(10), at(10, 1)]


def test_a_mute_stream_is_opened_again(start: Start) -> None:
    venue = start(Fault(kind="mute_stream", stream="bars", times=1))
    feed = venue.feed()
    feed.watch(["AAPL"])
    venue.watching(feed, ["AAPL"])
    for minute in (1, 2, 3):
        venue.alpaca.step(at(10, minute))
        venue.clock.advance_to(at(10, minute))
    until(lambda: feed.stream is not None and feed.stream.connections == 2)
    venue.watching(feed, ["AAPL"])
    venue.step(at(10, 4))
    assert [bar.start for bar in feed.streamed()] == [at(10, 3)]


def test_more_symbols_than_the_plan_streams_are_asked_for(start: Start) -> None:
    venue = start()
    feed = venue.feed(stream_symbols=2)
    feed.watch(SYMBOLS)
    venue.watching(feed, SYMBOLS[:2])
    venue.step(at(10, 1))
    assert [bar.symbol for bar in feed.streamed()] == list(SYMBOLS[:2])
    assert len(feed.minute_bars(SYMBOLS, at(10), at(10, 1))) == 4


def test_the_command_scans_through_it(start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    venue = start(at=at(20, day=date(2019, 2, 8)))
    config = tmp_path / "config"
    config.mkdir()
    shutil.copy(PACKAGED_CONFIG / "strategy_params.yaml", config)
    (config / "default.yaml").write_text(f"feed: {{name: alpaca}}\nalpaca: {{url: '{venue.alpaca.url}'}}\n")
    monkeypatch.setenv(KEY_ID, canary.KEY_ID)
    monkeypatch.setenv(SECRET_KEY, canary.SECRET)
    universe = tmp_path / "symbols.csv"
    arguments = ["--home", tmp_path, "--date", "2019-02-08", "--universe", universe, "--json"]
    ran = CliRunner().invoke(app, ["scan", *map(str, arguments)])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["total_symbols_scanned"] == len(SYMBOLS)

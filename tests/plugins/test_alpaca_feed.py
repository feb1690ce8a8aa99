"""The feed of Alpaca against the simulated one: through the contract, and what is particular to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from pathlib import Path

import pytest
from alpaca_venue import MINUTE, Venue, at

from autotrader.market.feed import LiveFeed, ShareSplit
from autotrader.plugins.feeds.alpaca import FIRST_SESSION, AlpacaFeed
from autotrader.plugins.feeds.contract import LiveFeedContract


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

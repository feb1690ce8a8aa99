"""The broker Alpaca against the simulated one: through the contract, and what each answer does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alpaca_venue import CALENDAR, MONDAY, Venue, at

from autotrader.market.broker import Broker
from autotrader.plugins.brokers.contract import BrokerContract
from autotrader.simulator.faults import Fault, Faults


class TestAlpacaKeepsTheContract(BrokerContract):
    not_lent = "XOM"

    @pytest.fixture(autouse=True)
    def _venue(self, tmp_path: Path) -> Iterator[None]:
        faults = Faults(0, [Fault(kind="hard_to_borrow", symbol="XOM")])
        self.venue = Venue(tmp_path, at(10), faults, scripted=True)
        yield
        self.venue.close()

    def make_broker(self) -> Broker:
        return self.venue.broker()

    def trade(self, symbol: str, price: float, at_most: int | None = None) -> None:
        self.venue.trade(symbol, price, at_most)

    def end_session(self) -> None:
        self.venue.step(CALENDAR.closes_at(MONDAY))

"""A scanner over real bars, and one over a small made-up market."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from autotrader.batch.scan import NightlyScanner
from autotrader.clock import Calendar
from autotrader.core.types import BatchResult
from autotrader.market.feed import Feed, FeedOptions
from autotrader.market.universe import Member, load_universe
from autotrader.plugins.feeds.files import FilesFeed
from autotrader.plugins.feeds.synthetic import SyntheticFeed
from autotrader.rules.document import load
from autotrader.validation.load import Configuration, load_configuration

ROOT = Path(__file__).parents[2]
Edit = Callable[[dict[str, Any]], object]
Configure = Callable[[Edit], Configuration]
Scan = Callable[..., BatchResult]


@pytest.fixture(scope="session")
def configuration() -> Configuration:
    found = load_configuration(ROOT / "config").configuration
    assert found is not None
    return found


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """The default configuration after an edit of its YAML, read back from a file."""

    def configured(edit: Edit) -> Configuration:
        data = load((ROOT / "config" / "strategy_params.yaml").read_bytes(), "strategy_params.yaml").data
        edit(data)
        (tmp_path / "strategy_params.yaml").write_text(json.dumps(data, indent=1))  # which is YAML too
        loaded = load_configuration(tmp_path)
        assert loaded.configuration is not None, [problem.message for problem in loaded.problems]
        return loaded.configuration

    return configured


@pytest.fixture(scope="session")
def real_feed(real_data: Path) -> FilesFeed:
    return FilesFeed.open(FeedOptions(real_data / "sp500_daily.parquet", 0, Calendar()))


@pytest.fixture(scope="session")
def real_universe(real_data: Path) -> tuple[Member, ...]:
    return load_universe(real_data / "sp500_constituents_2021.csv")


@pytest.fixture(scope="session")
def small_universe() -> tuple[Member, ...]:
    return load_universe()[::6]


@pytest.fixture(scope="session")
def small_market() -> SyntheticFeed:
    return SyntheticFeed.open(FeedOptions(None, 0, Calendar()))


@pytest.fixture(scope="session")
def scan_small(small_market: Feed, small_universe: tuple[Member, ...]) -> Scan:
    """Scans a session of the small market by a configuration."""

    def scan(by: Configuration, session: date) -> BatchResult:
        rulebook, hash_ = by.rulebook, by.settings.config_hash
        scanner = NightlyScanner(rulebook, hash_, by.strategies(), small_universe, Calendar(), by.blackouts)
        return scanner.scan(small_market, session)

    return scan

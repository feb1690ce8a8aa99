"""What every test may use: the folder of real market data, where it exists."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real bars and constituents; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("AUTOTRADER_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "sp500_daily.parquet").exists():
        pytest.skip(f"no real market data in {folder}; set AUTOTRADER_TEST_DATA to its folder")
    return folder

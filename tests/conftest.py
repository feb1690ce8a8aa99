"""What every test may use: the folder of real market data, where it exists. And that no test writes a key anywhere."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import canary
import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real bars and constituents; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("AUTOTRADER_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "sp500_daily.parquet").exists():
        pytest.skip(f"no real market data in {folder}; set AUTOTRADER_TEST_DATA to its folder")
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fails what printed or logged a key, or left one in its temporary folder. A file named .env is where keys live."""
    report = yield
    text = "\n".join([report.longreprtext, *(content for _, content in report.sections)])
    folder = getattr(item, "funcargs", {}).get("tmp_path") if call.when == "teardown" else None
    files = [path for path in canary.files_with_keys(folder) if path.name != ".env"] if folder else []
    if canary.is_in(text) or files:
        report.outcome = "failed"
        failed = "" if call.excinfo is None else f"; the test itself had failed: {call.excinfo.typename}"
        report.longrepr = f"a key was written: {', '.join(map(str, files)) or 'printed or logged'}{failed}"
        report.sections.clear()
        item._report_sections.clear()  # else the next phase reports them again
    return report

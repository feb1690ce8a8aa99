"""A month of the demo, played once for all who only look at it."""

from __future__ import annotations

import pytest

from .demos import Played, play


@pytest.fixture(scope="session")
def month(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Thirty sessions, minute by minute, on the 120 symbols."""
    return play(tmp_path_factory.mktemp("month"), 30)

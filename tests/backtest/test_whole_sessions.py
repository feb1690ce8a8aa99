"""What is judged at once for a whole session, or for many, is what would have been judged one by one."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from autotrader.backtest.engine import BacktestResult, Costs
from autotrader.core.trader import Trader
from autotrader.validation.load import Configuration

from .test_parity import every
from .worlds import configure, real_market, run


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What was answered when a path was to be judged at once."""
    answers: list[bool] = []
    settled = Trader.settled

    def counted(self: Trader, *arguments: object) -> bool:
        answers.append(settled(self, *arguments))  # type: ignore[arg-type]
        return answers[-1]

    monkeypatch.setattr(Trader, "settled", counted)
    return answers


def same(one: BacktestResult, other: BacktestResult, configuration: Configuration) -> None:
    for field in fields(BacktestResult):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        if field.name == "tally":
            ours, theirs = (tally.statistics(configuration.rulebook) for tally in (ours, theirs))
        if isinstance(ours, np.ndarray):
            assert np.array_equal(ours, theirs), field.name
        elif field.name not in ("view", "trades"):
            assert ours == theirs, field.name
    assert len(one.trades) == len(other.trades)
    for ours, theirs in zip(one.trades, other.trades, strict=True):
        assert ours.trade == theirs.trade
        for decided, again in zip((*ours.entry, ours.exit), (*theirs.entry, theirs.exit), strict=True):
            assert repr(decided and decided.as_json()) == repr(again and again.as_json())


COSTS = Costs(2.0, 1.0, 0.02)


def test_a_path_judged_at_once_changes_nothing(
    tmp_path: Path, real_data: Path, settled: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = configure(tmp_path, ("max_drawdown_pct: 15%", "max_drawdown_pct: 100%"))
    panel, universe = every(*real_market(real_data), 5)
    found = run(configuration, panel, universe=universe, costs=COSTS)
    assert len(found.trades) > 500
    assert 0.5 < sum(settled) / len(settled) < 1
    monkeypatch.setattr(Trader, "settled", lambda *_: False)
    same(found, run(configuration, panel, universe=universe, costs=COSTS), configuration)

"""A rule that has to be known and is not: its symbol stops there, somebody hears of it, and everything else goes on."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from .wire import BUSY, CALENDAR, Wire, at, statuses

HALF_DAY = date(2019, 7, 3)
BEFORE = CALENDAR.previous_session(HALF_DAY)

NIGHT, DAY = "      - {name: conflicting_signals,", "    - {name: stop_loss,"
FAILING = (
    (NIGHT, '      - {name: nightly, when: strategy == "adx_pullback" and strength / (prev_close - prev_close) > 1,'
            f" then: reject, on_missing: fail}}\n{NIGHT}"),
    (DAY, '    - {name: strict, when: strategy == "regime_momentum" and price / (bars_held - bars_held) > 1,'
          f" then: exit, on_missing: fail}}\n{DAY}"),
)  # fmt: skip


def test_a_night_and_a_day_with_rules_that_fail(tmp_path: Path) -> None:
    with Wire(tmp_path, at(BEFORE, 19, 59)) as wire:
        wire.write_config(*BUSY, *FAILING)
        wire.run(at(HALF_DAY, 13, 5))
        alerts, book, held = wire.alerts(), wire.book(), wire.held_at_broker()
        assert set(statuses(wire.stages(), HALF_DAY).values()) == {"done"}
    told = {alert.subject: alert for alert in alerts}
    assert told["rule nightly"].severity == "warning"
    assert told["rule nightly"].happened.startswith("eligible: it reads what is unknown for ")
    stuck = [position.symbol for position in book.positions.values() if position.strategy == "regime_momentum"]
    assert stuck
    for symbol in stuck:
        assert told[f"rule strict of {symbol}"].severity == "critical"
        assert "price / (bars_held - bars_held) > 1 unknown" in told[f"rule strict of {symbol}"].happened
    assert len(alerts) < 20, "not on every bar"
    left = [trade for trade in book.trades if trade.strategy == "regime_momentum"]
    assert all((trade.exit_rule or "").startswith(("emergency", "protective")) for trade in left), "nothing else may"
    assert [trade for trade in book.trades if trade.strategy == "rsi_mean_reversion"], "the others are left by rule"
    signed = {symbol: item.quantity * item.sign for symbol, item in book.positions.items()}
    assert held == signed

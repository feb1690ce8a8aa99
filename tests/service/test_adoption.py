"""What changes for a position under another configuration, and where its exits are."""

from __future__ import annotations

from pathlib import Path

import pytest
from days import Edit, Floor, configuration

from autotrader.core.rulebook import Rulebook
from autotrader.journal.store import Journal
from autotrader.service.adoption import Change, Levels, adoption, finder, levels
from autotrader.validation.load import PACKAGED_CONFIG, PARAMS_FILE, load_configuration

OLD = configuration().rulebook


def changes(*edits: Edit, strategy: str = "rsi_mean_reversion") -> list[Change]:
    floor = Floor()
    floor.hold("A", strategy=strategy)
    return list(adoption(floor.book.positions["A"], OLD, configuration(*edits).rulebook).changes)


def test_the_levels_of_a_long_position_lie_around_its_entry() -> None:
    floor = Floor()
    floor.hold("A", price=100.0, atr=2.0)
    assert levels(floor.book.positions["A"], OLD) == Levels(5.0, 95.0, 106.0, 87.5, 5)


def test_the_levels_of_a_short_are_mirrored_and_what_it_does_not_have_is_none() -> None:
    floor = Floor()
    floor.hold("A", strategy="overbought_short", direction="short", price=100.0, atr=1.0)
    assert levels(floor.book.positions["A"], OLD) == Levels(2.5, 102.5, None, 112.5, 5)


def test_a_changed_value_of_the_positions_strategy_is_told_with_its_levels() -> None:
    floor = Floor()
    floor.hold("A", price=100.0, atr=2.0)
    new = configuration(("sl_atr_mult: 2.5         # stop distance, in ATRs at entry", "sl_atr_mult: 1.0")).rulebook
    found = adoption(floor.book.positions["A"], OLD, new)
    assert found.changes == (Change("sl_atr_mult", "2.5", "1"),)
    assert found.after is not None
    assert (found.before.stop, found.after.stop) == (95.0, 98.0)


def test_another_strategys_value_is_no_change() -> None:
    edit = ("sl_atr_mult: 2.5         # stop distance, in ATRs at entry", "sl_atr_mult: 1.0")
    assert changes(edit, strategy="bb_squeeze") == []


@pytest.mark.parametrize(
    ("edit", "change"),
    [
        (("{name: day_skip, when: days_held == 0, then: hold, because: The first session's noise is not a reason to "
          "leave.}", "{name: patience, when: days_held <= 1, then: hold}"),
         Change("rule patience", None, "days_held <= 1: hold")),
        (("for_bars: 2, then: exit", "for_bars: 3, then: exit"),
         Change("rule emergency_stop", "loss_pct >= emergency_stop_pct for 2 bars: exit",
                "loss_pct >= emergency_stop_pct for 3 bars: exit")),
        (("emergency_stop_pct: 7%", "emergency_stop_pct: 8%"), Change("emergency_stop_pct", "0.07", "0.08")),
        (("rsi: {kind: rsi, length: 14}", "rsi: {kind: rsi, length: 10}"),
         Change("indicator rsi", "kind rsi, of close, length 14, width 2", "kind rsi, of close, length 10, width 2")),
        (("    enabled: true\n    distance", "    enabled: false\n    distance"),
         Change("protective_stop.enabled", "yes", "no")),
        (("min(sl_atr_mult * atr_at_entry, max_stop_pct * entry_price)", "sl_atr_mult * atr_at_entry"),
         Change("stop_distance", "min(sl_atr_mult * atr_at_entry, max_stop_pct * entry_price)",
                "sl_atr_mult * atr_at_entry")),
    ],
)  # fmt: skip
def test_every_kind_of_change_is_told(edit: Edit, change: Change) -> None:
    assert change in changes(edit)


def test_rules_that_change_places_are_told() -> None:
    text = (PACKAGED_CONFIG / PARAMS_FILE).read_text()
    lines = [line for line in text.splitlines() if "{name: stop_loss," in line or "{name: take_profit," in line]
    found = changes((lines[0], "    # moved"), (lines[1], f"{lines[1]}\n{lines[0]}"))
    assert [change.what for change in found] == ["order of the rules"]


def test_an_edit_that_no_exit_reads_changes_nothing() -> None:
    assert changes(("max_open_positions: 8", "max_open_positions: 7")) == []


def test_a_configuration_is_found_among_those_in_use_or_in_the_folder_as_it_is_now(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    text = (PACKAGED_CONFIG / PARAMS_FILE).read_text()
    (config / PARAMS_FILE).write_text(text.replace("max_open_positions: 8", "max_open_positions: 7"))
    loaded = load_configuration(config).configuration
    assert loaded is not None
    config_hash = loaded.settings.config_hash
    with Journal.open(tmp_path / "journal.sqlite3", "T", initial_cash=1.0) as journal:
        rulebooks: dict[str, Rulebook] = {"in use": OLD}
        find = finder(config, journal, rulebooks)
        assert find("in use") is OLD
        assert find("0" * 64) is None
        assert find(config_hash) is rulebooks[config_hash]
        assert journal.config(config_hash).params.risk.params["max_open_positions"] == 7
        (config / PARAMS_FILE).write_text("version: [")
        assert find("0" * 64) is None
        assert find(config_hash) is not None

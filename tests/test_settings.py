"""The typed configuration: what the models accept, what they keep, and what counts for the configuration's hash."""

from __future__ import annotations

import copy
import datetime
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from autotrader.rules.document import load
from autotrader.settings import BySide, StrategyParams, SystemSettings, config_hash, indicator_specs
from autotrader.vocabulary import Indicator

CONFIG = Path(__file__).parents[1] / "config"


@pytest.fixture
def data() -> dict[str, Any]:
    return load((CONFIG / "strategy_params.yaml").read_bytes(), "f").data


def parsed(data: dict[str, Any]) -> StrategyParams:
    return StrategyParams.model_validate(data)


def test_the_default_configuration_is_typed_through(data: dict[str, Any]) -> None:
    params = parsed(data)
    assert params.batch.scan_time == datetime.time(20, 0)
    assert params.batch.retry_seconds == (60, 120, 300)
    assert params.regime.weights.share("TREND", "adx_pullback") == 0.30
    assert params.regime.weights.share("TREND", "unheard_of") == 0.10
    assert params.exit.rules[1].for_bars == 2
    assert params.regime.rules[-1].when == "true"
    assert params.risk.params["max_daily_loss_pct"] == 0.02
    assert [rule.then for rule in params.entry.groups["confirmation"].rules] == ["enter", "discard"]


def test_a_strategy_has_its_own_values_else_the_defaults(data: dict[str, Any]) -> None:
    values = parsed(data).values("overbought_short")
    assert values["max_stop_pct"] == 0.05
    assert values["emergency_stop_pct"] == 0.07
    assert values["tp_rsi"] == BySide(short=55.0)
    assert "tp_atr_mult" not in values


def test_null_says_none_where_the_defaults_say_something(data: dict[str, Any]) -> None:
    data["strategy_defaults"]["tp_atr_mult"] = 3
    data["strategies"]["bb_squeeze"]["tp_atr_mult"] = None
    params = parsed(data)
    assert params.values("overbought_short")["tp_atr_mult"] == 3
    assert params.values("bb_squeeze")["tp_atr_mult"] is None


def test_a_value_of_any_other_name_is_kept(data: dict[str, Any]) -> None:
    data["strategies"]["bb_squeeze"] |= {"give_up_days": 3, "floor": {"long": 1}}
    values = parsed(data).strategies["bb_squeeze"].values
    assert values["give_up_days"] == 3.0
    assert values["floor"] == BySide(long=1.0)


def test_params_may_stand_with_every_rule_set(data: dict[str, Any]) -> None:
    data["entry"]["gap_filter"]["params"] = {"max_age": 600}
    assert parsed(data).entry.gap_filter.params == {"max_age": 600.0}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("batch", "top_candidates"), 0), (("batch", "top_candidates"), "12"), (("batch", "top_candidates"), 5.0),
        (("batch", "min_coverage"), 1.5), (("batch", "scan_time"), "8pm"), (("batch", "scan_time"), "24:00"),
        (("batch", "extra"), 1), (("strategies", "bb_squeeze", "sl_atr_mult"), -1),
        (("strategies", "bb_squeeze", "tp_rsi"), True), (("strategies", "bb_squeeze", "note"), "text"),
        (("strategies", "bad name"), {}), (("exit", "rules", 0, "then"), "reject"),
        (("exit", "rules", 0, "for_bars"), 0),
        (("risk", "limits", 0, "for_bars"), 2), (("indicators", "rsi"), {"kind": "rsi", "width": 2.0}),
        (("indicators", "rsi"), {"kind": "ema"}), (("indicators", "rsi"), {"kind": "unheard_of"}), (("version",), 2),
        (("entry", "groups", "moo", "order"), "limit"), (("regime", "weights", "TREND", "bb_squeeze"), 2.0),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused(data: dict[str, Any], path: tuple[Any, ...], value: object) -> None:
    part = data
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    with pytest.raises(ValidationError):
        parsed(data)


def test_indicators_get_the_defaults_of_their_kind(data: dict[str, Any]) -> None:
    data["indicators"]["before"] = {"kind": "prev", "of": "rsi"}
    data["indicators"]["market_rsi"] = {"kind": "rsi", "symbol": "market"}
    specs = {spec.name: spec for spec in indicator_specs(parsed(data))}
    assert specs["rsi"] == Indicator("rsi", "rsi", length=14)
    assert specs["before"] == Indicator("before", "prev", of="rsi", length=1)
    assert specs["market_rsi"].symbol == "market"
    assert specs["pct_b"].width == 2.0
    assert list(specs)[:2] == ["rsi", "adx"]


def test_the_system_settings_have_defaults_and_their_file_says_the_same() -> None:
    written = SystemSettings.model_validate(load((CONFIG / "default.yaml").read_bytes(), "f").data)
    assert written == SystemSettings()
    assert not written.logging.as_json


# --- the hash -----------------------------------------------------------------------------------------------------


def reordered(value: Any) -> Any:
    """The same with the keys of all mappings in reverse, but for indicators, whose order has a meaning."""
    if isinstance(value, dict):
        return {k: v if k == "indicators" else reordered(v) for k, v in reversed(value.items())}
    return [reordered(item) for item in value] if isinstance(value, list) else value


def test_the_hash_is_blind_to_formatting_comments_and_the_order_of_keys(data: dict[str, Any]) -> None:
    wanted = config_hash(parsed(data), {"talib": "0.6"})
    assert len(wanted) == 64
    assert config_hash(parsed(reordered(data)), {"talib": "0.6"}) == wanted
    text = (CONFIG / "strategy_params.yaml").read_text()
    other = (
        text.replace(": 3%", ": 0.03")
        .replace("tp_atr_mult: 3.0", "tp_atr_mult: 3")
        .replace("adx_max: 25", "adx_max: 25.0")
    )
    other = "# a comment\n" + other.replace("    order: market  ", "    order: 'market'  ")
    assert other != text
    assert config_hash(parsed(load(other, "f").data), {"talib": "0.6"}) == wanted


def test_the_hash_is_blind_to_a_default_written_out(data: dict[str, Any]) -> None:
    wanted = config_hash(parsed(data), {})
    data["strategies"]["bb_squeeze"]["enabled"] = True
    data["exit"]["rules"][0]["for_bars"] = 1
    assert config_hash(parsed(data), {}) == wanted


def _swap_rules(data: dict[str, Any]) -> None:
    data["exit"]["rules"].reverse()


def _swap_indicators(data: dict[str, Any]) -> None:
    data["indicators"] = dict(reversed(data["indicators"].items()))


def _null_value(data: dict[str, Any]) -> None:
    data["strategies"]["overbought_short"]["tp_atr_mult"] = None


def _signal(data: dict[str, Any]) -> None:
    data["strategies"]["bb_squeeze"]["signal"]["adx_rise"] = 2.5


def _own_indicators(data: dict[str, Any]) -> None:
    data["strategies"]["bb_squeeze"]["indicators"] = {"x": {"kind": "rsi"}}


def _extra_value(data: dict[str, Any]) -> None:
    data["strategies"]["bb_squeeze"]["give_up_days"] = 3


@pytest.mark.parametrize("edit", [_swap_rules, _swap_indicators, _null_value, _signal, _own_indicators, _extra_value])
def test_the_hash_changes_with_whatever_changes_a_decision(data: dict[str, Any], edit: Any) -> None:
    edited = copy.deepcopy(data)
    edit(edited)
    assert config_hash(parsed(edited), {}) != config_hash(parsed(data), {})


def test_the_hash_changes_with_a_version(data: dict[str, Any]) -> None:
    params = parsed(data)
    assert config_hash(params, {"talib": "0.6"}) != config_hash(params, {"talib": "0.7"})


def test_reading_and_checking_the_configuration_starts_light() -> None:
    code = (
        "import sys; from pathlib import Path; from autotrader.validation.load import load_configuration;"
        f"assert load_configuration(Path({str(CONFIG)!r})).configuration;"
        "heavy = ('numpy', 'pandas', 'pyarrow', 'talib', 'exchange_calendars', 'simpleeval');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("model", [StrategyParams, SystemSettings])
def test_the_documents_models_are_ready_once_imported(model):
    # else the first check in a process would build them, which takes longer than the check
    code = f"from autotrader.settings import {model.__name__} as model; print(model.__pydantic_complete__)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"

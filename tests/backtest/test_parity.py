"""The same days through the demo and through the backtest: the same decisions, the same trades."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import compute, parquet

from autotrader.core.panel import FIELDS, Panel
from autotrader.market.minutes import MinuteBars, minutes_of_day
from autotrader.market.universe import Member

from .parity import ALL_HISTORY, BARS_FROM, FIRST, LAST, Life, first_difference, play_backtest, play_demo
from .worlds import CALENDAR, configure, edited, real_market

BUSY = (  # eager enough for a busy week of few symbols
    ("rsi: {long: 30, short: 75}, pct_b: {long: 0.05, short: 0.95}",
     "rsi: {long: 48, short: 55}, pct_b: {long: 0.6, short: 0.5}"),
    ("rsi_max: 50,", "rsi_max: 65,"),
    ("width_ratio_min: 1.3", "width_ratio_min: 0.8"),
    ("max_daily_entries: 3", "max_daily_entries: 6"),
    ("max_per_strategy: 2", "max_per_strategy: 5"),
)  # fmt: skip
NEAR_STOP = ("max(1.25 * emergency_immediate_pct * entry_price, 1.25 * stop_distance)", "0.025 * entry_price")


def test_a_real_year_is_decided_and_traded_alike(real_data: Path, tmp_path: Path) -> None:
    configuration = configure(tmp_path, ALL_HISTORY)
    panel, universe = every(*real_market(real_data, BARS_FROM, LAST), 8)
    played = play_demo(configuration, panel, universe, FIRST, LAST, tmp_path / "demo")
    tested = play_backtest(configuration, panel, universe, FIRST, LAST)
    assert first_difference(played, tested) is None
    assert len(played.equity) == 253
    assert_that_much_happened(played, 60)


def test_protective_stops_within_the_rules_are_met_on_the_way_in_both(real_data: Path, tmp_path: Path) -> None:
    configuration = configure(tmp_path, ALL_HISTORY, *BUSY, NEAR_STOP)
    panel, universe = every(*real_market(real_data, BARS_FROM, LAST), 12)
    first, last = date(2020, 2, 18), date(2020, 4, 17)
    played = play_demo(configuration, panel, universe, first, last, tmp_path / "demo")
    tested = play_backtest(configuration, panel, universe, first, last)
    assert first_difference(played, tested) is None
    rules = Counter(trade[9] for trade in tested.trades)
    assert rules["protective_stop"] > 10
    assert len(rules) >= 3


def test_orders_for_the_opening_auction_are_filled_in_both(real_data: Path, tmp_path: Path) -> None:
    auction = ('at: "09:30"\n      order: market ', 'at: "09:27"\n      order: opg ')
    configuration = configure(tmp_path, ALL_HISTORY, *BUSY, auction)
    panel, universe = every(*real_market(real_data, BARS_FROM, LAST), 12)
    first, last = date(2020, 4, 1), date(2020, 5, 29)
    played = play_demo(configuration, panel, universe, first, last, tmp_path / "demo")
    tested = play_backtest(configuration, panel, universe, first, last)
    assert first_difference(played, tested) is None
    assert Counter(trade[16] for trade in tested.trades)["MOO"] > 5


@pytest.mark.parametrize("tick", [0, 3])
def test_a_difference_of_one_thing_would_be_seen(tick: int) -> None:
    said: list[tuple[object, ...]] = [("plan", number) for number in range(5)]
    changed = [item if number != tick else ("plan", -1) for number, item in enumerate(said)]
    assert first_difference(Life(said, [], []), Life(said, [], [])) is None
    assert "said" in (first_difference(Life(said, [], []), Life(changed, [], [])) or "")
    assert "trades" in (first_difference(Life(said, said, []), Life(said, said[:-1], [])) or "")


def test_a_week_of_real_minutes_is_decided_and_traded_alike(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "minute_2019-02.parquet"
    if not path.exists():
        pytest.skip(f"no {path}")
    symbols = compute.unique(parquet.read_table(path, columns=["symbol"]).column("symbol")).to_pylist()
    first, last = date(2019, 2, 11), date(2019, 2, 15)
    whole, members = real_market(real_data, date(2017, 6, 1), last)
    universe = [item for item in members if item.symbol in symbols]
    daily = whole.select([item.symbol for item in universe])

    def unadjusted(fields: dict[str, np.ndarray]) -> None:
        for row, symbol in enumerate(daily.symbols):
            for name in ("open", "high", "low", "close"):
                fields[name][row] *= {"AAPL": 4.0, "TSLA": 5.0}.get(symbol, 1.0)  # splits after the minutes

    panel = edited(daily, unadjusted)
    configuration = configure(tmp_path, ALL_HISTORY, *BUSY)
    played = play_demo(configuration, panel, universe, first, last, tmp_path / "demo", path)
    tested = play_backtest(configuration, panel, universe, first, last, path)
    assert first_difference(played, tested) is None
    assert sum(said[0] == "bars" for said in tested.said) > 1_000
    assert len(tested.trades) >= 8
    left = {trade[6] for trade in tested.trades if trade[6] is not None}
    assert left, "nothing was left on a minute"


def test_a_month_of_minutes_with_holes_is_decided_and_traded_alike(real_data: Path, tmp_path: Path) -> None:
    first, last = date(2019, 5, 1), date(2019, 5, 23)
    panel, universe = every(*real_market(real_data, date(2017, 9, 1), last), 12)
    path = tmp_path / "minutes.parquet"
    write_minutes(path, panel, first, last)
    configuration = configure(tmp_path, ALL_HISTORY, *BUSY, NEAR_STOP)
    played = play_demo(configuration, panel, universe, first, last, tmp_path / "demo", path)
    tested = play_backtest(configuration, panel, universe, first, last, path)
    assert first_difference(played, tested) is None
    assert_that_much_happened(tested, 15, strategies=2)
    assert {"protective_stop", "time_exit"} <= {trade[9] for trade in tested.trades}


def every(panel: Panel, universe: Sequence[Member], step: int) -> tuple[Panel, list[Member]]:
    chosen = list(universe[::step])
    return panel.select([item.symbol for item in chosen]), chosen


def assert_that_much_happened(life: Life, trades: int, strategies: int = 4) -> None:
    assert len(life.trades) > trades
    traded, sides, rules, groups = (Counter(trade[at] for trade in life.trades) for at in (2, 3, 9, 16))
    assert len(traded) >= strategies
    assert set(sides) == {"long", "short"}
    assert len(rules) >= 4
    assert set(groups) == {"MOO", "CONFIRM"}


def write_minutes(path: Path, panel: Panel, first: date, last: date) -> None:
    """Made-up minutes of real days, of which a third are missing here and there, and some have no volume."""
    random = np.random.default_rng(1)
    parts: list[tuple[MinuteBars, date]] = []
    for column, day in enumerate(panel.dates.tolist()):
        if not first <= day <= last:
            continue
        length = int((CALENDAR.closes_at(day) - CALENDAR.opens_at(day)).total_seconds()) // 60
        for row, symbol in enumerate(panel.symbols):
            bar = [float(getattr(panel, name)[row, column]) for name in FIELDS]
            if not any(np.isnan(bar)):
                parts.append((minutes_of_day(symbol, day, *bar, length, 7), day))
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("symbol", "ts", *FIELDS)}
    for bars, day in parts:
        kept = random.random(len(bars.minute)) > 1 / 3
        start = np.datetime64(int(CALENDAR.opens_at(day).timestamp()), "s")
        columns["symbol"].append(np.repeat(bars.symbol, kept.sum()))
        columns["ts"].append((start + bars.minute[kept].astype("timedelta64[m]")).astype("datetime64[s]"))
        for name in FIELDS:
            columns[name].append(getattr(bars, name)[kept])
        columns["volume"][-1] = columns["volume"][-1] * (random.random(kept.sum()) > 0.1)
    whole = {name: np.concatenate(values) for name, values in columns.items()}
    table = {name: values for name, values in whole.items() if name != "ts"}
    ts = pa.array(whole["ts"]).cast(pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC"))
    parquet.write_table(pa.table({"symbol": table.pop("symbol"), "ts": ts, **table}), path, row_group_size=10_000)

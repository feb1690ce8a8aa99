"""Periods beyond the data, gaps, symbols that come and go, nothing to trade: handled, and said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from autotrader.backtest.engine import BacktestError, BacktestResult, Costs
from autotrader.backtest.minutes import misfit
from autotrader.backtest.output import Document, document, to_json
from autotrader.backtest.report import report
from autotrader.core.panel import FIELDS, Panel
from autotrader.market.minutes import MinuteBars, minutes_of_day
from autotrader.validation.load import PACKAGED_CONFIG, PARAMS_FILE

from .worlds import CALENDAR, configure, edited, from_closes, market, run

FIRST, LAST = date(2017, 1, 3), date(2018, 6, 29)
MOVES = ("open", "high", "low", "close")


def told(found: BacktestResult) -> Document:
    """The document, of which the page and the file can be made, too."""
    content = document(found, feed="test")
    assert report(content, found).startswith(b"<!doctype html>")
    assert b"NaN" not in to_json(content)
    return content


# --- the period -------------------------------------------------------------------------------------------------------


def test_the_first_entries_are_on_the_first_session_and_from_the_scan_before_it(tmp_path: Path) -> None:
    panel = market(40, FIRST, LAST)
    whole = run(configure(tmp_path), panel)
    day = next(item.trade.entered_at.date() for item in whole.trades if item.trade.plan.group == "MOO")
    alone = run(configure(tmp_path), panel, day, day)
    assert [item.trade.entered_at.date() for item in alone.trades]
    assert alone.sessions == (day,)


def test_a_period_that_begins_on_a_holiday_begins_on_the_next_session(tmp_path: Path) -> None:
    found = run(configure(tmp_path), market(10, FIRST, LAST), date(2018, 1, 1), date(2018, 1, 7))
    assert found.sessions == (date(2018, 1, 2), date(2018, 1, 3), date(2018, 1, 4), date(2018, 1, 5))


@pytest.mark.parametrize(
    ("first", "last", "says"),
    [
        (date(2019, 1, 2), date(2019, 2, 1), "no session from 2019-01-02 to 2019-02-01 in the data, which has 2017"),
        (date(2010, 1, 4), date(2011, 1, 3), "no session from 2010-01-04"),
        (date(2018, 1, 5), date(2018, 1, 4), "--from 2018-01-05 is after --to 2018-01-04"),
        (date(2018, 1, 6), date(2018, 1, 7), "no session from 2018-01-06 to 2018-01-07"),
        (FIRST, FIRST, "2017-01-03 is the first session of the data: there is none before it to scan"),
    ],
)  # fmt: skip
def test_a_period_without_a_session_is_refused_in_a_sentence(
    tmp_path: Path, first: date, last: date, says: str
) -> None:
    with pytest.raises(BacktestError, match=says):
        run(configure(tmp_path), market(5, FIRST, LAST), first, last)


def test_no_symbols_are_refused_in_a_sentence(tmp_path: Path) -> None:
    panel = market(5, FIRST, LAST)
    with pytest.raises(BacktestError, match="empty"):
        run(configure(tmp_path), panel.select([]), FIRST, LAST, universe=[])


def test_a_period_longer_than_the_data_is_played_as_far_as_there_are_any(tmp_path: Path) -> None:
    panel = market(10, FIRST, LAST)
    found = run(configure(tmp_path), panel, date(2000, 1, 3), date(2030, 1, 2))
    assert (found.sessions[0], found.sessions[-1], len(found.sessions)) == (date(2017, 1, 4), LAST, panel.sessions - 1)


def test_sessions_before_any_symbol_is_usable_are_said(tmp_path: Path) -> None:
    content = told(run(configure(tmp_path), market(10, FIRST, LAST), FIRST, date(2017, 6, 30)))
    assert any("no symbol was usable (batch.min_bars is 60)" in line for line in content["caveats"])
    later = told(run(configure(tmp_path), market(10, FIRST, LAST), date(2017, 6, 30), LAST))
    assert not any("no symbol was usable" in line for line in later["caveats"])


# --- nothing happens --------------------------------------------------------------------------------------------------


def test_no_signal_no_trade_and_every_number_that_is_undefined_is_null(tmp_path: Path) -> None:
    closes = np.full((3, 300), 50.0) + 0.01 * np.arange(300) % 0.03
    content = told(run(configure(tmp_path), from_closes(closes, FIRST, 0.001)))
    measured = content["metrics"]
    assert content["trades"] == []
    assert content["final_equity"] == content["initial_cash"] == 100_000.0
    assert {row["equity"] for row in content["equity"]} == {100_000.0}
    for key in ("sharpe", "sortino", "calmar", "hit_rate", "profit_factor", "expectancy_r", "average_win"):
        assert measured[key] is None, key
    assert (measured["closed_trades"], measured["max_drawdown"], measured["exposure"]) == (0, 0.0, 0.0)
    assert all(item["trades"] == 0 for item in content["strategies"])


def test_too_little_cash_for_a_share_is_no_trade(tmp_path: Path) -> None:
    found = run(configure(tmp_path), market(40, FIRST, LAST), cash=10.0)
    assert not found.trades
    assert told(found)["metrics"]["closed_trades"] == 0


def test_a_single_symbol_and_a_single_session(tmp_path: Path) -> None:
    found = run(configure(tmp_path), market(1, FIRST, LAST), date(2018, 3, 5), date(2018, 3, 5))
    content = told(found)
    assert len(content["equity"]) == 1
    assert content["metrics"]["volatility"] is None


# --- symbols that begin, end and pause --------------------------------------------------------------------------------


def held_somewhere(found: BacktestResult) -> tuple[str, date]:
    """A symbol that was entered and held over more than a night, and the session of its entry."""
    trade = next(i.trade for i in found.trades if i.trade.exited_at is not None and i.trade.sessions_held >= 3)
    return trade.symbol, trade.entered_at.date()


def without(panel: Panel, symbol: str, part: slice) -> Panel:
    def remove(fields: dict[str, np.ndarray]) -> None:
        for name in FIELDS:
            fields[name][panel.symbols.index(symbol), part] = np.nan

    return edited(panel, remove)


def test_a_symbol_that_ends_while_held_stays_at_its_last_close_and_is_named(tmp_path: Path) -> None:
    panel, configuration = market(40, FIRST, LAST), configure(tmp_path)
    symbol, entered = held_somewhere(run(configuration, panel))
    column = int(np.searchsorted(panel.dates, np.datetime64(entered)))
    found = run(configuration, without(panel, symbol, slice(column + 1, None)))
    content = told(found)
    (trade,) = [row for row in content["trades"] if row["symbol"] == symbol and row["entered_at"][:10] == str(entered)]
    close = float(panel.close[panel.symbols.index(symbol), column])
    assert (trade["exited_at"], trade["pnl"]) == (None, None)
    assert trade["marked_price"] == close
    caveats = " ".join(content["caveats"])
    assert f"{symbol} ({entered})" in caveats
    assert f"without a bar there, valued at the last known price: {symbol}" in caveats
    assert all(math.isfinite(row["equity"]) for row in content["equity"])


def test_a_halt_while_held_is_waited_out(tmp_path: Path) -> None:
    panel, configuration = market(40, FIRST, LAST), configure(tmp_path)
    symbol, entered = held_somewhere(run(configuration, panel))
    column = int(np.searchsorted(panel.dates, np.datetime64(entered)))
    content = told(run(configuration, without(panel, symbol, slice(column + 1, column + 9))))
    (trade,) = [row for row in content["trades"] if row["symbol"] == symbol and row["entered_at"][:10] == str(entered)]
    back = panel.dates[column + 9].item()
    assert trade["exited_at"][:16] == f"{back}T09:30", "the first price after the halt"
    assert any("missing in between" in line and f"{symbol} (8)" in line for line in content["caveats"])


def test_a_symbol_is_not_entered_before_it_has_begun_and_its_beginning_is_named(tmp_path: Path) -> None:
    panel, configuration = market(40, FIRST, LAST), configure(tmp_path)
    symbol, entered = held_somewhere(run(configuration, panel))
    begins = int(np.searchsorted(panel.dates, np.datetime64(entered))) - 5
    content = told(run(configuration, without(panel, symbol, slice(None, begins))))
    mine = [row["entered_at"][:10] for row in content["trades"] if row["symbol"] == symbol]
    assert all(day >= panel.dates[begins + 60].item().isoformat() for day in mine), "batch.min_bars is 60"
    assert any(f"begins inside the period: {symbol} ({panel.dates[begins]})" in line for line in content["caveats"])


def test_sessions_that_nobody_traded_in_are_named_and_change_nothing_held(tmp_path: Path) -> None:
    def storm(fields: dict[str, np.ndarray]) -> None:
        for name in FIELDS:
            fields[name][:, 200:202] = np.nan

    panel = edited(market(40, FIRST, LAST), storm)
    found = run(configure(tmp_path), panel)
    content = told(found)
    assert any("2 sessions without any bar" in line for line in content["caveats"])
    missing = {panel.dates[200].item(), panel.dates[201].item()}
    for item in found.trades:
        assert item.trade.entered_at.date() not in missing
        assert item.trade.exited_at is None or item.trade.exited_at.date() not in missing


# --- costs ------------------------------------------------------------------------------------------------------------


def test_slippage_commission_and_borrow_cost_what_they_say(tmp_path: Path) -> None:
    panel, configuration = market(40, FIRST, LAST), configure(tmp_path)
    free, paid = (run(configuration, panel, costs=costs) for costs in (Costs(0, 0, 0), Costs(10.0, 2.0, 0.5)))
    first = free.trades[0].trade
    same = next(i.trade for i in paid.trades if i.trade.symbol == first.symbol)
    sign = 1 if first.direction == "long" else -1
    assert same.entry_price == pytest.approx(first.entry_price * (1 + sign * 0.001), abs=1e-4)
    longs = [i.trade for i in paid.trades if i.trade.direction == "long" and i.trade.exited_at]
    assert {trade.costs for trade in longs} == {4.0}, "two orders"
    shorts = [i.trade for i in paid.trades if i.trade.direction == "short" and i.trade.exited_at]
    assert shorts
    for trade in shorts:
        nights = trade.sessions_held
        value = trade.entry_price * trade.quantity
        assert trade.costs - 4.0 == pytest.approx(nights * value * 0.5 / 252, rel=0.2)
    assert not any(i.trade.costs for i in free.trades)


def test_a_half_day_is_played_to_its_early_close(tmp_path: Path) -> None:
    panel, configuration = market(60, date(2016, 1, 4), date(2018, 12, 31)), configure(tmp_path)
    short = {day for day in (d.item() for d in panel.dates) if CALENDAR.closes_at(day).hour == 13}
    assert short
    found = run(configuration, panel)
    for item in found.trades:
        left = item.trade.exited_at
        if left is not None and left.date() in short:
            assert (left.hour, left.minute) <= (13, 0)


def test_a_market_without_movement_overnight_and_a_price_at_the_stop(tmp_path: Path) -> None:
    """A day that falls through the stop fills at the stop, a day that opens beneath it at the open."""
    panel, configuration = market(60, date(2016, 1, 4), date(2018, 12, 31)), configure(tmp_path)
    column = {day.item(): at for at, day in enumerate(panel.dates)}
    at_open = on_the_way = 0
    for item in run(configuration, panel, costs=Costs(0, 0, 0)).trades:
        trade = item.trade
        if trade.exit_rule != "stop_loss":
            continue
        assert trade.exited_at is not None
        assert trade.exit_price is not None
        sign = 1 if trade.direction == "long" else -1
        mult = configuration.rulebook.values(trade.strategy, trade.direction)
        distance = mult["sl_atr_mult"] * trade.plan.atr
        cap = mult["max_stop_pct"]
        distance = distance if math.isnan(cap) else min(distance, cap * trade.entry_price)
        stop = trade.entry_price - sign * distance
        open_ = float(panel.open[panel.symbols.index(trade.symbol), column[trade.exited_at.date()]])
        if (open_ - stop) * sign <= 0:
            at_open += 1
            assert trade.exit_price == pytest.approx(open_, abs=1e-4)
        else:
            on_the_way += 1
            assert trade.exit_price == pytest.approx(stop, abs=2e-4)
    assert at_open
    assert on_the_way


# --- bars that cannot have been ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        {"close": math.nan}, {"open": 0.0}, {"open": -5.0}, {"high": math.inf}, {"close": math.inf}, {"open": math.inf},
        {"high": 0.01}, {"close": 0.0}, {"low": 1e9}, {"low": -1.0, "volume": math.nan},
    ],
    ids=str,
)  # fmt: skip
def test_a_bar_that_cannot_have_been_is_worth_its_open_at_most_and_is_said(
    tmp_path: Path, damage: dict[str, float]
) -> None:
    panel = market(40, FIRST, LAST)
    configuration = configure(tmp_path)
    symbol, entered = held_somewhere(run(configuration, panel))
    row, column = panel.symbols.index(symbol), int(np.searchsorted(panel.dates, np.datetime64(entered))) + 1
    day = panel.dates[column].item()

    def spoil(fields: dict[str, np.ndarray]) -> None:
        for name, value in damage.items():
            fields[name][row, column] = value

    found = run(configuration, edited(panel, spoil))
    trade = next(i.trade for i in found.trades if i.trade.symbol == symbol and i.trade.entered_at.date() == entered)
    if trade.exited_at is not None and trade.exited_at.date() == day:
        assert trade.exit_price == pytest.approx(panel.open[row, column], abs=1e-3)
    assert np.isfinite(found.equity).all()
    assert np.isfinite(found.benchmark).all()
    assert any("cannot have been" in line and f"{symbol} ({day})" in line for line in told(found)["caveats"])
    assert not any("cannot have been" in line for line in told(run(configuration, panel))["caveats"])


def test_prices_below_the_tick_are_sold_for_a_tick(tmp_path: Path) -> None:
    def shrink(fields: dict[str, np.ndarray]) -> None:
        for name in MOVES:
            fields[name] *= 1e-6

    found = run(configure(tmp_path), edited(market(40, FIRST, LAST), shrink))
    assert found.trades
    assert min(item.trade.exit_price or 1.0 for item in found.trades) >= 0.0001


def test_the_benchmark_takes_what_a_symbol_did_while_it_had_no_bar(tmp_path: Path) -> None:
    closes = np.full((2, 40), 100.0)
    closes[1, 20:] = 50.0
    panel = from_closes(closes, FIRST)

    def drop(fields: dict[str, np.ndarray]) -> None:
        for name in FIELDS:
            fields[name][1, 20] = math.nan
            fields[name][0, :3] = math.nan  # begins later

    whole, holed = run(configure(tmp_path), panel), run(configure(tmp_path), edited(panel, drop))
    assert whole.benchmark[-1] == pytest.approx(75_000.0)
    assert holed.benchmark[-1] == pytest.approx(75_000.0)
    assert holed.benchmark[18] == pytest.approx(100_000.0)


@pytest.mark.parametrize("damage", [{"open": 0.0}, {"open": -5.0}, {"open": math.inf}, {"high": math.nan}], ids=str)
def test_where_the_open_is_no_price_nothing_is_entered(tmp_path: Path, damage: dict[str, float]) -> None:
    panel = market(40, FIRST, LAST)
    text = (PACKAGED_CONFIG / PARAMS_FILE).read_text(encoding="utf-8")
    sized = text[text.index("      - {name: risk_budget") : text.index("    scale:")]
    anyhow = ((sized, ""), ("equity * max_position_pct / price", "100"), ("abs(gap_pct) > max_gap_pct", "false"))
    configuration = configure(tmp_path, *anyhow, ("min_order_value: 200", "min_order_value: 0"))
    symbol, entered = held_somewhere(run(configuration, panel))

    def spoil(fields: dict[str, np.ndarray]) -> None:
        for name, value in damage.items():
            fields[name][panel.symbols.index(symbol), np.searchsorted(panel.dates, np.datetime64(entered))] = value

    found = run(configuration, edited(panel, spoil))
    assert (symbol, entered) not in [(item.trade.symbol, item.trade.entered_at.date()) for item in found.trades]
    assert np.isfinite(found.equity).all()


@pytest.mark.parametrize("close", [0.0, -1.0, math.nan])
def test_minutes_beside_a_daily_close_that_is_no_price_are_believed(close: float) -> None:
    bars = minutes_of_day("A", LAST, 10.0, 11.0, 9.0, 10.5, 1e6, 390, 0)
    assert misfit(bars, LAST, close) is None
    assert misfit(bars, LAST, 10.5) is None
    assert misfit(bars, LAST, 21.0) is not None


def test_beside_minute_bars_an_impossible_daily_bar_is_worth_its_open_too(tmp_path: Path) -> None:
    panel = market(40, FIRST, LAST)
    configuration = configure(tmp_path)
    symbol, entered = held_somewhere(run(configuration, panel))
    row, column = panel.symbols.index(symbol), int(np.searchsorted(panel.dates, np.datetime64(entered))) + 1

    class Others:
        """Minute bars of every other symbol in that session."""

        def bars(self, session: date, symbols: Sequence[str]) -> Mapping[str, MinuteBars]:
            if session != panel.dates[column].item():
                return {}
            at = {name: panel.symbols.index(name) for name in symbols if name != symbol}
            return {
                name: minutes_of_day(name, session, *(getattr(panel, field).item(at[name], column) for field in FIELDS),
                                     390, 0)
                for name in at
            }  # fmt: skip

    def spoil(fields: dict[str, np.ndarray]) -> None:
        fields["high"][row, column] = 0.01

    found = run(configuration, edited(panel, spoil), minutes=Others())
    assert found.on_minutes == 1
    assert np.isfinite(found.equity).all()

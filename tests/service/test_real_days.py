"""Real days: the crash of 2020, every trade of it worked out once more in plain Python; and real minute bars."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import talib
from backtest.worlds import MemoryFeed, configure, real_market
from pyarrow import parquet

from autotrader.core import events as ev
from autotrader.core.book import Trade
from autotrader.core.panel import Panel
from autotrader.journal.store import Journal
from autotrader.market.memory import PanelFeed
from autotrader.market.playback import MinuteBar, Playback
from autotrader.market.universe import Member
from autotrader.plugins.feeds.files import FilesFeed
from autotrader.service.demo import Demo, DemoOptions

from .demos import CALENDAR

CRASH, DAYS = date(2020, 2, 18), 35

# The default configuration's numbers for exits, written down once more.
STOP = {
    "rsi_mean_reversion": 2.5,
    "bb_squeeze": 2.0,
    "adx_pullback": 1.5,
    "overbought_short": 2.5,
    "regime_momentum": 1.5,
}
TAKE = {"rsi_mean_reversion": 3.0, "bb_squeeze": 3.0, "adx_pullback": 2.5, "regime_momentum": 3.0}
RSI_OUT = {
    "rsi_mean_reversion": (50, 50), "bb_squeeze": (75, 25), "adx_pullback": (70, None), "regime_momentum": (75, None),
    "overbought_short": (None, 55),
}  # fmt: skip
HOLD = {"rsi_mean_reversion": 5, "bb_squeeze": 5, "adx_pullback": 7, "overbought_short": 5, "regime_momentum": 7}


@dataclass(frozen=True)
class Crash:
    panel: Panel
    trades: list[Trade]
    journal: Path


@pytest.fixture(scope="module")
def crash(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Crash:
    """From the top into the hole of March 2020 and out again, minute by minute."""
    folder = tmp_path_factory.mktemp("crash")
    panel, universe = real_market(real_data, date(2018, 12, 1), date(2020, 5, 1))
    options = DemoOptions(folder / "data", DAYS, CRASH)
    desk = Demo(configure(folder), MemoryFeed(panel), universe, options, lambda _: None).play()
    desk.journal.close()
    return Crash(panel, desk.trader.book.trades, desk.journal.path)


def night(panel: Panel, symbol: str, session: date) -> tuple[float, float, float]:
    """RSI, share of the band and ATR at the close before a session, from the 250 bars up to it."""
    row = panel.symbols.index(symbol)
    end = int(np.searchsorted(panel.dates, np.datetime64(session)))
    high, low, close = (getattr(panel, name)[row, end - 250 : end] for name in ("high", "low", "close"))
    upper, _, lower = talib.BBANDS(close, 20, 2.0, 2.0)
    band = (close[-1] - lower[-1]) / (upper[-1] - lower[-1])
    return float(talib.RSI(close, 14)[-1]), float(band), float(talib.ATR(high, low, close, 14)[-1])


def plain_exit(trade: Trade, panel: Panel, playback: Playback) -> tuple[datetime, float, str]:
    """When, at which price and by which rule a position leaves: rule by rule, bar by bar."""
    sign, entry, atr = (1 if trade.direction == "long" else -1), trade.entry_price, trade.plan.atr
    entered, strategy = trade.entered_at.date(), trade.strategy
    stop = min(STOP[strategy] * atr, 0.05 * entry if strategy == "overbought_short" else math.inf)
    best, session, days = 0.0, entered, 0
    leaves = ""
    while True:
        bars = playback.day(session, [trade.symbol])
        rsi, band, _ = night(panel, trade.symbol, session)
        losing = 0
        for minute in range(bars.minutes):
            at = CALENDAR.opens_at(session) + timedelta(minutes=minute)
            found: list[MinuteBar] = [bar for _, bar in bars.at(minute)]
            if at < trade.entered_at or not found:
                continue
            (bar,) = found
            if leaves:
                return at, bar.open, leaves
            gain = (bar.close - entry) * sign
            best = max(best, (bar.high if sign > 0 else bar.low) * sign - entry * sign)
            losing = losing + 1 if -gain / entry >= 0.07 else 0
            target = RSI_OUT[strategy][sign < 0]
            if -gain / entry >= 0.10:
                leaves = "emergency_immediate"
            elif losing >= 2:
                leaves = "emergency_stop"
            elif days == 0:
                continue
            elif -gain >= stop:
                leaves = "stop_loss"
            elif strategy in TAKE and gain >= TAKE[strategy] * atr:
                leaves = "take_profit"
            elif target is not None and (rsi - target) * sign > 0:
                leaves = "rsi_target"
            elif strategy == "overbought_short" and band < 0.5:
                leaves = "band_target"
            elif strategy in {"adx_pullback", "regime_momentum"} and best >= atr and best - gain >= 2 * atr:
                leaves = "trailing_stop"
            elif days >= HOLD[strategy]:
                leaves = "time_exit"
        session, days = CALENDAR.next_session(session), days + 1


@pytest.mark.slow
def test_every_trade_of_the_crash_leaves_when_and_where_a_plain_calculation_does(crash: Crash) -> None:
    playback = Playback(PanelFeed(crash.panel), CALENDAR)
    assert len(crash.trades) >= 15
    assert len({trade.exit_rule for trade in crash.trades}) >= 4
    for trade in crash.trades:
        assert trade.exit_price is not None
        at, price, rule = plain_exit(trade, crash.panel, playback)
        assert (trade.symbol, trade.exited_at, trade.exit_rule) == (trade.symbol, at, rule)
        assert trade.exit_price == pytest.approx(price, abs=1e-4)
        sign = 1 if trade.direction == "long" else -1
        assert trade.pnl == pytest.approx((price - trade.entry_price) * sign * trade.quantity - trade.costs, abs=0.1)


@pytest.mark.slow
def test_every_entry_of_the_crash_is_of_the_least_of_its_sizes_at_the_first_price_from_its_time_on(
    crash: Crash,
) -> None:
    playback = Playback(PanelFeed(crash.panel), CALENDAR)
    with Journal.read(crash.journal) as journal:
        sized = {(item.session, item.symbol): item for item in journal.decisions(stage="sizing")}
        sent = [event for event in journal.events() if isinstance(event, ev.Ordered) and event.leg == "entry"]
    assert len(sent) >= 15
    for order in sent:
        assert order.plan is not None
        row, day = crash.panel.symbols.index(order.symbol), np.datetime64(order.session)
        before = int(np.searchsorted(crash.panel.dates, day)) - 1
        assert order.plan.prev_close == crash.panel.close[row, before]
        assert order.plan.atr == pytest.approx(night(crash.panel, order.symbol, order.session)[2], rel=1e-4)
        opened = crash.panel.open[row, before + 1]
        assert abs(opened / order.plan.prev_close - 1) <= 0.03, "a larger gap keeps it out"
        facts = {name: value for rule in sized[order.session, order.symbol].body["evidence"]
                 for name, value in rule["facts"].items()}  # fmt: skip
        equity, price = facts["equity"], order.plan.price
        sizes = (
            equity * 0.10 / price, equity * 0.02 / order.plan.stop_distance,
            (equity * facts["regime_weight"] - facts["strategy_exposure"]) / price, facts["buying_power"] / price,
        )  # fmt: skip
        assert order.quantity == math.floor(min(sizes) * (0.65 if order.direction == "short" else 1.0))
    for trade in crash.trades:
        minute = (trade.entered_at - CALENDAR.opens_at(trade.entered_at.date())) // timedelta(minutes=1)
        assert minute in {0, 15}
        day = playback.day(trade.entered_at.date(), [trade.symbol])
        assert trade.entry_price == pytest.approx(day.bars[trade.symbol].open[minute], abs=1e-4)


# --- real minutes -------------------------------------------------------------------------------------------------


@pytest.fixture
def week(real_data: Path, tmp_path: Path) -> Path:
    """A folder with the daily bars and a week of real minutes, brought to their price basis by the splits since."""
    source = real_data / "minute_2019-02.parquet"
    if not source.exists():
        pytest.skip(f"no minute bars at {source}")
    table = parquet.read_table(source)
    symbol = table.column("symbol").cast("string")
    ratio = pc.if_else(pc.equal(symbol, "AAPL"), 4.0, pc.if_else(pc.equal(symbol, "TSLA"), 5.0, 1.0))
    for name in ("open", "high", "low", "close"):
        table = table.set_column(table.schema.get_field_index(name), name, pc.divide(table.column(name), ratio))
    folder = tmp_path / "bars"
    folder.mkdir()
    parquet.write_table(table, folder / "minutes.parquet")
    (folder / "daily.parquet").symlink_to(real_data / "sp500_daily.parquet")
    return folder


def test_a_week_of_real_minutes_fills_at_real_prices(week: Path, tmp_path: Path) -> None:
    names = ["AAPL", "AMT", "AMZN", "BAC", "BK", "DFS", "JPM", "MSFT", "MU", "SBUX", "TRV", "TSLA", "V"]
    universe = [Member(name, name, f"sector {number % 5}") for number, name in enumerate(names)]
    options = DemoOptions(tmp_path / "data", 5, date(2019, 2, 11), minutes=week)
    desk = Demo(configure(tmp_path), FilesFeed(week, CALENDAR), universe, options, lambda _: None).play()
    desk.journal.close()
    (trade,) = desk.trader.book.all_trades()
    assert (trade.symbol, trade.entered_at.isoformat()) == ("AAPL", "2019-02-12T09:45:00-05:00")
    table = parquet.read_table(week / "minutes.parquet")
    at = pa.scalar(trade.entered_at, table.schema.field("ts").type)
    bar = table.filter(
        pc.and_(pc.equal(table.column("symbol").cast("string"), "AAPL"), pc.equal(table.column("ts"), at))
    )
    assert trade.entry_price == pytest.approx(bar.column("open")[0].as_py(), abs=1e-4)
    closes = [equity for _, equity in desk.trader.book.equity_history]
    held = 100_000.0 + trade.quantity * (42.585 - trade.entry_price)
    assert closes[-1] == pytest.approx(held, abs=trade.quantity * 0.05)

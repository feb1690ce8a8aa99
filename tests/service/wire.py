"""The service over the wire: alpaca-py against a simulated Alpaca that is moved on only when the service waits."""

from __future__ import annotations

import io
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import canary

from autotrader.clock import NEW_YORK, Calendar, VirtualClock
from autotrader.core import events as ev
from autotrader.core.book import Book
from autotrader.journal.store import Journal
from autotrader.market.feed import FeedOptions
from autotrader.market.universe import load_universe
from autotrader.plugins.feeds.synthetic import SyntheticFeed
from autotrader.secrets import KEY_ID, SECRET_KEY
from autotrader.service.demo import Demo, DemoOptions
from autotrader.service.run import Service
from autotrader.service.start import Deployment, Pause, Stop, opened
from autotrader.simulator.faults import Faults
from autotrader.simulator.server import SimulatedAlpaca
from autotrader.simulator.simulator import SimulatorOptions
from autotrader.validation.load import PACKAGED_CONFIG, load_configuration

CALENDAR = Calendar()
sys.setswitchinterval(0.0005)  # client and server are threads of this process, and hand over all the time
PATIENCE = 5.0  # seconds of real time that frames may take
Row = tuple[str, str, str, int, str, float, str | None, float | None, str | None]


class Stepped:
    """Waits by moving the simulated market on, once all that it has sent has arrived."""

    def __init__(self, alpaca: SimulatedAlpaca, clock: VirtualClock, *, patience: float = PATIENCE) -> None:
        self.alpaca = alpaca
        self.clock = clock
        self.service: Service | None = None
        self.patience = patience
        self.at_step: Callable[[datetime], None] = lambda _: None
        self._woken = threading.Event()

    def wake(self) -> None:
        self._woken.set()

    def seconds(self, seconds: float) -> None:
        """Retries within a request take no time."""

    def until(self, at: datetime) -> None:
        if self._news():
            return
        to = max(at, self.clock.now())
        self.alpaca.step(to)
        self.clock.advance_to(to)
        self.at_step(to)
        self._arrived()
        self._woken.clear()

    def _news(self) -> bool:
        self._arrived()
        news = self._woken.is_set()
        self._woken.clear()
        return news

    def _arrived(self) -> None:
        """Waits until everything that was sent is there, and everything that is wanted is subscribed to."""
        end = time.monotonic() + self.patience
        while not self._has_arrived():
            if time.monotonic() > end:
                return
            time.sleep(0.0005)

    def _has_arrived(self) -> bool:
        if self.service is None:
            return True
        parts: Any = self.service._parts
        updates, bars = parts.broker.stream, parts.feed.stream
        sent = self.alpaca.state()["sent"]
        if updates is not None and not (
            sent["trade_updates"]["connected"] and updates.messages >= sent["trade_updates"]["messages"]
        ):
            return False
        if bars is None:
            return True
        streaming = self.alpaca.simulator.bars
        if streaming.link is None or streaming.symbols() != set(bars._wanted):
            return False
        return bool(bars.messages >= sent["bars"]["messages"])


@dataclass
class Wire:
    """A deployment folder and the market it trades on. start: when the market begins, New York."""

    home: Path
    start: datetime
    symbols: int = 60
    cash: float = 100_000.0
    seed: int = 0
    faults: Faults | None = None
    patience: float = PATIENCE
    stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Wire:
        (self.home / "config").mkdir(parents=True, exist_ok=True)
        rows = ["symbol,name,sector"]
        packaged = load_universe()
        chosen = packaged[:: len(packaged) // self.symbols][: self.symbols]
        rows += [f"{item.symbol},{item.symbol},{item.sector}" for item in chosen]
        self.universe = self.home / "universe.csv"
        self.universe.write_text("\n".join(rows) + "\n")
        options = SimulatorOptions(
            universe=self.universe, start=self.start, cash=self.cash, seed=self.seed,
            keys={canary.KEY_ID: canary.SECRET},
        )  # fmt: skip
        self.alpaca = self.stack.enter_context(SimulatedAlpaca(options, self.faults))
        self.clock = VirtualClock(self.start)
        self.pause = Stepped(self.alpaca, self.clock, patience=self.patience)
        if not (self.home / "config" / "strategy_params.yaml").exists():
            self.write_config()
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def write_config(self, *edits: tuple[str, str]) -> None:
        """The packaged configuration, pointed at the simulator, with pieces of the strategies' text replaced."""
        text = (PACKAGED_CONFIG / "strategy_params.yaml").read_text()
        for old, new in edits:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        (self.home / "config" / "strategy_params.yaml").write_text(text)
        (self.home / "config" / "blackouts.csv").write_text((PACKAGED_CONFIG / "blackouts.csv").read_text())
        system = (PACKAGED_CONFIG / "default.yaml").read_text()
        for name, value in (("url", self.alpaca.url), ("requests_per_minute", "100000")):
            system, count = re.subn(rf"(?m)^  {name}: \S+", f"  {name}: {value}", system)
            assert count == 1, name
        system = re.sub(r"(?m)^  name: (synthetic|paper)", "  name: alpaca", system)
        system = re.sub(r"(?m)^universe: null", "universe: universe.csv", system)
        (self.home / "config" / "default.yaml").write_text(system)
        env = self.home / "config" / ".env"
        env.touch(mode=0o600)
        env.write_text(f"{KEY_ID}={canary.KEY_ID}\n{SECRET_KEY}={canary.SECRET}\n")

    @property
    def journal(self) -> Path:
        return self.home / "data" / "journal.sqlite3"

    @contextmanager
    def service(self) -> Iterator[Service]:
        """A service that has just started; the log goes to `self.log`."""
        self.log = io.StringIO()
        pause: Pause = self.pause
        deployment = Deployment(self.home, self.home / "config", self.clock, pause, self.log)
        with opened(deployment, Stop()) as (service, _):
            self.pause.service = service
            try:
                yield service
            finally:
                self.pause.service = None

    def turn_until(self, service: Service, end: datetime) -> None:
        """Lets the service turn until the market is there."""
        while self.clock.now() < end:
            self.pause.until(min(service.turn(), end))
        service.turn()

    def run(self, end: datetime) -> None:
        """Starts a service, and stops it at a time."""
        with self.service() as service:
            self.turn_until(service, end)

    # --- what came of it ------------------------------------------------------------------------------------------

    def events(self) -> list[ev.Event]:
        with Journal.read(self.journal) as journal:
            return list(journal.events())

    def book(self) -> Book:
        with Journal.read(self.journal) as journal:
            return journal.book()

    def stages(self) -> dict[tuple[date, str], ev.StageDone]:
        return {(event.session, event.stage): event for event in self.events() if isinstance(event, ev.StageDone)}

    def alerts(self) -> list[ev.Alerted]:
        return [event for event in self.events() if isinstance(event, ev.Alerted)]

    def held_at_broker(self) -> dict[str, int]:
        return {item.symbol: item.quantity for item in self.alpaca.simulator.world.exchange.positions()}

    def demo(self, first: date, days: int) -> Book:
        """The same sessions on the same market, in this process and without a socket."""
        loaded = load_configuration(self.home / "config")
        assert loaded.configuration is not None
        feed = SyntheticFeed.open(FeedOptions(None, self.seed, CALENDAR))
        options = DemoOptions(
            self.home / "demo", days, first, cash=self.cash, seed=self.seed, borrow=0.0, splits=()
        )  # fmt: skip
        desk = Demo(loaded.configuration, feed, load_universe(self.universe), options, lambda _: None).play()
        desk.journal.close()
        return desk.trader.book


# Many signals, and exits on the day of entry: a short day that has something of everything.
BUSY = (
    ("signal: {rsi: {long: 30, short: 75}, pct_b: {long: 0.05, short: 0.95}, adx_max: 25,",
     "signal: {rsi: {long: 45, short: 58}, pct_b: {long: 0.40, short: 0.60}, adx_max: 60,"),
    ("UNCERTAIN: {rsi_mean_reversion: 0.20, adx_pullback: 0.15, bb_squeeze: 0.20, overbought_short: 0.20, "
     "regime_momentum: 0.15}", "UNCERTAIN: {rsi_mean_reversion: 0.45, regime_momentum: 0.45}"),
    ("signal: {adx_min: 25, width_ratio_min: 1.3, return_min: 0.0, rsi_min: 50, rsi_max: 70,",
     "signal: {adx_min: 5, width_ratio_min: 0.6, return_min: -0.5, rsi_min: 40, rsi_max: 70,"),
    ("rsi_max: 50, strength: {adx_span: 25, rsi_span: 10}", "rsi_max: 60, strength: {adx_span: 25, rsi_span: 10}"),
    ("    - {name: day_skip, when: days_held == 0, then: hold, because: The first session's noise is not a reason to "
     "leave.}\n", ""),
    ("when: gain_atr >= tp_atr_mult, then: exit", "when: gain_atr >= 0.3, then: exit"),
    ("    tp_rsi: {long: 50, short: 50}      # take profit when RSI is beyond it\n", ""),
    ("max_per_strategy: 2", "max_per_strategy: 4"),
    ("max_daily_entries: 3", "max_daily_entries: 6"),
)  # fmt: skip


def rows(book: Book) -> list[Row]:
    """What two runs must have in common."""
    found = [
        (
            trade.symbol, trade.strategy, trade.direction, trade.quantity, _stamp(trade.entered_at), trade.entry_price,
            None if trade.exited_at is None else _stamp(trade.exited_at), trade.exit_price, trade.exit_reason,
        )
        for trade in book.all_trades()
    ]  # fmt: skip
    return sorted(found)


def at(day: date, hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=NEW_YORK)


def _stamp(when: datetime) -> str:
    return when.astimezone(NEW_YORK).isoformat()


def statuses(stages: dict[tuple[date, str], ev.StageDone], session: date) -> dict[str, str]:
    return {name: event.status for (day, name), event in stages.items() if day == session}


def shown(found: Sequence[Row]) -> str:
    return "\n".join(map(str, found))


SHORT = timedelta(seconds=1)

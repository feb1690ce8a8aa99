"""The service over the wire: alpaca-py against a simulated Alpaca that is moved on only when the service waits."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import canary

from autotrader.clock import NEW_YORK, Calendar, Clock, VirtualClock
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

from .stepping import PATIENCE, Stepped

CALENDAR = Calendar()
sys.setswitchinterval(0.0005)  # client and server are threads of this process, and hand over all the time
Row = tuple[str, str, str, int, str, float, str | None, float | None, str | None]


@dataclass
class _Shown:
    """What the machine's clock shows: the market's time, or less."""

    right: VirtualClock
    by: timedelta = timedelta()

    def now(self) -> datetime:
        return self.right.now() - self.by


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
    undecided: list[str] = field(default_factory=list)  # orders that were not in the journal when they were asked for
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
        self._look_at_intents()
        self.clock = VirtualClock(self.start)
        self.shown = _Shown(self.clock)
        self.pause = Stepped(self.alpaca.step, self.alpaca.state, self.clock, self.patience)
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

    def _look_at_intents(self) -> None:
        """Has the market look, at each order that comes, whether others can read its intent in the journal already."""
        orders = self.alpaca.simulator.orders
        submit = orders.submit

        def looked_at(body: Mapping[str, Any]) -> dict[str, Any]:
            name = body.get("client_order_id")
            if not any(isinstance(event, ev.Ordered) and event.order_id == name for event in self.events()):
                self.undecided.append(str(name))
            return submit(body)

        orders.submit = looked_at  # type: ignore[method-assign]

    @property
    def journal(self) -> Path:
        return self.home / "data" / "journal.sqlite3"

    @contextmanager
    def service(self) -> Iterator[Service]:
        """A service that has just started; the log goes to `self.log`."""
        self.log = io.StringIO()
        pause: Pause = self.pause
        deployment = Deployment(self.home, self.home / "config", self.shown, pause, self.log)
        with opened(deployment, Stop()) as (service, _):
            self.pause.service = service
            try:
                yield service
            finally:
                self.pause.service = None

    def set_back(self, by: timedelta) -> Clock:
        """Has the service's clock show an earlier time from now on."""
        self.shown.by = by
        return self.shown

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


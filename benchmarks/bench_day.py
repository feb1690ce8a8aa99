"""A trading day's minutes: rules, evidence and the durable journal: python benchmarks/bench_day.py [--check] [--year]

Eight positions, the most that are held, are judged on every minute bar by the default rules, through the paper broker
and with protective stops resting there. After each minute everything of it is committed to disk.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
from harness import ROOT, Report

from autotrader.clock import NEW_YORK, Calendar, VirtualClock
from autotrader.core import events as ev
from autotrader.core.exits import Bar, Day, ExitRuleEngine, facts
from autotrader.core.gap_filter import Quote
from autotrader.core.trader import Trader
from autotrader.execution.desk import Desk
from autotrader.execution.session import VirtualSession
from autotrader.journal.store import Journal
from autotrader.market.exchange import Exchange
from autotrader.market.feed import ShareSplit
from autotrader.market.minutes import MinuteBars
from autotrader.market.playback import DayBars, Mode, Playback
from autotrader.plugins.brokers.paper import PaperBroker
from autotrader.validation.load import Configuration, load_files

CALENDAR = Calendar()
FIRST = date(2023, 1, 3)
HELD = {
    f"S{number}": strategy
    for number, strategy in enumerate(["rsi_mean_reversion"] * 3 + ["adx_pullback"] * 3 + ["regime_momentum"] * 2)
}
INDICATORS = {"rsi": 40.0, "pct_b": 0.4}
SESSIONS = 25
YEAR = "--year" in sys.argv
if YEAR:
    sys.argv.remove("--year")  # the rest is the harness's


class Forgetful(Journal):
    """A journal that keeps nothing: what is left is everything but journaling."""

    def append(self, event: ev.Event) -> bool:  # noqa: ARG002
        return True

    def record(self, decision: object) -> bool:  # noqa: ARG002
        return True

    def commit(self) -> None:
        pass


class Market(Playback):
    """The same few made-up days over and over: prices stay within 2.9% of 100, so that nothing is left."""

    def __init__(self) -> None:
        self.mode: Mode = "minutes"
        noise = np.random.default_rng(1)
        self._days = [{symbol: _bars(symbol, noise) for symbol in HELD} for _ in range(5)]

    def splits(self, session: date) -> list[ShareSplit]:  # noqa: ARG002
        return []

    def pre_market(self, session: date, symbols: Sequence[str]) -> dict[str, Quote]:  # noqa: ARG002
        return {}

    def day(self, session: date, symbols: Sequence[str]) -> DayBars:
        minutes = (CALENDAR.closes_at(session) - CALENDAR.opens_at(session)).seconds // 60
        bars = self._days[session.toordinal() % len(self._days)]
        return DayBars(session, minutes, {symbol: bars[symbol] for symbol in symbols}, {})


def _bars(symbol: str, noise: np.random.Generator) -> MinuteBars:
    walk = np.cumsum(noise.normal(0.0, 0.09, 391))
    walk -= np.linspace(0.0, walk[-1], 391)
    walk *= 2.4 / max(2.4, float(np.abs(walk).max()))
    path = np.round(100.0 + walk, 2)
    high, low = np.maximum(path[:-1], path[1:]) + 0.05, np.minimum(path[:-1], path[1:]) - 0.05
    return MinuteBars(symbol, np.arange(390), path[:-1], high, low, path[1:], np.full(390, 1e4))


@dataclass
class Shop:
    """A desk that holds the eight, over a journal on disk."""

    configuration: Configuration
    folder: Path
    kind: type[Journal] = Journal
    session: date = FIRST

    def __post_init__(self) -> None:
        before = CALENDAR.previous_session(FIRST)
        settings = self.configuration.settings
        clock = VirtualClock(datetime(before.year, before.month, before.day, 9, 30, tzinfo=NEW_YORK))
        self.journal = self.kind.open(self.folder / "journal.sqlite3", "BENCH", initial_cash=1e6, clock=clock)
        exchange = Exchange(1e6 - len(HELD) * 10_000.0, CALENDAR, account_id="BENCH")
        book = self.journal.book()
        for event in _entries(before, clock.now(), settings.config_hash):
            book.apply(event)
            self.journal.append(event)
        self.journal.commit()
        for symbol in HELD:
            exchange.hold(symbol, 100, 100.0)
        rulebook = self.configuration.rulebook
        self.trader = Trader(book, {settings.config_hash: rulebook}, "bench", self._day)
        self.desk = Desk(self.trader, self.journal, PaperBroker(exchange, clock), CALENDAR, clock, rulebook)
        self.desk.recover()
        self.stage = VirtualSession(self.desk, Market(), exchange, CALENDAR, clock, rulebook, lambda _: None)
        self._clock = clock

    def _day(self, _: str, __: str) -> Day:
        return Day(self.session, CALENDAR.number(self.session), "UNCERTAIN", INDICATORS, 100.0)

    def play(self, sessions: int) -> list[tuple[float, float]]:
        """Wall and CPU seconds of each session."""
        spent = []
        for _ in range(sessions):
            self._clock.advance_to(
                datetime(self.session.year, self.session.month, self.session.day, 9, 25, tzinfo=NEW_YORK)
            )
            wall, cpu = time.perf_counter(), time.process_time()
            self.desk.open_session(self.session)
            self.stage.play(self.session, None)
            spent.append((time.perf_counter() - wall, time.process_time() - cpu))
            self.session = CALENDAR.next_session(self.session)
        assert self.trader.book.positions.keys() == HELD.keys(), "a position was left"
        return spent


def _entries(session: date, at: datetime, config_hash: str) -> list[ev.Event]:
    found: list[ev.Event] = [ev.SessionOpened(at, session, CALENDAR.number(session))]
    for symbol, strategy in HELD.items():
        plan = ev.EntryPlan("MOO", 1, 0.5, "Energy", "UNCERTAIN", 3.0, 100.0, 100.0, 4.5, config_hash)
        found.append(ev.Ordered(at, session, f"in-{symbol}", symbol, strategy, "long", "entry", 100, plan))
        found.append(ev.Filled(at, session, f"in-{symbol}", 100, 100.0, 100))
    return [*found, ev.SessionClosed(at, session, 1e6)]


def patient(folder: Path) -> Configuration:
    """The default configuration, under which nothing is held too long."""
    text = (ROOT / "config" / "strategy_params.yaml").read_text(encoding="utf-8")
    path = folder / "strategy_params.yaml"
    path.write_text(
        text.replace("max_hold_days: 5", "max_hold_days: 1000").replace("max_hold_days: 7", "max_hold_days: 1000")
    )
    loaded = load_files([path])
    assert loaded.configuration is not None, loaded.problems
    return loaded.configuration


def rules_alone(configuration: Configuration, shop: Shop) -> float:
    """CPU seconds of the rules' part of a session: the facts of every bar, what decides, and every rule's verdict."""
    engine, day = ExitRuleEngine(configuration.rulebook), shop._day("", "")
    market = shop.stage.playback.day(FIRST, list(HELD))
    work = []
    for symbol in HELD:
        held = shop.trader.book.positions[symbol]
        bars = [bar for minute in range(390) for name, bar in market.at(minute) if name == symbol]
        work.append((held, engine.fixed(held, day), engine.rules(held), bars))
    best = float("inf")
    for _ in range(3):
        before = time.process_time()
        for held, fixed, rules, bars in work:
            streaks = rules.no_streaks
            for bar in bars:
                row: Mapping[str, object] = facts(held, fixed, day, Bar(bar.high, bar.low, bar.close, bar.minute, 0))
                _, streaks = rules.first(row, streaks)  # type: ignore[arg-type]
                rules.verdicts(row)  # type: ignore[arg-type]
        best = min(best, time.process_time() - before)
    return best


def main() -> None:
    evaluations = 390 * len(HELD)
    with tempfile.TemporaryDirectory(prefix="autotrader-bench-") as name:
        folder = Path(name)
        configuration = patient(folder)
        shops = {}
        for kind in (Journal, Forgetful):
            (folder / kind.__name__).mkdir()
            shops[kind] = Shop(configuration, folder / kind.__name__, kind)
            shops[kind].play(1)  # warms up
        journal = shops[Journal].journal
        start = journal.size_bytes()
        spent: dict[type[Journal], list[tuple[float, float]]] = {kind: [] for kind in shops}
        rules = float("inf")
        for _ in range(SESSIONS):  # by turns, so that a busy moment hits all alike
            for kind, shop in shops.items():
                spent[kind] += shop.play(1)
            rules = min(rules, rules_alone(configuration, shops[Journal]))
        wall, cpu = (min(column) for column in zip(*spent[Journal], strict=True))
        without = min(cpu for _, cpu in spent[Forgetful])
        growth, (events, decisions) = (journal.size_bytes() - start) / SESSIONS, journal.counts()
        for shop in shops.values():
            shop.journal.close()
        report = Report("A session's minutes with eight positions, CPU time")
        report.add("a session, against its rules alone", cpu, rules, 18.0)
        print(f"{evaluations / wall:,.0f} bar evaluations a second, {evaluations / cpu:,.0f} a second of CPU; "
              f"shares of the CPU time: rules and verdicts {rules / cpu:.0%}, journal {(cpu - without) / cpu:.0%}, "
              f"the rest {(without - rules) / cpu:.0%}")  # fmt: skip
        print(f"the journal grows by {growth / 1e3:,.0f} kB a session; after {SESSIONS + 1} sessions it has {events:,} "
              f"events and {decisions:,} decisions")  # fmt: skip
        if YEAR:
            (folder / "year").mkdir()
            shop = Shop(configuration, folder / "year")
            cpus = [cpu for _, cpu in shop.play(252)]
            early, late = (
                min(sum(cpus[i : i + 5]) for i in range(0, 20, 5)),
                min(sum(cpus[i : i + 5]) for i in range(232, 252, 5)),
            )
            report.add("a year: five sessions at its end, against five at its beginning", late, early, 1.5)
            begun = time.process_time()
            shop.journal.book()
            print(f"a year's journal: {shop.journal.size_bytes() / 1e6:,.1f} MB, {shop.journal.counts()[0]:,} events; "
                  f"folded anew in {time.process_time() - begun:.2f} s")  # fmt: skip
            shop.journal.close()
        report.finish()


if __name__ == "__main__":
    main()

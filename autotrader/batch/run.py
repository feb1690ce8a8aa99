"""One scan from configuration to record: opens the feed and the universe, picks the session, scans."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from autotrader.batch.files import (
    BatchResultRecord,
    CandidateRecord,
    ScanSummary,
    SignalRecord,
    Skipped,
    TraceRecord,
)
from autotrader.batch.scan import NightlyScanner
from autotrader.clock import Calendar, Clock, SystemClock
from autotrader.core.types import BatchResult
from autotrader.market.feed import Feed, FeedError, FeedOptions, ShareSplit
from autotrader.market.splits import AsOf, load_splits
from autotrader.market.universe import load_universe
from autotrader.plugins.feeds.synthetic import SyntheticFeed
from autotrader.plugins.registry import load_feed
from autotrader.secrets import Secrets
from autotrader.settings import inside
from autotrader.validation.load import Configuration


@dataclass(frozen=True, slots=True)
class ScanRun:
    """A finished scan. results: the folder that result files of this deployment lie in."""

    record: BatchResultRecord
    results: Path


def run_scan(
    configuration: Configuration,
    home: Path,
    session: date | None = None,
    feed_name: str | None = None,
    data: Path | None = None,
    universe: Path | None = None,
    clock: Clock | None = None,
) -> ScanRun:
    """Scans one session.

    session: None is the last completed one, for bars from files the last in the data. feed_name, data, universe:
    instead of what the configuration says; data without a feed_name means the feed "files".
    Raises an AutotraderError where there can be no result.
    """
    clock = clock or SystemClock()
    started = clock.now()
    calendar = Calendar()
    feed = open_feed(configuration, home, calendar, feed_name, data, clock=clock)
    members = load_universe(universe or inside(home, configuration.settings.system.universe))
    scanner = NightlyScanner(
        configuration.rulebook,
        configuration.settings.config_hash,
        configuration.strategies(),
        members,
        calendar,
        configuration.blackouts,
    )
    splits = told_splits(configuration, home, feed, data)
    session = session or default_session(feed, calendar, started)
    if session > feed.last_session():
        raise FeedError(f"the data ends on {feed.last_session()}, {session} lies after it")
    result = scanner.scan(AsOf(feed, splits or ()), session)
    record = to_record(result, list(configuration.enabled), started, (clock.now() - started).total_seconds())
    return ScanRun(record, home / configuration.settings.system.paths.data / "batch_results")


def open_feed(
    configuration: Configuration,
    home: Path,
    calendar: Calendar,
    name: str | None = None,
    data: Path | None = None,
    seed: int | None = None,
    clock: Clock | None = None,
) -> Feed:
    """The configured feed, or the one asked for."""
    system = configuration.settings.system
    name = name or ("files" if data is not None else system.feed.name)
    options = FeedOptions(
        data or inside(home, system.feed.path),
        system.feed.seed if seed is None else seed,
        calendar,
        clock or SystemClock(),
        system,
        Secrets(home),
    )
    feed: Feed = load_feed(name).open(options)
    return feed


def told_splits(
    configuration: Configuration, home: Path, feed: Feed, data: Path | None = None
) -> tuple[ShareSplit, ...] | None:
    """The splits that a feed's bars are not adjusted for; None: nobody has said. A market made up has none."""
    if isinstance(feed, SyntheticFeed):
        return ()
    return load_splits(data or inside(home, configuration.settings.system.feed.path))


def default_session(feed: Feed, calendar: Calendar, now: datetime) -> date:
    """The last session that has closed and that the feed has data for."""
    return min(feed.last_session(), calendar.last_completed(now))


def to_record(result: BatchResult, strategies: list[str], at: datetime, seconds: float) -> BatchResultRecord:
    """The result as it is written to its file."""
    signals = result.scan_results
    counts = Counter(item.strategy for item in signals)
    return BatchResultRecord(
        config_hash=result.config_hash,
        timestamp=at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        scan_date=result.scan_date,
        regime=result.regime,
        regime_proxy=result.regime_proxy,
        regime_decision=result.regime_decision.as_json(),
        total_symbols_scanned=result.total_symbols_scanned,
        total_signals_generated=len(signals),
        candidates=[CandidateRecord(**item._asdict()) for item in result.candidates],
        scan_summary=ScanSummary(
            signals_by_strategy={name: counts[name] for name in strategies},
            sectors_represented=sorted({item.sector for item in result.candidates if item.sector}),
            scan_duration_seconds=round(seconds, 3),
        ),
        all_signals=[
            SignalRecord(
                symbol=item.symbol,
                strategy=item.strategy,
                direction=item.direction,
                strength=item.strength,
                score=item.score,
                outcome=item.outcome,
            )
            for item in signals
        ],
        skipped=[Skipped(symbol=symbol, reason=reason) for symbol, reason in result.skipped.items()],
        short_history=dict(result.short_history),
        notes=list(result.notes),
        trace=[
            TraceRecord(
                symbol=item.symbol,
                strategy=item.strategy,
                direction=item.direction,
                outcome=item.outcome,
                decisions=[decision.as_json() for decision in item.decisions],
            )
            for item in signals
        ],
    )

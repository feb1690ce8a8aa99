"""The nightly scan: what must hold on any night, the numbers from their definitions, and no look ahead."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from autotrader.batch.run import to_record
from autotrader.batch.scan import NightlyScanner, ScanError
from autotrader.clock import Calendar
from autotrader.core.panel import FIELDS, Panel
from autotrader.core.regime import EQUAL_WEIGHT
from autotrader.core.types import BatchResult, Blackout
from autotrader.market.feed import Feed, FeedError, FeedOptions
from autotrader.market.universe import Member
from autotrader.plugins.feeds.files import FilesFeed
from autotrader.validation.load import Configuration

from . import definitions
from .conftest import Configure, Scan

DAYS = (date(2014, 12, 24), date(2017, 10, 10), date(2018, 12, 24), date(2020, 3, 16))
NIGHT = date(2017, 10, 10)
Universe = tuple[Member, ...]


def scanner(by: Configuration, universe: Universe) -> NightlyScanner:
    return NightlyScanner(by.rulebook, by.settings.config_hash, by.strategies(), universe, Calendar(), by.blackouts)


def text_of(result: BatchResult, by: Configuration) -> str:
    record = to_record(result, list(by.enabled), datetime(2020, 1, 1, tzinfo=UTC), 0.0)
    return record.model_dump_json(indent=1)


@pytest.fixture(scope="module", params=DAYS, ids=str)
def night(
    request: pytest.FixtureRequest, configuration: Configuration, real_feed: Feed, real_universe: Universe
) -> BatchResult:
    return scanner(configuration, real_universe).scan(real_feed, request.param)


# --- on any night ---------------------------------------------------------------------------------------------------


def test_every_symbol_is_scanned_or_skipped_with_a_reason(night: BatchResult, real_universe: Universe) -> None:
    assert night.total_symbols_scanned + len(night.skipped) == len(real_universe)
    assert all(night.skipped.values())
    assert not {item.symbol for item in night.scan_results} & night.skipped.keys()
    assert not night.short_history.keys() & night.skipped.keys()
    assert all(60 <= bars < 250 for bars in night.short_history.values())


def test_without_the_index_the_universe_stands_in_and_the_result_says_so(night: BatchResult) -> None:
    assert night.regime_proxy == EQUAL_WEIGHT
    assert any("SPY" in note for note in night.notes)


def test_candidates_are_the_best_eligible_signals(night: BatchResult) -> None:
    chosen = night.candidates
    assert len(chosen) <= 12
    assert [item.rank for item in chosen] == list(range(1, len(chosen) + 1))
    assert [item.score for item in chosen] == sorted((item.score for item in chosen), reverse=True)
    assert len({item.symbol for item in chosen}) == len(chosen)
    assert max(Counter(item.sector for item in chosen).values(), default=0) <= 3
    results = {(item.symbol, item.strategy, item.direction): item for item in night.scan_results}
    for item in chosen:
        found = results[item.symbol, item.strategy, item.direction]
        assert (found.outcome, found.score, found.strength) == ("candidate", item.score, item.strength)
        assert item.prev_close == found.prev_close > 0
        assert item.atr == found.atr > 0
    assert sum(item.outcome == "candidate" for item in night.scan_results) == len(chosen)


def test_every_signal_carries_its_evidence(night: BatchResult) -> None:
    for item in night.scan_results:
        eligibility, score = item.decisions
        assert 0 <= item.strength <= 1
        assert item.score is None or 0 <= item.score <= 1
        assert score.value == item.score
        assert (eligibility.outcome == "reject") == (eligibility.rule is not None)
        assert [evidence.rule for evidence in score.evidence] == [
            "signal_strength", "volatility", "regime_fit", "liquidity"
        ]  # fmt: skip


def test_whoever_disagrees_with_himself_is_no_candidate(night: BatchResult) -> None:
    sides: dict[str, set[str]] = {}
    for item in night.scan_results:
        sides.setdefault(item.symbol, set()).add(item.direction)
    for item in night.scan_results:
        assert (item.outcome == "conflicting_signals") == (len(sides[item.symbol]) > 1)


def test_the_result_survives_its_file(night: BatchResult, configuration: Configuration) -> None:
    written = json.loads(text_of(night, configuration))
    assert written["scan_date"] == night.scan_date.isoformat()
    assert written["total_signals_generated"] == len(night.scan_results) == len(written["trace"])
    assert sum(written["scan_summary"]["signals_by_strategy"].values()) == len(night.scan_results)
    assert list(written["scan_summary"]["signals_by_strategy"]) == list(configuration.enabled)


# --- from the definitions -------------------------------------------------------------------------------------------


def bars_of(panel: Panel) -> list[definitions.Bars | None]:
    """Each symbol's bars of the window; None where it has none at all."""
    fields = np.stack([getattr(panel, name) for name in FIELDS], axis=2)
    return [None if np.isnan(rows).all() else [tuple(bar) for bar in rows.tolist()] for rows in fields]


def test_the_night_from_its_definitions(
    night: BatchResult, configuration: Configuration, real_feed: Feed, real_universe: Universe
) -> None:
    symbols = [member.symbol for member in real_universe]
    panel = real_feed.daily_bars(symbols, night.scan_date, 250)
    bars = dict(zip(symbols, bars_of(panel), strict=True))
    assert night.regime == definitions.regime(definitions.index_of(list(bars.values())))

    usable = [symbol for symbol in symbols if symbol not in night.skipped]
    dollars = {
        symbol: sum(bar[3] * bar[4] for bar in rows[-20:]) / 20
        for symbol in usable
        if (rows := bars[symbol]) is not None
    }
    ordered = sorted(dollars.values())
    weights = configuration.settings.params.regime.weights
    largest = max(weights.share(night.regime, name) for name in configuration.enabled)
    for item in night.candidates:
        rows = bars[item.symbol]
        assert rows is not None
        rows = [bar for bar in rows if bar[3] == bar[3]]
        if len(rows) < 250:
            continue  # the memory of Wilder's averages still shows
        x = definitions.indicators(rows)
        for name in ("rsi", "adx", "atr", "pct_b", "bb_width_ratio", "ema_slow", "return_20", "dollar_volume"):
            assert item.metadata[name] == pytest.approx(x[name], rel=1e-4), name
        strength = definitions.signals(x)[item.strategy, item.direction]
        assert item.strength == pytest.approx(strength, abs=1e-4)
        rank = ordered.index(dollars[item.symbol]) / (len(ordered) - 1)
        share = weights.share(night.regime, item.strategy)
        assert item.score == pytest.approx(definitions.score(x, strength, share, largest, rank), abs=1e-4)


def test_what_fires_is_what_the_definitions_fire(night: BatchResult, real_feed: Feed, real_universe: Universe) -> None:
    symbols = [member.symbol for member in real_universe if member.symbol not in night.skipped][::5]
    panel = real_feed.daily_bars(symbols, night.scan_date, 250)
    for symbol, rows in zip(symbols, bars_of(panel), strict=True):
        assert rows is not None
        if symbol not in night.short_history:
            fired = {(item.strategy, item.direction) for item in night.scan_results if item.symbol == symbol}
            assert fired == definitions.signals(definitions.indicators(rows)).keys(), symbol


# --- no look ahead, no chance ---------------------------------------------------------------------------------------


def test_what_comes_later_changes_nothing(
    configuration: Configuration, real_data: Path, real_feed: Feed, real_universe: Universe, tmp_path: Path
) -> None:
    from pyarrow import parquet

    cut = parquet.read_table(real_data / "sp500_daily.parquet", filters=[("date", "<=", NIGHT)])
    parquet.write_table(cut, tmp_path / "cut.parquet")
    feed = FilesFeed.open(FeedOptions(tmp_path / "cut.parquet", 0, Calendar()))
    assert feed.last_session() == NIGHT
    results = [scanner(configuration, real_universe).scan(each, NIGHT) for each in (real_feed, feed)]
    assert text_of(results[0], configuration) == text_of(results[1], configuration)


def test_the_same_night_gives_the_same_bytes(configuration: Configuration, scan_small: Scan) -> None:
    first, again = (text_of(scan_small(configuration, NIGHT), configuration) for _ in range(2))
    assert first == again


def test_a_history_longer_than_the_window_changes_nothing(
    configuration: Configuration, real_feed: Feed, real_universe: Universe
) -> None:
    symbols = [member.symbol for member in real_universe]
    window = real_feed.daily_bars(symbols, NIGHT, 250)
    assert window.sessions == 250
    by = scanner(configuration, real_universe)
    assert text_of(by.rank(window, None, NIGHT), configuration) == text_of(by.scan(real_feed, NIGHT), configuration)


# --- where there can be no result -----------------------------------------------------------------------------------


def test_a_day_without_a_session_is_refused(configuration: Configuration, scan_small: Scan) -> None:
    with pytest.raises(ScanError, match="2017-10-08 is not a session of the exchange; the one before is 2017-10-06"):
        scan_small(configuration, date(2017, 10, 8))


def test_too_little_coverage_is_refused_and_explained(
    configuration: Configuration, real_feed: Feed, real_universe: Universe
) -> None:
    with pytest.raises(
        ScanError, match=r"453 of 505 .* \(89\.7%; .* 90\.0%\): 51 no bars, 1 too few bars; .*--universe"
    ):
        scanner(configuration, real_universe).scan(real_feed, date(2011, 8, 8))
    with pytest.raises(ScanError, match=r"only 0 of 505 .* 504 no bar in the scanned session, 1 no bars$"):
        scanner(configuration, real_universe).scan(real_feed, date(2021, 4, 22))


def test_early_in_the_file_symbols_are_scanned_on_what_there_is(
    configure: Configure, real_feed: Feed, real_universe: Universe
) -> None:
    lenient = configure(lambda data: data["batch"].update(min_coverage=0.85))
    result = scanner(lenient, real_universe).scan(real_feed, date(2011, 8, 8))
    assert result.total_symbols_scanned == 453
    assert set(result.short_history.values()) == {75}
    assert result.candidates
    with pytest.raises(ScanError, match="only 0 of 505"):
        scanner(lenient, real_universe).scan(real_feed, date(2011, 7, 1))
    with pytest.raises(FeedError, match="begins on 2011-04-21"):
        scanner(lenient, real_universe).scan(real_feed, date(2011, 4, 20))


def test_an_empty_universe_is_refused(configuration: Configuration, small_market: Feed) -> None:
    with pytest.raises(ScanError, match="empty"):
        scanner(configuration, ()).scan(small_market, NIGHT)


# --- what YAML decides ----------------------------------------------------------------------------------------------


def busy(by: Configuration, scan: Scan) -> BatchResult:
    result = scan(by, NIGHT)
    assert result.scan_results, "the other tests would be empty"
    return result


def test_the_index_is_the_proxy_where_the_feed_has_it(configuration: Configuration, scan_small: Scan) -> None:
    result = busy(configuration, scan_small)
    assert (result.regime_proxy, result.notes) == ("SPY", ())


def test_a_threshold_in_yaml_decides_what_fires(configure: Configure, scan_small: Scan) -> None:
    def loosen(data: dict) -> None:
        data["strategies"]["rsi_mean_reversion"]["signal"] |= {
            "rsi": {"long": 50, "short": 60}, "pct_b": {"long": 0.5, "short": 0.6}, "adx_max": 60,
        }  # fmt: skip

    loose = Counter(item.strategy for item in scan_small(configure(loosen), NIGHT).scan_results)
    plain = Counter(item.strategy for item in scan_small(configure(lambda data: None), NIGHT).scan_results)
    assert loose["rsi_mean_reversion"] > plain["rsi_mean_reversion"]
    assert {**loose, "rsi_mean_reversion": 0} == {**plain, "rsi_mean_reversion": 0}


def with_pullbacks(data: dict) -> None:
    """A strategy that fires often, on both sides."""
    data["strategies"]["rsi_mean_reversion"]["signal"] |= {
        "rsi": {"long": 50, "short": 50}, "pct_b": {"long": 0.5, "short": 0.5}, "adx_max": 60,
    }  # fmt: skip


@pytest.mark.parametrize("side", ["long", "short"])
def test_a_side_that_is_not_listed_gives_no_signals(configure: Configure, scan_small: Scan, side: str) -> None:
    def one_side(data: dict) -> None:
        with_pullbacks(data)
        data["strategies"]["rsi_mean_reversion"]["directions"] = [side]

    both = scan_small(configure(with_pullbacks), NIGHT).scan_results
    one = scan_small(configure(one_side), NIGHT).scan_results
    kept = [(item.symbol, item.strategy, item.direction) for item in both
            if item.strategy != "rsi_mean_reversion" or item.direction == side]  # fmt: skip
    assert [(item.symbol, item.strategy, item.direction) for item in one] == kept
    assert {item.direction for item in both if item.strategy == "rsi_mean_reversion"} == {"long", "short"}


def test_a_strategy_moves_to_another_group_in_yaml(configure: Configure, scan_small: Scan) -> None:
    def move(data: dict) -> None:
        groups = data["entry"]["groups"]
        groups["confirmation"]["strategies"].remove("regime_momentum")
        groups["moo"]["strategies"].append("regime_momentum")

    plain, moved = (busy(configure(edit), scan_small).candidates for edit in (lambda data: None, move))
    assert [item.symbol for item in plain] == [item.symbol for item in moved]
    groups = {item.strategy: item.entry_group for item in plain}
    assert groups["regime_momentum"] == "CONFIRM"
    assert {item.strategy: item.entry_group for item in moved} == {**groups, "regime_momentum": "MOO"}


def test_the_weights_of_the_score_are_yamls(configure: Configure, scan_small: Scan) -> None:
    def strength_alone(data: dict) -> None:
        for part, weight in zip(data["ranking"]["score"], (1, 0, 0, 0), strict=True):
            part["weight"] = weight

    result = busy(configure(strength_alone), scan_small)
    assert [item.score for item in result.scan_results] == [item.strength for item in result.scan_results]


def test_a_strategy_without_code_with_an_indicator_of_its_own(configure: Configure, scan_small: Scan) -> None:
    def add(data: dict) -> None:
        data["strategies"]["three_up"] = {
            "plugin": "rules",
            "indicators": {"change_3": {"kind": "change", "length": 3}, "rsi_5": {"kind": "rsi", "length": 5}},
            "signal": {"long": {"when": "change_3 > 0 and rsi_5 > 60", "strength": "(rsi_5 - 60) / 40"}},
            "sl_atr_mult": 2.0,
            "max_hold_days": 3,
        }
        data["entry"]["groups"]["moo"]["strategies"].append("three_up")

    plain, more = (scan_small(configure(edit), NIGHT) for edit in (lambda data: None, add))
    own = [item for item in more.scan_results if item.strategy == "three_up"]
    assert own
    assert len(more.scan_results) == len(plain.scan_results) + len(own)
    chosen = [item for item in more.candidates if item.strategy == "three_up"]
    assert chosen
    assert {(item.entry_group, item.sl_atr_mult, item.tp_atr_mult, item.max_hold_days) for item in chosen} == {
        ("MOO", 2.0, None, 3)
    }


def test_a_disabled_strategy_is_silent(configure: Configure, scan_small: Scan) -> None:
    def disable(data: dict) -> None:
        data["strategies"]["regime_momentum"]["enabled"] = False

    by = configure(disable)
    assert "regime_momentum" not in by.enabled
    assert "regime_momentum" not in {item.strategy for item in scan_small(by, NIGHT).scan_results}


def test_a_blackout_keeps_a_symbol_out(
    configuration: Configuration, scan_small: Scan, small_market: Feed, small_universe: Universe
) -> None:
    best = busy(configuration, scan_small).candidates[0].symbol
    black = Blackout(best, date(2017, 10, 11), date(2017, 10, 11), "earnings")
    by = NightlyScanner(configuration.rulebook, "", configuration.strategies(), small_universe, Calendar(), [black])
    result = by.scan(small_market, NIGHT)
    assert best not in {item.symbol for item in result.candidates}
    assert {item.outcome for item in result.scan_results if item.symbol == best} == {"blackout"}

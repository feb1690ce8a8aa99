"""From fired signals to candidates, against a slow ranking that is written from the definitions."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.core.panel import Panel
from autotrader.core.ranking import OUTCOMES, Ranking, SignalRanker, Signals, collect
from autotrader.core.rulebook import Rulebook, build_rulebook
from autotrader.core.strategy import Fired
from autotrader.core.types import Blackout
from autotrader.rules.document import load
from autotrader.settings import StrategyParams

CONFIG = Path(__file__).parents[2] / "config" / "strategy_params.yaml"
DATA: dict[str, Any] = load(CONFIG.read_bytes(), "f").data
FIRST = np.datetime64("2020-01-06", "D")
REGIMES = ("TREND", "RANGING", "HIGH_VOLATILITY", "UNCERTAIN")


def rulebook(**ranking: Any) -> Rulebook:
    """The default rules with another ranking section."""
    data = copy.deepcopy(DATA)
    data["ranking"] |= ranking
    return build_rulebook(StrategyParams.model_validate(data))


BOOK = rulebook()


@dataclass(frozen=True)
class Night:
    """One row a signal: session, symbol, strategy, short, strength; and the bars of all symbols."""

    rows: tuple[tuple[int, int, str, bool, float], ...]
    close: np.ndarray
    series: dict[str, np.ndarray]
    regimes: tuple[str, ...]
    sectors: tuple[str, ...]
    blackouts: tuple[Blackout, ...] = ()

    @property
    def panel(self) -> Panel:
        dates = FIRST + np.arange(self.close.shape[1])
        return Panel(tuple(f"S{row:02}" for row in range(len(self.close))), dates, *[self.close] * 5)

    def signals(self) -> Signals:
        names = sorted({row[2] for row in self.rows}) or ["bb_squeeze"]
        rows = sorted(self.rows, key=lambda row: (row[0], row[1], row[2], row[3]))
        columns = list(zip(*rows, strict=True)) or [(), (), (), (), ()]
        return Signals(
            tuple(names),
            np.array(columns[1], dtype=np.intp),
            np.array(columns[0], dtype=np.intp),
            np.array([names.index(name) for name in columns[2]], dtype=np.intp),
            np.array(columns[3], dtype=np.bool_),
            np.array(columns[4], dtype=np.float64),
        )

    def rank(self, book: Rulebook = BOOK) -> Ranking:
        ranker = SignalRanker(book, self.sectors, self.blackouts)
        panel = self.panel
        return ranker.rank(self.signals(), panel, self.series, self.regimes, panel.dates + 1)


def night(*rows: tuple[int, str, bool, float], symbols: int = 20, **changes: Any) -> Night:
    """One session of equal symbols, each of a sector of its own. rows: symbol, strategy, short, strength."""
    flat = np.full((symbols, 1), 100.0)
    series = {"atr": flat * 0.02, "dollar_volume_rank": flat * 0.005}
    given: dict[str, Any] = {"close": flat, "series": series, "regimes": ("TREND",)}
    given["sectors"] = tuple(f"sector {row}" for row in range(symbols))
    return Night(tuple((0, *row) for row in rows), **{**given, **changes})


def outcomes(ranking: Ranking) -> list[str]:
    return [ranking.reason(row) for row in range(len(ranking.signals))]


def test_a_better_score_ranks_first() -> None:
    ranking = night((3, "bb_squeeze", False, 0.2), (7, "bb_squeeze", False, 0.9)).rank()
    assert outcomes(ranking) == ["candidate", "candidate"]
    assert ranking.rank.tolist() == [2, 1]
    assert ranking.candidates.tolist() == [1, 0]


def test_the_score_is_the_weighed_sum() -> None:
    ranking = night((3, "bb_squeeze", False, 0.2)).rank()
    # strength; ATR over price over 5%; the regime's weight over its largest; liquidity
    expected = 0.40 * 0.2 + 0.20 * (0.02 / 0.05) + 0.25 * (0.20 / 0.30) + 0.15 * 0.5
    assert ranking.score[0] == pytest.approx(expected, rel=1e-12)
    assert ranking.decisions(0)[1].value == ranking.score[0]


def test_equal_scores_rank_by_symbol() -> None:
    ranking = night(*((symbol, "bb_squeeze", False, 0.5) for symbol in (9, 2, 5))).rank()
    assert ranking.signals.symbol[ranking.candidates].tolist() == [2, 5, 9]


def test_equal_scores_of_one_symbol_rank_by_strategy() -> None:
    same = {"regimes": ("UNCERTAIN",)}  # where both have the same share
    rows = ((4, "overbought_short", True, 0.5), (4, "bb_squeeze", True, 0.5))
    ranking = night(*rows, **same).rank()
    assert outcomes(ranking) == ["candidate", "outranked"]
    assert ranking.signals.names[ranking.signals.strategy[0]] == "bb_squeeze"


def test_one_symbol_is_one_candidate_by_its_best_signal() -> None:
    ranking = night((4, "bb_squeeze", False, 0.1), (4, "adx_pullback", False, 0.9)).rank()
    assert outcomes(ranking) == ["candidate", "outranked"]
    assert ranking.company[0].tolist() == [2, 2]


def test_strategies_that_disagree_make_no_candidate() -> None:
    ranking = night(
        (4, "bb_squeeze", False, 0.1), (4, "overbought_short", True, 0.9), (5, "bb_squeeze", False, 0)
    ).rank()
    assert outcomes(ranking) == ["conflicting_signals", "conflicting_signals", "candidate"]
    eligibility, score = ranking.decisions(0)
    assert (eligibility.outcome, eligibility.rule) == ("reject", "conflicting_signals")
    assert score.value is not None, "a score is given for ineligible signals too"


def test_a_sector_gives_at_most_three() -> None:
    rows = [(symbol, "bb_squeeze", False, 1 - symbol / 10) for symbol in range(5)]
    ranking = night(*rows, sectors=("Energy",) * 20).rank()
    assert outcomes(ranking) == ["candidate"] * 3 + ["sector_full"] * 2


def test_without_a_cap_a_sector_gives_all() -> None:
    rows = [(symbol, "bb_squeeze", False, 1 - symbol / 10) for symbol in range(5)]
    assert outcomes(night(*rows, sectors=("Energy",) * 20).rank(rulebook(max_per={}))) == ["candidate"] * 5


def test_twelve_are_chosen() -> None:
    ranking = night(*((symbol, "bb_squeeze", False, 1 - symbol / 100) for symbol in range(15))).rank()
    assert outcomes(ranking) == ["candidate"] * 12 + ["below_top"] * 3
    assert ranking.rank.tolist() == [*range(1, 13), 0, 0, 0]


def test_an_unknown_value_leaves_the_score_unknown_and_the_signal_out() -> None:
    series = {"atr": np.full((20, 1), math.nan), "dollar_volume_rank": np.full((20, 1), 0.5)}
    ranking = night((1, "bb_squeeze", False, 0.5), series=series).rank()
    assert outcomes(ranking) == ["score_unknown"]
    assert math.isnan(ranking.score[0])


@pytest.mark.parametrize(("first", "last", "outcome"), [
    ("2020-01-07", "2020-01-07", "blackout"),
    ("2020-01-01", "2020-01-07", "blackout"),
    ("2020-01-07", "2020-02-01", "blackout"),
    ("2020-01-06", "2020-01-06", "candidate"),
    ("2020-01-08", "2020-01-09", "candidate"),
])  # fmt: skip
def test_a_blackout_is_of_the_session_of_the_entry(first: str, last: str, outcome: str) -> None:
    black = Blackout("S01", date.fromisoformat(first), date.fromisoformat(last), "earnings")
    other = Blackout("NOBODY", date(2020, 1, 1), date(2020, 2, 1), "not in the universe")
    rows = ((1, "bb_squeeze", False, 0.5), (2, "bb_squeeze", False, 0.5))
    assert outcomes(night(*rows, blackouts=(black, other)).rank()) == [outcome, "candidate"]


def test_rules_may_read_every_fact_and_the_strategys_own_values() -> None:
    rules = [
        {"name": "no_squeezes", "when": 'strategy == "bb_squeeze" and direction == "short"', "then": "reject"},
        {"name": "no_energy", "when": 'sector == "Energy"', "then": "reject"},
        {"name": "alone", "when": "signals_of_symbol > 1 and not opposite_signal", "then": "reject"},
        {
            "name": "in_trend",
            "when": 'regime == "TREND" and max_hold_days == 7',
            "then": "reject",
            "reason": "too long",
        },
        {"name": "wide", "when": "tp_rsi < 70 and prev_close > 1", "then": "reject", "on_missing": "skip"},
    ]
    book = rulebook(eligible={"rules": rules})
    rows = [
        (0, "bb_squeeze", True, 0.5),
        (1, "bb_squeeze", False, 0.5),
        (2, "rsi_mean_reversion", False, 0.5),
        (3, "adx_pullback", False, 0.5),
        (4, "rsi_mean_reversion", False, 0.5),
        (5, "bb_squeeze", False, 0.5),
        (5, "rsi_mean_reversion", False, 0.5),
    ]
    sectors = tuple("Energy" if row == 2 else f"sector {row}" for row in range(20))
    found = outcomes(night(*rows, sectors=sectors).rank(book))
    assert found == ["no_squeezes", "candidate", "no_energy", "too long", "wide", "alone", "alone"]


def test_all_that_matched_is_told() -> None:
    black = Blackout("S04", date(2020, 1, 1), date(2020, 2, 1), "merger")
    rows = ((4, "bb_squeeze", False, 0.1), (4, "overbought_short", True, 0.9))
    decision = night(*rows, blackouts=(black,)).rank().decisions(0)[0]
    assert decision.matched == ("conflicting_signals", "blackout")
    assert [item.verdict for item in decision.evidence] == ["match", "no_match", "match"]


def test_no_signal_is_no_trouble() -> None:
    ranking = night().rank()
    assert (len(ranking.signals), ranking.candidates.tolist()) == (0, [])


def test_signals_are_collected_by_session_symbol_and_strategy_of_usable_symbols() -> None:
    where = np.array([[True, False, True], [True, True, False]])
    one = Fired("long", where, np.array([0.1, 0.2, 0.3, 0.4]))
    two = Fired("short", where & np.array([[False, False, True], [True, False, False]]), np.array([0.6, 0.7]))
    usable = np.array([[True, True, True], [False, True, True]])
    found = collect({"b": [one], "a": [two]}, usable)
    assert found.names == ("a", "b")
    rows = zip(found.session, found.symbol, found.strategy, found.short, found.strength, strict=True)
    assert [tuple(row) for row in rows] == [(0, 0, 1, False, 0.1), (1, 1, 1, False, 0.4), (2, 0, 0, True, 0.6),
                                           (2, 0, 1, False, 0.2)]  # fmt: skip


def test_nothing_fired_is_an_empty_table() -> None:
    assert len(collect({"a": []}, np.zeros((2, 0), dtype=np.bool_))) == 0
    assert (
        len(collect({"a": [Fired("long", np.zeros((2, 0), np.bool_), np.empty(0))]}, np.zeros((2, 0), np.bool_))) == 0
    )


# --- slowly -----------------------------------------------------------------------------------------------------------


def ranked_slowly(given: Night) -> list[tuple[float, str, int]]:
    """Score, what became of it, and rank of each signal in the order of the table: from the definitions."""
    signals, panel = given.signals(), given.panel
    table = []
    for row in range(len(signals)):
        day, symbol = int(signals.session[row]), int(signals.symbol[row])
        strategy = signals.names[signals.strategy[row]]
        sides = {bool(signals.short[other]) for other in range(len(signals))
                 if (signals.session[other], signals.symbol[other]) == (day, symbol)}  # fmt: skip
        weights = DATA["regime"]["weights"][given.regimes[day]]
        share, most = weights[strategy], max(weights.values())
        close, atr = float(given.close[symbol, day]), float(given.series["atr"][symbol, day])
        room = atr / close / 0.05
        score = 0.40 * float(signals.strength[row])
        score += 0.20 * (room if math.isnan(room) else min(max(room, 0.0), 1.0))
        score += 0.25 * (share / most)
        score += 0.15 * float(given.series["dollar_volume_rank"][symbol, day])
        entry = (panel.dates[day] + 1).item()
        if len(sides) > 1:
            outcome = "conflicting_signals"
        elif share < 0.05:
            outcome = "regime_weight_too_small"
        elif any(b.symbol == panel.symbols[symbol] and b.first <= entry <= b.last for b in given.blackouts):
            outcome = "blackout"
        else:
            outcome = "score_unknown" if math.isnan(score) else "?"
        table.append(
            {"day": day, "symbol": symbol, "strategy": strategy, "score": score, "outcome": outcome, "rank": 0}
        )
    for day in range(panel.sessions):
        seen: set[int] = set()
        chosen: list[str] = []
        live = [item for item in table if item["day"] == day and item["outcome"] == "?"]
        for item in sorted(live, key=lambda item: (-item["score"], item["symbol"], item["strategy"])):
            sector = given.sectors[item["symbol"]]
            if item["symbol"] in seen:
                item["outcome"] = "outranked"
            elif chosen.count(sector) == 3:
                item["outcome"] = "sector_full"
            elif len(chosen) == 12:
                item["outcome"] = "below_top"
            else:
                chosen.append(sector)
                item |= {"outcome": "candidate", "rank": len(chosen)}
            seen.add(item["symbol"])
    return [(item["score"], item["outcome"], item["rank"]) for item in table]


@st.composite
def nights(draw: st.DrawFn) -> Night:
    symbols, sessions = draw(st.integers(1, 25)), draw(st.integers(1, 3))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)  # many cells, few choices: ties are common
    coarse = draw(st.booleans())

    def values(choices: list[float]) -> np.ndarray:
        if coarse:
            return random.choice(choices, size=(symbols, sessions))
        return random.uniform(min(choices), max(choices), size=(symbols, sessions))

    density = draw(st.sampled_from([0.05, 0.2, 0.6]))
    rows = tuple(
        (day, symbol, name, short, float(random.choice([0.0, 0.25, 0.5]) if coarse else random.random()))
        for day in range(sessions)
        for symbol in range(symbols)
        for name in ("adx_pullback", "bb_squeeze", "overbought_short", "rsi_mean_reversion")
        for short in (False, True)
        if random.random() < density * (0.05 if short else 1)
    )
    atr, liquidity = values([1.0, 2.0, 8.0]), values([0.0, 0.5, 1.0])
    atr[random.random(atr.shape) < 0.05] = np.nan
    black = tuple(
        Blackout(f"S{random.integers(25):02}", day := (FIRST + random.integers(4)).item(), day, "") for _ in range(3)
    )
    return Night(
        rows,
        values([50.0, 100.0]),
        {"atr": atr, "dollar_volume_rank": liquidity},
        tuple(random.choice(REGIMES, size=sessions)),
        tuple(random.choice(["Energy", "Utilities", "Materials", "Financials", "Industrials"], size=symbols)),
        black,
    )


@settings(max_examples=150, deadline=None)
@given(nights())
def test_the_ranking_is_the_slow_one(given: Night) -> None:
    ranking = given.rank()
    slow = ranked_slowly(given)
    np.testing.assert_allclose(ranking.score, [score for score, _, _ in slow], rtol=1e-12)
    assert outcomes(ranking) == [outcome for _, outcome, _ in slow]
    assert ranking.rank.tolist() == [rank for _, _, rank in slow]
    for row in range(0, len(slow), 7):
        eligibility, score = ranking.decisions(row)
        assert (eligibility.outcome == "reject") == (slow[row][1] not in OUTCOMES)
        assert score.value is None if math.isnan(slow[row][0]) else score.value == ranking.score[row]


@settings(max_examples=30, deadline=None)
@given(nights())
def test_a_session_is_ranked_by_itself(given: Night) -> None:
    together = given.rank()
    for day in range(given.close.shape[1]):
        rows = tuple((0, *row[1:]) for row in given.rows if row[0] == day)
        series = {name: values[:, day : day + 1] for name, values in given.series.items()}
        alone = Night(rows, given.close[:, day : day + 1], series, given.regimes[day : day + 1], given.sectors)
        at = together.signals.session == day
        np.testing.assert_array_equal(alone.rank().score, together.score[at])

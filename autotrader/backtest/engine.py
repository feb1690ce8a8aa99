"""The backtest: ten years through the decision loop of the live day, along daily paths or over minute bars."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import partial

import numpy as np

from autotrader.backtest.minutes import MinuteSession, MinuteSource, Misfit, misfit
from autotrader.backtest.mornings import Mornings, first_prices
from autotrader.backtest.statistics import Tally
from autotrader.clock import NEW_YORK, Calendar
from autotrader.core import events as ev
from autotrader.core.book import Book, Trade
from autotrader.core.daily_path import DailyPath, daily_path, walk
from autotrader.core.exits import Day
from autotrader.core.gap_filter import Filtered, Quote, gap_filter
from autotrader.core.panel import Array, Panel
from autotrader.core.prices import taker_price
from autotrader.core.ranking import Ranking, SignalRanker
from autotrader.core.rulebook import Rulebook
from autotrader.core.strategy import Direction, Strategy
from autotrader.core.trader import Plan, Step, Trader
from autotrader.core.types import Blackout, Candidate
from autotrader.core.view import MarketView, market_view
from autotrader.errors import AutotraderError
from autotrader.market.feed import ShareSplit
from autotrader.market.minutes import MinuteBars
from autotrader.market.universe import Member
from autotrader.rules.decision import Decision
from autotrader.settings import Group

_TAG = "backtest"
_OPENS = {"long": "buy", "short": "sell"}
_CLOSES = {"long": "sell", "short": "buy"}


class BacktestError(AutotraderError):
    """The period cannot be tested; one sentence that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Costs:
    """slippage_bps: of every fill. commission: USD per order. borrow: what shorts pay, as an annual ratio."""

    slippage_bps: float = 0.0
    commission: float = 0.0
    borrow: float = 0.01


@dataclass(frozen=True, slots=True)
class Explained:
    """A trade with what was decided about it: the entry's decisions and the exit's. candidate: the entry's rank etc."""

    trade: Trade
    entry: tuple[Decision, ...]
    exit: Decision | None


@dataclass(frozen=True, eq=False)
class BacktestResult:
    """What a period gave.

    sessions: T trading sessions. equity, long_exposure, short_exposure: float64 [T], USD at each close; the exposures
    are positive. benchmark: float64 [T], the equal-weight universe from the same cash. regimes: of the scan before each
    session. trades: closed ones by exit, then the open ones. prices: the last known of what is held.
    limited_since: by the name of a limit, the first session in which it kept a candidate out.
    ranking: of all signals of the period. reads: by strategy, the series that its signals come from.
    on_minutes: in how many sessions some symbol was played by its minute bars. misfits: minute bars that were not.
    """

    cash: float
    costs: Costs
    sessions: tuple[date, ...]
    equity: Array
    long_exposure: Array
    short_exposure: Array
    benchmark: Array
    regimes: tuple[str, ...]
    trades: tuple[Explained, ...]
    prices: Mapping[str, float]
    tally: Tally
    view: MarketView
    ranking: Ranking
    reads: Mapping[str, tuple[str, ...]]
    signal_counts: Mapping[str, int]
    saturated: Mapping[str, float]
    config_hash: str
    limited_since: Mapping[str, date]
    on_minutes: int
    misfits: tuple[Misfit, ...]


@dataclass
class Backtest:
    """One configuration over one panel.

    panel:  the universe's bars, in its order, from as early as there are any. market: the regime proxy's, the same
    sessions; None: the equal-weight mean of the panel stands in. minutes: where minute bars are, if there are any; a
    symbol that has some in a session is played by them, all others by their daily bar. splits: those that the bars
    are adjusted for; None: nobody has said whether there are any.
    """

    rulebook: Rulebook
    config_hash: str
    strategies: Mapping[str, Strategy]
    universe: Sequence[Member]
    panel: Panel
    market: Panel | None
    calendar: Calendar
    blackouts: Sequence[Blackout] = ()
    minutes: MinuteSource | None = None
    splits: Sequence[ShareSplit] | None = None

    def run(
        self, first: date, last: date, cash: float = 100_000.0, costs: Costs | None = None, *, tally: bool = True
    ) -> BacktestResult:
        """The sessions from `first` to `last`; the first is entered from the scan of the session before it.

        tally: whether rule statistics count unknowns too, which takes longer.
        Raises BacktestError where there is no such session in the data, or none before it to scan.
        """
        costs = costs or Costs()
        start, end = self._range(first, last)
        view = market_view(self.rulebook, self.panel, self.market)
        run = _Run(self, view, start, end, cash, costs, Tally(unknowns=tally))
        with _no_collections():
            run.play()
        return run.result()

    def _range(self, first: date, last: date) -> tuple[int, int]:
        """The columns of the panel to trade, from and until before."""
        dates = self.panel.dates
        if not len(dates) or not self.universe:
            raise BacktestError("there are no bars to test on: the universe or the data is empty")
        start = int(np.searchsorted(dates, np.datetime64(first), side="left"))
        end = int(np.searchsorted(dates, np.datetime64(last), side="right"))
        if first > last:
            raise BacktestError(f"--from {first} is after --to {last}")
        if start >= end:
            raise BacktestError(f"no session from {first} to {last} in the data, which has {dates[0]} to {dates[-1]}")
        if start == 0:
            start = 1  # the first session has no scan before it
        if start >= end:
            raise BacktestError(f"{first} is the first session of the data: there is none before it to scan")
        return start, end


class _Run:
    """A backtest in progress."""

    def __init__(
        self, test: Backtest, view: MarketView, start: int, end: int, cash: float, costs: Costs, tally: Tally
    ) -> None:
        self._test = test
        self._view = view
        self._start, self._end = start, end
        self._cash, self._costs, self._tally = cash, costs, tally
        self._book = Book(cash)
        self._trader = Trader(self._book, {test.config_hash: test.rulebook}, _TAG, self._day_of, tally)
        self._rows = {symbol: row for row, symbol in enumerate(test.panel.symbols)}
        self._sessions: list[date] = [day.item() for day in test.panel.dates[start:end]]
        self._index = start
        self._session = self._sessions[0]
        self._number = 0
        self._minutes = 390
        self._paths: dict[tuple[str, Direction], DailyPath] = {}  # the session's, as far as they were asked for
        count = end - start
        self._equity, self._long, self._short = np.empty(count), np.empty(count), np.empty(count)
        self._entries: dict[str, tuple[Decision, ...]] = {}
        self._passed: Sequence[Filtered] = ()
        self._open_after = -1  # the trades after which the account was last found to be open, with nothing held
        self._limited_since: dict[str, date] = {}
        self._limited: set[tuple[str, ...]] = set()  # what has matched together before
        self._exits: dict[str, Decision] = {}
        self._overnight: list[ev.Ordered] = []  # exits decided on a session's last minute
        self._bars_of: Mapping[str, MinuteBars] = {}
        self._on_minutes = 0
        self._misfits: list[Misfit] = []
        self._explained: list[Explained] = []

    def play(self) -> None:
        test, view, calendar = self._test, self._view, self._test.calendar
        rulebook, trader = test.rulebook, self._trader
        signals = view.signals(test.strategies, slice(self._start - 1, self._end - 1))
        dates = test.panel.dates
        following = np.append(dates[1:], np.datetime64(calendar.next_session(dates[-1].item())))
        sectors = [member.sector for member in test.universe]
        ranker = SignalRanker(rulebook, sectors, test.blackouts)
        ranking = ranker.rank(signals, test.panel, view.series, view.regimes, following)
        self._tally.regimes(rulebook.regime, view.series.market, slice(self._start - 1, self._end - 1))
        self._tally.ranking(ranking)
        self._ranking = ranking
        self._mornings = mornings = Mornings(ranker, ranking, view, sectors, test.splits, self._tally)
        groups = sorted(rulebook.params.entry.groups.items(), key=lambda item: item[1].at)
        number = calendar.number(self._sessions[0])
        for offset, session in enumerate(self._sessions):
            index = self._index = self._start + offset
            self._session, self._number = session, number + offset
            opens, closes = calendar.hours(session)
            self._minutes = (closes.hour - opens.hour) * 60 + closes.minute - opens.minute
            self._paths.clear()
            trader.open_session(opens, session, self._number)
            if self._is_over(offset, [key for key, _ in groups]):
                break
            quotes = self._plan(index - 1)
            due = groups if self._passed else ()
            if self._bars_of or self._overnight:
                self._play_minutes(opens, due, quotes)
            else:
                at_open = [key for key, group in due if group.at <= rulebook.params.entry.window.opens]
                later = [key for key, _ in due if key not in at_open]
                walk(trader, opens, self._minutes, at_open, later, self._path,
                     partial(self._enter, opens, quotes), self._leave)  # fmt: skip
            self._close(offset, closes)
        mornings.count()

    def _is_over(self, offset: int, groups: Sequence[str]) -> bool:
        """Whether nothing can happen any more: nothing is held, and the account alone lets nobody in. If so, ends."""
        book, scan = self._book, self._index - 1
        if self._test.minutes is not None or book.positions or book.orders or self._open_after == len(book.trades):
            return False
        account = self._trader.shut_out(self._test.config_hash)
        self._open_after = len(book.trades)
        if account is None:
            return False
        for limit, session in self._mornings.refuse(scan, groups, account, book):
            self._limited_since.setdefault(limit, session)
        self._equity[offset:] = book.equity({})
        self._long[offset:] = self._short[offset:] = 0.0
        return True

    def _plan(self, scan: int) -> Mapping[str, Quote]:
        """Takes the candidates of a scan, but for those that the gap filter rejects; gives their first prices."""
        test, mornings, rulebook = self._test, self._mornings, self._test.rulebook
        regime = self._view.regimes[scan]
        every = () if mornings.are_priced(scan) and test.minutes is None else mornings.candidates(scan)
        self._bars_of = {} if test.minutes is None else self._minute_bars(test.minutes, every)
        if self._bars_of or not mornings.are_priced(scan):
            quotes = self._first_prices(every)
            self._passed, _, decisions = gap_filter(every, quotes, rulebook, regime, 1)
            self._tally.decisions(decisions.values())
        else:
            self._passed, quotes = mornings.passing(scan)
        if self._passed:
            self._trader.plan(Plan(tuple(self._passed), regime, 1, test.config_hash))
        return quotes

    def _first_prices(self, chosen: Sequence[Candidate]) -> dict[str, Quote]:
        """The candidates' first prices of the session, which stand for those before the open."""
        rows = np.array([self._rows[item.symbol] for item in chosen], dtype=np.intp)
        prices = first_prices(self._test.panel, rows, np.full(len(rows), self._index)).tolist()
        opens = {item.symbol: price for item, price in zip(chosen, prices, strict=True)}
        splits = self._test.splits
        split = {item.symbol for item in splits if item.session == self._session} if splits else ()
        found = {}
        for item in chosen:
            symbol = item.symbol
            bars = self._bars_of.get(symbol)
            price = opens[symbol] if bars is None else float(bars.open[0])
            if price == price:
                found[symbol] = Quote(price, 0.0, 0.0, None if splits is None else symbol in split, True)
        return found

    # --- on minute bars -----------------------------------------------------------------------------------------

    def _minute_bars(self, source: MinuteSource, chosen: Sequence[Candidate]) -> Mapping[str, MinuteBars]:
        """The session's minute bars of what may be entered or is held, without those that contradict the daily bar."""
        found = dict(source.bars(self._session, [*(item.symbol for item in chosen), *sorted(self._book.positions)]))
        for symbol, bars in list(found.items()):
            wrong = misfit(bars, self._session, self._test.panel.close.item(self._rows[symbol], self._index))
            if wrong is not None:
                self._misfits.append(wrong)
                del found[symbol]
        self._on_minutes += bool(found)
        return found

    def _play_minutes(self, opens: datetime, groups: Sequence[tuple[str, Group]], quotes: Mapping[str, Quote]) -> None:
        window = self._test.rulebook.params.entry.window.closes
        stage = MinuteSession(
            self._trader, self, self._session, opens, self._minutes, self._bars_of, self._path, quotes,
            [(key, at_time(self._session, group.at)) for key, group in groups], at_time(self._session, window),
        )  # fmt: skip
        self._overnight = stage.play(self._overnight)

    def _path(self, symbol: str, direction: Direction) -> DailyPath:
        path = self._paths.get((symbol, direction))
        if path is None:
            panel, at = self._test.panel, (self._rows[symbol], self._index)
            path = daily_path(self._minutes, direction, panel.open.item(at), panel.high.item(at), panel.low.item(at),
                              panel.close.item(at))  # fmt: skip
            self._paths[symbol, direction] = path
        return path

    def _day_of(self, _config_hash: str, symbol: str) -> Day:
        return self._view.day(self._rows[symbol], self._index - 1, self._session, self._number)

    # --- orders -------------------------------------------------------------------------------------------------

    def _enter(self, at: datetime, quotes: Mapping[str, Quote], group: str) -> None:
        for ordered in self.ask(at, group, 0, quotes):
            self.fill(ordered, at, quotes[ordered.symbol].price)

    def _leave(self, at: datetime, _symbol: str, step: Step, price: float) -> None:
        for ordered in self.leave(step):
            self.fill(ordered, at, price)

    def ask(self, at: datetime, group: str, minute: int, quotes: Mapping[str, Quote]) -> Sequence[ev.Ordered]:
        """One entry group's orders, which are live now; what was decided about them is remembered."""
        step = self._trader.group_due(at, group, minute, quotes)
        for ordered, outcome in zip(step.orders, (o for o in step.outcomes if o.entered), strict=True):
            self._trader.apply(ordered)
            self._entries[ordered.symbol] = (*self._gap_decision(ordered.symbol), *outcome.decisions)
        for outcome in step.outcomes:
            last = outcome.decisions[-1]
            if last.stage == "limits" and last.matched not in self._limited:
                self._limited.add(last.matched)
                for rule in last.matched:
                    self._limited_since.setdefault(rule, self._session)
        return step.orders

    def _gap_decision(self, symbol: str) -> tuple[Decision, ...]:
        """What the gap filter said of a candidate that passed, with its evidence; nothing where there was no price."""
        item = next(item for item in self._passed if item.candidate.symbol == symbol)
        if item.status == "unfiltered":
            return ()
        bound = self._test.rulebook.bound(item.candidate.strategy, item.candidate.direction)
        return (bound.gap_filter.judge(item.facts),)

    def leave(self, step: Step) -> Sequence[ev.Ordered]:
        """A step's exits, which are live now; the decision behind each is remembered."""
        for judged in step.judged:
            self._exits[judged.symbol] = judged.decision
        for ordered in step.orders:
            self._trader.apply(ordered)
        return step.orders

    def fill(self, ordered: ev.Ordered, at: datetime, price: float) -> None:
        """An order is filled as a whole, at the price its market stands at."""
        side = (_OPENS if ordered.leg == "entry" else _CLOSES)[ordered.direction]
        paid = float(taker_price(price, side, self._costs.slippage_bps))
        quantity, symbol = ordered.quantity, ordered.symbol
        self._trader.apply(
            ev.Filled(at, self._session, ordered.order_id, quantity, paid, quantity, self._costs.commission)
        )
        if ordered.leg != "entry":  # a protective stop leaves by nobody's decision
            trade = self._book.trades[-1]
            self._explained.append(Explained(trade, self._entries.pop(symbol), self._exits.pop(symbol, None)))

    def place(self, ordered: ev.Ordered) -> None:
        """A stop is live now."""
        self._trader.apply(ordered)

    def end(self, ordered: ev.Ordered, at: datetime, status: ev.Ended) -> None:
        """An order is over before it was filled."""
        self._trader.apply(ev.OrderEnded(at, self._session, ordered.order_id, status))
        if ordered.leg == "entry":
            del self._entries[ordered.symbol]

    def _close(self, offset: int, at: datetime) -> None:
        book, trader = self._book, self._trader
        long = short = 0.0
        for symbol, held in book.positions.items():
            path = self._path(symbol, held.direction)
            if path and symbol not in self._bars_of:  # the last minute's has been taken
                trader.prices[symbol] = path[-1][1]
            value = held.quantity * trader.prices.get(symbol, held.entry_price)
            if held.sign > 0:
                long += value
            else:
                short += value
        trader.close_session(at, self._costs.borrow)
        self._equity[offset] = book.equity_history[-1][1]
        self._long[offset], self._short[offset] = long, short

    def result(self) -> BacktestResult:
        view, start, end = self._view, self._start, self._end
        still_open = self._book.all_trades()[len(self._book.trades) :]
        explained = [*self._explained, *(Explained(trade, self._entries[trade.symbol], None) for trade in still_open)]
        signals = self._ranking.signals
        counts = np.bincount(signals.strategy, minlength=len(signals.names))
        full = np.bincount(signals.strategy[signals.strength >= 1.0], minlength=len(signals.names))
        return BacktestResult(
            cash=self._cash,
            costs=self._costs,
            sessions=tuple(self._sessions),
            equity=self._equity,
            long_exposure=self._long,
            short_exposure=self._short,
            benchmark=_benchmark(view.panel, start, end, self._cash),
            regimes=tuple(view.regimes[start - 1 : end - 1]),
            trades=tuple(explained),
            prices=dict(self._trader.prices),
            tally=self._tally,
            view=view,
            ranking=self._ranking,
            reads={name: strategy.reads for name, strategy in self._test.strategies.items()},
            signal_counts={name: int(count) for name, count in zip(signals.names, counts, strict=True)},
            saturated={
                name: int(many) / int(count) if count else 0.0
                for name, many, count in zip(signals.names, full, counts, strict=True)
            },
            config_hash=self._test.config_hash,
            limited_since=dict(self._limited_since),
            on_minutes=self._on_minutes,
            misfits=tuple(self._misfits),
        )


@contextmanager
def _no_collections() -> Iterator[None]:
    """Nobody looks for garbage that refers to itself: a backtest makes next to none of it, and much that it keeps."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()  # what was made is as old as anything: the next short look does not go through it
        if was_on:
            gc.enable()


def at_time(session: date, when: time) -> datetime:
    return datetime.combine(session, when, NEW_YORK)


def _benchmark(panel: Panel, start: int, end: int, cash: float) -> Array:
    """The universe in equal parts, rebalanced each session, from the close before the first session.

    What a symbol did while it had no bar counts on its next one.
    """
    closes = panel.close[:, start - 1 : end]
    with np.errstate(all="ignore"):
        ratios = closes[:, 1:] / closes[:, :-1]
        known = (ratios > 0) & (ratios < np.inf)
        holed = np.flatnonzero(~known.all(axis=1))
        rows = closes[holed]
        latest = np.maximum.accumulate(np.where(rows > 0, np.arange(rows.shape[1]), 0), axis=1)
        ratios[holed] = rows[:, 1:] / np.take_along_axis(rows, latest, axis=1)[:, :-1]
        known[holed] = (ratios[holed] > 0) & (ratios[holed] < np.inf)
    count = known.sum(axis=0)
    ratios.reshape(-1)[np.flatnonzero(~known)] = 0.0
    mean = np.where(count > 0, ratios.sum(axis=0) / np.maximum(count, 1), 1.0)
    value: Array = np.asarray(cash * np.cumprod(mean), dtype=np.float64)
    return value

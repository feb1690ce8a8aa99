"""A virtual day as it is told to people: what the stages decided and what came of it, as it happens."""

from __future__ import annotations

import logging
from datetime import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from autotrader.batch.files import BatchResultRecord
    from autotrader.clock import Clock
    from autotrader.core.book import Trade
    from autotrader.core.entry import Outcome
    from autotrader.execution.day import Told
    from autotrader.rules.decision import Decision
    from autotrader.service.demo import Evening, Morning, Night, Tale

_USUAL_CLOSE = time(16)


class Story:
    """Tells what it hears, session by session."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._scan: BatchResultRecord | None = None
        self._passed: int | None = None
        self._entered = 0

    def tell_of_orders(self, clock: Clock) -> None:
        """From now on, what becomes of orders is told as the log has it, at the time of `clock`."""
        logger = logging.getLogger("autotrader.orders")
        logger.addHandler(_OrderLog(self._out, clock))
        logger.setLevel(logging.INFO)

    def tell(self, tale: Tale) -> None:
        from autotrader.core.book import Trade
        from autotrader.core.events import Split
        from autotrader.execution.day import Told
        from autotrader.service.demo import Dawn, Evening, Morning, Night

        match tale:
            case Night():
                self._night(tale)
            case Dawn():
                early = "" if tale.closes == _USUAL_CLOSE else f" (half day, closes at {tale.closes:%H:%M})"
                self._out.print(f"\n[bold]{tale.session:%a %Y-%m-%d}[/bold]{early}")
                self._passed, self._entered = None, 0
            case Split():
                cash = f", {tale.cash:+,.2f} USD for a fraction" if tale.cash else ""
                self._out.print(f"  split: {tale.new} {tale.symbol} for {tale.old}{cash}")
            case Morning():
                self._morning(tale)
            case Told():
                self._told(tale)
            case Trade():
                self._trade(tale)
            case Evening():
                self._evening(tale)

    def _night(self, tale: Night) -> None:
        self._scan = record = tale.record
        if record is None:
            self._out.print(f"  scan of {tale.session}: [red]no result[/red]: {tale.problem}; no entries tomorrow")
            return
        self._out.print(f"  scan of {tale.session}: {record.total_symbols_scanned} symbols, "
                        f"{_count(record.total_signals_generated, 'signal')}, "
                        f"{_count(len(record.candidates), 'candidate')}, regime {record.regime}")  # fmt: skip

    def _morning(self, tale: Morning) -> None:
        record = tale.record
        self._passed = record.candidates_after
        out = "".join(f", {item.symbol} out by {_percent(item.gap_pct)} ({item.reason})" for item in record.rejected)
        self._out.print(f"  gap filter: {record.candidates_after} of {_count(record.candidates_before, 'candidate')} "
                        f"pass{out}")  # fmt: skip

    def _told(self, tale: Told) -> None:
        from autotrader.clock import NEW_YORK

        at = f"{tale.at.astimezone(NEW_YORK):%H:%M}"
        for outcome in tale.outcomes:
            if outcome.intent is not None:
                item, plan = outcome.intent.candidate, outcome.intent.plan
                self._entered += 1
                self._out.print(f"  {at} enter {_side(item.direction)} {outcome.intent.quantity} {item.symbol} near "
                                f"{plan.price:.2f} by {item.strategy}: rank {item.rank}, sized by "
                                f"{outcome.intent.sized_by}, stop {plan.stop_distance:.2f} away")  # fmt: skip
        kept = _by_reason(tale.outcomes)
        if kept:
            self._out.print(f"  {at} not entered ({tale.group}): {kept}", style="dim")
        for judged in tale.step.judged if tale.step is not None else ():
            if judged.decision.outcome == "exit":
                self._out.print(f"  {at} exit {judged.symbol} at {judged.price:.2f}: {judged.decision.rule}"
                                f"{_why(judged.decision)}")  # fmt: skip

    def _trade(self, trade: Trade) -> None:
        assert trade.exit_price is not None
        assert trade.pnl is not None
        self._out.print(
            f"  closed {_side(trade.direction)} {trade.quantity} {trade.symbol}: {trade.entry_price:.2f} to "
            f"{trade.exit_price:.2f}, {_money(trade.pnl)} after {_count(trade.sessions_held, 'session')}, "
            f"{trade.exit_reason} (best {trade.mfe:+,.0f}, worst {trade.mae:+,.0f})"
        )

    def _evening(self, tale: Evening) -> None:
        if self._scan is not None and self._passed is not None:
            self._out.print(f"  funnel: {self._scan.total_symbols_scanned} scanned, "
                            f"{_count(self._scan.total_signals_generated, 'signal')}, "
                            f"{_count(len(self._scan.candidates), 'candidate')}, {self._passed} after the gap, "
                            f"{self._entered} entered")  # fmt: skip
        self._out.print(f"  close: equity {tale.equity:,.2f} ({tale.day_return:+.2%}), drawdown {tale.drawdown:.2%}, "
                        f"{_count(tale.open_positions, 'position')} open")  # fmt: skip

    # --- the demo's beginning and end -----------------------------------------------------------------------------

    def begin(self, feed: str, symbols: int, sessions: list[str], cash: float) -> None:
        self._out.print(f"[bold]{_count(len(sessions), 'session')}[/bold], {sessions[0]} to {sessions[-1]}: "
                        f"{symbols} symbols, market {feed}, cash {cash:,.0f} USD")  # fmt: skip

    def end(self, trades: list[Trade], prices: dict[str, float], cash: float, equity: float) -> None:
        closed = [trade.pnl for trade in trades if trade.pnl is not None]
        self._out.print(f"\n[bold]In the end[/bold]: equity {equity:,.2f} ({equity / cash - 1:+.2%}), "
                        f"{_count(len(closed), 'trade')} closed, {sum(pnl > 0 for pnl in closed)} with a gain, "
                        f"{len(trades) - len(closed)} still open")  # fmt: skip
        for trade in trades:
            if trade.pnl is None:
                price = prices.get(trade.symbol, trade.entry_price)
                gain = (price - trade.entry_price) * (1 if trade.direction == "long" else -1) * trade.quantity
                self._out.print(f"  open: {_side(trade.direction)} {trade.quantity} {trade.symbol} from "
                                f"{trade.entry_price:.2f}, now {price:.2f} ({_money(gain)})")  # fmt: skip

    def hints(self, symbol: str, where: str, state: str) -> None:
        """What to try next. where: the option by which other commands find the demo's account."""
        commands = {
            f"autotrader explain {symbol}{where}": "what every stage decided about it, and why",
            f"autotrader trades{where}": "every trade",
            f"autotrader status{where}": "the account at a glance",
        }
        width = max(map(len, commands))
        self._out.print(f"\nWhat to try next (the state is in {state}):")
        for command, what in commands.items():
            self._out.print(f"  {command:{width}}   {what}")
        self._out.print("  or edit config/strategy_params.yaml, `autotrader validate`, and play the same days again")


def _by_reason(outcomes: tuple[Outcome, ...]) -> str:
    """E.g. "strategy_full NSC, ADP; not_confirmed DUK"."""
    symbols: dict[str, list[str]] = {}
    for outcome in outcomes:
        if not outcome.entered:
            symbols.setdefault(outcome.reason, []).append(outcome.symbol)
    return "; ".join(f"{reason} {', '.join(names)}" for reason, names in symbols.items())


def _why(decision: Decision) -> str:
    """The comparisons that made the deciding rule match, e.g. " (loss_pct 0.085 >= emergency_stop_pct 0.070)"."""
    from autotrader.rules.margins import margins
    from autotrader.rules.ruleset import RuleSet

    found = next((item for item in decision.evidence if item.rule == decision.rule), None)
    if found is None or not isinstance(decision.judge, RuleSet):
        return ""
    rule = next(rule for rule in decision.judge.rules if rule.name == decision.rule)
    parts = [item.shown for item in margins(rule.when, found.facts, {}) if item.holds and item.away is not None]
    return f" ({', '.join(parts)})" if parts else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _side(direction: str) -> str:
    return f"[{'green' if direction == 'long' else 'red'}]{direction}[/]"


def _money(value: float) -> str:
    return f"[{'green' if value >= 0 else 'red'}]{value:+,.2f}[/]"


def _percent(value: float | None) -> str:
    return "no price" if value is None else f"{value:+.2%}"


class _OrderLog(logging.Handler):
    """The log of orders as lines of the story."""

    def __init__(self, out: Console, clock: Clock) -> None:
        super().__init__()
        self._out = out
        self._clock = clock

    def emit(self, record: logging.LogRecord) -> None:
        from autotrader.clock import NEW_YORK

        style = "dim" if record.levelno < logging.WARNING else "yellow"
        self._out.print(f"  {self._clock.now().astimezone(NEW_YORK):%H:%M} {record.getMessage()}", style=style)

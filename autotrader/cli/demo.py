"""`autotrader demo`: whole sessions through the live stages in virtual time, told as they go."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from autotrader.cli.app import Config, Home, app, config_folder, console, home_folder, sound_configuration
from autotrader.cli.scan import Data, Universe

if TYPE_CHECKING:
    from rich.console import Console

    from autotrader.core.book import Trade
    from autotrader.service.demo import Tale

_WAYS = ("minutes", "path")


@app.command()
def demo(
    context: typer.Context,
    days: Annotated[int, typer.Option("--days", min=1, metavar="N", help="How many sessions to play.")] = 5,
    start: Annotated[
        datetime | None,
        typer.Option(
            "--start",
            formats=["%Y-%m-%d"],
            metavar="YYYY-MM-DD",
            help="The first session; default: so that the last one is the last completed.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Another seed, another market; default: as configured.")
    ] = None,
    data: Data = None,
    universe: Universe = None,
    market: Annotated[
        str,
        typer.Option(
            "--market",
            help="minutes: minute bars, real where --data has them, else made up; "
            "path: each day as open, adverse extreme, favourable extreme, close.",
        ),
    ] = "minutes",
    cash: Annotated[float, typer.Option("--cash", min=1.0, help="Cash to begin with, USD.")] = 100_000.0,
    slippage: Annotated[
        float, typer.Option("--slippage", min=0.0, help="Slippage of each fill, in basis points.")
    ] = 0.0,
    commission: Annotated[float, typer.Option("--commission", min=0.0, help="Commission, USD per order.")] = 0.0,
    borrow: Annotated[float, typer.Option("--borrow", min=0.0, help="What shorts pay, as an annual ratio.")] = 0.01,
    config: Config = None,
    home: Home = None,
) -> None:
    """Play whole sessions, from the nightly scan to the close, on the embedded synthetic market or on real bars.

    The state goes to data/demo (with --home DIR to DIR/data) and starts empty each time.

    [bold]Examples:[/bold] autotrader demo --days 5   |   autotrader demo --data bars.parquet --universe symbols.csv
    --start 2020-02-03 --days 40
    """
    from autotrader.batch.run import inside, open_feed
    from autotrader.clock import Calendar
    from autotrader.market.universe import load_universe
    from autotrader.service.demo import Demo, DemoOptions

    if market not in _WAYS:
        raise typer.BadParameter(f"{market} is not one of {', '.join(_WAYS)}", param_hint="--market")
    if home is not None:
        home.mkdir(parents=True, exist_ok=True)  # a demo begins anew anyway
    folder = home_folder(context, home)
    configuration = sound_configuration(config_folder(folder, config))
    system = configuration.settings.system
    state = folder / system.paths.data if home or context.obj else folder / "data" / "demo"
    feed = open_feed(configuration, folder, Calendar(), data=data, seed=seed)
    members = load_universe(universe or inside(folder, system.universe))
    options = DemoOptions(
        folder=state, days=days, start=None if start is None else start.date(), cash=cash,
        seed=system.feed.seed if seed is None else seed, mode="path" if market == "path" else "minutes",
        minutes=data if data is not None and data.is_dir() else None, slippage_bps=slippage,
        commission=commission, borrow=borrow,
    )  # fmt: skip
    story = Story(console(), cash)
    run = Demo(configuration, feed, members, options, story.tell)
    story.begin(feed.name, len(members), run.sessions[0].isoformat(), run.sessions[-1].isoformat(), len(run.sessions))
    desk = run.play()
    story.end(desk.trader.book.all_trades(), desk.trader.prices, str(state), home is not None)
    desk.journal.close()


class Story:
    """Tells what happens, session by session."""

    def __init__(self, out: Console, cash: float) -> None:
        self._out = out
        self._cash = cash
        self._equity = cash

    def begin(self, feed: str, symbols: int, first: str, last: str, sessions: int) -> None:
        what = "1 session" if sessions == 1 else f"{sessions} sessions"
        self._out.print(f"[bold]{what}[/bold], {first} to {last}: {symbols} symbols, market {feed}, "
                        f"cash {self._cash:,.0f} USD")  # fmt: skip

    def tell(self, tale: Tale) -> None:
        from autotrader.core.book import Trade
        from autotrader.execution.session import Told
        from autotrader.service.demo import Evening, Morning, Night

        match tale:
            case Night():
                self._night(tale)
            case Morning():
                record = tale.record
                self._out.print(f"\n[bold]{tale.session:%a %Y-%m-%d}[/bold]")
                gaps = ", ".join(f"{item.symbol} {_percent(item.gap_pct)} ({item.reason})" for item in record.rejected)
                self._out.print(f"  gap filter: {record.candidates_after} of {record.candidates_before} candidates pass"
                                + (f"; out: {gaps}" if gaps else ""))  # fmt: skip
            case Told():
                self._told(tale)
            case Trade():
                self._trade(tale)
            case Evening():
                self._equity = tale.equity
                self._out.print(f"  close: equity {tale.equity:,.2f} ({_percent(tale.day_return)}), drawdown "
                                f"{tale.drawdown:.2%}, {tale.open_positions} positions open")  # fmt: skip

    def _night(self, tale: object) -> None:
        from autotrader.service.demo import Night

        assert isinstance(tale, Night)
        if tale.record is None:
            self._out.print(f"  scan of {tale.session}: [red]no result[/red]: {tale.problem}; no entries tomorrow")
            return
        record = tale.record
        self._out.print(f"  scan of {tale.session}: {record.total_symbols_scanned} symbols, "
                        f"{record.total_signals_generated} signals, {len(record.candidates)} candidates, "
                        f"regime {record.regime}")  # fmt: skip

    def _told(self, tale: object) -> None:
        from autotrader.clock import NEW_YORK
        from autotrader.execution.session import Told

        assert isinstance(tale, Told)
        at = f"{tale.at.astimezone(NEW_YORK):%H:%M}"
        for outcome in tale.outcomes:
            if outcome.entered:
                intent = outcome.intent
                assert intent is not None
                item = intent.candidate
                colour = "green" if item.direction == "long" else "red"
                side = f"[{colour}]{item.direction}[/{colour}]"
                self._out.print(f"  {at} enter {side} {intent.quantity} {item.symbol} near {intent.plan.price:.2f} "
                                f"by {item.strategy} (rank {item.rank}, {intent.sized_by}, "
                                f"stop {intent.plan.stop_distance:.2f} away)")  # fmt: skip
        kept = [f"{o.symbol} {o.reason}" for o in tale.outcomes if not o.entered]
        if kept:
            self._out.print(f"  {at} {tale.group}: not entered: {', '.join(kept)}", style="dim")
        if tale.step is not None:
            for judged in tale.step.judged:
                if judged.decision.outcome == "exit":
                    self._out.print(f"  {at} exit {judged.symbol} at {judged.price:.2f}: {judged.decision.rule} "
                                    f"({_why(judged.decision)})")  # fmt: skip

    def _trade(self, trade: Trade) -> None:
        assert trade.exit_price is not None
        assert trade.pnl is not None
        colour = "green" if trade.pnl >= 0 else "red"
        self._out.print(
            f"  closed {trade.direction} {trade.quantity} {trade.symbol}: {trade.entry_price:.2f} to "
            f"{trade.exit_price:.2f}, [{colour}]{trade.pnl:+,.2f}[/{colour}] after {trade.sessions_held} sessions, "
            f"{trade.exit_reason} (best {trade.mfe:+,.0f}, worst {trade.mae:+,.0f})"
        )

    def end(self, trades: list[Trade], prices: dict[str, float], state: str, own_home: bool) -> None:
        closed = [trade for trade in trades if trade.pnl is not None]
        wins = sum(trade.pnl is not None and trade.pnl > 0 for trade in closed)
        gained = self._equity - self._cash
        self._out.print(f"\n[bold]In the end[/bold]: equity {self._equity:,.2f} ({gained / self._cash:+.2%}), "
                        f"{len(closed)} trades closed, {wins} with a gain, "
                        f"{len(trades) - len(closed)} still open")  # fmt: skip
        for trade in trades:
            if trade.pnl is None:
                price = prices.get(trade.symbol, trade.entry_price)
                sign = 1 if trade.direction == "long" else -1
                open_gain = (price - trade.entry_price) * sign * trade.quantity
                self._out.print(f"  open: {trade.direction} {trade.quantity} {trade.symbol} "
                                f"from {trade.entry_price:.2f}, now {price:.2f} ({open_gain:+,.2f})")  # fmt: skip
        symbol = trades[0].symbol if trades else "AAPL"
        where = f"--home {state.rsplit('/', 1)[0]}" if own_home else "--demo"
        self._out.print(f"\nWhat to try next (the state is in {state}):")
        self._out.print(f"  autotrader explain {symbol} {where}     what every stage decided about it, and why")
        self._out.print(f"  autotrader trades {where}      every trade   |   autotrader status {where}")
        self._out.print("  edit config/strategy_params.yaml, autotrader validate, and play the same days again")


def _percent(value: float | None) -> str:
    return "no price" if value is None else f"{value:+.2%}"


def _why(decision: object) -> str:
    """The deciding rule's facts, shortly."""
    from autotrader.rules.decision import Decision

    assert isinstance(decision, Decision)
    item = next((item for item in decision.evidence if item.rule == decision.rule), None)
    if item is None:
        return decision.reason
    facts = ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                      for name, value in item.facts.items())  # fmt: skip
    return facts or item.text

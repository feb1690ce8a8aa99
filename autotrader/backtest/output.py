"""A backtest's result as one JSON document; console and report show this document's numbers and no others."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal

import numpy as np

from autotrader.backtest import metrics
from autotrader.backtest.caveats import caveats, jumps
from autotrader.backtest.engine import BacktestResult, Explained
from autotrader.core.panel import Array
from autotrader.journal.views import trade_row

Document = dict[str, Any]
Row = dict[str, Any]
Unit = Literal["percent", "number", "usd", "sessions", "count", "r", "date"]

SATURATES = 0.1  # strengths of 1.0 in more than this share of a strategy's signals tell nothing apart


@dataclass(frozen=True, slots=True)
class Measure:
    """How one of the document's metrics is shown and defined. group: its heading."""

    key: str
    label: str
    unit: Unit
    group: str
    definition: str


MEASURES = (
    Measure("total_return", "Total return", "percent", "Return",
            "Equity at the end over the cash at the start, minus 1."),
    Measure("cagr", "CAGR", "percent", "Return",
            "Compound annual growth: (1 + total return) ^ (252 / sessions) - 1."),
    Measure("benchmark_total_return", "Benchmark's total return", "percent", "Return",
            "The universe in equal parts, rebalanced at each close, from the same cash, without costs; a move across "
            "missing bars counts on the next one."),
    Measure("benchmark_cagr", "Benchmark's CAGR", "percent", "Return",
            "As CAGR, of the benchmark."),
    Measure("volatility", "Volatility, annual", "percent", "Risk",
            "Sample standard deviation of the returns from close to close, times the root of 252."),
    Measure("max_drawdown", "Max drawdown", "percent", "Risk",
            "The deepest fall of the equity at a close below its highest before, the cash at the start included."),
    Measure("longest_drawdown_sessions", "Longest drawdown", "sessions", "Risk",
            "The longest run of sessions that closed below an earlier high, also one that has not ended."),
    Measure("benchmark_max_drawdown", "Benchmark's max drawdown", "percent", "Risk",
            "As max drawdown, of the benchmark."),
    Measure("sharpe", "Sharpe", "number", "Return to risk",
            "Mean return over its sample standard deviation, times the root of 252; no risk-free rate."),
    Measure("sortino", "Sortino", "number", "Return to risk",
            "Mean return over the root of the mean square of the losses (gains count as 0), times the root of 252."),
    Measure("calmar", "Calmar", "number", "Return to risk",
            "CAGR over max drawdown."),
    Measure("benchmark_sharpe", "Benchmark's Sharpe", "number", "Return to risk",
            "As Sharpe, of the benchmark."),
    Measure("closed_trades", "Closed trades", "count", "Trades",
            "Positions that were left."),
    Measure("hit_rate", "Hit rate", "percent", "Trades",
            "Closed trades that gained, net of costs, over all of them."),
    Measure("profit_factor", "Profit factor", "number", "Trades",
            "The sum of all gains over the sum of all losses."),
    Measure("expectancy_r", "Expectancy", "r", "Trades",
            "Mean R of the closed trades; R is the net gain over the planned stop distance times the shares."),
    Measure("average_win", "Average gain", "usd", "Trades",
            "Mean net gain of those that gained."),
    Measure("average_loss", "Average loss", "usd", "Trades",
            "Mean net loss of those that lost."),
    Measure("average_position", "Average position", "usd", "Trades",
            "Mean of shares times entry price, open ones included."),
    Measure("average_sessions_held", "Sessions held, mean", "number", "Trades",
            "Sessions from entry to exit, the entry session being 0."),
    Measure("open_trades", "Open at the end", "count", "Trades",
            "Positions still held at the last close, valued at it."),
    Measure("exposure", "Exposure, mean", "percent", "Use of capital",
            "Mean of what is held, longs and shorts added, over equity, at all closes."),
    Measure("exposure_most", "Exposure, most", "percent", "Use of capital",
            "The largest of it at a close."),
    Measure("net_exposure", "Net exposure, mean", "percent", "Use of capital",
            "The same, shorts subtracted."),
    Measure("time_in_market", "Sessions with a position", "percent", "Use of capital",
            "Sessions that closed with a position, over all."),
    Measure("turnover", "Turnover a year", "number", "Use of capital",
            "Half of the value of all fills over mean equity, per 252 sessions."),
    Measure("costs", "Costs", "usd", "Use of capital",
            "Commissions and borrowing; slippage is in the prices."),
)  # fmt: skip


def shown(value: float | str | None, unit: Unit) -> str:
    """A metric as people read it; a dash where it is undefined."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    match unit:
        case "percent":
            return f"{value:.2%}"
        case "usd":
            return f"{value:,.2f}"
        case "r":
            return f"{value:+.3f} R"
        case "sessions":
            return f"{value:,.0f} sessions"
        case "count":
            return f"{value:,.0f}"
        case _:
            return f"{value:.2f}"


def document(result: BacktestResult, *, feed: str, invented: bool = False, notes: Sequence[str] = ()) -> Document:
    """Everything of a result that can be said in JSON, rounded nowhere. invented: the market is made up.

    initial_cash, final_equity, trades, equity, metrics, rules, config_hash and what the report shows beside them.
    """
    trades = [_trade(item, result) for item in result.trades]
    closed = [row for row in trades if row["pnl"] is not None]
    rulebook = result.view.rulebook
    latches = {rule.name for rule in rulebook.limits.rules if "worst_drawdown" in rule.when.names}
    statistics = result.tally.statistics(rulebook)
    content: Document = {
        "from": result.sessions[0].isoformat(),
        "to": result.sessions[-1].isoformat(),
        "sessions": len(result.sessions),
        "symbols": len(result.view.panel.symbols),
        "feed": feed,
        "config_hash": result.config_hash,
        "initial_cash": result.cash,
        "final_equity": float(result.equity[-1]),
        "costs": asdict(result.costs),
        "sessions_on_minute_bars": result.on_minutes,
        "metrics": _metrics(result, trades, closed),
        "latched": [
            {"rule": name, "since": since.isoformat(), "until_then": _until(result, since)}
            for name, since in result.limited_since.items()
            if name in latches
        ],
        "strategies": _strategies(result, trades),
        "regimes": _regimes(result),
        "rules": [asdict(item) for item in statistics],
        "limited_since": {name: since.isoformat() for name, since in result.limited_since.items()},
        "notes": list(notes),
        "findings": [],  # read from the rest, below
        "caveats": caveats(result, invented=invented),
        "jumps": [
            asdict(jump) | {"session": jump.session.isoformat()}
            for jump in jumps(
                result.view.panel, result.sessions[0], result.sessions[-1], [item.trade for item in result.trades]
            )
        ],
        "equity": [
            {"date": day.isoformat(), "equity": value}
            for day, value in zip(result.sessions, result.equity.tolist(), strict=True)
        ],
        "trades": trades,
    }
    content["findings"] = findings(content)
    return content


def to_json(content: Document) -> bytes:
    """The file: equal results give equal bytes. One line for each trade and close, so that two runs can be compared."""
    parts = []
    for key, value in content.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = ",\n".join(f"  {_compact(row)}" for row in value)
            parts.append(f" {json.dumps(key)}: [\n{rows}\n ]")
        else:
            parts.append(f" {json.dumps(key)}: {_compact(value)}")
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


# --- parts of the document ----------------------------------------------------------------------------------------


def _trade(item: Explained, result: BacktestResult) -> Row:
    """risk: planned stop distance times quantity, USD. r: pnl over risk. marked_*: of an open trade, at its last price.

    mfe_r, mae_r: the best and the worst of it in units of that risk.
    """
    trade = item.trade
    plan = trade.plan
    risk = plan.stop_distance * trade.quantity
    known = math.isfinite(risk) and risk > 0
    price = result.prices.get(trade.symbol, trade.entry_price) if trade.pnl is None else None
    sign = 1 if trade.direction == "long" else -1
    return trade_row(trade) | {
        "sector": plan.sector,
        "rank": plan.rank,
        "score": plan.score,
        "risk": risk if known else None,
        "r": trade.pnl / risk if known and trade.pnl is not None else None,
        "mfe_r": trade.mfe / risk if known else None,
        "mae_r": trade.mae / risk if known else None,
        "marked_price": price,
        "marked_gain": None if price is None else (price - trade.entry_price) * sign * trade.quantity - trade.costs,
    }


def _metrics(result: BacktestResult, trades: Sequence[Row], closed: Sequence[Row]) -> Row:
    equity, cash = result.equity, result.cash
    r = metrics.returns(equity, cash)
    falls = metrics.drawdowns(equity, cash)
    deepest = metrics.deepest_drawdown(falls)
    depth = deepest.depth if deepest is not None else 0.0
    days = [session.isoformat() for session in result.sessions]
    held = result.long_exposure + result.short_exposure
    pnl = _column(closed, "pnl")
    traded = sum(row["quantity"] * (row["entry_price"] + (row["exit_price"] or 0.0)) for row in trades)
    bench = metrics.returns(result.benchmark, cash)
    bench_falls = metrics.drawdowns(result.benchmark, cash)
    return {
        "total_return": metrics.total_return(r),
        "cagr": metrics.cagr(r),
        "volatility": metrics.volatility(r),
        "sharpe": metrics.sharpe(r),
        "sortino": metrics.sortino(r),
        "max_drawdown": depth,
        "max_drawdown_peak": None if deepest is None or deepest.peak < 0 else days[deepest.peak],
        "max_drawdown_trough": None if deepest is None else days[deepest.trough],
        "max_drawdown_regained": None if deepest is None or deepest.regained is None else days[deepest.regained],
        "longest_drawdown_sessions": metrics.longest_drawdown(falls),
        "calmar": metrics.calmar(r, depth),
        "exposure": metrics.exposure(held, equity),
        "exposure_most": metrics.exposure_most(held, equity),
        "net_exposure": metrics.exposure(result.long_exposure - result.short_exposure, equity),
        "time_in_market": float(np.mean(held > 0.0)),
        "turnover": metrics.turnover(traded, equity),
        "closed_trades": len(closed),
        "open_trades": len(trades) - len(closed),
        **_of_trades(closed),
        "average_win": metrics.mean(pnl[pnl > 0.0]),
        "average_loss": metrics.mean(pnl[pnl < 0.0]),
        "average_position": metrics.mean(_column(trades, "entry_price") * _column(trades, "quantity")),
        "average_sessions_held": metrics.mean(_column(closed, "sessions_held")),
        "costs": float(sum(row["costs"] for row in trades)),
        "benchmark_total_return": metrics.total_return(bench),
        "benchmark_cagr": metrics.cagr(bench),
        "benchmark_volatility": metrics.volatility(bench),
        "benchmark_sharpe": metrics.sharpe(bench),
        "benchmark_max_drawdown": float(bench_falls.max(initial=0.0)),
    }


def _until(result: BacktestResult, since: date) -> Row:
    """What the account had done before a session: the rest of the period would only dilute it."""
    count = result.sessions.index(since)
    equity, held = result.equity[:count], (result.long_exposure + result.short_exposure)[:count]
    r = metrics.returns(equity, result.cash)
    return {
        "sessions": count,
        "total_return": metrics.total_return(r),
        "cagr": metrics.cagr(r),
        "sharpe": metrics.sharpe(r),
        "exposure": metrics.exposure(held, equity),
    }


def _of_trades(closed: Sequence[Row]) -> Row:
    pnl = _column(closed, "pnl")
    return {
        "pnl": float(pnl.sum()),
        "hit_rate": metrics.hit_rate(pnl),
        "profit_factor": metrics.profit_factor(pnl),
        "expectancy_r": metrics.mean(_column(closed, "r")),
        "expectancy": metrics.mean(pnl),
    }


def by_group(trades: Iterable[Row], key: Callable[[Row], str | None]) -> list[Row]:
    """Closed trades by what `key` gives: name, trades, pnl, hit_rate, profit_factor, expectancy_r; best pnl first."""
    groups: dict[str, list[Row]] = {}
    for row in trades:
        if row["pnl"] is not None:
            groups.setdefault(key(row) or "–", []).append(row)
    found = [{"name": name, "trades": len(rows), **_of_trades(rows)} for name, rows in groups.items()]
    return sorted(found, key=lambda group: (-group["pnl"], group["name"]))


def _strategies(result: BacktestResult, trades: Sequence[Row]) -> list[Row]:
    """Each enabled strategy: its signals, the share of them with full strength, its trades."""
    entered = [row["strategy"] for row in trades]
    return [
        {"strategy": name, "signals": count, "saturated": result.saturated[name], "trades": entered.count(name)}
        for name, count in result.signal_counts.items()
    ]


def _regimes(result: BacktestResult) -> Mapping[str, int]:
    """Sessions by the regime of the scan before them."""
    return {name: result.regimes.count(name) for name in sorted(set(result.regimes))}


def _column(rows: Sequence[Row], key: str) -> Array:
    return np.array([math.nan if row[key] is None else row[key] for row in rows], dtype=np.float64)


# --- what stands out ----------------------------------------------------------------------------------------------


_UNTIL: Sequence[tuple[str, str, Unit]] = (
    ("total_return", "total return", "percent"), ("cagr", "CAGR", "percent"), ("sharpe", "Sharpe", "number"),
    ("exposure", "mean exposure", "percent"),
)  # fmt: skip
_MARGIN = 2.0  # of the equity: what a margin account may hold


def findings(content: Mapping[str, Any]) -> list[str]:
    """What a strategy team should look at, the gravest first: latches, exits that never left, borrowed money, silent
    strategies and rules, strengths that saturate.
    """
    said = []
    measured = content["metrics"]
    for latch in content["latched"]:
        rest = sum(day["date"] >= latch["since"] for day in content["equity"])
        last = max((row["entered_at"][:10] for row in content["trades"]), default=None)
        entries = f"the last entry is of {last}" if last else "nothing was entered"
        until, before = latch["until_then"], ""
        if until["sessions"]:
            numbers = ", ".join(f"{name} {shown(until[key], unit)}" for key, name, unit in _UNTIL)
            before = f" Until then: {numbers}; the figures of the whole period are diluted by the rest."
        said.append(f"The limit {latch['rule']} began to bite on {latch['since']}, {rest:,} of {content['sessions']:,} "
                    f"sessions before the end, and stays until a person resets it: {entries}.{before}")  # fmt: skip
    if measured["open_trades"] and not measured["closed_trades"]:
        said.append(f"Nothing was ever left: {measured['open_trades']:,} positions are open at the end.")
    if measured["exposure_most"] is not None and measured["exposure_most"] > _MARGIN:
        said.append(f"Positions were worth up to {measured['exposure_most']:.0%} of the equity: a broker would have "
                    "called for margin, and the backtest goes on.")  # fmt: skip
    for item in content["strategies"]:
        if not item["signals"]:
            said.append(f"The strategy {item['strategy']} never fired.")
        elif not item["trades"]:
            said.append(f"The strategy {item['strategy']} gave {item['signals']:,} signals and never a trade.")
        if item["saturated"] > SATURATES:
            said.append(f"The strength of {item['strategy']} saturates: {item['saturated']:.0%} of its signals have "
                        "the full 1.0, which ranks none before the other.")  # fmt: skip
    silent: dict[str, list[str]] = {}
    for item in content["rules"]:
        if not item["decided"]:
            how = "" if item["evaluated"] else " (never asked)"
            if item["matched"]:
                how = f" (matched {item['matched']:,} times, always beside one before it)"
            silent.setdefault(item["stage"], []).append(item["rule"] + how)
    for stage, names in silent.items():
        said.append(f"Never decided in {stage}: {', '.join(names)}.")
    return said

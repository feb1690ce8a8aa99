"""What is shown and exported of an account: rows that are JSON as they stand. Prices and money in USD."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autotrader.core import events as ev
from autotrader.core.book import Book, Trade
from autotrader.journal.codec import stamp
from autotrader.journal.store import Journal, JournalError

Row = dict[str, Any]


def position_rows(book: Book, prices: Mapping[str, float]) -> list[Row]:
    """The open positions by symbol. prices: last known ones; without one price, value and gain are null."""
    rows = []
    for symbol, held in sorted(book.positions.items()):
        price = prices.get(symbol, math.nan)
        known = not math.isnan(price)
        trade = book.open_trade(symbol)
        rows.append(
            _whose(trade)
            | {
                "quantity": held.quantity,
                "entered_at": stamp(held.entered_at),
                "entry_price": _plain(held.entry_price),
                "price": price if known else None,
                "value": _plain(held.sign * held.quantity * price) if known else None,
                "gain": _plain(held.gain(price)) if known else None,
                "best_price": held.best_price,
                "worst_price": held.worst_price,
                "mfe": _plain(trade.mfe),
                "mae": _plain(trade.mae),
                "costs": _plain(held.costs),
                "leaving": held.leaving[0] if held.leaving else None,
            }
            | _how_long(trade)
        )
    return rows


def trade_rows(book: Book) -> list[Row]:
    """Every trade: the closed ones in the order of their exits, then the open ones."""
    return [trade_row(trade) for trade in book.all_trades()]


def trade_row(trade: Trade) -> Row:
    """A trade as it is written as JSON, everywhere. Times: ISO 8601, New York."""
    return (
        _whose(trade)
        | {
            "quantity": trade.quantity,
            "entered_at": stamp(trade.entered_at),
            "entry_price": _plain(trade.entry_price),
            "exited_at": None if trade.exited_at is None else stamp(trade.exited_at),
            "exit_price": _plain(trade.exit_price),
            "exit_reason": trade.exit_reason,
            "exit_rule": trade.exit_rule,
            "pnl": _plain(trade.pnl),
            "mfe": _plain(trade.mfe),
            "mae": _plain(trade.mae),
            "costs": _plain(trade.costs),
        }
        | _how_long(trade)
    )


def _plain(value: float | None) -> float | None:
    """Without what binary arithmetic leaves behind: 46.94, not 46.93999999999999."""
    return None if value is None else round(value, 8)


def _whose(trade: Trade) -> Row:
    return {"symbol": trade.symbol, "strategy": trade.strategy, "direction": trade.direction}


def _how_long(trade: Trade) -> Row:
    return {
        "regime": trade.plan.regime,
        "entry_group": trade.plan.group,
        "bars_held": trade.bars_held,
        "sessions_held": trade.sessions_held,
        "config_hash": trade.plan.config_hash,
    }


@dataclass(frozen=True, slots=True)
class Export:
    """Lines of JSON. trades: one for each execution; equity: one for each close."""

    trades: list[str]
    equity: list[str]


def export_jsonl(journal: Journal) -> Export:
    """The account's history for other programs.

    pnl of an exit: what the position has gained net of costs since its last exit line, so that the lines of a trade
    add up to its pnl. equity_after: cash and positions at their last known prices, which are those of executions.
    """
    if journal.initial_cash is None:
        raise JournalError(f"{journal.path} was made without an initial cash: there is nothing to start a book from")
    book = Book(journal.initial_cash)
    prices: dict[str, float] = {}
    told: dict[str, float] = {}  # symbol -> the pnl of its position that earlier lines have
    export = Export([], [])
    for event in journal.events():
        ordered = book.orders[event.order_id].ordered if isinstance(event, ev.Filled) else None
        book.apply(event)
        if isinstance(event, ev.Filled) and ordered is not None:
            prices[ordered.symbol] = event.price
            export.trades.append(_line(_execution(book, ordered, event, prices, told)))
        elif isinstance(event, ev.Split) and event.symbol in prices:
            prices[event.symbol] *= event.old / event.new
        elif isinstance(event, ev.SessionClosed):
            close = {"date": event.session.isoformat(), "equity": event.equity, "drawdown": book.drawdown(event.equity)}
            export.equity.append(_line(close))
    return export


def _execution(
    book: Book, ordered: ev.Ordered, event: ev.Filled, prices: Mapping[str, float], told: dict[str, float]
) -> Row:
    symbol, leaves = ordered.symbol, ordered.leg == "exit"
    held = book.positions.get(symbol)
    trade = book.trades[-1] if held is None else book.open_trade(symbol)
    pnl: float | None = None
    if leaves:
        total = trade.pnl if held is None else held.realized - held.costs
        assert total is not None  # closed trades have one
        pnl = total - told.pop(symbol, 0.0)
        if held is not None:
            told[symbol] = total
    return {
        "timestamp": stamp(event.at),
        "symbol": symbol,
        "strategy": ordered.strategy,
        "direction": ordered.direction,
        "side": "buy" if (ordered.direction == "long") is not leaves else "sell",
        "quantity": event.quantity,
        "price": event.price,
        "pnl": _plain(pnl),
        "regime": trade.plan.regime,
        "equity_after": _plain(book.equity(prices)),
        "exit_reason": ordered.reason,
        "mfe": _plain(trade.mfe),
        "mae": _plain(trade.mae),
        "bars_held": trade.bars_held,
    }


def _line(row: Row) -> str:
    return json.dumps(row, separators=(",", ":"), allow_nan=False)

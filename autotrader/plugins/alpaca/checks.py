"""What the doctor wants to know of an account at Alpaca and of its market data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal

from autotrader.clock import NEW_YORK, Calendar
from autotrader.market.checks import Check
from autotrader.plugins.alpaca import wire
from autotrader.plugins.alpaca.answers import Answered, Unanswered
from autotrader.plugins.alpaca.connection import Connection
from autotrader.plugins.alpaca.stream import Stream

MARGIN_FLOOR = Decimal(2000)  # USD of equity; below it Alpaca lends neither money nor shares
STREAM_SECONDS = 8.0
_BLOCKS = {
    "trading_blocked": "Alpaca does not let this account trade",
    "account_blocked": "Alpaca has blocked this account",
    "trade_suspended_by_user": "you have suspended trading",
}


def permissions(connection: Connection) -> Iterator[Check]:
    """What the account may do. Flags that are gone from the payload block nothing."""
    try:
        account = wire.row(connection.get(connection.trading, "/account"))
        options = wire.row(connection.get(connection.trading, "/account/configurations"))
    except (Answered, Unanswered, wire.Unreadable) as error:
        yield Check("permissions", "fail", str(error), "check that Alpaca can be reached and accepts the keys")
        return
    status = str(account.get("status", "unknown"))
    blocks = [text for name, text in _BLOCKS.items() if account.get(name) is True]
    if options.get("suspend_trade") is True:
        blocks.append("trading is suspended in the account's configuration")
    if status != "ACTIVE":
        blocks.append(f"the account's status is {status}")
    if blocks:
        yield Check("permissions", "fail", "; ".join(blocks), "see the account's page at alpaca.markets")
    else:
        yield Check("permissions", "ok", "the account may trade")
    short = account.get("shorting_enabled") is not False and options.get("no_shorting") is not True
    equity = wire.money(account, "equity", "portfolio_value")
    if short and equity >= MARGIN_FLOOR:
        yield Check("shorting", "ok", f"allowed, with {equity:,.2f} USD of equity")
    else:
        why = f"equity of {equity:,.2f} USD is below {MARGIN_FLOOR:,}" if short else "not allowed for this account"
        yield Check("shorting", "warn", why, "directions: [long] in each strategy keeps short signals away")


def limits(connection: Connection) -> Iterator[Check]:
    """Where data come from and how much there is of them."""
    settings = connection.settings
    requests = settings.requests_per_minute
    found = f"{settings.data_feed} for quotes and minute bars, {settings.history_feed} for daily bars; "
    found += f"{settings.stream_symbols} symbols streamed, {requests} requests a minute"
    if settings.data_feed == "iex" and settings.stream_symbols > 30:
        advice = "without a subscription Alpaca streams 30 symbols: set alpaca.stream_symbols to 30"
        yield Check("feed", "warn", found, advice)
    elif requests > 200:
        yield Check("feed", "warn", found, "Alpaca allows an account 200 requests a minute")
    else:
        yield Check("feed", "ok", found)


def opens(stream: Stream, name: str) -> Check:
    """Whether a stream opens. An account has one connection to each: not while the service runs."""
    live = stream.start()
    until = time.monotonic() + STREAM_SECONDS  # the thread that opens it knows no other clock
    while not (live or stream.trouble) and time.monotonic() < until:
        time.sleep(0.02)
        live = stream.live
    trouble = stream.trouble
    stream.close()
    if live:
        return Check(name, "ok", "opens, and takes the keys")
    if "connection limit" in trouble:
        return Check(name, "warn", trouble, "another process has it: the service, perhaps")
    return Check(name, "fail", trouble or "does not open", "check the keys, the subscription and the firewall")


def in_session(connection: Connection) -> bool:
    """Whether the exchange is open now."""
    now, calendar = connection.clock.now(), Calendar()
    day = now.astimezone(NEW_YORK).date()
    return calendar.is_session(day) and calendar.opens_at(day) <= now < calendar.closes_at(day)

"""The feed of Alpaca: split-adjusted bars a full page at a time, prices with their age, minute bars as they end."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Self

from autotrader.clock import NEW_YORK, Calendar
from autotrader.market.checks import Check
from autotrader.market.feed import FeedError, FeedOptions, ShareSplit, StreamedBar, window
from autotrader.plugins.alpaca import checks, wire
from autotrader.plugins.alpaca.answers import Answered, Unanswered
from autotrader.plugins.alpaca.connection import NIGHTLY, SOON, Connection, Patience
from autotrader.plugins.alpaca.endpoints import AlpacaError
from autotrader.plugins.alpaca.minutes import MinuteBars
from autotrader.secrets import SecretsError

if TYPE_CHECKING:
    from autotrader.core.gap_filter import Quote
    from autotrader.core.panel import Panel

log = logging.getLogger("autotrader.alpaca")


FIRST_SESSION = date(2016, 1, 4)  # Alpaca's history begins here
_ROWS_A_PAGE = 10_000
_SYMBOLS_A_REQUEST = 1_000  # of an address that servers still take; each symbol is at most 8 characters with its comma
_LATE_SECONDS = 120.0  # of the price of what trades all the time, in a session
_ACTIONS_A_PAGE = 1_000
_SPLITS = ("forward_splits", "reverse_splits")
_INVALID = re.compile(r"invalid symbols?:?\s*\(?([A-Za-z0-9./-]+)")


class AlpacaFeed:
    """Market data of Alpaca. The minute bars come in a thread of their own, from the first `watch` on."""

    name = "alpaca"

    def __init__(self, connection: Connection, calendar: Calendar, notify: Any = None) -> None:
        self.connection = connection
        self._clock = connection.clock
        self._calendar = calendar
        self._notify = notify
        self._bars: MinuteBars | None = None
        self._closed = False

    @classmethod
    def open(cls, options: FeedOptions) -> Self:
        if options.system is None or options.secrets is None:
            raise FeedError("the feed alpaca needs a configuration and keys")
        try:
            keys = options.secrets.credentials()
            connection = Connection(options.system.alpaca, keys, options.clock, options.wait)
        except (AlpacaError, SecretsError) as error:
            raise FeedError(str(error)) from error
        return cls(connection, options.calendar, options.notify)

    # --- days -----------------------------------------------------------------------------------------------------

    def last_session(self) -> date:
        """The last session that has closed: a day's bar is one when the day is over."""
        return self._calendar.last_completed(self._clock.now())

    def daily_bars(self, symbols: Sequence[str], last: date, sessions: int | None) -> Panel:
        import numpy as np

        from autotrader.core.panel import FIELDS, Panel

        days = window(self._calendar, FIRST_SESSION, last, sessions)
        columns = {day.isoformat(): number for number, day in enumerate(days)}
        fields = [np.full((len(symbols), len(days)), np.nan) for _ in FIELDS]
        panel = Panel(tuple(symbols), np.array(days, "datetime64[D]"), *fields)
        until = min(days[-1], self.last_session())
        if until < days[0]:
            return panel
        rows = {symbol: number for number, symbol in enumerate(symbols)}
        params = {
            "timeframe": "1Day",
            "start": _midnight(days[0]).isoformat(),
            # a day's bar begins at midnight, so this is its last; later would be "recent", which costs a subscription
            "end": _midnight(until).isoformat(),
            "feed": self.connection.settings.history_feed,
        }
        for symbol, found in self._pages(symbols, params, NIGHTLY):
            places, values = [], []
            for bar in found:
                day = str(bar.get("t"))[:10]  # midnight in New York is the same day in UTC
                if day not in columns and days[0].isoformat() <= day <= days[-1].isoformat():
                    raise FeedError(f"Alpaca has a bar of {symbol} on {day}, which is no session of the exchange")
                if day in columns and (prices := _numbers(bar)) is not None:
                    places.append(columns[day])
                    values.append(prices)
            if places:
                for field, column in zip(fields, np.array(values).T, strict=True):
                    field[rows[symbol], places] = column
        return panel

    # --- the running session ----------------------------------------------------------------------------------------

    def quotes(self, symbols: Sequence[str]) -> Mapping[str, Quote]:
        """By one request: of the last trade and the middle of the quote, whichever is newer, with its age.

        A side whose price is 0 is not there, and a quote with one side, or with its sides crossed, has no middle.
        Daily bars are not looked at: before the open they may be yesterday's.
        """
        found: dict[str, Quote] = {}
        for some in _chunks(symbols):
            params = {"symbols": ",".join(some), "feed": self.connection.settings.data_feed}
            body = self._row("/stocks/snapshots", params)
            now = self._clock.now()
            for symbol, snapshot in body.items():
                if isinstance(snapshot, dict) and (quote := _quote(snapshot, now)) is not None:
                    found[symbol] = quote
        return found

    def splits(self, symbols: Sequence[str], session: date) -> Sequence[ShareSplit]:
        found: dict[str, ShareSplit] = {}
        for some in _chunks(symbols):
            params = {
                "symbols": ",".join(some),
                "types": "forward_split,reverse_split",
                "start": session.isoformat(),
                "end": session.isoformat(),
                "limit": _ACTIONS_A_PAGE,
            }
            for body in self._bodies("/corporate-actions", params, SOON, api_version="v1"):
                with _readable():
                    actions = wire.part(body, "corporate_actions")
                    rows = [row for kind in _SPLITS for row in wire.rows(actions.get(kind) or [])]
                for row in rows:
                    if row.get("ex_date") == session.isoformat():
                        split = _split(row, session)
                        found[split.symbol] = split
        wanted = set(symbols)
        return [split for symbol, split in sorted(found.items()) if symbol in wanted]

    def minute_bars(self, symbols: Sequence[str], start: datetime, end: datetime) -> Sequence[StreamedBar]:
        last = end - timedelta(microseconds=1)  # the server's end is included
        if last < start or not symbols:
            return []
        params = {
            "timeframe": "1Min",
            "start": start.isoformat(),
            "end": last.isoformat(),
            "feed": self.connection.settings.data_feed,
        }
        found = []
        for symbol, bars in self._pages(symbols, params, SOON):
            for bar in bars:
                with _readable():
                    at = wire.moment(bar, "t")
                if start <= at < end and (prices := _numbers(bar)) is not None:
                    found.append(StreamedBar(symbol, at, *prices))
        return sorted(found, key=lambda bar: (bar.start, bar.symbol))

    # --- the stream -------------------------------------------------------------------------------------------------

    def watch(self, symbols: Collection[str]) -> None:
        if self._closed:
            return
        if self._bars is None:
            if not symbols:
                return
            self._bars = self._stream()
            self._bars.watch(symbols)
            self._bars.start()
        else:
            self._bars.watch(symbols)

    def streamed(self) -> Sequence[StreamedBar]:
        return [] if self._bars is None else self._bars.drain()

    def last_heard(self) -> datetime | None:
        """When the last bar came."""
        return None if self._bars is None else self._bars.last_heard

    @property
    def breaks(self) -> int:
        """How often bars may have been missed."""
        return 0 if self._bars is None else self._bars.breaks

    @property
    def stream(self) -> MinuteBars | None:
        """The bars' stream: for whoever compares what has arrived with what was sent."""
        return self._bars

    def close(self) -> None:
        self._closed = True
        if self._bars is not None:
            self._bars.close()

    def checks(self, symbol: str, *, streams: bool) -> Iterator[Check]:
        """For the doctor."""
        yield from checks.limits(self.connection)
        if streams and self._bars is None:
            stream = self._stream()
            stream.watch([symbol])
            yield checks.opens(stream, "data stream")
        try:
            quote = self.quotes([symbol]).get(symbol)
        except FeedError as error:
            yield Check("prices", "fail", str(error), "check alpaca.data_feed against the account's subscription")
            return
        if quote is None:
            yield Check("prices", "fail", f"there is no price of {symbol}", "the gap filter would see none either")
            return
        spread = "" if math.isnan(quote.spread_pct) else f", spread {quote.spread_pct:.2%}"
        found = f"{symbol} at {quote.price:,.2f}, {quote.age_seconds:,.0f} s old{spread}"
        late = checks.in_session(self.connection) and quote.age_seconds > _LATE_SECONDS
        advice = "in a session a price should be seconds old" if late else ""
        yield Check("prices", "warn" if late else "ok", found, advice)

    def _stream(self) -> MinuteBars:
        settings = self.connection.settings
        return MinuteBars(
            self.connection.endpoints.bars,
            self.connection.credentials,
            self._clock,
            self._calendar,
            self._notify,
            settings.stream_symbols,
            settings.silence_seconds,
        )

    # --- asking -----------------------------------------------------------------------------------------------------

    def _pages(
        self, symbols: Sequence[str], params: Mapping[str, Any], patience: Patience
    ) -> Iterator[tuple[str, list[wire.Row]]]:
        """Bars by symbol, split-adjusted; a symbol whose bars lie on two pages comes twice."""
        for some in _chunks(symbols):
            more = {**params, "adjustment": "split", "limit": _ROWS_A_PAGE}
            asked = set(some)
            for body in self._bodies("/stocks/bars", {**more, "symbols": ",".join(some)}, patience):
                with _readable():
                    found = {name: wire.rows(bars) for name, bars in wire.part(body, "bars").items() if bars}
                for symbol in asked & found.keys():
                    yield symbol, found[symbol]

    def _bodies(self, path: str, params: Mapping[str, Any], patience: Patience, **more: Any) -> Iterator[wire.Row]:
        """Page after page, until there is no token, or one that was there before."""
        asked, seen = dict(params), set()
        while True:
            body = self._row(path, asked, patience, **more)
            yield body
            token = body.get("next_page_token")
            if not token:
                return
            if not isinstance(token, str):
                raise FeedError(f"Alpaca gives a page of {path} a token that cannot be read")
            if token in seen:
                raise FeedError(f"Alpaca gives the same page of {path} again and again")
            seen.add(token)
            asked["page_token"] = token

    def _row(self, path: str, params: Mapping[str, Any], patience: Patience = SOON, **more: Any) -> wire.Row:
        """An object; asked for again without a symbol that the server does not take for one, which would cost all."""
        asked = dict(params)
        while True:
            try:
                with _readable():
                    return wire.row(self._get(path, asked, patience, **more))
            except Answered as answer:
                named = _INVALID.search(answer.message)
                left = [symbol for symbol in asked["symbols"].split(",") if not named or symbol != named[1]]
                if not named or not left or len(left) == len(asked["symbols"].split(",")):
                    raise FeedError(f"Alpaca: {answer}{_hint(answer)}") from answer
                log.warning("Alpaca does not know the symbol %s: it has no data", named[1])
                asked["symbols"] = ",".join(left)

    def _get(self, path: str, params: Mapping[str, Any], patience: Patience, **more: Any) -> Any:
        return self.connection.get(self.connection.data, path, params, patience, **more)


@contextmanager
def _readable() -> Iterator[None]:
    """FeedError where there is no answer, or one that lacks what is needed."""
    try:
        yield
    except (Unanswered, wire.Unreadable) as error:
        raise FeedError(f"Alpaca: {error}") from error


def _chunks(symbols: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(symbols), _SYMBOLS_A_REQUEST):
        yield symbols[start : start + _SYMBOLS_A_REQUEST]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), NEW_YORK)


def _numbers(bar: wire.Row) -> tuple[float, float, float, float, float] | None:
    """open, high, low, close, volume; None where one is missing or no number: a bar is whole or absent."""
    try:
        found = float(bar["o"]), float(bar["h"]), float(bar["l"]), float(bar["c"]), float(bar["v"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return found if all(map(math.isfinite, found)) else None


def _quote(snapshot: Mapping[str, Any], now: datetime) -> Quote | None:
    from autotrader.core.gap_filter import Quote

    known: list[tuple[datetime, float]] = []
    spread = math.nan
    if (trade := _stamped(snapshot.get("latestTrade"), "p")) is not None:
        known.append((trade[0], trade[1]))
    if (sides := _stamped(snapshot.get("latestQuote"), "bp", "ap")) is not None:
        at, bid, ask = sides
        if bid <= ask:
            middle = (bid + ask) / 2
            spread = (ask - bid) / middle
            known.append((at, middle))
    if not known:
        return None
    at, price = max(known)
    return Quote(price, max(0.0, (now - at).total_seconds()), spread)


def _stamped(source: Any, *names: str) -> tuple[Any, ...] | None:
    """The time and these prices; None unless all are there and positive."""
    if not isinstance(source, dict):
        return None
    try:
        at = wire.moment(source, "t")
        prices = [float(source[name]) for name in names]
    except (wire.Unreadable, KeyError, TypeError, ValueError, OverflowError):
        return None
    return (at, *prices) if all(price > 0 and math.isfinite(price) for price in prices) else None


def _split(row: Mapping[str, Any], session: date) -> ShareSplit:
    try:
        ratio = Fraction(Decimal(str(row["new_rate"]))) / Fraction(Decimal(str(row["old_rate"])))
        return ShareSplit(str(row["symbol"]), session, ratio.numerator, ratio.denominator)
    except (KeyError, ValueError, ArithmeticError) as error:
        raise FeedError(f"Alpaca has a split without its rates: {dict(row)}") from error


def _hint(answer: Answered) -> str:
    if "subscription" in answer.message:
        return "; set alpaca.data_feed to iex, or subscribe"
    return "; check the keys" if answer.status in {401, 403} else ""

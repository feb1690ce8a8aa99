"""Market data on the wire: bars with pages, the latest of everything, corporate actions. Nothing newer than now."""

from __future__ import annotations

import base64
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal

from autotrader.clock import NEW_YORK
from autotrader.market.playback import DailyBar, MinuteBar
from autotrader.simulator.faults import Faults
from autotrader.simulator.history import rescaled
from autotrader.simulator.wire import ApiError, Json, parse_time, stamp, uuid_of
from autotrader.simulator.world import MinuteEnded, Price, World

Plan = Literal["basic", "plus"]

DELAY = timedelta(minutes=15)  # of what a basic plan sees of the consolidated tape
ADJUSTMENTS = frozenset({"raw", "split", "dividend", "spin-off", "all"})
SPLITTING = frozenset({"split", "all"})
TIMEFRAMES = {"1Day": "1Day", "1D": "1Day", "Day": "1Day", "1Min": "1Min", "1T": "1Min", "Min": "1Min"}
FEEDS = ("sip", "iex")
LATEST = ("bars", "quotes", "trades")


@dataclass(frozen=True, slots=True)
class BarsQuery:
    """What GET /v2/stocks/bars asks for. resume: symbol and time of the last row of the page before."""

    symbols: Sequence[str]
    timeframe: str
    start: datetime
    end: datetime
    limit: int
    splits: bool
    newest_first: bool
    resume: tuple[str, str] | None

    @classmethod
    def parse(cls, query: Mapping[str, str], now: datetime, plan: Plan) -> BarsQuery:
        """ApiError where it cannot be read or is not permitted."""
        timeframe = TIMEFRAMES.get(query.get("timeframe", ""))
        if timeframe is None:
            raise ApiError(400, f"invalid timeframe: {query.get('timeframe', '')}")
        refuse_unknown(query, "feed", FEEDS)
        refuse_unknown(query, "sort", ("asc", "desc"))
        wanted = set(query.get("adjustment", "raw").split(","))
        if not wanted <= ADJUSTMENTS:
            raise ApiError(400, f"invalid adjustment: {query['adjustment']}")
        try:
            start = parse_time(query["start"]) if "start" in query else _midnight(now.astimezone(NEW_YORK).date())
            end = parse_time(query["end"]) if "end" in query else None
            limit = int(query.get("limit", "1000"))
        except ValueError as error:
            raise ApiError(400, f"invalid query: {error}") from error
        if not 1 <= limit <= 10_000:
            raise ApiError(400, "invalid limit: must be between 1 and 10000")
        if end is not None and "T" not in query["end"]:
            end += timedelta(days=1) - timedelta(microseconds=1)  # a date: all of that day
        if end is not None and end < start:
            raise ApiError(400, "end should not be before start")
        if plan == "basic" and query.get("feed") == "sip":
            if end is not None and end > now - DELAY:
                refuse_recent()
            end = end or now - DELAY
        return cls(
            symbols_of(query), timeframe, start, min(end or now, now), limit, bool(wanted & SPLITTING),
            query.get("sort", "asc") == "desc", _resume(query.get("page_token")),
        )  # fmt: skip


class MarketData:
    """What the data API answers. plan: what the account may see. spread: between bid and ask, as a ratio."""

    def __init__(self, world: World, faults: Faults, plan: Plan = "basic", spread: float = 0.0) -> None:
        self.plan = plan
        self.spread = spread
        self._world = world
        self._faults = faults

    # --- bars ---------------------------------------------------------------------------------------------------------

    def bars(self, query: Mapping[str, str]) -> Json:
        """Sorted by symbol and time; the limit counts the rows of all symbols."""
        wanted = BarsQuery.parse(query, self._world.now, self.plan)
        found: dict[str, list[Json]] = {}
        count = 0
        for symbol in sorted(set(wanted.symbols)):
            if wanted.resume is not None and symbol < wanted.resume[0]:
                continue
            for bar in self._rows(symbol, wanted):
                if wanted.resume is not None and symbol == wanted.resume[0] and not _after(bar, wanted):
                    continue
                if count == wanted.limit:
                    last = list(found)[-1]
                    return {"bars": found, "next_page_token": _token(last, wanted.timeframe, found[last][-1]["t"])}
                found.setdefault(symbol, []).append(bar)
                count += 1
        return {"bars": found, "next_page_token": None}

    def _rows(self, symbol: str, wanted: BarsQuery) -> Iterator[Json]:
        if not self._world.history.knows(symbol):
            return iter(())
        rows = self._days(symbol, wanted) if wanted.timeframe == "1Day" else self._minutes(symbol, wanted)
        return reversed(list(rows)) if wanted.newest_first else rows

    def _days(self, symbol: str, wanted: BarsQuery) -> Iterator[Json]:
        world = self._world
        today = world.now.astimezone(NEW_YORK).date()
        done = world.calendar.last_completed(world.now)
        first, last = wanted.start.astimezone(NEW_YORK).date(), wanted.end.astimezone(NEW_YORK).date()
        if wanted.start > _midnight(first):
            first += timedelta(days=1)
        splits = self._splits(symbol, wanted)
        for day, bar in world.history.between(symbol, first, min(last, done)):
            yield bar_json(_day_stamp(day), self._adjusted(symbol, day, bar) if splits else bar)
        if max(first, done + timedelta(days=1)) <= today <= last and (running := self._running(symbol)) is not None:
            yield bar_json(_day_stamp(today), running)

    def _minutes(self, symbol: str, wanted: BarsQuery) -> Iterator[Json]:
        calendar = self._world.calendar
        first, last = wanted.start.astimezone(NEW_YORK).date(), wanted.end.astimezone(NEW_YORK).date()
        splits = self._splits(symbol, wanted)
        for session in calendar.sessions(first, last):
            for start, bar in self._world.minutes(session, symbol):
                if wanted.start <= start <= wanted.end:
                    yield bar_json(stamp(start), self._adjusted(symbol, session, bar) if splits else bar)

    def _splits(self, symbol: str, wanted: BarsQuery) -> bool:
        """Whether the symbol's bars may have to be adjusted."""
        return wanted.splits and bool(self._world.history.splits([symbol], date.min, date.max))

    def _adjusted(self, symbol: str, session: date, bar: DailyBar | MinuteBar) -> DailyBar | MinuteBar:
        """In the shares of today."""
        ratio = self._world.history.ratio(symbol, session, self._world.now.astimezone(NEW_YORK).date())
        return bar if ratio == 1 else rescaled(bar, ratio)

    def _running(self, symbol: str) -> DailyBar | None:
        """Today's bar so far."""
        session = self._world.session
        rows = [] if session is None else [bar for _, bar in self._world.minutes(session, symbol)]
        if not rows:
            return None
        high, low = max(bar.high for bar in rows), min(bar.low for bar in rows)
        return DailyBar(rows[0].open, high, low, rows[-1].close, sum(bar.volume for bar in rows))

    # --- the latest ---------------------------------------------------------------------------------------------------

    def latest(self, what: str, query: Mapping[str, str]) -> Json:
        """GET /v2/stocks/{bars,quotes,trades}/latest."""
        self._refuse_feed(query)
        make = {"bars": self._latest_bar, "quotes": self._latest_quote, "trades": self._latest_trade}[what]
        found = {symbol: item for symbol in self._symbols(query) if (item := make(symbol)) is not None}
        return {what: found}

    def snapshots(self, query: Mapping[str, str]) -> Json:
        self._refuse_feed(query)
        return {symbol: self._snapshot(symbol) for symbol in self._symbols(query) if self._world.price(symbol)}

    def _snapshot(self, symbol: str) -> Json:
        world = self._world
        done = world.calendar.last_completed(world.now)
        days = [(day, bar) for day, bar in world.history.between(symbol, done - timedelta(days=14), done)]
        running = self._running(symbol) if world.now.astimezone(NEW_YORK).date() > done else None
        if running is not None and world.session is not None:
            days.append((world.session, running))
        members = {
            "latestTrade": self._latest_trade(symbol),
            "latestQuote": self._latest_quote(symbol),
            "minuteBar": self._latest_bar(symbol),
            "dailyBar": bar_json(_day_stamp(days[-1][0]), days[-1][1]) if days else None,
            "prevDailyBar": bar_json(_day_stamp(days[-2][0]), days[-2][1]) if len(days) > 1 else None,
        }
        return {name: member for name, member in members.items() if member is not None}

    def _latest_bar(self, symbol: str) -> Json | None:
        world = self._world
        day = world.now.astimezone(NEW_YORK).date()
        for session in (day, world.calendar.last_completed(world.now)):
            if world.calendar.is_session(session) and (last := world.last_minute(session, symbol)) is not None:
                return bar_json(stamp(last[0]), last[1])
        return None

    def _latest_quote(self, symbol: str) -> Json | None:
        price = self._world.price(symbol)
        return None if price is None else self._quote(symbol, self._aged(symbol, price))

    def _latest_trade(self, symbol: str) -> Json | None:
        price = self._world.price(symbol)
        return None if price is None else _trade(self._aged(symbol, price))

    def _quote(self, symbol: str, price: Price) -> Json:
        half = price.price * self.spread / 2
        digits = 2 if price.price >= 1 else 4
        ask = 0 if self._faults.state("zero_ask", symbol) else round(price.price + half, digits)
        return {
            "t": stamp(price.at), "ax": "V", "ap": ask, "as": 0 if not ask else 200,
            "bx": "V", "bp": round(price.price - half, digits), "bs": 200, "c": ["R"], "z": "A",
        }  # fmt: skip

    def _aged(self, symbol: str, price: Price) -> Price:
        stale = self._faults.state("stale_quote", symbol)
        return price if stale is None else Price(price.price, price.at - timedelta(seconds=stale.seconds))

    # --- what streams -------------------------------------------------------------------------------------------------

    def last_trades(self, ended: MinuteEnded, symbols: Container[str]) -> list[Json]:
        """The stream's last trade of a minute in each of these symbols: at the close of its bar."""
        return [{"T": "t", "S": symbol, **_trade(price)} for symbol, price in self._closes(ended, symbols)]

    def last_quotes(self, ended: MinuteEnded, symbols: Container[str]) -> list[Json]:
        """The same of quotes, around that trade."""
        return [{"T": "q", "S": symbol, **self._quote(symbol, price)} for symbol, price in self._closes(ended, symbols)]

    def _closes(self, ended: MinuteEnded, symbols: Container[str]) -> Iterator[tuple[str, Price]]:
        for symbol, bar in ended.bars:
            if symbol in symbols or "*" in symbols:
                yield symbol, self._aged(symbol, Price(bar.close, ended.at))

    def daily_messages(self, session: date) -> list[Json]:
        """The stream's daily bars of a session that has closed, of the symbols whose minutes were followed."""
        found = []
        for symbol in sorted(self._world.followed()):
            bar = self._world.history.daily(symbol, session)
            if bar is not None:
                found.append({"T": "d", "S": symbol, **bar_json(_day_stamp(session), bar)})
        return found

    def _symbols(self, query: Mapping[str, str]) -> list[str]:
        known = [symbol for symbol in symbols_of(query) if self._world.history.knows(symbol)]
        if (session := self._world.session) is not None:
            self._world.history.prepare(session, known)
        return known

    def _refuse_feed(self, query: Mapping[str, str]) -> None:
        refuse_unknown(query, "feed", FEEDS)
        if self.plan == "basic" and query.get("feed") == "sip":
            refuse_recent()

    # --- corporate actions --------------------------------------------------------------------------------------------

    def corporate_actions(self, query: Mapping[str, str]) -> Json:
        """The splits, those that are announced included."""
        try:
            today = self._world.now.astimezone(NEW_YORK).date()
            first = date.fromisoformat(query["start"]) if "start" in query else today
            last = date.fromisoformat(query["end"]) if "end" in query else max(first, today)
        except ValueError as error:
            raise ApiError(400, f"invalid query: {error}") from error
        history = self._world.history
        types = set(filter(None, query.get("types", "").split(",")))
        asked = [symbol for symbol in query.get("symbols", "").split(",") if symbol]
        found: dict[str, list[Json]] = {}
        for split in history.splits(asked or history.symbols, first, last):
            kind = "forward_split" if split.new > split.old else "reverse_split"
            if types and kind not in types:
                continue
            row = {
                "id": uuid_of("split", split.symbol, split.session), "symbol": split.symbol, "cusip": "000000000",
                "new_rate": split.new, "old_rate": split.old, "process_date": split.session.isoformat(),
                "ex_date": split.session.isoformat(),
            }  # fmt: skip
            if kind == "reverse_split":
                row = {**row, "old_cusip": "000000000", "new_cusip": "000000000"}
            found.setdefault(f"{kind}s", []).append(row)
        return {"corporate_actions": found, "next_page_token": None}


def bar_json(at: str, bar: DailyBar | MinuteBar) -> Json:
    """A bar in Alpaca's letters. n and vw are made up, since no source has them."""
    return {
        "t": at, "o": bar.open, "h": bar.high, "l": bar.low, "c": bar.close, "v": round(bar.volume),
        "n": max(1, int(bar.volume) // 100), "vw": round((bar.high + bar.low + bar.close) / 3, 6),
    }  # fmt: skip


def _trade(price: Price) -> Json:
    number = int(price.at.timestamp())
    return {"t": stamp(price.at), "x": "V", "p": price.price, "s": 100, "c": ["@"], "i": number, "z": "A"}


def symbols_of(query: Mapping[str, str]) -> list[str]:
    """ApiError where none is named."""
    found = [symbol for symbol in query.get("symbols", "").split(",") if symbol]
    if not found:
        raise ApiError(400, "symbols is required")
    return list(dict.fromkeys(found))


def refuse_unknown(query: Mapping[str, str], name: str, known: Container[str]) -> None:
    if name in query and query[name] not in known:
        raise ApiError(400, f"invalid {name}: {query[name]}")


def refuse_recent() -> None:
    raise ApiError(403, "subscription does not permit querying recent SIP data", 42210000)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), NEW_YORK)


@lru_cache(maxsize=10_000)
def _day_stamp(day: date) -> str:
    return stamp(_midnight(day))


def _after(bar: Json, wanted: BarsQuery) -> bool:
    assert wanted.resume is not None
    at, last = parse_time(bar["t"]), parse_time(wanted.resume[1])
    return at < last if wanted.newest_first else at > last


def _token(symbol: str, timeframe: str, at: str) -> str:
    letter = "D" if timeframe == "1Day" else "M"
    return base64.b64encode(f"{symbol}|{letter}|{at}".encode()).decode()


def _resume(token: str | None) -> tuple[str, str] | None:
    if not token:
        return None
    try:
        symbol, _, at = base64.b64decode(token, validate=True).decode().split("|")
        parse_time(at)
    except ValueError as error:
        raise ApiError(400, "invalid page_token") from error
    return symbol, at

"""The account on the wire: its money, positions, fills, assets, and the market's hours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal

from autotrader.clock import NEW_YORK, Calendar
from autotrader.market.broker import BrokerPosition
from autotrader.simulator.faults import Faults
from autotrader.simulator.orders import Fill, Orders
from autotrader.simulator.wire import ApiError, Json, flag, money, parse_time, stamp, uuid_of
from autotrader.simulator.world import World

Payload = Literal["new", "old"]

# What Alpaca removed on 2026-07-06, with the values of an account that trades on margin.
REMOVED = {
    "pattern_day_trader": False,
    "daytrade_count": 0,
    "last_daytrade_count": 0,
    "daytrading_buying_power": "0",
    "last_daytrading_buying_power": "0",
}
MAINTENANCE = Decimal("0.3")


@dataclass(frozen=True, slots=True)
class _Shown:
    """Positions as they were at a time."""

    at: datetime
    positions: tuple[BrokerPosition, ...]


class Account:
    """What the trading API tells beside orders.

    number: of the account. names: of the companies, by symbol. payload: the account's fields before or after
    2026-07-06.
    """

    def __init__(
        self,
        world: World,
        orders: Orders,
        faults: Faults,
        number: str,
        names: Mapping[str, str],
        payload: Payload = "new",
    ) -> None:
        self.payload = payload
        self._names = names
        self._world = world
        self._orders = orders
        self._faults = faults
        self._number = number
        self._created = world.now
        self._last_equity = world.exchange.account().equity
        self._shown: list[_Shown] = []

    def closed(self, equity: Decimal) -> None:
        """A session has closed."""
        self._last_equity = equity

    def positions_changed(self) -> None:
        """Remembers the positions, for a list that is to be stale."""
        self._shown.append(_Shown(self._world.now, tuple(self._world.exchange.positions())))

    # --- money --------------------------------------------------------------------------------------------------------

    def account(self) -> Json:
        world = self._world
        prices = self._prices()
        found = world.exchange.account(prices)
        worth = [
            position.quantity * _decimal(prices.get(position.symbol, float(position.average_price)))
            for position in world.exchange.positions()
        ]
        longs, shorts = sum((v for v in worth if v > 0), Decimal(0)), sum((v for v in worth if v < 0), Decimal(0))
        gross = longs - shorts
        power = found.buying_power
        limit = self._faults.holds("buying_power")
        if limit is not None:
            power = min(power, Decimal(str(limit.value or 0)))
        blocked = self._faults.holds("account_blocked") is not None
        return {
            "id": uuid_of("account", self._number),
            "account_number": self._number,
            "status": "ACTIVE",
            "crypto_status": "INACTIVE",
            "currency": "USD",
            "cash": money(found.cash, 2),
            "portfolio_value": money(found.equity, 2),
            "equity": money(found.equity, 2),
            "last_equity": money(self._last_equity, 2),
            "buying_power": money(power, 2),
            "regt_buying_power": money(power, 2),
            "non_marginable_buying_power": money(max(found.cash, Decimal(0)), 2),
            "effective_buying_power": money(power, 2),
            "options_buying_power": money(max(found.cash, Decimal(0)), 2),
            "options_approved_level": 0,
            "options_trading_level": 0,
            "long_market_value": money(longs, 2),
            "short_market_value": money(shorts, 2),
            "position_market_value": money(gross, 2),
            "initial_margin": money(gross / 2, 2),
            "maintenance_margin": money(gross * MAINTENANCE, 2),
            "last_maintenance_margin": money(gross * MAINTENANCE, 2),
            "sma": "0",
            "multiplier": "2",
            "shorting_enabled": True,
            "trading_blocked": blocked,
            "account_blocked": blocked,
            "transfers_blocked": False,
            "trade_suspended_by_user": False,
            "accrued_fees": "0",
            "pending_reg_taf_fees": "0",
            "intraday_adjustments": "0",
            "balance_asof": world.calendar.last_completed(world.now).isoformat(),
            "created_at": stamp(self._created),
            **(REMOVED if self.payload == "old" else {}),
        }

    def configurations(self) -> Json:
        return {
            "no_shorting": False,
            "suspend_trade": False,
            "fractional_trading": False,
            "max_margin_multiplier": "2",
            "trade_confirm_email": "none",
            "ptp_no_exception_entry": False,
            "disable_overnight_trading": True,
            **({"dtbp_check": "entry", "pdt_check": "entry"} if self.payload == "old" else {}),
        }

    def _prices(self) -> dict[str, float]:
        held = [position.symbol for position in self._world.exchange.positions()]
        return {symbol: price.price for symbol in held if (price := self._world.price(symbol)) is not None}

    # --- positions ----------------------------------------------------------------------------------------------------

    def positions(self) -> list[Json]:
        held = tuple(self._world.exchange.positions())
        stale = self._faults.holds("stale_positions")
        if stale is not None:
            until = self._world.now - timedelta(seconds=stale.seconds)
            before = [item.positions for item in self._shown if item.at <= until]
            shown = before[-1] if before else ()
            if shown != held:
                self._faults.state("stale_positions")
                held = shown
        return [self._position(position) for position in held]

    def position(self, name: str) -> Json:
        """By symbol or asset id."""
        return self._position(self._held(name))

    def close(self, name: str, query: Mapping[str, str]) -> Json:
        """A market order that ends the position or the part of it that qty or percentage name."""
        held = self._held(name)
        quantity = Decimal(abs(held.quantity))
        try:
            if "qty" in query:
                quantity = Decimal(query["qty"])
            elif "percentage" in query:
                quantity = quantity * Decimal(query["percentage"]) / 100
        except ArithmeticError as error:
            raise ApiError(422, "invalid qty or percentage", 40010001) from error
        side = "sell" if held.quantity > 0 else "buy"
        return self._orders.submit(
            {
                "symbol": held.symbol, "qty": str(quantity), "side": side, "type": "market", "time_in_force": "day",
                "position_intent": f"{side}_to_close",
            }
        )  # fmt: skip

    def close_all(self, query: Mapping[str, str]) -> list[Json]:
        if flag(query, "cancel_orders"):
            self._orders.cancel_all()
        results = []
        for position in self._world.exchange.positions():
            try:
                results.append({"symbol": position.symbol, "status": 200, "body": self.close(position.symbol, {})})
            except ApiError as refused:
                results.append({"symbol": position.symbol, "status": refused.status, "body": refused.body})
        return results

    def _held(self, name: str) -> BrokerPosition:
        for position in self._world.exchange.positions():
            if name in (position.symbol, uuid_of("asset", position.symbol)):
                return position
        raise ApiError(404, "position does not exist", 40410000)

    def _position(self, position: BrokerPosition) -> Json:
        symbol, quantity = position.symbol, position.quantity
        known = self._world.price(symbol)
        price = position.average_price if known is None else _decimal(known.price)
        before = self._world.last_close(symbol)
        last_day = price if before is None else _decimal(before.price)
        cost, value = quantity * position.average_price, quantity * price
        gain, today = value - cost, quantity * (price - last_day)
        sign = 1 if quantity > 0 else -1
        available = self._world.exchange.available(symbol)
        return {
            "asset_id": uuid_of("asset", symbol),
            "symbol": symbol,
            "exchange": _exchange(symbol),
            "asset_class": "us_equity",
            "asset_marginable": True,
            "avg_entry_price": money(position.average_price),
            "qty": str(quantity),
            "qty_available": str(sign * available),
            "side": "long" if quantity > 0 else "short",
            "market_value": money(value),
            "cost_basis": money(cost),
            "unrealized_pl": money(gain),
            "unrealized_plpc": money(gain / abs(cost) if cost else 0),
            "unrealized_intraday_pl": money(today),
            "unrealized_intraday_plpc": money(today / abs(quantity * last_day) if last_day else 0),
            "current_price": money(price),
            "lastday_price": money(last_day),
            "change_today": money(price / last_day - 1 if last_day else 0),
        }

    # --- fills --------------------------------------------------------------------------------------------------------

    def activities(self, query: Mapping[str, str]) -> list[Json]:
        """GET /v2/account/activities/FILL."""
        try:
            after, until = (parse_time(query[name]) if name in query else None for name in ("after", "until"))
            day = date.fromisoformat(query["date"]) if "date" in query else None
            size = int(query.get("page_size", "100"))
        except ValueError as error:
            raise ApiError(422, f"invalid query: {error}", 40010001) from error
        if not 1 <= size <= 100:
            raise ApiError(422, "page_size must be between 1 and 100", 40010001)
        rows = [
            fill
            for fill in self._orders.fills
            if (after is None or fill.execution.at > after)
            and (until is None or fill.execution.at < until)
            and (day is None or fill.execution.at.astimezone(NEW_YORK).date() == day)
        ]
        if query.get("direction", "desc") != "asc":
            rows.reverse()
        token = query.get("page_token")
        if token:
            ids = [fill.id for fill in rows]
            if token not in ids:
                raise ApiError(422, "invalid page_token", 40010001)
            rows = rows[ids.index(token) + 1 :]
        return [_activity(fill) for fill in rows[:size]]

    # --- assets -------------------------------------------------------------------------------------------------------

    def assets(self, query: Mapping[str, str]) -> list[Json]:
        """GET /v2/assets: all there are, those that fit."""
        found = map(self._asset, self._world.history.symbols)
        asked = {name: query[name] for name in ("status", "exchange") if name in query}
        if "asset_class" in query:
            asked["class"] = query["asset_class"]
        return [asset for asset in found if all(asset[name] == value for name, value in asked.items())]

    def asset(self, name: str) -> Json:
        """By symbol or asset id."""
        for symbol in self._world.history.symbols:
            if name in (symbol, uuid_of("asset", symbol)):
                return self._asset(symbol)
        raise ApiError(404, f"asset not found for {name}", 40410000)

    def _asset(self, symbol: str) -> Json:
        lent = self._world.exchange.shortable(symbol) and self._faults.holds("hard_to_borrow", symbol) is None
        return {
            "id": uuid_of("asset", symbol),
            "class": "us_equity",
            "exchange": _exchange(symbol),
            "symbol": symbol,
            "name": self._names.get(symbol, symbol),
            "status": "active",
            "tradable": True,
            "marginable": True,
            "shortable": lent,
            "easy_to_borrow": lent,
            "borrow_status": "easy_to_borrow" if lent else "hard_to_borrow",
            "fractionable": False,
            "margin_requirement_long": "30",
            "margin_requirement_short": "100",
            "maintenance_margin_requirement": 30,
            "attributes": [],
        }


def clock(world: World, faults: Faults) -> Json:
    """GET /v2/clock, in New York's offsets."""
    now, calendar = world.now, world.calendar
    skew = faults.state("clock_skew")
    shown = now + timedelta(seconds=skew.seconds if skew else 0.0)
    day = now.astimezone(NEW_YORK).date()
    today = calendar.is_session(day)
    following = calendar.next_session(day)
    opens = calendar.opens_at(day if today and now < calendar.opens_at(day) else following)
    closes = calendar.closes_at(day if today and now < calendar.closes_at(day) else following)
    return {
        "timestamp": shown.astimezone(NEW_YORK).isoformat(),
        "is_open": world.is_open(),
        "next_open": opens.isoformat(),
        "next_close": closes.isoformat(),
    }


def sessions(calendar: Calendar, query: Mapping[str, str]) -> list[Json]:
    """GET /v2/calendar."""
    try:
        start, end = (parse_time(query[name]).date() if name in query else None for name in ("start", "end"))
        days = calendar.sessions(start or date(1970, 1, 1), end or date(2029, 12, 31))
    except ValueError as error:
        raise ApiError(422, f"invalid query: {error}", 40010001) from error
    return [
        {
            "date": day.isoformat(),
            "open": f"{calendar.opens_at(day):%H:%M}",
            "close": f"{calendar.closes_at(day):%H:%M}",
            "session_open": "0400",
            "session_close": "2000" if calendar.closes_at(day).hour == 16 else "1700",
            "settlement_date": calendar.next_session(day).isoformat(),
        }
        for day in days
    ]


def _activity(fill: Fill) -> Json:
    execution = fill.execution
    return {
        "id": fill.id,
        "activity_type": "FILL",
        "type": "fill" if fill.left == 0 else "partial_fill",
        "order_id": fill.order_id,
        "symbol": execution.symbol,
        "side": execution.side,
        "qty": str(execution.quantity),
        "price": money(execution.price),
        "cum_qty": str(execution.cumulative),
        "leaves_qty": str(fill.left),
        "order_status": fill.status,
        "transaction_time": stamp(execution.at),
    }


def _exchange(symbol: str) -> str:
    """Made up, always the same."""
    return "NASDAQ" if int(uuid_of("listed", symbol)[:2], 16) % 3 else "NYSE"


def _decimal(value: float) -> Decimal:
    return Decimal(str(value))

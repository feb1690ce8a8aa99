"""The control endpoints: time, faults, and what is done to the account and the market by hand."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Literal

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from autotrader.clock import NEW_YORK
from autotrader.market.feed import ShareSplit
from autotrader.simulator.faults import Fault
from autotrader.simulator.simulator import Simulator
from autotrader.simulator.wire import ApiError, answer


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Step(_Body):
    """Where to: a time, or so many minutes on."""

    to: AwareDatetime | None = None
    minutes: int | None = Field(None, ge=0)


class Speed(_Body):
    speed: float = Field(ge=0)


class FaultChanges(_Body):
    """Removed first, then added."""

    clear: bool = False
    remove: list[int] = []
    add: list[Fault] = []


class Position(_Body):
    """What the account is to hold, as if somebody had traded by hand; qty is signed, 0 for nothing."""

    symbol: str
    qty: int
    price: float | None = Field(None, gt=0)


class Halt(_Body):
    symbol: str
    halted: bool = True


class Split(_Body):
    """`new` shares for `old` before the open of a session to come."""

    symbol: str
    session: date
    new: int = Field(ge=1)
    old: int = Field(ge=1)


class Settings(_Body):
    """What may be changed while it runs; what is not named stays."""

    rate_limit: int | Literal["off"] | None = None
    payload: Literal["new", "old"] | None = None
    plan: Literal["basic", "plus"] | None = None


def control_routes(simulator: Simulator) -> APIRouter:
    routes = APIRouter(prefix="/simulator")
    world = simulator.world

    def known(symbol: str) -> str:
        if not world.history.knows(symbol):
            raise ApiError(422, f"the market has no {symbol}")
        return symbol

    @routes.get("/state")
    async def state() -> Response:
        return answer(simulator.state())

    @routes.post("/step")
    async def step(body: Step) -> Response:
        to = body.to or world.now + timedelta(minutes=body.minutes or 0)
        try:
            return answer(await simulator.step(to))
        except ValueError as error:
            raise ApiError(422, str(error)) from error

    @routes.post("/speed")
    async def speed(body: Speed) -> Response:
        simulator.speed = body.speed
        return answer(simulator.state())

    @routes.get("/faults")
    async def get_faults() -> Response:
        listed = {str(n): fault.model_dump(mode="json", exclude_defaults=True) for n, fault in faults.listed().items()}
        return answer({"faults": listed, "counts": dict(faults.counts)})

    @routes.post("/faults")
    async def change_faults(body: FaultChanges) -> Response:
        if body.clear:
            faults.clear()
        for number in body.remove:
            faults.remove(number)
        return answer({"added": [faults.add(fault) for fault in body.add], "counts": dict(faults.counts)})

    faults = simulator.faults

    @routes.post("/positions")
    async def position(body: Position) -> Response:
        price = world.price(known(body.symbol))
        paid = body.price or (price.price if price else None)
        if paid is None:
            raise ApiError(422, f"{body.symbol} has no price: give one")
        world.exchange.trade_by_hand(body.symbol, body.qty, Decimal(str(paid)))
        simulator.account.positions_changed()
        return answer(simulator.account.positions())

    @routes.post("/halts")
    async def halt(body: Halt) -> Response:
        simulator.halt(known(body.symbol), body.halted)
        await simulator.flush()
        return answer({"halted": sorted(simulator.halted)})

    @routes.post("/splits")
    async def split(body: Split) -> Response:
        if not world.calendar.is_session(body.session) or body.session <= world.now.astimezone(NEW_YORK).date():
            raise ApiError(422, f"{body.session} is not a session to come")
        world.history.split(ShareSplit(known(body.symbol), body.session, body.new, body.old))
        return answer({"symbol": body.symbol, "session": body.session.isoformat()})

    @routes.post("/settings")
    async def settings(body: Settings) -> Response:
        if body.rate_limit is not None:
            for limit in simulator.limits.values():
                limit.limit = None if body.rate_limit == "off" else body.rate_limit
        if body.payload is not None:
            simulator.account.payload = body.payload
        if body.plan is not None:
            simulator.data.plan = simulator.bars.plan = body.plan
        return answer(simulator.state())

    return routes

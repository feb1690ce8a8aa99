"""The HTTP and websocket endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from pydantic_core import from_json
from starlette.responses import Response
from starlette.types import ASGIApp

from autotrader.errors import AutotraderError
from autotrader.simulator import account
from autotrader.simulator.control import control_routes
from autotrader.simulator.data import LATEST
from autotrader.simulator.gate import Cut, Gate
from autotrader.simulator.simulator import Simulator
from autotrader.simulator.wire import ApiError, answer


def build_app(simulator: Simulator, cut: Cut) -> ASGIApp:
    """The whole application. cut: how a connection is ended without an answer."""
    api = FastAPI(title="Simulated Alpaca", docs_url="/docs", redoc_url=None)
    for routes in (trading_routes, data_routes, stream_routes, control_routes):
        api.include_router(routes(simulator))

    @api.exception_handler(ApiError)
    async def refused(_: Request, error: ApiError) -> Response:
        await simulator.flush()
        return answer(error.body, error.status)

    @api.exception_handler(RequestValidationError)
    async def unreadable(_: Request, error: RequestValidationError) -> Response:
        return answer({"code": 40010001, "message": str(error.errors()[0]["msg"])}, 422)

    @api.exception_handler(AutotraderError)
    async def failed(_: Request, error: AutotraderError) -> Response:
        return answer({"code": 50010000, "message": str(error)}, 500)

    @api.exception_handler(405)
    async def not_so(_: Request, __: Exception) -> Response:
        return answer({"message": "method not allowed."}, 405)

    @api.exception_handler(404)
    async def nowhere(_: Request, __: Exception) -> Response:
        return answer({"message": "endpoint not found."}, 404)

    return Gate(api, simulator.options.keys, simulator.faults, cut, simulator.limits)


def trading_routes(simulator: Simulator) -> APIRouter:
    routes = APIRouter(prefix="/v2")
    orders, own = simulator.orders, simulator.account

    async def done(body: Any, status: int = 200) -> Response:
        await simulator.flush()
        return answer(body, status)

    @routes.get("/account")
    async def get_account() -> Response:
        return answer(own.account())

    @routes.get("/account/configurations")
    async def get_configurations() -> Response:
        return answer(own.configurations())

    @routes.get("/account/activities/FILL")
    async def get_fills(request: Request) -> Response:
        return answer(own.activities(_query(request)))

    @routes.get("/clock")
    async def get_clock() -> Response:
        return answer(account.clock(simulator.world, simulator.faults))

    @routes.get("/calendar")
    async def get_calendar(request: Request) -> Response:
        return answer(account.sessions(simulator.world.calendar, _query(request)))

    @routes.get("/assets")
    async def get_assets(request: Request) -> Response:
        return answer(own.assets(_query(request)))

    @routes.get("/assets/{name}")
    async def get_asset(name: str) -> Response:
        return answer(own.asset(name))

    @routes.post("/orders")
    async def submit(request: Request) -> Response:
        return await done(orders.submit(await _body(request)))

    @routes.get("/orders")
    async def get_orders(request: Request) -> Response:
        return answer(orders.listed(_query(request)))

    @routes.delete("/orders")
    async def cancel_all() -> Response:
        return await done(orders.cancel_all(), 207)

    @routes.get("/orders:by_client_order_id")
    async def get_order_by_client_id(request: Request) -> Response:
        return answer(orders.by_client_id(_query(request).get("client_order_id", "")))

    @routes.get("/orders/{order_id}")
    async def get_order(order_id: str) -> Response:
        return answer(orders.get(order_id))

    @routes.delete("/orders/{order_id}")
    async def cancel(order_id: str) -> Response:
        orders.cancel(order_id)
        await simulator.flush()
        return Response(status_code=204)

    @routes.patch("/orders/{order_id}")
    async def replace(order_id: str, request: Request) -> Response:
        return await done(orders.replace(order_id, await _body(request)))

    @routes.get("/positions")
    async def get_positions() -> Response:
        return answer(own.positions())

    @routes.delete("/positions")
    async def close_all(request: Request) -> Response:
        return await done(own.close_all(_query(request)), 207)

    @routes.get("/positions/{name}")
    async def get_position(name: str) -> Response:
        return answer(own.position(name))

    @routes.delete("/positions/{name}")
    async def close_position(name: str, request: Request) -> Response:
        return await done(own.close(name, _query(request)))

    return routes


def data_routes(simulator: Simulator) -> APIRouter:
    routes = APIRouter()
    data = simulator.data

    @routes.get("/v2/stocks/bars")
    async def get_bars(request: Request) -> Response:
        return answer(data.bars(_query(request)))

    @routes.get("/v2/stocks/snapshots")
    async def get_snapshots(request: Request) -> Response:
        return answer(data.snapshots(_query(request)))

    @routes.get("/v2/stocks/{what}/latest")
    async def get_latest(what: str, request: Request) -> Response:
        if what not in LATEST:
            raise ApiError(404, "endpoint not found.")
        return answer(data.latest(what, _query(request)))

    @routes.get("/v1/corporate-actions")
    async def get_corporate_actions(request: Request) -> Response:
        return answer(data.corporate_actions(_query(request)))

    return routes


def stream_routes(simulator: Simulator) -> APIRouter:
    routes = APIRouter()

    @routes.websocket("/stream")
    @routes.websocket("/stream/")
    async def trade_updates(socket: WebSocket) -> None:
        await simulator.trade_updates.serve(socket)

    @routes.websocket("/v2/iex")
    async def iex(socket: WebSocket) -> None:
        await simulator.bars.serve(socket, "iex")

    @routes.websocket("/v2/sip")
    async def sip(socket: WebSocket) -> None:
        await simulator.bars.serve(socket, "sip")

    return routes


def _query(request: Request) -> Mapping[str, str]:
    return dict(request.query_params)


async def _body(request: Request) -> Mapping[str, Any]:
    try:
        found = from_json(await request.body())
    except ValueError as error:
        raise ApiError(400, "request body format is invalid", 40010000) from error
    if not isinstance(found, dict):
        raise ApiError(400, "request body format is invalid", 40010000)
    return found

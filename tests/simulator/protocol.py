"""Holds what is answered against the schema of the protocol."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator

# method and path, status: the shape. The first that matches counts.
SHAPES = (
    (r".* 4\d\d|.* 5\d\d", "error"),
    (r"GET /v2/account 200", "account"),
    (r"GET /v2/account/configurations 200", "configurations"),
    (r"GET /v2/account/activities/FILL 200", "fills"),
    (r"GET /v2/clock 200", "clock"),
    (r"GET /v2/calendar 200", "calendar"),
    (r"GET /v2/assets 200", "assets"),
    (r"GET /v2/assets/\S+ 200", "asset"),
    (r"GET /v2/orders 200", "orders"),
    (r"DELETE /v2/orders 207", "canceled"),
    (r"(POST /v2/orders|(GET|PATCH) /v2/orders/\S+|GET /v2/orders:by_client_order_id) 200", "order"),
    (r"GET /v2/positions 200", "positions"),
    (r"GET /v2/positions/\S+ 200", "position"),
    (r"DELETE /v2/positions/\S+ 200", "order"),
    (r"DELETE /v2/positions 207", "closed"),
    (r"GET /v2/stocks/bars 200", "bars"),
    (r"GET /v2/stocks/snapshots 200", "snapshots"),
    (r"GET /v2/stocks/bars/latest 200", "latest_bars"),
    (r"GET /v2/stocks/quotes/latest 200", "latest_quotes"),
    (r"GET /v2/stocks/trades/latest 200", "latest_trades"),
    (r"GET /v1/corporate-actions 200", "corporate_actions"),
)


@cache
def validator(shape: str) -> Draft202012Validator:
    schema = json.loads(files("autotrader.simulator").joinpath("protocol.schema.json").read_text())
    return Draft202012Validator({**schema, "$ref": f"#/$defs/{shape}"})


def check(shape: str, value: Any) -> Any:
    """The value, if it is as the protocol says."""
    problems = [f"{'/'.join(map(str, e.absolute_path))}: {e.message}" for e in validator(shape).iter_errors(value)]
    assert not problems, f"not {shape}: {problems[:3]} in {json.dumps(value)[:600]}"
    return value


def check_answer(method: str, path: str, status: int, body: bytes) -> None:
    """An answer of either API; 204 has none."""
    what = f"{method} {path} {status}"
    if status == 204:
        assert body == b"", what
        return
    shape = next((shape for pattern, shape in SHAPES if re.fullmatch(pattern, what)), None)
    assert shape is not None, f"the protocol knows no {what}"
    check(shape, json.loads(body))

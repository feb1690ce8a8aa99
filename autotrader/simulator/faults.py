"""What goes wrong, when, and how often it did: from a file or the control endpoint, the same in every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from autotrader.errors import AutotraderError


class FaultsError(AutotraderError):
    """Faults that cannot be used; one sentence that says why."""


Place = Literal["request", "order", "trade_updates", "bars", "stream", "state"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a fault of this kind does.

    place: what it may strike. request: each HTTP request; order: each order, when it is taken, filled or canceled;
    trade_updates, bars: each update or bar that would be sent; stream: each connection or frame; state: nothing, it
    holds while the fault is there.
    request, seconds, code: where the fault names none; in a market that is stepped, a fill is a minute old when it is
    told.
    """

    place: Place
    what: str
    request: str = "*"
    seconds: float = 30.0
    code: int = 1006


STREAM_ERRORS = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    409: "insufficient subscription",
    410: "invalid subscribe action",
    500: "internal error",
}

KINDS: dict[str, Kind] = {
    "429": Kind("request", "too many requests, not carried out"),
    "500_before": Kind("request", "internal error, not carried out"),
    "500_after": Kind("request", "internal error, but carried out", "POST /v2/orders"),
    "502_before": Kind("request", "bad gateway (HTML), not carried out"),
    "503_before": Kind("request", "service unavailable (HTML), not carried out"),
    "504_before": Kind("request", "gateway time-out (HTML), not carried out"),
    "504_after": Kind("request", "gateway time-out (HTML), but carried out", "POST /v2/orders"),
    "302": Kind("request", "a redirect to nowhere, not carried out"),
    "hang_before": Kind("request", "no answer for `seconds`, then a dropped connection; not carried out"),
    "hang_after": Kind("request", "no answer for `seconds`, then a dropped connection; carried out", "POST /v2/orders"),
    "drop_before": Kind("request", "the connection is dropped, not carried out"),
    "drop_after": Kind("request", "the connection is dropped, but carried out", "POST /v2/orders"),
    "truncated": Kind("request", "carried out; the answer breaks off in the middle"),
    "not_json": Kind("request", "carried out; the answer is an HTML page with status 200"),
    "slow": Kind("request", "answered after `seconds`"),
    "field_removed": Kind("request", "the answer lacks `field`"),
    "field_set": Kind("request", "the answer's `field` is `value`, for example an unknown status"),
    "reject_order": Kind("order", "taken, and rejected afterwards"),
    "late_fill": Kind("order", "not filled at this bar"),
    "late_opening": Kind("order", "for the opening, and filled `seconds` after it", seconds=300),
    "partial_fill": Kind("order", "half of what is left is filled at this bar"),
    "slow_cancel": Kind("order", "a cancel stays pending until the next bar, which may fill the order"),
    "duplicate_update": Kind("trade_updates", "sent twice"),
    "reorder_update": Kind("trade_updates", "sent after the one that follows it"),
    "drop_update": Kind("trade_updates", "never sent"),
    "null_update": Kind("trade_updates", "sent with data: null"),
    "missing_bar": Kind("bars", "never sent; REST has it"),
    "delayed_bar": Kind("bars", "sent `seconds` of market time later"),
    "updated_bar": Kind("bars", "sent without its last trades, and corrected 30 s later by an update"),
    "refuse_stream": Kind("stream", "the handshake is answered with 429"),
    "full_stream": Kind("stream", "error 406, connection limit exceeded, after authentication"),
    "mute_stream": Kind("stream", "from this frame on nothing is sent; the connection stays and pings are answered"),
    "close_stream": Kind("stream", "closed with `code`, 1006 for a lost connection"),
    "stream_error": Kind("stream", "the error `code` instead of a frame (407: slow client), then closed", code=407),
    "halt": Kind("state", "the symbol does not trade"),
    "hard_to_borrow": Kind("state", "the symbol is not lent"),
    "stale_positions": Kind("state", "the position list does not have the fills of the last `seconds`", seconds=90),
    "clock_skew": Kind("state", "/v2/clock is wrong by `seconds`"),
    "zero_ask": Kind("state", "quotes have no ask"),
    "stale_quote": Kind("state", "quotes and trades are `seconds` old", seconds=3600),
    "buying_power": Kind("state", "the buying power is at most `value`"),
    "account_blocked": Kind("state", "the account may not trade"),
}


class Fault(BaseModel):
    """One line of a fault file. Without rate and nth it strikes every time, with times at most so often.

    request: method and path with wildcards, "POST /v2/orders*"; stream: trade_updates or bars, both without it.
    since, until: market times.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)  # kind: 429

    kind: str
    request: str | None = None
    stream: Literal["trade_updates", "bars"] | None = None
    symbol: str | None = None
    event: str | None = None
    rate: float | None = Field(None, ge=0, le=1)
    nth: int | None = Field(None, ge=1)
    times: int | None = Field(None, ge=1)
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    seconds: float = 30.0
    field: str = ""
    value: Any = None
    code: int = 1006

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, given: Any) -> Any:
        kind = KINDS.get(str(given.get("kind"))) if isinstance(given, dict) else None
        return given if kind is None else {"seconds": kind.seconds, "code": kind.code, **given}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind} is no kind of fault; there are {', '.join(KINDS)}")
        if self.rate is not None and self.nth is not None:
            raise ValueError("rate and nth exclude each other")
        if KINDS[self.kind].place == "state" and (self.rate, self.nth, self.times) != (None, None, None):
            raise ValueError(f"{self.kind} holds while it is there: since and until say when, not rate, nth or times")
        if self.kind == "stream_error" and self.code not in STREAM_ERRORS:
            raise ValueError(f"{self.code} is no error of the streams; there are {', '.join(map(str, STREAM_ERRORS))}")
        if self.kind.startswith("field_") and not self.field:
            raise ValueError(f"{self.kind} needs a field")
        return self


class FaultFile(BaseModel):
    """A file of faults."""

    model_config = ConfigDict(extra="forbid")

    seed: int = 0
    faults: list[Fault] = []


class Faults:
    """Asked wherever something could go wrong, each time anew.

    A rate is drawn from seed, the fault's place in the list, what is asked about and how often that was asked before:
    the order in which different orders, symbols or paths are asked about does not matter.
    counts: how often each kind struck.
    """

    def __init__(self, seed: int = 0, faults: list[Fault] | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.now: Callable[[], datetime] | None = None
        self._seed = seed
        self._faults: dict[int, Fault] = {}
        self._asked: Counter[tuple[int, str]] = Counter()
        self._matched: Counter[int] = Counter()
        self._struck: Counter[int] = Counter()
        self._next = 1
        for fault in faults or []:
            self.add(fault)

    @classmethod
    def load(cls, path: Path, seed: int | None = None) -> Self:
        """From a YAML or JSON file. seed: instead of the file's. FaultsError."""
        try:
            found = FaultFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise FaultsError(f"{path}: cannot be read as YAML: {error}") from error
        except ValidationError as error:
            raise FaultsError(f"{path}: {first_problem(error)}") from error
        return cls(found.seed if seed is None else seed, found.faults)

    def add(self, fault: Fault) -> int:
        """Its number, to remove it by."""
        number, self._next = self._next, self._next + 1
        self._faults[number] = fault
        return number

    def remove(self, number: int) -> bool:
        return self._faults.pop(number, None) is not None

    def clear(self) -> None:
        """Removes all; the counts stay."""
        self._faults.clear()

    def listed(self) -> dict[int, Fault]:
        return dict(self._faults)

    def strike(self, kind: str, about: str, **of: str | None) -> Fault | None:
        """The fault that strikes here, if one does. of: request, symbol, stream, event, where a fault may name one."""
        for number, fault in list(self._faults.items()):
            if fault.kind == kind and self._matches(fault, of) and self._hits(number, fault, about):
                self._struck[number] += 1
                self.counts[kind] += 1
                return fault
        return None

    def holds(self, kind: str, symbol: str | None = None) -> Fault | None:
        """The fault of a state that is there now, not counted."""
        for fault in self._faults.values():
            if fault.kind == kind and self._matches(fault, {"symbol": symbol}):
                return fault
        return None

    def state(self, kind: str, symbol: str | None = None) -> Fault | None:
        """As `holds`, and counted."""
        fault = self.holds(kind, symbol)
        if fault is not None:
            self.counts[kind] += 1
        return fault

    def _matches(self, fault: Fault, of: dict[str, str | None]) -> bool:
        now = None if self.now is None else self.now()
        if now is not None:
            if (fault.since is not None and now < fault.since) or (fault.until is not None and now >= fault.until):
                return False
        request = of.get("request")
        if request is not None and not fnmatchcase(request, fault.request or KINDS[fault.kind].request):
            return False
        for name in ("symbol", "stream", "event"):
            wanted, found = getattr(fault, name), of.get(name)
            if wanted is not None and found is not None and wanted != found:
                return False
        return True

    def _hits(self, number: int, fault: Fault, about: str) -> bool:
        if fault.times is not None and self._struck[number] >= fault.times:
            return False
        self._matched[number] += 1
        if fault.nth is not None:
            return self._matched[number] == fault.nth
        if fault.rate is None:
            return True
        self._asked[number, about] += 1
        text = f"{self._seed}/{number}/{fault.kind}/{about}/{self._asked[number, about]}"
        drawn = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
        return drawn < fault.rate


def first_problem(error: ValidationError) -> str:
    """A pydantic error as one sentence."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message

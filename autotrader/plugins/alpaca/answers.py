"""What an answer that is no success means: one table, since the broker's codes are shared by unlike causes.

The codes and texts are those seen in the field; Alpaca changes the texts without notice. So the table only sorts out
what is certain. Any other answer of the 4xx kind is taken for "not accepted" once the broker, asked for the order by
its id, does not know it; 5xx, and no answer at all, leave the fate unknown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from autotrader.plugins.alpaca.wire import parsed
from autotrader.secrets import redact

Meaning = Literal[
    "refused",  # the order does not exist
    "id_taken",  # an order with this id exists: ours, if an answer got lost
    "unclear",  # of the 4xx kind, but not in the table: not accepted, unless the broker knows the order
    "unknown",  # nobody knows
]


class Unanswered(Exception):
    """There is no usable answer: a time-out, a broken connection, a body that cannot be read."""

    def __init__(self, cause: str, *, timed_out: bool = False) -> None:
        super().__init__(redact(cause))
        self.timed_out = timed_out


@dataclass(eq=False)
class Answered(Exception):
    """The server answered, with an error. code: the body's, as text; "" where it has none. reset: seconds, or None."""

    status: int
    code: str
    message: str
    reset: float | None = None

    def __str__(self) -> str:
        return f"{self.message} ({', '.join(filter(None, (str(self.status), self.code)))})"


class _Row(NamedTuple):
    """status, code: None is any. text: a pattern anywhere in the message, case ignored; "" is any."""

    status: int | None
    code: str | None
    text: str
    meaning: Meaning


_TABLE = (
    _Row(422, None, r"client_order_id must be unique", "id_taken"),
    _Row(401, None, "", "refused"),
    _Row(403, None, r"^forbidden", "refused"),
    _Row(422, "40010001", r"must be|limit orders require|only one of|invalid|is required", "refused"),
    _Row(403, "40310000", r"orders must be submitted (after|before)", "refused"),
    _Row(403, "40310000", r"insufficient", "refused"),
    _Row(403, "40310000", r"wash trade", "refused"),
    _Row(403, "40310000", r"not allowed to short|is not fractionable|cost basis", "refused"),
    _Row(403, "40310000", r"account|trading is (blocked|suspended)", "refused"),
    _Row(403, "40310100", "", "refused"),
    _Row(422, "42210000", r"cannot be sold short|only day orders|fractional orders", "refused"),
    _Row(422, "42210000", r"trading halt|position intent mismatch", "refused"),
    _Row(422, "42210000", r"not found|is not active|not tradable|stop price|limit_price|sub-penny", "refused"),
    _Row(500, None, "", "unknown"),
    _Row(502, None, "", "unknown"),
    _Row(503, None, "", "unknown"),
    _Row(504, None, "", "unknown"),
    _Row(408, None, "", "unknown"),  # the server gave up waiting, whatever it had done by then
)


def meaning(answer: Answered) -> Meaning:
    """What this answer to an order says about the order."""
    for row in _TABLE:
        fits = row.status in {None, answer.status} and row.code in {None, answer.code}
        if fits and re.search(row.text, answer.message, re.IGNORECASE):
            return row.meaning
    return "unclear" if 400 <= answer.status < 500 else "unknown"


def no_such_order(answer: Answered) -> bool:
    """Whether the broker said that it has no such order; a 404 of something in between does not say so."""
    return answer.status == 404 and (answer.code == "40410000" or "order not found" in answer.message.lower())


def may_pass(answer: Answered) -> bool:
    """Whether asking again later may help."""
    return answer.status in {408, 429, 500, 502, 503, 504}


def answered(status: int, body: str, reset: float | None = None) -> Answered:
    """An error as it came; a body that is no JSON becomes one short line."""
    try:
        read: Any = parsed(body)
    except ValueError:
        read = None
    if isinstance(read, dict):
        code, message = read.get("code"), read.get("message")
        text = message if isinstance(message, str) and message else body
        return Answered(status, "" if code is None else str(code), _line(text), reset)
    return Answered(status, "", _line(re.sub(r"<[^>]*>", " ", body)) or "no reason given", reset)


def _line(text: str) -> str:
    return redact(" ".join(text.split())[:300])

"""What can be wrong with an expression: a flaw is a value, and all of a text's flaws travel in one error."""

from __future__ import annotations

from typing import NamedTuple

# Every code that a flaw can have. They are stable: people filter by them.
FLAW_CODES = (
    "bad-character",
    "bad-word",
    "empty-expression",
    "expression-too-deep",
    "expression-too-long",
    "not-allowed",
    "number-too-large",
    "syntax",
    "unknown-fact",
    "unknown-function",
    "wrong-arguments",
    "wrong-kind",
)


class Flaw(NamedTuple):
    """One mistake in an expression: `offset` and `length` are in characters of its text.

    code: one of FLAW_CODES. name: the name that is unknown, where that is the mistake.
    """

    code: str
    message: str
    offset: int = 0
    length: int = 1
    name: str | None = None


class ExpressionError(ValueError):
    """The text is not an expression of the language. `flaws` says everything that is wrong with it."""

    def __init__(self, text: str, flaws: list[Flaw]) -> None:
        super().__init__("; ".join(flaw.message for flaw in flaws))
        self.text = text
        self.flaws = flaws

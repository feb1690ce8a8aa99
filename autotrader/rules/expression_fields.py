"""Fields of a plugin's parameters that hold an expression, so that a checker can find them without knowing the plugin.

class Side(SignalParams):
    when: Condition
    strength: Value
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator

from autotrader.rules import facts


@dataclass(frozen=True, slots=True)
class Kind:
    """Marks a text field as an expression, and says what its result must be."""

    kind: facts.Kind


def _as_text(value: object) -> object:
    """YAML reads `when: true` and `strength: 0.5` as a flag and a number; as expressions they are their own text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, int | float) else value


_written = BeforeValidator(_as_text, json_schema_input_type=str | bool | int | float)

Condition = Annotated[str, _written, Kind("flag")]
Value = Annotated[str, _written, Kind("number")]

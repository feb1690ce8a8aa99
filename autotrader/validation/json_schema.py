"""The JSON Schemas of the configuration: generated from the models for editors, and in a plain form for checking.

Editors read `7%` as text, so their form allows a percent wherever a number may stand. The loader has turned percents
into numbers by then, so the form for checking does not; it also has no references, and no alternatives that differ only
in type, which makes it fast and its errors plain.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

STRATEGY_PARAMS = "strategy_params.schema.json"
SYSTEM = "default.schema.json"

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PERCENT_REF = {"$ref": "#/$defs/Percent"}
_PERCENT: Schema = {
    "type": "string",
    "pattern": r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)%$",
    "description": "A percent: 7% is 0.07.",
}
_MAPS = ("properties", "patternProperties", "$defs")
_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems")
_SINGLE = ("items", "additionalProperties", "propertyNames", "not", "if", "then", "else")
_ANNOTATIONS = frozenset({"title", "description", "default", "examples", "$schema", "$defs", "deprecated"})
_OF_ONE_TYPE = {  # keywords that ask nothing of values of other types
    "type",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "pattern",
    "minLength",
    "maxLength",
    "items",
    "minItems",
    "maxItems",
    "properties",
    "required",
    "additionalProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
}


def generate_schemas(signal_schemas: Mapping[str, Schema]) -> dict[str, Schema]:
    """file name -> schema for editors. signal_schemas: plugin name -> JSON Schema of its parameters."""
    from autotrader.settings import StrategyParams, SystemSettings

    params = StrategyParams.model_json_schema()
    _add_signals(params, signal_schemas)
    return {STRATEGY_PARAMS: _for_editors(params), SYSTEM: _for_editors(SystemSettings.model_json_schema())}


def schema_text(schema: Schema) -> str:
    """The schema as it is written to a file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


@functools.cache
def structure_schema(name: str) -> Schema:
    """The form for checking of a generated schema, read from the file that is shipped with the program."""
    package = Path(__file__).parents[1]
    shipped = (package / "default_config" / "schemas" / name, package.parent / "config" / "schemas" / name)
    path = next((path for path in shipped if path.is_file()), shipped[-1])
    schema: Schema = json.loads(path.read_text(encoding="utf-8"))
    return checking_form(schema)


def checking_form(schema: Schema) -> Schema:
    """The same demands on data whose percents are numbers, without references, annotations, alternatives by type.

    Raises RecursionError for a schema that contains itself.
    """
    definitions = schema.get("$defs", {})
    done: dict[str, Schema] = {}

    def simplified(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            name = part["$ref"].removeprefix("#/$defs/")
            if name not in done:
                done[name] = simplified(definitions[name])
            rest = {key: value for key, value in part.items() if key != "$ref" and key not in _ANNOTATIONS}
            return {**done[name], **rest}
        plain = {key: value for key, value in part.items() if key not in _ANNOTATIONS}
        if "anyOf" in plain:
            plain["anyOf"] = [branch for branch in plain["anyOf"] if branch != _PERCENT_REF]
        return _merged_alternatives(_over_parts(plain, simplified))

    form: Schema = simplified(schema)
    return form


def _over_parts(schema: Schema, change: Callable[[Any], Any]) -> Schema:
    """The schema with `change` applied to each schema directly inside it."""
    changed = dict(schema)
    for key in _MAPS:
        if key in schema:
            changed[key] = {name: change(part) for name, part in schema[key].items()}
    for key in _LISTS:
        if key in schema:
            changed[key] = [change(part) for part in schema[key]]
    for key in _SINGLE:
        if key in schema:
            changed[key] = change(schema[key])
    return changed


def _merged_alternatives(schema: Schema) -> Schema:
    """anyOf over different types as one schema: each keyword speaks of one type only, so they do not meet."""
    branches = schema.get("anyOf")
    if not branches:
        return schema
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    if len(branches) == 1:
        return {**branches[0], **rest}
    branches = [b for b in branches if b != {"type": "integer"} or {"type": "number"} not in branches]
    null = {"type": "null"}
    others = [branch for branch in branches if branch != null]
    if len(others) == 1 and len(branches) == 2 and ("const" in others[0] or "enum" in others[0]):
        only = others[0]
        return {**rest, "enum": [*_values(only), None]}
    types: list[str] = []
    merged: Schema = {}
    for branch in branches:
        names = branch.get("type", [])
        for name in [names] if isinstance(names, str) else names:
            types.append(name)
        if not branch.get("type") or not branch.keys() <= _OF_ONE_TYPE or merged.keys() & branch.keys() - {"type"}:
            return schema
        merged.update(branch)
    if len(set(types)) != len(types) or {"integer", "number"} <= set(types):
        return schema
    return {**merged, **rest, "type": types}


def _values(schema: Schema) -> list[Any]:
    return list(schema["enum"]) if "enum" in schema else [schema["const"]]


def _for_editors(schema: Schema) -> Schema:
    def adapted(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        part = _over_parts({key: value for key, value in part.items() if key != "title"}, adapted)
        patterns = part.get("patternProperties")
        if patterns is not None and len(patterns) == 1 and "additionalProperties" not in part:
            # A name of the wrong form is a mistake in the name, not a key that is free to hold anything.
            (pattern, value), *_ = patterns.items()
            part = {key: item for key, item in part.items() if key != "patternProperties"}
            part["propertyNames"] = {**part.get("propertyNames", {}), "pattern": pattern}
            part["additionalProperties"] = value
        if part.get("type") == "number":
            outer = {key: part[key] for key in ("description", "default") if key in part}
            inner = {key: value for key, value in part.items() if key not in outer}
            return {**outer, "anyOf": [inner, _PERCENT_REF]}
        if "anyOf" in part:
            flat: list[Schema] = []
            for branch in part["anyOf"]:
                inner_branches = branch["anyOf"] if branch.keys() == {"anyOf"} else [branch]
                flat += [inner for inner in inner_branches if inner not in flat]
            part = {**part, "anyOf": flat}
        return part

    body = adapted(schema)
    definitions = {**body.pop("$defs", {}), "Percent": _PERCENT}
    return {"$schema": _DIALECT, **body, "$defs": dict(sorted(definitions.items()))}


def _add_signals(params: Schema, signal_schemas: Mapping[str, Schema]) -> None:
    """Let each strategy's `signal` follow its plugin: the one it names, else the one of the block's own key."""
    definitions = params["$defs"]
    strategies = params["properties"]["strategies"]
    by_key: Schema = {}
    by_plugin: list[Schema] = []
    for plugin, schema in sorted(signal_schemas.items()):
        definitions |= _hoisted(plugin, schema)
        then = {"properties": {"signal": {"$ref": f"#/$defs/signal.{plugin}"}}}
        named = {"properties": {"plugin": {"const": plugin}}, "required": ["plugin"]}
        by_plugin.append({"if": named, "then": then})
        unnamed = {"if": {"not": {"required": ["plugin"]}}, "then": then}
        by_key[plugin] = {"allOf": [{"$ref": "#/$defs/Strategy"}, unnamed]}
    if by_key:
        definitions["Strategy"]["allOf"] = by_plugin
        strategies["properties"] = by_key


def _hoisted(plugin: str, schema: Schema) -> dict[str, Schema]:
    """A plugin's schema and its definitions, under names of their own."""

    def renamed(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        part = _over_parts(part, renamed)
        if "$ref" in part:
            part["$ref"] = part["$ref"].replace("#/$defs/", f"#/$defs/signal.{plugin}.")
        return part

    inner = {f"signal.{plugin}.{name}": renamed(part) for name, part in schema.get("$defs", {}).items()}
    own = renamed({key: value for key, value in schema.items() if key != "$defs"})
    return {f"signal.{plugin}": own, **inner}

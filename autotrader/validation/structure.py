"""The form of the configuration: files to documents, schema and models over them, each finding with its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from autotrader.rules.document import MAX_BYTES, Document, DocumentError, Path, decode, load
from autotrader.rules.problems import Problem, allowed, suggest
from autotrader.validation.json_schema import Schema

MAX_PROBLEMS = 100

M = TypeVar("M", bound=BaseModel)

_TYPE_WORDS = {
    "number": "a number", "integer": "a whole number", "string": "text", "boolean": "true or false",
    "array": "a list (- ...)", "object": "a mapping (key: value)", "null": "null",
}  # fmt: skip
_PYDANTIC_TYPES = {
    "float_type": "number", "int_type": "integer", "int_from_float": "integer", "string_type": "string",
    "bool_type": "boolean", "list_type": "array", "tuple_type": "array", "dict_type": "object", "model_type": "object",
    "model_attributes_type": "object", "mapping_type": "object",
    "float_parsing": "number", "int_parsing": "integer", "bool_parsing": "boolean",
}  # fmt: skip


def read_document(path: FilePath) -> Document:
    """The document in a file. Raises DocumentError, for an unreadable file too."""
    return load(_read(path), str(path))


def read_text(path: FilePath) -> str:
    """The text of a file with plain line ends. Raises DocumentError for what is unreadable or no text."""
    return decode(_read(path), str(path))


def _read(path: FilePath) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        hint = "; --config takes a folder" if isinstance(error, IsADirectoryError) else ""
        message = f"cannot be read: {reason[0].lower()}{reason[1:]}{hint}"
        raise DocumentError([Problem(str(path), 1, 1, "unreadable", message)]) from None


def without_repeats(problems: list[Problem]) -> list[Problem]:
    """The problems but those at a place where an earlier one in the list already is."""
    places: dict[tuple[str, int, int], Problem] = {}
    for problem in problems:
        places.setdefault((problem.file, problem.line, problem.column), problem)
    return list(places.values())


# --- JSON Schema --------------------------------------------------------------------------------------------------


def check_structure(document: Document, schema: Schema, at: Path = ()) -> list[Problem]:
    """What in the document, or in its part `at`, the schema does not allow. schema: in the form for checking."""
    from autotrader.validation.checker import errors

    problems: dict[Problem, None] = {}
    for error in errors(schema, _part_at(document.data, at)):
        for problem in _schema_problems(document, error, at, schema):
            problems[problem] = None
        if len(problems) >= MAX_PROBLEMS:
            break
    return list(problems)


def _part_at(data: Any, path: Path) -> Any:
    for step in path:
        data = data[step]
    return data


def _schema_problems(document: Document, error: Any, at: Path, root: Schema) -> Iterator[Problem]:
    path: Path = (*at, *error.absolute_path)
    keyword, wanted, value, schema = error.validator, error.validator_value, error.instance, error.schema
    known = list(schema.get("properties", {})) if isinstance(schema, dict) else []
    misspelt = _misspelt_key(error, root)
    if misspelt:
        yield document.problem(path, "unknown-key", misspelt, key=True)
    elif "propertyNames" in error.absolute_schema_path:
        message = f'the name "{_short(value)}" is not allowed; expected {_expected(schema)}'
        yield document.problem((*path, value), "wrong-form", message, key=True)
    elif keyword == "additionalProperties":
        for key in sorted(value.keys() - set(known)):
            yield document.problem((*path, key), "unknown-key", _unknown_key(key, known), key=True)
    elif keyword == "required":
        written = {suggest(key, known) for key in value.keys() - set(known)}  # misspelt, and reported as such
        missing = [key for key in wanted if key not in value and key not in written]
        if missing:
            yield document.problem(path, "missing-key", _missing(missing), key=True)
    elif keyword in ("anyOf", "oneOf") and error.context:
        yield from _best_branch(document, error, at, root)
    elif keyword == "not" and "errorMessage" in schema:
        yield document.problem(path, "unknown-key", schema["errorMessage"], key=True)
    else:
        code, message = _schema_message(keyword, wanted, value, schema)
        if value is None and document.comment_follows(path):
            message += "; what follows the # is a comment"
        yield document.problem(path, code, message)


def _schema_message(keyword: str | None, wanted: Any, value: Any, schema: Any) -> tuple[str, str]:
    """Code and message for a value that does not meet one keyword."""
    match keyword:
        case "type":
            return "wrong-type", _wrong_type(_expected(schema), value)
        case "enum" | "const":
            return "not-allowed", _not_among(value, wanted if keyword == "enum" else [wanted])
        case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum":
            return "out-of-range", _out_of_range(value, keyword, wanted)
        case "pattern":
            return "wrong-form", _wrong_type(_expected(schema), value)
        case "minItems" | "minProperties" | "minLength":
            return "too-few", f"expected at least {wanted} {'entry' if wanted == 1 else 'entries'}, found {len(value)}"
        case "maxItems" | "maxProperties" | "maxLength":
            what = " characters" if isinstance(value, str) else ""
            return "too-many", f"expected at most {wanted}{what}, found {len(value)}"
        case _:
            return "not-allowed", f"{_found(value)} is not allowed here"


_BOUNDS = {
    "minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most", "exclusiveMaximum": "less than",
    "ge": "at least", "gt": "more than", "le": "at most", "lt": "less than",
}  # fmt: skip


def _misspelt_key(error: Any, root: Schema) -> str | None:
    """Where any further key may stand, a value that does not fit is often a known key's, misspelt."""
    steps = list(error.absolute_schema_path)
    if len(steps) < 2 or steps[-2] != "additionalProperties" or not error.absolute_path:
        return None
    key = error.absolute_path[-1]
    known = _part_at(root, tuple(steps[:-2])).get("properties", {})
    return _unknown_key(key, list(known)) if isinstance(key, str) and suggest(key, known) else None


def _best_branch(document: Document, error: Any, at: Path, root: Schema) -> Iterator[Problem]:
    """Alternatives: the problems of the one that is meant, as far as that can be told, else what all expect."""
    branches: dict[int, list[Any]] = {}
    for inner in error.context:
        branches.setdefault(inner.schema_path[0], []).append(inner)
    meant = [
        found for found in branches.values() if not any(e.validator == "type" and not e.relative_path for e in found)
    ]
    if meant:
        for inner in min(meant, key=len):
            yield from _schema_problems(document, inner, at, root)
        return
    alternatives = list(dict.fromkeys(_expected(branch) for branch in error.validator_value))
    path = (*at, *error.absolute_path)
    yield document.problem(path, "wrong-type", _wrong_type(" or ".join(alternatives), error.instance))


# --- models -------------------------------------------------------------------------------------------------------


def build(model: type[M], document: Document, at: Path = ()) -> M | list[Problem]:
    """The model's instance from the document, or from its part `at`; else problems, each at its place."""
    try:
        return model.model_validate(_part_at(document.data, at))
    except ValidationError as error:
        found = [_model_problem(document, details, at) for details in error.errors(include_url=False)]
        return without_repeats(found)[:MAX_PROBLEMS]


def _model_problem(document: Document, details: Any, at: Path) -> Problem:
    kind, location, value = details["type"], details["loc"], details["input"]
    context = details.get("ctx", {})
    path = _existing_path(document.data, at, location)
    if kind == "missing":
        return document.problem(path, "missing-key", _missing([str(location[-1])]), key=True)
    if kind == "extra_forbidden":
        return document.problem(path, "unknown-key", _unknown_key(str(location[-1]), []), key=True)
    if kind in _PYDANTIC_TYPES:
        return document.problem(path, "wrong-type", _wrong_type(_TYPE_WORDS[_PYDANTIC_TYPES[kind]], value))
    if kind.startswith(("greater_than", "less_than")) and context:
        ((bound, limit),) = context.items()
        return document.problem(path, "out-of-range", _out_of_range(value, bound, limit))
    if kind == "literal_error":
        return document.problem(path, "not-allowed", f"expected {context['expected']}, found {_found(value)}")
    message = str(context["error"]) if kind == "value_error" else details["msg"][:1].lower() + details["msg"][1:]
    return document.problem(path, "invalid", message)


def _existing_path(data: Any, at: Path, location: tuple[str | int, ...]) -> Path:
    """The path that a model's error location means; it also names alternatives, which the data do not have."""
    path = list(at)
    value = _part_at(data, at)
    for step in location:
        inside = step in value if isinstance(value, dict) else isinstance(value, list) and step in range(len(value))
        if inside:
            value = _part_at(value, (step,))
            path.append(step)
    return tuple(path)


# --- wording ------------------------------------------------------------------------------------------------------


def _expected(schema: Any) -> str:
    if not isinstance(schema, dict):
        return "something else"
    if "errorMessage" in schema:
        return str(schema["errorMessage"])
    if "enum" in schema or "const" in schema:
        return " or ".join(_literal(value) for value in schema.get("enum", [schema.get("const")]))
    types = schema.get("type", [])
    names = [types] if isinstance(types, str) else list(types)
    if set(names) == {"string", "boolean", "number"}:
        return "an expression"
    words = []
    for name in names:
        properties = schema.get("properties", {})
        if name == "object" and 0 < len(properties) <= 3:
            words.append("{" + ", ".join(f"{key}: ..." for key in properties) + "}")
        else:
            words.append(_TYPE_WORDS.get(name, name))
    return " or ".join(words) or "something else"


def _found(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'the text "{_short(value)}"'
    if isinstance(value, int | float):
        return f"the number {_number(value)}"
    return _TYPE_WORDS["array" if isinstance(value, list) else "object"]


def _out_of_range(value: Any, bound: str, limit: Any) -> str:
    percent = f"; did you mean {_number(value)}%?" if limit == 1 and 1 < value <= 100 else ""
    return f"{_number(value)} is out of range; {_BOUNDS[bound]} {_number(limit)}{percent}"


def _wrong_type(what: str, value: Any) -> str:
    hint = ""
    if isinstance(value, str) and "number" in what and _reads_as_number(value):
        hint = f"; write {value.strip().replace(' ', '')} without quotes or spaces"
    elif isinstance(value, str) and "number" in what and _reads_as_number(value.replace(",", ".", 1)):
        hint = f"; write {value.strip().replace(',', '.', 1)}, with a point"
    return f"expected {what}, found {_found(value)}{hint}"


def _reads_as_number(text: str) -> bool:
    try:
        float(text.strip().removesuffix("%"))
    except ValueError:
        return False
    return True


def _not_among(value: Any, values: list[Any]) -> str:
    texts = [item for item in values if isinstance(item, str)]
    near = suggest(value, texts) if isinstance(value, str) else None
    guess = f'; did you mean "{near}"?' if near else ""
    listed = allowed([item if isinstance(item, str) else _literal(item) for item in values])
    return f"{_found(value)} is not allowed here{guess or ('; ' + listed if listed else '')}"


def _unknown_key(key: str, known: list[str]) -> str:
    near = suggest(key, known)
    parts = [f'unknown key "{_short(key)}"']
    if near:
        parts.append(f'did you mean "{near}"?')
    elif allowed(known):
        parts.append(allowed(known))
    return "; ".join(parts)


def _missing(keys: list[str]) -> str:
    if len(keys) == 1:
        return f'the key "{keys[0]}" is missing here'
    return f"the keys {', '.join(f'{chr(34)}{key}{chr(34)}' for key in keys)} are missing here"


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else "null" if value is None else str(value).lower()


def _number(value: Any) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"

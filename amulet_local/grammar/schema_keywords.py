"""The keywords of JSON Schema: which there are, how two schemas combine, which limits count.

Knows nothing about grammars.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import NoneType
from typing import Any, NoReturn, TypeVar

from amulet_local.common.errors import InvalidParameterError

MAX_DIGITS = 15
"""Digits of a whole number: those that a double holds exactly."""

IGNORED = frozenset(
    (
        *("$schema", "$id", "id", "$anchor", "$comment", "$defs", "definitions", "title"),
        *("description", "default", "example", "examples", "deprecated", "readOnly", "writeOnly"),
        *("nullable", "discriminator", "externalDocs", "xml"),
        *("contentEncoding", "contentMediaType", "contentSchema"),
    )
)
"""Keywords that say nothing about which values are allowed."""
_OBJECT = (
    *("properties", "required", "additionalProperties", "minProperties", "maxProperties"),
    "propertyNames",
    "patternProperties",
)
_ARRAY = ("items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems")
_STRING = ("minLength", "maxLength", "format", "pattern")
_NUMBER = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_OTHER = ("type", "enum", "const", "anyOf", "oneOf", "allOf", "not", "$ref")
KEYWORDS = frozenset((*_OBJECT, *_ARRAY, *_STRING, *_NUMBER, *_OTHER))
"""Keywords that are supported."""
SUGGESTED_BY = {"object": _OBJECT, "array": _ARRAY, "string": _STRING, "number": _NUMBER}
"""Types with the keywords that speak of them."""
TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")


class UnsupportedError(InvalidParameterError):
    """What a schema asks for can't be enforced; another choice of it may be."""


def unsupported(path: str, problem: str) -> NoReturn:
    """Raise UnsupportedError with the place in the schema."""
    raise UnsupportedError(f"json_schema: {path}: {problem}")


def refuse(path: str, problem: str) -> NoReturn:
    """Raise InvalidParameterError with the place in the schema."""
    raise InvalidParameterError(f"json_schema: {path}: {problem}")


def shown(value: Any) -> str:
    """A value for a message."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # a cycle; an integer of thousands of digits
        return "this"
    return text if len(text) <= 60 else text[:57] + "..."


def properties_of(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schemas of an object's properties, by name; none where they aren't a mapping."""
    properties = schema.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def merged(one: Mapping[str, Any], other: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The keywords of two schemas that have to hold both."""
    _check_neighbours(one, other, path)
    result = dict(one)
    for key, value in other.items():
        if key in IGNORED or key not in result or equal(result[key], value):
            result[key] = value
            continue
        before = result[key]
        if key == "properties" and isinstance(before, Mapping) and isinstance(value, Mapping):
            both = {
                name: {"allOf": [before[name], value[name]]} for name in value if name in before
            }
            result[key] = {**before, **value, **both}
        elif key == "required" and isinstance(before, list) and isinstance(value, list):
            result[key] = before + value
        elif key == "type":
            result[key] = _common_types(before, value)
        elif key == "enum" and isinstance(before, list) and isinstance(value, list):
            result[key] = [item for item in before if any(equal(item, other) for other in value)]
        elif key.startswith(("min", "exclusiveMin")) and are_numbers(before, value):
            result[key] = max(before, value)
        elif key.startswith(("max", "exclusiveMax")) and are_numbers(before, value):
            result[key] = min(before, value)
        else:
            refuse(path, f"{key!r} is given twice, and differently")
    return result


def _check_neighbours(one: Mapping[str, Any], other: Mapping[str, Any], path: str) -> None:
    """Refuse keywords that speak of what stands beside them, where that would be more.

    Raises:
        UnsupportedError: there are some.
    """
    for this, that in ((one, other), (other, one)):
        own, others = (properties_of(part) for part in (this, that))
        if this.get("additionalProperties", True) not in (True, {}) and set(others) - set(own):
            unsupported(path, "additionalProperties with properties elsewhere isn't supported")
        patterns = that.get("patternProperties")
        is_closed = this.get("additionalProperties", True) not in (True, {})
        if is_closed and patterns and not equal(this.get("patternProperties"), patterns):
            unsupported(path, "additionalProperties with patternProperties elsewhere")
        first = that.get("prefixItems")
        if "items" in this and first and not equal(first, this.get("prefixItems")):
            unsupported(path, "items with prefixItems elsewhere isn't supported")


def _common_types(*given: Any) -> list[Any]:
    """Types that both keywords allow; whole numbers are numbers."""
    one, other = ([*types] if isinstance(types, list) else [types] for types in given)
    for types, others in ((one, other), (other, one)):
        if "integer" in types and "number" in others:
            others[others.index("number")] = "integer"
    return [name for name in one if name in other]


def are_numbers(*values: Any) -> bool:
    """Whether all of them are JSON numbers."""
    return all(is_of(value, "number") for value in values)


def is_of(value: Any, type_name: str) -> bool:
    """Whether a JSON value is of a type."""
    if isinstance(value, bool):
        return type_name == "boolean"
    if isinstance(value, int):
        return type_name in ("integer", "number")
    if isinstance(value, float):
        return type_name == "number" or (type_name == "integer" and value.is_integer())
    kinds = {"object": Mapping, "array": list | tuple, "string": str, "null": NoneType}
    return type_name in kinds and isinstance(value, kinds[type_name])


def equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; True isn't 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def limit(
    flat: Mapping[str, Any], closed: str, left_out: str, strictest: Any, path: str
) -> tuple[float | None, bool]:
    """The limit that counts, and whether it is itself left out."""
    for name in (closed, left_out):
        value = flat.get(name, 0)
        if not are_numbers(value) or (isinstance(value, float) and not math.isfinite(value)):
            refuse(path, f"{name} must be a number, not {shown(value)}")
    if left_out in flat:
        value = flat[left_out]
        if strictest(flat.get(closed, value), value) == value:
            return value, True
    return flat.get(closed), False


Limit = TypeVar("Limit", int, float)


def within_digits(
    low: Limit | None, high: Limit | None, path: str
) -> tuple[Limit | None, Limit | None]:
    """Limits of as many digits as are written at most; None where one is beyond."""
    largest = 10**MAX_DIGITS - 1
    is_empty = low is not None and high is not None and low > high
    if is_empty or (low or 0) > largest or (high or 0) < -largest:
        refuse(path, f"no number of up to {MAX_DIGITS} digits is within these limits")
    low = None if low is None or low < -largest else low
    return low, None if high is None or high > largest else high

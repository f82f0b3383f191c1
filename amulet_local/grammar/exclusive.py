"""Whether no text that is written for one choice of `oneOf` is valid for another one.

Knows nothing about rules. A grammar can't say "this and not that", so the choices have to exclude
each other by their types, values, limits or properties. Objects with properties have no others than
those that are declared, unless a schema says so; the texts of an object are judged by that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from amulet_local.grammar.schema_keywords import TYPES, are_numbers, equal, is_of, properties_of

Flatten = Callable[[Any], Mapping[str, Any]]
"""One mapping instead of references and allOf."""

_MAX_DEPTH = 4
_LIMITS = {
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
}


def are_exclusive(one: Any, other: Any, flatten: Flatten, depth: int = 0) -> bool:
    """Whether neither's texts are valid for the other; False where that isn't clear."""
    if depth > _MAX_DEPTH or not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return one is False or other is False
    one, other = flatten(one), flatten(other)
    for this, that in ((one, other), (other, one)):
        for keyword in ("anyOf", "oneOf"):
            choices = this.get(keyword)
            if isinstance(choices, list) and choices:
                rest = {key: value for key, value in this.items() if key != keyword}
                return all(
                    are_exclusive({"allOf": [rest, choice]}, that, flatten, depth + 1)
                    for choice in choices
                )
    return _differ(one, other, flatten, depth)


def _differ(one: Mapping[str, Any], other: Mapping[str, Any], flatten: Flatten, depth: int) -> bool:
    values, others = _values(one), _values(other)
    if values is not None and others is not None:
        return not any(equal(a, b) for a in values for b in others)
    if values is not None or others is not None:
        schema = other if values is not None else one
        types = _types(schema)
        known = values if values is not None else others or []
        return not any(is_of(value, name) for value in known for name in types)
    common = _types(one) & _types(other)
    if common == {"object"}:
        return _objects_differ(one, other, flatten, depth)
    return all(
        any(_beyond(a, b, *_LIMITS[name]) for a, b in ((one, other), (other, one)))
        if name in _LIMITS
        else False
        for name in common
    )


def _objects_differ(
    one: Mapping[str, Any], other: Mapping[str, Any], flatten: Flatten, depth: int
) -> bool:
    """By a property that both have when one requires it, or that each lacks of the other's."""
    mine, theirs = properties_of(one), properties_of(other)
    required = {*_required(one), *_required(other)}
    if any(
        are_exclusive(mine[name], theirs[name], flatten, depth + 1)
        for name in required & mine.keys() & theirs.keys()
    ):
        return True
    return all(
        _is_closed(a) and not set(_required(b)) <= {*properties_of(a), *_required(a)}
        for a, b in ((one, other), (other, one))
    )


def _is_closed(schema: Mapping[str, Any]) -> bool:
    """Whether texts that are written for it have declared properties alone."""
    declared = bool(properties_of(schema) or _required(schema))
    return schema.get("additionalProperties", not declared) is False


def _beyond(one: Mapping[str, Any], other: Mapping[str, Any], low: str, high: str) -> bool:
    least, most = one.get(low), other.get(high)
    return are_numbers(least, most) and bool(least > most)  # type: ignore[operator]


def _values(schema: Mapping[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else None


def _types(schema: Mapping[str, Any]) -> set[str]:
    """The types of what is valid: all where none is said; whole numbers are numbers."""
    given = schema.get("type", list(TYPES))
    types = {name for name in (given if isinstance(given, list) else [given]) if name in TYPES}
    return types | ({"integer"} if "number" in types else set())


def _required(schema: Mapping[str, Any]) -> list[str]:
    required = schema.get("required")
    names = required if isinstance(required, list) else []
    return [name for name in names if isinstance(name, str)]

"""Schemas for tests, values that they allow, and a validator of their own."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from hypothesis import strategies as st

FORMATS = {
    "date": r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])",
    "time": r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[-+]([01]\d|2[0-3]):[0-5]\d)",
    "uuid": r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def is_valid(value: Any, schema: Any) -> bool:
    """Whether a value validates, for the keywords that these tests use."""
    if isinstance(schema, bool):
        return schema
    checks = []
    if "type" in schema:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        checks.append(any(_has_type(value, name) for name in types))
    if "const" in schema:
        checks.append(_same(value, schema["const"]))
    if "enum" in schema:
        checks.append(any(_same(value, item) for item in schema["enum"]))
    if "anyOf" in schema:
        checks.append(any(is_valid(value, item) for item in schema["anyOf"]))
    checks += [is_valid(value, item) for item in schema.get("allOf", [])]
    if isinstance(value, dict):
        checks += _object_checks(value, schema)
    elif isinstance(value, list):
        checks.append(schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf))
        first = schema.get("prefixItems", [])
        checks += [is_valid(*pair) for pair in zip(value, first, strict=False)]
        checks += [is_valid(item, schema.get("items", True)) for item in value[len(first) :]]
    elif isinstance(value, str):
        checks.append(schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", math.inf))
        if schema.get("format") in FORMATS and "maxLength" not in schema:
            checks.append(re.fullmatch(FORMATS[schema["format"]], value) is not None)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        checks.append(schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf))
        checks.append(value > schema.get("exclusiveMinimum", -math.inf))
        checks.append(value < schema.get("exclusiveMaximum", math.inf))
    return all(checks)


def _object_checks(value: dict[str, Any], schema: dict[str, Any]) -> list[bool]:
    properties = schema.get("properties", {})
    checks = [name in value for name in schema.get("required", [])]
    for name, item in value.items():
        checks.append(
            is_valid(item, properties.get(name, schema.get("additionalProperties", True)))
        )
    return [
        *checks,
        schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", math.inf),
    ]


def _has_type(value: Any, name: str) -> bool:
    if name in ("integer", "number"):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and (name == "number" or float(value).is_integer())
    return isinstance(value, TYPES[name])


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one) == json.dumps(other)


NAMES = st.text(st.sampled_from('abé"\\ {'), min_size=1, max_size=4)
TEXTS = st.text(st.sampled_from('abé€"\\/ {}[]:,\u2028'), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-99, 99) | TEXTS
LIMITS = st.none() | st.integers(-1200, 1200)


@st.composite
def integer_schemas(draw: st.DrawFn) -> dict[str, Any]:
    """Whole numbers, perhaps within limits."""
    low, width = draw(LIMITS), draw(st.none() | st.integers(0, 3000))
    schema: dict[str, Any] = {"type": "integer"}
    if low is not None:
        schema["minimum"] = low
    if width is not None:
        schema["maximum"] = (low or 0) + width
    if draw(st.booleans()):
        schema = {key.replace("mini", "exclusiveMini"): value for key, value in schema.items()}
        schema["maximum"] = schema.get("maximum", 5000) + 1
    return schema


@st.composite
def number_schemas(draw: st.DrawFn) -> dict[str, Any]:
    """Numbers, perhaps within limits, which may be left out."""
    low, width = draw(LIMITS), draw(st.none() | st.integers(1, 3000))
    schema: dict[str, Any] = {"type": "number"}
    if low is not None:
        schema[draw(st.sampled_from(["minimum", "exclusiveMinimum"]))] = low
    if width is not None:
        schema[draw(st.sampled_from(["maximum", "exclusiveMaximum"]))] = (low or 0) + width
    return schema


@st.composite
def string_schemas(draw: st.DrawFn) -> dict[str, Any]:
    """Strings, perhaps of a length or format."""
    schema: dict[str, Any] = {"type": "string"}
    if draw(st.booleans()):
        schema["minLength"] = draw(st.integers(0, 3))
        schema["maxLength"] = schema["minLength"] + draw(st.integers(0, 5))
    elif draw(st.booleans()):
        schema["format"] = draw(st.sampled_from([*FORMATS, "iri"]))
    return schema


@st.composite
def array_schemas(draw: st.DrawFn, items: st.SearchStrategy[Any]) -> dict[str, Any]:
    """Lists of one kind, or beginning with given kinds."""
    schema: dict[str, Any] = {"type": "array", "items": draw(items)}
    low = draw(st.integers(0, 2))
    if draw(st.booleans()):
        schema |= {"minItems": low, "maxItems": low + draw(st.integers(0, 3))}
    if draw(st.booleans()):
        schema["prefixItems"] = draw(st.lists(items, max_size=2))
    return schema


@st.composite
def object_schemas(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> dict[str, Any]:
    """Objects with declared properties, or with any."""
    if draw(st.booleans()) and draw(st.booleans()):
        low = draw(st.integers(0, 1))
        limits = {"minProperties": low, "maxProperties": low + draw(st.integers(0, 2))}
        return {"type": "object", "additionalProperties": draw(values)} | (
            limits if draw(st.booleans()) else {}
        )
    properties = draw(st.dictionaries(NAMES, values, min_size=1, max_size=4))
    required = [name for name in properties if draw(st.booleans())]
    return {"type": "object", "properties": properties, "required": required}


SCHEMAS = st.recursive(
    st.one_of(
        st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["null", "integer"]}]),
        integer_schemas(),
        number_schemas(),
        string_schemas(),
        st.fixed_dictionaries({"enum": st.lists(SCALARS, min_size=1, max_size=4)}),
        st.fixed_dictionaries({"const": st.lists(SCALARS, max_size=2)}),
    ),
    lambda inner: st.one_of(
        array_schemas(inner),
        object_schemas(inner),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}),
    ),
    max_leaves=6,
)
"""Schemas whose keywords `is_valid` knows."""
ANY_VALUE = st.recursive(
    SCALARS | st.integers(-1300, 4300) | st.decimals(-1300, 4300, places=3).map(float),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
"""JSON values of any kind."""


def values_of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that validate, written as the grammar has them: declared properties in order."""
    if "anyOf" in schema:
        return st.one_of([values_of(item) for item in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    kind = schema["type"][-1] if isinstance(schema["type"], list) else schema["type"]
    if kind == "integer":
        low = schema.get("minimum", schema.get("exclusiveMinimum", -(10**15)) + 1)
        return st.integers(low, schema.get("maximum", 10**15 - 1))
    if kind == "number":
        low = schema.get("minimum", schema.get("exclusiveMinimum", -(10**9)))
        high = schema.get("maximum", schema.get("exclusiveMaximum", 10**9))
        numbers = st.integers(low, high) | st.decimals(low, high, places=3).map(float)
        return numbers.filter(lambda number: is_valid(number, schema))
    if kind == "string":
        if schema.get("format") == "date":
            return st.dates().map(str)
        if schema.get("format") == "time":
            return st.times().map(lambda time: time.replace(microsecond=0).isoformat() + "Z")
        if schema.get("format") == "uuid":
            return st.uuids().map(str)
        low = schema.get("minLength", 0)
        characters = st.characters(exclude_categories=("Cs",), exclude_characters="\x7f")
        return st.text(characters, min_size=low, max_size=schema.get("maxLength", 20))
    if kind == "array":
        return _lists(schema)
    if kind == "object":
        return _objects(schema)
    return st.booleans() if kind == "boolean" else st.none()


def _lists(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    first = schema.get("prefixItems", [])
    high = schema.get("maxItems", len(first) + 3)
    first = first[:high]
    low = max(0, schema.get("minItems", 0) - len(first))
    rest = st.lists(values_of(schema["items"]), min_size=low, max_size=high - len(first))
    return st.tuples(st.tuples(*map(values_of, first)), rest).map(
        lambda parts: [*parts[0], *parts[1]]
    )


def _objects(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "properties" not in schema:
        return st.dictionaries(
            NAMES,
            values_of(schema["additionalProperties"]),
            min_size=schema.get("minProperties", 0),
            max_size=schema.get("maxProperties", 3),
        )

    @st.composite
    def build(draw: st.DrawFn) -> dict[str, Any]:
        return {
            name: draw(values_of(item))
            for name, item in schema["properties"].items()
            if name in schema["required"] or draw(st.booleans())
        }

    return build()

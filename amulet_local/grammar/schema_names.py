"""Which schemas of `patternProperties` speak of a property, by its name.

Knows nothing about grammars.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from amulet_local.grammar import json_rules as rules
from amulet_local.grammar.gbnf import parse
from amulet_local.grammar.pattern import PatternError, inside
from amulet_local.grammar.schema_keywords import refuse, shown, unsupported


def is_never(schema: Any) -> bool:
    """Whether a schema allows nothing, in as many words."""
    is_not = isinstance(schema, Mapping) and "not" in schema
    return schema is False or (is_not and schema["not"] in ({}, True))


def patterns_of(flat: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """The schemas by their patterns.

    Raises:
        InvalidParameterError: they are something else.
    """
    patterns = flat.get("patternProperties", {})
    if not isinstance(patterns, Mapping) or not all(isinstance(key, str) for key in patterns):
        refuse(path, "patternProperties must be an object")
    return patterns


def spoken_of(patterns: Mapping[str, Any], name: str, path: str) -> list[Any]:
    """The schemas whose patterns are found in a name.

    Raises:
        UnsupportedError: that can't be told.
    """
    if patterns and not name.isprintable():
        unsupported(path, f"'patternProperties' with the property {shown(name)} isn't supported")
    try:
        return [value for key, value in patterns.items() if _is_found(key, name)]
    except PatternError as error:
        unsupported(path, f"'patternProperties': {error}")


def declared_properties(
    properties: Mapping[str, Any],
    required: Sequence[str],
    undeclared: Any,
    patterns: Mapping[str, Any],
    path: str,
) -> dict[str, Any]:
    """The schema of each property that is named, without those that may be left out and can't be.

    Args:
        required: names; some may be none of `properties`.
        undeclared: the schema of such.
        patterns: see `patterns_of`.
    """
    found: dict[str, Any] = {}
    for name in dict.fromkeys([*properties, *required]):
        own = [properties[name]] if name in properties else []
        spoken = spoken_of(patterns, name, path)
        if spoken:
            found[name] = {"allOf": [*own, *spoken]}
        else:
            found[name] = own[0] if own else undeclared
    return {
        name: schema for name, schema in found.items() if name in required or not is_never(schema)
    }


def _is_found(pattern: str, name: str) -> bool:
    """By the automaton, which takes no longer for a hostile pattern."""
    from amulet_local.grammar.automaton import DEAD, Automaton  # NumPy, which help doesn't need

    written = json.dumps(name, ensure_ascii=False)
    body = f'"\\"" ({inside(pattern, 0, None)}) "\\""'
    made = Automaton(parse(f"root ::= {body}\nchar ::= {rules.PRIMITIVES['char']}\n"))
    state = made.start
    made.begin()
    for byte in written.encode():
        state = made.step(state, byte)
    return state != DEAD and made.may_end(state)

"""What programs that read `--json` can rely on: a version, and a JSON Schema of an answer.

Knows nothing about how answers are made.
"""

from __future__ import annotations

import json

from amulet_local.cli.terminal import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMAT = 1
"""Raised when a field goes away or means something else; new fields leave it as it is."""


def write_json(value: dict[str, Any], *, has_own_names: bool = False) -> None:
    """Write one JSON object on one line of ASCII, which is safe in any encoding.

    Args:
        has_own_names: its names aren't this program's: they say no version, what they name does.
    """
    versioned = value if has_own_names else {"format": FORMAT, **value}
    write(json.dumps(versioned, allow_nan=False) + "\n")


def answer_schema() -> dict[str, Any]:
    """The JSON Schema of an answer, as `generate --json` prints it."""
    from pydantic import TypeAdapter

    from amulet_local.common.results import Generation

    schema = TypeAdapter(Generation).json_schema(mode="serialization")
    for name in ("TokenTrace", "Alternative"):  # null is what is infinite
        schema["$defs"][name] = _nullable(schema["$defs"][name])
    usage = schema["$defs"]["Usage"]
    usage["properties"]["total_tokens"] = {"type": "integer"}
    properties = {
        "format": {"const": FORMAT, "description": "Of this output; see docs/json.md."},
        "model": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "path": {"type": "string"}},
            "required": ["name", "path"],
        },
        **schema["properties"],
        "settings": {
            "type": "object",
            "description": "Every setting that applied, and what it comes from.",
            "additionalProperties": {
                "type": "object",
                "properties": {"value": {}, "from": {"type": "string"}},
                "required": ["value", "from"],
            },
        },
    }
    optional = {"trace"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "An answer of amulet-local",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }


def _nullable(part: Any) -> Any:
    """A part of a schema in which every number may be null."""
    if isinstance(part, dict):
        if part.get("type") == "number":
            return {**part, "type": ["number", "null"]}
        return {name: _nullable(value) for name, value in part.items()}
    return [_nullable(value) for value in part] if isinstance(part, list) else part

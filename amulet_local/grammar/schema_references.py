"""What the references of a JSON Schema lead to: `#/...`, and `#name` for an `$anchor`.

Knows nothing about grammars. A reference that leaves the schema is refused; its own `$id` before
the `#` is the schema itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any
from urllib.parse import unquote

from amulet_local.grammar.schema_keywords import refuse, shown

_VALUES = ("enum", "const", "default", "example", "examples")
"""Keywords in which there are no schemas."""


class References:
    """Those of one schema."""

    def __init__(self, schema: Any) -> None:
        """Nothing is followed yet."""
        self._schema = schema

    def target(self, ref: Any, path: str) -> Any:
        """What a reference leads to.

        Raises:
            InvalidParameterError: it leads out of the schema, or to nothing.
        """
        own = self._schema.get("$id") if isinstance(self._schema, Mapping) else None
        before, _, place = ref.partition("#") if isinstance(ref, str) else ("", "", "")
        local = f"#{place}" if before and f"{before}#" in (own, f"{own}#") else ref
        if not isinstance(local, str) or not local.startswith("#"):
            refuse(path, f"only references within the schema (#/..., #name) work, not {shown(ref)}")
        if local == "#" or local.startswith("#/"):
            return self._at(local, path)
        found = self._anchored.get(unquote(local[1:]), [])
        if len(found) != 1:
            refuse(path, f"{'several schemas are' if found else 'nothing is'} at {shown(ref)}")
        return found[0]

    def _at(self, ref: str, path: str) -> Any:
        target = self._schema
        for step in ref.split("/")[1:]:
            step = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(target, Mapping) and step in target:
                target = target[step]
            elif isinstance(target, list) and step.isdecimal() and int(step) < len(target):
                target = target[int(step)]
            else:
                refuse(path, f"nothing is at {shown(ref)}")
        return target

    @cached_property
    def _anchored(self) -> dict[str, list[Any]]:
        """The schemas that have a name, without those of a schema with an `$id` of its own."""
        found: dict[str, list[Any]] = {}
        waiting, seen = [self._schema], set()
        while waiting:
            item = waiting.pop()
            if id(item) in seen or not isinstance(item, Mapping | list):
                continue
            seen.add(id(item))
            if isinstance(item, list):
                waiting += item
                continue
            named = item.get("$id")
            if isinstance(named, str) and item is not self._schema:
                continue
            name = item.get("$anchor")
            if isinstance(name, str):
                found.setdefault(name, []).append(item)
            waiting += [value for key, value in item.items() if key not in _VALUES]
        return found

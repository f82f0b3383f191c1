"""The functions that a model may call, checked, and whether it may or has to.

Knows nothing about how calls are written. The shapes are those of OpenAI's chat completions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from amulet_local.common.errors import InvalidParameterError
from amulet_local.common.readable import visible

MAX_TOOLS = 512
"""Functions in a request."""

_OF_UNNAMED = frozenset(
    {
        *("additionalProperties", "unevaluatedProperties", "patternProperties", "propertyNames"),
        *("$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "not", "dependentSchemas"),
        *("minProperties", "maxProperties", "const", "enum"),
    }
)
"""Keywords that may say something of arguments that `properties` doesn't name."""

_NAME = re.compile(r"[\w.:/-]{1,128}")


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What may be called.

    Attributes:
        shown: all of them, as templates take them: {"type": "function", "function": {"name",
            "description", "parameters"}}.
        names: of those that may be called now.
        forced: whether the answer has to be a call.
        parallel: whether it may be several.
    """

    shown: tuple[dict[str, Any], ...]
    names: tuple[str, ...]
    forced: bool = False
    parallel: bool = True

    def parameters(self, name: str) -> dict[str, Any]:
        """The JSON Schema of a function's arguments, which are an object.

        One that names no arguments and says nothing else of them has none, as at OpenAI.
        """
        (function,) = (tool["function"] for tool in self.shown if tool["function"]["name"] == name)
        schema = {"type": "object", **function["parameters"]}
        says_more = schema.get("required") or not _OF_UNNAMED.isdisjoint(schema)
        if not schema.get("properties") and not says_more:
            schema["additionalProperties"] = False
        return schema


def checked_tools(tools: Any, choice: Any = None, parallel: bool | None = None) -> Tools | None:
    """What may be called; None if nothing.

    Args:
        tools: a list of OpenAI's, or None.
        choice: "auto" (also None), "none", "required", an object that names a function, or one of
            those that are allowed.
        parallel: whether several calls may be made at once. If None, they may where the model
            calls of itself: forced to, small models don't come to an end.

    Raises:
        InvalidParameterError: one of them is something else.
    """
    if tools is None or (isinstance(tools, Sequence) and len(tools) == 0):
        if choice in (None, "auto", "none"):
            return None
        raise _error("tool_choice", "there are no tools to choose from")
    if isinstance(tools, str) or not isinstance(tools, Sequence):
        raise _error("tools", "must be a list")
    if len(tools) > MAX_TOOLS:
        raise _error("tools", f"there are {len(tools)}, the limit is {MAX_TOOLS}")
    if not isinstance(parallel, bool | None):
        raise _error("parallel_tool_calls", "must be true or false")
    shown = tuple(_checked(f"tools[{index}]", tool) for index, tool in enumerate(tools))
    names = tuple(tool["function"]["name"] for tool in shown)
    if len(set(names)) < len(names):
        raise _error("tools", "two functions have the same name")
    if choice == "none":
        return None
    chosen, forced = _chosen(choice, names)
    is_named = forced and isinstance(choice, Mapping) and choice.get("type") != "allowed_tools"
    return Tools(
        shown=shown,
        names=chosen,
        forced=forced,
        parallel=(not forced if parallel is None else parallel) and not is_named,
    )


def tool_named(name: str) -> dict[str, Any]:
    """A function without parameters, as templates take it."""
    return _checked("tools", {"function": {"name": name}})


def _checked(where: str, tool: Any) -> dict[str, Any]:
    if not isinstance(tool, Mapping) or tool.get("type", "function") != "function":
        raise _error(where, 'must be {"type": "function", "function": {...}}, and nothing else')
    function = tool.get("function")
    if not isinstance(function, Mapping):
        raise _error(where, "it has no function")
    name, description = function.get("name"), function.get("description")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _error(where, f"a name is 1 to 128 letters, digits and _.:/-, not {_shown(name)}")
    if not isinstance(description, str | None):
        raise _error(where, "the description must be a text")
    parameters = function.get("parameters")
    if not isinstance(parameters, Mapping | None):
        raise _error(where, "the parameters must be a JSON Schema")
    if (parameters or {}).get("type", "object") != "object":
        raise _error(where, 'the parameters must be a JSON Schema of type "object"')
    try:  # what comes of it is plain data that nobody changes
        schema = json.loads(json.dumps(parameters or {"type": "object", "properties": {}}))
    except (TypeError, ValueError, RecursionError):
        raise _error(where, "the parameters must be plain data") from None
    shown = {"name": name, "description": description or "", "parameters": schema}
    return {"type": "function", "function": shown}


def _chosen(choice: Any, names: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """The functions that may be called, and whether one has to be."""
    if choice in (None, "auto"):
        return names, False
    if choice in ("required", "any"):
        return names, True
    kind = choice.get("type") if isinstance(choice, Mapping) else None
    if kind == "function":
        function = choice.get("function", choice)
        name = function.get("name") if isinstance(function, Mapping) else None
        return (_known(name, names),), True
    if kind == "allowed_tools":
        allowed = choice.get("allowed_tools", choice)
        listed = allowed.get("tools") if isinstance(allowed, Mapping) else None
        if isinstance(listed, list) and listed:
            found = [_chosen(tool, names)[0][0] for tool in listed]
            return tuple(dict.fromkeys(found)), allowed.get("mode") == "required"
    raise _error(
        "tool_choice",
        'must be "auto", "none", "required" or {"type": "function", "function": {"name": ...}}',
    )


def _known(name: Any, names: Sequence[str]) -> str:
    if name not in names:
        raise _error("tool_choice", f"there is no function {_shown(name)} among the tools")
    return str(name)


def _shown(value: Any) -> str:
    return visible(repr(value)[:60])


def _error(where: str, problem: str) -> InvalidParameterError:
    return InvalidParameterError(f"{where}: {problem}")

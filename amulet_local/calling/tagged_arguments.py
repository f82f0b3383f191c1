"""Arguments that a model writes one by one between tags: the text of each, and not JSON.

    <parameter=city>
    Oslo
    </parameter>

Knows nothing about what stands around them. A parameter whose schema is a text is that text; any
other is JSON, but that True, False and None are written as Python has them, too, which is how
templates show them to the model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from amulet_local.calling import free_text
from amulet_local.common.readable import printable
from amulet_local.grammar.json_rules import quoted
from amulet_local.grammar.json_schema import to_rules

_CLOSING = "\n</parameter>"
_OPENING = re.compile(r"\s*<parameter=(?P<name>[^>\n]{1,200})>\n?")
_SHORTEST_SIGN = len("<parameter=")
_PYTHON = {"True": "true", "False": "false", "None": "null"}
_DEFINITIONS = ("$defs", "definitions")


def is_text(schema: Any) -> bool:
    """Whether a value is a text by its schema."""
    if not isinstance(schema, Mapping):
        return False
    if "type" not in schema and isinstance(schema.get("enum"), list):
        return all(isinstance(value, str) for value in schema["enum"])
    return schema.get("type") == "string"


def tagged_rules(parameters: Mapping[str, Any], prefix: str) -> tuple[dict[str, str], list[str]]:
    """Rules for the arguments of a function, `root` after the prefix; and what isn't enforced.

    They come in the order of the schema; one that isn't required may be left out.

    Args:
        parameters: the JSON Schema of all arguments, an object.
        prefix: of the rules' names.

    Raises:
        UnsupportedError, InvalidParameterError: see `to_rules`.
    """
    properties = parameters.get("properties") or {}
    if not properties:
        return {f"{prefix}root": '""'}, []
    required = set(parameters.get("required") or ())
    definitions = {name: parameters[name] for name in _DEFINITIONS if name in parameters}
    rules = {f"{prefix}root": f"{prefix}from0", f"{prefix}from{len(properties)}": '""'}
    warnings = []
    for i, (name, schema) in enumerate(properties.items()):
        here, rest = f"{prefix}value{i}-", f"{prefix}from{i + 1}"
        opening = f"ws {quoted(f'<parameter={name}>' + chr(10))}"
        if is_text(schema) and not schema.get("enum"):
            rules |= free_text.until(f"{here}text", {_CLOSING: rest}, may_end=False)
            rules[f"{prefix}with{i}"] = f"{opening} {here}text"
            if {"pattern", "minLength", "maxLength", "format", "const"} & set(schema):
                warnings.append(f"the text of {printable(name)} is held to nothing")
        else:
            value = _value(schema, definitions, here, rules)
            rules[f"{prefix}with{i}"] = f"{opening} {value} {quoted(_CLOSING)} {rest}"
        choices = [f"{prefix}with{i}"] + [rest] * (name not in required)
        rules[f"{prefix}from{i}"] = " | ".join(choices)
    return rules, warnings


def _value(schema: Any, definitions: Mapping[str, Any], prefix: str, rules: dict[str, str]) -> str:
    """An expression for a value, whose rules are added."""
    if is_text(schema):
        return "(" + " | ".join(quoted(text) for text in schema["enum"]) + ")"
    if isinstance(schema, Mapping):
        rules |= to_rules({**definitions, **schema}, prefix)
    else:
        rules |= to_rules(schema, prefix)
    if isinstance(schema, Mapping) and schema.get("type") == "boolean":
        return f'({prefix}root | "True" | "False")'
    return f"{prefix}root"


def tagged(arguments: Mapping[str, Any]) -> str:
    """Arguments as a model would write them."""
    return "".join(
        f"\n<parameter={name}>\n{value if isinstance(value, str) else json.dumps(value)}{_CLOSING}"
        for name, value in arguments.items()
    )


class TaggedArguments:
    """Makes JSON of arguments between tags, as their text comes.

    Attributes:
        is_whole: whether what follows can't be another argument.
    """

    def __init__(self, texts: frozenset[str]) -> None:
        """Nothing yet.

        Args:
            texts: names of the arguments that are texts.
        """
        self.is_whole = False
        self._texts = texts
        self._n = 0

    def take(self, text: str) -> tuple[str, int]:
        """The JSON that a text adds, and how many of its characters were read for that."""
        found = "".join(self._arguments(text))
        return found, self._n_read

    def _arguments(self, text: str) -> Iterator[str]:
        self._n_read = 0
        while not self.is_whole:
            rest = text[self._n_read :]
            opening = _OPENING.match(rest)
            if opening is None:
                begun = rest.lstrip()
                if "<parameter=".startswith(begun[:_SHORTEST_SIGN]) and "\n" not in begun:
                    return
                self.is_whole = True
                yield "}" if self._n else "{}"
                return
            end = rest.find(_CLOSING, max(0, opening.end() - 1))
            if end < 0:
                return
            name = opening["name"]
            value = rest[opening.end() : max(end, opening.end())]
            yield f"{', ' if self._n else '{'}{_json(name)}: {self._read(name, value)}"
            self._n += 1
            self._n_read += end + len(_CLOSING)

    def _read(self, name: str, value: str) -> str:
        if name in self._texts:
            return _json(value)
        stripped = value.strip()
        stripped = _PYTHON.get(stripped, stripped)
        try:
            json.loads(stripped)
        except (ValueError, RecursionError):
            return _json(value)
        return stripped


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)

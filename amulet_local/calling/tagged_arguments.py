"""Arguments that a model writes one by one between tags: the text of each, and not JSON.

    <parameter=city>
    Oslo
    </parameter>

or <arg_key>city</arg_key><arg_value>Oslo</arg_value>. Knows nothing about what stands around them.
A parameter whose schema is a text is that text; any other is JSON, but that True, False and None
are written as Python has them, too, which is how templates show them to the model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from amulet_local.calling import free_text
from amulet_local.common.readable import printable
from amulet_local.grammar.json_rules import quoted
from amulet_local.grammar.json_schema import to_rules

_LONGEST_NAME = 200
_PYTHON = {"True": "true", "False": "false", "None": "null"}
_DEFINITIONS = ("$defs", "definitions")


@dataclass(frozen=True, kw_only=True)
class ArgumentTags:
    """What stands around an argument's name and its value.

    Attributes:
        before: the name.
        after: the name, and before the value: in two parts where there may be white space between.
            A line end as its last character may be missing.
        closing: what comes after the value.
    """

    before: str
    after: tuple[str, ...]
    closing: str

    @cached_property
    def opening(self) -> re.Pattern[str]:
        """All that comes before a value, with the group `name`."""
        after = r"\s*".join(re.escape(part) for part in self.after)
        if self.after[-1].endswith("\n"):
            after += "?"
        name = rf"(?P<name>[^<>\n]{{1,{_LONGEST_NAME}}})"
        return re.compile(rf"\s*{re.escape(self.before)}{name}{after}")

    def may_begin(self, text: str) -> bool:
        """Whether a text, without white space before it, may become the opening of an argument."""
        if not self.before.startswith(text[: len(self.before)]):
            return False
        name, is_named, _ = text[len(self.before) :].partition(self.after[0].rstrip("\n"))
        return len(text) < 2 * _LONGEST_NAME and (bool(is_named) or "\n" not in name)

    def rule(self, name: str) -> str:
        """An expression in GBNF for the opening."""
        first, *others = self.after
        parts = [self.before + name + first, *others]
        return "ws " + " ws ".join(quoted(part) for part in parts)

    def written(self, name: str, value: str) -> str:
        """An argument as a model would write it."""
        return f"\n{self.before}{name}{chr(10).join(self.after)}{value}{self.closing}"


PARAMETER = ArgumentTags(before="<parameter=", after=(">\n",), closing="\n</parameter>")
"""Those of Qwen3-Coder, Qwen 3.5, Nemotron 3 and StepFun."""
PARAMETER_IN_LINE = ArgumentTags(before="<parameter=", after=(">",), closing="</parameter>")
"""Seed-OSS's."""
ARG_KEY = ArgumentTags(
    before="<arg_key>", after=("</arg_key>", "<arg_value>"), closing="</arg_value>"
)
"""GLM's."""


def is_text(schema: Any) -> bool:
    """Whether a value is a text by its schema."""
    if not isinstance(schema, Mapping):
        return False
    if "type" not in schema and isinstance(schema.get("enum"), list):
        return all(isinstance(value, str) for value in schema["enum"])
    return schema.get("type") == "string"


def tagged_rules(
    parameters: Mapping[str, Any], prefix: str, tags: ArgumentTags
) -> tuple[dict[str, str], list[str]]:
    """Rules for the arguments of a function, `root` after the prefix; and what isn't enforced.

    They come in the order of the schema; one that isn't required may be left out.

    Args:
        parameters: the JSON Schema of all arguments, an object.
        prefix: of the rules' names.
        tags: how they are written.

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
        opening = tags.rule(name)
        if is_text(schema) and not schema.get("enum"):
            rules |= free_text.until(f"{here}text", {tags.closing: rest}, may_end=False)
            rules[f"{prefix}with{i}"] = f"{opening} {here}text"
            if {"pattern", "minLength", "maxLength", "format", "const"} & set(schema):
                warnings.append(f"the text of {printable(name)} is held to nothing")
        else:
            value = _value(schema, definitions, here, rules)
            rules[f"{prefix}with{i}"] = f"{opening} {value} {quoted(tags.closing)} {rest}"
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


def tagged(arguments: Mapping[str, Any], tags: ArgumentTags) -> str:
    """Arguments as a model would write them."""
    return "".join(
        tags.written(name, value if isinstance(value, str) else json.dumps(value))
        for name, value in arguments.items()
    )


class TaggedArguments:
    """Makes JSON of arguments between tags, as their text comes.

    Attributes:
        is_whole: whether what follows can't be another argument.
    """

    def __init__(self, texts: frozenset[str], tags: ArgumentTags) -> None:
        """Nothing yet.

        Args:
            texts: names of the arguments that are texts.
            tags: how they are written.
        """
        self.is_whole = False
        self._tags = tags
        self._texts = texts
        self._n = 0

    def take(self, text: str) -> tuple[str, int]:
        """The JSON that a text adds, and how many of its characters were read for that."""
        found = "".join(self._arguments(text))
        return found, self._n_read

    def _arguments(self, text: str) -> Iterator[str]:
        self._n_read = 0
        closing = self._tags.closing
        while not self.is_whole:
            rest = text[self._n_read :]
            opening = self._tags.opening.match(rest)
            if opening is None:
                if self._tags.may_begin(rest.lstrip()):
                    return
                self.is_whole = True
                yield "}" if self._n else "{}"
                return
            end = rest.find(closing, opening.end() - closing.startswith("\n"))
            if end < 0:
                return
            name = opening["name"]
            value = rest[opening.end() : max(end, opening.end())]
            yield f"{', ' if self._n else '{'}{_json(name)}: {self._read(name, value)}"
            self._n += 1
            self._n_read += end + len(closing)

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

"""JSON Schema to a grammar whose texts are the JSON values that the schema allows.

Knows nothing about models. What a grammar can't enforce is refused, with the place in the schema:
an answer that matches also validates. Within that it is stricter than the schema where that
helps a model: properties come in their order, none that isn't declared, white space is limited.
Choices of `anyOf` that can't be enforced are left out, those of `oneOf` have to exclude each other.
A `format` without a rule says nothing, see schema_scalars.py. Unique items are those of an `enum`
in its order, or a single one.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from amulet_local.grammar import json_rules as rules
from amulet_local.grammar import schema_scalars as scalars
from amulet_local.grammar.exclusive import are_exclusive
from amulet_local.grammar.schema_keywords import (
    IGNORED,
    KEYWORDS,
    SUGGESTED_BY,
    TYPES,
    UnsupportedError,
    equal,
    is_of,
    merged,
    refuse,
    shown,
    unsupported,
)
from amulet_local.grammar.schema_names import declared_properties, is_never, patterns_of, spoken_of
from amulet_local.grammar.schema_references import References

MAX_CHARACTERS = 256 * 1024
"""Length of a schema given as text."""
MAX_DEPTH = 32
"""Schemas within schemas."""
MAX_EXCLUSIVE = 64
"""Choices of one `oneOf`, which are compared with each other."""
MAX_PARTS = 10_000
"""Keywords, properties and values of `enum`, references followed."""

Refs = frozenset[str]
"""References that are being followed."""


def to_gbnf(schema: Mapping[str, Any] | str) -> str:
    """The grammar, as text in GBNF, of a schema given as a mapping or as JSON text.

    Raises:
        InvalidParameterError: it isn't a schema, asks for what a grammar can't enforce, allows
            nothing, or is too large.
    """
    return "".join(f"{name} ::= {body}\n" for name, body in to_rules(schema).items())


def to_rules(schema: Mapping[str, Any] | str, prefix: str = "") -> dict[str, str]:
    """The rules of `to_gbnf` by name; those that aren't PRIMITIVES begin with the prefix.

    The value's rule is called `root`, after the prefix.

    Raises:
        As `to_gbnf`.
    """
    if isinstance(schema, str):
        if len(schema) > MAX_CHARACTERS:
            refuse("$", f"it has {len(schema)} characters, the limit is {MAX_CHARACTERS}")
        try:
            schema = json.loads(schema)
        except RecursionError:
            refuse("$", "it is nested too deeply")
        except ValueError as error:
            refuse("$", f"it isn't JSON: {error}")
    return _Converter(schema, prefix).rules()


def has_short_sets(schema: Mapping[str, Any] | str) -> bool:
    """Whether an array of different items has one at most in the grammar of a schema that has one,
    where the schema allows several.

    Raises:
        As `to_gbnf`.
    """
    text = schema if isinstance(schema, str) else json.dumps(schema)
    if "uniqueItems" not in text:
        return False
    converter = _Converter(json.loads(text), "")
    converter.rules()
    return converter.has_short_sets


class _Converter:
    """Walks one schema; the rules that come of it are shared where they are equal."""

    def __init__(self, schema: Any, prefix: str) -> None:
        self._schema, self._prefix = schema, prefix
        self._references = References(schema)
        self._n_parts = self._n_characters = 0
        self._rules: dict[str, str] = {}
        self._name_of: dict[str, str] = {}
        self._name_of_ref: dict[str, str] = {}
        self.has_short_sets = False

    def rules(self) -> dict[str, str]:
        root = self._visit(self._schema, "$", frozenset(), 0)
        for body in [root, *self._rules.values()]:
            self._add_primitives(body)
        return {f"{self._prefix}root": root, **self._rules}

    def _visit(self, schema: Any, path: str, refs: Refs, depth: int) -> str:
        """The name of the rule for a schema."""
        if depth > MAX_DEPTH:
            refuse(path, f"more than {MAX_DEPTH} schemas within each other")
        if isinstance(schema, Mapping) and isinstance(schema.get("$ref"), str):
            ref = schema["$ref"]
            if ref not in refs and schema.keys() <= {"$ref", *IGNORED}:
                return self._referred(ref, path, refs, depth)
        flat, refs = self._flatten(schema, path, refs, depth)
        for keyword in ("anyOf", "oneOf"):
            if keyword in flat:
                choices = flat.pop(keyword)
                if not isinstance(choices, list) or not choices:
                    refuse(path, f"{keyword} must be a list of schemas")
                return self._choices(flat, choices, f"{path}.{keyword}", refs, depth)
        types = self._types(flat, path)
        if "const" in flat or "enum" in flat:
            return self._rule(self._constants(flat, types, path))
        parts = [self._of_type(name, flat, path, refs, depth) for name in types or ("value",)]
        return self._rule(" | ".join(dict.fromkeys(parts)))

    def _referred(self, ref: str, path: str, refs: Refs, depth: int) -> str:
        """The rule of what is referred to, which may be inside of itself."""
        if ref not in self._name_of_ref:
            self._count(1, path)
            name = f"{self._prefix}ref{len(self._name_of_ref) + 1}"
            self._name_of_ref[ref] = self._rules[name] = name
            target = self._references.target(ref, path)
            self._rules[name] = self._visit(target, f"{path}.$ref", refs | {ref}, depth + 1)
        return self._name_of_ref[ref]

    def _choices(
        self, flat: Mapping[str, Any], choices: list[Any], path: str, refs: Refs, depth: int
    ) -> str:
        visited: dict[str, None] = {}
        problem: UnsupportedError | None = None
        if path.endswith("oneOf"):
            self._check_exclusive(flat, choices, path, refs, depth)
        for i, item in enumerate(choices):
            both = {"allOf": [flat, item]} if flat.keys() - IGNORED else item
            try:
                visited[self._visit(both, f"{path}[{i}]", refs, depth + 1)] = None
            except UnsupportedError as error:
                if path.endswith("oneOf"):  # what it allows has to be told apart from the others
                    raise
                problem = problem or error
        if problem is not None and not visited:
            raise problem
        return self._rule(" | ".join(visited))

    def _check_exclusive(
        self, flat: Mapping[str, Any], choices: list[Any], path: str, refs: Refs, depth: int
    ) -> None:
        """Refuse choices of which two may hold: texts of both can't be left out.

        Raises:
            UnsupportedError: there are such.
        """

        if len(choices) > MAX_EXCLUSIVE:
            refuse(path, f"more than {MAX_EXCLUSIVE} choices")
        n_parts = self._n_parts
        whole = [{"allOf": [flat, item]} if flat.keys() - IGNORED else item for item in choices]
        for i, item in enumerate(whole):
            self._flatten(item, f"{path}[{i}]", refs, depth + 1)
        for i, j in itertools.combinations(range(len(whole)), 2):
            self._n_parts = n_parts  # they are visited later, and counted then
            if not are_exclusive(
                whole[i], whole[j], lambda part: self._flatten(part, path, refs, depth + 1)[0]
            ):
                unsupported(
                    path, f"its choices {i} and {j} may hold both; take anyOf, or tell them apart"
                )
        self._n_parts = n_parts

    def _flatten(
        self, schema: Any, path: str, refs: Refs, depth: int
    ) -> tuple[dict[str, Any], Refs]:
        """One mapping instead of $ref and allOf, and the references that were followed."""
        if schema is True:
            return {}, refs
        if is_never(schema):
            unsupported(path, "nothing is allowed here")
        if not isinstance(schema, Mapping):
            refuse(path, f"a schema must be an object, not {shown(schema)}")
        if depth > MAX_DEPTH:
            refuse(path, f"more than {MAX_DEPTH} schemas within each other")
        self._count(len(schema) + 1, path)
        for keyword in schema:
            is_own = isinstance(keyword, str) and keyword.startswith("x-")
            if not is_own and keyword not in KEYWORDS and keyword not in IGNORED:
                unsupported(path, f"{shown(keyword)} isn't supported")
        flat = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        parts = []
        if "$ref" in schema:
            ref = schema["$ref"]
            target = self._references.target(ref, path)
            if ref in refs:
                refuse(path, f"the reference {shown(ref)} leads back to itself")
            parts.append((target, f"{path}.$ref", refs | {ref}))
        choices = schema.get("allOf", [])
        if not isinstance(choices, list):
            refuse(path, "allOf must be a list of schemas")
        parts += [(item, f"{path}.allOf[{i}]", refs) for i, item in enumerate(choices)]
        for part, where, followed in parts:
            more, followed = self._flatten(part, where, followed, depth + 1)
            flat = merged(flat, more, path)
            refs |= followed
        if "not" in flat:
            unsupported(path, "'not' isn't supported")
        return flat, refs

    def _types(self, flat: Mapping[str, Any], path: str) -> tuple[str, ...]:
        """The types that are allowed, () for all."""
        if "type" not in flat:
            if "enum" in flat or "const" in flat:
                return ()
            return tuple(
                name for name, keys in SUGGESTED_BY.items() if not flat.keys().isdisjoint(keys)
            )
        given = flat["type"]
        types = given if isinstance(given, list) else [given]
        for name in types:
            if name not in TYPES:
                refuse(path, f"unknown type {shown(name)}; there are {', '.join(TYPES)}")
        if not types:
            refuse(path, "type allows nothing")
        return tuple(dict.fromkeys(types))

    def _constants(self, flat: Mapping[str, Any], types: tuple[str, ...], path: str) -> str:
        values = flat.get("enum", [flat.get("const")])
        if not isinstance(values, list):
            refuse(path, "enum must be a list of values")
        self._count(len(values), path)
        literals = []
        for value in values:
            if "const" in flat and not equal(value, flat["const"]):
                continue
            if types and not any(is_of(value, name) for name in types):
                continue
            if not scalars.is_within(value, flat, path):
                continue
            try:
                literals.append(rules.constant(value))
            except (ValueError, TypeError, RecursionError):
                refuse(path, f"{shown(value)} isn't a JSON value")
        if not literals:
            refuse(path, "no value of enum and const is allowed")
        return " | ".join(dict.fromkeys(literals))

    def _of_type(
        self, name: str, flat: Mapping[str, Any], path: str, refs: Refs, depth: int
    ) -> str:
        """A value of one type; of any for "value"."""
        if name == "object":
            return self._object(flat, path, refs, depth)
        if name == "array":
            return self._array(flat, path, refs, depth)
        if name == "string":
            return scalars.string(flat, path, self._rule)
        if name == "integer":
            return scalars.integer(flat, path, self._rule)
        if name == "number":
            return scalars.number(flat, path, self._rule)
        return name

    def _object(self, flat: Mapping[str, Any], path: str, refs: Refs, depth: int) -> str:
        properties = flat.get("properties", {})
        if not isinstance(properties, Mapping) or not all(isinstance(k, str) for k in properties):
            refuse(path, "properties must be an object")
        required = flat.get("required", [])
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            refuse(path, "required must be a list of names")
        others = flat.get("additionalProperties", not properties and not required)
        names = flat.get("propertyNames", True)
        allowed = names.get("enum") if isinstance(names, Mapping) else None
        if allowed and not properties and isinstance(allowed, list):
            properties = {name: others for name in allowed if isinstance(name, str)}
            others, names = False, True
        key = self._names(names, path, depth)
        patterns = patterns_of(flat, path)
        if key != "string" and (properties or required or patterns):
            unsupported(path, "'propertyNames' together with properties isn't supported")
        low, high = scalars.limits(flat, "minProperties", "maxProperties", path)
        missing = [name for name in dict.fromkeys(required) if name not in properties]
        if others is False and "additionalProperties" in flat:
            for name in missing:
                if not spoken_of(patterns, name, path):
                    refuse(path, f"the property {shown(name)} is required and not allowed")
        if not properties and not missing:
            if patterns:
                key, others = self._named_so(patterns, path, depth)
            return self._map(key, others, low, high, path, depth)
        undeclared = True if others is False else others
        declared = declared_properties(properties, required, undeclared, patterns, path)
        if low > len(set(required)) or (high is not None and high < len(declared)):
            refuse(path, "minProperties and maxProperties don't work together with properties")
        pairs: list[tuple[str, bool]] = []
        for name, schema in declared.items():
            where = f"{path}.properties.{name if name.isidentifier() else shown(name)}"
            self._count(1, where)
            value = self._visit(schema, where, frozenset(), depth + 1)
            try:
                pair = self._rule(f'{rules.constant(name)} ":" ws {value}')
            except ValueError:
                refuse(path, f"the name {shown(name)} isn't text")
            pairs.append((pair, name in required))
        return f'"{{" ws {self._in_order(pairs)} ws "}}"'

    def _in_order(self, parts: Sequence[tuple[str, bool]]) -> str:
        """Parts with commas between them, those that aren't required or not.

        There are two rules for each: nothing is written before it, or something.
        """
        first = rest = '""'
        for part, is_required in reversed(parts):
            begun = part if rest == '""' else f"{part} {rest}"
            if is_required:
                first, rest = self._rule(begun), self._rule(f'"," ws {begun}')
            else:
                first = self._rule(f"{begun} | {first}")
                rest = self._rule(f'"," ws {begun} | {rest}')
        return first

    def _names(self, names: Any, path: str, depth: int) -> str:
        """What names of properties have to be."""
        if names is True:
            return "string"
        if not isinstance(names, Mapping):
            refuse(path, "propertyNames must be a schema of texts")
        return self._visit(
            {"allOf": [{"type": "string"}, names]}, f"{path}.propertyNames", frozenset(), depth + 1
        )

    def _named_so(self, patterns: Mapping[str, Any], path: str, depth: int) -> tuple[str, Any]:
        """What names of properties have to be that match a pattern, and the schema of the values.

        Raises:
            UnsupportedError: a name may match several, and they ask for other values.
        """
        first, *others = patterns.values()
        if any(not equal(first, other) for other in others):
            unsupported(path, "'patternProperties' with several schemas isn't supported")
        keys = [self._names({"pattern": pattern}, path, depth) for pattern in patterns]
        return self._rule(" | ".join(keys)), first

    def _map(
        self,
        key: str,
        others: Any,
        low: int,
        high: int | None,
        path: str,
        depth: int,
    ) -> str:
        """An object with names of the rule `key`, and values that `others` allows."""
        if low > 1:  # a name may come twice, which counts once
            refuse(path, "minProperties above 1 isn't supported")
        if others is False:
            if low > 0:
                refuse(path, "no property is allowed, and minProperties asks for one")
            return '"{" ws "}"'
        value = self._visit(others, f"{path}.additionalProperties", frozenset(), depth + 1)
        if (key, value) == ("string", "value") and (low, high) == (0, None):
            return "object"
        pair = self._rule(f'{key} ":" ws {value}')
        return f'"{{" ws {rules.listed(pair, low, high)} ws "}}"'

    def _array(self, flat: Mapping[str, Any], path: str, refs: Refs, depth: int) -> str:
        low, high = scalars.limits(flat, "minItems", "maxItems", path)
        if flat.get("uniqueItems") not in (None, False):
            return self._unique(flat, low, high, path, depth)
        items, first = flat.get("items", True), flat.get("prefixItems", [])
        if isinstance(items, list):  # as before draft 2020-12
            items, first = flat.get("additionalItems", True), items
        if not isinstance(first, list):
            refuse(path, "prefixItems must be a list of schemas")
        first = first if high is None else first[:high]
        parts = []
        for i, schema in enumerate(first):
            self._count(1, path)
            parts.append(self._visit(schema, f"{path}.prefixItems[{i}]", frozenset(), depth + 1))
        low = max(0, low - len(parts))
        high = None if high is None else high - len(parts)
        if parts and low == 0 and ("items" not in flat or items is True):
            high = 0
        if items is False or high == 0:
            if low > 0:
                refuse(path, "minItems asks for more items than are allowed")
            inside = ' "," ws '.join(parts) if parts else '""'
        else:
            item = self._visit(items, f"{path}.items", frozenset(), depth + 1)
            if parts:
                more = rules.times(f'("," ws {item})', low, high)
                inside = ' "," ws '.join(parts) + f" {more}"
            elif item == "value" and (low, high) == (0, None):
                return "array"
            else:
                inside = rules.listed(item, low, high)
        return f'"[" ws {inside} ws "]"'

    def _unique(
        self,
        flat: Mapping[str, Any],
        low: int,
        high: int | None,
        path: str,
        depth: int,
    ) -> str:
        """An array whose items differ: some of an enum, in its order, or one at most."""
        items = flat.get("items", True)
        if "prefixItems" in flat or isinstance(items, list) or items is False:
            unsupported(path, "'uniqueItems' together with prefixItems isn't supported")
        listed, _ = self._flatten(items, f"{path}.items", frozenset(), depth + 1)
        values = listed.get("enum")
        if isinstance(values, list) and low == 0 and (high is None or high >= len(values)):
            types = self._types(listed, path)
            each = list(
                dict.fromkeys(
                    self._constants({"enum": [value]}, types, path)
                    for value in values
                    if not types or any(is_of(value, name) for name in types)
                )
            )
            return f'"[" ws {self._in_order([(item, False) for item in each])} ws "]"'
        if low > 1:
            unsupported(path, "'uniqueItems' with several items is supported for an enum only")
        item = self._visit(items, f"{path}.items", frozenset(), depth + 1)
        most = 1 if high is None else min(high, 1)
        self.has_short_sets |= high is None or high > 1
        return f'"[" ws {rules.listed(item, low, most)} ws "]"'

    def _rule(self, body: str) -> str:
        """The name of the rule with this body."""
        if body in rules.PRIMITIVES or body in self._rules:
            return body
        if body not in self._name_of:
            self._n_characters += len(body)
            if self._n_characters > MAX_CHARACTERS:
                refuse("$", f"its grammar has more than {MAX_CHARACTERS} characters, the limit")
            name = f"{self._prefix}r{len(self._rules) + 1}"
            self._name_of[body], self._rules[name] = name, body
        return self._name_of[body]

    def _add_primitives(self, body: str) -> None:
        for name in re.findall("[a-z][a-z-]*", body):
            if name in rules.PRIMITIVES and name not in self._rules:
                self._rules[name] = rules.PRIMITIVES[name]
                self._add_primitives(self._rules[name])

    def _count(self, n_parts: int, path: str) -> None:
        self._n_parts += n_parts
        if self._n_parts > MAX_PARTS:
            refuse(path, f"more than {MAX_PARTS} parts up to here, references followed")

"""A grammar made of a schema matches JSON that validates, and what validates matches."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from amulet_local import Engine, SamplingParams
from amulet_local.common.errors import InvalidParameterError
from amulet_local.grammar import gbnf
from amulet_local.grammar.automaton import Automaton
from amulet_local.grammar.json_schema import to_gbnf
from amulet_local.grammar.schema_scalars import open_formats
from tests.grammar.reading import derived, matches
from tests.grammar.schemas import ANY_VALUE, SCHEMAS, is_valid, values_of

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def automaton(schema: Any) -> Automaton:
    return Automaton(gbnf.parse(to_gbnf(schema)))


@given(SCHEMAS, st.randoms(use_true_random=False))
@RELAXED
@pytest.mark.lengthy
def test_every_text_of_the_grammar_parses_and_validates(
    schema: dict[str, Any], random: Any
) -> None:
    grammar = gbnf.parse(to_gbnf(schema))
    for _ in range(5):
        text = derived(grammar, random.choice, most=200).decode()
        assert is_valid(json.loads(text), schema), text


@given(SCHEMAS, st.data())
@RELAXED
def test_valid_values_match(schema: dict[str, Any], data: st.DataObject) -> None:
    value = data.draw(values_of(schema))
    assert is_valid(value, schema)
    made = automaton(schema)
    layouts: list[dict[str, Any]] = [{}, {"indent": 2}, {"separators": (",", ":")}]
    for layout in layouts[:1] if "const" in str(schema) else layouts:
        text = json.dumps(value, ensure_ascii=False, **layout)
        if '"\\u' not in text and "e" not in re.sub('".*?"|true|false|null', "", text):
            assert matches(made, text), text


@given(SCHEMAS, ANY_VALUE)
@RELAXED
def test_what_matches_validates(schema: dict[str, Any], value: Any) -> None:
    if matches(automaton(schema), json.dumps(value, ensure_ascii=False)):
        assert is_valid(value, schema)


@pytest.mark.parametrize(
    "schema", [{}, "{}", "true", {"type": ["object", "array"]}, {"type": "object"}]
)
def test_any_json_is_as_deep_as_it_wants(schema: Any) -> None:
    text = '{"a": [1, -2.5e+3, "\\u00e9\\n", null, {"b": []}], "é": {"c": true}}'
    made = automaton(schema)
    assert matches(made, text)
    for other in ("", '{"a": 1,}', "{'a': 1}", '{"a": 01}', '"\n"', '"\\ud800"', "nul", "1 2"):
        assert not matches(made, other)


def test_keywords_that_say_nothing_are_ignored() -> None:
    schema = {"$schema": "x", "title": "T", "default": 3, "x-mine": 1, "enum": [1], "pattern-": 1}
    with pytest.raises(InvalidParameterError, match="'pattern-' isn't supported"):
        to_gbnf(schema)
    del schema["pattern-"]
    assert matches(automaton(schema), "1")


def test_references_are_followed_and_combine_with_what_is_beside_them() -> None:
    schema = {
        "$defs": {"a/b": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}}},
        "definitions": {},
        "allOf": [{"$ref": "#/$defs/a~1b"}, {"required": ["n", "m"]}],
        "properties": {"m": {"type": "string"}, "n": {"maximum": 5}},
    }
    schema["$defs"]["n"] = {"type": "integer", "minimum": 3}  # type: ignore[index]
    made = automaton(schema)
    assert matches(made, '{"m": "x", "n": 4}')
    for other in ('{"m": "x", "n": 6}', '{"m": "x", "n": 2}', '{"m": "x"}', '{"m": 1, "n": 4}'):
        assert not matches(made, other)


def test_choices_combine_with_what_is_beside_them() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    }
    made = automaton(schema)
    assert matches(made, '{"a": 1}')
    assert matches(made, '{"b": 1}')
    assert not matches(made, "{}")


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties]}


@pytest.mark.parametrize(
    ("choices", "one", "other"),
    [
        ([{"type": "string"}, {"type": ["null", "integer"]}], '"a"', "null"),
        ([{"const": 1}, {"enum": [2, 3]}, {"type": "string"}], "1", '"x"'),
        ([_object(k={"const": "a"}), _object(k={"const": "b"})], '{"k": "a"}', '{"k": "b"}'),
        ([_object(a={}), _object(b={})], '{"a": 1}', '{"b": 1}'),
        ([{"type": "integer", "maximum": 2}, {"type": "number", "minimum": 3}], "2", "3.5"),
        ([{"type": "string", "maxLength": 1}, {"type": "string", "minLength": 2}], '"a"', '"ab"'),
        ([{"anyOf": [{"const": 1}, {"const": 2}]}, {"const": 3}], "2", "3"),
    ],
)
def test_choices_that_exclude_each_other_are_taken(
    choices: list[Any], one: str, other: str
) -> None:
    made = automaton({"oneOf": choices})
    assert matches(made, one)
    assert matches(made, other)


@pytest.mark.parametrize(
    "choices",
    [
        [{"type": "integer"}, {"minimum": 2}],
        [{"type": "string", "minLength": 2}, {"type": "string", "maxLength": 4}],
        [True, True],
        [{"type": "number"}, {}],
        [{"const": 1}, {"type": "number"}],
        [{"required": ["a"]}, {"required": ["b"], "properties": {"a": {}}}],
        [_object(a={}), {**_object(a={}), "additionalProperties": True}],
        [_object(k={"type": "string"}), _object(k={"const": "b"})],
        [{"type": ["string", "integer"], "minLength": 3}, {"type": ["string", "integer"]}],
    ],
)
def test_choices_that_may_hold_both_are_refused(choices: list[Any]) -> None:
    with pytest.raises(InvalidParameterError, match="may hold both"):
        to_gbnf({"oneOf": choices})


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"prefixItems": [{"minimum": 3}]}], "items": {"minimum": 5}},
        {"allOf": [{"properties": {"a": {}}}], "additionalProperties": False},
        {
            "properties": {"b": {}},
            "allOf": [{"properties": {"a": {}}, "additionalProperties": {"type": "string"}}],
        },
    ],
)
def test_keywords_that_speak_of_their_neighbours_are_not_moved(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match="elsewhere"):
        to_gbnf(schema)


PATTERNS = [
    (r"^\d{4}-\d{2}-\d{2}$", ["2026-11-27"], ["2026-1-27", "x2026-11-27", ""]),
    ("b+", ["abc", "b", 'b"'], ["ac", ""]),
    ("^(foo|ba[rz])$", ["foo", "baz"], ["fo", "xfoo", "ba"]),
    ("^x$|^y", ["x", "yz"], ["xz", "zy"]),
    (r"^(?:a[^\]b-d]\.?){2,}?$", ["aea.", "aeaf."], ["aca.", "ae", "ab.ae"]),
    (r'^"\\\n$', ['"\\\n'], ['"\\', "n"]),
    (r"^\w\W\s\S$", ["a- b", "a é!"[:2] + " b"], ["abcd"]),
    (r"^\u0041[\x42é]$", ["AB", "Aé"], ["A", "AC"]),
    ("^$", [""], ["a"]),
    ("", ["", "abc"], []),
]


@pytest.mark.parametrize(
    ("pattern", "found", "missed"), PATTERNS, ids=lambda value: str(value)[:30]
)
def test_a_pattern_is_found_in_what_matches(
    pattern: str, found: list[str], missed: list[str]
) -> None:
    made = automaton({"type": "string", "pattern": pattern})
    for text in found:
        assert re.search(pattern, text)
        assert matches(made, json.dumps(text, ensure_ascii=False)), text
    for text in missed:
        assert not matches(made, json.dumps(text, ensure_ascii=False)), text


@pytest.mark.lengthy
@pytest.mark.parametrize(
    ("schema", "valid", "invalid"),
    [
        (
            {
                "type": "object",
                "properties": {
                    "label": {"type": "string", "maxLength": 5},
                    "children": {"type": "array", "maxItems": 2, "items": {"$ref": "#"}},
                },
                "required": ["label", "children"],
            },
            ['{"label": "a", "children": [{"label": "b", "children": []}]}'],
            ['{"label": "a", "children": [{"label": "b"}]}', '{"label": "abcdef", "children": []}'],
        ),
        (
            {"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"},
            ["[]", "[[], [[]]]"],
            ["[1]"],
        ),
        (
            {"type": "object", "propertyNames": {"type": "string", "enum": ["a", "b"]},
             "additionalProperties": {"type": "number"}},
            ["{}", '{"b": 1}', '{"a": 1, "b": 2}'],
            ['{"c": 1}', '{"a": "x"}', '{"a": 1, "a": 2}'],
        ),
        (
            {"type": "object", "propertyNames": {"pattern": "^[a-z]{2}$"}},
            ["{}", '{"ab": 1}'],
            ['{"a": 1}'],
        ),
        (
            {"type": "array", "uniqueItems": True, "items": {"enum": ["a", "b | c", "d"]}},
            ["[]", '["a", "d"]', '["b | c"]'],
            ['["a", "a"]', '["e"]'],
        ),
        (
            {"type": "array", "uniqueItems": True, "maxItems": 3, "items": {"type": "string"}},
            ["[]", '["a"]'],
            ['["a", "a"]'],
        ),
        (
            {"anyOf": [{"type": "number"}, {"type": "string", "pattern": "^(?!x).*$"}]},
            ["1.5"],
            ['"x"'],
        ),
        (
            {"type": "string", "minLength": 2500, "maxLength": 10_000},
            ['"' + "a" * n + '"' for n in (2500, 2501, 9999, 10_000)],
            ['"' + "a" * n + '"' for n in (0, 2499, 10_001)],
        ),
        (
            {"type": "string", "pattern": "^[a-z]+$", "maxLength": 3},
            ['"a"', '"abc"'],
            ['""', '"abcd"'],
        ),
        (
            {"type": "string", "format": "email", "maxLength": 20},
            ['"user@example.de"'],
            ['"user"', '"@a.de"', '"userusers@exampleexample.de"'],
        ),
        ({"type": "string", "format": "email"}, ['"a.b@c-d.e.org"'], ['"a..b@c.org"', '"a@b"']),
        (
            {"type": "string", "format": "uri", "minLength": 1, "maxLength": 40},
            ['"https://example.de/path"'],
            ['"example.de"', '"https://exampleexampleexample.de/pathpathpath"'],
        ),
        (
            {"type": "integer", "multipleOf": 7},
            ["0", "7", "-7", "1001", "777777777777"],
            ["1", "-1", "8", "07", "70.0", "1002"],
        ),
        (
            {"type": "number", "multipleOf": 60, "minimum": 0},
            ["0", "60", "120", "3600"],
            ["6", "-60", "61", "100", "00"],
        ),
        (
            {"type": "integer", "multipleOf": 15, "minimum": -20, "exclusiveMaximum": 60},
            ["-15", "0", "45"],
            ["-30", "60", "5"],
        ),
        (
            {"type": "number", "multipleOf": 0.01, "minimum": 0},
            ["0", "12.5", "12.50", "3.07"],
            ["-1", "0.001", ".5", "01", "1e2"],
        ),
        ({"type": "integer", "multipleOf": 0.5}, ["3", "-8"], ["0.5"]),
        ({"enum": [1, 2, 2.5, 3, "a"], "minimum": 2, "multipleOf": 0.5, "exclusiveMaximum": 3},
         ["2", "2.5", '"a"'], ["1", "3"]),
        ({"type": "integer", "multipleOf": 1.5}, ["3", "-9", "0"], ["1", "1.5"]),
        (
            {"type": "number", "multipleOf": 0.5},
            ["0", "-0.5", "3", "3.0", "12.5"],
            ["0.25", "1.55", "1e1"],
        ),
        (
            {"type": "number", "multipleOf": 1.5, "minimum": 0.1, "maximum": 6.2},
            ["1.5", "3", "4.5", "6"],
            ["0", "7.5", "2"],
        ),
        (
            {"type": "number", "multipleOf": 0.01, "minimum": 0, "maximum": 999.99},
            ["0", "0.07", "999.9", "999.99", "999", "12.50"],
            ["-1", "1000", "0.001"],
        ),
        (
            {"type": "number", "multipleOf": 0.25, "minimum": -200.5, "maximum": 0},
            ["0", "-200.5", "-200.25", "-3.75"],
            ["-200.75", "0.25", "-201"],
        ),
        (
            {"type": "number", "minimum": -3.4028234663852886e38, "maximum": 3.4028234663852886e38},
            ["0", "-1.5", "123456789012345"],
            ["1e99"],
        ),
        (
            {"patternProperties": {"^x-": {"type": "integer"}}, "additionalProperties": False},
            ["{}", '{"x-a": 1}', '{"x-": 1, "x-b": 2}'],
            ['{"a": 1}', '{"x-a": "b"}'],
        ),
        (
            {
                "properties": {"x-a": {"minimum": 3}, "b": {}},
                "required": ["x-c"],
                "patternProperties": {"^x-": {"type": "integer"}, "c$": {"maximum": 9}},
                "additionalProperties": False,
            },
            ['{"x-a": 3, "x-c": 9}', '{"b": "x", "x-c": -1}'],
            ['{"x-a": 2, "x-c": 9}', '{"x-c": 10}', '{"x-a": 3.5, "x-c": 9}', '{"x-a": 3}'],
        ),
        (
            {"$id": "http://a.b/c", "$defs": {"d": {"$anchor": "n", "type": "null"}},
             "items": {"anyOf": [{"$ref": "#n"}, {"$ref": "http://a.b/c#/$defs/d"}]}},
            ["[null]"],
            ["[1]"],
        ),
        (
            {"type": "object", "properties": {"a": {"not": {}}, "b": {}}, "minProperties": 0},
            ["{}", '{"b": 1}'],
            ['{"a": 1}'],
        ),
        (
            {"type": "string", "format": "hostname", "pattern":
             "^(?=.{1,253}\\.?$)[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
             "(?:\\.[a-zA-Z0-9](?:[-0-9a-zA-Z]{0,61}[0-9a-zA-Z])?)*\\.?$"},
            ['"a-b.example.org"'],
            ['"-a"', '"a..b"'],
        ),
        (
            {"type": "string", "pattern": "^[a-z][a-z0-9_]*$", "minLength": 2, "maxLength": 5},
            ['"ab"', '"a_9_z"'],
            ['"a"', '"a_9_zz"', '"1b"'],
        ),
        (
            {"type": "string", "pattern": "^[A-Z]{2,4}-[0-9]+$", "maxLength": 6},
            ['"AB-1"', '"AB-12"'],
            ['"AB-1234"', '"A-12"', '"AB-"'],
        ),
        (
            {"type": "string", "pattern": "^(a|bc)+$", "minLength": 3, "maxLength": 9},
            ['"aaa"', '"bcabc"'],
            ['"aa"', '"aaaaaaaaaa"', '"ac"'],
        ),
        (
            {"type": "string", "pattern": "[0-9]", "minLength": 2, "maxLength": 4},
            ['"a1"', '"a1b"'],
            ['"1"', '"abc"', '"1abcde"'],
        ),
        (
            {"type": "string", "format": "email", "maxLength": 30, "pattern":
             "^(?!\\.)(?!.*\\.\\.)([A-Za-z0-9_'+\\-\\.]*)[A-Za-z0-9_+-]@"
             "([A-Za-z0-9][A-Za-z0-9\\-]*\\.)+[A-Za-z]{2,}$"},
            ['"ann@example.org"', '"a.b@c.de"'],
            ['".a@b.cd"', '"a..b@c.de"', '"a@b"', '"ann.of.the.long.name@example.org"'],
        ),
        ({"type": "string", "format": "ipv4"}, ['"10.0.255.1"'], ['"256.1.1.1"', '"1.1.1"']),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_what_programs_ask_for_is_enforced(
    schema: dict[str, Any], valid: list[str], invalid: list[str]
) -> None:
    made = automaton(schema)
    for text in valid:
        assert matches(made, text), text
    for text in invalid:
        assert not matches(made, text), text
    grammar = gbnf.parse(to_gbnf(schema))
    random = Random(0)
    for _ in range(20):
        json.loads(derived(grammar, random.choice, most=200).decode())


COUNTS = st.sampled_from(["", "*", "+", "?", "{2}", "{1,3}", "{2,}", "{3,20}"])
PARTS = st.recursive(
    st.sampled_from(["a", "[a-c]", "\\d", "-", "[^x]"]),
    lambda parts: st.lists(st.tuples(parts, COUNTS).map("".join), min_size=1, max_size=3).map(
        lambda listed: f"({'|'.join(listed) if len(listed) == 2 else ''.join(listed)})"
    ),
    max_leaves=5,
)


@RELAXED
@given(PARTS, COUNTS, PARTS, st.integers(0, 12), st.integers(0, 30), st.randoms())
def test_texts_of_a_pattern_within_a_length_are_of_both(
    one: str, count: str, other: str, low: int, more: int, random: Random
) -> None:
    whole = {"type": "string", "pattern": f"^{one}{count}{other}$"}
    limits = {"minLength": low, "maxLength": low + more}
    try:
        grammar = gbnf.parse(to_gbnf({**whole, **limits}))
        of_pattern = automaton(whole)
        for _ in range(3):
            text = derived(grammar, random.choice, most=60).decode()
            assert low <= len(json.loads(text)) <= low + more
            assert matches(of_pattern, text)
    except InvalidParameterError:
        reject()


@pytest.mark.parametrize("n", [2, 3, 4, 7, 12, 16, 20, 300])
def test_multiples_of_a_number_are_the_numbers_that_it_divides(n: int) -> None:
    made = automaton({"type": "integer", "multipleOf": n})
    for value in (*range(-3 * n, 3 * n + 1), 10**6 // n * n, 10**6 // n * n + 1):
        assert matches(made, str(value)) == (value % n == 0), value


DECIMALS = st.decimals(-40, 40, places=2, allow_nan=False)


@given(DECIMALS, st.decimals(0, 3, places=3), st.booleans(), st.booleans(), st.data())
@RELAXED
def test_numbers_between_decimals_are_those_within_them(
    low: Decimal, width: Decimal, above: bool, below: bool, data: st.DataObject
) -> None:
    high = low + width + Decimal("0.001")
    schema = {
        "type": "number",
        "exclusiveMinimum" if above else "minimum": float(low),
        "exclusiveMaximum" if below else "maximum": float(high),
    }
    made = automaton(schema)
    near = st.decimals(low - 1, high + 1, places=data.draw(st.integers(0, 5)))
    for value in (low, high, -low, *data.draw(st.lists(near, min_size=5, max_size=5))):
        text = f"{value.normalize():f}"
        within = (low < value if above else low <= value) and (
            value < high if below else value <= high
        )
        assert matches(made, text) == within, text


def test_formats_that_are_left_open_are_named() -> None:
    schema = {
        "properties": {
            "a": {"type": "string", "format": "email"},
            "b": {"type": "string", "format": "iri"},
            "c": {"type": "string", "format": "date", "maxLength": 5},
            "format": {"type": "integer", "format": "int32"},
        }
    }
    assert open_formats(schema) == open_formats(json.dumps(schema)) == ["date", "iri"]
    warnings = SamplingParams(json_schema=schema).warnings
    assert warnings[1] == "json_schema: the format 'iri' isn't enforced"


def test_an_array_of_different_items_that_is_kept_short_is_named() -> None:
    different = {"type": "array", "uniqueItems": True}
    for items, more, is_short in (
        ({"type": "string"}, {}, True),
        ({"$ref": "#/$defs/a"}, {"maxItems": 3}, True),
        ({"type": "string"}, {"maxItems": 1}, False),
        ({"enum": ["a", "b"]}, {}, False),
    ):
        schema = {"items": {**different, **more, "items": items}, "$defs": {"a": {"type": "null"}}}
        lines = SamplingParams(json_schema=schema).warnings
        assert ["uniqueItems" in line for line in lines] == [True] * is_short


@pytest.mark.parametrize("step", [0.5, 0.25, 5])
def test_multiples_lie_within_limits_that_are_left_out(step: float) -> None:
    limits = {"exclusiveMinimum": -2.5, "exclusiveMaximum": 7.5}
    made = automaton({"type": "number", "multipleOf": step, **limits})
    for n in range(-20, 40):
        value = n * 0.25
        wanted = -2.5 < value < 7.5 and value % step == 0
        assert matches(made, f"{value:g}") == wanted, value


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


CYCLE: dict[str, Any] = {"type": "array"}
CYCLE["items"] = CYCLE
LAUGHS = {"$defs": {f"a{i}": {"anyOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 10} for i in range(9)}}
LAUGHS["$defs"]["a9"] = {"type": "null"}  # type: ignore[assignment]
REFUSED: list[tuple[Any, str]] = [
    ({"type": "text"}, "$: unknown type 'text'"),
    ({"properties": {"a": {"type": ["null", 5]}}}, "$.properties.a: unknown type 5"),
    ({"properties": {"a b": {"type": []}}}, "$.properties.'a b': type allows nothing"),
    ({"items": {"pattern": "(?=a)"}}, "$.items: 'pattern': groups that look around"),
    ({"type": "string", "pattern": "^ab$", "maxLength": 1}, "'pattern': together with such limits"),
    ({"type": "string", "pattern": "(a"}, "'pattern': a parenthesis isn't closed"),
    ({"type": "string", "pattern": "a{2,1}"}, "'pattern': repetitions must be"),
    ({"type": "string", "pattern": r"(a)\1"}, "isn't supported"),
    ({"type": "string", "pattern": "(" * 50}, "groups within each other"),
    ({"items": {"oneOf": [{}, {"not": {"const": 1}}]}}, "$.items.oneOf[1]: 'not' isn't supported"),
    ({"items": {"anyOf": [{"not": {"const": 1}}]}}, "$.items.anyOf[0]: 'not' isn't supported"),
    ({"items": {"anyOf": [{"not": {}}]}, "minItems": 1}, "$.items.anyOf[0]: nothing is allowed"),
    ({"type": "array", "uniqueItems": True, "minItems": 2}, "'uniqueItems' with several items"),
    ({"properties": {"a": {}}, "propertyNames": {"pattern": "^a"}}, "together with properties"),
    ({"type": "number", "multipleOf": 0.3}, "'multipleOf': a divisor that is no whole number"),
    ({"type": "number", "multipleOf": 0.5, "minimum": 0.4}, "limits that are no whole"),
    ({"type": "number", "multipleOf": 0.0005}, "'multipleOf': more than 200 fractions"),
    ({"type": "integer", "multipleOf": 17}, "'multipleOf': more than 16 remainders"),
    ({"type": "integer", "multipleOf": 5, "minimum": 7}, "'multipleOf': limits have to be"),
    ({"type": "integer", "multipleOf": 5, "minimum": 6, "maximum": 9}, "no multiple is within"),
    ({"type": "integer", "multipleOf": 0}, "multipleOf must be a number above 0"),
    ({1: 2}, "$: 1 isn't supported"),
    (False, "nothing is allowed"),
    ({"items": False, "minItems": 1}, "more items than are allowed"),
    ({"items": 3}, "$.items: a schema must be an object, not 3"),
    ("[1", "it isn't JSON"),
    ("[" * 100_000, "nested too deeply"),
    ('"' + "a" * 300_000 + '"', "262144"),
    ("[]", "a schema must be an object"),
    ({"$ref": "http://example.org/schema"}, "only references within"),
    ({"$ref": "other.json#/a"}, "only references within"),
    ({"$ref": 5}, "only references within"),
    ({"$ref": "#/$defs/a"}, "nothing is at '#/$defs/a'"),
    ({"$ref": "#"}, "leads back to itself"),
    ({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}, "leads back"),
    (CYCLE, "32 schemas within each other"),
    (nested(40), "32 schemas within each other"),
    ({"enum": list(range(20_000))}, "10000 parts"),
    ({"properties": {f"p{i}": {} for i in range(20_000)}}, "10000 parts"),
    ({"type": "string", "minLength": 10**9}, "the limit is 1000000"),
    ({"type": "array", "minItems": 2001}, "the limit is 2000"),
    ({"type": "array", "minItems": -1}, "minItems must be a whole number"),
    ({"type": "string", "maxLength": "5"}, "maxLength must be a whole number"),
    ({"type": "string", "maxLength": True}, "maxLength must be a whole number"),
    ({"type": "string", "minLength": 3, "maxLength": 2}, "minLength 3 is above maxLength 2"),
    ({"type": "integer", "minimum": 5, "maximum": 4}, "no number"),
    ({"type": "integer", "minimum": 0.2, "maximum": 0.8}, "no number"),
    ({"type": "integer", "minimum": 10**400}, "no number"),
    ({"type": "integer", "minimum": math.nan}, "minimum must be a number"),
    ({"type": "integer", "exclusiveMinimum": True}, "exclusiveMinimum must be a number"),
    ({"type": "number", "minimum": 0.5, "maximum": 0.4}, "no number of up to"),
    ({"type": "number", "minimum": 0.00000000001}, "one has too many digits"),
    ({"type": "number", "exclusiveMinimum": 123456789.5}, "one has too many digits"),
    ({"patternProperties": {"(?=a)": {}}}, "'pattern': groups that look around"),
    ({"patternProperties": {"a": {"type": "null"}, "b": {}}}, "with several schemas"),
    ({"patternProperties": 3}, "patternProperties must be an object"),
    ({"$ref": "#nothing"}, "nothing is at '#nothing'"),
    ({"$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x"}}, "$ref": "#x"}, "several schemas"),
    (
        {"$defs": {"a": {"$id": "b.json", "$anchor": "x"}}, "$ref": "#x"},
        "nothing is at '#x'",
    ),
    (
        {"additionalProperties": False, "allOf": [{"patternProperties": {"a": {}}}]},
        "patternProperties elsewhere",
    ),
    ({"type": "number", "minimum": 1, "exclusiveMaximum": 1}, "no number"),
    ({"enum": []}, "no value"),
    ({"enum": [1, 2], "type": "string"}, "no value"),
    ({"const": 3, "minimum": 4}, "no value"),
    ({"enum": ["abc"], "minLength": 4}, "'minLength' beside enum or const"),
    ({"enum": [math.inf]}, "isn't a JSON value"),
    ({"const": "\ud800"}, "isn't a JSON value"),
    ({"const": {1, 2}}, "isn't a JSON value"),
    ({"const": CYCLE}, "isn't a JSON value"),
    ({"enum": 5}, "enum must be a list"),
    ({"anyOf": []}, "anyOf must be a list"),
    ({"allOf": {}}, "allOf must be a list"),
    ({"allOf": [{"format": "date"}, {"format": "time"}]}, "'format' is given twice"),
    ({"properties": []}, "properties must be an object"),
    ({"required": "a"}, "required must be a list"),
    ({"required": ["a"], "additionalProperties": False}, "'a' is required and not allowed"),
    ({"properties": {"a": {}}, "minProperties": 1}, "don't work together"),
    ({"properties": {"a": {}, "b": {}}, "maxProperties": 1}, "don't work together"),
    ({"additionalProperties": False, "minProperties": 1}, "minProperties asks for one"),
    ({"additionalProperties": {}, "minProperties": 2}, "minProperties above 1 isn't supported"),
    ({"properties": {"\ud800": {}}}, "isn't text"),
]


def test_a_billion_ways_to_one_definition_are_one_rule() -> None:
    made = automaton({**LAUGHS, "$ref": "#/$defs/a0"})
    assert matches(made, "null")
    assert not matches(made, "1")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("schema", "words"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_a_grammar_cant_enforce_is_refused_with_its_place(schema: Any, words: str) -> None:
    with pytest.raises(InvalidParameterError, match=re.escape(words)) as caught:
        to_gbnf(schema)
    assert str(caught.value).startswith("json_schema: $")
    assert len(str(caught.value)) < 500


def test_a_schema_is_left_as_it_was() -> None:
    schema = {"allOf": [{"type": ["number"]}, {"type": ["integer"], "minimum": 0}]}
    before = json.dumps(schema)
    assert matches(automaton(schema), "3")
    assert not matches(automaton(schema), "3.5")
    assert json.dumps(schema) == before


def test_a_schema_beyond_what_a_grammar_may_be_is_refused() -> None:
    lengths = [{"type": "string", "maxLength": 1000 + i} for i in range(60)]
    with pytest.raises(InvalidParameterError, match="json_schema: it is too large"):
        SamplingParams(json_schema={"prefixItems": lengths, "items": False})
    with pytest.raises(InvalidParameterError, match="'pattern': it has 1000000 characters"):
        to_gbnf({"type": "string", "pattern": "a" * 10**6})
    many = [{"type": "string", "pattern": "a" * 9000 + str(n)} for n in range(40)]
    with pytest.raises(InvalidParameterError, match="its grammar has more than 262144 characters"):
        to_gbnf({"anyOf": many})


@given(SCHEMAS, st.sampled_from([0.0, 1.0]))
@settings(
    deadline=None,
    max_examples=6,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_real_answer_parses_and_validates(
    tiny_engine: Engine, schema: dict[str, Any], temperature: float
) -> None:
    answer = tiny_engine.generate(
        "Give an example as JSON.",
        sampling=SamplingParams(json_schema=schema, max_tokens=40, temperature=temperature, seed=1),
    )
    if answer.finish_reason == "stop":
        assert is_valid(json.loads(answer.text), schema)
    else:
        assert answer.finish_reason == "length"

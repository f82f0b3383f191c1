"""Calls in every form: what models write is read and allowed, and nothing else in a call is."""

from __future__ import annotations

import json
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from amulet_local import errors
from amulet_local.calling.call_grammar import Calling, calling
from amulet_local.calling.call_reader import CallReader
from amulet_local.calling.forms import FORMS, HERMES, CallForm, form_of
from amulet_local.calling.tools import Tools, checked_tools, tool_named
from amulet_local.grammar.automaton import Automaton
from amulet_local.prompts.chat_template import ChatTemplate
from tests.prompts.test_chat_template import FakeVocabulary

BY_NAME = {form.name: form for form in FORMS}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "special_function",
            "parameters": {
                "type": "object",
                "properties": {"arg1": {"type": "integer"}},
                "required": ["arg1"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "python",
            "parameters": {
                "type": "object",
                "properties": {"code": {"type": "string"}},
                "required": ["code"],
            },
        },
    },
]
ONE = ("special_function", '{"arg1": 1}')
CODE = ("python", '{"code": "print(\'<tool_call>}\\"\')"}')
CASES = [
    ("hermes", '<tool_call>\n{"name": "special_function", "arguments": {"arg1": 1}}\n</tool_call>'),
    ("hermes", '<tool_call>{"name":"special_function","arguments":{"arg1": 1}}</tool_call>'),
    (
        "hermes",
        '<tool_call>\n  {"name": "special_function", "arguments": {"arg1": 1}}\n</tool_call>',
    ),
    ("llama3", '{"name": "special_function", "parameters": {"arg1": 1}}'),
    ("mistral", '[TOOL_CALLS][{"name": "special_function", "arguments": {"arg1": 1}}]'),
    (
        "mistral",
        '[TOOL_CALLS][{"name": "special_function", "arguments": {"arg1": 1}, "id": "123456789"}]',
    ),
    ("mistral-ids", '[TOOL_CALLS]special_function[CALL_ID]123456789[ARGS]{"arg1": 1}'),
    ("mistral-args", '[TOOL_CALLS]special_function[ARGS]{"arg1": 1}'),
    (
        "deepseek",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>special_function<｜tool▁sep｜>"
        '{"arg1": 1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    ),
    (
        "deepseek-json",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>special_function\n"
        '```json\n{"arg1": 1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    ),
    (
        "harmony",
        "<|channel|>commentary to=functions.special_function <|constrain|>json"
        '<|message|>{"arg1": 1}',
    ),
    ("harmony", ' to=functions.special_function<|channel|>commentary json<|message|>{"arg1": 1}'),
    (
        "harmony",
        "<|start|>assistant<|channel|>commentary to=functions.special_function"
        '<|message|>{"arg1": 1}',
    ),
    (
        "kimi",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.special_function:0"
        '<|tool_call_argument_begin|>{"arg1": 1}<|tool_call_end|><|tool_calls_section_end|>',
    ),
    (
        "nemotron",
        '<TOOLCALL>[{"name": "special_function", "arguments": {"arg1": 1}}]</TOOLCALL>',
    ),
    ("granite", '<|tool_call|>[{"name": "special_function", "arguments": {"arg1": 1}}]'),
    (
        "tagged",
        "<tool_call>\n<function=special_function>\n<parameter=arg1>\n1\n</parameter>\n"
        "</function>\n</tool_call>",
    ),
    (
        "seed",
        "<seed:tool_call>\n<function=special_function>\n<parameter=arg1>1</parameter>\n"
        "</function>\n</seed:tool_call>",
    ),
    (
        "glm",
        "<tool_call>special_function\n<arg_key>arg1</arg_key>\n<arg_value>1</arg_value>\n"
        "</tool_call>",
    ),
    (
        "glm",
        "<tool_call>special_function<arg_key>arg1</arg_key><arg_value>1</arg_value></tool_call>",
    ),
    ("functionary", '<function=special_function>{"arg1": 1}</function>'),
    (
        "apriel",
        '<tool_calls>[{"name": "special_function", "arguments": {"arg1": 1}}]</tool_calls>',
    ),
]
"""What llama.cpp's tests of its parsers have models say, one call each."""


def tools(choice: Any = None, parallel: bool | None = None) -> Tools:
    checked = checked_tools(TOOLS, choice, parallel)
    assert checked is not None
    return checked


def read(
    form: CallForm, text: str, n: int, fences: Any = None
) -> tuple[str, list[tuple[str, str]], list[str]]:
    """What is said, the calls, and their ids, of a text in pieces of n characters."""
    reader = CallReader(form, fences, {"python": frozenset({"code"})})
    said, arguments = "", {}
    for start in range(0, len(text), n):
        more, pieces = reader.push(text[start : start + n])
        said += more
        for piece in pieces:
            arguments[piece.index] = arguments.get(piece.index, "") + piece.arguments
    calls = reader.calls
    assert [call.arguments for call in calls] == list(arguments.values())
    return said + reader.finish(), [(c.name, c.arguments) for c in calls], [c.id for c in calls]


def ends(made: Calling, text: bytes) -> list[bool]:
    """Whether an answer may end, after each byte of a text."""
    automaton = Automaton(made.rules)
    states = accumulate(text, automaton.step, initial=automaton.start)
    return [automaton.may_end(state) for state in states]


def allowed(made: Calling, text: str) -> bool:
    """Whether an answer may be this text."""
    return ends(made, text.encode())[-1]


@pytest.mark.parametrize(("name", "text"), CASES, ids=[name for name, _ in CASES])
def test_what_models_write_is_read_and_allowed(name: str, text: str) -> None:
    form = BY_NAME[name]
    for n in (1, 7, len(text)):
        said, calls, ids = read(form, text, n)
        assert (said, calls) == ("", [ONE])
        assert all(len(key) == 9 and key.isalnum() for key in ids)
        assert ids == ["123456789"] or "[CALL_ID]" not in text
    for choice in ("auto", "required", {"type": "function", "function": {"name": ONE[0]}}):
        made = calling(tools(choice), form)
        assert allowed(made, text) is True
        value = {"tagged": "\n1\n", "seed": ">1<", "glm": ">1<"}.get(name, "1}")
        for wrong in (
            text.replace(value, value.replace("1", '"x"')),
            text.replace("special_", "other_"),
        ):
            assert allowed(made, wrong) is False
        begun = max((t for t in form.triggers if text.startswith(t)), key=len)
        call = text[: text.index(value)].encode()
        assert not any(ends(made, call)[len(begun.encode()) :])  # it may not end in a call
    python = calling(tools({"type": "function", "name": "python"}), form)
    assert allowed(python, text) is False


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_the_example_of_a_form_is_one(form: CallForm) -> None:
    text = form.example(*CODE)
    assert read(form, text, 3)[:2] == ("", [CODE])
    assert allowed(calling(tools("required"), form), text) is True


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_what_is_said_before_a_call_is_free_and_told_apart(form: CallForm) -> None:
    said = "Let me <see> {it} [now] < | to=f, `x`"
    made = calling(tools(), form)
    assert allowed(made, said) is True
    assert read(form, said, 1)[:2] == (said, [])
    assert allowed(calling(tools("required"), form), said) is False
    if not form.only_at_start:
        text = f"{said}\n\n{form.example(*ONE)}"
        assert allowed(made, text) is True
        assert read(form, text, 1)[:2] == (said, [ONE])


@pytest.mark.parametrize(
    "form", [f for f in FORMS if f.between and f.tags is None], ids=lambda form: form.name
)
def test_several_calls_are_told_apart(form: CallForm) -> None:
    one, other = (form.example(*call) for call in (ONE, CODE))
    head = form.example("special_function", "")
    shared = len(form.triggers[0])
    start = one[: one.index(ONE[1]) + len(ONE[1])]
    tail, end = one[len(start) :], ""
    for closing in ("]</TOOLCALL>", "]</tool_calls>", "<｜tool▁calls▁end｜>", "]"):
        if tail.endswith(closing) and form.end:
            tail, end = tail.removesuffix(closing), closing
            break
    if form.name == "kimi":
        tail, end = "<|tool_call_end|>", "<|tool_calls_section_end|>"
    begin = other[shared:].lstrip("[\n") if form.end and form.between == "," else other[shared:]
    between = {",": ", "}.get(form.between, form.between.replace("~", "\n"))
    if form.end and form.between != ",":
        begin = begin.removeprefix(form.between.replace("~", ""))
    begin = begin[: begin.index(CODE[1]) + len(CODE[1])]
    text = start + tail + between + begin + tail + end
    assert head
    assert read(form, text, 4)[:2] == ("", [ONE, CODE]), text
    assert allowed(calling(tools(), form), text) is True, text
    assert allowed(calling(tools(parallel=False), form), text) is False
    assert allowed(calling(tools("required"), form), text) is False
    assert allowed(calling(tools("required", parallel=True), form), text) is True


TAGGED = BY_NAME["tagged"]


@pytest.mark.parametrize("form", [f for f in FORMS if f.tags], ids=lambda form: form.name)
def test_several_tagged_calls_are_told_apart(form: CallForm) -> None:
    text = f"{form.example(*ONE)}\n{form.example(*CODE)}"
    assert read(form, text, 4)[:2] == ("", [ONE, CODE])
    assert allowed(calling(tools(), form), text) is True
    assert allowed(calling(tools(parallel=False), form), text) is False


@pytest.mark.parametrize("form", [f for f in FORMS if f.tags], ids=lambda form: form.name)
def test_tags_are_read_whatever_stands_in_a_text(form: CallForm) -> None:
    for code in ("", "\n", "a\n\nb", "<b>1 < 2</b>", "</", '"', "\\n"):
        call = ("python", json.dumps({"code": code}))
        text = form.example(*call)
        assert allowed(calling(tools("required"), form), text) is True
        for n in (1, 5, len(text)):
            assert read(form, text, n)[:2] == ("", [call])
    assert read(form, form.example("f", "{}"), 1)[:2] == ("", [("f", "{}")])


def function(**properties: Any) -> Tools:
    parameters = {"type": "object", "properties": properties, "required": [*properties][:1]}
    checked = checked_tools([{"function": {"name": "f", "parameters": parameters}}], "required")
    assert checked is not None
    return checked


def tagged_call(**arguments: str) -> str:
    between = "".join(f"<parameter={k}>\n{v}\n</parameter>\n" for k, v in arguments.items())
    return f"<tool_call>\n<function=f>\n{between}</function>\n</tool_call>"


@pytest.mark.parametrize(
    ("schema", "written", "value"),
    [
        ({"type": "string"}, 'a "b"\n\n{c}</param', 'a "b"\n\n{c}</param'),
        ({"type": "string"}, "", ""),
        ({"type": "string"}, "7", "7"),
        ({"enum": ["a", 'b"']}, 'b"', 'b"'),
        ({"type": "integer"}, "7", 7),
        ({"type": "boolean"}, "True", True),
        ({"type": "boolean"}, "false", False),
        ({"type": "array", "items": {"type": "number"}}, "[1, 2.5]", [1, 2.5]),
        ({"type": "object", "properties": {"x": {"type": "null"}}}, '{"x": null}', {"x": None}),
        ({"$ref": "#/$defs/n"}, "7", 7),
    ],
)
def test_a_tagged_argument_is_what_its_schema_says(schema: Any, written: str, value: Any) -> None:
    offered = function(one=schema)
    if "$ref" in schema:
        offered.shown[0]["function"]["parameters"]["$defs"] = {"n": {"type": "integer"}}
    made = calling(offered, TAGGED)
    text = tagged_call(one=written)
    assert allowed(made, text) is True
    reader = CallReader(TAGGED, None, made.texts)
    for character in text:
        reader.push(character)
    assert json.loads(reader.calls[0].arguments) == {"one": value}


def test_tagged_arguments_that_may_be_left_out_are_none() -> None:
    made = calling(function(one={"type": "integer"}, two={"type": "string"}), TAGGED)
    assert allowed(made, tagged_call(one="1")) is True
    assert allowed(made, tagged_call(one="1", two="x")) is True
    assert allowed(made, tagged_call(two="x")) is False
    assert allowed(made, tagged_call(one="x")) is False
    assert read(TAGGED, tagged_call(), 3)[1] == [("f", "{}")]
    assert allowed(calling(function(), TAGGED), tagged_call()) is True


def test_what_a_tagged_text_isnt_held_to_is_said() -> None:
    made = calling(function(one={"type": "string", "pattern": "a+"}), TAGGED)
    assert any("one" in warning for warning in made.warnings)


def test_a_call_within_reasoning_is_none() -> None:
    tags = {"<think>": "</think>"}
    call = HERMES.example(*ONE)
    thought = "<think>I could write <tool_call> here</think>\n\n"
    for choice in ("auto", "required"):
        made = calling(tools(choice), HERMES, reasoning_tags=tags)
        assert allowed(made, thought + call) is True
        assert allowed(made, thought + call.replace("special", "other")) is False
        opened = calling(tools(choice), HERMES, closing_tag="</think>")
        assert allowed(opened, thought.removeprefix("<think>") + call) is True
    harmony = BY_NAME["harmony"]
    text = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant" + harmony.example(*ONE)
    assert allowed(calling(tools("required"), harmony), text) is True


@pytest.mark.parametrize("indent", [None, 0, 2, 4])
@pytest.mark.parametrize("fence", ["So:\n```json\n@\n```", "So:\n@", "So:\n{@", "So:\n<tools>\n@"])
def test_bare_json_is_a_call_where_it_is_a_tools(indent: int | None, fence: str) -> None:
    """What Qwen2.5-Coder writes in place of its template's form."""
    made = calling(tools(), HERMES)
    call = {"name": "special_function", "arguments": {"arg1": 1}}
    text = fence.replace("@", json.dumps(call, indent=indent))
    assert allowed(made, text)
    assert not allowed(made, text.replace("1}" if indent is None else "1\n", '"x"'))
    for n in (1, 5, len(text)):
        said, [(name, arguments)], _ = read(HERMES, text, n, made.fences)
        assert (said, name, json.loads(arguments)) == ("So:", call["name"], call["arguments"])
    for other in (text.replace("special", "other"), text.replace("arguments", "description")):
        assert allowed(made, other)
        assert read(HERMES, other, 3, made.fences)[:2] == (other, [])


def test_what_is_said_may_be_held_to_a_schema() -> None:
    made = calling(tools(), HERMES, said={"type": "object", "properties": {"a": {"type": "null"}}})
    assert allowed(made, '{"a": null}') is True
    assert allowed(made, HERMES.example(*ONE)) is True
    assert allowed(made, "Hello") is False


def test_json_that_begins_an_answer_is_a_call_where_the_form_says_so() -> None:
    form = BY_NAME["llama3"]
    assert read(form, 'So: {"name": "special_function", "parameters": {}}', 3)[1] == []
    assert read(form, '{"nama": 1}', 2)[:2] == ('{"nama": 1}', [])
    made = calling(tools(), form)
    assert allowed(made, '{"nama": 1}') is True
    assert allowed(made, '{"name": "Bob"}') is False


def test_a_call_that_was_cut_has_what_there_is_of_it() -> None:
    text = HERMES.example(*ONE)
    assert read(HERMES, text[: text.index(": 1")], 2)[1] == [("special_function", '{"arg1"')]
    assert read(HERMES, "Hi <tool", 2)[:2] == ("Hi <tool", [])


@pytest.mark.parametrize(
    ("parameters", "free"),
    [
        (None, False),
        ({}, False),
        ({"type": "object"}, False),
        ({"type": "object", "properties": {}}, False),
        ({"type": "object", "properties": {}, "required": [], "title": "None"}, False),
        ({"type": "object", "additionalProperties": True}, True),
        ({"type": "object", "properties": {}, "additionalProperties": {"type": "integer"}}, True),
    ],
)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_function_that_names_no_arguments_gets_none(
    form: CallForm, parameters: Any, free: bool
) -> None:
    given = {"function": {"name": "f", "parameters": parameters}}
    checked = checked_tools([given], "required")
    assert checked is not None
    made = calling(checked, form)
    assert allowed(made, form.example("f", "{}")) is True
    if form.tags is None:
        assert allowed(made, form.example("f", '{"a": 1}')) is free
    assert made.warnings == ()


def test_a_schema_that_no_grammar_says_is_named_in_a_warning() -> None:
    given = tool_named("f")
    given["function"]["parameters"] = {"properties": {"a": {"not": {"type": "null"}}}}
    checked = checked_tools([given], "required")
    assert checked is not None
    made = calling(checked, HERMES)
    assert "arguments of f" in made.warnings[0]
    assert allowed(made, HERMES.example("f", '{"b": [1]}')) is True


@pytest.mark.parametrize(
    ("given", "choice", "said"),
    [
        ("f", None, "must be a list"),
        ([1], None, "tools[0]"),
        ([{"type": "web_search"}], None, "tools[0]"),
        ([{"type": "function"}], None, "no function"),
        ([{"type": "function", "function": {"name": "a b"}}], None, "a name is"),
        ([tool_named("f"), tool_named("f")], None, "same name"),
        ([{"function": {"name": "f", "parameters": {"type": "array"}}}], None, "object"),
        ([{"function": {"name": "f", "parameters": 1}}], None, "parameters"),
        ([], "required", "no tools"),
        ([tool_named("f")], "sometimes", "tool_choice"),
        ([tool_named("f")], {"type": "function", "function": {"name": "g"}}, "no function 'g'"),
    ],
)
def test_tools_that_are_none_are_refused(given: Any, choice: Any, said: str) -> None:
    with pytest.raises(errors.InvalidParameterError) as raised:
        checked_tools(given, choice)
    assert said in str(raised.value)


def test_some_of_the_tools_may_be_allowed() -> None:
    listed = [{"type": "function", "function": {"name": "python"}}]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": listed}}
    made = tools(choice)
    assert (made.names, made.forced, len(made.shown)) == (("python",), True, 2)


IN_WORDS = {
    "Kimi-K2-Instruct",
    "Kimi-K2-Thinking",
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B",
    "ibm-granite-granite-3.3-2B-Instruct",
}
"""Templates that leave past calls out, or change lists, which none may."""


@pytest.mark.sdist
def test_real_templates_write_calls_in_the_form_that_is_found_for_them(sdist_models: Path) -> None:
    """A history's call, as the template has it, is read back and allowed."""
    call = {"id": "abcdefghi", "type": "function"}
    call["function"] = {"name": "special_function", "arguments": '{"arg1": "qzval"}'}  # type: ignore
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "abcdefghi", "content": "seven"},
    ]
    found: dict[str, str] = {}
    in_words = set()
    for path in sorted((sdist_models / "templates").glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        form = form_of(source)
        if form is None:
            continue
        found[path.stem] = form.name
        template = ChatTemplate(source, FakeVocabulary("<|x|>"))
        shown = {"tools": [*tools().shown]} if template.takes_tools else {}
        text = template.encode(messages, template_arguments=shown).text
        assert not shown or "special_function" in text
        if not template.writes_calls:
            in_words.add(path.stem)
            continue
        end = text.rindex("qzval")
        start = max(text.rfind(trigger, 0, end) for trigger in form.triggers)
        _, calls, _ = read(form, text[start : end + 200], 5)
        assert calls[:1] == [("special_function", '{"arg1": "qzval"}')], (path.stem, text[start:])
    assert in_words == IN_WORDS
    assert set(found.values()) == {form.name for form in FORMS}
    assert {
        "Qwen-Qwen3-0.6B": "hermes",
        "meta-llama-Llama-3.1-8B-Instruct": "llama3",
        "mistralai-Mistral-Nemo-Instruct-2407": "mistral",
        "openai-gpt-oss-120b": "harmony",
        "deepseek-ai-DeepSeek-V3.1": "deepseek",
    }.items() <= found.items()

"""Chat completions in OpenAI's shape, checked against llama-cpp-python's own types and answers."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ConfigDict, TypeAdapter, with_config

from amulet_local import Engine, Preference, SamplingParams, errors, load
from amulet_local.openai.asked import AskCompletion
from amulet_local.openai.chat_completion import ChatCompletionFields
from amulet_local.openai.shapes import ChatAnswers
from tests.scripted import scripted_engine

TOOL = {"type": "function", "function": {"name": "clock"}}

MESSAGES = [{"role": "user", "content": "What is yeast?"}]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with scripted_engine(n_ctx=512, reproducible=True) as engine:
        yield engine


def test_names_and_defaults_are_those_of_llama_cpp_python() -> None:
    from llama_cpp import Llama

    theirs = dict(inspect.signature(Llama.create_chat_completion).parameters)
    del theirs["self"], theirs["messages"]
    ours = {name: ChatCompletionFields.model_fields[name].default for name in theirs}
    wanted = {name: parameter.default for name, parameter in theirs.items()}
    assert wanted.pop("stop") == []
    assert ours == {**wanted, "stop": ()}


def test_a_type_checker_is_told_of_the_same_fields() -> None:
    assert AskCompletion.__optional_keys__ | {"stream"} == ChatCompletionFields.model_fields.keys()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("system", "the first of the messages"),
        ("sampling", "stand here by themselves: temperature"),
        ("temprature", "did you mean 'temperature'"),
    ],
)
def test_a_field_that_isnt_there_is_answered_with_what_is_meant(name: str, words: str) -> None:
    fields: dict[str, Any] = {name: "Be brief."}
    with pytest.raises(errors.InvalidParameterError, match=words):
        ChatCompletionFields(**fields)


def check_shape(name: str, value: Any) -> None:
    """Every key and type is that of llama-cpp-python's TypedDict of this name, and none is more but
    what stands under `amulet`."""
    from llama_cpp import llama_types

    value = {name: held for name, held in value.items() if name != "amulet"}
    kind = getattr(llama_types, name)
    TypeAdapter(with_config(ConfigDict(extra="forbid", strict=True))(kind)).validate_python(value)


def chat(engine: Engine, **fields: Any) -> Any:
    return engine.create_chat_completion(MESSAGES, **{"max_tokens": 8, "seed": 5, **fields})


def test_an_answer_has_llama_cpp_pythons_shape(engine: Engine) -> None:
    for fields in ({}, {"logprobs": True, "top_logprobs": 3}, {"temperature": 0.0}):
        result = chat(engine, preference="concise", **fields)
        check_shape("CreateChatCompletionResponse", result)
        (choice,) = result["choices"]
        assert choice["finish_reason"] == "length"
        usage = result["usage"]
        assert usage["completion_tokens"] == 8
        assert usage["total_tokens"] == usage["prompt_tokens"] + 8
        assert json.loads(json.dumps(result)) == result


def test_pieces_have_llama_cpp_pythons_shape_and_say_the_same(engine: Engine) -> None:
    for fields in ({}, {"logprobs": True, "top_logprobs": 2}):
        fields = {"seed": 5, "stop": [" of"], "preference": "creative", **fields}
        whole = chat(engine, **fields)["choices"][0]
        pieces = list(chat(engine, stream=True, **fields))
        for piece in pieces:
            check_shape("CreateChatCompletionStreamResponse", piece)
        assert len({(p["id"], p["created"], p["model"]) for p in pieces}) == 1
        first, *middle, last = [piece["choices"][0] for piece in pieces]
        assert first["delta"] == {"role": "assistant"}
        assert "".join(one["delta"]["content"] for one in middle) == whole["message"]["content"]
        assert (last["delta"], last["finish_reason"]) == ({}, whole["finish_reason"])
        assert all(one["finish_reason"] is None for one in (first, *middle))
        if whole["logprobs"] is not None:
            said = [item for one in middle for item in one["logprobs"]["content"]]
            assert said == whole["logprobs"]["content"]


def test_it_answers_as_llama_cpp_python_does(tiny_f32_path: Path) -> None:
    """The same keys, and greedily the same words, as the program that is taken over."""
    import llama_cpp

    messages: Any = [{"role": "system", "content": "Be kind."}, *MESSAGES]
    theirs = llama_cpp.Llama(str(tiny_f32_path), n_ctx=256, verbose=False, flash_attn=False)
    fields: dict[str, Any] = {"temperature": 0.0, "max_tokens": 12}
    expected: Any = theirs.create_chat_completion(messages, **fields)
    expected_pieces: Any = list(theirs.create_chat_completion(messages, stream=True, **fields))
    theirs.close()
    with load(tiny_f32_path, n_ctx=256) as engine:
        result: Any = engine.create_chat_completion(messages, **fields)
        pieces: Any = list(engine.create_chat_completion(messages, stream=True, **fields))
    assert result.keys() - {"amulet"} == expected.keys()
    assert result["choices"] == expected["choices"]
    assert result["usage"] == expected["usage"]
    assert pieces[0].keys() == expected_pieces[0].keys()
    assert pieces[0]["choices"] == expected_pieces[0]["choices"]
    assert pieces[-1]["choices"] == expected_pieces[-1]["choices"]


def test_each_setting_says_where_it_came_from(engine: Engine) -> None:
    fields: dict[str, Any] = {"preference": "formal", "preset": "strong", "max_gain": 2.0}
    settings = chat(engine, **fields, mirostat_mode=2)["amulet"]["settings"]
    names = ("preference", "preset", "max_gain", "kl_target", "seed", "mirostat", "top_p")
    assert [(settings[name]["value"], settings[name]["from"]) for name in names] == [
        *[(["formal"], "request"), ("strong", "request"), (2.0, "request")],
        *[(0.2, "preset strong"), (5, "request"), (2, "request"), (0.95, "default")],
    ]
    drawn = chat(engine, seed=None)["amulet"]["settings"]["seed"]
    assert (type(drawn["value"]), drawn["from"]) == (int, "default")


def test_what_applied_and_what_to_know_stand_under_amulet(engine: Engine) -> None:
    fields: dict[str, Any] = {"preference": "formal", "guidance_scale": 30.0, "temperature": 0.0}
    said = chat(engine, **fields)["amulet"]
    assert said["warnings"][0].startswith("guidance scale 30 is above 20")
    assert said["preferences"] == ["formal"]
    assert (said["method"], said["guidance_scale"]) == ("amulet", 30.0)
    assert said["applied"]["lowest_scale"] <= said["applied"]["mean_scale"] <= 30.0
    *pieces, last = chat(engine, stream=True, **fields)
    assert last["amulet"] == said
    assert all("amulet" not in piece for piece in pieces)
    plain = chat(engine, temperature=0.0)["amulet"]
    assert (plain["method"], plain["applied"], plain["warnings"]) == ("base", None, [])


def test_the_warnings_of_several_answers_are_all_there_once(engine: Engine) -> None:
    answers = ChatAnswers(
        model="a", vocabulary=engine.model.vocabulary, stream=False, n_logprobs=None, n=3
    )
    made = engine.generate(MESSAGES, sampling=SamplingParams(max_tokens=2))
    for index, lines in enumerate([("first",), ("second", "first"), ()]):
        answers.begin(index)
        answers.end(index, dataclasses.replace(made, warnings=lines))
    assert answers.whole()["amulet"]["warnings"] == ["first", "second"]


def test_logprobs_are_those_of_the_distribution_that_was_chosen_from(engine: Engine) -> None:
    fields: dict[str, Any] = {"temperature": 0.0, "logprobs": True, "top_logprobs": 4}
    (choice,) = chat(engine, preference="formal", **fields)["choices"]
    expected = engine.generate(
        MESSAGES, preference="formal", sampling=SamplingParams(max_tokens=8), trace=4
    )
    assert expected.trace is not None
    content = choice["logprobs"]["content"]
    assert len(content) == len(expected.trace)
    for item, token in zip(content, expected.trace, strict=True):
        assert item["logprob"] == pytest.approx(token.realigned)
        assert len(item["top_logprobs"]) == 4
        assert item["top_logprobs"][0]["token"] == item["token"]
        assert math.fsum(math.exp(top["logprob"]) for top in item["top_logprobs"]) <= 1 + 1e-6
    text = bytes(byte for item in content for byte in item["bytes"]).decode()
    assert text == choice["message"]["content"]


def test_several_answers_and_their_usage(engine: Engine) -> None:
    result = chat(engine, n=3, seed=7, temperature=1.2)
    assert [choice["index"] for choice in result["choices"]] == [0, 1, 2]
    texts = [choice["message"]["content"] for choice in result["choices"]]
    assert texts[1] == chat(engine, seed=8, temperature=1.2)["choices"][0]["message"]["content"]
    assert result["usage"]["completion_tokens"] == 24
    pieces = list(
        chat(
            engine,
            n=2,
            seed=7,
            temperature=1.2,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    *parts, last = pieces
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 16
    for index in (0, 1):
        mine = [p["choices"][0] for p in parts if p["choices"][0]["index"] == index]
        assert "".join(one["delta"].get("content", "") for one in mine) == texts[index]


def test_reasoning_has_a_place_of_its_own(engine: Engine) -> None:
    grammar = 'root ::= "<think>" [a-z]{6,9} "</think>" "Yes."'
    message = chat(engine, grammar=grammar, max_tokens=40)["choices"][0]["message"]
    assert message["content"] == "Yes."
    assert 6 <= len(message["reasoning_content"]) <= 9
    deltas = [
        piece["choices"][0]["delta"]
        for piece in chat(engine, grammar=grammar, max_tokens=40, stream=True, temperature=0.0)
    ]
    assert "".join(delta.get("content", "") for delta in deltas) == "Yes."
    assert "".join(delta.get("reasoning_content", "") for delta in deltas)


@pytest.mark.parametrize(
    "response_format",
    [
        {"type": "json_object"},
        {"type": "json_object", "schema": {"type": "object", "properties": {"a": {"const": 1}}}},
        {
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": {"type": "array", "maxItems": 2, "items": {
                "type": "integer", "minimum": 0, "maximum": 9}}},
        },
    ],
)  # fmt: skip
def test_json_formats_give_json(shallow_engine: Engine, response_format: Any) -> None:
    import llama_cpp

    result = chat(shallow_engine, response_format=response_format, max_tokens=120, temperature=0.0)
    value = json.loads(result["choices"][0]["message"]["content"])
    assert isinstance(value, list if response_format["type"] == "json_schema" else dict)
    same = llama_cpp.LlamaGrammar.from_string('root ::= "[" [0-9] "]"', verbose=False)
    listed = chat(shallow_engine, grammar=same, max_tokens=20)["choices"][0]["message"]["content"]
    assert isinstance(json.loads(listed), list)


def test_a_preference_is_a_name_a_text_or_a_weighted_list(engine: Engine) -> None:
    def text(**fields: Any) -> str:
        result = chat(engine, temperature=0.0, max_tokens=6, **fields)
        return str(result["choices"][0]["message"]["content"])

    mix = [{"name": "formal", "weight": 0.7}, {"text": "in rhyme", "weight": 0.3}]
    objects = [Preference(text="formal", weight=0.7), Preference(text="in rhyme", weight=0.3)]
    expected = engine.generate(
        MESSAGES, preference=["formal:0.7", "in rhyme:0.3"], sampling=SamplingParams(max_tokens=6)
    )
    assert text(preference=mix) == text(preference=["formal:0.7", "in rhyme:0.3"])
    assert text(preference=mix) == expected.text
    assert text(preference=objects)
    strong = text(preference="formal", guidance_scale=3.0, preset="paper")
    assert strong == text(preference="formal", guidance_scale=3.0, preset="paper", kl_budget=1000)
    assert text(preference="formal", guidance_scale=0.0, preset="paper") == text()


@pytest.mark.parametrize("text", ["formal", "pirate", "creativ", "R2-D2", "in rhyme:0.5", "a: b"])
def test_a_text_of_an_object_stays_a_text(text: str) -> None:
    fields = ChatCompletionFields(preference={"text": text}, avoid=[{"text": text, "weight": -2}])
    assert fields.preference == [Preference(text=text)]
    assert fields.avoid == [Preference(text=text, weight=-2)]


def test_a_name_of_an_object_is_looked_up() -> None:
    (found,) = ChatCompletionFields(preference={"name": "formal:0.5", "weight": 2}).preference
    assert found.name == "formal"
    assert found.text != "formal"
    assert found.weight == 1
    with pytest.raises(errors.AmuletError, match="creativ"):
        ChatCompletionFields(preference={"name": "creativ"})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"functions": [{}]}, "functions"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "grammar": 'root ::= "a"'}, "tools and grammar"),
        ({"tools": [TOOL], "tool_choice": {"type": "function"}}, "no function"),
        ({"function_call": {"name": "x"}}, "function_call"),
        ({"logits_processor": [print]}, "logits_processor"),
        ({"tfs_z": 0.5}, "tfs_z"),
        ({"top_logprobs": 3}, "logprobs=True"),
        ({"top_logprobs": 101, "logprobs": True}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream=True"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"temperature": -1.0}, "temperature"),
        ({"n": 0}, "n: "),
        ({"preference": [{"weight": 1}]}, "preference"),
        ({"colour": "red"}, "colour"),
        ({"preference": "formal", "amulet": None, "guidance_scale": 1e9}, "guidance_scale"),
        ({"stop": [""]}, "stop"),
        ({"amulet": {"preference": "formal"}}, "amulet: 'preference' stands beside 'amulet'"),
        ({"amulet": {"preferences": ["formal"]}}, "amulet: 'preference' stands beside 'amulet'"),
    ],
)
def test_what_cannot_be_had_is_refused_before_anything_is_computed(
    engine: Engine, fields: dict[str, Any], said: str
) -> None:
    for stream in (False, True):
        if stream and "stream_options" in fields:
            continue
        with pytest.raises(errors.InvalidParameterError, match=said):
            chat(engine, stream=stream, **fields)


def test_a_stream_that_is_dropped_frees_the_engine(engine: Engine) -> None:
    pieces = chat(engine, stream=True, max_tokens=200)
    for _ in range(3):
        next(pieces)
    pieces.close()
    assert chat(engine)["choices"][0]["message"]["content"]

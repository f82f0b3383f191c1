"""Tool calls over every protocol, of a model that says what it is told, and forced ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jsonschema_rs
import openai
import pytest

from amulet_local import Engine, SamplingParams
from tests.scripted import says, scripted_engine
from tests.server.conftest import Server, lasting, running

SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ['Oslo "é"', "Rome"]}, "days": {"enum": [1, 2]}},
    "required": ["city"],
}
FUNCTION = {"name": "weather", "description": "The weather of a city", "parameters": SCHEMA}
CHAT = {"type": "function", "function": FUNCTION}
RESPONSES = {"type": "function", "strict": True, **FUNCTION}
ANTHROPIC = {"name": "weather", "description": "The weather of a city", "input_schema": SCHEMA}
ARGUMENTS = '{"city": "Oslo \\"é\\"", "days": 2}'
CALL = f'<tool_call>\n{{"name": "weather", "arguments": {ARGUMENTS}}}\n</tool_call>'
OTHER = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
HI: Any = [{"role": "user", "content": "What is yeast?"}]


@contextmanager
def saying(text: str) -> Iterator[Server]:
    """A server whose model answers every question with a text."""
    with (
        scripted_engine(lambda vocabulary: says(vocabulary, text), n_ctx=4096) as engine,
        lasting(engine),
        running(engine) as server,
    ):
        yield server


@pytest.fixture(scope="module")
def caller() -> Iterator[Server]:
    with saying(f"bread\n\n{CALL}\n{OTHER}") as server:
        yield server


@pytest.fixture(scope="module")
def talker() -> Iterator[Server]:
    with saying("bread") as server:
        yield server


@pytest.fixture
def openai_client(caller: Server) -> Iterator[openai.OpenAI]:
    """Of the one that calls."""
    with openai.OpenAI(base_url=f"{caller.url}/v1", api_key="none", max_retries=0) as client:
        yield client


# ------------------------------------------------------------ OpenAI's chat completions


def test_calls_come_beside_what_is_said(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(model="m", messages=HI, tools=[CHAT])  # type: ignore
    (choice,) = answer.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", "bread")
    one, other = choice.message.tool_calls or ()
    assert (one.type, one.function.name, one.function.arguments) == (
        "function",
        "weather",
        ARGUMENTS,
    )
    assert other.function.arguments == '{"city": "Rome"}'
    assert len({one.id, other.id, ""}) == 3


def test_a_stream_has_the_same_in_pieces(openai_client: openai.OpenAI) -> None:
    manager = openai_client.chat.completions.stream(model="m", messages=HI, tools=[CHAT])  # type: ignore
    n_arguments = 0
    with manager as stream:
        for event in stream:
            n_arguments += event.type == "tool_calls.function.arguments.delta"
        (choice,) = stream.get_final_completion().choices
    assert n_arguments > 4
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", "bread")
    calls = choice.message.tool_calls or []
    assert [call.function.arguments for call in calls] == [ARGUMENTS, '{"city": "Rome"}']


@pytest.mark.parametrize("fields", [{"tool_choice": "none"}, {"tools": []}, {"tools": None}])
def test_without_tools_the_text_is_what_the_model_said(
    caller: Server, fields: dict[str, Any]
) -> None:
    message = caller.chat(**{"tools": [CHAT], "max_tokens": 300} | fields).json()["choices"][0]
    assert "tool_calls" not in message["message"]
    assert message["message"]["content"].startswith("bread\n\n<tool_call>")


def test_one_call_at_a_time_where_that_is_asked(caller: Server) -> None:
    answer = caller.chat(tools=[CHAT], parallel_tool_calls=False, max_tokens=300).json()
    assert len(answer["choices"][0]["message"]["tool_calls"]) == 1


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "weather"}}]
)
def test_a_model_that_only_talks_can_be_made_to_call(talker: Server, choice: Any) -> None:
    free = talker.chat(tools=[CHAT]).json()["choices"][0]
    assert (free["message"]["content"], free["finish_reason"]) == ("bread", "stop")
    forced = talker.chat(tools=[CHAT], tool_choice=choice, max_tokens=300).json()["choices"][0]
    assert (forced["message"]["content"], forced["finish_reason"]) == (None, "tool_calls")
    (call,) = forced["message"]["tool_calls"]
    jsonschema_rs.validate(SCHEMA, json.loads(call["function"]["arguments"]))


def test_calls_and_results_go_on_to_the_next_answer(talker: Server) -> None:
    said = {"role": "assistant", "content": None}
    function = {"name": "weather", "arguments": ARGUMENTS}
    said["tool_calls"] = [{"id": "c", "type": "function", "function": function}]  # type: ignore
    result = {"role": "tool", "tool_call_id": "c", "content": "4 degrees"}
    body = {"messages": [*HI, said, result], "tools": [CHAT]}
    text = talker.client.post("/apply-template", json=body).json()["prompt"]
    for part in ("The weather of a city", '"days": 2', "4 degrees"):
        assert text.count(part) == 1, text
    assert talker.chat(**body).json()["choices"][0]["message"]["content"] == "bread"


def test_tools_are_for_chats(talker: Server) -> None:
    response = talker.client.post("/v1/completions", json={"prompt": "a", "tools": [CHAT]})
    assert (response.status_code, "tools" in response.text) == (400, True)


# ------------------------------------------------------------ OpenAI's responses


def test_responses_have_calls_as_items(openai_client: openai.OpenAI) -> None:
    one = openai_client
    asked: Any = {"model": "m", "input": "What is yeast?", "tools": [RESPONSES]}
    whole = one.responses.create(**asked)
    assert [item.type for item in whole.output] == ["message", "function_call", "function_call"]
    assert whole.output_text == "bread"
    with one.responses.stream(**asked) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert [getattr(item, "arguments", None) for item in final.output] == [
        getattr(item, "arguments", None) for item in whole.output
    ]
    assert (
        kinds.count("response.output_item.added") == kinds.count("response.output_item.done") == 3
    )
    assert kinds.count("response.function_call_arguments.done") == 2
    output = {"type": "function_call_output", "call_id": whole.output[1].call_id, "output": "rain"}  # type: ignore
    again = one.responses.create(
        model="m",
        previous_response_id=whole.id,
        input=[output],
        tools=[RESPONSES],  # type: ignore
    )
    assert again.usage is not None
    assert whole.usage is not None
    assert again.usage.input_tokens > whole.usage.input_tokens + 50


def test_a_response_can_be_a_call_alone(talker: Server) -> None:
    choice: Any = {"type": "function", "name": "weather"}
    asked: Any = {"model": "m", "input": "Hi", "tools": [RESPONSES], "tool_choice": choice}
    whole = talker.client.post("/v1/responses", json=asked).json()
    assert [item["type"] for item in whole["output"]] == ["function_call"]
    sent = events(talker.client.post("/v1/responses", json=asked | {"stream": True}).text)
    (added,) = (event for event in sent if event["type"] == "response.output_item.added")
    assert (added["output_index"], added["item"]["type"]) == (0, "function_call")


# ------------------------------------------------------------ Anthropic's and Ollama's


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


def test_anthropics_blocks_have_the_calls(caller: Server) -> None:
    body = {"model": "m", "max_tokens": 300, "messages": HI, "tools": [ANTHROPIC]}
    whole = caller.client.post("/v1/messages", json=body).json()
    assert whole["stop_reason"] == "tool_use"
    assert [block["type"] for block in whole["content"]] == ["text", "tool_use", "tool_use"]
    assert whole["content"][1]["input"] == json.loads(ARGUMENTS)
    sent = events(caller.client.post("/v1/messages", json=body | {"stream": True}).text)
    parts: dict[int, str] = {}
    for event in sent:
        if event["type"] == "content_block_delta" and event["delta"]["type"] == "input_json_delta":
            parts[event["index"]] = parts.get(event["index"], "") + event["delta"]["partial_json"]
    assert parts == {1: ARGUMENTS, 2: '{"city": "Rome"}'}
    starts = [event["content_block"] for event in sent if event["type"] == "content_block_start"]
    assert [(block["type"], block.get("input")) for block in starts[1:]] == [("tool_use", {})] * 2
    assert [event["type"] for event in sent].count("content_block_stop") == 3
    assert sent[-2]["delta"]["stop_reason"] == "tool_use"


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "weather"}])
def test_anthropics_choices_are_understood(talker: Server, choice: dict[str, str]) -> None:
    body = {"model": "m", "max_tokens": 300, "messages": HI, "tools": [ANTHROPIC]}
    forced = talker.client.post("/v1/messages", json=body | {"tool_choice": choice}).json()
    assert [block["type"] for block in forced["content"]] == ["tool_use"]
    for fields in ({"tool_choice": {"type": "x"}}, {"tools": ["a"]}):
        response = talker.client.post("/v1/messages", json=body | fields)
        assert (response.status_code, response.json()["type"]) == (400, "error")


def test_tools_that_are_no_functions_are_left_out_and_named(talker: Server) -> None:
    search, custom = {"type": "web_search"}, {"type": "custom", "name": "apply_patch"}
    function = {"type": "function", **CHAT["function"]}
    for path, body, own in (
        ("/v1/chat/completions", {"messages": HI}, CHAT),
        ("/v1/responses", {"input": "Hi"}, function),
        ("/v1/messages", {"messages": HI, "max_tokens": 300}, ANTHROPIC),
    ):
        others = [search, custom] if own is not ANTHROPIC else [{"type": "web_search_1"}]
        for tools in (others, [*others, own, *others]):
            response = talker.client.post(path, json=body | {"tools": tools})
            assert response.status_code == 200, response.text
            lines = response.json()["amulet"]["warnings"]
            assert [line for line in lines if "is no function" in line] == [
                f"tools: {tool['type']!r} is no function, so it isn't called here"
                for tool in others
            ]
    alone = {"messages": HI, "tools": [search], "tool_choice": "required"}
    forced = talker.client.post("/v1/chat/completions", json=alone)
    assert (forced.status_code, "no tools" in forced.text) == (400, True)


def test_ollamas_messages_have_the_calls_with_objects(caller: Server) -> None:
    body = {"model": "m", "messages": HI, "tools": [CHAT]}
    whole = caller.client.post("/api/chat", json=body | {"stream": False}).json()
    wanted = [
        {"function": {"name": "weather", "arguments": json.loads(ARGUMENTS)}},
        {"function": {"name": "weather", "arguments": {"city": "Rome"}}},
    ]
    assert whole["message"]["tool_calls"] == wanted
    assert (whole["message"]["content"], whole["done_reason"]) == ("bread", "stop")
    lines = [
        json.loads(line) for line in caller.client.post("/api/chat", json=body).text.splitlines()
    ]
    assert [line["message"]["tool_calls"] for line in lines if "tool_calls" in line["message"]] == [
        wanted
    ]
    assert "tool_calls" not in lines[-1]["message"]


# ------------------------------------------------------------ on a real model


def test_forced_calls_of_any_model_validate(tiny_engine: Engine) -> None:
    """What this model says makes no sense; its calls validate."""
    schema = {
        "type": "object",
        "properties": {"a": {"enum": ["x", "y"]}, "b": {"type": "integer", "maximum": 9}},
        "required": ["a", "b"],
    }
    tool = {"type": "function", "function": {"name": "pick", "parameters": schema}}
    for seed in range(2):
        answer = tiny_engine.create_chat_completion(
            HI, tools=[tool], tool_choice="required", seed=seed, temperature=1.5, max_tokens=200
        )
        (choice,) = answer["choices"]
        assert choice["finish_reason"] == "tool_calls"
        jsonschema_rs.validate(
            schema, json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"])
        )


def test_calls_are_plain_and_what_is_said_is_steered(tiny_engine: Engine) -> None:
    sampling = SamplingParams(max_tokens=16)
    ask: Any = {"preference": "creative", "trace": 0, "tools": [CHAT], "sampling": sampling}
    forced = tiny_engine.generate(HI, **ask, tool_choice="required")
    assert forced.trace is not None
    assert {item.scale for item in forced.trace} == {1.0}
    free = tiny_engine.generate(HI, **ask)
    assert free.trace is not None
    assert any(item.scale > 1 for item in free.trace)

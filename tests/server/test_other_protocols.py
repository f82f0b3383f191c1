"""Ollama's, Anthropic's and OpenAI's newer shapes say what a chat completion says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from amulet_local.common.errors import InvalidParameterError
from amulet_local.server import anthropic
from amulet_local.server.infill import InfillPrompt, infill_body
from tests.scripted import scripted_engine
from tests.server.conftest import Server, lasting, running

HI = [{"role": "user", "content": "What is yeast?"}]
GREEDY = {"temperature": 0, "max_tokens": 5}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with scripted_engine() as engine, lasting(engine), running(engine) as server:
        yield server


@pytest.fixture(scope="module")
def said(server: Server) -> str:
    """What a chat completion answers."""
    return str(chat(server)["choices"][0]["message"]["content"])


def chat(server: Server, **body: Any) -> Any:
    return server.chat(messages=HI, **{**GREEDY, **body}).json()


def post(server: Server, path: str, **body: Any) -> httpx.Response:
    return server.client.post(path, json=body)


def told(server: Server, path: str, **body: Any) -> Any:
    response = post(server, path, **body)
    assert response.status_code == 200, response.text
    return response.json()


def lines_of(server: Server, path: str, **body: Any) -> tuple[list[str], str]:
    with server.client.stream("POST", path, json=body) as response:
        return [line for line in response.iter_lines() if line], response.headers["content-type"]


def events_of(server: Server, path: str, **body: Any) -> list[dict[str, Any]]:
    """The events of a stream, whose names are their types."""
    lines, _ = lines_of(server, path, stream=True, **body)
    events = [json.loads(line.removeprefix("data: ")) for line in lines[1::2]]
    assert [line.removeprefix("event: ") for line in lines[::2]] == [e["type"] for e in events]
    return events


# ----------------------------------------------------------------------------- llama-server


def test_llama_servers_completion_says_what_a_text_completion_says(server: Server) -> None:
    asked = {"prompt": "What is", "n_predict": 4, "temperature": 0}
    plain = told(server, "/v1/completions", prompt="What is", max_tokens=4, temperature=0)
    whole = told(server, "/completion", **asked)
    assert whole["content"] == plain["choices"][0]["text"]
    assert (whole["stop"], whole["stop_type"], plain["stop_type"]) == (True, "limit", "limit")
    assert (whole["tokens_predicted"], whole["prompt"]) == (4, "What is")
    assert whole["generation_settings"]["max_tokens"] == 4
    lines, _ = lines_of(server, "/completion", **asked, stream=True)
    pieces = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert "".join(piece["content"] for piece in pieces) == whole["content"]
    assert [piece["stop"] for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    several = told(server, "/completion", **{**asked, "prompt": ["What is", "Why"]})
    assert [one["index"] for one in several] == [0, 1]
    ended = {"grammar": 'root ::= "bread"', "stop": []}
    assert told(server, "/completion", **{**asked, "n_predict": 9}, **ended)["stop_type"] == "eos"
    stopped = {"grammar": 'root ::= "bread" "water"', "stop": ["water"]}
    found = told(server, "/completion", **{**asked, "n_predict": 9}, **stopped)
    assert (found["content"], found["stop_type"]) == ("bread", "word")
    assert found["stopping_word"] == "water"


def test_llama_servers_infill_needs_a_model_that_fills_in(server: Server) -> None:
    extra = [{"filename": "a.py", "text": "x = 1"}]
    given = {"input_prefix": "def f(", "input_suffix": "return x", "prompt": "a"}
    body = infill_body({**given, "input_extra": extra, "n_predict": 3})
    assert (body["prompt"], body["suffix"], body["n_predict"]) == ("def f(a", "return x", 3)
    assert InfillPrompt(body).files == [("a.py", "x = 1")]
    nulls = dict.fromkeys(("input_suffix", "prompt", "input_extra", "parse_special"))
    assert infill_body({"input_prefix": "def", **nulls}) == infill_body({"input_prefix": "def"})
    refused = post(server, "/infill", **given)
    assert (refused.status_code, "fill" in refused.text) == (400, True)
    for wrong in ("a", {"filename": 1, "text": "x"}, {"filename": "a.py"}):
        with pytest.raises(InvalidParameterError, match="input_extra"):
            InfillPrompt(infill_body({**given, "input_extra": [wrong]}))


def test_addresses_that_arent_here_have_errors_of_their_protocol(server: Server) -> None:
    refused = post(server, "/api/nothing", model="a")
    assert (refused.status_code, refused.json()) == (404, {"error": "no such address"})
    assert post(server, "/v1/nothing").json()["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/v1/chat", "POST /v1/chat/completions"),
        ("/v1/chats/completions/", "POST /v1/chat/completions"),
        ("/v1/v1/chat/completions", "POST /v1/chat/completions"),
        ("/openai/v1/models", "GET /v1/models"),
        ("/v1/completion", "POST /v1/completions"),
        ("/chat", "POST /chat/completions"),
        ("/api/chats", "POST /api/chat"),
        ("/api/v1/nothing", ""),
        ("/v1/" + "completion" * 20, ""),
        ("/v1", ""),
    ],
)
def test_an_address_that_isnt_here_is_answered_with_the_one_that_is_meant(
    server: Server, path: str, meant: str
) -> None:
    refused = post(server, path, model="a")
    error = refused.json()["error"]
    said = error if isinstance(error, str) else error["message"]
    hint = f"; did you mean {meant}?" if meant else ""
    assert (refused.status_code, said) == (404, f"no such address{hint}")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/pull", "`amulet-local pull NAME` downloads a model where the server runs"),
        ("/api/create", "a wish into the field preference"),
        ("/api/blobs/sha256:29fd", "models aren't made here"),
        ("/api/copy", "--alias gives a model another name"),
        ("/api/delete", "delete the file where the server runs"),
        ("/v1/audio/speech", "text is all that this server reads and writes"),
        ("/v1/files", "`amulet-local batch FILE`"),
    ],
)
def test_what_other_servers_do_is_answered_with_what_to_do_here(
    server: Server, path: str, words: str
) -> None:
    refused = post(server, path, model="a")
    error = refused.json()["error"]
    assert (refused.status_code, isinstance(error, str)) == (404, path.startswith("/api/"))
    assert words in (error if isinstance(error, str) else error["message"])


def test_another_method_is_answered_with_those_that_there_are(server: Server) -> None:
    refused = server.client.put("/lora-adapters")
    assert refused.status_code == 405
    assert refused.json()["error"]["message"] == "not with PUT, with GET or POST"
    refused = post(server, "/models/load", model="a")
    assert (refused.status_code, "when a request names it" in refused.text) == (405, True)


@pytest.mark.parametrize(
    ("path", "body", "param", "words"),
    [
        ("/v1/chat/completions", {}, "messages", "there are none"),
        ("/v1/chat/completions", {"messages": [{"role": "x"}]}, "messages", "the role must be"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": 5}]}, "messages", "int"),
        ("/v1/chat/completions", {"messages": HI, "method": "x"}, "method", "no decoding method"),
        ("/v1/chat/completions", {"messages": HI, "preset": "x"}, "preset", "no preset 'x'"),
        ("/v1/chat/completions", {"messages": HI, "top_logprobs": 2}, "top_logprobs", "logprobs"),
        ("/v1/chat/completions", {"messages": HI, "preference": " "}, "preference", "not empty"),
        ("/v1/chat/completions", {"messages": HI, "avoid": [" "]}, "avoid", "not empty"),
        (
            "/v1/chat/completions",
            {"messages": HI, "preference": "concise", "avoid": "concise"},
            *("preference", "cancel each other"),
        ),
        (
            "/v1/chat/completions",
            {"messages": HI, "response_format": {"type": "x"}},
            *("response_format", "json_schema"),
        ),
        ("/v1/completions", {}, "prompt", "it is empty"),
        ("/completion", {"prompt": ""}, "prompt", "it is empty"),
        ("/v1/responses", {"input": []}, "input", "input: there are none"),
        ("/v1/responses", {}, "input", "must be a text"),
        ("/tokenize", {}, "content", "must be a text"),
    ],
)
def test_an_error_names_the_field_that_it_is_about(
    server: Server, path: str, body: dict[str, Any], param: str, words: str
) -> None:
    refused = post(server, path, **body)
    error = refused.json()["error"]
    assert (refused.status_code, error["param"]) == (400, param), error
    assert words in error["message"]


def test_a_slash_behind_an_address_is_let_pass(server: Server) -> None:
    body = {"messages": HI, **GREEDY}
    for path in ("/v1/chat/completions/", "/chat/completions/"):
        assert server.client.post(path, json=body, follow_redirects=True).status_code == 200


def test_the_prompt_that_messages_become_is_told(server: Server) -> None:
    assert told(server, "/apply-template", messages=HI) == {
        "prompt": "<|im_start|>user\nWhat is yeast?<|im_end|>\n<|im_start|>assistant\n"
    }


# ----------------------------------------------------------------------------------- Ollama


def test_ollamas_chat_is_a_stream_of_lines_unless_told_otherwise(server: Server, said: str) -> None:
    asked = {"model": "smollm2", "messages": HI, "options": {"temperature": 0, "num_predict": 5}}
    whole = told(server, "/api/chat", **asked, stream=False)
    assert whole["message"] == {"role": "assistant", "content": said}
    assert (whole["done"], whole["done_reason"], whole["eval_count"]) == (True, "length", 5)
    assert whole["prompt_eval_count"] == chat(server)["usage"]["prompt_tokens"]
    parts = whole["prompt_eval_duration"] + whole["eval_duration"]
    assert whole["total_duration"] > parts  # the time on the clock, of all of the request
    lines, kind = lines_of(server, "/api/chat", **asked)
    pieces = [json.loads(line) for line in lines]
    assert kind == "application/x-ndjson"
    assert "".join(piece["message"]["content"] for piece in pieces) == said
    assert [piece["done"] for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert pieces[-1]["eval_count"] == 5


def test_ollamas_fields_are_taken(server: Server) -> None:
    options = {"num_ctx": 512, "num_gpu": 0, "num_predict": -2, "stop": ["\n"], "seed": 3}
    whole = told(
        server,
        "/api/chat",
        model="any:latest",
        messages=[*HI, {"role": "tool", "tool_name": "a", "content": "b"}],
        options=options,
        keep_alive="5m",
        think=False,
        stream=False,
        max_tokens=3,
        preference="formal",
        format={"enum": ["bread"]},
    )
    assert whole["message"]["content"] == '"bread"'
    assert whole["amulet"]["preferences"] == ["formal"]
    assert whole["amulet"]["warnings"] == []
    loaded = told(server, "/api/chat", model="a", messages=[])
    assert (loaded["done"], loaded["done_reason"]) == (True, "load")
    refused = post(server, "/api/chat", messages=HI, format="yaml")
    assert (refused.status_code, "format" in refused.json()["error"]) == (400, True)


@pytest.mark.parametrize("messages", [3, 1.5, "Hi", {"role": "user"}, [3], True])
def test_ollamas_messages_that_are_none_are_refused(server: Server, messages: Any) -> None:
    for path, more in (("/api/chat", {}), ("/api/generate", {"prompt": "Hi"})):
        refused = post(server, path, messages=messages, stream=False, **more)
        assert refused.status_code in (200, 400), refused.text
        assert path == "/api/generate" or refused.status_code == 400


def test_ollamas_generate_answers_a_text_or_goes_on_with_it(server: Server, said: str) -> None:
    asked = {"prompt": HI[0]["content"], "stream": False, **GREEDY}
    assert told(server, "/api/generate", **asked)["response"] == said
    system = told(server, "/api/generate", **asked, system="Be kind.")
    assert system["prompt_eval_count"] > told(server, "/api/generate", **asked)["prompt_eval_count"]
    raw = told(server, "/api/generate", **asked, raw=True)
    plain = told(server, "/v1/completions", prompt=HI[0]["content"], **GREEDY)
    assert raw["response"] == plain["choices"][0]["text"]
    lines, _ = lines_of(server, "/api/generate", **{**asked, "raw": True, "stream": True})
    assert "".join(json.loads(line)["response"] for line in lines) == raw["response"]
    assert post(server, "/api/generate", **asked, suffix="b").status_code == 400
    assert told(server, "/api/generate", model="a")["done_reason"] == "load"


def test_ollamas_lists_name_the_model(server: Server) -> None:
    models = server.client.get("/api/tags").json()["models"]
    assert [model["name"] for model in models][:1] == ["smollm2"]
    assert {"digest", "size", "details", "modified_at"} <= models[0].keys()
    assert server.client.get("/api/ps").json()["models"][0]["name"] == "smollm2"
    shown = told(server, "/api/show", model="smollm2")
    assert shown["details"]["format"] == "gguf"
    assert shown["capabilities"] == ["completion", "tools"]
    assert shown["model_info"]["general.architecture"] == "scripted"
    assert server.client.get("/api/version").json()["version"]


# -------------------------------------------------------------------------------- Anthropic


def test_anthropics_messages_are_answered_in_blocks(server: Server, said: str) -> None:
    whole = told(server, "/v1/messages", model="claude", messages=HI, **GREEDY)
    assert whole["content"] == [{"type": "text", "text": said}]
    assert (whole["type"], whole["role"], whole["stop_reason"]) == (
        "message",
        "assistant",
        "max_tokens",
    )
    assert whole["usage"]["output_tokens"] == 5
    n_prompt = told(server, "/v1/messages/count_tokens", messages=HI)["input_tokens"]
    assert n_prompt == sum(
        whole["usage"][name] for name in ("input_tokens", "cache_read_input_tokens")
    )


def test_anthropics_stream_has_its_events_in_order(server: Server, said: str) -> None:
    events = events_of(server, "/v1/messages", messages=HI, **GREEDY)
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    counted = told(server, "/v1/messages/count_tokens", messages=HI)["input_tokens"]
    begun = events[0]["message"]["usage"]
    assert (begun["input_tokens"], begun["cache_read_input_tokens"]) == (counted, 0)
    assert set(kinds[2:-3]) == {"content_block_delta"}
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert "".join(event["delta"]["text"] for event in events[2:-3]) == said
    assert events[-2]["delta"]["stop_reason"] == "max_tokens"


def test_anthropics_stop_sequence_is_named(server: Server, said: str) -> None:
    ended = {"messages": HI, **GREEDY, "stop_sequences": ["none of it", said[3:]]}
    whole = told(server, "/v1/messages", **ended)
    assert (whole["stop_reason"], whole["stop_sequence"]) == ("stop_sequence", said[3:])
    assert whole["content"][0]["text"] == said[:3]
    last = events_of(server, "/v1/messages", **ended)[-2]
    assert last["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": said[3:]}


def test_anthropics_reasoning_is_a_block_of_its_own(server: Server) -> None:
    asked = {
        "messages": HI,
        "max_tokens": 40,
        "grammar": 'root ::= "<think>" "tea" "</think>" "Yes."',
    }
    whole = told(server, "/v1/messages", **asked)
    assert [block["type"] for block in whole["content"]] == ["thinking", "text"]
    events = events_of(server, "/v1/messages", **asked)
    begun = [e["content_block"]["type"] for e in events if e["type"] == "content_block_start"]
    assert begun == ["thinking", "text"]
    assert [e["index"] for e in events if e["type"] == "content_block_stop"] == [0, 1]


def test_anthropics_thinking_in_a_history_reaches_the_template() -> None:
    thought = {"type": "thinking", "thinking": "Bread needs it.", "signature": ""}
    said = [{**HI[0]}, {"role": "assistant", "content": [thought, {"type": "text", "text": "A"}]}]
    converted = anthropic.chat_body({"messages": [*said, {"role": "user", "content": "Why?"}]})
    assert converted["messages"][1] == {
        "role": "assistant",
        "content": "A",
        "reasoning_content": "Bread needs it.",
    }


def test_anthropics_blocks_and_tools_in_a_history_reach_the_model(server: Server) -> None:
    history = [
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Well."},
                {"type": "tool_use", "id": "t", "name": "weather", "input": {"city": "Oslo"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": "4 degrees"},
                {"type": "text", "text": "Thanks."},
            ],
        },
    ]
    given = {"messages": history, "system": [{"type": "text", "text": "Be kind."}]}
    counted = told(server, "/v1/messages/count_tokens", **given)["input_tokens"]
    assert counted > told(server, "/v1/messages/count_tokens", messages=HI)["input_tokens"]
    assert told(server, "/v1/messages", **given, **GREEDY, stop_sequences=["zzz"])["content"]
    image = [{"role": "user", "content": [{"type": "image", "source": {}}]}]
    refused = post(server, "/v1/messages", messages=image)
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "invalid_request_error"


# -------------------------------------------------------------------------------- responses


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
        yield client


def test_a_response_says_what_a_chat_says(client: openai.OpenAI, said: str) -> None:
    made = client.responses.create(
        model="gpt", input="What is yeast?", temperature=0, max_output_tokens=5
    )
    assert made.output_text == said
    assert (made.status, made.usage.output_tokens if made.usage else 0) == ("incomplete", 5)
    items: Any = [{"role": "user", "content": [{"type": "input_text", "text": "What is yeast?"}]}]
    again = client.responses.create(model="gpt", input=items, temperature=0, max_output_tokens=5)
    assert again.output_text == said
    ended: Any = {"grammar": 'root ::= "bread"'}
    whole = client.responses.create(model="gpt", input=items, extra_body=ended)
    assert (whole.status, made.completed_at) == ("completed", None)
    assert whole.completed_at is not None
    assert whole.completed_at >= whole.created_at


def test_a_response_s_stream_says_the_same(client: openai.OpenAI, said: str) -> None:
    stream = client.responses.create(
        model="gpt", input="What is yeast?", temperature=0, max_output_tokens=5, stream=True
    )
    events = list(stream)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert kinds[-4:] == [
        *("output_text.done", "content_part.done", "output_item.done", "incomplete"),
    ]
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == said
    assert events[-1].response.output_text == said


def test_what_was_said_up_to_a_response_can_be_forgotten(client: openai.OpenAI) -> None:
    first = client.responses.create(model="gpt", input="What is yeast?", max_output_tokens=1)
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="gpt", input="Why?", previous_response_id=first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.delete(first.id)


def test_a_response_goes_on_from_the_one_before(client: openai.OpenAI) -> None:
    first = client.responses.create(model="gpt", input="What is yeast?", max_output_tokens=3)
    second = client.responses.create(
        model="gpt",
        input="Why?",
        instructions="Be kind.",
        previous_response_id=first.id,
        max_output_tokens=3,
        text={"format": {"type": "json_schema", "name": "a", "schema": {"enum": ["bread"]}}},
    )
    alone = client.responses.create(
        model="gpt", input="Why?", instructions="Be kind.", max_output_tokens=3, store=False
    )
    assert second.usage is not None
    assert alone.usage is not None
    assert second.usage.input_tokens > alone.usage.input_tokens
    assert second.output_text.startswith('"br')
    for key in (alone.id, "resp_none"):
        with pytest.raises(openai.NotFoundError):
            client.responses.create(model="gpt", input="Why?", previous_response_id=key)

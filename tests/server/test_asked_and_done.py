"""What a body asks for is done, or an answer's warnings name it: in every protocol."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.scripted import END, TURN, scripted_engine
from tests.server.conftest import Server, lasting, running

HI = [{"role": "user", "content": "What is yeast?"}]
GREEDY = {"temperature": 0, "max_tokens": 5}
THINKS = 'root ::= "<think>" "tea" "</think>" "Yes."'
N_CTX = 256
THOUGHT = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Warm bread."}]}
THINKING_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
    "{% if message.reasoning_content %}{{ '<think>\n' + message.reasoning_content + '\n</think>\n' "
    "}}{% endif %}{{ message.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with scripted_engine(n_ctx=N_CTX) as engine, lasting(engine), running(engine) as server:
        yield server


@pytest.fixture(scope="module")
def thinking() -> Iterator[Server]:
    """A server whose template shows reasoning, and opens it for every answer."""
    engine = scripted_engine(n_ctx=N_CTX, chat_template=THINKING_TEMPLATE)
    with engine, lasting(engine), running(engine) as server:
        yield server


def told(server: Server, path: str, **body: Any) -> Any:
    response = server.client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def warnings(server: Server, path: str, **body: Any) -> str:
    return "\n".join(told(server, path, **body)["amulet"]["warnings"])


def prompt(server: Server, messages: Any, **body: Any) -> str:
    return str(told(server, "/apply-template", messages=messages, **body)["prompt"])


# -------------------------------------------------------------------------------- reasoning


def test_reasoning_in_the_history_of_a_response_is_in_the_prompt(thinking: Server) -> None:
    answer = {"role": "assistant", "content": "Yes."}
    history = [HI[0], THOUGHT, answer, {"role": "user", "content": "Why?"}]
    n_thought = told(thinking, "/tokenize", content="<think>\nWarm bread.\n</think>\n")["tokens"]
    without = [item for item in history if item is not THOUGHT]
    with_it, plain = (
        told(thinking, "/v1/responses/input_tokens", input=given)["input_tokens"]
        for given in (history, without)
    )
    assert with_it - plain == len(n_thought)
    called = {"type": "function_call", "name": "a", "arguments": "{}", "call_id": "b"}
    result = {"type": "function_call_output", "call_id": "b", "output": "c"}
    for items in ([HI[0], THOUGHT, called, result], [HI[0], THOUGHT, HI[0]], [HI[0], THOUGHT]):
        with_it, plain = (
            told(thinking, "/v1/responses/input_tokens", input=given)["input_tokens"]
            for given in (items, [item for item in items if item is not THOUGHT])
        )
        assert with_it > plain


def test_only_a_summary_is_read_and_what_is_encrypted_is_named(thinking: Server) -> None:
    summary = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Warm bread."}]}
    sealed = {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}
    empty = {"type": "reasoning", "summary": [], "encrypted_content": None}
    end = {"role": "user", "content": "Why?"}
    counts = [
        told(thinking, "/v1/responses/input_tokens", input=[HI[0], item, end])["input_tokens"]
        for item in (THOUGHT, summary, sealed, empty)
    ]
    assert counts[0] == counts[1] > counts[2] == counts[3]
    asked = {"max_output_tokens": 2, "temperature": 0}
    assert "encrypted" in warnings(thinking, "/v1/responses", input=[HI[0], sealed, end], **asked)
    assert "encrypted" not in warnings(
        thinking, "/v1/responses", input=[HI[0], empty, end], **asked
    )


def test_the_reasoning_of_a_response_is_an_item_before_its_message(server: Server) -> None:
    asked = {"input": "Hi", "grammar": THINKS, "max_output_tokens": 40}
    whole = told(server, "/v1/responses", **asked)
    assert [item["type"] for item in whole["output"]] == ["reasoning", "message"]
    assert whole["output"][0]["content"] == [{"type": "reasoning_text", "text": "tea"}]
    with server.client.stream("POST", "/v1/responses", json={**asked, "stream": True}) as stream:
        kinds = [
            line.removeprefix("event: response.") for line in stream.iter_lines() if line[:1] == "e"
        ]
    assert kinds[2:6] == [
        "output_item.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "output_item.done",
    ]
    assert kinds[6:8] == ["output_item.added", "content_part.added"]
    further = told(server, "/v1/responses", **asked, previous_response_id=whole["id"])
    assert further["status"] == "completed"


def test_usage_says_how_many_tokens_were_reasoning(server: Server) -> None:
    """As many as an answer has that ends where the reasoning does."""
    thought = 'root ::= "<think>tea</think>"'
    asked = {"messages": HI, "max_tokens": 40, "temperature": 0}
    alone = told(server, "/v1/chat/completions", **asked, grammar=thought)["usage"]
    n_thought = alone["completion_tokens"] - 1  # the one that ends it
    usage = told(server, "/v1/chat/completions", **asked, grammar=THINKS)["usage"]
    assert usage["completion_tokens_details"] == {"reasoning_tokens": n_thought}
    assert 0 < n_thought < usage["completion_tokens"]
    plain = told(server, "/v1/chat/completions", **asked, grammar='root ::= "tea"')["usage"]
    assert plain["completion_tokens_details"] == {"reasoning_tokens": 0}
    given = {"input": "Hi", "grammar": THINKS, "max_output_tokens": 40, "temperature": 0}
    details = told(server, "/v1/responses", **given)["usage"]["output_tokens_details"]
    assert details == {"reasoning_tokens": n_thought}


def test_a_chat_of_one_answer_that_has_begun_is_gone_on_with(server: Server) -> None:
    begun = {"role": "assistant", "content": "The sky"}
    assert prompt(server, [begun]) == "<|im_start|>assistant\nThe sky"
    assert told(server, "/v1/chat/completions", messages=[begun], **GREEDY)["choices"]
    assert prompt(server, [{**begun, "content": ""}]).startswith("<|im_start|>assistant\n")


def test_an_answer_goes_on_after_its_reasoning_or_within_it(thinking: Server) -> None:
    last = {"role": "assistant", "content": "Yes", "reasoning_content": "Warm bread."}
    start = prompt(thinking, HI).removesuffix("<think>\n")
    closed = f"{start}<think>\nWarm bread.\n</think>\n\nYes"
    assert prompt(thinking, [*HI, last]) == closed
    assert prompt(thinking, [*HI, last], continue_final_message="content") == closed
    within = f"{start}<think>\nWarm bread."
    assert prompt(thinking, [*HI, {**last, "content": ""}]) == within
    assert prompt(thinking, [*HI, last], continue_final_message="reasoning_content") == within
    assert prompt(thinking, [*HI, {**last, "reasoning_content": ""}]) == (
        f"{start}<think>\n\n</think>\n\nYes"
    )
    goes_on = told(
        thinking, "/v1/chat/completions", messages=[*HI, {**last, "content": ""}], **GREEDY
    )
    message = goes_on["choices"][0]["message"]
    assert message["reasoning_content"]
    assert not message["content"]


def test_reasoning_that_a_template_has_no_place_for_is_named(server: Server) -> None:
    last = {"role": "assistant", "content": "Yes", "reasoning_content": "Warm bread."}
    assert "no reasoning" in warnings(
        server, "/v1/chat/completions", messages=[*HI, last], **GREEDY
    )


# ------------------------------------------------------------------------- fields and their parts


@pytest.mark.parametrize(
    ("path", "field", "named"),
    [
        ("/v1/chat/completions", {"reasoning": {"max_tokens": 9}}, "reasoning.max_tokens"),
        ("/v1/chat/completions", {"thinking": {"budget_tokens": 9}}, "thinking.budget_tokens"),
        ("/v1/chat/completions", {"reasoning_effort": "high"}, "reasoning_effort"),
        ("/v1/chat/completions", {"reasoning": "high"}, "reasoning"),
        ("/v1/chat/completions", {"skip_special_tokens": False}, "skip_special_tokens"),
        ("/v1/chat/completions", {"web_search_options": {}}, "web_search_options"),
        ("/v1/chat/completions", {"method": "base", "preference": "formal"}, "base follows none"),
        ("/v1/chat/completions", {"guidance_scale": 3}, "guidance_scale"),
        ("/v1/completions", {"preset": "strong"}, "preset"),
        ("/v1/chat/completions", {"messages": [{**HI[0], "name": "Ann"}]}, "name"),
        ("/v1/messages", {"logprobs": True}, "logprobs"),
        ("/v1/messages", {"n": 2}, "n:"),
        ("/v1/messages", {"output_config": {"task_budget": 3}}, "task_budget"),
        ("/v1/responses", {"include": ["file_search_call.results"]}, "file_search_call"),
        ("/v1/responses", {"text": {"verbosity": "low"}}, "verbosity"),
        ("/v1/responses", {"n": 2}, "n:"),
        ("/v1/completions", {"echo": True, "logprobs": 1}, "logprobs"),
        ("/v1/completions", {"continue_final_message": True}, "continue_final_message"),
        ("/api/chat", {"options": {"num_ctx": N_CTX + 1}}, "num_ctx"),
        ("/api/chat", {"n": 2}, "n:"),
        ("/api/generate", {"raw": True, "logprobs": True}, "logprobs"),
    ],
)
def test_what_is_asked_for_and_not_done_is_named(
    server: Server, path: str, field: dict[str, Any], named: str
) -> None:
    length = {"max_output_tokens" if path == "/v1/responses" else "max_tokens": 2}
    body: dict[str, Any] = {"stream": False, **length}
    if path == "/v1/responses":
        body["input"] = "Hi"
    elif path in ("/v1/completions", "/api/generate"):
        body["prompt"] = "Hi"
    else:
        body["messages"] = HI
    assert not warnings(server, path, **body)
    assert named in warnings(server, path, **{**body, **field})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tokenize", {"content": "a", "truncate": True}),
        ("/detokenize", {"tokens": [300], "truncate": True}),
        ("/apply-template", {"messages": HI, "truncate": True}),
        ("/v1/messages/count_tokens", {"messages": HI, "truncate": True}),
    ],
)
def test_other_endpoints_name_it_too(server: Server, path: str, body: dict[str, Any]) -> None:
    assert "truncate" in warnings(server, path, **body)
    del body["truncate"]
    assert "amulet" not in told(server, path, **body)


def test_llama_servers_completion_gives_as_many_answers_as_are_wanted(server: Server) -> None:
    for name in ("n", "n_cmpl"):
        found = told(server, "/completion", prompt="Hi", n_predict=2, seed=1, **{name: 2})
        assert [one["index"] for one in found] == [0, 1]


def test_log_probabilities_are_said_in_every_protocol_that_has_them(server: Server) -> None:
    def tokens(listed: Any) -> list[Any]:
        return [(one["token"], one["logprob"]) for one in listed]

    asked = {"logprobs": True, "top_logprobs": 2}
    chat = told(server, "/v1/chat/completions", messages=HI, **GREEDY, **asked)
    wanted = tokens(chat["choices"][0]["logprobs"]["content"])
    assert len(wanted) == 5
    ollama = told(server, "/api/chat", messages=HI, stream=False, **GREEDY, **asked)
    assert tokens(ollama["logprobs"]) == wanted
    body = {"input": HI, "temperature": 0, "max_output_tokens": 5}
    for more in ({"top_logprobs": 2}, {"include": ["message.output_text.logprobs"]}):
        response = told(server, "/v1/responses", **body, **more)
        assert tokens(response["output"][0]["content"][0]["logprobs"]) == wanted


def test_the_prompt_and_traces_are_in_streams_as_well(server: Server) -> None:
    asked = {"messages": HI, **GREEDY, "verbose": True}
    whole = told(server, "/v1/chat/completions", **asked)
    with server.client.stream(
        "POST", "/v1/chat/completions", json={**asked, "stream": True}
    ) as stream:
        pieces = [
            json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: {")
        ]
    assert pieces[-1]["__verbose"] == whole["__verbose"]
    body = {"prompt": "Hi", "n_predict": 3, "temperature": 0, "amulet_trace": 1}
    traced = told(server, "/completion", **body)["amulet"]
    assert len(traced["tokens"]) == 3
    assert traced["warnings"] == []
    with server.client.stream("POST", "/completion", json={**body, "stream": True}) as stream:
        pieces = [json.loads(line[6:]) for line in stream.iter_lines() if line]
    streamed = [token for one in pieces[:-1] for token in one.get("amulet", {}).get("tokens", ())]
    assert streamed == traced["tokens"]


def test_of_several_lengths_the_least_holds(server: Server) -> None:
    for lengths, wanted in (
        ({"max_tokens": 3, "n_predict": 5}, 3),
        ({"max_tokens": 5, "n_predict": 3}, 3),
        ({"max_tokens": -1, "max_completion_tokens": 3}, 3),
        ({"max_tokens": 0, "n_predict": 3}, 0),
    ):
        body = {"messages": HI, "ignore_eos": True, **lengths}
        assert told(server, "/v1/chat/completions", **body)["usage"]["completion_tokens"] == wanted


def test_text_offsets_count_from_the_echoed_prompt(server: Server) -> None:
    answer = told(server, "/v1/completions", prompt="Hi", echo=True, logprobs=0, **GREEDY)
    choice = answer["choices"][0]
    for text, at in zip(
        choice["logprobs"]["tokens"], choice["logprobs"]["text_offset"], strict=True
    ):
        assert choice["text"][at:].startswith(text)


def test_a_tool_that_failed_and_a_refusal_are_in_the_prompt(server: Server) -> None:
    refused = {"role": "assistant", "content": None, "refusal": "Never."}
    assert "Never." in prompt(server, [*HI, refused, *HI])
    part = {"role": "assistant", "content": [{"type": "refusal", "refusal": "Never."}]}
    assert "Never." in prompt(server, [*HI, part, *HI])
    use = {"type": "tool_use", "id": "t", "name": "bake", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "no flour"}
    history = [
        HI[0],
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
    ]
    failed = [*history[:2], {"role": "user", "content": [{**result, "is_error": True}]}]
    counts = [
        told(server, "/v1/messages/count_tokens", messages=given)["input_tokens"]
        for given in (history, failed)
    ]
    assert counts[1] > counts[0]


def test_anthropics_schema_holds(server: Server) -> None:
    form = {"type": "json_schema", "schema": {"enum": ["bread"]}}
    for more in ({"output_config": {"format": form}}, {"output_format": form}):
        whole = told(server, "/v1/messages", messages=HI, max_tokens=30, **more)
        assert whole["content"][0]["text"] == '"bread"'


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat", "/v1/rerank", "/tokenize"])
def test_half_a_character_is_refused_in_every_field(server: Server, path: str) -> None:
    content = (
        b'{"model": "\\ud83d", "messages": [], "content": "a", "query": "a", "documents": ["a"]}'
    )
    response = server.client.post(path, content=content)
    assert (response.status_code, "UTF-8" in response.text) == (400, True)
    whole = content.replace(rb"\ud83d", rb"\ud83d\ude00")
    assert "UTF-8" not in server.client.post(path, content=whole).text


# ----------------------------------------------------------------------------------- infill


def test_what_a_gap_s_context_doesn_t_hold_is_cut_and_named(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocabulary = server.service.model.vocabulary
    monkeypatch.setattr(type(vocabulary), "gap_tokens", (TURN, END, TURN))
    given: dict[str, Any] = {"n_predict": 4, "temperature": 0}
    fits = told(server, "/infill", input_prefix="bread", input_suffix="tea", **given)
    assert fits["amulet"]["warnings"] == []
    for path, names in (
        ("/infill", {"input_prefix": "", "input_suffix": "tea"}),
        ("/v1/completions", {"prompt": "", "suffix": "tea"}),
        ("/api/generate", {"prompt": "", "suffix": "tea", "stream": False}),
    ):
        assert told(server, path, **names, **given)
    extra = [{"filename": "a", "text": f"{n} often" * 40} for n in range(3)]
    body = {"input_prefix": "bread", "input_suffix": "tea", "input_extra": extra, **given}
    whole = told(server, "/infill", **body)
    assert ["input_extra" in line for line in whole["amulet"]["warnings"]] == [True]
    assert whole["tokens_evaluated"] <= N_CTX - 4
    long = {"input_prefix": "early " * 400 + "bread", "input_suffix": "tea" + " late" * 400}
    cut = told(server, "/infill", **long, **given)
    assert ["input_prefix" in line for line in cut["amulet"]["warnings"]] == [True]
    assert "bread" in cut["prompt"]
    assert "tea" in cut["prompt"]
    assert cut["prompt"].count(" late") < cut["prompt"].count("early ")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/infill", {"input_prefix": "bread", "input_suffix": "tea"}),
        ("/v1/completions", {"prompt": "bread", "suffix": "tea"}),
        ("/v1/completions", {"prompt": "<|im_start|>bread tea"}),
        ("/completion", {"prompt": ["bread", TURN, "tea"]}),
        ("/api/generate", {"prompt": "bread", "suffix": "tea", "stream": False}),
    ],
)
def test_a_gap_is_filled_by_no_default_s_preference_but_by_the_request_s(
    monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any]
) -> None:
    with scripted_engine(n_ctx=N_CTX) as engine, lasting(engine):
        monkeypatch.setattr(type(engine.model.vocabulary), "gap_tokens", (TURN, END, TURN))
        defaults = {"preference": "creative", "avoid": "verbose", "preset": "strong"}
        with running(engine, defaults=defaults) as server:

            def followed(**more: Any) -> Any:
                return told(server, path, **body, **more)["amulet"]["preferences"]

            assert followed() == []
            assert followed(preference="formal") == ["formal"]
            assert followed(avoid="formal") == ["formal:-1"]
            assert followed(model="smollm2+formal") == ["formal"]
            for text in ({"prompt": "bread"}, {"prompt": "<|im_start|>", "parse_special": False}):
                written = told(server, "/v1/completions", **text, max_tokens=2)
                assert written["amulet"]["preferences"] == ["creative", "verbose:-1"]


# ------------------------------------------------------------------------- what the server says


def test_models_props_and_places_say_what_llama_servers_say(server: Server) -> None:
    meta = server.client.get("/v1/models").json()["data"][0]["meta"]
    assert {"vocab_type", "n_params", "ftype", "size"} <= meta.keys()
    props = server.client.get("/props").json()
    assert props["chat_template_caps"] == {
        "supports_string_content": True,
        "supports_typed_content": False,
        "supports_system_role": True,
        "supports_tools": False,
        "supports_tool_calls": False,
        "supports_parallel_tool_calls": False,
        "supports_object_arguments": False,
        "supports_preserve_reasoning": False,
        "supports_reasoning_effort": False,
    }
    asked = {"messages": HI, "max_tokens": 200, "ignore_eos": True, "stream": True}
    with server.client.stream("POST", "/v1/chat/completions", json=asked) as stream:
        lines = stream.iter_lines()
        while "content" not in next(lines):
            pass
        busy = next(place for place in server.client.get("/slots").json() if place["is_processing"])
    assert busy["n_prompt_tokens_processed"] + busy["n_prompt_tokens_cache"] > 0
    assert busy["n_prompt_tokens"] >= busy["n_prompt_tokens_processed"]
    assert busy["params"]["ignore_eos"] is True
    assert busy["next_token"][0]["has_next_token"] is True

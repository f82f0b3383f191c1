"""What programs send: taken, with a warning where a part of it isn't done, and never in silence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from amulet_local.preferences.preference import DEFAULT_SYSTEM_TEXT
from amulet_local.server.limits import Access
from tests.scripted import scripted_engine
from tests.server.conftest import Server, lasting, running

HI = [{"role": "user", "content": "What is yeast?"}]
TOOL = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with scripted_engine() as engine, lasting(engine), running(engine) as server:
        yield server


def prompt(server: Server, messages: list[dict[str, Any]], **fields: Any) -> str:
    """The prompt's text: what a model reads of a chat."""
    engine = server.service.model.engine
    request = engine.request(messages, bare=True, **fields)
    return engine.model.vocabulary.text(request.prompts[0])


def answered(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()


# --------------------------------------------------------------------------------- messages


def test_a_developers_message_is_a_system_message(server: Server) -> None:
    given = [{"role": "developer", "content": "Be kind."}, *HI]
    assert prompt(server, given) == prompt(server, [{"role": "system", "content": "Be kind."}, *HI])
    answered(server.chat(messages=given))


@pytest.mark.parametrize(
    "messages",
    [
        [*HI, {"role": "assistant", "content": None}, *HI],
        [*HI, {"role": "assistant"}, *HI],
        [*HI, *HI],
        [{"role": "system", "content": "Be kind."}],
        [{"role": "system", "content": ""}, *HI],
        [*HI, {"role": "assistant", "content": "bread"}],
        [*HI, {"role": "assistant", "content": ""}],
        [{"role": "user", "content": [{"type": "text", "text": "What is"}], "name": "me"}],
    ],
)
def test_any_order_of_messages_is_answered(server: Server, messages: list[dict[str, Any]]) -> None:
    assert answered(server.chat(messages=messages))["choices"][0]["message"]["content"]


def test_tool_calls_and_their_results_reach_the_model(server: Server) -> None:
    call = {"name": "weather", "arguments": '{"city": "Oslo"}'}
    for asked in (
        {"content": None, "tool_calls": [{"id": "c1", "type": "function", "function": call}]},
        {"function_call": call},
    ):
        given = [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", **asked},
            {"role": "tool", "tool_call_id": "c1", "content": "4 degrees"},
            {"role": "user", "content": "Thanks."},
        ]
        text = prompt(server, given)
        assert text.index("weather") < text.index("Oslo") < text.index("4 degrees")
        answered(server.chat(messages=given))


def test_system_texts_anywhere_are_one_at_the_front(server: Server) -> None:
    given = [*HI, {"role": "assistant", "content": "bread"}, {"role": "system", "content": "A."}]
    text = prompt(server, [*given, {"role": "developer", "content": "B."}, *HI])
    assert text.startswith("<|im_start|>system\nA.\n\nB.<|im_end|>\n")


def test_content_parts_are_told_apart(server: Server) -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert "one\ntwo" in prompt(server, [{"role": "user", "content": parts}])


# ------------------------------------------------------------------------ where the answer begins


def test_a_last_message_of_the_assistant_is_gone_on_with(server: Server) -> None:
    given = [*HI, {"role": "assistant", "content": "Bread and"}]
    assert prompt(server, given).endswith("<|im_start|>assistant\nBread and")
    assert prompt(server, given, continue_final_message=False).endswith(
        "Bread and<|im_end|>\n<|im_start|>assistant\n"
    )
    for wanted in (True, False, None):
        answered(server.chat(messages=given, continue_final_message=wanted))
    wrong = server.chat(continue_final_message=True)
    assert (wrong.status_code, "last message" in wrong.text) == (400, True)


@pytest.mark.parametrize("content", ["", " ", None, [], [{"type": "text", "text": ""}]])
def test_a_turn_may_say_nothing(server: Server, content: Any) -> None:
    blank = {"role": "user", "content": content}
    assert "<|im_start|>user\n" in prompt(server, [blank])
    for given in ([blank], [*HI, {"role": "assistant", "content": "Bread."}, blank]):
        for fields in ({}, {"preference": "formal"}, {"preference": "formal", "placement": "user"}):
            assert answered(server.chat(messages=given, **fields))["choices"]
    left_out = server.chat(messages=[{"role": "user", "text": "What is yeast?"}])
    assert (left_out.status_code, "content" in left_out.text) == (400, True)


def test_the_opening_of_an_answer_can_be_left_out(server: Server) -> None:
    assert prompt(server, HI, add_generation_prompt=False).endswith("yeast?<|im_end|>\n")
    ids = [
        answered(server.chat(messages=HI, add_generation_prompt=wanted))["usage"]["prompt_tokens"]
        for wanted in (True, False)
    ]
    assert ids[0] > ids[1]


def test_plain_is_what_was_sent_and_no_more(server: Server) -> None:
    assert prompt(server, HI) == (
        "<|im_start|>user\nWhat is yeast?<|im_end|>\n<|im_start|>assistant\n"
    )
    counts = [
        answered(server.chat(messages=HI, **fields))["usage"]["prompt_tokens"]
        for fields in ({}, {"method": "base", "preference": "formal"})
    ]
    vocabulary = server.service.model.vocabulary
    wanted = len(vocabulary.tokenize(prompt(server, HI), add_special=False, parse_special=True))
    assert counts == [wanted, wanted]
    assert DEFAULT_SYSTEM_TEXT in prompt(server, HI, preference="formal")


# ------------------------------------------------------------------------------ fields, values


@pytest.mark.parametrize(
    "body",
    [
        {"reasoning_effort": "none"},
        {"reasoning": {"effort": "none"}},
        {"reasoning_format": "auto"},
        {"reasoning_format": "none"},
        {"reasoning_format": "deepseek"},
        {"tools": [TOOL], "tool_choice": "none"},
        {"tools": [], "tool_choice": "auto"},
        {"tools": None, "parallel_tool_calls": False},
        {"functions": [], "function_call": "none"},
        {"logprobs": False, "top_logprobs": 0},
        {"top_logprobs": 0},
        {"logit_bias": []},
        {"logit_bias": {}},
        {"logit_bias": [[100, -1], [" bread", 2.5], [101, False]]},
        {"logit_bias": {"100": -100, "bread": 1}},
        {"extra_body": {}, "drop_params": True},
        {"extra_body": {"max_tokens": 2}},
        {"temperature": 0, "top_p": 0},
        {"temperature": 0.8, "top_p": 0, "typical_p": 0, "seed": 1},
        {"seed": 9007199254740993},
        {"seed": 2**64 - 1, "temperature": 1},
        {"seed": -5, "temperature": 1},
        {"seed": -1},
        {"stop": []},
        {"stop": ""},
        {"stop": ["", "bread"]},
        {"response_format": {"type": "text"}},
        {"dynatemp_range": 0, "dynatemp_exponent": 1, "top_n_sigma": -1, "tfs_z": 1, "top_a": 0},
        {"adaptive_target": -1.0, "adaptive_decay": 0.9, "min_keep": 0, "backend_sampling": False},
        {"repetition_penalty": 1, "length_penalty": 1, "best_of": 1, "use_beam_search": False},
        {"samplers": "edkypmxt"},
        {"samplers": ["top_k", "top_p", "temperature"]},
        {"timings_per_token": False, "return_progress": False, "post_sampling_probs": False},
        {"t_max_predict_ms": 0, "n_keep": 0, "modalities": ["text"], "verbosity": "medium"},
        {"n_predict": -1, "max_tokens": 2},
        {"max_tokens": -1, "grammar": 'root ::= "bread"'},
        {"n_predict": -1, "max_tokens": None, "grammar": 'root ::= "bread"'},
        {"stream_options": {"include_usage": True}},
        {"user": "me", "metadata": {"a": "b"}, "store": False, "service_tier": "auto"},
        {"prediction": {"type": "content", "content": "bread"}, "prompt_cache_key": "a"},
        {"cache_prompt": True, "id_slot": -1, "lora": [], "speculative.n_max": 4},
        {"chat_template_kwargs": {"enable_thinking": False}, "grammar": "", "json_schema": None},
        {"chat_id": "a", "session_id": "b", "background_tasks": {"title_generation": True}},
        {"features": {"web_search": False, "image_generation": False}},
        {"model": "gpt-4o"},
        {"model": "scripted:latest"},
    ],
    ids=lambda body: ",".join(body),
)
def test_harmless_values_are_taken_without_a_word(server: Server, body: dict[str, Any]) -> None:
    answer = answered(server.chat(messages=HI, **body))
    assert answer["amulet"]["warnings"] == []
    assert answer["choices"][0]["finish_reason"] in ("stop", "length")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"preferense": "formal"}, "preferense: no such parameter, so it changes nothing; did you"),
        ({"reasoning_effort": "low"}, "no variable reasoning_effort"),
        ({"reasoning": {"effort": "high"}}, "no variable reasoning_effort"),
        ({"reasoning_effort": 3}, "reasoning_effort: it is no text"),
        ({"chat_template_kwargs": {"mess": 1}}, "no variable mess,"),
        ({"logit_bias": {"99999999": 1}}, "logit_bias: this model has no token 99999999"),
        ({"logit_bias": [[-1, 2], [100, 1]]}, "logit_bias: this model has no token -1"),
        ({"samplers": ["temperature", "top_k"]}, "samplers"),
        ({"dynatemp_range": 0.5}, "dynatemp_range"),
        ({"post_sampling_probs": True}, "post_sampling_probs"),
        ({"t_max_predict_ms": 500}, "t_max_predict_ms"),
        ({"min_keep": 5}, "min_keep"),
        ({"n_indent": 4}, "n_indent"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"features": {"web_search": True}}, "features"),
        ({"\x1b[31m": 1}, "\\x1b"),
    ],
)
def test_what_changes_nothing_is_named(server: Server, body: dict[str, Any], said: str) -> None:
    (warning,) = answered(server.chat(messages=HI, **body))["amulet"]["warnings"]
    assert said in warning
    with server.client.stream(
        "POST",
        "/v1/chat/completions",
        json={"messages": HI, "stream": True, "max_tokens": 2} | body,
    ) as response:
        lines = [line for line in response.iter_lines() if line]
    assert json.loads(lines[-2].removeprefix("data: "))["amulet"]["warnings"] == [warning]


def test_a_format_of_reasoning_that_is_none_is_refused_with_the_names(server: Server) -> None:
    refused = server.chat(messages=HI, reasoning_format="parsed")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "reasoning_format")
    assert "auto, deepseek" in refused.text


def test_a_sampler_that_is_left_out_is_off(server: Server) -> None:
    """With all others off, the likeliest token alone is left by none of them."""
    given = {"messages": HI, "temperature": 2, "seed": 3, "top_k": 1, "max_tokens": 6}
    texts = {
        named: answered(server.chat(**given, samplers=list(named)))["choices"][0]["message"]
        for named in (("top_k", "temperature"), ("top_p", "temperature"))
    }
    assert (
        texts["top_k", "temperature"]
        == answered(server.chat(messages=HI, temperature=0, max_tokens=6))["choices"][0]["message"]
    )
    assert texts["top_p", "temperature"] != texts["top_k", "temperature"]


def test_samplers_of_an_editor_are_carried_out_but_the_one_that_isnt_here(server: Server) -> None:
    """Without the sampler for it, a temperature doesn't count; one of 0 still is greedy."""
    given = {"messages": HI, "seed": 3, "max_tokens": 6}
    editor = answered(server.chat(**given, temperature=9, samplers=["top_k", "top_p", "infill"]))
    assert ["infill" in line for line in editor["amulet"]["warnings"]] == [True]
    same = {"temperature": 1, "min_p": 0}
    assert editor["choices"] == answered(server.chat(**given, **same))["choices"]
    greedy = answered(server.chat(**given, temperature=0))["choices"]
    listed = server.chat(**given, temperature=0, samplers=["top_k", "infill"])
    assert answered(listed)["choices"] == greedy


def test_functions_from_before_there_were_tools_are_refused(server: Server) -> None:
    response = server.chat(functions=[TOOL["function"]])
    assert (response.status_code, "tools" in response.text) == (400, True)


def test_no_token_is_an_answer_too(server: Server) -> None:
    for fields in ({"max_tokens": 0}, {"max_tokens": None, "n_predict": 0}):
        answer = answered(server.chat(messages=HI, **fields))
        assert answer["choices"][0]["message"]["content"] == ""
        assert answer["choices"][0]["finish_reason"] == "length"
        assert answer["usage"]["completion_tokens"] == 0


# -------------------------------------------------------------------------- text completions


def completion(server: Server, **body: Any) -> Any:
    given = {"max_tokens": 3, "temperature": 0, **body}
    return answered(server.client.post("/v1/completions", json=given))


def test_control_tokens_in_a_raw_prompt_are_read_as_such(server: Server) -> None:
    text = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    vocabulary = server.service.model.vocabulary
    for parse in (True, False):
        ids = vocabulary.tokenize(text, add_special=False, parse_special=parse)
        usage = completion(server, prompt=text, parse_special=parse)["usage"]
        assert usage["prompt_tokens"] == len(ids)
    assert completion(server, prompt=text)["usage"]["prompt_tokens"] == len(
        vocabulary.tokenize(text, add_special=False, parse_special=True)
    )


def test_each_of_several_prompts_is_answered(server: Server) -> None:
    texts = ["What is", "How do I"]
    alone = [completion(server, prompt=text) for text in texts]
    both = completion(server, prompt=texts)
    assert [choice["index"] for choice in both["choices"]] == [0, 1]
    assert [choice["text"] for choice in both["choices"]] == [
        one["choices"][0]["text"] for one in alone
    ]
    assert both["usage"]["prompt_tokens"] == sum(one["usage"]["prompt_tokens"] for one in alone)
    twice = completion(server, prompt=texts, n=2)
    assert [choice["text"] for choice in twice["choices"]] == [
        one["choices"][0]["text"] for one in alone for _ in range(2)
    ]
    assert completion(server, prompt=[[100, 101], [102]])["usage"]["prompt_tokens"] == 3


def test_an_echo_begins_with_the_prompt(server: Server) -> None:
    plain = completion(server, prompt="What is")["choices"][0]["text"]
    assert completion(server, prompt="What is", echo=True)["choices"][0]["text"] == (
        "What is" + plain
    )
    given = {"prompt": "What is", "echo": True, "stream": True, "max_tokens": 3, "temperature": 0}
    with server.client.stream("POST", "/v1/completions", json=given) as response:
        lines = [line[6:] for line in response.iter_lines() if line and "[DONE]" not in line]
    said = "".join(json.loads(line)["choices"][0]["text"] for line in lines)
    assert said == "What is" + plain


def test_a_suffix_needs_a_model_that_fills_in(server: Server) -> None:
    asked = {"prompt": "def add(a,", "suffix": "return c"}
    answer = completion(server, **asked)
    assert ["fill" in line for line in answer["amulet"]["warnings"]] == [True]
    assert answer["choices"] == completion(server, prompt="def add(a,")["choices"]
    assert completion(server, prompt="What", suffix="")["choices"]


# ------------------------------------------------------------------- addresses, names, access


def test_a_model_can_be_looked_up(server: Server) -> None:
    for name in ("smollm2", "smollm2+creative"):
        assert answered(server.client.get(f"/v1/models/{name}"))["id"] == name


def test_paths_may_lack_the_version(server: Server) -> None:
    assert answered(server.client.get("/models"))["data"]  # without the names with a preference
    assert answered(server.client.get("/models/smollm2"))["id"] == "smollm2"
    assert answered(server.client.post("/chat/completions", json={"messages": HI, "n_predict": 1}))
    assert answered(server.client.post("/completions", json={"prompt": "Why", "max_tokens": 1}))


def test_head_is_get_without_a_body(server: Server) -> None:
    for path in ("/", "/health", "/v1/models", "/props"):
        head = server.client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == server.client.get(path).headers["content-type"]
    assert server.client.head("/nothing").status_code == 404


def test_a_byte_order_mark_is_no_part_of_a_body(server: Server) -> None:
    content = b"\xef\xbb\xbf" + json.dumps({"messages": HI, "max_tokens": 1}).encode()
    answered(
        server.client.post(
            "/v1/chat/completions", content=content, headers={"Content-Type": "application/json"}
        )
    )


def test_a_preference_in_any_models_name_counts(server: Server) -> None:
    answer = answered(server.chat(model="gpt-4o+formal"))
    assert answer["model"] == "gpt-4o+formal"
    assert answer["amulet"]["preferences"] == ["formal"]
    assert server.chat(model="smollm2+formall").status_code == 404


def test_strict_servers_refuse_what_others_take() -> None:
    with scripted_engine() as engine, lasting(engine), running(engine, strict=True) as server:
        assert server.chat(model="gpt-4o").status_code == 404
        assert server.chat(model="mine").json()["model"] == "mine"
        assert server.client.get("/v1/models").json()["data"][0]["id"] == "mine"
        error = server.chat(preferense="formal").json()["error"]
        assert (error["param"], error["code"]) == ("preferense", "unknown_parameter")
        assert server.chat(dynatemp_range=0).status_code == 200


def test_pages_and_apps_may_ask_with_headers_of_their_own() -> None:
    def asked(server: Server, origin: str) -> httpx.Response:
        headers = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,openai-beta,x-stainless-os",
        }
        return server.client.options("/v1/chat/completions", headers=headers)

    with scripted_engine() as engine, lasting(engine):
        for known in ("app://obsidian.md", "*"):
            with running(engine, access=Access(origins=frozenset({known}))) as server:
                told = asked(server, "app://obsidian.md")
                assert told.status_code == 200
                assert "x-stainless-os" in told.headers["access-control-allow-headers"]
                other = asked(server, "https://other.example").headers
                assert ("access-control-allow-origin" in other) == (known == "*")


def test_control_tokens_are_detokenised_as_they_are_written(server: Server) -> None:
    text = "<|im_start|>Why?<|im_end|>"
    tokens = answered(server.client.post("/tokenize", json={"content": text}))["tokens"]
    assert answered(server.client.post("/detokenize", json={"tokens": tokens})) == {"content": text}

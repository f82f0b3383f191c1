"""What llama-server says besides answers, in its own names."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import numpy as np
import pytest

from amulet_local.engine import Engine
from amulet_local.server.limits import Access, Limits
from amulet_local.server.model_names import ModelNames
from amulet_local.server.models import ModelFile, Models
from amulet_local.server.served_model import Defaults, ServedModel
from tests.server.conftest import Server, running

ASKED = {"prompt": "What is the", "n_predict": 4, "temperature": 0}


def told(server: Server, path: str, **body: Any) -> Any:
    response = server.client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def events(server: Server, path: str, **body: Any) -> list[dict[str, Any]]:
    lines = server.client.post(path, json=body).text.splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def pieces_of(server: Server, **body: Any) -> list[dict[str, Any]]:
    return events(server, "/completion", **{**ASKED, **body, "stream": True})


def test_tokens_are_said_with_the_text_that_they_are(server: Server) -> None:
    whole = told(server, "/completion", **ASKED, return_tokens=True)
    assert told(server, "/detokenize", tokens=whole["tokens"])["content"] == whole["content"]
    pieces = pieces_of(server)
    assert [token for piece in pieces for token in piece["tokens"]] == whole["tokens"]
    assert all(piece["tokens"] for piece in pieces if not piece["stop"])
    assert told(server, "/completion", **ASKED)["tokens"] == []


def test_n_probs_lists_the_likeliest_tokens_with_each(server: Server) -> None:
    whole = told(server, "/completion", **ASKED, n_probs=3, return_tokens=True)
    listed = whole["completion_probabilities"]
    assert [one["id"] for one in listed] == whole["tokens"]
    for one in listed:
        best = one["top_logprobs"]
        assert len(best) == 3
        assert best[0]["id"] == one["id"]
        assert best[0]["logprob"] == one["logprob"] <= 0
        assert [top["logprob"] for top in best] == sorted(
            (top["logprob"] for top in best), reverse=True
        )
    pieces = pieces_of(server, n_probs=3)
    assert [p for piece in pieces for p in piece.get("completion_probabilities", [])] == listed
    assert "completion_probabilities" not in told(server, "/completion", **ASKED)


def test_probabilities_after_the_samplers_are_of_what_was_left_to_draw_from(server: Server) -> None:
    drawn = {"temperature": 1.0, "top_k": 3, "top_p": 1.0, "min_p": 0.0, "seed": 7, "n_probs": 5}
    plain = told(server, "/completion", **{**ASKED, **drawn})["completion_probabilities"]
    after = told(server, "/completion", **{**ASKED, **drawn}, post_sampling_probs=True)
    for before, one in zip(plain, after["completion_probabilities"], strict=True):
        best = one["top_probs"]
        assert [top["id"] for top in best] == [top["id"] for top in before["top_logprobs"]][:3]
        p = np.exp([top["logprob"] for top in before["top_logprobs"][:3]])
        np.testing.assert_allclose([top["prob"] for top in best], p / p.sum(), rtol=1e-4)
        assert one["prob"] == next(top["prob"] for top in best if top["id"] == one["id"])
    greedy = told(server, "/completion", **ASKED, n_probs=5, post_sampling_probs=True)
    for one in greedy["completion_probabilities"]:
        assert [(top["id"], top["prob"]) for top in one["top_probs"]] == [(one["id"], 1.0)]


def test_a_drawn_answer_is_traced_without_alternatives_as_well(server: Server) -> None:
    drawn = told(
        server, "/v1/completions", prompt="Hi", max_tokens=2, temperature=1, amulet_trace=0
    )
    tokens = drawn["choices"][0]["amulet"]["tokens"]
    assert [token["top_realigned"] for token in tokens] == [[], []]


def test_a_stream_says_how_far_the_prompt_is(server: Server) -> None:
    prompt = f"Once {time.time()} upon a time. " * 20  # not in memory yet
    asked = {"prompt": prompt, "return_progress": True, "timings_per_token": True}
    pieces = pieces_of(server, **asked)
    told_of = [piece for piece in pieces if "prompt_progress" in piece]
    said = [piece["prompt_progress"] for piece in told_of]
    n_prompt = pieces[-1]["tokens_evaluated"]
    assert {one["total"] for one in said} == {n_prompt}
    assert {one["cache"] for one in said} == {pieces[-1]["timings"]["cache_n"]}
    done = [one["processed"] for one in said]
    assert (done[0], done[-1]) == (said[0]["cache"], n_prompt)
    assert done == sorted(set(done))
    first, *others = (piece["timings"] for piece in told_of)
    assert (first["prompt_n"], first["prompt_ms"], first["predicted_n"]) == (0, 0, 0)
    assert [one["prompt_n"] + one["cache_n"] for one in others] == done[1:]
    assert pieces[: len(told_of)] == told_of


def test_each_piece_has_the_timings_so_far_where_they_are_wanted(server: Server) -> None:
    *pieces, last = pieces_of(server, timings_per_token=True)
    assert [piece["timings"]["predicted_n"] for piece in pieces] == [1, 2, 3, 4]
    for piece in pieces:
        assert piece["timings"]["cache_n"] == last["timings"]["cache_n"]
        assert piece["timings"]["prompt_n"] == last["timings"]["prompt_n"]
    assert all("timings" not in piece for piece in pieces_of(server)[:-1])


def test_progress_is_said_in_chats_and_responses_in_their_own_shapes(server: Server) -> None:
    asked = {"stream": True, "max_tokens": 2, "return_progress": True, "timings_per_token": True}
    chat = events(
        server, "/v1/chat/completions", **asked, messages=[{"role": "user", "content": "Hi"}]
    )
    (progress, *_) = (event for event in chat if "prompt_progress" in event)
    assert progress["choices"][0]["delta"] == {}
    assert all("timings" in event for event in chat if event["choices"][0]["delta"].get("content"))
    response = events(server, "/v1/responses", **asked, input="Hi")
    kinds = {event["type"] for event in response if "prompt_progress" in event}
    assert kinds == {"response.in_progress"}
    assert "timings" in response[-1]
    whole = told(server, "/completion", **ASKED, return_progress=True)
    assert "prompt_progress" not in whole


def test_a_prompt_is_shown_without_what_tokenising_writes_before_it(server: Server) -> None:
    prompt = told(server, "/apply-template", messages=[{"role": "user", "content": "Hi"}])["prompt"]
    vocabulary = server.service.model.vocabulary
    ids = vocabulary.tokenize(prompt, add_special=True, parse_special=True)
    assert vocabulary.source_text(ids) == prompt
    assert prompt.startswith("<|im_start|>")


def test_an_answer_is_opened_or_gone_on_with_and_not_both(server: Server) -> None:
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well,"}]
    both = {"add_generation_prompt": True, "continue_final_message": True}
    assert server.chat(messages=said, **both).status_code == 400
    one = {"add_generation_prompt": False, "continue_final_message": True}
    assert server.chat(messages=said, max_tokens=1, **one).status_code == 200


def test_fields_of_the_response_are_chosen_by_their_paths(server: Server) -> None:
    wanted = ["content", "generation_settings/n_predict", "timings/predicted_n", "none/such"]
    found = told(server, "/completion", **ASKED, response_fields=wanted)
    assert set(found) == set(wanted[:3])
    assert found["generation_settings/n_predict"] == found["timings/predicted_n"] == 4


def test_tokens_that_are_never_chosen_are_among_the_biases(server: Server) -> None:
    said = told(server, "/completion", **ASKED, ignore_eos=True, logit_bias={"5": -1.5})
    biases = {one["token"]: one["bias"] for one in said["generation_settings"]["logit_bias"]}
    ends = server.service.model.vocabulary.end_tokens
    assert biases == {5: -1.5, **dict.fromkeys(ends)}
    plain = told(server, "/completion", **ASKED)
    assert plain["generation_settings"]["logit_bias"] == []


def test_an_answer_that_fills_the_context_is_truncated(server: Server) -> None:
    asked = {"prompt": "so " * 500, "temperature": 0, "ignore_eos": True}
    full = told(server, "/completion", **asked, n_predict=-1)
    assert (full["truncated"], full["stop_type"]) == (True, "limit")
    assert full["tokens_evaluated"] + full["tokens_predicted"] > 512
    assert not told(server, "/completion", **ASKED)["truncated"]


def test_texts_may_stand_between_token_ids(server: Server) -> None:
    ids = told(server, "/tokenize", content=" bread and water")["tokens"]
    plain = told(server, "/completion", **{**ASKED, "prompt": [*ids, 100]})
    for prompt in ([" bread and water", 100], [*ids[:1], " and water", 100]):
        assert (
            told(server, "/completion", **{**ASKED, "prompt": prompt})["prompt"] == plain["prompt"]
        )
    several = told(server, "/completion", **{**ASKED, "prompt": [ids, {"prompt_string": "What"}]})
    assert [one["prompt"] for one in several] == [" bread and water", "What"]
    picture = {"prompt_string": "What", "multimodal_data": ["aGk="]}
    refused = server.client.post("/completion", json={**ASKED, "prompt": picture})
    assert (refused.status_code, "pictures" in refused.text) == (400, True)


def test_a_prompt_that_is_too_long_says_by_how_much(server: Server) -> None:
    error = server.chat(messages=[{"role": "user", "content": "so " * 600}]).json()["error"]
    assert (error["type"], error["n_ctx"]) == ("exceed_context_size_error", 512)
    assert error["n_prompt_tokens"] > 600


def test_places_say_what_is_computed_on_them(server: Server) -> None:
    free = server.client.get("/slots").json()
    assert [slot["is_processing"] for slot in free] == [False, False]
    assert free[0]["next_token"] == [{"n_remain": -1, "n_decoded": 0}]
    body = {**ASKED, "n_predict": 400, "ignore_eos": True, "stream": True}
    with server.client.stream("POST", "/completion", json=body) as answer:
        lines = answer.iter_lines()
        next(lines)
        taken = httpx.get(f"{server.url}/slots").json()
    assert [slot["is_processing"] for slot in taken] == [True, False]
    token = taken[0]["next_token"][0]
    assert token["n_decoded"] >= 1
    assert token["n_remain"] + token["n_decoded"] == 400


def test_counters_have_llama_servers_names_too(engine: Engine) -> None:
    with running(engine, places=1) as server:
        asked = [told(server, "/completion", **ASKED)["timings"] for _ in range(2)]
        first = server.client.get("/metrics")
        text = first.text
        assert (b"Process-Start-Time-Unix") in dict(first.headers.raw)
        again = server.client.get("/metrics").text

    def value(name: str, text: str) -> float:
        assert f"# HELP llamacpp:{name} " in text
        (line,) = [one for one in text.splitlines() if one.startswith(f"llamacpp:{name} ")]
        return float(line.split()[1])

    for name, field in {
        "prompt_tokens_total": "prompt_n",
        "prompt_tokens_cached_total": "cache_n",
        "tokens_predicted_total": "predicted_n",
    }.items():
        assert value(name, text) == sum(one[field] for one in asked)
    assert value("predicted_tokens_seconds", text) > 0
    assert value("predicted_tokens_seconds", again) == 0  # nothing since


def test_props_say_what_requests_leave_open(engine: Engine) -> None:
    with running(engine, defaults={"seed": 42, "temperature": 0.8, "n_predict": 64}) as server:
        params = server.client.get("/props").json()["default_generation_settings"]["params"]
        asked = told(server, "/completion", prompt="What")["generation_settings"]
        own = told(server, "/completion", prompt="What", n_predict=2, seed=7)["generation_settings"]
        longer = told(server, "/completion", prompt="What", max_tokens=65, ignore_eos=True)
    assert longer["tokens_predicted"] == 65
    wanted = {"seed": 42, "temperature": 0.8, "n_predict": 64}
    assert {name: params[name] for name in wanted} == wanted
    assert {name: asked[name] for name in wanted} == wanted
    assert (own["seed"], own["n_predict"], own["temperature"]) == (7, 2, 0.8)


def test_what_the_command_line_says_of_the_model_is_told(engine: Engine) -> None:
    def served(_ending: Any) -> ServedModel:
        return ServedModel(
            engine,
            engine.pool(places=1, waiting=1),
            names,
            Defaults(),
            tags=["code"],
            adapters=[("/secret/voice.gguf", 0.5)],
        )

    names = ModelNames(["a.gguf"], aliases=["one", "two"])
    models = Models([ModelFile(names, served)])
    server = Server(models, Access(), Limits(), shows_places=False, has_page=False)
    try:
        assert server.ready.wait(60)
        first = server.client.get("/v1/models").json()["data"][0]
        assert (first["id"], first["aliases"], first["tags"]) == ("one", ["one", "two"], ["code"])
        assert first["meta"]["n_ctx"] == 512
        assert server.client.get("/").status_code == 404
        assert server.client.get("/slots").status_code == 501
        adapters = server.client.get("/lora-adapters").json()
        assert adapters == [{"id": 0, "path": "voice.gguf", "scale": 0.5}]
    finally:
        server.close()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/chat/completions/input_tokens", {"messages": [{"role": "user", "content": "Hi"}]}),
        ("/v1/responses/input_tokens", {"input": "Hi"}),
        ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "Hi"}]}),
    ],
)
def test_prompts_are_counted_without_an_answer(server: Server, path: str, body: Any) -> None:
    usage = server.chat(messages=[{"role": "user", "content": "Hi"}]).json()["usage"]
    assert told(server, path, **body) == {"input_tokens": usage["prompt_tokens"]}


def test_a_prompt_is_shown_and_counted_even_where_the_context_does_not_hold_it(
    server: Server,
) -> None:
    long = [{"role": "user", "content": "one two three " * server.service.model.engine.n_ctx}]
    assert server.chat(messages=long).json()["error"]["code"] == "context_length_exceeded"
    prompt = told(server, "/apply-template", messages=long)["prompt"]
    assert prompt.count("one two three") == server.service.model.engine.n_ctx
    ids = server.service.model.vocabulary.tokenize(prompt, add_special=True, parse_special=True)
    asked = ("/v1/chat/completions/input_tokens", "/v1/messages/count_tokens")
    assert [told(server, path, messages=long)["input_tokens"] for path in asked] == [len(ids)] * 2


def test_parts_of_an_answer_that_is_gone_on_with_are_paragraphs(server: Server) -> None:
    parts = [{"type": "text", "text": "Wh"}, {"type": "text", "text": "ill"}]
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": parts}]
    assert told(server, "/apply-template", messages=said)["prompt"].endswith("assistant\nWh\n\nill")


def test_completions_without_v1_are_openais_and_llama_servers(server: Server) -> None:
    both = told(server, "/completions", **ASKED)
    assert both["content"] == both["choices"][0]["text"] != ""
    assert both["object"] == "text_completion"
    assert both["stop"] is True
    assert "content" not in told(server, "/v1/completions", **ASKED)
    pieces = events(server, "/completions", **ASKED, stream=True)
    assert "".join(piece["content"] for piece in pieces) == both["content"]
    assert "".join(piece["choices"][0]["text"] for piece in pieces) == both["content"]
    assert [piece["stop"] for piece in pieces][-2:] == [False, True]
    several = told(server, "/completions", **{**ASKED, "prompt": ["Hi", "Well"]})
    assert [choice["index"] for choice in several["choices"]] == [0, 1]


def test_texts_and_token_ids_are_tokenised_together(server: Server) -> None:
    def ids(content: Any) -> Any:
        return told(server, "/tokenize", content=content)["tokens"]

    assert ids(["Hi", 13, " you"]) == [*ids("Hi"), 13, *ids(" you")]
    assert ids([]) == []
    for wrong in (None, 3, [None], [1.5], [True], [["Hi"]]):
        assert server.client.post("/tokenize", json={"content": wrong}).status_code == 400


def test_settings_and_counts_have_llama_servers_names_and_meaning(server: Server) -> None:
    whole = told(server, "/completion", **ASKED, ignore_eos=True, post_sampling_probs=True)
    settings, timings = whole["generation_settings"], whole["timings"]
    assert settings["typical_p"] == 1.0
    assert (settings["grammar"], settings["reasoning_format"]) == ("", "deepseek")
    assert settings["post_sampling_probs"] is True
    n_prompt = timings["prompt_n"] + timings["cache_n"]
    assert whole["tokens_cached"] == n_prompt + timings["predicted_n"] - 1  # the last isn't read
    listed = server.chat(logprobs=True, top_logprobs=1, max_tokens=1).json()["choices"][0]
    assert type(listed["logprobs"]["content"][0]["id"]) is int


def test_models_without_v1_are_named_once(server: Server) -> None:
    once = server.client.get("/models").json()["data"]
    many = server.client.get("/v1/models").json()["data"]
    assert [entry["id"] for entry in once] == [many[0]["id"]]
    assert once[0] == many[0]
    assert len(many) > 1


def test_a_verbose_answer_says_its_prompt(server: Server) -> None:
    said = server.chat(verbose=True).json()
    asked = {"messages": [{"role": "user", "content": "Hi"}]}
    assert said["__verbose"]["prompt"] == told(server, "/apply-template", **asked)["prompt"]
    assert "__verbose" not in server.chat().json()

"""What llama-server says besides answers, in its own names."""

from __future__ import annotations

import json
from typing import Any

import httpx
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


def pieces_of(server: Server, **body: Any) -> list[dict[str, Any]]:
    text = server.client.post("/completion", json={**ASKED, **body, "stream": True}).text
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


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


def test_a_verbose_answer_says_its_prompt(server: Server) -> None:
    said = server.chat(verbose=True).json()
    asked = {"messages": [{"role": "user", "content": "Hi"}]}
    assert said["__verbose"]["prompt"] == told(server, "/apply-template", **asked)["prompt"]
    assert "__verbose" not in server.chat().json()

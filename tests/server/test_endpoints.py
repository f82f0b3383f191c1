"""What each endpoint gives: llama-server's shapes, and this project's own fields."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from amulet_local import Engine
from tests.scripted import scripted_engine
from tests.server.conftest import Server, running

HI = [{"role": "user", "content": "How do I sleep better?"}]


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """The pieces of a stream that ended as it should."""
    lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def as_post(path: str, body: dict[str, Any]) -> bytes:
    """A request as it goes over the wire."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def until(condition: Any, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_timings_are_those_of_llama_server(server: Server) -> None:
    new = [{"role": "user", "content": "What are timings, and who asked for them first?"}]
    timings = server.chat(messages=new, max_tokens=5, ignore_eos=True).json()["timings"]
    for phase, n in (("prompt", timings["prompt_n"]), ("predicted", 5)):
        assert timings[f"{phase}_n"] == n > 0
        assert timings[f"{phase}_ms"] >= 0
        assert timings[f"{phase}_per_token_ms"] >= 0
        assert timings[f"{phase}_per_second"] >= 0
    whole = timings["prompt_ms"] + timings["predicted_ms"]
    assert 0 < timings["amulet_compute_ms"] <= whole


def test_a_trace_has_the_tokens_that_the_text_is_made_of(server: Server) -> None:
    given = {"messages": HI, "preference": "formal", "amulet_trace": 2, "max_tokens": 6}
    whole = server.chat(**given, temperature=0).json()
    tokens = whole["choices"][0]["amulet"]["tokens"]
    assert "".join(token["text"] for token in tokens) == whole["choices"][0]["message"]["content"]
    for token in tokens:
        assert len(token["top_plain"]) == len(token["top_realigned"]) == 2
        assert [len(row) for row in token["top_preferences"]] == [2]
        assert token["id"] == token["top_realigned"][0]["id"]
        assert set(token) >= {"plain", "preferences", "realigned", "scale", "kl"}
    pieces = events(server.chat(**given, temperature=0, stream=True))
    assert pieces[0]["amulet"]["preferences"] == ["formal"]
    assert pieces[0]["amulet"]["preset"] == "balanced"
    for piece in pieces[1:-1]:
        choice = piece["choices"][0]
        texts = [token["text"] for token in choice["amulet"]["tokens"]]
        assert "".join(texts) == choice["delta"]["content"]
    assert set(pieces[-1]["amulet"]) == {
        *("warnings", "preset", "guidance_scale", "applied", "preferences", "method"),
        *("reasoning_tokens", "settings"),
    }
    assert pieces[-1]["timings"]["predicted_n"] == 6


def test_log_probabilities_of_nothing_are_numbers_in_json(server: Server) -> None:
    response = server.chat(grammar='root ::= "Yes"', amulet_trace=20, logprobs=True, top_logprobs=3)
    assert "Infinity" not in response.text
    assert "NaN" not in response.text


def test_a_change_holds_from_the_next_token_on(server: Server) -> None:
    body = {"messages": HI, "max_tokens": 60, "ignore_eos": True, "stream": True, "amulet_trace": 0}
    given = body | {"preference": "creative", "preset": "strong", "temperature": 0}
    with server.client.stream("POST", "/v1/chat/completions", json=given) as response:
        lines = (line for line in response.iter_lines() if line)
        first = json.loads(next(lines).removeprefix("data: "))
        key = first["id"]
        changed = server.client.post(
            "/v1/amulet/control", json={"id": key, "preference": "formal", "guidance_scale": 2}
        )
        assert changed.json()["amulet"] == {
            "preferences": ["formal"],
            "preset": "",
            "guidance_scale": 2.0,
            "kl_budget": None,
            "kl_target": None,
        }
        kept = server.client.post("/v1/amulet/control", json={"id": key, "preset": "paper"})
        assert kept.json()["amulet"]["preferences"] == ["formal"]
        wrong = server.client.post("/v1/amulet/control", json={"id": key, "preset": "none such"})
        assert wrong.status_code == 400
        pieces = [json.loads(line[6:]) for line in lines if line != "data: [DONE]"]
    assert pieces[-1]["amulet"]["preset"] == "paper"
    assert pieces[-1]["amulet"]["preferences"] == ["formal"]
    settings = pieces[-1]["amulet"]["settings"]
    assert settings["preference"] == {"value": ["formal"], "from": "request"}
    assert settings["preset"] == {"value": "paper", "from": "request"}
    assert settings["guidance_scale"]["from"] == "preset paper", "the change before it is replaced"
    gone = server.client.post("/v1/amulet/control", json={"id": key, "preset": "paper"})
    assert gone.status_code == 404


def test_a_completion_can_be_ended_and_its_client_gets_what_there_is(server: Server) -> None:
    given = {"messages": HI, "max_tokens": 400, "ignore_eos": True, "stream": True}
    with server.client.stream("POST", "/v1/chat/completions", json=given) as response:
        lines = (line for line in response.iter_lines() if line)
        key = json.loads(next(lines)[6:])["id"]
        ended = server.client.post("/v1/amulet/control", json={"id": key, "cancel": True})
        assert ended.json() == {"id": key, "cancelled": True}
        rest = list(lines)
    assert rest[-1] == "data: [DONE]"
    assert json.loads(rest[-2][6:])["choices"][0]["finish_reason"] == "stop"
    assert len(rest) < 400


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("when", ["writing", "reading", "waiting"])
def test_a_client_that_leaves_frees_its_place(engine: Engine, stream: bool, when: str) -> None:
    text = "Tell me about the sea. " * (40 if when == "reading" else 1)
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": 400, "ignore_eos": True}
    with running(engine, places=1, waiting=1) as server:
        pool = server.service.model.pool
        if when == "waiting":
            holder = threading.Thread(target=server.chat, kwargs=body)
            holder.start()
            assert until(lambda: pool.n_active == 1)
        with socket.create_connection(("127.0.0.1", server.port)) as leaver:
            leaver.sendall(as_post("/v1/chat/completions", body | {"stream": stream}))
            if when == "waiting":
                assert until(lambda: pool.n_queued == 1)
            else:
                assert until(lambda: pool.n_active == 1)
            if when == "writing" and stream:
                assert leaver.recv(20)
        if when == "waiting":
            assert until(lambda: pool.n_queued == 0)
            holder.join()
        assert until(lambda: pool.n_active == 0 and not server.service.jobs)
        assert server.chat().status_code == 200


def test_too_many_get_503_at_once_and_the_others_their_answers(engine: Engine) -> None:
    with running(engine, places=1, waiting=1) as server:
        answers: list[httpx.Response] = []
        body = {"messages": HI, "max_tokens": 300, "ignore_eos": True}
        threads = [
            threading.Thread(target=lambda: answers.append(server.chat(**body))) for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503, 503]
        for answer in answers:
            if answer.status_code == 503:
                assert answer.json()["error"]["code"] == "queue_full"
                assert int(answer.headers["retry-after"]) >= 1
        assert "amulet_rejected_total 3" in server.client.get("/metrics").text


def test_the_server_s_defaults_hold_for_those_who_say_nothing(engine: Engine) -> None:
    defaults = {"preference": ["concise"], "preset": "strong"}
    with running(engine, defaults=defaults) as server:

        def followed(**body: Any) -> tuple[list[str], str]:
            amulet = server.chat(**body, max_tokens=1).json()["amulet"]
            return amulet["preferences"], amulet["preset"]

        assert followed() == (["concise"], "strong")
        assert followed(preference="formal") == (["formal"], "strong")
        assert followed(preference="funny") == (["funny"], "strong")
        assert followed(preference=None, preset="paper") == (["concise"], "paper")
        assert followed(model="smollm2+creative") == (["creative"], "strong")
        assert followed(model="smollm2+creative", preference="formal")[0] == ["formal"]
        assert followed(method="base")[0] == []
        assert followed(preference=[])[0] == []


def settings_of(answer: httpx.Response, *names: str) -> list[tuple[Any, str]]:
    """Values of settings, and where they came from."""
    settings = answer.json()["amulet"]["settings"]
    return [(settings[name]["value"], settings[name]["from"]) for name in names]


def test_an_answer_says_where_each_of_its_settings_came_from(engine: Engine) -> None:
    defaults = {"preference": ["concise"], "guidance_scale": 2.0, "top_k": 7, "n_predict": 3}
    names = ("preference", "guidance_scale", "top_k", "max_tokens", "temperature", "echo_guard")
    with running(engine, defaults=defaults) as server:
        body: dict[str, Any] = {"messages": HI}
        assert settings_of(server.client.post("/v1/chat/completions", json=body), *names) == [
            *[(["concise"], "flag"), (2.0, "flag"), (7, "flag"), (3, "flag"), (0.2, "default")],
            (True, "preset balanced"),
        ]
        given = {"max_guidance": 1.5, "top_k": 5, "temperature": 0.0, "seed": 9}
        asked = server.chat(**given, model="smollm2+creative")
        assert settings_of(asked, *names, "method", "seed", "placement") == [
            (["creative"], "the model's name"),
            *[(1.5, "request"), (5, "request"), (4, "request"), (0.0, "request")],
            *[(True, "preset balanced"), ("amulet", "default"), (9, "request")],
            ("contrast", "preset balanced"),
        ]
        mixed = server.chat(avoid="verbose", preset="strong", placement="system")
        assert settings_of(mixed, "preference", "preset", "placement", "guidance_scale") == [
            (["concise", "verbose:-1"], "flag and request"),
            *[("strong", "request"), ("system", "request"), (2.0, "preset strong")],
        ]
        whole = server.chat(amulet={"guidance_scale": 3.0})
        assert settings_of(whole, "guidance_scale", "echo_guard") == [
            *[(3.0, "request"), (False, "request")]
        ]
        plain = server.chat(method="base").json()["amulet"]["settings"]
        assert plain["method"] == {"value": "base", "from": "request"}
        assert not {"preference", "guidance_scale", "placement"} & plain.keys()


def test_every_protocol_says_the_settings(server: Server) -> None:
    wishes = {"preference": "formal", "guidance_scale": 2.0}
    for path, body in (
        ("/v1/completions", {"prompt": "Hi", "max_tokens": 2}),
        ("/completion", {"prompt": "Hi", "n_predict": 2}),
        ("/api/chat", {"messages": HI, "options": {"num_predict": 2}, "stream": False}),
        ("/v1/messages", {"messages": HI, "max_tokens": 2}),
        ("/v1/responses", {"input": "Hi", "max_output_tokens": 2}),
    ):
        answer = server.client.post(path, json=body | wishes)
        assert settings_of(answer, "preference", "guidance_scale", "max_tokens") == [
            *[(["formal"], "request"), (2.0, "request"), (2, "request")]
        ], path
        has_placement = "placement" in answer.json()["amulet"]["settings"]
        assert has_placement is ("prompt" not in body), "a text has no template"


def test_what_is_running_ends_cleanly_when_the_server_is_told_to_end(engine: Engine) -> None:
    with running(engine, places=1, waiting=2) as server:
        body = {"messages": HI, "max_tokens": 400, "ignore_eos": True}
        with httpx.Client(base_url=server.url, timeout=60) as client:
            with client.stream(
                "POST", "/v1/chat/completions", json=body | {"stream": True}
            ) as response:
                lines = (line for line in response.iter_lines() if line)
                next(lines)
                waiting: list[httpx.Response] = []
                waiter = threading.Thread(target=lambda: waiting.append(server.chat(**body)))
                waiter.start()
                assert until(lambda: server.service.model.pool.n_queued == 1)
                server.stop()
                rest = list(lines)
            waiter.join()
    assert rest[-1] == "data: [DONE]"
    assert json.loads(rest[-2][6:])["choices"][0]["finish_reason"] == "stop"
    assert waiting[0].status_code == 409 or waiting[0].status_code == 503


def test_a_failure_in_a_stream_is_an_event(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import llama_cpp

    given = {"messages": HI, "max_tokens": 100, "ignore_eos": True, "stream": True}
    with server.client.stream("POST", "/v1/chat/completions", json=given) as response:
        lines = (line for line in response.iter_lines() if line)
        next(lines)
        with monkeypatch.context() as patch:
            patch.setattr(llama_cpp, "llama_decode", lambda context, batch: -1)
            rest = list(lines)
    error = json.loads(rest[-1].removeprefix("data: "))["error"]
    assert error["code"] == "backend_error"
    assert error["type"] == "server_error"
    assert server.chat().status_code == 200


def test_tokens_and_text_belong_together(server: Server) -> None:
    text = "Grüße 🙂 from <b>\x00here</b>"
    tokens = server.client.post("/tokenize", json={"content": text}).json()["tokens"]
    back = server.client.post("/detokenize", json={"tokens": tokens}).json()["content"]
    assert back == text
    named = server.client.post("/tokenize", json={"content": text, "with_pieces": True}).json()
    assert [item["id"] for item in named["tokens"]] == tokens
    outside = server.client.post("/detokenize", json={"tokens": [10**9]})
    assert outside.status_code == 400


def test_props_say_what_a_page_needs(server: Server) -> None:
    props = server.client.get("/props").json()
    assert props["total_slots"] == 2
    assert props["default_generation_settings"]["n_ctx"] == 512
    assert "/" not in props["model_path"]
    amulet = props["amulet"]
    assert {"name": "concise"}.items() <= amulet["preferences"][6].items()
    assert {preset["name"] for preset in amulet["presets"]} == {"paper", "balanced", "strong"}
    assert amulet["default_preset"] == "balanced"
    assert amulet["scheduler"] == server.service.model.pool.scheduler
    assert amulet["parallel"] == 2
    assert "amulet" in amulet["methods"]


@pytest.mark.parametrize(
    ("flags", "scale", "budget", "target"),
    [
        ({}, 1.7, None, 0.3),
        ({"kl_target": 0.2}, 1.7, None, 0.2),
        ({"guidance_scale": 3.0}, 3.0, None, None),
        ({"kl_budget": 0.5}, 1.7, 0.5, 0.3),
        ({"preset": "strong"}, 2.0, None, 0.2),
    ],
)
def test_props_have_the_strength_of_a_request_that_sets_none(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: dict[str, Any],
    scale: float,
    budget: float | None,
    target: float | None,
) -> None:
    (tmp_path / "settings.toml").write_text(
        "[models.scripted]\nguidance_scale = 1.7\nkl_target = 0.3\n"
    )
    monkeypatch.setenv("AMULET_CONFIG", str(tmp_path))
    with scripted_engine() as engine, running(engine, defaults=flags) as server:
        told = server.client.get("/props").json()["amulet"]["default_strength"]
        answer = server.chat(preference="concise").json()["amulet"]
    assert told["guidance_scale"] == pytest.approx(scale, abs=0.01)
    assert (told["kl_budget"], told["kl_target"]) == (budget, target)
    assert answer["guidance_scale"] == told["guidance_scale"]


def test_metrics_count_tokens(server: Server) -> None:
    def counted() -> dict[str, float]:
        lines = server.client.get("/metrics").text.splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
        return {name: float(value) for name, value in pairs}

    before = counted()
    usage = server.chat(max_tokens=3).json()["usage"]
    after = counted()
    for name, key in (("prompt", "prompt_tokens"), ("predicted", "completion_tokens")):
        total = f"amulet_{name}_tokens_total"
        assert after[total] - before[total] == usage[key]


@pytest.mark.parametrize("room", [-4608, -1, 0, 1, 2])
def test_at_the_edge_of_the_context_a_prompt_is_answered_or_refused_and_never_cut(
    server: Server, room: int
) -> None:
    prompt = [100] * (512 - room)
    asked = {"prompt": prompt, "max_tokens": 8, "ignore_eos": True}
    response = server.client.post("/v1/completions", json=asked)
    if room < 0:
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (400, "context_length_exceeded")
        assert (error["n_prompt_tokens"], error["n_ctx"]) == (len(prompt), 512)
        return
    result = response.json()
    assert result["choices"][0]["finish_reason"] == "length"
    assert result["usage"]["prompt_tokens"] == len(prompt)
    assert result["usage"]["completion_tokens"] == room + 1


def test_a_prompt_beyond_the_context_says_the_counts(server: Server) -> None:
    error = server.chat(messages=[{"role": "user", "content": "long " * 900}]).json()["error"]
    assert error["code"] == "context_length_exceeded"
    assert error["n_prompt_tokens"] > error["n_ctx"] == 512


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": ""}], "max_tokens": True},
        {"temperature": 1e400},
        {"temperature": 1e9},
        {"top_p": -0.1},
        {"n": 0},
        {"n": 1000},
        {"logit_bias": {"a": "b"}},
        {"stop": [1]},
        {"stop": ["a"] * 1000},
        {"preference": {"text": 1}},
        {"preference": [{"name": "formal", "weight": "much"}]},
        {"preference": [{"name": "formal", "weight": 1e9}]},
        {"preference": "formal", "guidance_scale": 1e9},
        {"preference": "long " * 900},
        {"min_plausibility": 2},
        {"amulet_trace": 21},
        {"amulet": {"eta": 0}},
        {"method": "none"},
        {"tools": [{"type": "function"}]},
        {"functions": [{"name": "f"}]},
        {"response_format": {"type": "yaml"}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "odd"}}}},
        {"grammar": "root ::= " + "(" * 5000},
        {"json_schema": {"$ref": "#"}},
        {"chat_template_kwargs": "text"},
    ],
)
def test_a_bad_field_gets_400_in_openai_s_shape(server: Server, body: dict[str, Any]) -> None:
    content = json.dumps({"messages": HI, "max_tokens": 1} | body).replace("Infinity", "1e400")
    response = server.client.post(
        "/v1/chat/completions", content=content, headers={"Content-Type": "application/json"}
    )
    if body.get("max_tokens") is not True:
        assert response.status_code == 400, response.text
        error = response.json()["error"]
        assert error["message"]
        assert error["type"] in ("invalid_request_error", "exceed_context_size_error")
    assert server.client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [("/slots/0?action=restore", 501), ("/lora-adapters", 400), ("/v1/conversations", 404)],
)
def test_nothing_saved_is_taken_that_nobody_allowed(server: Server, path: str, status: int) -> None:
    assert server.client.post(path, json={"filename": "state.bin"}).status_code == status


def test_unknown_addresses_and_methods_have_openai_s_shape(server: Server) -> None:
    assert server.client.get("/nothing").json()["error"]["code"] == "not_found"
    assert server.client.get("/v1/chat/completions").status_code == 405

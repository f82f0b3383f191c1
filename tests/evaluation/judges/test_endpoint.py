"""Endpoints that fail, refuse, limit, lie or go away; keys; options."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from amulet_local import errors
from amulet_local.evaluation.judges import JudgeOptions, open_judge
from tests.evaluation.judges.endpoints import Answer, Reply, completion, serving

ASKED = ("How do I sleep better?", "Be brief.", "Go to bed early.")


def failing(*failures: Reply) -> Answer:
    """These replies in turn, and then a rating of 4."""
    left = list(failures)
    return lambda _: left.pop(0) if left else completion("4")


def options(base_url: str, **values: Any) -> JudgeOptions:
    return JudgeOptions(**{"base_url": base_url, "model": "m", **values})


@pytest.mark.parametrize(
    "failures",
    [
        [(429, {"Retry-After": "0"}, {"error": {"message": "slow down"}})] * 2,
        [(503, {"Retry-After": "0"}, b"overloaded")],
        [(500, {}, b"")],
    ],
)
@pytest.mark.lengthy
def test_a_passing_failure_is_tried_again(failures: list[Reply]) -> None:
    with (
        serving(failing(*failures)) as endpoint,
        open_judge(options(endpoint.base_url)) as judge,
    ):
        assert judge.rate(*ASKED).level == 4
        assert len(endpoint.requests) == len(failures) + 1


@pytest.mark.lengthy
def test_retries_have_a_limit() -> None:
    busy = (429, {"Retry-After": "0"}, {"error": {"message": "quota used up"}})
    with (
        serving(lambda _: busy) as endpoint,
        open_judge(options(endpoint.base_url, max_retries=2)) as judge,
    ):
        with pytest.raises(errors.JudgeError, match="m: HTTP 429: quota used up"):
            judge.rate(*ASKED)
        assert len(endpoint.requests) == 3


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_lasting_failure_is_said_at_once(status: int) -> None:
    with (
        serving(lambda _: (status, {}, {"error": {"message": "no\r\nway"}})) as endpoint,
        open_judge(options(endpoint.base_url)) as judge,
    ):
        with pytest.raises(errors.JudgeError) as raised:
            judge.rate(*ASKED)
        assert str(raised.value) == f"m: HTTP {status}: no way"
        assert len(endpoint.requests) == 1


def test_what_an_endpoint_refuses_is_left_out_from_then_on() -> None:
    def answer(body: dict[str, Any]) -> Reply:
        for field in ("grammar", "logprobs", "max_tokens"):
            if field in body:
                return 400, {}, {"error": {"message": f"unknown parameter {field}"}}
        return completion("4")

    with serving(answer) as endpoint, open_judge(options(endpoint.base_url)) as judge:
        assert judge.rate(*ASKED).level == 4
        assert len(endpoint.requests) == 4
        judge.rate(*ASKED)
        assert len(endpoint.requests) == 5


def test_an_endpoint_that_refuses_everything_is_said() -> None:
    with (
        serving(lambda _: (400, {}, {"error": {"message": "context too small"}})) as endpoint,
        open_judge(options(endpoint.base_url)) as judge,
        pytest.raises(errors.JudgeError, match="HTTP 400: context too small"),
    ):
        judge.rate(*ASKED)


@pytest.mark.parametrize(
    ("text", "level"),
    [("4", 4), (" 2.", 2), ("**5**", 5), ("Rating: 3", 3), ("I'd say 1 (not at all)", 1)],
)
def test_a_reply_in_words_is_read(text: str, level: int) -> None:
    with (
        serving(lambda _: completion(text)) as endpoint,
        open_judge(options(endpoint.base_url)) as judge,
    ):
        rating = judge.rate(*ASKED)
    assert (rating.level, rating.value, rating.probabilities) == (level, level, None)


@pytest.mark.parametrize("text", ["", "It is fine.", "42", "A5"])
def test_a_reply_without_a_verdict_is_a_judge_error(text: str) -> None:
    with (
        serving(lambda _: completion(text)) as endpoint,
        open_judge(options(endpoint.base_url)) as judge,
        pytest.raises(errors.JudgeError, match="not one of"),
    ):
        judge.rate(*ASKED)


WHOLE = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>welcome</html>",
        b"null",
        b"[]",
        b"{}",
        b'"text"',
        b"[" * 200_000,
        {**WHOLE, "choices": []},
        {**WHOLE, "choices": [None]},
        {**WHOLE, "choices": ["x"]},
        {**WHOLE, "choices": [{"message": None}]},
        {**WHOLE, "choices": [{"message": {"content": 7}}]},
        {**WHOLE, "choices": [{"message": {"content": "x"}, "logprobs": {"content": 3}}]},
        {
            **WHOLE,
            "choices": [
                {
                    "message": {"content": "x"},
                    "logprobs": {"content": [{"token": "4", "top_logprobs": [{"token": None}]}]},
                }
            ],
        },
    ],
)
@pytest.mark.lengthy
def test_nonsense_is_a_judge_error(body: Any) -> None:
    with (
        serving(lambda _: (200, {}, body)) as endpoint,
        open_judge(options(endpoint.base_url, max_retries=0)) as judge,
        pytest.raises(errors.JudgeError),
    ):
        judge.rate(*ASKED)


def test_nobody_there_is_a_judge_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = options(f"http://127.0.0.1:{port}/v1", max_retries=0)
    with open_judge(settings) as judge, pytest.raises(errors.JudgeError, match=r"[Cc]onnection"):
        judge.rate(*ASKED)


def test_an_endpoint_that_never_answers_is_a_judge_error() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings = options(
            f"http://127.0.0.1:{silent.getsockname()[1]}/v1", max_retries=0, timeout_seconds=0.2
        )
        with open_judge(settings) as judge, pytest.raises(errors.JudgeError, match="timed out"):
            judge.rate(*ASKED)


def test_a_key_comes_from_the_environment_and_shows_up_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-somebody-else")
    with serving(lambda _: (401, {}, {"error": {"message": "bad key"}})) as endpoint:
        with (
            open_judge(options(endpoint.base_url, api_key_env="MY_KEY")) as judge,
            pytest.raises(errors.JudgeError) as raised,
        ):
            judge.rate(*ASKED)
        with open_judge(options(endpoint.base_url)) as judge, pytest.raises(errors.JudgeError):
            judge.rate(*ASKED)
    assert "secret" not in str(raised.value)
    assert endpoint.keys == ["Bearer sk-secret", "Bearer none"]
    assert "somebody-else" not in str(endpoint.headers)


def test_a_key_that_isnt_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(errors.InvalidParameterError, match="MY_KEY isn't set"):
        open_judge(options("http://127.0.0.1:1/v1", api_key_env="MY_KEY"))


@pytest.mark.parametrize(
    "values",
    [
        {"base_url": "127.0.0.1:8080"},
        {"base_url": "ftp://host/v1"},
        {"base_url": "http://"},
        {"base_url": "http://[::1/v1"},
        {"base_url": "http://user:password@host/v1"},
        {"base_url": "http://host:99999/v1"},
        {"base_url": "http://example.org/v1", "api_key_env": "KEY"},
        {"api_key_env": "KEY"},
        {"timeout_seconds": 0},
        {"timeout_seconds": float("nan")},
        {"max_retries": -1},
        {"n_ctx": 10},
        {"nothing": 1},
    ],
)
def test_options_that_cant_be_used_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidParameterError):
        JudgeOptions(**{"model": "m", **values})

"""The unmodified client of OpenAI works, with its own exception types."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pytest

from amulet_local import Engine, SamplingParams
from amulet_local.server.limits import Access
from tests.server.conftest import Server, running

HI = [{"role": "user", "content": "How do I sleep better?"}]


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
        yield client


def test_a_chat_completion_has_text_and_usage(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="smollm2", messages=HI, max_tokens=6, temperature=0, user="me", store=False
    )
    choice = answer.choices[0]
    assert choice.message.content
    assert choice.message.role == "assistant"
    assert choice.finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 6
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 6


def test_a_stream_says_what_the_whole_answer_says(client: openai.OpenAI) -> None:
    given = {"model": "smollm2", "messages": HI, "max_tokens": 8, "temperature": 0}
    whole = client.chat.completions.create(**given)
    stream = client.chat.completions.create(
        **given, stream=True, stream_options={"include_usage": True}
    )
    pieces = list(stream)
    assert pieces[0].choices[0].delta.role == "assistant"
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert text == whole.choices[0].message.content
    assert pieces[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert pieces[-1].usage == whole.usage
    assert len({piece.id for piece in pieces}) == 1


def test_a_preference_in_extra_body_changes_the_answer(
    client: openai.OpenAI, engine: Engine
) -> None:
    given = {"model": "smollm2", "messages": HI, "max_tokens": 8, "temperature": 0}
    plain = client.chat.completions.create(**given)
    formal = client.chat.completions.create(
        **given, extra_body={"preference": "formal", "guidance_scale": 3}
    )
    assert formal.choices[0].message.content != plain.choices[0].message.content
    assert formal.model_extra is not None
    assert formal.model_extra["amulet"]["preferences"] == ["formal"]
    assert formal.model_extra["amulet"]["guidance_scale"] == 3
    weighted = client.chat.completions.create(
        **given,
        extra_body={
            "preference": [
                {"name": "formal", "weight": 0.5},
                {"text": "in short words", "weight": 0.5},
            ],
            "avoid": "verbose",
            "preset": "strong",
            "method": "amulet",
        },
    )
    assert weighted.model_extra is not None
    assert weighted.model_extra["amulet"]["preset"] == "strong"
    assert len(weighted.model_extra["amulet"]["preferences"]) == 3


def test_logprobs_belong_to_the_text(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="smollm2", messages=HI, max_tokens=5, temperature=0, logprobs=True, top_logprobs=3
    )
    choice = answer.choices[0]
    assert choice.logprobs is not None
    content = choice.logprobs.content
    assert content is not None
    assert "".join(item.token for item in content) == choice.message.content
    for item in content:
        assert len(item.top_logprobs) == 3
        assert item.logprob == max(other.logprob for other in item.top_logprobs)  # greedy
        assert bytes(item.bytes or []).decode() == item.token


def test_an_answer_validates_against_its_schema(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"hours": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["hours"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model="smollm2",
        messages=HI,
        max_tokens=40,
        temperature=0,
        response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
        extra_body={"preference": "formal"},
    )
    content = json.loads(answer.choices[0].message.content or "")
    assert list(content) == ["hours"]
    assert 1 <= content["hours"] <= 9


def test_stop_texts_and_several_answers(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="smollm2", messages=HI, max_tokens=30, temperature=1.0, seed=7, n=2, stop=[" "]
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert all(" " not in (choice.message.content or "") for choice in answer.choices)


def test_text_completions(client: openai.OpenAI, engine: Engine) -> None:
    text = "The capital of France is"
    answer = client.completions.create(
        model="smollm2", prompt=text, max_tokens=4, temperature=0, logprobs=2
    )
    choice = answer.choices[0]
    prompt = engine.model.vocabulary.tokenize(text, add_special=True, parse_special=True)
    sampling = SamplingParams(max_tokens=4, temperature=0)
    assert choice.text == engine.generate_from_tokens(prompt, sampling=sampling).text
    assert choice.logprobs is not None
    assert "".join(choice.logprobs.tokens or []) == choice.text
    assert choice.logprobs.text_offset is not None
    assert choice.logprobs.text_offset[0] == 0
    pieces = client.completions.create(
        model="smollm2", prompt=text, max_tokens=4, temperature=0, stream=True
    )
    assert "".join(piece.choices[0].text for piece in pieces) == choice.text


def test_a_preference_steers_a_text_completion(client: openai.OpenAI) -> None:
    given = {"model": "smollm2", "prompt": "Dear friend,", "max_tokens": 8, "temperature": 0}
    plain = client.completions.create(**given)
    steered = client.completions.create(**given, extra_body={"preference": "formal"})
    assert plain.model_extra is not None
    assert steered.model_extra is not None
    assert plain.model_extra["amulet"]["preferences"] == []
    assert steered.model_extra["amulet"]["preferences"] == ["formal"]


def test_models_have_preferences_in_their_names(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names[0] == "smollm2"
    assert "smollm2+creative" in names
    answer = client.chat.completions.create(
        model="smollm2+formal+concise", messages=HI, max_tokens=2
    )
    assert answer.model == "smollm2+formal+concise"
    assert answer.model_extra is not None
    assert answer.model_extra["amulet"]["preferences"] == ["formal", "concise"]


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"model": "smollm2+formall"}, openai.NotFoundError, "no model is loaded"),
        ({"temperature": -1}, openai.BadRequestError, "temperature"),
        ({"tools": [{"type": "function"}]}, openai.BadRequestError, "tools"),
        ({"messages": []}, openai.BadRequestError, "messages"),
        ({"extra_body": {"preference": "formall"}}, openai.BadRequestError, "did you mean"),
    ],
)
def test_errors_are_its_own_types(
    client: openai.OpenAI, fields: dict, error: type[openai.APIStatusError], said: str
) -> None:
    given = {"model": "smollm2", "messages": HI, "max_tokens": 2} | fields
    with pytest.raises(error, match=said) as caught:
        client.chat.completions.create(**given)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["type"] == "invalid_request_error"


def test_a_wrong_key_is_an_authentication_error(engine: Engine) -> None:
    with running(engine, access=Access(api_keys=("right", "other"))) as server:
        for key, works in (("wrong", False), ("right", True), ("other", True)):
            with openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0) as client:
                if works:
                    assert client.models.list().data
                else:
                    with pytest.raises(openai.AuthenticationError):
                        client.models.list()

"""What clients are told speaks of fields, and of what can be done where the server is started."""

from __future__ import annotations

import pytest

from amulet_local.common.errors import ChatTemplateError
from amulet_local.common.field_names import without_flags
from amulet_local.server.failures import as_http
from amulet_local.server.said_to_clients import for_clients
from amulet_local.steering.guards.loop_watch import Watch
from tests.scripted import scripted_engine
from tests.server.conftest import Server, running

HI = [{"role": "user", "content": "What is yeast?"}]


def loop_warning() -> str:
    watch = Watch()
    for token in [1, 2, 3, 4] * 40:
        watch.accept(token)
    (warning,) = watch.warnings
    return warning


def test_a_loop_is_spoken_of_with_the_field_alone() -> None:
    assert for_clients(loop_warning()).endswith(
        "the strength was lowered (watch=false: left alone)"
    )
    assert without_flags(loop_warning()).endswith("lowered (watch=False: left alone)")


@pytest.mark.parametrize(
    "message",
    ["a file `a=b, --c`", "n_ctx 5 is too little (5, 3 - 2)", "x=1 (the second)", "f(a, b)"],
)
def test_the_rest_of_a_message_is_left_alone(message: str) -> None:
    assert for_clients(message) == message


def warned(server: Server, **fields: object) -> list[str]:
    body = {"messages": HI, "temperature": 0, **fields}
    reply = server.client.post("/v1/chat/completions", json=body).json()
    return list(reply["amulet"]["warnings"])


def test_an_answer_that_fills_the_context_says_where_that_is_set() -> None:
    with scripted_engine(n_ctx=128) as engine, running(engine) as server:
        (said,) = warned(server, max_tokens=-1, ignore_eos=True)
        assert said.endswith("the context of 128 is full; start the server with a larger one")
        long = [{"role": "user", "content": "bread " * 300}]
        error = server.client.post("/v1/chat/completions", json={"messages": long}).json()["error"]
        assert "holds 128; shorten it, or start the server with a context of" in error["message"]


def test_a_template_that_isnt_there_is_an_error_with_what_the_start_needs() -> None:
    error = ChatTemplateError(
        "a.gguf has no chat template, so it can't chat. If it is a base model, `generate --raw` "
        "(chat_template='raw' in Python) goes on with a text; if it was trained to chat, name its "
        "family: --chat-template gemma (chat_template= in Python)"
    )
    said = as_http(error).body["error"]["message"]
    assert said == (
        "a.gguf has no chat template, so it can't chat. If it is a base model, /v1/completions "
        "goes on with a text; if it was trained to chat, start the server with "
        '"--chat-template gemma"'
    )

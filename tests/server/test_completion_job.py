"""Changes of an answer that is under way: each of them holds, whenever it comes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from amulet_local import Engine
from amulet_local.common.errors import DecodeError
from amulet_local.server import replies
from tests.scripted import Rule, ScriptedVocabulary, chained, scripted_engine
from tests.server.conftest import Server, lasting, running

LONG_SECONDS = 0.2
"""How long a request takes to be made: a change can come meanwhile."""


def slow(vocabulary: ScriptedVocabulary) -> Rule:
    """A token takes a while, so that an answer is under way for some seconds."""
    rule = chained(vocabulary)

    def delayed(tokens: Any) -> np.ndarray:
        time.sleep(0.005)
        return rule(tokens)

    return delayed


@pytest.fixture
def server() -> Iterator[Server]:
    with scripted_engine(slow) as engine, lasting(engine), running(engine) as server:
        yield server


@contextmanager
def slow_requests(engine: Engine, *seconds: float) -> Iterator[None]:
    """The requests made first take so long each."""
    make, delays = engine.request, iter(seconds)

    def delayed(*arguments: Any, **named: Any) -> Any:
        made = make(*arguments, **named)
        time.sleep(next(delays, 0.0))
        return made

    engine.request = delayed  # type: ignore[method-assign]
    yield
    engine.request = make  # type: ignore[method-assign]


@contextmanager
def streaming(server: Server, **body: Any) -> Iterator[Iterator[dict[str, Any]]]:
    given = {"messages": [{"role": "user", "content": "How do I sleep?"}], "stream": True, **body}
    with server.client.stream("POST", "/v1/chat/completions", json=given) as response:
        lines = (line.removeprefix("data: ") for line in response.iter_lines() if line)
        yield (json.loads(line) for line in lines if line != "[DONE]")


def at_once(*calls: Callable[[], Any]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_stream_that_waits_says_so_and_fails_in_an_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first token comes only after head and comment were read, the second one never."""
    go_on, n_asked = threading.Event(), 0

    def held(vocabulary: ScriptedVocabulary) -> Rule:
        rule = chained(vocabulary)

        def waiting(tokens: Any) -> np.ndarray:
            nonlocal n_asked
            n_asked += 1
            assert go_on.wait(60)
            if n_asked > 1:
                raise DecodeError("scripted", code=-1)
            return rule(tokens)

        return waiting

    with scripted_engine(held) as engine, lasting(engine), running(engine) as server:
        given = {"messages": [{"role": "user", "content": "Why?"}], "stream": True}
        monkeypatch.setattr(replies, "PAUSE_SECONDS", 600.0)
        heads = {
            "/v1/chat/completions": given,
            "/v1/messages": {**given, "max_tokens": 4},
            "/v1/responses": {"input": "Why?", "stream": True},
        }
        for path, body in heads.items():
            go_on.clear()
            n_asked = 0
            with server.client.stream("POST", path, json=body) as response:
                assert response.status_code == 200
                go_on.set()
                response.read()
        monkeypatch.setattr(replies, "PAUSE_SECONDS", 0.01)
        for path, comment in (("/v1/chat/completions", ": waiting"), ("/api/chat", "")):
            go_on.clear()
            n_asked = 0
            with server.client.stream("POST", path, json=given) as response:
                lines = response.iter_lines()
                assert (response.status_code, next(lines)) == (200, comment)
                go_on.set()
                last = [line for line in lines if line and line != comment][-1]
            assert "DecodeError" in json.dumps(json.loads(last.removeprefix("data: "))["error"])


@pytest.mark.lengthy
def test_of_two_changes_at_once_both_hold(server: Server) -> None:
    body = {"preference": "creative", "preset": "strong", "max_tokens": 120, "ignore_eos": True}
    with streaming(server, **body) as pieces:
        key = next(pieces)["id"]

        def change(**changes: Any) -> None:
            response = server.client.post("/v1/amulet/control", json={"id": key, **changes})
            assert response.status_code == 200

        with slow_requests(server.service.model.engine, LONG_SECONDS, LONG_SECONDS):
            at_once(lambda: change(preference="formal"), lambda: change(preset="paper"))
        followed = list(pieces)[-1]["amulet"]
    assert (followed["preferences"], followed["preset"]) == (["formal"], "paper")


@pytest.mark.lengthy
def test_a_change_while_the_next_answer_is_prepared_holds_for_it(server: Server) -> None:
    body = {"preference": "creative", "preset": "strong", "max_tokens": 60, "ignore_eos": True}
    engine = server.service.model.engine
    with slow_requests(engine, 0.0, LONG_SECONDS), streaming(server, n=2, **body) as pieces:
        ends = (piece for piece in pieces if piece["choices"][0]["finish_reason"])
        first = next(ends)
        response = server.client.post(
            "/v1/amulet/control", json={"id": first["id"], "preset": "paper"}
        )
        assert response.status_code == 200
        second = next(ends)
    assert [end["choices"][0]["index"] for end in (first, second)] == [0, 1]
    assert [end["amulet"]["preset"] for end in (first, second)] == ["strong", "paper"]

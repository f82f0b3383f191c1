"""Calls that a type checker is to let pass, and some that it is to refuse: nothing here is run.

`scripts/check` reads it with mypy. An `ignore` marks what has to be an error there: one that marks
none is an error itself (`warn_unused_ignores`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from amulet_local import Engine, Preference, SamplingParams, load

MESSAGES = [{"role": "user", "content": "Hi"}]


def right(engine: Engine, is_stream: bool, fields: dict[str, Any]) -> None:
    """These have the types that they return."""
    load("model.gguf", n_ctx=2048)
    engine.generate("Hi", preference="concise", sampling=SamplingParams(max_tokens=5))
    whole: dict[str, Any] = engine.create_chat_completion(
        MESSAGES, preference=["formal:0.7", {"text": "in rhyme", "weight": 0.5}], temperature=0
    )
    pieces: Iterator[dict[str, Any]] = engine.create_chat_completion(MESSAGES, stream=True)
    print(whole, pieces, engine.create_chat_completion(MESSAGES, stream=is_stream))
    print(engine.create_chat_completion(MESSAGES, **fields), Preference(text="in rhyme"))


def wrong(engine: Engine) -> None:
    """Each has an argument that isn't there, or of another type."""
    load("model.gguf", n_ctxx=2)  # type: ignore[call-arg]
    engine.generate("Hi", max_tokens=5)  # type: ignore[call-arg]
    engine.generate("Hi", sampling={"max_tokens": 5})  # type: ignore[arg-type]
    engine.create_chat_completion(MESSAGES, temprature=0.2)  # type: ignore[call-overload]
    engine.create_chat_completion(MESSAGES, stream=True, perference="a")  # type: ignore[call-overload]
    engine.create_chat_completion(MESSAGES, top_k="many")  # type: ignore[call-overload]
    engine.create_completion("Hi")  # type: ignore[attr-defined]
    Preference("in rhyme")  # type: ignore[call-arg]
    SamplingParams(max_token=5)  # type: ignore[call-arg]

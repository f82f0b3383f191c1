"""The arguments of a question, written once: every door takes its part of them and no other."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import pydoc
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from amulet_local import Conversation, Engine, Generation, SamplingParams, load
from amulet_local.answering.ask import (
    Ask,
    AskChange,
    AskConversation,
    AskScore,
    AskTokens,
    check_names,
)
from amulet_local.conversation.conversation_settings import KEEP
from tests.scripted import scripted_engine

SHORT = SamplingParams(max_tokens=3)
QUESTION = "Name three rivers."


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with scripted_engine() as engine:
        yield engine


def names(kind: Any) -> set[str]:
    return set(kind.__optional_keys__)


@pytest.mark.parametrize(
    ("door", "kind"),
    [
        (Engine.generate, Ask),
        (Engine.generate_from_tokens, AskTokens),
        (Engine.score, AskScore),
        (Engine.conversation, AskConversation),
    ],
)
def test_help_names_every_argument(door: Callable[..., Any], kind: Any) -> None:
    told = pydoc.plain(pydoc.render_doc(door))
    arguments = told[told.index("Args:") : told.index("Raises:")]
    heads = re.findall(r"^ +([a-z_, ]+):", arguments, re.MULTILINE)
    assert names(kind) <= {name.strip() for head in heads for name in head.split(",")}


def test_a_name_that_no_door_has_is_refused_and_the_engine_stays_usable(engine: Engine) -> None:
    doors: list[Callable[..., Any]] = [
        engine.generate,
        engine.stream_generate,
        lambda text, **given: engine.generate_choices(text, 2, **given),
        lambda text, **given: asyncio.run(engine.agenerate(text, **given)),
        lambda text, **given: engine.score(text, "tea", **given),
        lambda text, **given: engine.conversation(**given),
        lambda text, **given: engine.conversation().set(**given),
        lambda text, **given: engine.conversation().send(text, **given),
        lambda text, **given: engine.conversation().stream(text, **given),
        lambda text, **given: engine.generate_from_tokens([5, 6], **given),
        engine.request,
    ]
    for door in doors:
        with pytest.raises(TypeError, match="unexpected keyword argument 'temprature'"):
            door(QUESTION, temprature=1.0)
    assert isinstance(engine.generate(QUESTION, sampling=SHORT), Generation)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("preferense", "did you mean 'preference'"),
        ("stream", "stream_generate(...)"),
        ("n", "generate_choices(...)"),
        ("max_tokens", "sampling=SamplingParams(max_tokens=...)"),
        ("temp", "sampling=SamplingParams(temperature=...)"),
        ("seeds", "sampling=SamplingParams(seed=...)"),
        ("guidance_scale", ".replace(guidance_scale=...)"),
        ("n_ctx", "load(..., n_ctx=...)"),
        ("xyz", "'xyz'"),
    ],
)
def test_a_name_of_another_place_is_answered_with_what_to_write(name: str, hint: str) -> None:
    with pytest.raises(TypeError, match=re.escape(hint)):
        check_names(Ask, {name: 1})


def test_what_a_conversation_is_not_told_with_a_question_is_set(engine: Engine) -> None:
    talk = engine.conversation()
    with pytest.raises(TypeError, match=r"'preference'; settings are changed with set\(\.\.\.\)$"):
        talk.send(QUESTION, preference="concise")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"write sampling=SamplingParams\(max_tokens=\.\.\.\)"):
        talk.set(max_tokens=5)  # type: ignore[call-arg]
    assert talk.turns == ()


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        (lambda engine: engine.generate(QUESTION, "concise"), "generate('What is yeast?', pref"),
        (lambda engine: engine.generate(), "missing a required argument: 'messages'; write gen"),
        (lambda engine: engine.stream_generate(QUESTION, "concise"), "stream_generate('What is"),
        (lambda engine: engine.astream(QUESTION, "concise"), "astream('What is yeast?', preferen"),
        (lambda engine: engine.agenerate(QUESTION, "concise"), "agenerate('What is yeast?', pref"),
        (lambda engine: engine.generate_choices(QUESTION), "generate_choices('Name a colour.', 3"),
        (lambda engine: engine.score(QUESTION), "score('What is yeast?', 'A fungus.', preferen"),
        (lambda engine: engine.conversation("concise"), "conversation(preference='concise')"),
        (lambda engine: engine.conversation().send(QUESTION, "concise"), "send('Hello')"),
        (lambda engine: engine.conversation().stream(), "stream('Hello')"),
        (lambda engine: engine.conversation().set("concise"), "set(preference='concise')"),
        (lambda engine: engine.create_chat_completion(), "create_chat_completion([{'role': "),
        (lambda engine: engine.answer_all([QUESTION], 4), "answer_all(['What is yeast?', "),
        (lambda _: Engine("model.gguf"), "write load('model.gguf', n_ctx=2048)"),
        (lambda _: Engine("model.gguf", n_ctx=2048), "write load('model.gguf', n_ctx=2048)"),
        (lambda _: load("model.gguf", 2048), "write load('model.gguf', n_ctx=2048)"),
    ],
)
def test_a_call_that_cant_be_read_is_answered_with_how_it_is_written(
    call: Callable[[Any], Any], shown: str, engine: Engine
) -> None:
    with pytest.raises(TypeError, match=re.escape(shown)):
        call(engine)


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_what_cant_leave_its_process_says_so(copied: Callable[..., Any], engine: Engine) -> None:
    with pytest.raises(TypeError, match="load it in each process"):
        copied(engine)
    with pytest.raises(TypeError, match="`save` writes it"):
        copied(engine.conversation())


def test_what_a_session_shows_of_them_says_what_they_are() -> None:
    with scripted_engine() as engine:
        talk = engine.conversation(sampling=SHORT)
        assert repr(talk) == f"<Conversation with {engine.model.path.name}: 0 turns>"
        talk.send(QUESTION)
        assert repr(talk).endswith(": 1 turn>")
        assert repr(engine) == f"<Engine {engine.model.path.name}: n_ctx={engine.n_ctx}>"
    assert repr(engine).endswith(": closed>")


def test_a_door_takes_its_own_part_only(engine: Engine) -> None:
    with pytest.raises(TypeError, match="'method'"):
        engine.score(QUESTION, "tea", method="base")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'system'"):
        engine.generate_from_tokens([5, 6], system="Be kind.")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'trace'"):
        engine.conversation(trace=1)  # type: ignore[call-arg]
    with closing(engine.stream_generate(QUESTION, sampling=SHORT)) as stream:
        with pytest.raises(TypeError, match="'sampling'"):
            stream.change(sampling=SHORT)  # type: ignore[call-arg]
        assert [*stream][-1].generation is not None


def test_a_change_keeps_what_cant_be_changed(engine: Engine) -> None:
    given: Ask = {"system": "Be kind.", "response_prefix": "Thanks", "sampling": SHORT}
    expected = engine.generate(QUESTION, preference="creative", **given)
    assert expected.token_ids != engine.generate(QUESTION, preference="creative").token_ids[:3]
    with closing(engine.stream_generate(QUESTION, preference="concise", **given)) as stream:
        stream.change(preference="creative")
        changed = [*stream][-1].generation
    assert changed is not None
    assert changed.token_ids == expected.token_ids


def test_what_a_conversation_is_given_can_be_set_later() -> None:
    settable = inspect.signature(Conversation.set).parameters
    assert names(AskConversation) < set(settable)
    assert all(settable[name].default is KEEP for name in names(AskConversation))


def test_parts_are_parts() -> None:
    assert names(AskChange) < names(AskScore) < names(AskConversation) < names(Ask)

"""Tests without a model: how many there are, and that the scripted rows are rows."""

from __future__ import annotations

import pytest

from amulet_local import Engine, Generation, SamplingParams, errors
from tests.scripted import ScriptedVocabulary, says, scripted_engine

QUESTION = "How do I sleep?"
ANSWER = "Walk, read a book; then 🙂 tea."


def test_at_least_half_of_the_default_tests_load_no_model(request: pytest.FixtureRequest) -> None:
    """Without those of the layers, which are one for each module."""
    if request.config.args != request.config.getini("testpaths"):
        pytest.skip("only part of the suite was collected")
    marked = [
        item.get_closest_marker("model") is not None
        for item in request.session.items
        if item.path.name != "test_layers.py" and item.get_closest_marker("slow") is None
    ]
    assert 2 * sum(marked) <= len(marked)


@pytest.mark.parametrize("text", ["", "How do I", "Grüße 🙂\0", "<|im_end|>\n", "I sleep sleeper"])
def test_scripted_vocabulary_gives_back_every_text(text: str) -> None:
    vocabulary = ScriptedVocabulary()
    tokens = vocabulary.tokenize(text, add_special=False, parse_special=False)
    assert b"".join(map(vocabulary.piece, tokens)).decode() == text
    assert not set(tokens) & set(vocabulary.special_tokens.values())


def test_scripted_vocabulary_refuses_what_is_no_token_of_it() -> None:
    vocabulary = ScriptedVocabulary()
    for token in (-1, vocabulary.n_tokens, True):
        with pytest.raises(errors.InvalidTokenError):
            vocabulary.piece(token)


def test_scripted_engine_says_what_the_script_has() -> None:
    with scripted_engine(lambda vocabulary: says(vocabulary, ANSWER)) as engine:
        for arguments in ({}, {"preference": "formal"}, {"method": "base"}):
            answer: Generation = engine.generate(QUESTION, **arguments)
            assert (answer.text, answer.finish_reason) == (ANSWER, "stop")


def test_scripted_rows_depend_on_their_prompt_and_on_nothing_else(scripted: Engine) -> None:
    sampling = SamplingParams(max_tokens=12, ignore_eos=True)
    first, other, again = (
        scripted.generate(QUESTION, preference=preference, sampling=sampling)
        for preference in ("concise", "creative", "concise")
    )
    assert first.token_ids == again.token_ids != other.token_ids


def test_scripted_rows_stop_where_they_are_told_to(scripted: Engine) -> None:
    stream = scripted.stream_generate(QUESTION, sampling=SamplingParams(max_tokens=50))
    next(stream)
    scripted.cancel()
    *_, last = stream
    assert last.finish_reason == "cancelled"
    assert scripted.generate(QUESTION, sampling=SamplingParams(max_tokens=2)).text

"""What an explained answer says of its tokens."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from amulet_local import AmuletParams, Engine, SamplingParams, errors
from amulet_local.explanation.explanation import (
    STEP_FACTORS,
    Explanation,
    StreamSteps,
    explain,
    moved,
    step,
)
from amulet_local.llama.vocabulary import Vocabulary
from tests.explained import traced_text, traced_tokens


@pytest.fixture(scope="module")
def vocabulary(tiny_engine: Engine) -> Vocabulary:
    return tiny_engine.model.vocabulary


def names(explanation: Explanation) -> list[tuple[str, str]]:
    return [(token.name.text, token.name.kind) for token in explanation.tokens]


@pytest.mark.parametrize(
    "arguments",
    [
        {"preference": "creative", "preset": "strong"},
        {
            "preference": ["creative", "formal"],
            "avoid": "concise",
            "amulet": AmuletParams(guidance_scale=2, min_plausibility=0.05),
        },
    ],
)
def test_totals_are_those_of_the_score(exact_engine: Engine, arguments: dict[str, Any]) -> None:
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi!"}]
    sampling = SamplingParams(max_tokens=10)
    answer = exact_engine.generate(messages, sampling=sampling, trace=0, **arguments)
    found = explain(answer, exact_engine.model.vocabulary)
    scored = exact_engine.score(messages, answer.token_ids, **arguments)
    assert found.totals.fluency == pytest.approx(scored.fluency, abs=1e-5)
    assert found.totals.margins == pytest.approx(scored.margins, abs=1e-5)
    expected = [r - p for r, p in zip(scored.realigned, scored.plain, strict=True)]
    assert [token.moved for token in found.tokens] == pytest.approx(expected, abs=1e-4)
    assert found.rows == ("plain", *answer.preferences, "realigned")
    assert {len(token.log_probabilities) for token in found.tokens} == {len(found.rows)}
    assert {len(token.candidates) for token in found.tokens} == {len(found.rows)}


@pytest.mark.parametrize(
    "text", ["Plain words.\n", "a 😀👩‍👩‍👧 日本語 שלום é", "<|im_end|> \x00\x1b"]
)
def test_texts_of_the_tokens_are_the_answer(vocabulary: Vocabulary, text: str) -> None:
    answer = traced_text(vocabulary, text)
    explanation = explain(answer, vocabulary)
    assert "".join(token.text for token in explanation.tokens) == answer.text == text


def test_a_character_of_several_tokens_is_named_where_it_is_complete(
    vocabulary: Vocabulary,
) -> None:
    token_ids = vocabulary.tokenize("🦥", add_special=False, parse_special=False)
    assert len(token_ids) > 1
    explanation = explain(traced_tokens(vocabulary, token_ids), vocabulary)
    *begun, whole = names(explanation)
    assert whole == ("🦥", "text")
    for (name, kind), token in zip(begun, token_ids, strict=False):
        assert kind == "part"
        assert name == "".join(f"\\x{byte:02x}" for byte in vocabulary.piece(token))
    assert [token.text for token in explanation.tokens] == [""] * len(begun) + ["🦥"]


def test_alternatives_are_read_after_the_tokens_before_them(vocabulary: Vocabulary) -> None:
    first, *_, last = vocabulary.tokenize("🦥", add_special=False, parse_special=False)
    answer = traced_text(vocabulary, "🦥")
    explanation = explain(answer, vocabulary)
    at_start = {item.name.text: item for item in explanation.tokens[0].candidates[0]}
    at_end = {item.name.text: item for item in explanation.tokens[-1].candidates[0]}
    assert "🦥" not in at_start
    assert at_end["🦥"].chosen
    assert at_end["🦥"].name.kind == "text"
    assert sum(item.chosen for item in at_end.values()) == 1
    assert first != last


def test_an_answer_that_ends_inside_a_character_has_no_text_for_its_beginning(
    vocabulary: Vocabulary,
) -> None:
    token_ids = vocabulary.tokenize("Hi 🦥", add_special=False, parse_special=False)[:-1]
    answer = traced_tokens(vocabulary, token_ids)
    explanation = explain(answer, vocabulary)
    assert "".join(token.text for token in explanation.tokens) == answer.text
    assert answer.text == "Hi "
    assert explanation.tokens[-1].name.kind == "part"


def test_a_token_without_text_has_its_spelling(vocabulary: Vocabulary) -> None:
    explanation = explain(traced_tokens(vocabulary, sorted(vocabulary.end_tokens)), vocabulary)
    assert names(explanation) == [
        (vocabulary.spelling(token), "special") for token in sorted(vocabulary.end_tokens)
    ]
    assert {token.text for token in explanation.tokens} == {""}


def test_those_that_moved_most_come_first_wherever_they_went(vocabulary: Vocabulary) -> None:
    answer = traced_text(vocabulary, "one two three four")
    assert answer.trace is not None
    trace = list(answer.trace)
    trace[1] = dataclasses.replace(trace[1], plain=-1.0, realigned=-30.0)
    explanation = explain(dataclasses.replace(answer, trace=tuple(trace)), vocabulary)
    assert explanation.most_moved(3) == [1, 3, 2]
    assert explanation.most_moved(99) == [1, 3, 2, 0]
    assert explanation.tokens[1].step == -4


@pytest.mark.parametrize(
    "sampling",
    [SamplingParams(max_tokens=16), SamplingParams(max_tokens=24, stop=["growth", "nothing"])],
)
def test_streamed_text_has_the_steps_of_its_tokens(
    shallow_engine: Engine, sampling: SamplingParams
) -> None:
    vocabulary = shallow_engine.model.vocabulary
    steps = StreamSteps(vocabulary)
    streamed: list[tuple[str, int]] = []
    for chunk in shallow_engine.stream_generate(
        "How can I learn to cook?", preference="uplifting", sampling=sampling, trace=0
    ):
        streamed += [(character, step) for text, step in steps.split(chunk) for character in text]
    assert chunk.generation is not None
    explanation = explain(chunk.generation, vocabulary)
    expected = [(character, token.step) for token in explanation.tokens for character in token.text]
    assert "".join(character for character, _ in streamed) == chunk.generation.text
    assert streamed == expected[: len(streamed)]
    assert len({step for _, step in streamed}) > 2


def test_each_factor_begins_a_step() -> None:
    for n, factor in enumerate(STEP_FACTORS, start=1):
        for sign in (1, -1):
            assert step(sign * math.log(factor * 1.001)) == sign * n
            assert step(sign * math.log(factor * 0.999)) == sign * (n - 1)
    assert step(None) == step(0.0) == 0
    assert step(math.inf) == -step(-math.inf) == len(STEP_FACTORS)


def test_what_is_impossible_or_unknown_has_not_moved(vocabulary: Vocabulary) -> None:
    (trace,) = traced_text(vocabulary, "one").trace or ()
    assert moved(dataclasses.replace(trace, plain=None)) is None
    assert moved(dataclasses.replace(trace, plain=-math.inf, realigned=-math.inf)) is None
    assert moved(dataclasses.replace(trace, plain=-math.inf)) == math.inf
    assert moved(dataclasses.replace(trace, realigned=-math.inf)) == -math.inf


def test_without_a_plain_row_there_is_no_margin(vocabulary: Vocabulary) -> None:
    answer = traced_text(vocabulary, "one two")
    trace = [dataclasses.replace(item, plain=None, top_plain=()) for item in answer.trace or ()]
    totals = explain(dataclasses.replace(answer, trace=tuple(trace)), vocabulary).totals
    assert totals.fluency is None
    assert totals.margins == ()
    assert totals.kl == pytest.approx(0.15)


@pytest.mark.parametrize("trace", [None, ()])
def test_an_answer_without_a_trace_is_a_typed_error(vocabulary: Vocabulary, trace: Any) -> None:
    answer = dataclasses.replace(traced_text(vocabulary, "one"), trace=trace)
    with pytest.raises(errors.InvalidParameterError, match="trace="):
        explain(answer, vocabulary)

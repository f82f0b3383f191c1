"""Learning from texts on the embedded model: known weights come back, and errors are honest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amulet_local import (
    AmuletParams,
    Engine,
    Learned,
    LikedText,
    Preference,
    SamplingParams,
    errors,
    load,
)
from amulet_local.learning.fitting import held_out_of
from amulet_local.preferences.preference import BUILT_IN_PREFERENCES, resolve

QUESTIONS = (
    "How do I sleep better?",
    "What is yeast?",
    "Tell me about rivers.",
    "How can I learn to cook?",
    "Why is the sky blue?",
    "What should I read on holiday?",
)
BANK = ["concise", "uplifting"]
TRUTH = (1.5, -1.0)


def mix(names: Sequence[str], weights: Sequence[float]) -> list[Preference]:
    return [
        replace(item, weight=weight) for item, weight in zip(resolve(names), weights, strict=True)
    ]


def sampled(
    engine: Engine, preference: Sequence[Preference], n_texts: int, n_tokens: int, **more: Any
) -> list[LikedText]:
    """Texts that the mix itself writes, at temperature 1 and without guards."""
    texts = []
    for number in range(n_texts):
        question = QUESTIONS[number % len(QUESTIONS)]
        answer = engine.generate(
            question,
            preference=preference,
            amulet=AmuletParams(guidance_scale=1),
            sampling=SamplingParams(
                max_tokens=n_tokens,
                temperature=1,
                top_k=0,
                top_p=1,
                min_p=0,
                repeat_penalty=1,
                seed=number,
            ),
        )
        texts.append(LikedText(messages=question, answer=answer.token_ids, **more))
    return texts


def distances(learned: Learned, truth: Sequence[float]) -> np.ndarray:
    """Distances of the weights from the truth, in standard errors."""
    return np.abs(np.subtract(learned.weights, truth)) / learned.standard_errors


@pytest.fixture(scope="module")
def engine(shallow_path: Path) -> Iterator[Engine]:
    """An engine that keeps prefixes from one text to the next, as `learn` is meant to be used."""
    with load(shallow_path, n_ctx=256, n_threads=1, n_threads_batch=1, schedule="serial") as engine:
        yield engine


@pytest.fixture(scope="module")
def texts(engine: Engine) -> list[LikedText]:
    return sampled(engine, mix(BANK, TRUTH), 5, 28)


@pytest.fixture(scope="module")
def learned(engine: Engine, texts: list[LikedText]) -> Learned:
    return engine.learn(texts, bank=BANK, ridge=0)


# --- right -------------------------------------------------------------------------------------


def test_known_weights_come_back_within_three_standard_errors(learned: Learned) -> None:
    assert (distances(learned, TRUTH) < 3).all()
    assert max(learned.standard_errors) < 0.7
    assert learned.weights[0] > 0 > learned.weights[1]


def test_the_fit_is_at_least_as_likely_as_plain_and_single(learned: Learned) -> None:
    values = learned.log_likelihoods
    assert values.fitted >= values.single >= values.plain
    assert (values.n_texts, values.held_out) == (5, False)


def test_likelihoods_are_those_of_score(engine: Engine, texts: list[LikedText]) -> None:
    """`score` computes the whole vocabulary, several tokens at once: rounding differs."""
    learned = engine.learn(texts[:2], bank=BANK)
    plain, fitted, n = 0.0, 0.0, 0
    for text in texts[:2]:
        assert not isinstance(text.answer, str)
        scored = engine.score(
            text.messages,
            text.answer,
            preference=learned.preferences,
            amulet=AmuletParams(guidance_scale=1),
        )
        plain += sum(scored.plain)
        fitted += sum(scored.realigned)
        n += len(scored.token_ids)
    assert n == learned.n_tokens
    assert learned.log_likelihoods.plain == pytest.approx(plain / n, abs=0.03)
    assert learned.log_likelihoods.fitted == pytest.approx(fitted / n, abs=0.03)


def test_lumping_the_tail_costs_next_to_nothing(
    engine: Engine, texts: list[LikedText], learned: Learned
) -> None:
    assert learned.tail_error_nats < 0.02
    assert learned.tail_shift < 0.1
    coarse = engine.learn(texts[:1], bank=BANK, ridge=1, top_tokens=1, tail_tokens=1, fast=True)
    assert coarse.tail_error_nats > 0.1
    assert any("top_tokens" in warning for warning in coarse.warnings)


def test_disliked_texts_are_liked_ones_of_the_negated_weights(
    engine: Engine, texts: list[LikedText]
) -> None:
    liked = engine.learn(texts[:1], bank=BANK)
    disliked = engine.learn([replace(texts[0], liked=False)], bank=BANK)
    assert (liked.n_disliked, disliked.n_disliked) == (0, 1)
    np.testing.assert_allclose(disliked.weights, np.negative(liked.weights), atol=1e-4)
    np.testing.assert_allclose(disliked.standard_errors, liked.standard_errors, rtol=1e-3)
    assert disliked.tail_error_nats == pytest.approx(liked.tail_error_nats, abs=1e-4)


@pytest.mark.slow
def test_liked_and_disliked_texts_together_find_the_weights(
    engine: Engine, texts: list[LikedText]
) -> None:
    opposite = sampled(engine, mix(BANK, [-weight for weight in TRUTH]), 3, 24, liked=False)
    both = engine.learn([*texts[:3], *opposite], bank=BANK, ridge=0)
    assert (distances(both, TRUTH) < 3).all()


def test_an_unlikely_end_costs_likelihood(shared_engine: Engine) -> None:
    text = LikedText(messages=QUESTIONS[1], answer="It is a fungus", finished=False)
    cut = shared_engine.learn([text], bank=["concise"])
    whole = shared_engine.learn([replace(text, finished=True)], bank=["concise"])
    assert whole.n_tokens == cut.n_tokens + 1
    assert whole.log_likelihoods.plain < cut.log_likelihoods.plain


def test_token_ids_with_the_end_token_are_a_finished_answer(engine: Engine) -> None:
    vocabulary = engine.model.vocabulary
    ids = vocabulary.tokenize("It is a fungus", add_special=False, parse_special=False)
    assert vocabulary.eos_id is not None
    results = [
        engine.learn([text], bank=["concise"])
        for text in (
            LikedText(messages="What?", answer=[*ids, vocabulary.eos_id]),
            LikedText(messages="What?", answer="It is a fungus", finished=True),
        )
    ]
    assert results[0] == results[1]


def test_the_preferences_can_be_generated_with(engine: Engine, learned: Learned) -> None:
    answer = engine.generate(
        QUESTIONS[0],
        preference=learned.preferences,
        amulet=AmuletParams(guidance_scale=1),
        sampling=SamplingParams(max_tokens=4),
    )
    assert answer.preferences == tuple(item.label for item in learned.preferences)


def test_each_preference_is_prefilled_once(engine: Engine) -> None:
    """From the second text on, only the question and the answer are computed."""
    texts = [LikedText(messages=question, answer="Well.") for question in QUESTIONS[:4]]
    costs = []
    for n in (1, 4):
        engine._rows.discard()
        before = engine._rows.n_decoded
        engine.learn(texts[:n], bank=BANK, placement="system")
        costs.append(engine._rows.n_decoded - before)
    assert (costs[1] - costs[0]) / 3 < costs[0] / 2


def test_held_out_texts_are_spread_over_both_kinds() -> None:
    liked = [True] * 10 + [False] * 5
    mask = held_out_of(liked, 0.2)
    assert (mask[:10].sum(), mask[10:].sum()) == (2, 1)
    assert held_out_of([True, False] * 3, 0.2).sum() == 1, "a fifth of six is one"
    assert not held_out_of(liked, 0).any()
    with pytest.raises(errors.InvalidParameterError, match="less than one text"):
        held_out_of([True] * 3, 0.2)


def test_held_out_texts_judge_and_are_not_fitted(engine: Engine, texts: list[LikedText]) -> None:
    short = [replace(text, answer=list(text.answer)[:12]) for text in texts[:3]]
    result = engine.learn(short, bank=BANK, holdout=0.34, fast=True)
    kept = [text for text, out in zip(short, held_out_of([True] * 3, 0.34), strict=True) if not out]
    alone = engine.learn(kept, bank=BANK, fast=True)
    np.testing.assert_allclose(result.weights, alone.weights, atol=0.02)  # the tail's draws differ
    assert (result.n_texts, result.log_likelihoods.n_texts) == (2, 1)
    assert result.log_likelihoods.held_out


# --- warnings and errors -----------------------------------------------------------------------


def test_too_little_text_is_warned_about(engine: Engine) -> None:
    hello = LikedText(messages="Hi", answer="Hello.")
    result = engine.learn([hello], bank=BANK, placement="system")
    assert any("little text" in warning for warning in result.warnings)
    assert any("concise, uplifting" in warning for warning in result.warnings)
    assert np.abs(result.weights).max() < 3


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        (LikedText(messages="Hi", answer=""), errors.LikedTextError, "text 2: the answer is empty"),
        (LikedText(messages="Hi", answer=[]), errors.LikedTextError, "text 2: .*empty"),
        (LikedText(messages="Hi", answer=[10**9]), errors.LikedTextError, "text 2: "),
        (LikedText(messages="Hi", answer="\ud800"), errors.LikedTextError, "text 2: "),
        (LikedText(messages=" ", answer="a"), errors.LikedTextError, "text 2: "),
        (LikedText(messages=[{"role": "x"}], answer="a"), errors.LikedTextError, "text 2: "),
        (LikedText(messages="Hi", answer="word " * 300), errors.LikedTextError, "text 2: .*-c "),
        (LikedText(messages="Hi", answer=[2, 5], line=7), errors.LikedTextError, "line 7: "),
        ("Hi", errors.InvalidParameterError, "must be a list of LikedText, got str"),
    ],
)
def test_a_text_that_cannot_be_used_is_named(
    engine: Engine, text: Any, kind: type[Exception], reason: str
) -> None:
    with pytest.raises(kind, match=reason):
        engine.learn([LikedText(messages="Hi", answer="Hello."), text], bank=BANK)


@pytest.mark.parametrize(
    "params",
    [
        {"ridge": -1},
        {"ridge": float("nan")},
        {"holdout": 1},
        {"holdout": 0.1},
        {"top_tokens": 0},
        {"nonsense": 1},
        {"placement": "nowhere"},
        {"bank": ["concise:2"]},
    ],
)
def test_parameters_out_of_range_are_refused(engine: Engine, params: Any) -> None:
    with pytest.raises(errors.InvalidRequestError):
        engine.learn([LikedText(messages="Hi", answer="Hello.")], **params)


def test_no_texts_are_refused(engine: Engine) -> None:
    with pytest.raises(errors.InvalidParameterError, match="no texts"):
        engine.learn([], bank=BANK)


def test_progress_counts_up_to_the_end(engine: Engine) -> None:
    seen: list[tuple[int, int]] = []
    texts = [LikedText(messages="Hi", answer="Hello, you.")] * 2
    result = engine.learn(
        texts, bank=["concise"], progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(n + 1, result.n_tokens) for n in range(result.n_tokens)]


def test_cancelled_learning_leaves_the_engine_usable(engine: Engine) -> None:
    text = LikedText(messages="Hi", answer="Hello, how are you today?")
    before = engine.learn([text], bank=["concise"])

    def cancel(done: int, total: int) -> None:
        if done == 3:
            engine.cancel()

    with pytest.raises(errors.CancelledError):
        engine.learn([text], bank=["concise"], progress=cancel)
    assert engine.learn([text], bank=["concise"]).weights == pytest.approx(before.weights, abs=0.1)


# --- for long ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_known_weights_come_back_over_the_whole_bank(model_path: Path) -> None:
    truth = dict.fromkeys(BUILT_IN_PREFERENCES, 0.0) | {
        "concise": 1.5,
        "formal": 0.8,
        "uplifting": -1.0,
    }
    writers = [name for name, weight in truth.items() if weight]
    with load(model_path, n_ctx=512, schedule="parallel") as engine:
        texts = sampled(engine, mix(writers, [truth[name] for name in writers]), 50, 80)
        texts = [replace(text, answer=list(text.answer)) for text in texts]
        learned = engine.learn(texts, bank=list(truth), ridge=0, holdout=0.2)
    print(learned)
    assert (distances(learned, list(truth.values())) < 3).all()
    values = learned.log_likelihoods
    assert values.held_out
    assert values.fitted > max(values.plain, values.single)

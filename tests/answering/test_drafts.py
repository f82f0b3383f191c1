"""Guesses of next tokens: an answer with them is the answer without, whatever asks for it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amulet_local import AmuletParams, Engine, Generation, Preference, SamplingParams, load
from amulet_local.answering import drafts
from amulet_local.answering.drafts import MATCHES, Drafter
from amulet_local.answering.lookup import LONGEST, Lookup
from tests.scripted import END, SPECIAL, UNLIKELY, Rule, ScriptedVocabulary, scripted_engine

QUESTION = (
    "Name three rivers. How do I sleep better? Why? And one lake? Be kind. Name three rivers."
)
FREE = {1: 1.0, 2: 1.0, 4: 1.0, 8: 1.0, 16: 1.0}
SQUARE = {n: float(n) for n in FREE}


def repeating(vocabulary: ScriptedVocabulary) -> Rule:
    """Logits that go by the last token, and little by the others: before long text repeats."""
    words = np.array([token >= len(SPECIAL) + 256 for token in range(vocabulary.n_tokens)])

    noise = np.random.default_rng(0).normal(size=vocabulary.n_tokens)

    def rule(tokens: Sequence[int]) -> np.ndarray:
        drawn = 3 * np.roll(noise, 7 * tokens[-1]) + 0.2 * np.roll(noise, sum(tokens))
        logits = np.where(words, drawn, UNLIKELY + drawn).astype(np.float32)
        logits[END] = 1.0
        return logits

    return rule


# --- lookup -------------------------------------------------------------------------------------


def matched(tokens: Sequence[int], place: int) -> int:
    """How many tokens before `place` equal the last ones, one by one."""
    n = 0
    while n < min(LONGEST, place) and tokens[place - 1 - n] == tokens[len(tokens) - 1 - n]:
        n += 1
    return n


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 9))
@settings(deadline=None)
def test_what_is_found_came_after_the_longest_match(tokens: list[int], n: int) -> None:
    found, length = Lookup(tokens).find(n)
    lengths = {place: matched(tokens, place) for place in range(2, len(tokens))}
    latest = sorted(place for place, longest in lengths.items() if longest >= 2)[-24:]
    if not latest:
        assert (list(found), length) == ([], 0)
        return
    longest = max(lengths[place] for place in latest)
    place = max(place for place in latest if lengths[place] == longest)
    assert (list(found), length) == (tokens[place : place + n], longest)


# --- how many -----------------------------------------------------------------------------------


def guesses(text: Sequence[int], costs: dict[int, float]) -> list[int]:
    """How many guesses are made after each token of a text."""
    drafter = Drafter((), lambda: costs)
    numbers = []
    for token in text:
        drafter.take(token)
        numbers.append(len(drafter.draft(15)))
    return numbers


def test_text_that_repeats_is_guessed_as_far_as_it_goes() -> None:
    numbers = guesses([*range(100)] * 2, FREE)
    assert set(numbers[:103]) == {0}
    assert max(numbers[103:180]) == 15


def test_nothing_is_guessed_where_tokens_at_once_cost_as_much_as_one_by_one() -> None:
    assert set(guesses([*range(100)] * 2, SQUARE)) == {0}


def test_guesses_that_are_wrong_end_guessing() -> None:
    """A text whose every beginning of a repetition breaks off."""
    rng = random.Random(3)
    phrase = [*range(max(MATCHES))]
    text = [token for _ in range(60) for token in (*phrase, 100 + rng.randrange(10**6))]
    costs = {1: 1.0, 2: 1.8, 4: 3.0}
    after_phrase = guesses(text, costs)[len(phrase) - 1 :: len(phrase) + 1]
    assert any(after_phrase[:10])
    assert not any(after_phrase[-10:])


def test_costs_are_asked_once_and_only_where_there_is_something_to_guess() -> None:
    asked: list[int] = []
    drafter = Drafter((), lambda: asked.append(n))
    text = [*range(50), 900, *range(50), 901, *range(50)]
    for n in range(len(text)):
        drafter.take(text[n])
        assert not drafter.draft(15)
    assert asked == [50 + MATCHES[0]]


# --- the same answers ---------------------------------------------------------------------------

GRAMMAR = 'root ::= ([a-z]+ " "?){3,30} ("." | "?")'


def random_ask(rng: random.Random) -> dict[str, Any]:
    """What one may ask for, at random."""
    names = ["concise", "creative", "formal", "like a night of rain", "uplifting"]
    picked = rng.sample(names, rng.choice([0, 1, 1, 1, 2, 3]))
    weights = [rng.choice([1.0, 0.6, 1.4]) for _ in picked]
    amulet = AmuletParams(
        guidance_scale=rng.choice([1.2, 1.5, 2.0, 5.648699006951202]),
        min_plausibility=rng.choice([0.0, 0.0, 0.02]),
        kl_budget=rng.choice([None, None, 0.3]),
        noise_guard=rng.choice([0.0, 1.0]),
        watch=rng.random() < 0.7,
        echo_guard=rng.random() < 0.7,
        end_guard=rng.random() < 0.5,
        mix=rng.choice(["fixed", "adaptive"]),
        kl_target=rng.choice([None, 0.1, 0.3]),
    )
    grammar = rng.choice([None, None, GRAMMAR])
    sampling = SamplingParams(
        max_tokens=rng.choice([1, 2, 30, 70]),
        temperature=rng.choice([0.0, 0.0, 0.3, 0.8, 1.2]),
        top_k=rng.choice([0, 5, 40]),
        top_p=rng.choice([1.0, 0.9]),
        min_p=rng.choice([0.0, 0.05]),
        repeat_penalty=rng.choice([1.0, 1.0, 1.1]),
        mirostat=rng.choice([0, 0, 0, 2]),
        seed=rng.randrange(1000),
        stop=rng.choice([(), (), (" lake",)]),
        grammar=grammar,
        ignore_eos=grammar is None and rng.random() < 0.3,
    )
    ask: dict[str, Any] = {
        "preference": [
            Preference(text=name, weight=weight) if " " in name else f"{name}:{weight}"
            for name, weight in zip(picked, weights, strict=True)
        ]
        or None,
        "sampling": sampling,
        "trace": rng.choice([None, None, 2]),
    }
    if picked and rng.random() < 0.7:
        ask["amulet"] = amulet
    else:
        ask["preset"] = rng.choice(["paper", "balanced", "strong"])
    return ask


def without_cost(generation: Generation) -> Generation:
    """All but what it took."""
    usage = replace(generation.usage, computed_tokens=0)
    return replace(generation, usage=usage, timings=None)  # type: ignore[arg-type]


def assert_same_answers(seeds: range) -> None:
    n_ahead = 0
    with (
        scripted_engine(repeating, draft="off", reproducible=False) as plain,
        scripted_engine(repeating, draft="lookup", reproducible=False) as guessing,
    ):
        for seed in seeds:
            ask = random_ask(random.Random(seed))
            expected, found = (engine.generate(QUESTION, **ask) for engine in (plain, guessing))
            assert without_cost(found) == without_cost(expected), (seed, ask)
            n_ahead += found.usage.computed_tokens > expected.usage.computed_tokens
    assert n_ahead > len(seeds) / 8  # guesses, some of them wrong, were made at all


@pytest.fixture
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stood there before is guessed."""
    monkeypatch.setattr(drafts, "PROMISING", 2)


@pytest.mark.usefixtures("_eager")
def test_answers_with_guesses_are_those_without_in_random_settings() -> None:
    assert_same_answers(range(16))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("_eager")
def test_answers_with_guesses_are_those_without_in_a_thousand_settings() -> None:
    assert_same_answers(range(1000, 2000))


@pytest.mark.usefixtures("_eager")
def test_a_change_in_mid_answer_is_the_same_with_guesses() -> None:
    texts: list[list[int]] = []
    for draft in ("off", "lookup"):
        with scripted_engine(repeating, draft=draft) as engine:
            sampling = SamplingParams(max_tokens=90, ignore_eos=True)
            stream = engine.stream_generate(QUESTION, preference="concise", sampling=sampling)
            tokens: list[int] = []
            for n, chunk in enumerate(stream):
                tokens += chunk.token_ids
                if n == 40:
                    stream.change(preference="creative")
                if n == 60:
                    stream.change(preference="creative", amulet=AmuletParams(guidance_scale=3.0))
            texts.append(tokens)
    assert len(texts[0]) == 90
    assert texts[0] == texts[1]


@pytest.mark.usefixtures("_eager")
@pytest.mark.parametrize(
    ("schedule", "preference"),
    [
        ("parallel", "concise"),
        ("serial", "concise"),
        ("batched", ["concise", "creative"]),
    ],
)
def test_tokens_of_a_real_model_in_f32_are_the_same(
    tiny_f32_path: Path, schedule: str, preference: Any
) -> None:
    """Answers of few different tokens, so that there is always something to guess."""
    bias = dict.fromkeys((300, 301, 302, 303), 60.0)
    runtime: dict[str, Any] = {"cache_type_k": "f32", "cache_type_v": "f32", "n_ctx": 512}
    answers: list[list[Generation]] = []
    for draft in ("off", "lookup"):
        with load(tiny_f32_path, schedule=schedule, draft=draft, **runtime) as engine:
            answers.append(
                [
                    engine.generate(
                        "one two three four one two three four one two three",
                        preference=preference,
                        sampling=SamplingParams(
                            max_tokens=40, temperature=temperature, seed=3, logit_bias=bias
                        ),
                    )
                    for temperature in (0.0, 0.8)
                ]
            )
    for expected, found in zip(*answers, strict=True):
        assert found.token_ids == expected.token_ids
    computed = [sum(answer.usage.computed_tokens for answer in made) for made in answers]
    assert computed[1] > computed[0]  # some guesses were wrong


def test_no_guesses_are_made_where_answers_have_to_be_reproducible(tiny_engine: Engine) -> None:
    with load(tiny_engine.model.path, draft="lookup", reproducible=True, n_ctx=256) as engine:
        assert not engine._shared.rows.may_drop

"""The samplers against distributions worked out by hand, and against llama.cpp's own without the
shortcuts taken here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from amulet_local import AmuletParams, Engine, SamplingParams
from amulet_local.common.errors import BackendError, InvalidTokenError, LogitsError
from amulet_local.llama import sampler
from amulet_local.llama.sampler import SamplerChain
from amulet_local.llama.vocabulary import Vocabulary

HALVES = [0.5, 0.25, 0.125, 0.0625, 0.0625]
OFF = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
QUESTION = "Describe a person."
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 18, "maximum": 99},
        "traits": {"type": "array", "items": {"enum": ["kind", "bold"]}, "maxItems": 2},
    },
    "required": ["name", "age", "traits"],
}


@pytest.fixture(scope="module")
def vocabulary(shallow_engine: Engine) -> Vocabulary:
    return shallow_engine.model.vocabulary


def candidates(logits: Iterable[float]) -> np.ndarray:
    values = np.array([*logits], dtype=np.float32)
    table = np.zeros((len(values), 3), dtype=np.int32)
    table[:, 0] = np.arange(len(values))
    table[:, 1] = values.view(np.int32)
    return table.reshape(-1)


def logs(probabilities: Iterable[float]) -> list[float]:
    return [math.log(p) if p else -math.inf for p in probabilities]


def chain_of(vocabulary: Vocabulary, seed: int = 1, **options: Any) -> SamplerChain:
    return SamplerChain(
        SamplingParams(**{**OFF, **options}), vocabulary=vocabulary, n_ctx=64, seed=seed
    )


def drawn(
    vocabulary: Vocabulary,
    logits: Iterable[float],
    *,
    before: Iterable[int] = (),
    n: int = 400,
    **options: Any,
) -> dict[int, float]:
    """Shares of the tokens in n draws, by token."""
    logits = [*logits]
    with closing(chain_of(vocabulary, **options)) as chain:
        chain.accept_prompt(before)
        tokens = [chain.pick(lambda: candidates(logits)) for _ in range(n)]
    return {token: tokens.count(token) / n for token in sorted(set(tokens))}


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, {0, 1, 2, 3, 4}),
        ({"top_k": 2}, {0, 1}),
        ({"top_p": 0.7}, {0, 1}),
        ({"top_p": 0.8}, {0, 1, 2}),
        ({"min_p": 0.3}, {0, 1}),
        ({"min_p": 0.2}, {0, 1, 2}),
        # The entropy is 1.875 bits: 1 (2 bits) is nearest, then 0 (1 bit), then 2 (3 bits).
        ({"typical_p": 0.2}, {1}),
        ({"typical_p": 0.7}, {0, 1}),
        ({"typical_p": 0.8}, {0, 1, 2}),
        ({"xtc_probability": 1, "xtc_threshold": 0.2}, {1, 2, 3, 4}),
        ({"xtc_probability": 1, "xtc_threshold": 0.1}, {2, 3, 4}),
        ({"xtc_probability": 1, "xtc_threshold": 0.6}, {0, 1, 2, 3, 4}),
        ({"logit_bias": {0: False, 2: -100}}, {1, 3, 4}),
        ({"logit_bias": {4: 100}}, {4}),
        ({"temperature": 0}, {0}),
        ({"temperature": 0, "logit_bias": {0: -2}}, {1}),
        ({"temperature": 1e-30}, {0}),
        ({"temperature": 1e-6, "top_p": 0.99}, {0}),
        ({"temperature": 1e-45, "mirostat": 1}, {0}),
        # Bias comes before top-k, top-k before typical and min-p.
        ({"logit_bias": {0: -math.inf}, "top_k": 2}, {1, 2}),
        ({"top_k": 2, "typical_p": 0.5}, {0}),
        ({"top_k": 1, "min_p": 0.01, "typical_p": 0.9, "top_p": 0.9}, {0}),
        ({"mirostat": 1, "mirostat_tau": 0.0, "mirostat_eta": 0.0}, {0}),
        ({"mirostat": 2, "mirostat_tau": 1.2, "mirostat_eta": 0.0}, {0, 1}),
        ({"mirostat": 2, "mirostat_tau": 1.2, "mirostat_eta": 0.0, "top_k": 1}, {0, 1}),
    ],
)
def test_what_is_kept(vocabulary: Vocabulary, options: dict[str, Any], kept: set[int]) -> None:
    shares = drawn(vocabulary, logs(HALVES), **options)
    assert set(shares) == kept


def test_draws_follow_the_probabilities_that_are_left(vocabulary: Vocabulary) -> None:
    shares = drawn(vocabulary, logs(HALVES), top_p=0.8, n=4000)
    for token, share in shares.items():
        assert share == pytest.approx(HALVES[token] / 0.875, abs=0.03)


def test_half_of_the_time_xtc_does_nothing(vocabulary: Vocabulary) -> None:
    shares = drawn(vocabulary, logs(HALVES), xtc_probability=0.5, xtc_threshold=0.2, n=4000)
    assert shares[0] == pytest.approx(0.25, abs=0.03)


def test_mirostat_holds_the_surprise_near_its_target(vocabulary: Vocabulary) -> None:
    logits = np.linspace(0, -8, 200)
    bits = -(logits - np.log(np.exp(logits).sum())) / math.log(2)
    for target in (2.0, 4.0):
        shares = drawn(vocabulary, logits, mirostat=2, mirostat_tau=target, n=3000)
        kept = [bits[token] + np.log2(sum(np.exp2(-bits[t]) for t in shares)) for token in shares]
        surprise = sum(share * value for share, value in zip(shares.values(), kept, strict=True))
        assert surprise == pytest.approx(target, abs=0.4)


def test_dry_keeps_a_sequence_from_being_continued(vocabulary: Vocabulary) -> None:
    before = [3, 1, 2, 4, 9, 3, 1, 2]  # 3 1 2 was followed by 4
    options = {"temperature": 0, "dry_sequence_breakers": []}
    logits = [0.0, 0.0, 0.0, 0.0, 2.0, 1.0]
    for changed, expected in [
        ({"dry_multiplier": 1.0}, 5),  # 2 - 1 * 1.75^(3 - 2) < 1
        ({"dry_multiplier": 0.5}, 4),  # 2 - 0.5 * 1.75 > 1
        ({"dry_multiplier": 0.5, "dry_base": 2.5}, 5),
        ({"dry_multiplier": 1.0, "dry_allowed_length": 4}, 4),
        ({"dry_multiplier": 1.0, "dry_penalty_last_n": 3}, 4),
        ({"dry_multiplier": 1.0, "dry_penalty_last_n": -1}, 5),
        ({"dry_multiplier": 1.0, "dry_penalty_last_n": 0}, 4),
    ]:
        assert set(drawn(vocabulary, logits, before=before, n=1, **options, **changed)) == {
            expected
        }


def test_a_sequence_of_dry_ends_at_a_breaker(vocabulary: Vocabulary) -> None:
    tokens = vocabulary.tokenize("one; two one;", add_special=False, parse_special=False)
    follower = tokens[2]
    logits = np.zeros(vocabulary.n_tokens)
    logits[follower] = 1.0
    options = {"temperature": 0, "dry_multiplier": 5.0, "dry_allowed_length": 1, "n": 1}
    for breakers, is_free in [((), False), ((";",), True), (("one;",), True), (("x",), False)]:
        shares = drawn(vocabulary, logits, before=tokens, dry_sequence_breakers=breakers, **options)
        assert (set(shares) == {follower}) == is_free


def test_penalties_look_at_the_prompt_and_the_answer(vocabulary: Vocabulary) -> None:
    with closing(chain_of(vocabulary, temperature=0, presence_penalty=5)) as chain:
        chain.accept_prompt([0])
        picked = []
        for _ in range(3):
            picked.append(chain.pick(lambda: candidates([4.0, 3.0, 2.0, 1.0])))
            chain.accept(picked[-1])
    assert picked == [1, 2, 3]


def test_without_end_tokens_an_answer_goes_on(shared_engine: Engine) -> None:
    question = "Say only the word yes."
    ended = shared_engine.generate(question, sampling=SamplingParams(max_tokens=40))
    assert ended.finish_reason == "stop"
    options = SamplingParams(max_tokens=40, ignore_eos=True)
    answer = shared_engine.generate(question, sampling=options)
    assert answer.finish_reason == "length"
    assert not shared_engine.model.vocabulary.end_tokens & set(answer.token_ids)


def test_a_bias_for_a_token_that_is_not_there_is_refused(tiny_engine: Engine) -> None:
    n_vocab = tiny_engine.model.vocabulary.n_tokens
    with pytest.raises(InvalidTokenError, match=str(n_vocab)):
        tiny_engine.generate(QUESTION, sampling=SamplingParams(logit_bias={n_vocab: 1.0}))


@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0}, {"top_p": 0.5}, {"typical_p": 0.5}, {"mirostat": 1}, {"mirostat": 2}],
)
def test_impossible_tokens_are_never_drawn(vocabulary: Vocabulary, options: dict[str, Any]) -> None:
    logits = [-math.inf, 1.0, -math.inf, 0.5, -math.inf]
    assert set(drawn(vocabulary, logits, n=100, **options)) <= {1, 3}
    with pytest.raises(LogitsError, match="no token"):
        drawn(vocabulary, [-math.inf] * 3, **options)
    with pytest.raises(LogitsError, match="no token"):
        drawn(vocabulary, [0.0, 0.0], logit_bias={0: False, 1: False}, **options)


def test_samplers_are_freed_when_one_cant_be_made(
    vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    import llama_cpp

    freed = []
    free = llama_cpp.llama_sampler_free
    monkeypatch.setattr(llama_cpp, "llama_sampler_free", lambda p: (freed.append(p), free(p)))
    monkeypatch.setattr(llama_cpp, "llama_sampler_init_dist", lambda seed: None)
    with pytest.raises(BackendError):
        chain_of(vocabulary)
    assert len(freed) == 2


@pytest.fixture
def real_logits(golden_logits: dict[str, np.ndarray]) -> Iterator[np.ndarray]:
    return iter(golden_logits["combined"].astype(np.float32)[:6])


def flat_logits() -> Iterator[np.ndarray]:
    for seed, scale in enumerate([0.01, 1.0, 2.0, 4.0, 8.0]):
        yield (scale * np.random.default_rng(seed).normal(size=49_152)).astype(np.float32)


def ten_draws(vocabulary: Vocabulary, logits: np.ndarray, options: dict[str, Any]) -> list[int]:
    with closing(chain_of(vocabulary, seed=3, **options)) as chain:
        chain.accept_prompt(range(50))
        return [chain.pick(lambda: candidates(logits)) for _ in range(10)]


@pytest.mark.parametrize(
    "options",
    [
        {"top_p": 0.95},
        {"top_p": 0.5, "min_p": 0.05},
        {"top_p": 0.99, "repeat_penalty": 1.3, "temperature": 1.5},
        {"typical_p": 0.6, "top_p": 0.9},
        {"mirostat": 1},
        {"mirostat": 2},
    ],
)
def test_sorting_here_draws_what_llama_cpp_draws(
    vocabulary: Vocabulary,
    real_logits: Iterator[np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
) -> None:
    # Which of several equal logits comes first is the C++ library's choice, so logits are compared.
    for logits in (*real_logits, *flat_logits()):
        here = ten_draws(vocabulary, logits, options)
        with monkeypatch.context() as patch:
            patch.setattr(sampler._Sorter, "of", lambda *_: None)
            there = ten_draws(vocabulary, logits, options)
        assert logits[here].tolist() == logits[there].tolist()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("preference", [None, "creative"])
def test_an_answer_by_a_schema_is_finished_and_has_its_shape(
    tiny_engine: Engine, temperature: float, preference: str | None
) -> None:
    answer = tiny_engine.generate(
        QUESTION,
        preference=preference,
        amulet=AmuletParams(guidance_scale=2, min_plausibility=0.2) if preference else None,
        sampling=SamplingParams(max_tokens=80, temperature=temperature, seed=1, json_schema=PERSON),
    )
    assert answer.finish_reason == "stop"
    person = json.loads(answer.text)
    assert list(person) == ["name", "age", "traits"]
    assert len(person["name"]) <= 20
    assert 18 <= person["age"] <= 99
    assert set(person["traits"]) <= {"kind", "bold"}


def test_an_answer_matches_its_grammar_and_leaves_no_trace(tiny_engine: Engine) -> None:
    plain = tiny_engine.generate(QUESTION, sampling=SamplingParams(max_tokens=8))
    rhyme = SamplingParams(max_tokens=40, grammar='root ::= "(" [a-z]{3,5} (" " [a-z]{1,9}){2} ")"')
    for _ in range(2):
        answer = tiny_engine.generate(QUESTION, sampling=rhyme)
        assert re.fullmatch(r"\([a-z]{3,5}( [a-z]{1,9}){2}\)", answer.text)
        assert answer.finish_reason == "stop"
    again = tiny_engine.generate(QUESTION, sampling=SamplingParams(max_tokens=8))
    assert again.token_ids == plain.token_ids


def test_a_grammar_that_the_model_would_follow_anyway_changes_nothing(
    tiny_engine: Engine,
) -> None:
    options = {"max_tokens": 12, "temperature": 0.8, "seed": 5}
    free = tiny_engine.generate(QUESTION, sampling=SamplingParams(**options))
    bound = tiny_engine.generate(
        QUESTION, sampling=SamplingParams(**options, grammar="root ::= .*")
    )
    assert bound.token_ids == free.token_ids


def test_where_the_grammar_wants_none_of_the_first_candidates_later_ones_are_asked(
    vocabulary: Vocabulary,
) -> None:
    digit, letter = (
        vocabulary.tokenize(text, add_special=False, parse_special=False)[0] for text in "7a"
    )

    def only(token: int) -> np.ndarray:
        table = candidates([1.0])
        table[0] = token
        return table

    with closing(chain_of(vocabulary, grammar="root ::= [0-9]+")) as chain:
        assert chain.pick(lambda: only(letter), lambda: [lambda: only(digit)]) == digit
        assert chain.pick(lambda: only(digit), lambda: [lambda: only(letter)]) == digit
        with pytest.raises(LogitsError, match="grammar"):
            chain.pick(lambda: only(letter))


def test_biased_away_tokens_stay_away_where_a_grammar_wants_them(vocabulary: Vocabulary) -> None:
    tokens = {
        text: vocabulary.tokenize(text, add_special=False, parse_special=False)[0] for text in "789"
    }
    logits = np.zeros(vocabulary.n_tokens)
    bias = {tokens["7"]: -math.inf, tokens["8"]: 1.0}
    with closing(
        chain_of(vocabulary, temperature=0, grammar="root ::= [789]", logit_bias=bias)
    ) as chain:
        assert chain.pick(lambda: candidates(logits)) == tokens["8"]


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 1},
        {"top_k": 40},
        {"top_k": 150, "top_p": 0.8},
        {"top_k": 0, "top_p": 0.97},
        {"top_k": 3, "ignore_eos": True},
        {"temperature": 0, "logit_bias": dict.fromkeys(range(0, 400, 2), -0.5)},
        {"temperature": 0, "logit_bias": {9: 4.0}},
    ],
)
@pytest.mark.parametrize("method", ["base", "amulet"])
def test_leaving_out_what_is_dropped_anyway_changes_no_token(
    tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], method: str
) -> None:
    def answers() -> list[tuple[int, ...]]:
        return [
            tiny_engine.generate(
                "Invent an animal.",
                preference=None if method == "base" else "creative",
                sampling=SamplingParams(
                    **{"max_tokens": 20, "temperature": 1.2, "seed": seed, **options}
                ),
            ).token_ids
            for seed in range(2)
        ]

    few = answers()
    monkeypatch.setattr(SamplerChain, "which", None)
    assert answers() == few

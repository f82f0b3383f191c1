"""Beam search: against an independent implementation, on the model's full-prefix evaluations."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from amulet_local import METHODS, AmuletParams, Engine, SamplingParams, errors
from amulet_local.answering.beam_search import BeamRun, beam_search
from amulet_local.answering.beams import Beams
from amulet_local.answering.request import build_request
from amulet_local.llama.execution_plan import ExecutionPlan
from amulet_local.llama.rows import RowSet
from amulet_local.steering.row_plan import RowPlan

Evaluate = Callable[[tuple[int, ...]], NDArray[np.float64]]


def log_softmax(row: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = row - row.max()
    return shifted - np.log(np.exp(shifted).sum())


def independent(
    evaluate: Evaluate, n_beams: int, end: set[int], max_tokens: int, *, n_best: int | None = None
) -> tuple[int, ...]:
    """Beam search as the book has it, every prefix evaluated anew: the best answer's tokens.

    Finished answers compete with those at full length by sum / length; the search ends early once
    there are `n_beams` finished ones and the best running one can't beat the worst.

    Args:
        n_best: tokens of each prefix that are looked at, the likeliest; all if None.
    """
    live: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    done: list[tuple[float, tuple[int, ...]]] = []
    for length in range(1, max_tokens + 1):
        grown = []
        for total, tokens in live:
            row = log_softmax(evaluate(tokens))
            kept = np.argsort(-row)[:n_best]
            grown += [(total + float(row[i]), (*tokens, int(i))) for i in kept]
        grown.sort(key=lambda pair: -pair[0])
        done += [(total / length, tokens) for total, tokens in grown[:n_beams] if tokens[-1] in end]
        done = sorted(done, reverse=True)[:n_beams]
        live = [pair for pair in grown if pair[1][-1] not in end][:n_beams]
        if len(done) == n_beams and done[-1][0] >= live[0][0] / length:
            return max(done)[1]
    return max(done + [(total / max_tokens, tokens) for total, tokens in live])[1]


def small_model(seed: int, n_vocab: int = 5) -> Evaluate:
    """Logits that depend on the last two tokens."""
    weights = np.random.default_rng(seed).normal(size=(n_vocab + 1, n_vocab + 1, n_vocab)) * 2

    def evaluate(tokens: tuple[int, ...]) -> NDArray[np.float64]:
        last = [-1, -1, *tokens][-2:]
        return weights[last[0], last[1]].astype(np.float32).astype(np.float64)

    return evaluate


def searched(evaluate: Evaluate, n_beams: int, end: set[int], max_tokens: int) -> tuple[int, ...]:
    beams = Beams(n_beams, end_tokens=end, max_tokens=max_tokens)
    while beams.advance([evaluate(b.tokens).astype(np.float32) for b in beams.running]):
        pass
    return beams.best().tokens


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("n_beams", [1, 2, 3])
def test_equals_an_independent_implementation(seed: int, n_beams: int) -> None:
    evaluate = small_model(seed)
    assert searched(evaluate, n_beams, {0}, 6) == independent(evaluate, n_beams, {0}, 6)


@pytest.mark.parametrize("seed", range(4))
def test_beams_for_everything_find_the_best_answer_there_is(seed: int) -> None:
    evaluate = small_model(seed, n_vocab=4)

    def mean_log_p(tokens: tuple[int, ...]) -> float:
        total = sum(
            float(log_softmax(evaluate(tokens[:i]))[token]) for i, token in enumerate(tokens)
        )
        return total / len(tokens)

    n = 4
    whole = [
        tokens
        for length in range(1, n + 1)
        for tokens in itertools.product(range(4), repeat=length)
        if 0 not in tokens[:-1] and (tokens[-1] == 0 or length == n)
    ]
    assert searched(evaluate, 4**n, {0}, n) == max(whole, key=mean_log_p)


def test_a_token_that_is_impossible_is_never_taken() -> None:
    beams = Beams(4, end_tokens={0}, max_tokens=3)
    row = np.array([-np.inf, 1.0, -np.inf], dtype=np.float32)
    while beams.advance([row for _ in beams.running]):
        pass
    assert beams.best().tokens == (1, 1, 1)


def prompts_of(engine: Engine) -> tuple[int, ...]:
    return tuple(
        engine.model.vocabulary.tokenize(
            "<|im_start|>user\nWhat is dew?<|im_end|>\n<|im_start|>assistant\n",
            add_special=False,
            parse_special=True,
        )
    )


def run_of(engine: Engine) -> BeamRun:
    return BeamRun(
        model=engine.model,
        settings=engine._settings,
        stop_flag=engine._stop_flag,
        n_threads=1,
        n_threads_batch=1,
    )


@pytest.mark.parametrize("n_beams", [1, 3])
def test_equals_full_prefix_evaluations_of_the_model(exact_engine: Engine, n_beams: int) -> None:
    prompt, n = prompts_of(exact_engine), 5
    vocabulary = exact_engine.model.vocabulary
    rows = RowSet(
        exact_engine.model,
        exact_engine._settings,
        exact_engine._stop_flag,
        ExecutionPlan(schedule="serial", n_threads=1, n_threads_batch=1, reuse=False),
    )

    def evaluate(tokens: tuple[int, ...]) -> NDArray[np.float64]:
        rows.prefill([(*prompt, *tokens)])
        return rows.logits(0).astype(np.float64)

    try:
        expected = independent(evaluate, n_beams, set(vocabulary.end_tokens), n, n_best=50)
    finally:
        rows.close()
    request = build_request(
        METHODS["beam"],
        [prompt],
        plan=RowPlan(has_plain=False, weights=(1.0,)),
        amulet=None,
        sampling=SamplingParams(max_tokens=n),
        n_ctx=exact_engine.n_ctx,
    )
    found = beam_search(run_of(exact_engine), replace(request, n_beams=n_beams))
    assert found.token_ids == expected
    assert found.finish_reason == "length"


def test_one_beam_is_the_greedy_answer(exact_engine: Engine) -> None:
    prompt = prompts_of(exact_engine)
    greedy = exact_engine.generate_from_tokens(
        None, prompt, method="pref", sampling=SamplingParams(max_tokens=8)
    )
    request = build_request(
        METHODS["beam"],
        [prompt],
        plan=RowPlan(has_plain=False, weights=(1.0,)),
        amulet=None,
        sampling=SamplingParams(max_tokens=8),
        n_ctx=exact_engine.n_ctx,
    )
    found = beam_search(run_of(exact_engine), replace(request, n_beams=1))
    assert found.token_ids == greedy.token_ids


def test_more_beams_find_a_likelier_answer_than_greedy(tiny_engine: Engine) -> None:
    sampling = SamplingParams(max_tokens=6)
    scores = []
    for method in ("pref", "beam"):
        answer = tiny_engine.generate(
            "What is dew?", preference="concise", method=method, sampling=sampling
        )
        score = tiny_engine.score(
            "What is dew?",
            answer.token_ids,
            preference="concise",
            amulet=AmuletParams(guidance_scale=1.0),
        )
        scores.append(sum(score.preferences[0]) / len(answer.token_ids))
    assert scores[1] >= scores[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"sampling": SamplingParams(temperature=0.7)},
        {"sampling": SamplingParams(repeat_penalty=1.2)},
        {"preference": ["concise", "formal"]},
        {"trace": 0},
    ],
)
def test_refuses_what_it_has_no_use_for(tiny_engine: Engine, changes: dict[str, object]) -> None:
    with pytest.raises(errors.InvalidParameterError):
        tiny_engine.generate(
            "Hi",
            **{"preference": "concise", "method": "beam", **changes},  # type: ignore[arg-type]
        )


def test_an_answer_that_fills_the_context_says_so(exact_engine: Engine) -> None:
    text = "The dew lies on the grass and on the leaves of the trees, and the "
    ids = exact_engine.model.vocabulary.tokenize(text * 30, add_special=False, parse_special=False)
    prompt = tuple(ids)[: exact_engine.n_ctx - 3]
    answer = exact_engine.generate_from_tokens(
        None, prompt, method="beam", sampling=SamplingParams(max_tokens=20)
    )
    assert answer.finish_reason == "length"
    assert len(answer.token_ids) <= 4
    assert any("context" in warning for warning in answer.warnings)


def test_a_stream_of_it_ends_with_the_whole_answer(tiny_engine: Engine) -> None:
    *rest, last = tiny_engine.stream_generate(
        "What is dew?", preference="concise", method="beam", sampling=SamplingParams(max_tokens=4)
    )
    assert not rest
    assert last.generation is not None
    assert last.text == last.generation.text != ""


def test_a_pool_doesnt_take_it_for_a_greedy_request(tiny_engine: Engine) -> None:
    with pytest.raises(errors.InvalidParameterError, match="beam"):
        tiny_engine.request("Hi", preference="concise", method="beam")

"""Traces: how each token was chosen, against float64 and against the scores of the same answer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from amulet_local import AmuletParams, Engine, SamplingParams, errors
from amulet_local.answering.tracing import Tracer
from amulet_local.common.results import Alternative, TokenTrace
from amulet_local.optimizer.realigner import Realigner
from amulet_local.steering.row_plan import RowPlan
from amulet_local.steering.steering import Steering

MESSAGES = [  # short, because most of the time goes into prompts
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "How do I sleep?"},
]
SHORT = SamplingParams(max_tokens=12)


def log_softmax(row: np.ndarray) -> np.ndarray:
    row = row.astype(np.float64)
    return row - np.logaddexp.reduce(row)


def assert_best(found: tuple[Alternative, ...], log_p: np.ndarray, n: int) -> None:
    """The n likeliest tokens, best first, with their log-probabilities."""
    assert len(found) == n
    ids = [item.token_id for item in found]
    given = [item.log_probability for item in found]
    assert given == sorted(given, reverse=True)
    np.testing.assert_allclose(given, log_p[ids], atol=1e-3)
    np.testing.assert_allclose(log_p[ids], np.sort(log_p)[::-1][:n], atol=1e-3)
    assert len(set(ids)) == n


# --- against float64 ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "amulet"),
    [
        ((1.0,), {}),
        ((1.0,), {"guidance_scale": 1.0}),
        ((1.0,), {"guidance_scale": 0.0}),
        ((0.5, -1.0), {"guidance_scale": 3.0}),
        ((1.0,), {"kl_budget": 0.2}),
        ((1.0, 1.0), {"kl_budget": 0.2, "guidance_scale": 4.0}),
    ],
)
def test_figures_of_real_rows_are_those_of_float64(
    shallow_engine: Engine,
    real_rows: np.ndarray,
    weights: tuple[float, ...],
    amulet: dict[str, Any],
) -> None:
    realigner = Realigner(real_rows.shape[-1])
    tracer = Tracer(realigner, shallow_engine.model.vocabulary, n_alternatives=5)
    plan = RowPlan(has_plain=True, weights=weights)
    steering = Steering(plan, AmuletParams(**amulet), realigner)
    for step in real_rows[::8]:
        rows = list(step[: plan.n_rows])
        combination = steering.combine(rows)
        plain, *preferences = (row.astype(np.float64) for row in rows)
        difference = sum(w * (row - plain) for w, row in zip(weights, preferences, strict=True))
        log_p = log_softmax(plain + combination.scale * difference)
        log_q = log_softmax(plain + difference)
        token = int(log_p.argmax())
        trace = tracer.trace(rows, plan, combination, token)
        assert trace.token_id == token
        assert trace.scale == combination.scale
        assert trace.plain == pytest.approx(log_softmax(plain)[token], abs=1e-5)
        expected = [log_softmax(row)[token] for row in preferences]
        assert trace.preferences == pytest.approx(expected, abs=1e-5)
        assert trace.realigned == pytest.approx(log_p[token], abs=1e-4)
        kl = float((np.exp(log_p) * (log_p - log_q)).sum())
        assert trace.kl == pytest.approx(kl, abs=1e-4, rel=1e-4)
        assert_best(trace.top_plain, log_softmax(plain), 5)
        for found, row in zip(trace.top_preferences, preferences, strict=True):
            assert_best(found, log_softmax(row), 5)
        assert_best(trace.top_realigned, log_p, 5)
        assert trace.top_realigned[0].token_id == token


def test_masked_tokens_are_no_alternatives(shallow_engine: Engine, real_rows: np.ndarray) -> None:
    realigner = Realigner(real_rows.shape[-1])
    tracer = Tracer(realigner, shallow_engine.model.vocabulary, n_alternatives=100)
    plan = RowPlan(has_plain=True, weights=(1.0,))
    steering = Steering(plan, AmuletParams(guidance_scale=3, min_plausibility=0.2), realigner)
    for step in real_rows[::8]:
        plain, preference, _ = step
        trace = tracer.trace([plain, preference], plan, steering.combine([plain, preference]), 7)
        plausible = set(np.flatnonzero(preference >= preference.max() + np.log(0.2)))
        assert {item.token_id for item in trace.top_realigned} == plausible
        total = math.fsum(math.exp(item.log_probability) for item in trace.top_realigned)
        assert total == pytest.approx(1.0, abs=1e-4)
        assert trace.realigned == (-math.inf if 7 not in plausible else trace.realigned)


def test_equal_alternatives_come_in_the_order_of_their_ids(tiny_engine: Engine) -> None:
    row = np.full(tiny_engine.model.vocabulary.n_tokens, -5.0, dtype=np.float32)
    row[[900, 30, 500, 700]] = 2.0
    row[40] = 3.0
    tracer = Tracer(Realigner(len(row)), tiny_engine.model.vocabulary, n_alternatives=5)
    plan = RowPlan(has_plain=True, weights=())
    steering = Steering(plan, AmuletParams(guidance_scale=0), Realigner(len(row)))
    trace = tracer.trace([row], plan, steering.combine([row]), 40)
    assert [item.token_id for item in trace.top_plain] == [40, 30, 500, 700, 900]


# --- against the scores -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"preference": "creative", "preset": "paper"},
        {"preference": "creative"},
        {"preference": ["creative", "formal"], "avoid": "concise", "preset": "paper"},
        {
            "preference": ["creative", "formal"],
            "amulet": AmuletParams(guidance_scale=2, mix="adaptive", mix_temperature=1),
        },
        {
            "preference": "creative",
            "amulet": AmuletParams(
                guidance_scale=4, min_plausibility=0.05, noise_guard=1, echo_guard=True
            ),
        },
    ],
)
def test_trace_of_an_answer_equals_its_score(
    exact_engine: Engine, arguments: dict[str, Any]
) -> None:
    answer = exact_engine.generate(MESSAGES, sampling=SHORT, trace=0, **arguments)
    scored = exact_engine.score(MESSAGES, answer.token_ids, **arguments)
    assert answer.trace is not None
    assert [item.token_id for item in answer.trace] == list(scored.token_ids)
    assert [item.plain for item in answer.trace] == pytest.approx(scored.plain, abs=1e-4)
    assert [item.realigned for item in answer.trace] == pytest.approx(scored.realigned, abs=1e-4)
    n_preferences = len(scored.preferences)
    assert n_preferences == len(answer.preferences)
    for k in range(n_preferences):
        traced = [item.preferences[k] for item in answer.trace]
        assert traced == pytest.approx(scored.preferences[k], abs=1e-4)
    assert {item.top_realigned for item in answer.trace} == {()}


def test_a_score_is_what_the_generation_saw_to_the_bit(scripted: Engine) -> None:
    """On quantised weights too: it is computed in the same steps."""
    arguments: dict[str, Any] = {"preference": "creative", "preset": "strong"}
    answer = scripted.generate(MESSAGES, sampling=SHORT, trace=0, **arguments)
    scored = scripted.score(MESSAGES, answer.token_ids, **arguments)
    assert answer.trace is not None
    assert tuple(item.plain for item in answer.trace) == scored.plain
    assert tuple(item.preferences[0] for item in answer.trace) == scored.preferences[0]
    assert tuple(item.realigned for item in answer.trace) == scored.realigned


# --- of a generation ----------------------------------------------------------------------------


def traced(engine: Engine, **arguments: Any) -> tuple[TokenTrace, ...]:
    trace = engine.generate(MESSAGES, sampling=SHORT, trace=3, **arguments).trace
    assert trace is not None
    return trace


def test_greedy_token_is_the_best_alternative(scripted: Engine) -> None:
    for item in traced(scripted, preference="creative"):
        assert item.top_realigned[0].token_id == item.token_id
        assert item.top_realigned[0].text == item.text
        assert item.top_realigned[0].log_probability == pytest.approx(item.realigned)
        for top in (item.top_plain, *item.top_preferences, item.top_realigned):
            assert sum(math.exp(other.log_probability) for other in top) <= 1 + 1e-6


def test_divergence_is_zero_at_scale_one_and_within_the_budget_above(
    scripted: Engine,
) -> None:
    at_one = traced(scripted, preference="creative", amulet=AmuletParams(guidance_scale=1))
    assert 0 <= min(item.kl for item in at_one) <= max(item.kl for item in at_one) < 1e-5
    free = traced(scripted, preference="creative", preset="paper")
    assert min(item.kl for item in free) >= 0
    assert max(item.kl for item in free) > 0.3
    assert {item.scale for item in free} == {AmuletParams().guidance_scale}
    held = traced(scripted, preference="creative", amulet=AmuletParams(kl_budget=0.3))
    assert max(item.kl for item in held) == pytest.approx(0.3, rel=0.01)
    assert min(item.scale for item in held) < AmuletParams().guidance_scale


@pytest.mark.parametrize("preset", ["paper", "balanced"])
def test_the_applied_strength_is_the_traces_mean(scripted: Engine, preset: str) -> None:
    ask: dict[str, Any] = {"preference": "creative", "preset": preset, "sampling": SHORT}
    traced = scripted.generate(MESSAGES, trace=0, **ask)
    applied = scripted.generate(MESSAGES, **ask).applied
    assert applied is not None
    assert traced.trace is not None
    scales = [item.scale for item in traced.trace]
    assert applied.mean_scale == pytest.approx(np.mean(scales))
    assert (applied.lowest_scale, applied.highest_scale) == (min(scales), max(scales))
    assert applied.mean_kl == pytest.approx(np.mean([item.kl for item in traced.trace]), abs=1e-6)
    assert applied.mean_kl > 0


def test_without_a_preference_no_strength_is_applied(scripted: Engine) -> None:
    assert scripted.generate(MESSAGES, sampling=SHORT).applied is None


def test_rows_that_are_not_computed_are_not_traced(scripted: Engine) -> None:
    for item in traced(scripted):
        assert item.plain == item.realigned
        assert item.preferences == item.top_preferences == ()
        assert item.top_plain == item.top_realigned
        assert item.kl == 0
    for item in traced(scripted, preference="concise", method="pref"):
        assert item.plain is None
        assert item.top_plain == ()
        assert item.preferences == (pytest.approx(item.realigned),)


def test_chunks_have_their_tokens_traces(scripted: Engine) -> None:
    *chunks, last = scripted.stream_generate(MESSAGES, preference="formal", sampling=SHORT, trace=2)
    assert last.generation is not None
    assert last.trace is None
    assert tuple(chunk.trace for chunk in chunks) == last.generation.trace
    assert [chunk.trace.token_id for chunk in chunks if chunk.trace] == list(
        last.generation.token_ids
    )


def test_the_token_that_ends_an_answer_is_traced(shared_engine: Engine) -> None:
    answer = shared_engine.generate(
        "Say only the word yes.", sampling=SamplingParams(max_tokens=60), trace=1
    )
    assert answer.finish_reason == "stop"
    assert answer.trace is not None
    assert len(answer.trace) == len(answer.token_ids)
    assert answer.trace[-1].token_id in shared_engine.model.vocabulary.end_tokens


def test_tracing_changes_no_token(scripted: Engine) -> None:
    without, with_trace = (
        scripted.generate(MESSAGES, preference="creative", sampling=SHORT, trace=trace)
        for trace in (None, 5)
    )
    assert without.trace is None
    assert with_trace.token_ids == without.token_ids


def test_part_of_a_character_is_traced_as_the_replacement_character(
    tiny_engine: Engine, real_rows: np.ndarray
) -> None:
    vocabulary = tiny_engine.model.vocabulary
    first, *_ = vocabulary.tokenize("😀", add_special=False, parse_special=False)
    plan = RowPlan(has_plain=True, weights=())
    realigner = Realigner(real_rows.shape[-1])
    row = real_rows[0, 0]
    combination = Steering(plan, AmuletParams(), realigner).combine([row])
    trace = Tracer(realigner, vocabulary, n_alternatives=0).trace([row], plan, combination, first)
    assert "\N{REPLACEMENT CHARACTER}" in trace.text


@pytest.mark.parametrize("trace", [-1, 101, 1.0, "3", True])
def test_bad_number_of_alternatives_is_a_typed_error(scripted: Engine, trace: Any) -> None:
    with pytest.raises(errors.InvalidParameterError, match="trace"):
        scripted.stream_generate(MESSAGES, preference="concise", trace=trace)

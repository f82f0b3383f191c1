"""Measuring a sweep: the answers, the way there, and what an interrupt leaves."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from amulet_local import Engine, SamplingParams, errors
from amulet_local.common.results import Generation
from amulet_local.evaluation.pairs import judged
from amulet_local.evaluation.quality import means
from amulet_local.evaluation.sweep import settings_of
from amulet_local.evaluation.tuning_study import (
    Measurement,
    RemainingTime,
    Stand,
    SweepPlan,
)
from amulet_local.llama import memory
from amulet_local.params.runtime import RuntimeParams
from amulet_local.preferences.preference import resolve
from amulet_local.steering.rounding_noise import rounding_noise

N_TOKENS = 6
EXACT = RuntimeParams(n_threads=1, cache_type_k="f32", cache_type_v="f32", flash_attention="off")
PLAN = SweepPlan(
    settings=settings_of("kl", (0.4,)),
    preferences=resolve(["concise", "formal"]),
    questions=("How do I sleep?", "What is yeast?"),
    max_tokens=N_TOKENS,
)


@pytest.fixture(scope="module")
def measured(tiny_f32_path: Path) -> tuple[Measurement, list[str]]:
    """A complete measurement with exact weights, and what was reported on the way."""
    reports: list[str] = []
    measurement = Measurement(plan=PLAN)
    with Stand(tiny_f32_path, EXACT, PLAN) as stand:
        stand.measure(measurement, reports.append)
    return measurement, reports


def test_every_answer_is_there_and_is_the_engines_own(
    measured: tuple[Measurement, list[str]], exact_engine: Engine
) -> None:
    measurement, _ = measured
    assert measurement.is_complete
    assert len(measurement.answers) == len(PLAN.settings) * len(PLAN.preferences)
    setting, preference = PLAN.settings[1], PLAN.preferences[0]
    expected = []
    for question in PLAN.questions:
        answer = exact_engine.generate(
            question,
            preference=preference,
            amulet=setting.amulet,
            sampling=SamplingParams(max_tokens=N_TOKENS),
            trace=0,
        )
        expected.append(judged(answer, exact_engine.model.vocabulary, preference, question))
    found = measurement.answers[setting.name, preference.label]
    assert sorted(item.margin for item in found) == pytest.approx(
        sorted(item.margin for item in expected), abs=1e-3
    )
    assert [item.n_tokens for item in found] == [N_TOKENS] * 2


def test_figures_are_of_a_setting_or_of_one_preference_of_it(
    measured: tuple[Measurement, list[str]],
) -> None:
    measurement, _ = measured
    for setting in PLAN.settings:
        of_each = [measurement.answers[setting.name, item.label] for item in PLAN.preferences]
        together = measurement.figures()[setting.name]
        assert together == means([*of_each[0], *of_each[1]])
        assert measurement.figures(PLAN.preferences[1].label)[setting.name] == means(of_each[1])


def test_a_budget_of_nothing_is_the_preference_prompt(
    measured: tuple[Measurement, list[str]], exact_engine: Engine
) -> None:
    measurement, _ = measured
    preference, question = PLAN.preferences[0], PLAN.questions[0]
    prompted = exact_engine.generate(
        question,
        preference=preference,
        method="pref",
        sampling=SamplingParams(max_tokens=N_TOKENS),
    )
    score = exact_engine.score(question, prompted.token_ids, preference=preference)
    margins = [item.margin for item in measurement.answers["preference prompt", preference.label]]
    assert min(abs(margin - score.margins[0]) for margin in margins) < 1e-3


def test_noise_and_lever_are_measured(
    measured: tuple[Measurement, list[str]], exact_engine: Engine
) -> None:
    measurement, reports = measured
    noise = rounding_noise(exact_engine.model, exact_engine._settings, exact_engine._stop_flag)
    assert measurement.noise == noise
    assert measurement.lever is not None
    assert 0 < measurement.lever.n_steps <= 4 * N_TOKENS
    share = measurement.lever.signal_share(noise)
    assert share is not None
    assert 0.99 < share < 1  # exact weights
    assert reports[0] == "the model's rounding noise"
    assert any(report.startswith(f"11 of {PLAN.n_answers} answers") for report in reports)


def test_an_interrupt_ends_it_and_leaves_what_there_is(tiny_path: Path) -> None:
    plan = SweepPlan(
        settings=settings_of("kl", (0.4,)),
        preferences=resolve("concise"),
        questions=("Why?", "What is yeast?", *(f"What is {n}?" for n in range(20))),
        max_tokens=3,
    )
    measurement = Measurement(plan=plan)

    def interrupt(report: str) -> None:
        if report.startswith("3"):  # of 66: some are there, and every place is busy
            os.kill(os.getpid(), signal.SIGINT)

    with (
        Stand(tiny_path, RuntimeParams(n_threads=1), plan) as stand,
        pytest.raises(KeyboardInterrupt),
    ):
        stand.measure(measurement, interrupt)
    assert 3 <= measurement.n_answers < plan.n_answers
    assert not measurement.is_complete
    assert measurement.lever is None
    figures = measurement.figures()
    assert sum(item.answers for item in figures.values()) == measurement.n_answers
    assert set(figures) == {item.name for item in plan.settings}


def test_no_memory_is_an_error_before_anything_is_measured(
    tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    with pytest.raises(errors.ContextCreationError, match="KV caches"):
        Stand(tiny_path, RuntimeParams(n_threads=1), PLAN)


def test_a_question_that_cant_be_used_is_an_error(tiny_path: Path) -> None:
    plan = SweepPlan(
        settings=PLAN.settings,
        preferences=PLAN.preferences,
        questions=("fine", "a\udc80b"),
        max_tokens=4,
    )
    with pytest.raises(errors.InvalidTextError):
        Stand(tiny_path, RuntimeParams(n_threads=1), plan)


def generation(n_tokens: int) -> Generation:
    class Counted:
        token_ids = tuple(range(n_tokens))

    return Counted()  # type: ignore[return-value]


@pytest.fixture
def seconds() -> Iterator[float]:
    return itertools.chain([0.0], itertools.repeat(10.0))  # type: ignore[return-value]


def test_the_time_left_is_in_proportion_to_the_tokens(seconds: Iterator[float]) -> None:
    clock = RemainingTime(PLAN, seconds.__next__)
    assert clock.text(0, 0) == "0 of 12 answers"
    assert clock.text(0, 12 * N_TOKENS // 4) == "0 of 12 answers, 30 s left"
    for _ in range(6):
        clock.count(generation(4))
    assert clock.text(6, 0) == "6 of 12 answers, 10 s left"
    assert clock.text(12, 0) == "12 of 12 answers"

"""Intervals and effect sizes against SciPy, and against what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local.evaluation.statistics import (
    bootstrap_mean,
    by_unit,
    paired_difference,
    proportion,
    win_rate,
)

stats = pytest.importorskip("scipy.stats")

SAMPLES = {
    "normal": np.random.default_rng(1).normal(0.3, 1.0, 48),
    "skewed": np.random.default_rng(2).exponential(1.0, 30),
    "verdicts": np.random.default_rng(3).choice([0.0, 0.5, 1.0], 40),
    "few": np.array([0.1, 0.4, -0.2, 0.9, 0.3]),
}


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_intervals_of_means_are_scipys(name: str, confidence: float) -> None:
    values = SAMPLES[name]
    ours = bootstrap_mean(values.tolist(), confidence=confidence)
    theirs = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=confidence,
        method="BCa",
        n_resamples=20_000,
        rng=np.random.default_rng(5),
    ).confidence_interval
    grid = {"verdicts": 0.5, "few": 0.1}.get(name, 0.0) / len(values)  # of resampled means
    near = 0.12 * values.std() / math.sqrt(len(values)) + 1.01 * grid
    assert ours.value == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.low, abs=near)
    assert ours.high == pytest.approx(theirs.high, abs=near)


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(200):
        sample = bootstrap_mean(rng.exponential(1.0, 40).tolist(), confidence=0.9)
        hits += not sample.excludes(1.0)
    assert 0.82 < hits / 200 < 0.96


@pytest.mark.parametrize(("k", "n"), [(0, 12), (1, 12), (6, 12), (12, 12), (3, 1000), (1, 1)])
@pytest.mark.parametrize("confidence", [0.95, 0.5])
def test_intervals_of_shares_are_scipys(k: int, n: int, confidence: float) -> None:
    ours = proportion(k, n, confidence=confidence)
    theirs = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert ours.value == k / n


def test_rank_biserial_is_wilcoxons_statistic_on_a_scale() -> None:
    rng = np.random.default_rng(11)
    first, second = rng.normal(0.4, 1, 25).round(1), rng.normal(0, 1, 25).round(1)
    found = paired_difference(first.tolist(), second.tolist())
    differences = (first - second)[first != second]
    against = stats.wilcoxon(differences, alternative="greater").statistic  # the positive ranks
    total = len(differences) * (len(differences) + 1) / 2
    assert found.rank_biserial == pytest.approx(2 * against / total - 1)


def test_the_effect_size_is_students_t_on_a_scale() -> None:
    first, second = SAMPLES["normal"], np.roll(SAMPLES["normal"], 1) * 0.5
    found = paired_difference(first.tolist(), second.tolist())
    t = stats.ttest_rel(first, second).statistic
    n = len(first)
    assert found.effect_size == pytest.approx(t / math.sqrt(n) * (1 - 3 / (4 * n - 5)))


def test_pairing_finds_what_the_questions_spread_would_hide() -> None:
    rng = np.random.default_rng(13)
    questions = rng.normal(0, 10, 30)
    better = questions + 0.5 + rng.normal(0, 0.3, 30)
    assert paired_difference(better.tolist(), questions.tolist()).estimate.excludes(0)
    assert not bootstrap_mean(better.tolist()).excludes(0)


def test_the_same_against_itself_is_no_difference() -> None:
    values = SAMPLES["few"].tolist()
    found = paired_difference(values, values)
    assert (found.estimate.value, found.estimate.low, found.estimate.high) == (0, 0, 0)
    assert (found.effect_size, found.rank_biserial) == (None, 0)


def test_one_unit_says_nothing_about_chance() -> None:
    alone = bootstrap_mean([0.7])
    assert (alone.value, alone.low, alone.high, alone.n) == (0.7, -math.inf, math.inf, 1)
    assert not alone.excludes(-5)


def test_win_rates_that_are_all_the_same_keep_an_interval() -> None:
    always = win_rate([1.0] * 12)
    assert always.value == always.high == 1
    assert 0.7 < always.low < 0.8
    assert win_rate([0.0] * 12).high == pytest.approx(1 - always.low)
    draws = win_rate([0.5] * 12)
    assert draws.value == 0.5
    assert not draws.excludes(0.5)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = SAMPLES["skewed"].tolist()
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)
    assert bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)


def test_answers_to_one_question_are_one_unit() -> None:
    figures = [("a", 1.0), ("a", 2.0), ("b", None), ("c", 5.0), ("c", None)]
    assert by_unit(figures) == {"a": 1.5, "c": 5.0}


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_an_interval_is_finite_and_around_its_mean(values: list[float]) -> None:
    found = bootstrap_mean(values)
    assert math.isfinite(found.low)
    assert min(values) <= found.low <= found.high <= max(values)

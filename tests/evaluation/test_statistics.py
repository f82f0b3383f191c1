"""Intervals against SciPy and closed forms; what an interval is worth, by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from amulet_local.evaluation import statistics


def sample(n: int, seed: int, kind: str = "normal") -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    rng = np.random.default_rng(seed)
    return rng.normal(1.0, 2.0, n) if kind == "normal" else rng.exponential(1.5, n)


@pytest.mark.parametrize("kind", ["normal", "skewed"])
@pytest.mark.parametrize("n", [12, 48])
def test_the_mean_has_scipys_bca_interval(kind: str, n: int) -> None:
    values = sample(n, 5, kind)
    found = statistics.mean(values)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=40_000, method="BCa", random_state=1
    ).confidence_interval
    width = expected.high - expected.low
    assert found.value == pytest.approx(values.mean(), rel=1e-12)
    assert found.low == pytest.approx(expected.low, abs=0.05 * width)
    assert found.high == pytest.approx(expected.high, abs=0.05 * width)


def test_a_large_sample_has_the_normal_interval() -> None:
    values = sample(600, 7)
    found = statistics.mean(values)
    half = 1.959964 * values.std(ddof=1) / np.sqrt(600)
    assert found.high - found.value == pytest.approx(half, rel=0.08)
    assert found.value - found.low == pytest.approx(half, rel=0.08)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    covered = 0
    for seed in range(120):
        found = statistics.mean(sample(30, 1000 + seed))
        covered += found.low <= 1.0 <= found.high
    assert 0.85 <= covered / 120 <= 1.0


def test_pairing_takes_out_what_questions_have_in_common() -> None:
    rng = np.random.default_rng(3)
    difficulty, noise = rng.normal(0, 10, 40), rng.normal(0, 0.1, 40)
    found = statistics.difference(difficulty + 0.3 + noise, difficulty)
    assert found.excludes_zero
    assert found.high - found.low < 0.2


@pytest.mark.parametrize(("k", "n"), [(0, 12), (3, 12), (12, 12), (1, 384)])
def test_wilson_is_scipys(k: int, n: int) -> None:
    expected = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert statistics.wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_share_of_none_still_has_an_upper_end() -> None:
    found = statistics.mean(np.zeros(48), share_of=1.0)
    assert found.low == 0
    assert found.high == pytest.approx(stats.binomtest(0, 48).proportion_ci(method="wilson").high)


def test_equal_values_have_an_interval_of_no_width() -> None:
    found = statistics.mean(np.full(9, 0.25))
    assert (found.low, found.value, found.high) == (0.25, 0.25, 0.25)


def test_one_question_says_nothing_about_others() -> None:
    found = statistics.mean(np.array([3.0]))
    assert found.value == 3.0
    assert (found.low, found.high) == (-np.inf, np.inf)


def test_the_effect_size_is_the_mean_difference_in_standard_deviations() -> None:
    first, second = sample(40, 11), sample(40, 12)
    found = statistics.effect_size(first, second)
    assert found is not None
    t = stats.ttest_rel(first, second).statistic
    assert found.value == pytest.approx(t / np.sqrt(40), rel=1e-9)
    assert found.low < found.value < found.high


def test_no_spread_has_no_effect_size() -> None:
    assert statistics.effect_size(np.arange(5.0) + 1, np.arange(5.0)) is None


def test_wins_count_ties_half_and_leave_out_missing_pairs() -> None:
    first = np.array([[1.0, 2.0], [3.0, np.nan], [0.0, 0.0]])
    second = np.array([[0.0, 2.0], [1.0, 1.0], [1.0, 1.0]])
    assert statistics.win_rate(first, second).value == pytest.approx((0.75 + 1.0 + 0.0) / 3)


def test_answers_to_one_question_are_no_more_questions() -> None:
    rng = np.random.default_rng(9)
    by_question = rng.normal(0, 1, (20, 1))
    once = statistics.win_rate(by_question, np.zeros((20, 1)))
    often = statistics.win_rate(np.repeat(by_question, 8, axis=1), np.zeros((20, 8)))
    assert (often.low, often.high) == (once.low, once.high)


def test_the_same_values_give_the_same_interval() -> None:
    values = sample(25, 2)
    assert statistics.mean(values) == statistics.mean(values.copy())

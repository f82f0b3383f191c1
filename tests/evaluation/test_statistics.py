"""Intervals and effect sizes against SciPy, and against what they promise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amulet_local.evaluation.statistics import (
    Values,
    difference,
    effect_size,
    mean,
    ratio,
    row_means,
    wilson,
    win_rate,
)

stats: Any = pytest.importorskip("scipy.stats")

SAMPLES = {
    "normal": np.random.default_rng(1).normal(0.3, 1.0, 48),
    "skewed": np.random.default_rng(2).exponential(1.0, 30),
    "verdicts": np.random.default_rng(3).choice([0.0, 0.5, 1.0], 40),
    "few": np.array([0.1, 0.4, -0.2, 0.9, 0.3]),
}


def scipys(values: Values, statistic: object) -> tuple[float, float]:
    found = stats.bootstrap(
        (values,), statistic, method="BCa", n_resamples=20_000, rng=np.random.default_rng(5)
    ).confidence_interval
    return float(found.low), float(found.high)


@pytest.mark.parametrize("name", SAMPLES)
def test_intervals_of_means_are_scipys(name: str) -> None:
    values = SAMPLES[name]
    ours = mean(values)
    grid = {"verdicts": 0.5, "few": 0.1}.get(name, 0.0) / len(values)  # of resampled means
    near = 0.12 * values.std() / math.sqrt(len(values)) + 1.01 * grid
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx(scipys(values, np.mean), abs=near)


def test_the_interval_of_a_ratio_of_means_is_scipys() -> None:
    first, second = SAMPLES["skewed"] + 1, np.random.default_rng(4).exponential(1.0, 30) + 2
    ours = ratio(first, second)
    theirs = stats.bootstrap(
        (first, second),
        lambda x, y, axis: x.mean(axis=axis) / y.mean(axis=axis),
        paired=True,
        vectorized=True,
        method="BCa",
        n_resamples=20_000,
        rng=np.random.default_rng(5),
    ).confidence_interval
    assert ours.value == pytest.approx(first.mean() / second.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    found = [mean(rng.exponential(1.0, 40)) for _ in range(200)]
    hits = sum(item.low <= 1.0 <= item.high for item in found)
    assert 0.88 < hits / 200 < 0.99


@pytest.mark.parametrize(("k", "n"), [(0, 12), (1, 12), (6, 12), (12, 12), (3, 1000), (1, 1)])
def test_intervals_of_shares_are_scipys(k: int, n: int) -> None:
    theirs = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson(k, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize("name", ["normal", "skewed"])
def test_effect_sizes_and_their_intervals_are_scipys(name: str) -> None:
    values = SAMPLES[name]
    ours = effect_size(values, np.zeros_like(values))
    assert ours is not None
    t = stats.ttest_1samp(values, 0).statistic
    assert ours.value == pytest.approx(t / math.sqrt(len(values)))

    def d(x: Values, axis: int = -1) -> Values:
        return x.mean(axis=axis) / x.std(axis=axis, ddof=1)

    assert (ours.low, ours.high) == pytest.approx(scipys(values, d), abs=0.06)


def test_pairing_finds_what_the_questions_spread_would_hide() -> None:
    rng = np.random.default_rng(13)
    questions = rng.normal(0, 10, 30)
    better = questions + 0.5 + rng.normal(0, 0.3, 30)
    assert difference(better, questions).excludes_zero
    assert not mean(better).excludes_zero


def test_the_same_against_itself_is_no_difference() -> None:
    values = SAMPLES["few"]
    found = difference(values, values)
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert not found.excludes_zero
    assert effect_size(values, values) is None


def test_one_question_says_nothing_about_chance() -> None:
    alone = mean(np.array([0.7]))
    assert (alone.value, alone.low, alone.high) == (0.7, -math.inf, math.inf)


def test_win_rates_count_ties_half_and_leave_out_missing_pairs() -> None:
    first = np.array([[1.0, 2.0], [0.0, np.nan], [np.nan, np.nan], [5.0, 1.0]])
    second = np.array([[0.0, 2.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    found = win_rate(first, second)
    assert found.n == 3
    assert found.value == pytest.approx((0.75 + 0.0 + 0.75) / 3)


def test_win_rates_that_are_all_the_same_keep_an_interval() -> None:
    ones, zeros = np.ones((12, 1)), np.zeros((12, 1))
    always = win_rate(ones, zeros)
    assert always.value == always.high == 1
    assert 0.7 < always.low < 0.8
    assert win_rate(zeros, ones).high == pytest.approx(1 - always.low)


def test_rows_are_averaged_over_what_is_there() -> None:
    rows = np.array([[1.0, 3.0], [np.nan, 5.0], [np.nan, np.nan]])
    assert row_means(rows).tolist() == [2.0, 5.0]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
@example([0.0, 1e-126])
def test_an_interval_is_around_its_mean_whatever_the_figures(values: list[float]) -> None:
    found = mean(np.array(values))
    assert not math.isnan(found.low + found.high) or len(values) == 1
    slack = 1e-9 * max(map(abs, values))
    if len(values) > 1:
        assert min(values) - slack <= found.low <= found.high + slack
        assert found.high <= max(values) + slack


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=20))
def test_effect_sizes_are_numbers_or_none(pairs: list[tuple[float, float]]) -> None:
    first, second = np.array(pairs).T
    found = effect_size(first, second)
    assert found is None or not math.isnan(found.value + found.low + found.high)


def test_answers_to_one_question_are_no_more_questions() -> None:
    by_question = np.random.default_rng(9).normal(0, 1, (20, 1))
    once = win_rate(by_question, np.zeros((20, 1)))
    often = win_rate(np.repeat(by_question, 8, axis=1), np.zeros((20, 8)))
    assert (often.low, often.high) == (once.low, once.high)


def test_a_share_of_none_still_has_an_upper_end() -> None:
    found = mean(np.zeros(48), share_of=1.0)
    theirs = stats.binomtest(0, 48).proportion_ci(0.95, method="wilson")
    assert (found.value, found.low, found.high) == (0, 0, pytest.approx(theirs.high))


def test_the_same_values_give_the_same_interval() -> None:
    assert mean(SAMPLES["normal"]) == mean(SAMPLES["normal"].copy())

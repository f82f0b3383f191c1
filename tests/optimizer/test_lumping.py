"""Candidates stand for the whole vocabulary, whatever combination of the rows is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from amulet_local import errors
from amulet_local.optimizer.lumping import LumpedRows, log_probabilities, lump

NONE = np.array([], dtype=np.int64)


def log_sums(rows: np.ndarray, lumped: LumpedRows, weights: np.ndarray) -> tuple[float, float]:
    """Log of the sum of exp z over the vocabulary, and over the candidates."""
    exact = rows[0] + weights @ (rows[1:] - rows[0])
    near = lumped.base + lumped.differences @ weights
    return float(np.log(np.exp(exact).sum())), float(np.log(np.exp(near).sum()))


@pytest.fixture(scope="module")
def prepared(real_rows: np.ndarray) -> np.ndarray:
    """Log-probabilities along a real answer, float32, shape (24, 3, V)."""
    return np.stack([log_probabilities(rows.copy(), NONE) for rows in real_rows])


@pytest.mark.parametrize("weights", [[0, 0], [1, 0], [2.5, -1.5], [-3, 0.5], [4, -4], [5.65, 0]])
def test_error_of_the_tail_is_bounded_on_real_rows(
    prepared: np.ndarray, weights: list[float]
) -> None:
    gaps = []
    for position, rows in enumerate(prepared):
        lumped = lump(rows, 7, n_top=256, n_tail=128, phase=(position * 0.618) % 1)
        exact, near = log_sums(rows, lumped, np.array(weights))
        gaps.append(near - exact)
    assert np.abs(gaps).mean() < 0.02


def test_more_draws_make_the_error_smaller(prepared: np.ndarray) -> None:
    weights = np.array([2.5, -1.5])

    def error(n_tail: int) -> float:
        gaps = []
        for rows in prepared:
            for phase in (0.1, 0.5, 0.9):
                lumped = lump(rows, 7, n_top=16, n_tail=n_tail, phase=phase)
                exact, near = log_sums(rows, lumped, weights)
                gaps.append(near - exact)
        return float(np.abs(gaps).mean())

    assert error(512) < error(8) / 2


def test_the_mean_over_all_phases_is_the_sum_over_the_tail() -> None:
    generator = np.random.default_rng(1)
    rows = log_probabilities(generator.normal(0, 2, (3, 400)).astype(np.float32), NONE)
    weights = np.array([1.5, -2.0])
    sums = []
    for phase in (np.arange(2000) + 0.5) / 2000:
        lumped = lump(rows, 3, n_top=20, n_tail=8, phase=phase)
        sums.append(np.exp(lumped.base + lumped.differences @ weights).sum())
    exact = np.exp(rows[0] + weights @ (rows[1:] - rows[0])).sum()
    assert np.mean(sums) == pytest.approx(exact, rel=0.01)


def test_with_every_token_kept_nothing_is_lost() -> None:
    generator = np.random.default_rng(2)
    rows = log_probabilities(generator.normal(0, 2, (3, 50)).astype(np.float32), NONE)
    for n_top in (50, 80):
        lumped = lump(rows, 3, n_top=n_top, n_tail=4, phase=0.3)
        exact, near = log_sums(rows, lumped, np.array([2.0, -1.0]))
        assert near == pytest.approx(exact, abs=1e-5)


@pytest.mark.parametrize("rank", [0, 5, 30, 49])
def test_the_chosen_token_stands_for_itself(rank: int) -> None:
    generator = np.random.default_rng(3)
    rows = log_probabilities(generator.normal(0, 2, (3, 50)).astype(np.float32), NONE)
    chosen = int(np.argsort(-np.exp(rows).mean(axis=0))[rank])
    lumped = lump(rows, chosen, n_top=10, n_tail=6, phase=0.7)
    assert lumped.base[lumped.place] == rows[0, chosen]
    np.testing.assert_array_equal(
        lumped.differences[lumped.place], rows[1:, chosen] - rows[0, chosen]
    )


def test_excluded_tokens_are_no_candidates_and_the_rest_sums_to_one() -> None:
    generator = np.random.default_rng(4)
    logits = generator.normal(0, 2, (3, 50)).astype(np.float32)
    logits[:, 9] = 30  # nearly all of the probability
    rows = log_probabilities(logits, np.array([9, 11]))
    np.testing.assert_allclose(np.exp(rows).sum(axis=1), 1, rtol=1e-5)
    lumped = lump(rows, 3, n_top=50, n_tail=4, phase=0.3)
    assert np.exp(lumped.base).sum() == pytest.approx(1, rel=1e-5)
    assert np.isfinite(lumped.differences).all()


def test_a_token_that_one_row_rules_out_stays_finite() -> None:
    logits = np.zeros((2, 6), dtype=np.float32)
    logits[1, 2] = -np.inf
    rows = log_probabilities(logits, NONE)
    lumped = lump(rows, 2, n_top=3, n_tail=2, phase=0.3)
    assert np.isfinite(lumped.differences).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_refused(bad: float) -> None:
    logits = np.zeros((2, 6), dtype=np.float32)
    logits[1, 2] = bad
    with pytest.raises(errors.LogitsError):
        log_probabilities(logits, NONE)


def test_rows_without_a_token_are_refused() -> None:
    with pytest.raises(errors.LogitsError):
        log_probabilities(np.full((2, 6), -np.inf, dtype=np.float32), NONE)

"""The posterior is where an independent optimiser finds it, and says what picks would tell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from amulet_local.profile.posterior import (
    RANDOM,
    Floats,
    Posterior,
    information,
    log_evidence,
    posterior,
)

K = 8


def picks(seed: int, n: int, scale: float = 1.0) -> tuple[Floats, Floats, Floats, Floats]:
    """Differences, counts, prior mean and prior precision."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(K, K))
    precision = root @ root.T / K + np.eye(K)
    return scale * rng.normal(size=(n, K)), rng.uniform(size=n), rng.normal(size=K), precision


def negative_log(w: Floats, x: Floats, counts: Floats, mean: Floats, precision: Floats) -> float:
    """Written out from the model's definition, pick by pick."""
    total = 0.5 * (w - mean) @ precision @ (w - mean)
    for row, count in zip(x, counts, strict=True):
        total -= count * np.log(RANDOM / 2 + (1 - RANDOM) / (1 + np.exp(-(row @ w))))
    return float(total)


@pytest.mark.parametrize(("seed", "n", "scale"), [(0, 1, 1.0), (1, 20, 1.0), (2, 60, 3.0)])
def test_mode_and_covariance_are_those_of_a_numerical_optimum(
    seed: int, n: int, scale: float
) -> None:
    x, counts, mean, precision = picks(seed, n, scale)
    found = posterior(x, counts, mean=mean, precision=precision)
    best = minimize(
        negative_log,
        found.mean + 0.1,
        args=(x, counts, mean, precision),
        method="BFGS",
        options={"gtol": 1e-9},
    )
    np.testing.assert_allclose(found.mean, best.x, atol=1e-5)

    # the expected Hessian: that of what either outcome of each pick would have made of it
    expected = np.zeros((K, K))
    for row, count in zip(x, counts, strict=True):
        chance = np.exp(-negative_log(found.mean, row[None], np.ones(1), found.mean, precision))
        for side, share in ((row, chance), (-row, 1 - chance)):
            expected += (
                share
                * count
                * numerical_hessian(
                    found.mean, side[None], np.ones(1), found.mean, np.zeros((K, K))
                )
            )
    np.testing.assert_allclose(
        np.linalg.inv(found.covariance), expected + precision, rtol=1e-3, atol=1e-3
    )


def numerical_hessian(w: Floats, *others: Floats) -> Floats:
    """Of `negative_log`, by central differences."""
    step = 1e-4
    shifts = step * np.eye(K)
    return np.array(
        [
            [
                (
                    negative_log(w + a + b, *others)
                    - negative_log(w + a - b, *others)
                    - negative_log(w - a + b, *others)
                    + negative_log(w - a - b, *others)
                )
                / (4 * step**2)
                for b in shifts
            ]
            for a in shifts
        ]
    )


def test_picks_that_agree_for_ever_have_a_mode_still() -> None:
    """Newton's full step from zero overshoots here."""
    x = np.full((400, K), 50.0)
    found = posterior(x, np.ones(400), mean=np.zeros(K), precision=np.eye(K))
    assert np.isfinite(found.mean).all()
    assert (found.mean > 0).all()


def test_without_picks_it_is_the_prior() -> None:
    _, _, mean, precision = picks(3, 1)
    found = posterior(np.zeros((0, K)), np.zeros(0), mean=mean, precision=precision)
    np.testing.assert_allclose(found.mean, mean)
    np.testing.assert_allclose(found.covariance @ precision, np.eye(K), atol=1e-9)


def test_what_counts_twice_is_there_twice_and_what_counts_nothing_isnt() -> None:
    x, _, mean, precision = picks(4, 6)
    twice = posterior(x, np.array([2.0, 1, 1, 0, 1, 1]), mean=mean, precision=precision)
    again = posterior(
        np.delete(np.vstack([x, x[:1]]), 3, axis=0), np.ones(6), mean=mean, precision=precision
    )
    np.testing.assert_allclose(twice.mean, again.mean, atol=1e-8)
    np.testing.assert_allclose(twice.covariance, again.covariance, atol=1e-8)


def test_information_is_that_of_many_draws() -> None:
    x, counts, mean, precision = picks(6, 10)
    found = posterior(x, counts, mean=mean, precision=precision)
    difference = x[0] * 2

    def entropy(p: Floats) -> Floats:
        return -p * np.log(p) - (1 - p) * np.log1p(-p)

    draws = np.random.default_rng(7).multivariate_normal(found.mean, found.covariance, 200_000)
    chances = RANDOM / 2 + (1 - RANDOM) / (1 + np.exp(-draws @ difference))
    expected = float(entropy(chances.mean()) - entropy(chances).mean())
    assert information(found, difference) == pytest.approx(expected, abs=0.002)


def test_two_equal_answers_and_a_known_taste_tell_nothing() -> None:
    known = Posterior(mean=np.ones(K), covariance=np.eye(K) * 1e-12)
    assert information(known, np.ones(K)) == pytest.approx(0.0, abs=1e-9)
    open_ = Posterior(mean=np.zeros(K), covariance=np.eye(K))
    assert information(open_, np.zeros(K)) == pytest.approx(0.0, abs=1e-12)
    assert 0.1 < information(open_, np.ones(K)) < np.log(2)


def test_the_evidence_is_near_that_of_sampling_from_the_prior() -> None:
    x, _, _, _ = picks(8, 5, 0.5)
    prior = {"mean": np.zeros(K), "precision": np.eye(K)}
    found = posterior(x, np.ones(5), **prior)
    draws = multivariate_normal(np.zeros(K), np.eye(K), seed=9).rvs(200_000)
    likelihoods = np.prod(RANDOM / 2 + (1 - RANDOM) / (1 + np.exp(-draws @ x.T)), axis=1)
    sampled = float(np.log(likelihoods.mean()))
    assert log_evidence(found, x, np.ones(5), **prior) == pytest.approx(sampled, abs=0.15)


def test_thompsons_draws_have_the_posteriors_moments() -> None:
    x, counts, mean, precision = picks(10, 10)
    found = posterior(x, counts, mean=mean, precision=precision)
    generator = np.random.default_rng(11)
    draws = np.array([found.draw(generator) for _ in range(4000)])
    np.testing.assert_allclose(draws.mean(axis=0), found.mean, atol=0.08)
    np.testing.assert_allclose(np.cov(draws.T), found.covariance, atol=0.12)

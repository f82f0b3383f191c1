"""What picks between two answers say about the weights that a user gives to preferences.

Knows nothing about where picks come from, and is arithmetic on arrays alone. With x the difference
between the answer that was picked and the other one, a pick is logistic in the weights, but for a
share of picks that are made at random, so that a slip is no reason to give up what many say
(Wichmann and Hill, The psychometric function, 2001):

    P(picked) = r / 2 + (1 - r) s        s = sigmoid(x . w)        w ~ N(m0, P0^-1) before any pick

Newton's method finds a maximum of the log-posterior in a few steps, with the expected information
in the place of minus the Hessian where that isn't positive definite. Laplace's approximation is the
normal distribution at the maximum, with the inverse of the expected information:

    gradient = sum_i c_i d_i / P_i x_i - P0 (w - m0)        d = dP/d(x . w) = (1 - r) s (1 - s)
    -Hessian = sum_i c_i ((d_i / P_i)^2 - d_i (1 - 2 s_i) / P_i) x_i x_i^T + P0
    information = sum_i c_i d_i^2 / (P_i (1 - P_i)) x_i x_i^T + P0

c_i is how much a pick counts: less and less with what came after it, so that a taste that changed
is followed (taste.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RANDOM = 0.2
"""r above: of a fifth of the picks half are wrong."""

MAX_STEPS = 50
TOLERANCE_NATS = 1e-9
_SUFFICIENT = 1e-4
"""Share of the promised gain that a step has to bring (Armijo's rule)."""
_NODES, _SHARES = np.polynomial.hermite_e.hermegauss(24)
_SHARES = _SHARES / _SHARES.sum()
"""Of an expectation under the standard normal distribution."""


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """A normal distribution of the weights.

    Attributes:
        mean: shape (K,).
        covariance: shape (K, K).
    """

    mean: Floats
    covariance: Floats

    @property
    def deviations(self) -> Floats:
        """Standard deviation of each weight."""
        return np.sqrt(np.diag(self.covariance))

    def draw(self, generator: np.random.Generator) -> Floats:
        """Weights that may be the user's: one of Thompson's samples."""
        return generator.multivariate_normal(self.mean, self.covariance, method="cholesky")


def posterior(
    differences: Floats,
    counts: Floats,
    *,
    mean: Floats,
    precision: Floats,
    start: Floats | None = None,
    tolerance_nats: float = TOLERANCE_NATS,
) -> Posterior:
    """The distribution of the weights after some picks.

    Args:
        differences: x of each pick, shape (N, K).
        counts: c of each pick, at least 0, shape (N,).
        mean, precision: m0, shape (K,), and P0, shape (K, K), of the prior.
        start: weights to begin with; the prior's mean if None.
        tolerance_nats: the search ends where a Newton step promises less than this.
    """
    weights = np.array(mean if start is None else start, dtype=np.float64)
    value = _objective(differences, counts, weights, mean, precision)
    for _ in range(MAX_STEPS):
        gradient, curvature = _derivatives(differences, counts, weights, mean, precision)
        try:
            np.linalg.cholesky(curvature)
        except np.linalg.LinAlgError:
            curvature = _information(differences, counts, weights, precision)
        step = np.linalg.solve(curvature, gradient)
        promised = float(gradient @ step)
        if promised < tolerance_nats:
            break
        size = 1.0
        while True:
            tried = weights + size * step
            reached = _objective(differences, counts, tried, mean, precision)
            if reached >= value + _SUFFICIENT * size * promised or size < 1e-6:
                break
            size /= 2
        weights, value = tried, reached
    covariance = np.linalg.inv(_information(differences, counts, weights, precision))
    return Posterior(mean=weights, covariance=(covariance + covariance.T) / 2)


def log_evidence(
    found: Posterior, differences: Floats, counts: Floats, *, mean: Floats, precision: Floats
) -> float:
    """The log-probability of the picks under all weights that the prior allows, by Laplace.

    Args:
        found: what `posterior` makes of the others.
    """
    at_best = _objective(differences, counts, found.mean, mean, precision)
    _, narrowing = np.linalg.slogdet(found.covariance @ precision)
    return float(at_best + narrowing / 2)


def information(posterior: Posterior, difference: Floats) -> float:
    """Nats that a pick between two answers with this difference would tell about the weights.

    It is the entropy of the pick less the entropy that would be left if the weights were known
    (Houlsby et al., Bayesian Active Learning for Classification and Preference Learning, 2011).
    """
    centre = float(difference @ posterior.mean)
    spread = max(float(difference @ posterior.covariance @ difference), 0.0) ** 0.5
    chances = _chances(centre + spread * _NODES)
    return float(_entropy(_SHARES @ chances) - _SHARES @ _entropy(chances))


def _objective(
    differences: Floats, counts: Floats, weights: Floats, mean: Floats, precision: Floats
) -> float:
    away = weights - mean
    return float(counts @ np.log(_chances(differences @ weights)) - away @ precision @ away / 2)


def _derivatives(
    differences: Floats, counts: Floats, weights: Floats, mean: Floats, precision: Floats
) -> tuple[Floats, Floats]:
    """The gradient, shape (K,), and minus the Hessian, shape (K, K)."""
    sure = _sigmoid(differences @ weights)
    ratios = (1 - RANDOM) * sure * (1 - sure) / (RANDOM / 2 + (1 - RANDOM) * sure)
    gradient = (counts * ratios) @ differences - precision @ (weights - mean)
    bends = counts * ratios * (ratios - (1 - 2 * sure))
    return gradient, (differences * bends[:, None]).T @ differences + precision


def _information(differences: Floats, counts: Floats, weights: Floats, precision: Floats) -> Floats:
    """The expected information, positive definite, shape (K, K)."""
    sure = _sigmoid(differences @ weights)
    chances = RANDOM / 2 + (1 - RANDOM) * sure
    slopes = (1 - RANDOM) * sure * (1 - sure)
    expected = counts * slopes**2 / (chances * (1 - chances))
    return np.asarray((differences * expected[:, None]).T @ differences + precision)


def _chances(values: Floats) -> Floats:
    """Of a pick, by x . w."""
    return np.asarray(RANDOM / 2 + (1 - RANDOM) * _sigmoid(values))


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(values / 2)))


def _entropy(chances: Floats) -> Floats:
    return np.asarray(-(chances * np.log(chances) + (1 - chances) * np.log(1 - chances)))

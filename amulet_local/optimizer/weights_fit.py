"""Fits the weights of a combination of rows to tokens that were chosen, by maximum likelihood.

Knows nothing about models, prompts or files: it sees, for each chosen token, the log-probabilities
of some candidates under a plain row and their differences under K others.

With l0 the plain log-probabilities, d_k = l_k - l0 and weights c, the combination is

    z = l0 + sum_k c_k d_k        pi_c = softmax(z)

and the log-likelihood of chosen tokens y_t is that of an exponential family with the natural
parameters c (Brown, Fundamentals of Statistical Exponential Families, 1986):

    L(c) = sum_t ( z_t(y_t) - log sum_v exp z_t(v) )
    gradient L = sum_t ( d_t(y_t) - E_t[d] )        -Hessian L = sum_t Cov_t[d]

with mean and covariance under pi_c. A sum of covariances has no negative eigenvalue: L is concave.
A ridge r adds -r/2 |c|^2, the logarithm of a normal prior with standard deviation 1/sqrt(r).
Newton's method with backtracking finds the maximum; standard errors are the square roots of the
diagonal of the inverse of the negative Hessian, the prior's r included.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amulet_local.common.errors import InvalidParameterError

Floats = NDArray[np.float64]

MAX_ITERATIONS = 60
MAX_WEIGHT = 1000.0
"""A weight beyond this has no maximum to come to."""

_TOLERANCE_NATS = 1e-9
"""The search ends where a Newton step promises less than this, in log-likelihood."""
_SUFFICIENT = 1e-4
"""Share of the promised gain that a step has to bring (Armijo's rule)."""
_SINGULAR = 1e-9
"""Directions with less than this share of the largest information count as having none."""
_CHUNK = 128


@dataclass(frozen=True, kw_only=True)
class Choices:
    """T chosen tokens and the candidates that each was chosen from.

    Attributes:
        base: l0 of each candidate, plus the logarithm of the number of tokens that it stands for;
            float32, shape (T, J). -inf where there is no candidate.
        differences: d of each candidate; float32, shape (T, J, K), finite. For tokens that the
            mirrored combination l0 - sum_k c_k d_k should explain: -d.
        chosen: which candidate was chosen, one that stands for itself alone; int32, shape (T,).
    """

    base: NDArray[np.float32]
    differences: NDArray[np.float32]
    chosen: NDArray[np.int32]

    @property
    def n_tokens(self) -> int:
        """T."""
        return len(self.chosen)

    @property
    def n_weights(self) -> int:
        """K."""
        return int(self.differences.shape[2])

    def of(self, weights: Sequence[int]) -> Choices:
        """The same with some of the K differences only."""
        return Choices(
            base=self.base, differences=self.differences[:, :, list(weights)], chosen=self.chosen
        )

    def at(self, tokens: NDArray[np.bool_]) -> Choices:
        """Some of the chosen tokens: a mask of shape (T,)."""
        return Choices(
            base=self.base[tokens],
            differences=self.differences[tokens],
            chosen=self.chosen[tokens],
        )


@dataclass(frozen=True, kw_only=True)
class WeightsFit:
    """Where the likelihood, or with a ridge the posterior, has its maximum.

    Attributes:
        weights: c, float64, shape (K,).
        standard_errors: of each; infinite where the tokens say nothing about it. Shape (K,).
        covariance: of the weights, without the directions that the tokens say nothing about;
            shape (K, K).
        log_likelihood: L there, in nats, all tokens together, without the prior.
        n_iterations: Newton steps.
    """

    weights: Floats
    standard_errors: Floats
    covariance: Floats
    log_likelihood: float
    n_iterations: int


def log_likelihood(choices: Choices, weights: Floats) -> float:
    """L(c), in nats."""
    total = 0.0
    for start in range(0, choices.n_tokens, _CHUNK):
        chunk = _chunk(choices, start)
        scores = chunk.base + chunk.differences @ weights
        total += float((_at(scores, chunk.chosen) - _log_sum(scores)).sum())
    return total


def derivatives(choices: Choices, weights: Floats) -> tuple[float, Floats, Floats]:
    """L(c) in nats, its gradient, shape (K,), and minus its Hessian, shape (K, K)."""
    k = choices.n_weights
    total, gradient, information = 0.0, np.zeros(k), np.zeros((k, k))
    for start in range(0, choices.n_tokens, _CHUNK):
        chunk = _chunk(choices, start)
        d = chunk.differences
        scores = chunk.base + d @ weights
        log_z = _log_sum(scores)
        total += float((_at(scores, chunk.chosen) - log_z).sum())
        p = np.exp(scores - log_z[:, None])
        mean = np.matmul(p[:, None, :], d)[:, 0, :]
        centred = d - mean[:, None, :]
        gradient += (d[np.arange(len(mean)), chunk.chosen] - mean).sum(axis=0)
        information += (p[:, :, None] * centred).reshape(-1, k).T @ centred.reshape(-1, k)
    return total, gradient, information


def fit(choices: Choices, *, ridge: float) -> WeightsFit:
    """The weights that make the chosen tokens likeliest.

    Where some direction of the weights changes nothing (two equal rows) and `ridge` is 0, the
    result is the maximum without a part in that direction.

    Args:
        choices: at least one token, at least one weight.
        ridge: r above, >= 0; 0 is no prior.

    Raises:
        InvalidParameterError: there is no maximum: the likelihood grows with the weights for ever.
    """
    weights = np.zeros(choices.n_weights)
    for n_iterations in range(1, MAX_ITERATIONS + 1):
        value, gradient, information = derivatives(choices, weights)
        value -= 0.5 * ridge * float(weights @ weights)
        gradient -= ridge * weights
        covariance, unknown = _inverse(information + ridge * np.eye(len(weights)))
        step = covariance @ gradient
        promised = float(gradient @ step)
        if promised < 2 * _TOLERANCE_NATS:
            return WeightsFit(
                weights=weights,
                standard_errors=np.where(unknown, math.inf, np.sqrt(np.diag(covariance))),
                covariance=covariance,
                log_likelihood=value + 0.5 * ridge * float(weights @ weights),
                n_iterations=n_iterations,
            )
        weights = _better(choices, weights, step, value, promised, ridge)
        if not np.abs(weights).max() <= MAX_WEIGHT:
            break
    raise InvalidParameterError(
        "no weights fit best: the likelihood of these texts grows with the weights for ever, as "
        "it does with too little text; use more text or a ridge above 0 (--ridge 1)"
    )


def _better(
    choices: Choices, weights: Floats, step: Floats, value: float, promised: float, ridge: float
) -> Floats:
    """The weights after the longest of the steps 1, 1/2, 1/4, ... that gains enough."""
    share = 1.0
    while share > 1e-12:
        new = weights + share * step
        gained = log_likelihood(choices, new) - 0.5 * ridge * float(new @ new) - value
        if gained >= _SUFFICIENT * share * promised:
            return new
        share /= 2
    return weights + step  # rounding hides the gain: at the maximum, as near as can be


def _inverse(information: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Inverse where there is information, and which weights a direction without any belongs to."""
    values, vectors = np.linalg.eigh(information)
    known = values > max(_SINGULAR * values[-1], 1e-300)
    inverse = (vectors[:, known] / values[known]) @ vectors[:, known].T
    return inverse, (np.abs(vectors[:, ~known]) > 1e-6).any(axis=1)


@dataclass(frozen=True)
class _Positions:
    base: Floats
    differences: Floats
    chosen: NDArray[np.int32]


def _chunk(choices: Choices, start: int) -> _Positions:
    part = slice(start, start + _CHUNK)
    return _Positions(
        choices.base[part].astype(np.float64),
        choices.differences[part].astype(np.float64),
        choices.chosen[part],
    )


def _at(scores: Floats, chosen: NDArray[np.int32]) -> Floats:
    result: Floats = scores[np.arange(len(scores)), chosen]
    return result


def _log_sum(scores: Floats) -> Floats:
    peak = scores.max(axis=1)
    result: Floats = peak + np.log(np.exp(scores - peak[:, None]).sum(axis=1))
    return result

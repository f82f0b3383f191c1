"""Means with intervals, paired differences, win rates and effect sizes, from values per question.

Knows nothing about answers. The questions are what was sampled, so they are what is drawn again:
answers to one question under several preferences are averaged first and never counted as
independent. Draws have a fixed seed: the same values give the same intervals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

N_DRAWS = 4000
LEVEL = 0.95
_SEED = 20250

_NORMAL = NormalDist()


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its interval.

    Attributes:
        value: the estimate.
        low, high: the ends of the interval at LEVEL.
        n: questions that it rests on.
    """

    value: float
    low: float
    high: float
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


@lru_cache(maxsize=16)
def _draws(n: int) -> NDArray[np.int32]:
    """Indices of every resample, shape (N_DRAWS, n): the same for all figures of n questions."""
    return np.random.default_rng(_SEED).integers(0, n, size=(N_DRAWS, n), dtype=np.int32)


def mean(values: Values, *, share_of: float | None = None) -> Estimate:
    """The mean with its BCa bootstrap interval (Efron 1987).

    Args:
        values: one per question, shape (n,), n >= 1, finite.
        share_of: where the values are shares of a count per question: 1.0. A share that is the
            same everywhere, 0 for instance, gets Wilson's interval with n = questions: drawing
            again can't show what wasn't seen.
    """
    n = len(values)
    centre = float(values.mean())
    if n == 1 or float(values.min()) == float(values.max()):
        low = high = centre
        if share_of is not None and centre in (0.0, share_of):
            low, high = wilson(centre * n, n)
        elif n == 1:
            low, high = -math.inf, math.inf
        return Estimate(value=centre, low=low, high=high, n=n)
    drawn = values[_draws(n)].mean(axis=1)
    left_out = (values.sum() - values) / (n - 1)
    low, high = _bca(drawn, centre, left_out)
    return Estimate(value=centre, low=low, high=high, n=n)


def difference(first: Values, second: Values) -> Estimate:
    """Mean of first - second, question by question, with its interval.

    Args:
        first, second: values of the same questions in the same order, shape (n,).
    """
    return mean(first - second)


def ratio(first: Values, second: Values) -> Estimate:
    """Mean of `first` over mean of `second`, with its interval over the questions.

    Args:
        first, second: values of the same questions in the same order, shape (n,); no resample of
            `second` may have a mean of 0, as it can't where all are positive.
    """
    n = len(first)
    centre = float(first.mean() / second.mean())
    if n == 1:
        return Estimate(value=centre, low=-math.inf, high=math.inf, n=n)
    drawn = first[_draws(n)].mean(axis=1) / second[_draws(n)].mean(axis=1)
    left_out = (first.sum() - first) / (second.sum() - second)
    low, high = _bca(drawn, centre, left_out)
    return Estimate(value=centre, low=low, high=high, n=n)


def effect_size(first: Values, second: Values) -> Estimate | None:
    """Cohen's d of paired values: mean difference over the differences' standard deviation.

    None where there are fewer than three questions or all differences are the same.
    """
    values = first - second
    n = len(values)
    spread = float(values.std(ddof=1)) if n > 2 else 0.0
    if spread <= 1e-12 * max(1.0, float(np.abs(values).max(initial=0.0))):
        return None
    drawn = values[_draws(n)]
    spreads = drawn.std(axis=1, ddof=1)
    kept = spreads > 1e-12
    sizes = drawn.mean(axis=1)[kept] / spreads[kept]
    left_out = np.array([_d(np.delete(values, i)) for i in range(n)])
    centre = float(values.mean()) / spread
    if not np.isfinite(left_out).all():
        low, high = np.quantile(sizes, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    else:
        low, high = _bca(sizes, centre, left_out)
    return Estimate(value=centre, low=float(low), high=float(high), n=n)


def win_rate(first: Values, second: Values) -> Estimate:
    """Share of the pairs in which `first` is higher, ties half, with its interval.

    Args:
        first, second: values of the same answers, shape (n_questions, n_preferences); NaN where
            there is no pair.
    """
    wins = np.where(first > second, 1.0, np.where(first == second, 0.5, 0.0))
    wins = np.where(np.isnan(first) | np.isnan(second), np.nan, wins)
    return mean(row_means(wins), share_of=1.0)


def row_means(values: Values) -> Values:
    """Mean of each row over what isn't NaN; rows of nothing but NaN are left out."""
    there = ~np.isnan(values)
    kept = there.any(axis=1)
    sums = np.where(there, values, 0.0).sum(axis=1)[kept]
    means: Values = sums / there.sum(axis=1)[kept]
    return means


def wilson(n_events: float, n: int) -> tuple[float, float]:
    """Wilson's score interval for a share, at LEVEL (Wilson 1927).

    Args:
        n_events: of n.
    """
    z = _NORMAL.inv_cdf((1 + LEVEL) / 2)
    share = n_events / n
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def _d(values: Values) -> float:
    spread = float(values.std(ddof=1))
    return float(values.mean()) / spread if spread > 1e-12 else math.inf


def _bca(drawn: Values, centre: float, left_out: Values) -> tuple[float, float]:
    """Bias-corrected and accelerated percentiles.

    Args:
        drawn: the statistic on every resample.
        centre: on the values themselves.
        left_out: on the values without each one of them in turn.
    """
    below = (float((drawn < centre).sum()) + 0.5 * float((drawn == centre).sum())) / len(drawn)
    below = min(max(below, 0.5 / len(drawn)), 1 - 0.5 / len(drawn))
    bias = _NORMAL.inv_cdf(below)
    apart = left_out.mean() - left_out
    furthest = float(np.abs(apart).max())
    acceleration = 0.0
    if furthest > 0:
        apart = apart / furthest  # squares and cubes of tiny differences would be zeros
        acceleration = float((apart**3).sum()) / (6 * float((apart**2).sum()) ** 1.5)
    ends = []
    for share in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
        z = bias + _NORMAL.inv_cdf(share)
        ends.append(_NORMAL.cdf(bias + z / (1 - acceleration * z)))
    low, high = np.quantile(drawn, ends)
    return float(low), float(high)

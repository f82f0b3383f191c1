"""Means with intervals: what differences between answers are more than chance.

The unit is a question: answers to the same one aren't independent, so they are averaged first, and
methods are compared question by question. Knows nothing about what the figures measure.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

import numpy as np
from numpy.typing import NDArray

N_RESAMPLES = 10_000
_CHUNK = 1 << 22
"""Numbers that are resampled at once, 32 MB."""

_NORMAL = NormalDist()


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over units, and what it may be.

    Attributes:
        value: the mean.
        low, high: ends of its confidence interval; infinite where there are too few units to say.
        n: units.
    """

    value: float
    low: float
    high: float
    n: int

    def excludes(self, value: float) -> bool:
        """Whether the interval has no room for a value, 0 for a difference."""
        return not self.low <= value <= self.high


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A first method less a second one, over the same units.

    Attributes:
        estimate: of the mean difference.
        effect_size: mean difference in standard deviations of the differences, corrected for few
            units (Hedges' g of paired values); None with fewer than 2 units, or if all differences
            are equal.
        rank_biserial: share of the ranks of the differences that speak for the first, less that
            for the second, -1 to 1 (Kerby 2014); 0 where nothing differs.
    """

    estimate: Estimate
    effect_size: float | None
    rank_biserial: float


def by_unit(figures: Iterable[tuple[Hashable, float | None]]) -> dict[Hashable, float]:
    """The mean of each unit's figures; units without any are left out.

    Args:
        figures: units, e.g. questions, with a figure of one of their answers each.
    """
    found: dict[Hashable, list[float]] = {}
    for unit, figure in figures:
        if figure is not None:
            found.setdefault(unit, []).append(figure)
    return {unit: fmean(values) for unit, values in found.items()}


def bootstrap_mean(values: Sequence[float], *, confidence: float = 0.95, seed: int = 0) -> Estimate:
    """A mean with its bias-corrected and accelerated bootstrap interval (BCa; Efron 1987).

    Args:
        values: one a unit, at least one, finite.
        confidence: of the interval, between 0 and 1.
        seed: of the resampling; the same gives the same interval.
    """
    array = np.asarray(values, dtype=np.float64)
    n, mean = len(array), math.fsum(values) / len(array)
    if n < 2:
        return Estimate(value=mean, low=-math.inf, high=math.inf, n=n)
    if np.ptp(array) == 0:
        mean = float(array[0])  # a sum of equal figures may round
        return Estimate(value=mean, low=mean, high=mean, n=n)
    means = _resampled_means(array, seed)
    below = float(np.mean(means < mean) + np.mean(means <= mean)) / 2
    below = min(max(below, 1 / len(means)), 1 - 1 / len(means))
    bias = _NORMAL.inv_cdf(below)
    jackknife = (mean * n - array) / (n - 1)
    off = jackknife.mean() - jackknife
    off = off / (np.abs(off).max() or 1.0)  # tiny figures would vanish in their cubes
    squares = float((off**2).sum())
    acceleration = float((off**3).sum()) / (6 * squares**1.5) if squares else 0.0
    ends = []
    for share in ((1 - confidence) / 2, (1 + confidence) / 2):
        z = bias + _NORMAL.inv_cdf(share)
        ends.append(_NORMAL.cdf(bias + z / (1 - acceleration * z)))
    low, high = np.clip(np.quantile(means, ends), array.min(), array.max())
    return Estimate(value=mean, low=float(low), high=float(high), n=n)


def paired_difference(
    first: Sequence[float],
    second: Sequence[float],
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """How much higher a first method's figures are than a second one's.

    Args:
        first, second: one a unit, in the same order, at least one, finite.
        confidence, seed: as for `bootstrap_mean`.
    """
    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    estimate = bootstrap_mean(differences.tolist(), confidence=confidence, seed=seed)
    return Difference(
        estimate=estimate,
        effect_size=_effect_size(differences),
        rank_biserial=_rank_biserial(differences),
    )


def proportion(n_successes: int, n: int, *, confidence: float = 0.95) -> Estimate:
    """A share of independent cases with Wilson's interval (1927), e.g. of broken answers.

    Args:
        n_successes: 0 to n.
        n: cases, at least one.
    """
    share, z = n_successes / n, _NORMAL.inv_cdf((1 + confidence) / 2)
    scale = 1 + z**2 / n
    middle = (share + z**2 / (2 * n)) / scale
    reach = z / scale * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low = 0.0 if n_successes == 0 else middle - reach
    high = 1.0 if n_successes == n else middle + reach
    return Estimate(value=share, low=low, high=high, n=n)


def win_rate(chances: Sequence[float], *, confidence: float = 0.95, seed: int = 0) -> Estimate:
    """How often a method wins, a tie counting half; 0.5 is a draw.

    Args:
        chances: one a unit: the probability that it wins, or 1, 0.5 and 0 for a verdict.
        confidence, seed: as for `bootstrap_mean`.

    Returns:
        With Wilson's interval where every verdict is the same, since no resampling of those
        could say how sure that is.
    """
    if min(chances) == max(chances) and chances[0] in (0.0, 1.0):
        wins = proportion(int(sum(chances)), len(chances), confidence=confidence)
        return Estimate(value=wins.value, low=wins.low, high=wins.high, n=wins.n)
    return bootstrap_mean(chances, confidence=confidence, seed=seed)


def _resampled_means(array: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    n, rows = len(array), max(1, _CHUNK // len(array))
    parts = []
    for start in range(0, N_RESAMPLES, rows):
        size = (min(rows, N_RESAMPLES - start), n)
        parts.append(array[rng.integers(0, n, size=size)].mean(axis=1))
    return np.concatenate(parts)


def _effect_size(differences: NDArray[np.float64]) -> float | None:
    n = len(differences)
    if n < 2 or np.ptp(differences) == 0:
        return None
    correction = 1 - 3 / (4 * (n - 1) - 1)
    return float(correction * differences.mean() / differences.std(ddof=1))


def _rank_biserial(differences: NDArray[np.float64]) -> float:
    """Wilcoxon's signed ranks, equal sizes sharing theirs, zeros left out."""
    sizes = differences[differences != 0]
    if not len(sizes):
        return 0.0
    _, place, counts = np.unique(np.abs(sizes), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((ranks * np.sign(sizes)).sum() / ranks.sum())

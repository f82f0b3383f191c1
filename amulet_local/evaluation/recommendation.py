"""Which of the strengths that were tried is recommended, and by what rule.

The most margin among those with few broken answers that lose at most half of the fluency which the
paper's strength loses, as for the presets. Where answers were checked, the smallest strength at
which most of them follow and aren't broken; where a judge compared them, the one that it prefers
most often to the prompt alone. Knows nothing about how answers were made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from amulet_local.evaluation.following import Following
from amulet_local.evaluation.quality import Means, fluency_limit
from amulet_local.evaluation.statistics import Estimate

MAX_BROKEN = 0.02
"""Largest share of broken answers."""


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The choice, and what it was held against.

    Attributes:
        name: of the setting.
        n_broken, n_answers: of it.
        most_broken: answers that might break.
        least_fluency: the limit for fluency.
        highest_share: the share of broken answers that these counts still allow for, at 95%.
    """

    name: str
    n_broken: int
    n_answers: int
    most_broken: int
    least_fluency: float
    highest_share: float


def recommend(
    figures: Mapping[str, Means], *, reference: str, paper: str, max_broken: float = MAX_BROKEN
) -> Recommendation:
    """Choose among settings that gave equally many answers.

    Args:
        figures: by the setting's name.
        reference: the preference prompt's name; it always qualifies.
        paper: name of the paper's strength, which is never chosen.
        max_broken: share of the answers that may break, rounded down to whole answers: with fewer
            than 50 answers and 2% none may. Those that break at the preference prompt already
            don't count against a strength.
    """
    prompted = figures[reference]
    most = max(math.floor(max_broken * prompted.answers + 1e-9), n_broken(prompted))
    least = fluency_limit(prompted.fluency, figures[paper].fluency)
    fit = {
        name: item
        for name, item in figures.items()
        if name != paper and n_broken(item) <= most and item.fluency >= least
    }
    best = max(fit, key=lambda name: fit[name].margin)
    return Recommendation(
        name=best,
        n_broken=n_broken(fit[best]),
        n_answers=fit[best].answers,
        most_broken=most,
        least_fluency=least,
        highest_share=highest_share(n_broken(fit[best]), fit[best].answers),
    )


@dataclass(frozen=True, kw_only=True)
class CheckedRecommendation:
    """The choice by a check.

    Attributes:
        name: of the setting.
        n_sound: its answers that follow and aren't broken.
        n_prompted: those of the preference prompt.
        n_answers: of each.
    """

    name: str
    n_sound: int
    n_prompted: int
    n_answers: int


def recommend_checked(
    followed: Mapping[str, Following], *, strengths: Sequence[str]
) -> CheckedRecommendation | None:
    """Choose the smallest strength with the highest share of answers that follow, unbroken.

    None if no answer does: then a check has nothing to choose by.

    Args:
        followed: by the setting's name.
        strengths: names of the settings to choose among, from the preference prompt up.
    """
    best = max(strengths, key=lambda name: followed[name].share)  # the first of equals
    if not followed[best].n_sound:
        return None
    return CheckedRecommendation(
        name=best,
        n_sound=followed[best].n_sound,
        n_prompted=followed[strengths[0]].n_sound,
        n_answers=followed[best].n_answers,
    )


@dataclass(frozen=True, kw_only=True)
class Preferred:
    """What a judge says of a sweep.

    Attributes:
        judge: its name.
        agreement: the share of pairs of known answer that it gets right, ties half.
        shares: of each setting, by name, how often its answers are preferred to the preference
            prompt's, ties half; empty for a judge that is no better than a coin.
    """

    judge: str
    agreement: Estimate
    shares: Mapping[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class JudgedRecommendation:
    """The choice of a judge.

    Attributes:
        name: of the setting.
        share, low, high: how often it is preferred to the preference prompt, with the interval.
        n_answers: that were compared.
    """

    name: str
    share: float
    low: float
    high: float
    n_answers: int


def recommend_preferred(
    found: Preferred, *, strengths: Sequence[str]
) -> JudgedRecommendation | None:
    """Choose the strength that is preferred most often, the smallest of equals.

    None without a judge's word.

    Args:
        strengths: names of the settings to choose among, from the preference prompt up.
    """
    if not found.shares:
        return None
    best = max(strengths, key=lambda name: found.shares[name].value)
    share = found.shares[best]
    return JudgedRecommendation(
        name=best, share=share.value, low=share.low, high=share.high, n_answers=share.n
    )


AnyRecommendation: TypeAlias = Recommendation | CheckedRecommendation | JudgedRecommendation


def n_broken(item: Means) -> int:
    """How many answers broke."""
    return round(item.broken * item.answers)


def highest_share(n_events: int, n: int) -> float:
    """Upper end of the one-sided 95% interval (Clopper and Pearson) for a share, 0 to 1.

    The share p at which so few events or fewer have a probability of 5%; for none of n that is
    1 - 0.05^(1/n), about 3/n.
    """
    if n_events >= n:
        return 1.0
    low, high = n_events / n, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        few = math.fsum(math.exp(_log_binomial(k, n, middle)) for k in range(n_events + 1))
        low, high = (middle, high) if few > 0.05 else (low, middle)
    return high


def _log_binomial(k: int, n: int, p: float) -> float:
    """Logarithm of the probability of k events in n, each with probability p < 1."""
    choices = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return choices + (k * math.log(p) if k else 0.0) + (n - k) * math.log1p(-p)

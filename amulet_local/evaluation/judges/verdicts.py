"""What a judge says about answers: a comparison of two, a rating of one.

Knows nothing about prompts, models and endpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

Outcome = Literal["win", "tie", "lose"]

LEVELS = (1, 2, 3, 4, 5)
"""What an answer can be rated."""

MET_LEVEL = 3
"""An answer follows a preference if it is rated so or better (MATO's AMR)."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two answers compared in both orders.

    Attributes:
        probability: that the first answer follows the preference better, 0 to 1, the mean of both
            orders; a tie counts half.
        outcome: of the first answer; "tie" as well where the orders don't agree on a winner.
        orders: the probability with the first answer shown first, and shown second.
        from_probabilities: whether the backend gave probabilities; else `orders` are 0, 0.5 or 1.
    """

    probability: float
    outcome: Outcome
    orders: tuple[float, float]
    from_probabilities: bool


@dataclass(frozen=True, kw_only=True)
class Rating:
    """How well an answer follows a preference.

    Attributes:
        value: 1 (not at all) to 5 (fully): the expectation where the backend gives probabilities,
            else `level`.
        level: the likeliest of 1 to 5.
        probabilities: of the levels 1 to 5; None where the backend gives none.
    """

    value: float
    level: int
    probabilities: tuple[float, ...] | None


@dataclass(frozen=True, kw_only=True)
class PreferenceRatings:
    """Ratings of one answer by several preferences. Means over answers are MATO's figures.

    Attributes:
        met: every level is at least 3; the share of such answers is AMR.
        mean: of the values; its mean over answers is APS.
        worst: the lowest value; its mean over answers is Worst.
    """

    met: bool
    mean: float
    worst: float


def preference_ratings(ratings: Sequence[Rating]) -> PreferenceRatings:
    """Sum up ratings of one answer, one a preference, at least one (arXiv 2605.25342)."""
    values = [rating.value for rating in ratings]
    return PreferenceRatings(
        met=min(rating.level for rating in ratings) >= MET_LEVEL,
        mean=fmean(values),
        worst=min(values),
    )

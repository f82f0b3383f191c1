"""What a user's feedback comes to: the weights of their preferences, and how strong answers suit.

Knows nothing about the file or about models. It is a function of the feedback that there is and of
the time, and nothing else: feedback that was forgotten has left nothing behind.

Features are differences of mean log p_k - log p_0 between two answers, each divided by what is
usual for that preference, so that a weight of 1 means as much for one that moves every token as for
one that moves few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from amulet_local.preferences.preference import Preference
from amulet_local.profile.feedback import Feedback
from amulet_local.profile.posterior import Floats, Posterior, log_evidence, posterior

USUAL_NATS = 0.2
"""How far two answers differ in a preference, in nats a token, where nothing is known."""
USUAL_PICKS = 4.0
"""How many picks that is worth."""

DEVIATION = 1.5
"""Of a weight before any pick."""

COUNTS = {"pick": 1.0, "fix": 1.0, "good": 0.5, "bad": 0.5, "like": 1.0}
"""How much each kind of feedback counts: two answers side by side say more than a thumb."""

KEPT_PER_PICK = 0.98
HALF_LIFE_DAYS = 180.0
"""How much what was said before counts after a pick, and after a time."""

CHANGE_PLACES = (6, 8, 10, 12, 14, 17, 20, 24, 30, 40)
"""How many picks ago a taste may have changed."""
CHANGE_WINDOW = 2 * CHANGE_PLACES[-1]
"""How many picks are looked at for it."""
CHANGE_NATS = 0.5
"""How much likelier a change makes the picks where one is as probable as none."""
CHANGE_TOLERANCE = 1e-3
"""How exactly evidence is known, in nats."""
KEPT_AFTER_CHANGE = 0.1
"""How much picks before a change count that is certain."""

SMALLEST_WEIGHT = 0.1
MOST_PREFERENCES = 3
"""A mix has the strongest ones: each is a row to compute."""
FOLLOWED_IN_FULL = DEVIATION
"""Length of the expected weights from which on a mix is as strong as a preference by itself."""

FACTORS = (0.25, 4.0)
"""Least and greatest strength that is learned, as a factor of the default one."""
_STRENGTH_MEAN = np.array([0.0, 1.0])
_STRENGTH_PRECISION = np.diag([0.25, 4.0])
_LEAST_BEND = 0.25
_SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Taste:
    """What is known of a user at a time.

    Attributes:
        bank: the preferences, without weights.
        feedback: everything that counts, oldest first.
        at: seconds since the epoch.
    """

    bank: tuple[Preference, ...]
    feedback: tuple[Feedback, ...]
    at: float

    @cached_property
    def told(self) -> tuple[Feedback, ...]:
        """The feedback that says something about the preferences."""
        return tuple(item for item in self.feedback if item.differences)

    @property
    def n_before_change(self) -> int:
        """How many of `told` were said before the taste changed; 0 if it hardly did."""
        place, probability = self._change
        return place if probability > 0.5 else 0

    @cached_property
    def weights(self) -> Posterior:
        """The weights of the bank's preferences, and how sure they are."""
        counted = counts(self.told, self.at)
        place, probability = self._change
        counted[:place] *= 1 - (1 - KEPT_AFTER_CHANGE) * probability
        mean, precision = self._prior
        return posterior(self._features, counted, mean=mean, precision=precision)

    @cached_property
    def _change(self) -> tuple[int, float]:
        mean, precision = self._prior
        return change(self._features, _counts_of_kinds(self.told), mean=mean, precision=precision)

    @cached_property
    def _features(self) -> Floats:
        """Of each feedback and preference, 0 where it says nothing; shape (N, K)."""
        return np.nan_to_num(self._differences / self._usual)

    @cached_property
    def _differences(self) -> Floats:
        """The same in nats a token, NaN where it says nothing."""
        return np.array(
            [[item.differences.get(p.text, np.nan) for p in self.bank] for item in self.told]
        ).reshape(len(self.told), len(self.bank))

    @cached_property
    def _usual(self) -> Floats:
        return usual(self._differences)

    @property
    def _prior(self) -> tuple[Floats, Floats]:
        """Mean and precision of the weights before any pick."""
        k = len(self.bank)
        return np.zeros(k), np.eye(k) / DEVIATION**2

    @cached_property
    def followed(self) -> Floats:
        """The weights that answers follow: the strongest, in proportion to what is expected.

        What a mix is expected to gain grows with its length, however unsure its weights are. That
        it isn't 1 from the first pick on leaves pairs that tell more.
        """
        expected = self.weights.mean
        length = float(np.linalg.norm(expected[_largest(expected, MOST_PREFERENCES)]))
        return strongest(expected, MOST_PREFERENCES, min(1.0, length / FOLLOWED_IN_FULL))

    @cached_property
    def mix(self) -> tuple[Preference, ...]:
        """What answers follow: the preferences that are known to matter, strongest first."""
        return self.as_mix(self.followed)

    def as_mix(self, weights: Floats) -> tuple[Preference, ...]:
        """The mix that follows these weights, as strongly as a preference by itself at length 1.

        A user values sum_k w_k d_k / s_k of an answer, s_k being what is usual. Of all
        distributions that are as far from the plain one, the one that gains most of that is its
        exponential tilt by sum_k (w_k / s_k) (log p_k - log p_0).
        """
        strengths = weights / self._usual
        strengths *= np.linalg.norm(weights) / max(float(np.linalg.norm(strengths)), 1e-9)
        return tuple(
            replace(self.bank[k], weight=round(float(strengths[k]), 2))
            for k in _largest(weights, len(weights))
            if abs(strengths[k]) >= SMALLEST_WEIGHT
        )

    def strength(self, model: str) -> Posterior:
        """What is known of the strength with a model: the slope and the bend of its value.

        With z = log(factor) the value of a strength is b1 z - b2 z^2.
        """
        said = [item for item in self.feedback if item.strengths and item.model == model]
        x = [strength_feature(*item.strengths) for item in said]
        return posterior(
            np.array(x).reshape(len(x), 2),
            counts(said, self.at),
            mean=_STRENGTH_MEAN,
            precision=_STRENGTH_PRECISION,
        )

    def factor(self, model: str) -> float:
        """The strength that suits with a model, as a factor of the default one."""
        slope, bend = self.strength(model).mean
        z = np.clip(slope / (2 * max(bend, _LEAST_BEND)), *np.log(FACTORS))
        return round(float(np.exp(z)), 2)

    def before(self, n: int = 1) -> Taste:
        """Without the last `n` pieces of feedback, at the same time."""
        return replace(self, feedback=self.feedback[: len(self.feedback) - n])


def strongest(weights: Floats, most: int, length: float = 1.0) -> Floats:
    """The `most` largest of these weights, scaled to a length; 0 in place of the others."""
    kept = np.zeros_like(weights)
    largest = _largest(weights, most)
    kept[largest] = weights[largest]
    return np.asarray(kept * (length / max(float(np.linalg.norm(kept)), 1e-9)))


def _largest(weights: Floats, most: int) -> NDArray[np.intp]:
    """The places of the largest weights, whatever their sign; the largest first."""
    return np.argsort(-np.abs(weights), kind="stable")[:most]


def usual(differences: Floats) -> Floats:
    """How far answers differ in each preference, in nats a token; shape (K,).

    Args:
        differences: of answers, shape (N, K); NaN where one isn't known.
    """
    n = np.isfinite(differences).sum(axis=0)
    squares = np.nansum(differences**2, axis=0) + USUAL_PICKS * USUAL_NATS**2
    return np.asarray(np.sqrt(squares / (n + USUAL_PICKS)))


def counts(feedback: Sequence[Feedback], at: float) -> Floats:
    """How much each counts at a time, what is older less."""
    later = np.arange(len(feedback))[::-1]
    days = np.array([max(at - item.at, 0.0) for item in feedback]) / _SECONDS_PER_DAY
    kept = KEPT_PER_PICK**later * 0.5 ** (days / HALF_LIFE_DAYS)
    return np.asarray(_counts_of_kinds(feedback) * kept)


def _counts_of_kinds(feedback: Sequence[Feedback]) -> Floats:
    return np.array([COUNTS.get(item.kind, 1.0) for item in feedback], dtype=np.float64)


def change(
    features: Floats, counted: Floats, *, mean: Floats, precision: Floats
) -> tuple[int, float]:
    """How many picks were made before the taste changed, and how probable it is that it did.

    One change is looked for, at one of a few places. What the picks before and after it say of it
    is their evidence apart over that of all together.
    """

    n = len(features)
    first = max(0, n - CHANGE_WINDOW)
    places = [n - back for back in CHANGE_PLACES if n - back >= first + CHANGE_PLACES[0]]
    if not places:
        return 0, 0.0

    def evidence(parts: Sequence[slice]) -> list[float]:
        """Of each part, which begins its search where the one before it ended."""
        found, start = [], mean
        for part in parts:
            x, c = features[part], counted[part]
            best = posterior(
                x, c, mean=mean, precision=precision, start=start, tolerance_nats=CHANGE_TOLERANCE
            )
            found.append(log_evidence(best, x, c, mean=mean, precision=precision))
            start = best.mean
        return found

    whole, *before = evidence([slice(first, n), *(slice(first, place) for place in places)])
    after = evidence([slice(place, n) for place in places])
    apart = np.add(before, after)
    best = int(np.argmax(apart))
    nats = float(apart[best]) - whole - CHANGE_NATS
    return places[best], float(0.5 * (1 + np.tanh(nats / 2)))


def strength_feature(better: float, worse: float) -> tuple[float, float]:
    """The difference between two strengths, given as factors."""
    a, b = float(np.log(better)), float(np.log(worse))
    return a - b, b * b - a * a


def differences(
    bank: Sequence[Preference], better: Sequence[float], worse: Sequence[float]
) -> Mapping[str, float]:
    """Of two answers, by the texts of the preferences."""
    return {item.text: float(a - b) for item, a, b in zip(bank, better, worse, strict=True)}

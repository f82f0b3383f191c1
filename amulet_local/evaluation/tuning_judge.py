"""How often a judge prefers a strength's answers to those of the preference prompt alone.

First the judge is measured on pairs of known answer: one that is no better than a coin there isn't
asked here. Knows nothing about how answers are made or how a judge decides.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from amulet_local.evaluation import statistics
from amulet_local.evaluation.adherence.known_pairs import known_pairs
from amulet_local.evaluation.following import CheckedAnswer
from amulet_local.evaluation.judges import Judge, Outcome
from amulet_local.evaluation.recommendation import Preferred
from amulet_local.evaluation.tuning_study import Measurement

KNOWN_EVERY = 3
"""Of the known pairs, one in so many is asked about."""

WORTH: dict[Outcome, float] = {"win": 1.0, "tie": 0.5, "lose": 0.0}


def preferred(judge: Judge, measurement: Measurement, report: Callable[[str], None]) -> Preferred:
    """What the judge says of a complete measurement.

    Args:
        report: called with what is going on.

    Raises:
        JudgeError: it gave no verdict.
    """
    known = known_pairs()[::KNOWN_EVERY]
    right = []
    for n, pair in enumerate(known, 1):
        found = judge.compare(pair.question, pair.wording, pair.follows, pair.other)
        right.append(WORTH[found.outcome])
        report(f"the judge, {n} of {len(known)} known pairs")
    agreement = statistics.mean(np.array(right), share_of=1.0)
    if agreement.low <= 0.5:
        return Preferred(judge=judge.name, agreement=agreement, shares={})
    first, *others = measurement.plan.settings
    prompted = {(item.question, item.preference): item for item in measurement.made[first.name]}
    shares = {first.name: statistics.Estimate(value=0.5, low=0.5, high=0.5, n=len(prompted))}
    for setting in others:
        report(f"the judge, {setting.name}")
        worth = [
            _worth(judge, answer, prompted[answer.question, answer.preference])
            for answer in measurement.made[setting.name]
        ]
        shares[setting.name] = statistics.mean(np.array(worth), share_of=1.0)
    return Preferred(judge=judge.name, agreement=agreement, shares=shares)


def _worth(judge: Judge, answer: CheckedAnswer, prompted: CheckedAnswer) -> float:
    """1 if the answer is the better one, 0.5 for a tie; what is broken loses without being read."""
    if answer.is_broken or prompted.is_broken:
        return (1 + prompted.is_broken - answer.is_broken) / 2
    return WORTH[
        judge.compare(answer.question, answer.preference, answer.text, prompted.text).outcome
    ]

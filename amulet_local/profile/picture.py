"""A profile as what a page draws: the weights with their intervals over time, and all that is kept.

Knows nothing about pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from amulet_local.profile.contents import Contents
from amulet_local.profile.feedback import Feedback
from amulet_local.profile.in_words import SAID, described, how_sure
from amulet_local.profile.taste import Taste

MOST_PLACES = 30
"""Of the weights over time: each is an update of its own."""
MOST_ENTRIES = 100
"""Of feedback: the last ones."""


def picture(contents: Contents) -> dict[str, Any]:
    """What was learned, when, and what it is made of; values for JSON."""
    now = contents.taste()
    return {
        "words": [line for line in described(contents) if line],
        "mix": [{"name": item.name or item.text, "weight": item.weight} for item in now.mix],
        "weights": _weights(now, _over_time(contents)),
        "feedback": [_feedback(item) for item in contents.feedback[-MOST_ENTRIES:]],
        "examples": [{**asdict(item), "id": f"e{item.id}"} for item in contents.examples],
        "facts": [{**asdict(item), "id": f"f{item.id}"} for item in contents.facts],
        "forgotten": [asdict(item) for item in contents.forgotten],
    }


def _over_time(contents: Contents) -> list[Taste]:
    """What was known after some of the picks, evenly over all, each at its own time."""
    n = len(contents.feedback)
    places = np.unique(np.linspace(1, n, min(n, MOST_PLACES)).round().astype(int))
    return [
        Taste(
            bank=contents.bank,
            feedback=contents.feedback[:place],
            at=contents.feedback[place - 1].at,
        )
        for place in places
    ]


def _weights(now: Taste, then: Sequence[Taste]) -> list[dict[str, Any]]:
    """Those of each preference, the strongest first."""
    order = np.argsort(-np.abs(now.weights.mean), kind="stable")
    return [
        {
            "name": now.bank[k].name or now.bank[k].text,
            "text": now.bank[k].text,
            "says": how_sure(float(now.weights.mean[k]), float(now.weights.deviations[k])),
            **_at(now, k),
            "history": [{"at": taste.at, **_at(taste, k)} for taste in then],
        }
        for k in order
    ]


def _at(taste: Taste, k: int) -> dict[str, float]:
    mean, deviation = float(taste.weights.mean[k]), float(taste.weights.deviations[k])
    return {"mean": mean, "low": mean - 2 * deviation, "high": mean + 2 * deviation}


def _feedback(item: Feedback) -> dict[str, Any]:
    return {
        "id": f"p{item.id}",
        "at": item.at,
        "says": SAID[item.kind],
        "origin": item.origin,
        "model": item.model,
        "question": item.question,
        "better": item.better,
        "worse": item.worse,
    }

"""What to show beside an answer, so that the user's pick tells most about their taste.

Knows nothing about how answers are made. Thompson's samples of the weights are what the user may
want; of these the one is shown whose answer, as far as mixes make answers, differs from the present
one where most is open. A strength is tried where the mix is known better than that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amulet_local.preferences.preference import Preference
from amulet_local.profile.posterior import information
from amulet_local.profile.taste import FACTORS, Taste, strength_feature, strongest

N_DRAWS = 16
REACH = 2.0
"""How far the answers of two mixes differ, in usual differences, for mixes that are 1 apart."""
LENGTH_OF_RIVAL = 1.25
"""Of the other answer's mix: beyond that of a mix which is followed in full, so that a pick between
the two is open however much of the present one is wanted."""
MOST_OF_RIVAL = 4
"""Preferences of the other answer's mix: of more differences a pick tells more."""
KNOWN_MIX = 0.5
"""Length of a mix from which on its strength can be told."""
STEPS = (0.5, 2.0)
"""A strength is tried so much below or above the present one."""
WORTH_ASKING_NATS = 0.15
"""Of a pick: two fifths of all that it could tell where a fifth of the picks is random."""


@dataclass(frozen=True, kw_only=True)
class Rival:
    """What the other answer is made with.

    Attributes:
        preferences: the mix it follows.
        factor: its strength, as a factor of the default one.
        is_strength: whether it differs from the present one in its strength alone.
        nats: what the pick is expected to tell.
    """

    preferences: tuple[Preference, ...]
    factor: float
    is_strength: bool
    nats: float

    @property
    def is_worth_asking(self) -> bool:
        """Whether the pick would tell enough to ask for it unasked."""
        return self.nats >= WORTH_ASKING_NATS


def choose_rival(
    taste: Taste, model: str, generator: np.random.Generator, *, may_try_strength: bool = True
) -> Rival:
    """What to show beside an answer that was made with the present mix and strength.

    Args:
        model: the name of the model's file.
        generator: draws.
        may_try_strength: whether the two may differ in their strength alone.
    """
    present, factor = taste.followed, taste.factor(model)
    draws = [
        strongest(taste.weights.draw(generator), MOST_OF_RIVAL, LENGTH_OF_RIVAL)
        for _ in range(N_DRAWS)
    ]
    told = [information(taste.weights, REACH * (draw - present)) for draw in draws]
    best = int(np.argmax(told))
    rival = Rival(
        preferences=taste.as_mix(draws[best]),
        factor=factor,
        is_strength=False,
        nats=told[best],
    )
    if not may_try_strength or not taste.mix or float(np.linalg.norm(present)) < KNOWN_MIX:
        return rival
    strength = taste.strength(model)
    for step in STEPS:
        other = float(np.clip(factor * step, *FACTORS))
        nats = information(strength, np.array(strength_feature(other, factor)))
        if nats > rival.nats:
            rival = Rival(
                preferences=taste.mix, factor=round(other, 2), is_strength=True, nats=nats
            )
    return rival

"""Keeps what the reference finds implausible from being chosen.

A sampler's min-p looks at the combination, where a token that the reference all but rules out may
be likely: 3 nats of gain at a scale of 2 make 0.02 of 0.001. Greedily such a token loses to another
one; drawn at a temperature it comes every so often, and what follows falls apart. What comes
up to an answer's first word is free of that, as it is of the cap on gains: it decides the language.
Knows nothing about samplers.
"""

from __future__ import annotations

from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.step import Step

DRAWN_SHARE = 0.1
"""Share of the reference's largest probability that a token has at least which is drawn."""


class Plausibility(Guard):
    """Narrows the choice down to the reference's plausible tokens and its nucleus."""

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        """Whether there is a mask, or tokens are drawn with the draw guard on."""
        return bool(around.amulet.mask) or _guards_draws(around)

    def act(self, step: Step) -> None:
        """Leave the plausible tokens."""
        amulet = self.around.amulet
        guards_this = _guards_draws(self.around) and self.around.text.has_begun
        if guards_this or amulet.mask:
            share = max(amulet.min_plausibility, DRAWN_SHARE if guards_this else 0.0)
            step.tokens = step.rows.plausible(share, amulet.nucleus, amulet.nucleus_temperature)


def _guards_draws(around: Surroundings) -> bool:
    return around.amulet.draw_guard and around.is_drawn

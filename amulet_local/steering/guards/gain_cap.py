"""Keeps words that belong to the preference, and not to the answer, from being pushed into it.

The preference prompt can make a token hundreds of times likelier that it hardly ever says itself: a
scale above 1 makes that much more of it. Truncating the log-ratio truncates the importance weight
p1 / p0 (as in V-trace, Espeholt et al., arXiv 1802.01561): what the prompt finds likely still wins,
what it finds unlikely doesn't. All up to the first word of an answer is free of it: that decides
the language, behind "1." or a quotation mark too, and what the plain prompt begins with stands at a
probability of almost 1.
"""

from __future__ import annotations

from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.step import Step


class GainCap(Guard):
    """Lets no token behind the first word gain more than so many nats from the preference."""

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        """Whether there is a cap."""
        return around.amulet.max_gain is not None

    def act(self, step: Step) -> None:
        """Cap the differences of the rows, once the answer has begun."""
        assert self.around.amulet.max_gain is not None
        if self.around.text.has_begun:
            step.rows = step.rows.capped(self.around.amulet.max_gain)

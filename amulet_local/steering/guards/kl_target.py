"""Moves the scale so that the answer as a whole is as far from the reference as it should be.

One scale costs a fraction of a nat in one answer and moves nothing in another. So the scale is
raised after tokens that moved less than the target and lowered after those that moved more, which
is dual ascent on "mean divergence = target" (the adaptive KL coefficient of Ziegler et al., arXiv
1909.08593, token by token instead of batch by batch). Knows nothing about texts.
"""

from __future__ import annotations

from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.step import Step

STEP_SIZE = 1.0
"""Change of the scale by each nat that a token's divergence is off the target."""

MOST_NATS = 1.0
"""What one token counts for at most: the first word of another language takes several nats, which
is no reason to follow less from there on."""

LEAST_SHARE = 0.5
"""Of the given scale's excess over 1: the scale doesn't fall below that."""

MOST_TIMES = 2.0
"""The given scale: the scale doesn't rise above that."""


class KlTarget(Guard):
    """Raises and lowers the scale from token to token."""

    def __init__(self, around: Surroundings) -> None:
        """Begin with the given scale."""
        super().__init__(around)
        self._scale = around.amulet.guidance_scale

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        """Whether there is a target."""
        return around.amulet.kl_target is not None

    def change(self, around: Surroundings) -> None:
        """Go on with other settings: from their scale if it is another one."""
        if around.amulet.guidance_scale != self.around.amulet.guidance_scale:
            self._scale = around.amulet.guidance_scale
        super().change(around)

    def act(self, step: Step) -> None:
        """Set the scale."""
        step.scale = self._scale

    def observe(self, step: Step) -> None:
        """Move the scale by what this token is off the target, unless it was lowered since."""
        if step.scale <= 1 or step.scale < self._scale:
            return
        amulet = self.around.amulet
        assert amulet.kl_target is not None
        given = amulet.guidance_scale
        least, most = 1 + (given - 1) * LEAST_SHARE, given * MOST_TIMES
        if amulet.max_guidance is not None:
            most = min(most, amulet.max_guidance)
        off = amulet.kl_target - min(step.divergence(), MOST_NATS)
        self._scale = min(max(self._scale + STEP_SIZE * off, least), most)

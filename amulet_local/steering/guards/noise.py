"""Keeps the scale from amplifying rounding noise. Knows nothing about where noise comes from."""

from __future__ import annotations

from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.step import Step


class NoiseGuard(Guard):
    """Takes differences of the rows as small as the model's rounding noise away."""

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        """Whether the noise guard is above 0."""
        return around.amulet.noise_guard > 0

    def act(self, step: Step) -> None:
        """Shrink the differences."""
        step.rows = step.rows.shrunken(self.around.amulet.noise_guard * step.noise)

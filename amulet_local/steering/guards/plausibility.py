"""Keeps what the reference finds implausible from being chosen. Knows nothing about samplers."""

from __future__ import annotations

from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.step import Step


class Plausibility(Guard):
    """Narrows the choice down to the reference's plausible tokens and its nucleus."""

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        """Whether there is a mask."""
        return bool(around.amulet.mask)

    def act(self, step: Step) -> None:
        """Leave the plausible tokens."""
        step.tokens = step.rows.plausible(*self.around.amulet.mask)

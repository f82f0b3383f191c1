"""Leaves what a thinking model writes to itself unsteered. Knows nothing about tags."""

from __future__ import annotations

from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.step import Step


class ReasoningGate(Guard):
    """Scale 1 while the model reasons."""

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        """Whether reasoning is gated."""
        return around.amulet.reasoning_gating

    def act(self, step: Step) -> None:
        """Turn the scale down."""
        if self.around.text.in_reasoning:
            step.scale = 1.0

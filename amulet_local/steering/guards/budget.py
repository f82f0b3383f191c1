"""Keeps each token's divergence from the reference within a budget. Knows nothing about texts."""

from __future__ import annotations

from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.step import Step


class KlBudget(Guard):
    """Lowers the scale until KL(realigned || reference) holds, over the tokens that are left."""

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        """Whether there is a budget."""
        return around.amulet.kl_budget is not None

    def act(self, step: Step) -> None:
        """Lower the scale."""
        budget = self.around.amulet.kl_budget
        assert budget is not None
        step.scale = step.rows.scale_within(step.scale, budget, step.tokens)

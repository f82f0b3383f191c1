"""Leaves code unsteered. Knows nothing about programming languages."""

from __future__ import annotations

from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.step import Step


class CodeGate(Guard):
    """Scale 1 inside code, fenced or inline; backticks in JSON are no code."""

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        """Whether regions are gated."""
        return around.amulet.region_gating and not around.text.is_json

    def act(self, step: Step) -> None:
        """Turn the scale down."""
        text = self.around.text
        if text.in_code and not text.in_reasoning:
            step.scale = 1.0

"""Leaves the structure of an answer that is JSON unsteered. Knows nothing about schemas."""

from __future__ import annotations

from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.step import Step


class JsonGate(Guard):
    """Scale 1 outside of JSON's string values, whatever the settings are."""

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        """Whether the answer is JSON."""
        return around.text.is_json

    def act(self, step: Step) -> None:
        """Turn the scale down."""
        text = self.around.text
        if not (text.in_reasoning or text.in_json_string):
            step.scale = 1.0

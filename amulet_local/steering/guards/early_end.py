"""Keeps an answer from ending in the middle of a sentence. Knows nothing about languages."""

from __future__ import annotations

import math

from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.step import Step

LIKELY_END = 0.5
"""Probability from which on the end of an answer is likely."""


class EarlyEnd(Guard):
    """Rules the end out in mid-sentence, unless the reference finds it likely."""

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        """Whether the end guard is on and there is an end to hold back."""
        return around.amulet.end_guard and bool(around.end_tokens)

    def act(self, step: Step) -> None:
        """Rule out the tokens that end the answer."""
        ends = self.around.end_tokens
        if self.around.text.ends_sentence:
            return
        if sum(math.exp(step.reference.log_p(token)) for token in ends) < LIKELY_END:
            step.refuse(ends)

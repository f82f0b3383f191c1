"""Leaves an answer unsteered once it is in the language that is all of the wish.

Its first words decide the language, and from there on the model goes on in it by itself. What the
two prompts differ by is noise then: a strength makes "Lieber lieber lieber" of it, asks the
question back, and chooses words that no English text would have over those that fit. Knows nothing
about languages: an answer has begun in one if its first words are likelier by the preference.
"""

from __future__ import annotations

import math

from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.step import Step

BEGUN_TOKENS = 6
"""From which on an answer has begun; after the first one alone, one in German goes on "Die Owls
hunt at night because"."""

BEGUN_NATS = 5.0
"""By which these are likelier by the preference. A first word in another language is by 10 and
more, and an English one hardly."""


class LanguageGate(Guard):
    """Scale 1 once the answer is in its language."""

    def __init__(self, around: Surroundings) -> None:
        """Begin with no answer."""
        super().__init__(around)
        self._n_tokens = 0
        self._gained = 0.0

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        """Whether it is switched on and a language is all that is wished."""
        return around.amulet.language_gating and bool(around.form.language)

    def change(self, around: Surroundings) -> None:
        """Go on with other settings: for another language the answer has to begin in that."""
        if around.form.language != self.around.form.language:
            self._n_tokens, self._gained = 0, 0.0
        super().change(around)

    @property
    def ends_steering(self) -> bool:
        """Whether the answer has begun in its language."""
        return self._n_tokens >= BEGUN_TOKENS and self._gained >= BEGUN_NATS

    def act(self, step: Step) -> None:
        """Turn the scale down."""
        if self.ends_steering:
            step.scale = 1.0

    def accept(self, token: int, step: Step | None) -> None:
        """Take note of how likely the token is; one that its script requires is of the language."""
        if self.ends_steering or self.around.text.in_reasoning:
            return
        self._n_tokens += 1
        self._gained += math.inf if step is None else step.reference.gain([token])

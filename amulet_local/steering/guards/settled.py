"""Leaves unsteered what needs no strength: a form that is kept, a language once it is spoken.

An answer's first words decide its language, and from there on the model goes on in it by itself. A
form is kept by the tokens that are offered. What the two prompts differ by is noise then, of which
a strength makes "Lieber lieber lieber", "Make the entire answer lowercase." and the question once
more. Knows nothing about languages: an answer has begun in one if its first words are likelier by
the preference.
"""

from __future__ import annotations

import math

from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.step import Step

BEGUN_TOKENS = 6
"""From which on an answer has begun: in a language (after the first one alone, one in German goes
on "Die Owls hunt at night because"), or with no recital, which guards tell by both prompts."""

BEGUN_NATS = 5.0
"""By which the words of a language are likelier by the preference. A first word in another language
is by 10 and more, and an English one hardly."""


class SettledGate(Guard):
    """Scale 1 where nothing is wished but what is settled."""

    def __init__(self, around: Surroundings) -> None:
        """Begin with no answer."""
        super().__init__(around)
        self._n_tokens = 0
        self._gained = 0.0

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        """Whether it is switched on, and nothing is wished but a language or a form to keep."""
        amulet, form = around.amulet, around.form
        return amulet.settled_gating and (bool(form.language) or cls._is_kept(around))

    @staticmethod
    def _is_kept(around: Surroundings) -> bool:
        return around.form.is_all and around.amulet.form_guard and around.vocabulary is not None

    def change(self, around: Surroundings) -> None:
        """Go on with other settings: what is wished now has to be settled anew."""
        if around.form != self.around.form:
            self._n_tokens, self._gained = 0, 0.0
        super().change(around)

    @property
    def ends_steering(self) -> bool:
        """Whether the answer has begun, and as it was wished."""
        is_settled = self._is_kept(self.around) or self._gained >= BEGUN_NATS
        return is_settled and self._n_tokens >= BEGUN_TOKENS

    def act(self, step: Step) -> None:
        """Turn the scale down."""
        if self._is_kept(self.around) or self.ends_steering:
            step.scale = 1.0

    def accept(self, token: int, step: Step | None) -> None:
        """Take note of how likely the token is; one that its script requires is of the language."""
        if self.ends_steering or self.around.text.in_reasoning:
            return
        self._n_tokens += 1
        self._gained += math.inf if step is None else step.reference.gain([token])

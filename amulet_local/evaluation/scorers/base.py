"""What a scorer is: a figure for each answer, with what it measures and which way is better.

Knows nothing about particular scorers, nor about how answers are made or kept.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from amulet_local.common.closing import Closing

Better = Literal["higher", "lower", "neither"]
"""Which values are better; "neither" for what only describes an answer."""


@dataclass(frozen=True, kw_only=True)
class AnsweredQuestion:
    """A question with the answer that is scored, and what the run knows of it.

    Attributes:
        question: what was asked.
        system: the system text, without any preference.
        preferences: instruction texts of the preferences that the answer is to follow.
        criteria: what a judge rates instead of these preferences, where the question brings some.
        text: the answer.
        token_ids: its tokens, of the model that wrote it.
        finish_reason: "stop", "length" or "cancelled".
        margin, fluency: means per token of log p1 - log p0 and of log p0 (natural logarithm) under
            that model's own prompts; None where the run has none.
        falls_apart, recites: signs of quality.py that need token probabilities or a tokenizer;
            None where the run has none.
    """

    question: str
    system: str = ""
    preferences: tuple[str, ...] = ()
    criteria: tuple[str, ...] = ()
    text: str
    token_ids: tuple[int, ...] = ()
    finish_reason: str = "stop"
    margin: float | None = None
    fluency: float | None = None
    falls_apart: bool | None = None
    recites: bool | None = None


class Scorer(Closing):
    """Gives each answer a figure.

    Attributes:
        name: a short name, unique among scorers, with no spaces.
        summary: what it measures, with the unit or range, in one line.
        better: which values are better.
        source: the model that the figures come from, as far as they depend on more than the answer:
            figures of another source can't stand beside them.
    """

    name: str
    summary: str
    better: Better
    source: str = ""

    @abstractmethod
    def scores(self, answers: Sequence[AnsweredQuestion]) -> list[float | None]:
        """The figure of each answer, finite; None where there is nothing to measure.

        Raises:
            AmuletError: the scorer's model can't be used.
        """

    def close(self) -> None:
        """Free what it holds, a model for instance. May be called twice."""

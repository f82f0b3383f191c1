"""Scorers that the run itself has the figures of: the answering model's log-likelihoods."""

from __future__ import annotations

from collections.abc import Sequence

from amulet_local.evaluation.scorers.base import AnsweredQuestion, Scorer
from amulet_local.evaluation.scorers.registry import ScorerEntry, ScorerOptions


class OwnLikelihood(Scorer):
    """The margin or the fluency that the run recorded."""

    def __init__(self, entry: ScorerEntry) -> None:
        self.name, self.summary, self.better = entry.name, entry.summary, entry.better

    def scores(self, answers: Sequence[AnsweredQuestion]) -> list[float | None]:
        """The recorded figures; None where the run has none."""
        return [answer.margin if self.name == "margin" else answer.fluency for answer in answers]


def make(entries: Sequence[ScorerEntry], options: ScorerOptions) -> list[Scorer]:
    """The scorers of these entries."""
    return [OwnLikelihood(entry) for entry in entries]

"""Compares and rates answers by how well they follow a preference.

Two answers are shown in both orders, so that the place of an answer can't decide. Knows nothing
about models and endpoints; backends do.
"""

from __future__ import annotations

import math

from amulet_local.common.closing import Closing
from amulet_local.evaluation.judges.backend import Backend, Choice
from amulet_local.evaluation.judges.prompts import JudgePrompts
from amulet_local.evaluation.judges.verdicts import LEVELS, Comparison, Outcome, Rating

FIRST, SECOND, NEITHER = "A", "B", "C"
"""What the judge replies to a comparison: the answer's place, or a tie."""


class Judge(Closing):
    """A judge.

    Attributes:
        name: the model that judges, for a report.
        source: model and prompts: verdicts of another source can't stand beside these.
    """

    def __init__(self, backend: Backend, prompts: JudgePrompts) -> None:
        """A judge owns its backend, and closes it."""
        self.name = backend.name
        self.source = f"{backend.source}, prompts {prompts.digest}"
        self._backend = backend
        self._prompts = prompts

    def compare(self, question: str, preference: str, first: str, second: str) -> Comparison:
        """Which answer follows the preference better, asked in both orders.

        An answer without any text loses against one that has some, and answers that are the same
        tie, without being asked about.

        Raises:
            JudgeError: the backend gave no verdict, after all retries.
        """
        if first == second or not (first.strip() and second.strip()):
            return _unasked(bool(first.strip()), bool(second.strip()))
        labels = (FIRST, SECOND, NEITHER)
        choices = [
            self._backend.choose(
                self._prompts.comparison(
                    question=question, preference=preference, first=one, second=other
                ),
                labels,
            )
            for one, other in ((first, second), (second, first))
        ]
        orders = (_chance(choices[0], FIRST), _chance(choices[1], SECOND))
        return Comparison(
            probability=(orders[0] + orders[1]) / 2,
            outcome=_outcome(choices[0].label, choices[1].label),
            orders=orders,
            from_probabilities=all(choice.from_probabilities for choice in choices),
        )

    def rate(self, question: str, preference: str, answer: str) -> Rating:
        """How well an answer follows the preference; 1 without any text.

        Raises:
            JudgeError: the backend gave no verdict, after all retries.
        """
        if not answer.strip():
            return Rating(value=1.0, level=1, probabilities=None)
        prompt = self._prompts.rating(question=question, preference=preference, answer=answer)
        choice = self._backend.choose(prompt, [str(level) for level in LEVELS])
        level = int(choice.label)
        if not choice.from_probabilities:
            return Rating(value=float(level), level=level, probabilities=None)
        probabilities = tuple(choice.probabilities.values())
        value = math.fsum(level * share for level, share in zip(LEVELS, probabilities, strict=True))
        return Rating(value=value, level=level, probabilities=probabilities)

    def close(self) -> None:
        """Free what it holds. May be called twice."""
        self._backend.close()


def _unasked(first: bool, second: bool) -> Comparison:
    """The verdict where an answer has no text, or both have the same; arguments: which has some."""
    chance = (1 + first - second) / 2
    outcomes: dict[float, Outcome] = {1.0: "win", 0.5: "tie", 0.0: "lose"}
    return Comparison(
        probability=chance,
        outcome=outcomes[chance],
        orders=(chance, chance),
        from_probabilities=False,
    )


def _chance(choice: Choice, place: str) -> float:
    """Probability that the answer at this place is better; a tie counts half."""
    return choice.probabilities[place] + choice.probabilities[NEITHER] / 2


def _outcome(straight: str, swapped: str) -> Outcome:
    """The first answer's, from the picks with it shown first and shown second."""
    if (straight, swapped) == (FIRST, SECOND):
        return "win"
    if (straight, swapped) == (SECOND, FIRST):
        return "lose"
    return "tie"

"""What a judge asks: something that picks one of a few labels.

Knows nothing about what the labels mean.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from amulet_local.evaluation.judges.prompts import JudgePrompt


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A pick.

    Attributes:
        probabilities: of each label, in the order that was asked for; they add up to 1.
        from_probabilities: whether the backend gave them; else one label has all.
    """

    probabilities: Mapping[str, float]
    from_probabilities: bool

    @property
    def label(self) -> str:
        """The likeliest label, the first of equals."""
        return max(self.probabilities, key=self.probabilities.__getitem__)


class Backend(ABC):
    """Picks one of a few labels, each a single letter or digit.

    Attributes:
        name: the model's name, for a report.
        source: what tells it from another one of that name.
    """

    name: str
    source: str

    @abstractmethod
    def choose(self, prompt: JudgePrompt, labels: Sequence[str]) -> Choice:
        """Reply to a prompt with one of the labels.

        Raises:
            JudgeError: no reply, after all retries, or none of the labels.
        """

    def close(self) -> None:  # noqa: B027 (most have nothing to free)
        """Free what it holds. May be called twice."""


def decided(label: str, labels: Sequence[str]) -> Choice:
    """The pick of a backend that gives no probabilities."""
    return Choice(
        probabilities={known: float(known == label) for known in labels}, from_probabilities=False
    )


def weighed(candidates: Iterable[tuple[str, float]], labels: Sequence[str]) -> Choice | None:
    """The pick by the probabilities of a reply's first token.

    Args:
        candidates: texts of tokens and their probabilities, as far as the backend lists them.
        labels: what counts; a token is a label with or without blanks around it.

    Returns:
        None if none of the tokens is a label.
    """
    sums = dict.fromkeys(labels, 0.0)
    for text, probability in candidates:
        if text.strip() in sums:
            sums[text.strip()] += probability
    total = sum(sums.values())
    if not total > 0:
        return None
    return Choice(
        probabilities={label: value / total for label, value in sums.items()},
        from_probabilities=True,
    )


def grammar_of(labels: Sequence[str]) -> str:
    """A grammar in llama.cpp's notation that allows the labels and nothing else."""
    return "root ::= " + " | ".join(f'"{label}"' for label in labels)

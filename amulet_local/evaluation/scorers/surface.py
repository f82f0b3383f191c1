"""Scorers that count: length, repetition, variety, and whether an answer is broken.

Know nothing about languages beyond that words are runs of letters and digits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from amulet_local.evaluation.quality import is_loop, stops_short
from amulet_local.evaluation.scorers.base import AnsweredQuestion, Scorer
from amulet_local.evaluation.scorers.registry import ScorerEntry, ScorerOptions

REPEATED_RUN = 4
"""Tokens of a run whose repetition counts."""

_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case: letters and digits, with what joins them inside."""
    return [match[0].lower() for match in _WORD.finditer(text)]


def repetition(tokens: Sequence[int]) -> float | None:
    """Share of the runs of 4 tokens that stood in the sequence before; None without any run.

    1 - seq-rep-4's complement as in Welleck et al. (arXiv 1908.04319): 1 - unique / all.
    """
    runs = [tuple(tokens[i : i + REPEATED_RUN]) for i in range(len(tokens) - REPEATED_RUN + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else None


def distinct(words: Sequence[str], n: int) -> float | None:
    """Different runs of n words as a share of all of them (Li et al., arXiv 1510.03055).

    None without any.
    """
    runs = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(runs)) / len(runs) if runs else None


def broken(answer: AnsweredQuestion) -> float | None:
    """1 with any sign of quality.py that is known, else 0; None without tokens."""
    if not answer.token_ids:
        return None
    return float(
        is_loop(answer.token_ids)
        or stops_short(answer.text, answer.finish_reason)
        or bool(answer.falls_apart)
        or bool(answer.recites)
    )


_MEASURES: dict[str, Callable[[AnsweredQuestion], float | None]] = {
    "tokens": lambda answer: float(len(answer.token_ids)),
    "words": lambda answer: float(len(words_of(answer.text))),
    "repetition": lambda answer: repetition(answer.token_ids),
    "distinct-1": lambda answer: distinct(words_of(answer.text), 1),
    "distinct-2": lambda answer: distinct(words_of(answer.text), 2),
    "distinct-3": lambda answer: distinct(words_of(answer.text), 3),
    "broken": broken,
}


class EachAlone(Scorer):
    """A scorer that looks at one answer at a time, by a function."""

    def __init__(
        self, entry: ScorerEntry, measure: Callable[[AnsweredQuestion], float | None]
    ) -> None:
        self.name, self.summary, self.better = entry.name, entry.summary, entry.better
        self._measure = measure

    def scores(self, answers: Sequence[AnsweredQuestion]) -> list[float | None]:
        """The measure of each answer."""
        return [self._measure(answer) for answer in answers]


def make(entries: Sequence[ScorerEntry], options: ScorerOptions) -> list[Scorer]:
    """The scorers of these entries."""
    return [EachAlone(entry, _MEASURES[entry.name]) for entry in entries]

"""Beam search over sequences of tokens: which beams go on, which are finished, when to end.

Knows nothing about models: it is given the logits of every beam and says which beams to extend by
which tokens. As in Hugging Face's transformers with early_stopping=False: a finished answer's score
is the sum of its log-probabilities over length ** length_penalty, its end token counted in both.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Extension(NamedTuple):
    """A beam of the next step.

    Attributes:
        parent: index of the beam that it extends.
        token: by what.
    """

    parent: int
    token: int


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """An answer, or the beginning of one.

    Attributes:
        tokens: its token ids.
        log_probability: their sum, natural logarithm.
    """

    tokens: tuple[int, ...]
    log_probability: float


class Beams:
    """The beams of one search.

    Attributes:
        running: the beams that go on, likeliest first.
        finished: answers with an end token, best first, at most as many as beams.
    """

    def __init__(
        self,
        n_beams: int,
        *,
        end_tokens: Collection[int],
        max_tokens: int,
        length_penalty: float = 1.0,
    ) -> None:
        """Start with one empty beam.

        Args:
            n_beams: the width, >= 1.
            end_tokens: what ends an answer.
            max_tokens: most tokens of an answer, >= 1.
            length_penalty: p in the score, log probability / length ** p.
        """
        self.running = [Hypothesis(tokens=(), log_probability=0.0)]
        self.finished: list[Hypothesis] = []
        self._n_beams = n_beams
        self._end_tokens = frozenset(end_tokens)
        self._max_tokens = max_tokens
        self._length_penalty = length_penalty

    def advance(self, logits: Sequence[NDArray[np.float32]]) -> list[Extension]:
        """Extend every beam by a token.

        Args:
            logits: of each running beam, float32, shape (n_vocab,).

        Returns:
            The beams of the next step, in the order of `running`; empty where the search is over.
        """
        chosen: list[Extension] = []
        running: list[Hypothesis] = []
        for rank, (score, extension) in enumerate(self._candidates(logits)):
            parent = self.running[extension.parent]
            grown = Hypothesis(tokens=(*parent.tokens, extension.token), log_probability=score)
            if extension.token in self._end_tokens:
                if rank < self._n_beams:
                    self._finish(grown)
            else:
                chosen.append(extension)
                running.append(grown)
            if len(running) == self._n_beams:
                break
        self.running = running
        return [] if self._is_over() else chosen

    def best(self) -> Hypothesis:
        """The answer: the best finished one, or at full length the best of all."""
        for item in self.running:
            if len(item.tokens) >= self._max_tokens:
                self._finish(item)
        return self.finished[0] if self.finished else self.running[0]

    def score(self, item: Hypothesis) -> float:
        """log probability / length ** length_penalty."""
        length: float = float(len(item.tokens)) ** self._length_penalty
        return item.log_probability / length

    def _candidates(self, logits: Sequence[NDArray[np.float32]]) -> list[tuple[float, Extension]]:
        """The likeliest extensions of all beams, so many that enough of them don't end."""
        n = (1 + len(self._end_tokens)) * self._n_beams
        found: list[tuple[float, Extension]] = []
        for parent, (beam, row) in enumerate(zip(self.running, logits, strict=True)):
            values = row.astype(np.float64)
            peak = values.max()
            values -= peak + np.log(np.exp(values - peak).sum())
            k = min(n, len(values))
            best = np.argpartition(values, len(values) - k)[len(values) - k :]
            found += [
                (beam.log_probability + float(values[token]), Extension(parent, int(token)))
                for token in best
                if values[token] > -np.inf
            ]
        found.sort(key=lambda item: (-item[0], item[1]))
        return found[:n]

    def _finish(self, item: Hypothesis) -> None:
        self.finished.append(item)
        self.finished.sort(key=self.score, reverse=True)
        del self.finished[self._n_beams :]

    def _is_over(self) -> bool:
        """At full length, or where no running beam can get better than the finished ones.

        That is judged by its present score, as in transformers: one that would rise later with its
        length isn't waited for.
        """
        if not self.running or len(self.running[0].tokens) >= self._max_tokens:
            return True
        if len(self.finished) < self._n_beams:
            return False
        return self.score(self.finished[-1]) >= self.score(self.running[0])

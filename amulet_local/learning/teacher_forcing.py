"""What each row says about given answers, reduced to some candidates at each of their tokens.

Knows nothing about templates or about what the rows are combined for. The rows are those of a
generation, computed as a generation computes them: one prompt each, then the answer's tokens, one
by one. On quantised weights that matters: several tokens at once round otherwise, and the rows'
differences are little more than that rounding (docs/learn.md). A prefix that a row's prompts share
from one text to the next, with its preference in it, stays in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from amulet_local.common.errors import InvalidParameterError
from amulet_local.llama import memory
from amulet_local.llama.context import Logits
from amulet_local.llama.rows import RowSet
from amulet_local.optimizer.lumping import log_probabilities, lump
from amulet_local.optimizer.weights_fit import Choices

_SAMPLE_BYTES = 64 * 2**20
_MOST_SAMPLES = 48
_LEAST_SAMPLES = 4
_STRETCH = 8
"""Tokens of an answer, one decode each, between two times that rows wait for each other."""
_GOLDEN = 0.6180339887498949
"""Its multiples, less their whole parts, are spread evenly: the phases of the tail's draws."""


@dataclass(frozen=True, kw_only=True)
class GivenAnswer:
    """An answer to compute, and its prompts.

    Attributes:
        prompts: token ids of each row's prompt, the plain one first.
        tokens: the answer's, without one that ends it.
        ended: True if the end follows, False if the answer was cut off there. None if that isn't
            known: then probabilities are those given that the answer goes on.
        liked: False for one that the mirrored combination should explain.
    """

    prompts: tuple[tuple[int, ...], ...]
    tokens: tuple[int, ...]
    ended: bool | None
    liked: bool

    @property
    def n_positions(self) -> int:
        """Tokens that count, the end included."""
        return len(self.tokens) + (self.ended is True)


class FullPosition(NamedTuple):
    """One position with its whole vocabulary.

    Attributes:
        position: which, counted over all answers.
        rows: log-probabilities, float32, shape (K + 1, V).
        token: the one that was chosen.
        liked: False where the mirrored combination should explain it.
    """

    position: int
    rows: NDArray[np.float32]
    token: int
    liked: bool


@dataclass(frozen=True, kw_only=True)
class ForcedAnswers:
    """The answers' tokens and their candidates.

    Attributes:
        choices: of all answers, one after the other.
        answer_of: which answer each belongs to; int32, shape (T,).
        samples: some positions whole, spread evenly.
    """

    choices: Choices
    answer_of: NDArray[np.int32]
    samples: tuple[FullPosition, ...]


def force(
    answers: Sequence[GivenAnswer],
    rows: RowSet,
    *,
    n_vocab: int,
    end_tokens: frozenset[int],
    n_top: int,
    n_tail: int,
    fast: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ForcedAnswers:
    """Compute every row of every answer.

    Args:
        answers: at least one, each with at least one position.
        n_vocab: V.
        end_tokens: ids of the tokens that end an answer.
        n_top, n_tail: as for `lump`.
        fast: compute several tokens of an answer at once, which rounds otherwise than generation.
        progress: called with (answer tokens done, answer tokens in all).

    Raises:
        StoppedError: the stop flag was set.
        BackendError: llama.cpp failed. All rows are empty.
        InvalidParameterError: the candidates don't fit this machine's memory.
    """
    table = _Table(answers, n_vocab, end_tokens, n_top, n_tail)
    for answer in answers:
        for token, logits in _positions(answer, rows, fast):
            table.add(answer, token, logits)
            if progress is not None:
                progress(table.n_done, table.n_all)
            rows.check_stop()
    return table.forced()


def _positions(
    answer: GivenAnswer, rows: RowSet, fast: bool
) -> Iterator[tuple[int | None, Sequence[Logits]]]:
    """Each token of an answer, None for its end, and the logits that it was chosen from."""
    tokens: list[int | None] = [*answer.tokens, *([None] if answer.ended else [])]
    rows.prefill(answer.prompts)
    yield tokens[0], [rows.logits(row) for row in range(len(answer.prompts))]
    done = 1
    advance, n_most = (rows.extend, rows.n_outputs) if fast else (rows.follow, _STRETCH)
    while done < len(tokens):
        n = min(n_most, len(tokens) - done)
        following = advance(answer.tokens[done - 1 : done - 1 + n])
        yield from zip(tokens[done : done + n], following, strict=True)
        done += n


class _Table:
    """Fills the arrays of all positions."""

    def __init__(
        self,
        answers: Sequence[GivenAnswer],
        n_vocab: int,
        end_tokens: frozenset[int],
        n_top: int,
        n_tail: int,
    ) -> None:
        self.n_all = sum(answer.n_positions for answer in answers)
        self.n_done = 0
        n_rows = len(answers[0].prompts)
        n_candidates = n_top + 1 + n_tail
        _check_memory(self.n_all * n_candidates * n_rows * 4)
        self._n_top, self._n_tail = n_top, n_tail
        self._base = np.empty((self.n_all, n_candidates), dtype=np.float32)
        self._differences = np.empty((self.n_all, n_candidates, n_rows - 1), dtype=np.float32)
        self._chosen = np.empty(self.n_all, dtype=np.int32)
        self._answer_of = np.repeat(
            np.arange(len(answers), dtype=np.int32), [answer.n_positions for answer in answers]
        )
        self._rows = np.empty((n_rows, n_vocab), dtype=np.float32)
        self._ends = np.array(sorted(end_tokens), dtype=np.int64)
        fitting = _SAMPLE_BYTES // self._rows.nbytes
        n_samples = min(self.n_all, max(_LEAST_SAMPLES, min(_MOST_SAMPLES, fitting)))
        places = (np.arange(n_samples) + 0.5) * self.n_all / n_samples
        self._sampled = set(places.astype(int).tolist())
        self._samples: list[FullPosition] = []

    def add(self, answer: GivenAnswer, token: int | None, logits: Sequence[Logits]) -> None:
        for row, values in zip(self._rows, logits, strict=True):
            np.copyto(row, values)
        excluded = self._ends if answer.ended is None else self._ends[:0]
        rows = log_probabilities(self._rows, excluded)
        if token is None:  # the end that the model itself would choose
            token = int(self._ends[rows[0, self._ends].argmax()])
        at = self.n_done
        base, differences, place = lump(
            rows, token, n_top=self._n_top, n_tail=self._n_tail, phase=(at * _GOLDEN) % 1
        )
        self._base[at] = base
        self._differences[at] = differences if answer.liked else -differences
        self._chosen[at] = place
        if at in self._sampled:
            self._samples.append(FullPosition(at, rows.copy(), token, answer.liked))
        self.n_done += 1

    def forced(self) -> ForcedAnswers:
        return ForcedAnswers(
            choices=Choices(base=self._base, differences=self._differences, chosen=self._chosen),
            answer_of=self._answer_of,
            samples=tuple(self._samples),
        )


def _check_memory(n_bytes: int) -> None:
    available = memory.available_bytes()
    if available is not None and n_bytes > available:
        raise InvalidParameterError(
            f"the texts' tokens need {n_bytes / 1e9:.1f} GB of memory, and "
            f"{available / 1e9:.1f} GB are available; use fewer texts or preferences, or a smaller "
            f"top_tokens"
        )

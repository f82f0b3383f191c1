"""Two rows combined at one scale, in buffers that the next combination overwrites.

Knows nothing about which scale or which tokens: that is for realigner.py, and for the guards.
"""

from __future__ import annotations

import math
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from amulet_local.common.errors import LogitsError
from amulet_local.optimizer import compiled, kernels
from amulet_local.optimizer.candidate_kernels import Which
from amulet_local.optimizer.kernels import Logits


def top_of(row: Logits) -> int:
    """The token with the largest logit of a row, the first of equals.

    Raises:
        LogitsError: the row holds a NaN or +inf, or no token is left.
    """
    token = int(row.argmax())  # of a NaN, if there is one
    if not np.isfinite(row[token]):
        outcome = kernels.NOTHING_LEFT if row[token] == -np.inf else kernels.NAN_OR_INFINITY
        refuse(row, row, np.float32(0), token, outcome)
    return token


class CombinedRow:
    """The combination that was written last.

    Attributes:
        logits: z, float32, shape (n_vocab,).
        candidates: int32, shape (3 * n_vocab,): the bits of n_vocab llama_token_data
            {int32 id; float logit; float p}; `fill_candidates` writes it.
        n_written: how often `logits` was written.
        scratch: float32, shape (n_vocab,), for passes; valid until the next call.
    """

    def __init__(self, n_vocab: int) -> None:
        self.logits = np.empty(n_vocab, dtype=np.float32)
        self._work = np.empty((2, n_vocab), dtype=np.float32)
        self.scratch = self._work[0]
        self.candidates = np.empty(3 * n_vocab, dtype=np.int32)
        self.n_written = 0
        self._blank = np.zeros((n_vocab, 3), dtype=np.int32)
        self._blank[:, 0] = np.arange(n_vocab)

    def write(self, plain: Logits, preference: Logits, scale: float) -> int:
        """Combine; returns the token with the largest logit, the first of equals.

        Raises:
            LogitsError: a row holds a NaN or +inf, or no token is left.
        """
        self.n_written += 1
        compiled.count(len(plain))
        extra = np.float32(scale - 1.0)
        token, is_sound = kernels.combine(plain, preference, extra, self.logits)
        return token if is_sound else self.write_checked(plain, preference, extra)

    def write_checked(self, plain: Logits, preference: Logits, extra: np.float32) -> int:
        """The same of rows that may hold -inf. extra: the scale less 1."""
        self.n_written += 1
        token, outcome = kernels.combine_checked(plain, preference, extra, self.logits)
        if outcome != kernels.FOUND:
            refuse(plain, preference, extra, token, outcome)
        return token

    def write_among(self, tokens: kernels.Tokens, logits: Logits) -> None:
        """These logits for these tokens; no other may be chosen."""
        self.n_written += 1
        self.logits.fill(-np.inf)
        self.logits[tokens] = logits

    def fill_candidates(self, which: Which | None) -> NDArray[np.int32]:
        """Write a candidate for every token, or for those that matter.

        Returns:
            The part of `candidates` that was written.
        """
        tokens = None if which is None else which(self.logits)
        if tokens is not None:
            return self.fill_with(tokens, self.logits[tokens])
        table = self.candidates.reshape(-1, 3)
        table[:] = self._blank
        table[:, 1] = self.logits.view(np.int32)
        return self.candidates

    def fill_with(self, tokens: NDArray[np.integer], logits: Logits) -> NDArray[np.int32]:
        """Write candidates of these tokens and logits; returns the part that was written."""
        written = self.candidates[: 3 * len(tokens)]
        written[0::3] = tokens
        written[1::3] = logits.view(np.int32)
        written[2::3] = 0
        return written

    def log_normaliser(self, row: Logits) -> float:
        """log sum exp of a row of logits, to about 1e-6.

        Raises:
            LogitsError: the row holds a NaN or +inf, or no token is left.
        """
        peak = row[top_of(row)]
        compiled.count(len(row))
        return float(peak) + math.log(kernels.passes.exponential_sum(row, peak, self._work))

    def moments(self, row: Logits, peak: np.float32) -> tuple[float, float]:
        """With e = exp(row - peak): sum e, sum e (row - peak)."""
        compiled.count(len(row))
        return kernels.passes.moments(row, peak, self._work)

    def tilt_sums(self, best: int, reference: Logits) -> tuple[float, float, float]:
        """With e = exp(z - z_best): sum e, sum e (z - z_best), sum e reference."""
        compiled.count(len(reference))
        peak = self.logits[best]
        return kernels.passes.tilt_sums(self.logits, peak, reference, self._work)


class Tilt:
    """Two rows combined at one scale: what was found out once needn't be computed again.

    What is computed lies in the buffers of `row`, and is computed anew where other rows or another
    scale have overwritten it.

    Attributes:
        best: the token with the largest combined logit, the first of equals.
    """

    __slots__ = ("_moments", "_n_written", "_row", "_rows", "best", "scale")

    def __init__(self, row: CombinedRow, plain: Logits, preference: Logits, scale: float) -> None:
        """Combine.

        Raises:
            LogitsError: a row holds a NaN or +inf, or no token is left.
        """
        self.scale = scale
        self._row = row
        self._rows = plain, preference
        self._moments: tuple[float, float, float] | None = None
        self._combine()

    def _combine(self) -> None:
        self.best = self._row.write(*self._rows, self.scale)
        self._n_written = self._row.n_written

    def _combined(self) -> CombinedRow:
        if self._n_written != self._row.n_written:
            self._combine()
        return self._row

    def _weighed(self) -> tuple[float, float, float]:
        """With e = exp(z - z_best): sum e, sum e (z - z_best), sum e l1."""
        if self._moments is None:
            self._moments = self._combined().tilt_sums(self.best, self._rows[1])
        return self._moments

    def entropy(self) -> float:
        """The combination's entropy, in nats: log S - sum_j e_j x_j / S, x = z - z_best."""
        total, first, _ = self._weighed()
        return math.log(total) - first / total

    def divergence(self, normaliser: float) -> float:
        """KL(combination || combination at scale 1), as Realigner.divergence.

        Args:
            normaliser: log Z_1.
        """
        total, first, of_reference = self._weighed()
        return max(0.0, (first - of_reference) / total - math.log(total) + normaliser)

    def fill_candidates(self, which: Which | None) -> NDArray[np.int32]:
        """Realigner.fill_candidates of these rows."""
        return self._combined().fill_candidates(which)


def refuse(
    plain: Logits, preference: Logits, extra: np.float32, token: int, outcome: int
) -> NoReturn:
    """Raise what an outcome of `kernels.combine_checked` means."""
    if outcome == kernels.NOTHING_LEFT:
        raise LogitsError("the model gives every token a probability of zero; no token is left")
    raise LogitsError(
        f"the logits of token {token} are not finite (plain {plain[token]}, preference "
        f"{preference[token]}, guidance scale {float(extra) + 1:g}): the model file may be "
        f"damaged, or its weights overflow in this precision"
    )

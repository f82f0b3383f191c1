"""Combines the rows of logits of one step and finds the next token or the sampler's candidates.

Owns the buffers that the kernels write into, so that a step allocates nothing. Knows nothing about
models, prompts or llama.cpp: it sees float32 vectors and one number, the guidance scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from amulet_local.errors import LogitsError

Logits = NDArray[np.float32]


class Realigner:
    """Combination of plain and preference logits over a vocabulary of `n_vocab` tokens.

    Not safe for use by two threads at once: the buffers are shared between calls.

    Attributes:
        candidates: int32, shape (3 * n_vocab,): the bits of n_vocab llama_token_data
            {int32 id; float logit; float p}, written by `fill_candidates`.
    """

    def __init__(self, n_vocab: int) -> None:
        from amulet_local.optimizer import kernels  # imports Numba

        self.n_vocab = n_vocab
        self.candidates = np.empty(3 * n_vocab, dtype=np.int32)
        self._scratch = np.empty(kernels.BLOCK, dtype=np.float32)
        self._mixed = np.empty(n_vocab, dtype=np.float32)
        self._combined = np.empty(n_vocab, dtype=np.float32)
        self._kernels = kernels

    def warm_up(self) -> None:
        """Compile the kernels, or load them from the cache, before the first token needs them."""
        row = np.zeros(self.n_vocab, dtype=np.float32)
        self.greedy(row, row, 1.0)
        self.fill_candidates(row, row, 1.0)

    def mix(self, plain: Logits, preferences: Sequence[Logits], weights: Sequence[float]) -> Logits:
        """Preference row of a mix: l0 + sum_k w_k (l_k - l0), the combination at scale 1.

        A single preference of weight 1 comes back as it is, without a copy; otherwise the result
        is valid until the next call.

        Args:
            plain: logits under the plain prompt, float32, shape (n_vocab,).
            preferences: logits under each preference prompt, the same.
            weights: one weight per preference, any sign.
        """
        if len(preferences) == 1 and weights[0] == 1.0:
            return preferences[0]
        add = self._kernels.start_mix
        for row, weight in zip(preferences, weights, strict=True):
            add(plain, row, np.float32(weight), self._mixed)
            add = self._kernels.add_to_mix
        return self._mixed

    def greedy(self, plain: Logits, preference: Logits, guidance_scale: float) -> int:
        """Token with the largest combined logit, the first of equals.

        Raises:
            LogitsError: a row holds a NaN or +inf, or no token is left.
        """
        extra = np.float32(guidance_scale - 1.0)
        token, low, high = self._kernels.greedy(plain, preference, extra, self._scratch)
        if self._finite(low, high):
            return int(token)
        return self._combine_checked(plain, preference, extra)

    def fill_candidates(self, plain: Logits, preference: Logits, guidance_scale: float) -> None:
        """Write every token with its combined logit into `candidates`.

        Raises:
            LogitsError: a row holds a NaN or +inf, or no token is left.
        """
        extra = np.float32(guidance_scale - 1.0)
        low, high = self._kernels.fill_candidates(
            plain, preference, extra, self._scratch, self.candidates
        )
        if not self._finite(low, high):
            self._combine_checked(plain, preference, extra)
            self.candidates[1::3] = self._combined.view(np.int32)

    def combine(self, plain: Logits, preference: Logits, guidance_scale: float) -> Logits:
        """The combined logits, float32, shape (n_vocab,), valid until the next call.

        Raises:
            LogitsError: a row holds a NaN or +inf, or no token is left.
        """
        self._combine_checked(plain, preference, np.float32(guidance_scale - 1.0))
        return self._combined

    def _combine_checked(self, plain: Logits, preference: Logits, extra: np.float32) -> int:
        token, outcome = self._kernels.combine_checked(plain, preference, extra, self._combined)
        if outcome == self._kernels.FOUND:
            return int(token)
        if outcome == self._kernels.NOTHING_LEFT:
            raise LogitsError("the model gives every token a probability of zero; no token is left")
        raise LogitsError(
            f"the logits of token {token} are not finite (plain {plain[token]}, preference "
            f"{preference[token]}, guidance scale {float(extra) + 1:g}): the model file may be "
            f"damaged, or its weights overflow in this precision"
        )

    def _finite(self, low: int, high: int) -> bool:
        kernels = self._kernels
        return bool(low > kernels.KEY_OF_MINUS_INFINITY and high < kernels.KEY_OF_INFINITY)

"""The weights of a mix's preferences, from token to token.

Knows nothing about guards or scales.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from amulet_local.optimizer.realigner import Logits, Realigner
from amulet_local.params.amulet import AmuletParams


class MixWeights:
    """Weights that stay as they are, or shift towards preferences that the text lags behind on.

    Adaptive ones are w_k = W * w0_k exp(-R_k / tau) / sum_j w0_j exp(-R_j / tau), with W the sum of
    the initial weights w0 and R_k = sum_t log p_k(y_t) - log p_0(y_t) over the text so far (MATO,
    arXiv 2605.25342).
    """

    def __init__(self, initial: Sequence[float], amulet: AmuletParams) -> None:
        """Begin with the initial weights and the settings of the mix."""
        self._ratios = [0.0] * len(initial)
        self.change(initial, amulet)

    def change(self, initial: Sequence[float], amulet: AmuletParams) -> None:
        """Go on with others of the same rows."""
        self._initial = tuple(initial)
        self._temperature = amulet.mix_temperature
        self._is_adaptive = amulet.mix == "adaptive" and len(initial) > 1

    def now(self) -> tuple[float, ...]:
        """The weights of the next token."""
        initial = self._initial
        if not self._is_adaptive:
            return initial
        lag = [-ratio / self._temperature for ratio in self._ratios]
        top = max(lag)
        shares = [w * math.exp(value - top) for w, value in zip(initial, lag, strict=True)]
        return tuple(math.fsum(initial) * share / math.fsum(shares) for share in shares)

    def accept(self, token: int, rows: Sequence[Logits], realigner: Realigner) -> None:
        """Take note of the chosen token.

        Args:
            rows: what it was chosen from, the plain row first; none if it wasn't chosen here.
        """
        if not self._is_adaptive or not rows:
            return
        plain, *preferences = (float(row[token]) - realigner.log_normaliser(row) for row in rows)
        for k, log_p in enumerate(preferences):
            self._ratios[k] += log_p - plain

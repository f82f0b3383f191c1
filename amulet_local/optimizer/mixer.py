"""Makes one preference row of several.

Owns the buffers of that. Knows nothing about strength or guards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from amulet_local.optimizer import kernels
from amulet_local.optimizer.combined_row import CombinedRow
from amulet_local.optimizer.kernels import Logits


class Mix(NamedTuple):
    """The preference row of a mix.

    Attributes:
        row: logits, float32, shape (n_vocab,).
        plain_normaliser: log sum exp of the plain row, where it was computed.
    """

    row: Logits
    plain_normaliser: float | None


class Mixer:
    """Mixes of preference rows. Its buffers are shared between calls."""

    def __init__(self, combined: CombinedRow) -> None:
        """Start.

        Args:
            combined: whose scratch the passes may use.
        """
        self._combined = combined
        self._mixed, self._highest, self._log_p = np.empty(
            (3, len(combined.logits)), dtype=np.float32
        )

    def mix(
        self,
        plain: Logits,
        preferences: Sequence[Logits],
        weights: Sequence[float],
        *,
        most: float | None = None,
    ) -> Mix:
        """Preference row of a mix: l0 + sum_k w_k (l_k - l0), the combination at scale 1.

        A single preference of weight 1 comes back as it is, without a copy; otherwise the row is
        valid until the next call.

        A product of rows can be largest where each of them is tiny: a token at -33, -19 and -13
        nats is at 0 in the mix of both. So log p0 + sum_k w_k (log p_k - log p0) is cut at `most`
        nats above the largest of log p0 and those log p_k whose weight is above 0.

        Args:
            plain: logits under the plain prompt, float32, shape (n_vocab,).
            preferences: logits under each preference prompt, the same.
            weights: one weight per preference, any sign.
            most: in nats; None cuts nothing.

        Raises:
            LogitsError: where something is cut, and a row holds a NaN or +inf, or no token is left.
        """
        if len(preferences) == 1 and weights[0] == 1.0:
            return Mix(preferences[0], None)
        np.copyto(self._mixed, plain)
        for row, weight in zip(preferences, weights, strict=True):
            kernels.add_to_mix(plain, row, np.float32(weight), self._mixed, self._combined.scratch)
        plain_normaliser = None
        if most is not None:
            plain_normaliser = self._combined.log_normaliser(plain)
            self._cut(plain, plain_normaliser, preferences, weights, most)
        return Mix(self._mixed, plain_normaliser)

    def _cut(
        self,
        plain: Logits,
        plain_normaliser: float,
        preferences: Sequence[Logits],
        weights: Sequence[float],
        most: float,
    ) -> None:
        shift = plain_normaliser  # of the mixed logits against those of log-probabilities
        np.subtract(plain, np.float32(plain_normaliser), out=self._highest)
        for row, weight in zip(preferences, weights, strict=True):
            normaliser = self._combined.log_normaliser(row)
            shift += weight * (normaliser - plain_normaliser)
            if weight > 0:
                np.subtract(row, np.float32(normaliser), out=self._log_p)
                np.maximum(self._highest, self._log_p, out=self._highest)
        self._highest += np.float32(shift + most)
        np.minimum(self._mixed, self._highest, out=self._mixed)

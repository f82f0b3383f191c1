"""Sums up how strongly the tokens of an answer were steered.

Knows nothing about how scales and divergences come about.
"""

from __future__ import annotations

import math

from amulet_local.common.results import AppliedStrength


class Applied:
    """Scales and divergences, token by token."""

    def __init__(self) -> None:
        """None so far."""
        self._scales: list[float] = []
        self._kls: list[float] = []

    def note(self, scale: float, kl: float) -> None:
        """Take note of a token.

        Args:
            scale: its guidance scale.
            kl: KL(realigned || combination at scale 1), in nats.
        """
        self._scales.append(scale)
        self._kls.append(kl)

    @property
    def strength(self) -> AppliedStrength | None:
        """What they come to; None without a token."""
        n_tokens = len(self._scales)
        if not n_tokens:
            return None
        return AppliedStrength(
            mean_scale=math.fsum(self._scales) / n_tokens,
            lowest_scale=min(self._scales),
            highest_scale=max(self._scales),
            mean_kl=math.fsum(self._kls) / n_tokens,
        )

"""Which rows a generation computes.

Knows nothing about how rows are computed, or combined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from amulet_local.steering.methods import DecodingMethod


@dataclass(frozen=True, kw_only=True)
class RowPlan:
    """Which rows a generation computes.

    Attributes:
        has_plain: whether row 0 is the plain prompt's; the others are the preferences'.
        weights: one per preference row.
    """

    has_plain: bool
    weights: tuple[float, ...]

    @staticmethod
    def of(method: DecodingMethod, weights: Sequence[float]) -> RowPlan:
        """The rows that `method` needs for preferences of these weights."""
        if not method.needs_preference:
            return RowPlan(has_plain=True, weights=())
        is_mix = tuple(weights) != (1.0,)
        return RowPlan(has_plain=method.needs_plain or is_mix, weights=tuple(weights))

    @property
    def is_pair(self) -> bool:
        """Whether it is the plain row and one preference's, which needs no other at scale 1."""
        return self.has_plain and self.weights == (1.0,)

    def without_plain(self) -> RowPlan:
        """The preference rows alone."""
        return RowPlan(has_plain=False, weights=self.weights)

    @property
    def n_rows(self) -> int:
        """Rows to compute."""
        return self.has_plain + len(self.weights)

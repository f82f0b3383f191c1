"""One token on its way through the guards: from its rows to what it is chosen from.

Knows nothing about what guards there are. A `Step` is made anew for each token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from amulet_local.optimizer.candidate_kernels import Which
from amulet_local.optimizer.realigner import Logits, Realigner, Tokens
from amulet_local.optimizer.row_pair import RowPair


class Combination(NamedTuple):
    """l1 + (scale - 1) * (l1 - l0), for the tokens that may be chosen: a Realigner's arguments.

    Attributes:
        plain, preference: l0 and l1, float32, shape (n_vocab,).
        scale: a.
        tokens: ids of the tokens that may be chosen, None for all.
    """

    plain: Logits
    preference: Logits
    scale: float
    tokens: Tokens | None


class Step:
    """What the guards of a generation know about the next token, and change.

    Attributes:
        reference: the rows as they came; guards compare with its l1, the combination at scale 1.
        rows: what the guards made of them so far.
        scale: a, the same.
        tokens: ids of the tokens that may be chosen, None for all.
        noise: standard deviation of the model's rounding noise in l1 - l0, in logits.
        has_preference: whether l1 is more than the plain row.
    """

    __slots__ = (
        "_divergence",
        "_is_settled",
        "_possible",
        "_realigner",
        "has_preference",
        "noise",
        "reference",
        "rows",
        "scale",
        "tokens",
    )

    def __init__(
        self, realigner: Realigner, rows: RowPair, scale: float, noise: float, has_preference: bool
    ) -> None:
        """Start with rows that no guard has seen."""
        self.reference = self.rows = self._possible = rows
        self.scale = scale
        self.tokens: Tokens | None = None
        self.noise = noise
        self.has_preference = has_preference
        self._realigner = realigner
        self._divergence: float | None = None
        self._is_settled = False

    @property
    def possible(self) -> RowPair:
        """The reference without what is ruled out."""
        return self._possible

    @property
    def is_settled(self) -> bool:
        """Whether only tokens may come that the answer's form requires."""
        return self._is_settled

    def leave_out(self, tokens: Tokens) -> None:
        """Begin with rows that rule these tokens out."""
        self.reference = self.rows = self._possible = self.reference.without(tokens)

    def require(self, tokens: Tokens) -> None:
        """Leave these tokens alone to be chosen, whatever guards would say."""
        self.rows = self.reference.only(tokens)
        self._is_settled = True

    def refuse(self, tokens: Sequence[int] | Tokens) -> None:
        """Rule these tokens out; before any guard narrows the choice down to `tokens`."""
        assert self.tokens is None
        self.rows = self._possible = self.rows.without(tokens)

    def start_over(self, scale: float) -> None:
        """Choose at this scale from what isn't ruled out, whatever else guards have changed."""
        self.rows, self.scale, self.tokens = self._possible, scale, None

    def restrain(self, tokens: Sequence[int]) -> None:
        """Let these tokens gain nothing from a scale above 1."""
        self.rows = self.rows.restrained(np.array(tokens, dtype=np.int32))

    @property
    def combination(self) -> Combination:
        """What the token is chosen from."""
        return Combination(self.rows.plain, self.rows.preference, self.scale, self.tokens)

    def likeliest(self) -> int:
        """The token with the largest combined logit; to be asked when the guards are done.

        Raises:
            LogitsError: a row holds a NaN or +inf, or no token is left.
        """
        if self.tokens is None:
            return self.rows.tilt(self.scale).best
        return self._realigner.greedy(*self.combination)

    def candidates(self, which: Which | None) -> Tokens:
        """What Realigner.fill_candidates writes; to be asked when the guards are done.

        Raises:
            LogitsError: a row holds a NaN or +inf, or no token is left.
        """
        if self.tokens is None:
            return self.rows.tilt(self.scale).fill_candidates(which)
        return self._realigner.fill_candidates(*self.combination)

    def divergence(self) -> float:
        """KL(combination || combination at scale 1), in nats; to be asked when guards are done.

        Raises:
            LogitsError: a row holds a NaN or +inf, or no token is left.
        """
        if self._divergence is None:
            self._divergence = self.rows.divergence(self.scale, self.tokens)
        return self._divergence

    def entropy(self) -> float:
        """The combination's entropy, in nats; to be asked when the guards are done.

        Raises:
            LogitsError: a row holds a NaN or +inf, or no token is left.
        """
        if self.tokens is None:
            return self.rows.tilt(self.scale).entropy()
        return self._realigner.entropy(*self.combination)

"""The two rows of one step, and where they are largest: found when first asked for, and only once.

Knows nothing about guards or models. Rows of logits are views that the next decode overwrites. So
what is remembered belongs to an object that is made anew for each step and dropped with it, and
other rows are another object: a maximum can't outlive the rows that it is the maximum of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from amulet_local.optimizer.combined_row import Tilt, top_of
from amulet_local.optimizer.realigner import Logits, Realigner, Tokens

MOST_REFUSED = 0.5
"""Share of l1's probability up to which what is ruled out is taken off sums; beyond it what is left
would be the small difference of two large numbers."""


class RowPair:
    """l0 and l1 of one step.

    Every method raises LogitsError where a row that it looks at holds a NaN or +inf, or leaves no
    token.

    Attributes:
        plain, preference: l0 and l1, float32, shape (n_vocab,). They may not change while this
            object is in use.
    """

    __slots__ = (
        "_best",
        "_moments",
        "_origin",
        "_plain_normaliser",
        "_realigner",
        "_refused",
        "_tilt",
        "_top",
        "plain",
        "preference",
    )

    def __init__(
        self,
        realigner: Realigner,
        plain: Logits,
        preference: Logits,
        origin: RowPair | None = None,
        refused: Tokens | None = None,
        plain_normaliser: float | None = None,
    ) -> None:
        """Take two rows.

        Args:
            origin: a pair with the same l1, but for tokens that one of these rows rules out.
            refused: those that l1 rules out, each once.
            plain_normaliser: log sum exp of l0, where it is known.
        """
        self.plain = plain
        self.preference = preference
        self._realigner = realigner
        self._origin = origin
        self._best: int | None = None
        self._top: int | None = None
        self._refused = refused
        self._moments: tuple[float, float] | None = None
        self._plain_normaliser = plain_normaliser
        self._tilt: Tilt | None = None

    @property
    def best(self) -> int:
        """The token with the largest l1 of those that are possible in both rows."""
        if self._best is None:
            best = None if self._origin is None else self._origin.best
            if best is None or -np.inf in (self.plain[best], self.preference[best]):
                best, all_are_possible = self._realigner.peak(self.plain, self.preference)
                if all_are_possible:
                    self._top = best
            self._best = best
        return self._best

    @property
    def top(self) -> int:
        """The token with the largest l1, whatever l0 is."""
        if self._top is None:
            self._top = self._find_top()
        return self._top

    def _find_top(self) -> int:
        if self._origin is not None:
            top = self._origin.top
            if self.preference[top] != -np.inf:
                return top
        elif self.best == self._top:  # every token is possible
            return self.best
        return top_of(self.preference)

    def log_p(self, token: int) -> float:
        """The log-probability of a token under l1, in nats."""
        return float(self.preference[token]) - self.normaliser

    @property
    def normaliser(self) -> float:
        """log sum exp of l1."""
        return self.found_moments()[0]

    @property
    def plain_normaliser(self) -> float:
        """log sum exp of l0."""
        if self._origin is not None and self._origin.plain is self.plain:
            return self._origin.plain_normaliser
        if self._plain_normaliser is None:
            self._plain_normaliser = self._realigner.log_normaliser(self.plain)
        return self._plain_normaliser

    def share(self, tokens: Sequence[int] | Tokens) -> float:
        """The probability under l1 that one of these tokens comes."""
        logits = self.preference[np.asarray(tokens, dtype=np.intp)].astype(np.float64)
        return float(np.exp(logits - self.normaliser).sum())

    def plain_share(self, tokens: Sequence[int] | Tokens) -> float:
        """The same under l0."""
        logits = self.plain[np.asarray(tokens, dtype=np.intp)].astype(np.float64)
        return float(np.exp(logits - self.plain_normaliser).sum())

    def gain(self, tokens: Sequence[int]) -> float:
        """By how many nats l1 makes it likelier than l0 does that one of these tokens comes.

        -inf where l1 rules all of them out.
        """
        ours, plain = (
            float(np.logaddexp.reduce(row[list(tokens)].astype(np.float64)))
            for row in (self.preference, self.plain)
        )
        return (
            -math.inf
            if ours == -math.inf
            else (ours - self.normaliser) - (plain - self.plain_normaliser)
        )

    def entropy(self) -> float:
        """The entropy of l1's distribution, in nats."""
        return self.found_moments()[1]

    def found_moments(self) -> tuple[float, float]:
        """log Z = log sum exp of l1, and the entropy."""
        if self._moments is None:
            self._moments = self._moments_of_origin()
            if self._moments is None:
                self._moments = self._realigner.moments(self.preference, best=self.top)
        return self._moments

    def _moments_of_origin(self) -> tuple[float, float] | None:
        """The origin's, less what is refused here, where that can be told from those.

        With p the origin's probabilities, r = sum p and g = sum p log p of what is refused, which
        the origin still had, Z' = Z (1 - r), and the entropy is (H + g) / (1 - r) + log(1 - r).
        """
        if self._origin is None:
            return None
        if self._refused is None:
            return self._origin.found_moments()
        log_z, entropy = self._origin.found_moments()
        row = self._origin.preference
        gone = row[self._refused].astype(np.float64) - log_z
        gone = gone[gone > -np.inf]
        share = float(np.exp(gone).sum())
        if share > MOST_REFUSED:
            return None
        left = 1.0 - share
        return (
            log_z + math.log(left),
            (entropy + float((np.exp(gone) * gone).sum())) / left + math.log(left),
        )

    def without(self, tokens: Sequence[int] | Tokens) -> RowPair:
        """The pair with these tokens ruled out in a copy of l1."""
        tokens = np.unique(np.asarray(tokens, dtype=np.int32))
        preference = self.preference.copy()
        preference[tokens] = -np.inf
        plain = preference if self.plain is self.preference else self.plain
        return RowPair(self._realigner, plain, preference, self, tokens)

    def only(self, tokens: Tokens) -> RowPair:
        """The pair with all but these tokens ruled out in a copy of l1."""
        preference = np.full_like(self.preference, -np.inf)
        preference[tokens] = self.preference[tokens]
        plain = preference if self.plain is self.preference else self.plain
        return RowPair(self._realigner, plain, preference)

    def shrunken(self, threshold: float) -> RowPair:
        """The pair with `Realigner.shrink`'s plain row."""
        plain = self._realigner.shrink(self.plain, self.preference, threshold, best=self.best)
        return RowPair(self._realigner, plain, self.preference, self)

    def capped(self, most: float) -> RowPair:
        """The pair with `Realigner.cap`'s plain row."""
        normalisers = self.plain_normaliser, self.normaliser
        plain = self._realigner.cap(self.plain, self.preference, most, normalisers=normalisers)
        return RowPair(self._realigner, plain, self.preference, self)

    def restrained(self, held: Tokens) -> RowPair:
        """The pair with `Realigner.restrain`'s plain row."""
        plain = self._realigner.restrain(self.plain, self.preference, held, best=self.best)
        return RowPair(self._realigner, plain, self.preference, self)

    def plausible(self, min_plausibility: float, nucleus: float, temperature: float) -> Tokens:
        """The tokens that `Realigner.plausible` finds."""
        return self._realigner.plausible(
            self.plain, self.preference, min_plausibility, nucleus, temperature, best=self.best
        )

    def tilt(self, scale: float) -> Tilt:
        """The combination at that scale."""
        if self._tilt is None or self._tilt.scale != scale:
            self._tilt = Tilt(self._realigner.combined, self.plain, self.preference, scale)
        return self._tilt

    def divergence(self, scale: float, tokens: Tokens | None) -> float:
        """What `Realigner.divergence` finds.

        Args:
            scale: a.
            tokens: those that may be chosen, None for all.
        """
        if tokens is None:
            return 0.0 if scale == 1 else self.tilt(scale).divergence(self.normaliser)
        return self._realigner.divergence(
            self.plain, self.preference, scale, tokens, normaliser=self.normaliser
        )

    def scale_within(self, guidance_scale: float, kl_budget: float, tokens: Tokens | None) -> float:
        """The scale that `Realigner.scale_within` finds.

        Args:
            guidance_scale: above 1.
            kl_budget: in nats, >= 0.
            tokens: what `plausible` just returned, None for all.
        """
        best = None if tokens is not None else self.best
        return self._realigner.scale_within(
            self.plain, self.preference, guidance_scale, kl_budget, tokens, best=best
        )

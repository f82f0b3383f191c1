"""Combines the rows of logits of one step and finds the next token or the sampler's candidates.

Owns the buffers that the passes of kernels.py write into. Knows nothing about models, prompts or
llama.cpp: it sees float32 vectors and a few numbers. `mixer`, `cap`, `shrink`, `scale_within` and
`plausible` prepare a combination (what the preference row is, what the plain row is, which scale,
which tokens); `greedy`, `fill_candidates` and `combine` carry it out. Where the rows are largest
costs a pass over them: `peak` finds it, and what is told it (`best`) needn't look again. RowPair
remembers it for a step, and the `Tilt` of its rows (combined_row.py).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from amulet_local.common.errors import LogitsError
from amulet_local.optimizer import kernels
from amulet_local.optimizer.candidate_kernels import Which
from amulet_local.optimizer.combined_row import CombinedRow, Tilt, top_of
from amulet_local.optimizer.mixer import Mixer

Logits = NDArray[np.float32]
Tokens = NDArray[np.int32]

PLAUSIBLE = 0.01
"""Share of the largest probability from which on a token counts for the centre of `shrink`."""

REACH_NATS = 18.0
"""Tokens that stay this far below the best one at every scale are left out of `scale_within`."""

LOWEST = float(np.finfo(np.float32).min)

SMALL_NUCLEUS = 1024
"""Tokens that a nucleus is looked for in first: to sort a whole vocabulary takes milliseconds."""


def likeliest(weights: NDArray[np.float64], n: int) -> NDArray[np.intp]:
    """Where the `n` largest weights are, or all of them, the largest first."""
    n = min(n, len(weights))
    places = np.argpartition(weights, len(weights) - n)[len(weights) - n :]
    return places[np.argsort(-weights[places], kind="stable")]


class Realigner:
    """Combination of plain and preference logits over a vocabulary of `n_vocab` tokens.

    Not safe for use by two threads at once: the buffers are shared between calls.

    Attributes:
        combined: what was combined last, and its candidates.
        mixer: makes one preference row of several.
    """

    def __init__(self, n_vocab: int) -> None:
        self.n_vocab = n_vocab
        self.combined = CombinedRow(n_vocab)
        rows = np.empty((3, n_vocab), dtype=np.float32)
        self._capped, self._shrunken, self._restrained = rows
        self.mixer = Mixer(self.combined)
        self._kept = np.empty(0, dtype=np.int32)
        self._kept_logits, self._kept_differences = np.empty((2, 0), dtype=np.float32)

    def peak(self, plain: Logits, preference: Logits) -> tuple[int, bool]:
        """The token with the largest logit at scale 1, and whether all are possible in both rows.

        Arguments and errors are those of `greedy`. The token is the one that other methods take as
        `best` for these rows.
        """
        token, is_finite = kernels.top(preference)
        if is_finite and (plain is preference or kernels.top(plain)[1]):
            return token, True
        return self.combined.write_checked(plain, preference, np.float32(0)), False

    def cap(
        self,
        plain: Logits,
        preference: Logits,
        most: float,
        *,
        normalisers: tuple[float, float] | None = None,
    ) -> Logits:
        """A plain row under which no token's log p1 - log p0 is above `most`.

        Where it is, the result, valid until the next call, is what makes it `most`.

        Args:
            plain, preference: logits, float32, shape (n_vocab,).
            most: in nats, above 0.
            normalisers: log sum exp of either row, where they are known.

        Raises:
            LogitsError: a row holds a NaN or +inf, or no token is left.
        """
        if normalisers is None:
            normalisers = self.log_normaliser(plain), self.log_normaliser(preference)
        shift = normalisers[1] - normalisers[0] + most
        kernels.passes.cap_difference(plain, preference, np.float32(shift), self._capped)
        return self._capped

    def shrink(
        self, plain: Logits, preference: Logits, threshold: float, *, best: int | None = None
    ) -> Logits:
        """A plain row whose differences from the preference row are free of small ones.

        d = l1 - l0 - c becomes sign(d) * max(|d| - threshold, 0), with c the mean of l1 - l0 over
        the tokens with at least PLAUSIBLE times the largest probability under l1. The result,
        valid until the next call, is l1 less those, so that l1 + (a - 1) * (l1 - result) scales
        what is left.

        Args:
            plain, preference: logits, float32, shape (n_vocab,).
            threshold: in logits, >= 0.
            best: these rows' peak, where it is known.

        Raises:
            LogitsError: a row holds a NaN or +inf, or no token is left.
        """
        if best is None:
            best = self.peak(plain, preference)[0]
        floor = np.float32(preference[best] + math.log(PLAUSIBLE))
        center = kernels.mean_difference(plain, preference, floor)
        kernels.shrink_difference(
            plain, preference, np.float32(center), np.float32(threshold), self._shrunken
        )
        return self._shrunken

    def restrain(
        self, plain: Logits, preference: Logits, held: Tokens, *, best: int | None = None
    ) -> Logits:
        """A plain row under which the tokens `held` gain nothing from a scale above 1.

        Their differences l1 - l0 become at most c, the mean over the other tokens with at least
        PLAUSIBLE times the largest probability under l1. The result is valid until the next call.

        Args:
            plain, preference: logits, float32, shape (n_vocab,).
            held: token ids, int32.
            best: these rows' peak, where it is known.

        Raises:
            LogitsError: a row holds a NaN or +inf, or no token is left.
        """
        if best is None:
            best = self.peak(plain, preference)[0]
        likely = np.flatnonzero(preference >= preference[best] + math.log(PLAUSIBLE))
        others = likely[~np.isin(likely, held) & (plain[likely] > -np.inf)]
        counted = others if len(others) else likely[likely == best]
        center = float((preference[counted] - plain[counted]).mean())
        np.copyto(self._restrained, plain)
        with np.errstate(invalid="ignore"):
            limit = np.maximum(plain[held], preference[held] - np.float32(center))
        self._restrained[held] = np.where(plain[held] == -np.inf, -np.inf, limit)
        return self._restrained

    def scale_within(
        self,
        plain: Logits,
        preference: Logits,
        guidance_scale: float,
        kl_budget: float,
        tokens: Tokens | None = None,
        *,
        best: int | None = None,
    ) -> float:
        """Largest scale in [1, guidance_scale] with KL(pi_a || pi_1) <= kl_budget, in nats.

        A scale of at most 1 comes back as it is.

        Args:
            plain, preference, guidance_scale: those of `greedy`.
            kl_budget: >= 0.
            tokens: what `plausible` just returned for these rows: both distributions are those
                over these tokens.
            best: these rows' peak, where it is known.

        Raises:
            LogitsError: a row holds a NaN or +inf, or no token is left.
        """
        extra = guidance_scale - 1.0
        if extra <= 0:
            return guidance_scale
        if tokens is None:
            if best is None:
                best = self.peak(plain, preference)[0]
            self._collect(plain, preference, extra, best, -REACH_NATS)
        logits, differences = self._kept_logits, self._kept_differences
        return 1.0 + kernels.largest_tilt(logits, differences, extra, kl_budget)

    def plausible(
        self,
        plain: Logits,
        preference: Logits,
        min_plausibility: float = 0.0,
        nucleus: float = 1.0,
        nucleus_temperature: float = 1.0,
        *,
        best: int | None = None,
    ) -> Tokens:
        """Tokens that are likely enough under l1.

        Args:
            min_plausibility: share of the largest probability that they have at least; 0 to 1.
            nucleus: of these the likeliest ones, as few as make up this probability; above 0, 1 is
                all.
            nucleus_temperature: of the distribution that the nucleus is taken from, above 0.
            best: these rows' peak, where it is known.

        Returns:
            Their ids in order, int32: valid until the next call of `plausible`, or of
            `scale_within` without them.

        Raises:
            LogitsError: a row holds a NaN or +inf, or no token is left.
        """
        if best is None:
            best = self.peak(plain, preference)[0]
        limit = math.log(min_plausibility) if min_plausibility > 0 else LOWEST
        self._collect(plain, preference, 0.0, best, limit)
        if nucleus < 1:
            self._keep_nucleus(nucleus, nucleus_temperature)
        return self._kept

    def _keep_nucleus(self, nucleus: float, temperature: float) -> None:
        """Keep the nucleus of the tokens that were collected."""
        weights = np.exp(self._kept_logits / np.float64(temperature))
        order = likeliest(weights, SMALL_NUCLEUS)
        reached = np.cumsum(weights[order])
        wanted = nucleus * weights.sum()
        if reached[-1] < wanted:
            order = likeliest(weights, len(weights))
            reached = np.cumsum(weights[order])
        inside = np.sort(order[: np.searchsorted(reached, wanted) + 1])
        self._kept = self._kept[inside]
        self._kept_logits = self._kept_logits[inside]
        self._kept_differences = self._kept_differences[inside]

    def _collect(
        self, plain: Logits, preference: Logits, extra: float, best: int, limit: float
    ) -> None:
        found = kernels.collect(
            plain, preference, np.float32(extra), best, np.float32(limit), self.combined.scratch
        )
        self._kept = found
        self._kept_logits = preference[found] - preference[best]
        differences = preference[found] - plain[found]
        self._kept_differences = differences - (preference[best] - plain[best])

    def entropy(
        self,
        plain: Logits,
        preference: Logits,
        guidance_scale: float,
        tokens: Tokens | None = None,
    ) -> float:
        """Entropy of the combination, in nats.

        Arguments and errors are those of `greedy`.
        """
        if tokens is not None:
            logits = self._among(tokens, guidance_scale).astype(np.float64)
            logits -= logits.max()
            weights = np.exp(logits)
            total = weights.sum()
            return float(np.log(total) - (weights * logits).sum() / total)
        return Tilt(self.combined, plain, preference, guidance_scale).entropy()

    def divergence(
        self,
        plain: Logits,
        preference: Logits,
        guidance_scale: float,
        tokens: Tokens | None = None,
        *,
        normaliser: float | None = None,
    ) -> float:
        """KL(combination || combination at scale 1), in nats.

        With d = l1 - l0, pi_a ~ pi_1 exp((a - 1) d): KL = (a - 1) E_a[d] - log Z_a + log Z_1.
        Other arguments and errors are those of `greedy`.

        Args:
            normaliser: log Z_1, where it is known.
        """
        if guidance_scale == 1 and tokens is None:
            return 0.0
        if normaliser is None:
            normaliser = self.log_normaliser(preference)
        if tokens is None:
            return Tilt(self.combined, plain, preference, guidance_scale).divergence(normaliser)
        logits = self._among(tokens, guidance_scale).astype(np.float64)
        reference = preference[tokens].astype(np.float64)
        best = int(logits.argmax())
        logits -= logits[best]
        weights = np.exp(logits)
        total = weights.sum()
        gained = logits - (reference - reference[best])
        gain = (weights * gained).sum() / total - reference[best]
        return max(0.0, float(gain - np.log(total)) + normaliser)

    def log_normaliser(self, row: Logits) -> float:
        """log sum exp of a row of logits. Arguments and errors are those of `moments`."""
        return self.combined.log_normaliser(row)

    def moments(self, row: Logits, *, best: int | None = None) -> tuple[float, float]:
        """log sum exp of a row of logits, and the entropy of its softmax, each to about 1e-6.

        Args:
            row: logits, float32, shape (n_vocab,).
            best: the token with the largest, where it is known.

        Raises:
            LogitsError: the row holds a NaN or +inf, or no token is left.
        """
        if best is None:
            best = top_of(row)
        peak = row[best]
        total, first = self.combined.moments(row, peak)
        return float(peak) + math.log(total), math.log(total) - first / total

    def greedy(
        self,
        plain: Logits,
        preference: Logits,
        guidance_scale: float,
        tokens: Tokens | None = None,
    ) -> int:
        """Token with the largest combined logit, the first of equals.

        Args:
            plain, preference: logits, float32, shape (n_vocab,).
            guidance_scale: a.
            tokens: what `plausible` just returned for these rows, to choose among those only.

        Raises:
            LogitsError: a row holds a NaN or +inf, or no token is left.
        """
        if tokens is not None:
            return int(tokens[self._among(tokens, guidance_scale).argmax()])
        return self.combined.write(plain, preference, guidance_scale)

    def fill_candidates(
        self,
        plain: Logits,
        preference: Logits,
        guidance_scale: float,
        tokens: Tokens | None = None,
        *,
        which: Which | None = None,
    ) -> NDArray[np.int32]:
        """Write every token that may be chosen, with its combined logit: `combined.candidates`.

        Other arguments and errors are those of `greedy`.

        Args:
            which: says which of all tokens matter; others are left out.

        Returns:
            The part of them that was written.
        """
        if tokens is not None:
            return self.combined.fill_with(tokens, self._among(tokens, guidance_scale))
        self.combined.write(plain, preference, guidance_scale)
        return self.combined.fill_candidates(which)

    def combine(
        self,
        plain: Logits,
        preference: Logits,
        guidance_scale: float,
        tokens: Tokens | None = None,
    ) -> Logits:
        """The combined logits, -inf where a token may not be chosen.

        Arguments and errors are those of `greedy`. float32, shape (n_vocab,), valid until the next
        call.
        """
        if tokens is not None:
            self.combined.write_among(tokens, self._among(tokens, guidance_scale))
            return self.combined.logits
        self.combined.write(plain, preference, guidance_scale)
        return self.combined.logits

    def _among(self, tokens: Tokens, guidance_scale: float) -> Logits:
        n = len(tokens)
        extra = np.float32(guidance_scale - 1.0)
        with np.errstate(over="ignore", invalid="ignore"):
            combined: Logits = self._kept_logits[:n] + extra * self._kept_differences[:n]
        if not np.isfinite(combined).all():
            raise LogitsError(
                f"the logits overflow at guidance scale {guidance_scale:g}: use a smaller one"
            )
        return combined

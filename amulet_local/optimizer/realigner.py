"""Combines the rows of logits of one step and finds the next token or the sampler's candidates.

Owns the buffers that the passes of kernels.py write into. Knows nothing about models, prompts or
llama.cpp: it sees float32 vectors and a few numbers. `mix`, `shrink`, `scale_within` and
`plausible` prepare a combination (what the preference row is, what the plain row is, which scale,
which tokens); `greedy`, `fill_candidates` and `combine` carry it out. Where the rows are largest
costs a pass over them: `peak` finds it, and what is told it (`best`) needn't look again. RowPair
remembers it for a step, and the `Tilt` of its rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from amulet_local.common.errors import LogitsError
from amulet_local.optimizer import compiled, kernels

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
        candidates: int32, shape (3 * n_vocab,): the bits of n_vocab llama_token_data
            {int32 id; float logit; float p}; `fill_candidates` writes it.
        combined: the combined logits that were written last, float32, shape (n_vocab,).
        n_combined: how often they were written.
        weights, scratch: float32, shape (n_vocab,), for passes; valid until the next call.
    """

    def __init__(self, n_vocab: int) -> None:
        self.n_vocab = n_vocab
        self.candidates = np.empty(3 * n_vocab, dtype=np.int32)
        self._ids = np.arange(n_vocab, dtype=np.int32)
        self.scratch, self.weights, self.combined = np.empty((3, n_vocab), dtype=np.float32)
        self._mixed, self._shrunken, self._restrained = np.empty((3, n_vocab), dtype=np.float32)
        self._kept = np.empty(0, dtype=np.int32)
        self._kept_logits, self._kept_differences = np.empty((2, 0), dtype=np.float32)
        self.n_combined = 0

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
        np.copyto(self._mixed, plain)
        for row, weight in zip(preferences, weights, strict=True):
            kernels.add_to_mix(plain, row, np.float32(weight), self._mixed, self.scratch)
        return self._mixed

    def top(self, row: Logits) -> int:
        """The token with the largest logit of a row, the first of equals.

        Raises:
            LogitsError: the row holds a NaN or +inf, or no token is left.
        """
        token = int(row.argmax())  # of a NaN, if there is one
        if not np.isfinite(row[token]):
            outcome = kernels.NOTHING_LEFT if row[token] == -np.inf else kernels.NAN_OR_INFINITY
            self._refuse(row, row, np.float32(0), token, outcome)
        return token

    def peak(self, plain: Logits, preference: Logits) -> tuple[int, bool]:
        """The token with the largest logit at scale 1, and whether all are possible in both rows.

        Arguments and errors are those of `greedy`. The token is the one that other methods take as
        `best` for these rows.
        """
        token = int(preference.argmax())
        if kernels.all_finite(preference) and (plain is preference or kernels.all_finite(plain)):
            return token, True
        return self._combine_checked(plain, preference, np.float32(0)), False

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
            plain, preference, np.float32(extra), best, np.float32(limit), self.scratch
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
        return Tilt(self, plain, preference, guidance_scale).entropy()

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
            normaliser = self.moments(preference)[0]
        if tokens is None:
            return Tilt(self, plain, preference, guidance_scale).divergence(normaliser)
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
        return self.moments(row)[0]

    def moments(self, row: Logits, *, best: int | None = None) -> tuple[float, float]:
        """log sum exp of a row of logits, and the entropy of its softmax, each to about 1e-6.

        Args:
            row: logits, float32, shape (n_vocab,).
            best: the token with the largest, where it is known.

        Raises:
            LogitsError: the row holds a NaN or +inf, or no token is left.
        """
        if best is None:
            best = self.top(row)
        peak = row[best]
        total, first = kernels.exponentials(row, peak, self.weights, self.scratch)
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
        return self.write_combined(plain, preference, guidance_scale)

    def fill_candidates(
        self,
        plain: Logits,
        preference: Logits,
        guidance_scale: float,
        tokens: Tokens | None = None,
        *,
        n_likeliest: int | None = None,
    ) -> NDArray[np.int32]:
        """Write every token that may be chosen, with its combined logit, into `candidates`.

        Other arguments and errors are those of `greedy`.

        Args:
            n_likeliest: only so many matter; others may be left out.

        Returns:
            The part of `candidates` that was written.
        """
        if tokens is not None:
            written = self.candidates[: 3 * len(tokens)]
            written[0::3] = tokens
            written[1::3] = self._among(tokens, guidance_scale).view(np.int32)
            written[2::3] = 0
            return written
        self.write_combined(plain, preference, guidance_scale)
        return self.write_candidates(n_likeliest)

    def write_candidates(self, n_likeliest: int | None) -> NDArray[np.int32]:
        """Write candidates of what was combined."""
        combined = self.combined
        if n_likeliest is None or n_likeliest > min(kernels.LANES, self.n_vocab):
            self.candidates[0::3] = self._ids
            self.candidates[1::3] = combined.view(np.int32)
            self.candidates[2::3] = 0
            return self.candidates
        found = np.flatnonzero(combined >= kernels.floor_of(combined, n_likeliest))
        written = self.candidates[: 3 * len(found)]
        written[0::3] = found
        written[1::3] = combined[found].view(np.int32)
        written[2::3] = 0
        return written

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
            self.n_combined += 1
            self.combined.fill(-np.inf)
            self.combined[tokens] = self._among(tokens, guidance_scale)
            return self.combined
        self.write_combined(plain, preference, guidance_scale)
        return self.combined

    def write_combined(self, plain: Logits, preference: Logits, guidance_scale: float) -> int:
        """Write the combined logits; returns the token with the largest."""
        self.n_combined += 1
        compiled.count_step()
        extra = np.float32(guidance_scale - 1.0)
        token, is_sound = kernels.combine(plain, preference, extra, self.combined)
        return token if is_sound else self._combine_checked(plain, preference, extra)

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

    def _combine_checked(self, plain: Logits, preference: Logits, extra: np.float32) -> int:
        self.n_combined += 1
        token, outcome = kernels.combine_checked(plain, preference, extra, self.combined)
        if outcome != kernels.FOUND:
            self._refuse(plain, preference, extra, token, outcome)
        return token

    def _refuse(
        self, plain: Logits, preference: Logits, extra: np.float32, token: int, outcome: int
    ) -> NoReturn:
        if outcome == kernels.NOTHING_LEFT:
            raise LogitsError("the model gives every token a probability of zero; no token is left")
        raise LogitsError(
            f"the logits of token {token} are not finite (plain {plain[token]}, preference "
            f"{preference[token]}, guidance scale {float(extra) + 1:g}): the model file may be "
            f"damaged, or its weights overflow in this precision"
        )


class Tilt:
    """Two rows combined at one scale: what was found out once needn't be computed again.

    What is computed lies in the realigner's buffers, and is computed anew where other rows or
    another scale have overwritten it.

    Attributes:
        best: the token with the largest combined logit, the first of equals.
    """

    __slots__ = ("_moments", "_n_combined", "_realigner", "_rows", "best", "scale")

    def __init__(
        self, realigner: Realigner, plain: Logits, preference: Logits, scale: float
    ) -> None:
        """Combine.

        Raises:
            LogitsError: a row holds a NaN or +inf, or no token is left.
        """
        self.scale = scale
        self._realigner = realigner
        self._rows = plain, preference
        self._moments: tuple[float, float, float] | None = None
        self._combine()

    def _combine(self) -> None:
        self.best = self._realigner.write_combined(*self._rows, self.scale)
        self._n_combined = self._realigner.n_combined

    def _combined(self) -> Logits:
        if self._n_combined != self._realigner.n_combined:
            self._combine()
        return self._realigner.combined

    def _weighed(self) -> tuple[float, float, float]:
        """With e = exp(z - z_best): sum e, sum e (z - z_best), sum e l1."""
        if self._moments is None:
            combined, realigner = self._combined(), self._realigner
            weights, scratch = realigner.weights, realigner.scratch
            total, first = kernels.exponentials(combined, combined[self.best], weights, scratch)
            reference = kernels.weighted_sum(weights, self._rows[1], scratch)
            self._moments = total, first, reference
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

    def fill_candidates(self, n_likeliest: int | None) -> NDArray[np.int32]:
        """Realigner.fill_candidates of these rows."""
        self._combined()
        return self._realigner.write_candidates(n_likeliest)

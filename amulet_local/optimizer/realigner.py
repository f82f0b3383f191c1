"""Combines the rows of logits of one step and finds the next token or the sampler's candidates.

Owns the buffers that the kernels write into. Knows nothing about models, prompts or llama.cpp: it
sees float32 vectors and a few numbers. `mix`, `shrink`, `scale_within` and `plausible` prepare a
combination (what the preference row is, what the plain row is, which scale, which tokens);
`greedy`, `fill_candidates` and `combine` carry it out. Where the rows are largest costs a pass over
them: `peak` finds it, and what is told it (`best`) needn't look again. RowPair remembers it for a
step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from amulet_local.common.errors import LogitsError

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
    """

    def __init__(self, n_vocab: int) -> None:
        from amulet_local.optimizer import kernels  # imports Numba

        self.n_vocab = n_vocab
        self.candidates = np.empty(3 * n_vocab, dtype=np.int32)
        self._scratch = np.empty(kernels.BLOCK, dtype=np.float32)
        self._mixed = np.empty(n_vocab, dtype=np.float32)
        self._combined = np.empty(n_vocab, dtype=np.float32)
        self._shrunken = np.empty(n_vocab, dtype=np.float32)
        self._restrained = np.empty(n_vocab, dtype=np.float32)
        self._kept = np.empty(n_vocab, dtype=np.int32)
        self._kept_logits = np.empty(n_vocab, dtype=np.float32)
        self._kept_differences = np.empty(n_vocab, dtype=np.float32)
        self._powers = np.empty(kernels.BLOCK, dtype=np.int32)
        self._peaks = np.empty(-(-n_vocab // kernels.SMALL_BLOCK), dtype=np.int32)
        self._kernels = kernels

    def warm_up(self) -> None:
        """Compile the kernels, or load them from the cache, before the first token needs them."""
        row = np.zeros(self.n_vocab, dtype=np.float32)
        self.greedy(row, row, 1.0)
        self.fill_candidates(row, row, 1.0)
        self.fill_candidates(row, row, 1.0, n_likeliest=1)
        self.scale_within(row, row, 2.0, 1.0)
        self.entropy(row, row, 2.0)
        self.divergence(row, row, 2.0)

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

    def peak(self, plain: Logits, preference: Logits) -> tuple[int, bool]:
        """The token with the largest logit at scale 1, and whether all are possible in both rows.

        Arguments and errors are those of `greedy`. The token is the one that other methods take as
        `best` for these rows.
        """
        token, low, high = self._kernels.greedy(plain, preference, np.float32(0), self._scratch)
        if self._finite(low, high):
            return int(token), True
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
            best = self.greedy(plain, preference, 1.0)
        floor = np.float32(preference[best] + math.log(PLAUSIBLE))
        center = self._kernels.mean_difference(plain, preference, floor)
        self._kernels.shrink_difference(
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
            best = self.greedy(plain, preference, 1.0)
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
        if tokens is not None:
            n_kept = len(tokens)
        else:
            if best is None:
                best = self.greedy(plain, preference, 1.0)
            n_kept = self._collect(plain, preference, extra, best, -REACH_NATS)
        tilt = self._kernels.largest_tilt(
            self._kept_logits[:n_kept],
            self._kept_differences[:n_kept],
            float(extra),
            float(kl_budget),
            self._scratch,
            self._powers,
        )
        return 1.0 + float(tilt)

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
            best = self.greedy(plain, preference, 1.0)
        limit = math.log(min_plausibility) if min_plausibility > 0 else LOWEST
        n_kept = self._collect(plain, preference, 0.0, best, limit)
        if nucleus < 1:
            n_kept = self._keep_nucleus(n_kept, nucleus, nucleus_temperature)
        return self._kept[:n_kept]

    def _keep_nucleus(self, n_kept: int, nucleus: float, temperature: float) -> int:
        """Keep the nucleus of the tokens that were collected; returns how many that is."""
        weights = np.exp(self._kept_logits[:n_kept] / np.float64(temperature))
        order = likeliest(weights, SMALL_NUCLEUS)
        reached = np.cumsum(weights[order])
        wanted = nucleus * weights.sum()
        if reached[-1] < wanted:
            order = likeliest(weights, n_kept)
            reached = np.cumsum(weights[order])
        inside = np.sort(order[: np.searchsorted(reached, wanted) + 1])
        for values in (self._kept, self._kept_logits, self._kept_differences):
            values[: len(inside)] = values[inside]
        return len(inside)

    def _collect(
        self, plain: Logits, preference: Logits, extra: float, best: int, limit: float
    ) -> int:
        return int(
            self._kernels.collect(
                plain,
                preference,
                np.float32(extra),
                best,
                np.float32(limit),
                self._scratch,
                self._kept,
                self._kept_logits,
                self._kept_differences,
            )
        )

    def entropy(
        self,
        plain: Logits,
        preference: Logits,
        guidance_scale: float,
        tokens: Tokens | None = None,
        *,
        best: int | None = None,
    ) -> float:
        """Entropy of the combination, in nats.

        Other arguments and errors are those of `greedy`.

        Args:
            best: what `greedy` finds, where it is known.
        """
        if tokens is not None:
            logits = self._among(tokens, guidance_scale).astype(np.float64)
            logits -= logits.max()
            weights = np.exp(logits)
            total = weights.sum()
            return float(np.log(total) - (weights * logits).sum() / total)
        if best is None:
            best = self.greedy(plain, preference, guidance_scale)
        extra = np.float32(guidance_scale - 1.0)
        peak = preference[best] + extra * (preference[best] - plain[best])
        return float(
            self._kernels.entropy(plain, preference, extra, peak, self._scratch, self._powers)
        )

    def divergence(
        self,
        plain: Logits,
        preference: Logits,
        guidance_scale: float,
        tokens: Tokens | None = None,
        *,
        best: int | None = None,
        normaliser: float | None = None,
    ) -> float:
        """KL(combination || combination at scale 1), in nats.

        With d = l1 - l0, pi_a ~ pi_1 exp((a - 1) d): KL = (a - 1) E_a[d] - log Z_a + log Z_1.
        Other arguments and errors are those of `greedy`.

        Args:
            best: what `greedy` finds, where it is known.
            normaliser: log Z_1, where it is known.
        """
        extra = np.float32(guidance_scale - 1.0)
        if extra == 0 and tokens is None:
            return 0.0
        if best is None:
            best = self.greedy(plain, preference, guidance_scale, tokens)
        if normaliser is None:
            normaliser = self.log_normaliser(preference)
        if tokens is not None:
            plain, preference = plain[tokens], preference[tokens]
            best = int(np.searchsorted(tokens, best))
        peak = preference[best] + extra * (preference[best] - plain[best])
        rest = self._kernels.divergence(plain, preference, extra, peak, self._scratch, self._powers)
        return max(0.0, float(rest) + normaliser)

    def log_normaliser(self, row: Logits, *, best: int | None = None) -> float:
        """log sum exp of a row of logits, to about 1e-6.

        Args:
            row: logits, float32, shape (n_vocab,).
            best: the token with the largest, where it is known.

        Raises:
            LogitsError: the row holds a NaN or +inf, or no token is left.
        """
        if best is None:
            best = self.greedy(row, row, 1.0)
        return float(self._kernels.log_normaliser(row, row[best], self._scratch, self._powers))

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
        extra = np.float32(guidance_scale - 1.0)
        token, low, high = self._kernels.greedy(plain, preference, extra, self._scratch)
        if self._finite(low, high):
            return int(token)
        return self._combine_checked(plain, preference, extra)

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
        extra = np.float32(guidance_scale - 1.0)
        if n_likeliest is not None and n_likeliest <= len(self._peaks):
            peaks = self._peaks
            low, high = self._kernels.block_peaks(plain, preference, extra, self._scratch, peaks)
            if self._finite(low, high):
                # The k-th largest of the blocks' largest is no larger than the k-th largest of all.
                place = len(peaks) - n_likeliest
                floor = np.partition(peaks, place)[place]
                n = self._kernels.fill_from(
                    plain, preference, extra, floor, self._scratch, peaks, self.candidates
                )
                return self.candidates[: 3 * n]
        low, high = self._kernels.fill_candidates(
            plain, preference, extra, self._scratch, self.candidates
        )
        if not self._finite(low, high):
            self._combine_checked(plain, preference, extra)
            self.candidates[1::3] = self._combined.view(np.int32)
        return self.candidates

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
            self._combined.fill(-np.inf)
            self._combined[tokens] = self._among(tokens, guidance_scale)
            return self._combined
        self._combine_checked(plain, preference, np.float32(guidance_scale - 1.0))
        return self._combined

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

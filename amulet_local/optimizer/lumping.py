"""Makes a few hundred candidates of a whole vocabulary, which stand for all of it.

Knows nothing about models or texts. Full rows of long texts are gigabytes. At each position the
tokens with the largest q are kept as they are, and the tail is lumped: `n_tail` tokens of it, drawn
in proportion to q, each stand for q_tail / (n_tail * q) tokens like themselves, so that

    sum over the tail of exp z  ~  sum over the drawn of (q_tail / (n_tail * q)) * exp z

for any combination z of the rows. The left is the expectation of the right over the phase of the
draws (systematic sampling with probability proportional to size: Madow, On the Theory of
Systematic Sampling II, 1949), so errors of single positions average out over a text instead of
adding up, whatever the weights of z are.

q is half the rows' mean probability, half the distribution of l0 + REACH * max_k |l_k - l0|: a
combination with large weights lifts tokens that no row finds likely.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from amulet_local.common.errors import LogitsError

REACH = 4.0
"""Size of the weights, all together, up to which the tail is met well."""

_LOWEST = np.float32(-1e4)
"""Log-probability in place of -inf, where a row rules out a token that others don't."""

_FARTHEST = np.float32(10.0)


class LumpedRows(NamedTuple):
    """The candidates of one position: n = n_top + 1 + n_tail of them.

    Attributes:
        base: plain log-probability plus the logarithm of the number of tokens that it stands for;
            float32, shape (n,), -inf where there is no candidate.
        differences: l_k - l0; float32, shape (n, K), 0 where there is no candidate.
        place: which of them is the token that was chosen.
    """

    base: NDArray[np.float32]
    differences: NDArray[np.float32]
    place: int


def log_probabilities(
    logits: NDArray[np.float32], excluded: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Logits of some rows as log-probabilities, given that no `excluded` token comes.

    Args:
        logits: float32, shape (K + 1, V); overwritten.
        excluded: token ids.

    Returns:
        The same array: finite but for the excluded tokens, which have -inf.

    Raises:
        LogitsError: a NaN or +inf, or no token is left.
    """
    logits[:, excluded] = -np.inf
    peaks = logits.max(axis=1, keepdims=True)
    if not np.isfinite(peaks).all():  # the maximum of a row with a NaN is NaN
        raise LogitsError("the model returned logits that nothing can be learned from")
    logits -= peaks
    sums = np.exp(logits).sum(axis=1, keepdims=True, dtype=np.float64)
    logits -= np.log(sums).astype(np.float32)
    np.maximum(logits, _LOWEST, out=logits)
    logits[:, excluded] = -np.inf
    return logits


def lump(
    rows: NDArray[np.float32], chosen: int, *, n_top: int, n_tail: int, phase: float
) -> LumpedRows:
    """Some candidates instead of the vocabulary.

    Args:
        rows: what `log_probabilities` returned, plain row first; float32, shape (K + 1, V).
        chosen: the token that was chosen; it is always a candidate and stands for itself.
        n_top: tokens that are kept, those with the largest q.
        n_tail: draws of the others.
        phase: at least 0 and less than 1: where the draws begin, another at each position.
    """
    weight = _importance(rows)
    n_vocab = len(weight)
    n_kept = min(n_top, n_vocab)
    top = np.argpartition(weight, n_vocab - n_kept)[n_vocab - n_kept :]
    tokens = np.full(n_top + 1 + n_tail, chosen)
    log_counts = np.full(len(tokens), -np.inf)
    tokens[:n_kept] = top
    log_counts[:n_kept] = np.where(np.isfinite(rows[0, top]), 0.0, -np.inf)
    found = np.flatnonzero(top == chosen)
    place = int(found[0]) if len(found) else n_top
    log_counts[place] = 0.0
    weight[top] = 0.0
    weight[chosen] = 0.0
    sums = np.cumsum(weight, dtype=np.float64)
    total = sums[-1]
    if total > 0:
        points = np.minimum((np.arange(n_tail) + phase) * (total / n_tail), np.nextafter(total, 0))
        drawn = np.searchsorted(sums, points, side="right")
        tokens[n_top + 1 :] = drawn
        log_counts[n_top + 1 :] = np.log(total / n_tail) - np.log(weight[drawn], dtype=np.float64)
    is_there = np.isfinite(log_counts)
    base = np.full(len(tokens), -np.inf, dtype=np.float32)
    differences = np.zeros((len(tokens), len(rows) - 1), dtype=np.float32)
    there = tokens[is_there]
    base[is_there] = rows[0, there] + log_counts[is_there]
    differences[is_there] = (rows[1:, there] - rows[0, there]).T
    return LumpedRows(base, differences, place)


def _importance(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """q of every token, float32, shape (V,); 0 for what log_probabilities excluded."""
    possible = rows[0] > -np.inf
    plain = np.where(possible, rows[0], 0)
    reached = np.zeros_like(plain)
    for row in rows[1:]:
        np.maximum(reached, np.abs(np.where(possible, row, 0) - plain), out=reached)
    np.minimum(reached, _FARTHEST, out=reached)  # what a row rules out isn't all there is
    reached *= np.float32(REACH)
    reached += plain
    reached[~possible] = -np.inf
    reached = np.exp(reached - reached.max())
    weight: NDArray[np.float32] = np.exp(rows).mean(axis=0) + reached / reached.sum()
    return weight

"""What is done with arrays of candidates in place of slow samplers, in NumPy.

Knows nothing about models or grammars. Candidates are int32[3 * n]: the bits of n llama_token_data
{int32 id; float logit; float p}; what p is doesn't matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Candidates = NDArray[np.int32]
Places = NDArray[np.intp]

Which = Callable[[NDArray[np.float32]], Places | None]
"""Says of a row of logits which tokens have to be candidates; None for all."""

LANES = 512
"""Parts of a row that `floor_of` looks at."""

_N_BINS = 512
_BINS_A_NAT = 16.0
_SLACK = 1e-3
"""Share of the probability by which the float32 sum of `top_p` may differ from its estimate."""
_REACH_NATS = 26 * math.log(2)
"""From here on a term changes no float32 sum: it is less than half of the sum's last bit."""
_FEW = 1024

_REST = np.int32(0x7FFFFFFF)
_PLACE_BITS = np.uint64(32)
_PLACE = np.uint64(0xFFFFFFFF)


def logits_of(candidates: Candidates) -> NDArray[np.float32]:
    """Their logits, as a view."""
    return candidates.view(np.float32)[1::3]


def sorted_places(logits: NDArray[np.float32], places: Places) -> Places:
    """These places of the logits, the largest logit first; equals keep their order, 0 before -0.

    A float's bits b, as b ^ ((b >> 31) & 0x7fffffff), are a signed integer that orders as floats
    do. One unsigned integer has its opposite and, below it, the place: NumPy sorts integers with
    the processor's vectors.
    """
    bits = logits[places].view(np.int32)
    descending = (_REST - (bits ^ ((bits >> 31) & _REST)).astype(np.int64)).astype(np.uint64)
    keys = (descending << _PLACE_BITS) | places.astype(np.uint64)
    keys.sort()
    return (keys & _PLACE).astype(np.intp)


def sort_candidates(candidates: Candidates, out: Candidates) -> int:
    """Write the tokens whose logit isn't -inf to `out`, the largest first; return how many.

    Equals keep their order. out: candidates, int32[3 * n].
    """
    logits = logits_of(candidates)
    return _write(candidates, sorted_places(logits, np.flatnonzero(logits > -np.inf)), out)


def top_p(candidates: Candidates, p: float, out: Candidates) -> int:
    """Write the likeliest tokens that make up probability p to `out`, sorted; return how many.

    The same tokens as llama.cpp's top-p (src/llama-sampler.cpp): p_j = exp(l_j - max) / sum in
    float32, summed in the order of the candidates, then added up from the largest until p is
    reached. But only terms that change the sum are added up, and only tokens that may count are
    sorted: a histogram of the mass over bins of l tells which.
    """
    logits = logits_of(candidates)
    peak = logits.max()
    if peak == -np.inf:
        return 0
    below = peak - logits
    counted = _counted(below)
    below = below[counted]
    mass = np.exp(-below, dtype=np.float64).astype(np.float32)
    total = np.cumsum(mass)[-1]
    bins = np.minimum(below * _BINS_A_NAT, _N_BINS - 1).astype(np.intp)
    reached = np.cumsum(np.bincount(bins, mass, _N_BINS)[:-1])
    last = int(np.searchsorted(reached, (p + _SLACK) * total))
    order = sorted_places(logits[counted], np.flatnonzero(bins <= last))
    so_far = np.cumsum(mass[order] / total)
    n = int(np.searchsorted(so_far, np.float32(p))) + 1
    if n > len(order) and len(order) == len(counted):  # rounding: all of them make up less than p
        return _write(candidates, sorted_places(logits, np.arange(len(logits))), out)
    return _write(candidates, counted[order[:n]], out)


def countable(logits: NDArray[np.float32]) -> Places:
    """The tokens that change `top_p`, unless all of them make up less than p: a `Which`."""
    return _counted(logits.max() - logits)


def among_likeliest(n: int, logits: NDArray[np.float32]) -> Places | None:
    """Tokens among which the n with the largest logits are, None for all: a `Which`."""
    if n > min(LANES, len(logits)):
        return None
    return np.flatnonzero(logits >= floor_of(logits, n))


def floor_of(row: NDArray[np.float32], n: int) -> np.float32:
    """A value that the n largest of a row are at least as large as; few others are.

    The n-th largest of the largest values of LANES disjoint parts of the row; n <= LANES.
    """
    lanes = min(LANES, len(row))
    whole = len(row) // lanes * lanes
    peaks = row[:whole].reshape(-1, lanes).max(axis=0)
    return np.float32(np.partition(peaks, lanes - n)[lanes - n])


def _counted(below: NDArray[np.float32]) -> Places:
    """Places of the terms exp(-below) that change their sum, added up in order in float32.

    A sum is at least as large as each term of it was. So behind the largest term only those within
    _REACH_NATS of it count; before it the same holds with the largest of those.
    """
    parts = []
    end = len(below)
    while end > _FEW:
        largest = int(below[:end].argmin())
        near = np.flatnonzero(below[largest:end] <= below[largest] + _REACH_NATS)
        parts.append(near + largest)
        end = largest
    parts.append(np.arange(end))
    return np.concatenate(parts[::-1])


def keep_allowed(candidates: Candidates, allowed: NDArray[np.bool_]) -> int:
    """Move candidates that are allowed and whose logit isn't -inf to the front; return how many.

    allowed: bool[V], by token id.
    """
    kept = allowed[candidates[0::3]] & (logits_of(candidates) > -np.inf)
    return _write(candidates, np.flatnonzero(kept), candidates)


def _write(candidates: Candidates, places: Places, out: Candidates) -> int:
    """Copy those at some places to the front of `out`."""
    out.reshape(-1, 3)[: len(places)] = candidates.reshape(-1, 3)[places]
    return len(places)

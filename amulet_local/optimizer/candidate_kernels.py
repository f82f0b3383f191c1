"""Numba kernels on arrays of candidates and on the texts of a vocabulary.

Knows nothing about models or grammars. As in kernels.py a kernel is compiled, or loaded from the
cache, when it is first called, and writes into the caller's arrays. Candidates are int32[3 * n]:
the bits of n llama_token_data {int32 id; float logit; float p}; what p is doesn't matter.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba.extending import register_jitable

from amulet_local.common.jit import lazy_njit

N_BINS = 512
_BINS_A_NAT = np.float32(16.0)
_SLACK = 1e-3
"""Share of the probability by which the float32 sum of `top_p` may differ from its estimate."""

RADIX = 1 << 11
_RADIX_BITS = 11
_DIGIT = RADIX - 1
_SIGN = np.int32(31)
_REST = np.int32(0x7FFFFFFF)


@register_jitable
def descending(bits: Any) -> Any:
    """Unsigned integer of a float32's bits: the larger the float, the smaller the integer."""
    key = np.int64(np.int32(bits ^ np.int32(np.int32(bits >> _SIGN) & _REST)))
    return np.uint32(0x7FFFFFFF - key)


@register_jitable
def take_key(keys: Any, places: Any, counts: Any, n: Any, bits: Any, place: Any) -> None:
    """Append a logit's bits and its place to what is to be sorted, and count its digits."""
    key = descending(bits)
    keys[0, n] = key
    places[0, n] = place
    counts[0, key & _DIGIT] += 1
    counts[1, (key >> _RADIX_BITS) & _DIGIT] += 1
    counts[2, key >> (2 * _RADIX_BITS)] += 1


@register_jitable
def sort_keys(keys: Any, places: Any, counts: Any, n: Any) -> None:
    """Radix sort of keys[0, :n] into keys[1, :n], and places along; equals keep their order."""
    for turn in range(3):
        shift = turn * _RADIX_BITS
        source, target = turn & 1, 1 - (turn & 1)
        total = 0
        for digit in range(RADIX):
            count = counts[turn, digit]
            counts[turn, digit] = total
            total += count
        for j in range(n):
            key = keys[source, j]
            digit = (key >> shift) & _DIGIT
            to = counts[turn, digit]
            counts[turn, digit] = to + 1
            keys[target, to] = key
            places[target, to] = places[source, j]


@lazy_njit
def sort_candidates(candidates: Any, keys: Any, places: Any, counts: Any, out: Any) -> Any:
    """Write the tokens whose logit isn't -inf to `out`, the largest first; return how many.

    Equals keep their order. keys: uint32[2, n]; places: int32[2, n]; counts: int32[3, RADIX];
    out: candidates, int32[3 * n].
    """
    logits = candidates.view(np.float32)
    counts[:] = 0
    kept = 0
    for j in range(candidates.shape[0] // 3):
        if logits[3 * j + 1] > -np.inf:
            take_key(keys, places, counts, kept, candidates[3 * j + 1], j)
            kept += 1
    sort_keys(keys, places, counts, kept)
    for i in range(kept):
        j = places[1, i]
        out[3 * i] = candidates[3 * j]
        out[3 * i + 1] = candidates[3 * j + 1]
    return kept


@register_jitable
def bin_of(below: Any) -> Any:
    """The bin of a logit so far below the largest; the last one takes all the rest."""
    return min(int(min(below * _BINS_A_NAT, np.float32(N_BINS))), N_BINS - 1)


@lazy_njit
def top_p(candidates: Any, p: Any, bins: Any, keys: Any, places: Any, counts: Any, out: Any) -> Any:
    """Write the likeliest tokens that make up probability p to `out`, sorted; return how many.

    The same tokens as llama.cpp's top-p (src/llama-sampler.cpp), to the last bit: p_j = exp(l_j -
    max) / sum in float32, summed in the order of the candidates, then added up from the largest
    until p is reached. But only tokens that may count are sorted: a histogram of the mass over
    bins of l tells which.

    p: float32; bins: float64[N_BINS]; other arrays as in `sort_candidates`. The p of the
    candidates is overwritten.
    """
    n = candidates.shape[0] // 3
    logits = candidates.view(np.float32)
    peak = np.float32(-np.inf)
    for j in range(n):
        peak = max(peak, logits[3 * j + 1])
    if peak == -np.inf:
        return 0
    bins[:] = 0.0
    total = np.float32(0.0)
    for j in range(n):
        below = peak - logits[3 * j + 1]
        mass = math.exp(-below)
        logits[3 * j + 2] = mass
        total += mass
        bins[bin_of(below)] += mass
    last = 0
    mass_so_far = bins[0]
    while last < N_BINS - 1 and mass_so_far < (p + _SLACK) * total:
        last += 1
        mass_so_far += bins[last]
    counts[:] = 0
    kept = 0
    for j in range(n):
        if bin_of(peak - logits[3 * j + 1]) <= last:
            take_key(keys, places, counts, kept, candidates[3 * j + 1], j)
            kept += 1
    sort_keys(keys, places, counts, kept)
    so_far = np.float32(0.0)
    for i in range(kept):
        j = places[1, i]
        out[3 * i] = candidates[3 * j]
        out[3 * i + 1] = candidates[3 * j + 1]
        so_far += logits[3 * j + 2] / total
        if so_far >= p:
            return i + 1
    return kept


@lazy_njit
def keep_allowed(candidates: Any, allowed: Any) -> Any:
    """Move candidates that are allowed and whose logit isn't -inf to the front; return how many.

    allowed: uint8[V], by token id.
    """
    logits = candidates.view(np.float32)
    kept = 0
    for j in range(candidates.shape[0] // 3):
        token = candidates[3 * j]
        if allowed[token] and logits[3 * j + 1] > -np.inf:
            candidates[3 * kept] = token
            candidates[3 * kept + 1] = candidates[3 * j + 1]
            kept += 1
    return kept


@lazy_njit
def shared_prefixes(data: Any, offsets: Any, shared: Any) -> None:
    """shared[i] = number of bytes that text i has in common with text i - 1.

    data: uint8[], the texts one after the other; offsets: int32[n + 1], where each begins and the
    last ends; shared: int32[n].
    """
    for i in range(shared.shape[0]):
        count = 0
        if i > 0:
            most = min(offsets[i] - offsets[i - 1], offsets[i + 1] - offsets[i])
            while count < most and data[offsets[i - 1] + count] == data[offsets[i] + count]:
                count += 1
        shared[i] = count


@lazy_njit
def walk_tokens(
    table: Any,
    state: Any,
    data: Any,
    offsets: Any,
    shared: Any,
    ids: Any,
    index: Any,
    alive: Any,
    path: Any,
    allowed: Any,
) -> Any:
    """Find which of the texts an automaton takes, text by text from `index` on.

    Returns (index, alive, state, byte): text `index` needs the step from `state` by `byte`, which
    table doesn't know yet (-1): call again with it, `index` and `alive`. index = n is the end.
    table: int32[states, 256], the next state, 0 where there is none; state: the first one; data,
    offsets, shared, ids: a sorted vocabulary (shared_prefixes; token id of each text); alive: bytes
    of text index - 1 that the automaton took; path: int32[longest + 1], the states after them;
    allowed: uint8[V], the result by token id.
    """
    path[0] = state
    n = ids.shape[0]
    while index < n:
        place = shared[index]
        if place > alive:  # the byte where the one before ended is here as well
            allowed[ids[index]] = 0
            index += 1
            continue
        start = offsets[index]
        length = offsets[index + 1] - start
        current = path[place]
        while place < length:
            byte = data[start + place]
            following = table[current, byte]
            if following < 0:
                return index, alive, current, byte
            if following == 0:
                break
            place += 1
            current = following
            path[place] = current
        allowed[ids[index]] = place == length
        alive = place
        index += 1
    return n, alive, state, 0

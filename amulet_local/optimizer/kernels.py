"""Every Numba kernel of the optimizer: scalar loops over arrays that the caller owns.

Knows nothing about models, prompts or sampling. A kernel is compiled, or loaded from the cache,
when it is first called. All kernels take float32 logits (any additive constant; the softmax
constants cancel) and write into the caller's arrays.

One pass computes the combination of two rows of logits over a vocabulary of V tokens,

    z = l1 + (a - 1) * (l1 - l0)        (= l0 + a * (l1 - l0), exact at a = 1)

with l0 the plain row, l1 the preference row and a the guidance scale (recurrence.py).

The maximum is searched on integer keys: for a float32 with bits b, b ^ ((b >> 31) & 0x7fffffff)
as a signed integer orders all floats, -NaN < -inf < ... < inf < NaN, and integer maxima vectorise
where float maxima don't. Any NaN or infinity in a row makes z NaN or infinite whatever a is, so
the smallest and the largest key of z tell whether everything was finite; only where it wasn't is
a careful pass needed (`combine_checked`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from amulet_local.optimizer.jit import lazy_njit

BLOCK = 2048
"""Tokens combined at a time; a block of z stays in the first-level cache."""

KEY_OF_INFINITY = 0x7F800000
KEY_OF_MINUS_INFINITY = -0x7F800001

FOUND, NAN_OR_INFINITY, NOTHING_LEFT = 0, 1, 2
"""Outcomes of `combine_checked`."""

_SIGN = np.int32(31)
_REST = np.int32(0x7FFFFFFF)
_LOWEST = np.int32(-0x80000000)


@register_jitable
def combine_block(plain: Any, preference: Any, extra: Any, out: Any) -> None:
    """out = preference + extra * (preference - plain); float32[n] each."""
    for j in range(plain.shape[0]):
        out[j] = preference[j] + extra * (preference[j] - plain[j])


@register_jitable
def key_range(bits: Any) -> Any:
    """Smallest and largest order-preserving key of the floats whose bits are int32[n]."""
    low = _REST
    high = _LOWEST
    for j in range(bits.shape[0]):
        b = bits[j]
        key = np.int32(b ^ np.int32(np.int32(b >> _SIGN) & _REST))
        high = key if key > high else high
        low = key if key < low else low
    return low, high


@lazy_njit
def greedy(plain: Any, preference: Any, extra: Any, scratch: Any) -> Any:
    """First index of the largest z, with the smallest and largest key of all z.

    plain, preference: float32[V]; extra: float32, a - 1; scratch: float32[BLOCK].
    """
    n = plain.shape[0]
    low = _REST
    high = _LOWEST
    best = 0
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        block = scratch[: stop - start]
        combine_block(plain[start:stop], preference[start:stop], extra, block)
        block_low, block_high = key_range(block.view(np.int32))
        low = min(low, block_low)
        if block_high > high:
            high = block_high
            best = start
    stop = min(best + BLOCK, n)
    block = scratch[: stop - best]
    combine_block(plain[best:stop], preference[best:stop], extra, block)
    bits = block.view(np.int32)
    for j in range(bits.shape[0]):
        b = bits[j]
        if np.int32(b ^ np.int32(np.int32(b >> _SIGN) & _REST)) == high:
            return best + j, low, high
    return best, low, high


@lazy_njit
def fill_candidates(plain: Any, preference: Any, extra: Any, scratch: Any, candidates: Any) -> Any:
    """Write (id, z, 0) for every token; return the smallest and largest key of z.

    candidates: int32[3 * V], the bits of V llama_token_data {int32 id; float logit; float p}.
    Other arguments as in `greedy`.
    """
    n = plain.shape[0]
    low = _REST
    high = _LOWEST
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        block = scratch[: stop - start]
        combine_block(plain[start:stop], preference[start:stop], extra, block)
        bits = block.view(np.int32)
        block_low, block_high = key_range(bits)
        low = min(low, block_low)
        high = max(high, block_high)
        out = candidates[3 * start : 3 * stop]
        for j in range(bits.shape[0]):
            out[3 * j] = np.int32(start + j)
            out[3 * j + 1] = bits[j]
            out[3 * j + 2] = np.int32(0)
    return low, high


@lazy_njit
def combine_checked(plain: Any, preference: Any, extra: Any, out: Any) -> Any:
    """Combine rows that may hold -inf: such a token stays -inf, whatever the other row says.

    Returns (index of the largest z, outcome): FOUND; NAN_OR_INFINITY if a row holds a NaN or
    +inf or the combination of finite values overflows; NOTHING_LEFT if every token is -inf.
    out: float32[V], z.
    """
    best = -1
    for j in range(plain.shape[0]):
        l0 = plain[j]
        l1 = preference[j]
        if l0 == -np.inf or l1 == -np.inf:
            if np.isnan(l0) or np.isnan(l1) or l0 == np.inf or l1 == np.inf:
                return j, NAN_OR_INFINITY
            out[j] = -np.inf
            continue
        z = l1 + extra * (l1 - l0)
        if not np.isfinite(z):
            return j, NAN_OR_INFINITY
        out[j] = z
        if best < 0 or z > out[best]:
            best = j
    if best < 0:
        return 0, NOTHING_LEFT
    return best, FOUND


@lazy_njit
def start_mix(plain: Any, preference: Any, weight: Any, mixed: Any) -> None:
    """mixed = plain + weight * (preference - plain); -inf in either row stays -inf."""
    for j in range(plain.shape[0]):
        if plain[j] == -np.inf or preference[j] == -np.inf:
            mixed[j] = -np.inf
        else:
            mixed[j] = plain[j] + weight * (preference[j] - plain[j])


@lazy_njit
def add_to_mix(plain: Any, preference: Any, weight: Any, mixed: Any) -> None:
    """mixed += weight * (preference - plain); -inf in either row stays -inf."""
    for j in range(plain.shape[0]):
        if plain[j] == -np.inf or preference[j] == -np.inf:
            mixed[j] = -np.inf
        else:
            mixed[j] += weight * (preference[j] - plain[j])


@lazy_njit
def published_loop(
    log_p0: Any,
    log_p1: Any,
    alpha: Any,
    lambda_: Any,
    eta: Any,
    num_iterations: Any,
    policy: Any,
    utility_sum: Any,
) -> None:
    """Amulet's iterations as published (arXiv 2502.19148), normalised at each step.

    log_p0, log_p1: log-policies, float32[V] or float64[V]; policy: the result, the same;
    utility_sum: scratch, the same.
    """
    n = log_p0.shape[0]
    for j in range(n):
        policy[j] = log_p1[j]
        utility_sum[j] = 0.0
    for i in range(1, num_iterations + 1):
        inertia = 1.0 / (eta * i)
        largest = -np.inf
        for j in range(n):
            utility_sum[j] += alpha * (policy[j] - log_p0[j])
            x = lambda_ * log_p1[j] + utility_sum[j] / i + policy[j] * inertia
            policy[j] = x / (lambda_ + inertia)
            largest = max(largest, policy[j])
        total = 0.0
        for j in range(n):
            total += np.exp(policy[j] - largest)
        normaliser = largest + np.log(total)
        for j in range(n):
            policy[j] -= normaliser

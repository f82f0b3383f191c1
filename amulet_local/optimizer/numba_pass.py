"""The combination of two rows in one compiled pass.

Importing this imports Numba; compiled.py says when. Knows nothing about who combines.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

BLOCK = 2048
"""Tokens combined at a time; a block of z stays in the first-level cache."""

_SIGN = np.int32(31)
_REST = np.int32(0x7FFFFFFF)
_LOWEST = np.int32(-0x80000000)
_ZERO = np.float32(0.0)


@register_jitable
def combine_block(plain: Any, preference: Any, extra: Any, out: Any) -> None:
    """out = preference + extra * (preference - plain), 0 for -0; float32[n] each."""
    for j in range(plain.shape[0]):
        out[j] = (preference[j] + extra * (preference[j] - plain[j])) + _ZERO


@register_jitable
def key_range(bits: Any) -> Any:
    """Smallest and largest key of the floats whose bits are int32[n]."""
    low = _REST
    high = _LOWEST
    for j in range(bits.shape[0]):
        b = bits[j]
        key = np.int32(b ^ np.int32(np.int32(b >> _SIGN) & _REST))
        high = key if key > high else high
        low = key if key < low else low
    return low, high


def one_pass(plain: Any, preference: Any, extra: Any, out: Any) -> Any:
    """out = z; the first index of the largest z, and the smallest z: a kernels.Pass.

    The maximum is searched on integer keys: for a float32 with bits b, b ^ ((b >> 31) & 0x7fffffff)
    as a signed integer orders all floats, -NaN < -inf < ... < inf < NaN, and integer maxima
    vectorise where float maxima don't.

    plain, preference, out: float32[V]; extra: float32, a - 1.
    """
    n = plain.shape[0]
    low = _REST
    high = _LOWEST
    best = 0
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        block = out[start:stop]
        combine_block(plain[start:stop], preference[start:stop], extra, block)
        block_low, block_high = key_range(block.view(np.int32))
        low = min(low, block_low)
        if block_high > high:
            high = block_high
            best = start
    smallest = np.empty(1, dtype=np.int32)
    smallest[0] = low ^ np.int32(np.int32(low >> _SIGN) & _REST)
    bits = out[best : min(best + BLOCK, n)].view(np.int32)
    for j in range(bits.shape[0]):
        b = bits[j]
        if np.int32(b ^ np.int32(np.int32(b >> _SIGN) & _REST)) == high:
            best += j
            break
    return best, smallest.view(np.float32)[0]

"""The passes that every token needs, each compiled into one: kernels.Passes by Numba.

Importing this imports Numba; compiled.py says when. Rows are read in blocks that stay in the
first-level cache, and sums of a block in float32 are added up in float64. Only the loops over a
block may be reordered (`fastmath`), which lets them use the processor's vectors; nothing assumes
that numbers are finite. Knows nothing about who combines.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

BLOCK = 2048
"""Tokens at a time."""

_REORDERED = {"reassoc", "nsz", "contract"}

_SIGN = np.int32(31)
_REST = np.int32(0x7FFFFFFF)
_LOWEST = np.int32(-0x80000000)
_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)

FAINT = np.float32(-87.0)
"""exp of less is no normal float32: counted as exp of this, 1.6e-38 of the largest."""

_LOG2_E = np.float32(1.44269504088896341)
_LN_2_HIGH, _LN_2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_P0, _P1 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3)
_P2, _P3 = np.float32(8.3334519073e-3), np.float32(4.1665795894e-2)
_P4, _P5 = np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_BIAS, _MANTISSA = np.int32(127), np.int32(23)


@register_jitable
def _exp(x: Any) -> Any:
    """exp of FAINT <= x <= 0, to 1e-7 of its value.

    x = n ln 2 + r with |r| <= ln 2 / 2, and exp r by the polynomial of Cephes' expf (Moshier).
    """
    n = np.floor(x * _LOG2_E + _HALF)
    r = (x - n * _LN_2_HIGH) - n * _LN_2_LOW
    p = ((((_P0 * r + _P1) * r + _P2) * r + _P3) * r + _P4) * r + _P5
    return (p * r * r + r + _ONE) * np.int32((np.int32(n) + _BIAS) << _MANTISSA).view(np.float32)


@register_jitable
def _key(value: Any) -> Any:
    """An integer that orders all floats: -NaN < -inf < ... < -0 = 0 < ... < inf < NaN.

    With the bits b, b ^ ((b >> 31) & 0x7fffffff). Integer maxima vectorise where float maxima
    don't.
    """
    bits = np.float32(value + _ZERO).view(np.int32)
    return np.int32(bits ^ np.int32(np.int32(bits >> _SIGN) & _REST))


@register_jitable
def _value(key: Any) -> Any:
    """The float with that key."""
    return np.int32(key ^ np.int32(np.int32(key >> _SIGN) & _REST)).view(np.float32)


@register_jitable
def _key_range(block: Any) -> Any:
    low, high = _REST, _LOWEST
    for j in range(block.shape[0]):
        key = _key(block[j])
        high = key if key > high else high
        low = key if key < low else low
    return low, high


@register_jitable
def _place(block: Any, key: Any) -> Any:
    """The first value with that key."""
    for j in range(block.shape[0]):
        if _key(block[j]) == key:
            return j
    return 0


@register_jitable
def _combine_block(plain: Any, preference: Any, extra: Any, out: Any) -> None:
    for j in range(plain.shape[0]):
        out[j] = (preference[j] + extra * (preference[j] - plain[j])) + _ZERO


def combine(plain: Any, preference: Any, extra: Any, out: Any) -> Any:
    """kernels.Passes.combine, with NumPy's bits; 0 for -0."""
    low, high, best = _REST, _LOWEST, 0
    for start in range(0, plain.shape[0], BLOCK):
        stop = start + BLOCK
        block = out[start:stop]
        _combine_block(plain[start:stop], preference[start:stop], extra, block)
        block_low, block_high = _key_range(block)
        low = min(low, block_low)
        if block_high > high:
            high, best = block_high, start
    return best + _place(out[best : best + BLOCK], high), _value(low)


def extremes(row: Any) -> Any:
    """kernels.Passes.extremes, the same as NumPy's."""
    low, high, best = _REST, _LOWEST, 0
    for start in range(0, row.shape[0], BLOCK):
        block_low, block_high = _key_range(row[start : start + BLOCK])
        low = min(low, block_low)
        if block_high > high:
            high, best = block_high, start
    return best + _place(row[best : best + BLOCK], high), _value(low)


@register_jitable
def _cap_block(plain: Any, reference: Any, most: Any, out: Any) -> None:
    for j in range(plain.shape[0]):
        limit = reference[j] - most
        limit = limit if limit > plain[j] else plain[j]
        out[j] = limit if plain[j] > -np.inf else plain[j]


def cap_difference(plain: Any, reference: Any, most: Any, out: Any) -> None:
    """kernels.Passes.cap_difference, with NumPy's bits."""
    for start in range(0, plain.shape[0], BLOCK):
        stop = start + BLOCK
        _cap_block(plain[start:stop], reference[start:stop], most, out[start:stop])


@register_jitable(fastmath=_REORDERED)
def _sum_block(block: Any, peak: Any) -> Any:
    total = _ZERO
    for j in range(block.shape[0]):
        x = block[j] - peak
        total += _exp(x if x > FAINT else FAINT)
    return total


def exponential_sum(row: Any, peak: Any, _work: Any) -> Any:
    """kernels.Passes.exponential_sum."""
    total = 0.0
    for start in range(0, row.shape[0], BLOCK):
        total += _sum_block(row[start : start + BLOCK], peak)
    return total


@register_jitable(fastmath=_REORDERED)
def _moments_block(block: Any, peak: Any) -> Any:
    total, first = _ZERO, _ZERO
    for j in range(block.shape[0]):
        x = block[j] - peak
        x = x if x > FAINT else FAINT
        e = _exp(x)
        total += e
        first += e * x
    return total, first


def moments(row: Any, peak: Any, _work: Any) -> Any:
    """kernels.Passes.moments."""
    total, first = 0.0, 0.0
    for start in range(0, row.shape[0], BLOCK):
        block_total, block_first = _moments_block(row[start : start + BLOCK], peak)
        total += block_total
        first += block_first
    return total, first


@register_jitable(fastmath=_REORDERED)
def _tilt_block(block: Any, peak: Any, reference: Any) -> Any:
    total, first, of_reference = _ZERO, _ZERO, _ZERO
    for j in range(block.shape[0]):
        x = block[j] - peak
        counts = x > FAINT
        x = x if counts else FAINT
        e = _exp(x)
        total += e
        first += e * x
        of_reference += e * (reference[j] if counts else _ZERO)
    return total, first, of_reference


def tilt_sums(row: Any, peak: Any, reference: Any, _work: Any) -> Any:
    """kernels.Passes.tilt_sums."""
    total, first, of_reference = 0.0, 0.0, 0.0
    for start in range(0, row.shape[0], BLOCK):
        stop = start + BLOCK
        sums = _tilt_block(row[start:stop], peak, reference[start:stop])
        total += sums[0]
        first += sums[1]
        of_reference += sums[2]
    return total, first, of_reference


PASSES = combine, extremes, cap_difference, exponential_sum, moments, tilt_sums
"""In the order of kernels.Passes."""

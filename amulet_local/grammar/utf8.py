"""Ranges of characters as sequences of ranges of bytes, in UTF-8.

Knows nothing about grammars. Surrogates, which UTF-8 can't express, are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

MAX_CODE_POINT = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)
_LAST_OF_LENGTH = (0x7F, 0x7FF, 0xFFFF)
"""Largest code points of one, two and three bytes."""

Ranges = tuple[tuple[int, int], ...]
"""Ranges of integers, both ends included."""


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same code points as few ranges in order, without surrogates."""
    result: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        for part in ((low, min(high, _SURROGATES[0] - 1)), (max(low, _SURROGATES[1] + 1), high)):
            if part[0] > part[1]:
                continue
            if result and part[0] <= result[-1][1] + 1:
                result[-1] = (result[-1][0], max(result[-1][1], part[1]))
            else:
                result.append(part)
    return tuple(result)


def complement(ranges: Ranges) -> Ranges:
    """All other code points but NUL, for merged ranges."""
    result, next_free = [], 1
    for low, high in ranges:
        if next_free < low:
            result.append((next_free, low - 1))
        next_free = max(next_free, high + 1)
    if next_free <= MAX_CODE_POINT:
        result.append((next_free, MAX_CODE_POINT))
    return merged(result)


def byte_sequences(low: int, high: int) -> Iterator[Ranges]:
    """Sequences of byte ranges that match exactly the characters from `low` to `high`.

    Neither end nor what is between may be a surrogate.
    """
    for last in _LAST_OF_LENGTH:
        if low <= last < high:
            yield from byte_sequences(low, last)
            yield from byte_sequences(last + 1, high)
            return
    first, final = chr(low).encode(), chr(high).encode()
    for n_bits in range(6, 6 * len(first), 6):
        tail = (1 << n_bits) - 1
        if low | tail == high | tail:  # they differ in the last bytes only
            continue
        if low & tail:
            yield from byte_sequences(low, low | tail)
            yield from byte_sequences((low | tail) + 1, high)
            return
        if high & tail != tail:
            yield from byte_sequences(low, (high & ~tail) - 1)
            yield from byte_sequences(high & ~tail, high)
            return
    yield tuple(zip(first, final, strict=True))

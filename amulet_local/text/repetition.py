"""Finds repetition in a sequence of tokens.

Knows nothing about text: a loop is a stretch of tokens that goes on repeating itself.
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_PERIOD = 48
"""Longest stretch whose repetition is looked for, in tokens: some three lines of text."""

MIN_REPEATS = 2
MIN_REPEATED_TOKENS = 16
"""A stretch loops when it is repeated at least twice, over at least so many tokens."""


def repeated_tail(tokens: Sequence[int]) -> int:
    """Period of the loop that the sequence ends in, 0 if it ends in none.

    With period p, each of the last max(2 p, 16) tokens equals the one p places before it.
    """
    n = len(tokens)
    for period in range(1, min(MAX_PERIOD, n // (MIN_REPEATS + 1)) + 1):
        span = max(MIN_REPEATS * period, MIN_REPEATED_TOKENS)
        if n >= span + period and all(
            tokens[n - i] == tokens[n - i - period] for i in range(1, span + 1)
        ):
            return period
    return 0


def loops(tokens: Sequence[int]) -> bool:
    """Whether a loop is anywhere in the sequence."""
    return any(repeated_tail(tokens[:end]) for end in range(MIN_REPEATED_TOKENS, len(tokens) + 1))


def repeated_share(tokens: Sequence[int], stretch: int = 8) -> float:
    """Share of the tokens that are part of a stretch which stood in the sequence before."""
    seen: set[tuple[int, ...]] = set()
    repeated = [False] * len(tokens)
    for start in range(len(tokens) - stretch + 1):
        part = tuple(tokens[start : start + stretch])
        if part in seen:
            repeated[start : start + stretch] = [True] * stretch
        seen.add(part)
    return sum(repeated) / max(len(tokens), 1)

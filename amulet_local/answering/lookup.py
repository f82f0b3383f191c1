"""Finds where a text repeats what stands in it already, and what came next there.

Knows nothing about models or costs: texts are sequences of token ids.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice

LONGEST = 32
"""Tokens that a match is followed back for."""

_MOST_PLACES = 24
"""Places that are compared, the latest ones."""


class Lookup:
    """A text that grows, and the places where its last tokens stood before."""

    def __init__(self, tokens: Iterable[int] = ()) -> None:
        """Begin with these tokens."""
        self._tokens: list[int] = []
        self._after: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for token in tokens:
            self.push(token)

    def push(self, token: int) -> None:
        """Append a token."""
        self._tokens.append(token)
        if len(self._tokens) > 2:
            a, b = self._tokens[-3:-1]
            self._after[a, b].append(len(self._tokens) - 1)

    def find(self, n: int) -> tuple[Sequence[int], int]:
        """Up to `n` tokens that came after the longest match, the latest of equals, and its length.

        No tokens and 0 where the last two never stood together before.
        """
        tokens = self._tokens
        if len(tokens) < 2:
            return (), 0
        best, length = -1, 0
        places = self._after.get((tokens[-2], tokens[-1]), ())
        for place in islice(reversed(places), _MOST_PLACES):
            matched = self._matched(place)
            if matched > length:
                best, length = place, matched
        return (tokens[best : best + n], length) if length else ((), 0)

    def _matched(self, place: int) -> int:
        """How many tokens before `place` equal the last ones."""
        tokens, end = self._tokens, len(self._tokens)
        n = 2
        while n < min(LONGEST, place) and tokens[place - n - 1] == tokens[end - n - 1]:
            n += 1
        return n

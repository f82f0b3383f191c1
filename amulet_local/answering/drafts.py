"""Guesses the next tokens of an answer, so that rows compute several at once.

Knows nothing about how rows combine or how a token is drawn: a guess counts only where the token
that was chosen is the one that was guessed, so that no answer has a token that it wouldn't have
without. Guesses come from the prompt and the answer itself (lookup.py). How many are worth it
depends on what computing several tokens costs and on how often guesses were right so far: that is
counted for every token, whether it was computed by a guess or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from amulet_local.answering.lookup import Lookup

Costs = Mapping[int, float]
"""What computing so many tokens at once takes, in any unit; 1 is among them."""

MATCHES = (4, 8, 16)
"""Lengths of a match from which on the next ones are counted apart."""

EXPECTED = (0.4, 0.6, 0.8, 0.9)
"""The share of right guesses that is expected for each of these before any was made."""

_PRIOR = 4.0
"""Guesses that the expectation counts for."""
_KEPT = 0.97
"""What an earlier guess counts, next to the one after it."""
_GAIN = 1.05
"""Several tokens at once have to promise so many times the tokens a second of one."""
PROMISING = MATCHES[0]
"""The match from which on it is worth knowing what several tokens cost."""


class Acceptance:
    """How often guesses are right, by the length of the match that they come from."""

    def __init__(self) -> None:
        """Nothing was guessed yet."""
        self._right = [_PRIOR * share for share in EXPECTED]
        self._made = [_PRIOR] * len(EXPECTED)

    def note(self, length: int, is_right: bool) -> None:
        """Take note of a guess."""
        kind = _kind(length)
        self._right[kind] = _KEPT * self._right[kind] + is_right
        self._made[kind] = _KEPT * self._made[kind] + 1

    def share(self, length: int) -> float:
        """The probability that a guess from a match of this length is right."""
        kind = _kind(length)
        return self._right[kind] / self._made[kind]


def _kind(length: int) -> int:
    return sum(length >= least for least in MATCHES)


class Drafter:
    """Guesses for one answer."""

    def __init__(self, prompt: Sequence[int], costs: Callable[[], Costs | None]) -> None:
        """Begin.

        Args:
            prompt: token ids; what it says may be said again.
            costs: asked once, when there is something to guess; None ends the guessing.
        """
        self._lookup = Lookup(prompt)
        self._acceptance = Acceptance()
        self._ask_costs = costs
        self._costs: Costs | None = None
        self._is_off = False
        self._guess: Sequence[int] = ()
        self._length = 0

    def take(self, token: int) -> None:
        """The answer goes on with `token`."""
        if self._is_off:
            return
        if self._guess:
            self._acceptance.note(self._length, self._guess[0] == token)
        self._lookup.push(token)
        self._guess, self._length = self._lookup.find(max(self._costs or (2,)) - 1)

    def draft(self, most: int) -> Sequence[int]:
        """The tokens that are worth computing along with the last one; at most so many."""
        if not self._guess or most < 1:
            return ()
        if self._costs is None:
            if self._length < PROMISING:
                return ()
            self._costs = self._ask_costs()
            if self._costs is None:
                self._is_off, self._guess = True, ()
                return ()
        n = min(most, len(self._guess))
        return self._guess[: self._best_number(n)]

    def _best_number(self, most: int) -> int:
        """How many guesses make most tokens a second; 0 if none do better than no guess."""
        assert self._costs is not None
        best, best_rate = 0, _GAIN / self._costs[1]
        expected, chance, n = 1.0, 1.0, 0
        for width in sorted(self._costs):
            while n < min(width - 1, most):
                chance *= self._acceptance.share(self._length + n)
                expected += chance
                n += 1
            rate = expected / self._costs[width]
            if n and rate > best_rate:
                best, best_rate = n, rate
        return best

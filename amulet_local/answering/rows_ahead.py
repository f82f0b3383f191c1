"""Rows that are given guesses along with an answer's tokens, and go ahead while these are right.

Knows nothing about where guesses come from (drafts.py) or how tokens are chosen. What was computed
after a wrong guess is taken back, so that each token is chosen from what comes after the answer so
far, and from nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from amulet_local.answering.drafts import Costs, Drafter
from amulet_local.answering.request import Request
from amulet_local.llama.context import Logits
from amulet_local.llama.rows import RowSet


class RowsAhead:
    """The rows of one answer."""

    def __init__(
        self, rows: RowSet, request: Request, costs: Callable[[int], Costs | None] | None
    ) -> None:
        """Begin after the prompts.

        Args:
            costs: as for `generate`; None for no guesses.
        """
        self._rows = rows
        self._request = request
        self._drafter: Drafter | None = None
        if costs is not None and rows.may_drop:
            ask = costs
            self._drafter = Drafter(request.prompts[0], lambda: ask(rows.n_rows))
        self._n_taken = 0
        self._guessed: deque[int] = deque()
        self._following: deque[Sequence[Logits]] = deque()

    def logits(self) -> Sequence[Logits]:
        """Of every row after the answer so far."""
        if self._following:
            return self._following[0]
        return [self._rows.logits(row) for row in range(self._rows.n_rows)]

    def step(self, tokens: Sequence[int]) -> bool:
        """Give the rows the answer's last token, if they weren't given it as a guess.

        Args:
            tokens: the answer so far.

        Returns:
            Whether they have it; if not, they are empty.

        Raises:
            StoppedError, DecodeError: as RowSet.step does.
        """
        if self._drafter is None:
            self._rows.step(tokens[-1])
            return True
        for token in tokens[self._n_taken :]:
            self._drafter.take(token)
        self._n_taken = len(tokens)
        if self._guessed:
            self._following.popleft()
            if self._guessed.popleft() == tokens[-1]:
                return True
            if not self.leave():
                return False
        self._following.clear()
        draft = self._drafter.draft(self._room(len(tokens)))
        if draft:
            self._following = deque(self._rows.extend([tokens[-1], *draft]))
            self._guessed = deque(draft)
        else:
            self._rows.step(tokens[-1])
        return True

    def leave(self) -> bool:
        """Take back what no token of the answer came to; False, with the rows empty, if refused."""
        n_wrong = len(self._following)
        self._guessed.clear()
        self._following.clear()
        return not n_wrong or self._rows.drop(n_wrong)

    def leave_plain(self, request: Request) -> bool:
        """Go on without the plain row, for the rest of this request.

        Returns:
            As `leave`.
        """
        if self._following:
            self._following.popleft()
        is_there = self.leave()
        self._rows.leave_first()
        self._request = request
        return is_there

    def _room(self, n_tokens: int) -> int:
        """How many guesses an answer of so many tokens has room for."""
        request = self._request
        return min(
            self._rows.n_outputs - 1,
            request.sampling.max_tokens - n_tokens - 1,
            request.n_ctx - max(self._rows.n_tokens) - 1,
        )

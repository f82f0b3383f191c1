"""One request that waits for a place, has one, or is done.

Knows nothing about how places compute. What comes of the request is handed to a function of the one
who asked, in the scheduler's thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from amulet_local.answering.generation import Control
from amulet_local.answering.request import Request
from amulet_local.common.errors import AmuletError
from amulet_local.common.results import Chunk
from amulet_local.llama.prefill import Progress

Deliver = Callable[[Chunk | AmuletError], None]


class Ticket:
    """A request in a pool.

    Attributes:
        request: what was asked for at first.
        control: changes to it, and its end.
        n_tokens: of the answer, so far.
        place: which one it has or had, where places have names.
        progress: is called while the prompts are computed, with (tokens done, tokens in all) of all
            rows, at first with what is in memory; as `deliver`. None is nobody.
        done: whether the last piece, or an error, was handed over.
        admitted_seconds, first_token_seconds, last_token_seconds: time.perf_counter() when it got a
            place and when its tokens were chosen; None before.
    """

    def __init__(
        self,
        request: Request,
        deliver: Deliver,
        wake: Callable[[], None],
        progress: Progress | None = None,
    ) -> None:
        """Waiting.

        Args:
            deliver: gets the pieces in order, the last one with the whole answer, or an error
                instead. Must not block or raise.
            wake: tells the scheduler that there is something new.
            progress: see above.
        """
        self.request = request
        self.control = Control()
        self.n_tokens = 0
        self.place: int | None = None
        self.done = False
        self.admitted_seconds: float | None = None
        self.first_token_seconds: float | None = None
        self.last_token_seconds: float | None = None
        self.progress = progress
        self._deliver = deliver
        self._wake = wake

    @property
    def named_place(self) -> int:
        """The place's number; -1 where it has none."""
        return -1 if self.place is None else self.place

    def cancel(self) -> None:
        """End it, from any thread: its place is free within one computation.

        The last piece, with finish_reason "cancelled", has what was generated. One that still waits
        leaves the queue and gets a CancelledError.
        """
        self.control.cancel()
        self._wake()

    def change(self, request: Request) -> None:
        """Go on with the rows, strength and guards of `request` at the next token."""
        self.control.change(request)

    def admit(self) -> None:
        """Called by the scheduler when it has a place."""
        self.admitted_seconds = time.perf_counter()

    def hand_over(self, piece: Chunk | AmuletError) -> None:
        """Called by the scheduler."""
        if isinstance(piece, AmuletError) or piece.generation is not None:
            self.done = True
        else:
            self.n_tokens += len(piece.token_ids)
            self.last_token_seconds = time.perf_counter()
            if self.first_token_seconds is None:
                self.first_token_seconds = self.last_token_seconds
        self._deliver(piece)

"""Many answers, in the order of their requests: what `answer_all` does.

Knows nothing about chat templates or about what the answers are for. The places' contexts are as
long as the longest of the answers can become, and are freed at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TypeAlias

from amulet_local.answering.request import Request
from amulet_local.common.errors import AmuletError, InvalidParameterError
from amulet_local.common.results import Chunk, Generation
from amulet_local.loading.shared_rows import SharedRows
from amulet_local.params.choices import Scheduler
from amulet_local.serving.continuous import stream_all

Outcome: TypeAlias = Generation | AmuletError
"""An answer, or why there is none."""

Answered = Callable[[int, Outcome], None]
"""Called with a request's number and what came of it."""

AllProgress = Callable[[int, int], None]
"""Called with (answers done, tokens of those under way)."""


def answer_all(
    shared: SharedRows,
    requests: Sequence[Request | AmuletError],
    *,
    at_once: int | None,
    scheduler: Scheduler,
    answered: Answered | None,
    progress: AllProgress | None,
) -> list[Outcome]:
    """Answer all requests.

    Args:
        shared: of the engine, whose turn this is until the end.
        requests: none of them for beam search; an error is its own outcome.
        at_once, scheduler, answered, progress: as for `Engine.answer_all`.

    Raises:
        As `Engine.answer_all`.
    """
    shared.lock.check_open()
    check_at_once(at_once)
    gathering = _Gathering(len(requests), answered, progress)
    arrivals = stream_all(
        shared, requests, at_once=at_once, scheduler=scheduler, n_ahead=max(1, len(requests))
    )
    with closing(arrivals):
        for pieces in arrivals:
            for number, piece in pieces:
                gathering.take(number, piece)
            gathering.report()
    return gathering.outcomes()


def check_at_once(at_once: object) -> None:
    """Refuse what is no number of answers.

    Raises:
        InvalidParameterError: it is neither None nor a whole number from 1 on.
    """
    if at_once is not None and not (type(at_once) is int and at_once >= 1):
        raise InvalidParameterError(f"at_once must be None or at least 1, got {at_once!r:.60}")


class _Gathering:
    """What has come of the requests so far."""

    def __init__(self, n: int, answered: Answered | None, progress: AllProgress | None) -> None:
        self._outcomes: list[Outcome | None] = [None] * n
        self._n_tokens: dict[int, int] = {}
        self._n_done = 0
        self._answered, self._progress = answered, progress

    def take(self, number: int, piece: Chunk | AmuletError) -> None:
        """Note a piece, or the error that ended an answer."""
        if isinstance(piece, AmuletError):
            self.end(number, piece)
        elif piece.generation is not None:
            self.end(number, piece.generation)
        else:
            self._n_tokens[number] = self._n_tokens.get(number, 0) + len(piece.token_ids)

    def end(self, number: int, outcome: Outcome) -> None:
        """Note what came of a request."""
        self._outcomes[number] = outcome
        self._n_tokens.pop(number, None)
        self._n_done += 1
        if self._answered is not None:
            self._answered(number, outcome)
        self.report()

    def report(self) -> None:
        """Tell how far it is."""
        if self._progress is not None:
            self._progress(self._n_done, sum(self._n_tokens.values()))

    def outcomes(self) -> list[Outcome]:
        """All of them, in the order of the requests."""
        return [outcome for outcome in self._outcomes if outcome is not None]

"""Answers the lines of a job with a loaded engine, many at once.

Knows nothing about where lines come from or where records go. A line whose computation fails is
asked once more, since others may have been the reason.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from amulet_local.answering.request import Request
from amulet_local.batch.entries import Entry, JobModel
from amulet_local.batch.input_lines import InputLine
from amulet_local.common.errors import AmuletError, BackendError, CancelledError
from amulet_local.common.results import Chunk
from amulet_local.params.choices import Scheduler
from amulet_local.serving.continuous import Width

MOST_TRIES = 2
"""How often a line is asked whose computation fails: others may have been the reason."""


@dataclass(frozen=True, kw_only=True)
class KeyedLine:
    """A line that wants an answer.

    Attributes:
        turn: how many such lines come before it.
        key: of the settings and of its content.
        line: where it is, and what is in it.
        given_up: why it isn't asked any more.
    """

    turn: int
    key: str
    line: InputLine
    given_up: str | None = None


@dataclass(frozen=True, kw_only=True)
class LineOutcome:
    """What has come of a line.

    Attributes:
        turn: of the line.
        record: to be written.
        error: why there is no answer; None if there is one.
        prompt_tokens, completion_tokens: of its answers.
        is_cut: whether an answer ended because no more tokens were allowed.
    """

    turn: int
    record: dict[str, Any]
    error: str | None
    prompt_tokens: int
    completion_tokens: int
    is_cut: bool = False


class LineAnswerer(Protocol):
    """Answers lines."""

    def run(
        self,
        lines: Iterator[KeyedLine | None],
        end: Callable[[LineOutcome], None],
        came: Callable[[int], None],
    ) -> None:
        """Answer all of them.

        Args:
            lines: taken as they are needed; None says that there is none at present.
            end: takes what has come of a line, once for each.
            came: called time and again with the tokens of the answers under way.
        """


class EngineAnswers:
    """Answers lines with a loaded engine."""

    def __init__(
        self, model: JobModel, *, at_once: int | Width | None, scheduler: Scheduler = "batched"
    ) -> None:
        """Nothing is asked yet.

        Args:
            at_once, scheduler: as for `Engine.stream_all`.
        """
        self._model, self._at_once, self._scheduler = model, at_once, scheduler
        self._asked_for: dict[int, tuple[Entry, int, int]] = {}
        self._n_asked = self._n_under_way = self._n_running_tokens = 0
        self._again: deque[Entry] = deque()

    def run(
        self,
        lines: Iterator[KeyedLine | None],
        end: Callable[[LineOutcome], None],
        came: Callable[[int], None],
    ) -> None:
        """See LineAnswerer.

        Raises:
            CancelledError: the engine was cancelled or closed.
            As `Engine.stream_all` otherwise.
        """
        pieces = self._model.engine.stream_all(
            self._requests(lines, end), at_once=self._at_once, scheduler=self._scheduler
        )
        with closing(pieces):
            for arrived in pieces:
                for number, piece in arrived:
                    self._take(number, piece, end)
                came(self._n_running_tokens)

    def _requests(
        self, lines: Iterator[KeyedLine | None], end: Callable[[LineOutcome], None]
    ) -> Iterator[Request | AmuletError | None]:
        more = True
        while more or self._n_under_way:
            if self._again:
                yield from self._asked(self._again.popleft())
                continue
            if not more:
                yield None
                continue
            line = next(lines, lines)
            if line is lines:
                more = False
                continue
            assert not isinstance(line, Iterator)
            if line is None:
                yield None
                continue
            entry = Entry(line.line, line.key, self._model, turn=line.turn)
            if line.given_up is not None:
                entry.error = entry.error or BackendError(line.given_up)
            if entry.error is not None:
                end(_outcome(entry))
                continue
            self._n_under_way += 1
            yield from self._asked(entry)

    def _asked(self, entry: Entry) -> Iterator[Request]:
        for index, request in enumerate(entry.requests):
            self._asked_for[self._n_asked] = (entry, index, entry.tries)
            self._n_asked += 1
            yield request

    def _take(
        self, number: int, piece: Chunk | AmuletError, end: Callable[[LineOutcome], None]
    ) -> None:
        entry, index, tries = self._asked_for[number]
        if isinstance(piece, CancelledError) or (
            isinstance(piece, Chunk) and piece.finish_reason == "cancelled"
        ):
            raise CancelledError("the job was cancelled")
        if isinstance(piece, Chunk) and piece.generation is None:
            self._n_running_tokens += len(piece.token_ids)
        else:
            del self._asked_for[number]
        if entry.is_done or tries < entry.tries:  # another of its requests has failed
            return
        if isinstance(piece, BackendError) and entry.tries < MOST_TRIES:
            entry.restart()
            self._again.append(entry)
            return
        entry.take(index, piece)
        if entry.is_done:
            self._n_under_way -= 1
            outcome = _outcome(entry)
            self._n_running_tokens -= outcome.completion_tokens
            end(outcome)


def _outcome(entry: Entry) -> LineOutcome:
    usages = [generation.usage for generation in entry.generations]
    return LineOutcome(
        turn=entry.turn,
        record=entry.record(),
        error=None if entry.error is None else str(entry.error),
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
        is_cut=any(generation.finish_reason == "length" for generation in entry.generations),
    )

"""Goes through the lines of a job: asks what isn't answered yet, and hands over records.

Knows nothing about files. A record is handed over as soon as its line is done, once. What is under
way when a job ends is lost, and made when the same job is run again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from amulet_local.answering.request import Request
from amulet_local.batch.entries import Entry, JobModel, key_of, settings_digest
from amulet_local.batch.input_lines import InputLines
from amulet_local.batch.written_records import WrittenRecords
from amulet_local.common.errors import (
    AmuletError,
    BackendError,
    CancelledError,
    InvalidRequestError,
)
from amulet_local.common.results import Chunk
from amulet_local.params.choices import Scheduler
from amulet_local.serving.continuous import Width

MOST_TRIES = 2
"""How often a line is asked whose computation fails: others may have been the reason."""

MOST_HELD = 1024
"""Records that wait for an earlier line, where they are handed over in order."""


@dataclass
class JobTally:
    """What has come of the lines so far.

    Attributes:
        n_lines: that were read.
        n_answered, n_failed: that were handed over with an answer, with an error.
        n_before: that had their records before.
        prompt_tokens, completion_tokens: of the answers.
        seconds: since the first line was asked for.
        share: of the input that is read; None where its size isn't known.
        n_running_tokens: of the answers under way.
    """

    n_lines: int = 0
    n_answered: int = 0
    n_failed: int = 0
    n_before: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    share: float | None = None
    n_running_tokens: int = 0

    @property
    def tokens_per_second(self) -> float:
        """Of all answers together."""
        n_tokens = self.completion_tokens + self.n_running_tokens
        return n_tokens / self.seconds if self.seconds else 0.0


class LineJob:
    """A run through some lines.

    Attributes:
        tally: what has come so far.
    """

    def __init__(
        self,
        model: JobModel,
        lines: InputLines,
        write: Callable[[dict[str, Any]], None],
        *,
        written: WrittenRecords | None = None,
        is_strict: bool = False,
        is_held: bool = False,
    ) -> None:
        """Nothing is read yet.

        Args:
            write: takes a record.
            written: before.
            is_strict: whether a bad line ends the job.
            is_held: whether a record waits until those of the lines before it are handed over.
        """
        self.tally = JobTally()
        self._model, self._lines, self._write = model, lines, write
        self._written, self._is_strict, self._is_held = written, is_strict, is_held
        self._settings = settings_digest(model)
        self._asked_for: dict[int, tuple[Entry, int, int]] = {}
        self._n_asked = 0
        self._n_under_way = 0
        self._again: deque[Entry] = deque()
        self._held: dict[int, dict[str, Any]] = {}
        self._n_entries = self._next_turn = 0

    def run(
        self,
        *,
        at_once: int | Width | None = None,
        scheduler: Scheduler = "batched",
        report: Callable[[JobTally], None] | None = None,
    ) -> None:
        """Go through the lines to their end.

        Args:
            at_once, scheduler: as for `Engine.stream_all`.
            report: called when something has come.

        Raises:
            InvalidRequestError: a line is bad, and the job is strict.
            CancelledError: the engine was cancelled or closed.
            FileAccessError: the input can't be read, or `write` failed.
            As `Engine.stream_all` otherwise.
        """
        started = time.monotonic()
        pieces = self._model.engine.stream_all(
            self._requests(), at_once=at_once, scheduler=scheduler
        )
        with closing(pieces):
            for came in pieces:
                for number, piece in came:
                    self._take(number, piece)
                self.tally.seconds = time.monotonic() - started
                if report is not None:
                    report(self.tally)

    def _requests(self) -> Iterator[Request | AmuletError | None]:
        lines = self._lines.ready()
        more = True
        while more or self._n_under_way:
            if self._again:
                yield from self._asked(self._again.popleft())
                continue
            if not more or len(self._held) >= MOST_HELD:
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
            self.tally.n_lines += 1
            self.tally.share = line.share
            key = key_of(line, self._settings)
            if self._written is not None and self._written.take(key):
                self.tally.n_before += 1
                continue
            entry = Entry(line, key, self._model, turn=self._n_entries)
            self._n_entries += 1
            if entry.error is not None:
                self._end(entry)
                continue
            self._n_under_way += 1
            yield from self._asked(entry)

    def _asked(self, entry: Entry) -> Iterator[Request]:
        for index, request in enumerate(entry.requests):
            self._asked_for[self._n_asked] = (entry, index, entry.tries)
            self._n_asked += 1
            yield request

    def _take(self, number: int, piece: Chunk | AmuletError) -> None:
        entry, index, tries = self._asked_for[number]
        if isinstance(piece, CancelledError) or (
            isinstance(piece, Chunk) and piece.finish_reason == "cancelled"
        ):
            raise CancelledError("the job was cancelled")
        if isinstance(piece, Chunk) and piece.generation is None:
            self.tally.n_running_tokens += len(piece.token_ids)
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
            self._end(entry)

    def _end(self, entry: Entry) -> None:
        """Hand over a line's record."""
        tally = self.tally
        if entry.error is not None:
            if self._is_strict:
                where = f"{entry.line.file}, " if entry.line.file else ""
                raise InvalidRequestError(f"{where}line {entry.line.number}: {entry.error}")
            tally.n_failed += 1
        else:
            tally.n_answered += 1
        for generation in entry.generations:
            tally.prompt_tokens += generation.usage.prompt_tokens
            tally.completion_tokens += generation.usage.completion_tokens
            tally.n_running_tokens -= generation.usage.completion_tokens
        self._hand_over(entry.turn, entry.record())

    def _hand_over(self, turn: int, record: dict[str, Any]) -> None:
        if not self._is_held:
            self._write(record)
            return
        self._held[turn] = record
        while self._next_turn in self._held:
            self._write(self._held.pop(self._next_turn))
            self._next_turn += 1

"""Goes through the lines of a job: asks what isn't answered yet, and hands over records.

Knows nothing about files. A record is handed over as soon as its line is done, once. What is under
way when a job ends is lost, and made when the same job is run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from amulet_local.batch.entries import key_of
from amulet_local.batch.input_lines import InputLine, InputLines
from amulet_local.batch.line_answers import KeyedLine, LineAnswerer, LineOutcome
from amulet_local.batch.written_records import WrittenRecords
from amulet_local.common.errors import FileAccessError, InvalidRequestError

MOST_HELD = 1024
"""Records that wait for an earlier line, where they are handed over in order."""


@dataclass
class JobTally:
    """What has come of the lines so far.

    Attributes:
        n_lines: that were read.
        n_answered, n_failed: that were handed over with an answer, with an error.
        n_cut: of those answered, the ones that ended because no more tokens were allowed.
        n_before: that had their records before.
        n_failed_before: records with an error that were there before.
        prompt_tokens, completion_tokens: of the answers.
        seconds: since the first line was asked for.
        share: of the input that is read; None where its size isn't known.
        n_running_tokens: of the answers under way.
        first_error: the first line of this run that failed, and why; empty if none has.
    """

    n_lines: int = 0
    n_answered: int = 0
    n_failed: int = 0
    n_cut: int = 0
    n_before: int = 0
    n_failed_before: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    share: float | None = None
    n_running_tokens: int = 0
    first_error: str = ""

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
        lines: InputLines,
        write: Callable[[dict[str, Any]], None],
        *,
        settings: str,
        written: WrittenRecords | None = None,
        is_strict: bool = False,
        is_held: bool = False,
    ) -> None:
        """Nothing is read yet.

        Args:
            write: takes a record.
            settings: the digits that keys begin with, see `settings_digest`.
            written: before.
            is_strict: whether a bad line ends the job.
            is_held: whether a record waits until those of the lines before it are handed over.
        """
        self.tally = JobTally()
        self._lines, self._write, self._settings = lines, write, settings
        self._written, self._is_strict, self._is_held = written, is_strict, is_held
        self._unreadable: FileAccessError | None = None
        self._under_way: dict[int, tuple[str, int]] = {}
        self._held: dict[int, dict[str, Any]] = {}
        self._n_turns = self._next_turn = 0

    def run(
        self, answerer: LineAnswerer, *, report: Callable[[JobTally], None] | None = None
    ) -> None:
        """Go through the lines to their end.

        Args:
            report: called when something has come.

        Raises:
            InvalidRequestError: a line is bad, and the job is strict.
            FileAccessError: `write` failed, or the input can't be read any further: then the lines
                before that have their records.
            As the answerer's `run` otherwise.
        """
        started = time.monotonic()

        def came(n_running_tokens: int) -> None:
            self.tally.n_running_tokens = n_running_tokens
            self.tally.seconds = time.monotonic() - started
            if report is not None:
                report(self.tally)

        answerer.run(self._to_ask(), self._end, came)
        if self._unreadable is not None:
            raise self._unreadable

    def _to_ask(self) -> Iterator[KeyedLine | None]:
        """Lines that have no record yet; None where there is none at present."""
        for line in self._readable():
            while len(self._held) >= MOST_HELD:
                yield None
            if line is None:
                yield None
                continue
            self.tally.n_lines += 1
            self.tally.share = line.share
            key = key_of(line, self._settings)
            if self._written is not None and self._written.take(key):
                self.tally.n_before += 1
                continue
            turn, self._n_turns = self._n_turns, self._n_turns + 1
            self._under_way[turn] = (line.file, line.number)
            yield KeyedLine(turn=turn, key=key, line=line)

    def _readable(self) -> Iterator[InputLine | None]:
        """Lines up to one that can't be read."""
        try:
            yield from self._lines.ready()
        except FileAccessError as error:
            self._unreadable = error

    def _end(self, outcome: LineOutcome) -> None:
        """Hand over a line's record."""
        tally = self.tally
        file, number = self._under_way.pop(outcome.turn)
        if outcome.error is not None:
            reason = f"{file}{', ' if file else ''}line {number}: {outcome.error}"
            if self._is_strict:
                raise InvalidRequestError(reason)
            tally.first_error = tally.first_error or reason
            tally.n_failed += 1
        else:
            tally.n_answered += 1
            tally.n_cut += outcome.is_cut
        tally.prompt_tokens += outcome.prompt_tokens
        tally.completion_tokens += outcome.completion_tokens
        self._hand_over(outcome.turn, outcome.record)

    def _hand_over(self, turn: int, record: dict[str, Any]) -> None:
        if not self._is_held:
            self._write(record)
            return
        self._held[turn] = record
        while self._next_turn in self._held:
            self._write(self._held.pop(self._next_turn))
            self._next_turn += 1

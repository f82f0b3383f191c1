"""Answers to many requests at once: all rows of all of them in one llama_decode.

Knows nothing about chat templates or about who asks. Where a step of many rows costs little more
than a step of one (on a GPU, and in part on a CPU) this makes more tokens a second in all than one
answer after the other. A place that becomes free goes to the next request at once, and prompts are
computed in chunks between the tokens of the others. What prompts that are read at the same time
begin with in common is computed once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from amulet_local.answering.answer import Answer
from amulet_local.answering.generation import Control
from amulet_local.answering.request import Request
from amulet_local.common.errors import AmuletError, InvalidParameterError, unexpected
from amulet_local.common.results import Chunk
from amulet_local.llama.context import Context, ContextSettings, Logits
from amulet_local.llama.model import Model
from amulet_local.llama.pace import Pace
from amulet_local.llama.prefill import Progress
from amulet_local.llama.row import common_length
from amulet_local.llama.sequences import Part, Sequences
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.optimizer.realigner import Realigner

_WORTH_WAITING = 8
"""Tokens at least that a row lets another one compute for it; fewer cost less than the wait."""

_WORTH_COPYING = 1024
"""A copy takes all of a row's context: so many tokens of it cost what one costs to compute."""


@dataclass(eq=False)
class _CohortRow:
    """A sequence, and what is computed in it.

    Attributes:
        prompt: what it is to have before a token is chosen.
        pending: what comes next of that, or the token that was chosen.
        awaited: the row that computes what both prompts begin with, as long as it does.
    """

    sequence: int
    prompt: Sequence[int] = ()
    pending: Sequence[int] = ()
    awaited: _CohortRow | None = None
    logits: Logits | None = None

    def clear(self) -> None:
        """Nothing is to be computed in it."""
        self.prompt, self.pending, self.awaited, self.logits = (), (), None, None

    def take_over(self, other: _CohortRow) -> None:
        """Go on with what another row was to compute; that one has nothing to do then."""
        self.prompt, self.pending = other.prompt, other.pending
        self.logits = other.logits
        other.clear()

    def shared_with(self, other: _CohortRow) -> int:
        """How much of its prompt another one's begins with, but for its last token."""
        return min(common_length(other.prompt, self.prompt), len(self.prompt) - 1)


@dataclass
class _CohortPlace:
    rows: list[_CohortRow] = field(default_factory=list)
    wanted: Sequence[Sequence[int]] = ()
    """Prompts that wait for rows."""
    request: Request | None = None
    answer: Answer | None = None
    control: Control | None = None
    progress: Progress | None = None
    n_computed: int = 0


Cost = Callable[[int], float]
"""What a decode of so many columns takes on a quiet machine, in any unit."""


def _gaps(numbers: Sequence[int]) -> list[int]:
    """What is missing between sorted numbers."""
    return sorted(set(range(numbers[0], numbers[-1])) - set(numbers)) if numbers else []


class Cohort:
    """Places for requests that are answered together, in a context of their own.

    Rows belong to no place: each request gets as many as it has prompts. Where there aren't enough,
    it waits for others' ends. Rows that are taken follow each other, as llama.cpp wants them to.
    """

    def __init__(
        self,
        model: Model,
        settings: ContextSettings,
        stop_flag: StopFlag,
        *,
        n_places: int,
        n_rows: int,
        n_threads: int,
        n_sequences: int | None = None,
        cost: Cost | None = None,
    ) -> None:
        """Allocate the memory.

        Args:
            settings: n_ctx is that of one row, n_batch the tokens computed at once.
            n_places: requests at once.
            n_rows: most rows that a request has.
            n_threads: for all of it.
            n_sequences: rows in all, at least `n_rows`; if None, as many as all places can have.
            cost: lets steps take fewer threads while other programs keep cores busy; None: never.

        Raises:
            ContextCreationError: no memory, or settings that this model excludes.
            InvalidParameterError: adapters for preference rows alone.
        """
        if settings.plain_row_is_bare:
            raise InvalidParameterError(
                "answers that are made together share a context, so adapters are on all rows of it "
                "or on none; use adapters_on='all'"
            )
        n_sequences = n_sequences or n_places * n_rows
        assert n_sequences >= n_rows
        self._model = model
        context = Context(
            model,
            replace(settings, n_sequences=n_sequences, n_outputs=n_sequences),
            stop_flag,
        )
        self._n_ctx = settings.n_ctx
        self._n_threads, self._n_threads_now = n_threads, 0
        self._set_threads(context, n_threads)
        self._pace = None if cost is None or n_threads == 1 else Pace(n_threads)
        self._cost = cost
        self._sequences = Sequences(context, can_drop=model.can_drop_tokens)
        self._realigner = Realigner(model.vocabulary.n_tokens)
        self._rows = [_CohortRow(sequence) for sequence in range(n_sequences)]
        self._places = [_CohortPlace() for _ in range(n_places)]
        self._waiting: deque[_CohortPlace] = deque()

    def admit(
        self,
        place: int,
        request: Request,
        *,
        noise: float = 0.0,
        control: Control | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Begin with a request at a free place.

        Args:
            place: its number.
            request: of at most `n_rows` rows.
            noise: standard deviation of the model's rounding noise in l1 - l0, for noise guards.
            control: changes to it, and its end.
            progress: see Ticket.
        """
        taken = self._places[place]
        assert taken.answer is None
        assert len(request.prompts) <= len(self._rows)
        changed = None if control is None else control.take()
        taken.control, taken.progress, taken.n_computed = control, progress, 0
        taken.answer = Answer(request, self._realigner, self._model.vocabulary)
        if changed is not None:
            taken.answer.change(changed)
            request = changed
        taken.request = request
        taken.answer.steering.noise = noise
        taken.answer.clock.prompt_starts()
        self._want(taken, request.prompts)

    def in_memory(self, prompts: Sequence[Sequence[int]]) -> int:
        """How many tokens of these prompts are in memory, each in the row that has most of it."""
        return sum(max(self._usable(row, prompt) for row in self._rows) for prompt in prompts)

    def step(self) -> list[tuple[int, Chunk | AmuletError]]:
        """Compute once, and choose a token for each answer whose prompts are computed.

        Returns:
            What came of it, with the place; a place whose answer is complete or failed is free.

        Raises:
            DecodeError: llama.cpp failed; nothing is in memory, every answer under way is lost.
            StoppedError: the stop flag was set; the same.
        """
        done: list[tuple[int, Chunk | AmuletError]] = []
        for index, place in enumerate(self._places):
            if place.answer is not None and (ended := self._heed(place)) is not None:
                done.append((index, ended))
        self._give_rows()
        self._close_gaps()
        busy = [(i, place) for i, place in enumerate(self._places) if place.rows]
        if busy:
            self._decode([place for _, place in busy])
        for index, place in busy:
            try:
                done += [(index, chunk) for chunk in self._advance(place)]
            except AmuletError as error:
                self._leave(place)
                done.append((index, error))
            except Exception as error:  # a bug: the others' answers go on
                self._leave(place)
                done.append((index, unexpected(error)))
        return done

    def cut(self) -> list[tuple[int, Chunk]]:
        """End every answer, as cancelled, with what it has."""
        cut = []
        for index, place in enumerate(self._places):
            if place.answer is not None:
                place.answer.finish_reason = "cancelled"
                cut.append((index, self._finish(place)))
        return cut

    def abandon(self) -> None:
        """Leave every answer as it is; what is in memory stays."""
        for place in self._places:
            if place.answer is not None:
                self._leave(place)

    def close(self) -> None:
        """Free the context."""
        self._sequences.close()

    def _want(self, place: _CohortPlace, prompts: Sequence[Sequence[int]]) -> None:
        """Compute these prompts next, when there are rows for them.

        Those that the place has are given back first: who waits holds up nobody.
        """
        self._give_back(place)
        place.wanted = prompts
        self._waiting.append(place)
        self._give_rows()

    def _give_rows(self) -> None:
        """Give free rows to who has waited longest."""
        while self._waiting:
            place = self._waiting[0]
            if len(self._rows) - self._n_taken() < len(place.wanted):
                return
            self._waiting.popleft()
            for prompt in place.wanted:
                row = self._next_row(prompt)
                place.rows.append(row)
                row.prompt, row.logits = prompt, None
                if place.request is None or place.request.reuses_memory:
                    self._take_prefix(row)
                    row.awaited = self._computes_what_begins(row)
                else:
                    self._sequences.forget(row.sequence)
                    row.pending = prompt
            place.wanted = ()
            self._note_begin(place)

    def _taken(self) -> list[int]:
        """The rows that places have, as they are numbered."""
        return sorted(row.sequence for place in self._places for row in place.rows)

    def _n_taken(self) -> int:
        return sum(len(place.rows) for place in self._places)

    def _next_row(self, prompt: Sequence[int]) -> _CohortRow:
        """A free row next to those that are taken, which has most of the prompt or least else."""
        taken = self._taken()
        near = _gaps(taken) or [taken[0] - 1, taken[-1] + 1] if taken else range(len(self._rows))
        rows = [self._rows[n] for n in near if 0 <= n < len(self._rows)]
        return max(rows, key=lambda row: (self._usable(row, prompt), -self._n_held(row)))

    def _n_held(self, row: _CohortRow) -> int:
        return len(self._sequences.held(row.sequence))

    def _close_gaps(self) -> None:
        """Let the taken rows follow each other: with a gap, llama.cpp computes them in two parts.

        The last row moves into the gap. What the gap has in memory for a later prompt moves to
        where less is lost.
        """
        while gaps := _gaps(taken := self._taken()):
            gap, last = self._rows[gaps[0]], self._rows[taken[-1]]
            outside = [row for row in self._rows if not taken[0] <= row.sequence <= taken[-1]]
            spare = min(outside, key=self._n_held, default=None)
            if spare is not None and self._n_held(spare) < self._n_held(gap):
                self._sequences.copy(gap.sequence, spare.sequence)
            self._sequences.copy(last.sequence, gap.sequence)
            gap.take_over(last)
            for place in self._places:
                place.rows = [gap if row is last else row for row in place.rows]

    def _note_begin(self, place: _CohortPlace) -> None:
        """Say how much of the prompts was in memory, at an answer's begin."""
        if place.answer is None or place.answer.tokens:
            return
        place.answer.n_cached = max(len(self._sequences.held(row.sequence)) for row in place.rows)
        if place.control is not None:
            place.control.n_cached = place.answer.n_cached
        self._report(place)

    def _give_back(self, place: _CohortPlace) -> None:
        for row in place.rows:
            row.clear()
        place.rows = []
        place.wanted = ()
        if any(place is other for other in self._waiting):
            self._waiting = deque(other for other in self._waiting if other is not place)

    def _heed(self, place: _CohortPlace) -> Chunk | None:
        """What others want of this answer; its end, if it has come to that."""
        control, answer = place.control, place.answer
        assert answer is not None
        if control is not None and control.cancelled:
            answer.finish_reason = "cancelled"
            return self._finish(place)
        changed = None if control is None else control.take()
        if changed is None:
            self._drop_plain(place, answer)
            return None
        same_rows = answer.change(changed)
        place.request = changed
        if answer.finish_reason is not None:
            return self._finish(place)
        if not same_rows:
            self._want(place, [(*prompt, *answer.tokens) for prompt in changed.prompts])
        return None

    def _drop_plain(self, place: _CohortPlace, answer: Answer) -> None:
        """Give the plain row back where it doesn't matter any more."""
        alone = answer.without_plain()
        if alone is None or [len(row.pending) for row in place.rows] != [1, 1]:
            return
        answer.change(alone)
        place.request = alone
        place.rows.pop(0).clear()

    def _take_prefix(self, row: _CohortRow) -> None:
        """Start from the row that has most of the prompt in memory, another one's if need be."""
        prompt = row.prompt
        source = max((row, *self._rows), key=lambda other: self._usable(other, prompt))
        n = self._usable(source, prompt)
        if n > self._usable(row, prompt):
            self._sequences.copy(source.sequence, row.sequence)
        self._sequences.keep_prefix(row.sequence, n)
        row.pending = prompt[self._n_held(row) :]

    def _computes_what_begins(self, row: _CohortRow) -> _CohortRow | None:
        """The row under way that has most of this one's prompt, where that is worth a wait."""
        if not self._model.can_drop_tokens:
            return None
        under_way = (other for other in self._rows if self._n_held(other) < len(other.prompt))
        others = [other for other in under_way if other is not row]
        most = max(others, key=row.shared_with, default=None)
        worth = _WORTH_WAITING + self._n_ctx // _WORTH_COPYING
        if most is None or row.shared_with(most) < self._n_held(row) + worth:
            return None
        return most

    def _waits(self, row: _CohortRow) -> bool:
        """Whether another row still computes what this one begins with; takes it once it is there.

        A row that was given back has no prompt, and shares nothing any more.
        """
        if row.awaited is None:
            return False
        if self._n_held(row.awaited) < row.shared_with(row.awaited):
            return True
        row.awaited = None
        self._take_prefix(row)
        return False

    def _usable(self, row: _CohortRow, prompt: Sequence[int]) -> int:
        """How many tokens of the prompt, but for its last, the row's memory can go on from."""
        held = self._sequences.held(row.sequence)
        n = min(common_length(held, prompt), len(prompt) - 1)
        return n if n == len(held) or self._model.can_drop_tokens else 0

    def _decode(self, busy: Sequence[_CohortPlace]) -> None:
        """One llama_decode: a token for every row that goes on, and as much prompt as fits."""
        rows = [row for place in busy for row in place.rows if row.pending and not self._waits(row)]
        rows.sort(key=lambda row: len(row.pending) > 1)
        parts = self._sequences.pack((row.sequence, row.pending) for row in rows)
        outputs = self._timed_decode(parts)
        for row, part, output in zip(rows, parts, outputs, strict=False):
            row.pending = row.pending[len(part.tokens) :]
            row.logits = self._sequences.logits(output) if part.n_outputs else None
        for place in busy:
            mine = [row.sequence for row in place.rows]
            place.n_computed += sum(len(part.tokens) for part in parts if part.sequence in mine)
            self._report(place)
            if any(row.pending for row in place.rows):  # a later decode overwrites what is there
                for row in place.rows:
                    if row.logits is not None:
                        row.logits = row.logits.copy()

    def _timed_decode(self, parts: Sequence[Part]) -> list[int]:
        """Decode, a token of each row by as many threads as suit the machine now."""
        pace, cost = self._pace, self._cost
        if pace is None or cost is None or any(len(part.tokens) > 1 for part in parts):
            self._set_threads(self._sequences.context, self._n_threads)
            return self._sequences.decode(parts)
        self._set_threads(self._sequences.context, pace.n_threads)
        start = time.perf_counter()
        outputs = self._sequences.decode(parts)
        pace.took((time.perf_counter() - start) / cost(len(parts)))
        return outputs

    def _set_threads(self, context: Context, n_threads: int) -> None:
        if n_threads != self._n_threads_now:
            context.set_threads(n_threads, n_threads)
            self._n_threads_now = n_threads

    def _report(self, place: _CohortPlace) -> None:
        """Say how far the prompts are, until they are read."""
        if place.progress is None or place.answer is None or place.answer.tokens:
            return
        assert place.request is not None
        n_done = sum(len(self._sequences.held(row.sequence)) for row in place.rows)
        place.progress(n_done, sum(map(len, place.request.prompts)))

    def _advance(self, place: _CohortPlace) -> list[Chunk]:
        """Choose the next token where every row is ready; the last piece as well at the end.

        Raises:
            LogitsError: the logits allow no token.
        """
        answer, rows = place.answer, place.rows
        assert answer is not None
        logits = [row.logits for row in rows if row.logits is not None]
        if len(logits) < len(rows):
            return []
        if not answer.tokens:
            answer.clock.prompt_done()
        chunk = answer.take(logits)
        for row in rows:
            row.pending = (answer.tokens[-1],)
            row.logits = None
        chunks = [] if chunk is None else [chunk]
        if chunk is None or answer.finish_reason is not None:
            chunks.append(self._finish(place))
        return chunks

    def _finish(self, place: _CohortPlace) -> Chunk:
        answer = place.answer
        assert answer is not None
        self._leave(place)
        return answer.last_chunk(place.n_computed)

    def _leave(self, place: _CohortPlace) -> None:
        if place.answer is not None:
            place.answer.close()
        place.answer = place.control = None
        self._give_back(place)

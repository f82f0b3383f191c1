"""Answers to many requests at once: all rows of all of them in one llama_decode.

Knows nothing about chat templates. Where a step of many rows costs little more than a step of one
(on a GPU, and in part on a CPU) this makes more tokens a second in all than one answer after the
other. A place that becomes free goes to the next request at once, and prompts are computed in
chunks between the tokens of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from amulet_local.answer import Answer
from amulet_local.errors import DecodeError, InvalidParameterError
from amulet_local.llama.context import DECODE_STOPPED, Context, ContextSettings, Logits, Span
from amulet_local.llama.model import Model
from amulet_local.llama.rows import StoppedError, common_length
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.optimizer.realigner import Realigner
from amulet_local.request import Request
from amulet_local.results import Generation


@dataclass
class _Row:
    sequence: int
    tokens: list[int] = field(default_factory=list)
    pending: Sequence[int] = ()
    logits: Logits | None = None


@dataclass
class _Place:
    rows: list[_Row]
    index: int = -1
    request: Request | None = None
    answer: Answer | None = None
    n_computed: int = 0


class Cohort:
    """Places for requests that are answered together, in a context of their own."""

    def __init__(
        self,
        model: Model,
        settings: ContextSettings,
        stop_flag: StopFlag,
        *,
        n_places: int,
        n_rows: int,
        n_threads: int,
    ) -> None:
        """Allocate the memory.

        Args:
            settings: n_ctx is that of one row, n_batch the tokens computed at once.
            n_places: requests at once.
            n_rows: most rows that a request has.
            n_threads: for all of it.

        Raises:
            ContextCreationError: no memory, or settings that this model excludes.
            InvalidParameterError: adapters for preference rows alone.
        """
        if settings.plain_row_is_bare:
            raise InvalidParameterError(
                "answers that are made together share a context, so adapters are on all rows of it "
                "or on none; use adapters_on='all'"
            )
        n_sequences = n_places * n_rows
        self._model = model
        self._context = Context(
            model,
            replace(settings, n_sequences=n_sequences, n_outputs=n_sequences),
            stop_flag,
        )
        self._context.set_threads(n_threads, n_threads)
        self._realigner = Realigner(model.vocabulary.n_tokens)
        self._places = [
            _Place([_Row(place * n_rows + row) for row in range(n_rows)])
            for place in range(n_places)
        ]

    def run(
        self,
        requests: Iterable[Request],
        *,
        noise: float = 0.0,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[tuple[int, Generation]]:
        """Answer all requests; each with its number, in the order in which they are done.

        Args:
            noise: standard deviation of the model's rounding noise in l1 - l0, for noise guards.
            progress: called after each step with the tokens of the answers under way. What it
                raises ends the run.

        Raises:
            DecodeError: llama.cpp failed.
            StoppedError: the stop flag was set.
        """
        waiting = enumerate(requests)
        free = list(self._places)
        try:
            while True:
                while free and (item := next(waiting, None)) is not None:
                    self._admit(free.pop(), *item, noise)
                busy = [place for place in self._places if place.answer is not None]
                if not busy:
                    return
                self._decode(busy)
                for place in busy:
                    if self._advance(place):
                        yield place.index, self._finish(place)
                        free.append(place)
                if progress is not None:
                    progress(sum(len(p.answer.tokens) for p in busy if p.answer is not None))
        finally:
            for place in self._places:
                if place.answer is not None:
                    place.answer.close()
                    place.answer = None
                for row in place.rows:
                    row.pending = ()

    def close(self) -> None:
        """Free the context."""
        self._context.close()

    def _admit(self, place: _Place, index: int, request: Request, noise: float) -> None:
        assert len(request.prompts) <= len(place.rows)
        place.index, place.request, place.n_computed = index, request, 0
        place.answer = Answer(request, self._realigner, self._model.vocabulary)
        place.answer.steering.noise = noise
        place.answer.clock.prompt_starts()
        for row, prompt in zip(place.rows, request.prompts, strict=False):
            self._take_prefix(row, prompt)
            row.pending = prompt[len(row.tokens) :]
            row.logits = None

    def _take_prefix(self, row: _Row, prompt: Sequence[int]) -> None:
        """Start from the row that has most of the prompt in memory, another one's if need be."""
        rows = [other for place in self._places for other in place.rows]
        source = max(
            (row, *rows),
            key=lambda other: min(common_length(other.tokens, prompt), len(prompt) - 1),
        )
        n = min(common_length(source.tokens, prompt), len(prompt) - 1)
        if source is not row and n > min(common_length(row.tokens, prompt), len(prompt) - 1):
            self._context.copy_sequence(source.sequence, row.sequence)
            row.tokens = list(source.tokens)
        if not self._model.can_drop_tokens or not self._context.drop_from(row.sequence, n):
            self._context.drop_from(row.sequence, -1)
            n = 0
        del row.tokens[n:]

    def _decode(self, busy: Sequence[_Place]) -> None:
        """One llama_decode: a token for every row that goes on, and as much prompt as fits."""
        rows = [row for place in busy for row in place.rows if row.pending]
        rows.sort(key=lambda row: len(row.pending) > 1)
        room = self._context.n_batch
        spans, ends = [], []
        for row in rows:
            n = min(room, len(row.pending))
            if n == 0:
                break
            room -= n
            last = n == len(row.pending)
            spans.append(Span(row.sequence, len(row.tokens), row.pending[:n], int(last)))
            ends.append((row, self._context.n_batch - room - 1, n, last))
        try:
            self._context.decode(spans)
        except DecodeError as error:
            self._forget()
            if error.code == DECODE_STOPPED:
                raise StoppedError from None
            raise
        for row, end, n, last in ends:
            row.tokens.extend(row.pending[:n])
            row.pending = row.pending[n:]
            row.logits = self._context.logits(end) if last else None
        for place in busy:
            place.n_computed += sum(
                n for row, _, n, _ in ends if any(row is mine for mine in place.rows)
            )
            active = self._active(place)
            if any(row.pending for row in active):  # a later decode overwrites what is there
                for row in active:
                    if row.logits is not None:
                        row.logits = row.logits.copy()

    def _forget(self) -> None:
        """Empty every row: what a failed computation left in memory is anything."""
        self._context.clear()
        for place in self._places:
            for row in place.rows:
                row.tokens.clear()

    def _active(self, place: _Place) -> list[_Row]:
        assert place.request is not None
        return place.rows[: len(place.request.prompts)]

    def _advance(self, place: _Place) -> bool:
        """Choose the next token where every row is ready; whether the answer is complete."""
        answer, rows = place.answer, self._active(place)
        assert answer is not None
        logits = [row.logits for row in rows if row.logits is not None]
        if len(logits) < len(rows):
            return False
        if not answer.tokens:
            answer.clock.prompt_done()
        ended = answer.take(logits) is None
        for row in rows:
            row.pending = (answer.tokens[-1],)
            row.logits = None
        return ended or answer.finish_reason is not None

    def _finish(self, place: _Place) -> Generation:
        answer, place.answer = place.answer, None
        assert answer is not None
        for row in place.rows:
            row.pending = ()
        answer.close()
        generation = answer.last_chunk(place.n_computed).generation
        assert generation is not None
        return generation

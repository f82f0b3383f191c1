"""Places with contexts of their own that take turns, a token each.

Best where a batch of rows costs the sum of them. An answer is computed as if it were
alone: with `exact_reuse` in its plan, to the bit. In each turn every answer under way gets one
token and one of the prompts that are being read goes on by a chunk, so that a long prompt holds
up nobody for longer than that.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import ClassVar

from amulet_local.answering.generation import generate
from amulet_local.answering.request import Request
from amulet_local.common.errors import AmuletError, BackendError, unexpected
from amulet_local.common.results import Chunk
from amulet_local.llama.context import ContextSettings
from amulet_local.llama.execution_plan import ExecutionPlan
from amulet_local.llama.model import Model
from amulet_local.llama.rows import RowSet
from amulet_local.llama.stop_flag import StopFlag, StoppedError
from amulet_local.llama.worker import Worker
from amulet_local.loading.engine_parts import RowMaker
from amulet_local.optimizer.realigner import Realigner
from amulet_local.serving.places import Outcome, SavedState
from amulet_local.serving.ticket import Ticket


@dataclass
class _Place:
    rows: RowSet
    stop_flag: StopFlag
    ticket: Ticket | None = None
    steps: Generator[Chunk | None, None, None] | None = None
    reading: bool = False
    """Whether its prompts are being computed."""
    running: ExitStack = field(default_factory=ExitStack)


class InterleavedPlaces:
    """Places on one loaded model.

    Attributes:
        max_rows: most rows that a request may have.
    """

    scheduler: ClassVar[str] = "interleaved"

    def __init__(
        self,
        model: Model,
        settings: ContextSettings,
        plan: ExecutionPlan,
        *,
        n_places: int,
        max_rows: int,
        noise: Callable[[Request, StopFlag], float],
        new_rows: RowMaker,
        check_memory: Callable[[int], None],
    ) -> None:
        """Make the places; two rows each, and more when they are first needed.

        Args:
            settings: of each row's context; n_batch is the length of a chunk.
            noise: the rounding noise for a request's noise guard.
            new_rows: makes the rows of a place.
            check_memory: raises ContextCreationError where there is none for so many more rows.

        Raises:
            ContextCreationError: no memory, or settings that this model excludes.
        """
        self.max_rows = max_rows
        self._vocabulary = model.vocabulary
        self._realigner = Realigner(model.vocabulary.n_tokens)
        self._noise = noise
        self._check_memory = check_memory
        self._workers: list[Worker] = []
        self._places: list[_Place] = []
        self._next_reader = 0
        self._closing = False
        try:
            for _ in range(n_places):
                flag = StopFlag()
                rows = new_rows(model, settings, flag, plan, self._workers)
                self._places.append(_Place(rows, flag))
                rows.reserve(min(2, max_rows))
        except BaseException:
            self.close()
            raise

    @property
    def n_places(self) -> int:
        """How many requests at once."""
        return len(self._places)

    @property
    def n_active(self) -> int:
        """Places that are taken."""
        return sum(place.ticket is not None for place in self._places)

    def is_free(self, place: int) -> bool:
        """Whether nobody has a place."""
        return self._places[place].ticket is None

    def admit(self, ticket: Ticket) -> None:
        """Give the request its own place, or the free one that has most of its prompts in memory.

        In its own it goes on from all that is there; elsewhere its answer is that of an empty one.
        """
        request = ticket.request
        ticket.place = request.place
        if ticket.place is None:
            free = [n for n in range(self.n_places) if self.is_free(n)]
            ticket.place = max(free, key=lambda n: self._places[n].rows.in_memory(request.prompts))
        place = self._places[ticket.place]
        place.rows.prefiller.keeps_all = request.place is not None
        place.ticket, place.reading = ticket, True
        place.stop_flag.clear()
        if self._closing:
            place.stop_flag.set()
        place.running.enter_context(ticket.control.running(place.stop_flag))
        place.steps = generate(
            request,
            place.rows,
            self._realigner,
            self._vocabulary,
            ticket.control,
            prepare=lambda changed: self._prepare(changed, place),
            prompt_progress=ticket.progress,
        )

    def in_memory(self, prompts: Sequence[Sequence[int]]) -> int:
        """How many tokens of these prompts the best free place has in memory."""
        free = [place.rows for place in self._places if place.ticket is None]
        return max((rows.in_memory(prompts) for rows in free), default=0)

    def take_back(self) -> Ticket | None:
        """A request that has no token yet, for another place; None if there is none."""
        for place in self._places:
            ticket = place.ticket
            if ticket is not None and not ticket.n_tokens and not ticket.control.cancelled:
                self._leave(place)
                ticket.control.begin_again()
                return ticket
        return None

    def export(self, place: int) -> list[SavedState]:
        """What a free place has in memory of its last request, of each row."""
        return [*self._places[place].rows.export()]

    def restore(self, place: int, rows: Sequence[SavedState]) -> bool:
        """Take over what a place exported; False, with nothing in it, where llama.cpp refuses."""
        return self._places[place].rows.restore(rows)

    def forget(self, place: int) -> int:
        """Empty a free place; how many tokens of a row there were."""
        rows = self._places[place].rows
        n_tokens = max(rows.n_tokens, default=0)
        rows.discard()
        return n_tokens

    def advance(self) -> Iterator[Outcome]:
        """A token for every answer under way, and a chunk of one of the prompts."""
        for place in self._places:
            if self._writes(place):
                yield from self._step(place)
        n = len(self._places)
        for offset in range(n):
            index = (self._next_reader + offset) % n
            if self._places[index].reading:
                self._next_reader = (index + 1) % n
                yield from self._step(self._places[index])
                break

    def interrupt(self) -> None:
        """End what is being computed now, and everything after."""
        self._closing = True
        for place in self._places:
            place.stop_flag.set()

    def close(self) -> None:
        """Free the memory."""
        for place in self._places:
            if place.steps is not None:
                place.steps.close()
            place.rows.close()
        for worker in self._workers:
            worker.close()
        self._workers.clear()

    def _prepare(self, request: Request, place: _Place) -> float:
        if place.reading:  # at the beginning: a change goes on from what is there
            place.rows.scale_adapters(request.adapter_scales)
            if not request.reuses_memory:
                place.rows.discard()
        more = len(request.prompts) - place.rows.n_made
        if more > 0:
            self._check_memory(more)
        return self._noise(request, place.stop_flag)

    def _writes(self, place: _Place) -> bool:
        """Whether it is the answer's turn; who was cancelled doesn't wait for a reader's."""
        ticket = place.ticket
        return ticket is not None and (not place.reading or ticket.control.cancelled)

    def _step(self, place: _Place) -> Iterator[Outcome]:
        ticket, steps = place.ticket, place.steps
        assert ticket is not None
        assert steps is not None
        piece: Chunk | AmuletError | None
        try:
            piece = next(steps)
        except StoppedError:
            piece = BackendError("the computation was stopped")
        except AmuletError as error:
            piece = error
        except Exception as error:  # a bug: the others' answers go on
            piece = unexpected(error)
        if piece is None:
            place.reading = True
            return
        place.reading = False
        if isinstance(piece, AmuletError) or piece.generation is not None:
            self._leave(place)
        yield ticket, piece

    def _leave(self, place: _Place) -> None:
        if place.steps is not None:
            place.steps.close()
        place.running.close()
        place.ticket = place.steps = None
        place.reading = False

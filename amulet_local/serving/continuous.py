"""Answers to requests that come one after the other, as many at once as there are places.

Knows nothing about chat templates or about what the answers are for. How large the places have to
be is read off the requests that come next; where one comes that doesn't fit, what is under way ends
first, and then there are larger places. Only requests that are looked at are in memory.
"""

from __future__ import annotations

import itertools
import queue
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeAlias

from amulet_local.answering.request import Request
from amulet_local.common.errors import AmuletError, CancelledError, EngineClosedError
from amulet_local.common.results import Chunk
from amulet_local.llama import memory
from amulet_local.llama.context import ContextSettings
from amulet_local.llama.model import Model
from amulet_local.loading.runtime_setup import scheduler_for
from amulet_local.loading.shared_rows import SharedRows
from amulet_local.params.choices import Scheduler
from amulet_local.serving.opening import new_places
from amulet_local.serving.pool import Pool

MAX_AT_ONCE = 16
"""Answers made at once where nobody says how many, fewer where memory is short."""

N_AHEAD = 64
"""Requests that are looked at where nobody says how many."""

_STEP = 64
"""The contexts' length is a multiple of so many tokens."""

_LOOK_SECONDS = 0.2
"""How often it is looked whether the engine was cancelled while nothing comes."""

_PAUSE_SECONDS = 0.02
"""Until it is looked again whether there is a request, where there was none at all."""

_NO_MORE = object()
_WAITED = "the request was cancelled while it waited"

Piece: TypeAlias = Chunk | AmuletError
"""What comes of a request: pieces, the last one with the whole answer, or an error instead."""

Pieces: TypeAlias = Generator[list[tuple[int, Piece]], None, None]
"""What came of which requests, time and again; an empty list if nothing came for a while."""

Width = Callable[[int, int], int]
"""How many answers at once suit the machine: of so many rows, with so many tokens a row."""


@dataclass(frozen=True)
class _Size:
    n_rows: int = 1
    n_ctx: int = 1

    def holds(self, other: _Size) -> bool:
        return self.n_rows >= other.n_rows and self.n_ctx >= other.n_ctx

    def with_(self, other: _Size) -> _Size:
        return _Size(max(self.n_rows, other.n_rows), max(self.n_ctx, other.n_ctx))


def stream_all(
    shared: SharedRows,
    requests: Iterable[Request | AmuletError | None],
    *,
    at_once: int | Width | None,
    scheduler: Scheduler,
    n_ahead: int,
) -> Pieces:
    """Answer requests, which are taken as they are needed, and give what comes of them.

    Args:
        shared: of the engine, whose turn this is until the end.
        requests: none of them for beam search; an error is its own outcome, None says that there
            is none at present. Once the engine is cancelled none is taken any more.
        at_once: most answers under way; what half of the free memory holds, 16 at most, if None.
        scheduler: as for `Engine.pool`.
        n_ahead: how many requests, beside those under way, are looked at for the places' size.

    Raises:
        InvalidParameterError: the scheduler isn't for this engine.
        ContextCreationError: no memory for so many.
        EngineClosedError, EngineBusyError: see there.
    """
    run = _Run(shared, requests, at_once, scheduler, n_ahead)
    while not run.waiting and not run.exhausted:
        run.look()
        yield run.failed()
    if not run.waiting:
        return
    with shared.lock.turn():
        while run.waiting:
            with run.opened() as pool:
                yield from run.filled(pool)


def places_for(model: Model, settings: ContextSettings, *, n_answers: int, n_rows: int) -> int:
    """How many answers are made at once: as many as half of the memory that is left holds.

    Args:
        settings: n_ctx is that of one row.
        n_answers: that could be made at once.
        n_rows: most rows of an answer.
    """
    row = memory.kv_cache_bytes(
        model.header, settings.n_ctx, settings.cache_type_k, settings.cache_type_v
    )
    available = memory.available_bytes()
    if settings.offload_kqv or not row or available is None:
        return n_answers
    return max(1, min(n_answers, available // (2 * n_rows * row)))


class _Run:
    """The requests that aren't done.

    Attributes:
        waiting: those that were taken and not submitted yet, with their numbers.
        exhausted: whether there are no others.
    """

    def __init__(
        self,
        shared: SharedRows,
        requests: Iterable[Request | AmuletError | None],
        at_once: int | Width | None,
        scheduler: Scheduler,
        n_ahead: int,
    ) -> None:
        self.waiting: deque[tuple[int, Request]] = deque()
        self.exhausted = False
        self._requests = iter(requests)
        self._numbers = itertools.count()
        self._failed: list[tuple[int, Piece]] = []
        self._came: queue.SimpleQueue[tuple[int, Piece]] = queue.SimpleQueue()
        self._under_way: set[int] = set()
        self._shared, self._at_once, self._n_ahead = shared, at_once, n_ahead
        self._scheduler = scheduler
        self._size = _Size()

    def look(self) -> None:
        """Take requests as long as there are some and fewer are waiting than are looked at."""
        for _ in range(self._n_ahead - len(self.waiting)):
            request = next(self._requests, _NO_MORE)
            if request is _NO_MORE:
                self.exhausted = True
                return
            if request is None:
                if not (self.waiting or self._under_way):
                    time.sleep(_PAUSE_SECONDS)
                return
            number = next(self._numbers)
            if isinstance(request, AmuletError):
                self._failed.append((number, request))
            else:
                assert isinstance(request, Request)
                self.waiting.append((number, request))

    def failed(self) -> list[tuple[int, Piece]]:
        """What can't be asked, of the requests that were taken."""
        failed, self._failed = self._failed, []
        return failed

    def opened(self) -> Pool:
        """Places for the requests that are waiting."""
        shared = self._shared
        with shared.lock.using():
            for _, request in self.waiting:
                self._size = self._size.with_(_size_of(request))
            parts = shared.parts
            chosen = scheduler_for(parts.runtime, self._scheduler, on_gpu=parts.settings.offload)
            n_rows, n_ctx = self._size.n_rows, -(-self._size.n_ctx // _STEP) * _STEP
            settings = replace(parts.settings, n_ctx=min(parts.settings.n_ctx, n_ctx))
            n_places = self._n_places(settings, n_rows)
            places = new_places(
                shared, settings, scheduler=chosen, n_places=n_places, max_rows=n_rows
            )
            pool = Pool(places, n_waiting=n_places + 1)
            shared.guests.add(pool)
            return pool

    def filled(self, pool: Pool) -> Pieces:
        """Keep the places taken until a request comes that doesn't fit, or none.

        The second request is submitted when it can copy the beginning of the first one's prompts.
        """
        self._submit(pool)
        (first,) = self._under_way
        begun = False
        while self._under_way or self._fits() or not (self.waiting or self.exhausted):
            self.look()
            while begun and len(self._under_way) <= pool.n_places and self._fits():
                self._submit(pool)
            came = [*self.failed(), *self._gather(pool)]
            begun = begun or any(number == first for number, _ in came)
            yield came
            if self._shared.stop_flag.is_set():
                self._leave()

    def _leave(self) -> None:
        """Take none any more, and end those that wait."""
        self.exhausted = True
        self._requests = iter(())
        for number, _ in self.waiting:
            self._came.put((number, CancelledError(_WAITED)))
            self._under_way.add(number)
        self.waiting.clear()

    def _n_places(self, settings: ContextSettings, n_rows: int) -> int:
        most = len(self.waiting)
        if isinstance(self._at_once, int):
            return min(self._at_once, most)
        wanted = MAX_AT_ONCE if self._at_once is None else self._at_once(n_rows, settings.n_ctx)
        most = min(wanted, most)
        return places_for(self._shared.parts.model, settings, n_answers=most, n_rows=n_rows)

    def _fits(self) -> bool:
        return bool(self.waiting) and self._size.holds(_size_of(self.waiting[0][1]))

    def _submit(self, pool: Pool) -> None:
        number, request = self.waiting.popleft()
        self._under_way.add(number)
        try:
            pool.submit(request, lambda piece: self._came.put((number, piece)))
        except EngineClosedError:  # or cancelled: the pool takes nothing in any more
            self._came.put((number, CancelledError(_WAITED)))

    def _gather(self, pool: Pool) -> list[tuple[int, Piece]]:
        """Take what has come, or wait a little for it."""
        with suppress(EngineClosedError), self._shared.lock.using():
            pass  # who waits for the turn sees that this goes on
        if self._shared.stop_flag.is_set():
            pool.drain()
        came: list[tuple[int, Piece]] = []
        with suppress(queue.Empty):
            if self._under_way:
                came.append(self._came.get(timeout=_LOOK_SECONDS))
            while True:
                came.append(self._came.get_nowait())
        for number, piece in came:
            if isinstance(piece, AmuletError) or piece.generation is not None:
                self._under_way.discard(number)
        return came


def _size_of(request: Request) -> _Size:
    longest = max(map(len, request.prompts)) + request.sampling.max_tokens
    return _Size(len(request.prompts), min(longest, request.n_ctx))

"""Many answers, in the order of their requests: what `answer_all` does with places of its own.

Knows nothing about chat templates or about what the answers are for. The places' contexts are as
long as the longest of the answers can become, and are freed at the end.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeAlias

from amulet_local.answering.request import Request
from amulet_local.common.errors import (
    AmuletError,
    CancelledError,
    EngineClosedError,
    InvalidParameterError,
)
from amulet_local.common.results import Chunk, Generation
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

_STEP = 64
"""The contexts' length is a multiple of so many tokens."""

_LOOK_SECONDS = 0.2
"""How often it is looked whether the engine was cancelled while nothing comes."""

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
    if at_once is not None and not (type(at_once) is int and at_once >= 1):
        raise InvalidParameterError(f"at_once must be None or at least 1, got {at_once!r:.60}")
    gathering = _Gathering(len(requests), answered, progress)
    todo: dict[int, Request] = {}
    for number, request in enumerate(requests):
        if isinstance(request, AmuletError):
            gathering.end(number, request)
        else:
            todo[number] = request
    if todo:
        with shared.lock.turn():
            with shared.lock.using():
                pool = _pool(shared, list(todo.values()), at_once, scheduler)
                shared.guests.add(pool)
            with pool:
                _run(shared, pool, todo, gathering)
    return gathering.outcomes()


def places_for(model: Model, settings: ContextSettings, *, n_answers: int, n_rows: int) -> int:
    """How many answers are made at once: as many as half of the memory that is left holds.

    Args:
        settings: n_ctx is that of one row.
        n_answers: in all.
        n_rows: most rows of an answer.
    """
    most = min(MAX_AT_ONCE, n_answers)
    row = memory.kv_cache_bytes(
        model.header, settings.n_ctx, settings.cache_type_k, settings.cache_type_v
    )
    available = memory.available_bytes()
    if settings.offload_kqv or not row or available is None:
        return most
    return max(1, min(most, available // (2 * n_rows * row)))


class _Gathering:
    """What has come of the requests so far."""

    def __init__(self, n: int, answered: Answered | None, progress: AllProgress | None) -> None:
        self.came: queue.SimpleQueue[tuple[int, Chunk | AmuletError]] = queue.SimpleQueue()
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

    def begun(self, number: int) -> bool:
        """Whether a token, an answer or an error has come of a request."""
        return number in self._n_tokens or self._outcomes[number] is not None

    def is_complete(self) -> bool:
        """Whether every request has its outcome."""
        return self._n_done == len(self._outcomes)

    def outcomes(self) -> list[Outcome]:
        """All of them, in the order of the requests."""
        return [outcome for outcome in self._outcomes if outcome is not None]


def _pool(
    shared: SharedRows, requests: Sequence[Request], at_once: int | None, scheduler: Scheduler
) -> Pool:
    model, settings = shared.parts.model, shared.parts.settings
    chosen = scheduler_for(shared.parts.runtime, scheduler, on_gpu=settings.offload)
    n_rows = max(len(request.prompts) for request in requests)
    longest = max(
        min(len(prompt) + request.sampling.max_tokens, request.n_ctx)
        for request in requests
        for prompt in request.prompts
    )
    settings = replace(settings, n_ctx=min(settings.n_ctx, -(-longest // _STEP) * _STEP))
    if at_once is None:
        n_places = places_for(model, settings, n_answers=len(requests), n_rows=n_rows)
    else:
        n_places = min(at_once, len(requests))
    places = new_places(shared, settings, scheduler=chosen, n_places=n_places, max_rows=n_rows)
    return Pool(places, n_waiting=len(requests))


def _run(
    shared: SharedRows, pool: Pool, todo: Mapping[int, Request], gathering: _Gathering
) -> None:
    """Submit the first request, and the others when they can copy its prompts' beginning."""
    first, *others = todo
    _submit(pool, first, todo[first], gathering)
    while not gathering.begun(first):
        _gather(shared, pool, gathering)
    for number in others:
        _submit(pool, number, todo[number], gathering)
    while not gathering.is_complete():
        _gather(shared, pool, gathering)


def _submit(pool: Pool, number: int, request: Request, gathering: _Gathering) -> None:
    try:
        pool.submit(request, lambda piece: gathering.came.put((number, piece)))
    except EngineClosedError:  # or cancelled: the pool takes nothing in any more
        gathering.end(number, CancelledError("the request was cancelled while it waited"))


def _gather(shared: SharedRows, pool: Pool, gathering: _Gathering) -> None:
    """Take what has come, or wait a little for it."""
    with suppress(EngineClosedError), shared.lock.using():
        pass  # who waits for the turn sees that this goes on
    if shared.stop_flag.is_set():
        pool.drain()
    pieces = []
    with suppress(queue.Empty):
        pieces.append(gathering.came.get(timeout=_LOOK_SECONDS))
        while True:
            pieces.append(gathering.came.get_nowait())
    for number, piece in pieces:
        gathering.take(number, piece)
    gathering.report()

"""Answers on an engine's own rows: the turn is taken, one request answered, the turn given back.

Knows nothing about chat templates or about who asks. An engine that is closed in the middle of an
answer ends it as a cancelled one.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

from amulet_local.answering.beam_search import BeamRun, searched
from amulet_local.answering.generation import Control, generate
from amulet_local.answering.request import Request
from amulet_local.common.errors import EngineClosedError
from amulet_local.common.results import Chunk, Generation
from amulet_local.llama.prefill import Progress
from amulet_local.llama.stop_flag import StoppedError
from amulet_local.loading.shared_rows import SharedRows
from amulet_local.loading.stream_lock import StreamLock


def stream_answer(
    shared: SharedRows,
    request: Request,
    prompt_progress: Progress | None,
    control: Control,
) -> Generator[Chunk, None, None]:
    """The pieces of an answer; the last one has all of it.

    Args:
        shared: whose rows compute it.
        request: checked.
        prompt_progress: called with (tokens computed, tokens in all) during prefill.
        control: changes to it, and its end.

    Raises:
        BackendError: llama.cpp failed; the rows stay usable.
        EngineClosedError, EngineBusyError: see there.
    """
    shared.lock.check_open()
    with shared.lock.turn(), control.running(shared.stop_flag):
        pieces = _pieces(shared, request, prompt_progress, control)
        try:
            while True:
                chunk = _next(shared.lock, pieces)
                if chunk.generation is not None:
                    break
                yield chunk
        finally:
            pieces.close()
    yield chunk


def last_of(stream: Iterator[Chunk]) -> Generation:
    """The whole answer of a stream, which is run to its end."""
    generation = None
    for chunk in stream:
        generation = chunk.generation
    assert generation is not None
    return generation


def _pieces(
    shared: SharedRows,
    request: Request,
    prompt_progress: Progress | None,
    control: Control,
) -> Generator[Chunk | None, None, None]:
    model, plan = shared.parts.model, shared.rows.plan
    if request.n_beams > 1:  # known at its end only; changes come too late
        run = BeamRun(
            model=model,
            settings=shared.parts.settings,
            stop_flag=shared.stop_flag,
            n_threads=plan.n_threads,
            n_threads_batch=plan.n_threads_batch,
        )
        return searched(run, request, prompt_progress)

    def prepare(request: Request) -> float:
        """Settle the schedule, and measure the rounding noise where the guards need it."""
        shared.settle_schedule(request.plan.n_rows)
        return shared.noise(request.amulet)

    return generate(
        request,
        shared.rows,
        shared.realigner,
        model.vocabulary,
        control,
        prepare=prepare,
        prompt_progress=prompt_progress,
        costs=None if shared.parts.runtime.draft == "off" else shared.draft_costs,
    )


def _next(lock: StreamLock, pieces: Generator[Chunk | None, None, None]) -> Chunk:
    """The next piece; the last one, cancelled, if the engine was closed meanwhile."""
    visit = object()
    try:
        try:  # `using`, without what a context manager costs at every token
            lock.enter(visit)
            while (chunk := next(pieces)) is None:
                pass
            return chunk
        finally:
            lock.leave(visit, None)
            lock.after_leaving()
    except EngineClosedError as closed:
        try:
            last = pieces.throw(StoppedError())
        except StoppedError:  # it had not begun
            raise closed from None
        assert last is not None
        return last

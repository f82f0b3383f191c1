"""Opens a pool on an engine's model: which scheduler, how many rows, and whether memory is there.

Knows nothing about requests or about what the places compute.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal

from amulet_local.answering.request import Request
from amulet_local.llama.context import ContextSettings
from amulet_local.llama.execution_plan import ExecutionPlan
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.loading.runtime_setup import (
    MAX_ROWS,
    MIN_BATCHED_ROWS,
    USUAL_ROWS,
    check_memory,
    scheduler_for,
    settings_together,
)
from amulet_local.loading.shared_rows import SharedRows
from amulet_local.params.choices import Scheduler
from amulet_local.serving.adaptive import AdaptivePlaces
from amulet_local.serving.batched import BatchedPlaces
from amulet_local.serving.interleaved import InterleavedPlaces
from amulet_local.serving.places import Places
from amulet_local.serving.pool import Pool

SERVER_SECONDS = 0.5
"""For the measurement of batches when a pool is opened."""


def open_pool(
    shared: SharedRows,
    *,
    places: int,
    waiting: int,
    scheduler: Scheduler,
    max_rows: int | None,
    chunk: int | None,
) -> Pool:
    """A pool in memory of its own; the rows of the model's own answers are freed.

    Args and Raises: as `Engine.pool`.
    """
    parts = shared.parts
    settings = parts.settings
    with shared.at_work():
        shared.rows.close()
    chosen = scheduler_for(
        parts.runtime,
        scheduler,
        on_gpu=settings.offload,
        pays_together=lambda: _pays_together(shared, places),
    )
    n_rows = max_rows or MAX_ROWS
    n_sequences = None
    if chosen == "batched":
        n_rows = max_rows or min(MAX_ROWS, max(MIN_BATCHED_ROWS, USUAL_ROWS * places))
        n_sequences = max(min(USUAL_ROWS, n_rows) * places, n_rows)
    if chunk is not None and not settings.offload:
        settings = replace(settings, n_batch=chunk)
    made = new_places(
        shared,
        settings,
        scheduler=chosen,
        n_places=places,
        max_rows=n_rows,
        n_sequences=n_sequences,
        beside=scheduler == "auto" and chosen == "batched" and _faster_alone(shared),
    )
    pool = Pool(made, n_waiting=waiting)
    shared.guests.add(pool)
    return pool


def new_places(
    shared: SharedRows,
    settings: ContextSettings,
    *,
    scheduler: Literal["interleaved", "batched"],
    n_places: int,
    max_rows: int,
    n_sequences: int | None = None,
    beside: bool = False,
) -> Places:
    """Places on an engine's model.

    Args:
        settings: of their contexts; n_ctx is that of one row.
        scheduler: how they are computed.
        n_places: requests at once.
        max_rows: most rows of a request.
        n_sequences: rows of all places that are computed together; if None, what all can have.
        beside: whether there is one more place beside those, for who is alone.

    Raises:
        InvalidParameterError, ContextCreationError: as `Engine.pool`.
    """
    model, plan = shared.parts.model, shared.rows.plan

    def noise(request: Request, stop_flag: StopFlag) -> float:
        return shared.noise(request.amulet, stop_flag)

    def in_turn(n: int, plan: ExecutionPlan) -> InterleavedPlaces:
        return InterleavedPlaces(
            model,
            replace(settings, n_outputs=1),
            plan,
            n_places=n,
            max_rows=max_rows,
            noise=noise,
            new_rows=shared.parts.new_rows,
            check_memory=partial(check_memory, model, settings),
        )

    if scheduler == "interleaved":
        check_memory(model, settings, n_rows=n_places * min(USUAL_ROWS, max_rows))
        return in_turn(n_places, replace(plan, exact_reuse=True))
    check_memory(model, settings, n_rows=(n_sequences or n_places * max_rows) + beside * USUAL_ROWS)
    alone = in_turn(1, plan) if beside else None
    try:
        together = BatchedPlaces(
            model,
            settings_together(shared.parts.runtime, settings),
            n_places=n_places,
            max_rows=max_rows,
            n_threads=plan.n_threads,
            n_sequences=n_sequences,
            cost=shared.meter.relative_cost if plan.paced else None,
            noise=noise,
        )
    except BaseException:
        if alone is not None:
            alone.close()
        raise
    return together if alone is None else AdaptivePlaces(together, alone)


def _pays_together(shared: SharedRows, n_places: int) -> bool:
    """Whether the costs on this machine say that answers are better computed together."""
    if n_places < 2 or shared.parts.settings.plain_row_is_bare:
        return False
    with shared.at_work():
        return shared.meter.know_batches(SERVER_SECONDS).pays_together(n_places)


def _faster_alone(shared: SharedRows) -> bool:
    """Whether a realigned answer by itself is faster with a context for each of its rows."""
    if not shared.parts.chooses_schedule:
        return False
    with shared.at_work():
        shared.settle_schedule(USUAL_ROWS)
    return shared.rows.plan.schedule == "parallel"

"""Opens a pool on an engine's model: which scheduler, how many rows, and whether memory is there.

Knows nothing about requests or about what the places compute.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal

from amulet_local.answering.request import Request
from amulet_local.llama.context import ContextSettings
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.loading.runtime_setup import (
    MAX_BATCHED_ROWS,
    MAX_ROWS,
    check_memory,
    scheduler_for,
)
from amulet_local.loading.shared_rows import SharedRows
from amulet_local.params.choices import Scheduler
from amulet_local.serving.batched import BatchedPlaces
from amulet_local.serving.interleaved import InterleavedPlaces
from amulet_local.serving.places import Places
from amulet_local.serving.pool import Pool


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
    chosen = scheduler_for(parts.runtime, scheduler, on_gpu=settings.offload)
    n_rows = max_rows or (MAX_BATCHED_ROWS if chosen == "batched" else MAX_ROWS)
    if chunk is not None and not settings.offload:
        settings = replace(settings, n_batch=chunk)
    made = new_places(shared, settings, scheduler=chosen, n_places=places, max_rows=n_rows)
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
) -> Places:
    """Places on an engine's model.

    Args:
        settings: of their contexts; n_ctx is that of one row.
        scheduler: how they are computed.
        n_places: requests at once.
        max_rows: most rows of a request.

    Raises:
        InvalidParameterError, ContextCreationError: as `Engine.pool`.
    """
    model, plan = shared.parts.model, shared.rows.plan

    def noise(request: Request, stop_flag: StopFlag) -> float:
        return shared.noise(request.amulet, stop_flag)

    if scheduler == "batched":
        check_memory(model, settings, n_rows=n_places * max_rows)
        return BatchedPlaces(
            model,
            settings,
            n_places=n_places,
            max_rows=max_rows,
            n_threads=plan.n_threads,
            noise=noise,
        )
    check_memory(model, settings, n_rows=n_places * min(2, max_rows))
    return InterleavedPlaces(
        model,
        replace(settings, n_outputs=1),
        replace(plan, exact_reuse=True),
        n_places=n_places,
        max_rows=max_rows,
        noise=noise,
        new_rows=shared.parts.new_rows,
        check_memory=partial(check_memory, model, settings),
    )

"""What an engine is made of: a model in memory, the settings of its contexts, a maker of rows.

`load_parts` makes them of a model's file. An engine takes ready-made ones as well
(`Engine.from_parts`): another maker of rows gives an engine whose logits come from elsewhere. Knows
nothing about requests or about what an engine does with its parts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from amulet_local.llama import library
from amulet_local.llama.adapters import Adapters
from amulet_local.llama.context import ContextSettings
from amulet_local.llama.execution_plan import ExecutionPlan
from amulet_local.llama.model import Model
from amulet_local.llama.rows import RowSet
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.llama.worker import Worker
from amulet_local.loading import isolated, model_store
from amulet_local.loading.runtime_setup import (
    check_memory,
    context_settings,
    load_adapters,
    lock_warning,
    model_settings,
    positions_warning,
    resolve_gpu_layers,
    row_plan,
    runtime_warnings,
)
from amulet_local.params.runtime import RuntimeParams
from amulet_local.preferences.user_settings import UserModelSettings, settings_of_model
from amulet_local.steering.rounding_noise import rounding_noise


class RowMaker(Protocol):
    """Makes rows as the class RowSet does, which is the usual one."""

    def __call__(
        self,
        model: Model,
        settings: ContextSettings,
        stop_flag: StopFlag,
        plan: ExecutionPlan,
        workers: list[Worker] | None = None,
    ) -> RowSet:
        """No rows yet.

        Args: as RowSet's.
        """


@dataclass(frozen=True, kw_only=True)
class EngineParts:
    """What an engine is made of, and frees when it is closed.

    Attributes:
        model: the loaded model.
        runtime: the options it was loaded with.
        settings: what its contexts are created with: length, cache types, adapters.
        plan: schedule and threads of its rows.
        chooses_schedule: whether the schedule is measured where a request has several rows.
        own_settings: what the user's settings have for the model.
        warnings: what the user should know about the model and these options.
        new_rows: makes rows.
        measure_noise: gives the standard deviation of the rounding noise in l1 - l0, in logits.
    """

    model: Model
    runtime: RuntimeParams
    settings: ContextSettings
    plan: ExecutionPlan
    chooses_schedule: bool = False
    own_settings: UserModelSettings
    warnings: tuple[str, ...] = ()
    new_rows: RowMaker = RowSet
    measure_noise: Callable[[Model, ContextSettings, StopFlag], float] = rounding_noise

    def resized(self, n_ctx: int) -> EngineParts:
        """The same, with contexts of another length, in tokens.

        Raises:
            ContextCreationError: this machine's memory can't hold two such rows.
        """
        settings = replace(self.settings, n_ctx=n_ctx)
        check_memory(self.model, settings, n_rows=2)
        return replace(self, settings=settings, runtime=self.runtime.replace(n_ctx=n_ctx))

    def close(self) -> None:
        """Free the adapters and the model. Every context has to be closed before."""
        if self.settings.adapters is not None:
            self.settings.adapters.close()
        self.model.close()


def load_parts(
    model: str | os.PathLike[str],
    runtime: RuntimeParams,
    *,
    progress: Callable[[float], None] | None = None,
) -> EngineParts:
    """Load a model and what belongs to it.

    Args:
        model: a path, the name of a file in a models folder, or a name of the catalogue.
        runtime: how it is loaded and run.
        progress: called with the share of the weights that is loaded, 0 to 1.

    Raises:
        As `amulet_local.load`, but for the options.
    """
    library.log.verbose = runtime.verbose
    library.start()
    n_gpu_layers = resolve_gpu_layers(runtime)
    path = model_store.find_model(model)
    with isolated.loading_safely(path, runtime.isolate, runtime.use):
        loaded = Model.load(path, model_settings(runtime, n_gpu_layers), progress=progress)
        adapters = _adapters_of(loaded, runtime)
    try:
        wanted = runtime.n_ctx or loaded.n_ctx_train
        n_ctx = min(wanted, loaded.most_positions or wanted)
        settings = context_settings(runtime, n_ctx, n_gpu_layers, adapters)
        check_memory(loaded, settings, n_rows=2)
        own_settings = settings_of_model(model_store.names_of(model, path))
        return EngineParts(
            model=loaded,
            runtime=runtime,
            settings=settings,
            plan=row_plan(runtime, n_gpu_layers),
            chooses_schedule=runtime.schedule == "auto" and n_gpu_layers == 0,
            own_settings=own_settings,
            warnings=(
                *runtime_warnings(runtime, n_ctx, loaded.n_ctx_train),
                *positions_warning(wanted, n_ctx),
                *lock_warning(is_unlocked=loaded.is_unlocked),
                *(adapters.warnings if adapters is not None else ()),
                *own_settings.warnings,
            ),
        )
    except BaseException:
        if adapters is not None:
            adapters.close()
        loaded.close()
        raise


def _adapters_of(model: Model, runtime: RuntimeParams) -> Adapters | None:
    """Those that are asked for; where they can't be had, the model is closed."""
    try:
        return load_adapters(model, runtime)
    except BaseException:
        model.close()
        raise

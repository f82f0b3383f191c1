"""From RuntimeParams to what llama.cpp is asked for: layers, contexts, schedule, threads.

Knows nothing about prompts or generations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from amulet_local.common.errors import ContextCreationError, InvalidParameterError
from amulet_local.llama import library, memory, native
from amulet_local.llama.adapters import Adapters, AdapterSettings
from amulet_local.llama.context import ContextSettings
from amulet_local.llama.execution_plan import ExecutionPlan
from amulet_local.llama.model import Model, ModelLoadSettings
from amulet_local.params.runtime import RuntimeParams

N_OUTPUTS = 16
"""Rows of logits a context can return at once (score); 3 MB at a vocabulary of 49,152."""

MAX_ROWS = 9
"""Most rows of a request where places take turns: the plain one and eight preferences."""

MIN_BATCHED_ROWS = 4
"""The same where the memory of all rows of all places is allocated at once, with few places."""

USUAL_ROWS = 2
"""Rows that there are for each place."""


def resolve_gpu_layers(runtime: RuntimeParams) -> int:
    """Layers to put on the GPU, -1 for all; 0 where this build has no GPU."""
    if not library.supports_gpu_offload():
        return 0
    return -1 if runtime.n_gpu_layers == "auto" else runtime.n_gpu_layers


def load_adapters(model: Model, runtime: RuntimeParams) -> Adapters | None:
    """The adapters that are asked for, on the loaded model; None if there are none.

    Raises:
        As Adapters.
    """
    if not (runtime.lora or runtime.control_vectors):
        return None
    return Adapters.load(
        model,
        AdapterSettings(
            lora=runtime.lora,
            control_vectors=runtime.control_vectors,
            control_vector_layers=runtime.control_vector_layers,
            on_plain_rows=runtime.adapters_on == "all",
        ),
    )


def context_settings(
    runtime: RuntimeParams, n_ctx: int, n_gpu_layers: int, adapters: Adapters | None = None
) -> ContextSettings:
    """What contexts are created with.

    Flash attention "auto" is off on the CPU, where it brings 0 to 3% of speed and another rounding,
    and on where a quantised V cache needs it.
    """
    flash_attention = runtime.flash_attention
    if flash_attention == "auto" and runtime.cache_type_v not in ("f32", "f16", "bf16"):
        flash_attention = "on"
    elif flash_attention == "auto" and n_gpu_layers == 0:
        flash_attention = "off"
    return ContextSettings(
        n_ctx=n_ctx,
        n_batch=runtime.n_batch,
        n_outputs=N_OUTPUTS,
        cache_type_k=runtime.cache_type_k,
        cache_type_v=runtime.cache_type_v,
        flash_attention=flash_attention,
        offload=n_gpu_layers != 0,
        offload_kqv=n_gpu_layers != 0 and runtime.offload_kqv,
        adapters=adapters,
    )


def settings_together(runtime: RuntimeParams, settings: ContextSettings) -> ContextSettings:
    """What a context for the rows of several requests is created with.

    Flash attention "auto" is llama.cpp's choice there, which is on: without it the product with
    the cache is one operation for each row, which costs more (docs/decisions.md). Where the cache
    is exact it stays off, since it computes in 16 bits.
    """
    halves = ("f16", "bf16")
    if settings.cache_type_k not in halves or settings.cache_type_v not in halves:
        return settings
    return replace(settings, flash_attention=runtime.flash_attention)


def model_settings(runtime: RuntimeParams, n_gpu_layers: int) -> ModelLoadSettings:
    """How the model is loaded."""
    return ModelLoadSettings(
        n_gpu_layers=n_gpu_layers,
        load_mode=runtime.load_mode,
        repack=runtime.repack,
        main_gpu=runtime.main_gpu,
        split_mode=runtime.split_mode,
        tensor_split=runtime.tensor_split,
    )


def check_memory(model: Model, settings: ContextSettings, n_rows: int) -> None:
    """Refuse contexts that this machine's memory can't hold.

    Raises:
        ContextCreationError: the KV caches of `n_rows` rows alone need more than is available.
    """
    if settings.offload_kqv:
        return
    per_row = memory.kv_cache_bytes(
        model.header, settings.n_ctx, settings.cache_type_k, settings.cache_type_v
    )
    available = memory.available_bytes()
    if per_row is None or available is None or per_row * n_rows <= available:
        return
    raise ContextCreationError(
        f"the KV caches of {n_rows} rows with {settings.n_ctx} tokens each need "
        f"{per_row * n_rows / 1e9:.1f} GB beside the {model.size_bytes / 1e9:.1f} GB of weights, "
        f"and {available / 1e9:.1f} GB are available; use a smaller n_ctx (-c), or q8_0 as "
        f"cache_type_k and cache_type_v (-ctk q8_0 -ctv q8_0)"
    )


def row_plan(runtime: RuntimeParams, n_gpu_layers: int) -> ExecutionPlan:
    """Schedule and threads of the rows."""
    cores = library.usable_cores()
    schedule = runtime.schedule
    if schedule == "auto":
        schedule = "parallel"
        if n_gpu_layers != 0:
            apart = runtime.reproducible or runtime.splits_rows
            schedule = "serial" if apart else "batched"
    return ExecutionPlan(
        schedule=schedule,
        n_threads=runtime.n_threads or cores,
        n_threads_batch=runtime.n_threads_batch or cores,
        threads_per_row=runtime.threads_per_row,
        reuse=not runtime.reproducible,
        paced=runtime.n_threads is None and n_gpu_layers == 0,
    )


def scheduler_for(
    runtime: RuntimeParams,
    scheduler: str,
    *,
    on_gpu: bool,
    pays_together: Callable[[], bool] = bool,
) -> Literal["interleaved", "batched"]:
    """How several requests are computed at once.

    Args:
        pays_together: whether this machine's CPU computes several faster together; asked for
            `auto` alone.

    Raises:
        InvalidParameterError: no such scheduler, or one that these options exclude.
    """
    if scheduler == "auto":
        if runtime.reproducible:
            return "interleaved"
        return "batched" if on_gpu or pays_together() else "interleaved"
    if scheduler == "batched" and runtime.reproducible:
        raise InvalidParameterError(
            "scheduler 'batched' computes requests together, which reproducible=True "
            "(--reproducible) rules out; use 'interleaved'"
        )
    if scheduler == "interleaved":
        return "interleaved"
    if scheduler == "batched":
        return "batched"
    raise InvalidParameterError(
        f"scheduler must be auto, interleaved or batched, got {scheduler!r:.40}"
    )


def positions_warning(wanted: int, n_ctx: int) -> tuple[str, ...]:
    """What the user should know where a context is cut to the positions that a model has."""
    if wanted <= n_ctx:
        return ()
    return (
        f"the context is {n_ctx} tokens instead of {wanted}: this model has learned a vector for "
        f"each position, and has no more of them",
    )


def lock_warning(*, is_unlocked: bool) -> tuple[str, ...]:
    """What to do where the weights were to be locked in memory and the system refused."""
    if not is_unlocked:
        return ()
    import resource  # POSIX alone has it, and llama.cpp logs NOT_LOCKED there alone

    limit, most = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    unlimited = resource.RLIM_INFINITY
    if limit == unlimited:
        return ("the weights aren't locked in memory: the system has too little that can be",)
    raises = (
        "`ulimit -l unlimited` before the command"
        if most == unlimited
        else "from the next login on a line `YOUR_NAME - memlock unlimited` in "
        "/etc/security/limits.conf"
    )
    return (
        f"the weights aren't locked in memory, of which this system lets a program lock "
        f"{limit >> 10:,} kB; {raises} raises that, as do LimitMEMLOCK=infinity in a systemd "
        f"unit and --ulimit memlock=-1 for a container",
    )


def runtime_warnings(runtime: RuntimeParams, n_ctx: int, n_ctx_train: int) -> tuple[str, ...]:
    """What the user should know about these options on this model and build."""
    warnings = []
    if untested := native.version_warning(library.binding_version()):
        warnings.append(untested)
    if n_ctx > n_ctx_train:
        warnings.append(
            f"the context of {n_ctx} tokens is longer than the {n_ctx_train} that the model was "
            f"trained with; long texts may come out badly"
        )
    cores = library.usable_cores()
    if max(runtime.n_threads or 0, runtime.n_threads_batch or 0) > cores:
        name = "n_threads" if (runtime.n_threads or 0) > cores else "n_threads_batch"
        warnings.append(
            f"{name} is {getattr(runtime, name)}, and this machine has {cores} cores: threads that "
            f"wait for each other make it slower; leave it out"
        )
    if runtime.n_gpu_layers not in ("auto", 0) and not library.supports_gpu_offload():
        warnings.append(
            "n_gpu_layers has no effect: this build of llama-cpp-python finds no GPU; "
            "`amulet-local doctor` says more"
        )
    return tuple(warnings)

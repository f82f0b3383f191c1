"""The fields of RuntimeParams as arguments, by name and type, for callers' type checkers.

What they mean and which values are right is RuntimeParams' business; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypedDict

from amulet_local.params.choices import (
    AdaptersOn,
    CacheType,
    Draft,
    FlashAttention,
    Isolate,
    LoadMode,
    Schedule,
    SplitMode,
)


class RuntimeFields(TypedDict, total=False):
    """How a model is loaded and run; all of it may be left out."""

    n_ctx: int
    n_batch: int
    n_threads: int | None
    n_threads_batch: int | None
    schedule: Schedule
    threads_per_row: int | None
    draft: Draft
    retune: bool
    n_gpu_layers: int | Literal["auto"]
    main_gpu: int
    split_mode: SplitMode
    tensor_split: Sequence[float] | None
    offload_kqv: bool
    cache_type_k: CacheType
    cache_type_v: CacheType
    flash_attention: FlashAttention
    lora: Any
    control_vectors: Any
    control_vector_layers: tuple[int, int] | None
    adapters_on: AdaptersOn
    load_mode: LoadMode
    repack: bool
    isolate: Isolate
    low_memory: bool
    chat_template: str | None
    template_arguments: dict[str, Any]
    reproducible: bool
    verbose: bool

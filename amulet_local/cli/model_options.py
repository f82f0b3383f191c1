"""The options that say which model is used, and how it is loaded and run: flags and help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from amulet_local.cli.flags import (
    OUTPUT,
    RUNTIME,
    AdaptersOn,
    ChatTemplateText,
    ControlVector,
    ControlVectorLayerRange,
    CtxSize,
    FlashAttn,
    GpuLayers,
    Lora,
    ModelName,
    ScheduleName,
    Threads,
    ThreadsBatch,
    numbers,
    numeric,
    option,
)


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model, and how it is loaded and run."""

    model: ModelName = None
    ctx_size: CtxSize = None
    batch_size: Annotated[
        int | None,
        numeric(
            *("-b", "--batch-size"),
            panel=RUNTIME,
            help="Tokens of the prompt computed at once. Default: 512.",
        ),
    ] = None
    threads: Threads = None
    threads_batch: ThreadsBatch = None
    schedule: ScheduleName = None
    threads_per_row: Annotated[
        int | None,
        numeric(
            "--threads-per-row",
            panel=RUNTIME,
            help="Threads for each prompt of a parallel schedule. Default: --threads split evenly.",
        ),
    ] = None
    retune: Annotated[
        bool,
        option(
            "--retune",
            panel=RUNTIME,
            help="Measure again which schedule is fastest here, instead of remembering it.",
        ),
    ] = False
    gpu_layers: GpuLayers = None
    main_gpu: Annotated[
        int | None,
        numeric("-mg", "--main-gpu", panel=RUNTIME, help="With several GPUs: the main one."),
    ] = None
    split_mode: Annotated[
        str | None,
        option(
            *("-sm", "--split-mode"),
            panel=RUNTIME,
            metavar="MODE",
            help="How several GPUs share the model: none, layer or row. Default: layer.",
        ),
    ] = None
    tensor_split: Annotated[
        Any,
        option(
            *("-ts", "--tensor-split"),
            panel=RUNTIME,
            metavar="N,N,...",
            parser=numbers,
            help="Each GPU's share of the model, e.g. 3,1.",
        ),
    ] = None
    no_kv_offload: Annotated[
        bool,
        option("-nkvo", "--no-kv-offload", panel=RUNTIME, help="Keep the KV cache off the GPU."),
    ] = False
    cache_type_k: Annotated[
        str | None,
        option(
            *("-ctk", "--cache-type-k"),
            panel=RUNTIME,
            metavar="TYPE",
            help="f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0 or iq4_nl. Default: f16.",
        ),
    ] = None
    cache_type_v: Annotated[
        str | None,
        option(
            *("-ctv", "--cache-type-v"),
            panel=RUNTIME,
            metavar="TYPE",
            help="The same for V; a quantised one needs flash attention. Default: f16.",
        ),
    ] = None
    flash_attn: FlashAttn = None
    lora: Lora = None
    control_vector: ControlVector = None
    control_vector_layer_range: ControlVectorLayerRange = None
    adapters_on: AdaptersOn = None
    load_mode: Annotated[
        str | None,
        option(
            "--load-mode",
            panel=RUNTIME,
            metavar="MODE",
            help="How weights are read: auto, mmap, mlock or none. Default: auto.",
        ),
    ] = None
    chat_template: ChatTemplateText = None
    chat_template_file: Annotated[
        str | None,
        option(
            "--chat-template-file",
            panel=RUNTIME,
            metavar="FILE",
            help="Read the Jinja template from FILE.",
        ),
    ] = None
    chat_template_kwargs: Annotated[
        str | None,
        option(
            "--chat-template-kwargs",
            panel=RUNTIME,
            metavar="JSON",
            help="Variables of the template, e.g. '{\"enable_thinking\": false}'.",
        ),
    ] = None
    reproducible: Annotated[
        bool,
        option(
            "--reproducible",
            panel=RUNTIME,
            help="No reuse of earlier work: an answer depends on its question only.",
        ),
    ] = False
    verbose: Annotated[
        bool, option("-v", "--verbose", panel=OUTPUT, help="Show llama.cpp's log on stderr.")
    ] = False

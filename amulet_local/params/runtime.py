"""How a model is loaded and run.

Knows nothing about the model: what depends on it is checked where it is known.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, model_validator

from amulet_local.common.errors import InvalidParameterError
from amulet_local.params.base import NonNegative, StrictParams
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
from amulet_local.params.model_use import ModelUse
from amulet_local.params.option import ADAPTERS, OUTPUT, RUNTIME, FromFile, Option
from amulet_local.params.scaled_files import ScaledFile, scaled_files

LOW_MEMORY = {"n_batch": 64, "cache_type_k": "q8_0", "cache_type_v": "q8_0"}
"""What `low_memory` means for fields that aren't given."""

Layer = Annotated[int, Field(ge=1, le=1024)]


class RuntimeParams(StrictParams):
    """How the model is loaded and run.

    Attributes:
        n_ctx: context length of each row, in tokens; 0 is the model's training context.
        n_batch: tokens computed at once in prefill.
        n_threads: threads of a decode step, all rows together; None measures or picks.
        n_threads_batch: threads in prefill; None is every core.
        n_gpu_layers: layers on the GPU; "auto" is all of them where the build can, else 0.
        main_gpu: the GPU for everything (split_mode "none") or for small tensors ("row").
        split_mode: how several GPUs share the layers: "layer", "row", or "none" (one GPU).
        tensor_split: share of each GPU, in any unit; None is by free memory.
        offload_kqv: keep the KV cache on the GPU with its layers.
        schedule: how the rows are computed: "parallel" (a thread for each), "serial" (in turn),
            "batched" (in one computation), or "auto".
        threads_per_row: threads of each row of a parallel schedule; None splits n_threads evenly.
        cache_type_k, cache_type_v: types of the KV cache. A quantised V needs flash attention.
        flash_attention: "auto" is llama.cpp's choice with layers on a GPU and for answers that are
            computed together; for one answer on the CPU it is off, unless a quantised cache_type_v
            needs it.
        load_mode: how the weights are read; "auto" is llama.cpp's default.
        repack: whether weights are rearranged while they are loaded, where llama.cpp can: many
            tokens at once are computed faster then, one at a time is not on x86, loading takes
            longer, and what is rearranged is held beside the file.
        isolate: whether the file runs in a process of its own, so that a file that kills llama.cpp
            is an error: "auto", until it is approved (docs/reliability.md); "always" or "never".
        low_memory: a small n_batch and a KV cache in 8 bits, where these aren't given: LOW_MEMORY;
            and Numba stays out of the process.
        reproducible: no reuse of earlier work and no batching of rows, so that a call's tokens
            never depend on the calls before it or on the machine's speed.
        draft: whether the next tokens of text that repeats what stands in the prompt or the answer
            already are computed several at once: "lookup" wherever it does, "auto" where that is
            faster by what was measured here and by how often it was right so far, or "off". The
            tokens are those of an answer without. Never where `reproducible` is set or the model is
            recurrent.
        retune: measure again which schedule is fastest, instead of remembering it.
        chat_template: a built-in template's name or the text of one; None is the model's own.
        template_arguments: further variables of the chat template, such as
            {"enable_thinking": False} or {"reasoning_effort": "low"}; plain data.
        lora: LoRA adapters, GGUF files made for this model: paths, 'FILE:SCALE', or pairs of a path
            and a scale, -1000 to 1000; at most 32. They add up.
        control_vectors: the same of control vectors.
        control_vector_layers: the first and the last layer, from 1, that get them; None is all.
        adapters_on: "all" rows, or "preference" rows alone: then the plain row is the model as it
            is, rows share no work, and there is no batched schedule.
        verbose: show llama.cpp's log on stderr.
    """

    is_in_python: ClassVar[bool] = True

    n_ctx: Annotated[
        int,
        Field(ge=0, le=2**24),
        Option(
            "-c --ctx-size",
            RUNTIME,
            "Most tokens of prompt and answer; 0 is what the model was trained with. "
            "Default: 2048.",
            chat=("num_ctx",),
            plugin="context length in tokens",
        ),
    ] = 2048
    n_batch: Annotated[
        int,
        Field(ge=1, le=2**16),
        Option("-b --batch-size", RUNTIME, "Tokens of the prompt computed at once. Default: 512."),
    ] = 512
    n_threads: Annotated[
        Annotated[int, Field(ge=1, le=1024)] | None,
        Option(
            "-t --threads",
            RUNTIME,
            "Threads. Default: every core.",
            chat=("num_thread",),
            plugin="threads of a step",
        ),
    ] = None
    n_threads_batch: Annotated[
        Annotated[int, Field(ge=1, le=1024)] | None,
        Option("-tb --threads-batch", RUNTIME, "For the prompt. Default: every core."),
    ] = None
    schedule: Annotated[
        Schedule,
        Option(
            "--schedule",
            RUNTIME,
            "How the prompts are computed: parallel (a thread for each), serial (in turn), "
            "batched (in one computation) or auto. Default: auto.",
            kind="text",
            metavar="HOW",
        ),
    ] = "auto"
    threads_per_row: Annotated[
        Annotated[int, Field(ge=1, le=1024)] | None,
        Option(
            "--threads-per-row",
            RUNTIME,
            "Threads for each prompt of a parallel schedule. Default: --threads split evenly.",
        ),
    ] = None
    draft: Annotated[
        Draft,
        Option(
            "--draft",
            RUNTIME,
            "Compute several tokens at once where the answer repeats what stands in it or in the "
            "prompt (code, quotes, edits): auto, where that is faster; lookup, wherever it "
            "does; off. No token is chosen differently. Default: off.",
            kind="text",
            metavar="HOW",
        ),
    ] = "off"
    retune: Annotated[
        bool,
        Option(
            "--retune",
            RUNTIME,
            "Measure again which schedule is fastest here, instead of remembering it.",
            kind="flag",
        ),
    ] = False
    n_gpu_layers: Annotated[
        Annotated[int, Field(ge=-1, le=100_000)] | Literal["auto"],
        Option(
            "-ngl --gpu-layers --n-gpu-layers",
            RUNTIME,
            "Layers on the GPU: a number, 'all' or 'auto'. Default: auto.",
            kind="layers",
            chat=("num_gpu",),
            plugin="layers on the GPU",
        ),
    ] = "auto"
    main_gpu: Annotated[
        int,
        Field(ge=0, le=1024),
        Option("-mg --main-gpu", RUNTIME, "With several GPUs: the main one."),
    ] = 0
    split_mode: Annotated[
        SplitMode,
        Option(
            "-sm --split-mode",
            RUNTIME,
            "How several GPUs share the model: none, layer or row. Default: layer.",
            kind="text",
            metavar="MODE",
        ),
    ] = "layer"
    tensor_split: Annotated[
        tuple[NonNegative, ...] | None,
        Option(
            "-ts --tensor-split",
            RUNTIME,
            "Each GPU's share of the model, e.g. 3,1.",
            kind="numbers",
            metavar="N,N,...",
        ),
    ] = None
    offload_kqv: Annotated[
        bool, Option("-nkvo --no-kv-offload", RUNTIME, "Keep the KV cache off the GPU.", kind="off")
    ] = True
    cache_type_k: Annotated[
        CacheType,
        Option(
            "-ctk --cache-type-k",
            RUNTIME,
            "f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0 or iq4_nl. Default: f16.",
            kind="text",
            metavar="TYPE",
        ),
    ] = "f16"
    cache_type_v: Annotated[
        CacheType,
        Option(
            "-ctv --cache-type-v",
            RUNTIME,
            "The same for V; a quantised one needs flash attention. Default: f16.",
            kind="text",
            metavar="TYPE",
        ),
    ] = "f16"
    flash_attention: Annotated[
        FlashAttention,
        Option(
            "-fa --flash-attn",
            RUNTIME,
            "on, off or auto. Default: auto, off for one answer on the CPU.",
            kind="text",
            metavar="WHEN",
        ),
    ] = "auto"
    lora: Annotated[
        tuple[ScaledFile, ...],
        PlainValidator(scaled_files),
        Option(
            "--lora --lora-scaled",
            ADAPTERS,
            "A LoRA adapter for this model, a GGUF file; 1 is the usual scale. Repeat for more.",
            kind="texts",
            metavar="FILE[:SCALE]",
        ),
    ] = ()
    control_vectors: Annotated[
        tuple[ScaledFile, ...],
        PlainValidator(scaled_files),
        Option(
            "--control-vector --control-vector-scaled",
            ADAPTERS,
            "A control vector for this model, in the same way.",
            kind="texts",
            metavar="FILE[:SCALE]",
        ),
    ] = ()
    control_vector_layers: Annotated[
        tuple[Layer, Layer] | None,
        Option(
            "--control-vector-layer-range",
            ADAPTERS,
            "Layers that control vectors are added to, from 1. Default: all.",
            kind="range",
            metavar="FIRST LAST",
        ),
    ] = None
    adapters_on: Annotated[
        AdaptersOn,
        Option(
            "--adapters-on",
            ADAPTERS,
            "'all' prompts, or those with a 'preference' alone: then the plain answer that it "
            "is compared with is the model's own. Default: all.",
            kind="text",
            metavar="ROWS",
        ),
    ] = "all"
    load_mode: Annotated[
        LoadMode,
        Option(
            "-lm --load-mode",
            RUNTIME,
            "How weights are read: auto, mmap, mlock or none. Default: auto.",
            kind="text",
            metavar="MODE",
        ),
    ] = "auto"
    repack: Annotated[
        bool,
        Option(
            "--repack -nr",
            RUNTIME,
            "Rearrange weights while they are loaded, which makes long prompts and many answers at "
            "once faster. Default: on, but for one short question on x86.",
            kind="switch",
        ),
    ] = True
    isolate: Annotated[
        Isolate,
        Option(
            "--isolate",
            RUNTIME,
            "Run the model file in a process of its own, whose death is an error: always, never, "
            "or auto, until it is approved. Default: auto.",
            kind="text",
            metavar="WHEN",
        ),
    ] = "auto"
    low_memory: Annotated[
        bool,
        Option(
            "--low-memory",
            RUNTIME,
            "For small machines: -b 64 -ctk q8_0 -ctv q8_0, where these aren't given; no Numba.",
            kind="flag",
        ),
    ] = False
    chat_template: Annotated[
        str | None,
        Option(
            "--chat-template",
            RUNTIME,
            "A built-in template's name (chatml, llama2, ...) or a Jinja template, instead "
            "of the model's own.",
            kind="text",
            metavar="TEXT",
            file=FromFile(
                "--chat-template-file",
                "the chat template file",
                "Read the Jinja template from FILE.",
            ),
        ),
    ] = None
    template_arguments: Annotated[
        dict[str, Any],
        Option(
            "--chat-template-kwargs",
            RUNTIME,
            "Variables of the template, e.g. '{\"enable_thinking\": false}'.",
            kind="json",
            metavar="JSON",
        ),
    ] = Field(default={})
    reproducible: Annotated[
        bool,
        Option(
            "--reproducible",
            RUNTIME,
            "No reuse of earlier work: an answer depends on its question only.",
            kind="flag",
        ),
    ] = False
    verbose: Annotated[
        bool,
        Option(
            "-v --verbose",
            OUTPUT,
            "Show llama.cpp's log on stderr; where one question is answered, below it the "
            "system text and how each preference is said.",
            kind="flag",
        ),
    ] = False

    @model_validator(mode="before")
    @classmethod
    def _small(cls, data: Any) -> Any:
        is_small = isinstance(data, dict) and data.get("low_memory") is True
        return {**LOW_MEMORY, **data} if is_small else data

    @property
    def splits_rows(self) -> bool:
        """Whether preference rows have adapters and the plain row none."""
        return self.adapters_on == "preference" and bool(self.lora or self.control_vectors)

    @property
    def use(self) -> ModelUse:
        """What a model that is loaded like this is for, and what is loaded with it."""
        lora, vectors = (
            tuple(file.path for file in files) for files in (self.lora, self.control_vectors)
        )
        return ModelUse(lora=lora, control_vectors=vectors)

    def _check_together(self) -> None:
        if self.splits_rows and self.schedule == "batched":
            raise InvalidParameterError(
                "schedule 'batched' computes all rows in one context, so adapters are on all of "
                "them or on none; use 'parallel' or 'serial', or adapters_on='all'"
            )
        layers = self.control_vector_layers
        if layers is not None and not self.control_vectors:
            raise InvalidParameterError("control_vector_layers has no effect without a vector")
        if layers is not None and layers[0] > layers[1]:
            raise InvalidParameterError(
                f"control_vector_layers must be the first and the last layer, got {layers}"
            )
        if self.reproducible and self.schedule == "batched":
            raise InvalidParameterError(
                "schedule 'batched' computes rows together, which reproducible=True rules out; use "
                "'serial' or 'parallel'"
            )
        if self.tensor_split is not None and not sum(self.tensor_split) > 0:
            raise InvalidParameterError(
                f"tensor_split needs a share above 0, got {self.tensor_split}"
            )
        if self.flash_attention == "off" and self.cache_type_v not in ("f32", "f16", "bf16"):
            raise InvalidParameterError(
                f"cache_type_v {self.cache_type_v} needs flash attention, which is off; "
                f"use flash_attention='on' or cache_type_v='f16'"
            )

"""Every option of the runtime, each checked here and nowhere else.

Knows nothing about models: what depends on one (a prompt's length, a token id) is checked where
the model is known. Values out of range raise InvalidParameterError with the field, the value and
the limit in one line.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from amulet_local.errors import InvalidParameterError
from amulet_local.optimizer import recurrence

MAX_ITERATIONS = 100_000
"""Largest T; the recurrence costs about 0.1 microseconds a step."""

STEEP_SCALE = 20.0
"""Guidance scale above which the difference of the rows is mostly noise (DESIGN: 29x amplified)."""

CacheType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]
FlashAttention = Literal["auto", "on", "off"]
SplitMode = Literal["none", "layer", "row"]
LoadMode = Literal["auto", "mmap", "mlock", "none"]
Schedule = Literal["auto", "parallel", "serial", "batched"]


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


Finite = Annotated[float, AfterValidator(_finite)]
Positive = Annotated[Finite, Field(gt=0)]
NonNegative = Annotated[Finite, Field(ge=0)]


class _Params(BaseModel):
    """Frozen, keyword-only, no unknown names; a bad value raises InvalidParameterError."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="wrap")
    @classmethod
    def _typed_error(cls, data: Any, handler: Callable[[Any], Any]) -> Any:
        try:
            params = handler(data)
        except ValidationError as error:
            raise InvalidParameterError(_one_line(error)) from None
        params._check_together()
        return params

    def _check_together(self) -> None:
        """Raise InvalidParameterError where values exclude each other."""

    def replace(self, **changes: Any) -> Any:
        """A copy with some fields changed, checked again."""
        return type(self)(**{**self.model_dump(exclude_unset=True), **changes})


class AmuletParams(_Params):
    """The method's strength: four hyper-parameters, or the guidance scale that they amount to.

    `AmuletParams()` is the paper (arXiv 2502.19148): alpha 2, lambda 2, eta 10, T 60.
    `AmuletParams(guidance_scale=3.0)` sets the scale itself and leaves the others unused.

    Attributes:
        alpha: weight of the utility, >= 0.
        lambda_: weight of the anchor at the preference policy, > 0.
        eta: learning rate, > 0.
        num_iterations: T, 1 to 100,000. A knob for strength; nothing converges unless
            alpha < lambda_.
        guidance_scale: a; 0 is the plain prompt, 1 the preference prompt.

    Raises:
        InvalidParameterError: a value is out of range, both ways are mixed, or the scale overflows.
    """

    alpha: NonNegative = 2.0
    lambda_: Positive = 2.0
    eta: Positive = 10.0
    num_iterations: Annotated[int, Field(ge=1, le=MAX_ITERATIONS)] = 60
    fixed_scale: Annotated[Finite | None, Field(alias="guidance_scale", ge=-1000, le=1000)] = None

    def _check_together(self) -> None:
        others = self.model_fields_set - {"fixed_scale"}
        if self.fixed_scale is not None and others:
            raise InvalidParameterError(
                f"guidance_scale sets the strength by itself; leave out {', '.join(sorted(others))}"
            )
        if not abs(self.guidance_scale) <= 1000:
            raise InvalidParameterError(
                f"these hyper-parameters amount to a guidance scale of {self.guidance_scale:g}, "
                f"above 1000; lower num_iterations or alpha/lambda_"
            )

    @cached_property
    def guidance_scale(self) -> float:
        """a: the given one, or a_T of the recurrence."""
        if self.fixed_scale is not None:
            return self.fixed_scale
        return recurrence.guidance_scale(self.alpha, self.lambda_, self.eta, self.num_iterations)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know about this strength."""
        if abs(self.guidance_scale) <= STEEP_SCALE:
            return ()
        return (
            f"guidance scale {self.guidance_scale:.3g} is above {STEEP_SCALE:g}: the answer will "
            f"mostly be noise; lower num_iterations or alpha/lambda_ (num_iterations is a "
            f"strength, not a convergence setting)",
        )

    def replace(self, **changes: Any) -> Any:
        """A copy with some fields changed, checked again."""
        return type(self)(**{**self.model_dump(exclude_unset=True, by_alias=True), **changes})


class SamplingParams(_Params):
    """How a token is picked from the combined distribution, by llama.cpp's samplers.

    Names and defaults are llama.cpp's, but for `temperature`: 0 (greedy), as in the paper.

    Attributes:
        max_tokens: most tokens to generate, >= 1.
        temperature: 0 is greedy; then top_k, top_p and min_p have nothing to choose from.
        top_k: keep the k likeliest tokens; 0 is off.
        top_p: keep the likeliest tokens that make up this probability; 1 is off.
        min_p: keep tokens with at least this share of the top probability; 0 is off.
        repeat_penalty: divides the positive logits of recent tokens, multiplies the negative; 1 is
            off.
        presence_penalty, frequency_penalty: subtracted once, and per occurrence; 0 is off.
        repeat_last_n: how many recent tokens the penalties look at; 0 is none, -1 the context.
        seed: 0 to 2^32 - 2; None draws one, reported in the result.
    """

    max_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] = 512
    temperature: Annotated[NonNegative, Field(le=100)] = 0.0
    top_k: Annotated[int, Field(ge=0, le=2**31 - 1)] = 40
    top_p: Annotated[Finite, Field(gt=0, le=1)] = 0.95
    min_p: Annotated[Finite, Field(ge=0, le=1)] = 0.05
    repeat_penalty: Annotated[Positive, Field(le=100)] = 1.0
    presence_penalty: Annotated[Finite, Field(ge=-100, le=100)] = 0.0
    frequency_penalty: Annotated[Finite, Field(ge=-100, le=100)] = 0.0
    repeat_last_n: Annotated[int, Field(ge=-1, le=2**31 - 1)] = 64
    seed: Annotated[int, Field(ge=0, le=2**32 - 2)] | None = None

    @property
    def has_penalties(self) -> bool:
        """Whether the penalties change anything."""
        return self.repeat_last_n != 0 and (
            self.repeat_penalty != 1.0
            or self.presence_penalty != 0.0
            or self.frequency_penalty != 0.0
        )


class RuntimeParams(_Params):
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
        flash_attention: "auto" is off on the CPU unless a quantised cache_type_v needs it, and
            llama.cpp's choice with layers on a GPU.
        load_mode: how the weights are read; "auto" is llama.cpp's default.
        reproducible: no reuse of earlier work and no batching of rows, so that a call's tokens
            never depend on the calls before it or on the machine's speed.
        retune: measure again which schedule is fastest, instead of remembering it.
        chat_template: a built-in template's name or the text of one; None is the model's own.
        verbose: show llama.cpp's log on stderr.
    """

    n_ctx: Annotated[int, Field(ge=0, le=2**24)] = 2048
    n_batch: Annotated[int, Field(ge=1, le=2**16)] = 512
    n_threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    n_threads_batch: Annotated[int, Field(ge=1, le=1024)] | None = None
    n_gpu_layers: Annotated[int, Field(ge=-1, le=100_000)] | Literal["auto"] = "auto"
    main_gpu: Annotated[int, Field(ge=0, le=1024)] = 0
    split_mode: SplitMode = "layer"
    tensor_split: tuple[NonNegative, ...] | None = None
    offload_kqv: bool = True
    schedule: Schedule = "auto"
    threads_per_row: Annotated[int, Field(ge=1, le=1024)] | None = None
    cache_type_k: CacheType = "f16"
    cache_type_v: CacheType = "f16"
    flash_attention: FlashAttention = "auto"
    load_mode: LoadMode = "auto"
    reproducible: bool = False
    retune: bool = False
    chat_template: str | None = None
    verbose: bool = False

    def _check_together(self) -> None:
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


def _one_line(error: ValidationError) -> str:
    parts = []
    for detail in error.errors(include_url=False):
        where = ".".join(str(part) for part in detail["loc"] if isinstance(part, str))
        message = detail["msg"].removeprefix("Value error, ").replace("Input should", "must")
        if detail["type"] == "extra_forbidden":
            parts.append(f"{where}: no such parameter")
        elif where:
            shown = repr(detail["input"])
            if len(shown) > 60:
                shown = shown[:57] + "..."
            parts.append(f"{where}: {message}, got {shown}")
        else:
            parts.append(message)
    return "; ".join(dict.fromkeys(parts))

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
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from amulet_local.errors import InvalidParameterError
from amulet_local.grammar import gbnf
from amulet_local.grammar.json_schema import to_gbnf
from amulet_local.optimizer import recurrence
from amulet_local.sampling_values import (
    MAX_BREAKERS,
    biases,
    breaker,
    checked_rules,
    schema,
    stop_texts,
)
from amulet_local.scaled_files import ScaledFile, scaled_files

MAX_ITERATIONS = 100_000
"""Largest T; the recurrence costs about 0.1 microseconds a step."""

STEEP_SCALE = 20.0
"""Guidance scale above which the difference of the rows is mostly noise (DESIGN: 29x amplified)."""

CacheType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]
FlashAttention = Literal["auto", "on", "off"]
SplitMode = Literal["none", "layer", "row"]
LoadMode = Literal["auto", "mmap", "mlock", "none"]
Schedule = Literal["auto", "parallel", "serial", "batched"]
Scheduler = Literal["auto", "interleaved", "batched"]
"""How several requests are computed at once."""
Mix = Literal["fixed", "adaptive"]
ReasoningFormat = Literal["separate", "inline"]
AdaptersOn = Literal["all", "preference"]
Placement = Literal["system", "user"]
"""Where a preference goes: the end of the system text, or of the last question."""

STRENGTH_FIELDS = ("fixed_scale", "alpha", "lambda_", "eta", "num_iterations")
"""Fields of AmuletParams that the guidance scale comes from."""


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


Finite = Annotated[float, AfterValidator(_finite)]
Positive = Annotated[Finite, Field(gt=0)]
NonNegative = Annotated[Finite, Field(ge=0)]
Layer = Annotated[int, Field(ge=1, le=1024)]


class StrictParams(BaseModel):
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


class AmuletParams(StrictParams):
    """The method's strength, and what keeps it in bounds.

    The strength is four hyper-parameters, or the guidance scale that they amount to.
    `AmuletParams()` is the paper (arXiv 2502.19148): alpha 2, lambda 2, eta 10, T 60, no guards.
    `AmuletParams(guidance_scale=3.0)` sets the scale itself and leaves those four unused.
    Guards look at the combination at scale 1, called reference: the preference prompt's
    distribution, or that of a mix. They act on scales above 1.

    Attributes:
        alpha: weight of the utility, >= 0.
        lambda_: weight of the anchor at the preference policy, > 0.
        eta: learning rate, > 0.
        num_iterations: T, 1 to 100,000. A knob for strength; nothing converges unless
            alpha < lambda_.
        guidance_scale: a; 0 is the plain prompt, 1 the preference prompt.
        max_guidance: an upper bound for the scale, whatever it comes from; None is none. With a
            `kl_budget` and no strength given it is the scale itself.
        min_plausibility: beta, 0 to 1; a token may be chosen only if the reference gives it at
            least beta times the probability of its likeliest token. 0 is off.
        nucleus: a probability; of these tokens only the reference's likeliest ones may be chosen,
            as few as make it up. 1 is off. Unlike `top_p`, it doesn't depend on the scale.
        nucleus_temperature: the temperature that the reference has for it, > 0.
        kl_budget: most nats of KL(realigned || reference) per token; the scale is lowered, token
            by token, until it holds. None is off.
        noise_guard: c, >= 0; differences between the rows below c times the model's rounding noise
            don't count, and larger ones count less by that much. 0 is off.
        echo_guard: the words of the preference itself gain nothing from the scale, so that the
            answer follows the preference instead of reciting it.
        end_guard: in the middle of a sentence the answer doesn't end, unless the reference gives
            its end at least half of the probability.
        mix: "fixed" weights, or "adaptive" ones, which shift towards the preferences that the
            text so far lags behind on (MATO, arXiv 2605.25342).
        mix_temperature: tau of adaptive weights, in nats: large is nearly fixed.
        region_gating: scale 1 inside code, fenced or inline.
        reasoning_gating: scale 1, and no echo guard, while a thinking model reasons.
        watch: refuse tokens that would go on with a loop, and lower the scale after one, where the
            entropy collapses, and while the text is one that the reference would hardly write.

    Raises:
        InvalidParameterError: a value is out of range, both ways are mixed, or the scale overflows.
    """

    alpha: NonNegative = 2.0
    lambda_: Positive = 2.0
    eta: Positive = 10.0
    num_iterations: Annotated[int, Field(ge=1, le=MAX_ITERATIONS)] = 60
    fixed_scale: Finite | None = Field(default=None, alias="guidance_scale", ge=-1000, le=1000)
    max_guidance: Annotated[Finite | None, Field(ge=0, le=1000)] = None
    min_plausibility: Annotated[Finite, Field(ge=0, le=1)] = 0.0
    nucleus: Annotated[Finite, Field(ge=0, le=1)] = 1.0
    nucleus_temperature: Annotated[Finite, Field(ge=0.01, le=100)] = 1.0
    kl_budget: Annotated[NonNegative | None, Field(le=1000)] = None
    noise_guard: Annotated[NonNegative, Field(le=100)] = 0.0
    echo_guard: bool = False
    end_guard: bool = False
    mix: Mix = "fixed"
    mix_temperature: Annotated[Finite, Field(ge=0.01, le=1e6)] = 10.0
    region_gating: bool = False
    reasoning_gating: bool = False
    watch: bool = False

    def _check_together(self) -> None:
        others = self.model_fields_set & set(STRENGTH_FIELDS[1:])
        if self.fixed_scale is not None and others:
            raise InvalidParameterError(
                f"guidance_scale sets the strength by itself; leave out {', '.join(sorted(others))}"
            )
        if not abs(self.guidance_scale) <= 1000:
            raise InvalidParameterError(
                f"these hyper-parameters amount to a guidance scale of {self.guidance_scale:g}, "
                f"above 1000; lower num_iterations or alpha/lambda_"
            )

    @property
    def sets_strength(self) -> bool:
        """Whether the scale or any of the four hyper-parameters was given."""
        hyper_parameters = STRENGTH_FIELDS[1:]
        return self.fixed_scale is not None or not self.model_fields_set.isdisjoint(
            hyper_parameters
        )

    @property
    def mask(self) -> tuple[float, ...]:
        """min_plausibility, nucleus and its temperature; nothing where both let all pass."""
        if self.min_plausibility == 0 and self.nucleus == 1:
            return ()
        return self.min_plausibility, self.nucleus, self.nucleus_temperature

    @cached_property
    def guidance_scale(self) -> float:
        """a: the given one, or a_T of the recurrence; at most `max_guidance`."""
        if self.fixed_scale is not None:
            scale = self.fixed_scale
        else:
            scale = recurrence.guidance_scale(
                self.alpha, self.lambda_, self.eta, self.num_iterations
            )
        if self.max_guidance is None:
            return scale
        if self.kl_budget is not None and not self.sets_strength:
            return self.max_guidance
        return min(scale, self.max_guidance)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know about this strength."""
        if abs(self.guidance_scale) <= STEEP_SCALE or self.kl_budget is not None:
            return ()
        cure = "use a smaller one"
        if self.fixed_scale is None:
            cure = (
                "lower num_iterations or alpha/lambda_ (num_iterations is a strength, not a "
                "convergence setting)"
            )
        return (
            f"guidance scale {self.guidance_scale:.3g} is above {STEEP_SCALE:g}: the answer will "
            f"mostly be noise; {cure}",
        )

    def replace(self, **changes: Any) -> Any:
        """A copy with some fields changed, checked again; a new strength replaces the old one."""
        kept = self.model_dump(exclude_unset=True, by_alias=True)
        if any(changes.get(name) is not None for name in ("guidance_scale", *STRENGTH_FIELDS[1:])):
            for name in ("guidance_scale", *STRENGTH_FIELDS[1:]):
                kept.pop(name, None)
        return type(self)(**{**kept, **changes})


class SamplingParams(StrictParams):
    """How a token is picked from the combined distribution, by llama.cpp's samplers.

    Names and defaults are llama.cpp's, but for `temperature`: 0 (greedy), as in the paper. The
    order is llama.cpp's as well: logit_bias, grammar, penalties, DRY, top_k, typical_p, top_p,
    min_p, XTC, temperature, the draw.

    Attributes:
        max_tokens: most tokens to generate, >= 1.
        temperature: 0 is greedy; then what comes after DRY has nothing to choose from.
        top_k: keep the k likeliest tokens; 0 is off.
        typical_p: keep the tokens whose surprise is nearest to the expected one (the entropy) that
            make up this probability; 1 is off.
        top_p: keep the likeliest tokens that make up this probability; 1 is off.
        min_p: keep tokens with at least this share of the top probability; 0 is off.
        xtc_probability: how often, per token, all but the least likely of the tokens with at least
            `xtc_threshold` are left out; 0 is off.
        xtc_threshold: a probability; above 0.5 no two tokens can have it, so XTC is off.
        repeat_penalty: divides the positive logits of recent tokens, multiplies the negative, 0.01
            to 100; 1 is off.
        presence_penalty, frequency_penalty: subtracted once, and per occurrence; 0 is off.
        repeat_last_n: how many recent tokens the penalties look at; 0 is none, -1 the context.
        dry_multiplier: of the penalty, in logits, for a token that would continue a sequence which
            occurred before: dry_multiplier * dry_base^(its length - dry_allowed_length). 0 is off.
        dry_base: >= 1.
        dry_allowed_length: tokens; shorter sequences may repeat.
        dry_penalty_last_n: how many recent tokens DRY looks at; 0 is none, -1 the context.
        dry_sequence_breakers: texts at which a sequence ends; at most 64 of 40 bytes.
        mirostat: 1 or 2 hold the surprise of the text at a target instead of top_k, typical_p,
            top_p, min_p and XTC; 0 is off.
        mirostat_tau: the target, in bits per token.
        mirostat_eta: how fast it is approached.
        logit_bias: token id -> what is added to its logit, -100 to 100, or -inf (False) for never.
        ignore_eos: the tokens that end an answer are never chosen.
        grammar: what the answer has to match, in GBNF, llama.cpp's notation, with a rule `root`.
        json_schema: the JSON Schema that the answer has to validate against, as a mapping or as
            JSON text, instead of a grammar.
        stop: texts that end the answer, which doesn't have them; at most 64 of 1,000 characters.
            The first that is complete counts. Reasoning isn't searched for them.
        reasoning_format: "separate" keeps what a thinking model writes in its tags apart from the
            answer; "inline" leaves it in the text, tags and all.
        seed: 0 to 2^32 - 2; None draws one, reported in the result.
    """

    max_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] = 512
    temperature: Annotated[NonNegative, Field(le=100)] = 0.0
    top_k: Annotated[int, Field(ge=0, le=2**31 - 1)] = 40
    typical_p: Annotated[Finite, Field(gt=0, le=1)] = 1.0
    top_p: Annotated[Finite, Field(gt=0, le=1)] = 0.95
    min_p: Annotated[Finite, Field(ge=0, le=1)] = 0.05
    xtc_probability: Annotated[Finite, Field(ge=0, le=1)] = 0.0
    xtc_threshold: Annotated[Finite, Field(ge=0, le=1)] = 0.1
    repeat_penalty: Annotated[Finite, Field(ge=0.01, le=100)] = 1.0
    presence_penalty: Annotated[Finite, Field(ge=-100, le=100)] = 0.0
    frequency_penalty: Annotated[Finite, Field(ge=-100, le=100)] = 0.0
    repeat_last_n: Annotated[int, Field(ge=-1, le=2**31 - 1)] = 64
    dry_multiplier: Annotated[NonNegative, Field(le=100)] = 0.0
    dry_base: Annotated[Finite, Field(ge=1, le=100)] = 1.75
    dry_allowed_length: Annotated[int, Field(ge=0, le=2**31 - 1)] = 2
    dry_penalty_last_n: Annotated[int, Field(ge=-1, le=2**31 - 1)] = 64
    dry_sequence_breakers: Annotated[
        tuple[Annotated[str, AfterValidator(breaker)], ...], Field(max_length=MAX_BREAKERS)
    ] = ("\n", ":", '"', "*")
    mirostat: Annotated[int, Field(ge=0, le=2)] = 0
    mirostat_tau: Annotated[NonNegative, Field(le=100)] = 5.0
    mirostat_eta: Annotated[NonNegative, Field(le=100)] = 0.1
    logit_bias: Annotated[dict[int, float], BeforeValidator(biases)] = {}
    ignore_eos: bool = False
    grammar: str | None = None
    json_schema: Annotated[dict[str, Any] | str | None, PlainValidator(schema)] = None
    stop: Annotated[tuple[str, ...], BeforeValidator(stop_texts)] = ()
    reasoning_format: ReasoningFormat = "separate"
    seed: Annotated[int, Field(ge=0, le=2**32 - 2)] | None = None
    _rules: gbnf.Grammar | None = PrivateAttr(default=None)

    def _check_together(self) -> None:
        given = [name for name in ("grammar", "json_schema") if getattr(self, name) is not None]
        if len(given) > 1:
            raise InvalidParameterError("grammar and json_schema exclude each other; give only one")
        if given and self.ignore_eos:
            raise InvalidParameterError(
                f"ignore_eos and {given[0]} exclude each other: the latter says where the answer "
                f"ends"
            )
        if self.grammar is not None:
            self._rules = checked_rules(self.grammar)
        elif self.json_schema is not None:
            text = to_gbnf(self.json_schema)
            try:
                self._rules = checked_rules(text)
            except InvalidParameterError:
                raise InvalidParameterError(
                    "json_schema: it is too large or too ambiguous"
                ) from None

    @property
    def rules(self) -> gbnf.Grammar | None:
        """What the answer has to match, None if it is free."""
        return self._rules

    @property
    def has_penalties(self) -> bool:
        """Whether the penalties change anything."""
        return self.repeat_last_n != 0 and (
            self.repeat_penalty != 1.0
            or self.presence_penalty != 0.0
            or self.frequency_penalty != 0.0
        )

    @property
    def has_dry(self) -> bool:
        """Whether DRY changes anything."""
        return self.dry_multiplier > 0 and self.dry_penalty_last_n != 0

    @property
    def changes_greedy(self) -> bool:
        """Whether the samplers are needed even at temperature 0."""
        return (
            self.has_penalties
            or self.has_dry
            or bool(self.logit_bias)
            or self.ignore_eos
            or self.rules is not None
        )

    def replace(self, **changes: Any) -> Any:
        """A copy with some fields changed, checked again."""
        kept = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**{**kept, **changes})


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
        flash_attention: "auto" is off on the CPU unless a quantised cache_type_v needs it, and
            llama.cpp's choice with layers on a GPU.
        load_mode: how the weights are read; "auto" is llama.cpp's default.
        reproducible: no reuse of earlier work and no batching of rows, so that a call's tokens
            never depend on the calls before it or on the machine's speed.
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
    template_arguments: dict[str, Any] = {}
    lora: Annotated[tuple[ScaledFile, ...], PlainValidator(scaled_files)] = ()
    control_vectors: Annotated[tuple[ScaledFile, ...], PlainValidator(scaled_files)] = ()
    control_vector_layers: tuple[Layer, Layer] | None = None
    adapters_on: AdaptersOn = "all"
    verbose: bool = False

    @property
    def splits_rows(self) -> bool:
        """Whether preference rows have adapters and the plain row none."""
        return self.adapters_on == "preference" and bool(self.lora or self.control_vectors)

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


class LearnParams(StrictParams):
    """How weights are learned from texts.

    Attributes:
        ridge: r, >= 0; a normal prior of each weight with mean 0 and standard deviation
            1/sqrt(r), so that little text gives small weights. 0 is none.
        holdout: share of the texts, 0 to 0.9, that the weights aren't fitted to and are judged by.
        top_tokens: tokens of each position that are kept as they are: those that matter most.
        tail_tokens: tokens that stand for the rest of the vocabulary.
        fast: several tokens of a text are computed at once. On quantised weights they round
            otherwise than in generation: for texts that this model wrote, weights come out smaller.
    """

    ridge: Annotated[NonNegative, Field(le=1e6)] = 1.0
    holdout: Annotated[NonNegative, Field(le=0.9)] = 0.0
    top_tokens: Annotated[int, Field(ge=1, le=2**16)] = 256
    tail_tokens: Annotated[int, Field(ge=1, le=2**16)] = 128
    fast: bool = False


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

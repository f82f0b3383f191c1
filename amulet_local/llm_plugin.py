"""A plugin for the command `llm`: models that have a name here, with a preference as an option.

    llm -m amulet-smollm2 -o preference creative "How do I sleep better?"

`llm` finds it by its entry point. Knows the engine's public names and nothing below them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import llm
from llm.parts import StreamEvent, TextPart
from pydantic import Field, field_validator

from amulet_local.common.errors import AmuletError
from amulet_local.loading.model_store import catalogue, local_models
from amulet_local.steering.presets import adjusted_strength

if TYPE_CHECKING:
    from amulet_local.engine import Engine
    from amulet_local.params.amulet import AmuletParams
    from amulet_local.params.sampling import SamplingParams

PREFIX = "amulet-"
"""What the models' names begin with."""

_STRENGTH = ("guidance_scale", "kl_budget", "max_guidance", "min_plausibility")
_SAMPLING = (
    *("max_tokens", "temperature", "top_k", "top_p"),
    *("min_p", "repeat_penalty", "stop", "seed"),
)
_RUNTIME = ("n_ctx", "n_gpu_layers", "n_threads")


class AmuletOptions(llm.Options):
    """What `-o NAME VALUE` takes; values are checked as `amulet-local generate` checks them."""

    preference: str | list[str] | None = Field(
        default=None, description="what the answer should be like: a name, a text, or a JSON list"
    )
    avoid: str | list[str] | None = Field(
        default=None, description="what it should not be like, likewise"
    )
    preset: str | None = Field(default=None, description="balanced, strong or paper")
    method: str | None = Field(default=None, description="amulet, pref, base, ...")
    guidance_scale: float | None = Field(
        default=None, description="0 the plain prompt, 1 the preference prompt, 5.65 the paper"
    )
    kl_budget: float | None = Field(
        default=None, description="nats that a token's distribution may move by"
    )
    max_guidance: float | None = Field(default=None, description="a ceiling for the scale")
    min_plausibility: float | None = Field(
        default=None, description="least share of the likeliest token's probability"
    )
    max_tokens: int | None = Field(default=None, description="most tokens of the answer")
    temperature: float | None = Field(default=None, description="0 is greedy")
    top_k: int | None = Field(default=None, description="keep the k likeliest tokens")
    top_p: float | None = Field(default=None, description="keep this share of probability")
    min_p: float | None = Field(default=None, description="keep this share of the likeliest")
    repeat_penalty: float | None = Field(default=None, description="1 is off")
    stop: str | list[str] | None = Field(default=None, description="text that ends the answer")
    seed: int | None = Field(default=None, description="of the draws")
    n_ctx: int | None = Field(default=None, description="context length in tokens")
    n_gpu_layers: int | None = Field(default=None, description="layers on the GPU")
    n_threads: int | None = Field(default=None, description="threads of a step")

    @field_validator("preference", "avoid", "stop", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        """A JSON list in a text, as the command line gives it, is a list."""
        if isinstance(value, str) and value.startswith("["):
            try:
                return json.loads(value)
            except ValueError:
                return value
        return value

    def chosen(self, names: tuple[str, ...]) -> dict[str, Any]:
        """The options of these names that were given."""
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class AmuletModel(llm.Model):
    """One model that has a name; it stays loaded until another context or device is asked for."""

    can_stream = True
    supports_schema = True

    class Options(AmuletOptions):
        """See AmuletOptions; `llm` looks for this name."""

    def __init__(self, name: str) -> None:
        """Take note; the model is loaded at the first answer.

        Args:
            name: of the catalogue, or of a file in a models folder.
        """
        self.model_id = PREFIX + name
        self._name = name
        self._engine: Engine | None = None
        self._runtime: dict[str, Any] = {}

    def execute(
        self,
        prompt: llm.Prompt,
        stream: bool,
        response: llm.Response,
        conversation: llm.Conversation | None,
    ) -> Iterator[str | StreamEvent]:
        """Answer; called by `llm`, which has put the conversation into the prompt's messages.

        Raises:
            llm.ModelError: an AmuletError, with its message.
        """
        options = prompt.options
        assert isinstance(options, AmuletOptions)
        try:
            engine = self._loaded(options)
            chunks = engine.stream_generate(
                _messages(prompt),
                preference=options.preference,
                avoid=options.avoid,
                method=options.method,
                amulet=_strength(options, engine),
                preset=None if options.chosen(_STRENGTH) else options.preset,
                sampling=_sampling(options, prompt.schema),
            )
            for chunk in chunks:
                if chunk.reasoning and not prompt.hide_reasoning:
                    yield StreamEvent(type="reasoning", chunk=chunk.reasoning)
                if chunk.text:
                    yield chunk.text
        except AmuletError as error:
            raise llm.ModelError(str(error)) from None
        generation = chunk.generation
        assert generation is not None
        response.set_usage(
            input=generation.usage.prompt_tokens, output=generation.usage.completion_tokens
        )
        response.response_json = {
            "finish_reason": generation.finish_reason,
            "guidance_scale": generation.guidance_scale,
            "preset": generation.preset,
            "warnings": list(generation.warnings),
        }

    def _loaded(self, options: AmuletOptions) -> Engine:
        from amulet_local.engine import load

        runtime = options.chosen(_RUNTIME)
        if self._engine is not None and runtime != self._runtime:
            self._engine.close()
            self._engine = None
        if self._engine is None:
            self._engine = load(self._name, **runtime)
            self._runtime = runtime
        return self._engine


def _messages(prompt: llm.Prompt) -> list[dict[str, str]]:
    """The conversation as OpenAI-style messages; texts only, no reasoning."""
    return [
        {
            "role": message.role,
            "content": "".join(part.text for part in message.parts if isinstance(part, TextPart)),
        }
        for message in prompt.messages
    ]


def _strength(options: AmuletOptions, engine: Engine) -> AmuletParams | None:
    changes = options.chosen(_STRENGTH)
    if not changes:
        return None
    return adjusted_strength(options.preset, changes, own=engine.own_settings)


def _sampling(options: AmuletOptions, schema: Any) -> SamplingParams:
    from amulet_local.params.sampling import SamplingParams

    return SamplingParams(**options.chosen(_SAMPLING), json_schema=schema or None)


@llm.hookimpl
def register_models(register: Any) -> None:
    """Called by `llm`: a model for each name of the catalogue and each file in a models folder."""
    names = [*catalogue(), *(path.stem for path in local_models())]
    for name in dict.fromkeys(names):
        register(AmuletModel(name))

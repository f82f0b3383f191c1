"""A plugin for the command `llm`: models that have a name here, with a preference as an option.

    llm -m amulet-smollm2 -o preference creative "How do I sleep better?"

`llm` finds it by its entry point. Knows the engine's public names and nothing below them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
import llm
from llm.parts import StreamEvent, TextPart
from pydantic import Field, create_model, field_validator

from amulet_local.common.errors import AmuletError
from amulet_local.common.field_names import without_flags
from amulet_local.loading.model_store import catalogue, local_models
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.derived_fields import derived_fields
from amulet_local.params.runtime import RuntimeParams
from amulet_local.params.sampling import SamplingParams
from amulet_local.steering.presets import adjusted_strength, placement_of

if TYPE_CHECKING:
    from amulet_local.common.results import Generation
    from amulet_local.engine import Engine

PREFIX = "amulet-"
"""What the models' names begin with."""

_STRENGTH, _SAMPLING, _RUNTIME = (
    tuple(name for name, option in params.options.items() if option.plugin is not None)
    for params in (AmuletParams, SamplingParams, RuntimeParams)
)
_TYPES = {"stop": str | list[str], "n_gpu_layers": int}
"""Narrower than in params, or wider: what `-o` can write."""

if TYPE_CHECKING:
    from llm import Options as _Derived
else:
    _Derived = create_model(
        "_Derived",
        __base__=llm.Options,
        **{
            name: field
            for params, names in (
                (AmuletParams, _STRENGTH),
                (SamplingParams, _SAMPLING),
                (RuntimeParams, _RUNTIME),
            )
            for name, field in derived_fields(
                params, names, types=_TYPES, descriptions=True
            ).items()
        },
    )


class AmuletOptions(_Derived):
    """What `-o NAME VALUE` takes; values are checked as `amulet-local generate` checks them."""

    preference: str | list[str] | None = Field(
        default=None, description="what the answer should be like: a name, a text, or a JSON list"
    )
    avoid: str | list[str] | None = Field(
        default=None, description="what it should not be like, likewise"
    )
    preset: str | None = Field(default=None, description="balanced, strong or paper")
    method: str | None = Field(default=None, description="amulet, pref, base, ...")

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
                placement=placement_of(options.preset),
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
        if click.get_current_context(silent=True) is not None:  # a person, not a program, asks
            _say(generation)
        response.response_json = {
            "finish_reason": generation.finish_reason,
            "guidance_scale": generation.guidance_scale,
            "applied": generation.applied and dataclasses.asdict(generation.applied),
            "preset": generation.preset,
            "warnings": list(generation.warnings),
        }

    def _loaded(self, options: AmuletOptions) -> Engine:
        from amulet_local.isolation.load import load

        runtime = options.chosen(_RUNTIME)
        if self._engine is not None and runtime != self._runtime:
            self._engine.close()
            self._engine = None
        if self._engine is None:
            self._engine = load(self._name, **runtime)
            self._runtime = runtime
        return self._engine


def _say(generation: Generation) -> None:
    """Say on stderr what the text alone doesn't."""
    lines = [f"warning: {without_flags(warning)}" for warning in generation.warnings]
    if generation.finish_reason == "length":
        n_tokens = generation.usage.completion_tokens
        cut = f"(cut off after {n_tokens} tokens; -o max_tokens or n_ctx allows more)"
        lines.append(click.style(cut, dim=True))
    if lines:
        click.echo("\n".join(["", *lines]), err=True)  # the answer's last line is still open


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
    return SamplingParams(**options.chosen(_SAMPLING), json_schema=schema or None)


@llm.hookimpl
def register_models(register: Any) -> None:
    """Called by `llm`: a model for each name of the catalogue and each file in a models folder."""
    named = [name for name, entry in catalogue().items() if entry.package or entry.path()]
    names = [*named, *(path.stem for path in local_models())]
    for name in dict.fromkeys(names):
        register(AmuletModel(name))

"""The model behind the server: its places, its names, and what holds where a body says nothing.

Knows nothing about HTTP or about what is done with a request.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from amulet_local.common.errors import InvalidParameterError
from amulet_local.engine import Engine
from amulet_local.llama.adapters import Adapter, scale_warning
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.openai.chat_completion import REQUEST
from amulet_local.params.scaled_files import MAX_SCALE
from amulet_local.server.client_fields import understood
from amulet_local.server.fields import LENGTHS, STRENGTH
from amulet_local.server.model_names import ModelName, ModelNames
from amulet_local.server.profiles import ServedProfiles
from amulet_local.serving.pool import Pool

WISHES = ("preference", "avoid")
"""Fields that say what is wanted of answers."""

MODELS_NAME = "the model's name"
PROFILE = "profile"

_log = logging.getLogger("amulet_local.server")


class Completed(NamedTuple):
    """A body with everything in it that holds for it.

    Attributes:
        body: the fields.
        sources: what each of them was given by.
    """

    body: dict[str, Any]
    sources: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What holds for requests that say nothing.

    Attributes:
        fields: of a request's body: preference, avoid, preset, guidance_scale, kl_budget, ...
        sources: what each of them was given by.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def strength(self) -> Mapping[str, Any]:
        """Those of the fields that set a strength."""
        return {name: value for name, value in self.fields.items() if name in STRENGTH}

    def under(
        self, body: Mapping[str, Any], model_name: ModelName, *, fills_gap: bool
    ) -> dict[str, Any]:
        """A body with what it leaves open: from the model's name, then the defaults.

        What fills a gap in a text is what its author meant: there no default is a preference.

        An empty list of preferences is none at all, whatever the defaults say.

        A strength is one thing: where the body sets a part of it, no default preset of the
        server's is mixed in, but for the values that the preset leaves open. A length is one
        thing, too, under whichever of its names.
        """
        given = {name: value for name, value in body.items() if value is not None}
        if model_name.preferences:
            given.setdefault("preference", list(model_name.preferences))
        replaced = STRENGTH if "amulet" in given or "preset" in given else ()
        replaced += LENGTHS if any(name in given for name in LENGTHS) else ()
        replaced += WISHES if fills_gap else ()
        merged = {k: v for k, v in self.fields.items() if k not in replaced} | given
        none = [name for name in WISHES if merged.get(name) == []]
        return {name: value for name, value in merged.items() if name not in none}


class ServedModel:
    """A loaded model and its places.

    Attributes:
        engine, pool: these.
        names: what the model is called.
        defaults: what holds for requests that say nothing.
        has_strict_fields: whether a field that isn't known here is an error.
        tags: words about it for lists of models.
        adapters: LoRA files with the scales of the start.
        adapter_scales: how strongly they count for requests that say nothing; None is as there.
        profiles: what was learned of those who ask; None where nothing is.
    """

    def __init__(
        self,
        engine: Engine,
        pool: Pool,
        names: ModelNames,
        defaults: Defaults,
        *,
        has_strict_fields: bool = False,
        tags: Sequence[str] = (),
        adapters: Sequence[tuple[str, float]] = (),
        profiles: ServedProfiles | None = None,
    ) -> None:
        self.engine, self.pool, self.names, self.defaults = engine, pool, names, defaults
        self.has_strict_fields = has_strict_fields
        self.adapters = tuple(adapters)
        self.adapter_scales: tuple[float, ...] | None = None
        self.tags = tuple(tags)
        self.profiles = profiles

    @property
    def vocabulary(self) -> Vocabulary:
        """Of the model."""
        return self.engine.model.vocabulary

    def scales(self, wanted: Any) -> tuple[float, ...]:
        """How strongly each LoRA adapter is to count; one that isn't named doesn't.

        Args:
            wanted: llama-server's list of objects with id and scale.

        Raises:
            InvalidParameterError: it is something else, or there is no such adapter.
        """
        problem = "lora: must be a list of objects with the id and the scale of an adapter"
        if not isinstance(wanted, list):
            raise InvalidParameterError(problem)
        scales = [0.0] * len(self.adapters)
        for item in wanted:
            number = item.get("id") if isinstance(item, Mapping) else None
            scale = item.get("scale") if isinstance(item, Mapping) else None
            if type(number) is not int or isinstance(scale, bool):
                raise InvalidParameterError(problem)
            if not isinstance(scale, int | float) or not abs(scale) <= MAX_SCALE:
                raise InvalidParameterError(
                    f"lora: a scale must be -{MAX_SCALE:g} to {MAX_SCALE:g}"
                )
            if not 0 <= number < len(scales):
                raise InvalidParameterError(
                    f"lora: there is no adapter {number}; GET /lora-adapters lists them"
                )
            scales[number] = float(scale)
        return tuple(scales)

    def with_scales(
        self, warnings: Sequence[str], scales: Sequence[float] | None
    ) -> tuple[str, ...]:
        """Warnings of a request that has scales of its own: those of the start aren't its."""
        if scales is None:
            return tuple(warnings)
        items = [Adapter(kind="lora", path=path, scale=scale) for path, scale in self.adapters]
        own = [replace(item, scale=scale) for item, scale in zip(items, scales, strict=True)]
        before = {scale_warning(item) for item in items}
        now = [scale_warning(item) for item in own if item.scale]
        return (*(line for line in warnings if line not in before), *filter(None, now))

    def completed(
        self, body: Mapping[str, Any], model_name: ModelName, user: object, *, fills_gap: bool
    ) -> Completed:
        """A body with what it leaves open: of the model's name, of who asks, and the defaults.

        Args:
            user: the request's field.
            fills_gap: whether it asks for what is missing in a text: see Defaults.under.

        Raises:
            AmuletError: their profile can't be used.
        """
        learned: Mapping[str, Any] = {}
        if self.profiles is not None and not model_name.preferences and not fills_gap:
            learned = self.profiles.filled(
                {**self.defaults.strength, **body},
                user,
                model=self.engine.model,
                own=self.engine.own_settings,
            )
        whole = self.defaults.under({**learned, **body}, model_name, fills_gap=fills_gap)
        named = dict.fromkeys(["preference"] if model_name.preferences else [], MODELS_NAME)
        given = dict.fromkeys((name for name in body if body[name] is not None), REQUEST)
        sources = {**self.defaults.sources, **dict.fromkeys(learned, PROFILE), **named, **given}
        return Completed(whole, {name: sources[name] for name in whole})

    def understood(
        self, body: Mapping[str, Any], known: Collection[str], unread: Sequence[str] = ()
    ) -> tuple[dict[str, Any], list[str]]:
        """The fields of a body that are read here, and a line for each other one.

        Args:
            known: their names.
            unread: lines for others that were found before.

        Raises:
            InvalidParameterError: there is another one, and that is an error here.
        """

        def biased(text: str) -> list[int]:
            return self.vocabulary.tokenize(text, add_special=False, parse_special=False)

        fields, unknown = understood(body, known, biased, self.vocabulary.n_tokens)
        unknown = [*unread, *unknown]
        if unknown and self.has_strict_fields:
            raise InvalidParameterError(unknown[0])
        for line in unknown:
            _log.warning("%s", line)
        return fields, unknown

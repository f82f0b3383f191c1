"""Every setting that an answer was made with, and where it came from.

Knows where settings can come from, and no particular one: who asks says what it was given, and by
what.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from amulet_local.params.amulet import HYPER_PARAMETERS, SETS_SCALE, AmuletParams
from amulet_local.params.base import StrictParams
from amulet_local.params.choices import Placement
from amulet_local.preferences.user_settings import UserModelSettings
from amulet_local.steering.methods import method_named
from amulet_local.steering.presets import DEFAULT_PRESET, choose_strength

DEFAULT = "default"
MODELS_OWN = "the settings file"
"""Where `tune` keeps a model's strength."""

_SCALED = ("guidance_scale", "kl_target", "kl_budget")
"""What a profile's factor changes."""

Settings = dict[str, dict[str, Any]]
"""Of each setting its `value`, and what that is `from`."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked for, and by what.

    Attributes:
        sources: what each setting was given by, if it isn't a default: "flag", "request", ...
        params: the options that count, each with all its values.
        amulet, preset: the strength, as `Engine.generate` has it.
        changes: the strength and the guards that were asked for one by one; `amulet` has them.
        strength_from: what the strength comes from, less the changes; None for the default.
        placement: where preferences go; None where there is no template that they go into.
        own: what the user keeps for the model.
        others: values of other settings.
    """

    sources: Mapping[str, str]
    params: Sequence[StrictParams]
    amulet: AmuletParams | None
    preset: str | None
    changes: Mapping[str, Any]
    strength_from: str | None
    placement: Placement | None
    own: UserModelSettings
    others: Mapping[str, Any] = field(default_factory=dict)


def settings_used(
    asked: Asked, *, method: str, preferences: Sequence[str], seed: int | None = None
) -> Settings:
    """Each setting's value, and where it came from.

    Args:
        method: the name of the method.
        preferences: what is followed.
        seed: the one that was drawn with, if one was.
    """
    sources = asked.sources
    used = {name: entry(value, sources.get(name, DEFAULT)) for name, value in asked.others.items()}
    named = sources.get("method") or sources.get("methods", DEFAULT)
    used["method"] = entry(method, named)
    if preferences:
        strength = choose_strength(method, asked.amulet, asked.preset, own=asked.own).amulet
        used["preference"] = entry(list(preferences), _preference_from(sources))
        preset = _preset_of(asked)
        if preset and strength is not None:
            chosen = sources.get("preset") or (DEFAULT if asked.strength_from is None else named)
            used["preset"] = entry(preset, chosen)
        if asked.placement is not None:
            origin = sources.get("placement", f"preset {preset or DEFAULT_PRESET}")
            used["placement"] = entry(asked.placement, origin)
        used |= _strength(asked, method, strength)
    for params in asked.params:
        for name, value in params.model_dump(mode="json", by_alias=True, warnings=False).items():
            used[name] = entry(value, sources.get(name, DEFAULT))
    if seed is not None:  # greedy answers have none
        used["seed"] = entry(seed, sources.get("seed", DEFAULT))
    return used


def entry(value: Any, source: str) -> dict[str, Any]:
    """A setting as it is said."""
    return {"value": value, "from": source}


def _strength(asked: Asked, method: str, strength: AmuletParams | None) -> Settings:
    """Strength and guards; `strength` is what the method was given, None where it has its own."""
    applied = method_named(method).settings(strength)
    hyper_parameters_count = applied.fixed_scale is None
    used = {}
    for name in AmuletParams.options:
        if name in HYPER_PARAMETERS and not hyper_parameters_count:
            continue
        value = getattr(applied, name)
        if strength is None or value != getattr(strength, name):
            source = f"method {method}"
        elif name == "guidance_scale" and value == strength.max_guidance:
            source = _source_of("max_guidance", asked, strength)
        else:
            source = _source_of(name, asked, strength)
        used[name] = entry(value, source)
    return used


def _source_of(name: str, asked: Asked, strength: AmuletParams) -> str:
    """Where a field of the strength has its value from, also where another setting gave it that."""
    given = {key: asked.sources[key] for key in asked.changes}
    own = asked.own.strength if asked.strength_from is None else {}
    for values, sources in (
        (asked.changes, given),
        (own, dict.fromkeys(own, MODELS_OWN)),
    ):
        if name in values and getattr(strength, name) == values[name]:
            return sources[name]
        scales = [key for key in SETS_SCALE if values.get(key) is not None]
        if scales and name in ("guidance_scale", "kl_target"):
            return sources[scales[0]]
        if scales and name in HYPER_PARAMETERS:
            return DEFAULT
        if not scales and values.get("kl_budget") is not None:
            if name == "kl_target":
                return sources["kl_budget"]
            if name in SETS_SCALE:
                return DEFAULT
    start = asked.strength_from or ""
    if start.startswith("profile") and name not in _SCALED:
        start = ""
    return start or f"preset {DEFAULT_PRESET}"


def _preset_of(asked: Asked) -> str:
    """The preset that the strength starts from; none for a method with its own."""
    if asked.strength_from is None:
        return DEFAULT_PRESET
    kind, _, name = asked.strength_from.partition(" ")
    return name if kind == "preset" else ""


def _preference_from(sources: Mapping[str, str]) -> str:
    """What gave the preferences: what was asked for, or else the profile."""
    found = {sources[name] for name in ("preference", "avoid") if name in sources}
    return " and ".join(sorted(found)) or "profile"

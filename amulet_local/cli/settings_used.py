"""Every setting that an answer was made with, and where it came from.

Knows where settings can come from, and no particular one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from amulet_local.params.amulet import HYPER_PARAMETERS, SETS_SCALE, AmuletParams

if TYPE_CHECKING:
    from amulet_local.cli.question import Question
    from amulet_local.common.results import Generation
    from amulet_local.engine import Engine

DEFAULT = "default"
MODELS_OWN = "the settings file"
"""Where `tune` keeps a model's strength."""

_SCALED = ("guidance_scale", "kl_target", "kl_budget")
"""What a profile's factor changes."""


def settings_used(
    question: Question, generation: Generation, engine: Engine, asked: AmuletParams | None
) -> dict[str, dict[str, Any]]:
    """Each setting's value, and where it came from.

    Args:
        question: what was asked.
        generation: what was answered.
        engine: with which model.
        asked: the strength and guards that the method was given; None where it has its own.
    """
    used = settings_asked(
        question,
        method=generation.method,
        asked=asked,
        own=engine.own_settings.strength,
        preferences=generation.preferences,
    )
    found: dict[str, Any] = {
        "n_ctx": engine.n_ctx,
        "schedule": engine.plan.schedule,
        "n_threads": engine.plan.n_threads,
        "n_threads_batch": engine.plan.n_threads_batch,
    }
    if generation.seed is not None:  # greedy answers have none
        found["seed"] = generation.seed
    for name, value in found.items():
        used[name] = _entry(value, used[name]["from"])
    return used


def settings_asked(
    question: Question,
    *,
    method: str,
    asked: AmuletParams | None,
    own: Mapping[str, Any],
    preferences: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """The same as far as it is known without an answer.

    Args:
        question: what is asked.
        method: the name of the method.
        asked: as for `settings_used`.
        own: what the settings file has of the model's strength.
        preferences: what is followed.
    """
    from amulet_local.preferences.preference import DEFAULT_SYSTEM_TEXT

    sources = question.sources
    system = DEFAULT_SYSTEM_TEXT if question.system is None else question.system
    named = sources.get("method") or sources.get("methods", DEFAULT)
    used = {
        "model": _entry(question.model, sources.get("model", DEFAULT)),
        "method": _entry(method, named),
        "system": _entry(system, sources.get("system", DEFAULT)),
    }
    if preferences:
        used["preference"] = _entry(list(preferences), _preference_from(sources))
        preset = _preset_of(question)
        if preset and asked is not None:
            chosen = sources.get("preset") or (DEFAULT if question.strength_from is None else named)
            used["preset"] = _entry(preset, chosen)
        used["placement"] = _entry(
            question.placement or _placement(preset),
            sources.get("placement", f"preset {preset or _default_preset()}"),
        )
        used |= _strength(question, method, asked, own if question.strength_from is None else {})
    for params in (question.sampling, question.runtime):
        for name, value in params.model_dump(mode="json", by_alias=True, warnings=False).items():
            used[name] = _entry(value, sources.get(name, DEFAULT))
    return used


def _strength(
    question: Question, method: str, asked: AmuletParams | None, own: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    from amulet_local.steering.methods import method_named

    applied = method_named(method).settings(asked)
    hyper_parameters_count = applied.fixed_scale is None
    used = {}
    for name in AmuletParams.options:
        if name in HYPER_PARAMETERS and not hyper_parameters_count:
            continue
        value = getattr(applied, name)
        if asked is None or value != getattr(asked, name):
            source = f"method {method}"
        elif name == "guidance_scale" and value == asked.max_guidance:
            source = _source_of("max_guidance", question, asked, own)
        else:
            source = _source_of(name, question, asked, own)
        used[name] = _entry(value, source)
    return used


def _source_of(name: str, question: Question, asked: AmuletParams, own: Mapping[str, Any]) -> str:
    """Where a field of the strength has its value from, also where another setting gave it that."""
    given = {key: question.sources.get(key, "flag") for key in question.changes}
    for values, sources in (
        (question.changes, given),
        (own, dict.fromkeys(own, MODELS_OWN)),
    ):
        if name in values and getattr(asked, name) == values[name]:
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
    start = question.strength_from or ""
    if start.startswith("profile") and name not in _SCALED:
        start = ""
    return start or f"preset {_default_preset()}"


def _preset_of(question: Question) -> str:
    """The preset that the strength starts from; none for a method with its own."""
    if question.strength_from is None:
        return _default_preset()
    kind, _, name = question.strength_from.partition(" ")
    return name if kind == "preset" else ""


def _preference_from(sources: Mapping[str, str]) -> str:
    """What the preferences come from: flags, the environment, or else the profile."""
    names = ("preference", "avoid")
    found = {sources[name] for name in names if name in sources}
    return " and ".join(sorted(found)) or "profile"


def _entry(value: Any, source: str) -> dict[str, Any]:
    return {"value": value, "from": source}


def _default_preset() -> str:
    from amulet_local.steering.presets import DEFAULT_PRESET

    return DEFAULT_PRESET


def _placement(preset: str) -> str:
    from amulet_local.steering.presets import placement_of

    return placement_of(preset or None)

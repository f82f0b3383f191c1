"""Every setting that an answer was made with, and where it came from.

Knows where settings can come from, and no particular one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from amulet_local.params.amulet import HYPER_PARAMETERS, AmuletParams

if TYPE_CHECKING:
    from amulet_local.cli.question import Question
    from amulet_local.common.results import Generation
    from amulet_local.engine import Engine

DEFAULT = "default"
MODELS_OWN = "the settings file"
"""Where `tune` keeps a model's strength."""


def settings_used(
    question: Question, generation: Generation, engine: Engine, amulet: AmuletParams | None
) -> dict[str, dict[str, Any]]:
    """Each setting's value, and where it came from.

    Args:
        question: what was asked.
        generation: what was answered.
        engine: with which model.
        amulet: the strength and guards; None where there was nothing to steer by.
    """
    from amulet_local.preferences.preference import DEFAULT_SYSTEM_TEXT

    sampling = question.sampling.model_dump(mode="json", by_alias=True, warnings=False)
    runtime = question.runtime.model_dump(mode="json", by_alias=True, warnings=False)
    runtime |= {
        "n_ctx": engine.n_ctx,
        "schedule": engine.plan.schedule,
        "n_threads": engine.plan.n_threads,
        "n_threads_batch": engine.plan.n_threads_batch,
    }
    if generation.seed is not None:  # greedy answers have none
        sampling["seed"] = generation.seed
    system = DEFAULT_SYSTEM_TEXT if question.system is None else question.system
    used = {
        name: _entry(value, question.sources.get(name, DEFAULT))
        for name, value in (
            ("model", question.model),
            ("method", generation.method),
            ("system", system),
        )
    }
    if amulet is not None:
        used["preference"] = _entry(list(generation.preferences), _preference_from(question))
        if preset := _preset_of(question, generation):
            used["preset"] = _entry(preset, question.sources.get("preset", DEFAULT))
        used["placement"] = _entry(
            question.placement or _placement(generation.preset),
            question.sources.get("placement", f"preset {_preset(generation.preset)}"),
        )
        used |= _strength(question, generation.method, amulet, engine.own_settings.strength)
    for values in (sampling, runtime):
        for name, value in values.items():
            used[name] = _entry(value, question.sources.get(name, DEFAULT))
    return used


def _strength(
    question: Question, method: str, amulet: AmuletParams, own: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    from amulet_local.steering.methods import method_named

    hyper_parameters_count = "guidance_scale" not in amulet.model_dump(
        exclude_unset=True, by_alias=True, exclude_none=True
    )
    rest = question.strength_from or f"preset {_preset('')}"
    if not method_named(method).takes_preset:
        rest, own = f"method {method}", {}
    elif question.strength_from is not None:
        own = {}
    used = {}
    for name in AmuletParams.options:
        if name in HYPER_PARAMETERS and not hyper_parameters_count:
            continue
        value = getattr(amulet, name)
        source = rest
        if name in (*HYPER_PARAMETERS, "guidance_scale") and hyper_parameters_count:
            source = DEFAULT
        if name in own and value == own[name]:
            source = MODELS_OWN
        if name in question.changes and value == question.changes[name]:
            source = question.sources.get(name, "flag")
        used[name] = _entry(value, source)
    return used


def _preset_of(question: Question, generation: Generation) -> str:
    """The preset that the strength starts from; none for a method or profile with its own."""
    from amulet_local.steering.methods import method_named

    if not method_named(generation.method).takes_preset:
        return ""
    if question.strength_from is None:
        return _preset(generation.preset)
    kind, _, name = question.strength_from.partition(" ")
    return name if kind == "preset" else ""


def _preference_from(question: Question) -> str:
    """What the preferences come from: flags, the environment, or else the profile."""
    names = ("preference", "avoid")
    found = {question.sources[name] for name in names if name in question.sources}
    return " and ".join(sorted(found)) or "profile"


def _entry(value: Any, source: str) -> dict[str, Any]:
    return {"value": value, "from": source}


def _preset(name: str) -> str:
    from amulet_local.steering.presets import DEFAULT_PRESET

    return name or DEFAULT_PRESET


def _placement(preset: str) -> str:
    from amulet_local.steering.presets import placement_of

    return placement_of(preset or None)

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
    sampling["seed"] = generation.seed
    system = DEFAULT_SYSTEM_TEXT if question.system is None else question.system
    used = {"system": _entry(system, question.sources.get("system", DEFAULT))}
    if amulet is not None:
        used["placement"] = _entry(
            question.placement or _placement(generation.preset),
            question.sources.get("placement", f"preset {_preset(generation.preset)}"),
        )
        used |= _strength(question, amulet, engine.own_settings.strength)
    for values in (sampling, runtime):
        for name, value in values.items():
            used[name] = _entry(value, question.sources.get(name, DEFAULT))
    return used


def _strength(
    question: Question, amulet: AmuletParams, own: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    hyper_parameters_count = "guidance_scale" not in amulet.model_dump(
        exclude_unset=True, by_alias=True, exclude_none=True
    )
    own = own if question.strength_from is None else {}
    rest = question.strength_from or f"preset {_preset('')}"
    used = {}
    for name in AmuletParams.options:
        if name in HYPER_PARAMETERS and not hyper_parameters_count:
            continue
        source = MODELS_OWN if name in own else rest
        if name in (*HYPER_PARAMETERS, "guidance_scale") and hyper_parameters_count:
            source = DEFAULT
        if name in question.changes:
            source = question.sources.get(name, "flag")
        used[name] = _entry(getattr(amulet, name), source)
    return used


def _entry(value: Any, source: str) -> dict[str, Any]:
    return {"value": value, "from": source}


def _preset(name: str) -> str:
    from amulet_local.steering.presets import DEFAULT_PRESET

    return name or DEFAULT_PRESET


def _placement(preset: str) -> str:
    from amulet_local.steering.presets import placement_of

    return placement_of(preset or None)

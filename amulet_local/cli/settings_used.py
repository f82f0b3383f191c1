"""Every setting of a question at the command line, and where it came from.

Knows nothing about how that is told: see answering/settings_used.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amulet_local.answering.settings_used import Asked, Settings
    from amulet_local.cli.question import Question
    from amulet_local.common.results import Generation
    from amulet_local.engine import Engine
    from amulet_local.preferences.user_settings import UserModelSettings


def settings_of_answer(question: Question, generation: Generation, engine: Engine) -> Settings:
    """Each setting's value, and where it came from.

    Args:
        question: what was asked.
        generation: what was answered.
        engine: with which model.
    """
    from amulet_local.answering.settings_used import entry, settings_used

    used = settings_used(
        _asked(question, engine.own_settings),
        method=generation.method,
        preferences=generation.preferences,
        seed=generation.seed,
    )
    found = {
        "n_ctx": engine.n_ctx,
        "schedule": engine.plan.schedule,
        "n_threads": engine.plan.n_threads,
        "n_threads_batch": engine.plan.n_threads_batch,
    }
    return used | {name: entry(value, used[name]["from"]) for name, value in found.items()}


def settings_of_question(
    question: Question, *, method: str, own: UserModelSettings, preferences: Sequence[str]
) -> Settings:
    """The same as far as it is known without an answer.

    Args:
        question: what is asked.
        method: the name of the method.
        own: what the user keeps for the model.
        preferences: what is followed.
    """
    from amulet_local.answering.settings_used import settings_used

    return settings_used(_asked(question, own), method=method, preferences=preferences)


def _asked(question: Question, own: UserModelSettings) -> Asked:
    from amulet_local.answering.settings_used import Asked
    from amulet_local.preferences.preference import DEFAULT_SYSTEM_TEXT
    from amulet_local.steering.presets import placement_of

    kind, _, name = (question.strength_from or "").partition(" ")
    system = DEFAULT_SYSTEM_TEXT if question.system is None else question.system
    return Asked(
        sources={**dict.fromkeys(question.changes, "flag"), **question.sources},
        params=(question.sampling, question.runtime),
        amulet=question.amulet,
        preset=question.preset,
        changes=question.changes,
        strength_from=question.strength_from,
        placement=question.placement or placement_of(name if kind == "preset" else None),
        own=own,
        others={"model": question.model, "system": system},
    )

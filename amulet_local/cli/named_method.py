"""What --method and --methods name: a method, a preset, or a method with its strength, as in eval.

What a plain method's name leaves open is what was asked for otherwise. Knows nothing about how
answers are made.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from amulet_local.cli.options import AskingOptions
from amulet_local.cli.question import Question
from amulet_local.cli.terminal import note
from amulet_local.common.errors import InvalidParameterError
from amulet_local.params.amulet import HYPER_PARAMETERS, AmuletParams
from amulet_local.params.choices import as_known


@dataclass(frozen=True, kw_only=True)
class NamedMethod:
    """A method and the question at its strength; a preset is the method amulet at that strength.

    Attributes:
        name: as it was asked for.
        method: a name from METHODS.
        question: what is asked, at the strength that the name says.
    """

    name: str
    method: str
    question: Question


def named_method(name: str, question: Question) -> NamedMethod:
    """What a name stands for, with what was asked for one by one changed in it.

    Raises:
        UnknownMethodError: it is neither a method's nor a preset's.
        InvalidParameterError: it has an unknown key or a value out of range, it limits the method
            to some preferences, or it sets what a flag sets as well.
    """
    from amulet_local.evaluation.experiment.contestants import contestant
    from amulet_local.steering.methods import METHODS
    from amulet_local.steering.presets import PRESETS

    name = as_known(name, METHODS)
    if name in METHODS:
        return NamedMethod(name=name, method=name, question=question)
    chosen = contestant(name)
    method = chosen.method.name
    if chosen.only:
        raise InvalidParameterError(
            f"the method {name!r:.60}: @ is for eval; what is asked here has its preferences from "
            f"--preference"
        )
    for field in _set_twice(chosen.set_fields, question.changes.keys()):
        raise InvalidParameterError(
            f"the method {name!r:.60} and {AmuletParams.options[field].flag} set the same; leave "
            f"one out"
        )
    name = chosen.name
    preset = name.removeprefix(f"{method}:")
    if preset in PRESETS:
        at_strength = question.at_preset(preset)
    else:
        at_strength = question.at_strength(chosen.amulet, name)
    return NamedMethod(name=name, method=method, question=at_strength)


def _set_twice(named: Set[str], given: Set[str]) -> list[str]:
    """The given fields that the named ones set as well; hyper-parameters set the scale."""
    twice = set(named & given)
    if "guidance_scale" in named:
        twice |= given & set(HYPER_PARAMETERS)
    if not named.isdisjoint(HYPER_PARAMETERS):
        twice |= given & {"guidance_scale"}
    return sorted(twice)


def with_method(
    options: AskingOptions, name: str | None, question: Question
) -> tuple[str | None, Question]:
    """What --method asks for: a name from METHODS, None without one, and the question.

    Args:
        options: what was asked for.
        name: what --method was given.
        question: what `options` ask.

    Raises:
        As `named_method`; also InvalidParameterError where --preset sets the strength as well.
    """
    from amulet_local.steering.methods import METHODS

    if name is None:
        return None, question
    named = named_method(name, question)
    if named.name not in METHODS and options.preset is not None:
        raise InvalidParameterError(
            f"--method {name!r:.60} and --preset both set the strength; leave one out"
        )
    return named.method, named.question


def warn_of_no_preference(method: str | None, question: Question) -> None:
    """Say so where there are preferences, and the method follows none."""
    from amulet_local.steering.methods import method_named

    if method is None or not question.preferences or method_named(method).needs_preference:
        return
    note(
        f"warning: the method {method!r} follows no preference: --preference and --avoid change "
        f"nothing"
    )

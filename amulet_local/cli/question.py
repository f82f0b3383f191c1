"""What is asked of which model, out of the options: checked as far as it can be without a model.

Knows nothing about how answers are made.
"""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amulet_local.cli.derived_options import Given
from amulet_local.cli.given_options import read
from amulet_local.cli.inputs import (
    check_text,
    chosen_model,
    placement_named,
    read_preference,
    read_question,
)
from amulet_local.cli.meant import unquoted
from amulet_local.cli.model_options import RunOptions
from amulet_local.cli.options import AskingOptions, QuestionOptions
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.runtime import RuntimeParams
from amulet_local.params.sampling import SamplingParams

AS_MANY_AS_FIT = 2**31 - 1
"""Tokens of an answer that no context holds."""

SHORT = 1000
"""Characters of prompts that are read without repacked weights sooner than these are repacked."""

X86 = ("x86_64", "amd64", "i386", "i686")
"""Processors that compute one token as fast without repacked weights."""

if TYPE_CHECKING:
    from amulet_local.params.choices import Placement
    from amulet_local.preferences.preference import Preference
    from amulet_local.profile.contents import Contents


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of which model, checked as far as it can be without one.

    Attributes:
        amulet, preset, placement: the strength that was asked for, and where the preference goes.
        changes: the strength and the guards that were asked for one by one; `amulet` has them.
        asked_placement: the placement, if it was asked for itself.
        strength_from: what the strength comes from, less the changes; None for the default.
        sources: where each option came from, if it isn't a default: "flag" or "environment".
        remembered: what the profile holds, where something of it matters for the question.
    """

    model: str
    text: str
    preferences: tuple[Preference, ...]
    system: str | None
    placement: Placement | None
    asked_placement: Placement | None
    amulet: AmuletParams | None
    preset: str | None
    changes: Mapping[str, Any]
    sampling: SamplingParams
    runtime: RuntimeParams
    prompt_cache: str | None
    response_prefix: str
    strength_from: str | None
    sources: Mapping[str, str]
    remembered: Contents | None = None

    def with_memory_that_fits(self, count: Callable[[str], int]) -> Question:
        """The same with as much of what is remembered as there is room for.

        Args:
            count: how many tokens a text has.

        Raises:
            ProfileError: this Python's SQLite has no FTS5.
        """
        if self.remembered is None:
            return self
        from amulet_local.profile.recall import with_memory

        wanted = with_memory(self.preferences, self.remembered, self.text, count)
        return dataclasses.replace(self, preferences=wanted)

    def at_strength(self, amulet: AmuletParams, name: str) -> Question:
        """The same at this strength, with what was asked for one by one changed in it.

        Args:
            name: what asks for it.
        """
        return dataclasses.replace(
            self,
            amulet=amulet.replace(**self.changes),
            preset=None,
            strength_from=f"method {name}",
        )

    def at_preset(self, name: str) -> Question:
        """The same at a preset, with what was asked for one by one changed in it.

        Raises:
            InvalidParameterError: there is no such preset, or they don't go together.
        """
        from amulet_local.steering.presets import adjusted_strength, preset_named

        preset = preset_named(name)
        amulet = adjusted_strength(name, self.changes) if self.changes else None
        return dataclasses.replace(
            self,
            amulet=amulet,
            preset=None if amulet else preset.name,
            placement=self.asked_placement or preset.placement,
            strength_from=f"preset {preset.name}",
        )


def read_options(options: QuestionOptions) -> Question:
    """Check the options and read the files that they name.

    Raises:
        AmuletError: a value, a name or a file can't be used.
    """
    check_text("--response-prefix", options.response_prefix)
    if options.prompt_cache is not None:
        from amulet_local.loading.prompt_cache import path_of

        path_of(options.prompt_cache)  # before the model is loaded
    question = read_settings(options)
    if options.raw:
        question = _as_a_text(question)
    question = dataclasses.replace(
        question,
        text=read_question(options, with_pipe=True),
        prompt_cache=options.prompt_cache,
        response_prefix=options.response_prefix or "",
    )
    if options.runtime.get("repack") is None and not _repays_repacking(question):
        question = dataclasses.replace(question, runtime=question.runtime.replace(repack=False))
    return _with_memory(options, question)


def _repays_repacking(question: Question) -> bool:
    """Whether several tokens at once are computed so often that loading may take longer for it.

    Measured in docs/decisions.md.
    """
    texts = (question.text, question.system or "", *(one.text for one in question.preferences))
    is_short = sum(map(len, texts)) < SHORT and question.prompt_cache is None
    one_by_one = is_short and question.runtime.draft == "off"
    return not one_by_one or platform.machine().lower() not in X86


def _with_memory(options: QuestionOptions, question: Question) -> Question:
    """The same with what the profile remembers for the question, where that is followed.

    Tokens can't be counted yet: how much of it there is room for is seen once the model is loaded.

    Raises:
        ProfileError: the profile can't be used.
    """
    if options.profile is None or options.preference or options.avoid or options.preference_file:
        return question
    from amulet_local.profile.profile import Profile
    from amulet_local.profile.recall import NAME

    remembered = dataclasses.replace(question, remembered=Profile(options.profile).contents())
    found = remembered.with_memory_that_fits(lambda text: 0)
    return found if any(item.name == NAME for item in found.preferences) else question


def _as_a_text(question: Question) -> Question:
    """The same without a form; what is asked for itself holds."""
    return dataclasses.replace(
        question,
        system="" if question.system is None else question.system,
        placement=question.asked_placement or "system",
        asked_placement=question.asked_placement or "system",
        runtime=question.runtime.replace(chat_template="raw"),
        sources={
            **dict.fromkeys(("system", "placement", "chat_template"), question.sources["raw"]),
            **question.sources,
        },
    )


def read_settings(options: AskingOptions) -> Question:
    """The same without a question: its text is empty.

    Raises:
        AmuletError: a value, a name or a file can't be used.
    """
    from amulet_local.loading.model_store import find_model, names_of
    from amulet_local.preferences.preference import Preference, PreferenceLike, resolve
    from amulet_local.preferences.user_settings import settings_of_model
    from amulet_local.steering.presets import (
        DEFAULT_PRESET,
        PRESETS,
        adjusted_strength,
        preset_named,
    )

    check_text("--system", options.system)
    for text in options.preference or ():
        check_text("--preference", text)
    for text in options.avoid or ():
        check_text("--avoid", text)
    preferences: list[PreferenceLike] = [unquoted(text) for text in options.preference or ()]
    if options.preference_file is not None:
        text = read_preference(options.preference_file)
        preferences.append(Preference(text=text, name=options.preference_file))
    asked_placement = placement_named(options.placement)
    model = chosen_model(options.model)
    preset = None if options.preset is None else preset_named(options.preset)
    placement = asked_placement
    amulet = None
    changes = read(AmuletParams.options, options.strength)
    learned = _learned(options, model, sets_strength=bool(changes) or preset is not None)
    avoid = [unquoted(text) for text in options.avoid or ()]
    wanted = resolve(preferences or None, avoid=avoid or None) or learned.preferences
    if learned.amulet is not None and not (preferences or options.avoid):
        amulet = learned.amulet
    if changes:
        start = preset or PRESETS[DEFAULT_PRESET]
        placement = placement or start.placement
        own = settings_of_model(names_of(model, find_model(model)))
        amulet = adjusted_strength(
            None if preset is None else preset.name,
            changes,
            own=own,
        )
    return Question(
        model=model,
        amulet=amulet,
        preset=None if amulet is not None or preset is None else preset.name,
        sampling=SamplingParams(**_sampling(options.sampling)),
        runtime=runtime_params(options),
        preferences=wanted,
        system=options.system,
        placement=placement,
        asked_placement=asked_placement,
        changes=changes,
        text="",
        prompt_cache=None,
        response_prefix="",
        strength_from=_strength_from(options, amulet, preset, changes),
        sources=options.sources,
    )


@dataclass(frozen=True, kw_only=True)
class _FromProfile:
    """What a profile says that answers are to follow, and how strongly; None for as usual."""

    preferences: tuple[Preference, ...] = ()
    amulet: AmuletParams | None = None


def _learned(options: AskingOptions, model: str, *, sets_strength: bool) -> _FromProfile:
    """Of the profile that was asked for.

    Raises:
        AmuletError: it can't be used.
    """
    if options.profile is None:
        return _FromProfile()
    from amulet_local.loading.model_store import find_model, names_of
    from amulet_local.preferences.user_settings import settings_of_model
    from amulet_local.profile.profile import Profile
    from amulet_local.profile.strength import scaled
    from amulet_local.steering.presets import adjusted_strength

    taste = Profile(options.profile).taste()
    path = find_model(model)
    factor = taste.factor(path.name)
    amulet = None
    if factor != 1 and not sets_strength:
        own = settings_of_model(names_of(model, path))
        amulet = scaled(adjusted_strength(None, {}, own=own), factor)
    return _FromProfile(preferences=taste.mix, amulet=amulet)


def _strength_from(
    options: AskingOptions, amulet: AmuletParams | None, preset: Any, changes: Mapping[str, Any]
) -> str | None:
    if preset is not None:
        return f"preset {preset.name}"
    return f"profile {options.profile}" if amulet is not None and not changes else None


def runtime_params(options: RunOptions, **others: Any) -> RuntimeParams:
    """How the model is loaded and run.

    Args:
        **others: defaults that aren't RuntimeParams' own.

    Raises:
        AmuletError: a value or a file can't be used.
    """
    from amulet_local.prompts.builtin_templates import builtin_template

    runtime = RuntimeParams(**{**others, **read(RuntimeParams.options, options.runtime)})
    if runtime.chat_template is not None and "{" not in runtime.chat_template:
        builtin_template(runtime.chat_template)
    return runtime


def _sampling(given: Given) -> dict[str, Any]:
    """Fields of SamplingParams; a length of -1 or -2 is as many tokens as fit, as in llama.cpp."""
    found = read(SamplingParams.options, given)
    if found.get("max_tokens") in (-1, -2):
        found["max_tokens"] = AS_MANY_AS_FIT
    return found

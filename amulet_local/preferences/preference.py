"""Preferences: what a user wants of an answer, as words that go into a prompt.

Knows nothing about models or chat templates; chat_template.py places the words.
"""

from __future__ import annotations

import numbers
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias

from amulet_local.common.errors import InvalidParameterError, UnknownPreferenceError
from amulet_local.common.named_arguments import named_arguments
from amulet_local.preferences.form import Form, form_of, is_form_alone
from amulet_local.preferences.names import (
    BUILT_IN_PREFERENCES,
    MAX_WEIGHT,
    is_name,
    joined,
    weighted,
    weighted_label,
    word_problem,
)
from amulet_local.preferences.user_settings import UserSettings, read_settings
from amulet_local.preferences.wished_language import named_languages
from amulet_local.preferences.wording import (
    as_instruction,
    from_template,
    language_alone,
    template_problem,
)

__all__ = [
    "BUILT_IN_PREFERENCES",
    "DEFAULT_SYSTEM_TEXT",
    "MAX_WEIGHT",
    "Preference",
    "PreferenceLike",
    "PreferencesLike",
    "resolve",
]

DEFAULT_SYSTEM_TEXT = (
    "You are a helpful assistant on the user's own computer. Answer questions clearly and "
    "correctly, in plain language, with practical details where they help. Be polite and patient, "
    "stay on the subject, and say so when you are not sure."
)
"""System text of a conversation that brings none."""

_WITH_WEIGHT = 'a weight stands after a colon, as in ["formal:0.7", "concise:0.3"]'


@named_arguments(
    "Preference(text='in rhyme', weight=0.5); a name stands as it is, preference='concise', and "
    "with a weight preference=['formal:0.7', 'concise']"
)
@dataclass(frozen=True, kw_only=True)
class Preference:
    """What the user wants of an answer.

    Attributes:
        text: the words, e.g. "like a patient teacher, with an example".
        weight: its share in a mix; negative means "less of this".
        name: what to call it in reports; the text if empty.
        prompt: the sentence for the prompt as it is to be, in which {text} stands for the text; if
            empty, the text is worded ("Answer ...").

    Raises:
        InvalidParameterError: the text is empty, the weight is not a finite number, or the prompt
            has an unknown field.
        TypeError: an argument without its name, or of another one.
    """

    text: str
    weight: float = 1.0
    name: str = ""
    prompt: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip():
            raise InvalidParameterError(
                f"the text of a preference must be a text, and not empty, got {self.text!r:.40}"
            )
        if (
            isinstance(self.weight, bool)
            or not isinstance(self.weight, numbers.Real)
            or not abs(self.weight) <= MAX_WEIGHT
        ):
            raise InvalidParameterError(
                f"the weight of a preference must be a number from -{MAX_WEIGHT} to {MAX_WEIGHT}, "
                f"got {self.weight!r:.40}"
            )
        object.__setattr__(self, "weight", float(self.weight))
        problem = template_problem(self.prompt, has_text=True)
        if problem is not None:
            raise InvalidParameterError(f"the prompt of a preference: {problem}")

    @property
    def label(self) -> str:
        """What reports call it: the name or the text, and the weight unless it is 1."""
        return weighted_label(self.name or self.text, self.weight)

    @property
    def instruction(self) -> str:
        """The sentence that goes into the prompt."""
        if self.prompt:
            return from_template(self.prompt, self.text)
        return as_instruction(self.text)


MOST_PREFERENCES = 256
"""At once: each has a prompt of its own, which is made before anybody asks how many rows fit."""

PreferenceLike: TypeAlias = str | Preference
"""A name or free text, either with a weight such as ":0.5" at its end, or a Preference."""

PreferencesLike: TypeAlias = PreferenceLike | Sequence[PreferenceLike] | None
"""One, several, or none."""


def resolve(
    preference: PreferencesLike = None, *, avoid: PreferencesLike = None
) -> tuple[Preference, ...]:
    """The preferences that a caller means, none for None.

    A single word of Latin letters, digits, '-' and '_' is a name, if there is one: built in, or of
    the user's settings file, which is only read for the latter; a mix stands for its parts.
    Anything else is free text, a word that names nothing too. Both may end in a weight,
    "concise:0.7" or "in rhyme:-0.5", as names.py has it; the text of a Preference is taken as it
    stands.

    Args:
        preference: what the answer should be like.
        avoid: what it should not be like: the same, with every weight negated.

    Raises:
        UnknownPreferenceError: a name that is neither built in nor the user's, and is no word or
            a slip of the fingers away from one that is.
        InvalidParameterError: an empty text or list, a wrong type or weight, or weights that leave
            nothing to follow.
        SettingsError, FileAccessError: the user's settings file is needed and can't be used.
    """
    with _about("preference"):
        preferences = _resolved("preference", preference)
    with _about("avoid"):
        preferences += [replace(item, weight=-item.weight) for item in _resolved("avoid", avoid)]
    if preferences:
        with _about("preference"):
            _check_weights(preferences)
    return tuple(preferences)


@contextmanager
def _about(argument: str) -> Iterator[None]:
    """Say in an error which argument it is about."""
    try:
        yield
    except InvalidParameterError as error:
        error.parameter = argument
        raise


SHARE_OF_A_FORM = 0.5
"""Of the largest weight in a mix: what weighs less doesn't say what form the answer has."""


def wished_form(preferences: Sequence[Preference]) -> Form:
    """The form that an answer with these preferences has, as far as it can be counted.

    What is to be avoided says what the answer is without. The form has a language where that is
    all that is wished. With a language a list begins where the model begins it: the first words
    decide the language, and there are none before "1.".
    """
    largest = max((abs(item.weight) for item in preferences), default=0.0)
    form = Form()
    for item in preferences:
        if abs(item.weight) < SHARE_OF_A_FORM * largest:
            continue
        if item.weight > 0:
            form = form.with_also(form_of(item.text))
        elif item.weight < 0:
            form = form.with_also(form_of(f"without {item.text}").without_alone())
    if any(item.weight > 0 and named_languages(item.text) - {"english"} for item in preferences):
        form = replace(form, first_mark="")
    wishes = {"" if item.weight < 0 else language_alone(item.text) for item in preferences}
    return replace(
        form,
        language=wishes.pop() if len(wishes) == 1 else "",
        is_all=bool(form)
        and all(item.weight > 0 and is_form_alone(item.text) for item in preferences),
    )


def _resolved(argument: str, given: PreferencesLike) -> list[Preference]:
    if given is None:
        return []
    if isinstance(given, str | Preference):
        given = [given]
    if not isinstance(given, Sequence):
        raise InvalidParameterError(
            f"{argument} must be a name, a text, a Preference or a list of them, got "
            f"{type(given).__name__}; {_WITH_WEIGHT}"
        )
    preferences: list[Preference] = []
    for item in given:
        preferences += _parts(item)
        if len(preferences) > MOST_PREFERENCES:
            raise InvalidParameterError(f"{argument}: at most {MOST_PREFERENCES} are allowed")
    if not preferences:
        raise InvalidParameterError("the list of preferences is empty; leave it out for none")
    return preferences


def _parts(item: PreferenceLike) -> list[Preference]:
    """One preference, or those of a mix."""
    if isinstance(item, Preference):
        return [item]
    if not isinstance(item, str):
        raise InvalidParameterError(
            f"a preference must be a name, a text or a Preference, got {type(item).__name__}; "
            f"{_WITH_WEIGHT}"
        )
    called = item.strip().rstrip("!")
    if called != item and is_name(called) and _is_known(called):
        item = called
    names = joined(item)
    if names and all(_is_known(weighted(name).text) for name in names):
        return [part for name in names for part in _parts(name)]
    wanted = weighted(item)
    if not wanted.is_name:
        return [Preference(text=wanted.text, weight=wanted.weight)]
    built_in = _built_in(wanted.text, wanted.weight)
    if built_in is not None:
        return [built_in]
    settings = read_settings()
    own = settings.own_name(wanted.text)
    if own is None:
        problem = word_problem(wanted.text, (*BUILT_IN_PREFERENCES, *settings.names))
        if problem is not None:
            raise UnknownPreferenceError(problem)
        return [Preference(text=wanted.text, weight=wanted.weight)]
    if own in settings.preferences:
        return [_own(own, wanted.weight, settings)]
    return [_member(part, wanted.weight, settings) for part in settings.mixes[own]]


def _is_known(name: str) -> bool:
    return _built_in(name, 1.0) is not None or read_settings().own_name(name) is not None


def _member(text: str, factor: float, settings: UserSettings) -> Preference:
    """A part of a mix; the settings are known to be sound."""
    part = weighted(text)
    weight = part.weight * factor
    if not part.is_name:
        return Preference(text=part.text, weight=weight)
    own = settings.own_name(part.text)
    if own is not None:
        return _own(own, weight, settings)
    return _built_in(part.text, weight) or Preference(text=part.text, weight=weight)


def _own(name: str, weight: float, settings: UserSettings) -> Preference:
    return Preference(
        text=settings.preferences[name],
        weight=weight,
        name=name,
        prompt=settings.prompts.get(name, ""),
    )


def _built_in(name: str, weight: float) -> Preference | None:
    text = BUILT_IN_PREFERENCES.get(name.lower())
    return None if text is None else Preference(text=text, weight=weight, name=name.lower())


def _check_weights(preferences: Sequence[Preference]) -> None:
    if all(item.weight == 0 for item in preferences):
        raise InvalidParameterError("every preference has weight 0, so there is nothing to follow")
    totals: dict[str, float] = defaultdict(float)
    for item in preferences:
        totals[item.instruction] += item.weight
    largest = max(abs(item.weight) for item in preferences)
    if all(abs(total) <= 1e-9 * largest for total in totals.values()):
        raise InvalidParameterError(
            "the preferences cancel each other out, so there is nothing to follow"
        )

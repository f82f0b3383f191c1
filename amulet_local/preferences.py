"""Preferences: what a user wants of an answer, as words that go into a prompt.

Knows nothing about models or chat templates; chat_template.py places the words.
"""

from __future__ import annotations

import difflib
import numbers
import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from amulet_local.errors import InvalidParameterError, UnknownPreferenceError

DEFAULT_SYSTEM_TEXT = (
    "You are a helpful assistant on the user's own computer. Answer questions clearly and "
    "correctly, in plain language, with practical details where they help. Be polite and patient, "
    "stay on the subject, and say so when you are not sure."
)
"""System text of a conversation that brings none."""

BUILT_IN_PREFERENCES = MappingProxyType(
    {
        "creative": "creative, with original ideas, surprising angles and vivid images",
        "sycophantic": "flattering, agreeing with the user and praising them warmly",
        "verbose": "long and detailed, covering every aspect with explanations and examples",
        "complex": "sophisticated, with advanced vocabulary, intricate sentences and deep analysis",
        "formal": "formal, in polite, precise and professional language",
        "pleasant": "pleasant, in a warm, friendly and kind tone",
        "concise": "concise, with only the key points in as few words as possible",
        "uplifting": "uplifting, with optimism, encouragement and hope",
    }
)
"""The eight preferences of the Amulet paper, in this project's own words."""

MAX_WEIGHT = 1000
"""Largest weight in a mix, either sign."""

_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, kw_only=True)
class Preference:
    """What the user wants of an answer.

    Attributes:
        text: the words, e.g. "like a patient teacher, with an example".
        weight: its share in a mix; negative means "less of this".
        name: what to call it in reports; the text if empty.

    Raises:
        InvalidParameterError: the text is empty or the weight is not a finite number.
    """

    text: str
    weight: float = 1.0
    name: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip():
            raise InvalidParameterError("a preference needs some text")
        if (
            isinstance(self.weight, bool)
            or not isinstance(self.weight, numbers.Real)
            or not abs(self.weight) <= MAX_WEIGHT
        ):
            raise InvalidParameterError(
                f"the weight of a preference must be a number from -{MAX_WEIGHT} to {MAX_WEIGHT}, "
                f"got {str(self.weight)[:40]}"
            )
        object.__setattr__(self, "weight", float(self.weight))

    @property
    def instruction(self) -> str:
        """The sentence that goes into the prompt."""
        text = self.text.strip()
        return f"The answer should be like this: {text}{'' if text[-1] in '.!?' else '.'}"


PreferenceLike: TypeAlias = str | Preference
"""A built-in name, free text, or a Preference."""


def resolve(
    preference: PreferenceLike | Sequence[PreferenceLike] | None,
) -> tuple[Preference, ...]:
    """The preferences that a caller means, none for None.

    A single word of Latin letters, digits, '-' and '_' is a name; anything else is free text.

    Raises:
        UnknownPreferenceError: a name that isn't built in.
        InvalidParameterError: an empty text or list, a wrong type, weights that are all zero.
    """
    if preference is None:
        return ()
    if isinstance(preference, str | Preference):
        preference = [preference]
    if not isinstance(preference, Sequence):
        raise InvalidParameterError(
            f"preference must be a name, a text, a Preference or a list of them, got "
            f"{type(preference).__name__}"
        )
    preferences = tuple(_resolve_one(item) for item in preference)
    if not preferences:
        raise InvalidParameterError("the list of preferences is empty; leave it out for none")
    if all(item.weight == 0 for item in preferences):
        raise InvalidParameterError("every preference has weight 0, so there is nothing to follow")
    return preferences


def _resolve_one(item: PreferenceLike) -> Preference:
    if isinstance(item, Preference):
        return item
    if not isinstance(item, str):
        raise InvalidParameterError(
            f"a preference must be a name, a text or a Preference, got {type(item).__name__}"
        )
    name = item.strip()
    if name.lower() in BUILT_IN_PREFERENCES:
        return Preference(text=BUILT_IN_PREFERENCES[name.lower()], name=name.lower())
    if _NAME.fullmatch(name):
        close = difflib.get_close_matches(name.lower(), BUILT_IN_PREFERENCES, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UnknownPreferenceError(
            f"no preference is called {name!r}; {hint}known: {', '.join(BUILT_IN_PREFERENCES)}; "
            f"or describe it in more than one word, e.g. 'in the style of a {name}'"
        )
    return Preference(text=item)

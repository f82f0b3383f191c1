"""What a preference can be called, and how strongly it is meant.

The built-in names, the rule for names, and the weight that a text may end in. Knows nothing about
the user's own file or about prompts.

A colon and a number at the end are a weight, but only where nobody could mean anything else:

    formal:0.7, formal: -2               a name takes any number: a name has no colon in it
    in the style of a pirate:-0.5        free text takes a number with a sign or a decimal point,
                                         straight after a colon that no digit or space precedes
    open at 10:30, a ratio of 16:9.5,    free text without a weight: a digit before the colon,
    see localhost:80, flour: 1.5         neither sign nor point, a space after the colon
    formal:0,7, formal:much              refused: a single word with a colon is no description

Whoever needs a text that ends like a weight writes a full stop after it, keeps it in the settings
file under a name, or passes Preference(text=..., weight=...): those texts are taken as they stand.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType

from amulet_local.common.errors import InvalidParameterError
from amulet_local.params.choices import Named
from amulet_local.preferences.wording import SHORTHAND

BUILT_IN_PREFERENCES = MappingProxyType(
    Named(
        "preference",
        {
            "creative": "creatively, with original ideas, surprising angles and vivid images",
            "sycophantic": "in a flattering way, agreeing with the user and praising them warmly",
            "verbose": "at length, covering every aspect in detail with explanations and examples",
            "complex": "in a sophisticated way, with advanced vocabulary, long intricate sentences "
            "and deep analysis",
            "formal": "formally, in polite, precise and professional language without contractions",
            "pleasant": "pleasantly, in a warm, friendly and kind tone",
            "concise": "concisely, with only the key points in as few words as possible",
            "uplifting": "in an uplifting way, full of optimism, encouragement and hope",
        },
    )
)
"""The eight preferences of the Amulet paper, in this project's own words."""

MAX_WEIGHT = 1000
"""Largest weight in a mix, either sign."""

MAX_NAME_LENGTH = 64
"""Longest name, in characters."""

_SHORTEST_MISTAKEN = 4
"""Letters of the shortest name that another word is taken for a slip of."""

_NO_SLIPS = frozenset(
    (
        *("normal", "format", "peasant"),
        *("formel", "formale", "komplex", "complexe", "complexo", "creativo", "creativa"),
        *("conciso", "concisa", "verboso", "verbosa"),
    )
)
"""Words of their own, in English or another language, a letter away from a built-in name."""

_WORD = re.compile(r"[A-Za-z]+(?:-[A-Za-z]+)*")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_WEIGHTED = r"[A-Za-z0-9_-]+(?::[0-9.+-]+)?"
_NAME_AND_REST = re.compile(r"([A-Za-z0-9_-]*)\s*:\s*(\S*)")
_NUMBER = re.compile(r"[+-]?(?:[0-9]*\.)?[0-9]+")
_NAME_IS_NUMBER = re.compile(rf"({_NAME.pattern})\s*=\s*({_NUMBER.pattern})")
_JOINED = re.compile(rf"{_WEIGHTED}(?:\s*[,+]\s*{_WEIGHTED})+")
_TEXT_AND_WEIGHT = re.compile(r"(.*[^\s0-9:]):([+-]?[0-9]*\.[0-9]+|[+-][0-9]+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class WeightedText:
    """A name or a free text, and its weight.

    Attributes:
        text: without the weight.
        weight: 1 if none was given.
    """

    text: str
    weight: float = 1.0

    @property
    def is_name(self) -> bool:
        """Whether the text is a name; otherwise it is free text."""
        return is_name(self.text)

    @property
    def label(self) -> str:
        """For people: the text, and its weight unless that is 1."""
        return weighted_label(self.text, self.weight)


def joined(text: str) -> list[str]:
    """The parts of a text that may be names, each with a weight or not, with commas or plus signs
    between them; nothing if it is no such text."""
    stripped = text.strip()
    return re.split(r"\s*[,+]\s*", stripped) if _JOINED.fullmatch(stripped) else []


def is_name(text: str) -> bool:
    """Whether a text has a name's characters: Latin letters, digits, '-' and '_'."""
    return _NAME.fullmatch(text) is not None


def name_problem(name: str) -> str | None:
    """Why a preference of the user's own can't be called so, None if it can."""
    if not is_name(name) or len(name) > MAX_NAME_LENGTH:
        return f"a name has 1 to {MAX_NAME_LENGTH} Latin letters, digits, '-' or '_'"
    if name.lower() in BUILT_IN_PREFERENCES:
        return "a built-in preference is called so; choose another name"
    return None


def weighted(text: str) -> WeightedText:
    """A text and the weight at its end, by the rule at the top of this module.

    Raises:
        InvalidParameterError: a weight that is out of range, isn't a number, or belongs to nothing.
    """
    stripped = text.strip()
    named = _NAME_AND_REST.fullmatch(stripped)
    if named is not None:
        name, rest = named.groups()
        if _NUMBER.fullmatch(rest):
            if not name:
                raise InvalidParameterError(f"a preference needs some text before {stripped!r:.60}")
            return WeightedText(text=name, weight=_in_range(rest))
        if name and (not re.search(r"\s", stripped) or not rest or rest[0] in "+-.0123456789"):
            raise InvalidParameterError(
                f"the weight of {name!r:.60} must be a number such as {name:.60}:0.5, "
                f"got {rest!r:.60}"
            )
    equal = _NAME_IS_NUMBER.fullmatch(stripped)
    if equal is not None:
        raise InvalidParameterError(
            f"a weight stands after a colon: {equal[1]:.60}:{equal[2]:.20}, not {stripped!r:.80}"
        )
    if is_name(stripped):
        return WeightedText(text=stripped)
    ended = _TEXT_AND_WEIGHT.fullmatch(stripped)
    if ended is not None:
        return WeightedText(text=ended[1], weight=_in_range(ended[2]))
    return WeightedText(text=text)


def weighted_label(text: str, weight: float) -> str:
    """`text`, and its weight unless that is 1."""
    return text if weight == 1 else f"{text}:{weight:g}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question about the closest of the known names, with a space after it, or nothing."""
    by_lower = {item.lower(): item for item in known}
    close = difflib.get_close_matches(name.lower()[: 2 * MAX_NAME_LENGTH], by_lower, n=1)
    return f"did you mean {by_lower[close[0]]!r}? " if close else ""


def word_problem(word: str, known: Iterable[str]) -> str | None:
    """Why what has a name's characters and names nothing is no text either, None if it is one.

    A text has letters alone, and hyphens between them, and isn't a slip of the fingers away from a
    known name.
    """
    known = list(known)
    near = [item for item in known if _is_slip(word.lower(), item.lower())]
    if near and word.lower() not in _NO_SLIPS:
        text = f" As a text it takes a full stop: {word + '.'!r:.80}" if word.isalpha() else ""
        return f"no preference is called {word!r:.80}; did you mean {near[0]!r}?{text}"
    is_word = _WORD.fullmatch(word) and len(word) <= MAX_NAME_LENGTH
    if is_word or word.lower() in SHORTHAND:
        return None
    shown = ", ".join(known[:40]) + (", ..." if len(known) > 40 else "")
    return (
        f"no preference is called {word!r:.80}; {did_you_mean(word, known)}known: {shown}; "
        "or describe it in words"
    )


def _is_slip(word: str, name: str) -> bool:
    """Whether one letter too many, too few or another, or two that are swapped, tell them apart."""
    if len(name) < _SHORTEST_MISTAKEN or abs(len(word) - len(name)) > 1:
        return False
    pairs = enumerate(zip(word, name))  # noqa: B905 (the shorter one ends it)
    i = next((i for i, (a, b) in pairs if a != b), min(len(word), len(name)))
    swapped = word[i : i + 2] == name[i : i + 2][::-1]
    return (
        word[i + 1 :] == name[i + 1 :]
        or word[i + 1 :] == name[i:]
        or word[i:] == name[i + 1 :]
        or (swapped and word[i + 2 :] == name[i + 2 :])
    )


def _in_range(digits: str) -> float:
    weight = float(digits)
    if not abs(weight) <= MAX_WEIGHT:
        raise InvalidParameterError(
            f"the weight of a preference must be a number from -{MAX_WEIGHT} to {MAX_WEIGHT}, "
            f"got {digits:.40}"
        )
    return weight

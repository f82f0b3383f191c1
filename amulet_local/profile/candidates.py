"""Preferences that a user may have, proposed from what they changed in an answer.

Knows nothing about models but that one answers a question under a grammar, and says whether a
change is likelier under a preference. Small models say "short and direct" of any change; so only a
guess that the change speaks for is a candidate. It joins the preferences that a profile is about
and has no weight there: what was said before says nothing about it, and only later picks do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from amulet_local.params.sampling import SamplingParams
from amulet_local.preferences.preference import Preference

MOST_PREFERENCES = 12
"""Of a profile that a candidate joins: each is a row to compute whenever feedback is measured."""

MAX_CHARACTERS = 600
"""Of each text that the model is shown."""
MAX_TOKENS = 16
LEAST_GAIN = 0.1
"""Nats a token by which the prompt of a guess has to favour the text after the change."""

GRAMMAR = r"""
root ::= word (" " word){0,7}
word ::= [a-z] [a-z]* ("-" [a-z]+)?
"""
"""One to eight words."""

_QUESTION = """\
A user changed an answer.

The answer before:
{before}

The answer as the user wants it:
{after}

In a few words, what should answers be like for this user? Name what the change shows about style,
not the topic. Examples: short and direct; without exclamation marks; formal; with an example."""

_EMPTY = frozenset(("a", "an", "and", "be", "for", "in", "is", "like", "more", "of", "the"))
"""Words that say nothing about a style."""

_TOLD = frozenset(("answer", "answers", "change", "changed", "changes", "user"))
"""Words with which a small model tells what it was asked, in place of a style."""

Ask = Callable[[str, SamplingParams], str]
"""A model's plain answer to a question."""

SpeaksFor = Callable[[Preference], float]
"""By how much a change makes an answer likelier under a preference's prompt, in nats a token, than
under the plain one."""


def proposed(
    ask: Ask, speaks_for: SpeaksFor, before: str, after: str, bank: Sequence[Preference]
) -> Preference | None:
    """The preference that a change speaks of; None where there is none, or it is known.

    Args:
        ask: asks the model.
        speaks_for: measures its guess.
        before, after: the answer, and what the user made of it.
        bank: the preferences that there are.

    Raises:
        AmuletError: the model can't answer.
    """
    if len(bank) >= MOST_PREFERENCES:
        return None
    question = _QUESTION.format(before=_short(before), after=_short(after))
    sampling = SamplingParams(temperature=0, max_tokens=MAX_TOKENS, grammar=GRAMMAR)
    text = " ".join(ask(question, sampling).split())
    words = _words(text)
    if not words or words & _TOLD:
        return None
    if any(words == _words(known) for item in bank for known in (item.name, item.text)):
        return None
    found = Preference(text=text)
    return found if speaks_for(found) >= LEAST_GAIN else None


def _short(text: str) -> str:
    """The beginning of a text."""
    return text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] + " ..."


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.casefold())) - _EMPTY

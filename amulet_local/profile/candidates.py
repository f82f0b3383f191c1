"""Preferences that a user may have, proposed from what they changed in an answer.

Knows nothing about models but that one answers a question under a grammar. A candidate joins the
preferences that a profile is about and has no weight there: what was said before says nothing about
it, and only later picks do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from amulet_local.preferences.preference import Preference

MOST_PREFERENCES = 12
"""Of a profile that a candidate joins: each is a row to compute whenever feedback is measured."""

MAX_CHARACTERS = 600
"""Of each text that the model is shown."""
MAX_TOKENS = 16

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

Ask = Callable[[str, str], str]
"""A model's answer to a question, under a grammar."""


def asking(generate: Callable[..., Any], sampling: Callable[..., Any]) -> Ask:
    """What asks with a model's `Engine.generate`, plainly and greedily.

    Args:
        sampling: makes SamplingParams.
    """

    def ask(question: str, grammar: str) -> str:
        made = generate(
            question,
            method="base",
            sampling=sampling(temperature=0, max_tokens=MAX_TOKENS, grammar=grammar),
        )
        return str(made.text)

    return ask


def proposed(ask: Ask, before: str, after: str, bank: Sequence[Preference]) -> Preference | None:
    """The preference that a change speaks of; None where there is none, or it is known.

    Args:
        ask: asks the model.
        before, after: the answer, and what the user made of it.
        bank: the preferences that there are.

    Raises:
        AmuletError: the model can't answer.
    """
    if len(bank) >= MOST_PREFERENCES:
        return None
    question = _QUESTION.format(before=_short(before), after=_short(after))
    text = " ".join(ask(question, GRAMMAR).split())
    words = _words(text)
    if not words:
        return None
    if any(words == _words(known) for item in bank for known in (item.name, item.text)):
        return None
    return Preference(text=text)


def _short(text: str) -> str:
    """The beginning of a text."""
    return text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] + " ..."


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.casefold())) - _EMPTY

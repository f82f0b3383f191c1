"""What of a profile's facts and examples matters for a question, as a preference of its own.

Knows nothing about models but how many tokens a text has. They are found by BM25 (SQLite's FTS5,
words by their stems); what shares no telling word with the question isn't put in, unless it is
about what the question is about: who is a vegetarian is so when dinner is cooked. As a preference
they stand in that prompt and not in the plain one: what the rows differ in is then what they add.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing

from amulet_local.common.errors import ProfileError
from amulet_local.preferences.preference import Preference
from amulet_local.preferences.wording import EXAMPLE_FRAME, FACTS_FRAME
from amulet_local.profile.contents import Contents
from amulet_local.text.words import word_set

NAME = "memory"
"""What results call it."""

MAX_FACTS = 4
MAX_EXAMPLES = 1
MAX_TOKENS = 150
"""Of all that is put in, counted by the model."""

Count = Callable[[str], int]
"""How many tokens a text has."""

MOST_BESIDE = 2
"""Preferences of the mix that go with it: each is a row to compute."""

_WORD = re.compile(r"\w+")
_STOP = frozenset(
    _WORD.findall(
        """
    a about above after again all also am an and any are as at be because been before being
    below between both but by can could did do does doing done down each every few for from
    further get give had has have having he her here hers him his how i if in into is it its
    just know let like make many may me might more most much must my name need no nor not now of
    off on once one only or other our out over own please same say she should so some such tell
    than that the their them then there these they thing this those through to too under until
    up use user users very want was way we were what when where which while who whom why will
    with would write you your
        """
    )
)
"""Words that say nothing about what a question is about."""


_SUBJECTS = (
    (
        word_set(
            "barbecue breakfast brunch dessert desserts dinner dinners lunch lunches meal "
            "meals picnic recipe recipes restaurant restaurants snack snacks supper"
        ),
        word_set(
            "allergic allergy carnivore celiac coeliac dairy diabetes diabetic diet gluten halal "
            "intolerance intolerant keto kosher lactose pescatarian vegan vegetarian"
        ),
    ),
    (
        word_set("pet pets vet"),
        word_set("cat dog hamster kitten parrot puppy rabbit"),
    ),
    (
        word_set("bedtime kid kids parenting"),
        word_set("baby child daughter kid son toddler twins"),
    ),
)
"""Words of questions, and words of facts that matter for them; of the latter stems are enough."""

_WHAT_WE_EAT = (word_set("what"), word_set("i we"), word_set("bake cook eat"))
"""A question with a word of each is about a meal; how rice is cooked, and what others eat, isn't
about oneself."""


def with_memory(
    mix: Sequence[Preference], contents: Contents, question: str, count: Count
) -> tuple[Preference, ...]:
    """A mix and what is remembered for a question; the mix alone where nothing matters for it.

    What was remembered for another question leaves the mix.

    Raises:
        ProfileError: this Python's SQLite has no FTS5.
    """
    others = tuple(item for item in mix if item.name != NAME)
    memory = recalled(contents, question, count)
    return others if memory is None else (*others[:MOST_BESIDE], memory)


def recalled(contents: Contents, question: str, count: Count) -> Preference | None:
    """The facts and examples that matter for a question, as a preference; None if none does.

    One that there is no room for is left out, and the next one is tried.

    Raises:
        ProfileError: this Python's SQLite has no FTS5.
    """
    facts = [item.text for item in contents.facts]
    examples = [item.text for item in contents.examples]
    asked = [f"{item.question} {item.text}" for item in contents.examples]
    parts: list[str] = []
    for start, texts, searched, words, most in (
        (FACTS_FRAME, facts, facts, _with_subjects(question), MAX_FACTS),
        (EXAMPLE_FRAME, examples, asked, question, MAX_EXAMPLES),
    ):
        for place in relevant(searched, words, most):
            begun = [] if start in parts else [start]
            added = [*begun, " ".join(texts[place].split())]
            if count(" ".join([*parts, *added])) <= MAX_TOKENS:
                parts += added
    return Preference(text=" ".join(parts), name=NAME, prompt="{text}") if parts else None


def _with_subjects(question: str) -> str:
    """A question, and the words of facts that matter for its subjects."""
    words = set(_WORD.findall(question.casefold()))
    if all(kind & words for kind in _WHAT_WE_EAT):
        words.add("dinner")
    said = [word for asked, facts in _SUBJECTS if asked & words for word in sorted(facts)]
    return " ".join([question, *said])


def relevant(texts: Sequence[str], question: str, most: int) -> list[int]:
    """Places of the texts that share a telling word with a question, the best first.

    Raises:
        ProfileError: this Python's SQLite has no FTS5.
    """
    words = dict.fromkeys(_WORD.findall(question.casefold()))
    telling = [word for word in words if word not in _STOP and len(word) > 2]
    if not texts or not telling:
        return []
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute(
                "CREATE VIRTUAL TABLE texts USING fts5(text, "
                "tokenize = 'porter unicode61 remove_diacritics 2')"
            )
        except sqlite3.OperationalError:
            raise ProfileError(
                "facts can't be searched: this Python's SQLite has no FTS5"
            ) from None
        connection.executemany("INSERT INTO texts (rowid, text) VALUES (?, ?)", enumerate(texts))
        found = connection.execute(
            "SELECT rowid FROM texts WHERE texts MATCH ? ORDER BY bm25(texts), rowid LIMIT ?",
            (" OR ".join(f'"{word}"' for word in telling), most),
        )
        return [place for (place,) in found]

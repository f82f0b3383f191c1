"""The form of an answer. Knows nothing about how it is said."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, NamedTuple, TypeAlias

Case: TypeAlias = Literal["lower", "upper"]


class Count(NamedTuple):
    """How many of something there are.

    Attributes:
        least, most: the bounds, themselves allowed; None where there is none.
    """

    least: int | None
    most: int | None


@dataclass(frozen=True, kw_only=True)
class Form:
    """The form of an answer; by default any, and false then.

    Attributes:
        without: kinds of characters that it has none of, by their names in characters.py.
        without_words: words that it doesn't have, in lower case.
        without_letters: letters that it doesn't have, in lower case.
        case: of all its letters.
        sentences, items, paragraphs: how many it has; an item is a line of a list.
        emojis: how many it has.
        words, characters: most that it has.
        mentions: texts that it has, each with how often, at least.
        opening, closing: what it begins and ends with.
        is_quoted: whether it stands in double quotation marks as a whole.
        sentence_end: the mark after each sentence, "!" or "?".
        has_line_per_sentence: whether each sentence has a line of its own.
    """

    without: frozenset[str] = frozenset()
    without_words: frozenset[str] = frozenset()
    without_letters: frozenset[str] = frozenset()
    case: Case | None = None
    sentences: Count | None = None
    items: Count | None = None
    paragraphs: Count | None = None
    emojis: Count | None = None
    words: int | None = None
    characters: int | None = None
    mentions: tuple[tuple[str, int], ...] = ()
    opening: str = ""
    closing: str = ""
    is_quoted: bool = False
    sentence_end: str = ""
    has_line_per_sentence: bool = False

    def __bool__(self) -> bool:
        """Whether it asks for anything."""
        return self != ANY_FORM

    def with_also(self, other: Form) -> Form:
        """Both at once; where they contradict each other, this one."""
        both = {}
        for item in fields(self):
            ours, theirs = getattr(self, item.name), getattr(other, item.name)
            both[item.name] = ours | theirs if isinstance(ours, frozenset) else ours or theirs
        return Form(**both)

    def without_alone(self) -> Form:
        """What of it says what an answer doesn't have."""
        return Form(
            without=self.without,
            without_words=self.without_words,
            without_letters=self.without_letters,
        )


ANY_FORM = Form()
"""Any form."""

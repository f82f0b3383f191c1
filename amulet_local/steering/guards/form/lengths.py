"""How long an answer is: in sentences, words and characters, in items of a list, in paragraphs.

Knows nothing about what it begins or ends with. An answer ends between two sentences, two items or
two paragraphs; where a limit of words comes near, a sentence ends where it can.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from amulet_local.llama.token_search import EDGE, Tokens
from amulet_local.preferences.form import Count
from amulet_local.steering.guards.form.holds import Hold, unmet
from amulet_local.steering.guards.form.position import SENTENCE_END, Position
from amulet_local.steering.guards.form.saying import Saying
from amulet_local.text.announcement import is_call
from amulet_local.text.layout import (
    count_items,
    count_paragraphs,
    count_words,
    items_of,
    next_item,
)
from amulet_local.text.sentences import count_sentences, ends_sentence

FEW_WORDS = 3
"""Up to which a limit of words ends an answer between two words."""

FEW_SENTENCES = 3
"""Up to which none of them is lost on a "Certainly!"."""

NEAR_SHARE = 0.4
"""Of a limit: where so much is left, sentences begin to end where they can."""

MOST_NATS = 5.0
"""By which the end of a sentence may be less likely than what would come, at the limit."""

_NO_LETTER = rf"(?<={EDGE})(?:[^\w{EDGE}]|_)"
_NEW_LINE = r"\n"
_SENTENCE_OR_LINE_END = rf"{SENTENCE_END}|\n"
_NEW_PARAGRAPH = r"\n[ \t]*\n"


class Sentences(Hold):
    """Keeps the number of sentences."""

    def __init__(self, count: Count, *, is_in_lines: bool = False) -> None:
        """Take note.

        Args:
            is_in_lines: whether one may stand on several lines.
        """
        self._count = count
        self._is_on_a_line = count.most == 1 and not is_in_lines

    def is_full(self, at: Position) -> bool:
        """Whether there are as many as may be."""
        most = self._count.most
        return most is not None and at.is_between_sentences and count_sentences(at.text) >= most

    def lacks(self, text: str) -> bool:
        """Whether there are too few."""
        return self._count.least is not None and count_sentences(text) < self._count.least

    def refused(self, at: Position) -> Sequence[int] | Tokens:
        """Between sentences of which there are too few, code, and the end of an only line.

        A "Certainly" that would be one of a few sentences doesn't end there, and the only sentence
        doesn't become a list.
        """
        if self._count.most is not None and self._count.most <= FEW_SENTENCES and is_call(at.text):
            return at.having(_SENTENCE_OR_LINE_END)
        if self._is_on_a_line and not ends_sentence(at.text):
            return at.having(_NEW_LINE)
        if not (ends_sentence(at.text) and self.lacks(at.text)):
            return ()
        has_lines = "\n" in at.text or count_items(at.text) > 0
        return at.having("`" if has_lines else "[`\n]")

    def unmet(self, text: str) -> str:
        """How many there are, if that is another number."""
        return unmet(count_sentences(text), "sentence", self._count)


class Units(Hold):
    """Keeps the number of words or characters below a limit."""

    def __init__(self, most: int, unit: str, counted: Callable[[str], int]) -> None:
        """Take note.

        Args:
            unit: one of them.
            counted: how many a text has.
        """
        self._most = most
        self._unit = unit
        self._counted = counted
        self._is_few = unit == "word" and most <= FEW_WORDS

    def is_full(self, at: Position) -> bool:
        """Whether another sentence or item, as long as those so far, would be too much."""
        n = self._counted(at.text)
        if self._is_few:
            return n >= self._most and not at.next_text[:1].isalnum()
        if not (at.is_between_sentences or at.is_between_items):
            return False
        alike = items_of(at.text) or at.text
        n_alike = max(count_sentences(alike), count_items(alike))
        return n + self._counted(alike) / n_alike > self._most

    def required(self, at: Position) -> Sequence[int] | Tokens:
        """Near the limit, what ends the sentence, if it is hardly less likely than what comes."""
        left = 1 - self._counted(at.text) / self._most
        if self._is_few or left > NEAR_SHARE or ends_sentence(at.text):
            return ()
        reach = MOST_NATS * min(1.0, 1 - left / NEAR_SHARE)
        return at.likely(at.having(SENTENCE_END), reach)

    def refused(self, at: Position) -> Sequence[int] | Tokens:
        """Behind the last of few words, what would begin another one."""
        if not self._is_few or self._counted(at.text) < self._most:
            return ()
        return at.having(_NO_LETTER)

    def unmet(self, text: str) -> str:
        """How many there are, if there are more."""
        return unmet(self._counted(text), self._unit, Count(None, self._most))


class FewWords(Units):
    """Keeps the number of words near a limit that nobody has named."""

    def __init__(self, most: int) -> None:
        """Take note."""
        super().__init__(most, "word", count_words)

    def unmet(self, text: str) -> str:
        """Nothing: no number was asked for."""
        return ""


class LeastWords(Hold):
    """Has an answer go on until it has so many words."""

    def __init__(self, least: int) -> None:
        """Take note."""
        self._least = least

    def lacks(self, text: str) -> bool:
        """Whether there are fewer."""
        return count_words(text) < self._least

    def refused(self, at: Position) -> Sequence[int] | Tokens:
        """Code in the place of more text."""
        return at.having("`") if ends_sentence(at.text) and self.lacks(at.text) else ()

    def unmet(self, text: str) -> str:
        """How many there are, if there are fewer."""
        return unmet(count_words(text), "word", Count(self._least, None))


class Items(Saying):
    """Keeps the number of items of a list, if there is one."""

    def __init__(self, count: Count) -> None:
        """Take note."""
        super().__init__()
        self._count = count

    def is_full(self, at: Position) -> bool:
        """Whether one too many would begin here."""
        most = self._count.most
        return (
            most is not None
            and at.begins_line
            and re.match(r"[-*+•–\d]", at.next_text) is not None
            and count_items(at.text) >= most
        )

    def lacks(self, text: str) -> bool:
        """Whether a list has too few."""
        return self._count.least is not None and 0 < count_items(text) < self._count.least

    def more(self, at: Position) -> Sequence[int]:
        """What begins the next item; nothing where the last one has only begun."""
        if re.search(r"(?:^|\n)[ \t]*(?:[-*+•–]|\d{1,3}[.)])[ \t]*$", at.text):
            return ()
        gap = "" if at.begins_line else "\n"
        self._left = f"{gap}{next_item(at.text)} ".encode()
        return super().required(at)

    def unmet(self, text: str) -> str:
        """How many there are, if that is another number."""
        return unmet(count_items(text), "item", self._count)


class Paragraphs(Saying):
    """Keeps the number of paragraphs."""

    def __init__(self, count: Count) -> None:
        """Take note."""
        super().__init__()
        self._count = count

    def is_full(self, at: Position) -> bool:
        """Whether one too many would begin here."""
        if not self._has_most(at.text) or not ends_sentence(at.text):
            return False
        coming = at.text[len(at.text.rstrip()) :] + at.next_text
        return re.match(r"\s*\n[ \t]*\n", coming) is not None

    def refused(self, at: Position) -> Sequence[int] | Tokens:
        """In the last one, what would begin another one in mid-sentence."""
        if not self._has_most(at.text) or ends_sentence(at.text):
            return ()
        is_blank = bool(at.text.strip()) and at.begins_line
        return at.having(_NEW_LINE if is_blank else _NEW_PARAGRAPH)

    def lacks(self, text: str) -> bool:
        """Whether there are too few."""
        return self._count.least is not None and count_paragraphs(text) < self._count.least

    def more(self, at: Position) -> Sequence[int]:
        """What begins the next one."""
        self._left = b"" if at.text.endswith("\n\n") else b"\n\n"
        return super().required(at)

    def _has_most(self, text: str) -> bool:
        return self._count.most is not None and count_paragraphs(text) >= self._count.most

    def unmet(self, text: str) -> str:
        """How many there are, if that is another number."""
        return unmet(count_paragraphs(text), "paragraph", self._count)

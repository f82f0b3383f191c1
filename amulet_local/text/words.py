"""The words of a text as it grows, without regard to case, marks and spaces.

Knows nothing about tokens or preferences. A word is a run of letters and digits; "ten-year-old" is
three. A script that writes no spaces has one word between two marks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

WORD = re.compile(r"[^\W_]+")

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
)
"""Thai, Lao, Burmese, Khmer, Japanese, Chinese."""

_LETTER_WORDS = frozenset("aàáâeèéêiíoóôuúåöæøаеиоуэюявкс")

KEPT_WORDS = 32
"""Of a growing text, the last ones."""

_START = re.compile(r"[.!?:;…。！？：\n]")
_PAUSE = re.compile(r"[.!?:;,…\n]")
_ANNOUNCED = re.compile(
    r"(?:\b(?:here(?:['’]s| is| are| you)|this is|below is|the following is"
    r"|(?:i['’]ll|i will|i shall|let me|let['’]s|allow me to|i['’]m going to|i am going to)"
    r"\s+(?:now\s+)?(?:answer|explain|respond|reply|write|speak|talk|tell|break|put|give|describe)"
    r")\b|\banswer(?:ed|ing)?\b)[^.!?:\n]*\Z",
    re.I,
)

ENGLISH_ARTICLES = frozenset(("a", "an", "the"))
OTHER_ARTICLES = frozenset(
    (
        *("ein", "eine", "einen", "einem", "einer", "eines", "der", "die", "das", "den", "dem"),
        *("un", "une", "una", "uno", "el", "la", "le", "lo", "il", "los", "las", "les"),
        *("um", "uma", "een", "het"),
    )
)
"""Those of other languages."""

ARTICLES = ENGLISH_ARTICLES | OTHER_ARTICLES

LIKENESS = frozenset(
    ("as", "like", "als", "wie", "comme", "como", "come", "jako", "jak", "som", "zoals", "как")
)
"""With which a text says what it is like, "As a pirate, I'd say", in languages with spaces."""

MOST_LIKENESS_WORDS = 6
"""Of which such a phrase consists."""


def word_set(text: str) -> frozenset[str]:
    """The words of a table that is written as a text, with spaces between them."""
    return frozenset(text.split())


def words_of(text: str) -> list[str]:
    """The words of a whole text, in lower case."""
    return WORD.findall(text.lower())


def runs_of(words: Sequence[str], n: int) -> set[tuple[str, ...]]:
    """All runs of `n` words, from two; none of fewer."""
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)} if n > 1 else set()


def is_unspaced(text: str) -> bool:
    """Whether a text has letters of a script that puts no spaces between words."""
    return _UNSPACED.search(text) is not None


def is_letter_word(letter: str) -> bool:
    """Whether a letter in lower case is a word somewhere that opens sentences: a vowel, or a Slavic
    preposition, but no Spanish "y", which begins "Yoda" as well.
    """
    return letter in _LETTER_WORDS


class GrowingWords:
    """The last words of a text.

    Attributes:
        words: in lower case; the last one may still grow.
        n_words: of the whole text.
        last_opens: whether the last word begins a phrase, or follows an announcement.
        in_word: whether the text ends in a letter or digit.
        ends_small: whether it ends in a small letter.
    """

    def __init__(self) -> None:
        """Begin with no text."""
        self.words: list[str] = []
        self.n_words = 0
        self.last_opens = False
        self.in_word = False
        self.ends_small = False
        self._sentence = ""
        self._gap = ""
        self._has_pause = False

    def push(self, text: str) -> None:
        """Take what comes next."""
        end = 0
        for found in WORD.finditer(text):
            if found.start() == 0 and self.in_word:
                self.words[-1] += found[0].lower()
            else:
                self._separate(text[end : found.start()])
                self.last_opens = self.begins_phrase or self.announces
                self.words.append(found[0].lower())
                self.n_words += 1
                self._gap = ""
            self._sentence += found[0]
            self.in_word = True
            end = found.end()
        if end < len(text):
            self._separate(text[end:])
            self.in_word = False
        if text:
            self.ends_small = text[-1].islower()
        del self.words[:-KEPT_WORDS]

    def _separate(self, marks: str) -> None:
        self._gap += marks
        self._has_pause |= self.n_words > 0 and _PAUSE.search(marks) is not None
        self._sentence = "" if _START.search(marks) else self._sentence[-200:] + marks

    @property
    def begins_phrase(self) -> bool:
        """Whether the next word begins the text, a sentence or line, or follows a short call."""
        return (
            not self.n_words
            or _START.search(self._gap) is not None
            or ("," in self._gap and self.n_words <= 2)
        )

    @property
    def in_likeness(self) -> bool:
        """Whether the next word may belong to what the text begins with: "As a patient"."""
        is_short = 0 < self.n_words < MOST_LIKENESS_WORDS and not self._has_pause
        return is_short and self.words[0] in LIKENESS

    @property
    def announces(self) -> bool:
        """Whether the sentence says what the answer is: "Here's an answer", "Let me explain"."""
        return _ANNOUNCED.search(self._sentence) is not None

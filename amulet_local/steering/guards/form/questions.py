"""Which sentences of an answer are questions.

Knows nothing about grammar: a question begins with one of a list of words where that is likely,
and ends with a question mark wherever a sentence would end.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from amulet_local.llama.token_search import Tokens, union
from amulet_local.preferences.form import Case, Questions
from amulet_local.steering.guards.form.holds import Hold
from amulet_local.steering.guards.form.position import Position
from amulet_local.steering.guards.form.sentence_ends import SentenceMark
from amulet_local.text.sentences import count_sentences

FIRST_WORDS = re.findall(
    r"\S+",
    """
    What How Why Where Who Which Do Does Did Are Is Can Could Would Will Should Have Has
    Wie Warum Welche Haben Hast Ist Sind Kann Möchtest Willst
    Quel Quelle Comment Pourquoi Est Avez Voulez
    Qué Cómo Cuál Quieres ¿
    Cosa Perché Quale Hai Vuoi
    Qual Quer Você
    """,
)
"""Of questions, in six languages; "When" and "Como" begin much else."""

BEGINS_WITHIN_NATS = 6.0
"""Of what would come: such a word that is likelier begins a question where one is wished."""

MOST_CHARACTERS = 200
"""Of a last question, for which an answer goes on where it would have ended."""


class QuestionSentences(Hold):
    """Makes sentences questions: all of them, the first or the last one."""

    def __init__(self, which: Questions, case: Case | None) -> None:
        """Take note.

        Args:
            which: of the sentences.
            case: that of all letters.
        """
        self._which = which
        change = {"lower": str.lower, "upper": str.upper}.get(case or "", str)
        self._first_words = list(map(change, FIRST_WORDS))
        self._mark = SentenceMark("?")
        self._last_begins_at: int | None = None

    def required(self, at: Position) -> Sequence[int] | Tokens:
        """What begins a question, and the mark that ends it."""
        if not self._asks(at.text):
            return ()
        if self._which != "last" and (not at.text or at.is_between_sentences):
            return self._beginning(at, BEGINS_WITHIN_NATS)
        return self._mark.required(at)

    def refused(self, at: Position) -> Sequence[int] | Tokens:
        """Other marks in a question."""
        return self._mark.refused(at) if self._asks(at.text) and at.text.strip() else ()

    def is_full(self, at: Position) -> bool:
        """Whether the last question has been asked."""
        return self._last_begins_at is not None and at.text.rstrip().endswith("?")

    def lacks(self, text: str) -> bool:
        """Whether it hasn't, and may yet be."""
        if self._which != "last" or text.rstrip().endswith("?"):
            return False
        return len(text) < (self._last_begins_at or len(text)) + MOST_CHARACTERS

    def more(self, at: Position) -> Sequence[int] | Tokens:
        """What begins it, or ends it."""
        if self._last_begins_at is not None:
            return at.saying(b"?")
        self._last_begins_at = len(at.text)
        return self._beginning(at, math.inf)

    def unmet(self, text: str) -> str:
        """That it isn't the last or the first sentence."""
        if self._which == "first" and text and not self._is_first_asked(text):
            return "the answer doesn't begin with a question, and the preference asks for one"
        if self._which == "last" and not text.rstrip().endswith("?"):
            return "the answer doesn't end with a question, and the preference asks for one"
        return ""

    def _asks(self, text: str) -> bool:
        """Whether what comes belongs to a question."""
        if self._which == "first":
            return not count_sentences(text)
        return self._which == "all" or self._last_begins_at is not None

    @staticmethod
    def _is_first_asked(text: str) -> bool:
        return "?" in text and count_sentences(text.partition("?")[0]) == 0

    def _beginning(self, at: Position, reach: float) -> Tokens:
        gap = "" if not at.text or at.text[-1].isspace() else " "
        whole = [at.exactly(f"{gap}{word}".encode()) for word in self._first_words]
        return at.likely(union(whole), reach)

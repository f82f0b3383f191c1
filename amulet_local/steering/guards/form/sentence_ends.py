"""How each sentence ends, and where the next one begins. Knows nothing about how many there are."""

from __future__ import annotations

import re
from collections.abc import Sequence

from amulet_local.llama.token_search import EDGE, Tokens, union
from amulet_local.steering.guards.form.holds import Hold
from amulet_local.steering.guards.form.position import SENTENCE_END, Position
from amulet_local.text.layout import count_words
from amulet_local.text.sentences import count_sentences, ends_sentence, last_sentence

ENDS_WITHIN_NATS = 5.0
"""Of the plain prompt's likeliest token: a mark that is less likely ends no sentence there."""

NEAR_SHARE = 0.5
"""Of the limit of a sentence: from so many words on it begins to end where it can."""

MOST_NATS = 6.0
"""By which its end may be less likely than what would come, at the limit and behind it."""

_END = re.compile(r"[.!?…]+(?P<rest>[\"”’»)*_]*\s*)")


class SentenceMark(Hold):
    """Ends each sentence with the same mark."""

    def __init__(self, mark: str) -> None:
        """Take note."""
        self._mark = mark
        others = "".join({".", "!", "?", "…"} - {mark})
        self._others = rf"(?<={EDGE})[{others}]+[\"”’»)*_]*\s*(?={EDGE})"
        self._any_mark = rf"[{mark}]"

    def required(self, at: Position) -> Sequence[int]:
        """The mark, where a sentence would end with another one."""
        found = _END.fullmatch(at.next_text)
        if found is None or self._mark in at.next_text or not self._may_end(at):
            return ()
        return at.saying(f"{self._mark}{found['rest']}".encode())

    def refused(self, at: Position) -> Sequence[int] | Tokens:
        """The other marks where a sentence may end, and this one where none would end.

        Strength puts the mark behind every other word ("Yeast! Is a fungus!"), where the plain
        prompt ends no sentence.
        """
        if not at.text or at.text[-1].isspace():
            return at.having(self._any_mark)
        if not self._may_end(at):
            return ()
        plain = at.step.reference.plain
        ends = at.having(SENTENCE_END)
        if len(ends) and plain[ends].max() < plain.max() - ENDS_WITHIN_NATS:
            return union([at.having(self._others), at.having(self._any_mark)])
        return at.having(self._others)

    def _may_end(self, at: Position) -> bool:
        last = at.text[-1:]
        if last.isdigit() or last.isspace() or not last:
            return False
        tail = at.text[-80:]
        return count_sentences(f"{tail}.") > count_sentences(tail)


class SentenceWords(Hold):
    """Ends each sentence near a limit of words, where that is hardly less likely."""

    def __init__(self, most: int) -> None:
        """Take note."""
        self._most = most

    def required(self, at: Position) -> Sequence[int] | Tokens:
        """What ends the sentence; the nearer the limit, the less likely it may be."""
        if ends_sentence(at.text) or not at.text[-1:].isalnum():
            return ()
        n = count_words(last_sentence(at.text))
        share = n / self._most - NEAR_SHARE
        if share <= 0 or at.next_text[:1].isalnum():
            return ()
        reach = MOST_NATS * min(1.0, share / (1 - NEAR_SHARE))
        return at.likely(at.having(SENTENCE_END), reach)


class LinePerSentence(Hold):
    """Begins a line after each sentence."""

    def required(self, at: Position) -> Sequence[int]:
        """The end of the line, where the next sentence would begin on it."""
        if at.would_end or at.begins_line or "\n" in at.next_text:
            return ()
        return at.saying(b"\n") if at.is_between_sentences else ()

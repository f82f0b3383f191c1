"""What an answer has somewhere: words, and a number of emojis.

Knows nothing about where they belong: a word is said where it is hardly less likely than what would
come, sooner or later as the answer goes on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from amulet_local.llama.token_search import EDGE, Tokens, union
from amulet_local.preferences.form import Count
from amulet_local.steering.guards.form.holds import (
    PART_OF_MOST_EMOJIS,
    Hold,
    parts_of_emojis,
    unmet,
)
from amulet_local.steering.guards.form.position import Position
from amulet_local.steering.guards.form.saying import Saying
from amulet_local.text.emojis import EMOJI, emojis_of
from amulet_local.text.layout import count_lines
from amulet_local.text.sentences import count_sentences, ends_sentence

FIRST_NATS = 0.5
"""By which a word may be less likely than what would come, in the first sentence."""

MORE_NATS = 1.5
"""By how many more after each sentence."""

MOST_NATS = 5.0

MORE_MARK_NATS, MOST_MARK_NATS = 2.5, 8.0
"""The same for a mark, which says less and which the model goes on from."""

MOST_IN_A_ROW = 2
"""Emojis, where the wish is for some in an answer: small models write nothing else after them."""

PLAIN_NATS, FIRST_WORD_NATS = 5.0, 1.0
"""By which a first word behind an emoji may be less likely than what the plain prompt says there,
and than the likeliest such word."""

_WORD = re.compile(r"\s*[^\W\d_]")

_SELECTORS = ("\ufe0e", "\ufe0f")
"""Behind an emoji, whether it is drawn in colour; one is enough."""

_JOINER = "\u200d"
"""Between the pictures of one emoji."""

_WORD_AND_BEFORE = re.compile(r"(?s)\A.*[^\W_]")

EMOJI_CHARACTERS = 4
"""Of a text's end, in which a last emoji is looked for."""

MORE_SENTENCES = 2
"""For which an answer that lacks a word goes on where it would end."""


class Mention(Saying):
    """Says a text at least so many times."""

    def __init__(self, text: str, n: int) -> None:
        """Take note."""
        super().__init__()
        self._text = text
        self._n = n
        self._pattern = re.compile(rf"(?<!\\w){re.escape(text)}(?!\\w)", re.I)
        self._would_end_after: int | None = None

    def required(self, at: Position) -> Sequence[int]:
        """The text, where it is likely enough."""
        if self._left:
            return super().required(at)
        if self._is_said(at.text) or not at.text or at.text[-1] in "\"'([-":
            return ()
        gap = "" if at.text[-1].isspace() else " "
        whole = f"{gap}{self._text}".encode()
        first = at.saying(whole)
        reach = min(MOST_NATS, FIRST_NATS + MORE_NATS * count_sentences(at.text))
        if not first or not len(at.likely(np.array(first, dtype=np.int32), reach)):
            return ()
        self._left = whole
        return first

    def lacks(self, text: str) -> bool:
        """Whether it isn't said as often, and the answer would have ended only just now."""
        if self._is_said(text):
            return False
        ended = self._would_end_after
        return ended is None or count_sentences(text) < ended + MORE_SENTENCES

    def refused(self, at: Position) -> Sequence[int] | Tokens:
        """Where the answer would end too early, code in the place of text."""
        if at.would_end and self._would_end_after is None and not self._is_said(at.text):
            self._would_end_after = count_sentences(at.text)
        return at.having("`") if ends_sentence(at.text) and self.lacks(at.text) else ()

    def _is_said(self, text: str) -> bool:
        return len(self._pattern.findall(text)) >= self._n

    def unmet(self, text: str) -> str:
        """That it isn't said as often."""
        n = len(self._pattern.findall(text))
        if n >= self._n:
            return ""
        times = "never" if n == 0 else f"{n} times" if n > 1 else "once"
        return f"the answer has {self._text!r} {times}, and the preference asks for it"


_MARKS = {
    "semicolons": (";", rf"(?<={EDGE});(?={EDGE})"),
    "parentheses": (r"\(", rf"(?<={EDGE}) \((?={EDGE})"),
    "ellipses": (r"\.\.\.|…", rf"(?<={EDGE})(?:\.\.\.|…)(?={EDGE})"),
    "dashes": (r"[—–]|--| - ", rf"(?<={EDGE}) ?(?:[—–]|--)(?={EDGE})"),
    "bold": (r"\*\*", rf"(?<={EDGE}) \*\*(?={EDGE})"),
}
"""Of each kind of marks, what it has in a text, and its tokens."""


_IN_PLACE_OF_A_STOP = {"semicolons": b";", "ellipses": b"..."}
"""What may stand for the first full stop."""


class Mark(Hold):
    """Puts a kind of marks into an answer, once in a sentence where it is hardly less likely."""

    def __init__(self, kind: str) -> None:
        """Take note."""
        self._kind = kind
        self._in_text, self._tokens = _MARKS[kind]

    def required(self, at: Position) -> Tokens | Sequence[int]:
        """Its tokens that are likely enough."""
        n_marks = len(re.findall(self._in_text, at.text))
        lag = count_sentences(at.text) - n_marks
        if lag < 0 or not at.text[-1:].isalnum():
            return ()
        if self._kind in _IN_PLACE_OF_A_STOP and not n_marks and at.next_text.strip() == ".":
            return at.saying(_IN_PLACE_OF_A_STOP[self._kind])
        reach = min(MOST_MARK_NATS, FIRST_NATS + MORE_MARK_NATS * lag)
        return at.likely(at.having(self._tokens), reach)

    def unmet(self, text: str) -> str:
        """That there are none."""
        has_one = re.search(self._in_text, text) is not None
        return "" if has_one else f"the answer has no {self._kind}"


class Emojis(Hold):
    """Keeps the number of emojis."""

    def __init__(self, count: Count) -> None:
        """Take note."""
        self._count = count

    def required(self, at: Position) -> Sequence[int] | Tokens:
        """Behind a sentence or a line, what begins an emoji, if it is hardly less likely.

        Where an answer begins with an emoji, a word that the plain prompt finds likely comes next:
        what the preference finds likely there are more of them, or their names.
        """
        least, n_emojis = self._count.least or 0, len(emojis_of(at.text))
        is_begin = not (any(map(str.isalnum, at.text)) or at.text.endswith(_JOINER))
        if n_emojis and is_begin:
            return self._first_words(at)
        if n_emojis >= least or not at.text or emojis_of(at.text[-EMOJI_CHARACTERS:]):
            return ()
        if not (at.is_between_sentences or at.next_text.lstrip(" ").startswith("\n")):
            return ()
        lag = max(count_sentences(at.text), count_lines(at.text)) - n_emojis
        reach = min(MOST_MARK_NATS, FIRST_NATS + MORE_MARK_NATS * max(0, lag))
        return at.likely(self._beginning(at), reach)

    @staticmethod
    def _first_words(at: Position) -> Sequence[int]:
        """The likeliest words of the plain prompt; none where it says something else."""
        plain, piece = at.step.reference.plain, at.vocabulary.piece
        likely = np.flatnonzero(plain >= plain.max() - PLAIN_NATS).tolist()
        words = [token for token in likely if _WORD.match(piece(token).decode("utf-8", "replace"))]
        best = max((plain[token] for token in words), default=0.0)
        return [token for token in words if plain[token] >= best - FIRST_WORD_NATS]

    def refused(self, at: Position) -> Sequence[int] | Tokens:
        """Emojis, where there are as many as may be, or two in a row and no word behind them."""
        refused = []
        if at.text.endswith(_SELECTORS):
            refused.append(at.having(rf"(?<={EDGE})[{''.join(_SELECTORS)}]"))
        most = self._count.most
        is_row = len(emojis_of(_WORD_AND_BEFORE.sub("", at.text))) >= MOST_IN_A_ROW
        is_full = most is not None and len(emojis_of(at.text)) >= most
        if (is_row or is_full) and not at.text.endswith(_JOINER):
            refused += [at.having(EMOJI.pattern), at.ending(parts_of_emojis())]
        return union(refused)

    def lacks(self, text: str) -> bool:
        """Whether there are too few."""
        return self._count.least is not None and len(emojis_of(text)) < self._count.least

    def more(self, at: Position) -> Sequence[int] | Tokens:
        """What begins an emoji."""
        return self._beginning(at)

    @staticmethod
    def _beginning(at: Position) -> Tokens:
        whole = at.having(rf"(?<={EDGE}) ?(?:{EMOJI.pattern})(?={EDGE})")
        return union([whole, at.beginning((PART_OF_MOST_EMOJIS,))])

    def unmet(self, text: str) -> str:
        """How many there are, if that is another number."""
        return unmet(len(emojis_of(text)), "emoji", self._count)

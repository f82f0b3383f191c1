"""What an answer begins and ends with.

Knows nothing about how long it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from amulet_local.llama.token_search import EDGE, Tokens
from amulet_local.steering.guards.form.position import Position
from amulet_local.steering.guards.form.saying import Saying

_GOES_ON = rf"(?<={EDGE})[^\W_]"
"""A token that goes on with a word."""

_NO_GAP = rf"(?<={EDGE})[^#\s]"
_NO_HEADING_BEHIND_A_GAP = r"\s[#\s]|\n"
_NO_HEADING = rf"(?<={EDGE})#|{_NO_HEADING_BEHIND_A_GAP}"
"""Tokens with which marks at the beginning of a line begin no heading."""

_HEADING_BEGUN = re.compile(r"(?:\A|\n)\s*#{1,6}(?P<gap> *)\Z")


class FirstWords(Saying):
    """Begins an answer with a text."""

    def __init__(self, text: str) -> None:
        """Take note."""
        super().__init__()
        self._text = text

    def required(self, at: Position) -> Sequence[int]:
        """The tokens that begin the text or go on with it."""
        if not at.text.strip():
            self._left = self._text.encode()
        return super().required(at)

    def refused(self, at: Position) -> Tokens | Sequence[int]:
        """Behind the text, the tokens that would go on with its last word."""
        is_said = at.text.lstrip() == self._text and self._text[-1:].isalnum()
        return at.having(_GOES_ON) if is_said else ()


class FirstMark(FirstWords):
    """Begins an answer with a mark, where the model doesn't by itself."""

    def required(self, at: Position) -> Sequence[int]:
        """The tokens that begin the mark or go on with it."""
        required = super().required(at)
        return () if list(required) == [at.next_token] else required


class FirstHeading(FirstMark):
    """Begins an answer with a heading in Markdown."""

    def __init__(self) -> None:
        """Take note."""
        super().__init__("#")

    def refused(self, at: Position) -> Tokens | Sequence[int]:
        """Behind the marks that begin a line, what makes a hashtag of them, or no heading."""
        begun = _HEADING_BEGUN.search(at.text)
        if begun is None:
            return ()
        return at.having(_NO_HEADING if begun["gap"] else f"{_NO_GAP}|{_NO_HEADING_BEHIND_A_GAP}")


class LastWords(Saying):
    """Ends an answer with a text, with nothing after it."""

    def __init__(self, text: str, *, is_mark: bool = False) -> None:
        """Take note.

        Args:
            is_mark: whether it may stand elsewhere as well, and has no space before it.
        """
        super().__init__()
        self._text = text
        self._is_mark = is_mark

    def lacks(self, text: str) -> bool:
        """Whether it isn't the end of this text."""
        is_alone = self._is_mark and len(text.strip()) <= len(self._text)
        return is_alone or not text.rstrip().endswith(self._text)

    def refused(self, at: Position) -> Sequence[int]:
        """What would say it as the answer's first words."""
        begun, whole = at.text.lstrip().encode(), self._text.encode()
        if self._is_mark or len(begun) >= len(whole) or not whole.startswith(begun):
            return ()
        return at.vocabulary.token_search.beginnings(whole[len(begun) :])

    def is_full(self, at: Position) -> bool:
        """Whether it has been said."""
        return not (self._is_mark or self.lacks(at.text))

    def more(self, at: Position) -> Sequence[int]:
        """The tokens that begin the text."""
        is_apart = self._is_mark or not at.text or at.text[-1].isspace()
        gap = "" if is_apart else "\n\n" if "\n" in at.text else " "
        self._left = (gap + self._text).encode()
        return super().required(at)

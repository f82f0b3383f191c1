"""What an answer is made of: lines, and something below it.

Knows nothing about what stands in them.
"""

from __future__ import annotations

from collections.abc import Sequence

from amulet_local.llama.token_search import EDGE, Tokens
from amulet_local.preferences.form import Count
from amulet_local.steering.guards.form.holds import unmet
from amulet_local.steering.guards.form.position import Position
from amulet_local.steering.guards.form.saying import Saying
from amulet_local.text.layout import count_lines
from amulet_local.text.sentences import ends_sentence

TAG = "#"
_NEW_LINE = r"\n"


class LineCount(Saying):
    """Keeps the number of lines that aren't blank."""

    def __init__(self, count: Count) -> None:
        """Take note."""
        super().__init__()
        self._count = count

    def is_full(self, at: Position) -> bool:
        """Whether another one would be too much."""
        most = self._count.most
        if most is None or count_lines(at.text) < most or self._is_open(at.text):
            return False
        return at.begins_line or at.next_text.startswith("\n") or at.would_end

    def refused(self, at: Position) -> Sequence[int] | Tokens:
        """In the only line, what would end it in mid-sentence."""
        return at.having(_NEW_LINE) if self._is_open(at.text) else ()

    def lacks(self, text: str) -> bool:
        """Whether there are too few."""
        return self._count.least is not None and count_lines(text) < self._count.least

    def more(self, at: Position) -> Sequence[int]:
        """What begins the next one."""
        self._left = b"" if at.begins_line else b"\n"
        return super().required(at)

    def _is_open(self, text: str) -> bool:
        """Whether this is in a sentence of the only line."""
        return self._count.most == 1 and not ends_sentence(text)

    def unmet(self, text: str) -> str:
        """How many there are, if that is another number."""
        return unmet(count_lines(text), "line", self._count)


class Below(Saying):
    """Puts a mark with something of the model's own below an answer: "P.S." or "#"."""

    def __init__(self, mark: str) -> None:
        """Take note."""
        super().__init__()
        self._mark = mark

    def lacks(self, text: str) -> bool:
        """Whether there is nothing behind the mark, or no mark."""
        return not text.partition(self._mark)[2].strip()

    def refused(self, at: Position) -> Sequence[int] | Tokens:
        """Right behind a "#", what is no tag."""
        is_tag = self._mark == TAG and at.text.endswith(TAG)
        return at.having(rf"(?<={EDGE})[\s#.,!]") if is_tag else ()

    def more(self, at: Position) -> Sequence[int]:
        """The mark."""
        if self._mark in at.text:
            return ()
        gap = " " if self._mark == TAG else "\n\n"
        self._left = f"{gap}{self._mark}".encode()
        return super().required(at)

    def unmet(self, text: str) -> str:
        """That it isn't there."""
        return f"the answer has no {self._mark!r} below it" if self.lacks(text) else ""

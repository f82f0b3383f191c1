"""Text that grows at the bottom of a terminal, as Markdown.

Knows nothing about models. Blocks that are finished are printed once and belong to the terminal's
scrollback from then on; only the last block is drawn again while it grows, from the first line that
is another one than before, in one write: nothing flickers.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable

from amulet_local.cli.chat.markdown import Renderer
from amulet_local.cli.columns import cells, cut
from amulet_local.common.readable import visible

REDRAW_SECONDS = 0.04
"""At most 25 times a second."""

_UNDECIDED = re.compile(r"\s*(\d{1,9}[.)]?|[-+*>#=~`|_]*)\s*")
"""What may yet become a part of the block before it: the next item of a list, say."""
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


class LiveText:
    """A Markdown text that comes in pieces, and a line below it that is no part of it."""

    def __init__(self, renderer: Renderer, put: Callable[[str], None]) -> None:
        """Begin where the cursor is, at the start of a line.

        Args:
            put: writes to the terminal, control sequences and all, at once.
        """
        self._renderer = renderer
        self._put = put
        self._text = ""
        self._below = ""
        self._shown: list[str] = []
        self._is_first = True
        self._drawn_at = 0.0
        self._drawn = ("", "")

    def push(self, text: str, below: str = "") -> None:
        """Add to the text; draws it unless that was just done.

        Args:
            below: a line under it, until the next piece.
        """
        self._text += visible(text)
        self._below = below
        if time.monotonic() - self._drawn_at >= REDRAW_SECONDS:
            self._draw()

    def finish(self) -> None:
        """All of it has come; the cursor goes to the line after it."""
        self._below = ""
        self._draw(is_last=True)
        if self._shown:
            self._put("\n")
        self._shown = []

    def _draw(self, *, is_last: bool = False) -> None:
        if not is_last and self._drawn == (self._text, self._below):
            return
        self._drawn_at = time.monotonic()
        columns, rows = shutil.get_terminal_size()
        width = max(columns - 1, 10)  # the last cell stays free: some terminals wrap there
        done = self._renderer.start_of_last_block(self._text)
        undecided = not is_last and _UNDECIDED.fullmatch(self._text, done) is not None
        shown = self._text[:done] if undecided else self._text
        if undecided:
            done = self._renderer.start_of_last_block(shown)
        lines: list[str] = []
        if shown[:done].strip():
            lines = self._block(shown[:done], width)
            self._is_first = False
        finished = len(lines)
        self._text = self._text[done:]
        if shown[done:].strip():
            lines += self._block(shown[done:], width)
        if self._below:
            lines.append(f"\x1b[2m{cut(visible(self._below), width)}\x1b[0m")
        self._replace(lines, columns, rows)
        self._shown = lines[finished:]
        if finished and not self._shown:  # the cursor stands in a line that is finished
            self._put("\n")
        self._drawn = (self._text, self._below)

    def _block(self, text: str, width: int) -> list[str]:
        lines = self._renderer.lines(text, width)
        return lines if self._is_first else ["", *lines]

    def _replace(self, lines: list[str], columns: int, rows: int) -> None:
        """Draw `lines` in the place of those shown; the cursor is at the end of the last one."""
        shown = self._shown
        heights = [_height(line, columns) for line in shown]
        same = 0
        for before, now in zip(shown, lines):  # noqa: B905 (the shorter one ends it)
            if before != now:
                break
            same += 1
        same = min(same, max(len(lines) - 1, 0))
        while same < len(shown) and sum(heights[same:]) > rows - 1:
            same += 1  # scrolled away, and the terminal's own
        if same < len(shown):
            up = sum(heights[same:]) - 1
            start = (f"\x1b[{up}A" if up else "") + "\r\x1b[J"
        elif same < len(lines):
            start = "\n" if shown else ""
        else:
            return
        self._put(start + "\n".join(lines[same:]))


def _height(line: str, columns: int) -> int:
    """Rows that a terminal shows a line in; a wide character isn't divided between two."""
    text = _STYLE.sub("", line)
    rows = 1
    if cells(text) > columns:
        at = 0
        for character in text:
            at += cells(character)
            if at > columns:
                rows, at = rows + 1, cells(character)
    return rows

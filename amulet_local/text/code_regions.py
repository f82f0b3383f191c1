"""Finds code in an answer while it is written: fenced blocks and inline spans of Markdown.

Knows nothing about tokens or models; it is fed text. By CommonMark's rules as far as they can be
told without knowing what comes next: a run of backticks or tildes counts as soon as it is there,
and an inline span that is never closed ends with its paragraph.
"""

from __future__ import annotations

import re

_BACKTICKS = re.compile("`+")
_BACKTICKS_OR_ESCAPE = re.compile(r"\\.|`+")


class CodeRegions:
    """Says after each piece of text whether what comes next is code.

    A line that begins, after at most three spaces, with three or more backticks or tildes opens a
    fenced block; a line with nothing but at least as many of them closes it. Elsewhere a run of n
    backticks opens an inline span, unless a backslash comes before it, and the next run of n
    closes it.
    """

    def __init__(self) -> None:
        self._fence = ""
        self._span = 0
        self._line = ""

    @property
    def in_code(self) -> bool:
        """Whether the next character belongs to code."""
        return bool(self._fence or _opens_fence(self._line)) or self._span_at_end() > 0

    def push(self, text: str) -> None:
        """Take the next piece of the text."""
        *ended, rest = text.split("\n")
        for part in ended:
            self._line += part
            self._end_line()
        self._line += rest

    def _end_line(self) -> None:
        marker = _opens_fence(self._line)
        if self._fence:
            if marker.startswith(self._fence) and not self._line.strip().strip(marker[0]):
                self._fence = ""
        elif marker:
            self._fence, self._span = marker, 0
        else:
            self._span = self._span_at_end() if self._line.strip() else 0
        self._line = ""

    def _span_at_end(self) -> int:
        """Length of the run that would close the open inline span, 0 outside one."""
        span, position = self._span, 0
        while mark := (_BACKTICKS if span else _BACKTICKS_OR_ESCAPE).search(self._line, position):
            run, position = mark.group(), mark.end()
            if span == 0:
                span = 0 if run[0] == "\\" else len(run)
            elif len(run) == span:
                span = 0
        return span


def _opens_fence(line: str) -> str:
    """The run of three or more markers that a line begins with, or nothing."""
    text = line.lstrip(" ")
    if len(line) - len(text) > 3 or not text or text[0] not in "`~":
        return ""
    rest = text.lstrip(text[0])
    if len(text) - len(rest) < 3 or (text[0] == "`" and "`" in rest):
        return ""
    return text[: len(text) - len(rest)]

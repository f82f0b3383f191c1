"""Questions as lines of text: from a file, a pipe, or a terminal that can only print lines.

Knows nothing about what becomes of them.
"""

from __future__ import annotations

import sys
from typing import Protocol

from amulet_local.cli.inputs import MAX_TEXT_BYTES, check_text
from amulet_local.cli.terminal import stdout_is_terminal, wait_for_line, write
from amulet_local.common.errors import FileAccessError, InvalidTextError

QUOTES = '"""'
PROMPT = "> "
MORE = "  "


class Questions(Protocol):
    """Where questions come from."""

    def ask(self, begun: str = "") -> str:
        """The next one.

        Args:
            begun: what there is of it already.

        Raises:
            EOFError: there is none.
            KeyboardInterrupt: Ctrl-C, where nothing was typed.
        """
        ...


def is_open(text: str) -> bool:
    """Whether a text goes on after this line: three quotes began it, and none ended it."""
    return text.lstrip().startswith(QUOTES) and text.count(QUOTES) % 2 == 1


def without_quotes(text: str) -> str:
    """A text without the three quotes around it."""
    stripped = text.strip()
    if stripped.startswith(QUOTES) and stripped.endswith(QUOTES) and len(stripped) >= 6:
        return stripped[3:-3].strip("\n")
    return text


class Lines:
    """Reads standard input line by line. A backslash at a line's end, or three quotes, joins."""

    def __init__(self, *, shows_prompt: bool) -> None:
        self._shows_prompt = shows_prompt and stdout_is_terminal()
        self._is_over = sys.stdin is None

    def ask(self, begun: str = "") -> str:
        """See Questions; what was begun is of no use here."""
        text = self._line(PROMPT)
        while text.endswith("\\") or is_open(text):
            text = text.removesuffix("\\") + "\n"
            try:
                text += self._line(MORE)
            except EOFError:
                break
        return without_quotes(text)

    def _line(self, prompt: str) -> str:
        if self._is_over:
            raise EOFError
        if self._shows_prompt:
            write(prompt)
            wait_for_line()
        try:
            data = sys.stdin.buffer.readline(MAX_TEXT_BYTES + 1)
        except OSError as error:
            self._is_over = True  # it would fail again, without an end
            raise FileAccessError(f"can't read standard input: {error.strerror}") from None
        if not data:
            raise EOFError
        if len(data) > MAX_TEXT_BYTES:
            raise InvalidTextError(f"a line has more than {MAX_TEXT_BYTES} bytes")
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise InvalidTextError(f"a line isn't UTF-8 text (byte {error.start})") from None
        check_text("a line", text)
        return text.removesuffix("\n").removesuffix("\r")

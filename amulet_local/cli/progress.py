"""How far a command is that makes many answers. Knows nothing about what they are for."""

from __future__ import annotations

import re

from amulet_local.cli.terminal import StatusLine, note, stderr_is_terminal


class AnswersProgress:
    """In place on a terminal, else a line for every tenth of the answers."""

    def __init__(self, n_all: int) -> None:
        """None so far.

        Args:
            n_all: answers that there will be.
        """
        self._line = StatusLine()
        self._is_terminal = stderr_is_terminal()
        self._n_all = n_all
        self._next = 0

    def show(self, text: str) -> None:
        """Say something; what is to be a line begins with "N of M answers"."""
        if self._is_terminal:
            self._line.show(text)
            return
        answers = re.match(r"(\d+) of \d+ answers", text)
        if answers is not None and int(answers[1]) * 10 >= self._next * self._n_all:
            self._next = int(answers[1]) * 10 // self._n_all + 1
            note(text)

    def erase(self) -> None:
        """Remove what is shown on a terminal."""
        self._line.erase()

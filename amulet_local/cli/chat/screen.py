"""Where a chat's answers go: a terminal with Markdown, one without, or a pipe.

Knows nothing about conversations; it shows a stream of pieces.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

from amulet_local.cli.chat.type_ahead import TypeAhead
from amulet_local.cli.columns import wrap
from amulet_local.cli.terminal import (
    ReasoningNote,
    StatusLine,
    has_characters,
    has_colours,
    note,
    one_line,
    stdout_is_terminal,
    visible,
    write,
    write_painted,
    write_raw,
)
from amulet_local.common.results import Chunk, Generation

_MARKS = "•▌─"
"""What Markdown is shown with."""


class Screen:
    """What there is to show things on.

    Attributes:
        is_typed: whether a person types the questions; otherwise they come from a file or pipe.
        is_full: whether that happens on a terminal that can do more than print lines.
        has_colours, has_markdown: how answers are shown.
    """

    def __init__(self, *, markdown: bool | None, verbose: bool = False) -> None:
        """Look at the streams.

        Args:
            markdown: whether it is wanted; None for wherever it can be shown.
            verbose: llama.cpp writes to stderr, so that no line there can be rewritten.
        """
        can_move = stdout_is_terminal() and os.environ.get("TERM", "dumb") != "dumb"
        self.is_typed = sys.stdin is not None and sys.stdin.isatty()
        self.is_full = self.is_typed and can_move
        self.has_colours = has_colours()
        self.has_markdown = (
            can_move and markdown is not False and has_characters(sys.stdout, _MARKS)
        )
        self.has_status = not verbose

    @property
    def width(self) -> int:
        """Cells of a line; 80 where there is no terminal."""
        return shutil.get_terminal_size().columns if stdout_is_terminal() else 80

    def dim(self, text: str) -> None:
        """Write something that is less important than an answer, with its line's end."""
        if stdout_is_terminal():
            text = "\n".join(wrap(visible(text), self.width - 1))
        if self.has_colours:
            write_painted(text, "2")
            write("\n")
        else:
            write(text + "\n")

    def remark(self, text: str) -> None:
        """Say what is no part of an answer: dimmed on a terminal, else on stderr."""
        if self.is_full:
            self.dim(one_line(text))
        else:
            note(text)

    def complain(self, text: str) -> None:
        """Say what is wrong."""
        if self.is_full:
            write("\n".join(wrap(one_line(text), self.width - 1)) + "\n")
        else:
            note(text)

    def text(self, text: str) -> None:
        """Show a whole answer."""
        shown = _MarkdownView() if self.has_markdown else _Plain()
        shown.push(text, "")
        shown.finish()

    @contextlib.contextmanager
    def interrupted_by(self, cancel: Callable[[], None]) -> Iterator[None]:
        """Ctrl-C inside the block calls `cancel`, and a second one is raised as usual.

        Where no person types it is always raised: it ends the program.
        """
        if not self.is_typed:
            yield
            return
        n_pressed = 0

        def pressed(number: int, frame: FrameType | None) -> None:
            nonlocal n_pressed
            n_pressed += 1
            if n_pressed > 1:
                raise KeyboardInterrupt
            cancel()

        before = signal.signal(signal.SIGINT, pressed)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


class AnswerDisplay:
    """Shows one answer while it is made.

    Attributes:
        ahead: what was typed meanwhile: lines that nobody took, and the beginning of one.
    """

    def __init__(self, screen: Screen, typed: Callable[[str], str | None]) -> None:
        """Get ready.

        Args:
            typed: gets each line that is typed meanwhile; returns what to say about it, or None
                if it is to wait.
        """
        self.ahead: tuple[list[str], str] = ([], "")
        self._screen = screen
        self._typed = typed
        self._status = StatusLine(enabled=screen.has_status)

    def progress(self, done: int, total: int) -> None:
        """Tokens of the prompt that are computed."""
        self._status.show(f"reading the prompt: {done} of {total} tokens")

    def run(self, chunks: Iterator[Chunk]) -> Generation:
        """Show all of it; returns the answer."""
        self._status.show("getting ready")
        with contextlib.ExitStack() as stack:
            ahead = stack.enter_context(TypeAhead(ending="/exit")) if self._screen.is_full else None
            return self._show(chunks, ahead)

    def quietly(self, chunks: Iterator[Chunk], what: str, most: int) -> Generation:
        """Show only how far it is."""
        generation = None
        try:
            for n, chunk in enumerate(chunks):
                self._status.show(f"{what}: {n} of at most {most} tokens")
                generation = chunk.generation
        finally:
            self._status.erase()
        assert generation is not None
        return generation

    def _show(self, chunks: Iterator[Chunk], ahead: TypeAhead | None) -> Generation:
        reasoning = ReasoningNote(enabled=True)
        text = _MarkdownView() if self._screen.has_markdown else _Plain()
        waiting: list[str] = []
        said = ""
        generation = None
        try:
            for chunk in chunks:
                self._status.erase()
                for line in ahead.take() if ahead else ():
                    said = self._typed(line) or ""
                    if not said:
                        waiting.append(line)
                reasoning.show(chunk.reasoning)
                if chunk.text:
                    reasoning.end()
                below = f"> {ahead.line}" if ahead and ahead.line else said
                text.push(chunk.text, below)
                generation = chunk.generation
        finally:
            self._status.erase()
            reasoning.end()
            text.finish()
            if ahead is not None:
                self.ahead = ([*waiting, *ahead.take()], ahead.line)
        assert generation is not None
        return generation


class _Plain:
    """As it comes."""

    def __init__(self) -> None:
        self._last = ""

    def push(self, text: str, below: str) -> None:
        if text:
            write(text)
            self._last = text[-1]

    def finish(self) -> None:
        if self._last not in ("", "\n"):
            write("\n")


class _MarkdownView:
    """As Markdown; nothing is drawn before the first word."""

    def __init__(self) -> None:
        from amulet_local.cli.chat.live import LiveText
        from amulet_local.cli.chat.markdown import Renderer

        self._live = LiveText(Renderer(colours=has_colours()), write_raw)
        self._has_begun = False

    def push(self, text: str, below: str) -> None:
        if not self._has_begun:
            text = text.lstrip("\n")
        if text or self._has_begun:
            self._has_begun = True
            self._live.push(text, below)

    def finish(self) -> None:
        self._live.finish()

"""A dim line on a terminal while a command starts, before it can say anything itself.

Python reads hundreds of files until a model can be loaded: half a second on a quiet machine, many
seconds on a busy one or with a cold disk. Knows nothing about what starts. What is written to the
terminal takes the line's place: cli/terminal.py says so here. Imports next to nothing.
"""

from __future__ import annotations

import contextlib
import os
import sys
from _thread import allocate_lock, start_new_thread  # threading takes another millisecond

DELAY_SECONDS = 0.5
"""A command that has said something by then isn't announced."""
TEXT = "getting ready"


class StartLine:
    """The line: it comes by itself, and goes once."""

    def __init__(self, descriptor: int, delay_seconds: float) -> None:
        """Wait with it, in a thread of its own.

        Args:
            descriptor: of the terminal.
            delay_seconds: how long.
        """
        self._delay_seconds = delay_seconds
        self._descriptor = descriptor
        self._lock = allocate_lock()
        self._going = allocate_lock()
        self._going.acquire()
        self._is_over = False
        self._is_shown = False
        start_new_thread(self._come, ())

    def end(self) -> None:
        """Remove it, or keep it from coming."""
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            self._going.release()
            if self._is_shown:
                self._put("\r" + " " * len(TEXT) + "\r")

    def _come(self) -> None:
        if self._going.acquire(timeout=self._delay_seconds):
            return
        with self._lock:
            if not self._is_over:
                self._is_shown = True
                dim, plain = ("", "") if os.environ.get("NO_COLOR") else ("\x1b[2m", "\x1b[0m")
                self._put(f"\r{dim}{TEXT}{plain}")

    def _put(self, text: str) -> None:
        with contextlib.suppress(OSError):
            os.write(self._descriptor, text.encode())


_line: StartLine | None = None


def begin(*, at_once: bool) -> None:
    """Announce the start of this process's command, where a person may be looking.

    Args:
        at_once: for a child, whose parent has taken its time already.
    """
    global _line
    is_dumb = os.environ.get("TERM", "dumb") == "dumb" and os.name == "posix"
    with contextlib.suppress(OSError, ValueError, AttributeError):  # a stderr that is closed
        if sys.stderr.isatty() and not is_dumb:
            _line = StartLine(sys.stderr.fileno(), 0 if at_once else DELAY_SECONDS)


def end() -> None:
    """The command has something to say itself."""
    global _line
    if _line is not None:
        line, _line = _line, None
        line.end()

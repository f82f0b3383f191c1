"""What reaches the terminal, and how.

Knows nothing about models or commands. Model text, file metadata and error messages may hold
characters that act on a terminal: they recolour it, retitle its window, paste into its input or
reverse the reading direction. So on a terminal every such character is shown as an escape such as
"\\x1b", one character at a time: nothing has to be kept between pieces of a stream, and nothing
that follows is swallowed. Into a file or a pipe text goes unchanged, byte for byte, because there
it is data. Characters that an encoding lacks become escapes in both cases.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
from _thread import allocate_lock  # threading takes a script that asks once another millisecond
from collections.abc import Callable

from amulet_local.cli import start_line
from amulet_local.common.errors import FileAccessError
from amulet_local.common.readable import visible as visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from typing import Any, TextIO

STATUS_DELAY_SECONDS = 0.4
"""Work that is done by then is not announced."""


def one_line(text: object) -> str:
    """A text as one line that is safe on any terminal and in any log."""
    return visible(" ".join(str(text).split()))


class TerminalStream:
    """A text stream to a terminal that makes everything written to it visible."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what `visible` makes of `text`."""
        start_line.end()
        self._stream.write(visible(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each line."""
        for line in lines:
            self.write(line)

    def write_raw(self, text: str) -> None:
        """Write as it is: for this program's own control characters."""
        start_line.end()
        self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class RewritingStream:
    """A TerminalStream for a library's bars, which are drawn over one another in one line."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what `visible` makes of `text`, and carriage returns as they are."""
        self._stream.write_raw("\r".join(map(visible, text.split("\r"))))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def prepare_streams() -> None:
    """Make sys.stdout and sys.stderr safe to write any text to. Called once, by `main`."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the caller closed it
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, TerminalStream(stream) if _is_terminal(stream) else stream)


def write(text: str) -> None:
    """Write to stdout at once.

    Raises:
        BrokenPipeError: nobody reads any more.
        FileAccessError: it can't be written, e.g. the disk is full.
    """
    _put(sys.stdout.write, text)


def _put(put: Callable[[str], object], text: str) -> None:
    start_line.end()
    try:
        put(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        silence(sys.stdout)
        raise FileAccessError(f"can't write the output: {error.strerror}") from None


def note(text: object) -> None:
    """Write one line to stderr, in the lines of `noted`, as far as stderr takes it."""
    try:
        sys.stderr.write(noted(one_line(text)) + "\n")
        sys.stderr.flush()
    except OSError:
        silence(sys.stderr)


def remark(text: object) -> None:
    """Write one line to stderr as `note` does, dimmed on a terminal."""
    dim, plain = dimming() if stderr_is_terminal() else ("", "")
    raw: Any = getattr(sys.stderr, "write_raw", sys.stderr.write)
    try:
        for line in noted(one_line(text)).split("\n"):  # no colour runs over the end of one
            raw(dim)
            sys.stderr.write(line)
            raw(f"{plain}\n")
        sys.stderr.flush()
    except OSError:
        silence(sys.stderr)


def noted(line: str) -> str:
    """A line for stderr; on a terminal it goes on below, between words, where it doesn't fit.

    A word that is wider than the terminal, as a path may be, is left whole for who copies it.
    """
    if not stderr_is_terminal():
        return line
    import shutil

    from amulet_local.cli.columns import wrap

    width = max(shutil.get_terminal_size().columns - 1, 20)
    return "\n".join(wrap(line, width, breaks_words=False))


def end_echo() -> None:
    """End the line in which a terminal has shown ^C, so that the shell's prompt isn't in it."""
    if stderr_is_terminal():
        with contextlib.suppress(OSError):
            sys.stderr.write("\n")
            sys.stderr.flush()


def silence(stream: TextIO) -> None:
    """Send what is still buffered, and all that follows, nowhere."""
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, stream.fileno())
        os.close(devnull)
    except (OSError, ValueError):
        pass  # not a real file, or closed already


def stdout_is_terminal() -> bool:
    """Whether a person may be reading stdout."""
    return _is_terminal(sys.stdout)


def stdout_width() -> int | None:
    """Cells of a line on the terminal that stdout is; None where it is none."""
    import shutil

    return max(shutil.get_terminal_size().columns, 20) if stdout_is_terminal() else None


def stderr_is_terminal() -> bool:
    """Whether a person may be reading stderr."""
    return _is_terminal(sys.stderr)


def has_characters(stream: TextIO, text: str) -> bool:
    """Whether the stream's encoding has all the characters of `text`."""
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def separator(stream: TextIO) -> str:
    """Between the figures of a line: a middle dot where the stream's encoding has it."""
    return " · " if has_characters(stream, "·") else " | "


def has_colours() -> bool:
    """Whether stdout is a terminal that shows colours, and its owner wants them (NO_COLOR)."""
    return (
        isinstance(sys.stdout, TerminalStream)
        and os.environ.get("TERM", "dumb") != "dumb"
        and not os.environ.get("NO_COLOR")
    )


def write_painted(text: str, style: str) -> None:
    """Write `text` to a terminal in a style; only where `has_colours`.

    Args:
        style: parameters of the control sequence SGR, e.g. "1;38;5;130"; empty for none.

    Raises:
        As `write`.
    """
    if not style:
        write(text)
        return
    lines = visible(text).split("\n")  # a background must not run over the end of a line
    write_raw("\n".join(f"\x1b[{style}m{line}\x1b[0m" if line else "" for line in lines))


def write_raw(text: str) -> None:
    """Write to a terminal as it is, control sequences and all: what `visible` has been through.

    Raises:
        As `write`.
    """
    stdout: Any = sys.stdout
    _put(stdout.write_raw, text)


def wait_for_line() -> None:
    """Wait until standard input, a terminal, has a line; returns at once where it can't be told.

    Ctrl-C between Python's last look at signals and the beginning of a read would be noticed only
    when the read returns: here it ends the wait at any time.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    if os.name != "posix":  # select takes sockets only
        return
    import select
    import signal

    reading, writing = _signal_pipe()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        while sys.stdin not in select.select([sys.stdin, reading], [], [])[0]:
            os.read(reading, 1)
    finally:
        signal.set_wakeup_fd(before)


@functools.cache
def _signal_pipe() -> tuple[int, int]:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    return reading, writing


def is_dumb() -> bool:
    """Whether a terminal can't rewrite a line."""
    return os.environ.get("TERM", "dumb") == "dumb" and os.name == "posix"


class StatusLine:
    """A dim line on stderr that says what is going on, rewritten in place and erased at the end.

    Shown on a terminal only, and only for work that takes a while: then it comes by itself, also
    while what is going on doesn't call. Any thread may call it.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled and stderr_is_terminal() and not is_dumb()
        self._shown = 0
        self._next = time.monotonic() + STATUS_DELAY_SECONDS
        self._waiting: str | None = None
        self._timer: threading.Timer | None = None
        self._lock = allocate_lock()
        if not enabled:  # something else writes to the terminal
            start_line.end()

    def show(self, text: str) -> None:
        """Replace the line, as soon as it may be."""
        with self._lock:
            if not self._enabled:
                return
            delay = self._next - time.monotonic()
            if delay <= 0:
                self._draw(text)
                return
            self._waiting = text
            if self._timer is None:
                import threading

                self._timer = threading.Timer(delay, self._draw_waiting)
                self._timer.daemon = True
                self._timer.start()

    def erase(self) -> None:
        """Remove the line, and the one of the start."""
        start_line.end()
        with self._lock:
            self._waiting = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._shown:
                self._put("\r" + " " * self._shown + "\r")
                self._shown = 0

    def _draw_waiting(self) -> None:
        with self._lock:
            self._timer = None
            if self._waiting is not None:
                self._draw(self._waiting)

    def _draw(self, text: str) -> None:
        self._waiting = None
        self._next = time.monotonic() + 0.1
        import shutil  # 4 ms that most commands don't need

        text = one_line(text)[: shutil.get_terminal_size().columns - 1]
        dim, plain = dimming()
        self._put(f"\r{dim}{text}{plain}" + " " * (self._shown - len(text)))
        self._shown = len(text)

    def _put(self, text: str) -> None:
        try:
            stderr: Any = sys.stderr
            stderr.write_raw(text)
            sys.stderr.flush()
        except (OSError, AttributeError):
            self._enabled = False


def dimming() -> tuple[str, str]:
    """What begins and ends dim text on stderr, a terminal; both empty for who wants no colours."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb":
        return "", ""
    return "\x1b[2m", "\x1b[0m"


class ReasoningNote:
    """Shows what a thinking model writes to itself, dimmed, on stderr, if that is a terminal."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled and stderr_is_terminal()
        self._dim, self._plain = dimming()
        self._is_open = False

    def show(self, reasoning: str) -> None:
        """Show a piece of it."""
        if self._enabled and reasoning:
            start = "" if self._is_open else "Thinking: "
            self._is_open = True
            self._put(f"{self._dim}{start}{visible(reasoning)}{self._plain}")

    def end(self) -> None:
        """The answer begins, or there is none."""
        if self._is_open:
            self._is_open = False
            self._put("\n\n")

    def _put(self, text: str) -> None:
        try:
            stderr: Any = sys.stderr
            stderr.write_raw(text)
            sys.stderr.flush()
        except (OSError, AttributeError):
            self._enabled = False


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False

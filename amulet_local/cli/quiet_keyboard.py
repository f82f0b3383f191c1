"""A keyboard that isn't echoed: what is typed while nobody asks waits, unseen, for the next prompt.

The prompt shows it, once. Echoed by the terminal as well it would stand there twice, the first time
in the middle of something else. Knows nothing about what is typed. Ctrl-C stays a signal. Imports
next to nothing: a chat's start begins with it.
"""

from __future__ import annotations

import contextlib
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_before: list[tuple[int, list[Any]]] = []
"""How the terminal was, at each `begin` that has no `end` yet."""


def begin() -> int | None:
    """Don't echo from here on; returns the keyboard's descriptor, None where there is none."""
    try:
        import termios
    except ImportError:  # not on Windows
        return None
    try:
        descriptor = sys.stdin.fileno()
        mode = termios.tcgetattr(descriptor)
    except (OSError, ValueError, AttributeError, termios.error):
        return None
    _before.append((descriptor, list(mode)))
    mode[3] &= ~(termios.ICANON | termios.ECHO)
    _set(descriptor, mode)
    return descriptor


def begin_chat(arguments: list[str]) -> None:
    """Don't echo while a chat starts: half a second passes before it has a prompt, or many."""
    is_chat = arguments[:1] == ["chat"] or (arguments[:1] == ["run"] and len(arguments) == 2)
    is_dumb = os.environ.get("TERM", "dumb") == "dumb"
    with contextlib.suppress(OSError, ValueError, AttributeError):  # a stream that is closed
        if is_chat and sys.stdout.isatty() and not is_dumb:
            begin()


def end() -> None:
    """The terminal is as it was before the last `begin`."""
    if _before:
        _set(*_before.pop())


def _set(descriptor: int, mode: list[Any]) -> None:
    import termios

    with contextlib.suppress(OSError, termios.error):  # the terminal may have gone
        termios.tcsetattr(descriptor, termios.TCSANOW, mode)

"""SIGTERM for work that would leave half a file behind, Ctrl-C for work that keeps what is done.

Knows nothing about the work.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def terminated_in_order() -> Iterator[None]:
    """As long as it lasts SIGTERM raises SystemExit, so that what was begun is put away.

    Only the main thread hears of signals: in another one it changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + signal.SIGTERM)  # as a shell says it

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def gone_on_with_later() -> Iterator[None]:
    """Ctrl-C inside the block ends a script that keeps what is done with a line that says so."""
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; the same command goes on from here\n")
        raise SystemExit(128 + signal.SIGINT) from None

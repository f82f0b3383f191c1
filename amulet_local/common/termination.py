"""SIGTERM as an exception, for work that would leave half a file behind.

Knows nothing about the work.
"""

from __future__ import annotations

import signal
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

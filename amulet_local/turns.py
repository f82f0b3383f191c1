"""Who may use the engine: one generation at a time.

Knows nothing about what a generation does. Another thread waits for its turn. The thread whose own
stream is unfinished would wait for itself, so it gets an error instead.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from amulet_local.errors import EngineBusyError, EngineClosedError
from amulet_local.llama.stop_flag import StopFlag


class Turns:
    """Hands out turns until it is shut.

    Attributes:
        stop_flag: cleared at the start of each turn; setting it ends the turn's computation.
    """

    def __init__(self, stop_flag: StopFlag) -> None:
        self.stop_flag = stop_flag
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._stream: weakref.ref[Generator[Any, None, None]] | None = None
        self._is_shut = False

    def check_open(self) -> None:
        """Raise EngineClosedError after `shut`."""
        if self._is_shut:
            raise EngineClosedError("the engine is closed; load the model again")

    @contextmanager
    def take(self, stream: weakref.ref[Generator[Any, None, None]] | None = None) -> Iterator[None]:
        """Wait for a turn and have it inside the block.

        Args:
            stream: the generator in which the block is, if it is in one: `shut` closes it.

        Raises:
            EngineBusyError: this thread has the turn already.
            EngineClosedError: it was shut, before or while waiting.
        """
        me = threading.get_ident()
        if self._owner == me:
            raise EngineBusyError(
                "this engine is in the middle of another generation of the same thread; finish or "
                "close that stream first, or load a second engine"
            )
        with self._lock:
            self.check_open()
            self._owner, self._stream = me, stream
            self.stop_flag.clear()
            try:
                yield
            finally:
                self._owner = self._stream = None

    def shut(self, free: Callable[[], object]) -> None:
        """End the running turn, let nobody in any more, and call `free`. May be called twice."""
        self._is_shut = True
        self.stop_flag.set()
        while not self._lock.acquire(timeout=0.01):
            stream = self._stream() if self._stream else None
            if stream is not None:
                # A stream that nobody advances ends here. One that is executing in another thread
                # can't be closed from this one; the stop flag ends it.
                with contextlib.suppress(ValueError):
                    stream.close()
        try:
            free()
        finally:
            self._lock.release()

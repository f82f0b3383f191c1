"""Who may use the engine, and when its memory may be freed.

Knows nothing about what a generation does. One generation has the turn at a time, for as long as
its stream is open; another thread waits for it. Memory is freed when the engine is closed and no
thread is inside native code: a stream that is merely unfinished doesn't hold it up.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from amulet_local.common.errors import EngineBusyError, EngineClosedError
from amulet_local.common.locking import new_condition
from amulet_local.llama.stop_flag import StopFlag

PATIENCE_SECONDS = 30.0
"""How long another thread waits for a stream that nobody advances."""

_LOOK_SECONDS = 0.2
"""A thread that waits looks again after this time: an interrupt may have lost the one who tells."""

ENGINE_BUSY = (
    "this engine is in the middle of another stream; finish or close that one first, or load a "
    "second engine"
)


def check_process(loaded_in: int) -> None:
    """Whether a model is used where it was loaded.

    Args:
        loaded_in: that process.

    Raises:
        EngineClosedError: this is a fork of it, which has none of the model's threads.
    """
    if os.getpid() != loaded_in:
        raise EngineClosedError(
            "the model was loaded before this process was forked, and doesn't go on in it; load it "
            "in each process"
        )


class _IdleWatch:
    """How long one waiter has seen nothing happen.

    A look that comes late counts as one in time: where this process doesn't get the processor, the
    stream doesn't either.
    """

    def __init__(self) -> None:
        self._seen: object = None
        self._idle_seconds = 0.0
        self._looked = time.monotonic()

    def ends(self, activity: object) -> bool:
        """Whether it is at its end.

        Args:
            activity: another value than at the last look, or None, if something has happened.
        """
        now = time.monotonic()
        waited = min(now - self._looked, 2 * _LOOK_SECONDS)
        idle = activity is not None and activity == self._seen
        self._idle_seconds = self._idle_seconds + waited if idle else 0.0
        self._seen, self._looked = activity, now
        return self._idle_seconds > PATIENCE_SECONDS


class StreamLock:
    """Turns and the end of an engine.

    Attributes:
        stop_flag: cleared at the start of each turn; setting it ends the turn's computation.
        leave: `leave(visit, None)` ends a visit; native, so that no interrupt comes before it has.
    """

    def __init__(
        self, stop_flag: StopFlag, free: Callable[[], None], *, busy: str = ENGINE_BUSY
    ) -> None:
        """Nobody has the turn.

        Args:
            free: frees the memory.
            busy: the message for those who don't get a turn.
        """
        self.stop_flag = stop_flag
        self._free = free
        self._busy = busy
        self._freed = False
        self._closed = False
        self._process = os.getpid()
        # Re-entrant, because a signal handler may close the engine in a thread that holds it.
        self._lock, self._changed = new_condition()
        self._inside: dict[object, int] = {}  # visits and their threads
        self.leave = self._inside.pop
        self._holder: object | None = None
        self._owner: int | None = None
        self._n_visits = 0

    def check_open(self) -> None:
        """Raise EngineClosedError after `close`, and in a process that was forked from this one."""
        check_process(self._process)
        if self._closed:
            raise EngineClosedError("the engine is closed; load the model again")

    @contextmanager
    def using(self) -> Iterator[None]:
        """Keep the memory from being freed inside the block. Not to be held across a yield.

        Raises:
            EngineClosedError: the engine was closed.
        """
        visit = object()
        try:
            self.enter(visit)
            yield
        finally:
            self.leave(visit, None)
            self.after_leaving()

    def enter(self, visit: object) -> None:
        """Begin what `using` does, and what has to end in the same way, also if this fails.

        Raises:
            EngineClosedError: the engine was closed.
        """
        self._inside[visit] = threading.get_ident()
        self.check_open()
        self._n_visits += 1

    def after_leaving(self) -> None:
        """Free the memory, if that is left to who leaves last."""
        if self._closed:
            with self._lock:
                self._free_if_unused()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the turn and have it inside the block, which may yield.

        Raises:
            EngineBusyError: this thread began the stream that has the turn, or nobody has advanced
                that stream for PATIENCE_SECONDS of this wait.
            EngineClosedError: the engine was closed, before or while waiting.
        """
        me = object()
        try:
            with self._lock:
                patience = _IdleWatch()
                while self._holder is not None:
                    if self._owner == threading.get_ident() or patience.ends(self._activity()):
                        raise EngineBusyError(self._busy)
                    self._changed.wait(_LOOK_SECONDS)
                    self.check_open()
                self._holder = me
                self._owner = threading.get_ident()
            self.stop_flag.clear()
            if self._closed:  # between: the flag that `close` set must not be lost
                self.stop_flag.set()
            self.check_open()
            yield
        finally:
            with self._lock:
                if self._holder is me:
                    self._holder = self._owner = None
                self._changed.notify_all()

    def close(self, timeout_seconds: float | None = None) -> None:
        """Let nobody in any more, end what is running, and free the memory.

        Returns when it is freed. Called by a thread that is inside itself (a callback, a signal
        handler), it returns at once, and the memory is freed on that thread's way out.

        Args:
            timeout_seconds: how long to wait for other threads; the last one out frees then.
        """
        self._closed = True
        self.stop_flag.set()
        with self._lock:
            if threading.get_ident() in list(self._inside.values()):
                return
            until = None if timeout_seconds is None else time.monotonic() + timeout_seconds
            while self._inside and (until is None or time.monotonic() < until):
                self._changed.wait(_LOOK_SECONDS)
            self._free_if_unused()

    def _activity(self) -> object:
        """What changes whenever the stream goes on; None while it is at it."""
        return None if self._inside else (self._holder, self._n_visits)

    def _free_if_unused(self) -> None:
        if not self._inside and not self._freed:
            self._freed = True
            self._free()
        self._changed.notify_all()

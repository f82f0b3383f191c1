"""Hands things from other threads to coroutines of an event loop: one wake-up for many of them.

Waking a loop lets it have the interpreter at once. A scheduler that woke it itself would wait for
it instead of computing the next tokens meanwhile, so a thread that has nothing else to do does.
Knows nothing about what is handed over.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections import deque
from queue import SimpleQueue
from typing import Any

_mailboxes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Mailbox] = (
    weakref.WeakKeyDictionary()
)


class Mailbox:
    """What has come for the queues of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Empty."""
        self._loop = weakref.ref(loop)
        self._items: deque[tuple[asyncio.Queue[Any], Any]] = deque()
        self._is_woken = False

    @staticmethod
    def here() -> Mailbox:
        """That of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in _mailboxes:
            _mailboxes[loop] = Mailbox(loop)
        return _mailboxes[loop]

    def put(self, queue: asyncio.Queue[Any], item: Any) -> None:
        """Put an item into a queue of the loop, in order; from any thread."""
        self._items.append((queue, item))
        if not self._is_woken:
            self._is_woken = True
            _waker.wake(self)

    def wake(self) -> None:
        """Let the loop empty it."""
        loop = self._loop()
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
            if loop is not None:
                loop.call_soon_threadsafe(self._empty)

    def _empty(self) -> None:
        self._is_woken = False  # first: what comes from now on wakes the loop again
        while self._items:
            queue, item = self._items.popleft()
            queue.put_nowait(item)


class _Waker:
    """The thread that wakes loops, from the first time on that one has to be."""

    def __init__(self) -> None:
        self._mailboxes: SimpleQueue[Mailbox] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def wake(self, mailbox: Mailbox) -> None:
        self._mailboxes.put(mailbox)
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._run, name="amulet-waker", daemon=True
                    )
                    self._thread.start()

    def _run(self) -> None:
        while True:
            self._mailboxes.get().wake()


_waker = _Waker()

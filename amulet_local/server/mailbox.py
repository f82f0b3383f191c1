"""Hands things from other threads to coroutines of an event loop: one wake-up for many of them.

Waking a loop lets it have the interpreter at once. A scheduler that hands over a token of each of
many answers would wait for the loop at each of them, instead of computing the next ones meanwhile.
Knows nothing about what is handed over.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import deque
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
            loop = self._loop()
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
                if loop is not None:
                    loop.call_soon_threadsafe(self._empty)

    def _empty(self) -> None:
        self._is_woken = False  # first: what comes from now on wakes the loop again
        while self._items:
            queue, item = self._items.popleft()
            queue.put_nowait(item)

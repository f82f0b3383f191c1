"""HTTP connections with time limits where uvicorn has none.

Knows nothing about requests. A head that doesn't arrive and a client that doesn't read end the
connection; of too many connections the last ones get 503 at once.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from amulet_local.server.failures import RETRY_AFTER_SECONDS
from amulet_local.server.limits import Limits

_BODY = (
    b'{"error": {"message": "too many connections", "type": "unavailable_error", '
    b'"param": null, "code": "too_many_connections"}}'
)
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"retry-after: %d\r\ncontent-length: %d\r\n\r\n%s" % (RETRY_AFTER_SECONDS, len(_BODY), _BODY)
)


class LimitedProtocol(H11Protocol):
    """One connection."""

    limits: ClassVar[Limits] = Limits()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.access_log = False  # its lines have the query; access.py writes better ones
        self._head_timer: asyncio.TimerHandle | None = None
        self._stuck_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection in, or send it away."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.n_connections:
            transport.write(_FULL)
            transport.close()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._stop(self._head_timer, self._stuck_timer)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Work on what arrived; once a head is complete its time limit is over."""
        if self.transport.is_closing():
            return
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._stop(self._head_timer)

    def on_response_complete(self) -> None:
        """The next head may come."""
        if not self.transport.is_closing():
            self._await_head()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client doesn't read: it has a while."""
        super().pause_writing()
        self._stop(self._stuck_timer)
        self._stuck_timer = self.loop.call_later(self.limits.stuck_seconds, self._abort)

    def resume_writing(self) -> None:
        """It reads."""
        self._stop(self._stuck_timer)
        super().resume_writing()

    def _await_head(self) -> None:
        self._stop(self._head_timer)
        self._head_timer = self.loop.call_later(self.limits.head_seconds, self._abort)

    def _abort(self) -> None:
        self.transport.abort()

    @staticmethod
    def _stop(*timers: asyncio.TimerHandle | None) -> None:
        for timer in timers:
            if timer is not None:
                timer.cancel()


def protocol_with(limits: Limits) -> type[LimitedProtocol]:
    """Connections with these limits."""
    return type("LimitedProtocol", (LimitedProtocol,), {"limits": limits})

"""A queue in front of some places, and the thread that advances them.

Knows nothing about models or HTTP. Every request that was taken in gets its pieces and an end, or
one error; nothing is lost.
"""

from __future__ import annotations

import threading
from collections import deque

from amulet_local.answering.request import Request
from amulet_local.common.closing import Closing
from amulet_local.common.errors import (
    AmuletError,
    BackendError,
    CancelledError,
    EngineClosedError,
    InvalidParameterError,
    QueueFullError,
)
from amulet_local.llama.rows import Progress
from amulet_local.serving.places import Places
from amulet_local.serving.ticket import Deliver, Ticket

_PATIENCE_SECONDS = 1.0
"""For the computation that is under way when the pool is closed."""


class Pool(Closing):
    """Requests that are answered at the same time."""

    def __init__(self, places: Places, *, n_waiting: int) -> None:
        """Start the thread.

        Args:
            places: belong to the pool from now on.
            n_waiting: most requests that wait for a place.
        """
        self.n_waiting = n_waiting
        self._places = places
        self._waiting: deque[Ticket] = deque()
        self._active: set[Ticket] = set()
        self._changed = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="amulet-scheduler", daemon=True)
        self._thread.start()

    @property
    def n_places(self) -> int:
        """Requests at once."""
        return self._places.n_places

    @property
    def scheduler(self) -> str:
        """How the places are computed: "interleaved" or "batched"."""
        return self._places.scheduler

    @property
    def active(self) -> tuple[Ticket, ...]:
        """Requests that have a place, in the order in which they got it."""
        with self._changed:
            return tuple(sorted(self._active, key=lambda ticket: ticket.admitted_seconds or 0.0))

    @property
    def n_active(self) -> int:
        """Requests that have a place."""
        return len(self._active)

    @property
    def n_queued(self) -> int:
        """Requests that wait for one."""
        return len(self._waiting)

    def check(self, request: Request) -> None:
        """Refuse a request that has more rows than a place.

        Raises:
            InvalidParameterError: it has.
        """
        n_rows, limit = len(request.prompts), self._places.max_rows
        if n_rows > limit:
            raise InvalidParameterError(
                f"this request needs {n_rows} prompts, the plain one and one for each preference, "
                f"and {limit} are allowed here; give fewer preferences"
            )

    def submit(
        self,
        request: Request,
        deliver: Deliver,
        *,
        progress: Progress | None = None,
        again: bool = False,
    ) -> Ticket:
        """Take a request in.

        Args:
            deliver, progress: see Ticket.
            again: part of a request that was taken in before; the queue's limit isn't for it.

        Raises:
            QueueFullError: every place is taken and as many wait as may.
            InvalidParameterError: see `check`.
            EngineClosedError: the pool is closed.
        """
        self.check(request)
        ticket = Ticket(request, deliver, self._wake, progress)
        with self._changed:
            if self._ending:
                raise EngineClosedError("the model is being closed")
            room = self.n_places - len(self._active) + self.n_waiting
            if len(self._waiting) >= room and not again:
                raise QueueFullError(
                    f"{self.n_places} requests are being answered and {len(self._waiting)} are "
                    f"waiting; try again later"
                )
            self._waiting.append(ticket)
            self._changed.notify_all()
        return ticket

    def drain(self) -> None:
        """Take nothing in any more, and end what is under way; from any thread."""
        with self._changed:
            self._ending = True
            for ticket in (*self._waiting, *self._active):
                ticket.control.cancel()
            self._changed.notify_all()

    def close(self) -> None:
        """End everything and free the memory. May be called twice."""
        self.drain()
        self._thread.join(_PATIENCE_SECONDS)
        self._places.interrupt()
        self._thread.join()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            while self._admit():
                self._advance()
        finally:
            self._places.close()

    def _admit(self) -> bool:
        """Wait for work and give out free places; False at the end."""
        with self._changed:
            while True:
                left = [ticket for ticket in self._waiting if ticket.control.cancelled]
                for ticket in left:
                    self._waiting.remove(ticket)
                    ticket.hand_over(CancelledError("the request was cancelled while it waited"))
                while self._waiting and len(self._active) < self.n_places:
                    ticket = self._waiting.popleft()
                    ticket.admit()
                    self._active.add(ticket)
                    self._places.admit(ticket)
                if self._active:
                    return True
                if self._ending:
                    return False
                self._changed.wait()

    def _advance(self) -> None:
        try:
            for ticket, piece in self._places.advance():
                if isinstance(piece, AmuletError) or piece.generation is not None:
                    with self._changed:  # first: who gets the end may ask again at once
                        self._active.discard(ticket)
                ticket.hand_over(piece)
        except Exception as error:  # a bug: nobody may wait for ever
            problem = BackendError(f"unexpected {type(error).__name__} in the scheduler")
            with self._changed:
                lost, self._active = self._active, set()
                self._ending = True
                lost.update(self._waiting)
                self._waiting.clear()
            for ticket in lost:
                ticket.hand_over(problem)
            raise

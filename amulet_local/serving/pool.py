"""A queue in front of some places, and the thread that advances them.

Knows nothing about models or HTTP. Every request that was taken in gets its pieces and an end, or
one error; nothing is lost.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

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
from amulet_local.common.locking import new_condition
from amulet_local.llama.prefill import Progress
from amulet_local.serving.places import NamedPlaces, Places, SavedState
from amulet_local.serving.ticket import Deliver, Ticket

_T = TypeVar("_T")
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
        self._named = places if isinstance(places, NamedPlaces) else None
        self._waiting: deque[Ticket] = deque()
        self._active: set[Ticket] = set()
        self._errands: list[tuple[int, Callable[[], Any], Future[Any]]] = []
        self._lock, self._changed = new_condition()
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
    def has_named_places(self) -> bool:
        """Whether a request may name its place, and have its own scales of LoRA adapters there."""
        return self._named is not None

    @property
    def at_places(self) -> list[Ticket | None]:
        """Who has which place; where they have no names, those who have one come first."""
        with self._lock:
            if self._named is None:
                active = sorted(self._active, key=lambda ticket: ticket.admitted_seconds or 0.0)
                return [*active, *[None] * (self.n_places - len(active))]
            taken = {ticket.place: ticket for ticket in self._active}
            return [taken.get(place) for place in range(self.n_places)]

    @property
    def n_active(self) -> int:
        """Requests that have a place."""
        return len(self._active)

    @property
    def n_queued(self) -> int:
        """Requests that wait for one."""
        return len(self._waiting)

    def check(self, request: Request) -> None:
        """Refuse a request that has more rows than a place, or what the places can't do.

        Raises:
            InvalidParameterError: it has; there is no such place; adapters can't be scaled.
        """
        n_named = 0 if self._named is None else self.n_places
        if request.place is not None and not 0 <= request.place < n_named:
            raise InvalidParameterError(
                f"there is no place {request.place} that could be named; there are {n_named}"
            )
        if request.adapter_scales is not None and self._named is None:
            raise InvalidParameterError(
                "all places share the adapters' scales here; --scheduler interleaved lets each "
                "request have its own"
            )
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
        with self._lock:
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

    def export(self, place: int) -> Future[list[SavedState]]:
        """What a place has in memory of each row, once it is free.

        Args:
            place: its number.

        Raises:
            InvalidParameterError: places have no names here.
            EngineClosedError: the pool is closed; also in the future.
        """
        return self._errand(place, lambda places: places.export(place))

    def restore(self, place: int, rows: Sequence[SavedState]) -> Future[bool]:
        """Let a place have what was exported, once it is free; False where that can't be.

        Args and Raises: as `export`.
        """
        return self._errand(place, lambda places: places.restore(place, rows))

    def forget(self, place: int) -> Future[int]:
        """Empty a place, once it is free; how many tokens of a row there were.

        Args and Raises: as `export`.
        """
        return self._errand(place, lambda places: places.forget(place))

    @staticmethod
    def no_names() -> InvalidParameterError:
        """The error of who asks something of a place where none has a name."""
        return InvalidParameterError(
            "places share their memory here; --scheduler interleaved gives each its own"
        )

    def drain(self) -> None:
        """Take nothing in any more, and end what is under way; from any thread."""
        with self._lock:
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
        with self._lock:
            self._changed.notify_all()

    def _errand(self, place: int, do: Callable[[NamedPlaces], _T]) -> Future[_T]:
        named, done = self._named, Future[_T]()
        if named is None:
            raise self.no_names()
        with self._lock:
            if self._ending:
                raise EngineClosedError("the model is being closed")
            self._errands.append((place, lambda: do(named), done))
            self._changed.notify_all()
        return done

    def _run(self) -> None:
        try:
            while self._admit():
                self._run_errands()
                if self._active:
                    self._advance()
        finally:
            for _, _, done in self._errands:
                if done.set_running_or_notify_cancel():
                    done.set_exception(EngineClosedError("the model is being closed"))
            self._places.close()

    def _run_errands(self) -> None:
        """Those at places that are free."""
        with self._lock:
            ready = [errand for errand in self._errands if self._is_free(errand[0])]
            self._errands = [errand for errand in self._errands if errand not in ready]
        for _, do, done in ready:
            if not done.set_running_or_notify_cancel():
                continue  # who asked for it has gone
            try:
                done.set_result(do())
            except Exception as error:
                done.set_exception(error)

    def _admit(self) -> bool:
        """Wait for work and give out free places; False at the end."""
        with self._lock:
            while True:
                left = [ticket for ticket in self._waiting if ticket.control.cancelled]
                for ticket in left:
                    self._waiting.remove(ticket)
                    ticket.hand_over(CancelledError("the request was cancelled while it waited"))
                while (first := self._next()) is not None:
                    self._waiting.remove(first)
                    first.admit()
                    self._active.add(first)
                    self._places.admit(first)
                if self._active or (self._errands and not self._ending):
                    return True
                if self._ending:
                    return False
                self._changed.wait()

    def _is_free(self, place: int) -> bool:
        return self._named is not None and self._named.is_free(place)

    def _next(self) -> Ticket | None:
        """The first that waits and can have a place; errands at a place come before."""
        if len(self._active) >= self.n_places:
            return None
        if self._named is None:
            return self._waiting[0] if self._waiting else None
        wanted = {place for place, *_ in self._errands}
        free = {n for n in range(self.n_places) if self._is_free(n)} - wanted
        for ticket in self._waiting:
            place = ticket.request.place
            if place in free or (place is None and free):
                return ticket
        return None

    def _advance(self) -> None:
        try:
            for ticket, piece in self._places.advance():
                if isinstance(piece, AmuletError) or piece.generation is not None:
                    with self._lock:  # first: who gets the end may ask again at once
                        self._active.discard(ticket)
                ticket.hand_over(piece)
        except Exception as error:  # a bug: nobody may wait for ever
            problem = BackendError(f"unexpected {type(error).__name__} in the scheduler")
            with self._lock:
                lost, self._active = self._active, set()
                self._ending = True
                lost.update(self._waiting)
                self._waiting.clear()
            for ticket in lost:
                ticket.hand_over(problem)
            raise

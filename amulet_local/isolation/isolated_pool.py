"""A pool of an engine that is in a child process.

Places, queue and tickets are the child's; here are a ticket's pieces as they come, and a thread
that hands them over. Knows nothing about how requests are computed.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

from amulet_local.answering.request import Request
from amulet_local.common.errors import AmuletError, EngineClosedError
from amulet_local.isolation.calls import CallOutcome, Inbox
from amulet_local.llama.prefill import Progress
from amulet_local.serving.places import SavedState
from amulet_local.serving.pool import Pool
from amulet_local.serving.ticket import Deliver, Ticket

OPEN_POOL, ASK_POOL, SUBMIT, ERRAND = "open pool", "ask pool", "submit", "errand"


class Caller(Protocol):
    """What an engine in a child process can do for a pool: see IsolatedEngine."""

    def call(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Have the child do something."""

    def begin(self, name: str, inbox: Callable[[int], Inbox], **parts: Any) -> int:
        """Begin a call whose outcomes go to an inbox."""

    def end(self, n: int) -> None:
        """Take nothing more of a call."""

    def steer(self, n: int, request: Request | None = None) -> None:
        """Have a call go on as another request, or end."""


class IsolatedPool(Pool):
    """Requests that are answered at the same time, in the child."""

    def __init__(self, engine: Caller, settings: dict[str, Any]) -> None:
        """Open it there.

        Args:
            settings: the arguments of `Engine.pool`.

        Raises:
            As that.
        """
        self.n_waiting = settings["waiting"]
        self._engine = engine
        opened: tuple[int, int, str, bool] = engine.call(OPEN_POOL, **settings)
        self._number, self._n_places, self._scheduler, self._has_names = opened
        self._tickets: dict[int, Ticket] = {}
        self._is_closed = False
        self._deliveries = ThreadPoolExecutor(1, "amulet-deliveries")

    @property
    def n_places(self) -> int:
        """See Pool."""
        return self._n_places

    @property
    def scheduler(self) -> str:
        """See Pool."""
        return self._scheduler

    @property
    def has_named_places(self) -> bool:
        """See Pool."""
        return self._has_names

    @property
    def at_places(self) -> list[Ticket | None]:
        """See Pool."""
        return [self._tickets.get(number) for number in self._ask("at_places")]

    @property
    def n_active(self) -> int:
        """See Pool."""
        return int(self._ask("n_active"))

    @property
    def n_queued(self) -> int:
        """See Pool."""
        return int(self._ask("n_queued"))

    def check(self, request: Request) -> None:
        """See Pool."""
        self._ask("check", request)

    def submit(
        self,
        request: Request,
        deliver: Deliver,
        *,
        progress: Progress | None = None,
        again: bool = False,
    ) -> Ticket:
        """See Pool; `deliver` and `progress` are called in a thread of this process."""
        taken: list[_FarTicket] = []

        def inbox(n: int) -> Inbox:
            taken.append(_FarTicket(request, deliver, progress, self, n))
            return taken[0]

        n = self._engine.begin(
            SUBMIT, inbox, arguments=(self._number, request, progress is not None, again)
        )
        (ticket,) = taken
        try:
            refused = ticket.taken.get()
            if refused is not None:
                raise refused
        except BaseException:
            self.steer(n)
            self.forget_ticket(n)
            raise
        return ticket

    def export(self, place: int) -> Future[list[SavedState]]:
        """See Pool."""
        return self._errand_there("export", place)

    def restore(self, place: int, rows: Sequence[SavedState]) -> Future[bool]:
        """See Pool."""
        return self._errand_there("restore", place, rows)

    def forget(self, place: int) -> Future[int]:
        """See Pool."""
        return self._errand_there("forget", place)

    def drain(self) -> None:
        """See Pool."""
        self._ask("drain")

    def close(self) -> None:
        """See Pool."""
        self._is_closed = True
        with suppress(AmuletError):  # the engine, and with it the pool, is closed or has died
            self._ask("close")
        self._deliveries.shutdown()

    def steer(self, n: int, request: Request | None = None) -> None:
        """Have a ticket go on as another request, or end.

        Args:
            n: of its call.
            request: None ends it.
        """
        self._engine.steer(n, request)

    def keep_ticket(self, n: int, ticket: Ticket) -> None:
        """Note whose call that is."""
        self._tickets[n] = ticket

    def forget_ticket(self, n: int) -> None:
        """Take nothing more of a ticket's call."""
        self._tickets.pop(n, None)
        self._engine.end(n)

    def later(self, do: Callable[..., object], *arguments: Any) -> None:
        """Call something in the thread that hands pieces over; nothing once it has ended."""
        with suppress(RuntimeError):
            self._deliveries.submit(do, *arguments)

    def _ask(self, name: str, *arguments: Any) -> Any:
        return self._engine.call(ASK_POOL, self._number, name, *arguments)

    def _errand_there(self, name: str, *arguments: Any) -> Future[Any]:
        if not self.has_named_places:
            raise self.no_names()
        if self._is_closed:
            raise EngineClosedError("the model is being closed")
        done = _FarFuture(self._engine)
        self._engine.begin(ERRAND, done.numbered, arguments=(self._number, name, *arguments))
        return done


class _FarTicket(Ticket):
    """A ticket whose request is in the child.

    Attributes:
        taken: gets None when the child has taken the request in, or why it hasn't; a queue, whose
            methods are native, so that Ctrl-C can't leave its lock taken.
    """

    def __init__(
        self,
        request: Request,
        deliver: Deliver,
        progress: Progress | None,
        pool: IsolatedPool,
        n: int,
    ) -> None:
        super().__init__(request, deliver, lambda: None, progress)
        self.taken: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._is_taken = False
        self._pool, self._n = pool, n
        pool.keep_ticket(n, self)

    def cancel(self) -> None:
        """See Ticket."""
        self._pool.steer(self._n)

    def change(self, request: Request) -> None:
        """See Ticket."""
        self._pool.steer(self._n, request)

    def put(self, came: CallOutcome) -> None:
        """Take what has come; called in the thread that reads."""
        if came.kind == "piece":
            self.place, self.admitted_seconds, piece = came.value
            if isinstance(piece, AmuletError) or piece.generation is not None:
                self._pool.forget_ticket(self._n)
            self._pool.later(self.hand_over, piece)
        elif came.kind == "event" and self.progress is not None:
            self._pool.later(self.progress, *came.value[1])
        elif came.kind == "value":
            self._is_taken = True
            self.taken.put(None)
        elif came.kind == "error" and not self._is_taken:
            self.taken.put(came.value)
        elif came.kind == "error":
            self._pool.forget_ticket(self._n)
            self._pool.later(self.hand_over, came.value)


class _FarFuture(Future[Any]):
    """What comes of a call, later."""

    def __init__(self, engine: Caller) -> None:
        super().__init__()
        self._engine, self._n = engine, 0

    def numbered(self, n: int) -> Inbox:
        """This, as the inbox of a call of that number."""
        self._n = n
        return self

    def put(self, came: CallOutcome) -> None:
        """Take what has come; called in the thread that reads."""
        self._engine.end(self._n)
        if not self.set_running_or_notify_cancel():
            return
        if came.kind == "error":
            self.set_exception(came.value)
        else:
            self.set_result(came.value)

"""The child's side: an engine whose methods are called from another process.

Each call has a thread of its own; the engine itself says whose turn it is. Knows nothing about who
calls.
"""

from __future__ import annotations

import operator
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from amulet_local.answering.generation import Control
from amulet_local.answering.request import Request
from amulet_local.common.errors import AmuletError, CancelledError
from amulet_local.common.results import Chunk
from amulet_local.engine import Engine
from amulet_local.isolation.calls import CallAnswer, CallOutcome, EngineCall, Steer, as_known
from amulet_local.isolation.isolated_pool import ASK_POOL, ERRAND, OPEN_POOL, SUBMIT
from amulet_local.llama.prefill import Progress
from amulet_local.loading.child_process import Channel
from amulet_local.params.runtime import RuntimeParams
from amulet_local.preferences.user_settings import UserModelSettings
from amulet_local.prompts.dialogue import Dialogue
from amulet_local.serving.pool import Pool
from amulet_local.serving.ticket import Ticket

_LAST_SECONDS = 2.0
STREAM, STREAM_ALL, MADE = "pieces", "all pieces", "made"
_LATER = object()
LOADED = 0
"""The number of the call that loads the engine."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What an engine's attributes of these names are."""

    runtime: RuntimeParams
    n_ctx: int
    own_settings: UserModelSettings
    warnings: tuple[str, ...]


def serve(channel: Channel, model: str, runtime: RuntimeParams, tells_progress: bool) -> None:
    """Load an engine, and do what is asked until nobody asks any more."""

    def progress(share: float) -> None:
        channel.send(CallOutcome(n=LOADED, kind="event", value=("load_progress", (share,))))

    try:
        engine = _CalledEngine(model, runtime, load_progress=progress if tells_progress else None)
    except BaseException as error:
        channel.send(CallOutcome(n=LOADED, kind="error", value=as_known(error)))
        return
    description = Description(
        runtime=engine.runtime,
        n_ctx=engine.n_ctx,
        own_settings=engine.own_settings,
        warnings=engine.warnings,
    )
    channel.send(CallOutcome(n=LOADED, kind="value", value=description))
    _ServedEngine(channel, engine).run()


def is_plain(value: Any) -> bool:
    """Whether a value means the same in another process: addresses of native memory don't."""
    if isinstance(value, str | bytes | int | float | Path | None):
        return True
    if isinstance(value, tuple | list):
        return all(map(is_plain, value))
    if isinstance(value, Mapping):
        return all(is_plain(part) for item in value.items() for part in item)
    return is_dataclass(value) and all(is_plain(getattr(value, f.name)) for f in fields(value))


class _CalledEngine(Engine):
    def made(self, messages: Any, **ask: Any) -> Any:
        """A request or the error that it came to, and what the conversation remembers."""
        made: Request | AmuletError
        try:
            made = self._request(messages, **ask)
        except AmuletError as error:
            made = error
        return made, messages.memory if isinstance(messages, Dialogue) else None

    def pieces(
        self, request: Request, progress: Progress | None, control: Control
    ) -> Iterator[Chunk]:
        """Those of an answer to a request that was made."""
        return self._stream(request, progress, control)


class _ServedEngine:
    def __init__(self, channel: Channel, engine: _CalledEngine) -> None:
        self._channel, self._engine = channel, engine
        self._controls: dict[int, Control | Ticket | _Asking] = {}
        self._pools: list[Pool] = []
        self._threads: list[threading.Thread] = []
        self._own: dict[str, Callable[[EngineCall], Any]] = {
            STREAM: self._stream,
            STREAM_ALL: self._stream_all,
            OPEN_POOL: self._open_pool,
            ASK_POOL: self._ask_pool,
            SUBMIT: self._submit,
            ERRAND: self._errand,
        }

    def run(self) -> None:
        """Take what comes, until the other side is gone."""
        try:
            while True:
                message = self._channel.receive()
                if isinstance(message, Steer):
                    self._steer(message)
                elif isinstance(message, CallAnswer):
                    asking = self._controls.get(message.n)
                    if isinstance(asking, _Asking):
                        asking.said.put(message)
                elif message.name == "cancel":
                    self._engine.cancel()
                elif message.name in (SUBMIT, ERRAND):  # in the order in which they come
                    self._answer(message)
                else:
                    if message.name == STREAM:
                        self._controls[message.n] = Control()
                    elif message.name == STREAM_ALL:
                        self._controls[message.n] = _Asking(self._channel, message.n)
                    thread = threading.Thread(target=self._answer, args=(message,), daemon=True)
                    self._threads = [one for one in self._threads if one.is_alive()] + [thread]
                    thread.start()
        except EOFError:
            self._engine.close()
            for thread in self._threads:  # what was ended has its last piece
                thread.join(_LAST_SECONDS)

    def _steer(self, steer: Steer) -> None:
        control = self._controls.get(steer.n)
        if control is not None and steer.request is None:
            control.cancel()
        elif isinstance(control, Control | Ticket):
            control.change(steer.request)

    def _answer(self, call: EngineCall) -> None:
        kind: str
        value: Any
        try:
            own = self._own.get(call.name)
            kind, value = ("value", own(call)) if own else self._called(call)
        except BaseException as error:
            kind, value = "error", as_known(error)
        if value is not _LATER:
            self._channel.send(CallOutcome(n=call.n, kind=kind, value=value))

    def _called(self, call: EngineCall) -> tuple[str, Any]:
        found = operator.attrgetter(call.name)(self._engine)
        if call.gets:
            return ("value", found) if is_plain(found) else ("far", None)
        events = {name: self._event(call.n, name) for name in call.events}
        return "value", found(*call.arguments, **call.named, **events)

    def _event(self, n: int, name: str) -> Callable[..., None]:
        def tell(*arguments: Any) -> None:
            self._channel.send(CallOutcome(n=n, kind="event", value=(name, arguments)))

        return tell

    def _stream(self, call: EngineCall) -> None:
        progress = self._event(call.n, "prompt_progress") if call.events else None
        control = self._controls[call.n]
        assert isinstance(control, Control)
        try:
            for chunk in self._engine.pieces(call.arguments[0], progress, control):
                self._channel.send(CallOutcome(n=call.n, kind="piece", value=chunk))
        finally:
            del self._controls[call.n]

    def _stream_all(self, call: EngineCall) -> None:
        (asks_width,), named = call.arguments, call.named
        asking = self._controls[call.n]
        assert isinstance(asking, _Asking)
        if asks_width:
            named = {**named, "at_once": lambda *row: asking.ask("at_once", *row)}
        try:
            with closing(self._engine.stream_all(asking.requests(), **named)) as pieces:
                asking.wait()
                for came in pieces:
                    self._channel.send(CallOutcome(n=call.n, kind="piece", value=came))
                    asking.wait()
        finally:
            del self._controls[call.n]

    def _open_pool(self, call: EngineCall) -> tuple[int, int, str, bool]:
        pool = self._engine.pool(**call.named)
        self._pools.append(pool)
        return len(self._pools) - 1, pool.n_places, pool.scheduler, pool.has_named_places

    def _ask_pool(self, call: EngineCall) -> Any:
        number, name, *arguments = call.arguments
        found = getattr(self._pools[number], name)
        if callable(found):
            found = found(*arguments)
        if name == "at_places":
            numbers = {id(ticket): n for n, ticket in list(self._controls.items())}
            return [numbers.get(id(ticket)) for ticket in found]
        return found

    def _errand(self, call: EngineCall) -> object:
        number, name, *arguments = call.arguments

        def tell(done: Future[Any]) -> None:
            error = done.exception()
            kind, value = ("error", as_known(error)) if error else ("value", done.result())
            self._channel.send(CallOutcome(n=call.n, kind=kind, value=value))

        getattr(self._pools[number], name)(*arguments).add_done_callback(tell)
        return _LATER

    def _submit(self, call: EngineCall) -> None:
        number, request, tells_progress, again = call.arguments
        known = threading.Event()
        ticket: Ticket | None = None

        def deliver(piece: Chunk | AmuletError) -> None:
            known.wait()
            assert ticket is not None
            if ticket.done:
                self._controls.pop(call.n, None)
            value = (ticket.place, ticket.admitted_seconds, piece)
            self._channel.send(CallOutcome(n=call.n, kind="piece", value=value))

        progress = self._event(call.n, "progress") if tells_progress else None
        ticket = self._pools[number].submit(request, deliver, progress=progress, again=again)
        self._controls[call.n] = ticket
        known.set()


class _Asking:
    """A call that asks its caller for what it needs, and waits to be told to go on.

    Attributes:
        said: what the caller has said; None is the end.
    """

    def __init__(self, channel: Channel, n: int) -> None:
        self._channel, self._n = channel, n
        self.said: queue.SimpleQueue[CallAnswer | None] = queue.SimpleQueue()

    def cancel(self) -> None:
        """Wait for nothing any more."""
        self.said.put(None)

    def wait(self) -> Any:
        """What the caller says next.

        Raises:
            CancelledError: it has left.
        """
        said = self.said.get()
        if said is None:
            self.said.put(None)
            raise CancelledError("who asked for all of it has left")
        return said.value

    def ask(self, *what: Any) -> Any:
        """The caller's answer to something."""
        self._channel.send(CallOutcome(n=self._n, kind="asks", value=what))
        return self.wait()

    def requests(self) -> Iterator[Any]:
        """The caller's, one after the other."""
        while found := self.ask("requests"):
            yield from found

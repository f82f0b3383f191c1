"""The child's side: an engine whose methods are called from another process.

Each call has a thread of its own; the engine itself says whose turn it is. Knows nothing about who
calls.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from amulet_local.answering.generation import Control
from amulet_local.answering.request import Request
from amulet_local.common.errors import AmuletError
from amulet_local.common.results import Chunk
from amulet_local.engine import Engine
from amulet_local.isolation.calls import CallOutcome, EngineCall, Steer, as_known, packed
from amulet_local.llama.rows import Progress
from amulet_local.loading.child_process import Channel
from amulet_local.params.runtime import RuntimeParams
from amulet_local.preferences.user_settings import UserModelSettings
from amulet_local.prompts.dialogue import Dialogue

_LAST_SECONDS = 2.0
STREAM, MADE = "pieces", "made"
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
        channel.send(CallOutcome(n=LOADED, kind="error", value=packed(as_known(error))))
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
        """A request or the packed error that it came to, and what the conversation remembers."""
        made: Request | tuple[Any, ...]
        try:
            made = self._request(messages, **ask)
        except AmuletError as error:
            made = packed(error)
        return made, messages.memory if isinstance(messages, Dialogue) else None

    def pieces(
        self, request: Request, progress: Progress | None, control: Control
    ) -> Iterator[Chunk]:
        """Those of an answer to a request that was made."""
        return self._stream(request, progress, control)


class _ServedEngine:
    def __init__(self, channel: Channel, engine: _CalledEngine) -> None:
        self._channel, self._engine = channel, engine
        self._controls: dict[int, Control] = {}
        self._threads: list[threading.Thread] = []

    def run(self) -> None:
        """Take what comes, until the other side is gone."""
        try:
            while True:
                message = self._channel.receive()
                if isinstance(message, Steer):
                    self._steer(message)
                elif message.name == "cancel":
                    self._engine.cancel()
                else:
                    if message.name == STREAM:
                        self._controls[message.n] = Control()
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
        elif control is not None:
            control.change(steer.request)

    def _answer(self, call: EngineCall) -> None:
        kind: str
        value: Any
        try:
            if call.name == STREAM:
                self._stream(call)
                kind, value = "value", None
            else:
                kind, value = self._called(call)
        except BaseException as error:
            kind, value = "error", packed(as_known(error))
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
        try:
            stream = self._engine.pieces(call.arguments[0], progress, self._controls[call.n])
            for chunk in stream:
                self._channel.send(CallOutcome(n=call.n, kind="piece", value=chunk))
        finally:
            del self._controls[call.n]

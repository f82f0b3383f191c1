"""An engine whose model is in a child process: what ends that is an error here.

It has an engine's methods but for those whose work is another process's own. Prompts are made and
answers computed in the child; a piece of an answer costs a message. Knows nothing about how.
"""

from __future__ import annotations

import itertools
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from amulet_local.answering.ask import AskMessages
from amulet_local.answering.generation import Control
from amulet_local.answering.request import Request
from amulet_local.common.errors import AmuletError, EngineBusyError, EngineClosedError
from amulet_local.common.results import Chunk
from amulet_local.conversation.turn_draft import AnswerSource
from amulet_local.engine import Engine
from amulet_local.isolation.calls import CallAnswer, CallOutcome, EngineCall, Inbox, Steer
from amulet_local.isolation.isolated_pool import IsolatedPool
from amulet_local.isolation.served_engine import LOADED, MADE, STREAM, STREAM_ALL
from amulet_local.llama.execution_plan import ExecutionPlan
from amulet_local.llama.prefill import Progress
from amulet_local.loading import model_store
from amulet_local.loading.child_process import ChildProcess
from amulet_local.loading.stream_lock import ENGINE_BUSY, check_process
from amulet_local.params.choices import Scheduler
from amulet_local.params.runtime import RuntimeParams
from amulet_local.prompts.dialogue import Dialogue
from amulet_local.prompts.prompter import Messages
from amulet_local.serving.continuous import N_AHEAD, Pieces, Width
from amulet_local.serving.pool import Pool
from amulet_local.serving.together import Outcome

_SERVE = "amulet_local.isolation.served_engine:serve"


_FAR = object()
_EVENTS = ("prompt_progress", "progress", "answered")
"""Arguments that are functions: they are called here."""
_ALONE = frozenset(
    ("generate_from_tokens", "score", "log_ratios", "learn", "answer_all", "measure_costs")
)
"""What waits for the engine's turn."""


def _forwarded(name: str) -> Any:
    """A method that the child's engine has."""

    def method(self: IsolatedEngine, *arguments: Any, **named: Any) -> Any:
        return self.call(name, *arguments, **named)

    method.__doc__ = "See Engine."
    return method


class IsolatedEngine(Engine):
    """An engine in a child process.

    If the child dies, the calls that are under way raise the error that says why, and the engine is
    closed.

    Attributes:
        model: what an engine's `model` has; each attribute is asked for in the child.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        runtime: RuntimeParams,
        *,
        load_progress: Callable[[float], None] | None = None,
    ) -> None:
        self._numbers = itertools.count(LOADED + 1)
        self._inboxes: dict[int, Inbox] = {LOADED: queue.SimpleQueue()}
        self._in_stream_all: int | None = None  # the thread that has its turn there
        self._death: AmuletError | None = None
        self._changing = threading.Lock()
        self._is_closed = False
        self._process = os.getpid()
        self._lock: Any = self  # what an engine asks its lock for is below
        self._file = model_store.find_model(model)
        self._child = ChildProcess(
            _SERVE,
            os.fspath(model),
            runtime,
            load_progress is not None,
            take=self._take_message,
            ended=self._ended,
        )
        try:
            told = self._outcome(LOADED, {"load_progress": load_progress})
        except BaseException:
            self.close()
            raise
        self.runtime, self.n_ctx = told.runtime, told.n_ctx
        self.own_settings, self.warnings = told.own_settings, told.warnings
        self.model: Any = _Far(self, "model")

    def __repr__(self) -> str:
        return self._in_short(os.path.basename(self._file))

    def close(self) -> None:
        """End the child; a running generation ends first. May be called twice."""
        self._is_closed = True
        self.cancel()
        self._child.close()

    def cancel(self) -> None:
        """See Engine."""
        if self._death is None:
            self._child.send(EngineCall(n=0, name="cancel"))

    def check_open(self) -> None:
        """Raise EngineClosedError after `close`, after the child's death, and in a fork."""
        check_process(self._process)
        if self._is_closed or self._death is not None:
            raise EngineClosedError("the engine is closed; load the model again")

    @contextmanager
    def using(self) -> Iterator[None]:
        """The engine is used inside the block.

        Raises:
            EngineClosedError: it was closed.
        """
        self.check_open()
        yield

    def _open_pool(self, **settings: Any) -> Pool:
        self._check_turn()
        return IsolatedPool(self, settings)

    def stream_all(
        self,
        requests: Iterable[Request | AmuletError | None],
        *,
        at_once: int | Width | None = None,
        scheduler: Scheduler = "batched",
        n_ahead: int = N_AHEAD,
    ) -> Pieces:
        """See Engine."""
        self.check_open()
        named = {"at_once": at_once, "scheduler": scheduler, "n_ahead": n_ahead}
        return self._all_pieces(iter(requests), named)

    check_chat = _forwarded("check_chat")
    generate_from_tokens = _forwarded("generate_from_tokens")
    score = _forwarded("score")
    log_ratios = _forwarded("log_ratios")
    learn = _forwarded("learn")
    prompts = _forwarded("prompts")
    request = _forwarded("request")
    request_from_tokens = _forwarded("request_from_tokens")
    suitable_width = _forwarded("suitable_width")
    measure_costs = _forwarded("measure_costs")
    save_prompt_cache = _forwarded("save_prompt_cache")
    load_prompt_cache = _forwarded("load_prompt_cache")
    forget = _forwarded("forget")

    def answer_all(
        self, requests: Iterable[Request | AskMessages | str], **named: Any
    ) -> list[Outcome]:
        """See Engine."""
        outcomes: list[Outcome] = self.call("answer_all", list(requests), **named)
        return outcomes

    @property
    def plan(self) -> ExecutionPlan:
        """Schedule and threads of the rows."""
        plan: ExecutionPlan = self.get("plan")
        return plan

    @property
    def adapters(self) -> Any:
        """LoRA adapters and control vectors in use, or what stands for them here."""
        return self.get("adapters")

    def get(self, path: str) -> Any:
        """An attribute of the child's engine, or what stands for one that has to stay there.

        Args:
            path: its name, or names with dots.
        """
        found = self._outcome(self._send(path, gets=True), {})
        return _Far(self, path) if found is _FAR else found

    def call(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Have the child do something.

        Args:
            name: of a method of its engine, or a path of attributes.
            *arguments, **named: of it; functions among the named ones are called here.

        Raises:
            As the method, and what the child died of.
        """
        if name in _ALONE:
            self._check_turn()
        events = {key: value for key, value in named.items() if key in _EVENTS and value}
        plain = {key: value for key, value in named.items() if key not in _EVENTS}
        n = self._send(name, arguments=arguments, named=plain, events=tuple(events))
        return self._outcome(n, events)

    def begin(self, name: str, inbox: Callable[[int], Inbox], **parts: Any) -> int:
        """Begin a call; returns its number.

        Args:
            name: as for `call`.
            inbox: makes what takes its outcomes, until `end`; called with the number.
            **parts: of the EngineCall.
        """
        with self._changing:
            self.check_open()
            n = next(self._numbers)
            self._inboxes[n] = inbox(n)
        self._child.send(EngineCall(n=n, name=name, **parts))
        return n

    def end(self, n: int) -> None:
        """Take nothing more of a call."""
        self._inboxes.pop(n, None)

    def steer(self, n: int, request: Request | None = None) -> None:
        """Have a stream go on as another request, or end.

        Args:
            n: the number of its call.
            request: None ends it.
        """
        self._child.send(Steer(n=n, request=request))

    def _request(
        self,
        messages: Messages | Dialogue,
        *,
        answer: Sequence[int] | None = None,
        **ask: Any,
    ) -> Request:
        made, memory = self.call(MADE, messages, answer=answer, **ask)
        if isinstance(messages, Dialogue):
            messages.memory.keep(memory.rows)
        if isinstance(made, AmuletError):
            raise made
        request: Request = made
        return request

    def _stream(
        self, request: Request, prompt_progress: Progress | None, control: Control
    ) -> Generator[Chunk, None, None]:
        self._check_turn()
        events = {"prompt_progress": prompt_progress} if prompt_progress else {}
        n = self._send(STREAM, arguments=(request,), events=tuple(events))
        remote: Any = _Remote(self, n)
        is_done = False
        try:
            with control.running(remote):
                for came in self._arriving(n, events):
                    if came.kind != "piece":
                        is_done = True
                        break
                    changed = control.take()
                    if changed is not None:
                        self.steer(n, changed)
                    yield came.value
        finally:
            if not is_done:
                self.steer(n)
            self.end(n)

    def _all_pieces(
        self, requests: Iterator[Request | AmuletError | None], named: dict[str, Any]
    ) -> Pieces:
        """See `stream_all`. Each step is asked for: what the child asks comes in this thread."""

        def taken(name: str, *arguments: Any) -> Any:
            return list(itertools.islice(requests, 1)) if name == "requests" else width(*arguments)

        self._check_turn()
        width = named["at_once"]
        if callable(width):
            named = {**named, "at_once": None}
        n = self._send(STREAM_ALL, named=named, arguments=(callable(width),))
        is_done = False
        try:
            while not is_done:
                self._in_stream_all = threading.get_ident()
                self._child.send(CallAnswer(n=n))
                for came in self._arriving(n, {}):
                    if came.kind != "asks":
                        break
                    self._child.send(CallAnswer(n=n, value=taken(*came.value)))
                is_done = came.kind != "piece"
                if not is_done:
                    yield came.value
        finally:
            self._in_stream_all = None
            if not is_done:
                self.steer(n)
            self.end(n)

    def _check_turn(self) -> None:
        """Refuse what would wait for this thread's own `stream_all`."""
        if self._in_stream_all == threading.get_ident():
            raise EngineBusyError(ENGINE_BUSY)

    def _answer_source(self) -> AnswerSource:
        self.check_open()
        return AnswerSource(
            request=self._request, stream=self._stream, n_ctx=self.n_ctx, model=self._file.name
        )

    def _send(self, name: str, **parts: Any) -> int:
        """Begin a call, with these parts of a EngineCall; returns its number."""
        return self.begin(name, lambda _: queue.SimpleQueue(), **parts)

    def _outcome(self, n: int, events: dict[str, Any]) -> Any:
        try:
            for came in self._arriving(n, events):
                return _FAR if came.kind == "far" else came.value
        except KeyboardInterrupt:
            self.cancel()
            raise
        finally:
            self.end(n)

    def _arriving(self, n: int, events: dict[str, Any]) -> Iterator[CallOutcome]:
        """What comes of a call, but for its events, which their functions are called with.

        Raises:
            What came as an error.
        """
        inbox = self._inboxes[n]
        assert isinstance(inbox, queue.SimpleQueue)
        while True:
            came = inbox.get()
            if came.kind == "event":
                name, arguments = came.value
                events[name](*arguments)
            elif came.kind == "error":
                raise came.value
            else:
                yield came

    def _take_message(self, came: CallOutcome) -> None:
        inbox = self._inboxes.get(came.n)
        if inbox is not None:
            inbox.put(came)

    def _ended(self, error: AmuletError | None) -> None:
        """The child is no more: every call under way has that for its outcome."""
        closed = EngineClosedError("the engine is closed; load the model again")
        with self._changing:
            self._death = error or closed
            for n, inbox in list(self._inboxes.items()):
                inbox.put(CallOutcome(n=n, kind="error", value=self._death))


class _Remote:
    """A stop flag of a stream in the child."""

    def __init__(self, engine: IsolatedEngine, n: int) -> None:
        self._engine, self._n = engine, n

    def set(self) -> None:
        """End it."""
        self._engine.steer(self._n)


class _Far:
    """Something of the child's engine, by the path of its attributes."""

    def __init__(self, engine: IsolatedEngine, path: str) -> None:
        self._engine, self._path = engine, path

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._engine.get(f"{self._path}.{name}")

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._engine.call(self._path, *arguments, **named)

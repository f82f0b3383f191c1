"""Workers in child processes of this machine, so that no file of a model ends a job.

Knows nothing about lines or about what a worker does with them.
"""

from __future__ import annotations

import itertools
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from amulet_local.batch.crew import CrewAnswers, Patience
from amulet_local.batch.entries import Form
from amulet_local.batch.line_answers import KeyedLine
from amulet_local.batch.line_fields import JobSettings
from amulet_local.batch.line_worker import LineWorker, Reply, Started, WorkerJob
from amulet_local.batch.model_source import ModelSource
from amulet_local.batch.workers import Came, Event, Lost, Ready
from amulet_local.common.closing import Closing
from amulet_local.common.errors import AmuletError, BackendError
from amulet_local.common.version import package_version
from amulet_local.loading.approved_files import needs_isolation
from amulet_local.loading.child_process import Channel, ChildProcess
from amulet_local.loading.isolated import is_isolated
from amulet_local.loading.model_store import find_model, names_of
from amulet_local.params.runtime import RuntimeParams
from amulet_local.preferences.user_settings import settings_of_model

PATIENCE = Patience(suspect_after=1, give_up_after=2, most_useless=4)
"""A line that was under way when the child died is made alone; if that dies as well, it has an
error instead of an answer."""
WIDEST_LINES = 64
"""Lines that the worker has where it finds out itself how many it answers at once."""

_RUN = "amulet_local.batch.child_workers:answer_lines"


@contextmanager
def answers_in_child(
    model: str,
    runtime: RuntimeParams,
    settings: JobSettings,
    *,
    form: Form | None,
    at_once: int | None,
    warn: Callable[[str], None],
) -> Iterator[tuple[str, CrewAnswers]]:
    """The digits of a job's settings, and what answers its lines in a child process.

    Args:
        model: a path or a name.
        runtime: how it is loaded.
        settings, form: see JobModel.
        at_once: answers at once; None measures it.
        warn: takes what the user should know.

    Raises:
        ModelNotFoundError: there is no such model.
        BackendError: it can't be loaded.
    """
    path = find_model(model)
    names = names_of(model, path)
    job = WorkerJob(
        version=package_version(),
        source=ModelSource(name=model, files=(), folder=path.parent, on_hub=None),
        runtime=runtime,
        settings=settings,
        form=form,
        names=names,
        own_settings=settings_of_model(names),
        settings_file=None,
        at_once=at_once,
        scheduler="interleaved" if runtime.reproducible else "batched",
    )
    with ChildWorkers(job, path) as workers:
        digits = workers.first_digits()
        yield (
            digits,
            CrewAnswers(
                workers,
                n_workers=1,
                n_lines_each=WIDEST_LINES if at_once is None else 2 * at_once,
                warn=warn,
                patience=PATIENCE,
            ),
        )


class ChildWorkers(Closing):
    """One worker at a time, in a child process: see Workers. Closing it ends it."""

    def __init__(self, job: WorkerJob, path: Path) -> None:
        """None is started yet.

        Args:
            path: the model's file, here.
        """
        self._job, self._path = job, path
        self._numbers = itertools.count()
        self._children: dict[int, ChildProcess] = {}
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._first: int | None = None
        self._digits = ""

    def first_digits(self) -> str:
        """The digits of the job's settings, which a worker knows once it has loaded its model.

        Raises:
            BackendError: none can.
        """
        self._first = self.start()
        event = self._events.get()
        if isinstance(event, Lost):
            raise BackendError(event.reason)
        self._events.put(event)
        return self._digits

    def now(self) -> float:
        """See Workers."""
        return time.monotonic()

    def room(self) -> int:
        """See Workers."""
        return 1

    def start(self) -> int:
        """See Workers; the first one runs already, if `first_digits` was called."""
        if self._first is not None:
            number, self._first = self._first, None
            return number
        number = next(self._numbers)
        self._children[number] = ChildProcess(
            *(_RUN, self._job, self._path),
            take=partial(self._take, number),
            ended=partial(self._end, number),
        )
        return number

    def exchange(
        self, worker: int, lines: Sequence[KeyedLine], *, ends: bool, gather_seconds: float
    ) -> None:
        """See Workers."""
        self._children[worker].send((list(lines), ends, gather_seconds))

    def wait(self, seconds: float) -> Sequence[Event]:
        """See Workers."""
        try:
            events = [self._events.get(timeout=seconds)]
        except queue.Empty:
            return []
        while not self._events.empty():
            events.append(self._events.get())
        for event in events:
            if isinstance(event, Lost) and event.worker in self._children:
                self._children.pop(event.worker).close()
        return events

    def stop(self, worker: int) -> None:
        """See Workers."""
        self._children.pop(worker).kill()

    def close(self) -> None:
        """End the worker; one that waits for lines in order, so that what it ran counts."""
        for child in self._children.values():
            child.close()
        self._children.clear()

    def _take(self, worker: int, message: tuple[Started, str] | Reply) -> None:
        reason = message.failed if isinstance(message, Reply) else message[0].failed
        if reason:
            self._events.put(Lost(worker=worker, reason=reason))
        elif isinstance(message, Reply):
            came = Came(
                worker=worker,
                outcomes=message.outcomes,
                n_running_tokens=message.n_running_tokens,
                n_tokens=message.n_tokens,
            )
            self._events.put(came)
        else:
            started, self._digits = message
            ready = Ready(worker=worker, where=started.where, warnings=started.warnings)
            self._events.put(ready)

    def _end(self, worker: int, error: AmuletError | None) -> None:
        if error is not None:
            self._events.put(Lost(worker=worker, reason=str(error)))


class WorkerApart(LineWorker):
    """A worker whose model is in a child process where its file isn't approved, so that who asks it
    hears what llama.cpp died of: the end of a worker's own process says nothing of that."""

    def __init__(self, job: WorkerJob) -> None:
        """Nothing is loaded yet."""
        super().__init__(job)
        self._child: ChildProcess | None = None
        self._from_child: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def exchange(self, lines: Sequence[KeyedLine], *, ends: bool, gather_seconds: float) -> Reply:
        """See LineWorker."""
        if self._child is None:
            return super().exchange(lines, ends=ends, gather_seconds=gather_seconds)
        self._child.send((list(lines), ends, gather_seconds))
        reply = self._from_child.get()
        if isinstance(reply, Reply):
            return reply
        return Reply(outcomes=(), n_running_tokens=0, n_tokens=0, failed=self._end_in_words(reply))

    def close(self) -> None:
        """See LineWorker."""
        if self._child is not None:
            self._child.close()
        super().close()

    def _load(self, path: Path) -> Started:
        runtime = self._job.runtime
        if is_isolated() or not needs_isolation(path, runtime.isolate, runtime.use):
            return super()._load(path)
        self._child = ChildProcess(
            *(_RUN, self._job, path), take=self._from_child.put, ended=self._from_child.put
        )
        came = self._from_child.get()
        return came[0] if isinstance(came, tuple) else self._unusable(self._end_in_words(came))

    def _end_in_words(self, error: AmuletError | None) -> str:
        return str(error or "the process that runs the model has ended")


def answer_lines(channel: Channel, job: WorkerJob, path: Path) -> None:
    """The child: a worker's calls, one after the other."""
    worker = LineWorker(job)
    started = worker.start_at(path)
    channel.send((started, "" if started.failed else worker.settings_digits))
    try:
        while True:
            lines, ends, gather_seconds = channel.receive()
            channel.send(worker.exchange(lines, ends=ends, gather_seconds=gather_seconds))
    finally:
        worker.close()

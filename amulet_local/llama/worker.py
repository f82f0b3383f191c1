"""A lasting thread that runs native calls, so that the caller's thread can be interrupted.

Knows nothing about llama.cpp. Python handles Ctrl-C in the main thread between two bytecodes, never
inside a native call: so native calls run here, and the caller waits where it can be interrupted.
An interrupt may come at any bytecode, so nothing is handed over in a way that could be lost: a job
keeps its outcome, and can be waited for again.
"""

from __future__ import annotations

import select
import sys
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

Task = Callable[[], Any]

LOOKING_SECONDS = 0.001
"""How long a thread that has done its own share looks for the others' outcome before it sleeps.
To be woken takes some 50 microseconds, in a virtual machine more."""


def _let_others_run() -> None:
    """Let another thread have the interpreter, if one wants it."""
    if sys.platform == "win32":
        time.sleep(0)
    else:  # where a sleep, even of 0, lasts as long as the timer's slack: 50 microseconds
        select.select((), (), (), 0)


class Job:
    """A task and, once it has run, its result or exception."""

    def __init__(self, task: Task) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self._task = task
        self._finished = False
        self._running = threading.Lock()
        self._running.acquire()

    def run(self) -> None:
        """Run the task; called by the worker, once."""
        try:
            self.result = self._task()
        except BaseException as error:  # handed to the thread that waits
            self.error = error
        self._finished = True  # before the release: who wakes up finds it set
        self._running.release()

    def wait(self, looking_seconds: float = 0.0) -> None:
        """Return when the task has run. May be interrupted and called again.

        Args:
            looking_seconds: how long to look before going to sleep.
        """
        until = time.perf_counter() + looking_seconds
        while not self._finished and time.perf_counter() < until:
            _let_others_run()
        while not self._finished:
            self._running.acquire()


class Worker:
    """One thread that runs one job at a time, in order."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Run a job after those submitted before it."""
        self._jobs.put(job)

    def drain(self) -> None:
        """Wait until everything that was submitted has run."""
        fence = Job(_nothing)
        self.submit(fence)
        fence.wait()

    def close(self) -> None:
        """End the thread, after the jobs that it has."""
        self._jobs.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()
            del job


def _nothing() -> None:
    pass


def run_together(
    workers: Sequence[Worker],
    tasks: Sequence[Task],
    on_interrupt: Callable[[], None],
    *,
    first_here: bool = False,
) -> list[Any]:
    """Run one task on each worker at the same time and wait for all.

    Args:
        workers: at least one for each task that isn't run here.
        tasks: native calls.
        on_interrupt: ends the tasks early.
        first_here: run the first task in this thread. That saves two hand-overs between threads,
            and an interrupt has to wait until the task is done.

    An exception in the waiting thread (KeyboardInterrupt) calls `on_interrupt`, waits for the tasks
    to end, and goes on; so does the first exception of a task. No task is left running, however
    often the wait is interrupted.
    """
    jobs = [Job(task) for task in tasks]
    interruption: BaseException | None = None
    try:
        for worker, job in zip(workers, jobs[first_here:], strict=False):
            worker.submit(job)
        if first_here:
            jobs[0].run()
        for job in jobs:
            job.wait(LOOKING_SECONDS if first_here else 0.0)
    except BaseException as error:
        interruption = error
        drained = False
        while not drained:
            try:
                on_interrupt()
                for worker in workers:
                    worker.drain()
                drained = True
            except BaseException as again:
                interruption = again
    failure = interruption or next((job.error for job in jobs if job.error is not None), None)
    if failure is not None:
        raise failure
    return [job.result for job in jobs]

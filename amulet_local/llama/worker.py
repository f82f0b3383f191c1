"""A lasting thread that runs native calls, so that the caller's thread can be interrupted.

Knows nothing about llama.cpp. Python handles Ctrl-C in the main thread between two bytecodes, never
inside a native call: so native calls run here, and the caller waits where it can be interrupted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

Task = Callable[[], Any]


class Worker:
    """One thread that runs one task at a time."""

    def __init__(self, name: str) -> None:
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._outcomes: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def start(self, task: Task) -> None:
        """Begin a task. `outcome` has to be called once for each."""
        self._tasks.put(task)

    def outcome(self) -> tuple[Any, BaseException | None]:
        """Wait for the task's result or exception."""
        return self._outcomes.get()

    def close(self) -> None:
        """End the thread, after the task that it is running."""
        self._tasks.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            outcome: tuple[Any, BaseException | None]
            try:
                outcome = (task(), None)
            except BaseException as error:  # handed to the thread that waits
                outcome = (None, error)
            self._outcomes.put(outcome)
            del task, outcome


def run_together(
    workers: Sequence[Worker], tasks: Sequence[Task], on_interrupt: Callable[[], None]
) -> list[Any]:
    """Run one task on each worker at the same time and wait for all.

    An exception in the waiting thread (KeyboardInterrupt) calls `on_interrupt`, waits for the tasks
    to end, and goes on; so does the first exception of a task. No task is left running.
    """
    for worker, task in zip(workers, tasks, strict=True):
        worker.start(task)
    outcomes: list[tuple[Any, BaseException | None]] = []
    interruption: BaseException | None = None
    while len(outcomes) < len(workers):
        try:
            outcomes.append(workers[len(outcomes)].outcome())
        except BaseException as error:
            interruption = error
            on_interrupt()
    failure = interruption or next((error for _, error in outcomes if error is not None), None)
    if failure is not None:
        raise failure
    return [result for result, _ in outcomes]

"""The threads that compute rows: which do, how many work on one row, and what suits a step.

Knows nothing about tokens, nor about which rows there are.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from amulet_local.llama.execution_plan import ExecutionPlan, Schedule
from amulet_local.llama.pace import Pace
from amulet_local.llama.row import Course, Row
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.llama.worker import Task, Worker, run_together

SHORT_SECONDS = 0.1
"""A row may be computed in the caller's thread where a step took less than this, because a Ctrl-C
has to wait for it. Not with several threads a row: OpenMP would keep a pool of them for the caller
beside the worker's, and spin less for having more threads than there are cores."""


UNEVEN = 1.1
"""Prompts of several rows are read one after the other, by all threads each, where the threads that
have most to do would otherwise have so many times their share. Half of the threads take a little
less than twice as long."""


class ComputeRow(Protocol):
    """Computes a token of every row, the first row in the caller's thread if `here`."""

    def __call__(self, *, here: bool) -> None: ...


class RowThreads:
    """Threads that last, and how they are shared out.

    Attributes:
        plan: how rows are computed.
    """

    def __init__(
        self, plan: ExecutionPlan, stop_flag: StopFlag, workers: list[Worker] | None
    ) -> None:
        """No threads yet.

        Args:
            stop_flag: ends what is computed, for an interrupt.
            workers: as for RowSet.
        """
        self.plan = plan
        self._stop_flag = stop_flag
        self._workers: list[Worker] = [] if workers is None else workers
        self._is_pools = workers is not None
        self._paces: dict[tuple[Schedule, int], Pace] = {}
        self._n_threads = 0
        self._steps_are_short = False

    def at_once(self, n_rows: int) -> int:
        """Rows that are computed at the same time: no more than there are threads."""
        if self.plan.schedule != "parallel":
            return 1
        return n_rows if self.plan.threads_per_row else min(n_rows, self.plan.n_threads)

    def share_out(self, rows: Sequence[Row], n_threads: int | None = None) -> None:
        """Split the threads, or `n_threads` of them, between the rows that are computed at once."""
        plan = self.plan
        at_once = self.at_once(len(rows))
        n_threads = max(1, (n_threads or plan.n_threads) // at_once)
        if at_once > 1 and plan.threads_per_row is not None:
            n_threads = plan.threads_per_row
        self._n_threads = n_threads
        n_threads_batch = max(1, plan.n_threads_batch // at_once)
        for row in rows:
            row.context.set_threads(n_threads, n_threads_batch)

    def are_uneven(self, lengths: Sequence[int]) -> bool:
        """Whether texts of so many tokens are read sooner one after the other than side by side."""
        if self.plan.threads_per_row is not None:
            return False
        at_once = self.at_once(len(lengths))
        busiest = max(sum(lengths[start::at_once]) for start in range(at_once))
        return busiest * at_once > UNEVEN * sum(lengths)

    def step(self, rows: Sequence[Row], compute: ComputeRow) -> None:
        """Compute a token of every row, with as many threads as suit the machine now."""
        pace = self._pace(len(rows))
        if pace is not None and pace.n_threads != self._n_threads:
            self.share_out(rows, pace.n_threads)
        start = time.perf_counter()
        compute(here=self._steps_are_short and self._n_threads == 1)
        seconds = time.perf_counter() - start
        self._steps_are_short = seconds < SHORT_SECONDS
        if pace is not None:
            pace.took(seconds)

    def run(self, tasks: Sequence[Task], *, here: bool = False) -> list[Any]:
        """Run native calls at once, each on a worker; the first in this thread if `here`.

        A pool's thread always runs the first one itself.

        Raises:
            Whatever a task raises; and KeyboardInterrupt, when all have ended.
        """
        here = here or self._is_pools
        n_workers = len(tasks) - here
        while len(self._workers) < n_workers:
            self._workers.append(Worker(f"amulet-row-{len(self._workers)}"))
        return run_together(self._workers[:n_workers], tasks, self._stop_flag.set, first_here=here)

    def close(self) -> None:
        """End the threads, if they are nobody else's."""
        if not self._is_pools:
            for worker in self._workers:
                worker.close()
            self._workers.clear()

    def _pace(self, n_rows: int) -> Pace | None:
        """What the threads of a step are chosen by, where several work on one row or batch."""
        if not self.plan.paced or self.plan.n_threads < 2 or self.at_once(n_rows) > 1:
            return None
        kind = self.plan.schedule, n_rows
        if kind not in self._paces:
            self._paces[kind] = Pace(self.plan.n_threads)
        return self._paces[kind]


def relay(courses: Sequence[Course]) -> Task:
    """A task for several threads: together they bring all courses to their ends, or end early.

    A thread takes the course that has waited longest, computes one token of it and puts it back.
    """
    waiting = deque(courses)
    failed = False

    def work() -> None:
        nonlocal failed
        while not failed:
            try:
                course = waiting.popleft()
            except IndexError:
                return
            try:
                course.advance()
            except BaseException:
                failed = True
                raise
            if course.unfinished:
                waiting.append(course)

    return work

"""Computes tokens of rows by the plan: in one context, at once in several, or in turn.

Knows nothing about prompts and about what rows mean. When one row fails or is stopped in a
computation, all rows forget everything: rows never drift apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from amulet_local.llama.context import Logits
from amulet_local.llama.row import Course, Row
from amulet_local.llama.row_store import RowStore
from amulet_local.llama.row_threads import RowThreads, relay
from amulet_local.llama.sequences import Part
from amulet_local.llama.stop_flag import StopFlag, StoppedError
from amulet_local.llama.worker import Task


class RowComputer:
    """What computes the rows of a store.

    Attributes:
        n_decoded: tokens computed since the creation, all rows together.
    """

    def __init__(self, store: RowStore, threads: RowThreads, stop_flag: StopFlag) -> None:
        """Compute the rows that this store has in use, by the plan that these threads have."""
        self.n_decoded = 0
        self._store = store
        self._threads = threads
        self._stop_flag = stop_flag

    def check_stop(self) -> None:
        """Raise StoppedError if the stop flag is set."""
        if self._stop_flag.is_set():
            raise StoppedError

    def append(self, tokens: Sequence[int], n_outputs: int, *, here: bool = False) -> None:
        """Give every row these tokens, with logits after the last `n_outputs` of them.

        Raises:
            StoppedError, DecodeError: all rows are empty.
        """
        work = [(row, Part(row.sequence, tokens, n_outputs)) for row in self._store.in_use]
        if self._threads.plan.schedule == "batched":
            self.run_packed(work, here=here)
        else:
            self.run(work, here=here)

    def follow(self, tokens: Sequence[int]) -> list[list[Logits]]:
        """Give rows that are computed at once several tokens, without waiting for each other.

        Returns:
            For each token copies of the logits of every row, as rows.RowSet.follow has them.

        Raises:
            StoppedError, DecodeError: all rows are empty.
        """
        courses = [Course(row, tokens) for row in self._store.in_use]
        n_workers = self._threads.at_once(len(courses))
        self.guarded([relay(courses)] * n_workers, len(courses) * len(tokens))
        return [list(step) for step in zip(*(course.logits for course in courses), strict=True)]

    def run_packed(self, work: Sequence[tuple[Row, Part]], *, here: bool = False) -> None:
        """Decode all parts at once, in the one context.

        Raises:
            StoppedError, DecodeError: all rows are empty.
        """

        def decode() -> None:
            outputs = work[0][0].sequences.decode([part for _, part in work])
            for (row, _), output in zip(work, outputs, strict=True):
                row.computed(output)

        self.guarded([decode], _n_tokens(work), here=here)

    def run(self, work: Sequence[tuple[Row, Part]], *, here: bool = False) -> None:
        """Decode each row's part in its own context, at once or in turn.

        Raises:
            StoppedError, DecodeError: all rows are empty.
        """
        decodes = [partial(row.decode, part) for row, part in work]
        at_once = self._threads.at_once(len(work))
        tasks = [partial(_in_turn, decodes[start::at_once]) for start in range(at_once)]
        self.guarded(tasks, _n_tokens(work), here=here)

    def guarded(self, tasks: Sequence[Task], n_tokens: int = 0, *, here: bool = False) -> None:
        """Run native calls at once, as RowThreads.run does; they compute `n_tokens`.

        All rows forget everything if anything fails or interrupts before the end of that: what is
        in memory and what is noted of it stay the same.
        """
        try:
            self._threads.run(tasks, here=here)
            self.n_decoded += n_tokens
        except BaseException:
            self._store.forget()
            raise


def _in_turn(tasks: Iterable[Task]) -> None:
    for task in tasks:
        task()


def _n_tokens(work: Sequence[tuple[Row, Part]]) -> int:
    return sum(len(part.tokens) for _, part in work)

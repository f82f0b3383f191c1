"""The rows of one generation, stepped in lockstep: the plain prompt's and each preference's.

Knows nothing about what the rows mean or how they are combined. After a prefill every row has
logits for its next token; a step gives all rows the same token. A prefix that prompts share is
computed once, and what is in memory from the generation before is kept where it fits. When one row
fails or is stopped in a computation, all rows forget everything: rows never drift apart. Where
adapters are on preference rows alone, the plain row is bare: it has a context without them, and
nothing that was computed with them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from amulet_local.common.errors import InvalidParameterError
from amulet_local.llama.context import Context, ContextSettings, Logits
from amulet_local.llama.execution_plan import ExecutionPlan, Schedule
from amulet_local.llama.model import Model
from amulet_local.llama.pace import Pace
from amulet_local.llama.row import Course, Row, Tail, common_length
from amulet_local.llama.sequences import Part, Sequences
from amulet_local.llama.stop_flag import StopFlag, StoppedError
from amulet_local.llama.worker import Worker, run_together

Progress = Callable[[int, int], None]

SHORT_SECONDS = 0.1
"""A row may be computed in the caller's thread where a step took less than this, because a Ctrl-C
has to wait for it. Not with several threads a row: OpenMP would keep a pool of them for the caller
beside the worker's, and spin less for having more threads than there are cores."""


class RowSet:
    """Rows on one model, made when first needed.

    Attributes:
        plan: how they are computed.
        n_decoded: tokens computed since the creation, all rows together.
    """

    def __init__(
        self,
        model: Model,
        settings: ContextSettings,
        stop_flag: StopFlag,
        plan: ExecutionPlan,
        workers: list[Worker] | None = None,
    ) -> None:
        """No rows yet.

        Args:
            workers: threads that several sets share, which the caller ends; own ones if None.
        """
        self.plan = plan
        self.n_decoded = 0
        self._model = model
        self._settings = settings
        self._stop_flag = stop_flag
        self._sequences: list[Sequences] = []
        self._rows: list[Row] = []
        self._active: list[Row] = []
        self._workers: list[Worker] = [] if workers is None else workers
        self._own_workers = workers is None
        self._paces: dict[tuple[Schedule, int], Pace] = {}
        self._n_threads = 0
        self._steps_are_short = False
        self._check_plan()

    @property
    def n_rows(self) -> int:
        """Rows in use since the last prefill."""
        return len(self._active)

    @property
    def n_made(self) -> int:
        """Rows that there are, in use or not."""
        return len(self._rows)

    @property
    def n_tokens(self) -> list[int]:
        """Tokens in each row in use."""
        return [len(row.tokens) for row in self._active]

    @property
    def n_outputs(self) -> int:
        """Most tokens that `extend` takes."""
        context = self._sequences[0].context
        return context.n_outputs // context.settings.n_sequences

    def change_plan(self, plan: ExecutionPlan) -> None:
        """Compute rows in another way from the next prefill on."""
        if plan.schedule != self.plan.schedule:
            self.close()
        self.plan = plan
        self._check_plan()

    def _check_plan(self) -> None:
        if self.plan.schedule == "batched" and self._settings.plain_row_is_bare:
            raise InvalidParameterError(
                "schedule 'batched' computes all rows in one context, so adapters are on all of "
                "them or on none; use 'parallel' or 'serial', or adapters_on='all'"
            )

    def reserve(self, n_rows: int, *, has_plain: bool = True) -> None:
        """Make sure that there are `n_rows` rows, with or without the plain prompt's.

        Raises:
            ContextCreationError: llama.cpp can't.
        """
        self._reserve(self._bareness(n_rows, has_plain))

    def _bareness(self, n_rows: int, has_plain: bool) -> list[bool]:
        """For each row whether it is to lack the adapters."""
        first = has_plain and self._settings.plain_row_is_bare
        return [first and row == 0 for row in range(n_rows)]

    def _reserve(self, bareness: Sequence[bool]) -> None:
        n_rows = len(bareness)
        if self.plan.schedule == "batched" and len(self._rows) < n_rows:
            self._close_contexts()
            settings = replace(self._settings, n_sequences=n_rows)
            self._sequences = [self._new_sequences(settings)]
            self._rows = [self._new_row(sequence=sequence) for sequence in range(n_rows)]
        for bare in (True, False):
            settings = replace(self._settings, adapters=None) if bare else self._settings
            n_there = sum(row.bare == bare for row in self._rows)
            for _ in range(bareness.count(bare) - n_there):
                self._sequences.append(self._new_sequences(settings))
                self._rows.append(self._new_row(bare=bare))

    def _new_row(self, *, sequence: int = 0, bare: bool = False) -> Row:
        """In the newest context."""
        return Row(sequences=self._sequences[-1], sequence=sequence, bare=bare)

    def _need_workers(self, n_workers: int) -> list[Worker]:
        while len(self._workers) < n_workers:
            self._workers.append(Worker(f"amulet-row-{len(self._workers)}"))
        return self._workers[:n_workers]

    def _new_sequences(self, settings: ContextSettings) -> Sequences:
        """Created by a worker: llama.cpp's log comes in there, where Ctrl-C isn't raised."""
        task = partial(Context, self._model, settings, self._stop_flag)
        context: Context = run_together(self._need_workers(1), [task], self._stop_flag.set)[0]
        return Sequences(context, can_drop=self._model.can_drop_tokens)

    def prefill(
        self,
        prompts: Sequence[Sequence[int]],
        progress: Progress | None = None,
        *,
        has_plain: bool = True,
    ) -> None:
        """Start over with one prompt a row; afterwards `logits` has each row's next token.

        Args:
            prompts: token ids, at least one each; as many rows as prompts.
            progress: called with (tokens done, tokens in all) after each chunk.
            has_plain: whether the first prompt is the plain one; the others are preferences'.

        Raises:
            StoppedError: the stop flag was set.
            DecodeError: llama.cpp failed. All rows are empty.
        """
        for _ in self.prefill_steps(prompts, progress, has_plain=has_plain):
            pass

    def prefill_steps(
        self,
        prompts: Sequence[Sequence[int]],
        progress: Progress | None = None,
        *,
        has_plain: bool = True,
    ) -> Iterator[None]:
        """`prefill`, with a pause after each chunk. What isn't run to its end leaves no logits.

        Args and Raises: as there.
        """
        bareness = self._bareness(len(prompts), has_plain)
        self._reserve(bareness)
        self.check_stop()
        if not self.plan.reuse:
            self.discard()
        self._active = self._matching_rows(prompts, bareness)
        groups = self._groups(prompts)
        for rows, texts, shared in groups:
            for row, prompt in zip(rows, texts, strict=True):
                row.keep_what_fits(prompt, shared, exactly=self.plan.exact_reuse)
        reporter = _Reporter(prompts, progress)
        for rows, texts, shared in groups:
            if shared:
                yield from self._share_prefix(rows, texts[0][:shared], reporter)
        self._set_threads(self._active)
        tails = [Tail(row, prompt) for row, prompt in zip(self._active, prompts, strict=True)]
        if self.plan.schedule == "batched":
            yield from self._prefill_packed(tails, reporter)
        while unfinished := [tail for tail in tails if tail.unfinished]:
            self._run([(tail.row, tail.next()) for tail in unfinished])
            reporter.update(self._active)
            yield
            self.check_stop()
        if self.plan.reuse:
            for row, prompt in zip(self._active, prompts, strict=True):
                row.remember(prompt)

    def in_memory(self, prompts: Sequence[Sequence[int]]) -> int:
        """How many tokens of these prompts are in memory, each in the row that has most of it."""
        return sum(
            max((common_length(row.tokens, prompt) for row in self._rows), default=0)
            for prompt in prompts
        )

    def step(self, token: int) -> None:
        """Give every row `token` and compute the logits of what comes next.

        Raises:
            StoppedError, DecodeError: as for `prefill`.
        """
        self.check_stop()
        pace = self._pace()
        if pace is not None and pace.n_threads != self._n_threads:
            self._set_threads(self._active, pace.n_threads)
        start = time.perf_counter()
        self._append((token,), 1, here=self._steps_are_short and self._n_threads == 1)
        seconds = time.perf_counter() - start
        self._steps_are_short = seconds < SHORT_SECONDS
        if pace is not None:
            pace.took(seconds)

    def extend(self, tokens: Sequence[int]) -> list[list[Logits]]:
        """Give every row several tokens; for each token the logits of every row after it.

        Args:
            tokens: 1 to `n_outputs` token ids.

        Returns:
            Views, valid until the next step.

        Raises:
            StoppedError, DecodeError: as for `prefill`.
        """
        self.check_stop()
        n = len(tokens)
        self._append(tokens, n)
        return [
            [row.context.logits(row.output - n + 1 + index) for row in self._active]
            for index in range(n)
        ]

    def follow(self, tokens: Sequence[int]) -> list[list[Logits]]:
        """Give every row several tokens, one by one; for each the logits of every row after it.

        The results are those of as many calls of `step`, to the bit. Rows don't wait for each other
        after each token, which evens out what threads have to do where they share rows.

        Returns:
            Copies, float32, shape (n_vocab,) each.

        Raises:
            StoppedError, DecodeError: as for `prefill`.
        """
        if self._at_once(len(self._active)) == 1:
            following = []
            for token in tokens:
                self.step(token)
                following.append([self.logits(row).copy() for row in range(self.n_rows)])
            return following
        self.check_stop()
        courses = [Course(row, tokens) for row in self._active]
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

        self._guarded([[work]] * self._at_once(len(courses)), len(courses) * len(tokens))
        return [list(step) for step in zip(*(course.logits for course in courses), strict=True)]

    def logits(self, row: int) -> Logits:
        """Logits of a row's next token, float32, shape (n_vocab,): a view until the next step."""
        return self._active[row].logits()

    def export(self) -> list[tuple[list[int], bytes, bool]]:
        """Of every row in use that llama.cpp can serialise: tokens, state, and whether it is bare.

        A bare row lacks the adapters that others have.
        """
        exported = [
            (list(row.tokens), row.sequences.export(row.sequence), row.bare) for row in self._active
        ]
        return [row for row in exported if row[0] and row[1]]

    def restore(self, saved: Sequence[tuple[Sequence[int], bytes, bool]]) -> bool:
        """Take over rows that `export` returned, on the same model with the same settings.

        Returns False, with all rows empty, where llama.cpp refuses one.
        """
        bareness = [bare for _, _, bare in saved]
        self._reserve(bareness)
        self.discard()
        self._active = self._matching_rows([()] * len(saved), bareness)
        for row, (tokens, state, _) in zip(self._active, saved, strict=True):
            if not row.restore(tokens, state):
                self.discard()
                return False
        return True

    def discard(self) -> None:
        """Forget the tokens of every row."""
        for sequences in self._sequences:
            sequences.forget_all()
        for row in self._rows:
            row.forget()

    def close(self) -> None:
        """End the threads and free the contexts."""
        if self._own_workers:
            for worker in self._workers:
                worker.close()
            self._workers.clear()
        self._close_contexts()

    def _close_contexts(self) -> None:
        for sequences in self._sequences:
            sequences.close()
        self._sequences, self._rows, self._active = [], [], []

    def check_stop(self) -> None:
        """Raise StoppedError if the stop flag is set."""
        if self._stop_flag.is_set():
            raise StoppedError

    def _matching_rows(
        self, prompts: Sequence[Sequence[int]], bareness: Sequence[bool]
    ) -> list[Row]:
        """For each prompt the row, bare or not, that has most of it in memory."""
        chosen: list[Row] = []
        for prompt, bare in zip(prompts, bareness, strict=True):
            free = [
                row
                for row in self._rows
                if row.bare == bare and not any(row is taken for taken in chosen)
            ]
            chosen.append(max(free, key=lambda row: common_length(row.tokens, prompt)))
        return chosen

    def _groups(
        self, prompts: Sequence[Sequence[int]]
    ) -> list[tuple[list[Row], list[Sequence[int]], int]]:
        """Rows that can share what is computed, their prompts, and the length of what they do."""
        groups = []
        for bare in (True, False):
            pairs = [
                (row, prompt)
                for row, prompt in zip(self._active, prompts, strict=True)
                if row.bare == bare
            ]
            texts = [prompt for _, prompt in pairs]
            groups.append(([row for row, _ in pairs], texts, self._shared_length(texts)))
        return groups

    def _shared_length(self, prompts: Sequence[Sequence[int]]) -> int:
        """Length of the prefix that is computed once for all prompts."""
        if not self.plan.reuse or len(prompts) < 2:
            return 0
        return min(
            *(common_length(prompts[0], prompt) for prompt in prompts[1:]),
            *(len(prompt) - 1 for prompt in prompts),
        )

    def _share_prefix(
        self, rows: Sequence[Row], prefix: Sequence[int], reporter: _Reporter
    ) -> Iterator[None]:
        """Compute the prefix that all prompts share in one row and copy it to the others."""
        shared = len(prefix)
        lacking = [row for row in rows if len(row.tokens) < shared]
        if not lacking:
            return
        source = max(rows, key=lambda row: len(row.tokens))
        if len(source.tokens) > shared and not self._model.can_drop_tokens:
            return
        self._set_threads([source])
        tail = Tail(source, prefix, n_outputs=0)
        while tail.unfinished:
            self._run([(source, tail.next())])
            reporter.update(self._active)
            yield
            self.check_stop()
        targets = [row for row in lacking if row is not source]
        self._guarded([[partial(self._copy, source, targets, shared)]])
        reporter.update(self._active)

    def _copy(self, source: Row, targets: Sequence[Row], n_tokens: int) -> None:
        apart = any(row.sequences is not source.sequences for row in targets)
        state = source.sequences.export(source.sequence) if apart else b""
        for row in targets:
            row.copy(source, state)
            if row.tokens:
                row.keep(n_tokens)

    def _prefill_packed(self, tails: Sequence[Tail], reporter: _Reporter) -> Iterator[None]:
        """All rows in one context: fill each decode with as many tokens as fit."""
        sequences = self._sequences[0]
        while unfinished := [tail for tail in tails if tail.unfinished]:
            parts = sequences.pack((tail.row.sequence, tail.pending) for tail in unfinished)
            work = [(tail.row, part) for tail, part in zip(unfinished, parts, strict=False)]
            self._run_packed(work)
            reporter.update(self._active)
            for row, part in work:
                if part.n_outputs:
                    row.saved = row.logits().copy()
            yield
            self.check_stop()

    def _append(self, tokens: Sequence[int], n_outputs: int, *, here: bool = False) -> None:
        work = [(row, Part(row.sequence, tokens, n_outputs)) for row in self._active]
        if self.plan.schedule == "batched":
            self._run_packed(work, here=here)
        else:
            self._run(work, here=here)

    def _at_once(self, n_rows: int) -> int:
        """Rows that are computed at the same time: no more than there are threads."""
        if self.plan.schedule != "parallel":
            return 1
        return n_rows if self.plan.threads_per_row else min(n_rows, self.plan.n_threads)

    def _pace(self) -> Pace | None:
        """What the threads of a step are chosen by, where several work on one row or batch."""
        n_rows = len(self._active)
        if not self.plan.paced or self.plan.n_threads < 2 or self._at_once(n_rows) > 1:
            return None
        kind = self.plan.schedule, n_rows
        if kind not in self._paces:
            self._paces[kind] = Pace(self.plan.n_threads)
        return self._paces[kind]

    def _set_threads(self, rows: Sequence[Row], n_threads: int | None = None) -> None:
        """Split the threads between the rows that are computed at once."""
        plan = self.plan
        at_once = self._at_once(len(rows))
        n_threads = max(1, (n_threads or plan.n_threads) // at_once)
        if at_once > 1 and plan.threads_per_row is not None:
            n_threads = plan.threads_per_row
        self._n_threads = n_threads
        n_threads_batch = max(1, plan.n_threads_batch // at_once)
        for row in rows:
            row.context.set_threads(n_threads, n_threads_batch)

    def _run_packed(self, work: Sequence[tuple[Row, Part]], *, here: bool = False) -> None:
        """Decode all parts at once, in the one context."""

        def decode() -> None:
            outputs = self._sequences[0].decode([part for _, part in work])
            for (row, _), output in zip(work, outputs, strict=True):
                row.computed(output)

        self._guarded([[decode]], _n_tokens(work), here=here)

    def _run(self, work: Sequence[tuple[Row, Part]], *, here: bool = False) -> None:
        """Decode each row's part in its own context, at once or in turn."""
        decodes = [partial(row.decode, part) for row, part in work]
        at_once = self._at_once(len(work))
        tasks = [decodes[start::at_once] for start in range(at_once)]
        self._guarded(tasks, _n_tokens(work), here=here)

    def _guarded(
        self,
        tasks: Sequence[Sequence[Callable[[], None]]],
        n_tokens: int = 0,
        *,
        here: bool = False,
    ) -> None:
        """Run lists of native calls, one list a worker; they compute `n_tokens`.

        With `here` the first list is run in this thread.

        All rows are discarded if anything fails or interrupts before the end of that: what is in
        memory and what is noted of it stay the same.
        """

        def in_turn(decodes: Sequence[Callable[[], None]]) -> None:
            for decode in decodes:
                decode()

        try:
            run_together(
                self._need_workers(len(tasks)),
                [partial(in_turn, decodes) for decodes in tasks],
                self._stop_flag.set,
                first_here=here,
            )
            self.n_decoded += n_tokens
        except BaseException:
            self.discard()
            raise


def _n_tokens(work: Sequence[tuple[Row, Part]]) -> int:
    return sum(len(part.tokens) for _, part in work)


class _Reporter:
    """Reports progress in tokens of all prompts, whether computed, kept or copied."""

    def __init__(self, prompts: Sequence[Sequence[int]], progress: Progress | None) -> None:
        self._total = sum(len(prompt) for prompt in prompts)
        self._progress = progress

    def update(self, rows: Sequence[Row]) -> None:
        if self._progress is not None:
            self._progress(sum(len(row.tokens) for row in rows), self._total)
